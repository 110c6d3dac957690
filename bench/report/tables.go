package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lapse-go/lapse/bench/peers"
	"github.com/lapse-go/lapse/bench/record"
	"github.com/lapse-go/lapse/bench/work"
)

// results finds cells by the specs of their measurements.
type results struct {
	file  *record.File
	cells map[work.Spec]record.Cell
	n     int // of sessions in most measurements
}

func newResults(file *record.File) (*results, error) {
	cells, err := file.Cells()
	if err != nil {
		return nil, err
	}
	r := &results{file, make(map[work.Spec]record.Cell), million}
	count := make(map[int]int)
	for _, c := range cells {
		r.cells[c.Spec] = c
		count[c.Spec.N]++
	}
	for n := range count {
		if count[n] > count[r.n] || count[n] == count[r.n] && n > r.n {
			r.n = n
		}
	}
	return r, nil
}

// sample returns a value of a measurement. One goroutine makes the calls unless
// the spec says otherwise.
func (r *results) sample(s work.Spec, value string) (record.Sample, bool) {
	s.Procs = max(s.Procs, 1)
	return r.cells[s].Sample(value)
}

// A column is a value of a measurement that each peer has in its row.
type column struct {
	head  string
	spec  work.Spec
	value string
}

// byPeer makes a table with a row for each peer that has a figure in it. Columns
// without a figure are left out.
func (r *results) byPeer(t Table, columns []column, write func(column, record.Sample) string) Table {
	columns = slices.DeleteFunc(columns, func(c column) bool {
		return !slices.ContainsFunc(peers.List(), func(info peers.Info) bool {
			c.spec.Peer = info.Name
			_, ok := r.sample(c.spec, c.value)
			return ok
		})
	})
	t.Head = []string{""}
	for _, c := range columns {
		t.Head = append(t.Head, c.head)
	}
	for _, info := range peers.List() {
		row := []string{display(info.Name)}
		for _, c := range columns {
			c.spec.Peer = info.Name
			cell := ""
			if s, ok := r.sample(c.spec, c.value); ok {
				cell = write(c, s)
			}
			row = append(row, cell)
		}
		if strings.Join(row[1:], "") != "" {
			t.Rows = append(t.Rows, row)
		}
	}
	return t
}

// withSpread writes a figure of most tables.
func withSpread(_ column, s record.Sample) string { return spread(s) }

// display writes a peer's name in a table.
func display(name string) string {
	switch name {
	case "lapse":
		return "**lapse**"
	case peers.Floor:
		return "*(floor)*"
	}
	return name
}

// of makes columns of one measurement from their heads and values.
func of(s work.Spec, pairs [][2]string) (columns []column) {
	for _, pair := range pairs {
		columns = append(columns, column{pair[0], s, pair[1]})
	}
	return columns
}

const million = 1_000_000

// sizes returns numbers of sessions in order, each once.
func sizes(n ...int) []int {
	slices.Sort(n)
	return slices.Compact(n)
}

// quickPeers is the most peers that a quick set measures where it leaves some out.
const quickPeers = 4

// Readme is the table of the README: the main figures.
func (r *results) readme() Table {
	// Few peers have the figures that take long to measure in a quick set: the
	// column is then of what all have.
	several := func(c column) bool {
		count := 0
		for _, info := range peers.List() {
			c.spec.Peer = info.Name
			if _, ok := r.sample(c.spec, c.value); ok {
				count++
			}
		}
		return count > quickPeers
	}
	collect := column{"collection, " + work.Count(10*r.n) + ", ms", work.Spec{Case: work.Collect, N: 10 * r.n}, "gc_ms"}
	if !several(collect) {
		collect = column{"collection, ms", work.Spec{Case: work.Collect, N: r.n}, "gc_ms"}
	}
	bytes := column{"B a session", work.Spec{Case: work.Bytes, Access: "touched", N: r.n}, "heap_B"}
	if !several(bytes) {
		bytes.spec.Access = ""
	}
	storm, spread := work.Spec{Case: work.Storm, N: r.n}, work.Spec{Case: work.Spread, N: r.n}
	columns := []column{
		{"touch by key, ns", work.Spec{Case: work.Touch, By: "key", Access: "random", N: r.n}, "op_ns"},
		{"hot", work.Spec{Case: work.Touch, By: "key", Access: "hot", N: r.n}, "op_ns"},
		{"by handle, ns", work.Spec{Case: work.Touch, By: "handle", Access: "random", N: r.n}, "op_ns"},
		{"hot", work.Spec{Case: work.Touch, By: "handle", Access: "hot", N: r.n}, "op_ns"},
		{"start, ns", work.Spec{Case: work.Start, N: r.n}, "op_ns"},
		{"end, ns", work.Spec{Case: work.End, Hook: "no", N: r.n}, "op_ns"},
		bytes,
		collect,
		{"storm, ms", storm, "last_ms"},
		{"blocked, ms", storm, "start_ms"},
		{"late p99.9, ms", spread, "late_p999_ms"},
	}
	t := r.byPeer(Table{Name: "readme", Title: "The main figures, with " + work.Count(r.n) + " sessions"}, columns,
		func(c column, s record.Sample) string {
			// Who ends sessions early, or loses them, has no time for it.
			return cmp.Or(r.fault(c.spec), number(s.Median))
		})
	t.Rows = slices.DeleteFunc(t.Rows, func(row []string) bool { return row[0] == display(peers.Floor) })
	return t
}

// tables returns all tables of docs/performance.md, those without figures left
// out.
func (r *results) tables() []Table {
	tables := []Table{
		r.touch("key"), r.touch("handle"), r.procs(), r.poll(), r.start(), r.end(), r.bytes("", "fresh"),
		r.bytes("touched", "after touches"), r.collect(), r.spread(), r.keep(),
	}
	for _, n := range sizes(100_000, r.n) {
		tables = append(tables, r.storm(n))
	}
	tables = append(tables, r.churn(), r.idle(), r.checks())
	tables = append(tables, r.webTables()...)
	all := []Table{r.setting(), abilities()}
	for _, t := range tables {
		if len(t.Head) > 1 && !t.Empty() {
			all = append(all, t)
		}
	}
	return all
}

// setting says where the figures were taken.
func (r *results) setting() Table {
	t := Table{Name: "setting", Title: "Where", Head: []string{"", ""}, Text: true}
	said := make(map[string]string) // of the settings before
	row := func(name, value string) {
		if value != said[name] {
			t.Rows = append(t.Rows, []string{name, value})
			said[name] = value
		}
	}
	for _, s := range r.file.Settings {
		var first, last time.Time
		var others []float64
		count := 0
		for _, result := range r.file.Results {
			if result.Setting != s.ID {
				continue
			}
			count++
			others = append(others, result.Others)
			if first.IsZero() || result.At.Before(first) {
				first = result.At
			}
			if result.At.After(last) {
				last = result.At
			}
		}
		row("machine", s.Machine.String())
		row("kernel, caches", strings.Trim(s.Machine.Kernel+"; "+s.Machine.Caches, "; "))
		row("Go", s.Go)
		row("lapse", s.Lapse)
		when := first.Format(time.DateOnly)
		if day := last.Format(time.DateOnly); day != when {
			when += " to " + day
		}
		row("taken", fmt.Sprintf("%s, %d measurements", when, count))
		if slices.Sort(others); others[0] >= 0 {
			row("other programs took", fmt.Sprintf("%s cores at the median, %s at most", number(others[len(others)/2]), number(others[len(others)-1])))
		}
		var modules []string
		for _, path := range slices.Sorted(maps.Keys(s.Modules)) {
			modules = append(modules, strings.TrimPrefix(path, "github.com/")+" "+s.Modules[path])
		}
		row("peers", strings.Join(modules, ", "))
	}
	return t
}

// abilities is what peers can do.
func abilities() Table {
	t := Table{Name: "peers", Title: "What each peer can do", Text: true, Head: []string{
		"", "by key", "by handle", "touch tells", "ends by a call", "hook", "own time-out", "polls", "late by design", "note",
	}}
	for _, info := range peers.List() {
		if info.Name == peers.Floor {
			continue
		}
		row := []string{display(info.Name)}
		for _, can := range []bool{info.Can.Key, info.Can.Handle, info.Can.Answer, info.Can.Cancel, info.Can.Hook, info.Can.OwnIdle, info.Can.Poll} {
			row = append(row, map[bool]string{true: "yes"}[can])
		}
		slack := ""
		if info.Slack > 0 {
			slack = "up to " + strings.TrimSuffix(info.Slack.String(), "m0s")
			if strings.HasSuffix(info.Slack.String(), "m0s") {
				slack += "m"
			}
		}
		t.Rows = append(t.Rows, append(row, slack, info.Note))
	}
	return t
}

func (r *results) touch(by string) Table {
	var columns []column
	for _, access := range []string{"hot", "tick"} {
		columns = append(columns, column{access, work.Spec{Case: work.Touch, By: by, Access: access, N: r.n}, "op_ns"})
	}
	for _, n := range sizes(1000, 10_000, 100_000, r.n, 10*r.n, 50*r.n) {
		columns = append(columns, column{"of " + work.Count(n), work.Spec{Case: work.Touch, By: by, Access: "random", N: n}, "op_ns"})
	}
	return r.byPeer(Table{
		Name:    "touch-" + by,
		Title:   "Touch by " + by + ", ns",
		Caption: "hot: 1000 of " + work.Count(r.n) + " sessions, again and again. tick: the same, each once in 11 ms. of N: all N sessions, in random order.",
	}, columns, withSpread)
}

func (r *results) procs() Table {
	return r.byPeer(Table{
		Name:    "touch-procs",
		Title:   "Touches by several goroutines, millions a second",
		Caption: "of " + work.Count(r.n) + " sessions; ×N: so many goroutines.",
	}, r.byProcs(work.Touch), func(_ column, s record.Sample) string { return number(1e3 / s.Median) })
}

func (r *results) poll() Table {
	return r.byPeer(Table{Name: "poll", Title: "Poll, ns", Caption: "No peer tells polls from touches."}, r.byProcs(work.Poll), withSpread)
}

// byProcs makes columns for each way to a session and number of goroutines.
func (r *results) byProcs(name string) (columns []column) {
	for _, by := range []string{"handle", "key"} {
		for _, access := range []string{"hot", "random"} {
			for _, procs := range procsOf(r) {
				columns = append(columns, column{
					fmt.Sprintf("%s %s ×%d", by, access, procs),
					work.Spec{Case: name, By: by, Access: access, N: r.n, Procs: procs}, "op_ns",
				})
			}
		}
	}
	return columns
}

// procsOf returns the numbers of goroutines that there are results of.
func procsOf(r *results) []int {
	seen := make(map[int]bool)
	for s := range r.cells {
		if s.Case == work.Touch {
			seen[s.Procs] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

func (r *results) start() Table {
	var columns []column
	for _, n := range sizes(r.n, 10*r.n) {
		for _, procs := range procsOf(r) {
			columns = append(columns, column{fmt.Sprintf("%s ×%d, ns", work.Count(n), procs), work.Spec{Case: work.Start, N: n, Procs: procs}, "op_ns"})
		}
	}
	s := work.Spec{Case: work.Start, N: r.n}
	columns = append(columns, of(s, [][2]string{{"CPU, ns", "cpu_ns"}, {"allocations", "allocs"}, {"allocated, B", "alloc_B"}})...)
	return r.byPeer(Table{
		Name:    "start",
		Title:   "Start, a session",
		Caption: "From none to all, growth included; ×N: by so many goroutines. CPU counts the collector's work, too.",
	}, columns, withSpread)
}

func (r *results) end() Table {
	var columns []column
	for _, n := range sizes(r.n, 10*r.n) {
		for _, procs := range procsOf(r) {
			columns = append(columns, column{fmt.Sprintf("%s ×%d, ns", work.Count(n), procs), work.Spec{Case: work.End, Hook: "no", N: n, Procs: procs}, "op_ns"})
		}
		columns = append(columns, column{work.Count(n) + " with a hook, ns", work.Spec{Case: work.End, Hook: "yes", N: n}, "op_ns"})
	}
	columns = append(columns, column{"CPU, ns", work.Spec{Case: work.End, Hook: "no", N: r.n}, "cpu_ns"})
	return r.byPeer(Table{
		Name:    "end",
		Title:   "End by a call, a session",
		Caption: "All sessions by key, in random order. Where ends are handed to another goroutine, CPU tells of its work.",
	}, columns, withSpread)
}

func (r *results) bytes(access, title string) Table {
	var columns []column
	for _, key := range []string{"", "uint64", "string"} {
		for _, value := range []string{"", "pointer", "64B"} {
			head := fmt.Sprintf("%s, %s", map[string]string{"": "16 B"}[key]+key, map[string]string{"": "empty"}[value]+value)
			columns = append(columns, column{head, work.Spec{Case: work.Bytes, Key: key, Value: value, Access: access, N: r.n}, "heap_B"})
		}
	}
	for _, n := range sizes(100_000, 10*r.n) {
		columns = append(columns, column{"16 B, empty, of " + work.Count(n), work.Spec{Case: work.Bytes, Access: access, N: n}, "heap_B"})
	}
	columns = append(columns, column{"16 B, empty, resident", work.Spec{Case: work.Bytes, Access: access, N: r.n}, "resident_B"})
	name := "bytes"
	caption := "On the heap, by key and value, when " + work.Count(r.n) + " sessions have been started; resident: as the system counts."
	if access != "" {
		name += "-touched"
		caption = "The same after ten time-outs of touches, during which a tenth of the sessions was replaced by others. " +
			"ended: touches took so long that sessions ended before they were due again."
	}
	return r.byPeer(Table{Name: name, Title: "Bytes a session, " + title, Caption: caption}, columns, func(c column, s record.Sample) string {
		return cmp.Or(r.fault(c.spec), spread(s))
	})
}

func (r *results) collect() Table {
	var columns []column
	for _, n := range sizes(100_000, r.n, 10*r.n) {
		columns = append(columns, column{work.Count(n) + ", ms", work.Spec{Case: work.Collect, N: n}, "gc_ms"})
	}
	for _, n := range sizes(r.n, 10*r.n) {
		s := work.Spec{Case: work.Collect, N: n}
		columns = append(columns, column{work.Count(n) + ", CPU ms", s, "cpu_ms"}, column{work.Count(n) + ", longest pause, ms", s, "pause_ms"})
	}
	return r.byPeer(Table{
		Name:    "collect",
		Title:   "A forced collection",
		Caption: "runtime.GC with so many sessions on the heap.",
	}, columns, withSpread)
}

func (r *results) spread() Table {
	s := work.Spec{Case: work.Spread, N: r.n}
	return r.byPeer(Table{
		Name:    "spread",
		Title:   work.Count(r.n) + " ends over 3 s, the machine else idle",
		Caption: "Late: from the time-out after the start to the hook, in ms; negative is early.",
	}, of(s, [][2]string{
		{"early", "early"}, {"lost", "lost"}, {"double", "double"}, {"least", "late_p00_ms"}, {"p50", "late_p50_ms"},
		{"p99", "late_p99_ms"}, {"p99.9", "late_p999_ms"}, {"max", "late_max_ms"}, {"ends a second", "ends_per_s"}, {"CPU, s", "cpu_s"},
	}), withSpread)
}

func (r *results) keep() Table {
	s := work.Spec{Case: work.Keep, N: 100_000}
	return r.byPeer(Table{
		Name:    "keep",
		Title:   "100k sessions of 3 s, each touched once a second for 9 s, then left alone",
		Caption: "early: ended less than 3 s after the last touch. refused: touches that found no session, less than 3 s after the last one that did.",
	}, of(s, [][2]string{
		{"early", "early"}, {"earliest, ms", "late_p00_ms"}, {"refused", "refused"}, {"lost", "lost"}, {"double", "double"},
		{"late p50, ms", "late_p50_ms"}, {"late max, ms", "late_max_ms"},
	}), withSpread)
}

func (r *results) storm(n int) Table {
	s := work.Spec{Case: work.Storm, N: n}
	return r.byPeer(Table{
		Name:  "storm-" + work.Count(n),
		Title: work.Count(n) + " sessions due at one instant",
		Caption: "First and last hook after the instant; the longest time that a Start, a Touch, and a pause of nothing at all took meanwhile; " +
			"what the process grew by a session at most, and what it kept when all had ended.",
	}, of(s, [][2]string{
		{"first, ms", "first_ms"}, {"last, ms", "last_ms"}, {"Start, ms", "start_ms"}, {"Touch, ms", "touch_ms"}, {"nothing, ms", "nothing_ms"},
		{"early", "early"}, {"lost", "lost"}, {"CPU, s", "cpu_s"}, {"grew, B", "peak_B"}, {"kept, B", "left_B"},
	}), withSpread)
}

func (r *results) churn() Table {
	s := work.Spec{Case: work.Churn, N: 100_000}
	return r.byPeer(Table{
		Name:  "churn",
		Title: "Churn: 20k log-ins, 18k log-outs and 100k touches a second",
		Caption: "Some 110k sessions; one of ten is left to end by itself. growth: of the heap, from the second third of a minute to the last. " +
			"pace: of the work, whether the machine kept up.",
	}, of(s, [][2]string{
		{"heap, MB", "heap_MB"}, {"growth, %", "growth_pct"}, {"most, MB", "most_MB"}, {"CPU, % of a core", "cpu_pct"}, {"pace, %", "pace_pct"},
		{"refused touches", "dead"},
	}), withSpread)
}

func (r *results) idle() Table {
	s := work.Spec{Case: work.Idle, N: r.n}
	return r.byPeer(Table{
		Name:    "idle",
		Title:   work.Count(r.n) + " sessions an hour away, nothing to do",
		Caption: "switches: how often a thread of the process woke up; the row of the floor is a process without any sessions.",
	}, of(s, [][2]string{
		{"CPU, % of a core", "cpu_pct"}, {"switches a second", "switches_per_s"}, {"of its own a second", "wakeups_per_s"},
	}), withSpread)
}

// checks lists what should not have been: touched sessions that ended early while
// touches were timed, and touches that were refused.
func (r *results) checks() Table {
	t := Table{
		Name:    "checks",
		Title:   "Ended early while touches were timed",
		Caption: "Sessions that ended less than their time-out after a touch; in all runs of all sizes together.",
		Head:    []string{"", "measurements", "sessions ended early", "touches refused"},
	}
	for _, info := range peers.List() {
		count, early, dead, known := 0, 0.0, 0.0, false
		for s, c := range r.cells {
			if s.Peer != info.Name || s.Case != work.Touch {
				continue
			}
			count += c.Runs
			if e, ok := c.Sample("early"); ok {
				early += e.Most
				known = true
			}
			if d, ok := c.Sample("dead"); ok {
				dead += d.Most
			}
		}
		if count > 0 && info.Name != peers.Floor {
			row := []string{display(info.Name), strconv.Itoa(count), "not known", number(dead)}
			if known {
				row[2] = number(early)
			}
			if !info.Can.Answer {
				row[3] = "not told"
			}
			t.Rows = append(t.Rows, row)
		}
	}
	return t
}
