// Package lapsehttp brings the sessions of package lapse to net/http, with a
// client for the browser: time-outs by activity, polling that does not keep a
// session alive for ever, a keep-alive that creates nothing, an end that the
// browser knows of without asking, and refusals that a script can read. It
// needs the standard library and the engine only.
//
//	engine, err := lapse.New[lapsehttp.ID, User](lapse.Options{Remember: 10000})
//	...
//	manager, err := lapsehttp.New(engine, lapsehttp.Options[User]{
//		LoginURL: "/login",
//		Routes:   lapsehttp.Routes{"GET /score": lapsehttp.Poll, "/static/": lapsehttp.Peek},
//	})
//	...
//	mux.Handle("/session/", manager.Endpoints())
//	mux.Handle("/account/", manager.Require(account))
//	http.ListenAndServeTLS(addr, cert, key, manager.Handler(mux))
//
// A log-in calls [Manager.Start], a log-out [Manager.End], and a handler finds
// its session with [FromContext].
//
// # What a request means
//
// [Manager.Handler] goes round the whole site. It looks the session of a request
// up, once, and applies one activity to it, before the handler runs:
//
//   - A Touch, which every request is unless something says otherwise, is what
//     a user does. The session's Idle starts anew, and it is held while the
//     request runs.
//   - A Poll is what a page asks by itself. Idle starts anew, too, but not for
//     ever: lapse.Policy.PollCap and PollMax end a run of polls. The first one
//     too many is refused, and so is what comes after it.
//   - A Peek changes nothing. What the browser fetches ahead is one.
//
// [Routes] marks the requests that are no Touch. The page itself can lower what
// a request means with the header X-Session-Activity, but nothing that a browser
// sends can raise it.
//
// # What the browser learns
//
// Each response of a live session has two cookies that scripts can read:
// serverTime and sessionExpiry, both in milliseconds since the epoch. The
// second says when the session will end if nothing happens: the least of Idle,
// PollCap and Lifetime, not what the last request would like. All windows share
// them. The header X-Session-Expires-In says the same in milliseconds from now.
// They are written just before the first byte, by what is true then, also where
// a handler streams. They hold no secret, and nothing reads them back: a page
// that forges them deceives itself.
//
// When a session ends, or an id turns out not to be live, both cookies say the
// same time, so that every window knows. A session without any limit has no
// sessionExpiry cookie.
//
// [Manager.Endpoints] serves the client as a module, and what it asks for: a
// keep-alive, which is a Poll; the status, which is a Peek, so that asking "am I
// still logged in?" prolongs nothing; a stream of events that tells of the
// warning and the end as they happen; the log-out.
//
// # Refusals
//
// [Manager.Require] lets nobody in without a live session. A script is told so
// with status 401 and JSON, never with a redirect or a page; a navigation is
// sent to the log-in page, with the path to return to. [Success] and [Failure]
// give the other answers of a site the same form.
//
// # Ids
//
// The cookie of the id is __Host-session: Secure, HttpOnly and SameSite=Lax,
// and bound to the host. An id is 128 bits of crypto/rand; Start and Promote
// always make a fresh one, and Renew does when asked to. An id that a request
// brings is looked up or forgotten: never taken over, logged or sent back. The
// dead, the renamed and the forged take the same path, get the same answer, and
// leave nothing behind.
//
// After [Manager.Renew] the old id works for a grace of ten seconds, so that
// requests that are under way do not fail. After a log-in it does not: such
// requests are refused, but for as long they do not clear the cookie, which
// holds the new id by then.
//
// # Concurrency
//
// A [Manager] is safe for concurrent use and starts no goroutine. An event
// stream runs on the goroutine of its request; hooks of the engine only wake
// it.
//
// # Time
//
// All times are the engine's: with a mock clock in lapse.Options, cookies and
// grace follow it. Only the heartbeat of event streams, every 15 seconds, is in
// real time.
//
// # Cost
//
// To a request with a live session Handler adds about a microsecond and three
// allocations: the request's copy for its context, what it keeps about it, and
// the text of its cookies.
package lapsehttp
