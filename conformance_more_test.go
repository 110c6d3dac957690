package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/lapse-go/lapse"
)

// The rows here need holds, the memory of ended sessions, capacity, statistics
// or contexts, or say more about them in a row that has been tested.

func (e *manualEngine) wantEnding(key string, reason lapse.Reason, when time.Duration) {
	e.t.Helper()
	got, ok := e.Ended(key)
	if !ok || got.Reason != reason || !got.At.Equal(at(when)) {
		e.t.Fatalf("Ended(%q): %v at %v, %v; want %v at %v", key, got.Reason, since(got.At), ok, reason, when)
	}
}

func (e *manualEngine) wantNoEnding(key string) {
	e.t.Helper()
	if got, ok := e.Ended(key); ok {
		e.t.Fatalf("Ended(%q): %v at %v", key, got.Reason, since(got.At))
	}
}

func TestRememberRules(t *testing.T) {
	remember := lapse.Options{Remember: 10}
	t.Run("case=14", func(t *testing.T) {
		e := newEngineOf(t, remember)
		s := e.start("a")
		e.wantNoEnding("a")
		e.advance(900 * sec)
		e.wantEnding("a", lapse.ReasonIdle, 900*sec)
		e.pass(1 * sec)
		wantOK(t, "Expire", s.Expire(), false)
		e.wantEnding("a", lapse.ReasonIdle, 900*sec)
		e.start("a")
		e.wantNoEnding("a")
	})
	t.Run("case=16", func(t *testing.T) {
		e := newEngineOf(t, remember)
		s := e.start("a")
		e.pass(905 * sec)
		wantOK(t, "Touch", s.Touch(), false)
		e.wantEnding("a", lapse.ReasonIdle, 900*sec) // due, and nothing has ended it yet
		e.Advance()
		wantOK(t, "Touch", s.Touch(), false)
		e.wantEnding("a", lapse.ReasonIdle, 905*sec)
	})
	t.Run("case=64", func(t *testing.T) {
		e := newEngineOf(t, lapse.Options{Remember: 1, Default: lapse.Policy{Name: "cap", PollCap: 60 * sec}})
		s := e.start("a")
		s.Poll()
		e.pass(60*sec + tick)
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() { s.Poll() })
		}
		all.Wait()
		e.wantEnding("a", lapse.ReasonPollCap, 60*sec+tick)
	})
	t.Run("case=162", func(t *testing.T) {
		e := newEngineOf(t, lapse.Options{Remember: 1000})
		for i := range 1500 {
			if i%100 == 0 {
				e.pass(1 * sec)
			}
			s := e.start(fmt.Sprint(i))
			if i%2 == 0 {
				s.Expire()
			} else {
				s.SetIdle(tick)
				e.advance(tick)
			}
		}
		for i, ev := range e.events {
			if ev.Key != fmt.Sprint(i) {
				t.Fatalf("session %s is the one that ended as number %d", ev.Key, i)
			}
			if i < 500 {
				e.wantNoEnding(ev.Key)
				continue
			}
			reason := lapse.ReasonExpired
			if i%2 == 1 {
				reason = lapse.ReasonIdle
			}
			e.wantEnding(ev.Key, reason, since(ev.Ended))
		}
		e.wantNoEnding("nobody")

		e = newEngine(t) // which remembers none
		e.start("a").Expire()
		e.wantNoEnding("a")
	})
	t.Run("case=167", func(t *testing.T) {
		e := newEngineOf(t, remember)
		e.start("log-out").Expire()
		e.start("forgotten")
		e.advance(900 * sec)
		e.wantEnding("log-out", lapse.ReasonExpired, 0)
		e.wantEnding("forgotten", lapse.ReasonIdle, 900*sec)
	})
}

func TestHoldRules(t *testing.T) {
	t.Run("case=68", func(t *testing.T) {
		e := newEngine(t)
		s := e.start("held")
		s.SetValue(68)
		wantOK(t, "Hold", s.Hold(), true)
		for i := range 10 {
			e.start(fmt.Sprint(i))
		}
		e.advance(900 * sec) // sweeps the others away
		wantCount(t, "events", len(e.events), 10)
		e.start("takes up freed memory")
		if v, ok := s.Value(); !ok || v != 68 || !s.Alive() {
			t.Fatalf("value %d, %v", v, ok)
		}
		wantCount(t, "holds", infoOf(t, s).Holds, 1)
		wantOK(t, "Release", s.Release(), true)
		wantOK(t, "Release with nothing held", s.Release(), false)
		e.wantDeadline(s, 1800*sec)
	})
	t.Run("case=88", func(t *testing.T) {
		e := newEngine(t, lapse.Policy{Name: "held", Idle: 60 * sec, Lifetime: 300 * sec, PollCap: 200 * sec})
		s := e.start("a")
		s.Poll()
		e.pass(10 * sec)
		wantOK(t, "Hold", s.Hold(), true)
		e.advance(120 * sec)
		e.wantAlive("a")
		e.wantDeadline(s, 190*sec) // if it were released now
		if seen := infoOf(t, s).Seen; !seen.Equal(at(0)) {
			t.Fatalf("a hold counts as being seen, at %v", since(seen))
		}
		e.pass(5 * sec)
		wantOK(t, "Release", s.Release(), true)
		e.wantDeadline(s, 195*sec)
		s.Hold()
		e.advance(100 * sec) // to 235, past the cap
		e.wantAlive("a")
		e.advance(65 * sec)
		e.wantEnds(expiry{"a", lapse.ReasonLifetime, 300 * sec})

		s = e.start("b")
		s.Poll()
		s.Hold()
		e.advance(201 * sec)
		e.wantAlive("b")
		wantOK(t, "the poll past the cap", s.Poll(), false)
		s = e.start("c")
		s.Poll()
		s.Hold()
		e.advance(201 * sec)
		wantOK(t, "Release past the cap", s.Release(), true)
		wantOK(t, "Alive after it", s.Alive(), false)
		e.Advance()
		e.wantEnds(
			expiry{"a", lapse.ReasonLifetime, 300 * sec},
			expiry{"b", lapse.ReasonPollCap, 501 * sec},
			expiry{"c", lapse.ReasonPollCap, 702 * sec},
		)
	})
	t.Run("case=89", func(t *testing.T) {
		e := newEngine(t)
		s := e.start("a")
		s.Hold()
		e.advance(10 * sec)
		s.Hold()
		s.Hold()
		wantCount(t, "holds", infoOf(t, s).Holds, 3)
		e.advance(500 * sec)
		wantOK(t, "the first Release", s.Release(), true)
		e.advance(500 * sec)
		wantOK(t, "the second Release", s.Release(), true)
		e.advance(1000 * sec)
		e.wantAlive("a")
		wantOK(t, "the last Release", s.Release(), true)
		e.wantDeadline(s, 2910*sec)
		e.advance(900*sec - tick)
		e.wantAlive("a")
		e.advance(tick)
		e.wantEnds(expiry{"a", lapse.ReasonIdle, 2910 * sec})

		// Holds end with their session: the next one of that key has none.
		s = e.start("b")
		s.Hold()
		s.Hold()
		s.Expire()
		s = e.start("b")
		wantCount(t, "holds", infoOf(t, s).Holds, 0)
		s.Hold()
		wantCount(t, "holds", infoOf(t, s).Holds, 1)
		s.Release()
		wantCount(t, "holds", infoOf(t, s).Holds, 0)
	})
}

func TestChangeRules(t *testing.T) {
	t.Run("case=29", func(t *testing.T) {
		e := newEngine(t)
		own, s := e.start("own"), e.start("a")
		own.SetIdle(20 * sec)
		shorter := lapse.Policy{Name: "default", Idle: 10 * sec}
		wantErr(t, "SetPolicy", e.class(lapse.DefaultSession).SetPolicy(shorter), nil)
		e.wantDeadline(s, 10*sec)
		e.wantDeadline(own, 20*sec)
		e.advance(20 * sec)
		e.wantEnds(expiry{"a", lapse.ReasonIdle, 20 * sec}, expiry{"own", lapse.ReasonIdle, 20 * sec})
		if d := e.events[0].Deadline; !d.Equal(at(10 * sec)) {
			t.Fatalf("the event's Deadline is %v", since(d))
		}

		s = e.start("b")
		s.SetIdle(20 * sec)
		wantOK(t, "SetIdle to the class's", s.SetIdle(0), true)
		e.wantDeadline(s, 30*sec)
		s.SetIdle(20 * sec)
		wantOK(t, "SetClass", s.SetClass(e.class(lapse.ShortSession)), true)
		e.wantDeadline(s, 80*sec)

		// What was due under the old policy stays ended under a longer one.
		e.start("c")
		e.pass(10 * sec)
		wantErr(t, "SetPolicy", e.class(shorter).SetPolicy(lapse.DefaultSession), nil)
		e.wantGone("c")
	})
	t.Run("case=91", func(t *testing.T) {
		e := newEngine(t)
		e.start("a")
		e.Advance()
		c := e.class(lapse.DefaultSession)
		wantErr(t, "SetPolicy", c.SetPolicy(lapse.Policy{Name: "default", Idle: 10 * sec}), nil)
		e.advance(10*sec - tick)
		e.wantAlive("a")
		e.advance(tick)
		e.advance(1000 * sec)
		e.wantEnds(expiry{"a", lapse.ReasonIdle, 10 * sec})
		if err := c.SetPolicy(lapse.Policy{Name: "other", Idle: 10 * sec}); err == nil {
			t.Error("SetPolicy accepts another name")
		}
	})
	t.Run("case=147", func(t *testing.T) {
		e := newEngine(t)
		c := e.class(lapse.DefaultSession)
		if err := c.SetPolicy(lapse.Policy{Name: "default", Idle: 60 * sec, Warn: 60 * sec}); err == nil {
			t.Error("SetPolicy accepts a warning as long as Idle")
		}
		e.wantDeadline(e.start("a"), 900*sec)
	})
}

func TestCapacityRules(t *testing.T) {
	t.Run("case=97", func(t *testing.T) {
		e := newEngineOf(t, lapse.Options{MaxSessions: 2})
		e.start("a")
		e.start("short", lapse.ShortSession)
		s, err := e.Start("c", 0)
		wantErr(t, "Start when full", err, lapse.ErrFull)
		wantOK(t, "Alive of what it gives", s.Alive(), false)
		e.pass(60 * sec)
		e.start("c") // in the place of the one that is due
		e.wantEnds(expiry{"short", lapse.ReasonIdle, 60 * sec})

		e = newEngineOf(t, lapse.Options{
			MaxSessions: 2, WhenFull: lapse.Evict, Default: lapse.Policy{Name: "long", Idle: 900 * sec, Lifetime: 3600 * sec},
		})
		a := e.start("a")
		b := e.start("b", lapse.ShortSession)
		got, err := e.Start("a", 0)
		wantErr(t, "Start with a key that is taken", err, lapse.ErrExists)
		wantOK(t, "it gives the session that has the key", got == a, true)
		var c hookCalls
		b.NotifyOnExpire(c.note("evicted"))
		e.start("c")
		c.want(t, "evicted")
		e.wantEnds(expiry{"b", lapse.ReasonEvicted, 0})
		e.wantAlive("a", "c")
		wantCount(t, "Len", e.Len(), 2)

		e.pass(1 * sec)
		a.Touch() // so that the other one is nearer to its end
		e.start("d")
		e.wantEnds(expiry{"b", lapse.ReasonEvicted, 0}, expiry{"c", lapse.ReasonEvicted, 1 * sec})
		a.Hold()
		e.pass(1 * sec)
		e.Touch("d")
		e.start("e")
		wantOK(t, "Alive of the held one", a.Alive(), true)
		e.wantGone("d")
		held, _ := e.Get("e")
		held.Hold()
		_, err = e.Start("f", 0)
		wantErr(t, "Start when all are held", err, lapse.ErrFull)
	})
	inBubble(t, "case=99", func(t *testing.T) {
		const n = 20_000
		e := newDriven(t, lapse.Options{})
		unblock := make(chan struct{})
		open := sync.OnceFunc(func() { close(unblock) })
		defer open() // no hook may outlive the bubble
		e.NotifyOnExpire(func(testEvent) { <-unblock })
		var seen []lapse.Stats
		for batch := range 2 {
			for i := range n {
				e.start(fmt.Sprint(batch, i))
			}
			settle(900*sec + tick)
			stats := e.Stats()
			if _, ok := e.Get(fmt.Sprint(batch, n-1)); ok {
				t.Fatal("a look-up finds an overdue session")
			}
			seen = append(seen, stats)
		}
		// Twice as many are due, and no more of them wait in memory of their
		// own.
		first, second := seen[0], seen[1]
		if first.Queue == 0 || first.Overdue < n/2 || second.Queue != first.Queue || second.Overdue < first.Overdue+n {
			t.Fatalf("%d hooks waiting, %d sessions overdue; then %d and %d",
				first.Queue, first.Overdue, second.Queue, second.Overdue)
		}
		open()
		settle(1 * sec)
		wantCount(t, "events", len(e.events()), 2*n)
		wantCount(t, "Len", e.Len(), 0)
		wantCount(t, "overdue in the end", e.Stats().Overdue, 0)
	})
}

func TestStatsRules(t *testing.T) {
	t.Run("case=19", func(t *testing.T) {
		e := newEngine(t)
		s := e.start("a")
		var again func(testEvent)
		again = func(testEvent) { s.NotifyOnExpire(again) }
		s.NotifyOnExpire(again)
		s.Expire()
		e.wantLog(1)
		wantCount(t, "panics", int(e.Stats().Panics), 1)
	})
	t.Run("case=21", func(t *testing.T) {
		e := newEngine(t)
		s := e.start("a")
		s.NotifyOnExpire(brokenHook)
		e.NotifyOnExpireBatch(func([]testEvent) { panic("out of order") })
		s.Expire()
		e.wantLog(2)
		wantCount(t, "panics", int(e.Stats().Panics), 2)
		wantCount(t, "ended", int(e.Stats().Ended[lapse.ReasonExpired]), 1)
		wantCount(t, "live", e.Stats().Live["default"], 0)
	})
	t.Run("case=90", func(t *testing.T) {
		touched, twin := newEngine(t), newEngine(t)
		s := touched.start("a")
		twin.start("a")
		for range 100 {
			touched.pass(5 * sec)
			for range 10_000 {
				s.Touch()
			}
		}
		twin.pass(500 * sec)
		entries := 0
		for level, slots := range touched.Occupancy() {
			if !slices.Equal(slots, twin.Occupancy()[level]) {
				t.Errorf("level %d: %v, and %v without touches", level, slots, twin.Occupancy()[level])
			}
			for _, n := range slots {
				entries += n
			}
		}
		wantCount(t, "entries in the wheel", entries, 1)
	})
	t.Run("case=172", func(t *testing.T) {
		e := newEngine(t)
		var c hookCalls
		e.NotifyOnExpireBatch(func(events []testEvent) {
			for _, ev := range events {
				c.note("batch " + ev.Key)(ev)
			}
		})
		e.NotifyOnExpire(func(ev testEvent) { c.note(ev.Key)(ev) })
		e.start("a")
		e.start("b", lapse.ShortSession)
		e.advance(900 * sec)
		c.want(t, "b", "a", "batch b", "batch a")
	})
}

func TestClosedRules(t *testing.T) {
	t.Run("case=174", func(t *testing.T) {
		e := newEngine(t)
		class := e.class(lapse.ShortSession)
		s := e.start("a")
		ctx, cancel := s.Context(t.Context())
		defer cancel()
		e.Close()
		<-ctx.Done()
		var ended *lapse.EndedError
		if !errors.As(context.Cause(ctx), &ended) || ended.Reason != lapse.ReasonShutdown {
			t.Fatalf("cause of the context's end: %v", context.Cause(ctx))
		}
		wantErr(t, "SetPolicy", class.SetPolicy(lapse.ShortSession), lapse.ErrClosed)
		e.wantNoEnding("a")
		wantEndedToo(t, s, class)
	})
	t.Run("case=17", func(t *testing.T) {
		e := newEngine(t)
		s := e.start("a")
		s.Expire()
		wantEndedToo(t, s, e.class(lapse.ShortSession))
		wantEndedToo(t, testSession{}, e.class(lapse.ShortSession))
	})
}

// wantEndedToo asks an ended session what wantEnded leaves out.
func wantEndedToo(t *testing.T, s testSession, class *lapse.Class[string, int]) {
	t.Helper()
	wantEnded(t, s)
	stop, warning := s.NotifyBeforeExpire(func(testEvent) { t.Error("an ended session is warned") })
	for call, ok := range map[string]bool{
		"Hold": s.Hold(), "Release": s.Release(), "SetClass": s.SetClass(class),
		"NotifyBeforeExpire": warning, "stop": stop(),
	} {
		wantOK(t, call, ok, false)
	}
	ctx, cancel := s.Context(t.Context())
	defer cancel()
	if ctx.Err() == nil {
		t.Error("the context of an ended session is not done")
	}
}
