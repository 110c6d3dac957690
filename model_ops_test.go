package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/benbjohnson/clock"

	"github.com/lapse-go/lapse"
)

// The language of the model: what the oracle and the engine are told in the
// same words, and what both write down.

// A modelOp is one call, with all that it may need.
type modelOp struct {
	call     string
	h        int // a handle; negative: the latest one, the one before, and so on
	key, to  int
	class    int
	value, n int
	d        time.Duration
	policy   modelPolicy
	hook     *modelHook
}

// In the script of a hook.
const (
	ownHandle = math.MinInt // of the session that ends, if it is the hook's own
	ownKey    = -1          // of the session that ends
)

func (op modelOp) String() string {
	text := fmt.Sprintf("%s h=%d key=%d to=%d class=%d", op.call, op.h, op.key, op.to, op.class)
	if op.value != 0 || op.n != 0 {
		text += fmt.Sprintf(" value=%d n=%d", op.value, op.n)
	}
	if op.d != 0 {
		text += fmt.Sprintf(" d=%v", op.d)
	}
	if op.policy != (modelPolicy{}) {
		text += fmt.Sprintf(" policy=%+v", op.policy)
	}
	if op.hook != nil {
		text += fmt.Sprintf(" hook=%d%v", op.hook.id, op.hook.script)
	}
	return text
}

// in puts the session that ends into an op of a script.
func (op modelOp) in(h, key int) modelOp {
	if op.h == ownHandle {
		op.h = h
	}
	if op.key == ownKey {
		op.key = key
	}
	if op.to == ownKey {
		op.to = key
	}
	return op
}

// A modelResult is all that a call may give.
type modelResult struct {
	h          int
	ok         bool
	err        string
	key, value int
	info       modelInfo
	why        string
	at         time.Time
	list       string
}

const noHandle = -1

type modelInfo struct {
	class, why              string
	polls, holds            int
	started, seen, deadline time.Time
}

type modelEvent struct {
	key, value                     int
	class, why                     string
	polls                          int
	started, seen, deadline, ended time.Time
}

// A modelHook records its calls, and makes some of its own.
type modelHook struct {
	id     int
	script []modelOp
}

type modelPolicy struct {
	name                          string
	idle, lifetime, pollCap, warn time.Duration
	pollMax                       int
}

// valid says what a policy may be, in the words of its documentation.
func (p modelPolicy) valid() bool {
	for _, limit := range []time.Duration{p.idle, p.lifetime, p.pollCap} {
		if limit < 0 || limit > 0 && p.warn >= limit {
			return false
		}
	}
	return p.name != "" && p.warn >= 0 && p.pollMax >= 0 && p.pollMax < 1<<24 &&
		(p.lifetime == 0 || p.idle <= p.lifetime && p.pollCap <= p.lifetime)
}

// A modelTape is what one side has done since the last step, in order.
type modelTape struct {
	mu      sync.Mutex // workers write, too
	entries []modelEntry
	depth   int
}

type modelEntry struct {
	call   string
	hook   int
	at     int64 // the tick at which a hook ran, where that is not certain
	event  modelEvent
	result modelResult
}

func (e modelEntry) String() string {
	if e.event != (modelEvent{}) {
		return fmt.Sprintf("%s %d at %d: %+v", e.call, e.hook, e.at, e.event)
	}
	return fmt.Sprintf("%s: %v", e.call, e.result)
}

func (r modelResult) String() string {
	text := fmt.Sprintf("%v h=%d", r.ok, r.h)
	if r.err != "" || r.list != "" {
		text += fmt.Sprintf(" err=%q list=%q", r.err, r.list)
	}
	if r.info != (modelInfo{}) {
		text += fmt.Sprintf(" key=%d value=%d %+v", r.key, r.value, r.info)
	}
	if r.why != "" {
		text += fmt.Sprintf(" %s at %v", r.why, r.at)
	}
	return text
}

func (t *modelTape) add(e modelEntry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.entries = append(t.entries, e)
}

// Hooks that start and expire sessions, and so call hooks, need an end.
const (
	deepest = 3   // hooks inside of hooks
	longest = 200 // entries of a step after which hooks only record
)

// play records a call of a hook and follows its script. It reports whether the
// script ends in a panic.
func (t *modelTape) play(do func(modelOp) modelResult, what string, h *modelHook, own int, at int64, events []modelEvent) (panics bool) {
	for _, ev := range events {
		t.add(modelEntry{call: what, hook: h.id, at: at, event: ev})
	}
	if len(h.script) == 0 || t.depth == deepest || len(t.entries) > longest {
		return false
	}
	t.depth++
	defer func() { t.depth-- }()
	for _, op := range h.script {
		if op.call == "panic" {
			return true
		}
		t.add(modelEntry{call: op.call, result: do(op.in(own, events[0].key))})
	}
	return false
}

// recent turns the number of a handle, out of n, into an index.
func recent(h, n int) int {
	if h < 0 {
		return n - 1 - (-(h + 1))%n
	}
	return h
}

// A modelClock stands still until it is set. It knows what it has told.
type modelClock struct {
	clock.Clock
	origin     time.Time
	at, latest time.Duration
}

func (c *modelClock) Now() time.Time {
	c.latest = max(c.latest, c.at)
	return c.origin.Add(c.at)
}

// A modelEngine makes the calls of the model on an engine.
type modelEngine[K, V comparable] struct {
	modelTape
	*lapse.Engine[K, V]
	handles []lapse.Session[K, V]
	classes []*lapse.Class[K, V]
	stops   []func() bool
	now     func() time.Time
	tick    func() int64 // when a hook runs; zero if the clock stands still then

	makeKey   func(int) K
	makeValue func(int) V
	keys      map[K]int
	values    map[V]int

	next   time.Time // what Advance has said
	nextOK bool
}

func (m *modelEngine[K, V]) key(i int) K {
	k := m.makeKey(i)
	m.keys[k] = i
	return k
}

func (m *modelEngine[K, V]) val(i int) V {
	v := m.makeValue(i)
	m.values[v] = i
	return v
}

// handle numbers a session; one that it has not seen before gets the next
// number.
func (m *modelEngine[K, V]) handle(s lapse.Session[K, V]) int {
	if s == (lapse.Session[K, V]{}) {
		return noHandle
	}
	if i := slices.Index(m.handles, s); i >= 0 {
		return i
	}
	m.handles = append(m.handles, s)
	return len(m.handles) - 1
}

// do makes one call, as oracle.do does it with the oracle.
func (m *modelEngine[K, V]) do(op modelOp) (r modelResult) {
	var s lapse.Session[K, V]
	if len(m.handles) > 0 {
		s = m.handles[recent(op.h, len(m.handles))]
	}
	class := m.classes[op.class%len(m.classes)]
	found := func(s lapse.Session[K, V], ok bool) { r.h, r.ok = m.handle(s), ok }
	switch op.call {
	case "start":
		start := class.Start
		if op.class == 0 && op.n%2 == 0 { // the first class is the default
			start = m.Start
		}
		started, err := start(m.key(op.key), m.val(op.value))
		r.err = errorName(err)
		found(started, started != lapse.Session[K, V]{})
	case "get":
		found(m.Get(m.key(op.key)))
	case "touch key":
		found(m.Touch(m.key(op.key)))
	case "poll key":
		found(m.Poll(m.key(op.key)))
	case "rename":
		r.err = errorName(m.Rename(m.key(op.key), m.key(op.to)))
	case "all":
		var list []int
		for s := range m.All() {
			list = append(list, m.handle(s))
		}
		slices.Sort(list)
		for _, h := range list {
			r.list += fmt.Sprint(h, " ")
		}
	case "touch":
		r.ok = s.Touch()
	case "touch at":
		r.ok = s.TouchAt(m.now().Add(op.d))
	case "poll":
		r.ok = s.Poll()
	case "hold":
		r.ok = s.Hold()
	case "release":
		r.ok = s.Release()
	case "look":
		m.look(s, op.n, &r)
	case "set value":
		r.ok = s.SetValue(m.val(op.value))
	case "expire":
		r.ok = s.Expire()
	case "set idle":
		r.ok = s.SetIdle(op.d)
	case "set class":
		r.ok = s.SetClass(class)
	case "class":
		m.class(op.policy, &r)
	case "set policy":
		r.err = errorName(class.SetPolicy(op.policy.lapse()))
	case "ended":
		ending, ok := m.Ended(m.key(op.key))
		r.why, r.at, r.ok = reasonName(ending.Reason), wall(ending.At), ok
	case "advance":
		m.next, m.nextOK = m.Advance()
	case "shutdown":
		r.err = errorName(m.Shutdown(context.Background()))
	case "close":
		r.err = errorName(m.Close())
	case "stop":
		r.ok = m.stops[op.n%len(m.stops)]()
	default:
		r.ok = m.register(op, s, class)
	}
	return r
}

// look asks s everything. Whatever is asked first finds out whether s is due.
func (m *modelEngine[K, V]) look(s lapse.Session[K, V], first int, r *modelResult) {
	var oks [5]bool
	var i lapse.Info
	for n := range oks {
		switch (first + n) % len(oks) {
		case 0:
			i, oks[n] = s.Info()
		case 1:
			var k K
			if k, oks[n] = s.Key(); oks[n] {
				r.key = m.keys[k]
			}
		case 2:
			var v V
			if v, oks[n] = s.Value(); oks[n] {
				r.value = m.values[v]
			}
		case 3:
			oks[n] = s.Alive()
		case 4:
			var ok bool
			r.at, ok = s.Deadline()
			oks[n] = s.Alive()
			if ok != (oks[n] && !r.at.IsZero()) {
				r.err = "Deadline is torn"
			}
		}
	}
	if r.ok = oks[0]; oks != [5]bool{r.ok, r.ok, r.ok, r.ok, r.ok} {
		r.err = fmt.Sprint("alive and not alive: ", oks)
	}
	if !r.ok {
		return
	}
	if !r.at.Equal(i.Deadline) {
		r.err = fmt.Sprint("Deadline says ", r.at)
	}
	r.at = time.Time{}
	r.info = modelInfo{
		class: i.Class, why: reasonName(i.Reason), polls: i.Polls, holds: i.Holds,
		started: wall(i.Started), seen: wall(i.Seen), deadline: wall(i.Deadline),
	}
}

func (m *modelEngine[K, V]) class(p modelPolicy, r *modelResult) {
	class, err := m.Class(p.lapse())
	r.h, r.err = noHandle, errorName(err)
	if err != nil {
		return
	}
	if r.h = slices.Index(m.classes, class); r.h < 0 {
		m.classes = append(m.classes, class)
		r.h = len(m.classes) - 1
	}
	if class.Policy() != p.lapse() {
		r.err = fmt.Sprintf("Policy says %+v", class.Policy())
	}
}

// register adds a hook where op says.
func (m *modelEngine[K, V]) register(op modelOp, s lapse.Session[K, V], class *lapse.Class[K, V]) bool {
	own := noHandle
	hook := func(what string) func(lapse.Event[K, V]) {
		return func(ev lapse.Event[K, V]) { m.run(what, op.hook, own, ev) }
	}
	var stop func() bool
	ok := true
	switch op.call {
	case "notify":
		own = m.handle(s)
		stop, ok = s.NotifyOnExpire(hook("hook"))
	case "notify before":
		own = m.handle(s)
		stop, ok = s.NotifyBeforeExpire(hook("warning"))
	case "notify class":
		stop = class.NotifyOnExpire(hook("hook"))
	case "notify all":
		stop = m.NotifyOnExpire(hook("hook"))
	case "notify all before":
		stop = m.NotifyBeforeExpire(hook("warning"))
	case "notify batch":
		stop = m.NotifyOnExpireBatch(func(events []lapse.Event[K, V]) { m.run("batch", op.hook, own, events...) })
	default:
		panic("no such call: " + op.call)
	}
	m.stops = append(m.stops, stop)
	return ok
}

func (m *modelEngine[K, V]) run(what string, h *modelHook, own int, events ...lapse.Event[K, V]) {
	list := make([]modelEvent, len(events))
	for i, ev := range events {
		list[i] = modelEvent{
			key: m.keys[ev.Key], value: m.values[ev.Value],
			class: ev.Class, why: reasonName(ev.Reason), polls: ev.Polls,
			started: wall(ev.Started), seen: wall(ev.Seen), deadline: wall(ev.Deadline), ended: wall(ev.Ended),
		}
	}
	if m.play(m.do, what, h, own, m.tick(), list) {
		panic("a hook panics")
	}
}

func (p modelPolicy) lapse() lapse.Policy {
	return lapse.Policy{
		Name: p.name, Idle: p.idle, Lifetime: p.lifetime, PollCap: p.pollCap, PollMax: p.pollMax, Warn: p.warn,
	}
}

func reasonName(r lapse.Reason) string {
	switch r {
	case 0:
		return ""
	case lapse.ReasonIdle:
		return whyIdle
	case lapse.ReasonLifetime:
		return whyLifetime
	case lapse.ReasonPollCap:
		return whyPollCap
	case lapse.ReasonPollMax:
		return whyPollMax
	case lapse.ReasonExpired:
		return whyExpired
	case lapse.ReasonEvicted:
		return whyEvicted
	case lapse.ReasonShutdown:
		return whyShutdown
	}
	return fmt.Sprint("reason ", uint8(r))
}

func errorName(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, lapse.ErrExists):
		return "exists"
	case errors.Is(err, lapse.ErrFull):
		return "full"
	case errors.Is(err, lapse.ErrClosed):
		return "closed"
	case errors.Is(err, lapse.ErrNotFound):
		return "not found"
	}
	return "error"
}

// wall strips what does not matter when two times are compared by ==.
func wall(t time.Time) time.Time { return t.UTC().Round(0) }
