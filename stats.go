package lapse

import "sync/atomic"

// Stats are counts of an engine. Each is right by itself; together they are no
// snapshot.
type Stats struct {
	Live    map[string]int             // sessions by class, due ones that were not ended yet included
	Ended   [ReasonShutdown + 1]uint64 // sessions that ended, by Reason
	Hooks   uint64                     // calls of hooks
	Panics  uint64                     // hooks that panicked; and sessions to whose running hooks too many were added
	Wakeups uint64                     // times that the driver woke up
	Queue   int                        // ends and warnings whose hooks wait for a worker
	Overdue int                        // entries whose visit is due: an upper bound of the sessions that are due but not ended
	Late    [32]uint64                 // ends at deadlines: [i] counts those less than 2^i microseconds late that are not in [i-1]
}

// counters are the counts that no shard keeps.
type counters struct {
	hooks, panics, wakeups atomic.Uint64
}

// Stats returns the engine's counts. It takes each shard's lock for a moment.
func (e *Engine[K, V]) Stats() Stats {
	s := Stats{
		Live:    make(map[string]int),
		Hooks:   e.stats.hooks.Load(),
		Panics:  e.stats.panics.Load(),
		Wakeups: e.stats.wakeups.Load(),
		Queue:   e.queue.len(),
	}
	classes := *e.classes.Load()
	for _, c := range classes {
		s.Live[c.name] = 0
	}
	now := e.time.now()
	for i := range e.shards {
		sh := &e.shards[i]
		sh.mu.Lock()
		for id, n := range sh.counts {
			s.Live[(*e.classes.Load())[id].name] += n // this shard may have a class that is newer than classes
		}
		for why, n := range sh.ended {
			s.Ended[why] += n
		}
		for i, n := range sh.late {
			s.Late[i] += n
		}
		s.Overdue += sh.wheel.overdue(now)
		sh.mu.Unlock()
	}
	return s
}

// Occupancy returns how many entries the wheels hold, by level and by slot from
// now on. A level's slot is eight times as long as one of the level below, and
// the lowest one's is a tick. An entry is a visit to a session, at its end at
// the latest; superseded entries count until they are dropped. Visits beyond the
// last level, more than 248 days away with ticks of 10ms, are left out.
func (e *Engine[K, V]) Occupancy() [][]int {
	levels := make([][]int, wheelLevels)
	for level := range levels {
		levels[level] = make([]int, wheelSlots)
	}
	now := e.time.now()
	for i := range e.shards {
		sh := &e.shards[i]
		sh.mu.Lock()
		sh.wheel.advance(now)
		sh.wheel.tally(levels)
		sh.unlock()
	}
	return levels
}
