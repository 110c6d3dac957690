package lapse

import (
	"context"
	"sync"
	"sync/atomic"
)

// A queue holds endings for the hook workers, in order. Its length is fixed:
// whoever wants to put something in asks for room before it ends a session, so
// that sessions whose hooks cannot keep up stay where they are.
type queue[K comparable, V any] struct {
	e       *Engine[K, V]
	workers int

	pending atomic.Int64 // endings whose hooks have not all run, on a worker or a caller

	mu sync.Mutex
	// mu guards the fields below.

	ring    []ending[K, V] // its length is a power of two, or nil until something is put in
	first   int
	n       int
	running int  // workers that were started and have not ended
	busy    int  // workers that call hooks
	starved bool // the driver waits for room
	closed  bool
	work    sync.Cond     // something was put in, or closed
	changed chan struct{} // closed at the next take, when somebody waits; else nil
}

const queueLen = 16 * mostBatch

func (q *queue[K, V]) init(e *Engine[K, V], workers int) {
	q.e, q.workers = e, workers
	q.work.L = &q.mu
}

func (q *queue[K, V]) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.n
}

// room returns how many endings may be put in, at most half of what the queue
// holds; zero: the driver shall sleep until it is woken.
func (q *queue[K, V]) room() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.starved = q.n == queueLen
	return min(queueLen-q.n, queueLen/2)
}

// starves reports whether the driver was denied room and there is still none.
func (q *queue[K, V]) starves() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.starved
}

// put adds endings for which there is room.
func (q *queue[K, V]) put(ends []ending[K, V]) {
	if len(ends) == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	q.fit(q.n + len(ends))
	for i := range ends {
		*q.at(q.n) = ends[i]
		q.n++
	}
	for want := min(q.workers, q.busy+q.n); q.running < want; q.running++ {
		go q.serve()
	}
	q.work.Broadcast()
}

// fit sees to it that the ring holds n endings, at most queueLen.
func (q *queue[K, V]) fit(n int) {
	size := max(len(q.ring), mostBatch)
	for size < n {
		size *= 2
	}
	if size == len(q.ring) {
		return
	}
	ring := make([]ending[K, V], size)
	for i := range q.n {
		ring[i] = *q.at(i)
	}
	q.ring, q.first = ring, 0
}

// at returns the place of an ending in the ring, counted from the next one.
func (q *queue[K, V]) at(i int) *ending[K, V] { return &q.ring[(q.first+i)&(len(q.ring)-1)] }

// take moves the next endings to batch: all that it holds, or this worker's
// share of them. It waits until there is one; zero: the queue is closed.
func (q *queue[K, V]) take(batch []ending[K, V]) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.n == 0 && !q.closed {
		q.work.Wait()
	}
	if q.closed {
		return 0
	}
	n := min(len(batch), (q.n-1)/q.workers+1)
	for i := range n {
		next := q.at(0)
		batch[i], *next = *next, ending[K, V]{}
		q.first++
	}
	q.n -= n
	q.busy++
	q.notify()
	return n
}

// notify tells whoever waits that the queue has changed.
func (q *queue[K, V]) notify() {
	if q.starved {
		q.starved = false
		q.e.driver.kick()
	}
	if q.changed != nil {
		close(q.changed)
		q.changed = nil
	}
}

// serve is a worker.
func (q *queue[K, V]) serve() {
	over := false
	defer func() {
		if !over {
			// A hook has ended this goroutine; another takes its place.
			q.mu.Lock()
			q.busy--
			q.notify()
			q.mu.Unlock()
			go q.serve()
		}
	}()
	batch := make([]ending[K, V], mostBatch)
	d := delivery[K, V]{e: q.e}
	for {
		n := q.take(batch)
		if n == 0 {
			break
		}
		func() {
			defer q.finish(n)
			d.deliver(batch[:n])
		}()
		clear(batch[:n])
		q.mu.Lock()
		q.busy--
		q.notify()
		q.mu.Unlock()
	}
	over = true
}

// finish takes note that the hooks of n endings have run.
func (q *queue[K, V]) finish(n int) {
	q.pending.Add(int64(-n))
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.changed != nil {
		close(q.changed)
		q.changed = nil
	}
}

// wait waits until there is room, and returns how much.
func (q *queue[K, V]) wait(ctx context.Context) (int, error) {
	for {
		q.mu.Lock()
		room, closed, changed := min(queueLen-q.n, mostBatch), q.closed, q.watch()
		q.mu.Unlock()
		switch {
		case closed:
			return 0, ErrClosed
		case ctx.Err() != nil:
			return 0, ctx.Err()
		case room > 0:
			return room, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// drain waits until all hooks have run.
func (q *queue[K, V]) drain(ctx context.Context) error {
	for {
		q.mu.Lock()
		idle, closed, changed := q.n == 0 && q.busy == 0 && q.pending.Load() == 0, q.closed, q.watch()
		q.mu.Unlock()
		switch {
		case closed:
			return ErrClosed
		case idle:
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// watch returns a channel that is closed at the next change.
func (q *queue[K, V]) watch() <-chan struct{} {
	if q.changed == nil {
		q.changed = make(chan struct{})
	}
	return q.changed
}

// close drops what is in the queue and lets the workers go.
func (q *queue[K, V]) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.ring, q.n = nil, 0
	q.work.Broadcast()
	q.notify()
}
