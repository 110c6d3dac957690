package lapse

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"log/slog"
	"math/bits"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/benbjohnson/clock"
)

// The errors that calls return; test for them with errors.Is.
var (
	ErrExists   = errors.New("lapse: a live session has the key")            // by Start and Rename
	ErrFull     = errors.New("lapse: the engine holds its most sessions")    // by Start; also where the key's shard has no slot left
	ErrClosed   = errors.New("lapse: the engine is closed or shutting down") // by Start, Class, SetPolicy, Rename and Shutdown
	ErrNotFound = errors.New("lapse: no live session has the key")           // by Rename
)

// A FullPolicy says what Start does when there are Options.MaxSessions
// sessions.
type FullPolicy uint8

const (
	// Reject: Start returns ErrFull.
	Reject FullPolicy = iota
	// Evict: the session nearest its end makes room, with ReasonEvicted. A
	// session that is held or has no limit is not evicted; where there are only
	// such, Start returns ErrFull. In Manual mode it is exactly the nearest
	// one; otherwise no other ends sooner by more than an eighth of its
	// remaining time.
	Evict
)

// Options say how an engine works. The zero value is ready to use; a negative
// number is an error.
type Options struct {
	// Default is the policy of the class that Engine.Start uses. Zero:
	// DefaultSession.
	Default Policy
	// Tick is the resolution of all times. Zero: 10ms; at least 1ms. An engine
	// counts 2^39 ticks: 17 years of 1ms, 174 of 10ms.
	Tick time.Duration
	// Clock is the engine's clock. Nil: the real clock, read as cheaply as can
	// be.
	Clock clock.Clock
	// Manual has the engine start no goroutine: the embedder calls Advance from
	// a loop of its own.
	Manual bool
	// HookWorkers is the number of goroutines that run the hooks of deadlines.
	// Zero: 1, so that no two of them run at once.
	HookWorkers int
	// MaxSessions is the most sessions. Zero: no limit.
	MaxSessions int
	// WhenFull says what Start does when there are as many.
	WhenFull FullPolicy
	// Remember is how many ended sessions Engine.Ended still knows. Zero: none.
	Remember int
	// Logger is told of panics in hooks, never of keys. Nil: slog.Default().
	Logger *slog.Logger
}

func (o *Options) setDefaults() error {
	bad := func(field string, value any, want string) error {
		return fmt.Errorf("lapse: Options.%s is %v: %s", field, value, want)
	}
	if o.Default == (Policy{}) {
		o.Default = DefaultSession
	}
	if o.Tick == 0 {
		o.Tick = defaultTick
	}
	if o.HookWorkers == 0 {
		o.HookWorkers = 1
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	switch {
	case o.Tick < time.Millisecond:
		return bad("Tick", o.Tick, "want zero (10ms) or at least 1ms")
	case o.HookWorkers < 0:
		return bad("HookWorkers", o.HookWorkers, "want zero (1) or more")
	case o.MaxSessions < 0:
		return bad("MaxSessions", o.MaxSessions, "want zero (no limit) or more")
	case o.WhenFull > Evict:
		return bad("WhenFull", o.WhenFull, "want Reject or Evict")
	case o.Remember < 0:
		return bad("Remember", o.Remember, "want zero (none) or more")
	}
	return nil
}

// An Engine holds sessions and ends them. K is the type of their keys, such as
// a session id, and V of what belongs to each. A key that holds no pointer,
// such as [16]byte, spares the garbage collector the work; a string is as good
// otherwise. All methods are safe for concurrent use.
type Engine[K comparable, V any] struct {
	time        timeline
	shards      []shard[K, V]
	shardBits   uint   // below 32; "& 31" lets the compiler know
	shardMask   uint32 // the bits of a slot, or a hash, that name a shard
	mostSlots   uint32 // of a shard: the number of a slot and one more fit in 32 bits
	seed        maphash.Seed
	keys        keyKind
	classes     atomic.Pointer[[]*Class[K, V]]
	table       atomic.Pointer[[]terms] // by class; replaced as a whole
	hooks       hookList[K, V]
	batches     hookList[K, V]
	warnings    hookList[K, V]
	hooked      atomic.Bool // a hook of any kind has been registered
	driver      driver[K, V]
	queue       queue[K, V]
	memory      memory[K]
	stats       counters
	logger      *slog.Logger
	manual      bool
	maxSessions int64
	whenFull    FullPolicy
	total       atomic.Int64  // sessions; kept with maxSessions only
	starts      atomic.Uint64 // sessions started; kept in Manual mode only
	advancing   atomic.Bool

	closing atomic.Bool // nothing starts any more
	closed  atomic.Bool // and no hook begins

	setPolicy sync.Mutex // serializes Class.SetPolicy
	mu        sync.Mutex // guards the making of classes, the registration of hooks, closing, and the field below
	byName    map[string]*Class[K, V]
}

// New makes an engine. It starts no goroutine before the first session. The
// error names the option, or the field of Options.Default, that makes no sense.
func New[K comparable, V any](o Options) (*Engine[K, V], error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	e := &Engine[K, V]{
		seed:        maphash.MakeSeed(),
		keys:        kindOf[K](),
		logger:      o.Logger,
		manual:      o.Manual,
		maxSessions: int64(o.MaxSessions),
		whenFull:    o.WhenFull,
		byName:      make(map[string]*Class[K, V]),
	}
	e.time.init(o.Clock, o.Tick)
	e.classes.Store(new([]*Class[K, V]))
	e.table.Store(new([]terms))
	if _, err := e.Class(o.Default); err != nil {
		return nil, err
	}
	// Several shards a core, so that two cores seldom want the same lock.
	e.makeShards(uint(bits.Len(uint(4*runtime.GOMAXPROCS(0) - 1))))
	e.driver.init(e)
	e.queue.init(e, o.HookWorkers)
	e.memory.init(o.Remember)
	return e, nil
}

func (e *Engine[K, V]) makeShards(bits uint) {
	e.shardBits, e.shardMask = bits, 1<<bits-1
	e.mostSlots = 1<<(32-bits) - 1
	e.shards = make([]shard[K, V], 1<<bits)
	for i := range e.shards {
		e.shards[i].init(e, uint32(i))
	}
}

// Start starts a session of the default class. See [Class.Start].
func (e *Engine[K, V]) Start(key K, value V) (Session[K, V], error) {
	return e.start((*e.classes.Load())[0], key, value)
}

func (e *Engine[K, V]) start(c *Class[K, V], key K, value V) (Session[K, V], error) {
	if key != key {
		return Session[K, V]{}, errUnequal("key")
	}
	hash := e.hash(&key)
	sh := e.shardOf(hash)
	for {
		m := e.time.read()
		s, err := sh.start(c, high(hash), &key, value, m)
		switch err {
		case nil:
			e.driver.start()
		case ErrExists:
			if e.endIfDue(s, key, m) {
				continue
			}
		case errMostSessions:
			if e.makeRoom(m) {
				continue
			}
			err = ErrFull
		}
		return s, err
	}
}

// errUnequal is the error of a key such as a NaN.
func errUnequal(what string) error {
	return fmt.Errorf("lapse: the %s is not equal to itself, as a NaN: no look-up would find it", what)
}

// endIfDue ends the session if it is due, and reports whether its key may be
// free now.
func (e *Engine[K, V]) endIfDue(s Session[K, V], key K, m moment) bool {
	sh, idx := e.locate(s.slot())
	sh.mu.Lock()
	rec := sh.slab.record(idx)
	if rec == nil || rec.key != key {
		sh.unlock()
		return true
	}
	if sh.alive(rec, s.gen(), m) {
		sh.unlock()
		return false
	}
	ends, _ := sh.endDue(rec, idx, s.gen(), m, nil)
	sh.unlock()
	e.deliver(ends)
	return true
}

// Get returns the live session that has the key. It is a peek: it has no effect
// on any deadline.
func (e *Engine[K, V]) Get(key K) (Session[K, V], bool) {
	s, ok, _ := e.find(&key)
	if !ok || !s.Alive() {
		return Session[K, V]{}, false
	}
	return s, true
}

// Touch looks up the live session that has the key and touches it, as
// [Session.Touch] does.
func (e *Engine[K, V]) Touch(key K) (Session[K, V], bool) {
	s, ok, _ := e.find(&key)
	if !ok || !s.Touch() {
		return Session[K, V]{}, false
	}
	return s, true
}

// Poll looks up the live session that has the key and polls it, as
// [Session.Poll] does.
func (e *Engine[K, V]) Poll(key K) (Session[K, V], bool) {
	s, ok, _ := e.find(&key)
	if !ok || !s.Poll() {
		return Session[K, V]{}, false
	}
	return s, true
}

// Rename gives the session that has the key old the key new: a new id for the
// same session, whose hooks, start, deadline and run of polls stay. Errors:
// [ErrNotFound], [ErrExists] where a live session has the key new, [ErrClosed],
// and a key new that is not equal to itself. A session with the key new that is
// due is ended first, as Start does.
func (e *Engine[K, V]) Rename(old, new K) error {
	if new != new {
		return errUnequal("new key")
	}
	for {
		if e.closing.Load() {
			return ErrClosed
		}
		s, ok, _ := e.find(&old)
		if !ok {
			return ErrNotFound
		}
		m := e.time.read()
		sh, rec, _ := s.lock(m)
		if rec == nil {
			return ErrNotFound
		}
		if rec.key != old {
			sh.unlock()
			continue // renamed meanwhile; somebody else may have the key by now
		}
		other, renamed := e.rename(rec, s.slot(), &new)
		sh.unlock()
		if renamed {
			return nil
		}
		if other.e == nil {
			return ErrClosed
		}
		if !e.endIfDue(other, new, m) {
			return ErrExists
		}
	}
}

// rename gives a session, whose shard is locked, another key, unless one has
// it.
func (e *Engine[K, V]) rename(rec *record[K], slot uint32, key *K) (other Session[K, V], ok bool) {
	if rec.key == *key {
		return other, true
	}
	oldHash, newHash := e.hash(&rec.key), e.hash(key)
	from, to := e.shardOf(oldHash), e.shardOf(newHash)
	first, second := from, to
	if second.id < first.id {
		first, second = second, first
	}
	first.index.mu.Lock()
	defer first.index.mu.Unlock()
	if second != first {
		second.index.mu.Lock()
		defer second.index.mu.Unlock()
	}
	if e.closed.Load() {
		return other, false // Close may have cleared the index already
	}
	if taken, ok := to.index.find(high(newHash), key); ok {
		return e.session(taken), false
	}
	move(&from.index, &to.index, high(oldHash), high(newHash), slot, func() { setKey(e.keys, rec, key) })
	return other, true
}

// All ranges over the live sessions, in no order. It holds no lock while it
// yields: the body may do anything. A session that lives throughout comes
// exactly once; one that starts or ends meanwhile may come or not.
func (e *Engine[K, V]) All() iter.Seq[Session[K, V]] {
	return func(yield func(Session[K, V]) bool) {
		for i := range e.shards {
			sh := &e.shards[i]
			for page := 0; page < sh.slab.extent(); page++ {
				recs := sh.slab.recordsOf(page)
				if recs == nil {
					continue
				}
				for i := range recs {
					state := recs[i].state.Load()
					if state&phaseMask != phaseLive {
						continue
					}
					slot := uint32(page<<pageShift|i)<<e.shardBits | sh.id
					s := Session[K, V]{e, refOf(state, slot)}
					if s.Alive() && !yield(s) {
						return
					}
				}
			}
		}
	}
}

// Len returns the number of sessions, those included that are due but have not
// been ended yet.
func (e *Engine[K, V]) Len() int {
	n := 0
	for i := range e.shards {
		n += int(e.shards[i].live.Load())
	}
	return n
}

// Now returns the time by the engine's clock, by which it tells all times:
// today's wall clock, or Options.Clock's. The latter never goes back here; the
// wall clock does when somebody sets it back.
func (e *Engine[K, V]) Now() time.Time { return e.time.dial().wall }

// Shutdown ends all sessions and waits for their hooks: those that are due with
// their own reason, all others with [ReasonShutdown]. From its first moment on
// nothing can be started. Hooks run as at a deadline: on the workers, in Manual
// mode on the caller; a hook itself must therefore call Shutdown on another
// goroutine. When ctx ends first, no further hook begins and its error is
// returned. In any case the engine is closed then. Shutdown of a closed engine
// returns [ErrClosed].
func (e *Engine[K, V]) Shutdown(ctx context.Context) error {
	e.mu.Lock()
	if e.closing.Swap(true) {
		e.mu.Unlock()
		return ErrClosed
	}
	e.mu.Unlock()
	e.driver.stop()
	defer e.Close()
	return e.endAll(ctx)
}

// endAll ends every session and hands it to its hooks.
func (e *Engine[K, V]) endAll(ctx context.Context) error {
	if e.manual {
		a := agenda[K, V]{e: e, m: e.time.read(), why: ReasonShutdown, ctx: ctx}
		for i := range e.shards {
			a.rest = e.shards[i].list(a.m, a.rest)
		}
		slices.SortFunc(a.rest, listed.compare)
		a.run()
		if err := ctx.Err(); err != nil {
			return err
		}
		return e.queue.drain(ctx)
	}
	var ends []ending[K, V]
	for i := range e.shards {
		sh := &e.shards[i]
		for all := sh.list(e.time.read(), nil); len(all) > 0; runtime.Gosched() {
			room, err := e.queue.wait(ctx)
			if err != nil {
				return err
			}
			m := e.time.read()
			n := min(room, len(all))
			for _, l := range all[:n] {
				ends = sh.endListed(l, ReasonShutdown, m, ends)
			}
			e.queue.put(ends)
			clear(ends)
			ends, all = ends[:0], all[n:]
		}
	}
	return e.queue.drain(ctx)
}

// Close ends the engine at once: no session lives, no further hook is begun,
// and the engine holds no goroutine, timer, key, value or hook any more. It
// does not wait for hooks that run, or that a worker was about to call. It may
// be called from anywhere, a hook included, and more than once; it returns nil.
func (e *Engine[K, V]) Close() error {
	now := e.time.dial().at(e.time.now())
	for _, h := range e.close() {
		h.fn(Event[K, V]{Reason: ReasonShutdown, Ended: now})
	}
	return nil
}

// close drops everything and returns the hooks that cancel contexts.
func (e *Engine[K, V]) close() (contexts []*hook[K, V]) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closing.Store(true)
	if e.closed.Swap(true) {
		return nil
	}
	e.driver.stop()
	e.queue.close()
	// First all indexes: no look-up finds a slot of which another shard has
	// forgotten the record.
	for i := range e.shards {
		e.shards[i].index.clear()
	}
	for i := range e.shards {
		contexts = e.shards[i].clear(contexts)
	}
	e.hooks.clear()
	e.batches.clear()
	e.warnings.clear()
	for _, c := range *e.classes.Load() {
		c.hooks.clear()
	}
	e.memory.clear()
	return contexts
}

// locate splits a slot into its shard and the place in the shard's slab.
func (e *Engine[K, V]) locate(slot uint32) (*shard[K, V], uint32) {
	return &e.shards[slot&e.shardMask], slot >> (e.shardBits & 31)
}

// record returns the record of a slot, nil if there is none.
func (e *Engine[K, V]) record(slot uint32) *record[K] {
	return e.shards[slot&e.shardMask].slab.record(slot >> (e.shardBits & 31))
}

// session returns a handle of the session that is in a slot now.
func (e *Engine[K, V]) session(slot uint32) Session[K, V] {
	return Session[K, V]{e, refOf(e.record(slot).state.Load(), slot)}
}

func (e *Engine[K, V]) hash(key *K) uint64 { return hashOf(e.keys, e.seed, key) }

// shardOf returns the shard whose index has the keys of a hash.
func (e *Engine[K, V]) shardOf(hash uint64) *shard[K, V] {
	return &e.shards[uint32(hash)&e.shardMask]
}

// high returns the part of a hash that an index uses.
func high(hash uint64) uint32 { return uint32(hash >> 32) }

func (e *Engine[K, V]) class(r reading) *Class[K, V] { return (*e.classes.Load())[r.class()] }

func (e *Engine[K, V]) terms(r reading) *terms { return e.termsOf(r.class()) }

// termsOf returns the terms of a class as they are now.
func (e *Engine[K, V]) termsOf(class uint64) *terms { return &(*e.table.Load())[class] }
