package lapse_test

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/lapse-go/lapse"
)

// TestModelBubble is TestModel with the engine's own goroutines and the real
// clock, in a bubble where time passes as soon as everybody waits. Which of two
// sessions ends first is not promised then; what each one's hooks are told is,
// and the tick.
func TestModelBubble(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { rapid.SyncTest(t, runBubble) })
}

func runBubble(t *rapid.T) {
	b := newBubble(t)
	actions := make(map[string]func(*rapid.T))
	for _, a := range []struct {
		name   string
		weight int
		do     func(*rapid.T)
	}{
		{"start", 4, b.start}, {"sleep", 5, b.sleep}, {"activity", 6, b.activity}, {"burst", 1, b.burst}, {"change", 3, b.change}, {"notify", 1, b.notify},
	} {
		for i := range a.weight {
			actions[fmt.Sprint(a.name, i)] = a.do
		}
	}
	t.Repeat(actions)
	b.step(t, modelOp{call: rapid.SampledFrom([]string{"shutdown", "close"}).Draw(t, "finish")})
	b.step(t, modelOp{call: "start", key: drawKey(t)})
}

// A bubble draws as a model does, but makes its steps in another way.
type bubble struct {
	*model[string, int]
	start0 time.Time
}

func newBubble(t *rapid.T) *bubble {
	start := time.Now()
	m := &model[string, int]{
		tick: rapid.SampledFrom([]time.Duration{10 * time.Millisecond, time.Millisecond, 7 * time.Millisecond}).Draw(t, "tick"),
		clk:  &modelClock{origin: start},
	}
	b := &bubble{m, start}
	m.o = &oracle{
		tick: int64(m.tick), origin: start, timed: true, remember: 1000,
		ends: make(map[string]int), reasons: make(map[string]int),
	}
	policy := b.drawPolicy(t, "c0", true)
	m.o.classes = []*oracleClass{{modelPolicy: policy}}
	e, err := lapse.New[string, int](lapse.Options{
		Default: policy.lapse(), Tick: m.tick, Remember: 1000, Logger: slog.New(slog.DiscardHandler),
		HookWorkers: rapid.IntRange(0, 3).Draw(t, "workers"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	m.e = &modelEngine[string, int]{
		Engine: e, keys: make(map[string]int), values: make(map[int]int),
		makeKey:   func(i int) string { return fmt.Sprint("key ", i) },
		makeValue: func(i int) int { return i },
		now:       time.Now,
		tick:      func() int64 { return int64(time.Since(start) / m.tick) },
	}
	// Calls are made between two ticks: at a tick they would race with the
	// driver.
	b.pass(t, 0)
	class, err := e.Class(policy.lapse())
	if err != nil {
		t.Fatalf("Class(%+v): %v", policy, err)
	}
	m.e.classes = append(m.e.classes, class)
	for i := range 3 {
		b.step(t, modelOp{call: "class", policy: b.drawPolicy(t, fmt.Sprint("c", i+1), true)})
	}
	for _, call := range []string{"notify all", "notify batch", "notify all before"} {
		b.step(t, modelOp{call: call, hook: b.record()})
	}
	b.step(t, modelOp{call: "start"})
	return b
}

func (b *bubble) record() *modelHook {
	b.hooks++
	return &modelHook{id: b.hooks}
}

// pass lets so many ticks pass, and a part of one.
func (b *bubble) pass(t *rapid.T, ticks int64) {
	part := rapid.Int64Range(1, int64(b.tick)-1).Draw(t, "part")
	now := int64(time.Since(b.start0))
	target := (now/int64(b.tick)+ticks)*int64(b.tick) + part
	if target <= now {
		return
	}
	time.Sleep(time.Duration(target - now))
	synctest.Wait()
	for b.o.nextTick() <= target/int64(b.tick) {
		b.o.now = max(b.o.now, b.o.nextTick()*int64(b.tick))
		b.o.advance()
	}
	b.o.now = target
}

// step makes a call on both sides, and lets the engine do what follows from it.
func (b *bubble) step(t *rapid.T, op modelOp) {
	t.Logf("%v", op)
	b.o.now = int64(time.Since(b.start0))
	got, want := b.e.do(op), b.o.do(op)
	if op.call == "touch" && want.ok {
		b.adopt(t, b.o.sessions[op.h])
	}
	synctest.Wait()
	b.o.advance()
	if got != want {
		t.Fatalf("%s:\nengine: %v\noracle: %v", op.call, got, want)
	}
	b.compare(t)
}

// adopt has the oracle take over the stamp of a touch, which may be a tick
// later than it needs to be.
func (b *bubble) adopt(t *rapid.T, s *oracleSession) {
	i, _ := b.e.handles[s.id].Info()
	switch i.Seen.Round(0).UTC() {
	case b.o.time(s.seen):
	case b.o.time(b.o.stamp() + 1):
		s.seen = b.o.stamp() + 1
		b.o.changed(s)
	default:
		t.Fatalf("touched at %v, seen at %v", time.Now(), i.Seen)
	}
}

// compare compares what the hooks were told, session by session, and the
// sessions.
func (b *bubble) compare(t *rapid.T) {
	for _, list := range [][]modelEntry{b.e.entries, b.o.entries} {
		slices.SortStableFunc(list, func(x, y modelEntry) int { return cmp.Compare(x.event.value, y.event.value) })
	}
	if !slices.Equal(b.e.entries, b.o.entries) {
		t.Fatalf("hooks:\nengine:\n%s\noracle:\n%s", tape(b.e.entries), tape(b.o.entries))
	}
	b.e.entries, b.o.entries = b.e.entries[:0], b.o.entries[:0]
	for _, s := range b.o.sessions[max(0, len(b.o.sessions)-20):] {
		op := modelOp{call: "look", h: s.id, n: s.id}
		if got, want := b.e.do(op), b.o.do(op); got != want {
			t.Fatalf("session %d:\nengine: %v\noracle: %v", s.id, got, want)
		}
	}
	for key := range fewKeys {
		for _, call := range []string{"get", "ended"} {
			op := modelOp{call: call, key: key}
			if got, want := b.e.do(op), b.o.do(op); got != want {
				t.Fatalf("%s %d:\nengine: %v\noracle: %v", call, key, got, want)
			}
		}
	}
	if got, want := b.e.Len(), len(b.o.open); got != want {
		t.Fatalf("Len is %d, want %d", got, want)
	}
	if err := lapse.CheckInvariants(b.e.Engine); err != nil {
		t.Fatalf("invariants: %v", err)
	}
}

func (b *bubble) start(t *rapid.T) {
	b.step(t, modelOp{call: "start", key: drawKey(t), class: drawClass(t), value: len(b.o.sessions)})
	if rapid.Bool().Draw(t, "hook") {
		b.notify(t)
	}
}

func (b *bubble) notify(t *rapid.T) {
	call := rapid.SampledFrom([]string{"notify", "notify before"}).Draw(t, "call")
	b.step(t, modelOp{call: call, h: b.handle(t), hook: b.record()})
}

func (b *bubble) sleep(t *rapid.T) {
	ticks := rapid.Int64Range(0, 4)
	if rapid.IntRange(0, 7).Draw(t, "long") == 7 {
		ticks = rapid.Int64Range(0, 2000)
	}
	b.pass(t, ticks.Draw(t, "ticks"))
	b.compare(t)
}

func (b *bubble) activity(t *rapid.T) {
	op := modelOp{h: b.handle(t), call: rapid.SampledFrom([]string{
		"touch", "touch", "poll", "poll", "poll", "touch at", "hold", "release", "expire",
	}).Draw(t, "call")}
	if op.call == "touch at" {
		op.d = -time.Duration(rapid.Int64Range(0, 4*int64(b.tick)).Draw(t, "ago"))
	}
	b.step(t, op)
}

// burst touches a session so often that the engine no longer asks for the time
// at each touch.
func (b *bubble) burst(t *rapid.T) {
	op := modelOp{call: "touch", h: b.handle(t)}
	for range 300 {
		b.e.do(op)
	}
	b.step(t, op)
}

func (b *bubble) change(t *rapid.T) {
	op := modelOp{h: b.handle(t), class: drawClass(t), key: drawKey(t), to: drawKey(t), call: rapid.SampledFrom([]string{
		"set idle", "set idle", "set class", "set policy", "rename",
	}).Draw(t, "call")}
	switch op.call {
	case "set idle":
		op.d = b.drawLimit(t, "own idle", 8)
	case "set policy":
		op.policy = b.drawPolicy(t, b.o.classes[op.class].name, true)
	}
	b.step(t, op)
}
