// Command report writes what measure has found.
//
//	report -from results/full.jsonl                 the tables, on the terminal
//	report -from ... -table storm-1M                one of them
//	report -from ... -readme ../README.md           the main table, between the markers of the README
//	report -from ... -docs ../docs/performance.md   all tables, or those that the markers there name
//	report -from ... -bars                          what lapse is to reach, and whether it does
//
// The markers are lines: <!-- bench:begin --> or <!-- bench:begin NAME -->, and
// <!-- bench:end -->. What is between them is replaced.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/lapse-go/lapse/bench/record"
	"github.com/lapse-go/lapse/bench/report"
)

var (
	from     = flag.String("from", "results/full.jsonl", "the file of results")
	table    = flag.String("table", "", "write the table of this name only, on the terminal; that of the README is readme")
	readme   = flag.String("readme", "", "put the main table into this file")
	docs     = flag.String("docs", "", "put the tables into this file")
	bars     = flag.Bool("bars", false, "list the bars: what lapse reached, the best peer, and the ratio of the two; the status is 1 if one of them is not met or not measured")
	markdown = flag.Bool("markdown", false, "list the bars as Markdown")
)

func main() {
	flag.Parse()
	met, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(2)
	}
	if !met {
		os.Exit(1)
	}
}

func run() (met bool, err error) {
	file, err := record.Read(*from)
	if err != nil {
		return false, err
	}
	if len(file.Results) == 0 {
		return false, fmt.Errorf("%s has no results: run measure first", *from)
	}
	if *table != "" || *readme == "" && *docs == "" && !*bars {
		if err := report.Text(os.Stdout, file, *table); err != nil {
			return false, err
		}
	}
	if *readme != "" {
		if err := report.Readme(*readme, file); err != nil {
			return false, err
		}
	}
	if *docs != "" {
		if err := report.Docs(*docs, file); err != nil {
			return false, err
		}
	}
	if *bars {
		return report.Bars(os.Stdout, file, *markdown)
	}
	return true, nil
}
