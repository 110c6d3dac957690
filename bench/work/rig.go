package work

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/lapse-go/lapse/bench/keys"
	"github.com/lapse-go/lapse/bench/offheap"
	"github.com/lapse-go/lapse/bench/peers"
)

// Values are what a measurement found, by name. Names end with the unit: _ns,
// _ms, _s, _B (bytes), _pct.
type Values map[string]float64

// An Effort says how long things take.
type Effort struct {
	Loop  time.Duration // of calls that are timed
	Churn time.Duration
	Idle  time.Duration
	// Rest is how long Idle waits for what the collector has left to do.
	Rest time.Duration
	// TimeOut is that of sessions whose memory is measured after many touches.
	TimeOut time.Duration
	// Timed is called when the timed part begins, and returns what to call when
	// it ends. Nil: nothing.
	Timed func() (stop func())
}

// Quick and Full are the efforts of the two sets of measurements.
var (
	Quick = Effort{Loop: 300 * time.Millisecond, Churn: 12 * time.Second, Idle: 10 * time.Second, Rest: 2 * time.Second, TimeOut: 2 * time.Second}
	Full  = Effort{Loop: time.Second, Churn: time.Minute, Idle: 20 * time.Second, Rest: 2 * time.Second, TimeOut: 4 * time.Second}
)

// Run does one measurement.
func Run(spec Spec, effort Effort) (Values, error) {
	info, ok := peers.Find(spec.Peer)
	if !ok {
		return nil, fmt.Errorf("there is no peer %q", spec.Peer)
	}
	if err := spec.Possible(); err != nil {
		return nil, err
	}
	switch spec.Key {
	case "", "id":
		if info.Can.Strings {
			return runKey(spec, effort, info, keys.RawStrings())
		}
		return runKey(spec, effort, info, keys.IDs())
	case "uint64":
		return runKey(spec, effort, info, keys.Uints())
	case "string":
		return runKey(spec, effort, info, keys.Strings())
	}
	return nil, fmt.Errorf("%v: there are no keys %q", spec, spec.Key)
}

func runKey[K comparable](spec Spec, effort Effort, info peers.Info, kind *keys.Kind[K]) (Values, error) {
	switch spec.Value {
	case "", "empty":
		return run(spec, effort, info, kind, struct{}{})
	case "pointer":
		return run(spec, effort, info, kind, new(int))
	case "64B":
		return run(spec, effort, info, kind, [64]byte{})
	}
	return nil, fmt.Errorf("%v: there are no values %q", spec, spec.Value)
}

// A rig is one measurement under way.
type rig[K comparable] struct {
	spec      Spec
	effort    Effort
	info      peers.Info
	kind      *keys.Kind[K]
	construct func(peers.Config[K]) (peers.Peer[K], error)
	origin    time.Time
	values    Values

	// Of the peer that is measured.
	peer  peers.Peer[K]
	hooks bool           // ends are told
	began int64          // before the first start
	ends  []atomic.Int64 // by number: when the end was told; 0: it was not
	ended atomic.Int64   // sessions whose end was told
	twice atomic.Int64   // ends that were told again
	last  atomic.Int64   // when the last of target was told
	// target is how many ends make last.
	target int64
}

func run[K comparable, V any](spec Spec, effort Effort, info peers.Info, kind *keys.Kind[K], value V) (Values, error) {
	r := &rig[K]{
		spec:      spec,
		effort:    effort,
		info:      info,
		kind:      kind,
		construct: func(c peers.Config[K]) (peers.Peer[K], error) { return peers.New(info.Name, c, value) },
		origin:    time.Now(),
		values:    make(Values),
		hooks:     info.Can.Hook,
	}
	cases := map[string]func() error{
		Touch: r.touch, Poll: r.touch, Start: r.start, End: r.end, Spread: r.spread, Storm: r.storm,
		Keep: r.keep, Churn: r.churn, Collect: r.collect, Idle: r.idle, Bytes: r.bytes,
	}
	do := cases[spec.Case]
	if do == nil {
		return nil, fmt.Errorf("%v: there is no such case", spec)
	}
	err := do()
	if r.peer != nil {
		r.peer.Close()
	}
	return r.values, err
}

// now is the time since the rig was made, in nanoseconds; never zero.
func (r *rig[K]) now() int64 { return int64(time.Since(r.origin)) + 1 }

// spreadIdles are the time-outs of sessions whose ends lie one to thirty minutes
// away.
func spreadIdles() []time.Duration {
	idles := make([]time.Duration, keys.Classes)
	for i := range idles {
		idles[i] = time.Minute + time.Duration(i)*29*time.Minute/(keys.Classes-1)
	}
	return idles
}

// build makes the peer, with a hook that notes the ends of the sessions below a
// number.
func (r *rig[K]) build(c peers.Config[K], numbers int) (err error) {
	c.Kind = r.kind
	if r.hooks {
		r.ends = offheap.Make[atomic.Int64](numbers)
		c.OnEnd = r.told
	}
	r.began = r.now()
	r.peer, err = r.construct(c)
	return err
}

// told is the hook.
func (r *rig[K]) told(number uint32) {
	if int(number) >= len(r.ends) {
		return
	}
	now := r.now()
	if !r.ends[number].CompareAndSwap(0, now) {
		r.twice.Add(1)
		return
	}
	if r.ended.Add(1) == r.target {
		r.last.Store(now)
	}
}

// batch is how many keys a peer is given at once.
const batch = 1024

// inBatches calls f with all of a table, batch by batch.
func inBatches[T any](table []T, f func([]T) error) error {
	for len(table) > 0 {
		n := min(batch, len(table))
		if err := f(table[:n]); err != nil {
			return err
		}
		table = table[n:]
	}
	return nil
}

// fill starts the sessions 0 to n-1, which is not timed.
func (r *rig[K]) fill(n int) error {
	return inBatches(r.kind.Table(keys.Ascending(0, n)), r.peer.Start)
}

// timed begins the timed part, which a profile is of.
func (r *rig[K]) timed() (stop func()) {
	if r.effort.Timed == nil {
		return func() {}
	}
	return r.effort.Timed()
}

// settle brings the process to rest before something is timed.
func settle() {
	runtime.GC()
	debug.FreeOSMemory()
	time.Sleep(50 * time.Millisecond)
}

// heap returns the bytes of what lives on the heap.
func heap() float64 {
	runtime.GC()
	runtime.GC() // what had a finalizer, and what sync.Pools hold
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

const (
	ms  = float64(time.Millisecond)
	sec = float64(time.Second)
)
