package work

import (
	"fmt"
	"slices"
	"time"

	"github.com/lapse-go/lapse/bench/keys"
	"github.com/lapse-go/lapse/bench/offheap"
	"github.com/lapse-go/lapse/bench/peers"
	"github.com/lapse-go/lapse/bench/usage"
)

const (
	// spreadOver is the time over which the ends of a spread lie.
	spreadOver = 3 * time.Second
	// spreadIdle is the time-out of its sessions. They are started over the same
	// time, so that nothing starts while they end.
	spreadIdle = 5 * time.Second
	// patience is how long no end is told, when the last one might be by design,
	// before what is left counts as lost.
	patience = 10 * time.Second
)

// spread starts sessions at a steady rate, all with the same time-out, and looks
// how late their hooks are called when nothing else goes on.
func (r *rig[K]) spread() error {
	n := r.spec.N
	table := r.kind.Table(keys.Ascending(0, n))
	due := offheap.Make[int64](n)
	r.target = int64(n)
	if err := r.build(peers.Config[K]{Idles: []time.Duration{spreadIdle}, Sessions: n}, n); err != nil {
		return err
	}
	settle()
	began := r.now()
	for i := range table {
		at := began + int64(float64(spreadOver)*float64(i)/float64(n))
		now := r.now()
		for ; now < at; now = r.now() {
			time.Sleep(time.Duration(at - now))
		}
		due[i] = now + int64(spreadIdle)
		if err := r.peer.Start(table[i : i+1]); err != nil {
			return err
		}
	}
	r.values["start_s"] = float64(r.now()-began) / sec
	r.sleepUntil(due[0] - int64(spreadIdle)/4)
	settle()
	r.sleepUntil(due[0] - int64(spreadIdle)/8)
	stop := r.timed()
	before := usage.Now()
	r.awaitEnds(due[n-1])
	cpu := usage.Now().CPU - before.CPU
	stop()
	r.values["cpu_s"] = cpu / sec
	first, last := int64(0), int64(0)
	for i := range due {
		if end := r.ends[i].Load(); end != 0 {
			if first == 0 || end < first {
				first = end
			}
			last = max(last, end)
		}
	}
	if last > first {
		r.values["ends_per_s"] = float64(r.ended.Load()) / (float64(last-first) / sec)
	}
	r.lateness(due)
	return nil
}

// awaitEnds waits until all ends have been told, or no more can be expected.
func (r *rig[K]) awaitEnds(lastDue int64) {
	seen, quiet := int64(0), lastDue+int64(r.info.Slack)
	for seen < r.target && r.now() < quiet+int64(patience) {
		time.Sleep(20 * time.Millisecond)
		if ended := r.ended.Load(); ended != seen {
			seen, quiet = ended, max(quiet, r.now())
		}
	}
	time.Sleep(100 * time.Millisecond) // for ends that are told twice
}

func (r *rig[K]) sleepUntil(at int64) { time.Sleep(time.Duration(at - r.now())) }

// lateQuantiles are those that a distribution is drawn from.
var lateQuantiles = []struct {
	name string
	q    float64
}{
	{"p00", 0}, {"p01", 0.01}, {"p10", 0.1}, {"p25", 0.25}, {"p50", 0.5}, {"p75", 0.75}, {"p90", 0.9},
	{"p99", 0.99}, {"p999", 0.999}, {"p9999", 0.9999}, {"max", 1},
}

// lateness reports by how much the ends of sessions were late; less than zero is
// early. Whose end was not told is lost.
func (r *rig[K]) lateness(due []int64) {
	late := make([]int64, 0, len(due))
	early := 0
	for i, at := range due {
		if end := r.ends[i].Load(); end != 0 {
			late = append(late, end-at)
			if end < at {
				early++
			}
		}
	}
	r.values["early"] = float64(early)
	r.values["lost"] = float64(len(due) - len(late))
	r.values["double"] = float64(r.twice.Load())
	slices.Sort(late)
	for _, q := range lateQuantiles {
		if len(late) > 0 {
			r.values["late_"+q.name+"_ms"] = float64(late[int(q.q*float64(len(late)-1))]) / ms
		}
	}
}

const (
	keepIdle = 3 * time.Second
	keepLap  = time.Second
	keepFor  = 3 * keepIdle
)

// keep touches sessions at random, each about once a second, for three times
// their time-out, and then lets them end. Until its time-out has passed after the
// last touch that found it alive, none may end, and no touch may be refused.
func (r *rig[K]) keep() error {
	n := r.spec.N
	order := keys.Shuffled(0, n)
	table := r.kind.Table(order)
	due := offheap.Make[int64](n)
	r.target = int64(n)
	if err := r.build(peers.Config[K]{Idles: []time.Duration{keepIdle}, Sessions: n}, n); err != nil {
		return err
	}
	for i, number := range order {
		due[number] = r.now() + int64(keepIdle)
		if err := r.peer.Start(table[i : i+1]); err != nil {
			return err
		}
	}
	// Each lap takes keepLap: that is how often a session is touched.
	began := r.now()
	at := func(lap, i int) int64 { return began + int64(keepLap)*int64(lap) + int64(keepLap)*int64(i)/int64(n) }
	laps := int(keepFor / keepLap)
	refused := 0
	for lap := range laps {
		for i, number := range order {
			if i%100 == 0 {
				r.sleepUntil(at(lap, i))
			}
			if r.ends[number].Load() != 0 {
				continue
			}
			now := r.now()
			alive := r.peer.Touch(table[i:i+1]) == 1
			// A peer that does not tell has at least not told of an end.
			if !r.info.Can.Answer {
				alive = r.ends[number].Load() == 0
			}
			switch {
			case alive:
				due[number] = now + int64(keepIdle)
			case r.now() < due[number]:
				refused++
			}
		}
	}
	if behind := r.now() - at(laps, 0); behind > int64(keepLap) {
		return fmt.Errorf("%d touches in %v are too many: they have taken %v more", n, keepLap, time.Duration(behind))
	}
	if r.info.Can.Answer {
		r.values["refused"] = float64(refused)
	}
	r.awaitEnds(slices.Max(due))
	r.lateness(due)
	return nil
}
