package work

import (
	"runtime"
	"sync"
	"time"

	"github.com/lapse-go/lapse/bench/keys"
	"github.com/lapse-go/lapse/bench/offheap"
	"github.com/lapse-go/lapse/bench/peers"
	"github.com/lapse-go/lapse/bench/usage"
)

// hotSessions is how many sessions are touched where only a few are.
const hotSessions = 1000

// tickPause is from one touch of a session to the next where it is touched once
// a tick: a little more than lapse's tick, so that each touch is news.
const tickPause = 11 * time.Millisecond

// A ring is the sessions that are touched, in random order, and how. What belongs
// to each lies in the order of the touches, so that finding out whose turn it is
// costs next to nothing, and the sessions themselves are met at random.
type ring struct {
	order []uint32 // numbers
	touch func(from, to int) (alive int)
}

func (r *rig[K]) ring(order []uint32) ring {
	if r.spec.By == "handle" {
		h := r.peer.(peers.ByHandle)
		h.Arrange(order)
		if r.spec.Case == Poll {
			return ring{order, r.peer.(peers.Poller[K]).PollHandles}
		}
		return ring{order, h.TouchHandles}
	}
	table := r.kind.Table(order)
	touch := r.peer.Touch
	if r.spec.Case == Poll {
		touch = r.peer.(peers.Poller[K]).Poll
	}
	return ring{order, func(from, to int) int { return touch(table[from:to]) }}
}

// A lap goes round a ring, and remembers when it was last where.
type lap struct {
	ring   ring
	at     int
	passed []int64 // by place/batch: before the last touch there
	ops    int
	dead   int // touches of sessions that were not alive
}

func newLap(ring ring, at int) *lap {
	return &lap{ring: ring, at: at / batch * batch, passed: offheap.Make[int64]((len(ring.order) + batch - 1) / batch)}
}

// step touches the next batch.
func (l *lap) step(now int64) {
	l.passed[l.at/batch] = now
	to := min(l.at+batch, len(l.ring.order))
	l.dead += to - l.at - l.ring.touch(l.at, to)
	l.ops += to - l.at
	if l.at = to; l.at == len(l.ring.order) {
		l.at = 0
	}
}

// touch times touches, or polls. All sessions exist, with ends one to thirty
// minutes away, and the ring is of all of them or of some.
func (r *rig[K]) touch() error {
	n := r.spec.N
	idles := spreadIdles()
	if err := r.build(peers.Config[K]{Idles: idles, Sessions: n, Handles: r.spec.By == "handle"}, n); err != nil {
		return err
	}
	if err := r.fill(n); err != nil {
		return err
	}
	order := keys.Shuffled(0, n)
	if r.spec.Access != "random" {
		order = order[:min(n, hotSessions)]
	}
	ring := r.ring(order)
	procs := max(r.spec.Procs, 1)
	laps := make([]*lap, procs)
	for i := range laps {
		laps[i] = newLap(ring, i*len(order)/procs)
	}
	settle()
	// Caches, coarse clocks and buffers fill, and the heap of who allocates reaches
	// its size: what is timed is how it then goes on, without a rest in between.
	r.loop(laps, r.effort.Loop/4)
	for _, l := range laps {
		l.ops, l.dead = 0, 0
	}
	stop := r.timed()
	if r.spec.Access == "tick" {
		r.ticks(laps[0])
	} else {
		before := usage.Now()
		wall := r.loop(laps, r.effort.Loop)
		cpu := usage.Now().CPU - before.CPU
		ops := 0
		for _, l := range laps {
			ops += l.ops
		}
		r.values["op_ns"] = float64(wall) / float64(ops)
		r.values["cpu_ns"] = cpu / float64(ops)
	}
	stop()
	r.checkTouches(laps, idles)
	return nil
}

// loop lets all laps run for a while, each on a goroutine, and returns how long
// they took.
func (r *rig[K]) loop(laps []*lap, length time.Duration) time.Duration {
	began := r.now()
	until := began + int64(length)
	var wg sync.WaitGroup
	for _, l := range laps[1:] {
		wg.Go(func() { r.lapUntil(l, until) })
	}
	r.lapUntil(laps[0], until)
	wg.Wait()
	return time.Duration(r.now() - began)
}

func (r *rig[K]) lapUntil(l *lap, until int64) {
	for now := r.now(); now < until; now = r.now() {
		l.step(now)
	}
}

// ticks times one pass of the ring after the other, each more than a tick after
// the last, so that no touch finds that nothing is to be written. It waits
// without sleeping: the caches stay as they are.
func (r *rig[K]) ticks(l *lap) {
	var total int64
	for until := r.now() + 2*int64(r.effort.Loop); r.now() < until; {
		began := r.now()
		for done := l.ops + len(l.ring.order); l.ops < done; {
			l.step(began)
		}
		total += r.now() - began
		for r.now() < began+int64(tickPause) {
			runtime.Gosched()
		}
	}
	r.values["op_ns"] = float64(total) / float64(l.ops)
}

// checkTouches counts the touches that were refused, and the sessions that ended
// although they had been touched less than their time-out before.
func (r *rig[K]) checkTouches(laps []*lap, idles []time.Duration) {
	dead := 0
	for _, l := range laps {
		dead += l.dead
	}
	// Who took so long to start all sessions that the first of them may have ended
	// is not blamed for touches that came too late.
	if r.info.Can.Answer && time.Duration(r.now()-r.began) < idles[0] {
		r.values["dead"] = float64(dead)
		if !r.hooks {
			r.values["early"] = float64(dead)
		}
	}
	if !r.hooks {
		return
	}
	early := 0
	for place, number := range laps[0].ring.order {
		end := r.ends[number].Load()
		if end == 0 {
			continue
		}
		seen := r.began
		for _, l := range laps {
			seen = max(seen, l.passed[place/batch])
		}
		if end < seen+int64(idles[keys.Class(number)]) {
			early++
		}
	}
	r.values["early"] = float64(early)
}
