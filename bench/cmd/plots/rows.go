package main

import (
	"cmp"
	"fmt"
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/lapse-go/lapse/bench/peers"
	"github.com/lapse-go/lapse/bench/record"
	"github.com/lapse-go/lapse/bench/work"
)

// rowHeight is what a peer takes of a picture that has a row for each.
const rowHeight = 26

// A row is a peer with what is known of it.
type row struct {
	peer    string
	samples map[string]record.Sample
}

func (r row) median(value string) float64 { return r.samples[value].Median }

// rows finds the peers that have all the values in a measurement, in the order of
// one of them.
func (d *data) rows(s work.Spec, by string, values ...string) (rows []row) {
	s.N = d.n
	for _, info := range peers.List() {
		if info.Name == peers.Floor {
			continue
		}
		s.Peer = info.Name
		r := row{info.Name, make(map[string]record.Sample)}
		for _, value := range append(values, by) {
			if sample, ok := d.sample(s, value); ok {
				r.samples[value] = sample
			}
		}
		if len(r.samples) == len(slices.Compact(slices.Sorted(slices.Values(append(values, by))))) {
			rows = append(rows, r)
		}
	}
	// The best is on top, which is the nearest to zero: rows are drawn from below.
	slices.SortStableFunc(rows, func(a, b row) int {
		return -cmp.Compare(math.Abs(a.median(by)), math.Abs(b.median(by)))
	})
	return rows
}

// drawRows makes a picture with a row for each peer, and its name before it.
func drawRows(t theme, title, x string, rows []row) (*plot.Plot, size) {
	p := t.plot(title, x, "")
	var names []string
	for _, r := range rows {
		names = append(names, r.peer)
	}
	p.NominalY(names...)
	p.Y.LineStyle.Width, p.Y.Tick.LineStyle.Width = 0, 0
	p.Y.Min, p.Y.Max = -0.6, float64(len(rows))-0.4
	return p, size{width, vg.Length(len(rows)*rowHeight + 100)}
}

// A rowPlotter draws what belongs to rows; its x axis is over some range.
type rowPlotter struct {
	rows        []row
	left, right float64
	draw        func(c draw.Canvas, r row, x func(float64) vg.Length, y vg.Length)
	boxes       []plot.GlyphBox
}

func (r rowPlotter) DataRange() (left, right, low, high float64) {
	return r.left, r.right, -0.6, float64(len(r.rows)) - 0.4
}

func (r rowPlotter) GlyphBoxes(*plot.Plot) []plot.GlyphBox { return r.boxes }

func (r rowPlotter) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	for i, row := range r.rows {
		r.draw(c, row, x, y(float64(i)))
	}
}

func bar(c draw.Canvas, fill color.Color, left, right, y, height vg.Length) {
	c.FillPolygon(fill, []vg.Point{{X: left, Y: y - height/2}, {X: right, Y: y - height/2}, {X: right, Y: y + height/2}, {X: left, Y: y + height/2}})
}

// drawMemory draws bars from zero.
func drawMemory(d *data, t theme) (*plot.Plot, size, error) {
	title := "Memory of a session: 16-byte key, empty value, after ten time-outs of touches"
	rows := d.rows(work.Spec{Case: work.Bytes, Access: "touched"}, "heap_B")
	if len(rows) == 0 {
		title = "Memory of a session: 16-byte key, empty value"
		rows = d.rows(work.Spec{Case: work.Bytes}, "heap_B")
	}
	if len(rows) == 0 {
		return nil, size{}, errNoData
	}
	p, s := drawRows(t, title, "bytes on the heap", rows)
	most := 0.0
	for _, r := range rows {
		most = max(most, r.samples["heap_B"].Most)
	}
	style := t.style()
	p.Add(grid{t, true, false}, rowPlotter{
		rows: rows, left: 0, right: most * 1.08,
		draw: func(c draw.Canvas, r row, x func(float64) vg.Length, y vg.Length) {
			v := r.median("heap_B")
			bar(c, t.of(r.peer), x(0), x(v), y, 15)
			c.FillText(style, vg.Point{X: x(v) + 6, Y: y + 2}, fmt.Sprintf("%.0f", v))
		},
	})
	p.X.Min = 0
	return p, s, nil
}

// drawStorm draws for each peer when hooks were called, and how long calls
// waited. Its axis is logarithmic, so there are no bars: they would begin
// nowhere.
func drawStorm(d *data, t theme) (*plot.Plot, size, error) {
	rows := d.rows(work.Spec{Case: work.Storm}, "last_ms", "first_ms", "start_ms", "touch_ms", "early")
	rows = slices.DeleteFunc(rows, func(r row) bool { return r.median("early") > 0 || r.median("first_ms") <= 0 })
	if len(rows) == 0 {
		return nil, size{}, errNoData
	}
	p, s := drawRows(t, work.Count(d.n)+" sessions due at one instant", "milliseconds; hooks: after the instant", rows)
	least, most := 0.01, 0.0
	for _, r := range rows {
		most = max(most, r.samples["last_ms"].Most, r.samples["start_ms"].Most, r.samples["touch_ms"].Most)
	}
	p.X.Scale = plot.LogScale{}
	p.X.Tick.Marker = decades{plain}
	at := func(v float64) float64 { return max(v, least) }
	p.Add(grid{t, true, false}, rowPlotter{
		rows: rows, left: 0.7 * least, right: niceAbove(most * 1.05),
		draw: func(c draw.Canvas, r row, x func(float64) vg.Length, y vg.Length) {
			col := t.of(r.peer)
			bar(c, col, x(at(r.median("first_ms"))), x(at(r.median("last_ms"))), y, 7)
			c.DrawGlyph(draw.GlyphStyle{Color: col, Radius: 5, Shape: draw.CircleGlyph{}}, vg.Point{X: x(at(r.median("last_ms"))), Y: y})
			for value, shape := range map[string]draw.GlyphDrawer{"start_ms": draw.BoxGlyph{}, "touch_ms": draw.PyramidGlyph{}} {
				c.DrawGlyph(draw.GlyphStyle{Color: t.text, Radius: 4.5, Shape: shape}, vg.Point{X: x(at(r.median(value))), Y: y})
			}
		},
	}, key{t, []keyEntry{
		{draw.CircleGlyph{}, t.of("lapse"), "hooks, from the first to the last"},
		{draw.BoxGlyph{}, t.text, "longest Start"},
		{draw.PyramidGlyph{}, t.text, "longest Touch (0.01: that or less)"},
	}})
	s.h += keyHeight
	return p, s, nil
}

// drawLate draws the distribution of the time from due to hook. Its axis is
// linear near zero and logarithmic far from it, on both sides.
func drawLate(d *data, t theme) (*plot.Plot, size, error) {
	rows := d.rows(work.Spec{Case: work.Spread}, "late_p50_ms", "late_p00_ms", "late_p10_ms", "late_p90_ms", "late_p999_ms", "late_max_ms")
	if len(rows) == 0 {
		return nil, size{}, errNoData
	}
	p, s := drawRows(t, work.Count(d.n)+" ends over three seconds: from due to hook", "milliseconds late: linear near zero, logarithmic beyond", rows)
	least, most := 0.0, 0.0
	for _, r := range rows {
		least, most = min(least, r.samples["late_p00_ms"].Least), max(most, r.samples["late_max_ms"].Most)
	}
	p.X.Scale = symlog{}
	p.X.Tick.Marker = symlogTicks{}
	right := niceAbove(most * 1.05)
	left := -2.0
	if least < left {
		left = -niceAbove(-least)
	}
	p.Add(early{t, left}, grid{t, true, false}, rowPlotter{
		rows: rows, left: left, right: right,
		draw: func(c draw.Canvas, r row, x func(float64) vg.Length, y vg.Length) {
			col := t.of(r.peer)
			bar(c, col, x(r.median("late_p00_ms")), x(r.median("late_max_ms")), y, 1.5)
			bar(c, col, x(r.median("late_p10_ms")), x(r.median("late_p90_ms")), y, 9)
			c.DrawGlyph(draw.GlyphStyle{Color: t.text, Radius: 4.5, Shape: draw.CircleGlyph{}}, vg.Point{X: x(r.median("late_p50_ms")), Y: y})
			c.DrawGlyph(draw.GlyphStyle{Color: t.text, Radius: 4.5, Shape: tick{}}, vg.Point{X: x(r.median("late_p999_ms")), Y: y})
		},
	}, key{t, []keyEntry{
		{draw.CircleGlyph{}, t.text, "median"},
		{dash{9}, t.of("lapse"), "p10 to p90"},
		{tick{}, t.text, "p99.9"},
		{dash{1.5}, t.of("lapse"), "least to most"},
		{square{}, t.bad, "early"},
	}})
	s.h += keyHeight
	return p, s, nil
}

// symlog is a scale that is linear near zero, logarithmic far from it, and smooth
// between: the inverse hyperbolic sine.
type symlog struct{}

// symlogUnit is where one becomes the other.
const symlogUnit = 2

func (symlog) Normalize(least, most, x float64) float64 {
	f := func(v float64) float64 { return math.Asinh(v / symlogUnit) }
	return (f(x) - f(least)) / (f(most) - f(least))
}

type symlogTicks struct{}

func (symlogTicks) Ticks(least, most float64) (ticks []plot.Tick) {
	ticks = []plot.Tick{{Value: 0, Label: "0"}}
	for _, sign := range []float64{1, -1} {
		for power := 1.0; power <= 1e6; power *= 10 {
			for digit := 1.0; digit < 10; digit++ {
				v := sign * power * digit
				if v < least || v > most {
					continue
				}
				label := ""
				if digit == 1 && power > 1 {
					label = plain(v)
				}
				ticks = append(ticks, plot.Tick{Value: v, Label: label})
			}
		}
	}
	return ticks
}

// early shades what is less than zero.
type early struct {
	t    theme
	left float64
}

func (e early) Plot(c draw.Canvas, p *plot.Plot) {
	x, _ := p.Transforms(&c)
	c.FillPolygon(e.t.bad, []vg.Point{{X: x(e.left), Y: c.Min.Y}, {X: x(0), Y: c.Min.Y}, {X: x(0), Y: c.Max.Y}, {X: x(e.left), Y: c.Max.Y}})
}
