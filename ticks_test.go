package lapse_test

import (
	"math"
	"testing"
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

// TestDialOverflow asks for deadlines that no Duration holds.
func TestDialOverflow(t *testing.T) {
	m := clock.NewMock()
	e, err := lapse.New[int, int](lapse.Options{Manual: true, Clock: m, Tick: 285 * 365 * 24 * time.Hour, Default: lapse.Policy{Name: "d", Idle: math.MaxInt64}})
	if err != nil {
		t.Fatal(err)
	}
	m.Add(time.Second)
	s, _ := e.Start(1, 0)
	d, ok := s.Deadline()
	if !ok || d.Before(m.Now().Add(math.MaxInt64)) {
		t.Errorf("Idle of %v from %v: the deadline is %v", time.Duration(math.MaxInt64), m.Now(), d)
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
