// Package record keeps what was measured, in files of JSON lines: a setting,
// which is the machine and the versions of everything, and then the results that
// were taken there.
package record

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/lapse-go/lapse/bench/work"
)

// A Setting says where and with what results were taken.
type Setting struct {
	ID      string            `json:"id"` // of the rest, in short
	Machine Machine           `json:"machine"`
	Go      string            `json:"go"`
	Lapse   string            `json:"lapse"` // the revision
	Modules map[string]string `json:"modules"`
}

// A Result is one measurement, or the reason why there is none.
type Result struct {
	Name    string      `json:"name"`
	Run     int         `json:"run"` // from 1
	Setting string      `json:"setting"`
	At      time.Time   `json:"at"`
	Values  work.Values `json:"values,omitempty"`
	Error   string      `json:"error,omitempty"`
	// Others is how many cores other programs, and other guests of the machine,
	// took meanwhile; -1: the system does not tell.
	Others float64 `json:"others"`
}

// A line is one or the other.
type line struct {
	Setting *Setting `json:"setting,omitempty"`
	Result  *Result  `json:"result,omitempty"`
}

// A File is what a results file holds.
type File struct {
	Path     string
	Settings []Setting
	Results  []Result
}

// Read reads a results file. One that does not exist is empty; a last line that
// was cut off is left out.
func Read(path string) (*File, error) {
	f := &File{Path: path}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return nil, err
	}
	number := 0
	for text := range strings.Lines(string(data)) {
		number++
		if !strings.HasSuffix(text, "\n") {
			break
		}
		if strings.TrimSpace(text) == "" {
			continue
		}
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", path, number, err)
		}
		if l.Setting != nil {
			f.Settings = append(f.Settings, *l.Setting)
		}
		if l.Result != nil {
			f.Results = append(f.Results, *l.Result)
		}
	}
	return f, nil
}

// Add appends a result, and its setting if the file has not got it, to the file
// and to f.
func (f *File) Add(s Setting, r Result) error {
	r.Setting = s.ID
	var lines []line
	if !slices.ContainsFunc(f.Settings, func(have Setting) bool { return have.ID == s.ID }) {
		lines = append(lines, line{Setting: &s})
		f.Settings = append(f.Settings, s)
	}
	f.Results = append(f.Results, r)
	return f.append(append(lines, line{Result: &r}))
}

func (f *File) append(lines []line) (err error) {
	// A line that was cut off by a crash must not spoil the next one.
	if data, err := os.ReadFile(f.Path); err == nil && len(data) > 0 && data[len(data)-1] != '\n' {
		kept := data[:strings.LastIndexByte(string(data), '\n')+1]
		if err := os.WriteFile(f.Path, kept, 0o644); err != nil {
			return err
		}
	}
	file, err := os.OpenFile(f.Path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return write(file, lines)
}

func write(file *os.File, lines []line) error {
	w := bufio.NewWriter(file)
	for _, l := range lines {
		text, err := json.Marshal(l)
		if err != nil {
			return err
		}
		w.Write(append(text, '\n'))
	}
	return w.Flush()
}

// Drop removes results from the file, and settings that have none left.
func (f *File) Drop(drop func(Result) bool) (err error) {
	f.Results = slices.DeleteFunc(f.Results, drop)
	f.Settings = slices.DeleteFunc(f.Settings, func(s Setting) bool {
		return !slices.ContainsFunc(f.Results, func(r Result) bool { return r.Setting == s.ID })
	})
	var lines []line
	for i := range f.Settings {
		lines = append(lines, line{Setting: &f.Settings[i]})
	}
	for i := range f.Results {
		lines = append(lines, line{Result: &f.Results[i]})
	}
	file, err := os.Create(f.Path + ".new")
	if err != nil {
		return err
	}
	if err := errors.Join(write(file, lines), file.Close()); err != nil {
		return err
	}
	return os.Rename(f.Path+".new", f.Path)
}

// Has reports whether there is a result of a run.
func (f *File) Has(name string, run int) bool {
	return slices.ContainsFunc(f.Results, func(r Result) bool { return r.Name == name && r.Run == run })
}

// Suits returns an error if the file has results that were taken with another
// machine or another Go: their medians together would say nothing.
func (f *File) Suits(s Setting) error {
	for _, have := range f.Settings {
		if have.Machine != s.Machine || have.Go != s.Go {
			return fmt.Errorf("%s has results of %v with %s, and this is %v with %s: write to another file, with -o", f.Path, have.Machine, have.Go, s.Machine, s.Go)
		}
	}
	return nil
}

// Disturbed is how many cores other programs may take while something is
// measured before the result counts as disturbed.
const Disturbed = 0.1

// Disturbed reports whether other programs took so much meanwhile that the
// measurement should be repeated.
func (r Result) Disturbed() bool { return r.Others > Disturbed }

// A Cell is what the runs of one measurement found.
type Cell struct {
	Spec      work.Spec
	Runs      int
	Disturbed int // of the runs
	Errors    []string
	values    map[string][]float64 // by name; sorted
}

// Cells returns what was measured, in the order of the file.
func (f *File) Cells() ([]Cell, error) {
	var cells []Cell
	at := make(map[string]int)
	for _, r := range f.Results {
		i, ok := at[r.Name]
		if !ok {
			spec, err := work.Parse(r.Name)
			if err != nil {
				return nil, err
			}
			i = len(cells)
			at[r.Name] = i
			cells = append(cells, Cell{Spec: spec, values: make(map[string][]float64)})
		}
		c := &cells[i]
		if r.Error != "" {
			c.Errors = append(c.Errors, r.Error)
			continue
		}
		c.Runs++
		if r.Disturbed() {
			c.Disturbed++
		}
		for name, v := range r.Values {
			values := append(c.values[name], v)
			slices.Sort(values)
			c.values[name] = values
		}
	}
	return cells, nil
}

// A Sample is a value over the runs.
type Sample struct {
	Median, Least, Most float64
	Runs                int
}

// Sample returns what the runs found for a value; ok is false if none did.
func (c Cell) Sample(name string) (s Sample, ok bool) {
	v := c.values[name]
	if len(v) == 0 {
		return s, false
	}
	return Sample{Median: work.Median(v), Least: v[0], Most: v[len(v)-1], Runs: len(v)}, true
}

// Names returns the names of the values, sorted.
func (c Cell) Names() []string { return slices.Sorted(maps.Keys(c.values)) }
