package lapse

// A tour is what drive needs to know, and where it works.
type tour[K comparable] struct {
	moment
	entries [portion]entry
	doomed  [portion]doomed[K]
}

// A doomed session was found due.
type doomed[K comparable] struct {
	rec  *record[K]
	idx  uint32
	hash uint64
	finding
}

// portion is how many sessions drive visits side by side. Their records and
// places in the index are in no cache, mostly; those of a portion are fetched
// together.
const portion = 32

// drive visits the sessions whose time has come, at most room of them, and
// appends to ends what is to be delivered. It reports whether there are more.
func (sh *shard[K, V]) drive(t *tour[K], room int, ends []ending[K, V]) (_ []ending[K, V], more bool) {
	sh.mu.Lock()
	defer sh.unlock()
	if sh.e.closed.Load() {
		return ends, false
	}
	sh.wheel.advance(t.now)
	for room > 0 {
		n := sh.wheel.pop(t.entries[:min(room, portion)])
		if n == 0 {
			break
		}
		room -= n
		ends = sh.visitAll(t, t.entries[:n], ends)
	}
	return ends, sh.wheel.next() <= t.now
}

// visitAll visits the sessions of entries that have left the wheel, in passes:
// one fetches the records of those whose tick has come, one looks at them, one
// fetches where the index has those that are due, and one ends these.
func (sh *shard[K, V]) visitAll(t *tour[K], entries []entry, ends []ending[K, V]) []ending[K, V] {
	come := entries[:0]
	for _, e := range entries {
		if sh.carry(e) {
			continue
		}
		come = append(come, e)
		if rec := sh.slab.record(e.idx()); rec != nil {
			rec.state.Load()
		}
	}
	n := 0
	for _, e := range come {
		idx := e.idx()
		rec := sh.slab.record(idx)
		if rec == nil {
			continue
		}
		r := sh.read(rec, t.moment)
		if !sh.current(r, e) {
			continue
		}
		if f, due := sh.judge(r, t.moment); due {
			t.doomed[n] = doomed[K]{rec, idx, sh.e.hash(&rec.key), f}
			n++
			continue
		}
		sh.unarm(rec)
		ends = sh.pass(rec, idx, r, t.moment, ends)
	}
	doomed := t.doomed[:n]
	for i := range doomed {
		hash := doomed[i].hash
		sh.e.shardOf(hash).index.fetch(high(hash))
	}
	for i := range doomed {
		ends = sh.endDoomed(&doomed[i], t.moment, ends)
	}
	clear(doomed) // lest it keeps pages that are empty by now
	return ends
}

// endDoomed ends a session that was found due, unless a touch has come between,
// or another of its entries before this one.
func (sh *shard[K, V]) endDoomed(d *doomed[K], m moment, ends []ending[K, V]) []ending[K, V] {
	to := sh.inTurn(d.idx, d.r, &ends)
	for {
		var ok bool
		if *to, ok = sh.claim(d.rec, d.idx, d.hash, d.finding, m, *to); ok {
			return ends
		}
		r := sh.read(d.rec, m)
		if r.gen() != d.r.gen() || r.phase() > phaseDue {
			return ends
		}
		f, due := sh.judge(r, m)
		if !due {
			sh.unarm(d.rec)
			return sh.pass(d.rec, d.idx, r, m, ends)
		}
		d.finding = f
	}
}

// carry puts an entry whose tick has not come on a lower level of the wheel, and
// reports whether it was one. It takes no look at the session: there may be very
// many at once, when a long slot begins, and others are due meanwhile. An entry
// that was a far one is not carried, since its session knows it as that.
func (sh *shard[K, V]) carry(e entry) bool {
	tick := sh.wheel.poppedTick(e.armed())
	if tick <= sh.wheel.cur || sh.wheel.far != nil {
		return false
	}
	sh.wheel.place(tick, e.idx())
	return true
}

// judge reports whether a session that has not ended is due.
func (sh *shard[K, V]) judge(r reading, m moment) (f finding, due bool) {
	f.r = r
	if r.phase() == phaseDue {
		f.limit, f.why = r.verdict()
		return f, true
	}
	f.limit, f.why, due = sh.e.terms(r).due(&r, m.now)
	return f, due
}

// pass warns a session that is not due, if it is to be warned, and arms it
// anew.
func (sh *shard[K, V]) pass(rec *record[K], idx uint32, r reading, m moment, ends []ending[K, V]) []ending[K, V] {
	ends = sh.warn(rec, idx, r, sh.e.terms(r), m, ends)
	sh.arm(rec, idx, m)
	return ends
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
			} else if t := sh.e.terms(r); t.toWarn(&r, m.now) {
				l.warning = true
				l.limit, _ = t.warnLimit(&r)
				sh.armFor(rec, e.idx(), t.dueTick(&r))
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
// Without Manual its hooks are for the workers.
func (sh *shard[K, V]) endListed(l listed, why Reason, m moment, ends []ending[K, V]) []ending[K, V] {
	sh.mu.Lock()
	defer sh.unlock()
	idx := l.slot >> sh.e.shardBits
	rec := sh.slab.record(idx)
	if rec == nil {
		return ends
	}
	to := &ends
	if !sh.e.manual {
		to = sh.inTurn(idx, rec.read(), to)
	}
	if why != 0 {
		if with, ok := sh.end(rec, idx, l.gen, why, m, *to); ok {
			*to = with
			return ends
		}
	}
	*to, _ = sh.endDue(rec, idx, l.gen, m, *to)
	return ends
}

// list lists all sessions for Shutdown. The lock is taken anew for each page,
// so that nobody waits for long.
func (sh *shard[K, V]) list(m moment, list []listed) []listed {
	for page, pages := 0, 1; page < pages; page++ {
		sh.mu.Lock()
		pages = sh.slab.extent() // a Start may have made the first one just now
		if recs := sh.slab.recordsOf(page); recs != nil {
			for i := range recs {
				if l, ok := sh.listing(&recs[i], uint32(page<<pageShift|i), m); ok {
					list = append(list, l)
				}
			}
		}
		sh.unlock()
	}
	return list
}

func (sh *shard[K, V]) listing(rec *record[K], idx uint32, m moment) (l listed, ok bool) {
	r := rec.read()
	if r.phase() > phaseDue {
		return l, false
	}
	l = listed{slot: idx<<sh.e.shardBits | sh.id, gen: r.gen(), order: sh.slab.startOrder(idx)}
	if r, ok := sh.readAlive(rec, r.gen(), m); ok {
		l.limit, _ = sh.e.terms(r).end(&r, m.stamp)
	} else {
		l.due = true
		l.limit, _ = rec.read().verdict()
	}
	return l, true
}
