package lapse_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/benbjohnson/clock"
	"github.com/lapse-go/lapse"
)

// The conformance tests follow the table of docs/semantics.md: the subtest
// case=N shows row N, and "go test -run '/case=N$'" runs all that is said about
// it. Unless a row needs the driver, its engine is a Manual one with a mock
// clock that starts at the epoch, so that no test waits for real time.

type (
	testSession = lapse.Session[string, int]
	testEvent   = lapse.Event[string, int]
)

const (
	ms  = time.Millisecond
	sec = time.Second

	tick = 10 * ms // of an engine whose Options name no other
)

// A manualEngine is an engine that moves only when the test moves it.
type manualEngine struct {
	*lapse.Engine[string, int]
	t      *testing.T
	mock   *clock.Mock
	log    bytes.Buffer // what the engine has logged since the last wantLog
	events []testEvent  // of every session, in the order in which they ended
}

// newEngine makes a manualEngine whose default class has the given policy, if
// any.
func newEngine(t *testing.T, policy ...lapse.Policy) *manualEngine {
	t.Helper()
	var o lapse.Options
	if len(policy) > 0 {
		o.Default = policy[0]
	}
	return newEngineOf(t, o)
}

func newEngineOf(t *testing.T, o lapse.Options) *manualEngine {
	t.Helper()
	e := &manualEngine{t: t, mock: clock.NewMock()}
	o.Manual, o.Clock = true, e.mock
	o.Logger = slog.New(slog.NewTextHandler(&e.log, nil))
	engine, err := lapse.New[string, int](o)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(func() {
		engine.Close()
		e.wantLog(0)
	})
	engine.NotifyOnExpire(func(ev testEvent) { e.events = append(e.events, ev) })
	e.Engine = engine
	return e
}

// pass moves the clock and nothing else: the tick has not run yet.
func (e *manualEngine) pass(d time.Duration) { e.mock.Add(d) }

// advance moves the clock and ends what is due then.
func (e *manualEngine) advance(d time.Duration) {
	e.mock.Add(d)
	e.Advance()
}

// start starts a session in the default class, or in that of the policy.
func (e *manualEngine) start(key string, policy ...lapse.Policy) testSession {
	e.t.Helper()
	start := e.Start
	if len(policy) > 0 {
		start = e.class(policy[0]).Start
	}
	s, err := start(key, 0)
	if err != nil {
		e.t.Fatalf("Start(%q): %v", key, err)
	}
	return s
}

func (e *manualEngine) class(p lapse.Policy) *lapse.Class[string, int] {
	e.t.Helper()
	c, err := e.Class(p)
	if err != nil {
		e.t.Fatalf("Class(%+v): %v", p, err)
	}
	return c
}

// at is a time of the mock clock.
func at(d time.Duration) time.Time { return time.Unix(0, 0).Add(d) }

func (e *manualEngine) wantAlive(keys ...string) {
	e.t.Helper()
	for _, key := range keys {
		if _, ok := e.Get(key); !ok {
			e.t.Fatalf("%v: session %q is gone", since(e.mock.Now()), key)
		}
	}
}

func (e *manualEngine) wantGone(keys ...string) {
	e.t.Helper()
	for _, key := range keys {
		if _, ok := e.Get(key); ok {
			e.t.Fatalf("%v: session %q is alive", since(e.mock.Now()), key)
		}
	}
}

// wantNoTimer checks that the engine has nothing to wait for.
func (e *manualEngine) wantNoTimer() {
	e.t.Helper()
	if next, ok := e.Advance(); ok {
		e.t.Fatalf("%v: a timer is pending at %v", since(e.mock.Now()), since(next))
	}
}

// wantLog checks how many lines there are in the log, and gives them. A line
// that no test asks about is an error.
func (e *manualEngine) wantLog(lines int) string {
	e.t.Helper()
	log := e.log.String()
	e.log.Reset()
	if got := strings.Count(log, "\n"); got != lines {
		e.t.Errorf("%d lines in the log, want %d:\n%s", got, lines, log)
	}
	return log
}

// An expiry is what a row says about an event; at is the clock when it ended.
type expiry struct {
	key    string
	reason lapse.Reason
	at     time.Duration
}

// wantEnds checks the events so far, all of them and in order.
func (e *manualEngine) wantEnds(want ...expiry) {
	e.t.Helper()
	ok := len(e.events) == len(want)
	for i := 0; ok && i < len(want); i++ {
		got := e.events[i]
		ok = got.Key == want[i].key && got.Reason == want[i].reason && got.Ended.Equal(at(want[i].at))
	}
	if ok {
		return
	}
	e.t.Errorf("%d events, want %d:", len(e.events), len(want))
	for _, got := range e.events {
		e.t.Logf("got  %s: %v at %v", got.Key, got.Reason, since(got.Ended))
	}
	for _, w := range want {
		e.t.Logf("want %s: %v at %v", w.key, w.reason, w.at)
	}
	e.t.FailNow()
}

func (e *manualEngine) wantDeadline(s testSession, want time.Duration) {
	e.t.Helper()
	if got, ok := s.Deadline(); !ok || !got.Equal(at(want)) {
		e.t.Fatalf("Deadline is %v, %v; want %v", since(got), ok, want)
	}
}

func since(t time.Time) time.Duration { return t.Sub(at(0)) }

func infoOf(t *testing.T, s testSession) lapse.Info {
	t.Helper()
	i, ok := s.Info()
	if !ok {
		t.Fatal("Info: the session has ended")
	}
	return i
}

// wantOK checks what a call says about its session.
func wantOK(t *testing.T, call string, got, want bool) {
	t.Helper()
	if got != want {
		t.Fatalf("%s = %v, want %v", call, got, want)
	}
}

func wantErr(t *testing.T, call string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("%s: error %v, want %v", call, got, want)
	}
}

func wantCount(t *testing.T, what string, got, want int) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: %d, want %d", what, got, want)
	}
}

func TestTwisted(t *testing.T) {
	t.Run("case=1", func(t *testing.T) {
		e := newEngine(t)
		e.start("a")
		e.advance(899 * sec)
		e.wantAlive("a")
		e.advance(1 * sec)
		e.wantGone("a")
		e.wantEnds(expiry{"a", lapse.ReasonIdle, 900 * sec})
		e.wantNoTimer()
	})
	t.Run("case=2", func(t *testing.T) {
		if want := (lapse.Policy{Name: "default", Idle: 900 * sec}); lapse.DefaultSession != want {
			t.Fatalf("DefaultSession is %+v", lapse.DefaultSession)
		}
		e := newEngine(t)
		e.wantDeadline(e.start("a"), 900*sec)
	})
	t.Run("case=3", func(t *testing.T) {
		e := newEngine(t)
		s := e.start("a")
		wantOK(t, "Expire", s.Expire(), true)
		e.wantGone("a")
		wantCount(t, "Len", e.Len(), 0)
		wantOK(t, "Alive", s.Alive(), false)
		e.wantNoTimer()
	})
	t.Run("case=4", func(t *testing.T) {
		e := newEngine(t)
		s := e.start("a")
		if next, ok := e.Advance(); !ok || next.After(at(900*sec)) {
			t.Fatalf("Advance = %v, %v: not armed for the deadline", since(next), ok)
		}
		wantOK(t, "Expire", s.Expire(), true)
		e.wantGone("a")
		e.wantNoTimer()
		e.advance(1000 * sec)
		e.wantEnds(expiry{"a", lapse.ReasonExpired, 0})
	})
	t.Run("case=7", func(t *testing.T) {
		e := newEngine(t)
		s := e.start("a")
		e.pass(3 * sec)
		wantOK(t, "Touch", s.Touch(), true)
		i := infoOf(t, s)
		if !i.Seen.Equal(at(3*sec)) || !i.Started.Equal(at(0)) {
			t.Fatalf("seen at %v, started at %v", since(i.Seen), since(i.Started))
		}
	})
	t.Run("case=8", func(t *testing.T) {
		e := newEngine(t)
		s := e.start("a")
		e.advance(899 * sec)
		wantOK(t, "Touch", s.Touch(), true)
		e.advance(899 * sec)
		e.wantAlive("a")
		e.advance(1 * sec)
		e.wantGone("a")
		e.wantEnds(expiry{"a", lapse.ReasonIdle, 1799 * sec})
	})
	t.Run("case=9", func(t *testing.T) {
		e := newEngine(t)
		e.start("a", lapse.ShortSession)
		e.advance(59 * sec)
		e.wantAlive("a")
		e.advance(1 * sec)
		e.wantGone("a")
		e.wantEnds(expiry{"a", lapse.ReasonIdle, 60 * sec})
	})
	t.Run("case=10", func(t *testing.T) {
		e := newEngineOf(t, lapse.Options{Tick: ms, Default: lapse.Policy{Name: "five", Idle: 5 * sec}})
		s := e.start("a")
		for range 3 { // at 4, 8 and 12
			e.advance(4 * sec)
			wantOK(t, "Touch", s.Touch(), true)
		}
		e.advance(4999 * ms)
		e.wantAlive("a")
		e.advance(1 * ms)
		e.wantGone("a")
		e.wantEnds(expiry{"a", lapse.ReasonIdle, 17 * sec})
	})
	t.Run("case=11", func(t *testing.T) {
		a, b := newEngine(t, lapse.ShortSession), newEngine(t)
		a.wantDeadline(a.start("x"), 60*sec)
		b.wantDeadline(b.start("x"), 900*sec)
		a.advance(60 * sec)
		a.wantGone("x")
		b.advance(899 * sec)
		b.wantAlive("x")
		b.advance(1 * sec)
		b.wantGone("x")
	})
	t.Run("case=28", func(t *testing.T) {
		e := newEngine(t, lapse.Policy{Name: "five", Idle: 5 * sec})
		e.start("a")
		e.advance(100 * sec)
		e.wantEnds(expiry{"a", lapse.ReasonIdle, 100 * sec})
		if d := e.events[0].Deadline; !d.Equal(at(5 * sec)) {
			t.Fatalf("the event's Deadline is %v", since(d))
		}
	})
	t.Run("case=29", func(t *testing.T) {
		e := newEngine(t)
		s := e.start("a")
		wantOK(t, "SetIdle", s.SetIdle(10*sec), true)
		e.wantDeadline(s, 10*sec)
		e.advance(10*sec - tick)
		e.wantAlive("a")
		e.advance(tick)
		e.wantGone("a")
		e.wantEnds(expiry{"a", lapse.ReasonIdle, 10 * sec})
	})
	t.Run("case=30", func(t *testing.T) {
		e := newEngine(t)
		e.start("for ever", lapse.Policy{Name: "none"})
		e.start("life", lapse.Policy{Name: "life", Lifetime: 100 * sec})
		capped := e.start("cap", lapse.Policy{Name: "cap", PollCap: 50 * sec})
		if d, ok := capped.Deadline(); ok {
			t.Fatalf("a deadline at %v, though nothing limits the session", since(d))
		}
		wantOK(t, "Poll", capped.Poll(), true)
		e.advance(50*sec + tick)
		e.wantGone("cap")
		e.advance(1000 * time.Hour)
		e.wantAlive("for ever")
		e.wantGone("life")

		for _, p := range []lapse.Policy{
			{Name: "bad", Idle: -1},
			{Name: "bad", Lifetime: -1},
			{Name: "bad", PollCap: -1},
			{Name: "bad", PollMax: -1},
			{Name: "bad", Warn: -1},
		} {
			if _, err := lapse.New[string, int](lapse.Options{Default: p}); err == nil {
				t.Errorf("New accepts %+v", p)
			}
			if _, err := e.Class(p); err == nil {
				t.Errorf("Class accepts %+v", p)
			}
		}
	})
	t.Run("case=34", func(t *testing.T) {
		e := newEngine(t)
		s, other := e.start("a"), e.start("b")
		got, ok := e.Get("a")
		if !ok || got != s || got == other {
			t.Fatalf("Get: %v, the handle that Start gave: %v, another's: %v", ok, got == s, got == other)
		}
		if got, ok := e.Get("c"); ok || got.Alive() {
			t.Fatal("Get finds a session that nobody started")
		}
	})
}

// Twisted's own session raises an error where these calls say false.
func TestTwistedAfterTheEnd(t *testing.T) {
	t.Run("case=14", func(t *testing.T) {
		e := newEngine(t)
		s := e.start("a")
		runs := 0
		s.NotifyOnExpire(func(testEvent) { runs++ })
		e.advance(900 * sec)
		wantOK(t, "Expire", s.Expire(), false)
		wantCount(t, "runs of the hook", runs, 1)
		e.wantEnds(expiry{"a", lapse.ReasonIdle, 900 * sec})
	})
	t.Run("case=15", func(t *testing.T) {
		e := newEngine(t)
		s := e.start("a")
		runs := 0
		s.NotifyOnExpire(func(testEvent) { runs++ })
		wantOK(t, "first Expire", s.Expire(), true)
		wantOK(t, "second Expire", s.Expire(), false)
		wantCount(t, "runs of the hook", runs, 1)
		e.wantEnds(expiry{"a", lapse.ReasonExpired, 0})
	})
	t.Run("case=16", func(t *testing.T) {
		e := newEngine(t)
		s := e.start("a")
		e.advance(900 * sec)
		wantOK(t, "Touch", s.Touch(), false)
		if _, ok := e.Touch("a"); ok {
			t.Fatal("Engine.Touch revives an ended session")
		}
		wantOK(t, "Alive", s.Alive(), false)
		e.wantGone("a")
		e.advance(900 * sec)
		e.wantEnds(expiry{"a", lapse.ReasonIdle, 900 * sec})
	})
	t.Run("case=17", func(t *testing.T) {
		e := newEngine(t)
		s := e.start("a")
		s.Expire()
		wantOK(t, "Touch", s.Touch(), false)
		e.wantGone("a")
		wantCount(t, "Len", e.Len(), 0)
		e.wantNoTimer()
		e.advance(900 * sec)
		e.wantEnds(expiry{"a", lapse.ReasonExpired, 0})
	})
	t.Run("case=20", func(t *testing.T) {
		e := newEngine(t)
		s := e.start("a")
		s.Expire()
		stop, ok := s.NotifyOnExpire(func(testEvent) { t.Error("a hook of an ended session runs") })
		wantOK(t, "NotifyOnExpire", ok, false)
		wantOK(t, "stop", stop(), false)
		e.start("a").Expire() // a session that may well have the memory of the first
		e.advance(900 * sec)
	})
}
