package lapse

import (
	"bytes"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/benbjohnson/clock"
)

//go:noinline
func badHook(Event[uint64, int]) { panic("oops") }

//go:noinline
func badHook16(Event[[16]byte, int]) { panic("oops") }

// TestLogTellsKey has a hook panic and looks for the session id in the log,
// where arguments on the stack would show it.
func TestLogTellsKey(t *testing.T) {
	var log bytes.Buffer
	e, _ := New[uint64, int](Options{Manual: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	defer e.Close()
	e.NotifyOnExpire(badHook)
	s, _ := e.Start(0xdeadbeefcafe, 0)
	s.Expire()
	if strings.Contains(log.String(), "deadbeefcafe") {
		t.Errorf("the log has the key: %s", log.String()[strings.Index(log.String(), "deadbeefcafe")-60:][:120])
	}
	log.Reset()
	e2, _ := New[[16]byte, int](Options{Manual: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	defer e2.Close()
	e2.NotifyOnExpire(badHook16)
	var k [16]byte
	for i := range k {
		k[i] = byte(0xa0 + i)
	}
	s2, _ := e2.Start(k, 0)
	s2.Expire()
	for _, words := range []string{"0xa0, 0xa1", "a0a1a2a3"} {
		if strings.Contains(log.String(), words) {
			t.Errorf("the log has the key:\n%s", log.String())
		}
	}
}

// TestEventInALog logs an event: neither key nor value are to be read there.
func TestEventInALog(t *testing.T) {
	var b strings.Builder
	log := slog.New(slog.NewTextHandler(&b, nil))
	started := time.Unix(1000, 0).UTC()
	log.Info("end", "event", Event[string, string]{
		Key: "secret", Value: "private", Class: "web", Reason: ReasonPollCap, Polls: 3, Started: started, Seen: started, Ended: started,
	})
	got := b.String()
	for _, want := range []string{"event.class=web", `event.reason="poll cap"`, "event.polls=3", "event.started=1970-01-01T00:16:40.000Z", "event.seen=", "event.ended="} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in the log: %s", want, got)
		}
	}
	for _, not := range []string{"secret", "private", "event.deadline"} {
		if strings.Contains(got, not) {
			t.Errorf("%q is in the log: %s", not, got)
		}
	}
}

// TestBatchHookSpoilsNext has one batch hook change its slice: the next one has
// its own.
func TestBatchHookSpoilsNext(t *testing.T) {
	e, _ := New[int, int](Options{Manual: true})
	defer e.Close()
	e.NotifyOnExpireBatch(func(evs []Event[int, int]) { clear(evs) })
	got := 0
	e.NotifyOnExpireBatch(func(evs []Event[int, int]) { got = evs[0].Key })
	s, _ := e.Start(7, 0)
	s.Expire()
	if got != 7 {
		t.Errorf("the second batch hook is given the key %d", got)
	}
}

// TestWarningsFillNoBatch warns more sessions in an Advance than a batch holds:
// the batch hooks hear of the ends when there are as many ends, or at last.
func TestWarningsFillNoBatch(t *testing.T) {
	c := clock.NewMock()
	e, _ := New[int, int](Options{Clock: c, Manual: true, Default: Policy{Name: "d", Idle: 2 * time.Second, Warn: time.Second}})
	defer e.Close()
	warnings, heard := 0, []int{}
	e.NotifyBeforeExpire(func(Event[int, int]) { warnings++ })
	e.NotifyOnExpireBatch(func(events []Event[int, int]) { heard = append(heard, len(events), warnings) })
	brief, _ := e.Class(Policy{Name: "brief", Idle: time.Second})
	brief.Start(-1, 0)
	for key := range 2 * mostBatch {
		e.Start(key, 0)
	}
	c.Add(time.Second)
	e.Advance()
	if want := []int{1, 2 * mostBatch}; !slices.Equal(heard, want) {
		t.Errorf("ends in each batch, and the warnings before it: %v, want %v", heard, want)
	}
}

// TestGoexit has hooks of every kind end their goroutine.
func TestGoexit(t *testing.T) {
	m := clock.NewMock()
	e, _ := New[int, int](Options{Manual: true, Clock: m, Default: Policy{Name: "d", Idle: 10 * time.Second, Warn: time.Second}})
	defer e.Close()
	var log []string
	note := func(s string) func(Event[int, int]) {
		return func(Event[int, int]) { log = append(log, s); runtime.Goexit() }
	}
	e.NotifyOnExpire(note("e1"))
	e.NotifyOnExpire(note("e2"))
	e.NotifyBeforeExpire(note("w"))
	c, _ := e.Class(Policy{Name: "d", Idle: 10 * time.Second, Warn: time.Second})
	c.NotifyOnExpire(note("c"))
	e.NotifyOnExpireBatch(func([]Event[int, int]) { log = append(log, "b1"); runtime.Goexit() })
	e.NotifyOnExpireBatch(func([]Event[int, int]) { log = append(log, "b2"); runtime.Goexit() })
	for k := range 3 {
		s, _ := e.Start(k, 0)
		s.NotifyOnExpire(note("s"))
		s.NotifyBeforeExpire(note("sw"))
	}
	for range 2 {
		m.Add(5 * time.Second)
		done := make(chan bool)
		go func() { defer close(done); e.Advance() }()
		<-done
		if e.advancing.Load() {
			t.Error("advancing")
		}
	}
	m.Add(-500 * time.Millisecond)
	if err := CheckInvariants(e); err != nil {
		t.Error(err)
	}
}

// TestHookBetweenEndAndHooks adds a hook to a session that has ended and whose
// hooks wait for a worker.
func TestHookBetweenEndAndHooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _ := New[int, int](Options{Default: Policy{Name: "d", Idle: time.Second}})
		defer e.Close()
		release := make(chan bool)
		e.NotifyOnExpire(func(Event[int, int]) { <-release })
		var sessions []Session[int, int]
		for i := range 2 {
			s, _ := e.Start(i, 0)
			s.NotifyOnExpire(func(Event[int, int]) {})
			sessions = append(sessions, s)
		}
		time.Sleep(2 * time.Second)
		for _, s := range sessions {
			if _, ok := s.NotifyOnExpire(func(Event[int, int]) { t.Error("the hook was called") }); ok {
				t.Error("a hook was added after the end")
			}
		}
		close(release)
		synctest.Wait()
	})
}

// TestStopKeepsNothing keeps the stop function of a hook that has been called:
// it does not keep what the hook held.
func TestStopKeepsNothing(t *testing.T) {
	e, _ := New[int, int](Options{Manual: true})
	defer e.Close()
	s, _ := e.Start(1, 0)
	stop, held := hookThatHolds(s)
	s.Expire()
	for range 10 {
		if runtime.GC(); held.Value() == nil {
			break
		}
	}
	if held.Value() != nil {
		t.Error("what the hook held is still reachable")
	}
	if stop() {
		t.Error("stop says true after the hook was called")
	}
}

func hookThatHolds(s Session[int, int]) (stop func() bool, held weak.Pointer[[1 << 16]byte]) {
	page := new([1 << 16]byte)
	stop, _ = s.NotifyOnExpire(func(Event[int, int]) { page[0]++ })
	return stop, weak.Make(page)
}

// TestStopBeforeAfterEnd stops a warning hook after the end.
func TestStopBeforeAfterEnd(t *testing.T) {
	e, _ := New[int, int](Options{Manual: true})
	defer e.Close()
	s, _ := e.Start(1, 0)
	stop, _ := s.NotifyBeforeExpire(func(Event[int, int]) {})
	s.Expire()
	if stop() {
		t.Error("stop says true after the end")
	}
}

// TestStoppedWarningIsForgotten stops the warning hook of a session that lives
// on and looks for what the hook held.
func TestStoppedWarningIsForgotten(t *testing.T) {
	e, _ := New[int, int](Options{Manual: true})
	defer e.Close()
	s, _ := e.Start(1, 0)
	held := stoppedWarning(t, s)
	for range 10 {
		if runtime.GC(); held.Value() == nil {
			break
		}
	}
	if held.Value() != nil {
		t.Error("what the hook held is still reachable")
	}
	runtime.KeepAlive(e)
}

//go:noinline
func stoppedWarning(t *testing.T, s Session[int, int]) weak.Pointer[[1 << 16]byte] {
	page := new([1 << 16]byte)
	stop, _ := s.NotifyBeforeExpire(func(Event[int, int]) { page[0]++ })
	if !stop() {
		t.Error("stop says false, and the hook was never called")
	}
	return weak.Make(page)
}

// TestWarningStopsAtTheEnd ends a session from the first of its warning hooks:
// the others are not called any more.
func TestWarningStopsAtTheEnd(t *testing.T) {
	mock := clock.NewMock()
	e, _ := New[int, int](Options{Clock: mock, Manual: true, Default: Policy{Name: "d", Idle: 10 * time.Second, Warn: 2 * time.Second}})
	defer e.Close()
	s, _ := e.Start(1, 0)
	var calls []string
	s.NotifyBeforeExpire(func(Event[int, int]) { calls = append(calls, "warned"); s.Expire() })
	s.NotifyBeforeExpire(func(Event[int, int]) { calls = append(calls, "own") })
	e.NotifyBeforeExpire(func(Event[int, int]) { calls = append(calls, "engine") })
	s.NotifyOnExpire(func(Event[int, int]) { calls = append(calls, "ended") })
	mock.Add(8 * time.Second)
	e.Advance()
	if want := []string{"warned", "ended"}; !slices.Equal(calls, want) {
		t.Errorf("%v were called, want %v", calls, want)
	}
}
