package work

import (
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/lapse-go/lapse/bench/keys"
	"github.com/lapse-go/lapse/bench/offheap"
	"github.com/lapse-go/lapse/bench/peers"
	"github.com/lapse-go/lapse/bench/usage"
)

// collections is how often the collector is run.
const collections = 7

// collect times forced collections with all sessions on the heap.
func (r *rig[K]) collect() error {
	n := r.spec.N
	if err := r.build(peers.Config[K]{Idles: spreadIdles(), Sessions: n}, n); err != nil {
		return err
	}
	if err := r.fill(n); err != nil {
		return err
	}
	settle()
	var times, cpus []float64
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	stop := r.timed()
	for range collections {
		usedBefore := usage.Now()
		began := r.now()
		runtime.GC()
		times = append(times, float64(r.now()-began)/ms)
		cpus = append(cpus, (usage.Now().CPU-usedBefore.CPU)/ms)
	}
	stop()
	runtime.ReadMemStats(&after)
	r.values["gc_ms"] = Median(times)
	r.values["gc_max_ms"] = slices.Max(times)
	r.values["cpu_ms"] = Median(cpus)
	var pause uint64
	for i := before.NumGC; i < after.NumGC; i++ {
		pause = max(pause, after.PauseNs[i%uint32(len(after.PauseNs))])
	}
	r.values["pause_ms"] = float64(pause) / ms
	r.values["heap_B"] = float64(after.HeapAlloc) / float64(n)
	return nil
}

// idle watches a process that has sessions whose ends are an hour away, and
// nothing else to do.
func (r *rig[K]) idle() error {
	n := r.spec.N
	if err := r.build(peers.Config[K]{Idles: []time.Duration{time.Hour}, Sessions: n}, n); err != nil {
		return err
	}
	if err := r.fill(n); err != nil {
		return err
	}
	settle()
	time.Sleep(r.effort.Rest)
	wakeups := func() uint64 { return 0 }
	if waker, ok := r.peer.(peers.Waker); ok {
		wakeups = waker.Wakeups
	}
	stop := r.timed()
	woken, before := wakeups(), usage.Now()
	began := r.now()
	time.Sleep(r.effort.Idle)
	after := usage.Now()
	seconds := float64(r.now()-began) / sec
	stop()
	r.values["cpu_pct"] = 100 * (after.CPU - before.CPU) / sec / seconds
	r.values["switches_per_s"] = float64(after.Switches-before.Switches) / seconds
	if _, ok := r.peer.(peers.Waker); ok {
		r.values["wakeups_per_s"] = float64(wakeups()-woken) / seconds
	}
	return nil
}

const (
	// bytesLaps of touches, two in each time-out, make ten time-outs.
	bytesLaps = 20
	// bytesChurn of the sessions are replaced by others meanwhile, in parts each
	// lap.
	bytesChurn = 0.1
	// bytesStep is how many sessions are touched at once.
	bytesStep = 256
)

// bytes measures the memory that a session takes: with its key, which a start is
// given as a string of its own; when all have been started, and after ten
// time-outs of touches and a churn of a tenth.
func (r *rig[K]) bytes() error {
	n := r.spec.N
	idles := spreadIdles()
	touched, lapTime := r.spec.Access == "touched", r.effort.TimeOut/2
	if touched {
		idles = []time.Duration{r.effort.TimeOut}
	}
	churned := int(float64(n) * bytesChurn)
	order := keys.Shuffled(0, n)
	next := uint32(n) // the next number of a session
	own := make([]K, 0, bytesStep)
	settle()
	empty := heap()
	residentEmpty, _, tells := usage.Resident()
	r.hooks = false // whose ends come here does not matter
	if err := r.build(peers.Config[K]{Idles: idles, Sessions: n}, 0); err != nil {
		return err
	}
	keysOf := func(numbers []uint32) []K {
		own = own[:0]
		for _, number := range numbers {
			own = append(own, r.kind.Make(number))
		}
		return own
	}
	measure := func() {
		clear(own[:cap(own)])
		r.values["heap_B"] = (heap() - empty) / float64(n)
		debug.FreeOSMemory()
		if now, _, _ := usage.Resident(); tells {
			r.values["resident_B"] = (now - residentEmpty) / float64(n)
		}
	}
	for from := 0; from < n; from += bytesStep {
		if err := r.peer.Start(keysOf(order[from:min(from+bytesStep, n)])); err != nil {
			return err
		}
	}
	if !touched {
		measure()
		return nil
	}
	began := r.now()
	dead := 0
	for lap := range bytesLaps {
		for from := 0; from < n; from += bytesStep {
			r.sleepUntil(began + int64(lapTime)*int64(lap) + int64(float64(lapTime)*float64(from)/float64(n)))
			numbers := order[from:min(from+bytesStep, n)]
			dead += len(numbers) - r.peer.Touch(keysOf(numbers))
		}
		leave := order[lap*churned/bytesLaps : (lap+1)*churned/bytesLaps]
		for len(leave) > 0 {
			some := leave[:min(bytesStep, len(leave))]
			r.peer.End(keysOf(some))
			for i := range some {
				some[i] = next
				next++
			}
			if err := r.peer.Start(keysOf(some)); err != nil {
				return err
			}
			leave = leave[len(some):]
		}
	}
	r.values["late_s"] = float64(r.now()-began)/sec - bytesLaps*lapTime.Seconds()
	r.values["dead"] = float64(dead)
	measure()
	return nil
}

const (
	// Churn: so many log-ins, touches and steps of the work a second. A session
	// is touched, and logs out when churnSeats/churnLogins seconds have passed;
	// one in churnQuiet is left to end by itself.
	churnSeats   = 100_000
	churnLogins  = 20_000
	churnTouches = 100_000
	churnSteps   = 1000
	churnQuiet   = 10
	churnIdle    = 6 * time.Second
	churnSample  = 2 * time.Second
)

// churn logs sessions in, touches them and logs them out at a steady rate, and
// watches whether the memory stays as it is.
func (r *rig[K]) churn() error {
	r.hooks = false
	settle()
	empty := heap()
	if err := r.build(peers.Config[K]{Idles: []time.Duration{churnIdle}, Sessions: 2 * churnSeats}, 0); err != nil {
		return err
	}
	seats := offheap.Make[uint32](churnSeats)
	random := keys.Shuffled(0, churnSeats)
	next, seat, touched := 0, 0, 0
	one := make([]K, 1)
	of := func(number uint32) []K { one[0] = r.kind.Make(number); return one }
	login := func() error {
		seats[seat] = uint32(next)
		next++
		err := r.peer.Start(of(seats[seat]))
		seat = (seat + 1) % churnSeats
		return err
	}
	for range churnSeats {
		if err := login(); err != nil {
			return err
		}
	}
	var samples []float64
	paused := int64(0) // by samples, in which no work is done
	stop := r.timed()
	before := usage.Now()
	began := r.now()
	sampled := began
	dead := 0
	steps := int(r.effort.Churn.Seconds() * churnSteps)
	for step := range steps {
		r.sleepUntil(began + paused + int64(step)*int64(time.Second)/churnSteps)
		for range churnLogins / churnSteps {
			if old := seats[seat]; old%churnQuiet != 0 {
				r.peer.End(of(old))
			}
			if err := login(); err != nil {
				return err
			}
		}
		for range churnTouches / churnSteps {
			dead += 1 - r.peer.Touch(of(seats[random[touched%churnSeats]]))
			touched++
		}
		if now := r.now(); now-sampled >= int64(churnSample) {
			samples = append(samples, heap()-empty)
			sampled = r.now()
			paused += sampled - now
		}
	}
	wall := r.now() - began - paused
	r.values["cpu_pct"] = 100 * (usage.Now().CPU - before.CPU) / float64(wall)
	stop()
	r.values["pace_pct"] = 100 * float64(steps) / churnSteps / (float64(wall) / sec)
	r.values["dead"] = float64(dead)
	// Of the first third the memory may grow: the quiet ones come to their end.
	third := len(samples) / 3
	if third > 0 {
		middle, last := Median(samples[third:2*third]), Median(samples[2*third:])
		r.values["heap_MB"] = last / 1e6
		r.values["growth_pct"] = 100 * (last - middle) / middle
		r.values["most_MB"] = slices.Max(samples) / 1e6
	}
	return nil
}

// Median returns the middle of values, or what lies halfway between the two in the
// middle. There must be one at least.
func Median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	half := len(sorted) / 2
	if len(sorted)%2 == 0 {
		return (sorted[half-1] + sorted[half]) / 2
	}
	return sorted[half]
}
