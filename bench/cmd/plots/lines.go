package main

import (
	"cmp"
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

// A series is a line of a picture.
type series struct {
	label  string
	color  color.Color
	bold   bool
	dashed bool
	points []point
}

// A point is a median, and how far the runs lay apart.
type point struct {
	x float64
	y record.Sample
}

// lines draws series, and writes the name of each where it ends, so that nobody
// has to look for it in a legend.
type lines struct {
	t      theme
	series []series
}

func (l lines) DataRange() (left, right, low, high float64) {
	left, low = math.Inf(1), math.Inf(1)
	right, high = math.Inf(-1), math.Inf(-1)
	for _, s := range l.series {
		for _, p := range s.points {
			left, right = min(left, p.x), max(right, p.x)
			low, high = min(low, p.y.Least), max(high, p.y.Most)
		}
	}
	return left, right, low, high
}

// labelRoom is the space for names, to the right of the lines.
const labelRoom = 150

func (l lines) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	// What is bold comes last, on top of the others.
	ordered := slices.Clone(l.series)
	slices.SortStableFunc(ordered, func(a, b series) int { return cmp.Compare(flag01(a.bold), flag01(b.bold)) })
	for _, s := range ordered {
		style := draw.LineStyle{Color: s.color, Width: 1.5}
		if s.bold {
			style.Width = 3
		}
		if s.dashed {
			style.Dashes = []vg.Length{6, 4}
		}
		var path []vg.Point
		for _, pt := range s.points {
			path = append(path, vg.Point{X: x(pt.x), Y: y(pt.y.Median)})
		}
		c.StrokeLines(style, path)
		bar := draw.LineStyle{Color: s.color, Width: 1}
		for i, pt := range s.points {
			c.StrokeLine2(bar, path[i].X, y(pt.y.Least), path[i].X, y(pt.y.Most))
			c.DrawGlyph(draw.GlyphStyle{Color: s.color, Radius: style.Width + 1, Shape: draw.CircleGlyph{}}, path[i])
		}
	}
	l.labels(c, x, y)
}

func flag01(b bool) int {
	if b {
		return 1
	}
	return 0
}

// labels writes the names at the right edge, as near to the ends of their lines
// as they can be without touching each other.
func (l lines) labels(c draw.Canvas, x, y func(float64) vg.Length) {
	const height = textSize + 3
	type label struct {
		s          series
		end        vg.Point
		want, have vg.Length
	}
	var all []*label
	for _, s := range l.series {
		last := s.points[len(s.points)-1]
		end := vg.Point{X: x(last.x), Y: y(last.y.Median)}
		all = append(all, &label{s, end, end.Y, end.Y})
	}
	slices.SortFunc(all, func(a, b *label) int { return cmp.Compare(a.want, b.want) })
	// Blocks of labels that touch are moved together, around their middle.
	for range 100 {
		moved := false
		for i := 1; i < len(all); i++ {
			if overlap := all[i-1].have + height - all[i].have; overlap > 0.01 {
				all[i-1].have -= overlap / 2
				all[i].have += overlap / 2
				moved = true
			}
		}
		if !moved {
			break
		}
	}
	// None lies beyond the top, nor, which comes first, beyond the bottom.
	ceiling, floor := c.Max.Y-height/2, c.Min.Y+height/2
	for _, lb := range slices.Backward(all) {
		lb.have = min(lb.have, ceiling)
		ceiling = lb.have - height
	}
	for _, lb := range all {
		lb.have = max(lb.have, floor)
		floor = lb.have + height
	}
	edge := c.Max.X + 26
	style := l.t.style()
	for _, lb := range all {
		c.StrokeLine2(draw.LineStyle{Color: lb.s.color, Width: 0.75}, lb.end.X+4, lb.end.Y, edge-4, lb.have)
		style.Color = lb.s.color
		c.FillText(style, vg.Point{X: edge, Y: lb.have + 2}, lb.s.label)
	}
}

// GlyphBoxes keeps room for the names.
func (l lines) GlyphBoxes(*plot.Plot) []plot.GlyphBox {
	return []plot.GlyphBox{{X: 1, Y: 0.5, Rectangle: vg.Rectangle{Max: vg.Point{X: labelRoom}}}}
}

// seriesOf makes the line of a peer over numbers of sessions; ok is false unless
// there are two points at least.
func (d *data) seriesOf(peer string, sizes []int, spec work.Spec, value string, t theme) (s series, ok bool) {
	s = series{label: peer, color: t.of(peer), bold: peer == "lapse"}
	spec.Peer = peer
	for _, n := range sizes {
		spec.N = n
		if sample, ok := d.sample(spec, value); ok {
			s.points = append(s.points, point{float64(n), sample})
		}
	}
	return s, len(s.points) > 1
}

func drawTouch(d *data, t theme) (*plot.Plot, size, error) {
	sizes := d.sizes(work.Touch)
	var all []series
	for _, info := range peers.List() {
		if s, ok := d.seriesOf(info.Name, sizes, work.Spec{Case: work.Touch, By: "key", Access: "random"}, "op_ns", t); ok {
			all = append(all, s)
		}
		if s, ok := d.seriesOf(info.Name, sizes, work.Spec{Case: work.Touch, By: "handle", Access: "random"}, "op_ns", t); ok && info.Name != peers.Floor {
			s.label += ", by handle"
			s.dashed = true
			all = append(all, s)
		}
	}
	return drawLines(t, "Touch of a random session, by key and by handle", "sessions", "nanoseconds", all)
}

func drawCollect(d *data, t theme) (*plot.Plot, size, error) {
	sizes := d.sizes(work.Collect)
	var all []series
	for _, info := range peers.List() {
		if s, ok := d.seriesOf(info.Name, sizes, work.Spec{Case: work.Collect}, "gc_ms", t); ok {
			if info.Name == peers.Floor {
				s.label, s.dashed = "without sessions", true
			}
			all = append(all, s)
		}
	}
	return drawLines(t, "A forced collection of garbage", "sessions on the heap", "milliseconds", all)
}

// drawLines draws series over numbers of sessions, both axes logarithmic.
func drawLines(t theme, title, x, y string, all []series) (*plot.Plot, size, error) {
	if len(all) == 0 {
		return nil, size{}, errNoData
	}
	p := t.plot(title, x, y)
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker, p.Y.Tick.Marker = decades{sessions}, decades{plain}
	l := lines{t, all}
	p.Add(grid{t, true, true}, l)
	// Whole decades, or halves of them, above and below.
	p.Y.Min = niceBelow(p.Y.Min)
	p.Y.Max = niceAbove(p.Y.Max)
	return p, size{width, 470}, nil
}

// niceBelow returns the greatest 1, 2 or 5 times a power of ten that is not above
// v.
func niceBelow(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, digit := range []float64{5, 2} {
		if power*digit <= v {
			return power * digit
		}
	}
	return power
}

// niceAbove returns the least such that is not below v.
func niceAbove(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, digit := range []float64{1, 2, 5} {
		if power*digit >= v {
			return power * digit
		}
	}
	return power * 10
}
