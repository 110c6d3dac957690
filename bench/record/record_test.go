package record

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/lapse-go/lapse/bench/work"
)

func result(name string, run int, value float64) Result {
	return Result{Name: name, Run: run, At: time.Unix(1e9, 0).UTC(), Values: work.Values{"op_ns": value}}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.jsonl")
	f, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	s := Here()
	const a, b = "touch/peer=lapse/n=1k", "touch/peer=sweep/n=1k"
	for run, v := range []float64{30, 10, 20} {
		if err := f.Add(s, result(a, run+1, v)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Add(s, result(b, 1, 5)); err != nil {
		t.Fatal(err)
	}
	if err := f.Add(s, Result{Name: b, Run: 2, Error: "it broke"}); err != nil {
		t.Fatal(err)
	}

	// A measurement that was stopped while it was written is none.
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString(`{"result":{"name":"touch/pe`); err != nil {
		t.Fatal(err)
	}
	file.Close()

	f, err = Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Settings) != 1 || f.Settings[0].ID != s.ID || f.Settings[0].Machine != s.Machine {
		t.Errorf("the settings are %+v, want %+v once", f.Settings, s)
	}
	if !f.Has(a, 3) || f.Has(a, 4) || !f.Has(b, 2) {
		t.Errorf("the file has %+v", f.Results)
	}
	cells, err := f.Cells()
	if err != nil {
		t.Fatal(err)
	}
	if len(cells) != 2 || cells[0].Spec.Peer != "lapse" || cells[0].Runs != 3 || cells[1].Runs != 1 || len(cells[1].Errors) != 1 {
		t.Fatalf("the cells are %+v", cells)
	}
	if got, ok := cells[0].Sample("op_ns"); !ok || got != (Sample{Median: 20, Least: 10, Most: 30, Runs: 3}) {
		t.Errorf("the sample is %+v, %v", got, ok)
	}
	if got, ok := cells[1].Sample("op_ns"); !ok || got != (Sample{Median: 5, Least: 5, Most: 5, Runs: 1}) {
		t.Errorf("the sample of a run that worked and one that broke is %+v, %v", got, ok)
	}
	if _, ok := cells[0].Sample("nothing"); ok {
		t.Error("there is a sample of a value that was not measured")
	}

	// What is added next begins on a line of its own.
	if err := f.Add(s, result(b, 3, 7)); err != nil {
		t.Fatal(err)
	}
	if f, err = Read(path); err != nil || !f.Has(b, 3) {
		t.Fatalf("after a line that was cut off: %v, %+v", err, f)
	}
	if err := f.Drop(func(r Result) bool { return r.Name == a }); err != nil {
		t.Fatal(err)
	}
	if f, err = Read(path); err != nil || len(f.Results) != 3 || len(f.Settings) != 1 || f.Has(a, 1) {
		t.Errorf("after Drop: %v, %+v", err, f)
	}
}

func TestReadBad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.jsonl")
	if err := os.WriteFile(path, []byte("{}\nnonsense\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil {
		t.Error("a file that is no results file can be read")
	}
}

func TestHere(t *testing.T) {
	s := Here()
	if s.ID == "" || s.Go == "" || s.Lapse == "" || s.Machine.Cores < 1 || s.Machine.CPU == "" {
		t.Errorf("the setting is %+v", s)
	}
	if again := Here(); again.ID != s.ID {
		t.Errorf("the same setting is %s once, and %s then", s.ID, again.ID)
	}
}

// TestDisturbed checks that what others did is counted, in the runs of a cell.
func TestDisturbed(t *testing.T) {
	f := &File{Path: filepath.Join(t.TempDir(), "results.jsonl")}
	for i, others := range []float64{0, Disturbed, 0.11, -1, 1.5} {
		r := result("touch/peer=lapse/n=1k", i+1, float64(10*i))
		r.Others = others
		if err := f.Add(Setting{ID: "here"}, r); err != nil {
			t.Fatal(err)
		}
	}
	cells, err := f.Cells()
	if err != nil {
		t.Fatal(err)
	}
	if cells[0].Runs != 5 || cells[0].Disturbed != 2 {
		t.Errorf("2 of 5 runs were disturbed, and the cell is %+v", cells[0])
	}
	for _, tt := range []struct {
		busy      float64
		own, wall time.Duration
		want      float64
	}{{2, time.Second, 2 * time.Second, 0.5}, {1, time.Second, time.Second, 0}, {1.99, 2 * time.Second, time.Second, 0}, {3, time.Second, time.Second, 2}} {
		if got := cores(tt.busy, tt.own, tt.wall); got != tt.want {
			t.Errorf("of %v s in %v, %v of them our own, others took %v cores, want %v", tt.busy, tt.wall, tt.own, got, tt.want)
		}
	}
}

func TestSuits(t *testing.T) {
	here := Here()
	f := &File{Path: "results.jsonl", Settings: []Setting{here}}
	later := here
	later.ID, later.Lapse = "later", "another"
	if err := f.Suits(later); err != nil {
		t.Errorf("another revision on the same machine: %v", err)
	}
	machine, newer := here, here
	machine.Machine.Cores++
	newer.Go += "1"
	for _, s := range []Setting{machine, newer} {
		if f.Suits(s) == nil {
			t.Errorf("results of %v, %s may be added to those of %v, %s", s.Machine, s.Go, here.Machine, here.Go)
		}
	}
}
