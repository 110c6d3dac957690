package lapse

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
