package lapse_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/benbjohnson/clock"
	"github.com/lapse-go/lapse"
)

// The rows here need the engine's own goroutines. They run in bubbles, where
// the real clock stands still until every goroutine waits.

// inBubble runs a subtest in a bubble. It fails if a goroutine outlives it.
func inBubble(t *testing.T, name string, f func(*testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// settle lets d pass and the engine do what is then to be done.
func settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// A drivenEngine is an engine with its driver, in a bubble.
type drivenEngine struct {
	*lapse.Engine[string, int]
	t *testing.T

	mu   sync.Mutex
	ends []testEvent // guarded by mu, in the order in which hooks were run
}

func newDriven(t *testing.T, o lapse.Options) *drivenEngine {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(failWriter{t}, nil))
	}
	engine, err := lapse.New[string, int](o)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(func() { engine.Close() })
	e := &drivenEngine{Engine: engine, t: t}
	engine.NotifyOnExpire(func(ev testEvent) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.ends = append(e.ends, ev)
	})
	return e
}

// A failWriter takes whatever is logged for an error.
type failWriter struct{ t *testing.T }

func (w failWriter) Write(line []byte) (int, error) {
	w.t.Errorf("logged: %s", line)
	return len(line), nil
}

func (e *drivenEngine) start(key string) testSession {
	e.t.Helper()
	s, err := e.Start(key, 0)
	if err != nil {
		e.t.Fatalf("Start(%q): %v", key, err)
	}
	return s
}

// events gives the events so far.
func (e *drivenEngine) events() []testEvent {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]testEvent(nil), e.ends...)
}

// A timerClock is a clock that knows the timers it has handed out.
type timerClock struct {
	clock.Clock

	mu     sync.Mutex
	timers []*clock.Timer // guarded by mu
}

func newTimerClock() *timerClock { return &timerClock{Clock: clock.New()} }

func (c *timerClock) AfterFunc(d time.Duration, f func()) *clock.Timer {
	return c.note(c.Clock.AfterFunc(d, f))
}

func (c *timerClock) Timer(d time.Duration) *clock.Timer { return c.note(c.Clock.Timer(d)) }

func (c *timerClock) note(t *clock.Timer) *clock.Timer {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timers = append(c.timers, t)
	return t
}

// stopAll stops the timers and says how many were pending. An engine that had
// one can no longer be used.
func (c *timerClock) stopAll() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	pending := 0
	for _, t := range c.timers {
		if t.Stop() {
			pending++
		}
	}
	return pending
}

// TestNoTimer looks at the timers of the engine's clock once it holds no
// session any more.
func TestNoTimer(t *testing.T) {
	rows := []struct {
		name string
		end  func(*drivenEngine, testSession)
	}{
		{"case=1", func(*drivenEngine, testSession) { settle(900*sec + tick) }},
		{"case=3", func(_ *drivenEngine, s testSession) { s.Expire() }},
		{"case=21", func(_ *drivenEngine, s testSession) {
			s.NotifyOnExpire(brokenHook)
			s.Expire()
		}},
		{"case=174", func(e *drivenEngine, _ testSession) { e.Close() }},
	}
	for _, row := range rows {
		inBubble(t, row.name, func(t *testing.T) {
			clk := newTimerClock()
			newDriven(t, lapse.Options{Clock: clk}).start("a")
			synctest.Wait()
			if clk.stopAll() == 0 {
				t.Fatal("no timer is pending though there is a session")
			}

			clk = newTimerClock()
			e := newDriven(t, lapse.Options{Clock: clk, Logger: slog.New(slog.DiscardHandler)})
			s := e.start("a")
			synctest.Wait() // until the driver sleeps
			row.end(e, s)
			synctest.Wait()
			wantOK(t, "Alive", s.Alive(), false)
			wantCount(t, "timers pending", clk.stopAll(), 0)
		})
	}
}

// A shiftedClock is a clock of another time than that of package time.
type shiftedClock struct{ clock.Clock }

const clockShift = 1000 * time.Hour

func (c shiftedClock) Now() time.Time { return c.Clock.Now().Add(clockShift) }

func TestDriverRules(t *testing.T) {
	inBubble(t, "case=35", func(t *testing.T) {
		given := newTimerClock()
		for _, tt := range []struct {
			clock clock.Clock
			shift time.Duration
		}{
			{nil, 0},
			{shiftedClock{given}, clockShift},
		} {
			e := newDriven(t, lapse.Options{Clock: tt.clock})
			begin := time.Now().Add(tt.shift)
			s := e.start("a")
			if i := infoOf(t, s); !i.Started.Equal(begin) || !i.Deadline.Equal(begin.Add(900*sec)) {
				t.Errorf("started %v, deadline %v; the clock was at %v", i.Started, i.Deadline, begin)
			}
			settle(900*sec - tick)
			wantOK(t, "Alive before 900", s.Alive(), true)
			wantCount(t, "events before 900", len(e.events()), 0)
			settle(2 * tick)
			wantOK(t, "Alive after 900", s.Alive(), false)
			wantCount(t, "events", len(e.events()), 1)
		}
		if len(given.timers) == 0 {
			t.Error("the driver asks another clock than the given one for its timers")
		}
	})
	inBubble(t, "case=66", func(t *testing.T) {
		e := newDriven(t, lapse.Options{Default: lapse.Policy{Name: "second", Idle: time.Minute / 60}})
		settle(3 * ms) // into a tick
		begin := time.Now()
		var ended time.Time
		e.start("a").NotifyOnExpire(func(testEvent) { ended = time.Now() })
		settle(2 * sec)
		if d := ended.Sub(begin); ended.IsZero() || d < 1*sec || d > 1*sec+tick {
			t.Fatalf("the hook ran %v after the start", d)
		}
	})
	inBubble(t, "case=67", func(t *testing.T) {
		e := newDriven(t, lapse.Options{})
		begin := time.Now()
		e.start("a")
		settle(100 * sec)
		e.start("b")
		settle(1000 * sec)
		events := e.events()
		wantCount(t, "events", len(events), 2)
		for i, want := range []struct {
			key string
			at  time.Duration
		}{{"a", 900 * sec}, {"b", 1000 * sec}} {
			late := events[i].Ended.Sub(begin) - want.at
			if events[i].Key != want.key || late < 0 || late > tick {
				t.Errorf("%q ended %v after the time of %q", events[i].Key, late, want.key)
			}
		}
		wantCount(t, "Len", e.Len(), 0)
	})
	inBubble(t, "case=91", func(t *testing.T) {
		e := newDriven(t, lapse.Options{})
		begin := time.Now()
		s := e.start("a")
		synctest.Wait() // until the driver sleeps, for 900 s
		wantOK(t, "SetIdle", s.SetIdle(10*sec), true)
		settle(10*sec - tick)
		wantCount(t, "events before 10", len(e.events()), 0)
		settle(2 * tick)
		wantCount(t, "events at 10", len(e.events()), 1)
		if late := e.events()[0].Ended.Sub(begin) - 10*sec; late < 0 || late > tick {
			t.Errorf("ended %v after 10", late)
		}
		settle(1000 * sec)
		wantCount(t, "events in the end", len(e.events()), 1)
	})
	inBubble(t, "case=98", testShutdown)
	inBubble(t, "case=157", testCallsFromHooks)
	inBubble(t, "case=158", testSlowHook)
	inBubble(t, "case=174", testClosed)
}

func testShutdown(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*sec)
	defer cancel()
	e := newDriven(t, lapse.Options{})
	e.NotifyOnExpire(func(testEvent) { time.Sleep(1 * sec) })
	for _, key := range []string{"a", "b", "c"} {
		e.start(key)
	}
	wantErr(t, "Shutdown", e.Shutdown(ctx), nil)
	if ctx.Err() != nil {
		t.Fatal("Shutdown outlasts its context")
	}
	seen := map[string]bool{}
	for _, ev := range e.events() {
		if seen[ev.Key] || ev.Reason != lapse.ReasonShutdown {
			t.Errorf("%q ends with %v; ended before: %v", ev.Key, ev.Reason, seen[ev.Key])
		}
		seen[ev.Key] = true
	}
	wantCount(t, "sessions that ended", len(seen), 3)

	// When the context ends first no further hook begins.
	e = newDriven(t, lapse.Options{})
	defer settle(100 * sec) // no hook may outlive the bubble
	e.NotifyOnExpire(func(testEvent) { time.Sleep(7 * sec) })
	for _, key := range []string{"a", "b", "c"} {
		e.start(key)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 10*sec)
	defer cancel()
	wantErr(t, "Shutdown with hooks that take too long", e.Shutdown(ctx), context.DeadlineExceeded)
	settle(100 * sec)
	wantCount(t, "hooks begun", len(e.events()), 2)
	_, err := e.Start("d", 0)
	wantErr(t, "Start", err, lapse.ErrClosed)

	// Close waits for nothing and runs nothing.
	e = newDriven(t, lapse.Options{})
	e.start("a")
	e.Close()
	settle(1000 * sec)
	wantCount(t, "hooks after Close", len(e.events()), 0)
}

// testCallsFromHooks has hooks call into the engine while others use it; most
// of the answers are up to chance, but the race detector sees the calls.
func testCallsFromHooks(t *testing.T) {
	e := newDriven(t, lapse.Options{HookWorkers: 2, Default: lapse.Policy{Name: "second", Idle: 1 * sec}})
	e.NotifyOnExpire(func(ev testEvent) {
		e.Get(ev.Key)
		s, _ := e.Start(ev.Key, ev.Value+1)
		s.Touch()
		e.Rename(ev.Key, ev.Key+"'")
		for other := range e.All() {
			other.Poll()
			break
		}
		switch {
		case ev.Value > 10:
			if err := e.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		case ev.Value > 3:
			s.Expire() // whose hooks come here again
		}
	})
	var users sync.WaitGroup
	for i := range 4 {
		users.Go(func() {
			for range 20 {
				key := fmt.Sprint(i)
				if _, err := e.Start(key, 0); err == lapse.ErrClosed {
					return
				}
				e.Touch(key)
				time.Sleep(700 * ms)
			}
		})
	}
	users.Wait()
	settle(20 * sec)
	if _, err := e.Start("late", 0); err != lapse.ErrClosed {
		t.Fatalf("no hook has closed the engine: Start gives %v", err)
	}
}

// testSlowHook has one hook block for ten seconds, in which ten thousand other
// sessions come to their ends, a thousand each second. With one worker their
// hooks have to wait, but the sessions are gone; with two neither waits.
func testSlowHook(t *testing.T) {
	for workers := 1; workers <= 2; workers++ {
		e := newDriven(t, lapse.Options{HookWorkers: workers})
		var blocked atomic.Bool
		slow := e.start("slow")
		slow.SetIdle(1 * sec)
		slow.NotifyOnExpire(func(testEvent) {
			blocked.Store(true)
			time.Sleep(10 * sec)
			blocked.Store(false)
		})
		defer settle(10 * sec) // a hook that still blocks must not outlive the bubble
		sessions := make([]testSession, 10_000)
		for i := range sessions {
			sessions[i] = e.start(fmt.Sprint(i))
			sessions[i].SetIdle(time.Duration(i/1000+1)*sec + 500*ms)
		}
		settle(1*sec + 500*ms + tick)
		for due := 1000; due <= len(sessions); due += 1000 {
			wantOK(t, "the hook blocks", blocked.Load(), true)
			alive := 0
			for range e.All() {
				alive++
			}
			wantCount(t, "sessions that All finds", alive, len(sessions)-due)
			for _, s := range sessions[due-1000 : due] {
				wantOK(t, "Alive of one that is due", s.Alive(), false)
			}
			if workers == 2 {
				wantCount(t, "events", len(e.events()), due)
			}
			if due < len(sessions) {
				settle(1 * sec)
			}
		}
		settle(10 * sec)
		events := e.events()
		wantCount(t, "events in the end", len(events), 1+len(sessions))
		for _, ev := range events {
			if late := ev.Ended.Sub(ev.Deadline); workers == 2 && (late < 0 || late > tick) {
				t.Fatalf("%q ended %v after its deadline", ev.Key, late)
			}
		}
	}
}

func testClosed(t *testing.T) {
	for _, manual := range []bool{false, true} {
		e := newDriven(t, lapse.Options{Manual: manual})
		class, err := e.Class(lapse.ShortSession)
		if err != nil {
			t.Fatal(err)
		}
		s := e.start("a")
		e.start("b")
		synctest.Wait()
		wantErr(t, "Close", e.Close(), nil)
		synctest.Wait() // the bubble fails if a goroutine stays

		wantErr(t, "Close once more", e.Close(), nil)
		wantErr(t, "Shutdown", e.Shutdown(t.Context()), lapse.ErrClosed)
		_, err = e.Start("c", 0)
		wantErr(t, "Start", err, lapse.ErrClosed)
		_, err = class.Start("c", 0)
		wantErr(t, "Class.Start", err, lapse.ErrClosed)
		_, err = e.Class(lapse.Policy{Name: "new"})
		wantErr(t, "Class", err, lapse.ErrClosed)
		wantErr(t, "Rename", e.Rename("a", "c"), lapse.ErrClosed)
		for name, lookup := range map[string]func(string) (testSession, bool){
			"Get": e.Get, "Touch": e.Touch, "Poll": e.Poll,
		} {
			got, ok := lookup("a")
			wantOK(t, name, ok || got.Alive(), false)
		}
		for range e.All() {
			t.Error("All yields a session")
		}
		wantEnded(t, s)
		_, ok := e.Advance()
		wantOK(t, "Advance", ok, false)
		wantCount(t, "events", len(e.events()), 0)
	}
}

func TestZeroSession(t *testing.T) { wantEnded(t, testSession{}) }

// wantEnded asks every method of an ended session that can be asked without
// further set-up.
func wantEnded(t *testing.T, s testSession) {
	t.Helper()
	_, key := s.Key()
	_, value := s.Value()
	_, info := s.Info()
	_, deadline := s.Deadline()
	_, hook := s.NotifyOnExpire(func(testEvent) { t.Error("a hook of an ended session runs") })
	for call, ok := range map[string]bool{
		"Key": key, "Value": value, "Info": info, "Deadline": deadline, "NotifyOnExpire": hook,
		"SetValue": s.SetValue(1), "Touch": s.Touch(), "TouchAt": s.TouchAt(time.Now()), "Poll": s.Poll(),
		"Alive": s.Alive(), "Expire": s.Expire(), "SetIdle": s.SetIdle(time.Hour),
	} {
		wantOK(t, call, ok, false)
	}
}
