// Package lapse ends sessions: it keeps millions of deadlines in hierarchical
// timing wheels, at constant cost, and calls hooks when one has passed. It is
// made to be embedded in a server.
//
// # Model
//
// A session is a key, a value and a few times. It ends by itself when it has
// been quiet for too long, or has lived too long. Three kinds of activity tell
// the engine what goes on:
//
//   - A touch is something that the user did. It starts the session's Idle
//     anew.
//   - A poll is something that a page did by itself, in the background. It
//     starts Idle anew, too, but a run of polls without a touch has an end:
//     PollCap by time, PollMax by number. A page that polls is not a user.
//   - A peek looks and changes nothing: [Engine.Get], [Session.Info],
//     [Session.Alive] and the like.
//
// From these follows when the session ends, and nothing else does. The end is
// the least of
//
//	seen + Idle           seen: the last touch, poll or release, else the start
//	started + Lifetime
//	run + PollCap         run: the first poll since the last touch
//
// A [Policy] holds these limits, and each session belongs to a [Class] with a
// policy. Policies can change while sessions live; an end is computed from the
// present one whenever somebody asks.
//
// # Guarantees
//
//   - A session is never ended early, and late by less than a tick
//     (Options.Tick, 10ms), plus what the machine makes the engine wait. While
//     the coarse clock below is in use, an eighth of a tick can be added.
//   - A session that is due has ended, for every method and from that moment
//     on, even if its hooks wait for their turn. What was reported as ended
//     once is never alive again.
//   - A session ends exactly once, for one [Reason], and each of its hooks is
//     called exactly once, however many goroutines touch, end and close at the
//     same time.
//   - Hooks are called in the order of their registration: the session's own,
//     then its class's, then the engine's, then batch hooks. No lock is held: a
//     hook may call anything. A panic in one is logged and stops nothing.
//   - After its end the engine keeps no reference to a session's key, value or
//     hooks. Options.Remember keeps keys.
//   - An engine without sessions has no timer, and one that was never used no
//     goroutine. With sessions that end in an hour it sleeps.
//
// # Where hooks run
//
// What a call ends, such as [Session.Expire] or a poll past the cap, has its
// hooks called by that call, before it returns. At a deadline they are called
// on the hook workers, one goroutine unless Options.HookWorkers says more. When
// hooks are slower than ends, sessions wait where they are, invisible to
// look-ups; no queue grows. In an engine with Options.Manual nothing happens by
// itself: [Engine.Advance] ends what is due and calls the hooks.
//
// # Concurrency
//
// All methods are safe for concurrent use. A touch of a live session is one
// compare-and-swap: it takes no lock and does not go near the wheel, which
// looks again when it comes to the session's old deadline. Sessions are spread
// over shards, each with a lock that is held for a moment only; a storm of ends
// gives it up every 256 sessions.
//
// # Time
//
// The engine counts ticks on the monotonic clock, whatever the wall clock does.
// Where many touches arrive, it publishes a coarse clock for them, since
// reading the real one takes several times as long as the touch. While the
// machine sleeps, so may the monotonic clock, and sessions live on by as much.
// Tests set Options.Clock to a mock clock of github.com/benbjohnson/clock, or
// run in a bubble of testing/synctest.
//
// # Cost
//
// With 16-byte keys and values of no size a session takes about 70 bytes, in
// memory without pointers that the garbage collector does not look at. The
// package's benchmarks measure that, and what each call takes.
package lapse
