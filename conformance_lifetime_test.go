package lapse_test

import (
	"testing"
	"time"
	"unsafe"

	"github.com/benbjohnson/clock"
	"github.com/lapse-go/lapse"
)

func TestLifetime(t *testing.T) {
	t.Run("case=145", func(t *testing.T) {
		t.Parallel()
		e := newEngine(t, lapse.Policy{Name: "day", Idle: 1200 * sec, Lifetime: 86400 * sec})
		s := e.start("a")
		for range 86400/60 - 1 {
			e.advance(60 * sec)
			wantOK(t, "Touch", s.Touch(), true)
		}
		e.advance(60*sec - tick)
		wantOK(t, "the last touch", s.Touch(), true)
		e.advance(tick)
		e.wantEnds(expiry{"a", lapse.ReasonLifetime, 86400 * sec})
	})
	t.Run("case=146", func(t *testing.T) {
		e := newEngine(t, lapse.Policy{Name: "both", Idle: 900 * sec, Lifetime: 1000 * sec})
		s := e.start("a")
		e.wantDeadline(s, 900*sec)
		e.pass(800 * sec)
		s.Touch()
		e.wantDeadline(s, 1000*sec)
		e.advance(900 * sec)
		e.wantEnds(expiry{"a", lapse.ReasonLifetime, 1700 * sec})
	})
	t.Run("case=147", func(t *testing.T) {
		e := newEngine(t)
		for _, p := range []lapse.Policy{
			{Name: "bad", Idle: 900 * sec, Lifetime: 899 * sec},
			{Name: "bad", Lifetime: 100 * sec, PollCap: 101 * sec},
			{Name: "bad", Idle: 60 * sec, Warn: 60 * sec},
			{Name: "bad", Lifetime: 60 * sec, Warn: 61 * sec},
			{Name: "bad", Idle: 900 * sec, PollCap: 60 * sec, Warn: 60 * sec},
			{Name: "", Idle: 900 * sec},
		} {
			if _, err := lapse.New[string, int](lapse.Options{Default: p}); err == nil {
				t.Errorf("New accepts %+v", p)
			}
			if _, err := e.Class(p); err == nil {
				t.Errorf("Class accepts %+v", p)
			}
		}
		e.class(lapse.Policy{
			Name: "good", Idle: 900 * sec, Lifetime: 900 * sec, PollCap: 900 * sec, PollMax: 1, Warn: 900*sec - 1*sec,
		})
	})
	t.Run("case=148", func(t *testing.T) {
		e := newEngine(t, lapse.Policy{Name: "life", Lifetime: 1000 * sec})
		key := "a"
		e.start(key)
		for n := 100 * sec; n < 1000*sec; n += 100 * sec {
			e.advance(100 * sec)
			wantErr(t, "Rename", e.Rename(key, key+"a"), nil)
			key += "a"
		}
		e.advance(100*sec - tick)
		e.wantAlive(key)
		e.advance(tick)
		e.wantEnds(expiry{key, lapse.ReasonLifetime, 1000 * sec})
		wantErr(t, "Rename at 1000", e.Rename(key, "b"), lapse.ErrNotFound)
	})
	t.Run("case=149", func(t *testing.T) {
		for _, tt := range []struct {
			policy lapse.Policy
			want   lapse.Reason
		}{
			{lapse.Policy{Name: "three", Idle: 100 * sec, Lifetime: 100 * sec, PollCap: 100 * sec}, lapse.ReasonLifetime},
			{lapse.Policy{Name: "life and cap", Lifetime: 100 * sec, PollCap: 100 * sec}, lapse.ReasonLifetime},
			{lapse.Policy{Name: "life and idle", Idle: 100 * sec, Lifetime: 100 * sec}, lapse.ReasonLifetime},
			{lapse.Policy{Name: "idle and cap", Idle: 100 * sec, PollCap: 100 * sec}, lapse.ReasonPollCap},
			{lapse.Policy{Name: "idle", Idle: 100 * sec}, lapse.ReasonIdle},
		} {
			e := newEngine(t, tt.policy)
			s := e.start("a")
			s.Poll()
			if got := infoOf(t, s).Reason; got != tt.want {
				t.Errorf("%s: Info.Reason is %v, want %v", tt.policy.Name, got, tt.want)
			}
			e.advance(100 * sec)
			e.wantEnds(expiry{"a", tt.want, 100 * sec})
		}
	})
	t.Run("case=150", func(t *testing.T) {
		t.Run("clock=monotonic", testWallClock)
		t.Run("clock=given", testClockGoesBack)
	})
	t.Run("case=151", func(t *testing.T) {
		e := newEngine(t)
		s := e.start("a")
		e.pass(100 * sec)
		s.Touch()
		for _, early := range []time.Duration{-1 * sec, 0, 50 * sec, 100*sec - tick, 100 * sec} {
			wantOK(t, "TouchAt", s.TouchAt(at(early)), true)
			if i := infoOf(t, s); !i.Seen.Equal(at(100*sec)) || !i.Deadline.Equal(at(1000*sec)) {
				t.Fatalf("a touch at %v moves seen to %v, the deadline to %v", early, since(i.Seen), since(i.Deadline))
			}
		}
		e.pass(100 * sec)
		s.TouchAt(at(150 * sec))
		e.wantDeadline(s, 1050*sec)
		s.TouchAt(at(time.Hour)) // nor does a clock that is ahead gain anything
		e.wantDeadline(s, 1100*sec)

		s = e.start("b", hourCap)
		e.pass(10 * sec)
		s.Poll()
		e.pass(10 * sec)
		s.Poll()
		wantOK(t, "TouchAt before the first poll", s.TouchAt(at(205*sec)), true)
		wantCount(t, "polls", infoOf(t, s).Polls, 2)
		wantOK(t, "TouchAt between the polls", s.TouchAt(at(215*sec)), true)
		wantCount(t, "polls", infoOf(t, s).Polls, 0)
		e.wantDeadline(s, 1120*sec)
	})
	t.Run("case=173", func(t *testing.T) {
		e := newEngineOf(t, lapse.Options{Tick: ms, Default: lapse.Policy{Name: "scs", Idle: 200 * ms, Lifetime: 1 * sec}})
		s := e.start("a")
		wantOK(t, "the access at 0", s.Touch(), true)
		e.pass(100 * ms)
		wantOK(t, "the access at 0.1", s.Touch(), true)
		e.pass(150 * ms)
		wantOK(t, "the access at 0.25", s.Touch(), true)
		e.pass(200 * ms)
		wantOK(t, "the access at 0.45", s.Touch(), false)

		e = newEngineOf(t, lapse.Options{Tick: ms, Default: lapse.Policy{Name: "life", Lifetime: 500 * ms}})
		e.start("a")
		e.pass(499 * ms)
		e.wantAlive("a")
		e.pass(501 * ms)
		e.wantGone("a")
	})
}

// TestTimeLine is the worked example of docs/semantics.md.
func TestTimeLine(t *testing.T) {
	e := newEngine(t, lapse.Policy{Name: "example", Idle: 60 * sec, PollCap: 120 * sec, Lifetime: 300 * sec})
	s := e.start("a")
	peek := func() bool {
		_, ok := e.Get("a")
		return ok
	}
	for _, row := range []struct {
		at       time.Duration
		call     func() bool
		deadline time.Duration
		why      lapse.Reason
	}{
		{0, peek, 60 * sec, lapse.ReasonIdle},
		{40 * sec, s.Touch, 100 * sec, lapse.ReasonIdle},
		{80 * sec, s.Poll, 140 * sec, lapse.ReasonIdle},
		{130 * sec, s.Poll, 190 * sec, lapse.ReasonIdle},
		{170 * sec, s.Poll, 200 * sec, lapse.ReasonPollCap},
		{190 * sec, peek, 200 * sec, lapse.ReasonPollCap},
		{195 * sec, s.Touch, 255 * sec, lapse.ReasonIdle},
		{250 * sec, s.Touch, 300 * sec, lapse.ReasonLifetime},
	} {
		e.advance(row.at - since(e.mock.Now()))
		wantOK(t, "the call of the row", row.call(), true)
		if i := infoOf(t, s); i.Reason != row.why || !i.Deadline.Equal(at(row.deadline)) {
			t.Fatalf("at %v: the end is %v at %v; want %v at %v", row.at, i.Reason, since(i.Deadline), row.why, row.deadline)
		}
	}
	e.advance(50 * sec)
	e.wantEnds(expiry{"a", lapse.ReasonLifetime, 300 * sec})
}

// A wallClock is a clock with a monotonic reading, as time.Now has it, whose
// wall clock can be set.
type wallClock struct {
	clock.Clock
	now time.Time
	set time.Duration // how far off the wall clock is
}

func (c *wallClock) Now() time.Time { return setWall(c.now, c.set) }

// setWall moves the wall clock of t and leaves its monotonic reading alone,
// which package time offers no way to do.
func setWall(t time.Time, d time.Duration) time.Time {
	const nsecBits = 30 // of the first word, below the seconds
	*(*uint64)(unsafe.Pointer(&t)) += uint64(int64(d/time.Second)) << nsecBits
	return t
}

func testWallClock(t *testing.T) {
	start := time.Now()
	if later := setWall(start, time.Hour); later.Sub(start) != 0 || later.Unix() != start.Unix()+3600 {
		t.Fatal("package time keeps its readings in another way than setWall expects")
	}
	for _, set := range []time.Duration{-time.Hour, time.Hour} {
		clk := &wallClock{now: start}
		e, err := lapse.New[string, int](lapse.Options{Manual: true, Clock: clk})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		ended, _ := e.Start("ended", 0)
		pass := func(d time.Duration) {
			clk.now = clk.now.Add(d)
			e.Advance()
		}
		pass(100 * sec)
		s, _ := e.Start("a", 0)
		pass(800 * sec)
		wantOK(t, "Alive at 900", ended.Alive(), false)
		clk.set = set
		e.Advance()
		wantOK(t, "Alive of the ended one once the clock is set", ended.Alive(), false)
		wantOK(t, "Touch of the ended one", ended.Touch(), false)
		wantOK(t, "Alive once the clock is set", s.Alive(), true)
		if d, _ := s.Deadline(); d.Round(0).Sub(clk.Now().Round(0)) != 100*sec {
			t.Errorf("by the wall clock of today it ends in %v", d.Round(0).Sub(clk.Now().Round(0)))
		}
		pass(100*sec - tick)
		wantOK(t, "Alive until its end", s.Alive(), true)
		pass(tick)
		wantOK(t, "Alive at its end", s.Alive(), false)
	}
}

func testClockGoesBack(t *testing.T) {
	e := newEngine(t)
	ended, s := e.start("ended"), e.start("a")
	e.advance(800 * sec)
	s.Touch()
	e.advance(100 * sec)
	e.wantGone("ended")
	e.mock.Set(at(-2700 * sec))
	e.Advance()
	wantOK(t, "Touch of the ended one", ended.Touch(), false)
	wantOK(t, "Touch", s.Touch(), true)
	e.wantDeadline(s, 1800*sec) // touched at the latest reading so far
	e.mock.Set(at(1800*sec - tick))
	e.Advance()
	e.wantAlive("a")
	e.advance(tick)
	e.wantEnds(expiry{"ended", lapse.ReasonIdle, 900 * sec}, expiry{"a", lapse.ReasonIdle, 1800 * sec})
}
