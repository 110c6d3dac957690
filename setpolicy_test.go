package lapse

import (
	"testing"
	"time"

	"github.com/benbjohnson/clock"
)

// TestSetPolicyLosesMarked shortens a policy while a look-up marks a session by
// the new one, before it was armed for that.
func TestSetPolicyLosesMarked(t *testing.T) {
	c := &trapClock{Mock: clock.NewMock()}
	e, _ := New[string, int](Options{Clock: c, Manual: true, Default: Policy{Name: "d"}})
	defer e.Close()
	ended := 0
	e.NotifyOnExpire(func(Event[string, int]) { ended++ })
	e.Start("a", 0)
	cl, _ := e.Class(Policy{Name: "d"})
	c.Add(10 * time.Second)
	c.trap = func(n int) {
		if n == 2 { // rearm reads the clock: the policy is stored, no session is armed yet
			if _, ok := e.Get("a"); ok {
				t.Error("alive")
			}
		}
	}
	if err := cl.SetPolicy(Policy{Name: "d", Idle: time.Second}); err != nil {
		t.Fatal(err)
	}
	c.trap = nil
	c.Add(1000 * time.Hour)
	e.Advance()
	if ended != 1 || e.Len() != 0 {
		t.Errorf("ended %d, Len %d", ended, e.Len())
	}
}

// TestSetPolicyWarnStuck lengthens a policy: a session that was warned is
// warned again when its new end is near.
func TestSetPolicyWarnStuck(t *testing.T) {
	m := clock.NewMock()
	sec := time.Second
	e, _ := New[string, int](Options{Clock: m, Manual: true, Default: Policy{Name: "d", Idle: 100 * sec, Warn: 20 * sec}})
	defer e.Close()
	var warns []time.Duration
	e.NotifyBeforeExpire(func(ev Event[string, int]) { warns = append(warns, m.Now().Sub(time.Unix(0, 0))) })
	e.Start("a", 0)
	m.Add(80 * sec)
	e.Advance()
	m.Add(5 * sec)
	cl, _ := e.Class(Policy{Name: "d", Idle: 100 * sec, Warn: 20 * sec})
	cl.SetPolicy(Policy{Name: "d", Idle: 110 * sec, Warn: 20 * sec})
	for range 40 {
		m.Add(sec)
		e.Advance()
	}
	if len(warns) != 2 {
		t.Errorf("warned at %v, want 80s and 90s", warns)
	}
}

// TestSetPolicyShortensOneLimit shortens one limit of a policy alone: the wheel
// knows of the new end, without a look-up that would find it.
func TestSetPolicyShortensOneLimit(t *testing.T) {
	const sec = time.Second
	long := Policy{Name: "d", Idle: 1000 * sec, Lifetime: 3000 * sec, PollCap: 2000 * sec}
	for _, c := range []struct {
		why   Reason
		short func(*Policy)
	}{
		{ReasonIdle, func(p *Policy) { p.Idle = 100 * sec }},
		{ReasonLifetime, func(p *Policy) { p.Idle, p.Lifetime, p.PollCap = 0, 100*sec, 0 }},
		{ReasonPollCap, func(p *Policy) { p.PollCap = 100 * sec }},
	} {
		t.Run(c.why.String(), func(t *testing.T) {
			m := clock.NewMock()
			first := long
			if c.why == ReasonLifetime {
				first.Idle, first.PollCap = 0, 0
			}
			e, _ := New[int, int](Options{Clock: m, Manual: true, Default: first})
			defer e.Close()
			var why []Reason
			e.NotifyOnExpire(func(ev Event[int, int]) { why = append(why, ev.Reason) })
			s, _ := e.Start(1, 1)
			s.Poll()
			class, _ := e.Class(first)
			next := first
			c.short(&next)
			if err := class.SetPolicy(next); err != nil {
				t.Fatal(err)
			}
			m.Add(101 * sec)
			if e.Advance(); len(why) != 1 || why[0] != c.why {
				t.Errorf("ended for %v, want %v", why, c.why)
			}
		})
	}
}

// TestSetPolicyOfMany shortens the policy of so many sessions that arming them
// anew takes several portions of work.
func TestSetPolicyOfMany(t *testing.T) {
	const sessions = 200000
	mock := clock.NewMock()
	e, _ := New[int, int](Options{Clock: mock, Manual: true, Default: Policy{Name: "d", Idle: time.Hour}})
	defer e.Close()
	for key := range sessions {
		e.Start(key, 0)
	}
	class, _ := e.Class(Policy{Name: "d", Idle: time.Hour})
	if err := class.SetPolicy(Policy{Name: "d", Idle: time.Minute}); err != nil {
		t.Fatal(err)
	}
	if err := CheckInvariants(e); err != nil {
		t.Error(err)
	}
	mock.Add(time.Minute)
	if e.Advance(); e.Len() != 0 {
		t.Errorf("%d sessions outlive their new Idle", e.Len())
	}
}
