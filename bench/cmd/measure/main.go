// Command measure runs the benchmarks of lapse and its peers, each measurement in
// a process of its own, several times, and in turn: all measurements once, then all
// again. It adds what it finds to a file of results, and leaves out what the file
// has already, so that it can be stopped at any time and started again.
//
//	measure -set quick            the main figures, once, and a table of them
//	measure -set full             everything
//	measure -set full -budget 15m at most so long; call it again for the rest
//	measure -set full -list       what there is, how much of it is done, and how long the rest will take
//	measure -only 'touch peer=lapse n=1M'   of these cases and parameters only
//	measure -only ... -again      drop what the file has of these, and measure anew
//	measure -set full -retry      drop what was disturbed by other programs, and measure it anew
//	measure -only ... -profile f  a CPU profile of the first one of these
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"

	"github.com/lapse-go/lapse/bench/record"
	"github.com/lapse-go/lapse/bench/report"
	"github.com/lapse-go/lapse/bench/work"
)

var (
	set     = flag.String("set", "quick", "what to measure: quick or full")
	only    = flag.String("only", "", "space-separated cases and key=value parameters that measurements must have, or key!=value for those without; alternatives with |")
	runs    = flag.Int("runs", 0, "how often to measure each; 0: as the set says")
	n       = flag.String("sessions", "1M", "the number of sessions of most measurements")
	out     = flag.String("o", "", "the file of results; empty: results/SET.jsonl")
	again   = flag.Bool("again", false, "drop results that the file has of what is selected")
	retry   = flag.Bool("retry", false, "drop results of what is selected if other programs took more than a tenth of a core meanwhile")
	budget  = flag.Duration("budget", 0, "begin no measurement when this time has passed; 0: go on until all is done")
	list    = flag.Bool("list", false, "list what is selected, and how often it has been measured")
	profile = flag.String("profile", "", "write a CPU profile of the first measurement that is selected, and no results")
	table   = flag.Bool("table", true, "print tables of the results at the end")
)

// one is the hidden command that a process of a measurement gets.
const one = "one"

// longest is how long one measurement may take. A part takes no longer than its
// budget and this.
const longest = 5 * time.Minute

func main() {
	if len(os.Args) > 1 && os.Args[1] == one {
		exit(measure(os.Args[2:]))
	}
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: measure [flags]")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exit(run(ctx))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "measure:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// measure does one measurement, in this process, and prints its values.
func measure(args []string) error {
	flags := flag.NewFlagSet(one, flag.ExitOnError)
	name := flags.String("name", "", "")
	set := flags.String("set", "", "")
	profile := flags.String("profile", "", "")
	flags.Parse(args)
	spec, err := work.Parse(*name)
	if err != nil {
		return err
	}
	effort := sets[*set].effort
	if *profile != "" {
		file, err := os.Create(*profile)
		if err != nil {
			return err
		}
		effort.Timed = func() (stop func()) {
			if err := pprof.StartCPUProfile(file); err != nil {
				return func() {}
			}
			return func() {
				pprof.StopCPUProfile()
				file.Close()
			}
		}
	}
	values, err := work.Run(spec, effort)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(values)
}

func run(ctx context.Context) error {
	s, ok := sets[*set]
	if !ok {
		return fmt.Errorf("there is no set %q: want quick or full", *set)
	}
	path := cmp.Or(*out, filepath.Join("results", *set+".jsonl"))
	usual, err := work.ParseCount(*n)
	if err != nil || usual < 1 {
		return fmt.Errorf("-sessions %s: want a number of sessions, such as 100k", *n)
	}
	specs, err := selected(s, usual, *only)
	if err != nil {
		return err
	}
	if len(specs) == 0 {
		return fmt.Errorf("nothing of the set %s is selected by %q", *set, *only)
	}
	if *profile != "" {
		values, _, err := child(ctx, specs[0], *profile)
		if err != nil {
			return err
		}
		text, err := json.Marshal(values)
		fmt.Printf("%v %s\nprofile: go tool pprof -top %s\n", specs[0], text, *profile)
		return err
	}
	file, err := record.Read(path)
	if err != nil {
		return err
	}
	if *list {
		for _, p := range specs {
			done := 0
			for run := range s.runsOf(p) {
				if file.Has(p.String(), run+1) {
					done++
				}
			}
			fmt.Printf("%d of %d  %5.0f s  %v\n", done, s.runsOf(p), p.Estimate(s.effort).Seconds(), p)
		}
		pending := plan(s, specs, file)
		fmt.Printf("%d measurements are left, which will take about %v.\n", len(pending), estimate(s, pending).Round(time.Second))
		return nil
	}
	if *again || *retry {
		names := make(map[string]bool)
		for _, p := range specs {
			names[p.String()] = true
		}
		if err := file.Drop(func(r record.Result) bool {
			return names[r.Name] && (*again || r.Disturbed())
		}); err != nil {
			return err
		}
	}
	setting := record.Here()
	if err := file.Suits(setting); err != nil {
		return err
	}
	for _, have := range file.Settings {
		if have.Lapse != setting.Lapse {
			fmt.Fprintf(os.Stderr, "%s has results of lapse %s, and this is %s: -again measures anew what is selected\n", path, have.Lapse, setting.Lapse)
		}
	}
	pending := plan(s, specs, file)
	p := progress{total: len(pending), rest: estimate(s, pending), began: time.Now()}
	stopped, noisy := false, 0
	for _, t := range pending {
		if *budget > 0 && time.Since(p.began) > *budget {
			fmt.Fprintf(os.Stderr, "%v are over: %d measurements are left, about %v, and the same command goes on with them.\n",
				*budget, p.total-p.count, p.left().Round(time.Second))
			stopped = true
			break
		}
		p.show(t)
		result := record.Result{Name: t.spec.String(), Run: t.run, At: time.Now().UTC().Truncate(time.Second)}
		values, others, err := child(ctx, t.spec, "")
		if ctx.Err() != nil {
			return errors.New("stopped; the same command goes on with what is left")
		}
		result.Values, result.Others = values, others
		if result.Disturbed() {
			noisy++
		}
		if err != nil {
			result.Error = err.Error()
			fmt.Fprintf(os.Stderr, "\r\033[K%v: %v\n", t.spec, err)
		}
		if err := file.Add(setting, result); err != nil {
			return err
		}
		p.done(estimate(s, []task{t}))
	}
	p.end()
	if noisy > 0 {
		fmt.Fprintf(os.Stderr, "In %d of %d measurements other programs took more than %v cores: -retry repeats them.\n", noisy, p.count, record.Disturbed)
	}
	if *table && !stopped {
		return report.Text(os.Stdout, file, "")
	}
	return nil
}

// child does one measurement in a process of its own, and says how many cores
// other programs took meanwhile.
func child(ctx context.Context, spec work.Spec, profile string) (values work.Values, others float64, err error) {
	others = -1
	if err := fits(spec); err != nil {
		return nil, others, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, others, err
	}
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, one, "-name", spec.String(), "-set", *set, "-profile", profile)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	watch := record.Watch()
	output, err := cmd.Output()
	others = watch()
	if ctx.Err() == context.DeadlineExceeded {
		return nil, others, fmt.Errorf("not done in %v", longest)
	}
	if err != nil {
		text := strings.TrimPrefix(strings.TrimSpace(stderr.String()), "measure: ")
		first, _, _ := strings.Cut(text, "\n")
		return nil, others, fmt.Errorf("%s (%w)", first, err)
	}
	return values, others, json.Unmarshal(output, &values)
}

// fits says whether the machine has the memory for a measurement.
func fits(spec work.Spec) error {
	// What a session takes at worst while the heap doubles, with the tables of
	// the benchmark.
	const lean, heavy = 300, 900
	need := float64(spec.N) * heavy
	if spec.Peer == "lapse" || spec.Peer == "floor" {
		need = float64(spec.N) * lean
	}
	if have, ok := record.Available(); ok && have < need {
		return fmt.Errorf("%s sessions may need %.0f MB of memory, and %.0f are to be had", work.Count(spec.N), need/1e6, have/1e6)
	}
	return nil
}

// A progress shows what is being done and how long the rest will take.
type progress struct {
	total, count int           // tasks, and those that are done
	rest, passed time.Duration // estimates of those that are left, and that are done
	began        time.Time
}

// left corrects the estimate by how wrong it was so far.
func (p *progress) left() time.Duration {
	if p.passed == 0 {
		return p.rest
	}
	return time.Duration(float64(time.Since(p.began)) / float64(p.passed) * float64(p.rest))
}

func (p *progress) done(estimate time.Duration) {
	p.count++
	p.rest -= estimate
	p.passed += estimate
}

func (p *progress) show(t task) {
	line := fmt.Sprintf("%d of %d, about %v left: %v, run %d", p.count+1, p.total, p.left().Round(time.Second), t.spec, t.run)
	if terminal() {
		fmt.Fprintf(os.Stderr, "\r\033[K%s", line)
	} else {
		fmt.Fprintln(os.Stderr, line)
	}
}

func (p *progress) end() {
	if terminal() && p.total > 0 {
		fmt.Fprint(os.Stderr, "\r\033[K")
	}
}

func terminal() bool {
	info, err := os.Stderr.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
