package lapse

import (
	"context"
	"slices"
)

// reserve counts one more session, unless there are MaxSessions.
func (e *Engine[K, V]) reserve() bool {
	if e.maxSessions == 0 {
		return true
	}
	for {
		n := e.total.Load()
		if n >= e.maxSessions {
			return false
		}
		if e.total.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// unreserve counts one less.
func (e *Engine[K, V]) unreserve() {
	if e.maxSessions > 0 {
		e.total.Add(-1)
	}
}

// makeRoom ends sessions in favor of a new one: those that are due, or one that
// is near its end. False: none can go.
func (e *Engine[K, V]) makeRoom(m moment) bool {
	return e.endOverdue(m) || e.whenFull == Evict && e.evict(m)
}

// endOverdue ends what is due and has not been ended: in Manual mode all, in
// order; else the first that it finds, since the others may wait for slow
// hooks.
func (e *Engine[K, V]) endOverdue(m moment) bool {
	if !e.manual {
		t := tour[K]{moment: m}
		for i := range e.shards {
			for sh, more := &e.shards[i], true; more && sh.next.Load() <= m.now; {
				var ends []ending[K, V]
				before := e.total.Load()
				ends, more = sh.drive(&t, 1, nil)
				e.deliver(ends)
				if e.total.Load() < before {
					return true
				}
			}
		}
		return false
	}
	some := e.advancing.Load()
	for i := range e.shards {
		some = e.shards[i].markDue(m) || some
	}
	if !some {
		return false
	}
	// What an Advance is about to end is in no wheel.
	a := agenda[K, V]{e: e, m: m, ctx: context.Background()}
	for i := range e.shards {
		a.rest = e.shards[i].list(m, a.rest)
	}
	a.rest = slices.DeleteFunc(a.rest, func(l listed) bool { return !l.due })
	slices.SortFunc(a.rest, listed.compare)
	some = len(a.rest) > 0
	a.run()
	return some
}

// evict ends the session nearest its end: in Manual mode exactly that one,
// otherwise one such that no other ends sooner by more than an eighth of its
// remaining time.
func (e *Engine[K, V]) evict(m moment) bool {
	for {
		best := listed{limit: never}
		for i := range e.shards {
			e.shards[i].markDue(m)
			best = e.shards[i].nearest(m, best)
		}
		if best.limit == never {
			return false
		}
		sh, idx := e.locate(best.slot)
		sh.mu.Lock()
		var ends []ending[K, V]
		ok := false
		if rec := sh.slab.record(idx); rec != nil {
			ends, ok = sh.end(rec, idx, best.gen, ReasonEvicted, m, nil)
		}
		sh.unlock()
		e.deliver(ends)
		if ok {
			return true
		}
		if e.total.Load() < e.maxSessions || e.closing.Load() {
			return true // somebody else has made room
		}
	}
}

// nearest returns the session of the shard that is nearest its end, if it is
// nearer than best. Its entry lies no later than that, so the search ends at
// the first slot beyond.
func (sh *shard[K, V]) nearest(m moment, best listed) listed {
	sh.mu.Lock()
	defer sh.unlock()
	sh.wheel.unsift()
	var buf [mostBatch]entry
	for n := sh.wheel.pop(buf[:]); n > 0; n = sh.wheel.pop(buf[:]) {
		sh.recheck(buf[:n], m)
	}
	sh.wheel.scan(func(first, last int64, e entry) (keep, more bool) {
		if sh.e.manual {
			// At its cap a session is not yet due, so its entry lies a tick
			// later.
			if first > best.limit+1 {
				return true, false
			}
		} else if left := best.limit - m.now; first-m.now >= left-left/9 {
			return true, false
		}
		rec := sh.slab.record(e.idx())
		if rec == nil {
			return false, true
		}
		r := sh.read(rec, m)
		if r.phase() > phaseDue || r.place() == unarmed || r.armed() != e.armed() {
			return false, true
		}
		if r.phase() == phaseDue {
			return true, true
		}
		t := sh.e.terms(r)
		keep = true
		if tick := t.visitTick(&r); tick > last && r.place() == inWheel {
			// It was touched since: move it, lest the next search finds it here
			// again. This one may not meet it any more, if its slot is a
			// longer one that began before.
			sh.unarm(rec)
			sh.arm(rec, e.idx(), m)
			keep = false
		}
		if r.held() {
			return keep, true
		}
		limit, _ := t.end(&r, m.stamp)
		l := listed{limit: limit, order: sh.slab.startOrder(e.idx()), slot: e.idx()<<sh.e.shardBits | sh.id, gen: r.gen()}
		if l.compare(best) < 0 {
			best = l
		}
		return keep, true
	})
	return best
}
