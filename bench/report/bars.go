package report

import (
	"fmt"
	"math"
	"strings"

	"github.com/lapse-go/lapse/bench/peers"
	"github.com/lapse-go/lapse/bench/record"
	"github.com/lapse-go/lapse/bench/work"
)

// A Bar is a figure that lapse is meant to reach.
type Bar struct {
	What, Want string
	Lapse      string // what lapse reached
	Best       string // the best peer, and what it reached
	Ratio      string // of the two; more than 1: lapse is better
	Known, Met bool
	Disturbed  bool   // other programs were busy while one of the two was measured
	How        string // the command that measures it
}

// verdict is the last word on a bar.
func (b Bar) verdict() string {
	word := "missed"
	switch {
	case !b.Known:
		return "not measured: " + b.How
	case b.Met:
		word = "met"
	}
	if b.Disturbed {
		word += ", disturbed"
	}
	return word
}

// httpConns is the number of connections in the measurement that a bar is about.
const httpConns = 64

// A bars is a list of bars that grows.
type bars struct {
	*results
	list []Bar
}

// bars checks all bars.
func (r *results) bars() []Bar {
	b := &bars{results: r}
	n, most := work.Count(r.n), work.Count(10*r.n)
	touch := func(by, access string, n int) work.Spec {
		return work.Spec{Case: work.Touch, By: by, Access: access, N: n, Procs: 1}
	}

	hot := touch("handle", "hot", r.n)
	b.atMost("touch by handle, 1000 hot sessions", "at most 12 ns", hot, "op_ns", 12, "ns")
	b.faster("touch by handle, 1000 hot sessions", "4 times faster than any peer", hot, 4)
	b.faster("touch by handle, random of "+n, "6 times faster than any peer", touch("handle", "random", r.n), 6)
	b.faster("touch by handle, random of "+most, "6 times faster than any peer", touch("handle", "random", 10*r.n), 6)
	b.faster("touch by key, random of "+n, "3 times faster than any keyed peer", touch("key", "random", r.n), 3)
	b.faster("touch by key, 1000 hot sessions", "2 times faster than any keyed peer", touch("key", "hot", r.n), 2)
	for _, by := range []string{"handle", "key"} {
		b.scales("touch by "+by+", random of "+n+", by 2 goroutines", touch(by, "random", r.n), 1.8)
	}

	start := work.Spec{Case: work.Start, N: r.n}
	b.faster("start, with key", "faster than every keyed peer", start, 1)
	b.atMost("start, with key", "no allocation for each session", start, "allocs", 0.05, "allocations")
	b.faster("end by Expire, with key", "faster than every keyed peer", work.Spec{Case: work.End, Hook: "no", N: r.n}, 1)
	b.atMost("memory, 16-byte key, empty value, after ten time-outs of touches and 10 % churn", "at most 80 bytes a session, all included; aim at 64",
		work.Spec{Case: work.Bytes, Access: "touched", N: r.n}, "heap_B", 80, "B")
	b.atMost("forced collection, "+most+" such sessions", "at most 10 ms", work.Spec{Case: work.Collect, N: 10 * r.n}, "gc_ms", 10, "ms")

	storm := work.Spec{Case: work.Storm, N: r.n}
	b.atMost("storm: "+n+" sessions due at one instant", "all hooks done within 200 ms", storm, "last_ms", 200, "ms")
	b.atMost("storm, the longest Start", "at most 2 ms", storm, "start_ms", 2, "ms")
	b.atMost("storm, the longest Touch", "at most 2 ms", storm, "touch_ms", 2, "ms")

	spread := work.Spec{Case: work.Spread, N: r.n}
	b.none("spread: "+n+" due over 3 s, machine else idle", "none early", spread, "early")
	b.none("spread", "none lost", spread, "lost")
	b.atMost("spread, p99.9 late", "at most a tick and 3 ms", spread, "late_p999_ms", 13, "ms")

	idle := work.Spec{Case: work.Idle, N: r.n}
	b.atMost(n+" sessions an hour away, wake-ups", "at most 1 in 10 s", idle, "wakeups_per_s", 0.1, "a second")
	b.atMost(n+" sessions an hour away, CPU", "under 0.05 % of a core", idle, "cpu_pct", math.Nextafter(0.05, 0), "%")

	b.overBare("lapsehttp, requests of a thousand live sessions in turn", "at most 1 µs over the bare handler", "inner_ns", 1000, "ns")
	b.overBare("lapsehttp, requests of a thousand live sessions in turn", "at most 3 allocations over the bare handler", "inner_allocs", 3.5, "allocations")
	b.neverEarly()
	return b.list
}

// lapse begins a bar with what lapse reached in a measurement.
func (b *bars) lapse(what, want string, s work.Spec, value, unit string) (bar Bar, sample record.Sample) {
	s.Procs = max(s.Procs, 1)
	bar = Bar{What: what, Want: want, How: how(s)}
	s.Peer = "lapse"
	sample, bar.Known = b.sample(s, value)
	if bar.Known {
		bar.Lapse = figure(sample, unit)
		bar.Disturbed = b.cells[s].Disturbed > 0
	}
	return bar, sample
}

// beside adds the best peer to a bar.
func (b *bars) beside(bar *Bar, s work.Spec, value, unit string, lapse record.Sample) (best record.Sample, ok bool) {
	peer, best, ok := b.least(s, value)
	if !ok || !bar.Known {
		return best, false
	}
	s.Peer, s.Procs = peer, max(s.Procs, 1)
	bar.Best = peer + " " + figure(best, unit)
	if lapse.Median > 0 {
		bar.Ratio = number(best.Median/lapse.Median) + "×"
	}
	bar.Disturbed = bar.Disturbed || b.cells[s].Disturbed > 0
	return best, true
}

// atMost adds a bar that is a limit. The best peer is there to compare.
func (b *bars) atMost(what, want string, s work.Spec, value string, limit float64, unit string) {
	bar, sample := b.lapse(what, want, s, value, unit)
	bar.Met = bar.Known && sample.Median <= limit
	b.beside(&bar, s, value, unit, sample)
	b.list = append(b.list, bar)
}

// none adds a bar that no run may miss.
func (b *bars) none(what, want string, s work.Spec, value string) {
	bar, sample := b.lapse(what, want, s, value, value)
	bar.Met = bar.Known && sample.Most == 0
	if bar.Known {
		bar.Lapse = number(sample.Most) + " " + value
	}
	b.list = append(b.list, bar)
}

// faster adds a bar that is a ratio to the best peer, whoever that is.
func (b *bars) faster(what, want string, s work.Spec, times float64) {
	bar, sample := b.lapse(what, want, s, "op_ns", "ns")
	best, ok := b.beside(&bar, s, "op_ns", "ns", sample)
	bar.Known = ok
	bar.Met = ok && sample.Median*times <= best.Median
	b.list = append(b.list, bar)
}

// scales adds a bar that is the throughput of two goroutines beside that of one.
func (b *bars) scales(what string, s work.Spec, times float64) {
	alone, one := b.lapse(what, fmt.Sprintf("%v times the throughput of one", times), s, "op_ns", "ns")
	s.Procs = 2
	bar, both := b.lapse(alone.What, alone.Want, s, "op_ns", "ns")
	bar.How = strings.ReplaceAll(bar.How, "procs=2", "procs=1|2")
	bar.Known = alone.Known && bar.Known
	bar.Disturbed = alone.Disturbed || bar.Disturbed
	if bar.Known {
		ratio := one.Median / both.Median
		bar.Lapse = number(ratio) + "×"
		bar.Met = ratio >= times
	}
	b.list = append(b.list, bar)
}

// overBare adds a bar of what lapsehttp takes beside a handler without sessions.
func (b *bars) overBare(what, want, value string, limit float64, unit string) {
	s := work.Spec{Case: HTTP, Peer: "bare", N: b.n, Procs: httpConns}
	bare := b.cells[s]
	s.Peer = "lapsehttp"
	with := b.cells[s]
	bar := Bar{What: what, Want: want, How: "go run ./cmd/http"}
	without, ok := bare.Sample(value)
	sample, has := with.Sample(value)
	if ok && has {
		more := sample.Median - without.Median
		bar.Known, bar.Met = true, more <= limit
		bar.Disturbed = bare.Disturbed+with.Disturbed > 0
		bar.Lapse = number(more) + " " + unit
		bar.Best = "bare " + figure(without, unit)
	}
	b.list = append(b.list, bar)
}

// neverEarly adds the bar that every measurement checks.
func (b *bars) neverEarly() {
	faults, checks := 0.0, 0
	for s, c := range b.cells {
		if s.Peer != "lapse" {
			continue
		}
		for _, name := range []string{"early", "dead", "refused", "lost", "double"} {
			// Where time-outs are of seconds, a session that the benchmark itself
			// came too late for is dead by right.
			if name == "dead" && s.Case != work.Touch && s.Case != work.Poll {
				continue
			}
			if sample, ok := c.Sample(name); ok {
				faults += sample.Most
				checks += sample.Runs
			}
		}
	}
	b.list = append(b.list, Bar{
		What: "no touched session ended early, none was refused, lost or told twice", Want: "none, in any measurement",
		Lapse: fmt.Sprintf("%s in %d checks", number(faults), checks), Known: checks > 0, Met: checks > 0 && faults == 0, How: "go run ./cmd/measure",
	})
}

// least finds the best of the peers in a measurement. Who has no keys is no rival
// where sessions have them, nor is who ends sessions early or loses them.
func (r *results) least(s work.Spec, value string) (peer string, sample record.Sample, ok bool) {
	for _, info := range peers.List() {
		if info.Name == "lapse" || info.Name == peers.Floor || s.By != "handle" && s.Case != work.Spread && !info.Can.Key {
			continue
		}
		s.Peer = info.Name
		if r.fault(s) != "" {
			continue
		}
		if found, has := r.sample(s, value); has && (!ok || found.Median < sample.Median) {
			peer, sample, ok = info.Name, found, true
		}
	}
	return peer, sample, ok
}

// fault says what a peer did in a measurement so that its figures are not those of
// the work: end sessions early, lose them, or be so slow that sessions whose memory
// was to be measured ended before they were touched.
func (r *results) fault(s work.Spec) string {
	if f, ok := r.sample(s, "dead"); ok && s.Case == work.Bytes && f.Median > float64(s.N)/100 {
		return "ended"
	}
	for _, name := range []string{"early", "lost"} {
		if f, ok := r.sample(s, name); ok && s.Case != work.Touch && f.Median > 0 {
			return name
		}
	}
	return ""
}

// how is the command that measures something.
func how(s work.Spec) string {
	s.Peer = ""
	return "go run ./cmd/measure -set full -only '" + strings.ReplaceAll(s.String(), "/", " ") + "'"
}

// figure writes a median with its unit and its spread.
func figure(s record.Sample, unit string) string {
	value, spread, ok := strings.Cut(spread(s), " ")
	if !ok {
		return value + " " + unit
	}
	return value + " " + unit + " " + spread
}

// barTable is the bars as a table.
func barTable(bars []Bar) Table {
	t := Table{Name: "bars", Title: "What lapse is to reach", Text: true, Head: []string{"what", "bar", "lapse", "best peer", "ratio", ""}}
	for _, b := range bars {
		t.Rows = append(t.Rows, []string{b.What, b.Want, b.Lapse, b.Best, b.Ratio, b.verdict()})
	}
	return t
}

// tally counts the bars by what is known of them.
func tally(bars []Bar) string {
	met, missed := 0, 0
	for _, b := range bars {
		switch {
		case b.Known && b.Met:
			met++
		case b.Known:
			missed++
		}
	}
	return fmt.Sprintf("%d met, %d missed, %d not measured.", met, missed, len(bars)-met-missed)
}
