package main

import (
	"fmt"
	"image/color"
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/lapse-go/lapse/bench/peers"
	"github.com/lapse-go/lapse/bench/work"
)

// A theme is the colors of a picture.
type theme struct {
	name                   string
	back, text, faint, bad color.Color
	lapse                  color.Color
	peers                  []color.Color
}

func rgb(hex uint32) color.Color {
	return color.NRGBA{uint8(hex >> 16), uint8(hex >> 8), uint8(hex), 255}
}

func palette(hex ...uint32) (colors []color.Color) {
	for _, h := range hex {
		colors = append(colors, rgb(h))
	}
	return colors
}

var (
	light = theme{
		name: "light",
		back: rgb(0xffffff), text: rgb(0x1f2328), faint: rgb(0xd8dee4), bad: rgb(0xffebe9), lapse: rgb(0xcf222e),
		peers: palette(0x0969da, 0x1a7f37, 0x9a6700, 0x8250df, 0xbf3989, 0x57606a, 0x1b7c83, 0xbc4c00, 0x6e7781, 0x4d2d00, 0x0550ae, 0x116329, 0x6639ba, 0x8c959f),
	}
	dark = theme{
		name: "dark",
		back: rgb(0x0d1117), text: rgb(0xe6edf3), faint: rgb(0x30363d), bad: rgb(0x3c1618), lapse: rgb(0xff7b72),
		peers: palette(0x58a6ff, 0x3fb950, 0xd29922, 0xbc8cff, 0xf778ba, 0x8b949e, 0x39c5cf, 0xf0883e, 0xb1bac4, 0xe3b341, 0xa5d6ff, 0x7ee787, 0xd2a8ff, 0x6e7681),
	}
)

// of returns the color of a peer, the same in all pictures.
func (t theme) of(peer string) color.Color {
	if peer == "lapse" {
		return t.lapse
	}
	for i, info := range peers.List()[1:] {
		if info.Name == peer {
			return t.peers[i%len(t.peers)]
		}
	}
	return t.text
}

// A size is that of a picture.
type size struct{ w, h vg.Length }

const (
	width     = 820
	titleSize = 16
	textSize  = 13
)

// sans is the font of all letters.
func sans(size font.Length) font.Font {
	return font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
}

// style is that of text, set to the right of a point and level with it.
func (t theme) style() draw.TextStyle {
	return draw.TextStyle{Color: t.text, Font: sans(textSize), YAlign: draw.YCenter, Handler: plot.DefaultTextHandler}
}

// plot makes an empty picture.
func (t theme) plot(title, x, y string) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = t.back
	p.Title.Text = title
	p.Title.Padding = 10
	p.Title.TextStyle.Color = t.text
	p.Title.TextStyle.Font = sans(titleSize)
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.LineStyle.Color = t.text
		axis.LineStyle.Width = 1
		axis.Tick.LineStyle.Color = t.text
		axis.Tick.LineStyle.Width = 1
		axis.Tick.Length = 5
		axis.Tick.Label.Color = t.text
		axis.Tick.Label.Font = sans(textSize)
		axis.Label.TextStyle.Color = t.text
		axis.Label.TextStyle.Font = sans(textSize)
		axis.Label.Padding = 6
		axis.Padding = 0
	}
	p.X.Label.Text, p.Y.Label.Text = x, y
	return p
}

// decades marks the powers of ten, with a label each, and what lies between them
// without.
type decades struct{ label func(float64) string }

func (d decades) Ticks(least, most float64) (ticks []plot.Tick) {
	for e := math.Floor(math.Log10(least)); math.Pow(10, e) <= most*1.001; e++ {
		power, _ := strconv.ParseFloat(fmt.Sprintf("1e%.0f", e), 64) // 0.1 rather than nearly so
		for digit := 1.0; digit < 10; digit++ {
			v := power * digit
			if v < least*0.999 || v > most*1.001 {
				continue
			}
			label := ""
			if digit == 1 {
				label = d.label(v)
			}
			ticks = append(ticks, plot.Tick{Value: v, Label: label})
		}
	}
	return ticks
}

// sessions labels numbers of sessions, such as 10M.
func sessions(v float64) string { return work.Count(int(math.Round(v))) }

// plain labels a number without an exponent.
func plain(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// A grid draws faint lines at labeled ticks.
type grid struct {
	t    theme
	x, y bool
}

func (g grid) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	line := draw.LineStyle{Color: g.t.faint, Width: 1}
	if g.x {
		for _, tick := range p.X.Tick.Marker.Ticks(p.X.Min, p.X.Max) {
			if tick.Label != "" {
				c.StrokeLine2(line, x(tick.Value), c.Min.Y, x(tick.Value), c.Max.Y)
			}
		}
	}
	if g.y {
		for _, tick := range p.Y.Tick.Marker.Ticks(p.Y.Min, p.Y.Max) {
			if tick.Label != "" {
				c.StrokeLine2(line, c.Min.X, y(tick.Value), c.Max.X, y(tick.Value))
			}
		}
	}
}
