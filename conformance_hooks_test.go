package lapse_test

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"testing"
	"weak"

	"github.com/lapse-go/lapse"
)

// hookCalls are the names of hooks in the order of their calls.
type hookCalls []string

func (c *hookCalls) note(name string) func(testEvent) {
	return func(testEvent) { *c = append(*c, name) }
}

func (c *hookCalls) want(t *testing.T, names ...string) {
	t.Helper()
	if !slices.Equal(*c, names) {
		t.Fatalf("called %v, want %v", *c, names)
	}
}

// A kind of hook has one way to register it.
type hookKind struct {
	of       string
	register func(*manualEngine, testSession, func(testEvent)) (stop func() bool)
}

// hookKinds are in the order in which hooks of the kinds run.
var hookKinds = []hookKind{
	{"session", func(_ *manualEngine, s testSession, f func(testEvent)) func() bool {
		stop, _ := s.NotifyOnExpire(f)
		return stop
	}},
	{"class", func(e *manualEngine, _ testSession, f func(testEvent)) func() bool {
		return e.class(lapse.DefaultSession).NotifyOnExpire(f)
	}},
	{"engine", func(e *manualEngine, _ testSession, f func(testEvent)) func() bool { return e.NotifyOnExpire(f) }},
}

// ways are the two ways to an end that a test can choose: a call, and the
// clock.
var ways = []struct {
	name string
	end  func(*manualEngine, testSession)
}{
	{"call", func(_ *manualEngine, s testSession) { s.Expire() }},
	{"clock", func(e *manualEngine, _ testSession) { e.advance(900 * sec) }},
}

func TestTwistedHooks(t *testing.T) {
	t.Run("case=5", func(t *testing.T) {
		e := newEngine(t)
		s := e.start("a")
		var c hookCalls
		s.NotifyOnExpire(c.note("hook"))
		s.Expire()
		c.want(t, "hook")
		e.advance(1000 * sec)
		c.want(t, "hook")
	})
	t.Run("case=6", func(t *testing.T) {
		e := newEngine(t, lapse.Policy{Name: "five", Idle: 5 * sec})
		s := e.start("a")
		var c hookCalls
		s.NotifyOnExpire(c.note("hook"))
		e.advance(5*sec - tick)
		c.want(t)
		e.advance(tick)
		c.want(t, "hook")
		e.advance(5 * sec)
		c.want(t, "hook")
	})
	t.Run("case=12", func(t *testing.T) {
		for _, way := range ways {
			e := newEngine(t)
			s := e.start("a")
			var c hookCalls
			f := c.note("f")
			for _, kind := range slices.Backward(hookKinds) {
				kind.register(e, s, c.note(kind.of))
				for _, hook := range []func(testEvent){c.note("a"), c.note("b"), c.note("a2"), f, f} {
					kind.register(e, s, hook)
				}
			}
			way.end(e, s)
			c.want(t,
				"session", "a", "b", "a2", "f", "f",
				"class", "a", "b", "a2", "f", "f",
				"engine", "a", "b", "a2", "f", "f",
			)
		}
	})
	t.Run("case=13", func(t *testing.T) {
		for _, way := range ways {
			e := newEngine(t)
			s := e.start("a")
			ran := false
			s.NotifyOnExpire(func(ev testEvent) {
				ran = true
				e.wantGone(ev.Key)
				if _, ok := e.Touch(ev.Key); ok {
					t.Error("Engine.Touch finds the session that ends")
				}
				wantErr(t, "Rename", e.Rename(ev.Key, "b"), lapse.ErrNotFound)
				for range e.All() {
					t.Error("All yields the session that ends")
				}
			})
			way.end(e, s)
			wantOK(t, "hook ran", ran, true)
		}
	})
	t.Run("case=18", func(t *testing.T) {
		for _, way := range ways {
			e := newEngine(t)
			s := e.start("a")
			var c hookCalls
			s.NotifyOnExpire(func(ev testEvent) {
				c.note("a")(ev)
				_, ok := s.NotifyOnExpire(c.note("c"))
				wantOK(t, "NotifyOnExpire in a hook", ok, true)
			})
			s.NotifyOnExpire(c.note("b"))
			way.end(e, s)
			c.want(t, "a", "b", "c")
		}
	})
	t.Run("case=19", func(t *testing.T) {
		e := newEngine(t)
		s := e.start("a")
		runs, refused := 0, 0
		var again func(testEvent)
		again = func(testEvent) {
			runs++
			if _, ok := s.NotifyOnExpire(again); !ok {
				refused++
			}
		}
		s.NotifyOnExpire(again)
		wantOK(t, "Expire", s.Expire(), true)
		wantCount(t, "runs", runs, 1+1000)
		wantCount(t, "refusals", refused, 1)
		e.wantLog(1)
	})
	t.Run("case=21", func(t *testing.T) {
		e := newEngine(t)
		s := e.start("sesame-4711")
		var c hookCalls
		s.NotifyOnExpire(brokenHook)
		s.NotifyOnExpire(c.note("b"))
		kept := hookOverPage(s)
		wantOK(t, "Expire", s.Expire(), true)
		c.want(t, "b")
		if log := e.wantLog(1); !strings.Contains(log, "brokenHook") {
			t.Errorf("no stack in the log: %s", log)
		} else if strings.Contains(log, "sesame-4711") {
			t.Errorf("the key is in the log: %s", log)
		}
		wantFreed(t, "the object of another hook", kept)
		runtime.KeepAlive(s)
		e.wantNoTimer()
	})
	t.Run("case=22", func(t *testing.T) {
		e := newEngine(t)
		first, second := e.start("first"), e.start("second")
		var c hookCalls
		first.NotifyOnExpire(brokenHook)
		first.NotifyOnExpire(c.note("first"))
		second.NotifyOnExpire(c.note("second"))
		e.advance(900 * sec)
		e.wantGone("first", "second")
		c.want(t, "first", "second")
		e.wantLog(1)
		e.wantEnds(expiry{"first", lapse.ReasonIdle, 900 * sec}, expiry{"second", lapse.ReasonIdle, 900 * sec})
	})
	t.Run("case=23", func(t *testing.T) {
		e := newEngine(t)
		s := e.start("a")
		ran := false
		s.NotifyOnExpire(func(testEvent) {
			ran = true
			wantOK(t, "Touch in the hook", s.Touch(), false)
		})
		e.advance(900 * sec)
		wantOK(t, "hook ran", ran, true)
		e.wantGone("a")
	})
	t.Run("case=24", func(t *testing.T) {
		for _, way := range ways {
			e := newEngine(t)
			s := e.start("a")
			var c hookCalls
			s.NotifyOnExpire(func(ev testEvent) {
				c.note("a")(ev)
				wantOK(t, "Expire in the hook", s.Expire(), false)
			})
			s.NotifyOnExpire(c.note("b"))
			way.end(e, s)
			c.want(t, "a", "b")
			wantCount(t, "events", len(e.events), 1)
		}
	})
	t.Run("case=25", func(t *testing.T) {
		e := newEngine(t)
		var next testSession
		e.start("a").NotifyOnExpire(func(ev testEvent) { next = e.start(ev.Key) })
		e.advance(900 * sec)
		e.wantAlive("a")
		e.wantDeadline(next, 1800*sec)
		e.advance(900 * sec)
		e.wantEnds(expiry{"a", lapse.ReasonIdle, 900 * sec}, expiry{"a", lapse.ReasonIdle, 1800 * sec})
	})
	t.Run("case=26", func(t *testing.T) {
		e := newEngine(t)
		for _, key := range []string{"c", "a", "b"} {
			e.start(key)
			e.pass(1 * sec)
		}
		for _, key := range []string{"a", "b", "c"} { // one deadline for all
			e.Touch(key)
		}
		e.advance(900 * sec)
		e.wantEnds(
			expiry{"c", lapse.ReasonIdle, 903 * sec},
			expiry{"a", lapse.ReasonIdle, 903 * sec},
			expiry{"b", lapse.ReasonIdle, 903 * sec},
		)
	})
	t.Run("case=27", func(t *testing.T) {
		e := newEngine(t)
		a, b := e.start("a"), e.start("b")
		a.NotifyOnExpire(func(testEvent) { wantOK(t, "Touch of b", b.Touch(), false) })
		e.advance(900 * sec)
		e.wantEnds(expiry{"a", lapse.ReasonIdle, 900 * sec}, expiry{"b", lapse.ReasonIdle, 900 * sec})
	})
	t.Run("case=44", func(t *testing.T) {
		e := newEngine(t, lapse.Policy{Name: "five", Idle: 5 * sec})
		known, lines := map[string]bool{}, 0
		visit := func(uid string) {
			s, ok := e.Touch(uid)
			if !ok {
				s = e.start(uid)
			}
			if !known[uid] {
				known[uid] = true
				s.NotifyOnExpire(func(ev testEvent) {
					lines++
					delete(known, ev.Key)
				})
			}
		}
		for range 3 {
			visit("a")
			e.advance(1 * sec)
		}
		e.advance(4*sec - tick)
		wantCount(t, "lines before the end", lines, 0)
		e.advance(tick)
		wantCount(t, "lines", lines, 1)
		wantCount(t, "known ids", len(known), 0)
	})
	t.Run("case=45", testNothingKept)
}

func brokenHook(testEvent) { panic("out of order") }

// A largeObject is one that a hook may close over.
type largeObject [1 << 20]byte

func hookOverPage(s testSession) weak.Pointer[largeObject] {
	p := new(largeObject)
	s.NotifyOnExpire(func(testEvent) { p[0]++ })
	return weak.Make(p)
}

func wantFreed[T any](t *testing.T, what string, p weak.Pointer[T]) {
	t.Helper()
	for range 10 {
		if p.Value() == nil {
			return
		}
		runtime.GC()
	}
	t.Fatalf("%s is still referenced", what)
}

// testNothingKept ends sessions whose hook, key and value are large objects.
func testNothingKept(t *testing.T) {
	type engine = lapse.Engine[*largeObject, *largeObject]
	clk := newEngine(t).mock
	start := func(e *engine) (s lapse.Session[*largeObject, *largeObject], held [3]weak.Pointer[largeObject]) {
		key, value, closed := new(largeObject), new(largeObject), new(largeObject)
		s, err := e.Start(key, value)
		if err != nil {
			t.Fatal(err)
		}
		s.NotifyOnExpire(func(lapse.Event[*largeObject, *largeObject]) { closed[0]++ })
		return s, [3]weak.Pointer[largeObject]{weak.Make(key), weak.Make(value), weak.Make(closed)}
	}
	for _, way := range []struct {
		name string
		end  func(*engine)
	}{
		{"Expire", func(e *engine) {
			for s := range e.All() {
				s.Expire()
			}
		}},
		{"Advance", func(e *engine) { clk.Add(900 * sec); e.Advance() }},
		{"Shutdown", func(e *engine) { e.Shutdown(context.Background()) }},
		{"Close", func(e *engine) { e.Close() }},
	} {
		e, err := lapse.New[*largeObject, *largeObject](lapse.Options{Manual: true, Clock: clk})
		if err != nil {
			t.Fatal(err)
		}
		s, held := start(e)
		runtime.GC()
		if held[0].Value() == nil || held[1].Value() == nil || held[2].Value() == nil {
			t.Fatal("the engine keeps no hold of what it needs")
		}
		way.end(e)
		for i, what := range []string{"the key", "the value", "what the hook closed over"} {
			wantFreed(t, what+" after "+way.name, held[i])
		}
		runtime.KeepAlive(s) // and with it the engine
		e.Close()
	}
}
