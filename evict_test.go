package lapse

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/benbjohnson/clock"
)

// keysOfOneShard returns keys that hash to the same shard.
func keysOfOneShard(e *Engine[int, int], n int) (keys []int) {
	sh := e.shardOf(e.hash(new(0)))
	for k := 0; len(keys) < n; k++ {
		if e.shardOf(e.hash(&k)) == sh {
			keys = append(keys, k)
		}
	}
	return keys
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

// TestEvictTies fills a Manual engine with sessions that end in the same tick,
// or whose polling cap does, at which they are visited a tick later: the one
// that was started first goes, whichever the search meets first.
func TestEvictTies(t *testing.T) {
	const sec = time.Second // so near that a slot is a tick
	for name, c := range map[string]struct {
		idle, cap time.Duration
		arm       func(first, second Session[int, int])
	}{
		"in order":   {sec, 0, func(first, second Session[int, int]) {}},
		"armed late": {2 * sec, 0, func(first, second Session[int, int]) { first.SetIdle(sec) }},
		"cap":        {2 * sec, sec, func(first, second Session[int, int]) { first.Poll() }},
	} {
		t.Run(name, func(t *testing.T) {
			e, _ := New[int, int](Options{Clock: clock.NewMock(), Manual: true, MaxSessions: 2, WhenFull: Evict,
				Default: Policy{Name: "first", Idle: c.idle, PollCap: c.cap}})
			defer e.Close()
			other, _ := e.Class(Policy{Name: "second", Idle: sec})
			keys := keysOfOneShard(e, 3)
			first, _ := e.Start(keys[0], 0)
			second, _ := other.Start(keys[1], 0)
			c.arm(first, second)
			if _, err := e.Start(keys[2], 0); err != nil {
				t.Fatal(err)
			}
			if first.Alive() || !second.Alive() {
				t.Errorf("the first is alive: %v, the second: %v", first.Alive(), second.Alive())
			}
		})
	}
}
