package lapse_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lapse-go/lapse"
)

func TestWarningRules(t *testing.T) {
	idle := lapse.Policy{Name: "warned", Idle: 900 * sec, Warn: 60 * sec}
	warnings := func(e *manualEngine) *[]testEvent {
		var seen []testEvent
		e.NotifyBeforeExpire(func(ev testEvent) { seen = append(seen, ev) })
		return &seen
	}
	t.Run("case=152", func(t *testing.T) {
		e := newEngine(t, idle)
		seen := warnings(e)
		s := e.start("a")
		var c hookCalls
		s.NotifyBeforeExpire(c.note("own"))
		e.advance(840*sec - tick)
		wantCount(t, "warnings before 840", len(*seen), 0)
		e.advance(tick)
		wantCount(t, "warnings at 840", len(*seen), 1)
		c.want(t, "own")
		ev := (*seen)[0]
		if ev.Key != "a" || ev.Reason != lapse.ReasonIdle || !ev.Deadline.Equal(at(900*sec)) || !ev.Ended.IsZero() {
			t.Fatalf("%q is warned of %v at %v; ended %v", ev.Key, ev.Reason, since(ev.Deadline), ev.Ended)
		}
		e.advance(30 * sec)
		e.advance(30*sec - tick)
		e.wantAlive("a")
		e.advance(tick)
		e.wantEnds(expiry{"a", lapse.ReasonIdle, 900 * sec})
		wantCount(t, "warnings in all", len(*seen), 1)
		c.want(t, "own")
	})
	t.Run("case=153", func(t *testing.T) {
		e := newEngine(t, idle)
		seen := warnings(e)
		s := e.start("a")
		e.advance(840 * sec)
		e.advance(10 * sec)
		s.Touch()
		e.advance(840*sec - tick)
		wantCount(t, "warnings before 1690", len(*seen), 1)
		e.advance(tick)
		wantCount(t, "warnings at 1690", len(*seen), 2)
		e.advance(60*sec - tick)
		e.wantAlive("a")
		e.advance(tick)
		e.wantEnds(expiry{"a", lapse.ReasonIdle, 1750 * sec})
		wantCount(t, "warnings in all", len(*seen), 2)
	})
	t.Run("case=154", func(t *testing.T) {
		t.Parallel()
		e := newEngine(t, lapse.Policy{Name: "life", Idle: 200 * sec, Lifetime: 1000 * sec, Warn: 60 * sec})
		seen := warnings(e)
		s := e.start("a")
		for now := range 1000 {
			s.Touch()
			want := 0
			if now >= 940 {
				want = 1
			}
			wantCount(t, fmt.Sprintf("warnings at %d", now), len(*seen), want)
			e.advance(1 * sec)
		}
		e.wantEnds(expiry{"a", lapse.ReasonLifetime, 1000 * sec})
		wantCount(t, "warnings in all", len(*seen), 1)
		if ev := (*seen)[0]; ev.Reason != lapse.ReasonLifetime || !ev.Deadline.Equal(at(1000*sec)) {
			t.Fatalf("warned of %v at %v", ev.Reason, since(ev.Deadline))
		}
	})
	t.Run("case=161", func(t *testing.T) {
		e := newEngine(t, idle)
		var c hookCalls
		for _, key := range []string{"a", "b"} {
			s := e.start(key)
			s.NotifyBeforeExpire(c.note("warned " + key))
			s.NotifyOnExpire(c.note("ended " + key))
		}
		e.advance(850 * sec)
		e.Touch("b")
		e.advance(860 * sec)
		e.advance(1000 * sec)
		// The first jump ends in the window of both, the second in that of b.
		c.want(t, "warned a", "warned b", "ended a", "warned b", "ended b")

		c = nil
		s := e.start("c") // whose window one jump leaves behind
		s.NotifyBeforeExpire(c.note("warned c"))
		s.NotifyOnExpire(c.note("ended c"))
		e.advance(1000 * sec)
		c.want(t, "ended c")

		c = nil
		s = e.start("d") // held when the warning is due
		s.NotifyBeforeExpire(c.note("warned d"))
		s.NotifyOnExpire(c.note("ended d"))
		s.Hold()
		e.advance(850 * sec)
		e.advance(850 * sec)
		c.want(t)
		s.Release()
		e.advance(840 * sec)
		c.want(t, "warned d")
		e.advance(60 * sec)
		c.want(t, "warned d", "ended d")
	})
}

func TestWarningOrder(t *testing.T) { inBubble(t, "case=161", testWarningOrder) }

// testWarningOrder has warnings that last beyond the end that they announce,
// and ends by call while the warning waits in the queue.
func testWarningOrder(t *testing.T) {
	e := newDriven(t, lapse.Options{
		HookWorkers: 4, Default: lapse.Policy{Name: "warned", Idle: 10 * sec, Warn: 2 * sec},
	})
	var mu sync.Mutex
	notes := map[string][]string{}
	note := func(ev testEvent, what string) {
		mu.Lock()
		defer mu.Unlock()
		notes[ev.Key] = append(notes[ev.Key], what)
	}
	e.NotifyBeforeExpire(func(ev testEvent) {
		note(ev, "warned")
		time.Sleep(5 * sec)
	})
	e.NotifyOnExpire(func(ev testEvent) { note(ev, "ended") })
	var sessions []testSession
	for i := range 40 {
		sessions = append(sessions, e.start(fmt.Sprint(i)))
	}
	settle(8*sec + tick) // four warnings run now, the others wait
	for _, s := range sessions[30:] {
		s.Expire()
	}
	settle(1000 * sec)
	for i := range sessions {
		got := notes[fmt.Sprint(i)]
		if len(got) == 0 || got[len(got)-1] != "ended" || len(got) > 2 || len(got) == 2 && got[0] != "warned" {
			t.Errorf("session %d: %v", i, got)
		}
	}
}

// TestShorterWarn shortens Warn: a session whose own Idle was too short to be
// warned of is warned now.
func TestShorterWarn(t *testing.T) {
	p := lapse.Policy{Name: "warned", Idle: 900 * sec, Warn: 60 * sec}
	e := newEngine(t, p)
	var warned []testEvent
	e.NotifyBeforeExpire(func(ev testEvent) { warned = append(warned, ev) })
	s := e.start("key")
	s.SetIdle(50 * sec)
	p.Warn = 10 * sec
	if err := e.class(lapse.Policy{Name: "warned", Idle: 900 * sec, Warn: 60 * sec}).SetPolicy(p); err != nil {
		t.Fatal(err)
	}
	e.advance(39 * sec)
	if len(warned) > 0 {
		t.Errorf("warned at 39: %v", warned)
	}
	next, _ := e.Advance()
	if want := time.Unix(40, 0); next.After(want) {
		t.Errorf("the next visit is at %v, want the warning's, %v", next, want)
	}
	e.advance(sec)
	if len(warned) != 1 {
		t.Errorf("%d warnings at 40, want one", len(warned))
	}
}

// TestNoWarningOfAShortIdle gives a session an Idle of its own that is not
// above Warn: it ends without a warning.
func TestNoWarningOfAShortIdle(t *testing.T) {
	for _, own := range []time.Duration{5 * sec, 10 * sec} {
		e := newEngine(t, lapse.Policy{Name: "warned", Idle: 100 * sec, Warn: 10 * sec})
		warned := 0
		e.NotifyBeforeExpire(func(testEvent) { warned++ })
		s := e.start("a")
		s.SetIdle(own)
		e.Advance()
		e.advance(own - tick)
		wantOK(t, "Alive", s.Alive(), true)
		e.advance(tick)
		wantOK(t, "Alive after its Idle", s.Alive(), false)
		wantCount(t, "warnings", warned, 0)
	}
}

// TestWarningThatWaits has a session warned while a slow hook occupies the
// worker. What happens to the session meanwhile decides about the warning.
func TestWarningThatWaits(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(testSession)
		want int // warnings given when the worker is free again
	}{
		{"nothing", func(testSession) { settle(500 * ms) }, 1},
		{"a touch", func(s testSession) { s.Touch(); settle(500 * ms) }, 0},
		{"a hold", func(s testSession) { s.Hold(); settle(500 * ms) }, 0},
		{"a touch, and it is near its end again", func(s testSession) { s.Touch(); settle(8500 * ms) }, 1},
	} {
		inBubble(t, c.name, func(t *testing.T) {
			e := newDriven(t, lapse.Options{Default: lapse.Policy{Name: "warned", Idle: 10 * sec, Warn: 2 * sec}})
			release := make(chan bool)
			slow, err := e.Class(lapse.Policy{Name: "slow", Idle: 5 * sec})
			if err != nil {
				t.Fatal(err)
			}
			blocked, err := slow.Start("slow", 0)
			if err != nil {
				t.Fatal(err)
			}
			blocked.NotifyOnExpire(func(testEvent) { <-release })
			var warned atomic.Int64
			s := e.start("a")
			s.NotifyBeforeExpire(func(testEvent) { warned.Add(1) })
			settle(8500 * ms) // its warning waits
			c.do(s)
			wantOK(t, "Alive", s.Alive(), true)
			wantCount(t, "warnings while the worker is busy", int(warned.Load()), 0)
			close(release)
			synctest.Wait()
			wantCount(t, "warnings", int(warned.Load()), c.want)
		})
	}
}

// newBlocked returns an engine in a bubble whose worker is in a hook, from the
// fifth second on, until release is called.
func newBlocked(t *testing.T, p lapse.Policy) (e *drivenEngine, release func()) {
	t.Helper()
	e = newDriven(t, lapse.Options{Default: p})
	goOn := make(chan bool)
	slow, err := e.Class(lapse.Policy{Name: "slow", Idle: 5 * sec})
	if err != nil {
		t.Fatal(err)
	}
	s, err := slow.Start("slow", 0)
	if err != nil {
		t.Fatal(err)
	}
	s.NotifyOnExpire(func(testEvent) { <-goOn })
	return e, releaser(t, goOn)
}

// releaser returns a function that lets whoever waits for c go on, at the test's
// end at the latest.
func releaser(t *testing.T, c chan bool) (release func()) {
	release = sync.OnceFunc(func() {
		close(c)
		synctest.Wait()
	})
	t.Cleanup(release)
	return release
}

func TestWarningAfterHold(t *testing.T) { inBubble(t, "case=161", testWarningAfterHold) }

// testWarningAfterHold holds a session while its warning waits for a worker. It
// is released within Warn of its Lifetime, and then warned.
func testWarningAfterHold(t *testing.T) {
	e, release := newBlocked(t, lapse.Policy{Name: "life", Lifetime: 10 * sec, Warn: 2 * sec})
	var warned atomic.Int64
	s := e.start("a")
	s.NotifyBeforeExpire(func(testEvent) { warned.Add(1) })
	settle(8500 * ms) // its warning waits
	s.Hold()
	release()
	settle(500 * ms)
	wantCount(t, "warnings while held", int(warned.Load()), 0)
	s.Release()
	settle(0)
	wantCount(t, "warnings after it", int(warned.Load()), 1)
	settle(500 * ms)
	wantCount(t, "warnings in all", int(warned.Load()), 1)
}

// TestWarningThatHolds has a warning hook hold the session, touch it, or give it
// a longer Idle: it is not near its end any more, and the next hooks of the
// warning are not called.
func TestWarningThatHolds(t *testing.T) {
	for what, do := range map[string]func(testSession) bool{
		"hold":    testSession.Hold,
		"touch":   testSession.Touch,
		"SetIdle": func(s testSession) bool { return s.SetIdle(time.Hour) },
		"end":     testSession.Expire,
	} {
		t.Run(what, func(t *testing.T) {
			e := newEngine(t, lapse.Policy{Name: "warned", Idle: 10 * sec, Warn: 5 * sec})
			s := e.start("a")
			var c hookCalls
			s.NotifyBeforeExpire(c.note("first"))
			s.NotifyBeforeExpire(func(testEvent) { wantOK(t, what, do(s), true) })
			s.NotifyBeforeExpire(c.note("own"))
			e.NotifyBeforeExpire(c.note("engine"))
			e.advance(6 * sec)
			c.want(t, "first")
		})
	}
}

// TestWarningTellsThePresent changes a session while its warning waits for a
// worker, and by a hook of the warning: each hook is told what holds when it is
// called.
func TestWarningTellsThePresent(t *testing.T) {
	inBubble(t, "waits", func(t *testing.T) {
		e, release := newBlocked(t, lapse.Policy{Name: "warned", Idle: 10 * sec, Warn: 2 * sec})
		s := e.start("a")
		var got []testEvent
		s.NotifyBeforeExpire(func(ev testEvent) {
			got = append(got, ev)
			s.SetValue(3)
		})
		e.NotifyBeforeExpire(func(ev testEvent) { got = append(got, ev) })
		settle(8500 * ms) // its warning waits
		s.SetValue(2)
		e.Rename("a", "b")
		s.Touch()
		settle(8500 * ms) // it is near its end again
		want, _ := s.Deadline()
		release()
		if len(got) != 2 {
			t.Fatalf("%d warnings, want 2", len(got))
		}
		for i, ev := range got {
			if ev.Key != "b" || ev.Value != 2+i || !ev.Deadline.Equal(want) {
				t.Errorf("hook %d is told of %q, value %d, deadline %v; want b, %d, %v", i, ev.Key, ev.Value, ev.Deadline, 2+i, want)
			}
		}
	})
}

// newWarning returns an engine in a bubble and a session that has become due
// while its warning hook runs, which returns when release is called.
func newWarning(t *testing.T, o lapse.Options) (e *drivenEngine, s testSession, release func()) {
	t.Helper()
	o.Default = lapse.Policy{Name: "warned", Idle: 10 * sec, Warn: 5 * sec}
	o.HookWorkers = 2
	e = newDriven(t, o)
	s = e.start("a")
	goOn := make(chan bool)
	s.NotifyBeforeExpire(func(testEvent) { <-goOn })
	settle(12 * sec)
	return e, s, releaser(t, goOn)
}

// TestDueWhileWarned has a session become due while its warning hook runs. It
// ends in time, and the hooks of the end come after the warning.
func TestDueWhileWarned(t *testing.T) {
	wantEnd := func(t *testing.T, e *drivenEngine, n int) {
		t.Helper()
		if ends := e.events(); len(ends) != n || n > 0 && (ends[0].Key != "a" || ends[0].Reason != lapse.ReasonIdle || ends[0].Ended.Sub(ends[0].Started) >= 11*sec) {
			t.Errorf("ends %v, want %d", ends, n)
		}
	}
	inBubble(t, "nothing", func(t *testing.T) {
		e, _, release := newWarning(t, lapse.Options{})
		wantCount(t, "sessions", e.Len(), 0)
		wantEnd(t, e, 0)
		release()
		wantEnd(t, e, 1)
	})
	inBubble(t, "SetPolicy", func(t *testing.T) {
		e, s, release := newWarning(t, lapse.Options{})
		p := lapse.Policy{Name: "warned", Idle: 10 * sec, Warn: 5 * sec}
		c, err := e.Class(p)
		if err != nil {
			t.Fatal(err)
		}
		p.Idle = 100 * sec
		if err := c.SetPolicy(p); err != nil {
			t.Fatal(err)
		}
		wantOK(t, "Alive after SetPolicy", s.Alive(), false)
		release()
		wantEnd(t, e, 1)
	})
	inBubble(t, "Start", func(t *testing.T) {
		e, _, release := newWarning(t, lapse.Options{MaxSessions: 2, WhenFull: lapse.Evict})
		other := e.start("b")
		e.start("c")
		wantOK(t, "Alive after a Start", other.Alive(), true)
		wantEnd(t, e, 0)
		release()
		wantEnd(t, e, 1)
	})
	inBubble(t, "Shutdown", func(t *testing.T) {
		e, _, release := newWarning(t, lapse.Options{})
		down := make(chan error, 1)
		go func() { down <- e.Shutdown(t.Context()) }()
		synctest.Wait()
		wantCount(t, "returns of Shutdown while a hook runs", len(down), 0)
		release()
		wantErr(t, "Shutdown", <-down, nil)
		wantEnd(t, e, 1)
	})
	inBubble(t, "Close", func(t *testing.T) {
		e, _, release := newWarning(t, lapse.Options{})
		e.Close()
		release()
		wantEnd(t, e, 0)
	})
}

// TestShutdownWhileWarned shuts down while a warning hook runs and another
// worker is free: the hooks of the end come after the warning.
func TestShutdownWhileWarned(t *testing.T) {
	inBubble(t, "case=161", func(t *testing.T) {
		e := newDriven(t, lapse.Options{HookWorkers: 2, Default: lapse.Policy{Name: "warned", Idle: 10 * sec, Warn: 5 * sec}})
		goOn := make(chan bool)
		e.start("a").NotifyBeforeExpire(func(testEvent) { <-goOn })
		release := releaser(t, goOn)
		settle(6 * sec)
		down := make(chan error, 1)
		go func() { down <- e.Shutdown(t.Context()) }()
		synctest.Wait()
		wantCount(t, "ends while the warning runs", len(e.events()), 0)
		release()
		wantErr(t, "Shutdown", <-down, nil)
		wantCount(t, "ends", len(e.events()), 1)
	})
}

// TestChangesWhileWarned carries a session out of its warning's reach, by the
// hook, which then takes so long that it comes near its end again.
func TestChangesWhileWarned(t *testing.T) {
	inBubble(t, "case=153", func(t *testing.T) {
		e := newDriven(t, lapse.Options{Default: lapse.Policy{Name: "warned", Idle: 10 * sec, Warn: 2 * sec}})
		s := e.start("a")
		began := time.Now()
		var warned []time.Duration
		s.NotifyBeforeExpire(func(testEvent) {
			warned = append(warned, time.Since(began).Truncate(sec))
			if len(warned) == 1 {
				s.Touch()
				time.Sleep(9 * sec)
			}
		})
		settle(30 * sec)
		if len(warned) != 2 || warned[0] != 8*sec || warned[1] != 17*sec {
			t.Errorf("warned at %v, want 8s and 17s", warned)
		}
		if ends := e.events(); len(ends) != 1 || ends[0].Ended.Sub(began).Truncate(sec) != 18*sec {
			t.Errorf("ends: %v", ends)
		}
	})
}
