package lapse

import (
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/benbjohnson/clock"
)

const (
	defaultTick = 10 * time.Millisecond

	// lastTick is where time stands still: after 174 years with ticks of 10ms.
	lastTick = 1<<39 - 1
	// never stands for a limit that is not set. A tick can be added to it.
	never = int64(1) << 62
)

// A timeline counts ticks since the engine was made. Deadlines are compared in
// whole ticks only: stamps are rounded up and "now" is rounded down, so that
// nothing ends early.
//
// With the real clock the monotonic reading counts, whatever the wall clock
// does. A given clock that goes back is taken to stand still.
type timeline struct {
	clock  clock.Clock // nil: the real one
	origin time.Time
	tick   int64        // nanoseconds
	latest atomic.Int64 // of a given clock: nanoseconds since origin
	coarse coarse       // of the real clock, where there is a driver
}

func (t *timeline) init(c clock.Clock, tick time.Duration) {
	t.clock, t.tick = c, int64(tick)
	if c == nil {
		t.origin = time.Now()
	} else {
		t.origin = c.Now()
	}
}

// elapsed returns the nanoseconds since the origin.
func (t *timeline) elapsed() int64 {
	if t.clock == nil {
		return int64(time.Since(t.origin))
	}
	return t.forward(int64(t.clock.Now().Sub(t.origin)))
}

// forward notes a reading of the given clock and returns the latest one.
func (t *timeline) forward(ns int64) int64 {
	for {
		latest := t.latest.Load()
		if ns <= latest {
			return latest
		}
		if t.latest.CompareAndSwap(latest, ns) {
			return ns
		}
	}
}

// now returns the current tick.
func (t *timeline) now() int64 { return t.floor(t.elapsed()) }

// A moment is one reading of the clock, rounded both ways.
type moment struct {
	now   int64 // rounded down: what is due by it is due
	stamp int64 // rounded up: what happened then happened no later
	ns    int64 // since the origin
}

func (t *timeline) read() moment {
	return t.momentOf(t.elapsed())
}

func (t *timeline) momentOf(ns int64) moment {
	now := ns / t.tick
	stamp := now
	if ns-now*t.tick > 0 {
		stamp++
	}
	return moment{min(now, lastTick), min(stamp, lastTick), ns}
}

func (t *timeline) floor(ns int64) int64 { return min(ns/t.tick, lastTick) }

// ticks converts a limit, rounded up; zero or less is no limit.
func (t *timeline) ticks(d time.Duration) int64 {
	if d <= 0 {
		return never
	}
	n := int64(d) / t.tick
	if int64(d)%t.tick > 0 {
		n++
	}
	return n
}

// duration is the reverse of ticks.
func (t *timeline) duration(ticks int64) time.Duration {
	return time.Duration(min(ticks, int64(1<<63-1)/t.tick) * t.tick)
}

// ns returns the nanoseconds from the origin to a time; zero for one before it.
func (t *timeline) ns(at time.Time) int64 { return max(int64(at.Sub(t.origin)), 0) }

func (t *timeline) ceil(ns int64) int64 { return t.momentOf(ns).stamp }

// until returns how long it is from the clock reading ns to the start of tick.
func (t *timeline) until(tick, ns int64) time.Duration {
	// A sleep of a year needs no exact end: whoever wakes looks again.
	const longest = 365 * 24 * int64(time.Hour)
	if tick > (ns+longest)/t.tick {
		return time.Duration(longest)
	}
	return time.Duration(tick*t.tick - ns)
}

// A dial converts ticks to times as a person reads them: today's wall clock
// plus the monotonic distance.
type dial struct {
	wall    time.Time
	elapsed int64
	tick    int64
}

func (t *timeline) dial() dial {
	if t.clock == nil {
		wall := time.Now()
		return dial{wall, int64(wall.Sub(t.origin)), t.tick}
	}
	wall := t.clock.Now()
	ns := int64(wall.Sub(t.origin))
	if latest := t.forward(ns); latest > ns {
		ns, wall = latest, t.origin.Add(time.Duration(latest))
	}
	return dial{wall, ns, t.tick}
}

// at returns the time of a tick; the zero Time where there is none.
func (d dial) at(tick int64) time.Time {
	if tick <= lastTick {
		if hi, ns := bits.Mul64(uint64(tick), uint64(d.tick)); hi == 0 && int64(ns) >= 0 {
			return d.wall.Add(time.Duration(int64(ns) - d.elapsed))
		}
	}
	if tick >= never {
		return time.Time{}
	}
	const span = int64(1<<63 - 1)
	// The sum of two limits can be longer than a Duration; a Time holds it.
	half := tick / 2
	if tick-half > span/d.tick {
		return d.wall.Add(time.Duration(span)).Add(time.Duration(span - d.elapsed))
	}
	return d.wall.Add(time.Duration(half*d.tick - d.elapsed)).Add(time.Duration((tick - half) * d.tick))
}
