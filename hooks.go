package lapse

import (
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Reason says why a session ended. The zero Reason is none.
type Reason uint8

// The reasons for which a session ends.
const (
	ReasonIdle     Reason = iota + 1 // Policy.Idle passed without a touch or a poll
	ReasonLifetime                   // Policy.Lifetime passed
	ReasonPollCap                    // Policy.PollCap passed without a touch
	ReasonPollMax                    // Policy.PollMax polls without a touch, and one more
	ReasonExpired                    // somebody called Session.Expire
	ReasonEvicted                    // it made room for another, as FullPolicy Evict says
	ReasonShutdown                   // the engine was shut down
)

var reasonNames = [...]string{"none", "idle", "lifetime", "poll cap", "poll max", "expired", "evicted", "shutdown"}

// String returns the reason in lower-case words, such as "poll cap".
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return fmt.Sprintf("Reason(%d)", uint8(r))
}

// An Event tells a hook which session ended, or is about to, and why. All times
// are the engine's, in whole ticks.
type Event[K comparable, V any] struct {
	Key      K      // the key it had last
	Value    V      // the value it had last
	Class    string // the class it belonged to
	Reason   Reason // why it ended; in a warning, why it will
	Polls    int    // accepted polls of its last run, zero if a touch had ended that
	Started  time.Time
	Seen     time.Time // the last touch, poll or release, else the start
	Deadline time.Time // the limit it had; zero: none
	Ended    time.Time // when it was ended; zero in a warning
}

// LogValue is what log/slog writes of an event: all but the key, which is a
// secret where it is the id of a session, and the value. An unset time is left
// out.
func (ev Event[K, V]) LogValue() slog.Value {
	attrs := []slog.Attr{
		slog.String("class", ev.Class),
		slog.String("reason", ev.Reason.String()),
		slog.Int("polls", ev.Polls),
	}
	for _, a := range []slog.Attr{
		slog.Time("started", ev.Started),
		slog.Time("seen", ev.Seen),
		slog.Time("deadline", ev.Deadline),
		slog.Time("ended", ev.Ended),
	} {
		if !a.Value.Time().IsZero() {
			attrs = append(attrs, a)
		}
	}
	return slog.GroupValue(attrs...)
}

// mostAddedHooks bounds the hooks that are added while a session's own hooks
// run, so that a hook that adds itself comes to an end.
const mostAddedHooks = 1000

// A hook is one registration.
type hook[K comparable, V any] struct {
	fn    func(Event[K, V])
	batch func([]Event[K, V])
	// closing says that Close calls it, too: it cancels a context.
	closing bool
	// done says that the hook will not be called any more: a session's has been
	// taken by the goroutine that calls it, or somebody has stopped it.
	done atomic.Bool
}

// A hookList holds the hooks of a class or of the engine. Registration copies
// the list, so that the goroutines that run hooks need no lock.
type hookList[K comparable, V any] struct {
	mu   sync.Mutex
	list atomic.Pointer[[]*hook[K, V]]
}

func (l *hookList[K, V]) load() []*hook[K, V] {
	if list := l.list.Load(); list != nil {
		return *list
	}
	return nil
}

// add registers h and returns its stop function.
func (l *hookList[K, V]) add(h *hook[K, V]) (stop func() bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := append(slices.Clone(l.load()), h)
	l.list.Store(&list)
	return func() bool {
		if h.done.Swap(true) {
			return false
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		list := slices.DeleteFunc(slices.Clone(l.load()), func(other *hook[K, V]) bool { return other == h })
		l.list.Store(&list)
		return true
	}
}

// clear drops all hooks; their stop functions return false from now on.
func (l *hookList[K, V]) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range l.load() {
		h.done.Store(true)
	}
	l.list.Store(nil)
}

// ownHooks are the hooks of one session. The lock of its shard guards them.
type ownHooks[K comparable, V any] struct {
	before  []*hook[K, V] // of NotifyBeforeExpire
	expire  []*hook[K, V]
	next    int  // the first of expire that has not been called
	running bool // a goroutine is calling them
	added   int  // hooks that were added since
	cut     bool // one more was refused
}

// NotifyOnExpire has f called once for each session that ends, after the hooks
// of the session and of its class. Hooks are called in the order in which they
// were registered; one that is registered twice is called twice. A session that
// ended before the call may still be reported to f. It may be called at any
// time and from any goroutine, hooks included; f nil panics.
//
// The stop function is like that of context.AfterFunc: it returns true if the
// call has kept f from being called any more, false if it was stopped before or
// the engine is closed. It does not wait for a call of f that has begun.
func (e *Engine[K, V]) NotifyOnExpire(f func(Event[K, V])) (stop func() bool) {
	if f == nil {
		panic("lapse: NotifyOnExpire of a nil function")
	}
	return e.register(&e.hooks, &hook[K, V]{fn: f})
}

// NotifyOnExpire has f called once for each session of the class that ends,
// after the hooks of the session and before those of the engine. For the rest
// it is like [Engine.NotifyOnExpire].
func (c *Class[K, V]) NotifyOnExpire(f func(Event[K, V])) (stop func() bool) {
	if f == nil {
		panic("lapse: NotifyOnExpire of a nil function")
	}
	return c.e.register(&c.hooks, &hook[K, V]{fn: f})
}

func (e *Engine[K, V]) register(l *hookList[K, V], h *hook[K, V]) (stop func() bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed.Load() {
		return func() bool { return false }
	}
	e.hooked.Store(true)
	return l.add(h)
}

// NotifyOnExpire has f called once when the session ends, before the hooks of
// its class and of the engine, which follow in this order. If the session has
// ended, ok is false and f is never called; while the session's own hooks run,
// though, f still joins them, up to 1000 such. The call takes the lock of the
// session's shard for a moment; f nil panics.
//
// The stop function is like that of context.AfterFunc: it returns true if the
// call has kept f from being called, false if f has been called, stop was
// called before, or the engine is closed. It does not wait for f.
func (s Session[K, V]) NotifyOnExpire(f func(Event[K, V])) (stop func() bool, ok bool) {
	if f == nil {
		panic("lapse: NotifyOnExpire of a nil function")
	}
	h := &hook[K, V]{fn: f}
	if !s.addHook(h) {
		return func() bool { return false }, false
	}
	return func() bool { return s.stopHook(h) }, true
}

// NotifyOnExpireBatch has f called with the events of sessions that have ended,
// at most 256 at a time, after all other hooks of these. A call such as
// Session.Expire gives a batch of one. The slice is the engine's again after
// the call: f copies what it keeps. For the rest it is like
// [Engine.NotifyOnExpire].
func (e *Engine[K, V]) NotifyOnExpireBatch(f func([]Event[K, V])) (stop func() bool) {
	if f == nil {
		panic("lapse: NotifyOnExpireBatch of a nil function")
	}
	return e.register(&e.batches, &hook[K, V]{batch: f})
}

// NotifyBeforeExpire has f called when a session is near its end: once it is
// within its class's Policy.Warn of its limit, and again only after a change
// has carried the limit out of reach and it has come near again. It is called
// after the session's own such hooks, never after the session's end, never
// while it is held, and not at all where Warn is zero: a hook that touches the
// session, say, keeps those after it from being called. A clock that jumps past
// both skips the warning, and a hook that is registered when a session has come
// near its end already is not called for that time. The event says what holds
// when the hook is called. Hooks of an end by the clock run after those of the
// warning, so a warning hook must not wait for that, nor for a Context of the
// session. For the rest it is like [Engine.NotifyOnExpire].
func (e *Engine[K, V]) NotifyBeforeExpire(f func(Event[K, V])) (stop func() bool) {
	if f == nil {
		panic("lapse: NotifyBeforeExpire of a nil function")
	}
	return e.register(&e.warnings, &hook[K, V]{fn: f})
}

// NotifyBeforeExpire has f called when the session is near its end, as
// [Engine.NotifyBeforeExpire] says, and before the engine's hooks. If the
// session has ended, ok is false. The stop function keeps f from being called
// any more; it returns false if f was stopped before, the session has ended, or
// the engine is closed.
func (s Session[K, V]) NotifyBeforeExpire(f func(Event[K, V])) (stop func() bool, ok bool) {
	if f == nil {
		panic("lapse: NotifyBeforeExpire of a nil function")
	}
	h := &hook[K, V]{fn: f}
	m := s.read()
	sh, rec, idx := s.lock(m)
	if rec == nil {
		return func() bool { return false }, false
	}
	defer sh.unlock()
	own := sh.own(rec, idx)
	own.before = append(own.before, h)
	return func() bool { return s.stopHook(h) }, true
}

func (s Session[K, V]) addHook(h *hook[K, V]) bool {
	if s.e == nil {
		return false
	}
	sh, idx := s.e.locate(s.slot())
	m := s.e.time.read()
	sh.mu.Lock()
	defer sh.unlock()
	rec := sh.slab.record(idx)
	if rec == nil {
		return false
	}
	if rec.state.Load()>>phaseShift == s.gen()<<2|phaseEnded>>phaseShift {
		own := sh.hooks[idx]
		if !own.running || own.cut {
			return false
		}
		if own.added == mostAddedHooks {
			own.cut = true
			return false
		}
		own.added++
		own.expire = append(own.expire, h)
		return true
	}
	if !sh.alive(rec, s.gen(), m) {
		return false
	}
	if h.done.Load() {
		return true // a context's, whose parent has been cancelled
	}
	own := sh.own(rec, idx)
	own.expire = append(own.expire, h)
	return true
}

// own returns the session's own hooks, for one more.
func (sh *shard[K, V]) own(rec *record[K], idx uint32) *ownHooks[K, V] {
	own := sh.hooks[idx]
	if own == nil {
		own = new(ownHooks[K, V])
		if sh.hooks == nil {
			sh.hooks = make(map[uint32]*ownHooks[K, V])
		}
		sh.hooks[idx] = own
		sh.e.hooked.Store(true)
	}
	return own
}

// stopHook keeps a session's hook from being called and forgets it.
func (s Session[K, V]) stopHook(h *hook[K, V]) bool {
	if h.done.Swap(true) {
		return false
	}
	sh, idx := s.e.locate(s.slot())
	sh.mu.Lock()
	defer sh.unlock()
	rec := sh.slab.record(idx)
	if rec == nil || rec.state.Load()>>genShift != s.gen() {
		return true
	}
	if own := sh.hooks[idx]; own != nil && !own.running {
		isH := func(other *hook[K, V]) bool { return other == h }
		own.expire = slices.DeleteFunc(own.expire, isH)
		own.before = slices.DeleteFunc(own.before, isH)
	}
	return true
}
