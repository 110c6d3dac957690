package main

import (
	"fmt"
	"log"
	"strings"
	"sync"
	"time"

	"github.com/lapse-go/lapse"
)

// The kinds of lines in the journal.
const (
	kindStart    = "start"
	kindWarning  = "warning"
	kindEnd      = "end"
	kindOperator = "operator"
	kindCrowd    = "crowd"
)

// A line is an entry of the journal.
type line struct {
	Seq  int64  `json:"seq"`
	At   int64  `json:"at"` // milliseconds since the epoch
	Kind string `json:"kind"`
	Text string `json:"text"`
}

// mostLines is how far back the journal goes.
const mostLines = 200

// A journal tells what happened: the latest mostLines of it, and on the
// terminal what does not concern the crowd. Hooks write it. What befalls the
// crowd is summed up, for nobody reads 100 000 lines.
type journal struct {
	logger *log.Logger

	mu sync.Mutex
	// mu guards the fields below.

	seq   int64
	lines []line // the latest last
	crowd tally  // not in a line yet
}

// A tally sums up what befell the crowd in a short while.
type tally struct {
	from, to time.Time
	ended    [lapse.ReasonShutdown + 1]int
	warned   int
}

// add writes a line.
func (j *journal) add(kind, format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.addLocked(time.Now(), kind, fmt.Sprintf(format, args...))
}

func (j *journal) addLocked(at time.Time, kind, text string) {
	j.seq++
	if len(j.lines) == mostLines {
		j.lines = append(j.lines[:0], j.lines[1:]...)
	}
	j.lines = append(j.lines, line{j.seq, at.UnixMilli(), kind, text})
	if kind != kindCrowd {
		j.logger.Print(text)
	}
}

// ended is a hook: somebody's session has ended.
func (j *journal) ended(ev event) {
	polls := ""
	switch {
	case ev.Polls == 1:
		polls = ", 1 poll since the last touch"
	case ev.Polls > 1:
		polls = fmt.Sprintf(", %d polls since the last touch", ev.Polls)
	}
	j.add(kindEnd, "%s's session %s ended: %v, after %v%s",
		ev.Value.name, fingerprint(ev.Key), ev.Reason, ev.Ended.Sub(ev.Started).Round(100*time.Millisecond), polls)
}

// warned is a hook: a session is near its end.
func (j *journal) warned(ev event) {
	if ev.Value == nil {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.crowd.extend(time.Now())
		j.crowd.warned++
		return
	}
	j.add(kindWarning, "%s's session %s is near its end: %v in %v",
		ev.Value.name, fingerprint(ev.Key), ev.Reason, time.Until(ev.Deadline).Round(100*time.Millisecond))
}

// tally is a hook for many ends at once. It counts those of the crowd.
func (j *journal) tally(events []event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, ev := range events {
		if ev.Value == nil {
			j.crowd.extend(ev.Ended)
			j.crowd.ended[ev.Reason]++
		}
	}
}

func (t *tally) extend(at time.Time) {
	if t.from.IsZero() {
		t.from, t.to = at, at
	}
	if at.After(t.to) {
		t.to = at
	}
}

// quiet is how long a tally is open before it becomes a line.
const quiet = time.Second

// since returns the lines after seq, and the number of the latest.
func (j *journal) since(seq int64) ([]line, int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := time.Now()
	if t := &j.crowd; !t.from.IsZero() && now.Sub(t.from) >= quiet {
		j.addLocked(now, kindCrowd, t.String())
		*t = tally{}
	}
	first := max(0, len(j.lines)-int(j.seq-min(max(seq, 0), j.seq)))
	return append([]line{}, j.lines[first:]...), j.seq
}

// String says what happened, such as "crowd: 100 000 ended within 40ms (idle)".
func (t *tally) String() string {
	var parts []string
	if t.warned > 0 {
		parts = append(parts, count(t.warned)+" warned")
	}
	for why, n := range t.ended {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%s ended (%v)", count(n), lapse.Reason(why)))
		}
	}
	within := ""
	if d := t.to.Sub(t.from); d > 0 {
		within = " within " + d.Round(time.Millisecond).String()
	}
	return "crowd: " + strings.Join(parts, ", ") + within
}
