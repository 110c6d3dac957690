package lapse_test

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lapse-go/lapse"
)

// TestEarlierEndWakesTheDriver starts a short session while the driver sleeps
// for a long one.
func TestEarlierEndWakesTheDriver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, err := lapse.New[string, int](lapse.Options{Default: lapse.Policy{Name: "long", Idle: time.Hour}})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		short, err := e.Class(lapse.Policy{Name: "short", Idle: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		e.Start("long", 1)
		synctest.Wait() // the driver sleeps
		for shorten, s := range map[string]func() testSession{
			"Start":    func() testSession { s, _ := short.Start("a", 1); return s },
			"SetIdle":  func() testSession { s, _ := e.Start("b", 1); synctest.Wait(); s.SetIdle(time.Second); return s },
			"SetClass": func() testSession { s, _ := e.Start("c", 1); synctest.Wait(); s.SetClass(short); return s },
			"Release": func() testSession {
				s, _ := short.Start("d", 1)
				s.Hold()
				time.Sleep(time.Minute)
				s.Release()
				return s
			},
			"SetPolicy": func() testSession {
				c, _ := e.Class(lapse.Policy{Name: "changed", Idle: time.Hour})
				s, _ := c.Start("e", 1)
				synctest.Wait()
				c.SetPolicy(lapse.Policy{Name: "changed", Idle: time.Second})
				return s
			},
		} {
			var ended time.Time
			began := time.Now()
			s := s()
			if shorten == "Release" {
				began = time.Now()
			}
			s.NotifyOnExpire(func(testEvent) { ended = time.Now() })
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if late := ended.Sub(began) - time.Second; late < 0 || late >= 2*tick {
				t.Errorf("%s: ended %v after it, want a second", shorten, ended.Sub(began))
			}
		}
	})
}

// TestNoWakeUpIsLost starts sessions that end soon from several goroutines, at
// all moments of the driver's way to sleep and back, each time with nothing
// else that would wake it. It hangs if one is missed.
func TestNoWakeUpIsLost(t *testing.T) {
	e, err := lapse.New[int, chan bool](lapse.Options{Tick: time.Millisecond, Default: lapse.Policy{Name: "brief", Idle: time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	e.NotifyOnExpire(func(ev lapse.Event[int, chan bool]) { ev.Value <- true })
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			ended := make(chan bool)
			for i := range 300 {
				if _, err := e.Start(i*4+g, ended); err != nil {
					t.Error(err)
					return
				}
				for range i % 50 {
					runtime.Gosched()
				}
				<-ended
			}
		})
	}
	all.Wait()
}

// TestIdleEngineSleeps counts how often the driver wakes up for sessions that
// end in an hour.
func TestIdleEngineSleeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, err := lapse.New[int, int](lapse.Options{Default: lapse.Policy{Name: "hour", Idle: time.Hour}})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		for i := range 10000 {
			e.Start(i, 0)
		}
		time.Sleep(time.Second)
		before := e.Stats().Wakeups
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		if woke := e.Stats().Wakeups - before; woke > 10 {
			t.Errorf("the driver woke up %d times in half an hour in which nothing ended", woke)
		}
		for i := range 10000 {
			s, _ := e.Get(i)
			s.Expire()
		}
		synctest.Wait()
		before = e.Stats().Wakeups
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if woke := e.Stats().Wakeups - before; woke > 0 {
			t.Errorf("the driver of an empty engine woke up %d times", woke)
		}
	})
}

// TestSessionsKeepTimeBesideASlowHook starts and touches sessions while a hook
// takes ten seconds. Their ends count from when that was, not from when the
// hook began.
func TestSessionsKeepTimeBesideASlowHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, err := lapse.New[string, int](lapse.Options{Default: lapse.Policy{Name: "brief", Idle: 3 * time.Second}})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		first, _ := e.Start("slow", 1)
		first.NotifyOnExpire(func(testEvent) { time.Sleep(10 * time.Second) })
		touched, _ := e.Start("touched", 1)
		time.Sleep(2 * time.Second)
		touched.Touch() // at 2
		time.Sleep(2 * time.Second)
		touched.Touch() // at 4, while the hook runs
		late, _ := e.Start("late", 1)
		for _, s := range []testSession{touched, late} {
			if at, _ := s.Deadline(); time.Until(at) < 3*time.Second || time.Until(at) > 3*time.Second+tick {
				t.Errorf("ends in %v, want in 3s", time.Until(at))
			}
		}
		time.Sleep(3*time.Second - 1)
		if !touched.Alive() || !late.Alive() {
			t.Error("a session ended early")
		}
		time.Sleep(tick)
		if touched.Alive() || late.Alive() {
			t.Error("a session outlived its limit beside a slow hook")
		}
		time.Sleep(10 * time.Second) // the hook is done
	})
}

// TestEnginesShareNothing has two engines side by side: closing one leaves the
// other as it is.
func TestEnginesShareNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ends atomic.Int64
		var engines [2]*lapse.Engine[string, int]
		for i := range engines {
			e, err := lapse.New[string, int](lapse.Options{})
			if err != nil {
				t.Fatal(err)
			}
			e.NotifyOnExpire(func(testEvent) { ends.Add(1) })
			e.Start("key", i)
			engines[i] = e
		}
		engines[0].Close()
		time.Sleep(time.Hour)
		synctest.Wait()
		if ends.Load() != 1 {
			t.Errorf("%d sessions ended with hooks, want the one of the engine that was not closed", ends.Load())
		}
		engines[1].Close()
	})
}
