package lapse

import (
	"runtime"
	"sync/atomic"
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
	sh := e.shardOf(e.hash(new(0)))
	var keys []int
	for k := 0; len(keys) < 3000; k++ {
		if e.shardOf(e.hash(&k)) == sh {
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

// TestFarEntryIsNotCarried brings a session's far entry into the wheel: then the
// end is brought forward, and comes when it should.
func TestFarEntryIsNotCarried(t *testing.T) {
	const day = 24 * time.Hour
	m := clock.NewMock()
	e, err := New[int, int](Options{Clock: m, Manual: true, Default: Policy{Name: "d", Idle: 400 * day}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	s, err := e.Start(1, 1)
	if err != nil {
		t.Fatal(err)
	}
	sh, idx := e.locate(s.slot())
	drive := func() {
		tour := tour[int]{moment: e.time.read()}
		for more := true; more; {
			_, more = sh.drive(&tour, mostBatch, nil)
		}
		if err := CheckInvariants(e); err != nil {
			t.Error(err)
		}
	}
	if sh.slab.record(idx).read().place() != inFar {
		t.Fatal("the end is not far")
	}
	m.Add(300 * day)
	drive()
	if place := sh.slab.record(idx).read().place(); place != inWheel {
		t.Errorf("it lies in place %d", place)
	}
	s.SetIdle(310 * day)
	m.Add(10 * day)
	drive()
	if e.Len() != 0 {
		t.Error("the session has not ended")
	}
}

// TestStaleReadingWarnsOnce touches a session with a reading of the clock from
// before its warning, of a limit that a touch does not move.
func TestStaleReadingWarnsOnce(t *testing.T) {
	c := clock.NewMock()
	e, _ := New[int, int](Options{Manual: true, Clock: c, Default: Policy{Name: "d", Lifetime: time.Second, Warn: 100 * time.Millisecond}})
	defer e.Close()
	warnings := 0
	e.NotifyBeforeExpire(func(Event[int, int]) { warnings++ })
	s, _ := e.Start(1, 0)
	c.Add(890 * time.Millisecond)
	stale := e.time.read()
	c.Add(10 * time.Millisecond)
	e.Advance()
	s.touchLocked(stale, stale.stamp, true)
	e.Advance()
	if warnings != 1 {
		t.Errorf("%d warnings, want 1", warnings)
	}
}

// TestCarryAfterJump has the clock jump so far beyond a session's end that half
// of the tick alone could be one to come.
func TestCarryAfterJump(t *testing.T) {
	const ms = time.Millisecond
	for _, jump := range []time.Duration{1<<31*ms - time.Hour, 1<<31*ms + time.Hour, 1<<32*ms - time.Hour, 1<<32*ms + time.Hour} {
		m := clock.NewMock()
		e, err := New[int, int](Options{Clock: m, Manual: true, Tick: ms, Default: Policy{Name: "d", Idle: time.Minute}})
		if err != nil {
			t.Fatal(err)
		}
		const sessions = 3
		for key := range sessions {
			e.Start(key, 0)
		}
		m.Add(jump)
		tour := tour[int]{moment: e.time.read()}
		for i := range e.shards {
			for more := true; more; {
				_, more = e.shards[i].drive(&tour, 1, nil)
			}
		}
		if n := e.Len(); n > 0 {
			t.Errorf("after %v, %d of %d sessions have not ended", jump, n, sessions)
		}
		e.Close()
	}
}

// TestCarryOfWhatWaits has the clock jump while an entry that has left its slot
// waits to be read out.
func TestCarryOfWhatWaits(t *testing.T) {
	const ms = time.Millisecond
	m := clock.NewMock()
	e, err := New[int, int](Options{Clock: m, Manual: true, Tick: ms, Default: Policy{Name: "d", Idle: time.Minute}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	keys := keysOfOneShard(e, 2)
	sh := e.shardOf(e.hash(&keys[0]))
	for _, key := range keys {
		e.Start(key, 0)
	}
	for _, d := range []time.Duration{time.Minute, 1<<32*ms - time.Hour} {
		m.Add(d)
		sh.drive(&tour[int]{moment: e.time.read()}, 1, nil)
	}
	if n := e.Len(); n > 0 {
		t.Errorf("%d sessions have not ended", n)
	}
}

// TestCarry lets long slots of the wheel begin, whose sessions were touched: the
// entries are carried on without a look at the sessions, which would arm them
// anew. They end in time.
func TestCarry(t *testing.T) {
	m := clock.NewMock()
	e, err := New[int, int](Options{Clock: m, Manual: true, Default: Policy{Name: "d", Idle: time.Hour}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var left atomic.Int64
	e.NotifyOnExpire(func(Event[int, int]) { left.Add(-1) })
	const n = 5000
	left.Store(n)
	armed := make(map[*record[int]]uint32)
	for i := range n {
		s, err := e.Start(i, i)
		if err != nil {
			t.Fatal(err)
		}
		s.SetIdle(time.Hour - time.Duration(i)*10*time.Millisecond)
		rec := e.record(s.slot())
		armed[rec] = rec.read().armed()
	}
	drive := func() {
		tour := tour[int]{moment: e.time.read()}
		for i := range e.shards {
			for more := true; more; {
				var ends []ending[int, int]
				ends, more = e.shards[i].drive(&tour, mostBatch, nil)
				e.deliver(ends)
			}
		}
		if err := CheckInvariants(e); err != nil {
			t.Fatal(err)
		}
	}
	const later = 10 * time.Minute
	m.Add(later)
	for s := range e.All() {
		s.Touch()
	}
	m.Set(e.time.origin.Add(time.Hour - n*10*time.Millisecond - 10*time.Second))
	drive()
	for rec, tick := range armed {
		if rec.read().armed() != tick {
			t.Fatal("a session was armed anew whose tick had not come")
		}
	}
	if left.Load() != n {
		t.Errorf("%d sessions ended early", n-left.Load())
	}
	m.Set(e.time.origin.Add(later + time.Hour - n/2*10*time.Millisecond))
	drive()
	if left.Load() != n/2 {
		t.Errorf("%d of %d sessions are left at half", left.Load(), n)
	}
	m.Set(e.time.origin.Add(later + time.Hour))
	drive()
	if left.Load() != 0 {
		t.Errorf("%d sessions are left", left.Load())
	}
}
