// Command http measures what sessions cost a web server: the same handler bare,
// behind lapsehttp, behind scs with its memory store and with the cookies of
// gorilla/sessions, with a million sessions that live; and event streams of
// lapsehttp beside bare ones. Each measurement has a server in a process of its
// own, which is asked over loopback; the client shares the machine with it.
//
//	http                    all of it, five times, and the tables
//	http -runs 1 -time 1s   a short look
//	http -sites lapsehttp   one of them
//
// Results are added to the file that measure writes; what it has is left out.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/lapse-go/lapse/bench/record"
	"github.com/lapse-go/lapse/bench/report"
	"github.com/lapse-go/lapse/bench/web"
	"github.com/lapse-go/lapse/bench/work"
)

var (
	n       = flag.String("sessions", "1M", "the number of sessions")
	conns   = flag.Int("conns", 64, "the number of connections")
	length  = flag.Duration("time", 5*time.Second, "how long each server is asked")
	sites   = flag.String("sites", "", "the only sites to be measured, such as bare,lapsehttp; empty: all")
	streams = flag.String("streams", "10k", "the number of event streams; 0: none")
	runs    = flag.Int("runs", 5, "how often to measure each")
	out     = flag.String("o", "results/full.jsonl", "the file of results")
	again   = flag.Bool("again", false, "drop results that the file has of this, and measure anew")
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == web.ServeCommand {
		exit(web.ServeMain(os.Args[2:]))
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exit(run(ctx))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "http:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// streamSites are those that have event streams.
var streamSites = []string{"bare", "lapsehttp"}

func run(ctx context.Context) error {
	sessions, err := work.ParseCount(*n)
	if err != nil || sessions < 1 {
		return fmt.Errorf("-sessions %s: want a number, such as 1M", *n)
	}
	open, err := work.ParseCount(*streams)
	if err != nil {
		return fmt.Errorf("-streams %s: want a number, such as 10k", *streams)
	}
	if *conns < 1 || *length <= 0 || *runs < 1 {
		return errors.New("-conns, -time and -runs are to be above zero")
	}
	file, err := record.Read(*out)
	if err != nil {
		return err
	}
	var specs []work.Spec
	for _, site := range web.Sites() {
		specs = append(specs, work.Spec{Case: report.HTTP, Peer: site.Name, N: sessions, Procs: *conns})
	}
	if open > 0 {
		for _, site := range streamSites {
			specs = append(specs, work.Spec{Case: report.Streams, Peer: site, N: open})
		}
	}
	if *sites != "" {
		chosen := strings.Split(*sites, ",")
		for _, name := range chosen {
			if _, err := web.Find(name); err != nil {
				return fmt.Errorf("-sites: %w", err)
			}
		}
		specs = slices.DeleteFunc(specs, func(s work.Spec) bool { return !slices.Contains(chosen, s.Peer) })
	}
	if *again {
		if err := file.Drop(func(r record.Result) bool {
			return slices.ContainsFunc(specs, func(s work.Spec) bool { return s.String() == r.Name })
		}); err != nil {
			return err
		}
	}
	setting := record.Here()
	if err := file.Suits(setting); err != nil {
		return err
	}
	effort := web.Effort{Conns: *conns, Time: *length, Inner: 200_000}
	for run := 1; run <= *runs; run++ {
		for _, s := range specs {
			if file.Has(s.String(), run) {
				continue
			}
			fmt.Fprintf(os.Stderr, "run %d of %d: %v\n", run, *runs, s)
			result := record.Result{Name: s.String(), Run: run, At: time.Now().UTC().Truncate(time.Second)}
			others := record.Watch()
			if s.Case == report.Streams {
				result.Values, err = web.EventStreams(ctx, s.Peer, s.N)
			} else {
				result.Values, err = web.Requests(ctx, s.Peer, s.N, effort)
			}
			result.Others = others()
			if ctx.Err() != nil {
				return errors.New("stopped; the same command goes on with what is left")
			}
			if err != nil {
				result.Error = err.Error()
				fmt.Fprintf(os.Stderr, "%v: %v\n", s, err)
			}
			for name, v := range result.Values {
				if math.IsNaN(v) || math.IsInf(v, 0) {
					delete(result.Values, name)
				}
			}
			if err := file.Add(setting, result); err != nil {
				return err
			}
		}
	}
	return report.Web(os.Stdout, file)
}
