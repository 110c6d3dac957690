package lapse

import (
	"runtime"
	"testing"
	"time"

	"github.com/benbjohnson/clock"
)

// TestTrimSendsPastToFuture sifts entries of the distant past, which must not
// count as the distant future.
func TestTrimSendsPastToFuture(t *testing.T) {
	m := clock.NewMock()
	ms := time.Millisecond
	e, _ := New[int, int](Options{Manual: true, Clock: m, Tick: ms, Default: Policy{Name: "d"}})
	defer e.Close()
	idle, _ := e.Class(Policy{Name: "idle", Idle: time.Hour})
	ended := 0
	sh := e.shardOf(e.hash(0))
	var keys []int
	for k := 0; len(keys) < 3000; k++ {
		if e.shardOf(e.hash(k)) == sh {
			keys = append(keys, k)
		}
	}
	s, _ := e.Start(keys[0], 0)
	s.NotifyOnExpire(func(Event[int, int]) { ended++ })
	m.Add(30 * 24 * time.Hour)
	// superseded entries
	var others []Session[int, int]
	for _, k := range keys[1:] {
		o, _ := idle.Start(k, 0)
		others = append(others, o)
	}
	s.SetIdle(time.Minute) // due since long
	for _, o := range others {
		o.Expire()
	}
	m.Add(time.Hour)
	e.Advance()
	if ended != 1 {
		next, _ := e.Advance()
		t.Errorf("due since 30 days, ended %d; next visit in %v", ended, next.Sub(m.Now()))
	}
}

// TestLogOutsLeaveNothing logs a million sessions out long before their time,
// beside a few that stay, and then shortens and lengthens the ends of those
// again and again. What that leaves in the wheels is bounded.
func TestLogOutsLeaveNothing(t *testing.T) {
	mock := clock.NewMock()
	e, err := New[int, int](Options{Clock: mock, Manual: true, Default: Policy{Name: "day", Idle: 24 * time.Hour}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	const stay = 1000
	var sessions []Session[int, int]
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
		if err := CheckInvariants(e); err != nil {
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
