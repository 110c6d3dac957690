package main

import (
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// A key explains signs, in one line above the rows.
type key struct {
	t       theme
	entries []keyEntry
}

type keyEntry struct {
	shape draw.GlyphDrawer
	color color.Color
	text  string
}

// keyHeight is the room of a key.
const keyHeight = 28

func (k key) Plot(c draw.Canvas, _ *plot.Plot) {
	style := k.t.style()
	at := vg.Point{X: c.Min.X, Y: c.Max.Y + keyHeight/2}
	for _, e := range k.entries {
		c.DrawGlyphNoClip(draw.GlyphStyle{Color: e.color, Radius: 5, Shape: e.shape}, vg.Point{X: at.X + 8, Y: at.Y})
		at.X += 20
		c.FillText(style, vg.Point{X: at.X, Y: at.Y + 2}, e.text)
		at.X += style.Width(e.text) + 18
	}
}

// GlyphBoxes keeps room for the key.
func (key) GlyphBoxes(*plot.Plot) []plot.GlyphBox {
	return []plot.GlyphBox{{X: 0.5, Y: 1, Rectangle: vg.Rectangle{Max: vg.Point{Y: keyHeight}}}}
}

// A tick is an upright line.
type tick struct{}

func (tick) DrawGlyph(c *draw.Canvas, s draw.GlyphStyle, at vg.Point) {
	bar(*c, s.Color, at.X-1.2, at.X+1.2, at.Y, 16)
}

// A dash is a level bar.
type dash struct{ height vg.Length }

func (d dash) DrawGlyph(c *draw.Canvas, s draw.GlyphStyle, at vg.Point) {
	bar(*c, s.Color, at.X-8, at.X+8, at.Y, d.height)
}

// A square is a patch of color.
type square struct{}

func (square) DrawGlyph(c *draw.Canvas, s draw.GlyphStyle, at vg.Point) {
	bar(*c, s.Color, at.X-8, at.X+8, at.Y, 14)
}
