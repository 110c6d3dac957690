package work

import (
	"time"

	"github.com/lapse-go/lapse/bench/peers"
)

const (
	// estimatedProcess is what a process takes beside its measurement, and
	// estimatedRest is what settle takes.
	estimatedProcess = 300 * time.Millisecond
	estimatedRest    = 100 * time.Millisecond
	// For each session: its key in a table, its start, its end by a call, a visit
	// by the collector. The usual peer on a usual machine is meant; lapse takes a
	// third of it.
	estimatedKey     = 150 * time.Nanosecond
	estimatedStart   = 1200 * time.Nanosecond
	estimatedEnd     = 800 * time.Nanosecond
	estimatedCollect = 60 * time.Nanosecond
)

// Estimate says about how long a measurement will take. What it waits by design is
// most of it, and is exact; the rest is a guess.
func (s Spec) Estimate(effort Effort) time.Duration {
	n := time.Duration(s.N)
	if s.Peer == "lapse" || s.Peer == peers.Floor {
		n = n/3 + 1
	}
	info, _ := peers.Find(s.Peer)
	total := estimatedProcess + estimatedRest + n*(estimatedKey+estimatedStart)
	switch s.Case {
	case Touch, Poll:
		total += n*estimatedKey + effort.Loop*5/4
		if s.Access == "tick" {
			total += effort.Loop
		}
	case End:
		total += n * estimatedEnd
	case Collect:
		total += collections * n * estimatedCollect
	case Bytes:
		total += 4 * n * estimatedCollect
		if s.Access == "touched" {
			total += bytesLaps * effort.TimeOut / 2
		}
	case Idle:
		total += effort.Rest + effort.Idle
	case Churn:
		total += effort.Churn + churnSeats*estimatedStart
	case Spread:
		total += spreadOver + spreadIdle + info.Slack
	case Storm:
		total += stormLead + time.Duration(s.N)*stormStart - n*estimatedStart + info.Slack + time.Second
	case Keep:
		total += keepFor + keepIdle + info.Slack
	}
	return total
}
