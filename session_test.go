package lapse_test

import (
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/lapse-go/lapse"
)

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
