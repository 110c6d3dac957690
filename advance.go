package lapse

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// Advance ends the sessions that are due now, in order of their deadlines and
// then of their start, and runs the hooks of each, and the warnings that are
// due after those. It is for engines with Options.Manual, whose embedder calls
// it from a loop; on others it does nothing and returns false.
//
// One reading of the clock says what is due: what its hooks start waits for the
// next call. A session whose warning comes so late, after slow hooks, that it has
// ended is not warned. While one Advance runs, another, also one called by a
// hook, ends nothing.
//
// Next is when to call again: before that nothing is to be done, unless a Start,
// or whatever shortens an end, brings it forward. It is a lower bound: a session
// that was touched meanwhile ends later. Ok is false if there is nothing to wait
// for.
func (e *Engine[K, V]) Advance() (next time.Time, ok bool) {
	if !e.manual {
		return time.Time{}, false
	}
	if e.advancing.CompareAndSwap(false, true) {
		e.advance()
	}
	tick := e.nextVisit()
	if tick == noTick {
		return time.Time{}, false
	}
	return e.time.dial().at(tick), true
}

func (e *Engine[K, V]) advance() {
	defer e.advancing.Store(false)
	m := e.time.read()
	a := agenda[K, V]{e: e, m: m, ctx: context.Background()}
	for i := range e.shards {
		a.rest = e.shards[i].listDue(m, a.rest)
	}
	slices.SortFunc(a.rest, listed.compare)
	a.run()
}

// A listed session waits to be ended, or to be warned after those, in order of
// limit and start.
type listed struct {
	limit   int64
	order   uint64
	slot    uint32
	gen     uint64
	warning bool
	due     bool
}

func (l listed) compare(other listed) int {
	if l.warning != other.warning {
		if l.warning {
			return 1
		}
		return -1
	}
	return cmp.Or(cmp.Compare(l.limit, other.limit), cmp.Compare(l.order, other.order))
}

// An agenda ends listed sessions in their order, each with its hooks before the
// next. Like a delivery it goes on when a hook ends its goroutine.
type agenda[K comparable, V any] struct {
	e    *Engine[K, V]
	m    moment
	why  Reason // of those that are not due
	rest []listed
	ctx  context.Context
	hand delivery[K, V]
	told int // endings whose batch hooks are still to run
	over bool
}

func (a *agenda[K, V]) run() {
	defer func() {
		if !a.over {
			a.run()
		}
	}()
	a.hand.e, a.hand.ctx = a.e, a.ctx
	for len(a.rest) > 0 && a.ctx.Err() == nil {
		if len(a.hand.events) == mostBatch {
			a.flush() // also where a hook has ended the goroutine since
		}
		l := a.rest[0]
		a.rest = a.rest[1:]
		sh, _ := a.e.locate(l.slot)
		var ends []ending[K, V]
		if l.warning {
			ends = sh.warnListed(l, a.m)
		} else {
			ends = sh.endListed(l, a.why, a.m, nil)
		}
		if len(ends) > 0 {
			a.told += len(ends)
			a.hand.add(ends)
		}
	}
	a.flush()
	a.over = true
}

// flush calls the batch hooks. Only then have all hooks run.
func (a *agenda[K, V]) flush() {
	a.hand.flush()
	a.e.queue.finish(a.told)
	a.told = 0
}
