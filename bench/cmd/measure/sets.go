package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lapse-go/lapse/bench/peers"
	"github.com/lapse-go/lapse/bench/record"
	"github.com/lapse-go/lapse/bench/work"
)

// A set is a list of measurements and how often each is done.
type measurements struct {
	effort work.Effort
	runs   int                     // of what is short
	long   int                     // of what is long: where a run takes a minute, or sessions are ten million
	specs  func(n int) []work.Spec // with n sessions in most of them; without a peer: of all that can do it
}

var sets = map[string]measurements{
	"quick": {effort: work.Quick, runs: 1, long: 1, specs: quick},
	"full":  {effort: work.Full, runs: 7, long: 3, specs: full},
}

// runsOf says how often a measurement is done.
func (m measurements) runsOf(s work.Spec) int {
	if *runs > 0 {
		return *runs
	}
	switch {
	case s.N > million, s.Case == work.Churn, s.Case == work.Idle, s.Case == work.Bytes, s.Case == work.Keep:
		return m.long
	}
	return m.runs
}

const million = 1_000_000

// quick is what the bars and the table of the README need. What takes most time is
// measured with lapse, and with those who come near it: those whose sessions are
// small, or hold no pointers, or who have a timer for each shard.
func quick(n int) []work.Spec {
	var specs []work.Spec
	add := func(s work.Spec, of ...string) {
		for _, peer := range of {
			s.Peer = peer
			specs = append(specs, s)
		}
		if len(of) == 0 {
			specs = append(specs, s)
		}
	}
	for _, by := range []string{"handle", "key"} {
		add(work.Spec{Case: work.Touch, By: by, Access: "hot", N: n})
		add(work.Spec{Case: work.Touch, By: by, Access: "random", N: n})
		add(work.Spec{Case: work.Touch, By: by, Access: "random", N: n, Procs: 2}, "lapse")
	}
	add(work.Spec{Case: work.Touch, By: "handle", Access: "random", N: 10 * n})
	add(work.Spec{Case: work.Start, N: n})
	add(work.Spec{Case: work.End, Hook: "no", N: n})
	add(work.Spec{Case: work.Bytes, N: n})
	add(work.Spec{Case: work.Bytes, Access: "touched", N: n}, "lapse", "sweep")
	add(work.Spec{Case: work.Collect, N: n})
	add(work.Spec{Case: work.Collect, N: 10 * n}, "lapse", "sweep", "heap")
	add(work.Spec{Case: work.Storm, N: n})
	add(work.Spec{Case: work.Spread, N: n})
	add(work.Spec{Case: work.Idle, N: n}, "lapse", "heap", peers.Floor)
	return specs
}

// full is everything.
func full(n int) []work.Spec {
	var specs []work.Spec
	add := func(s ...work.Spec) { specs = append(specs, s...) }
	sizes := []int{n, 10 * n}
	for _, by := range []string{"handle", "key"} {
		for _, procs := range work.Procs() {
			for _, size := range []int{1000, 10_000, 100_000, n, 10 * n, 50 * n} {
				add(work.Spec{Case: work.Touch, By: by, Access: "random", N: size, Procs: procs})
			}
			add(work.Spec{Case: work.Touch, By: by, Access: "hot", N: n, Procs: procs})
			add(work.Spec{Case: work.Poll, By: by, Access: "hot", N: n, Procs: procs})
			add(work.Spec{Case: work.Poll, By: by, Access: "random", N: n, Procs: procs})
		}
		add(work.Spec{Case: work.Touch, By: by, Access: "tick", N: n})
	}
	for _, size := range sizes {
		for _, procs := range work.Procs() {
			add(work.Spec{Case: work.Start, N: size, Procs: procs})
			add(work.Spec{Case: work.End, Hook: "no", N: size, Procs: procs})
		}
		add(work.Spec{Case: work.End, Hook: "yes", N: size})
		add(work.Spec{Case: work.Collect, N: size})
	}
	add(work.Spec{Case: work.Collect, N: 100_000})
	add(work.Spec{Case: work.Spread, N: n})
	add(work.Spec{Case: work.Storm, N: 100_000}, work.Spec{Case: work.Storm, N: n})
	add(work.Spec{Case: work.Keep, N: 100_000})
	add(work.Spec{Case: work.Churn, N: 100_000})
	add(work.Spec{Case: work.Idle, N: n})
	for _, key := range []string{"", "uint64", "string"} {
		for _, value := range []string{"", "pointer", "64B"} {
			add(work.Spec{Case: work.Bytes, Key: key, Value: value, N: n})
		}
	}
	for _, value := range []string{"", "pointer", "64B"} {
		add(work.Spec{Case: work.Bytes, Value: value, Access: "touched", N: n})
	}
	add(work.Spec{Case: work.Bytes, Key: "string", Value: "pointer", Access: "touched", N: n})
	add(work.Spec{Case: work.Bytes, Access: "touched", N: 100_000}, work.Spec{Case: work.Bytes, N: 10 * n})
	return specs
}

// selected returns the measurements of a set, for each peer that can do them,
// that have all the words of a filter.
func selected(m measurements, n int, filter string) ([]work.Spec, error) {
	for _, word := range strings.Fields(filter) {
		if _, err := work.Parse("x/" + strings.Replace(strings.Split(word, "|")[0], "!=", "=", 1)); strings.Contains(word, "=") && err != nil {
			return nil, fmt.Errorf("-only: %w", err)
		}
	}
	var specs []work.Spec
	for _, s := range m.specs(n) {
		named := s.Peer
		for _, info := range peers.List() {
			if named != "" && named != info.Name {
				continue
			}
			s.Peer = info.Name
			s.Procs = cmp.Or(s.Procs, 1)
			if s.Possible() == nil && matches(s, filter) && !slices.Contains(specs, s) {
				specs = append(specs, s)
			}
		}
	}
	return specs, nil
}

// matches reports whether a measurement has a parameter of each word. A word is a
// case, key=value, or key!=value for those without it; all can be alternatives, as
// in peer=lapse|sweep.
func matches(s work.Spec, filter string) bool {
	parts := strings.Split(s.String(), "/")
	for _, word := range strings.Fields(filter) {
		key, alternatives, ok := strings.Cut(word, "=")
		if !ok {
			key, alternatives = "", word
		}
		key, not := strings.CutSuffix(key, "!")
		if slices.ContainsFunc(strings.Split(alternatives, "|"), func(v string) bool {
			if key == "" {
				return parts[0] == v
			}
			return slices.Contains(parts[1:], key+"="+v)
		}) == not {
			return false
		}
	}
	return true
}

// A task is one run of a measurement.
type task struct {
	spec work.Spec
	run  int
}

// plan lists the runs that are pending: all measurements once, then all again, so
// that a bad hour of the machine does not hit one peer alone.
func plan(m measurements, specs []work.Spec, file *record.File) (pending []task) {
	most := 0
	for _, s := range specs {
		most = max(most, m.runsOf(s))
	}
	for run := 1; run <= most; run++ {
		for _, s := range specs {
			if run <= m.runsOf(s) && !file.Has(s.String(), run) {
				pending = append(pending, task{s, run})
			}
		}
	}
	return pending
}

// estimate says about how long tasks will take. What the machine has no memory for
// takes no time.
func estimate(m measurements, tasks []task) (total time.Duration) {
	for _, t := range tasks {
		if fits(t.spec) == nil {
			total += t.spec.Estimate(m.effort)
		}
	}
	return total
}
