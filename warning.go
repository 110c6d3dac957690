package lapse

import "slices"

// warn notes that a live session is to be warned, if it is, and appends its
// warning to ends if anybody wants to hear it.
func (sh *shard[K, V]) warn(rec *record[K], idx uint32, r reading, t *terms, m moment, ends []ending[K, V]) []ending[K, V] {
	if !t.toWarn(&r, m.now) {
		return ends
	}
	sh.change(rec, 0, warnedBit, 0)
	sh.slab.noteWarned(idx, true)
	if _, waits := sh.warning[idx]; waits {
		return ends // that one serves
	}
	own := sh.hooks[idx]
	if (own == nil || len(own.before) == 0) && len(sh.e.warnings.load()) == 0 {
		return ends
	}
	limit, why := t.warnLimit(&r)
	if sh.warning == nil {
		sh.warning = make(map[uint32]bool)
	}
	sh.warning[idx] = false
	return append(ends, ending[K, V]{
		key: rec.key, value: *sh.slab.value(idx), class: sh.e.class(r), slot: idx<<sh.e.shardBits | sh.id, gen: uint32(r.gen()),
		warning: true, why: why, polls: uint32(r.polls()), started: r.started(), seen: r.seen, limit: limit,
	})
}

// warningHooks returns the hooks that a warning has: none if the session has
// been carried out of its reach while the warning was waiting.
func (e *Engine[K, V]) warningHooks(n *ending[K, V]) []*hook[K, V] {
	sh, idx := e.locate(n.slot)
	m := e.time.read()
	sh.mu.Lock()
	defer sh.unlock()
	rec := sh.slab.record(idx)
	if rec == nil || !sh.alive(rec, uint64(n.gen), m) {
		return nil
	}
	if r := rec.read(); !r.warned() || r.held() {
		return nil
	}
	sh.warning[idx] = true
	var hooks []*hook[K, V]
	if own := sh.hooks[idx]; own != nil {
		hooks = slices.Clone(own.before)
	}
	return append(hooks, e.warnings.load()...)
}

// stillWarns reports whether a session that is being warned lives: a hook of
// the same warning may have ended it.
func (e *Engine[K, V]) stillWarns(n *ending[K, V]) bool {
	return e.handle(n).Alive()
}

// endWarning has the wheel visit a warned session again.
func (e *Engine[K, V]) endWarning(n *ending[K, V]) {
	sh, idx := e.locate(n.slot)
	m := e.time.read()
	sh.mu.Lock()
	defer sh.unlock()
	rec := sh.slab.record(idx)
	if rec == nil || rec.state.Load()>>genShift != uint64(n.gen) {
		return
	}
	delete(sh.warning, idx)
	if rec.read().phase() <= phaseDue {
		sh.arm(rec, idx, m)
	}
}

func (e *Engine[K, V]) handle(n *ending[K, V]) Session[K, V] {
	return Session[K, V]{e, uint64(n.gen)<<32 | uint64(n.slot)}
}
