package lapse_test

import (
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/lapse-go/lapse"
)

// TestModel runs random programs on a Manual engine and on the oracle, and
// compares after each step all that can be seen: results, hooks and sessions.
// The number of ends of each kind that were reached stands in its log.
func TestModel(t *testing.T) {
	longPrograms(t)
	ends := make(map[string]int)
	t.Run("key=string", rapid.MakeCheck(func(t *rapid.T) {
		runModel(t, ends, func(i int) string { return fmt.Sprint("key ", i) }, func(i int) string { return fmt.Sprint(i) })
	}))
	t.Run("key=array", rapid.MakeCheck(func(t *rapid.T) {
		runModel(t, ends, func(i int) [16]byte { return [16]byte{0: byte(i), 15: byte(i >> 8)} }, func(i int) int { return i })
	}))
	for _, way := range slices.Sorted(maps.Keys(ends)) {
		t.Logf("%8d %s", ends[way], way)
	}
}

// FuzzModel is TestModel with programs that the fuzzer writes.
func FuzzModel(f *testing.F) {
	longPrograms(f)
	for seed := range byte(8) {
		program := make([]byte, 64<<10)
		_, _ = rand.NewChaCha8([32]byte{seed}).Read(program)
		f.Add(program)
	}
	f.Fuzz(rapid.MakeFuzz(func(t *rapid.T) {
		runModel(t, make(map[string]int), func(i int) uint64 { return uint64(i) }, func(i int) string { return fmt.Sprint(i) })
	}))
}

// longPrograms makes programs of 200 steps on average, unless a flag says
// otherwise.
func longPrograms(tb testing.TB) {
	steps := flag.Lookup("rapid.steps")
	if old := steps.Value.String(); old == steps.DefValue {
		_ = steps.Value.Set("200")
		tb.Cleanup(func() { _ = steps.Value.Set(old) })
	}
}

// A model is an engine and the oracle, and the draws of what both shall do.
type model[K, V comparable] struct {
	o     *oracle
	e     *modelEngine[K, V]
	clk   *modelClock
	tick  time.Duration
	plain bool // without holds, warnings, changes of policies and a limit of sessions
	crowd bool // once in the program, more sessions than a batch holds
	close bool // a hook may close the engine
	hooks int
	keys  int
}

const fewKeys = 10 // so that they collide

func runModel[K, V comparable](t *rapid.T, ends map[string]int, key func(int) K, value func(int) V) {
	m := newModel(t, ends, key, value)
	actions := make(map[string]func(*rapid.T))
	for _, a := range []struct {
		name   string
		weight int
		do     func(*rapid.T)
	}{
		{"start", 5, m.start},
		{"jump", 5, m.jump},
		{"advance", 2, func(t *rapid.T) { m.step(t, modelOp{call: "advance"}) }},
		{"activity", 4, m.activity},
		{"polls", 2, m.polls},
		{"ask", 2, m.ask},
		{"change", 3, m.change},
		{"expire", 1, func(t *rapid.T) { m.step(t, modelOp{call: "expire", h: m.handle(t)}) }},
		{"notify", 2, m.notify},
		{"hold", 2, m.hold},
		{"policy", 1, m.policy},
		{"crowd", 1, m.startCrowd},
	} {
		// What an action would leave out is no action: a fuzzer that draws
		// nothing else would fail for want of one.
		if a.name == "hold" && m.plain || a.name == "crowd" && !m.crowd {
			continue
		}
		for i := range a.weight {
			actions[fmt.Sprint(a.name, i)] = a.do
		}
	}
	t.Repeat(actions)
	m.finish(t)
}

func newModel[K, V comparable](t *rapid.T, ends map[string]int, key func(int) K, value func(int) V) *model[K, V] {
	m := &model[K, V]{
		clk: &modelClock{origin: rapid.SampledFrom([]time.Time{
			time.Unix(0, 0), time.Unix(-1, 1), time.Date(2026, 2, 28, 23, 59, 59, 123456789, time.UTC), time.Date(1912, 6, 23, 0, 0, 0, 0, time.UTC),
		}).Draw(t, "origin")},
		tick:  rapid.SampledFrom([]time.Duration{10 * time.Millisecond, time.Millisecond, 7 * time.Millisecond, time.Second, time.Millisecond + 1}).Draw(t, "tick"),
		plain: rapid.Bool().Draw(t, "plain"),
		crowd: rapid.IntRange(0, 30).Draw(t, "crowd") == 30,
		close: rapid.IntRange(0, 15).Draw(t, "close") == 15,
		keys:  1000,
	}
	o := lapse.Options{Manual: true, Clock: m.clk, Tick: m.tick, Logger: slog.New(slog.DiscardHandler)}
	if m.tick == 10*time.Millisecond {
		o.Tick = 0
	}
	m.o = &oracle{tick: int64(m.tick), origin: m.clk.origin, ends: ends, reasons: make(map[string]int)}
	if !m.plain {
		if rapid.Bool().Draw(t, "limited") {
			o.MaxSessions = rapid.IntRange(1, 7).Draw(t, "max")
		}
		if rapid.Bool().Draw(t, "evict") {
			o.WhenFull = lapse.Evict
		}
		o.Remember = rapid.IntRange(0, 5).Draw(t, "remember")
		m.o.maxSessions, m.o.evict, m.o.remember = o.MaxSessions, o.WhenFull == lapse.Evict, o.Remember
	}
	policy := modelPolicy{name: "default", idle: 15 * time.Minute}
	if rapid.IntRange(0, 4).Draw(t, "own default") > 0 {
		policy = m.drawPolicy(t, "c0", true)
		o.Default = policy.lapse()
	}
	m.o.classes = []*oracleClass{{modelPolicy: policy}}
	e, err := lapse.New[K, V](o)
	if err != nil {
		t.Fatalf("New(%+v): %v", o, err)
	}
	m.e = &modelEngine[K, V]{
		Engine: e, makeKey: key, makeValue: value, keys: make(map[K]int), values: make(map[V]int),
		now:  func() time.Time { return m.clk.origin.Add(time.Duration(m.now())) },
		tick: func() int64 { return 0 },
	}
	class, err := e.Class(policy.lapse())
	if err != nil {
		t.Fatalf("Class(%+v): %v", policy, err)
	}
	m.e.classes = append(m.e.classes, class)
	for i := range 3 {
		m.step(t, modelOp{call: "class", policy: m.drawPolicy(t, fmt.Sprint("c", i+1), true)})
	}
	// Begin where a level of the wheel begins its next round, or anywhere.
	if l := rapid.IntRange(-1, 8).Draw(t, "wrap"); l >= 0 {
		round := int64(128) << (3 * l)
		m.set(m.ticks(rapid.Int64Range(1, 3).Draw(t, "rounds")*round - rapid.Int64Range(0, 12).Draw(t, "before")))
	}
	m.step(t, modelOp{call: "notify all", hook: m.drawHook(t, 2)})
	m.step(t, modelOp{call: "notify all before", hook: m.drawHook(t, 2)})
	m.step(t, modelOp{call: "start"})
	return m
}

// Time.

// now is the latest reading of the clock, in nanoseconds since New.
func (m *model[K, V]) now() int64 { return int64(max(m.clk.latest, m.clk.at)) }

func (m *model[K, V]) ticks(n int64) int64 {
	if n > math.MaxInt64/int64(m.tick) {
		return math.MaxInt64
	}
	return n * int64(m.tick)
}

// set sets the clock forward. Time ends after a century, and after half the
// ticks.
func (m *model[K, V]) set(to int64) {
	if to > min(1<<61, m.ticks(1<<38)) {
		to = m.now() + int64(m.tick)
	}
	m.clk.at = time.Duration(max(to, m.now()))
}

func (m *model[K, V]) jump(t *rapid.T) {
	now, tick := m.now(), int64(m.tick)
	switch rapid.SampledFrom([]string{
		"tick", "tick", "tick", "tick", "part", "part", "part", "end", "end", "end", "next", "next",
		"medium", "round", "horizon", "back", "far back",
	}).Draw(t, "jump") {
	case "tick":
		m.set((now/tick + rapid.Int64Range(1, 4).Draw(t, "ticks")) * tick)
	case "part":
		m.set(now + rapid.Int64Range(0, 2*tick).Draw(t, "part"))
	case "end":
		m.set(m.beside(t, m.o.limit(m.o.sessions[m.handle(t)]).at))
	case "next":
		m.set(m.beside(t, m.o.nextTick()))
	case "medium":
		m.set(now + rapid.Int64Range(1, 2000).Draw(t, "ticks")*tick)
	case "round":
		round := int64(128) << (3 * rapid.IntRange(0, 6).Draw(t, "level"))
		m.set(m.ticks((now/tick/round+1)*round - rapid.Int64Range(0, 3).Draw(t, "before")))
	case "horizon":
		m.set(now + m.ticks(rapid.Int64Range(0, 2*127<<24).Draw(t, "ticks")))
	case "back":
		m.clk.at -= time.Duration(rapid.Int64Range(0, 10*tick).Draw(t, "back"))
	case "far back":
		m.clk.at -= time.Hour
	}
	t.Logf("clock: %d ticks and %d ns", m.now()/tick, m.now()%tick)
	m.check(t, rapid.Bool().Draw(t, "look"))
}

// beside is the time of a tick, or just beside it.
func (m *model[K, V]) beside(t *rapid.T, tick int64) int64 {
	if tick >= lastTick {
		return 0
	}
	return m.ticks(tick) + rapid.SampledFrom([]int64{0, 0, -1, 1, int64(m.tick) - 1, int64(m.tick), int64(-m.tick)}).Draw(t, "beside")
}

// Actions.

func (m *model[K, V]) start(t *rapid.T) {
	op := modelOp{call: "start", key: drawKey(t), class: drawClass(t), value: drawAny(t), n: drawAny(t)}
	m.step(t, op)
	if rapid.Bool().Draw(t, "hook") {
		m.step(t, modelOp{call: "notify", h: -1, hook: m.drawHook(t, 0)})
	}
}

func (m *model[K, V]) startCrowd(t *rapid.T) {
	if !m.crowd { // there was one
		m.ask(t)
		return
	}
	m.crowd = false
	class := drawClass(t)
	for range rapid.IntRange(200, 600).Draw(t, "sessions") {
		m.keys++
		if !m.both(modelOp{call: "start", key: m.keys, class: class}) {
			t.Fatalf("start:\nengine: %v\noracle: %v", m.e.entries, m.o.entries)
		}
	}
	m.check(t, false)
}

func (m *model[K, V]) activity(t *rapid.T) {
	op := modelOp{call: rapid.SampledFrom([]string{
		"touch", "touch", "poll", "poll", "poll", "touch at", "touch key", "poll key", "set value", "look",
	}).Draw(t, "call"), value: drawAny(t), n: drawAny(t)}
	switch op.call {
	case "touch key", "poll key":
		op.key = drawKey(t)
	case "touch at":
		tick := int64(m.tick)
		op.h = m.handle(t)
		op.d = time.Duration(rapid.SampledFrom([]int64{0, 1, tick, tick + 1, 2 * tick, 1 << 60, -1, -tick, -3 * tick, -10 * tick, -1 << 60}).Draw(t, "ahead"))
	default:
		op.h = m.handle(t)
	}
	m.step(t, op)
}

// polls polls one session a few times, as a page does.
func (m *model[K, V]) polls(t *rapid.T) {
	h := m.handle(t)
	for range rapid.IntRange(1, 5).Draw(t, "polls") {
		m.step(t, modelOp{call: "poll", h: h})
		m.set(m.now() + rapid.Int64Range(0, 3*int64(m.tick)).Draw(t, "pause"))
	}
}

func (m *model[K, V]) ask(t *rapid.T) {
	m.step(t, modelOp{call: rapid.SampledFrom([]string{"get", "all", "ended"}).Draw(t, "call"), key: drawKey(t)})
}

func (m *model[K, V]) change(t *rapid.T) {
	op := modelOp{call: rapid.SampledFrom([]string{"set idle", "set idle", "set class", "rename"}).Draw(t, "call")}
	switch op.call {
	case "set idle":
		op.h, op.d = m.handle(t), m.drawLimit(t, "own idle", 8)
	case "set class":
		op.h, op.class = m.handle(t), drawClass(t)
	case "rename":
		op.key, op.to = drawKey(t), drawKey(t)
	}
	m.step(t, op)
}

func (m *model[K, V]) notify(t *rapid.T) {
	calls := []string{"notify", "notify", "notify class", "notify all", "notify batch", "stop", "stop", "stop"}
	if !m.plain {
		calls = append(calls, "notify before", "notify before", "notify all before")
	}
	op := modelOp{call: rapid.SampledFrom(calls).Draw(t, "call"), class: drawClass(t)}
	switch op.call {
	case "stop":
		op.n = drawAny(t)
	case "notify", "notify before":
		op.h = m.handle(t)
		fallthrough
	default:
		op.hook = m.drawHook(t, 0)
	}
	m.step(t, op)
}

func (m *model[K, V]) hold(t *rapid.T) {
	m.step(t, modelOp{call: rapid.SampledFrom([]string{"hold", "release", "release"}).Draw(t, "call"), h: m.handle(t)})
}

func (m *model[K, V]) policy(t *rapid.T) {
	op := modelOp{call: "class", class: drawClass(t)}
	if !m.plain && !m.o.closed {
		op.call = rapid.SampledFrom([]string{"class", "set policy", "set policy"}).Draw(t, "call")
	}
	same := m.o.classes[op.class].modelPolicy
	op.policy = m.drawPolicy(t, rapid.SampledFrom([]string{same.name, same.name, "c1", ""}).Draw(t, "name"), false)
	if rapid.Bool().Draw(t, "same") {
		op.policy = same
	}
	m.step(t, op)
}

// Steps.

// both makes one call on both sides and compares what they did.
func (m *model[K, V]) both(op modelOp) (same bool) {
	m.o.ends["calls"]++
	m.o.now = m.now()
	m.e.entries, m.o.entries = m.e.entries[:0], m.o.entries[:0]
	m.e.add(modelEntry{call: op.call, result: m.e.do(op)})
	m.o.add(modelEntry{call: op.call, result: m.o.do(op)})
	return slices.Equal(m.e.entries, m.o.entries)
}

func (m *model[K, V]) step(t *rapid.T, op modelOp) {
	look := rapid.Bool().Draw(t, "look")
	m.o.ends["step"]++
	t.Logf("%v", op)
	if !m.both(op) {
		t.Fatalf("%s:\nengine:\n%s\noracle:\n%s", op.call, tape(m.e.entries), tape(m.o.entries))
	}
	if op.call == "advance" {
		m.checkNext(t)
	}
	m.check(t, look)
}

// check compares all that can be seen. Asking a session that is due changes it,
// so that is done only if look says so.
func (m *model[K, V]) check(t *rapid.T, look bool) {
	m.o.now = m.now()
	quiet := func(s *oracleSession) bool {
		_, due := m.o.due(s)
		return look || !due || s.verdict != nil
	}
	ask := func(op modelOp) {
		if !m.both(op) {
			t.Fatalf("%v:\nengine: %v\noracle: %v", op, m.e.entries, m.o.entries)
		}
	}
	for _, s := range m.o.open {
		if quiet(s) {
			ask(modelOp{call: "look", h: s.id, n: s.id})
		}
	}
	for key := range fewKeys {
		if s := m.o.holder(key); s == nil || quiet(s) {
			ask(modelOp{call: "get", key: key})
		}
	}
	for i, s := range m.o.sessions[max(0, len(m.o.sessions)-20):] {
		if !s.open {
			ask(modelOp{call: "look", h: s.id, n: i})
		}
	}
	if got, want := m.e.Len(), len(m.o.open); got != want {
		t.Fatalf("Len is %d, want %d", got, want)
	}
	for i, c := range m.o.classes {
		if got, want := m.e.classes[i].Len(), m.o.classLen(c); got != want {
			t.Fatalf("Len of class %s is %d, want %d", c.name, got, want)
		}
	}
	if err := lapse.CheckInvariants(m.e.Engine); err != nil {
		t.Fatalf("invariants: %v", err)
	}
}

// checkNext judges when Advance wants to be called again.
func (m *model[K, V]) checkNext(t *rapid.T) {
	next, ok := m.e.next, m.e.nextOK
	if len(m.o.open) == 0 {
		if ok {
			t.Fatalf("Advance without sessions: next is %v", next)
		}
		return
	}
	first := max(m.o.nextTick(), m.o.floor())
	if first < never && (!ok || next.After(m.o.time(first))) {
		t.Fatalf("Advance: next is %v %v, want at most %v", next, ok, m.o.time(first))
	}
	if ok && m.o.nextTick() > m.o.floor() && !next.After(m.e.now()) {
		// A hook may leave behind an entry that counts no more, but not twice.
		if next, ok = m.e.Advance(); ok && !next.After(m.e.now()) {
			t.Fatalf("Advance at %v has left nothing, yet next is %v", m.e.now(), next)
		}
	}
}

// finish ends the program in one of three ways.
func (m *model[K, V]) finish(t *rapid.T) {
	switch rapid.SampledFrom([]string{"shutdown", "close", "wait"}).Draw(t, "finish") {
	case "shutdown":
		m.step(t, modelOp{call: "shutdown"})
	case "close":
		m.step(t, modelOp{call: "close"})
	case "wait":
		m.set(min(1<<61, m.ticks(1<<38)))
		m.step(t, modelOp{call: "advance"})
	}
	m.step(t, modelOp{call: "start", key: drawKey(t)})
	m.step(t, modelOp{call: "rename", key: drawKey(t), to: drawKey(t)})
	stats := m.e.Stats()
	for why := lapse.ReasonIdle; why <= lapse.ReasonShutdown; why++ {
		if got, want := int(stats.Ended[why]), m.o.reasons[reasonName(why)]; got != want {
			t.Fatalf("Stats.Ended[%v] is %d, want %d", why, got, want)
		}
	}
	for _, c := range m.o.classes {
		if got, want := stats.Live[c.name], m.o.classLen(c); got != want {
			t.Fatalf("Stats.Live[%s] is %d, want %d", c.name, got, want)
		}
	}
	if int(stats.Panics) != m.o.panics {
		t.Fatalf("Stats.Panics is %d, want %d", stats.Panics, m.o.panics)
	}
}

func tape(entries []modelEntry) string {
	var b strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&b, "\t%v\n", e)
	}
	return b.String()
}
