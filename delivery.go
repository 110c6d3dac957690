package lapse

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
)

// An ending is a session on its way from the end to its hooks; or, with warning
// set, one that goes on and whose warning is due. Of that, each hook is told what
// holds when it is called.
type ending[K comparable, V any] struct {
	key     K
	value   V
	class   *Class[K, V]
	own     *ownHooks[K, V] // nil: none
	slot    uint32
	gen     uint32
	polls   uint32
	why     Reason
	warning bool
	// Ticks; limit is never where there was none.
	started, seen, limit, ended int64
}

// ref is that of the session's handle.
func (n *ending[K, V]) ref() uint64 { return uint64(n.gen)<<32 | uint64(n.slot) }

func (n *ending[K, V]) event(d dial) Event[K, V] {
	ev := Event[K, V]{
		Key:      n.key,
		Value:    n.value,
		Class:    n.class.name,
		Reason:   n.why,
		Polls:    int(n.polls),
		Started:  d.at(n.started),
		Seen:     d.at(n.seen),
		Deadline: d.at(n.limit),
	}
	if !n.warning {
		ev.Ended = d.at(n.ended)
	}
	return ev
}

// mostBatch is the most events that a batch hook is given.
const mostBatch = 256

// A delivery calls the hooks of endings, one ending after the other. It always
// knows what comes next, so that when a hook ends its goroutine
// (runtime.Goexit) the rest is still called.
type delivery[K comparable, V any] struct {
	e       *Engine[K, V]
	ctx     context.Context // nil, or no hook begins once it has ended
	ends    []ending[K, V]
	dial    dial
	event   Event[K, V]
	stage   stage
	flushes bool          // call the batch hooks after the last ending
	at      int           // the ending whose hooks are called
	list    []*hook[K, V] // hooks of the stage
	next    int           // the first of list that has not been called
	events  []Event[K, V] // for batch hooks
}

type stage uint8

const (
	stageOpen stage = iota
	stageOwn
	stageClass
	stageEngine
	stageBatch
	stageDone
)

// deliver calls the hooks of ends, at most mostBatch of them, on this
// goroutine.
func (e *Engine[K, V]) deliver(ends []ending[K, V]) {
	if len(ends) > 0 {
		defer e.queue.finish(len(ends))
		(&delivery[K, V]{e: e}).deliver(ends)
	}
}

// deliver calls all hooks of ends.
func (d *delivery[K, V]) deliver(ends []ending[K, V]) {
	d.flushes = true
	d.add(ends)
}

// add calls the hooks of ends, but for the batch hooks.
func (d *delivery[K, V]) add(ends []ending[K, V]) {
	d.ends, d.at, d.stage = ends, 0, stageOpen
	d.dial = d.e.time.dial()
	d.run()
}

// flush calls the batch hooks with what was added since the last time.
func (d *delivery[K, V]) flush() {
	d.openBatch()
	d.run()
}

// over reports whether no further hook may begin.
func (d *delivery[K, V]) over() bool {
	return d.e.closed.Load() || d.ctx != nil && d.ctx.Err() != nil
}

func (d *delivery[K, V]) openBatch() {
	d.stage, d.list, d.next = stageBatch, d.e.batches.load(), 0
}

func (d *delivery[K, V]) run() {
	defer func() {
		if d.stage != stageDone {
			d.run()
		}
	}()
	for d.step() {
	}
}

// step calls one hook, or goes to the next stage. False: there are no more.
func (d *delivery[K, V]) step() bool {
	switch d.stage {
	case stageOpen:
		if d.at == len(d.ends) {
			if d.flushes {
				d.openBatch()
			} else {
				d.stage = stageDone
			}
			break
		}
		n := &d.ends[d.at]
		if n.warning {
			d.stage, d.list, d.next = stageEngine, d.e.warningHooks(n), 0
			return true
		}
		d.event = n.event(d.dial)
		if len(d.e.batches.load()) > 0 {
			d.events = append(d.events, d.event)
		}
		d.stage = stageOwn
	case stageOwn:
		n := &d.ends[d.at]
		if d.ctx != nil && d.ctx.Err() != nil {
			n.own = nil // Close takes what is left
		}
		if fn := d.e.nextOwn(n); fn != nil {
			d.e.call(fn, d.event)
			return true
		}
		d.stage, d.list, d.next = stageClass, n.class.hooks.load(), 0
	case stageClass, stageEngine:
		n := &d.ends[d.at]
		for d.next < len(d.list) {
			h := d.list[d.next]
			d.next++
			if h.done.Load() || d.over() || n.warning && !d.e.tellWarning(n) {
				continue
			}
			if n.warning {
				d.event = n.event(d.dial)
			}
			d.e.call(h.fn, d.event)
			return true
		}
		if d.stage == stageClass {
			d.stage, d.list, d.next = stageEngine, d.e.hooks.load(), 0
			return true
		}
		if n.warning {
			d.e.endWarning(n)
		}
		d.stage = stageOpen
		d.at++
	case stageBatch:
		for d.next < len(d.list) && len(d.events) > 0 {
			h := d.list[d.next]
			d.next++
			if h.done.Load() || d.over() {
				continue
			}
			events := d.events
			if len(d.list) > 1 {
				events = slices.Clone(events) // what one hook does to its slice is not the next one's business
			}
			d.e.callBatch(h.batch, slices.Clip(events))
			return true
		}
		clear(d.events)
		d.events, d.ends, d.list, d.event = d.events[:0], nil, nil, Event[K, V]{}
		d.stage = stageDone
	}
	return d.stage != stageDone
}

// nextOwn returns the next of a session's own hooks, those that were added
// meanwhile included. When there are no more it gives up the session's slot.
func (e *Engine[K, V]) nextOwn(n *ending[K, V]) func(Event[K, V]) {
	if n.own == nil {
		return nil
	}
	sh, idx := e.locate(n.slot)
	sh.mu.Lock()
	own := n.own
	own.running = true
	for own.next < len(own.expire) && !e.closed.Load() {
		h := own.expire[own.next]
		own.expire[own.next] = nil
		own.next++
		if !h.done.Swap(true) {
			fn := h.fn
			h.fn = nil
			sh.mu.Unlock()
			return fn
		}
	}
	if e.closed.Load() {
		n.own = nil
		sh.mu.Unlock() // Close takes what is left, contexts above all
		return nil
	}
	own.running = false
	cut := own.cut
	n.own = nil
	sh.release(idx, uint64(n.gen))
	sh.unlock()
	if cut {
		e.stats.panics.Add(1)
		e.report("lapse: too many hooks were added while a session's own hooks ran", "limit", mostAddedHooks)
	}
	return nil
}

// call calls a hook. Whatever the hook does, it stops nothing else.
func (e *Engine[K, V]) call(fn func(Event[K, V]), ev Event[K, V]) {
	defer e.recoverHook()
	e.stats.hooks.Add(1)
	fn(ev)
}

func (e *Engine[K, V]) callBatch(fn func([]Event[K, V]), events []Event[K, V]) {
	defer e.recoverHook()
	e.stats.hooks.Add(1)
	fn(events)
}

// recoverHook is deferred around a hook. The log says where the hook failed and
// never of whose session.
func (e *Engine[K, V]) recoverHook() {
	if v := recover(); v != nil {
		e.stats.panics.Add(1)
		e.report("lapse: a hook panicked", "panic", v, "stack", callers())
	}
}

// report logs an error. A logger that panics is nobody's end.
func (e *Engine[K, V]) report(msg string, args ...any) {
	defer func() { _ = recover() }()
	e.logger.Error(msg, args...)
}

// callers tells the functions and lines of the panicking hook. Unlike
// debug.Stack it leaves out arguments, among which is the key.
func callers() string {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	var b strings.Builder
	for {
		f, more := frames.Next()
		fmt.Fprintf(&b, "%s\n\t%s:%d\n", f.Function, f.File, f.Line)
		if !more {
			return b.String()
		}
	}
}
