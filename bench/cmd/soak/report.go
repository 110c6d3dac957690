package main

import (
	"fmt"
	"math/bits"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/lapse-go/lapse"
)

// A footprint is what must not grow.
type footprint struct {
	heap       uint64
	goroutines int
}

// measure collects garbage and says what is left.
func measure() footprint {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return footprint{m.HeapAlloc, runtime.NumGoroutine()}
}

func (f footprint) String() string {
	return fmt.Sprintf("%d MB in use after a collection, %d goroutines", f.heap>>20, f.goroutines)
}

// A histogram counts how late hooks were told of sessions that nobody had touched or changed; [i] are those less than 2^i microseconds
// late that are not in [i-1]. (Stats.Late counts the others, too. SetIdle, SetPolicy or Release can bring a
// deadline into the past.)
type histogram [32]atomic.Int64

func (h *histogram) add(late time.Duration) {
	h[min(bits.Len64(uint64(max(0, late.Microseconds()))), len(h)-1)].Add(1)
}

// take returns the quantiles of what was added since the last time.
func (h *histogram) take(quantiles ...float64) []time.Duration {
	var counts [len(h)]int64
	all := int64(0)
	for i := range h {
		counts[i] = h[i].Swap(0)
		all += counts[i]
	}
	var below []time.Duration
	for _, q := range quantiles {
		i := 0
		for sum := counts[0]; sum < int64(q*float64(all)) && i+1 < len(counts); sum += counts[i] {
			i++
		}
		below = append(below, time.Microsecond<<i)
	}
	return below
}

// A line tells what has happened since the last one.
type line struct {
	s    *soak
	at   time.Duration
	ops  int64
	ends [lapse.ReasonShutdown + 1]uint64
}

func (l *line) next() string {
	st, now, ops := l.s.e.Stats(), l.s.now(), l.s.ops.Load()
	n := l.s.e.Len()
	if *most > 0 && n > *most {
		l.s.fail("Len is %d, above MaxSessions", n)
	}
	seconds := (now - l.at).Seconds()
	var b strings.Builder
	fmt.Fprintf(&b, "%6.1fs  %d sessions, %.2fM calls/s, ends/s:", now.Seconds(), n, float64(ops-l.ops)/seconds/1e6)
	for why := lapse.ReasonIdle; why <= lapse.ReasonEvicted; why++ {
		fmt.Fprintf(&b, " %v %.0f,", why, float64(st.Ended[why]-l.ends[why])/seconds)
	}
	late := l.s.late.take(0.5, 0.99, 1)
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	fmt.Fprintf(&b, " late: half < %v, 99%% < %v, all < %v, queue %d, overdue %d, heap %d MB, %d goroutines",
		late[0], late[1], late[2], st.Queue, st.Overdue, m.HeapAlloc>>20, runtime.NumGoroutine())
	l.at, l.ops, l.ends = now, ops, st.Ended
	return b.String()
}
