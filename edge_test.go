package lapse_test

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/benbjohnson/clock"
	"github.com/lapse-go/lapse"
)

// TestHugeDurations sets every limit as high as it goes: sums of such limits
// must not wrap to a time in the past.
func TestHugeDurations(t *testing.T) {
	const forever = time.Duration(math.MaxInt64)
	for _, tick := range []time.Duration{time.Millisecond, 10 * time.Millisecond, time.Hour, forever} {
		t.Run(tick.String(), func(t *testing.T) {
			mock := clock.NewMock()
			mock.Set(time.Unix(1<<33, 0))
			e, err := lapse.New[string, int](lapse.Options{Tick: tick, Clock: mock, Manual: true, Default: lapse.Policy{
				Name: "huge", Idle: forever, Lifetime: forever, PollCap: forever, PollMax: 1<<24 - 1, Warn: forever - 1}})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			s, err := e.Start("key", 1)
			if err != nil {
				t.Fatal(err)
			}
			s.SetIdle(forever)
			for range 3 {
				mock.Set(mock.Now().Add(forever / 16))
				e.Advance()
				if !s.Touch() || !s.Poll() || !s.TouchAt(time.Unix(1<<60, 0)) || !s.TouchAt(time.Unix(-1<<60, 0)) || !s.Alive() {
					t.Fatal("a session without a limit that a clock could reach has ended")
				}
			}
			info, _ := s.Info()
			if !info.Deadline.IsZero() && info.Deadline.Before(mock.Now()) {
				t.Errorf("the deadline %v of a live session has passed, it is %v", info.Deadline, mock.Now())
			}
			if err := lapse.CheckInvariants(e); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestHorizon sets ends around the distances where the wheel's levels and the
// tree of far entries take over from each other.
func TestHorizon(t *testing.T) {
	const tick = time.Millisecond
	var idles []time.Duration
	for slots := int64(128); slots <= 2*lapse.WheelHorizon; slots *= 8 {
		for _, d := range []int64{-2, -1, 0, 1, 2} {
			idles = append(idles, time.Duration(slots+d)*tick, time.Duration(slots/128*127+d)*tick)
		}
	}
	for d := range int64(5) {
		idles = append(idles, time.Duration(lapse.WheelHorizon+d-2)*tick, time.Duration(2*lapse.WheelHorizon+d-2)*tick)
	}
	for _, idle := range idles {
		mock := clock.NewMock()
		e, err := lapse.New[string, int](lapse.Options{Tick: tick, Clock: mock, Manual: true, Default: lapse.Policy{Name: "far", Idle: idle}})
		if err != nil {
			t.Fatal(err)
		}
		var ended []testEvent
		e.NotifyOnExpire(func(ev testEvent) { ended = append(ended, ev) })
		if _, err := e.Start("key", 1); err != nil {
			t.Fatal(err)
		}
		visits := 0
		for next, ok := e.Advance(); ok; next, ok = e.Advance() {
			if visits++; visits > 20 {
				t.Fatalf("Idle %v: still not ended after %d visits", idle, visits)
			}
			mock.Set(next)
		}
		if len(ended) != 1 || !ended[0].Ended.Equal(time.Unix(0, 0).Add(idle)) {
			t.Errorf("Idle %v: ended %v", idle, ended)
		}
		e.Close()
	}
}

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

// TestLogOutsLeaveNothing logs a million sessions out long before their time,
// beside a few that stay, and then shortens and lengthens the ends of those
// again and again. What that leaves in the wheels is bounded.
func TestLogOutsLeaveNothing(t *testing.T) {
	mock := clock.NewMock()
	e, err := lapse.New[int, int](lapse.Options{Clock: mock, Manual: true, Default: lapse.Policy{Name: "day", Idle: 24 * time.Hour}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	const stay = 1000
	var sessions []lapse.Session[int, int]
	for i := range stay {
		s, err := e.Start(-1-i, 0)
		if err != nil {
			t.Fatal(err)
		}
		sessions = append(sessions, s)
	}
	check := func(what string) {
		t.Helper()
		entries := 0
		for _, level := range e.Occupancy() {
			for _, n := range level {
				entries += n
			}
		}
		if most := 2*stay + runtime.GOMAXPROCS(0)*16*1200; entries > most {
			t.Errorf("%s: the wheels hold %d entries for %d sessions", what, entries, e.Len())
		}
		if err := lapse.CheckInvariants(e); err != nil {
			t.Error(err)
		}
	}
	n := 1000000
	if testing.Short() {
		n = 100000
	}
	for i := range n {
		s, err := e.Start(i, 0)
		if err != nil {
			t.Fatal(err)
		}
		if i%10000 == 0 {
			mock.Add(time.Second)
		}
		s.Expire()
	}
	check("log-outs")
	for i := range n {
		s := sessions[i%stay]
		if i/stay%2 == 0 {
			s.SetIdle(time.Duration(1+i%7) * time.Hour)
		} else {
			s.SetIdle(0)
			s.Touch()
		}
		if i%stay == 0 {
			mock.Add(time.Second)
		}
	}
	check("changes")
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

// TestHookThatStartsAgain has each end start a session that is due a tick
// later. The Advance that called the hook leaves it to the next.
func TestHookThatStartsAgain(t *testing.T) {
	e := newEngine(t, lapse.Policy{Name: "tick", Idle: tick})
	ends := 0
	e.NotifyOnExpire(func(ev testEvent) {
		ends++
		e.pass(tick)
		if _, err := e.Start(ev.Key, ev.Value); err != nil {
			t.Error(err)
		}
		e.Advance() // ends nothing: one is running
	})
	e.start("key")
	for i := range 100 {
		e.advance(tick)
		if ends != i+1 {
			t.Fatalf("%d ends after %d calls of Advance", ends, i+1)
		}
	}
}

// TestAdvanceWithinAdvance has a hook let time pass, so that another session is
// due, and call Advance: that one is left to the next call.
func TestAdvanceWithinAdvance(t *testing.T) {
	e := newEngine(t, lapse.Policy{Name: "minute", Idle: time.Minute})
	var ended []string
	e.NotifyOnExpire(func(ev testEvent) {
		ended = append(ended, ev.Key)
		if ev.Key == "first" {
			e.pass(time.Second)
			e.Advance()
			if len(ended) > 1 {
				t.Error("an Advance within an Advance has ended a session")
			}
		}
	})
	e.start("first")
	e.pass(time.Second)
	e.start("second")
	e.advance(59 * time.Second)
	if want := []string{"first"}; !slices.Equal(ended, want) {
		t.Errorf("the first Advance ended %v, want %v", ended, want)
	}
	e.Advance()
	if want := []string{"first", "second"}; !slices.Equal(ended, want) {
		t.Errorf("ended %v, want %v", ended, want)
	}
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

// TestAllWhileSessionsEnd ranges over the sessions while others of them end and
// their slots are used again. Who lives throughout comes exactly once.
func TestAllWhileSessionsEnd(t *testing.T) {
	e, err := lapse.New[string, int](lapse.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	const stay = 3000
	for i := range stay {
		e.Start("stay"+strconv.Itoa(i), i)
	}
	stop := make(chan struct{})
	var churn sync.WaitGroup
	for g := range 2 {
		churn.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if s, err := e.Start(fmt.Sprint(g, "/", i%500), -1); err == nil {
					s.Expire()
				}
			}
		})
	}
	for range 20 {
		seen := make(map[int]int)
		for s := range e.All() {
			if i, ok := s.Value(); ok && i >= 0 {
				seen[i]++
			}
		}
		for i := range stay {
			if seen[i] != 1 {
				t.Fatalf("session %d came %d times", i, seen[i])
			}
		}
	}
	close(stop)
	churn.Wait()
	// The body may do anything: here it ends what it is given.
	for s := range e.All() {
		s.Expire()
	}
	if e.Len() != 0 {
		t.Errorf("%d sessions are left", e.Len())
	}
	for range e.All() {
		t.Error("All yields an ended session")
	}
}

// TestGenerationsDoNotRepeat uses one slot for more sessions than it has
// generations. Handles of the first ones stay dead, and the slot is given up
// when they are used up.
func TestGenerationsDoNotRepeat(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts two million sessions")
	}
	e, err := lapse.New[string, int](lapse.Options{Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	handles := make(map[testSession]int)
	for i := range 2<<20 + 10 {
		s, err := e.Start("key", i)
		if err != nil {
			t.Fatal(err)
		}
		if i%1000 == 0 || i > 1<<20-10 && i < 1<<20+10 {
			if was, ok := handles[s]; ok {
				t.Fatalf("session %d has the handle of session %d", i, was)
			}
			handles[s] = i
		}
		if v, _ := s.Value(); v != i {
			t.Fatalf("session %d has the value %d", i, v)
		}
		s.Expire()
	}
	for s, i := range handles {
		if s.Alive() || s.Touch() {
			t.Fatalf("the handle of session %d lives", i)
		}
	}
	if err := lapse.CheckInvariants(e); err != nil {
		t.Error(err)
	}
}

// TestManyKeys fills an index through all of its sizes, and empties it, in an
// order that leaves no cluster whole.
func TestManyKeys(t *testing.T) {
	e, err := lapse.New[int, int](lapse.Options{Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	const n = 300000
	for i := range n {
		if _, err := e.Start(i, i); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		if i%3 == 0 {
			if err := e.Rename(i, -1-i); err != nil {
				t.Fatal(err)
			}
		}
		if i%3 == 1 {
			s, ok := e.Get(i)
			if !ok || !s.Expire() {
				t.Fatalf("key %d is lost", i)
			}
		}
	}
	if err := lapse.CheckInvariants(e); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		key := i
		if i%3 == 0 {
			key = -1 - i
		}
		s, ok := e.Get(key)
		if ok != (i%3 != 1) {
			t.Fatalf("key %d: found is %v", key, ok)
		}
		if v, _ := s.Value(); ok && v != i {
			t.Fatalf("key %d leads to %d", key, v)
		}
	}
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

// TestTicksThatLookAlike has superseded entries of slots whose next sessions
// end 2^32 ticks later: an entry holds only the low half of its tick.
func TestTicksThatLookAlike(t *testing.T) {
	const tick = time.Millisecond
	mock := clock.NewMock()
	e, err := lapse.New[int, int](lapse.Options{Tick: tick, Clock: mock, Manual: true, Default: lapse.Policy{Name: "keep"}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	short, _ := e.Class(lapse.Policy{Name: "short", Idle: 1029 * tick})
	long, _ := e.Class(lapse.Policy{Name: "long", Idle: (1029 + 1<<32) * tick})
	for i := range 64 {
		e.Start(3*i, 0)
		s, _ := short.Start(3*i+1, 0)
		s.Expire()
		long.Start(3*i+2, 0)
	}
	mock.Add(1029 * tick)
	e.Advance()
	if err := lapse.CheckInvariants(e); err != nil {
		t.Error(err)
	}
	mock.Add(1 << 32 * tick)
	e.Advance()
	if e.Len() != 64 {
		t.Errorf("%d sessions live, want the 64 without a limit", e.Len())
	}
	if err := lapse.CheckInvariants(e); err != nil {
		t.Error(err)
	}
}

// TestPolicyOfASession asks for the policy that a session obeys through all that
// changes it.
func TestPolicyOfASession(t *testing.T) {
	brief := lapse.Policy{Name: "brief", Idle: time.Minute, Lifetime: time.Hour, Warn: time.Second}
	e := newEngine(t, brief)
	other, err := e.Class(lapse.Policy{Name: "other", Idle: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	s := e.start("key")
	want := func(when string, want lapse.Policy) {
		t.Helper()
		if got, ok := s.Policy(); !ok || got != want {
			t.Errorf("%s: Policy returns %+v, %v, want %+v", when, got, ok, want)
		}
	}
	want("at the start", brief)
	s.SetIdle(30*time.Second + 1)
	own := brief
	own.Idle = 30*time.Second + tick
	want("with an own Idle", own)
	s.SetIdle(1<<63 - 1)
	if p, _ := s.Policy(); p.Idle < 100*365*24*time.Hour {
		t.Errorf("with the longest own Idle it is %v", p.Idle)
	}
	s.SetIdle(0)
	want("without it again", brief)
	s.SetClass(other)
	want("in another class", other.Policy())
	s.Expire()
	if p, ok := s.Policy(); ok || p != (lapse.Policy{}) {
		t.Errorf("after the end Policy returns %+v, %v", p, ok)
	}
	if p, ok := (testSession{}).Policy(); ok || p != (lapse.Policy{}) {
		t.Errorf("the zero Session's Policy is %+v, %v", p, ok)
	}
}

// TestNow compares the engine's clock with what it was given, or the real one.
func TestNow(t *testing.T) {
	e := newEngine(t)
	e.pass(90 * time.Second)
	if now := e.Now(); !now.Equal(at(90 * time.Second)) {
		t.Errorf("Now is %v after 90 s", now)
	}
	r, err := lapse.New[int, int](lapse.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	before := time.Now()
	if now := r.Now(); now.Before(before) || now.After(time.Now()) {
		t.Errorf("Now is %v, not between two readings around it", now)
	}
}
