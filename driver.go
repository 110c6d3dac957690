package lapse

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/benbjohnson/clock"
)

// A driver is the goroutine that ends sessions at their deadlines. It sleeps
// until the earliest visit of any shard.
//
// No wake-up is lost: the driver stores until and then reads every shard's next
// once more before it sleeps; whoever lowers a next stores it and then reads
// until. One of the two sees what the other has stored.
type driver[K comparable, V any] struct {
	e     *Engine[K, V]
	until atomic.Int64  // the tick it sleeps until; awake while it does not
	wake  chan struct{} // of capacity one

	started atomic.Bool
	mu      sync.Mutex
	stopped bool
	exited  chan struct{} // nil until it is started
	timer   *clock.Timer  // of the driver's goroutine alone, as is what follows
	first   int           // the shard that a round begins with
}

// awake is earlier than any tick: nobody needs to wake the driver.
const awake = -1

func (d *driver[K, V]) init(e *Engine[K, V]) {
	d.e = e
	d.wake = make(chan struct{}, 1)
	d.until.Store(awake)
}

// start starts the goroutine, unless it is not wanted or runs already.
func (d *driver[K, V]) start() {
	if d.started.Load() || d.e.manual {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped || d.exited != nil {
		return
	}
	d.exited = make(chan struct{})
	d.started.Store(true)
	go d.run()
}

// stop ends the goroutine and waits until it has gone, which is at once: it
// runs no hook.
func (d *driver[K, V]) stop() {
	d.mu.Lock()
	d.stopped = true
	exited := d.exited
	d.mu.Unlock()
	if exited != nil {
		d.kick()
		<-exited
	}
}

func (d *driver[K, V]) stopping() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stopped
}

func (d *driver[K, V]) kick() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// nudge wakes the driver if it means to sleep for longer than until tick.
func (d *driver[K, V]) nudge(tick int64) {
	if tick < d.until.Load() {
		d.kick()
	}
}

// settle wakes the driver when no shard has a visit left, so that it stops its
// timer.
func (d *driver[K, V]) settle() {
	if until := d.until.Load(); until != awake && until != noTick && d.e.nextVisit() == noTick {
		d.kick()
	}
}

// nextVisit returns the earliest tick at which a shard has something to do.
func (e *Engine[K, V]) nextVisit() int64 {
	next := int64(noTick)
	for i := range e.shards {
		next = min(next, e.shards[i].next.Load())
	}
	return next
}

func (d *driver[K, V]) run() {
	defer close(d.exited)
	var t tour[K]
	var ends []ending[K, V]
	for !d.stopping() {
		more := true
		for more && !d.stopping() {
			d.e.time.publish()
			t.moment = d.e.time.read()
			ends, more = d.round(&t, ends)
		}
		d.sleep()
		d.e.stats.wakeups.Add(1)
	}
	d.e.time.unpublish()
	if d.timer != nil {
		d.timer.Stop()
	}
}

// round visits each shard whose time has come once, and hands on what has ended
// together: a worker that is woken for each few of many takes the driver's
// processor. It reports whether there is more to do; when the hook queue is full
// there is not, until the queue has room.
func (d *driver[K, V]) round(t *tour[K], ends []ending[K, V]) (_ []ending[K, V], more bool) {
	room := d.e.queue.room()
	if room == 0 {
		return ends, false
	}
	shards := d.e.shards
	d.first = (d.first + 1) % len(shards) // each shard has its turn if there is little room
	for i := range shards {
		sh := &shards[(d.first+i)%len(shards)]
		if sh.next.Load() > t.now {
			continue
		}
		if len(ends) >= room {
			more = true
			break
		}
		var again bool
		ends, again = sh.drive(t, min(room-len(ends), mostBatch), ends)
		more = more || again
	}
	d.e.queue.put(ends)
	clear(ends)
	// A storm of ends must not keep a processor from those who call.
	runtime.Gosched()
	return ends[:0], more
}

// sleep waits until the next visit, or until the coarse clock is to be renewed,
// or until somebody kicks.
func (d *driver[K, V]) sleep() {
	defer d.until.Store(awake)
	t := &d.e.time
	if d.e.queue.starves() {
		t.unpublish()
		<-d.wake // a worker will have made room
		return
	}
	next := d.e.nextVisit()
	for {
		d.until.Store(next)
		again := d.e.nextVisit()
		if again == next {
			break
		}
		next = again
	}
	until := t.coarse.until.Load()
	if next == noTick && until == 0 {
		if d.timer != nil {
			d.timer.Stop()
		}
		<-d.wake
		return
	}
	ns := t.elapsed()
	sleep := t.until(next, ns)
	if until > 0 {
		sleep = min(sleep, time.Duration(t.renewal(until)-ns))
	}
	if sleep <= 0 {
		return
	}
	d.arm(sleep)
	if t.clock == nil {
		if t.elapsed()-ns >= t.tick {
			return // it was held up, and would wake up as much too late
		}
	} else if !d.armExactly(next, ns) {
		return
	}
	<-d.wake
}

// armExactly arms the timer anew where a given clock has moved since ns, when it
// was read for the timer. A mock clock that stands still now would not reach a
// timer that is late by as much. It reports whether next is still to come.
func (d *driver[K, V]) armExactly(next, ns int64) bool {
	// A clock that runs by itself is never found where it was.
	const most = 8
	t := &d.e.time
	for range most {
		now := t.elapsed()
		if now == ns {
			break
		}
		ns = now
		sleep := t.until(next, ns)
		if sleep <= 0 {
			return false
		}
		d.arm(sleep)
	}
	return true
}

func (d *driver[K, V]) arm(sleep time.Duration) {
	switch {
	case d.timer != nil:
		d.timer.Reset(sleep)
	case d.e.time.clock != nil:
		d.timer = d.e.time.clock.AfterFunc(sleep, d.kick)
	default:
		d.timer = clock.New().AfterFunc(sleep, d.kick)
	}
}
