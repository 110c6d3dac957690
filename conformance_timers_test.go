package lapse_test

import (
	"testing"

	"github.com/lapse-go/lapse"
)

func TestTimerRules(t *testing.T) {
	t.Run("case=83", func(t *testing.T) {
		e := newEngineOf(t, lapse.Options{Tick: ms, Default: lapse.Policy{Name: "thirty", Idle: 30 * sec}})
		e.start("seen by a look-up")
		e.start("seen by the wheel", lapse.Policy{Name: "thirty too", Idle: 30 * sec})
		e.pass(29999 * ms)
		e.wantAlive("seen by a look-up")
		e.Advance()
		e.wantAlive("seen by the wheel")
		e.pass(1 * ms)
		e.wantGone("seen by a look-up")
		e.wantEnds()
		e.Advance()
		wantCount(t, "events", len(e.events), 2)
	})
	t.Run("case=90", func(t *testing.T) {
		e := newEngine(t)
		s := e.start("a")
		allocs := testing.AllocsPerRun(100, func() {
			e.pass(5 * sec)
			for range 10_000 {
				s.Touch()
			}
		})
		if allocs > 1 { // the mock clock's, not one for each touch
			t.Errorf("%v allocations in 10000 touches", allocs)
		}
		last := since(e.mock.Now())
		e.wantDeadline(s, last+900*sec)
		e.advance(900*sec - tick)
		e.wantAlive("a")
		e.advance(tick)
		e.wantEnds(expiry{"a", lapse.ReasonIdle, last + 900*sec})
	})
	t.Run("case=91", func(t *testing.T) {
		e := newEngine(t)
		s := e.start("a")
		e.Advance()
		wantOK(t, "SetClass", s.SetClass(e.class(lapse.Policy{Name: "ten", Idle: 10 * sec})), true)
		e.advance(10*sec - tick)
		e.wantAlive("a")
		e.advance(tick)
		e.wantEnds(expiry{"a", lapse.ReasonIdle, 10 * sec})
		e.advance(1000 * sec)
		e.wantEnds(expiry{"a", lapse.ReasonIdle, 10 * sec})
		e.wantNoTimer()
	})
	t.Run("case=92", func(t *testing.T) {
		e := newEngine(t)
		s := e.start("a") // its timer is cancelled by a class without limits
		wantOK(t, "SetClass", s.SetClass(e.class(lapse.Policy{Name: "none"})), true)
		if d, ok := s.Deadline(); ok {
			t.Fatalf("a deadline at %v", since(d))
		}
		e.start("b").Expire() // and this one's by its end
		e.advance(100 * sec)
		e.start("b")
		wantOK(t, "SetClass", s.SetClass(e.class(lapse.Policy{Name: "later", Idle: 1200 * sec})), true)
		e.advance(900*sec - tick)
		e.wantAlive("a", "b")
		e.advance(tick)
		e.advance(200 * sec)
		want := []expiry{
			{"b", lapse.ReasonExpired, 0}, {"b", lapse.ReasonIdle, 1000 * sec}, {"a", lapse.ReasonIdle, 1200 * sec},
		}
		e.wantEnds(want...)
		e.advance(5000 * sec)
		e.wantEnds(want...)
	})
	t.Run("case=93", func(t *testing.T) {
		e := newEngine(t)
		s := e.start("a")
		e.advance(900 * sec)
		e.start("a") // takes over the key, and perhaps the memory
		s.SetIdle(1 * sec)
		s.Touch()
		e.advance(899 * sec)
		e.wantEnds(expiry{"a", lapse.ReasonIdle, 900 * sec})
		e.advance(1 * sec)
		e.wantEnds(expiry{"a", lapse.ReasonIdle, 900 * sec}, expiry{"a", lapse.ReasonIdle, 1800 * sec})
		e.advance(1000 * sec)
		wantCount(t, "events", len(e.events), 2)
	})
	t.Run("case=95", func(t *testing.T) {
		e := newEngine(t)
		e.start("a")
		s := e.start("b")
		e.pass(900 * sec)
		e.wantGone("a")
		wantOK(t, "Touch", s.Touch(), false)
		e.wantEnds()
		e.Advance()
		e.Advance()
		e.wantEnds(expiry{"a", lapse.ReasonIdle, 900 * sec}, expiry{"b", lapse.ReasonIdle, 900 * sec})

		// Whoever wants the key of such a session carries out its end.
		e = newEngine(t)
		c, d := e.start("c"), e.start("d")
		e.pass(450 * sec)
		last := e.start("last")
		e.pass(450 * sec)
		e.wantGone("c")
		if s := e.start("c"); s == c {
			t.Error("Start gives the session that has ended")
		}
		e.wantEnds(expiry{"c", lapse.ReasonIdle, 900 * sec})
		wantOK(t, "Expire", d.Expire(), false)
		wantErr(t, "Rename", e.Rename("last", "d"), nil)
		e.wantEnds(expiry{"c", lapse.ReasonIdle, 900 * sec}, expiry{"d", lapse.ReasonIdle, 900 * sec})
		wantOK(t, "Alive", last.Alive(), true)
		e.Advance()
		wantCount(t, "events", len(e.events), 2)
	})
	t.Run("case=96", testRename)
}

func testRename(t *testing.T) {
	e := newEngine(t, lapse.Policy{Name: "all", Idle: 900 * sec, Lifetime: 1000 * sec, PollCap: 600 * sec})
	s := e.start("old")
	s.SetValue(96)
	var c hookCalls
	s.NotifyOnExpire(c.note("first"))
	e.pass(50 * sec)
	s.Poll()
	before := infoOf(t, s)
	e.pass(50 * sec)
	wantErr(t, "Rename", e.Rename("old", "new"), nil)

	if after := infoOf(t, s); after != before {
		t.Fatalf("before %+v, after %+v", before, after)
	}
	if v, ok := s.Value(); !ok || v != 96 {
		t.Fatalf("value %d, %v", v, ok)
	}
	e.wantGone("old")
	wantErr(t, "Rename of the old key", e.Rename("old", "newer"), lapse.ErrNotFound)
	if got, ok := e.Get("new"); !ok || got != s {
		t.Fatalf("Get by the new key: %v", ok)
	}
	if key, ok := s.Key(); !ok || key != "new" {
		t.Fatalf("Key is %q, %v", key, ok)
	}

	s.NotifyOnExpire(c.note("second"))
	e.wantRun(s, 1, 650*sec)
	s.Touch()
	e.wantDeadline(s, 1000*sec) // both the touch's 100 + 900 and the start's lifetime
	e.pass(400 * sec)
	s.Touch()
	e.wantDeadline(s, 1000*sec)
	e.advance(500 * sec)
	e.wantEnds(expiry{"new", lapse.ReasonLifetime, 1000 * sec})
	c.want(t, "first", "second")
}
