package lincheck

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/lapse-go/lapse"
)

var (
	histories = flag.Int("histories", 1000, "histories of each kind")
	calls     = flag.Int("calls", 8, "calls of each of the 4 goroutines in a history")
	html      = flag.String("html", "", "file to draw a history in that nothing explains")
)

// check fails the test if no order of the calls explains the results.
func check(t *testing.T, rules rulebook, ops []porcupine.Operation) {
	t.Helper()
	model := rules.model()
	switch porcupine.CheckOperationsTimeout(model, ops, time.Minute) {
	case porcupine.Ok:
		return
	case porcupine.Unknown:
		t.Log("a history took too long to check")
		return
	}
	_, info := porcupine.CheckOperationsVerbose(model, ops, time.Minute)
	var longest []porcupine.Operation
	for _, some := range info.PartialLinearizationsOperations()[0] {
		if len(some) > len(longest) {
			longest = some
		}
	}
	slices.SortFunc(ops, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	var text strings.Builder
	for _, op := range ops {
		text.WriteString(line(op))
	}
	text.WriteString("the longest order that explains its calls:\n")
	for _, op := range longest {
		text.WriteString(line(op))
	}
	t.Errorf("no order of these calls explains the results:\n%s", text.String())
	if *html != "" {
		if err := porcupine.VisualizePath(model, info, *html); err != nil {
			t.Error(err)
		}
	}
	t.FailNow()
}

// Limits of a few ticks: the clock and the calls race for the ends.
var short = rulebook{
	{{idle: 4, life: 14, pollCap: 6, pollMax: 3}, {idle: 7, life: 20}, {idle: 2, pollCap: 3}},
	{{idle: 6, pollCap: 3}, {idle: 3, pollCap: 9, pollMax: 1}},
}

// Limits that are out of reach: calls alone end sessions.
var long = rulebook{
	{{idle: 9000, pollMax: 2}, {idle: 9000, pollMax: 1}},
	{{idle: 9000, life: 9500}},
}

func line(op porcupine.Operation) string {
	return fmt.Sprintf("%3d to %3d, goroutine %d: %s\n", op.Call, op.Return, op.ClientId, describe(op.Input.(*call), op.Output.(*result)))
}

// overlap returns how many pairs of calls went on at the same time.
func overlap(ops []porcupine.Operation) int {
	n := 0
	for i, a := range ops {
		for _, b := range ops[:i] {
			if a.ClientId != b.ClientId && a.Call < b.Return && b.Call < a.Return {
				n++
			}
		}
	}
	return n
}

// TestCalls lets no time pass: calls alone end sessions.
func TestCalls(t *testing.T) {
	pairs := 0
	for range *histories {
		p := &play{t: t, rules: long, clock: newStepClock(), still: true, manual: true, calls: *calls}
		p.open(lapse.Options{Manual: true})
		ops := p.run()
		pairs += overlap(ops)
		check(t, p.rules, ops)
	}
	t.Logf("%d pairs of calls overlapped in a history", pairs / *histories)
}

// TestAdvance lets the clock race with the calls, and with Advance.
func TestAdvance(t *testing.T) {
	pairs := 0
	for range *histories {
		p := &play{t: t, rules: short, clock: newStepClock(), manual: true, calls: *calls}
		p.open(lapse.Options{Manual: true})
		ops := p.run()
		pairs += overlap(ops)
		check(t, p.rules, ops)
	}
	t.Logf("%d pairs of calls overlapped in a history", pairs / *histories)
}

// TestDriver lets the clock race with the calls, and the engine's own goroutine.
func TestDriver(t *testing.T) {
	pairs := 0
	for range *histories {
		p := &play{t: t, rules: short, clock: newStepClock(), calls: *calls}
		p.open(lapse.Options{HookWorkers: 2})
		ops := p.run()
		pairs += overlap(ops)
		check(t, p.rules, ops)
	}
	t.Logf("%d pairs of calls overlapped in a history", pairs / *histories)
}

// TestCoarse is TestCalls with the real clock, in an engine that publishes the coarse one: touches take their shortest way.
func TestCoarse(t *testing.T) {
	first := &play{t: t, rules: long}
	first.open(lapse.Options{})
	defer first.e.Close()
	// A session that is touched all the time makes the engine publish.
	busy, err := first.e.Start(-1, value{})
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(stop)
	wg.Go(func() {
		for {
			for range 1000 {
				busy.Touch()
			}
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	pairs := 0
	for i := range *histories {
		p := &play{t: t, rules: long, calls: *calls, e: first.e, classes: first.classes, keys: keys * i}
		for class, c := range p.classes {
			if err := c.SetPolicy(p.policy(class, 0)); err != nil {
				t.Fatal(err)
			}
		}
		ops := p.run()
		pairs += overlap(ops)
		check(t, p.rules, ops)
	}
	t.Logf("%d pairs of calls overlapped in a history", pairs / *histories)
}
