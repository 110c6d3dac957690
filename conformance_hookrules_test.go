package lapse_test

import (
	"context"
	"testing"
	"time"

	"github.com/lapse-go/lapse"
)

func TestHookRules(t *testing.T) {
	t.Run("case=84", func(t *testing.T) {
		for _, way := range ways {
			e := newEngine(t)
			s := e.start("a")
			s.SetValue(84)
			ran := false
			s.NotifyOnExpire(func(ev testEvent) {
				ran = true
				if ev.Key != "a" || ev.Value != 84 || ev.Class != "default" {
					t.Errorf("key %q, value %d, class %q", ev.Key, ev.Value, ev.Class)
				}
				if !ev.Started.Equal(at(0)) || !ev.Seen.Equal(at(0)) || !ev.Deadline.Equal(at(900*sec)) {
					t.Errorf("started %v, seen %v, deadline %v", since(ev.Started), since(ev.Seen), since(ev.Deadline))
				}
			})
			way.end(e, s)
			wantOK(t, "hook ran", ran, true)
		}
	})
	t.Run("case=98", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		e := newEngine(t)
		var c hookCalls
		for _, key := range []string{"a", "b"} {
			e.start(key).NotifyOnExpire(c.note(key))
		}
		e.start("short", lapse.ShortSession)
		e.pass(60 * sec) // nobody has noticed yet that this one is due
		wantErr(t, "Shutdown", e.Shutdown(ctx), nil)
		c.want(t, "a", "b")
		e.wantEnds(
			expiry{"short", lapse.ReasonIdle, 60 * sec},
			expiry{"a", lapse.ReasonShutdown, 60 * sec},
			expiry{"b", lapse.ReasonShutdown, 60 * sec},
		)
		e.wantGone("a", "b", "short")
		wantErr(t, "second Shutdown", e.Shutdown(ctx), lapse.ErrClosed)
		c.want(t, "a", "b")

		e = newEngine(t)
		s := e.start("a")
		s.NotifyOnExpire(c.note("closed"))
		wantErr(t, "Close", e.Close(), nil)
		e.advance(1000 * sec)
		c.want(t, "a", "b")
		e.wantEnds()
		wantOK(t, "Alive", s.Alive(), false)

		e = newEngine(t)
		s = e.start("a")
		e.NotifyOnExpire(func(testEvent) { e.Close() })
		e.NotifyOnExpire(c.note("after Close"))
		s.Expire()
		c.want(t, "a", "b")
	})
	t.Run("case=156", testStop)
	t.Run("case=157", func(t *testing.T) {
		for _, way := range ways {
			e := newEngine(t)
			s := e.start("a")
			ran := 0
			s.NotifyOnExpire(func(ev testEvent) {
				ran++
				callEverything(t, e.Engine, ev)
			})
			way.end(e, s)
			wantCount(t, "runs", ran, 1)
			_, err := e.Start("b", 0)
			wantErr(t, "Start after the hook's Close", err, lapse.ErrClosed)
		}
	})
	t.Run("case=167", func(t *testing.T) {
		e := newEngine(t)
		logout := e.start("log-out")
		e.start("forgotten")
		e.pass(1 * sec)
		logout.Expire()
		e.advance(899 * sec)
		e.wantEnds(expiry{"log-out", lapse.ReasonExpired, 1 * sec}, expiry{"forgotten", lapse.ReasonIdle, 900 * sec})
		if lapse.ReasonExpired.String() == lapse.ReasonIdle.String() {
			t.Fatal("two reasons have one name")
		}
	})
	t.Run("case=172", func(t *testing.T) {
		e := newEngine(t)
		ten, twenty := lapse.Policy{Name: "10", Idle: 10 * sec}, lapse.Policy{Name: "20", Idle: 20 * sec}
		e.start("a", twenty)
		e.start("b", ten)
		e.start("c", lapse.ShortSession)
		e.start("d", ten)
		e.start("e", twenty)
		e.pass(5 * sec)
		e.Touch("a")
		e.pass(2 * sec)
		e.Touch("b")
		e.start("f", ten)
		e.advance(1000 * sec)
		var got hookCalls
		for _, ev := range e.events {
			got = append(got, ev.Key)
		}
		got.want(t, "d", "b", "f", "e", "a", "c") // due at 10, 17, 17, 20, 25, 60
	})
}

// testStop stops hooks of a session, of its class and of the engine.
func testStop(t *testing.T) {
	for _, kind := range hookKinds {
		for _, way := range ways {
			var c hookCalls
			e := newEngine(t)
			s := e.start("a")
			stop := kind.register(e, s, c.note("stopped before"))
			wantOK(t, "stop before the end, hook of the "+kind.of, stop(), true)
			wantOK(t, "stop once more, hook of the "+kind.of, stop(), false)

			var later func() bool
			kind.register(e, s, func(ev testEvent) {
				c.note("first")(ev)
				wantOK(t, "stop by an earlier hook, hook of the "+kind.of, later(), true)
			})
			later = kind.register(e, s, c.note("stopped by the first"))
			kind.register(e, s, c.note("last"))
			way.end(e, s)
			c.want(t, "first", "last")
			wantOK(t, "stop after the end, hook of the "+kind.of, later(), false)
		}
	}
	e := newEngine(t)
	s := e.start("a")
	var c hookCalls
	stop, _ := s.NotifyOnExpire(c.note("hook"))
	s.Expire()
	c.want(t, "hook")
	wantOK(t, "stop after the hook ran", stop(), false)
}

// callEverything does in a hook what a hook may do, and closes the engine.
func callEverything(t *testing.T, e *lapse.Engine[string, int], ev testEvent) {
	if _, ok := e.Get(ev.Key); ok {
		t.Errorf("Get finds %q in its own hook", ev.Key)
	}
	s, err := e.Start(ev.Key, 1)
	if err != nil {
		t.Errorf("Start: %v", err)
	}
	if !s.Touch() {
		t.Error("Touch of the session that the hook has started")
	}
	if err := e.Rename(ev.Key, ev.Key+" again"); err != nil {
		t.Errorf("Rename: %v", err)
	}
	found := false
	for each := range e.All() {
		found = found || each == s
	}
	if !found {
		t.Error("All leaves out the session that the hook has started")
	}
	if !s.Expire() {
		t.Error("Expire of the session that the hook has started")
	}
	e.Advance()
	if err := e.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}
