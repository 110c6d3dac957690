package lapse

import (
	"context"
	"math"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"
)

// TestWorkerKeepsValue looks for the value of the last session in the hands of
// an idle worker.
func TestWorkerKeepsValue(t *testing.T) {
	type big [1 << 16]byte
	synctest.Test(t, func(t *testing.T) {
		e, _ := New[string, *big](Options{})
		defer e.Close()
		ended := false
		e.NotifyOnExpire(func(Event[string, *big]) { ended = true })
		v := new(big)
		w := weak.Make(v)
		e.Start("a", v)
		v = nil
		time.Sleep(DefaultSession.Idle)
		synctest.Wait() // the worker waits for more
		if !ended {
			t.Fatal("the hook has not run")
		}
		for range 10 {
			if runtime.GC(); w.Value() == nil {
				break
			}
		}
		if w.Value() != nil {
			t.Error("the value is still reachable")
		}
		runtime.KeepAlive(e)
	})
}

// TestQueueGrows puts in more than the ring holds while it begins in the middle:
// the order stays, and what was in it.
func TestQueueGrows(t *testing.T) {
	e, _ := New[int, int](Options{Manual: true})
	q := new(queue[int, int])
	q.init(e, 0) // starts none
	next, taken := 0, 0
	put := func(n int) {
		ends := make([]ending[int, int], n)
		for i := range ends {
			ends[i].key = next
			next++
		}
		q.put(ends)
	}
	batch := make([]ending[int, int], queueLen)
	take := func() {
		t.Helper()
		q.workers = 2 // each takes half
		for _, end := range batch[:q.take(batch)] {
			if end.key != taken {
				t.Fatalf("ending %d comes when %d was next", end.key, taken)
			}
			taken++
		}
		q.workers = 0
	}
	for _, n := range []int{mostBatch, mostBatch / 2, mostBatch, 1, 5 * mostBatch, queueLen / 2} {
		put(n)
		take()
	}
	for taken < next {
		take()
	}
	if q.n != 0 || len(q.ring) > queueLen {
		t.Errorf("%d endings are left in a ring of %d", q.n, len(q.ring))
	}
}

// TestManyWorkers takes from a queue with more workers than an int can add to.
func TestManyWorkers(t *testing.T) {
	for n := 2; n <= 6; n++ {
		q := new(queue[int, int])
		e, _ := New[int, int](Options{Manual: true, HookWorkers: math.MaxInt})
		q.init(e, 0) // starts none
		q.put(make([]ending[int, int], n))
		q.workers = math.MaxInt
		got := q.take(make([]ending[int, int], mostBatch))
		if got < 1 || q.n != n-got {
			t.Errorf("with %d in the queue, take gives %d and leaves %d", n, got, q.n)
		}
	}
}

// TestDrainAfterClose waits for a queue that Close has dropped.
func TestDrainAfterClose(t *testing.T) {
	e, _ := New[int, int](Options{Manual: true})
	q := new(queue[int, int])
	q.init(e, 0)
	q.put(make([]ending[int, int], 3))
	q.close()
	if err := q.drain(context.Background()); err != ErrClosed {
		t.Errorf("drain: %v with 3 endings dropped", err)
	}
	if q.put(make([]ending[int, int], 3)); q.n != 0 {
		t.Errorf("a closed queue keeps %d endings", q.n)
	}
}

// TestGoexitOnWorkers has hooks end the goroutines of the workers, each for
// itself and all for a whole batch. Others take their places.
func TestGoexitOnWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const sessions = 3 * mostBatch
		e, _ := New[int, int](Options{HookWorkers: 2})
		defer e.Close()
		var own, engine, batch atomic.Int64
		e.NotifyOnExpire(func(Event[int, int]) { engine.Add(1); runtime.Goexit() })
		e.NotifyOnExpireBatch(func(evs []Event[int, int]) { batch.Add(int64(len(evs))); runtime.Goexit() })
		for range 2 {
			for key := range sessions {
				s, _ := e.Start(key, 0)
				s.NotifyOnExpire(func(Event[int, int]) { own.Add(1); runtime.Goexit() })
			}
			time.Sleep(DefaultSession.Idle)
			synctest.Wait()
		}
		for which, n := range map[string]*atomic.Int64{"own": &own, "engine's": &engine, "batch": &batch} {
			if n.Load() != 2*sessions {
				t.Errorf("the %s hooks were told of %d sessions, %d have ended", which, n.Load(), 2*sessions)
			}
		}
		if n := e.queue.pending.Load(); n != 0 {
			t.Errorf("%d hooks count as running", n)
		}
	})
}
