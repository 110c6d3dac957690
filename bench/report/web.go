package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/lapse-go/lapse/bench/record"
	"github.com/lapse-go/lapse/bench/work"
)

// The cases of web servers.
const (
	HTTP    = "http"
	Streams = "streams"
)

// Web writes the tables of web servers, for a terminal.
func Web(w io.Writer, file *record.File) error {
	r, err := newResults(file)
	if err != nil {
		return err
	}
	for _, t := range r.webTables() {
		fmt.Fprintln(w)
		t.Rows = bare(t.Rows)
		t.Plain(w)
	}
	return nil
}

// bare takes the emphasis of Markdown from the names of rows.
func bare(rows [][]string) [][]string {
	rows = slices.Clone(rows)
	for i, row := range rows {
		rows[i] = append([]string{strings.Trim(row[0], "*()")}, row[1:]...)
	}
	return rows
}

// webTables returns the tables of web servers.
func (r *results) webTables() (tables []Table) {
	tables = append(tables, r.bySite(HTTP, Table{
		Name:  "http",
		Title: "A small handler behind session managers",
		Caption: "Over loopback, the client on the same machine, each connection with its next request when the last was answered. " +
			"The server's CPU and allocations are those of its whole process; the handler alone is called without a connection.",
	}, [][2]string{
		{"requests a second", "requests_per_s"}, {"p50, µs", "p50_us"}, {"p99, µs", "p99_us"}, {"server's CPU, µs", "server_cpu_us"},
		{"allocations", "allocs"}, {"allocated, B", "alloc_B"}, {"handler alone, ns", "inner_ns"}, {"its allocations", "inner_allocs"},
	})...)
	return append(tables, r.bySite(Streams, Table{
		Name:  "streams",
		Title: "Event streams",
		Caption: "Each on a connection of its own, of a session of its own; bare: a handler that sends an event and waits. " +
			"Memory of a stream, on the heap and stacks and as the system counts; when the end of all sessions had reached the first, the median and the last of them.",
	}, [][2]string{
		{"heap, B", "heap_B"}, {"resident, B", "resident_B"}, {"first, ms", "first_ms"}, {"p50, ms", "p50_ms"}, {"p99, ms", "p99_ms"}, {"last, ms", "last_ms"},
		{"CPU, ms", "cpu_ms"},
	})...)
}

// bySite makes a table for each number of sessions that a case was measured with,
// with a row for each site.
func (r *results) bySite(name string, like Table, columns [][2]string) (tables []Table) {
	sites := []string{"bare", "lapsehttp", "scs", "gorilla"}
	var shapes []work.Spec // specs without their sites
	for s := range r.cells {
		if s.Case == name {
			s.Peer = ""
			shapes = append(shapes, s)
		}
	}
	slices.SortFunc(shapes, func(a, b work.Spec) int { return strings.Compare(a.String(), b.String()) })
	for i, shape := range slices.Compact(shapes) {
		t := like
		t.Title += ": " + work.Count(shape.N)
		if i > 0 {
			t.Name += "-" + work.Count(shape.N)
		}
		if shape.Procs > 0 {
			t.Title += fmt.Sprintf(" sessions, %d connections", shape.Procs)
		}
		t.Head = []string{""}
		for _, c := range columns {
			t.Head = append(t.Head, c[0])
		}
		for _, site := range sites {
			shape.Peer = site
			cell, ok := r.cells[shape]
			if !ok {
				continue
			}
			if site == "lapsehttp" {
				site = "**lapsehttp**"
			}
			row := []string{site}
			for _, c := range columns {
				text := ""
				if s, ok := cell.Sample(c[1]); ok {
					text = spread(s)
				}
				row = append(row, text)
			}
			t.Rows = append(t.Rows, row)
		}
		tables = append(tables, t)
	}
	return tables
}
