package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lapse-go/lapse/bench/peers"
	"github.com/lapse-go/lapse/bench/record"
	"github.com/lapse-go/lapse/bench/work"
)

// some are results from nowhere that every picture can be drawn from.
func some(t *testing.T) *record.File {
	f := &record.File{Path: filepath.Join(t.TempDir(), "results.jsonl")}
	for i, info := range peers.List() {
		for _, n := range []int{1000, 100_000, 1_000_000} {
			for _, s := range []work.Spec{
				{Case: work.Touch, By: "key", Access: "random", N: n}, {Case: work.Touch, By: "handle", Access: "random", N: n},
				{Case: work.Collect, N: n}, {Case: work.Bytes, Access: "touched", N: n}, {Case: work.Storm, N: n}, {Case: work.Spread, N: n},
			} {
				s.Peer, s.Procs = info.Name, 1
				if s.Possible() != nil {
					continue
				}
				v := float64(100 + 10*i)
				r := record.Result{Name: s.String(), Run: 1, Values: work.Values{
					"op_ns": v, "gc_ms": v, "heap_B": v, "first_ms": v, "last_ms": 2 * v, "start_ms": 0, "touch_ms": v / 100, "early": 0,
					"late_p00_ms": -v, "late_p10_ms": 0, "late_p50_ms": v, "late_p90_ms": 2 * v, "late_p999_ms": 3 * v, "late_max_ms": 4 * v,
				}}
				if err := f.Add(record.Setting{ID: "nowhere"}, r); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return f
}

func TestPictures(t *testing.T) {
	file := some(t)
	*from, *to = file.Path, t.TempDir()
	if err := run(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"touch", "collect", "memory", "storm", "late"} {
		for _, theme := range []string{"light", "dark"} {
			data, err := os.ReadFile(filepath.Join(*to, name+"-"+theme+".svg"))
			if err != nil {
				t.Error(err)
				continue
			}
			if strings.Contains(string(data), "NaN") || strings.Contains(string(data), "Inf") {
				t.Errorf("%s has numbers that are none", name)
			}
			texts := textsOf(t, data)
			for _, peer := range []string{"lapse", "sweep", "otter"} {
				if !texts[peer] {
					t.Errorf("%s-%s has no %q", name, theme, peer)
				}
			}
		}
	}
}

// textsOf parses a picture and returns what is written in it.
func textsOf(t *testing.T, svg []byte) map[string]bool {
	texts := make(map[string]bool)
	d := xml.NewDecoder(strings.NewReader(string(svg)))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return texts
		}
		if err != nil {
			t.Fatal(err)
		}
		if text, ok := token.(xml.CharData); ok {
			texts[strings.TrimSpace(string(text))] = true
		}
	}
}

func TestNoData(t *testing.T) {
	d, err := newData(&record.File{})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := drawStorm(d, light); !errors.Is(err, errNoData) {
		t.Errorf("a picture of nothing: %v", err)
	}
	*from = filepath.Join(t.TempDir(), "none")
	if err := run(); err == nil {
		t.Error("no results are no error")
	}
}

func TestNice(t *testing.T) {
	for _, tt := range []struct{ v, below, above float64 }{{1, 1, 1}, {3, 2, 5}, {70, 50, 100}, {0.03, 0.02, 0.05}} {
		if got := niceBelow(tt.v); got < tt.below*0.999 || got > tt.below*1.001 {
			t.Errorf("niceBelow(%v) is %v, want %v", tt.v, got, tt.below)
		}
		if got := niceAbove(tt.v); got < tt.above*0.999 || got > tt.above*1.001 {
			t.Errorf("niceAbove(%v) is %v, want %v", tt.v, got, tt.above)
		}
	}
}
