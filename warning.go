package lapse

import "slices"

// A warning waits for its turn, or its hooks run. The lock of the session's
// shard guards it.
type warning[K comparable, V any] struct {
	begun bool           // a hook has been called
	after []ending[K, V] // the session's end, which came while hooks ran
}

// runs reports whether hooks of the warning run. Nil: there is none.
func (w *warning[K, V]) runs() bool { return w != nil && w.begun }

// warningOf returns the warning of a session, nil if there is none.
func (sh *shard[K, V]) warningOf(idx uint32, r reading) *warning[K, V] {
	if len(sh.warnings) == 0 {
		return nil
	}
	return sh.warnings[refOf(r.state, idx<<sh.e.shardBits|sh.id)]
}

// warn notes that a live session is to be warned, if it is, and appends its
// warning to ends if anybody wants to hear it. While the hooks of an earlier one
// run, that is put off until they have.
func (sh *shard[K, V]) warn(rec *record[K], idx uint32, r reading, t *terms, m moment, ends []ending[K, V]) []ending[K, V] {
	if !t.toWarn(&r, m.now) {
		return ends
	}
	w := sh.warningOf(idx, r)
	if w.runs() {
		return ends
	}
	sh.setWarned(rec, idx, true)
	if w != nil {
		return ends // that one serves
	}
	own := sh.hooks[idx]
	if (own == nil || len(own.before) == 0) && len(sh.e.warnings.load()) == 0 {
		return ends
	}
	n := ending[K, V]{slot: idx<<sh.e.shardBits | sh.id, gen: uint32(r.gen()), warning: true}
	if sh.warnings == nil {
		sh.warnings = make(map[uint64]*warning[K, V])
	}
	sh.warnings[n.ref()] = new(warning[K, V])
	sh.handed++
	return append(ends, n)
}

// setWarned notes whether a session has been warned of its end.
func (sh *shard[K, V]) setWarned(rec *record[K], idx uint32, on bool) {
	if on {
		sh.change(rec, 0, warnedBit, 0)
	} else {
		sh.change(rec, warnedBit, 0, 0)
	}
	sh.slab.noteWarned(idx, on)
}

// warningHooks returns the hooks that a warning has.
func (e *Engine[K, V]) warningHooks(n *ending[K, V]) (hooks []*hook[K, V]) {
	sh, idx := e.locate(n.slot)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if own := sh.hooks[idx]; own != nil {
		hooks = slices.Clone(own.before)
	}
	return append(hooks, e.warnings.load()...)
}

// tellWarning fills in what the next hook of a warning is told. False: it is not
// to be called, since the session has ended, is held, or is not near its end any
// more. All that can come while the warning waits, and from a hook before this
// one.
func (e *Engine[K, V]) tellWarning(n *ending[K, V]) bool {
	sh, idx := e.locate(n.slot)
	m := e.time.read()
	sh.mu.Lock()
	defer sh.unlock()
	rec := sh.slab.record(idx)
	if rec == nil {
		return false
	}
	r, alive := sh.readAlive(rec, uint64(n.gen), m)
	if !alive {
		return false
	}
	t := e.terms(r)
	if !r.warned() || r.held() || m.now < t.warnTick(&r) {
		return false
	}
	sh.warnings[n.ref()].begun = true
	n.limit, n.why = t.warnLimit(&r)
	n.key, n.value, n.class = rec.key, *sh.slab.value(idx), e.class(r)
	n.polls, n.started, n.seen = uint32(r.polls()), r.started(), r.seen
	return true
}

// endWarning has the wheel visit a warned session again. If no hook was called,
// the session has not been warned. If its end has come meanwhile, the hooks of
// that are called now.
func (e *Engine[K, V]) endWarning(n *ending[K, V]) {
	sh, idx := e.locate(n.slot)
	m := e.time.read()
	sh.mu.Lock()
	w := sh.warnings[n.ref()]
	if w == nil {
		sh.mu.Unlock()
		return
	}
	delete(sh.warnings, n.ref())
	if rec := sh.slab.record(idx); rec != nil {
		if r := rec.read(); r.gen() == uint64(n.gen) && r.phase() <= phaseDue {
			if r.warned() && !w.begun {
				sh.setWarned(rec, idx, false)
			}
			sh.arm(rec, idx, m)
		}
	}
	sh.unlock()
	e.deliver(w.after)
}

// inTurn returns where the ending of a session goes that is on its way to the
// workers: to ends, or, while the session's warning runs, after that.
func (sh *shard[K, V]) inTurn(idx uint32, r reading, ends *[]ending[K, V]) *[]ending[K, V] {
	if w := sh.warningOf(idx, r); w.runs() {
		return &w.after
	}
	return ends
}
