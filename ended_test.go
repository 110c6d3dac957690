package lapse

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/benbjohnson/clock"
)

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

// TestEndedTwice has two sessions of the same key end. The second is known
// after the memory has forgotten the first.
func TestEndedTwice(t *testing.T) {
	e, _ := New[string, int](Options{Manual: true, Remember: 2})
	defer e.Close()
	for _, key := range []string{"a", "a", "b"} {
		s, err := e.Start(key, 0)
		if err != nil {
			t.Fatal(err)
		}
		s.Expire()
	}
	for _, key := range []string{"a", "b"} {
		if ending, ok := e.Ended(key); !ok || ending.Reason != ReasonExpired {
			t.Errorf("%q is one of the last two: %v, %v", key, ending, ok)
		}
	}
}
