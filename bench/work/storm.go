package work

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/lapse-go/lapse/bench/keys"
	"github.com/lapse-go/lapse/bench/peers"
	"github.com/lapse-go/lapse/bench/usage"
)

const (
	// probeSessions are touched while a storm goes on.
	probeSessions = 1000
	// probeStarts is how many sessions are started meanwhile, at most.
	probeStarts = 200_000
	// probeRest is the pause after each probe, so that probes do not take a core
	// from what they watch.
	probeRest = 200 * time.Microsecond
	// stormLead and stormStart, for each session, are from the first start to the
	// instant.
	stormLead  = 3 * time.Second
	stormStart = 5 * time.Microsecond
)

// storm has all sessions end at one instant, and watches how long that takes,
// how long a Start and a Touch are kept waiting meanwhile, and what memory it
// takes.
func (r *rig[K]) storm() error {
	n := r.spec.N
	table := r.kind.Table(keys.Ascending(0, n))
	probes := r.kind.Table(keys.Ascending(n, probeSessions+probeStarts))
	r.target = int64(n)
	settle()
	empty := heap()
	if err := r.build(peers.Config[K]{Idles: []time.Duration{time.Hour}, Sessions: n + probeSessions}, n); err != nil {
		return err
	}
	if err := r.peer.Start(probes[:probeSessions]); err != nil {
		return err
	}
	instant := r.now() + int64(stormLead) + int64(n)*int64(stormStart)
	for _, key := range table {
		if err := r.peer.StartFor(key, time.Duration(instant-r.now())); err != nil {
			return err
		}
	}
	if spare := time.Duration(instant - r.now()); spare < time.Second {
		return fmt.Errorf("%d sessions could not be started in time: the first are due in %v", n, spare)
	}
	settle()
	r.values["before_B"] = (heap() - empty) / float64(n)
	before, _, tells := usage.Resident()
	tells = tells && usage.ResetPeak()
	r.sleepUntil(instant - int64(200*time.Millisecond))
	stop := r.timed()
	usedBefore := usage.Now()
	watch := r.watch(probes, instant)
	r.awaitEnds(instant)
	p := watch()
	cpu := usage.Now().CPU - usedBefore.CPU
	stop()
	_, peak, _ := usage.Resident()

	r.values["lost"] = float64(int64(n) - r.ended.Load())
	r.values["double"] = float64(r.twice.Load())
	r.values["cpu_s"] = cpu / sec
	first, early := int64(0), 0
	for i := range table {
		end := r.ends[i].Load()
		if end == 0 {
			continue
		}
		if end < instant {
			early++
		}
		if first == 0 || end < first {
			first = end
		}
	}
	r.values["early"] = float64(early)
	if last := r.last.Load(); last != 0 {
		r.values["first_ms"] = float64(first-instant) / ms
		r.values["last_ms"] = float64(last-instant) / ms
	}
	r.values["start_ms"] = float64(p.start) / ms
	r.values["touch_ms"] = float64(p.touch) / ms
	r.values["nothing_ms"] = float64(p.nothing) / ms
	r.values["probes"] = float64(p.count)
	if tells {
		r.values["peak_B"] = (peak - before) / float64(n)
	}
	r.peer.End(probes[:probeSessions+p.count])
	debug.FreeOSMemory()
	r.values["left_B"] = (heap() - empty) / float64(n)
	return nil
}

// probed is the longest time that a call took during a storm.
type probed struct {
	start, touch int64
	// nothing is the longest time between two readings of the clock: what the
	// machine and the scheduler do to anybody.
	nothing int64
	count   int
}

// watch starts a goroutine that starts a session, touches one, and does nothing,
// in turn. What it finds after the instant counts, until the last end was told.
func (r *rig[K]) watch(probes []K, instant int64) (stop func() probed) {
	done := make(chan struct{})
	result := make(chan probed)
	go func() {
		var p probed
		timed := func(longest *int64, f func()) {
			began := r.now()
			f()
			ended := r.now()
			if last := r.last.Load(); ended > instant && (last == 0 || began < last) {
				*longest = max(*longest, ended-began)
			}
		}
		for {
			select {
			case <-done:
				result <- p
				return
			default:
			}
			if p.count < probeStarts {
				key := probes[probeSessions+p.count:][:1]
				timed(&p.start, func() { _ = r.peer.Start(key) })
				p.count++
			}
			key := probes[p.count%probeSessions:][:1]
			timed(&p.touch, func() { r.peer.Touch(key) })
			timed(&p.nothing, func() {})
			time.Sleep(probeRest)
		}
	}()
	return func() probed { close(done); return <-result }
}
