package lincheck

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/benbjohnson/clock"
	"github.com/lapse-go/lapse"
)

const (
	tick = 2 * half
	half = 500 * time.Microsecond
)

type (
	engine = lapse.Engine[int, value]
	handle = lapse.Session[int, value]
	event  = lapse.Event[int, value]
)

// A value leads from an event to the history that it belongs to.
type value struct {
	play    *play
	attempt int16 // the number of the Start
	v       int16
}

// A stepClock shows what it was set to. Whoever reads it may lose the processor right afterwards, so that the clock moves on,
// and others act, before the reading is used. Its timers are those of the mock clock.
type stepClock struct {
	*clock.Mock
	ns    atomic.Int64
	mu    sync.Mutex
	shown []int16 // what it has shown, in half ticks
}

func newStepClock() *stepClock {
	return &stepClock{Mock: clock.NewMock(), shown: []int16{0}}
}

func (c *stepClock) Now() time.Time {
	now := time.Unix(0, c.ns.Load())
	if rand.IntN(3) == 0 {
		runtime.Gosched()
	}
	return now
}

func (c *stepClock) halves() int16 { return int16(c.ns.Load() / int64(half)) }

// step moves the clock on, unless somebody else is doing so.
func (c *stepClock) step(halves int16, timers bool) {
	if !c.mu.TryLock() {
		return
	}
	defer c.mu.Unlock()
	next := c.halves() + halves
	c.shown = append(c.shown, next)
	c.ns.Store(int64(next) * int64(half))
	if timers {
		c.Set(time.Unix(0, c.ns.Load()))
	}
}

// between returns what the clock has shown from one reading to another.
func (c *stepClock) between(from, to int16) []int16 {
	first, _ := slices.BinarySearch(c.shown, from)
	last, _ := slices.BinarySearch(c.shown, to)
	return c.shown[first : last+1]
}

// A noted call is one with its result and the order of its begin and end among all of its history.
type noted struct {
	call
	result
	returned       handle // of a call by key
	begin, end     int64
	earliest, last int16 // readings of the clock
}

// A play is one history in the making.
type play struct {
	t       *testing.T
	e       *engine
	clock   *stepClock // nil: real time, and no limit is in reach
	still   bool       // the clock stands still
	manual  bool
	classes []*lapse.Class[int, value]
	rules   rulebook
	keys    int // the first key
	calls   int // of each goroutine

	order    atomic.Int64
	attempts atomic.Int32
	handles  [mostHandles]atomic.Pointer[handle] // by attempt

	mu     sync.Mutex
	events []noted
	told   [mostHandles]int // events by attempt
}

func (p *play) policy(class, n int) lapse.Policy {
	l := p.rules[class][n]
	policy := lapse.Policy{Name: fmt.Sprint("class ", class), Idle: time.Duration(l.idle) * tick, Lifetime: time.Duration(l.life) * tick,
		PollCap: time.Duration(l.pollCap) * tick, PollMax: int(l.pollMax)}
	if p.clock != nil {
		policy.Warn = tick
	}
	return policy
}

// open makes the engine.
func (p *play) open(o lapse.Options) {
	p.t.Helper()
	o.Tick = tick
	if p.clock == nil {
		o.Tick = 0
	} else {
		o.Clock = p.clock
	}
	o.Remember = mostHandles
	o.Default = p.policy(0, 0)
	var err error
	if p.e, err = lapse.New[int, value](o); err != nil {
		p.t.Fatal(err)
	}
	p.classes = nil
	for i := range p.rules {
		c, err := p.e.Class(p.policy(i, 0))
		if err != nil {
			p.t.Fatal(err)
		}
		p.classes = append(p.classes, c)
	}
	p.e.NotifyOnExpire(func(ev event) { ev.Value.play.tell(ev) })
	p.e.NotifyBeforeExpire(func(event) { runtime.Gosched() })
}

// tell notes an event.
func (p *play) tell(ev event) {
	n := noted{call: call{op: opEvent, goroutine: goroutines}}
	n.id = int8(ev.Value.attempt)
	n.begin = p.order.Add(1)
	n.end = n.begin
	if p.clock != nil {
		n.last = p.clock.halves()
		n.earliest = n.last
	}
	n.seen = p.sight(ev.Class, ev.Reason, ev.Polls, 0, ev.Started, ev.Seen, ev.Deadline)
	n.seen.key, n.seen.value = int8(ev.Key-p.keys), ev.Value.v
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told[n.id]++
	p.events = append(p.events, n)
	if ev.Reason <= lapse.ReasonPollCap && ev.Ended.Before(ev.Deadline) {
		p.t.Errorf("ended at %v, before its deadline: %+v", ev.Ended, ev)
	}
}

func (p *play) sight(class string, why lapse.Reason, polls, holds int, started, seen, limit time.Time) sight {
	s := sight{polls: int8(polls), holds: int8(holds), why: why}
	for i, c := range p.classes {
		if c.Policy().Name == class {
			s.class = int8(i)
		}
	}
	if p.clock == nil {
		return s
	}
	ticks := func(at time.Time) int16 {
		if at.IsZero() {
			return none
		}
		return int16(at.Sub(time.Unix(0, 0)) / tick)
	}
	s.timed, s.started, s.seen, s.limit = true, ticks(started), ticks(seen), ticks(limit)
	return s
}

// run lets the goroutines play, then ends all sessions and returns the history.
func (p *play) run() []porcupine.Operation {
	all := make([][]noted, goroutines)
	var ready atomic.Int32
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(rand.Uint64(), uint64(g)))
			for ready.Add(1); ready.Load() < goroutines; {
				runtime.Gosched()
			}
			for range p.calls {
				if n, ok := p.do(int8(g), r); ok {
					all[g] = append(all[g], n)
				}
				p.pause(r)
			}
		})
	}
	wg.Wait()
	if p.clock != nil {
		if err := p.e.Shutdown(context.Background()); err != nil {
			p.t.Error("Shutdown:", err)
		}
	} else {
		for id := range min(p.attempts.Load(), mostHandles) {
			if p.handles[id].Load() != nil {
				all[0] = append(all[0], p.note(call{op: opExpire, id: int8(id)}, nil))
			}
		}
	}
	return p.history(slices.Concat(append(all, p.events)...))
}

// pause lets the goroutines of a driver keep step.
func (p *play) pause(r *rand.Rand) {
	if p.clock == nil || p.manual {
		if r.IntN(4) == 0 {
			runtime.Gosched()
		}
		return
	}
	for until := time.Now().Add(time.Duration(r.IntN(3)) * time.Microsecond); time.Now().Before(until); {
		runtime.Gosched()
	}
}

// do makes one call at random. False: it is none that a history notes.
func (p *play) do(g int8, r *rand.Rand) (noted, bool) {
	c := call{goroutine: g, key: int8(r.IntN(keys)), id: none}
	if p.clock != nil && !p.still && r.IntN(6) == 0 {
		if p.manual && r.IntN(3) == 0 {
			p.e.Advance()
		} else {
			p.clock.step(int16(1+r.IntN(4)), !p.manual)
		}
		return noted{}, false
	}
	if r.IntN(100) < 40 {
		c.op = []op{opStart, opStart, opGet, opTouchKey, opPollKey, opRename, opEnded}[r.IntN(7)]
		c.to = int8(r.IntN(keys))
		c.class = int8(r.IntN(len(p.classes)))
		return p.note(c, nil), true
	}
	if r.IntN(40) == 0 {
		c.op, c.class = opSetPolicy, int8(r.IntN(len(p.classes)))
		c.arg = int16(r.IntN(len(p.rules[c.class])))
		return p.note(c, nil), true
	}
	// One of the sessions that were started last.
	h := (*handle)(nil)
	for id := p.attempts.Load() - 1; id >= 0 && h == nil; id-- {
		if id < mostHandles && r.IntN(3) > 0 {
			h, c.id = p.handles[id].Load(), int8(id)
		}
	}
	if h == nil {
		c.op, c.id = opStart, none
		return p.note(c, nil), true
	}
	c.op = opTouch + op(r.IntN(int(opSetValue-opTouch)+1))
	if c.op == opExpire && r.IntN(2) == 0 {
		c.op = opTouch
	}
	c.class, c.arg = int8(r.IntN(len(p.classes))), int16(r.IntN(6))
	var at time.Time
	if c.op == opTouchAt {
		if at = time.Now(); p.clock != nil {
			c.arg += p.clock.halves() - 2
			at = time.Unix(0, int64(c.arg)*int64(half))
			c.arg = max(c.arg, 0)
		} else {
			c.arg = 0
		}
	}
	return p.note(c, &at), true
}

// note makes a call and notes it.
func (p *play) note(c call, at *time.Time) noted {
	n := noted{call: c}
	key, to := p.keys+int(c.key), p.keys+int(c.to)
	var h handle
	if c.id >= 0 {
		h = *p.handles[c.id].Load()
	}
	attempt := int16(0)
	if c.op == opStart {
		if attempt = int16(p.attempts.Add(1) - 1); attempt < mostHandles {
			n.id, n.arg = int8(attempt), attempt
		} else {
			n.op = opGet
		}
	}
	if p.clock != nil {
		n.earliest = p.clock.halves()
	}
	n.begin = p.order.Add(1)
	switch n.op {
	case opStart:
		s, err := p.classes[c.class].Start(key, value{p, attempt, attempt})
		n.returned, n.ok, n.exists = s, err == nil, errors.Is(err, lapse.ErrExists)
	case opGet:
		n.returned, n.ok = p.e.Get(key)
	case opTouchKey:
		n.returned, n.ok = p.e.Touch(key)
	case opPollKey:
		n.returned, n.ok = p.e.Poll(key)
	case opRename:
		err := p.e.Rename(key, to)
		n.ok, n.exists = err == nil, errors.Is(err, lapse.ErrExists)
	case opEnded:
		var ending lapse.Ending
		ending, n.ok = p.e.Ended(key)
		n.why = ending.Reason
	case opTouch:
		n.ok = h.Touch()
	case opTouchAt:
		n.ok = h.TouchAt(*at)
	case opPoll:
		n.ok = h.Poll()
	case opAlive:
		n.ok = h.Alive()
	case opInfo:
		var i lapse.Info
		if i, n.ok = h.Info(); n.ok {
			n.seen = p.sight(i.Class, i.Reason, i.Polls, i.Holds, i.Started, i.Seen, i.Deadline)
		}
	case opDeadline:
		// It is false, too, where the session lives without an end.
		at, limited := h.Deadline()
		if n.ok = limited || h.Alive(); n.ok {
			n.seen = p.sight("", 0, 0, 0, time.Time{}, time.Time{}, at)
		}
	case opExpire:
		if n.ok = h.Expire(); n.ok {
			p.mu.Lock()
			if p.told[c.id] != 1 {
				p.t.Errorf("Expire has returned true, and the hook has run %d times", p.told[c.id])
			}
			p.mu.Unlock()
		}
	case opSetIdle:
		unit := tick
		if p.clock == nil {
			n.arg, unit = 0, time.Hour
		}
		n.ok = h.SetIdle(time.Duration(c.arg) * unit)
	case opSetClass:
		n.ok = h.SetClass(p.classes[c.class])
	case opHold:
		n.ok = h.Hold()
	case opRelease:
		n.ok = h.Release()
	case opValue:
		var v value
		v, n.ok = h.Value()
		n.value = v.v
		if n.ok && v.attempt != int16(c.id) {
			p.t.Errorf("session %d has the value of session %d", c.id, v.attempt)
		}
	case opSetValue:
		n.ok = h.SetValue(value{p, int16(c.id), c.arg})
	case opSetPolicy:
		if err := p.classes[c.class].SetPolicy(p.policy(int(c.class), int(c.arg))); err != nil {
			p.t.Error(err)
		}
	}
	n.end = p.order.Add(1)
	if p.clock != nil {
		n.last = p.clock.halves()
	}
	if n.op == opStart && n.ok {
		p.handles[attempt].Store(&n.returned)
	}
	return n
}

// history makes what was noted known to porcupine. A call of two moments becomes two operations.
func (p *play) history(all []noted) []porcupine.Operation {
	byHandle := make(map[handle]int8)
	for _, n := range all {
		if n.op != opStart {
			continue
		}
		if n.ok {
			if other, ok := byHandle[n.returned]; ok {
				p.t.Errorf("sessions %d and %d have the same handle", other, n.id)
			}
			byHandle[n.returned] = n.id
		}
		if want := map[bool]int{true: 1}[n.ok]; p.told[n.id] != want {
			p.t.Errorf("session %d (started: %v) has had %d events", n.id, n.ok, p.told[n.id])
		}
	}
	var ops []porcupine.Operation
	add := func(n *noted, kind op) {
		c, r := n.call, n.result
		c.op, c.times = kind, []int16{0}
		if p.clock != nil {
			c.times = p.clock.between(n.earliest, n.last)
		}
		ops = append(ops, porcupine.Operation{ClientId: int(c.goroutine), Input: &c, Output: &r, Call: n.begin, Return: n.end})
	}
	for i := range all {
		n := &all[i]
		if n.op.byKey() && n.returned != (handle{}) {
			id, ok := byHandle[n.returned]
			if !ok {
				p.t.Errorf("%s has returned a handle that no Start has", opNames[n.op])
			}
			n.got = id
		}
		switch {
		case n.op == opGet || n.op == opTouchKey || n.op == opPollKey:
			add(n, opFind)
		case n.op == opRename && n.exists:
			add(n, opCheckOld)
		case n.op == opSetPolicy:
			add(n, opSettle)
		}
		add(n, n.op)
	}
	return ops
}
