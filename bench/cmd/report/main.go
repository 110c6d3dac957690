// Command report writes what measure has found.
//
//	report -from results/full.jsonl                 the tables, on the terminal
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
	readme   = flag.String("readme", "", "put the main table into this file")
	docs     = flag.String("docs", "", "put the tables into this file")
	bars     = flag.Bool("bars", false, "list the bars; the status is 1 if one of them is not met")
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
	if *readme == "" && *docs == "" && !*bars {
		return true, report.Text(os.Stdout, file)
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
