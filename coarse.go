package lapse

import (
	"sort"
	"sync/atomic"
)

// A coarse clock spares a touch the reading of the real clock, which costs
// several times what the touch does. While many touches arrive the driver
// publishes, about once a tick, a tick that is not over yet: until. A touch
// takes that for its stamp.
//
// No session may end early because the driver came late. Say until is S.
//
//   - As long as S is not over, S is the true time rounded up, or a tick more.
//   - The driver takes S back before it looks at the clock: it stores -S. If S
//     was over by then, a touch may have been made as late as now with the
//     stamp S; the driver records the stall, from S to now rounded up, and only
//     then publishes anew. Whoever judges a session maps the stamp when it was
//     seen through the recorded stalls.
//   - Whoever judges reads the clock, then the session's stamp, then until. If
//     that is the stamp, or its negative, the session counts as seen now. If it
//     is something else, the stamp is of a touch that read the clock itself, or
//     until has been replaced since, and the stall, if any, was recorded before
//     that.
//   - A touch that finds a session seen after S knows that S is over; one that
//     finds a session due at S or in the tick after it does not trust S so far.
//     Both read the clock.
//
// The driver takes until back (to zero) whenever it is going to sleep for
// longer than S.
type coarse struct {
	until  atomic.Int64 // S, -S while it is being replaced, 0 when off
	stalls atomic.Pointer[stalls]
	_      [48]byte // touches write what follows, and read what precedes

	// burst counts the touches that read the clock in a tick: the count, and
	// the tick above burstBits.
	burst  atomic.Int64
	wanted atomic.Bool

	off int64 // tick at which the driver stops publishing, unless it is wanted again
}

const (
	burstBits = 16
	// burstOn is how many touches in a tick make it worth while to publish, and
	// burstTicks for how long.
	burstOn    = 256
	burstTicks = 64
)

// inUse reports whether touches may be made with a stamp at present.
func (c *coarse) inUse(stamp int64) bool {
	until := c.until.Load()
	return until != 0 && (stamp == until || stamp == -until)
}

// stalledPast reports whether a session that was seen at seen, which no touch
// uses any more, may in truth have been seen at stamp or later.
func (c *coarse) stalledPast(seen, stamp int64) bool {
	s := c.stalls.Load()
	return s != nil && s.seen(seen) >= stamp
}

// note counts a touch that has read the clock, and reports whether the driver
// should be woken to publish.
func (c *coarse) note(now int64) bool {
	if burst := c.burst.Load(); burst>>burstBits != now {
		c.burst.Store(now<<burstBits | 1)
		return false
	}
	if c.burst.Add(1)&(1<<burstBits-1) != burstOn {
		return false
	}
	c.wanted.Store(true)
	return true
}

// publish replaces until if it is over, or nearly so, or opens it if it is
// wanted. The driver alone calls it.
func (t *timeline) publish() {
	c := &t.coarse
	ns := t.elapsed()
	if c.wanted.Swap(false) {
		c.off = t.floor(ns) + burstTicks
	}
	until := c.until.Load()
	if until == 0 && c.off == 0 || until > 0 && ns < t.renewal(until) {
		return
	}
	ns = t.retire(until)
	if t.floor(ns) >= c.off {
		c.off = 0
		c.until.Store(0)
		return
	}
	c.until.Store((ns+t.margin())/t.tick + 1)
}

// unpublish turns the coarse clock off. The driver alone calls it.
func (t *timeline) unpublish() {
	if until := t.coarse.until.Load(); until != 0 {
		t.retire(until)
		t.coarse.off = 0
		t.coarse.until.Store(0)
	}
}

// retire takes until back and returns a reading of the clock from after that.
// If the tick was over, it records the stall first.
func (t *timeline) retire(until int64) int64 {
	t.coarse.until.Store(-until)
	ns := t.elapsed()
	if until > 0 && ns > until*t.tick {
		t.coarse.stalls.Store(t.coarse.stalls.Load().with(until, t.momentOf(ns).stamp))
	}
	return ns
}

// renewal returns when until is to be replaced: so much before its end that a
// timer is mostly in time.
func (t *timeline) renewal(until int64) int64 { return until*t.tick - t.margin() }

func (t *timeline) margin() int64 { return t.tick / 8 }

// seen maps the stamp when a session was seen, which was read after the clock,
// to the latest time at which that can have been.
func (t *timeline) seen(stamp int64, m moment) int64 {
	if t.coarse.inUse(stamp) {
		return max(stamp, m.stamp)
	}
	if s := t.coarse.stalls.Load(); s != nil {
		return s.seen(stamp)
	}
	return stamp
}

// stalls says by how much the stamps of which ticks were late. It is immutable,
// in order of the ticks, and of bounded length: where there were many stalls,
// neighbours are told together, which can only map a stamp to a later time.
type stalls []stall

type stall struct {
	first, last int64 // ticks
	late        int64
	weight      int // stalls told together
}

const (
	mostStalls = 64
	// keptStalls are the latest, which are not told together.
	keptStalls = 16
)

// with returns the stalls with one more, later than all others: what was
// stamped from was made by to.
func (s *stalls) with(from, to int64) *stalls {
	var list stalls
	if s != nil {
		list = append(list, *s...)
	}
	list = append(list, stall{from, from, to - from, 1})
	if len(list) > mostStalls {
		least := 0
		for i := range list[:mostStalls-keptStalls] {
			if list[i].weight+list[i+1].weight < list[least].weight+list[least+1].weight {
				least = i
			}
		}
		a, b := list[least], list[least+1]
		list[least] = stall{a.first, b.last, max(a.late, b.late), a.weight + b.weight}
		list = append(list[:least+1], list[least+2:]...)
	}
	return &list
}

func (s *stalls) seen(stamp int64) int64 {
	list := *s
	if i := sort.Search(len(list), func(i int) bool { return stamp <= list[i].last }); i < len(list) && stamp >= list[i].first {
		return stamp + list[i].late
	}
	return stamp
}

// outdated reports whether a session whose cell says seen was in truth seen at
// stamp or later, for good. If not, it returns the stamp to write. While seen
// is being taken back nobody knows whether it will be mapped: then that is the
// present time.
func (t *timeline) outdated(seen, stamp int64) (int64, bool) {
	switch until := t.coarse.until.Load(); {
	case until > 0 && until == seen:
		return seen, true // whoever takes it back reads the clock after that
	case until < 0 && until == -seen:
		return t.read().stamp, false
	}
	if s := t.coarse.stalls.Load(); s != nil {
		return stamp, stamp <= s.seen(seen)
	}
	return stamp, stamp <= seen
}
