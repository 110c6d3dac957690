package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lapse-go/lapse/bench/peers"
	"github.com/lapse-go/lapse/bench/record"
	"github.com/lapse-go/lapse/bench/work"
)

// fast is a file in which lapse meets every bar, as if measured twice.
func fast(t *testing.T) *record.File {
	f := &record.File{Path: filepath.Join(t.TempDir(), "results.jsonl")}
	s := record.Here()
	add := func(spec work.Spec, values work.Values) {
		for _, info := range peers.List() {
			spec.Peer = info.Name
			spec.Procs = max(spec.Procs, 1)
			if spec.Possible() != nil {
				continue
			}
			mine := make(work.Values)
			for name, v := range values {
				if info.Name != "lapse" {
					v *= 10
				}
				mine[name] = v
			}
			for run := 1; run <= 2; run++ {
				if err := f.Add(s, record.Result{Name: spec.String(), Run: run, Values: mine}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for _, by := range []string{"handle", "key"} {
		for _, procs := range []int{1, 2} {
			for _, n := range []int{million, 10 * million} {
				add(work.Spec{Case: work.Touch, By: by, Access: "random", N: n, Procs: procs}, work.Values{"op_ns": 20 / float64(procs), "early": 0, "dead": 0})
			}
		}
		add(work.Spec{Case: work.Touch, By: by, Access: "hot", N: million}, work.Values{"op_ns": 10})
	}
	add(work.Spec{Case: work.Start, N: million}, work.Values{"op_ns": 100, "allocs": 0.01, "cpu_ns": 100, "alloc_B": 90})
	add(work.Spec{Case: work.End, Hook: "no", N: million}, work.Values{"op_ns": 100, "cpu_ns": 100})
	add(work.Spec{Case: work.Bytes, Access: "touched", N: million}, work.Values{"heap_B": 64, "resident_B": 80})
	add(work.Spec{Case: work.Collect, N: 10 * million}, work.Values{"gc_ms": 3, "cpu_ms": 3, "pause_ms": 0.1})
	add(work.Spec{Case: work.Storm, N: million}, work.Values{"first_ms": 9, "last_ms": 150, "start_ms": 0.5, "touch_ms": 0.4, "early": 0, "lost": 0})
	add(work.Spec{Case: work.Spread, N: million}, work.Values{"early": 0, "lost": 0, "double": 0, "late_p999_ms": 12})
	for _, site := range []string{"bare", "lapsehttp", "scs", "gorilla"} {
		ns, allocs := 200.0, 3.0
		if site == "lapsehttp" {
			ns, allocs = 1100, 6
		}
		spec := work.Spec{Case: HTTP, Peer: site, N: million, Procs: httpConns}
		if err := f.Add(s, record.Result{Name: spec.String(), Run: 1, Values: work.Values{"inner_ns": ns, "inner_allocs": allocs, "p99_us": 100}}); err != nil {
			t.Fatal(err)
		}
	}
	add(work.Spec{Case: work.Idle, N: million}, work.Values{"cpu_pct": 0.01, "switches_per_s": 1, "wakeups_per_s": 0})
	return f
}

func TestBars(t *testing.T) {
	f := fast(t)
	var b strings.Builder
	met, err := Bars(&b, f, true)
	if err != nil {
		t.Fatal(err)
	}
	if !met || strings.Contains(b.String(), "| missed") || strings.Contains(b.String(), "not measured:") {
		t.Errorf("all bars are met, and the list is\n%s", b.String())
	}
	for _, want := range []string{"6 times faster", "afterfunc 200 ns", "10.0×", "bare 200 ns", "640 B", " met, 0 missed, 0 not measured."} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("there is no %q in\n%s", want, b.String())
		}
	}
	for _, tt := range []struct {
		name  string
		value string
		worse float64
	}{
		{"touch/peer=lapse/by=handle/access=hot/n=1M/procs=1", "op_ns", 12.5},
		{"touch/peer=afterfunc/by=handle/access=hot/n=1M/procs=1", "op_ns", 39},
		{"touch/peer=thw/by=handle/access=random/n=10M/procs=1", "op_ns", 119},
		{"touch/peer=otter/by=key/access=random/n=1M/procs=1", "op_ns", 59},
		{"touch/peer=sweep/by=key/access=hot/n=1M/procs=1", "op_ns", 19},
		{"touch/peer=lapse/by=key/access=random/n=1M/procs=2", "op_ns", 12},
		{"touch/peer=lapse/by=key/access=random/n=1M/procs=1", "early", 1},
		{"touch/peer=lapse/by=key/access=random/n=1M/procs=1", "dead", 1},
		{"start/peer=scs/n=1M/procs=1", "op_ns", 99},
		{"start/peer=lapse/n=1M/procs=1", "allocs", 1},
		{"end/peer=go-cache/hook=no/n=1M/procs=1", "op_ns", 99},
		{"bytes/peer=lapse/access=touched/n=1M/procs=1", "heap_B", 81},
		{"collect/peer=lapse/n=10M/procs=1", "gc_ms", 10.1},
		{"storm/peer=lapse/n=1M/procs=1", "last_ms", 201},
		{"storm/peer=lapse/n=1M/procs=1", "start_ms", 2.1},
		{"storm/peer=lapse/n=1M/procs=1", "touch_ms", 2.1},
		{"spread/peer=lapse/n=1M/procs=1", "late_p999_ms", 13.1},
		{"spread/peer=lapse/n=1M/procs=1", "double", 1},
		{"http/peer=lapsehttp/n=1M/procs=64", "inner_ns", 1201},
		{"http/peer=lapsehttp/n=1M/procs=64", "inner_allocs", 7},
		{"idle/peer=lapse/n=1M/procs=1", "wakeups_per_s", 0.2},
		{"idle/peer=lapse/n=1M/procs=1", "cpu_pct", 0.05},
	} {
		changed := *f
		changed.Results = nil
		found := false
		for _, r := range f.Results {
			if r.Name == tt.name {
				values := make(work.Values)
				for name, v := range r.Values {
					values[name] = v
				}
				values[tt.value] = tt.worse
				r.Values = values
				found = true
			}
			changed.Results = append(changed.Results, r)
		}
		if !found {
			t.Errorf("there is no result %s", tt.name)
		}
		b.Reset()
		if met, err := Bars(&b, &changed, false); err != nil || met || strings.Contains(b.String(), " 0 missed") {
			t.Errorf("with %s of %s at %v: %v, %v\n%s", tt.value, tt.name, tt.worse, met, err, b.String())
		}
	}
	empty := &record.File{Results: f.Results[:1]}
	if met, err := Bars(&strings.Builder{}, empty, false); err != nil || met {
		t.Errorf("with one result all bars are met: %v", err)
	}
}

// TestBest checks who counts as the best peer.
func TestBest(t *testing.T) {
	r, err := newResults(&record.File{Results: []record.Result{
		{Name: "start/peer=lapse/n=1M/procs=1", Run: 1, Values: work.Values{"op_ns": 100}},
		{Name: "start/peer=thw/n=1M/procs=1", Run: 1, Values: work.Values{"op_ns": 50}}, // which has no keys
		{Name: "start/peer=scs/n=1M/procs=1", Run: 1, Values: work.Values{"op_ns": 300}},
		{Name: "start/peer=sweep/n=1M/procs=1", Run: 1, Values: work.Values{"op_ns": 200}, Others: 1},
		{Name: "storm/peer=sweep/n=1M/procs=1", Run: 1, Values: work.Values{"last_ms": 200, "early": 0, "lost": 0}},
		{Name: "storm/peer=otter/n=1M/procs=1", Run: 1, Values: work.Values{"last_ms": 100, "early": 1, "lost": 0}},
		{Name: "storm/peer=theine/n=1M/procs=1", Run: 1, Values: work.Values{"last_ms": 50, "early": 0, "lost": 7}},
		{Name: "storm/peer=heap/n=1M/procs=1", Run: 1, Error: "it broke"},
		{Name: "bytes/peer=scs/access=touched/n=1M/procs=1", Run: 1, Values: work.Values{"heap_B": 40, "dead": 20_000}},
		{Name: "bytes/peer=otter/access=touched/n=1M/procs=1", Run: 1, Values: work.Values{"heap_B": 130, "dead": 5}},
		{Name: "touch/peer=thw/by=handle/access=hot/n=1M/procs=1", Run: 1, Values: work.Values{"op_ns": 30}},
		{Name: "touch/peer=floor/by=handle/access=hot/n=1M/procs=1", Run: 1, Values: work.Values{"op_ns": 20}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		spec        work.Spec
		value, want string
	}{
		{work.Spec{Case: work.Start, N: million}, "op_ns", "sweep"},
		{work.Spec{Case: work.Storm, N: million}, "last_ms", "sweep"},
		{work.Spec{Case: work.Touch, By: "handle", Access: "hot", N: million}, "op_ns", "thw"},
		{work.Spec{Case: work.Bytes, Access: "touched", N: million}, "heap_B", "otter"},
		{work.Spec{Case: work.End, N: million}, "op_ns", ""},
	} {
		if peer, _, ok := r.least(tt.spec, tt.value); peer != tt.want || ok != (tt.want != "") {
			t.Errorf("the best peer of %v is %q, want %q", tt.spec, peer, tt.want)
		}
	}
	for _, bar := range r.bars() {
		if bar.What == "start, with key" && bar.Want == "faster than every keyed peer" && (bar.verdict() != "met, disturbed" || bar.Ratio != "2.00×" || bar.Lapse != "100 ns") {
			t.Errorf("the bar of starts is %+v: %s", bar, bar.verdict())
		}
		if strings.HasPrefix(bar.What, "forced") && bar.verdict() != "not measured: go run ./cmd/measure -set full -only 'collect n=10M procs=1'" {
			t.Errorf("the bar of collections is %+v: %s", bar, bar.verdict())
		}
	}
}

func TestDocuments(t *testing.T) {
	f := fast(t)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	read := func(path string) string {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	readme := write("README.md", "before\n<!-- bench:begin -->\nold\n<!-- bench:end -->\nafter\n")
	for range 2 { // the second time it finds what the first one wrote
		if err := Readme(readme, f); err != nil {
			t.Fatal(err)
		}
	}
	text := read(readme)
	if strings.Contains(text, "old") || !strings.HasPrefix(text, "before\n<!--") || !strings.HasSuffix(text, "<!-- bench:end -->\nafter\n") {
		t.Errorf("the README is\n%s", text)
	}
	if strings.Count(text, "| **lapse** |") != 1 || strings.Contains(text, "floor") {
		t.Errorf("the README's table is\n%s", text)
	}

	docs := write("performance.md", "# Performance\n<!-- bench:begin touch-key -->\n<!-- bench:end -->\nprose\n<!-- bench:begin bars -->\n<!-- bench:end -->\n")
	if err := Docs(docs, f); err != nil {
		t.Fatal(err)
	}
	text = read(docs)
	if !strings.Contains(text, "\nprose\n") || !strings.Contains(text, "| hot |") || !strings.Contains(text, "| met |") {
		t.Errorf("the document is\n%s", text)
	}
	all := write("all.md", "<!-- bench:begin -->\n<!-- bench:end -->\n")
	if err := Docs(all, f); err != nil {
		t.Fatal(err)
	}
	if text = read(all); strings.Count(text, "### ") < 10 {
		t.Errorf("all tables are\n%s", text)
	}

	for name, bad := range map[string]string{
		"none":   "no markers\n",
		"open":   "<!-- bench:begin -->\n",
		"closed": "<!-- bench:end -->\n",
		"twice":  "<!-- bench:begin -->\n<!-- bench:begin -->\n<!-- bench:end -->\n",
		"name":   "<!-- bench:begin nothing -->\n<!-- bench:end -->\n",
	} {
		path := write(name, bad)
		if err := Docs(path, f); err == nil {
			t.Errorf("%s: no error", name)
		}
		if got := read(path); got != bad {
			t.Errorf("%s: the document was changed to %q", name, got)
		}
	}
}

func TestText(t *testing.T) {
	var b strings.Builder
	if err := Text(&b, fast(t), ""); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"lapse ", "go-cache", "1M sessions due at one instant"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("there is no %q in\n%s", want, b.String())
		}
	}
	b.Reset()
	if err := Text(&b, fast(t), "storm-1M"); err != nil || strings.Contains(b.String(), "Start, a session") || !strings.Contains(b.String(), "due at one instant") {
		t.Errorf("one table: %v\n%s", err, b.String())
	}
	if err := Text(&b, fast(t), "nothing"); err == nil || !strings.Contains(err.Error(), "storm-1M") {
		t.Errorf("a table that does not exist: %v", err)
	}
}

func TestSpread(t *testing.T) {
	for _, tt := range []struct {
		sample record.Sample
		want   string
	}{
		{record.Sample{Median: 100, Least: 90, Most: 130, Runs: 7}, "100 ±20%"}, {record.Sample{Median: 5, Least: 5, Most: 5, Runs: 1}, "5.00"},
		{record.Sample{Median: -10, Least: -11, Most: -9, Runs: 2}, "-10.0 ±10%"}, {record.Sample{Runs: 3}, "0"},
		{record.Sample{Median: 1, Least: 0.5, Most: 124, Runs: 3}, "1.00 (0.500 to 124)"},
	} {
		if got := spread(tt.sample); got != tt.want {
			t.Errorf("spread(%+v) is %q, want %q", tt.sample, got, tt.want)
		}
	}
	if got := figure(record.Sample{Median: 100, Least: 90, Most: 110, Runs: 2}, "ns"); got != "100 ns ±10%" {
		t.Errorf("the figure is %q", got)
	}
}

func TestNumber(t *testing.T) {
	for _, tt := range []struct {
		v    float64
		want string
	}{
		{0, "0"}, {0.0001, "<0.001"}, {0.01234, "0.012"}, {0.9996, "1.00"}, {9.87654, "9.88"}, {9.996, "10.0"}, {12.345, "12.3"}, {99.96, "100"},
		{1234.5, "1234"}, {12345, "12\u202f345"}, {1234567, "1\u202f234\u202f567"}, {-998.4, "-998"}, {-12345, "-12\u202f345"},
	} {
		if got := number(tt.v); got != tt.want {
			t.Errorf("number(%v) is %q, want %q", tt.v, got, tt.want)
		}
	}
}
