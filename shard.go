package lapse

import (
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
	live atomic.Int64 // sessions that were not claimed; written under mu

	mu sync.Mutex
	// mu guards the fields below, and the cells, keys and values of the slab.
	// The lock of an index may be taken under mu, never the other way round.

	wheel   wheel
	slab    slab[K, V]
	armed   int                        // sessions with an entry that counts
	counts  []int                      // sessions by class
	hooks   map[uint32]*ownHooks[K, V] // of sessions that have their own, by slot
	holds   map[uint32]int             // holds beyond the first
	warning map[uint32]bool            // sessions whose warning hooks wait (false) or run (true)
	ended   [ReasonShutdown + 1]uint64 // ends by reason
	late    [len(Stats{}.Late)]uint64  // ends at deadlines, by how late they were

	_ [64]byte // the next shard's lock is in another cache line
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

// unlock publishes the shard's next visit and wakes the driver if that is now
// earlier than the driver knows.
func (sh *shard[K, V]) unlock() {
	sh.trim()
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

// trim takes superseded entries out of the wheel when they outnumber the
// sessions, a few at each call, so that log-outs at any rate leave no heap of
// them behind.
func (sh *shard[K, V]) trim() {
	const portion, allowed = 64, 1024
	if sh.wheel.count-sh.armed <= max(allowed, int(sh.live.Load())) {
		return
	}
	var buf [portion]entry
	for _, e := range buf[:sh.wheel.sift(buf[:])] {
		rec := sh.slab.record(e.idx())
		if r := rec.read(); r.place() == inWheel && r.armed() == e.armed() {
			sh.wheel.place(sh.armedTick(r), e.idx())
		}
	}
}

// armedTick returns the tick of a session's entry in the wheel. An entry that
// is waiting for its visit, or has just been sifted, may count as long past.
func (sh *shard[K, V]) armedTick(r reading) int64 {
	return sh.wheel.cur + int64(int32(r.armed()-uint32(sh.wheel.cur)))
}

// add puts a new session into a free slot. It fails when the slab is full.
func (sh *shard[K, V]) add(c *Class[K, V], hash uint32, key K, value V, m moment) (Session[K, V], bool) {
	idx, ok := sh.slab.take(sh.e.mostSlots())
	if !ok {
		return Session[K, V]{}, false
	}
	p, i := sh.slab.at(idx)
	rec := &p.records[i]
	setKey(sh.e.keys, rec, key)
	p.values[i] = value
	if p.order != nil {
		p.order[i] = sh.e.starts.Add(1)
	}
	gen := rec.state.Load() >> genShift
	rec.run.Store(0)
	rec.born.Store(c.id<<classShift | uint64(m.stamp))
	rec.arm.Store(0)
	rec.state.Store(gen<<genShift | phaseLive | uint64(m.stamp))
	slot := idx<<sh.e.shardBits | sh.id
	sh.index.insert(hash, slot)
	sh.live.Add(1)
	sh.count(c.id, 1)
	sh.wheel.advance(m.now)
	sh.arm(rec, idx, m)
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
	for {
		r := sh.read(rec, m)
		if r.state>>phaseShift != gen<<2 {
			return false
		}
		limit, why, due := sh.e.terms(r).due(r, m.now)
		if !due {
			return true
		}
		if rec.mark(r, limit, why) {
			return false
		}
	}
}

// markDue marks every session that is due, so that no change of a policy
// revives it, and reports whether there are any. What is due is found in the
// wheel's due slots, since no session is armed for later than its end.
func (sh *shard[K, V]) markDue(m moment) (some bool) {
	sh.mu.Lock()
	sh.wheel.advance(m.now)
	// Due sessions are armed anew, for now, and others may advance the wheel to
	// there meanwhile.
	left := sh.wheel.overdue(m.now)
	sh.mu.Unlock()
	var buf [mostBatch]entry
	for left > 0 {
		sh.mu.Lock()
		n := sh.wheel.pop(buf[:min(left, len(buf))])
		some = sh.recheck(buf[:n], m) || some
		sh.unlock()
		if left -= n; n == 0 {
			break
		}
	}
	return some
}

// recheck marks the sessions of entries that have left the wheel, if they are
// due, and arms all anew. It reports whether some were.
func (sh *shard[K, V]) recheck(entries []entry, m moment) (some bool) {
	for _, e := range entries {
		if rec, ok := sh.consume(e); ok {
			some = !sh.alive(rec, rec.read().gen(), m) || some
			sh.arm(rec, e.idx(), m)
		}
	}
	return some
}

// arm sees to it that the wheel visits a session in time: when it is due, or
// before that when it is to be warned.
func (sh *shard[K, V]) arm(rec *record[K], idx uint32, m moment) {
	r := sh.read(rec, m)
	tick := m.now
	if r.phase() == phaseLive {
		t := sh.e.terms(r)
		if r.warned() && m.now < t.warnTick(r) {
			sh.change(rec, warnedBit, 0, 0)
			sh.slab.noteWarned(idx, false)
			r = sh.read(rec, m)
		}
		tick = t.visitTick(r)
	}
	sh.armFor(rec, idx, tick)
}

// armFor arms a session for a tick, or leaves it if its entry lies no later. At
// the end of time nothing ends.
func (sh *shard[K, V]) armFor(rec *record[K], idx uint32, tick int64) {
	if tick > lastTick {
		return
	}
	// A tick long past would count as one to come; see armedTick.
	tick = max(tick, sh.wheel.cur)
	switch r := rec.read(); r.place() {
	case unarmed:
		sh.armed++
	case inWheel:
		if sh.armedTick(r) <= tick {
			return
		}
	case inFar:
		if sh.wheel.farTick(idx) <= tick {
			return
		}
		sh.wheel.dropFar(idx)
	}
	place := inWheel
	if sh.wheel.place(tick, idx) {
		place = inFar
	}
	rec.setArmed(place, tick)
}

// rearm arms the sessions of a class that lie on 64 neighboring places. It
// reports whether there are such places.
func (sh *shard[K, V]) rearm(word int, class uint64, warned bool, m moment) bool {
	sh.mu.Lock()
	defer sh.unlock()
	pages, page := sh.slab.pages.Load(), word/(pageSize/64)
	if pages == nil || page >= len(*pages) {
		return false
	}
	p := &(*pages)[page]
	word %= pageSize / 64
	those := ^uint64(0)
	if warned {
		those = p.warned[word]
	}
	for ; those != 0; those &= those - 1 {
		i := 64*word + bits.TrailingZeros64(those)
		rec := &p.records[i]
		if r := rec.read(); r.phase() <= phaseDue && r.class() == class {
			sh.arm(rec, uint32(page<<pageShift|i), m)
		}
	}
	return true
}

// disarm forgets a session's entry.
func (sh *shard[K, V]) disarm(rec *record[K], idx uint32) {
	switch rec.read().place() {
	case unarmed:
		return
	case inFar:
		sh.wheel.dropFar(idx)
	}
	sh.armed--
	rec.setArmed(unarmed, 0)
}

// end ends a live session at the caller's wish. It fails if the session turns
// out to have ended.
func (sh *shard[K, V]) end(rec *record[K], idx uint32, gen uint64, why Reason, m moment, ends []ending[K, V]) (_ []ending[K, V], ok bool) {
	for sh.alive(rec, gen, m) {
		r := sh.read(rec, m)
		limit, _ := sh.e.terms(r).end(r, m.stamp)
		if ends, ok = sh.claim(rec, idx, r, limit, why, m, ends); ok {
			return ends, true
		}
	}
	return ends, false
}

// poll counts a poll of the session of that generation. A poll past the cap or
// one too many ends it.
func (sh *shard[K, V]) poll(rec *record[K], idx uint32, gen uint64, m moment) (ends []ending[K, V], ok bool) {
	for sh.alive(rec, gen, m) {
		r := sh.read(rec, m)
		t := sh.e.terms(r)
		limit, _ := t.end(r, m.stamp)
		why := ReasonPollCap
		switch {
		case t.pastCap(r, m.stamp):
		case t.pollMax > 0 && r.polls() >= t.pollMax:
			why = ReasonPollMax
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
		if ends, ok = sh.claim(rec, idx, r, limit, why, m, nil); ok {
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

// A visit is what drive needs to know.
type visit struct {
	moment
	buf [mostBatch]entry
}

// drive visits the sessions whose time has come, at most room of them, and
// appends to ends what is to be delivered. It reports whether there are more.
func (sh *shard[K, V]) drive(v *visit, room int, ends []ending[K, V]) (_ []ending[K, V], more bool) {
	sh.mu.Lock()
	defer sh.unlock()
	if sh.e.closed.Load() {
		return ends, false
	}
	sh.wheel.advance(v.now)
	for _, e := range v.buf[:sh.wheel.pop(v.buf[:min(room, mostBatch)])] {
		if rec, ok := sh.consume(e); ok {
			ends = sh.visit(rec, e.idx(), v.moment, ends)
		}
	}
	return ends, sh.wheel.next() <= v.now
}

// visit ends a session if it is due, warns it if that is, and arms it anew if
// it lives on.
func (sh *shard[K, V]) visit(rec *record[K], idx uint32, m moment, ends []ending[K, V]) []ending[K, V] {
	if sh.warning[idx] {
		return ends // it is armed anew when its warning has been given
	}
	for {
		r := sh.read(rec, m)
		if r.phase() == phaseDue {
			ends, _ = sh.endDue(rec, idx, r.gen(), m, ends)
			return ends
		}
		t := sh.e.terms(r)
		if limit, why, due := t.due(r, m.now); due {
			var ok bool
			if ends, ok = sh.claim(rec, idx, r, limit, why, m, ends); ok {
				return ends
			}
			continue // a touch came between
		}
		ends = sh.warn(rec, idx, r, t, m, ends)
		sh.arm(rec, idx, m)
		return ends
	}
}

// claim ends a session for good: it leaves the look-up, and whoever called
// delivers the ending. The caller holds the lock, has read r and found the
// reason; if a touch has come between, claim returns false.
func (sh *shard[K, V]) claim(rec *record[K], idx uint32, r reading, limit int64, why Reason, m moment, ends []ending[K, V]) (_ []ending[K, V], ok bool) {
	if !rec.state.CompareAndSwap(r.state, r.state&^phaseMask|phaseEnded) {
		return ends, false
	}
	e := sh.e
	p, i := sh.slab.at(idx)
	slot := idx<<e.shardBits | sh.id
	hash := e.hash(rec.key)
	home := e.shardOf(hash)
	ended := max(m.now, r.seen) // which is rounded up
	if why <= ReasonPollCap {
		ended = max(ended, limit) // somebody with a later reading may have found it due
	}
	// Before it leaves the index, so that Ended knows it throughout.
	e.memory.add(rec.key, why, ended)
	home.index.mu.Lock()
	home.index.remove(high(hash), slot)
	home.index.mu.Unlock()

	sh.disarm(rec, idx)
	delete(sh.holds, idx)
	delete(sh.warning, idx)
	sh.slab.noteWarned(idx, false)
	if own := sh.hooks[idx]; own != nil {
		for _, h := range own.before {
			h.done.Store(true)
		}
		own.before = nil
	}
	sh.live.Add(-1)
	sh.count(r.class(), -1)
	sh.ended[why]++
	if why <= ReasonPollCap {
		sh.late[lateness(m.ns-limit*e.time.tick)]++
	}
	if e.maxSessions > 0 {
		e.total.Add(-1)
	}
	if e.hooked.Load() {
		e.queue.pending.Add(1)
		ends = append(ends, ending[K, V]{
			key: rec.key, value: p.values[i], class: e.class(r), own: sh.hooks[idx], slot: slot, gen: r.gen(),
			why: why, polls: r.polls(), started: r.started(), seen: r.seen, limit: limit, ended: ended,
		})
	}
	if sh.hooks[idx] == nil {
		sh.slab.put(idx)
	}
	if sh.live.Load() == 0 {
		sh.wheel.clear()
	}
	return ends, true
}

// listDue takes the visits that are due out of the wheel for Advance: what is
// due is marked and listed, so is what is to be warned, all others are armed
// anew.
func (sh *shard[K, V]) listDue(m moment, list []listed) []listed {
	sh.mu.Lock()
	sh.wheel.advance(m.now)
	sh.mu.Unlock()
	var buf [mostBatch]entry
	for n := len(buf); n > 0; {
		sh.mu.Lock()
		n = sh.wheel.pop(buf[:])
		for _, e := range buf[:n] {
			rec, ok := sh.consume(e)
			if !ok {
				continue
			}
			r := sh.read(rec, m)
			l := listed{slot: e.idx()<<sh.e.shardBits | sh.id, gen: r.gen(), order: sh.slab.startOrder(e.idx())}
			if !sh.alive(rec, r.gen(), m) {
				l.limit, _ = rec.read().verdict()
			} else if t := sh.e.terms(r); t.toWarn(r, m.now) {
				l.warning = true
				l.limit, _ = t.warnLimit(r)
				sh.armFor(rec, e.idx(), t.dueTick(r))
			} else {
				sh.arm(rec, e.idx(), m)
				continue
			}
			list = append(list, l)
		}
		sh.unlock()
	}
	return list
}

// list lists all sessions for Shutdown.
func (sh *shard[K, V]) list(m moment, list []listed) []listed {
	for idx := uint32(0); ; idx++ {
		// The lock is taken anew now and then, so that nobody waits for long.
		if idx%pageSize == 0 {
			if idx > 0 {
				sh.unlock()
			}
			sh.mu.Lock()
		}
		rec := sh.slab.record(idx)
		if rec == nil {
			sh.unlock()
			return list
		}
		r := rec.read()
		l := listed{slot: idx<<sh.e.shardBits | sh.id, gen: r.gen(), order: sh.slab.startOrder(idx)}
		switch {
		case r.phase() > phaseDue:
			continue
		case sh.alive(rec, r.gen(), m):
			l.limit, _ = sh.e.terms(r).end(sh.read(rec, m), m.stamp)
		default:
			l.due = true
			l.limit, _ = rec.read().verdict()
		}
		list = append(list, l)
	}
}

// endListed ends a listed session: with its verdict if it is due, else for why.
func (sh *shard[K, V]) endListed(l listed, why Reason, m moment, ends []ending[K, V]) []ending[K, V] {
	sh.mu.Lock()
	defer sh.unlock()
	idx := l.slot >> sh.e.shardBits
	rec := sh.slab.record(idx)
	if rec == nil {
		return ends
	}
	if why != 0 {
		if with, ok := sh.end(rec, idx, l.gen, why, m, ends); ok {
			return with
		}
	}
	ends, _ = sh.endDue(rec, idx, l.gen, m, ends)
	return ends
}

// warnListed warns a listed session, unless a hook has carried it out of reach
// meanwhile.
func (sh *shard[K, V]) warnListed(l listed, m moment) (ends []ending[K, V]) {
	sh.mu.Lock()
	defer sh.unlock()
	idx := l.slot >> sh.e.shardBits
	rec := sh.slab.record(idx)
	if rec == nil || !sh.alive(rec, l.gen, m) {
		return nil
	}
	r := sh.read(rec, m)
	ends = sh.warn(rec, idx, r, sh.e.terms(r), m, nil)
	sh.arm(rec, idx, m)
	return ends
}

// endDue ends a session that has been marked as due.
func (sh *shard[K, V]) endDue(rec *record[K], idx uint32, gen uint64, m moment, ends []ending[K, V]) (_ []ending[K, V], ok bool) {
	r := rec.read()
	if r.state>>phaseShift != gen<<2|phaseDue>>phaseShift {
		return ends, false
	}
	limit, why := r.verdict()
	return sh.claim(rec, idx, r, limit, why, m, ends)
}

// consume takes note that an entry has left the wheel. False: it had been
// superseded.
func (sh *shard[K, V]) consume(e entry) (rec *record[K], ok bool) {
	rec = sh.slab.record(e.idx())
	r := rec.read()
	if r.phase() > phaseDue || r.place() == unarmed || r.armed() != e.armed() {
		return nil, false
	}
	if r.place() == inFar && sh.wheel.isFar(e.idx()) {
		return nil, false // ticks that are 2^32 apart look alike
	}
	rec.setArmed(unarmed, 0)
	sh.armed--
	return rec, true
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
	sh.hooks, sh.holds, sh.warning = nil, nil, nil
	sh.armed, sh.counts = 0, nil
	sh.live.Store(0)
	return contexts
}

// lateness returns the place in Stats.Late of an end so many nanoseconds after
// its deadline.
func lateness(ns int64) int {
	us := uint64(max(ns, 0)) / uint64(time.Microsecond)
	return min(bits.Len64(us), len(Stats{}.Late)-1)
}
