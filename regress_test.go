package lapse

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/benbjohnson/clock"
)

// A trapClock lets a test act whenever it is read.
type trapClock struct {
	*clock.Mock
	trap func(n int)
	n    int
	in   bool
}

func (c *trapClock) Now() time.Time {
	if c.trap != nil && !c.in {
		c.in = true
		c.n++
		c.trap(c.n)
		c.in = false
	}
	return c.Mock.Now()
}

// keysOfOneShard returns keys that hash to the same shard.
func keysOfOneShard(e *Engine[int, int], n int) (keys []int) {
	sh := e.shardOf(e.hash(0))
	for k := 0; len(keys) < n; k++ {
		if e.shardOf(e.hash(k)) == sh {
			keys = append(keys, k)
		}
	}
	return keys
}

// A jumpClock moves once, just before a timer is armed.
type jumpClock struct {
	*clock.Mock
	once sync.Once
	by   time.Duration
}

func (c *jumpClock) AfterFunc(d time.Duration, f func()) *clock.Timer {
	c.once.Do(func() { c.Mock.Add(c.by) })
	return c.Mock.AfterFunc(d, f)
}

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

// TestClaimAfterATouch claims a session by a reading that a touch has made old.
func TestClaimAfterATouch(t *testing.T) {
	m := clock.NewMock()
	e, _ := New[int, int](Options{Clock: m, Manual: true, Default: Policy{Name: "d", Idle: time.Minute}})
	defer e.Close()
	s, _ := e.Start(1, 1)
	sh, idx := e.locate(s.slot())
	rec := sh.slab.record(idx)
	old := rec.read()
	m.Add(30 * time.Second)
	if !s.Touch() {
		t.Fatal("it cannot be touched")
	}
	sh.mu.Lock()
	_, ok := sh.claim(rec, idx, e.hash(1), nil, finding{old, 6000, ReasonIdle}, e.time.read(), nil)
	sh.unlock()
	if ok || !s.Alive() {
		t.Errorf("claimed: %v, alive: %v: the touch had won", ok, s.Alive())
	}
}

// TestTouchOfADoomedSession touches a session that the driver has found due and
// not ended yet; and meets a second entry of one that it has.
func TestTouchOfADoomedSession(t *testing.T) {
	m := clock.NewMock()
	e, _ := New[int, int](Options{Clock: m, Manual: true, Default: Policy{Name: "d", Idle: time.Minute}})
	defer e.Close()
	s, _ := e.Start(1, 1)
	sh, idx := e.locate(s.slot())
	rec := sh.slab.record(idx)
	early := finding{rec.read(), 6000, ReasonIdle}
	m.Add(30 * time.Second)
	s.Touch()
	now := e.time.read()
	sh.mu.Lock()
	sh.index.mu.Lock()
	d := doomed[int]{rec, idx, e.hash(1), early}
	sh.wheel.advance(6000)
	n := sh.wheel.pop(make([]entry, 9))
	ends := sh.endDoomed(&d, now, nil)
	sh.index.mu.Unlock()
	sh.unlock()
	if n != 1 || len(ends) > 0 || !s.Alive() {
		t.Errorf("%d entries; a touched session was ended", n)
	}
	if err := CheckInvariants(e); err != nil {
		t.Error(err)
	}
	m.Add(time.Minute)
	now = e.time.read()
	sh.mu.Lock()
	sh.index.mu.Lock()
	late := finding{rec.read(), 9000, ReasonIdle}
	sh.endDoomed(&doomed[int]{rec, idx, e.hash(1), late}, now, nil)
	ends = sh.endDoomed(&doomed[int]{rec, idx, e.hash(1), late}, now, nil)
	sh.index.mu.Unlock()
	sh.unlock()
	if len(ends) > 0 {
		t.Error("a session was ended twice")
	}
	if err := CheckInvariants(e); err != nil {
		t.Error(err)
	}
}

// TestScanLosesSession evicts while a policy is being changed: what the search
// places in the slot it reads stays there.
func TestScanLosesSession(t *testing.T) {
	m := &trapClock{Mock: clock.NewMock()}
	ms := time.Millisecond
	policy := Policy{Name: "a", Idle: 2000 * ms, Warn: 100 * ms}
	e, _ := New[int, int](Options{Clock: m, Manual: true, Tick: ms, MaxSessions: 3, WhenFull: Evict, Default: policy})
	defer e.Close()
	ended := map[int]bool{}
	e.NotifyOnExpire(func(ev Event[int, int]) { ended[ev.Key] = true })
	a, _ := e.Class(policy)
	c, _ := e.Class(Policy{Name: "c", Idle: 2000 * ms})
	far, _ := e.Class(Policy{Name: "far", Idle: 100000 * ms})
	keys := keysOfOneShard(e, 4)
	e.Start(keys[0], 0)
	m.Add(1900 * ms)
	e.Advance() // keys[0] is warned and armed for 2000
	m.Add(1 * ms)
	s, _ := c.Start(keys[1], 0)
	s.SetIdle(99 * ms) // due at 2000, too
	far.Start(keys[2], 0)
	m.trap = func(n int) {
		if n == 2 { // the policy is stored, rearm begins
			far.Start(keys[3], 0) // evicts keys[1]
		}
	}
	policy.Idle = 2100 * ms // the warning is now at 2000, the end at 2100
	a.SetPolicy(policy)
	m.trap = nil
	m.Add(5000 * ms)
	e.Advance()
	if !ended[keys[0]] {
		t.Errorf("a session that was due at 2100ms has not ended at 6901ms")
	}
	if err := CheckInvariants(e); err != nil {
		t.Error(err)
	}
}

// TestEvictMissesSifting evicts while superseded entries are being sifted out,
// in which the nearest session lies.
func TestEvictMissesSifting(t *testing.T) {
	m := clock.NewMock()
	sec := time.Second
	const n = 3000
	e, _ := New[int, int](Options{Clock: m, Manual: true, MaxSessions: n, WhenFull: Evict,
		Default: Policy{Name: "a", Idle: 100 * sec}})
	defer e.Close()
	long, _ := e.Class(Policy{Name: "long", Idle: 1000 * sec})
	evicted := ""
	e.NotifyOnExpire(func(ev Event[int, int]) {
		if ev.Reason == ReasonEvicted {
			evicted = ev.Class
		}
	})
	keys := keysOfOneShard(e, 2*n)
	var all []Session[int, int]
	for _, k := range keys[:n] {
		s, _ := e.Start(k, 0)
		all = append(all, s)
	}
	for _, s := range slices.Backward(all[5:]) {
		s.Expire()
	}
	for _, k := range keys[n : n+n-5] {
		if _, err := long.Start(k, 0); err != nil {
			t.Fatal(err)
		}
	}
	long.Start(keys[2*n-1], 0)
	if evicted != "a" {
		t.Errorf("evicted one of class %q, which ends at 1000s; five of class a end at 100s", evicted)
	}
}

// TestEvictMissesListedWarning evicts from a hook of an Advance that is about
// to warn the nearest session.
func TestEvictMissesListedWarning(t *testing.T) {
	m := clock.NewMock()
	sec := time.Second
	e, _ := New[string, int](Options{Clock: m, Manual: true, MaxSessions: 3, WhenFull: Evict,
		Default: Policy{Name: "a", Idle: 100 * sec}})
	defer e.Close()
	e.NotifyBeforeExpire(func(Event[string, int]) {})
	b, _ := e.Class(Policy{Name: "b", Idle: 105 * sec, Warn: 10 * sec})
	long, _ := e.Class(Policy{Name: "long", Idle: 1000 * sec})
	var evicted []string
	e.NotifyOnExpire(func(ev Event[string, int]) {
		if ev.Reason == ReasonEvicted {
			evicted = append(evicted, ev.Key)
		}
	})
	s, _ := e.Start("due", 0)
	b.Start("near", 0)
	long.Start("far", 0)
	s.NotifyOnExpire(func(Event[string, int]) {
		long.Start("x", 0)
		long.Start("y", 0) // full
	})
	m.Add(100 * sec)
	e.Advance()
	if len(evicted) != 1 || evicted[0] != "near" {
		t.Errorf("evicted %v, want near", evicted)
	}
}

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

// TestTouchAtMovesBack touches a session with an older time after a stall, in
// which it was seen later than its stamp says.
func TestTouchAtMovesBack(t *testing.T) {
	ms := time.Millisecond
	e, _ := New[int, int](Options{Manual: true, Tick: ms, Default: Policy{Name: "d", Idle: time.Hour}})
	defer e.Close()
	s, _ := e.Start(1, 0)
	// the test is the driver
	e.time.coarse.wanted.Store(true)
	e.time.publish()
	time.Sleep(20 * ms) // it is late
	touched := e.time.elapsed()
	if !s.Touch() {
		t.Fatal()
	}
	e.time.unpublish() // records the stall
	before, _ := s.Info()
	s.TouchAt(e.time.origin.Add(10 * ms))
	after, _ := s.Info()
	if after.Seen.Before(before.Seen) {
		t.Errorf("touched at %v; Seen was %v, after an older TouchAt it is %v", time.Duration(touched),
			before.Seen.Sub(e.time.origin), after.Seen.Sub(e.time.origin))
	}
}

// TestTouchAtMovesBackCoarse does the same while a coarse clock is published.
func TestTouchAtMovesBackCoarse(t *testing.T) {
	ms := time.Millisecond
	e, _ := New[int, int](Options{Manual: true, Tick: ms, Default: Policy{Name: "d", Idle: time.Hour}})
	defer e.Close()
	s, _ := e.Start(1, 0)
	e.time.coarse.wanted.Store(true)
	e.time.publish()
	time.Sleep(20 * ms)
	s.Touch()
	e.time.publish() // records the stall and publishes anew
	before, _ := s.Info()
	if e.time.coarse.until.Load() <= 0 {
		t.Fatal("off")
	}
	s.TouchAt(e.time.origin.Add(10 * ms))
	after, _ := s.Info()
	if after.Seen.Before(before.Seen) {
		t.Errorf("Seen was %v, after an older TouchAt %v", before.Seen.Sub(e.time.origin), after.Seen.Sub(e.time.origin))
	}
}

// TestMockMovedBeforeArm moves a mock clock between the reading of the driver
// and the arming of its timer.
func TestMockMovedBeforeArm(t *testing.T) {
	c := &jumpClock{Mock: clock.NewMock(), by: 9 * time.Second}
	e, _ := New[string, int](Options{Clock: c, Default: Policy{Name: "d", Idle: 10 * time.Second}})
	defer e.Close()
	ended := make(chan time.Time, 1)
	e.NotifyOnExpire(func(ev Event[string, int]) { ended <- ev.Ended })
	e.Start("a", 0)
	for c.Now().Unix() < 9 {
		time.Sleep(time.Millisecond)
	}
	for e.driver.until.Load() == awake {
		time.Sleep(time.Millisecond)
	}
	c.Add(time.Second)
	<-ended
}

// TestDialOverflow asks for deadlines that no Duration holds.
func TestDialOverflow(t *testing.T) {
	m := clock.NewMock()
	e, err := New[int, int](Options{Manual: true, Clock: m, Tick: 285 * 365 * 24 * time.Hour, Default: Policy{Name: "d", Idle: math.MaxInt64}})
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

// TestStatsPanics makes a class while Stats goes through the shards.
func TestStatsPanics(t *testing.T) {
	c := &trapClock{Mock: clock.NewMock()}
	e, _ := New[string, int](Options{Clock: c, Manual: true})
	c.trap = func(int) {
		cl, _ := e.Class(ShortSession)
		cl.Start("a", 0)
	}
	defer func() {
		if v := recover(); v != nil {
			t.Errorf("Stats panicked: %v", v)
		}
	}()
	e.Stats()
}

// TestEndedGap asks Ended for keys whose sessions are being ended: one that Get
// does not find any more is known.
func TestEndedGap(t *testing.T) {
	e, _ := New[int, int](Options{Manual: true, Remember: 1 << 20})
	defer e.Close()
	var cur atomic.Int64
	stop := make(chan bool)
	var wg sync.WaitGroup
	misses := 0
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			k := int(cur.Load())
			if k == 0 {
				continue
			}
			for {
				if _, ok := e.Get(k); !ok {
					if _, ok := e.Ended(k); !ok {
						misses++
					}
					break
				}
			}
			for int(cur.Load()) == k {
				select {
				case <-stop:
					return
				default:
				}
			}
		}
	})
	for k := 1; k < 300000; k++ {
		s, _ := e.Start(k, 0)
		cur.Store(int64(k))
		s.Expire()
	}
	close(stop)
	wg.Wait()
	if misses > 0 {
		t.Errorf("%d times Get missed a session that Ended did not know", misses)
	}
}

// TestOverdueBehindWarning starts a session on a full engine, of which the one
// that is overdue waits for its warning behind a slow hook.
func TestOverdueBehindWarning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sec := time.Second
		e, _ := New[string, int](Options{MaxSessions: 2, Default: Policy{Name: "d", Idle: 10 * sec, Warn: 2 * sec}})
		defer e.Close()
		e.NotifyBeforeExpire(func(Event[string, int]) {})
		slow, _ := e.Class(Policy{Name: "slow", Idle: 5 * sec})
		s, _ := slow.Start("slow", 0)
		s.NotifyOnExpire(func(Event[string, int]) { time.Sleep(100 * sec) })
		e.Start("b", 0)
		time.Sleep(6 * sec)
		slow.Start("c", 0)
		if c, ok := e.Get("c"); ok {
			c.SetIdle(1000 * sec)
		}
		time.Sleep(20 * sec) // b is overdue
		_, ok := e.Get("b")
		_, err := e.Start("new", 0)
		if ok || err != nil {
			t.Errorf("b alive: %v; Start on a full engine with an overdue session: %v", ok, err)
		}
		time.Sleep(200 * sec)
	})
}

// TestEndedNotBeforeDeadline has a session found due by a look-up, and then
// ended by somebody who had read the clock before that.
func TestEndedNotBeforeDeadline(t *testing.T) {
	mock := clock.NewMock()
	e, _ := New[int, int](Options{Clock: mock, Manual: true, Default: Policy{Name: "d", Idle: time.Second}})
	defer e.Close()
	var got Event[int, int]
	e.NotifyOnExpire(func(ev Event[int, int]) { got = ev })
	s, _ := e.Start(1, 0)
	mock.Add(900 * time.Millisecond)
	before := e.time.read()
	mock.Add(200 * time.Millisecond)
	if s.Alive() {
		t.Fatal("alive after its end")
	}
	sh, idx := e.locate(s.slot())
	sh.mu.Lock()
	ends, _ := sh.endDue(sh.slab.record(idx), idx, s.gen(), before, nil)
	sh.unlock()
	e.deliver(ends)
	if got.Ended.Before(got.Deadline) {
		t.Errorf("ended at %v, before its deadline %v", got.Ended, got.Deadline)
	}
}

// TestEvictWhatTheSearchMoves makes room in an engine whose only session was
// touched, so that the search for the nearest end moves its entry: into a slot
// of the next level, which begins before the one that the search has come to.
func TestEvictWhatTheSearchMoves(t *testing.T) {
	m := clock.NewMock()
	e, _ := New[int, int](Options{Clock: m, Manual: true, MaxSessions: 1, WhenFull: Evict, Default: Policy{Name: "d"}})
	defer e.Close()
	s, _ := e.Start(1, 1)
	s.SetIdle((wheelSlots - 2) * defaultTick)
	m.Add(1) // the stamp of the touch is a tick later, and now is the same tick
	s.Touch()
	if _, err := e.Start(2, 2); err != nil {
		t.Errorf("Start returns %q, and a session could go", err)
	}
	if s.Alive() || e.Len() != 1 {
		t.Errorf("the first session is alive: %v, Len is %d", s.Alive(), e.Len())
	}
}
