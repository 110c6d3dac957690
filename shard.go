package lapse

import (
	"errors"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// A shard is a part of the sessions with everything they need: a lock, a wheel,
// a slab and an index. A session is in the shard that its first key hashes to.
type shard[K comparable, V any] struct {
	e     *Engine[K, V]
	id    uint32
	index index[K, V]

	// next is the tick of the shard's next visit, noTick if there is none. It
	// is written under mu and read by the driver.
	next atomic.Int64
	live atomic.Int64 // sessions, as of the last unlock

	mu sync.Mutex
	// mu guards the fields below, and the cells, keys and values of the slab.
	// The lock of an index may be taken under mu, never the other way round.

	wheel    wheel
	slab     slab[K, V]
	sessions int                        // that were not claimed
	handed   int                        // endings that were handed out, since the last unlock
	armed    int                        // sessions with an entry that counts
	counts   []int                      // sessions by class
	hooks    map[uint32]*ownHooks[K, V] // of sessions that have their own, by slot
	holds    map[uint32]int             // holds beyond the first
	warnings map[uint64]*warning[K, V]  // that wait or run, by session
	ended    [ReasonShutdown + 1]uint64 // ends by reason
	late     [len(Stats{}.Late)]uint64  // ends at deadlines, by how late they were

	_ [64]byte // the next shard's lock is in another cache line
}

func (sh *shard[K, V]) init(e *Engine[K, V], id uint32) {
	sh.e, sh.id = e, id
	sh.index.e = e
	sh.slab.manual, sh.slab.keys = e.manual, e.keys
	sh.wheel = newWheel(0)
	sh.next.Store(noTick)
}

// read reads a session under the lock.
func (sh *shard[K, V]) read(rec *record[K], m moment) reading {
	r := rec.read()
	r.seen = sh.e.time.seen(r.stamp(), m)
	return r
}

// change swaps bits of a live session's state: clears some, sets others, and
// sees it at stamp unless it was seen later. A touch can come between; then it
// works on that one's result.
func (sh *shard[K, V]) change(rec *record[K], clear, set uint64, stamp int64) {
	for {
		old := rec.state.Load()
		seen := int64(old & tickMask)
		if stamp > seen {
			if at, over := sh.e.time.outdated(seen, stamp); !over {
				seen = at
			}
		}
		if rec.state.CompareAndSwap(old, old&^(clear|tickMask)|set|uint64(seen)) {
			return
		}
	}
}

// unlock publishes what others read without the lock. It wakes the driver if
// the shard's next visit is now earlier than the driver knows.
func (sh *shard[K, V]) unlock() {
	sh.trim()
	if n := int64(sh.sessions); n != sh.live.Load() {
		sh.live.Store(n)
	}
	if sh.handed > 0 {
		sh.e.queue.pending.Add(int64(sh.handed))
		sh.handed = 0
	}
	next, old := sh.wheel.next(), sh.next.Load()
	if next == old {
		sh.mu.Unlock()
		return
	}
	sh.next.Store(next)
	sh.mu.Unlock()
	if next < old {
		sh.e.driver.nudge(next)
	} else if next == noTick {
		sh.e.driver.settle()
	}
}

// errMostSessions says that a session more would be above Options.MaxSessions.
var errMostSessions = errors.New("lapse: one more than MaxSessions")

// start starts a session under a key of that hash. Errors: ErrClosed, ErrExists
// and the session that has the key, which may be due, errMostSessions, and
// ErrFull where no slot is left.
func (sh *shard[K, V]) start(c *Class[K, V], hash uint32, key *K, value V, m moment) (Session[K, V], error) {
	e := sh.e
	sh.mu.Lock()
	sh.index.mu.Lock()
	// Close says that it is closing before it comes to the index: what comes
	// into that now, Close will clear.
	if e.closing.Load() {
		sh.index.mu.Unlock()
		sh.mu.Unlock()
		return Session[K, V]{}, ErrClosed
	}
	if slot, taken := sh.index.find(hash, key); taken {
		s := e.session(slot)
		sh.index.mu.Unlock()
		sh.mu.Unlock()
		return s, ErrExists
	}
	if !e.reserve() {
		sh.index.mu.Unlock()
		sh.mu.Unlock()
		return Session[K, V]{}, errMostSessions
	}
	s, ok := sh.add(c, hash, key, value, m)
	sh.index.mu.Unlock()
	sh.unlock()
	if !ok {
		e.unreserve()
		return s, ErrFull
	}
	return s, nil
}

// add puts a new session into a free slot. It fails when the slab is full.
func (sh *shard[K, V]) add(c *Class[K, V], hash uint32, key *K, value V, m moment) (Session[K, V], bool) {
	idx, ok := sh.slab.take(sh.e.mostSlots)
	if !ok {
		return Session[K, V]{}, false
	}
	p, i := sh.slab.at(idx)
	rec := sh.slab.record(idx)
	setKey(sh.e.keys, rec, key)
	p.values[i] = value
	if p.order != nil {
		p.order[i] = sh.e.starts.Add(1)
	}
	gen := rec.state.Load() >> genShift
	r := reading{state: gen<<genShift | phaseLive | uint64(m.stamp), born: c.id<<classShift | uint64(m.stamp), seen: m.stamp}
	sh.wheel.advance(m.now)
	if tick := sh.e.terms(r).visitTick(&r); tick <= lastTick {
		r.setArmed(sh.place(tick, idx))
		sh.armed++
	}
	if rec.run.Load() != 0 {
		rec.run.Store(0)
	}
	rec.born.Store(r.born)
	rec.arm.Store(r.arm)
	rec.state.Store(r.state)
	slot := idx<<sh.e.shardBits | sh.id
	sh.index.insert(hash, slot)
	sh.sessions++
	sh.count(c.id, 1)
	return Session[K, V]{sh.e, gen<<32 | uint64(slot)}, true
}

func (sh *shard[K, V]) count(class uint64, n int) {
	for uint64(len(sh.counts)) <= class {
		sh.counts = append(sh.counts, 0)
	}
	sh.counts[class] += n
}

// alive reports whether a slot holds the session of that generation and it has
// not ended. One that is found due is marked, so that nothing revives it.
func (sh *shard[K, V]) alive(rec *record[K], gen uint64, m moment) bool {
	_, ok := sh.readAlive(rec, gen, m)
	return ok
}

// readAlive is alive, and returns the reading that says so.
func (sh *shard[K, V]) readAlive(rec *record[K], gen uint64, m moment) (r reading, ok bool) {
	for {
		r = sh.read(rec, m)
		if r.state>>phaseShift != gen<<2 {
			return r, false
		}
		limit, why, due := sh.e.terms(r).due(&r, m.now)
		if !due {
			return r, true
		}
		if rec.mark(r, limit, why) {
			return r, false
		}
	}
}

// poll counts a poll of the session of that generation. A poll past the cap or
// one too many ends it.
func (sh *shard[K, V]) poll(rec *record[K], idx uint32, gen uint64, m moment) (ends []ending[K, V], ok bool) {
	for r, ok := sh.readAlive(rec, gen, m); ok; r, ok = sh.readAlive(rec, gen, m) {
		t := sh.e.terms(r)
		limit, _ := t.end(&r, m.stamp)
		f := finding{r, limit, ReasonPollCap}
		switch {
		case t.pastCap(&r, m.stamp):
		case t.pollMax > 0 && r.polls() >= t.pollMax:
			f.why = ReasonPollMax
		case r.polled():
			rec.setRun(r.runStart(), min(r.polls()+1, pollsMask))
			// If a touch has come between it came after this poll, and the run
			// stays ended.
			sh.change(rec, 0, 0, m.stamp)
			sh.arm(rec, idx, m)
			return nil, true
		default:
			rec.setRun(m.stamp, 1)
			sh.change(rec, 0, runBit, m.stamp)
			sh.arm(rec, idx, m)
			return nil, true
		}
		if ends, ok = sh.claim(rec, idx, sh.e.hash(&rec.key), f, m, nil); ok {
			return ends, false
		}
	}
	// The first poll after the cap ends the session, also if somebody has seen
	// before that it is due.
	if r := rec.read(); r.phase() == phaseDue {
		if _, why := r.verdict(); why == ReasonPollCap {
			ends, _ = sh.endDue(rec, idx, gen, m, nil)
		}
	}
	return ends, false
}

// end ends a live session at the caller's wish. It fails if the session turns
// out to have ended, or is held and was to be evicted.
func (sh *shard[K, V]) end(rec *record[K], idx uint32, gen uint64, why Reason, m moment, ends []ending[K, V]) (_ []ending[K, V], ok bool) {
	for r, ok := sh.readAlive(rec, gen, m); ok; r, ok = sh.readAlive(rec, gen, m) {
		if why == ReasonEvicted && r.held() {
			break
		}
		limit, _ := sh.e.terms(r).end(&r, m.stamp)
		if ends, ok = sh.claim(rec, idx, sh.e.hash(&rec.key), finding{r, limit, why}, m, ends); ok {
			return ends, true
		}
	}
	return ends, false
}

// endDue ends a session that has been marked as due.
func (sh *shard[K, V]) endDue(rec *record[K], idx uint32, gen uint64, m moment, ends []ending[K, V]) (_ []ending[K, V], ok bool) {
	r := rec.read()
	if r.state>>phaseShift != gen<<2|phaseDue>>phaseShift {
		return ends, false
	}
	limit, why := r.verdict()
	return sh.claim(rec, idx, sh.e.hash(&rec.key), finding{r, limit, why}, m, ends)
}

// A finding says what somebody has read of a session and concluded: its limit,
// and why it ends.
type finding struct {
	r     reading
	limit int64
	why   Reason
}

// claim ends a session, whose key has that hash, for good: it leaves the
// look-up, and whoever called delivers the ending. The caller holds the lock. If
// a touch has come since the finding, claim returns false.
func (sh *shard[K, V]) claim(rec *record[K], idx uint32, hash uint64, f finding, m moment, ends []ending[K, V]) (_ []ending[K, V], ok bool) {
	r := f.r
	if !rec.state.CompareAndSwap(r.state, r.state&^phaseMask|phaseEnded) {
		return ends, false
	}
	e := sh.e
	slot := idx<<e.shardBits | sh.id
	ended := max(m.now, r.seen) // which is rounded up
	if f.why <= ReasonPollCap {
		ended = max(ended, f.limit) // somebody with a later reading may have found it due
		sh.late[lateness(m.ns-f.limit*e.time.tick)]++
	}
	// Before it leaves the index, so that Ended knows it throughout.
	e.memory.add(rec.key, f.why, ended)
	home := &e.shardOf(hash).index
	home.mu.Lock()
	home.remove(high(hash), slot)
	home.mu.Unlock()

	sh.sessions--
	sh.ended[f.why]++
	sh.count(r.class(), -1)
	e.unreserve()
	own := sh.forget(idx, r)
	if e.hooked.Load() {
		sh.handed++
		p, i := sh.slab.at(idx)
		ends = append(ends, ending[K, V]{
			key: rec.key, value: p.values[i], class: e.class(r), own: own, slot: slot, gen: uint32(r.gen()),
			why: f.why, polls: uint32(r.polls()), started: r.started(), seen: r.seen, limit: f.limit, ended: ended,
		})
	}
	if own == nil {
		sh.slab.put(idx)
	}
	if sh.sessions == 0 {
		sh.wheel.clear()
	}
	return ends, true
}

// forget drops what the shard keeps of a session besides its record, but for
// its own hooks, which are still to run.
func (sh *shard[K, V]) forget(idx uint32, r reading) *ownHooks[K, V] {
	if r.place() != unarmed {
		sh.armed--
		if r.place() == inFar {
			sh.wheel.dropFar(idx)
		}
	}
	if r.warned() {
		sh.slab.noteWarned(idx, false)
	}
	delete(sh.holds, idx)
	if w := sh.warningOf(idx, r); w != nil && !w.begun {
		delete(sh.warnings, refOf(r.state, idx<<sh.e.shardBits|sh.id))
	}
	own := sh.hooks[idx]
	if own != nil {
		for _, h := range own.before {
			h.done.Store(true)
		}
		own.before = nil
	}
	return own
}

// lateness returns the place in Stats.Late of an end so many nanoseconds after
// its deadline.
func lateness(ns int64) int {
	us := uint64(max(ns, 0)) / uint64(time.Microsecond)
	return min(bits.Len64(us), len(Stats{}.Late)-1)
}

// release gives up the slot of a session whose own hooks have run.
func (sh *shard[K, V]) release(idx uint32, gen uint64) {
	if rec := sh.slab.record(idx); rec != nil && rec.state.Load()>>phaseShift == gen<<2|phaseEnded>>phaseShift {
		delete(sh.hooks, idx)
		sh.slab.put(idx)
	}
}

// clear forgets everything and returns, with contexts, the hooks that cancel
// one.
func (sh *shard[K, V]) clear(contexts []*hook[K, V]) []*hook[K, V] {
	sh.mu.Lock()
	defer sh.unlock()
	for _, own := range sh.hooks {
		for _, h := range own.expire[own.next:] {
			if !h.done.Swap(true) && h.closing {
				contexts = append(contexts, h)
			}
		}
		for _, h := range own.before {
			h.done.Store(true)
		}
	}
	sh.wheel = newWheel(sh.wheel.cur)
	sh.slab.clear()
	sh.hooks, sh.holds, sh.warnings = nil, nil, nil
	sh.sessions, sh.armed, sh.counts = 0, 0, nil
	return contexts
}
