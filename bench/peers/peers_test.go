package peers

import (
	"flag"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/lapse-go/lapse/bench/keys"
)

// TestMain lets all the tests wait at the same time: they do nothing else.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "100"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

const (
	far  = time.Hour
	near = time.Second
	// patience is how long a test waits for what must happen: no test decides
	// by it but one that has failed.
	patience = time.Minute
)

// ends counts what the hook is told.
type ends struct {
	mu  sync.Mutex
	by  map[uint32]int
	at  map[uint32]time.Time
	all int
}

func (e *ends) tell(number uint32) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.by == nil {
		e.by, e.at = make(map[uint32]int), make(map[uint32]time.Time)
	}
	e.by[number]++
	e.at[number] = time.Now()
	e.all++
}

func (e *ends) of(number uint32) (times int, at time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.by[number], e.at[number]
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not after %v: %s", patience, what)
		}
	}
}

// TestPeers checks that each adapter does what it says, and that what it says it
// cannot do is left out of the others' work.
func TestPeers(t *testing.T) {
	for _, info := range List() {
		if info.Name == Floor {
			continue
		}
		t.Run(info.Name, func(t *testing.T) {
			t.Parallel()
			if info.Can.Strings {
				testPeer(t, info, keys.RawStrings(), [64]byte{})
			} else {
				testPeer(t, info, keys.IDs(), [64]byte{})
			}
		})
	}
}

func testPeer[K comparable, V any](t *testing.T, info Info, kind *keys.Kind[K], value V) {
	const n = 64
	newPeer := func(t *testing.T, idles ...time.Duration) (Peer[K], *ends) {
		e := new(ends)
		c := Config[K]{Kind: kind, Idles: idles, Sessions: n, Handles: info.Can.Handle}
		if info.Can.Hook {
			c.OnEnd = e.tell
		}
		p, err := New(info.Name, c, value)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		return p, e
	}
	start := func(t *testing.T, p Peer[K], order []uint32) {
		if err := p.Start(kind.Table(order)); err != nil {
			t.Fatal(err)
		}
	}
	classes := make([]time.Duration, keys.Classes)
	for i := range classes {
		classes[i] = far + time.Duration(i)*time.Minute
	}

	t.Run("live", func(t *testing.T) {
		t.Parallel()
		p, e := newPeer(t, classes...)
		start(t, p, keys.Ascending(0, n))
		order := keys.Shuffled(0, n)
		table := kind.Table(order)
		if info.Can.Key && info.Can.Answer {
			eventually(t, "all can be touched", func() bool { return p.Touch(table) == n })
			if got := p.Touch(kind.Table(keys.Ascending(n, n))); got != 0 {
				t.Errorf("%d sessions that were never started were touched", got)
			}
			eventually(t, "Len is what was started", func() bool { return p.Len() == n })
		}
		if h, ok := p.(ByHandle); ok != info.Can.Handle {
			t.Errorf("touches by handle: %v, it says %v", ok, info.Can.Handle)
		} else if ok {
			h.Arrange(order)
			if got := h.TouchHandles(0, n); got != n {
				t.Errorf("%d of %d were touched by handle", got, n)
			}
			if got := h.TouchHandles(3, 10); got != 7 {
				t.Errorf("%d of 7 were touched by handle", got)
			}
		}
		if poller, ok := p.(Poller[K]); ok != info.Can.Poll {
			t.Errorf("polls: %v, it says %v", ok, info.Can.Poll)
		} else if ok {
			if got := poller.Poll(table); got != n {
				t.Errorf("%d of %d were polled", got, n)
			}
			if got := poller.PollHandles(0, n); got != n {
				t.Errorf("%d of %d were polled by handle", got, n)
			}
		}
		p.End(table[:n/2])
		if info.Can.Key && info.Can.Answer {
			eventually(t, "half of them have ended", func() bool { return p.Touch(table[:n/2]) == 0 && p.Len() == n/2 })
			if got := p.Touch(table[n/2:]); got != n/2 {
				t.Errorf("%d of the other %d were touched", got, n/2)
			}
		}
		if h, ok := p.(ByHandle); ok && info.Name != "afterfunc" { // whose timers were just stopped: Reset revives one
			if got := h.TouchHandles(0, n); got != n/2 {
				t.Errorf("%d of %d were touched by handle", got, n/2)
			}
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		for _, number := range order[n/2:] {
			if e.by[number] > 0 {
				t.Errorf("the hook was told that %d has ended, which lives", number)
			}
		}
	})

	if !info.Can.Hook {
		return
	}
	check := func(t *testing.T, e *ends, number uint32, alive time.Time, idle time.Duration) {
		t.Helper()
		times, at := e.of(number)
		if times != 1 {
			t.Errorf("the hook was told %d times that %d has ended", times, number)
		}
		if early := alive.Add(idle).Sub(at); early > info.Early {
			t.Errorf("%d has ended %v early: no more than %v is known of the peer", number, early, info.Early)
		}
	}
	t.Run("end", func(t *testing.T) {
		t.Parallel()
		p, e := newPeer(t, near)
		before := time.Now()
		start(t, p, keys.Ascending(0, n))
		eventually(t, "all have ended", func() bool { e.mu.Lock(); defer e.mu.Unlock(); return len(e.by) == n })
		for number := range uint32(n) {
			check(t, e, number, before, near)
		}
		if info.Can.Key && info.Can.Answer {
			if got := p.Touch(kind.Table(keys.Ascending(0, n))); got != 0 {
				t.Errorf("%d were touched after the end", got)
			}
		}
	})
	if info.Can.OwnIdle {
		t.Run("own idle", func(t *testing.T) {
			t.Parallel()
			p, e := newPeer(t, far)
			before := time.Now()
			for number := range uint32(n) {
				idle := far
				if number%2 == 0 {
					idle = near
				}
				if err := p.StartFor(kind.Make(number), idle); err != nil {
					t.Fatal(err)
				}
			}
			eventually(t, "half of them have ended", func() bool { e.mu.Lock(); defer e.mu.Unlock(); return len(e.by) >= n/2 })
			for number := uint32(0); number < n; number += 2 {
				check(t, e, number, before, near)
			}
		})
	}
	if info.Can.Key {
		// Some are touched until the others have ended, and longer; then they end
		// as well, no earlier than their time-out after the last touch.
		t.Run("touched", func(t *testing.T) {
			t.Parallel()
			const idle = 3 * time.Second
			p, e := newPeer(t, idle)
			before := time.Now()
			start(t, p, keys.Ascending(0, n))
			touched := kind.Table(keys.Ascending(0, n/2))
			alive := make([]time.Time, n/2)
			touch := func() {
				for i := range touched {
					now := time.Now()
					if times, _ := e.of(uint32(i)); times > 0 {
						continue
					}
					if p.Touch(touched[i:i+1]) == 1 && info.Can.Answer {
						alive[i] = now
					}
				}
			}
			for i := range alive {
				alive[i] = before
			}
			eventually(t, "who is not touched has ended", func() bool {
				touch()
				e.mu.Lock()
				defer e.mu.Unlock()
				n := 0
				for number := range e.by {
					if number >= uint32(len(touched)) {
						n++
					}
				}
				return n == len(touched)
			})
			eventually(t, "all have ended", func() bool { e.mu.Lock(); defer e.mu.Unlock(); return len(e.by) == n })
			for number := range uint32(n) {
				last := before
				if number < uint32(len(alive)) {
					last = alive[number]
				}
				check(t, e, number, last, idle)
			}
		})
	}
}

// TestCrowd has more sessions end in one shard than are taken out at once, and
// others that stay.
func TestCrowd(t *testing.T) {
	kind := keys.IDs()
	kind.Shard = func(keys.ID) uint64 { return 5 }
	for _, name := range []string{"heap", "btree", "sweep"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const due, stay = 2*mostAtOnce + 3, 7
			e := new(ends)
			p, err := New(name, Config[keys.ID]{Kind: kind, Idles: []time.Duration{near}, Sessions: due + stay, OnEnd: e.tell}, struct{}{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(p.Close)
			for number := range uint32(stay) {
				if err := p.StartFor(kind.Make(due+number), far); err != nil {
					t.Fatal(err)
				}
			}
			before := time.Now()
			if err := p.Start(kind.Table(keys.Ascending(0, due))); err != nil {
				t.Fatal(err)
			}
			eventually(t, "all that are due have ended", func() bool { return p.Len() == stay })
			eventually(t, "all ends are told", func() bool { e.mu.Lock(); defer e.mu.Unlock(); return len(e.by) == due })
			for number := range uint32(due) {
				if times, at := e.of(number); times != 1 || at.Before(before.Add(near)) {
					t.Errorf("the hook was told %d times that %d has ended, %v after the start", times, number, at.Sub(before))
				}
			}
			// The timer is armed for what is left: a session that comes then ends.
			if err := p.StartFor(kind.Make(due+stay), near); err != nil {
				t.Fatal(err)
			}
			eventually(t, "one that was started later has ended", func() bool { times, _ := e.of(due + stay); return times == 1 })
			if got := p.Len(); got != stay {
				t.Errorf("%d sessions are left, want %d", got, stay)
			}
		})
	}
}

func TestNames(t *testing.T) {
	seen := make(map[string]bool)
	for _, info := range List() {
		if seen[info.Name] {
			t.Errorf("two peers are named %q", info.Name)
		}
		seen[info.Name] = true
		if found, ok := Find(info.Name); !ok || found.Name != info.Name {
			t.Errorf("Find(%q) is %v, %v", info.Name, found, ok)
		}
	}
	c := Config[keys.ID]{Kind: keys.IDs(), Idles: []time.Duration{far}}
	for _, name := range []string{"nobody", "go-cache"} {
		if _, err := New(name, c, struct{}{}); err == nil {
			t.Errorf("New(%q) with 16-byte keys has no error", name)
		}
	}
	c.Idles = nil
	if _, err := New("lapse", c, struct{}{}); err == nil {
		t.Error("New without time-outs has no error")
	}
}

func TestFloor(t *testing.T) {
	p, err := New(Floor, Config[keys.ID]{Kind: keys.IDs(), Idles: []time.Duration{far}, Sessions: 10}, struct{}{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	h := p.(ByHandle)
	h.Arrange(keys.Ascending(0, 10))
	if got := h.TouchHandles(0, 10); got != 10 {
		t.Errorf("%d of 10 were touched", got)
	}
}
