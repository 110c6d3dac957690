package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lapse-go/lapse"
	"pgregory.net/rapid"
)

// TestOptionsErrors gives New what makes no sense: the error names the field
// and the value.
func TestOptionsErrors(t *testing.T) {
	for _, tt := range []struct {
		options lapse.Options
		want    string
	}{
		{lapse.Options{Tick: -1}, "Options.Tick is -1ns"},
		{lapse.Options{Tick: time.Millisecond - 1}, "Options.Tick is 999.999µs"},
		{lapse.Options{HookWorkers: -2}, "Options.HookWorkers is -2"},
		{lapse.Options{MaxSessions: -3}, "Options.MaxSessions is -3"},
		{lapse.Options{WhenFull: 7}, "Options.WhenFull is 7"},
		{lapse.Options{Remember: -4}, "Options.Remember is -4"},
		{lapse.Options{Default: lapse.Policy{Idle: time.Second}}, "Policy.Name is empty"},
		{lapse.Options{Default: lapse.Policy{Name: "a", Idle: -time.Second}}, `Policy.Idle of class "a" is -1s`},
		{lapse.Options{Default: lapse.Policy{Name: "a", Lifetime: -time.Second}}, `Policy.Lifetime of class "a" is -1s`},
		{lapse.Options{Default: lapse.Policy{Name: "a", PollCap: -time.Second}}, `Policy.PollCap of class "a" is -1s`},
		{lapse.Options{Default: lapse.Policy{Name: "a", Warn: -time.Second}}, `Policy.Warn of class "a" is -1s`},
		{lapse.Options{Default: lapse.Policy{Name: "a", PollMax: -1}}, `Policy.PollMax of class "a" is -1`},
		{lapse.Options{Default: lapse.Policy{Name: "a", PollMax: 1 << 24}}, `Policy.PollMax of class "a" is 16777216`},
		{lapse.Options{Default: lapse.Policy{Name: "a", Idle: 2, Lifetime: 1}}, `Policy.Lifetime of class "a" is 1ns`},
		{lapse.Options{Default: lapse.Policy{Name: "a", PollCap: 2, Lifetime: 1}}, `Policy.PollCap of class "a" is 2ns`},
		{lapse.Options{Default: lapse.Policy{Name: "a", Idle: 9, Warn: 9}}, `Policy.Warn of class "a" is 9ns`},
		{lapse.Options{Default: lapse.Policy{Name: "a", Idle: 9, PollCap: 5, Warn: 6}}, `Policy.Warn of class "a" is 6ns`},
	} {
		e, err := lapse.New[int, int](tt.options)
		if err == nil || e != nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("New(%+v): %v, want an error with %q", tt.options, err, tt.want)
		}
	}
}

// TestClassErrors makes classes that cannot be.
func TestClassErrors(t *testing.T) {
	e := newEngine(t)
	short := e.class(lapse.ShortSession)
	if again := e.class(lapse.ShortSession); again != short {
		t.Error("the same policy gave another class")
	}
	if _, err := e.Class(lapse.Policy{Name: "short"}); err == nil || !strings.Contains(err.Error(), `class "short" exists`) {
		t.Errorf("another policy of the same name: %v", err)
	}
	if err := short.SetPolicy(lapse.Policy{Name: "long"}); err == nil || !strings.Contains(err.Error(), `"long"`) {
		t.Errorf("SetPolicy of another name: %v", err)
	}
	if err := short.SetPolicy(lapse.Policy{Name: "short", Idle: -1}); err == nil {
		t.Error("SetPolicy took a negative Idle")
	}
	if got := short.Policy(); got != lapse.ShortSession {
		t.Errorf("after refused changes the policy is %+v", got)
	}
}

// TestMostClasses makes all the classes that there can be.
func TestMostClasses(t *testing.T) {
	e := newEngine(t)
	for i := range 65534 {
		if _, err := e.Class(lapse.Policy{Name: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := e.Class(lapse.Policy{Name: "one more"}); err == nil || !strings.Contains(err.Error(), "65535") {
		t.Errorf("class number 65536: %v", err)
	}
	last := e.class(lapse.Policy{Name: "65533"})
	s, err := last.Start("key", 1)
	if info, _ := s.Info(); err != nil || info.Class != "65533" {
		t.Errorf("a session of the last class: %+v, %v", info, err)
	}
}

// TestMisuse panics where a program is wrong, and leaves no lock behind.
func TestMisuse(t *testing.T) {
	e, other := newEngine(t), newEngine(t)
	s := e.start("key")
	foreign := other.class(lapse.ShortSession)
	for name, f := range map[string]func(){
		"Engine.NotifyOnExpire":      func() { e.NotifyOnExpire(nil) },
		"Engine.NotifyOnExpireBatch": func() { e.NotifyOnExpireBatch(nil) },
		"Engine.NotifyBeforeExpire":  func() { e.NotifyBeforeExpire(nil) },
		"Class.NotifyOnExpire":       func() { foreign.NotifyOnExpire(nil) },
		"Session.NotifyOnExpire":     func() { s.NotifyOnExpire(nil) },
		"Session.NotifyBeforeExpire": func() { s.NotifyBeforeExpire(nil) },
		"SetClass(nil)":              func() { s.SetClass(nil) },
		"SetClass of another engine": func() { s.SetClass(foreign) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s did not panic", name)
				}
			}()
			f()
		}()
	}
	if !s.Touch() || !s.Expire() {
		t.Error("the session is stuck")
	}
}

func TestNames(t *testing.T) {
	for r, want := range map[lapse.Reason]string{0: "none", lapse.ReasonIdle: "idle", lapse.ReasonLifetime: "lifetime",
		lapse.ReasonPollCap: "poll cap", lapse.ReasonPollMax: "poll max", lapse.ReasonExpired: "expired",
		lapse.ReasonEvicted: "evicted", lapse.ReasonShutdown: "shutdown", 99: "Reason(99)"} {
		if got := r.String(); got != want {
			t.Errorf("Reason %d is %q, want %q", uint8(r), got, want)
		}
	}
	for want, err := range map[string]error{
		"lapse: the session has ended":       new(lapse.EndedError),
		"lapse: the session has ended: idle": &lapse.EndedError{Ending: lapse.Ending{Reason: lapse.ReasonIdle}},
	} {
		if got := err.Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestUnequalKeys starts sessions with keys that no look-up would find.
func TestUnequalKeys(t *testing.T) {
	e, err := lapse.New[float64, int](lapse.Options{Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	zero := 0.0
	if _, err := e.Start(zero/zero, 1); err == nil || !strings.Contains(err.Error(), "not equal to itself") {
		t.Errorf("Start with NaN: %v", err)
	}
	e.Start(1, 1)
	if err := e.Rename(1, zero/zero); err == nil {
		t.Error("Rename to NaN worked")
	}
	if _, ok := e.Get(1); !ok || e.Len() != 1 {
		t.Error("the session was lost")
	}
}

// TestEvictNearest fills engines with a driver and sees whom they evict: nobody
// else may end sooner by more than an eighth of its remaining time, whatever
// was touched, held, warned or shortened before.
func TestEvictNearest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rapid.SyncTest(t, func(t *rapid.T) {
			const most = 30
			e, err := lapse.New[int, int](lapse.Options{MaxSessions: most, WhenFull: lapse.Evict})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			seconds := func(least, most int, label string) time.Duration {
				return time.Duration(rapid.IntRange(least*100, most*100).Draw(t, label)) * 10 * time.Millisecond
			}
			var classes []*lapse.Class[int, int]
			for i, warn := range []time.Duration{0, 5 * time.Second, 200 * time.Second} {
				c, err := e.Class(lapse.Policy{Name: fmt.Sprint(i), Idle: warn + seconds(1, 5000, "idle"), Warn: warn})
				if err != nil {
					t.Fatal(err)
				}
				classes = append(classes, c)
			}
			e.NotifyBeforeExpire(func(lapse.Event[int, int]) {})
			var evicted []lapse.Event[int, int]
			e.NotifyOnExpire(func(ev lapse.Event[int, int]) {
				if ev.Reason == lapse.ReasonEvicted {
					evicted = append(evicted, ev)
				}
			})
			for key := range 3 * most {
				for s := range e.All() {
					switch rapid.IntRange(0, 30).Draw(t, "op") {
					case 0:
						s.Touch()
					case 1:
						s.SetIdle(seconds(1, 3000, "own"))
					case 2:
						if info, _ := s.Info(); info.Holds == 0 {
							s.Hold()
						} else {
							s.Release()
						}
					}
				}
				if rapid.IntRange(0, 3).Draw(t, "sleep") == 0 {
					time.Sleep(seconds(0, 60, "time"))
				}
				synctest.Wait() // what is due has ended
				now := time.Now()
				ends := make(map[int]time.Time)
				for s := range e.All() {
					k, _ := s.Key()
					if info, _ := s.Info(); info.Holds == 0 {
						ends[k] = info.Deadline
					}
				}
				full := e.Len() == most
				evicted = nil
				_, err := classes[rapid.IntRange(0, 2).Draw(t, "class")].Start(key, 0)
				if full && len(ends) == 0 {
					if !errors.Is(err, lapse.ErrFull) {
						t.Fatalf("all are held, and Start says %v", err)
					}
					continue
				}
				if err != nil || full != (len(evicted) == 1) {
					t.Fatalf("full is %v; %d were evicted, Start says %v", full, len(evicted), err)
				}
				if !full {
					continue
				}
				gone, ok := ends[evicted[0].Key]
				if !ok {
					t.Fatal("a held session was evicted")
				}
				for k, end := range ends {
					if left := end.Sub(now); gone.Sub(end) > left/8+20*time.Millisecond {
						t.Fatalf("session %d, with %v left, was spared for one with %v", k, gone.Sub(now), left)
					}
				}
			}
			synctest.Wait() // the driver is at rest
			if err := lapse.CheckInvariants(e); err != nil {
				t.Fatal(err)
			}
			if err := e.Shutdown(context.Background()); err != nil {
				t.Fatal(err)
			}
		})
	})
}

// TestFullEndsOverdue starts sessions on a full engine whose hooks lag behind,
// so that most sessions are overdue: each time one of those makes room, and its
// hooks run before Start returns. Nobody may be evicted.
func TestFullEndsOverdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most, more = 6000, 10
		e, err := lapse.New[int, int](lapse.Options{MaxSessions: most, Default: lapse.Policy{Name: "second", Idle: time.Second}})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		hour, err := e.Class(lapse.Policy{Name: "hour", Idle: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		var waits atomic.Bool
		var ended atomic.Int64
		slow := make(chan bool)
		e.NotifyOnExpire(func(ev lapse.Event[int, int]) {
			if !waits.Swap(true) {
				<-slow
			}
			if ev.Class != "second" {
				t.Errorf("one of class %q has ended", ev.Class)
			}
			ended.Add(1)
		})
		for key := range most {
			if _, err := e.Start(key, 0); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := e.Start(most, 0); !errors.Is(err, lapse.ErrFull) {
			t.Fatalf("Start on a full engine: %v", err)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait() // one hook waits, some sessions wait in the queue, the others are overdue
		overdue := e.Len()
		if overdue <= more || overdue == most {
			t.Fatalf("%d sessions have not been ended", overdue)
		}
		for key := range most - overdue + more {
			if _, err := hour.Start(most+key, 0); err != nil {
				t.Fatalf("Start while %d sessions are overdue: %v", overdue, err)
			}
		}
		if n := ended.Load(); n != more || e.Len() != most {
			t.Errorf("%d sessions have made room for %d, there are %d", n, more, e.Len())
		}
		close(slow)
		synctest.Wait()
		if e.Len() != hour.Len() || ended.Load() != most {
			t.Errorf("%d sessions are left, %d have ended", e.Len(), ended.Load())
		}
	})
}
