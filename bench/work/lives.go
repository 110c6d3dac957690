package work

import (
	"runtime"
	"sync"
	"time"

	"github.com/lapse-go/lapse/bench/keys"
	"github.com/lapse-go/lapse/bench/peers"
	"github.com/lapse-go/lapse/bench/usage"
)

// start times the start of all sessions, from none. It includes what growing
// costs.
func (r *rig[K]) start() error {
	n, procs := r.spec.N, max(r.spec.Procs, 1)
	table := r.kind.Table(keys.Ascending(0, n))
	if err := r.build(peers.Config[K]{Idles: spreadIdles(), Sessions: n}, n); err != nil {
		return err
	}
	settle()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	errs := make([]error, procs)
	stop := r.timed()
	usedBefore := usage.Now()
	began := r.now()
	var wg sync.WaitGroup
	for i := range procs {
		part := table[i*n/procs : (i+1)*n/procs]
		wg.Go(func() { errs[i] = inBatches(part, r.peer.Start) })
	}
	wg.Wait()
	wall := r.now() - began
	cpu := usage.Now().CPU - usedBefore.CPU
	stop()
	runtime.ReadMemStats(&after)
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	r.values["op_ns"] = float64(wall) / float64(n)
	r.values["cpu_ns"] = cpu / float64(n)
	r.values["allocs"] = float64(after.Mallocs-before.Mallocs) / float64(n)
	r.values["alloc_B"] = float64(after.TotalAlloc-before.TotalAlloc) / float64(n)
	if r.info.Can.Answer {
		r.values["missing"] = float64(n - r.len(n))
	}
	return nil
}

// end times calls that end sessions, all of them in random order, by key.
func (r *rig[K]) end() error {
	n, procs := r.spec.N, max(r.spec.Procs, 1)
	r.hooks = r.spec.Hook == "yes"
	if err := r.build(peers.Config[K]{Idles: spreadIdles(), Sessions: n}, n); err != nil {
		return err
	}
	if err := r.fill(n); err != nil {
		return err
	}
	table := r.kind.Table(keys.Shuffled(0, n))
	settle()
	stop := r.timed()
	before := usage.Now()
	began := r.now()
	var wg sync.WaitGroup
	for i := range procs {
		part := table[i*n/procs : (i+1)*n/procs]
		wg.Go(func() {
			_ = inBatches(part, func(keys []K) error { r.peer.End(keys); return nil })
		})
	}
	wg.Wait()
	wall := r.now() - began
	cpu := usage.Now().CPU - before.CPU
	stop()
	r.values["op_ns"] = float64(wall) / float64(n)
	r.values["cpu_ns"] = cpu / float64(n)
	if r.info.Can.Answer {
		r.values["left"] = float64(r.len(0))
	}
	return nil
}

// len returns the number of sessions, once it is as wanted or a while has passed:
// some peers count by and by.
func (r *rig[K]) len(want int) int {
	for range 200 {
		if n := r.peer.Len(); n == want {
			return n
		}
		time.Sleep(10 * time.Millisecond)
	}
	return r.peer.Len()
}
