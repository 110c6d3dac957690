package lapse

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/benbjohnson/clock"
)

// TestClaimAfterATouch claims a session, and marks it as due, by a reading that
// a touch has made old.
func TestClaimAfterATouch(t *testing.T) {
	m := clock.NewMock()
	e, _ := New[int, int](Options{Clock: m, Manual: true, Default: Policy{Name: "d", Idle: time.Minute}})
	defer e.Close()
	s, _ := e.Start(1, 1)
	sh, idx := e.locate(s.slot())
	rec := sh.slab.record(idx)
	old := rec.read()
	m.Add(30 * time.Second)
	if !s.Touch() {
		t.Fatal("it cannot be touched")
	}
	sh.mu.Lock()
	_, ok := sh.claim(rec, idx, e.hash(new(1)), finding{old, 6000, ReasonIdle}, e.time.read(), nil)
	sh.unlock()
	if ok || !s.Alive() {
		t.Errorf("claimed: %v, alive: %v: the touch had won", ok, s.Alive())
	}
	if rec.mark(old, 6000, ReasonIdle) || !s.Alive() {
		t.Errorf("it was marked as due, alive: %v: the touch had won", s.Alive())
	}
}

// TestTouchAtMovesBack touches a session with an older time after a stall, in
// which it was seen later than its stamp says.
func TestTouchAtMovesBack(t *testing.T) {
	for name, retire := range map[string]func(*timeline){
		"off":  (*timeline).unpublish,
		"anew": (*timeline).publish,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, _ := New[int, int](Options{Manual: true, Tick: time.Millisecond, Default: Policy{Name: "d", Idle: time.Hour}})
				defer e.Close()
				s, _ := e.Start(1, 0)
				// The test is the driver.
				e.time.coarse.wanted.Store(true)
				e.time.publish()
				time.Sleep(20 * time.Millisecond) // it is late
				if !s.Touch() {
					t.Fatal("it cannot be touched")
				}
				retire(&e.time) // records the stall
				if on := e.time.coarse.until.Load() > 0; on != (name == "anew") {
					t.Fatalf("the coarse clock is on: %v", on)
				}
				before, _ := s.Info()
				if seen := before.Seen.Sub(e.time.origin); seen < 20*time.Millisecond {
					t.Errorf("touched at 20ms, it was seen at %v", seen)
				}
				s.TouchAt(e.time.origin.Add(10 * time.Millisecond))
				if after, _ := s.Info(); after.Seen.Before(before.Seen) {
					t.Errorf("Seen was %v, after an older TouchAt it is %v",
						before.Seen.Sub(e.time.origin), after.Seen.Sub(e.time.origin))
				}
			})
		})
	}
}

// TestTouchUndoesNothing holds and releases a session that another goroutine
// touches all the time. A touch reads the session's state and writes it a few
// instructions later: if a Hold comes between, as an end could, it stays.
func TestTouchUndoesNothing(t *testing.T) {
	const rounds = 500
	for name, touch := range map[string]func(s Session[int, int], stamp int64) bool{
		"coarse": func(s Session[int, int], stamp int64) bool { return s.touchCoarse(lastTick, stamp) },
		"clock":  func(s Session[int, int], stamp int64) bool { return s.touch(moment{stamp: stamp}, stamp, true) },
	} {
		t.Run(name, func(t *testing.T) {
			e, err := New[int, int](Options{Manual: true, Default: Policy{Name: "d"}})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			s, err := e.Start(1, 1)
			if err != nil {
				t.Fatal(err)
			}
			var stop atomic.Bool
			var tries, touches atomic.Int64
			var touching sync.WaitGroup
			touching.Go(func() {
				for stamp := int64(1); !stop.Load(); stamp++ {
					if touch(s, stamp) {
						touches.Add(1)
					}
					tries.Add(1)
				}
			})
			defer touching.Wait()
			defer stop.Store(true)
			next := func(n *atomic.Int64) {
				// The one that has begun, and one more.
				for until := n.Load() + 2; n.Load() < until; {
					runtime.Gosched()
				}
			}
			for round := range rounds {
				next(&touches)
				if !s.Hold() {
					t.Fatal("it cannot be held")
				}
				next(&tries)
				if !s.Release() {
					t.Fatalf("round %d: a touch has taken the Hold back", round)
				}
			}
		})
	}
}

// TestTouchAfterClose touches a session of a closed engine by a coarse clock
// that was read before.
func TestTouchAfterClose(t *testing.T) {
	e, _ := New[int, int](Options{Manual: true})
	s, _ := e.Start(1, 1)
	e.Close()
	if s.touchCoarse(1, 1) || s.Touch() {
		t.Error("a session of a closed engine was touched")
	}
}

// TestTouchOfADoomedSession touches a session that the driver has found due and
// not ended yet; and meets a second entry of one that it has.
func TestTouchOfADoomedSession(t *testing.T) {
	m := clock.NewMock()
	e, _ := New[int, int](Options{Clock: m, Manual: true, Default: Policy{Name: "d", Idle: time.Minute}})
	defer e.Close()
	s, _ := e.Start(1, 1)
	sh, idx := e.locate(s.slot())
	rec := sh.slab.record(idx)
	early := finding{rec.read(), 6000, ReasonIdle}
	m.Add(30 * time.Second)
	s.Touch()
	now := e.time.read()
	sh.mu.Lock()
	d := doomed[int]{rec, idx, e.hash(new(1)), early}
	sh.wheel.advance(6000)
	n := sh.wheel.pop(make([]entry, 9))
	ends := sh.endDoomed(&d, now, nil)
	sh.unlock()
	if n != 1 || len(ends) > 0 || !s.Alive() {
		t.Errorf("%d entries; a touched session was ended", n)
	}
	if err := CheckInvariants(e); err != nil {
		t.Error(err)
	}
	m.Add(time.Minute)
	now = e.time.read()
	sh.mu.Lock()
	late := finding{rec.read(), 9000, ReasonIdle}
	sh.endDoomed(&doomed[int]{rec, idx, e.hash(new(1)), late}, now, nil)
	ends = sh.endDoomed(&doomed[int]{rec, idx, e.hash(new(1)), late}, now, nil)
	sh.unlock()
	if len(ends) > 0 {
		t.Error("a session was ended twice")
	}
	if err := CheckInvariants(e); err != nil {
		t.Error(err)
	}
}

// TestTouchAll touches live sessions, ended ones and none, in one call.
func TestTouchAll(t *testing.T) {
	m := clock.NewMock()
	e, _ := New[int, int](Options{Clock: m, Manual: true, Default: Policy{Name: "d", Idle: time.Minute}})
	defer e.Close()
	other, _ := New[int, int](Options{Manual: true})
	defer other.Close()
	const n = 3*portion + 1
	var all []Session[int, int]
	for i := range n {
		s, _ := e.Start(i, i)
		all = append(all, s)
	}
	all[0].Expire()
	all[n-1].Expire()
	m.Add(40 * time.Second)
	foreign, _ := other.Start(1, 1)
	if got := e.TouchAll(append(all, Session[int, int]{}, foreign)); got != n-2+1 {
		t.Errorf("%d of %d are alive", got, n-2+1)
	}
	m.Add(40 * time.Second)
	e.Advance()
	if e.Len() != n-2 {
		t.Errorf("%d of %d sessions are left", e.Len(), n-2)
	}
	if e.TouchAll(nil) != 0 {
		t.Error("none is alive")
	}
}
