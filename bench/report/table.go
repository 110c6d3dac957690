// Package report writes what was measured: as tables, and as the list of what
// lapse is meant to reach.
package report

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/lapse-go/lapse/bench/record"
)

// A Table has a name, by which a document asks for it, and a sentence that says
// how to read it. The first column is text, the others are figures.
type Table struct {
	Name    string
	Title   string
	Caption string
	Head    []string
	Rows    [][]string
	Text    bool // all columns are text
}

// Empty reports whether the table has no figures.
func (t Table) Empty() bool {
	for _, row := range t.Rows {
		for _, cell := range row[1:] {
			if cell != "" {
				return false
			}
		}
	}
	return true
}

// Markdown writes the table for a document.
func (t Table) Markdown(w io.Writer) {
	fmt.Fprintf(w, "| %s |\n|", strings.Join(t.Head, " | "))
	for i := range t.Head {
		if i == 0 || t.Text {
			fmt.Fprint(w, "---|")
		} else {
			fmt.Fprint(w, "--:|")
		}
	}
	fmt.Fprintln(w)
	for _, row := range t.Rows {
		fmt.Fprintf(w, "| %s |\n", strings.Join(row, " | "))
	}
}

// Plain writes the table for a terminal.
func (t Table) Plain(w io.Writer) {
	width := make([]int, len(t.Head))
	for _, row := range append([][]string{t.Head}, t.Rows...) {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	line := func(row []string) {
		var b strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if i == 0 || t.Text {
				b.WriteString(cell + pad + "  ")
			} else {
				b.WriteString(pad + cell + "  ")
			}
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
	fmt.Fprintf(w, "%s\n", t.Title)
	line(t.Head)
	for _, row := range t.Rows {
		line(row)
	}
}

// number writes a figure with three digits, as they are read best.
func number(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return ""
	case a == 0:
		return "0"
	case a >= 99.95:
		return group(strconv.FormatFloat(v, 'f', 0, 64))
	case a >= 9.995:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 0.9995:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case a >= 0.0005:
		return strconv.FormatFloat(v, 'f', 3, 64)
	}
	return "<0.001"
}

// group puts a narrow no-break space between thousands.
func group(digits string) string {
	sign := ""
	if rest, ok := strings.CutPrefix(digits, "-"); ok {
		sign, digits = "-", rest
	}
	if len(digits) < 5 {
		return sign + digits
	}
	var parts []string
	for len(digits) > 3 {
		parts = append([]string{digits[len(digits)-3:]}, parts...)
		digits = digits[:len(digits)-3]
	}
	return sign + strings.Join(append([]string{digits}, parts...), "\u202f")
}

// spread writes a median and, if there were several runs, how far they lay apart:
// half the distance from the least to the most; both, where that says nothing.
func spread(s record.Sample) string {
	text := number(s.Median)
	if s.Runs > 1 && s.Median != 0 {
		half := (s.Most - s.Least) / 2 / math.Abs(s.Median) * 100
		if half > 100 {
			return fmt.Sprintf("%s (%s to %s)", text, number(s.Least), number(s.Most))
		}
		text += fmt.Sprintf(" ±%.0f%%", half)
	}
	return text
}
