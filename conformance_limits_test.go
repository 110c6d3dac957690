package lapse_test

import (
	"sync"
	"testing"
	"time"

	"github.com/lapse-go/lapse"
)

// hourCap ends a run of polls after an hour; a poll is worth a quarter of one.
var hourCap = lapse.Policy{Name: "hour", Idle: 900 * sec, PollCap: 3600 * sec}

// pollUntil polls now, then every step, up to and including the given time.
func (e *manualEngine) pollUntil(s testSession, step, last time.Duration) {
	e.t.Helper()
	for {
		if !s.Poll() {
			e.t.Fatalf("%v: the poll is refused", since(e.mock.Now()))
		}
		if since(e.mock.Now())+step > last {
			return
		}
		e.advance(step)
	}
}

// wantRun checks the run of polls; cap is the end that it leads to.
func (e *manualEngine) wantRun(s testSession, polls int, cap time.Duration) {
	e.t.Helper()
	i := infoOf(e.t, s)
	if i.Polls != polls || i.Reason != lapse.ReasonPollCap || !i.Deadline.Equal(at(cap)) {
		e.t.Fatalf("%d polls, end %v at %v; want %d, %v", i.Polls, i.Reason, since(i.Deadline), polls, cap)
	}
}

func TestPollingCap(t *testing.T) {
	minute := lapse.Policy{Name: "minute", Idle: 900 * sec, PollCap: 60 * sec}
	t.Run("case=46", func(t *testing.T) {
		e := newEngine(t, minute)
		s := e.start("a")
		e.pass(100 * sec)
		wantOK(t, "Poll", s.Poll(), true)
		e.wantRun(s, 1, 160*sec)
	})
	t.Run("case=47", func(t *testing.T) {
		t.Parallel()
		e := newEngine(t, hourCap)
		s := e.start("a")
		e.pollUntil(s, 5*sec, 3600*sec)
		wantCount(t, "polls", infoOf(t, s).Polls, 721)
		e.pass(5 * sec)
		wantOK(t, "the poll at 3605", s.Poll(), false)
		e.wantEnds(expiry{"a", lapse.ReasonPollCap, 3605 * sec})
		e.wantGone("a")
	})
	t.Run("case=48", func(t *testing.T) {
		for _, past := range []time.Duration{1 * ms, tick} { // before the clock ends it, and when it does
			e := newEngine(t, lapse.Policy{Name: "cap", PollCap: 3600 * sec})
			s := e.start("a")
			wantOK(t, "the first poll", s.Poll(), true)
			e.pass(3600 * sec)
			wantOK(t, "the poll at the cap", s.Poll(), true)
			e.pass(past)
			e.wantEnds()
			wantOK(t, "the poll after the cap", s.Poll(), false)
			e.wantEnds(expiry{"a", lapse.ReasonPollCap, 3600*sec + past.Truncate(tick)})
			e.wantGone("a")
			e.wantNoTimer()
		}
	})
	t.Run("case=49", func(t *testing.T) {
		e := newEngine(t, lapse.Policy{Name: "cap", Idle: 3000 * sec, PollCap: 2000 * sec})
		s := e.start("a")
		s.Poll()
		e.wantRun(s, 1, 2000*sec)
		e.pass(1000 * sec)
		s.Touch()
		if i := infoOf(t, s); i.Polls != 0 || i.Reason != lapse.ReasonIdle || !i.Deadline.Equal(at(4000*sec)) {
			t.Fatalf("%d polls, end %v at %v", i.Polls, i.Reason, since(i.Deadline))
		}
		e.pass(5 * sec)
		s.Poll()
		e.wantRun(s, 1, 3005*sec)
	})
	t.Run("case=50", func(t *testing.T) {
		t.Parallel()
		e := newEngine(t, hourCap)
		s := e.start("a")
		e.pollUntil(s, 5*sec, 3595*sec)
		e.advance(1 * sec)
		wantOK(t, "Touch", s.Touch(), true)
		e.advance(4 * sec)
		e.pollUntil(s, 5*sec, 7200*sec)
		e.wantAlive("a")
		e.pass(tick)
		wantOK(t, "the poll after 7200", s.Poll(), false)
		e.wantEnds(expiry{"a", lapse.ReasonPollCap, 7200*sec + tick})
	})
	t.Run("case=53", func(t *testing.T) {
		e := newEngine(t, hourCap)
		s := e.start("a")
		wantOK(t, "Touch", s.Touch(), true)
		wantCount(t, "polls", infoOf(t, s).Polls, 0)
		e.wantDeadline(s, 900*sec)
	})
	t.Run("case=54", func(t *testing.T) {
		e := newEngine(t, lapse.Policy{Name: "cap", PollCap: 300 * sec})
		s := e.start("a")
		wantOK(t, "the poll at 0", s.Poll(), true)
		e.wantRun(s, 1, 300*sec)
		e.pass(301 * sec)
		wantOK(t, "the poll at 301", s.Poll(), false)
		e.wantEnds(expiry{"a", lapse.ReasonPollCap, 301 * sec})
	})
	t.Run("case=58", func(t *testing.T) {
		t.Parallel()
		e := newEngine(t, lapse.Policy{Name: "cap", Idle: 3600 * sec, PollCap: 3600 * sec})
		s := e.start("a")
		s.Touch()
		e.pollUntil(s, 5*sec, 3000*sec)
		e.advance(600 * sec)
		e.wantAlive("a")
		e.advance(tick)
		e.wantEnds(expiry{"a", lapse.ReasonPollCap, 3600*sec + tick})
		if d := e.events[0].Deadline; !d.Equal(at(3600 * sec)) {
			t.Fatalf("the event's Deadline is %v", since(d))
		}
	})
	t.Run("case=59", func(t *testing.T) {
		e := newEngine(t, lapse.Policy{Name: "both", PollCap: 60 * sec, PollMax: 3})
		s := e.start("a")
		wantOK(t, "Session.Poll", s.Poll(), true)
		e.pass(1 * sec)
		if got, ok := e.Poll("a"); !ok || got != s {
			t.Fatalf("Engine.Poll: %v", ok)
		}
		e.wantRun(s, 2, 60*sec)
		wantOK(t, "the third poll", s.Poll(), true)
		if _, ok := e.Poll("a"); ok {
			t.Fatal("the fourth poll, by key, is allowed")
		}
		e.wantEnds(expiry{"a", lapse.ReasonPollMax, 1 * sec})
	})
	t.Run("case=62", func(t *testing.T) {
		e := newEngine(t, lapse.Policy{Name: "cap", Idle: 60 * sec, PollCap: 300 * sec})
		s := e.start("a")
		for range 61 {
			wantOK(t, "Poll", s.Poll(), true)
			if d, ok := s.Deadline(); !ok || d.After(at(300*sec)) {
				t.Fatalf("the deadline is %v, %v", since(d), ok)
			}
			if since(e.mock.Now()) < 300*sec {
				e.advance(5 * sec)
			}
		}
		e.wantAlive("a")
		e.advance(tick)
		e.wantEnds(expiry{"a", lapse.ReasonPollCap, 300*sec + tick})
	})
	t.Run("case=63", func(t *testing.T) {
		e := newEngine(t, minute)
		s := e.start("a")
		e.pass(10 * sec)
		s.Poll()
		e.pass(10 * sec)
		s.Poll()
		wantErr(t, "Rename", e.Rename("a", "b"), nil)
		e.wantRun(s, 2, 70*sec)
		e.pass(50 * sec)
		wantOK(t, "the poll at the cap", s.Poll(), true)
		e.wantRun(s, 3, 70*sec)
		e.pass(tick)
		wantOK(t, "the poll after the cap", s.Poll(), false)
		e.wantEnds(expiry{"b", lapse.ReasonPollCap, 70*sec + tick})
	})
	t.Run("case=64", func(t *testing.T) {
		for _, past := range []time.Duration{1 * ms, tick} {
			e := newEngine(t, minute)
			s := e.start("a")
			s.Poll()
			e.pass(60*sec + past)
			refused := make([]bool, 100)
			var all sync.WaitGroup
			for i := range refused {
				all.Go(func() { refused[i] = !s.Poll() })
			}
			all.Wait()
			for i, refused := range refused {
				if !refused {
					t.Fatalf("poll %d is allowed", i)
				}
			}
			// Nobody has called Advance: one of the pollers has run the hook.
			e.wantEnds(expiry{"a", lapse.ReasonPollCap, 60*sec + past.Truncate(tick)})
		}
	})
}

func TestKeepAlive(t *testing.T) {
	five := lapse.Policy{Name: "five minutes", Idle: 300 * sec}
	t.Run("case=76", func(t *testing.T) {
		e := newEngine(t, five)
		s := e.start("a")
		e.pollUntil(s, 150*sec, 3600*sec)
		e.advance(1 * sec)
		e.wantAlive("a")
	})
	t.Run("case=77", func(t *testing.T) {
		e := newEngine(t, five)
		s := e.start("a")
		e.advance(300 * sec)
		e.wantEnds(expiry{"a", lapse.ReasonIdle, 300 * sec})
		e.advance(10 * sec)
		wantOK(t, "the poll at 310", s.Poll(), false)
		wantCount(t, "events", len(e.events), 1)
	})
	t.Run("case=78", func(t *testing.T) {
		e := newEngine(t, five)
		s := e.start("a")
		e.pollUntil(s, 150*sec, 1500*sec)
		e.advance(300*sec - tick)
		e.wantAlive("a")
		e.advance(tick)
		e.wantEnds(expiry{"a", lapse.ReasonIdle, 1800 * sec})
	})
	ten := lapse.Policy{Name: "ten polls", PollMax: 10}
	t.Run("case=79", func(t *testing.T) {
		e := newEngine(t, ten)
		s := e.start("a")
		for n := range 10 {
			wantOK(t, "Poll", s.Poll(), true)
			wantCount(t, "polls", infoOf(t, s).Polls, n+1)
			e.advance(1 * sec)
		}
		e.wantEnds()
		wantOK(t, "the 11th poll", s.Poll(), false)
		e.wantEnds(expiry{"a", lapse.ReasonPollMax, 10 * sec})
		wantCount(t, "polls in the event", e.events[0].Polls, 10)
		e.wantGone("a")
	})
	t.Run("case=80", func(t *testing.T) {
		e := newEngine(t, ten)
		s := e.start("a")
		for range 9 {
			wantOK(t, "Poll", s.Poll(), true)
		}
		s.Touch() // in the tick of the polls, too, it ends their run
		for range 10 {
			wantOK(t, "Poll", s.Poll(), true)
		}
		wantOK(t, "the poll after these", s.Poll(), false)
		e.wantEnds(expiry{"a", lapse.ReasonPollMax, 0})
	})
}
