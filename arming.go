package lapse

import "math/bits"

// arm sees to it that the wheel visits a session in time: when it is due, or
// before that when it is to be warned.
func (sh *shard[K, V]) arm(rec *record[K], idx uint32, m moment) {
	r := sh.read(rec, m)
	now := max(m.now, sh.wheel.cur) // the reading may be from before the last visit
	tick := now
	if r.phase() == phaseLive {
		t := sh.e.terms(r)
		if r.warned() && now < t.warnTick(&r) {
			sh.setWarned(rec, idx, false)
			r = sh.read(rec, m)
		}
		tick = t.visitTick(&r)
		if tick <= now && sh.warningOf(idx, r).runs() {
			tick = t.dueTick(&r) // the next warning is put off
		}
	}
	sh.armFor(rec, idx, tick)
}

// armFor arms a session for a tick, or leaves it if its entry lies no later. At
// the end of time nothing ends.
func (sh *shard[K, V]) armFor(rec *record[K], idx uint32, tick int64) {
	if tick > lastTick {
		return
	}
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
	rec.setArmed(sh.place(tick, idx))
}

// place puts an entry into the wheel, and returns where it lies and for which
// tick.
func (sh *shard[K, V]) place(tick int64, idx uint32) (place int, at int64) {
	// A tick long past would count as one to come; see armedTick.
	tick = max(tick, sh.wheel.cur)
	if sh.wheel.place(tick, idx) {
		return inFar, tick
	}
	return inWheel, tick
}

// armedTick returns the tick of a session's entry in the wheel. An entry that
// is waiting for its visit, or has just been sifted, may count as long past.
func (sh *shard[K, V]) armedTick(r reading) int64 { return sh.wheel.tickOf(r.armed()) }

// current reports whether an entry that has left the wheel is the one that its
// session is armed with; else it had been superseded.
func (sh *shard[K, V]) current(r reading, e entry) bool {
	if r.phase() > phaseDue || r.place() == unarmed || r.armed() != e.armed() {
		return false
	}
	return r.place() != inFar || !sh.wheel.isFar(e.idx()) // ticks that are 2^32 apart look alike
}

// consume takes note that an entry has left the wheel. False: it had been
// superseded.
func (sh *shard[K, V]) consume(e entry) (rec *record[K], ok bool) {
	rec = sh.slab.record(e.idx())
	if rec == nil || !sh.current(rec.read(), e) {
		return nil, false
	}
	sh.unarm(rec)
	return rec, true
}

// unarm forgets an entry that has left the wheel.
func (sh *shard[K, V]) unarm(rec *record[K]) {
	rec.setArmed(unarmed, 0)
	sh.armed--
}

// rearm arms the sessions of a class that lie on 64 neighboring places. It
// reports whether there are such places.
func (sh *shard[K, V]) rearm(word int, class uint64, warned bool, m moment) bool {
	sh.mu.Lock()
	defer sh.unlock()
	page := word / (pageSize / 64)
	recs := sh.slab.recordsOf(page)
	if recs == nil {
		return page < sh.slab.extent()
	}
	word %= pageSize / 64
	those := ^uint64(0)
	if warned {
		those = sh.slab.pages[page].warned[word]
	}
	for ; those != 0; those &= those - 1 {
		i := 64*word + bits.TrailingZeros64(those)
		rec := &recs[i]
		if r := rec.read(); r.phase() <= phaseDue && r.class() == class {
			sh.arm(rec, uint32(page<<pageShift|i), m)
		}
	}
	return true
}

// markDue marks every session that is due, so that no change of a policy
// revives it, and reports whether there are any. What is due is found in the
// wheel's due slots, since no session is armed for later than its end.
func (sh *shard[K, V]) markDue(m moment) (some bool) {
	sh.mu.Lock()
	sh.wheel.advance(m.now)
	// Due sessions are armed anew, for m.now, and others may advance the wheel to
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

// trim takes superseded entries out of the wheel when they outnumber the
// sessions, a few at each call, so that log-outs at any rate leave no heap of
// them behind.
func (sh *shard[K, V]) trim() {
	const allowed = 1024
	if sh.wheel.count-sh.armed <= max(allowed, sh.sessions) {
		return
	}
	var buf [portion]entry
	entries := buf[:sh.wheel.sift(buf[:])]
	for _, e := range entries {
		if rec := sh.slab.record(e.idx()); rec != nil {
			rec.arm.Load() // all of them are fetched together
		}
	}
	for _, e := range entries {
		rec := sh.slab.record(e.idx())
		if rec == nil {
			continue
		}
		if r := rec.read(); sh.current(r, e) {
			sh.wheel.place(sh.armedTick(r), e.idx())
		}
	}
}
