package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lapse-go/lapse/bench/record"
	"github.com/lapse-go/lapse/bench/report"
	"github.com/lapse-go/lapse/bench/work"
)

// TestMain lets the test's program be the process of a measurement, too.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == one {
		main()
	}
	os.Exit(m.Run())
}

func TestSets(t *testing.T) {
	for name, s := range sets {
		specs, err := selected(s, million, "")
		if err != nil {
			t.Fatal(err)
		}
		seen := make(map[string]bool)
		for _, spec := range specs {
			text := spec.String()
			if seen[text] {
				t.Errorf("%s has %s twice", name, text)
			}
			seen[text] = true
			if back, err := work.Parse(text); err != nil || back != spec {
				t.Errorf("%s: %s is parsed as %v, %v", name, text, back, err)
			}
			if s.runsOf(spec) < 1 {
				t.Errorf("%s: %s is done %d times", name, text, s.runsOf(spec))
			}
		}
		for _, want := range []string{"touch/peer=lapse/by=handle/access=hot/n=1M/procs=1", "spread/peer=thw/n=1M/procs=1", "storm/peer=theine/n=1M/procs=1"} {
			if !seen[want] {
				t.Errorf("%s has no %s", name, want)
			}
		}
		if seen["storm/peer=scs/n=1M/procs=1"] {
			t.Errorf("%s has a storm of scs, which has no hooks", name)
		}
	}
}

// TestBars checks that each set measures all bars, but those of web servers.
func TestBars(t *testing.T) {
	for name, s := range sets {
		specs, err := selected(s, million, "")
		if err != nil {
			t.Fatal(err)
		}
		file := new(record.File)
		for _, spec := range specs {
			values := make(work.Values)
			for _, value := range []string{"op_ns", "allocs", "heap_B", "gc_ms", "last_ms", "start_ms", "touch_ms", "early", "lost", "late_p999_ms", "wakeups_per_s", "cpu_pct"} {
				values[value] = 0
			}
			file.Results = append(file.Results, record.Result{Name: spec.String(), Run: 1, Values: values})
		}
		var b strings.Builder
		if _, err := report.Bars(&b, file, false); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(b.String()) {
			if strings.Contains(line, "not measured:") && !strings.Contains(line, "cmd/http") {
				t.Errorf("the set %s leaves a bar out: %s", name, line)
			}
		}
	}
}

// TestEstimates checks that the quick set takes about ten minutes by design, and
// that no measurement is stopped because it takes too long.
func TestEstimates(t *testing.T) {
	for name, s := range sets {
		specs, err := selected(s, million, "")
		if err != nil {
			t.Fatal(err)
		}
		total := time.Duration(0)
		for _, spec := range specs {
			one := spec.Estimate(s.effort)
			if one > longest/2 {
				t.Errorf("%s: %v will take %v, and may take %v", name, spec, one, longest)
			}
			total += one
		}
		if name == "quick" && total > 10*time.Minute+30*time.Second {
			t.Errorf("the quick set will take %v", total)
		}
	}
}

func TestMatches(t *testing.T) {
	s := work.Spec{Case: work.Touch, Peer: "lapse", By: "key", Access: "hot", N: million}
	for filter, want := range map[string]bool{
		"": true, "touch": true, "poll": false, "peer=lapse": true, "peer=sweep": false, "touch peer=lapse n=1M": true,
		"poll|touch": true, "peer=sweep|lapse": true, "peer=sweep|otter": false, "touch n=10M": false, "lapse": false,
		"touch peer!=sweep": true, "peer!=lapse": false, "peer!=lapse|sweep": false, "peer!=sweep|otter n=1M": true, "value!=64B": true,
	} {
		if got := matches(s, filter); got != want {
			t.Errorf("%q matches %v: %v", filter, s, got)
		}
	}
	if _, err := selected(sets["quick"], million, "pear=lapse"); err == nil {
		t.Error("a parameter that does not exist is no error")
	}
}

// TestRun measures a little, in processes of their own, stops, goes on, and
// leaves out what is done.
func TestRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.jsonl")
	set := func(p *string, v string) {
		old := *p
		*p = v
		t.Cleanup(func() { *p = old })
	}
	set(out, path)
	set(n, "2k")
	set(only, "touch|start peer=lapse|sweep by=key|handle access=hot")
	*table = false
	ctx := context.Background()
	*runs, *again = 1, false
	t.Cleanup(func() { *runs = 0 })
	if err := run(ctx); err != nil {
		t.Fatal(err)
	}
	read := func() *record.File {
		file, err := record.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	file := read()
	if len(file.Results) != 3 { // lapse by handle and by key, sweep by key
		t.Fatalf("there are %d results: %+v", len(file.Results), file.Results)
	}
	for _, r := range file.Results {
		if r.Error != "" || r.Values["op_ns"] <= 0 {
			t.Errorf("%+v", r)
		}
	}
	*runs = 2
	if err := run(ctx); err != nil {
		t.Fatal(err)
	}
	if file = read(); len(file.Results) != 6 || !file.Has(file.Results[0].Name, 2) {
		t.Errorf("after a second run there are %+v", file.Results)
	}
	stopped, cancel := context.WithCancel(ctx)
	cancel()
	*runs = 3
	if err := run(stopped); err == nil || len(read().Results) != 6 {
		t.Errorf("a run that was stopped has no error, or results: %v", err)
	}
	set(only, "peer=nobody")
	if err := run(ctx); err == nil || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("nothing is selected: %v", err)
	}
}
