package lapse

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// touchUntil touches s until it is told to stop or s has ended, and notes when
// the last touch that succeeded began.
func touchUntil(stop *atomic.Bool, s Session[int, *atomic.Int64], last *atomic.Int64, origin time.Time) {
	for !stop.Load() {
		now := time.Now()
		if !s.Touch() {
			return
		}
		for {
			old := last.Load()
			if int64(now.Sub(origin)) <= old || last.CompareAndSwap(old, int64(now.Sub(origin))) {
				break
			}
		}
	}
}

// TestTouchWhileTheDriverStalls blocks the driver for ten ticks while sessions
// are touched by its coarse clock, which stands still then. None of them may
// end early.
func TestTouchWhileTheDriverStalls(t *testing.T) {
	const idle = 60 * time.Millisecond
	e, err := New[int, *atomic.Int64](Options{Default: Policy{Name: "touched", Idle: idle}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	origin := time.Now()
	var ended sync.WaitGroup
	e.NotifyOnExpire(func(ev Event[int, *atomic.Int64]) {
		defer ended.Done()
		if quiet := time.Since(origin) - time.Duration(ev.Value.Load()); quiet < idle {
			t.Errorf("a session ended %v after its last touch, its Idle is %v", quiet, idle)
		}
	})
	for range 5 {
		var sessions []Session[int, *atomic.Int64]
		for key := range 20 {
			ended.Add(1)
			s, err := e.Start(key, new(atomic.Int64))
			if err != nil {
				t.Fatal(err)
			}
			sessions = append(sessions, s)
		}
		held, _ := e.locate(sessions[0].slot()) // where the driver will be made to wait
		var stop atomic.Bool
		var touching sync.WaitGroup
		for _, s := range sessions {
			last, _ := s.Value()
			if sh, _ := e.locate(s.slot()); sh == held {
				continue // it would wait with the driver
			}
			touching.Go(func() { touchUntil(&stop, s, last, origin) })
		}
		c := &e.time.coarse
		for stalled := false; !stalled; {
			c.wanted.Store(true) // however many the touches are
			e.driver.kick()
			if c.until.Load() <= 0 {
				runtime.Gosched()
				continue
			}
			held.mu.Lock()
			held.next.Store(0)
			e.driver.kick()
			until := c.until.Load()
			for ; until > 0 && e.time.now() < until+10; until = c.until.Load() {
				runtime.Gosched()
			}
			stalled = until > 0 // else it was closed just before
			held.unlock()
		}
		stop.Store(true)
		touching.Wait()
		ended.Wait()
	}
	if e.time.coarse.stalls.Load() == nil {
		t.Error("no stall was recorded")
	}
}

// TestTouchedSessionsWhileAllCoresAreBusy has many sessions touched by the
// coarse clock while other goroutines keep all processors busy, so that the
// driver comes late. None of them may end early, and all end.
func TestTouchedSessionsWhileAllCoresAreBusy(t *testing.T) {
	n := 100000
	if testing.Short() {
		n = 10000
	}
	const idle = 400 * time.Millisecond
	e, err := New[int, *atomic.Int64](Options{Default: Policy{Name: "touched", Idle: idle}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	origin := time.Now()
	var early atomic.Int64
	var ended sync.WaitGroup
	ended.Add(n)
	e.NotifyOnExpire(func(ev Event[int, *atomic.Int64]) {
		if quiet := time.Since(origin) - time.Duration(ev.Value.Load()); quiet < idle {
			early.Add(1)
		}
		ended.Done()
	})
	sessions := make([]Session[int, *atomic.Int64], n)
	last := make([]atomic.Int64, n)
	for i := range sessions {
		last[i].Store(int64(time.Since(origin)))
		if sessions[i], err = e.Start(i, &last[i]); err != nil {
			t.Fatal(err)
		}
	}
	stop := make(chan struct{})
	var busy sync.WaitGroup
	for range 2 * runtime.GOMAXPROCS(0) {
		busy.Go(func() {
			for sum := 0; ; sum++ {
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	var touching sync.WaitGroup
	c := &e.time.coarse
	for g := range 2 {
		touching.Go(func() {
			// As long as sessions that are not touched live, and through some
			// ticks of the coarse clock, each of which can take long.
			for ticks, seen := 0, int64(0); ticks < 5 || time.Since(origin) < 2*idle; {
				for i := g; i < n; i += 2 * (1 + i%3) {
					now := int64(time.Since(origin))
					if sessions[i].Touch() {
						last[i].Store(now)
					}
				}
				switch until := c.until.Load(); {
				case until > seen:
					ticks, seen = ticks+1, until
				case until == 0:
					c.wanted.Store(true) // however many the touches are
					e.driver.kick()
				}
			}
		})
	}
	touching.Wait()
	close(stop)
	busy.Wait()
	ended.Wait()
	if early.Load() > 0 {
		t.Errorf("%d of %d sessions ended early", early.Load(), n)
	}
}

// TestTouchWhileTheCoarseTickIsTakenBack stops the driver between taking a tick
// back, which is not over, and publishing the next. Touches, polls and releases
// that read the clock meanwhile are not lost.
func TestTouchWhileTheCoarseTickIsTakenBack(t *testing.T) {
	for name, see := range map[string]func(Session[int, int]) bool{
		"Touch":   Session[int, int].Touch,
		"TouchAt": func(s Session[int, int]) bool { return s.TouchAt(time.Now()) },
		"Poll":    Session[int, int].Poll,
		"Release": func(s Session[int, int]) bool { return s.Hold() && s.Release() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, err := New[int, int](Options{Manual: true, Default: Policy{Name: "touched", Idle: time.Hour}})
				if err != nil {
					t.Fatal(err)
				}
				defer e.Close()
				s, err := e.Start(1, 1)
				if err != nil {
					t.Fatal(err)
				}
				c := &e.time.coarse
				until := e.time.now() + 2
				c.until.Store(until)
				s.Touch() // it has the stamp until
				e.time.retire(until)
				if c.stalls.Load() != nil {
					t.Fatal("the tick was over")
				}
				time.Sleep(4 * defaultTick) // the driver does not run
				began := time.Now()
				see(s)
				c.until.Store(e.time.now() + 1) // now it goes on
				if info, _ := s.Info(); info.Seen.Before(began) {
					t.Errorf("seen %v before the call", began.Sub(info.Seen))
				}
			})
		})
	}
}

// TestTouchesOfAnEndingSession ends sessions while others touch them without a
// look at the clock. A touch that comes too late revives nothing.
func TestTouchesOfAnEndingSession(t *testing.T) {
	rounds := 20000
	if testing.Short() {
		rounds = 4000
	}
	e, _ := New[int, int](Options{Default: Policy{Name: "d", Idle: time.Hour}})
	defer e.Close()
	var now atomic.Pointer[Session[int, int]]
	var stop atomic.Bool
	var touches sync.WaitGroup
	touches.Go(func() {
		for !stop.Load() {
			if s := now.Load(); s != nil {
				s.Touch()
			}
		}
	})
	for range rounds {
		s, err := e.Start(1, 1)
		if err != nil {
			t.Fatal(err)
		}
		now.Store(&s)
		for range 10 {
			s.Poll() // so that the next touch has a run to end
		}
		if !s.Expire() {
			t.Fatal("it had ended")
		}
		if s.Alive() {
			t.Fatal("it lives after its end")
		}
	}
	stop.Store(true)
	touches.Wait()
	if err := CheckInvariants(e); err != nil {
		t.Error(err)
	}
}
