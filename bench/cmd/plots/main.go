// Command plots draws what measure has found: each picture once for a light
// background and once for a dark one.
//
//	plots -from results/full.jsonl -to ../docs/img
//
// It writes touch, collect, memory, storm and late, each as NAME-light.svg and
// NAME-dark.svg, and leaves out those that the results have no figures for.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/lapse-go/lapse/bench/record"
)

var (
	from = flag.String("from", "results/full.jsonl", "the file of results")
	to   = flag.String("to", "../docs/img", "the directory of the pictures")
)

func main() {
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "plots:", err)
		os.Exit(1)
	}
}

// errNoData says that there is nothing to draw.
var errNoData = errors.New("there are no figures for it")

func run() error {
	file, err := record.Read(*from)
	if err != nil {
		return err
	}
	if len(file.Results) == 0 {
		return fmt.Errorf("%s has no results: run measure first", *from)
	}
	d, err := newData(file)
	if err != nil {
		return err
	}
	pictures := []struct {
		name string
		draw func(*data, theme) (*plot.Plot, size, error)
	}{
		{"touch", drawTouch}, {"collect", drawCollect}, {"memory", drawMemory}, {"storm", drawStorm}, {"late", drawLate},
	}
	if err := os.MkdirAll(*to, 0o755); err != nil {
		return err
	}
	for _, picture := range pictures {
		for _, t := range []theme{light, dark} {
			path := filepath.Join(*to, picture.name+"-"+t.name+".svg")
			p, size, err := picture.draw(d, t)
			if errors.Is(err, errNoData) {
				fmt.Fprintf(os.Stderr, "%s: %v\n", path, err)
				continue
			}
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			if err := save(p, size, path); err != nil {
				return err
			}
			fmt.Println(path)
		}
	}
	return nil
}

// margin is between a picture and its edge.
const margin = 12

// fontFamily is what a viewer takes if he has not got the font that the letters
// were measured with; the ones named here are as wide.
const fontFamily = "font-family:'Liberation Sans',Arial,Helvetica,sans-serif"

var (
	fontName   = regexp.MustCompile(`font-family:[^;"]*`)
	dimensions = regexp.MustCompile(`(width|height)="([0-9.]+)pt"`)
)

func save(p *plot.Plot, s size, path string) error {
	canvas := vgsvg.New(s.w, s.h)
	whole := draw.New(canvas)
	whole.SetColor(p.BackgroundColor)
	whole.Fill(whole.Rectangle.Path())
	p.Draw(draw.Crop(whole, margin, -margin, margin, -margin))
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return err
	}
	svg := fontName.ReplaceAllLiteral(b.Bytes(), []byte(fontFamily))
	svg = dimensions.ReplaceAll(svg, []byte(`$1="$2"`))
	return os.WriteFile(path, svg, 0o644)
}
