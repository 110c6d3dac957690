package main

import (
	"slices"

	"github.com/lapse-go/lapse/bench/record"
	"github.com/lapse-go/lapse/bench/work"
)

// data finds what is drawn.
type data struct {
	cells map[work.Spec]record.Cell
	// n is the number of sessions of pictures that have only one: a million if
	// there are results of it.
	n int
}

func newData(file *record.File) (*data, error) {
	cells, err := file.Cells()
	if err != nil {
		return nil, err
	}
	d := &data{cells: make(map[work.Spec]record.Cell)}
	for _, c := range cells {
		d.cells[c.Spec] = c
		if c.Spec.Case == work.Storm && d.n != 1_000_000 {
			d.n = max(d.n, c.Spec.N)
		}
	}
	if d.n == 0 {
		d.n = 1_000_000
	}
	return d, nil
}

// sample returns a value of a measurement by one goroutine.
func (d *data) sample(s work.Spec, value string) (record.Sample, bool) {
	s.Procs = max(s.Procs, 1)
	return d.cells[s].Sample(value)
}

// sizes returns the numbers of sessions of a case.
func (d *data) sizes(name string) (sizes []int) {
	for s := range d.cells {
		if s.Case == name && s.Access != "hot" && s.Access != "tick" {
			sizes = append(sizes, s.N)
		}
	}
	slices.Sort(sizes)
	return slices.Compact(sizes)
}
