package main

import (
	"sync"
	"time"

	"github.com/lapse-go/lapse"
)

// A snapshot is what the operator's page shows.
type snapshot struct {
	Now      int64           `json:"now"` // milliseconds since the epoch
	Live     map[string]int  `json:"live"`
	Ended    []reasonCount   `json:"ended"`
	Late     []uint64        `json:"late"` // [i]: less than 2^i microseconds late
	Hooks    uint64          `json:"hooks"`
	Panics   uint64          `json:"panics"`
	Wakeups  uint64          `json:"wakeups"`
	Queue    int             `json:"queue"`
	Overdue  int             `json:"overdue"`
	Tick     int64           `json:"tick"` // milliseconds
	Levels   [][]int         `json:"levels"`
	People   []person        `json:"people"`
	Policies []policyStrings `json:"policies"`
}

type reasonCount struct {
	Reason string `json:"reason"`
	N      uint64 `json:"n"`
}

// policyStrings is a policy as a form has it.
type policyStrings struct {
	Class    string `json:"class"`
	Idle     string `json:"idle"`
	Lifetime string `json:"lifetime"`
	Cap      string `json:"cap"`
	PollMax  int    `json:"pollMax"`
	Warn     string `json:"warn"`
}

func policyOf(c *class) policyStrings {
	p := c.Policy()
	return policyStrings{p.Name, short(p.Idle), short(p.Lifetime), short(p.PollCap), p.PollMax, short(p.Warn)}
}

// mostPersons is how many people the operator's page lists.
const mostPersons = 30

// A board makes snapshots. However many look at it, it asks the engine no more
// often than one page would.
type board struct {
	site *site

	mu   sync.Mutex
	last snapshot // guarded by mu
	at   time.Time
}

// look returns a snapshot that is hardly older than half the time between two
// looks of a page.
func (b *board) look() snapshot {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now := time.Now(); b.at.IsZero() || now.Sub(b.at) >= b.site.config.refresh/2 {
		b.last, b.at = b.site.snapshot(now), now
	}
	return b.last
}

func (s *site) snapshot(now time.Time) snapshot {
	stats := s.engine.Stats()
	shot := snapshot{
		Now: now.UnixMilli(), Live: stats.Live, Late: stats.Late[:],
		Hooks: stats.Hooks, Panics: stats.Panics, Wakeups: stats.Wakeups, Queue: stats.Queue, Overdue: stats.Overdue,
		Tick: tick.Milliseconds(), Levels: s.engine.Occupancy(),
		People:   s.people.list(now, mostPersons),
		Policies: []policyStrings{policyOf(s.visitor), policyOf(s.crowd.class)},
	}
	for why, n := range stats.Ended {
		if why != 0 {
			shot.Ended = append(shot.Ended, reasonCount{lapse.Reason(why).String(), n})
		}
	}
	return shot
}
