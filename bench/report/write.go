package report

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/lapse-go/lapse/bench/record"
)

// Text writes the tables of what a file has, for a terminal: all of them but what
// each peer can do, or the one of a name.
func Text(w io.Writer, file *record.File, name string) error {
	r, err := newResults(file)
	if err != nil {
		return err
	}
	tables := append([]Table{r.readme()}, r.tables()...)
	kept := slices.DeleteFunc(slices.Clone(tables), func(t Table) bool { return t.Name != name && (name != "" || t.Name == "peers") })
	if len(kept) == 0 {
		return noTable(name, tables)
	}
	for _, t := range kept {
		t.Rows = bare(t.Rows)
		fmt.Fprintln(w)
		t.Plain(w)
	}
	for _, c := range r.failed() {
		fmt.Fprintf(w, "\n%v: %s\n", c.Spec, c.Errors[0])
	}
	if disturbed := r.disturbed(); len(disturbed) > 0 {
		fmt.Fprintf(w, "\nDisturbed: in %d of %d measurements other programs took more than %v cores. measure -retry repeats them.\n",
			len(disturbed), len(r.cells), record.Disturbed)
		for _, c := range disturbed[:min(len(disturbed), listed)] {
			fmt.Fprintf(w, "%v: %d of %d runs\n", c.Spec, c.Disturbed, c.Runs)
		}
		if more := len(disturbed) - listed; more > 0 {
			fmt.Fprintf(w, "and %d more\n", more)
		}
	}
	return nil
}

// listed is how many disturbed measurements are listed at most.
const listed = 20

// failed returns the measurements that did not work.
func (r *results) failed() []record.Cell {
	return r.which(func(c record.Cell) bool { return len(c.Errors) > 0 })
}

// disturbed returns the measurements that other programs had a part in.
func (r *results) disturbed() []record.Cell {
	return r.which(func(c record.Cell) bool { return c.Disturbed > 0 })
}

func (r *results) which(is func(record.Cell) bool) (cells []record.Cell) {
	for _, c := range r.cells {
		if is(c) {
			cells = append(cells, c)
		}
	}
	slices.SortFunc(cells, func(a, b record.Cell) int { return strings.Compare(a.Spec.String(), b.Spec.String()) })
	return cells
}

// Bars writes the list of bars, for a terminal or for a document, and reports
// whether all are met.
func Bars(w io.Writer, file *record.File, markdown bool) (met bool, err error) {
	r, err := newResults(file)
	if err != nil {
		return false, err
	}
	bars := r.bars()
	if markdown {
		barTable(bars).Markdown(w)
	} else {
		barTable(bars).Plain(w)
	}
	fmt.Fprintf(w, "\n%s\n", tally(bars))
	return !slices.ContainsFunc(bars, func(b Bar) bool { return !b.Met }), nil
}

// Readme puts the main table between the markers of a document.
func Readme(path string, file *record.File) error {
	r, err := newResults(file)
	if err != nil {
		return err
	}
	return fill(path, func(name string) (string, error) {
		if name != "" {
			return "", fmt.Errorf("there is no table %q for the README: its marker has no name", name)
		}
		var b strings.Builder
		r.readme().Markdown(&b)
		if n := len(file.Settings); n > 0 {
			fmt.Fprintf(&b, "\n%s.\n", r.where())
		}
		return b.String(), nil
	})
}

// where says on one line where the results were taken.
func (r *results) where() string {
	s := r.file.Settings[len(r.file.Settings)-1]
	return fmt.Sprintf("Measured on %v, with %s", s.Machine, s.Go)
}

// Docs puts tables between the markers of a document: all of them where a marker
// has no name, one where it has.
func Docs(path string, file *record.File) error {
	r, err := newResults(file)
	if err != nil {
		return err
	}
	tables := append(r.tables(), barTable(r.bars()), r.readme())
	return fill(path, func(name string) (string, error) {
		var b strings.Builder
		if name == "" {
			for _, t := range tables[:len(tables)-1] {
				fmt.Fprintf(&b, "### %s\n\n", t.Title)
				if t.Caption != "" {
					fmt.Fprintf(&b, "%s\n\n", sentence(t.Caption))
				}
				t.Markdown(&b)
				fmt.Fprintln(&b)
			}
			for _, c := range r.failed() {
				fmt.Fprintf(&b, "`%v`: %s\n\n", c.Spec, c.Errors[0])
			}
			return strings.TrimSuffix(b.String(), "\n"), nil
		}
		for _, t := range tables {
			if t.Name == name {
				t.Markdown(&b)
				return b.String(), nil
			}
		}
		return "", noTable(name, tables)
	})
}

// noTable says which tables there are.
func noTable(name string, tables []Table) error {
	var names []string
	for _, t := range tables {
		names = append(names, t.Name)
	}
	return fmt.Errorf("there is no table %q in these results: there are %s", name, strings.Join(names, ", "))
}

// sentence begins with a capital letter.
func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

const (
	beginMarker = "<!-- bench:begin"
	endMarker   = "<!-- bench:end -->"
)

// fill replaces what is between the markers of a document. A marker is a line of
// its own; that at the beginning can have a name: <!-- bench:begin touch-key -->.
func fill(path string, text func(name string) (string, error)) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var b strings.Builder
	filled, open := 0, ""
	for line := range strings.Lines(string(data)) {
		trimmed := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(trimmed, beginMarker) && strings.HasSuffix(trimmed, "-->"):
			if open != "" {
				return fmt.Errorf("%s: %q begins before %q has ended", path, trimmed, open)
			}
			open = trimmed
			name := strings.TrimSpace(strings.TrimSuffix(strings.TrimPrefix(trimmed, beginMarker), "-->"))
			text, err := text(name)
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			fmt.Fprintf(&b, "%s\n\n%s\n", trimmed, text)
			filled++
		case trimmed == endMarker:
			if open == "" {
				return fmt.Errorf("%s: %q where nothing has begun", path, trimmed)
			}
			open = ""
			b.WriteString(line)
		case open == "":
			b.WriteString(line)
		}
	}
	switch {
	case open != "":
		return fmt.Errorf("%s: %q has no %q", path, open, endMarker)
	case filled == 0:
		return fmt.Errorf("%s has no line %q", path, beginMarker+" -->")
	}
	return os.WriteFile(path, []byte(b.String()), 0o644)
}
