package report

import (
	"fmt"
	"math"
	"strings"

	"github.com/lapse-go/lapse/bench/peers"
	"github.com/lapse-go/lapse/bench/record"
	"github.com/lapse-go/lapse/bench/work"
)

// A Bar is something that lapse is meant to reach.
type Bar struct {
	What, Want, Got string
	Known, Met      bool
}

// a bar is built from conditions, all of which must be measured and hold.
func (b *Bar) add(known, met bool, format string, args ...any) {
	if b.Got != "" {
		b.Got += "; "
	}
	if !known {
		b.Got += "not measured"
		b.Known, b.Met = false, false
		return
	}
	b.Got += fmt.Sprintf(format, args...)
	b.Met = b.Met && met
}

// least finds the best of the peers in a measurement.
func (r *results) least(s work.Spec, value string) (peer string, sample record.Sample, ok bool) {
	for _, info := range peers.List() {
		if info.Name == "lapse" || info.Name == peers.Floor {
			continue
		}
		s.Peer = info.Name
		if found, has := r.sample(s, value); has && (!ok || found.Median < sample.Median) {
			peer, sample, ok = info.Name, found, true
		}
	}
	return peer, sample, ok
}

// httpConns is the number of connections in the measurement that a bar is about.
const httpConns = 64

// bars checks all bars.
func (r *results) bars() []Bar {
	var bars []Bar
	bar := func(what, want string) *Bar {
		bars = append(bars, Bar{What: what, Want: want, Known: true, Met: true})
		return &bars[len(bars)-1]
	}
	lapse := func(s work.Spec, value string) (float64, bool) {
		s.Peer = "lapse"
		sample, ok := r.sample(s, value)
		return sample.Median, ok
	}
	most := func(b *Bar, s work.Spec, value string, limit float64, unit string) {
		v, ok := lapse(s, value)
		b.add(ok, v <= limit, "%s %s", number(v), unit)
	}
	faster := func(b *Bar, s work.Spec, times float64) {
		v, ok := lapse(s, "op_ns")
		peer, best, has := r.least(s, "op_ns")
		label := ""
		if s.N != r.n {
			label = work.Count(s.N) + ": "
		}
		b.add(ok && has, v*times <= best.Median, "%s%s ns, %s %s: %s×", label, number(v), peer, number(best.Median), number(best.Median/v))
	}

	hot := work.Spec{Case: work.Touch, By: "handle", Access: "hot", N: r.n}
	b := bar("touch by handle, 1000 hot sessions", "at most 12 ns, 4 times faster than any peer")
	most(b, hot, "op_ns", 12, "ns")
	faster(b, hot, 4)

	b = bar("touch by handle, random of 1M and of 10M", "6 times faster than any peer")
	for _, n := range sizes(r.n, 10*million) {
		faster(b, work.Spec{Case: work.Touch, By: "handle", Access: "random", N: n}, 6)
	}

	b = bar("touch by key", "random of 1M 3 times faster than any keyed peer, hot 2 times")
	faster(b, work.Spec{Case: work.Touch, By: "key", Access: "random", N: r.n}, 3)
	faster(b, work.Spec{Case: work.Touch, By: "key", Access: "hot", N: r.n}, 2)

	b = bar("touch by 2 goroutines", "1.8 times the throughput of one")
	for _, by := range []string{"handle", "key"} {
		s := work.Spec{Case: work.Touch, By: by, Access: "random", N: r.n, Procs: 1}
		alone, ok := lapse(s, "op_ns")
		s.Procs = 2
		both, has := lapse(s, "op_ns")
		b.add(ok && has, alone/both >= 1.8, "by %s %s×", by, number(alone/both))
	}

	start := work.Spec{Case: work.Start, N: r.n}
	b = bar("start, with key", "faster than every keyed peer; no allocation for each session")
	faster(b, start, 1)
	allocs, ok := lapse(start, "allocs")
	b.add(ok, allocs < 0.05, "%s allocations", number(allocs))

	b = bar("end by Expire, with key", "faster than every keyed peer")
	faster(b, work.Spec{Case: work.End, Hook: "no", N: r.n}, 1)

	b = bar("memory, 16-byte key, empty value, after ten time-outs of touches and 10 % churn", "at most 80 bytes a session, all included; aim at 64")
	touched := work.Spec{Case: work.Bytes, Access: "touched", N: r.n}
	most(b, touched, "heap_B", 80, "B")
	if peer, best, has := r.least(touched, "heap_B"); has {
		b.add(true, true, "%s %s B", peer, number(best.Median))
	}

	b = bar("forced collection, 10M such sessions", "at most 10 ms")
	most(b, work.Spec{Case: work.Collect, N: 10 * million}, "gc_ms", 10, "ms")

	b = bar("storm: 1M sessions due at one instant", "all hooks done within 200 ms; no Start or Touch blocked longer than 2 ms")
	storm := work.Spec{Case: work.Storm, N: r.n}
	most(b, storm, "last_ms", 200, "ms")
	most(b, storm, "start_ms", 2, "ms a Start")
	most(b, storm, "touch_ms", 2, "ms a Touch")

	b = bar("spread: 1M due over 3 s, machine else idle", "none early, none lost, p99.9 late at most a tick and 3 ms")
	spread := work.Spec{Case: work.Spread, N: r.n}
	most(b, spread, "early", 0, "early")
	most(b, spread, "lost", 0, "lost")
	most(b, spread, "late_p999_ms", 13, "ms")

	b = bar("1M sessions an hour away", "at most 1 wake-up in 10 s, under 0.05 % of a core")
	idle := work.Spec{Case: work.Idle, N: r.n}
	most(b, idle, "wakeups_per_s", 0.1, "wake-ups a second")
	most(b, idle, "cpu_pct", math.Nextafter(0.05, 0), "% of a core")

	b = bar("lapsehttp, a request with a live session", "at most 1 µs and 3 allocations over the bare handler")
	bare, ok := r.cells[work.Spec{Case: HTTP, Peer: "bare", N: r.n, Procs: httpConns}], true
	with := r.cells[work.Spec{Case: HTTP, Peer: "lapsehttp", N: r.n, Procs: httpConns}]
	over := func(value string) float64 {
		a, has := bare.Sample(value)
		b, also := with.Sample(value)
		ok = ok && has && also
		return b.Median - a.Median
	}
	ns, more := over("inner_ns"), over("inner_allocs")
	b.add(ok, ns <= 1000 && more < 3.5, "%s ns, %s allocations", number(ns), number(more))

	b = bar("no touched session ended early, in any measurement", "none")
	early, seen := 0.0, 0
	for s, c := range r.cells {
		if s.Peer != "lapse" {
			continue
		}
		for _, name := range []string{"early", "dead", "refused", "lost", "double"} {
			if sample, ok := c.Sample(name); ok {
				early += sample.Most
				seen += sample.Runs
			}
		}
	}
	b.add(seen > 0, early == 0, "%s in %d checks", number(early), seen)
	return bars
}

// barTable is the bars as a table.
func barTable(bars []Bar) Table {
	t := Table{Name: "bars", Title: "What lapse is to reach", Text: true, Head: []string{"what", "bar", "measured", ""}}
	for _, b := range bars {
		verdict := "missed"
		switch {
		case !b.Known:
			verdict = "not known"
		case b.Met:
			verdict = "met"
		}
		t.Rows = append(t.Rows, []string{b.What, b.Want, strings.TrimSpace(b.Got), verdict})
	}
	return t
}
