package lapse

import (
	"testing"
	"time"

	"github.com/benbjohnson/clock"
	"pgregory.net/rapid"
)

// A scriptedClock shows the time it is set to, and lets a test look in before
// and after it is read.
type scriptedClock struct {
	clock.Clock
	ns     int64
	around func(before bool)
}

func (c *scriptedClock) Now() time.Time {
	f := c.around
	if f == nil {
		return time.Unix(0, c.ns)
	}
	c.around = nil
	f(true)
	now := time.Unix(0, c.ns)
	f(false)
	c.around = f
	return now
}

// TestCoarseClockNeverEarly lets the publisher of the coarse clock come early,
// late and very late, with touches and judges at every point, also between its
// steps, and judges that go on with a reading of the clock from long ago.
// Whoever judges a touched session must find it seen no earlier than it was,
// and later only by what the publisher was.
func TestCoarseClockNeverEarly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tick := rapid.SampledFrom([]time.Duration{time.Millisecond, 10 * time.Millisecond, 7 * time.Millisecond}).Draw(t, "tick")
		c := &scriptedClock{Clock: clock.New(), ns: 1}
		var line timeline
		line.init(c, tick)
		type touch struct {
			at    int64 // when until was read
			stamp int64
		}
		var touches []touch
		replaced := make(map[int64]int64) // when each tick that was published was taken back
		var waiting []moment              // readings of judges that were interrupted after them

		judge := func() {
			for _, m := range waiting {
				for _, touch := range touches {
					// What was touched after the reading need only be alive by
					// it.
					if seen := line.seen(touch.stamp, m); seen*line.tick < min(touch.at, m.ns) {
						t.Fatalf("by a reading of %v, a touch at %v with the stamp %d counts as seen at %d: too early",
							time.Duration(m.ns), time.Duration(touch.at), touch.stamp, seen)
					}
				}
			}
			m := line.read()
			for _, touch := range touches {
				seen := line.seen(touch.stamp, m)
				if seen*line.tick < touch.at {
					t.Fatalf("a touch at %v with the stamp %d counts as seen at %d: too early", time.Duration(touch.at), touch.stamp, seen)
				}
				if most := max(replaced[touch.stamp], touch.stamp); seen > most && !line.coarse.inUse(touch.stamp) && len(replaced) < mostStalls {
					t.Fatalf("a touch at %v with the stamp %d counts as seen at %d, later than %d", time.Duration(touch.at), touch.stamp, seen, most)
				}
			}
		}
		pass := func(most int) func(*rapid.T) {
			return func(t *rapid.T) { c.ns += rapid.Int64Range(0, int64(most)*line.tick).Draw(t, "ns") }
		}
		add := func(stamp int64) { touches = append(touches, touch{c.ns - 1, stamp}) }
		// What a publisher does can be interrupted wherever it reads the clock.
		interrupted := func(t *rapid.T, f func()) {
			c.around = func(before bool) {
				c.ns += rapid.SampledFrom([]int64{0, 0, 1, line.tick / 3, line.tick, 5 * line.tick}).Draw(t, "pause")
				if until := line.coarse.until.Load(); until > 0 {
					add(until)
				}
				if before {
					judge() // after it would be a later reading, and the timeline never goes back
				}
			}
			until := line.coarse.until.Load()
			f()
			c.around = nil
			if line.coarse.until.Load() != until {
				replaced[until] = line.ceil(c.ns - 1)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"tick": pass(1),
			"late": pass(20),
			"touch": func(t *rapid.T) {
				if until := line.coarse.until.Load(); until > 0 {
					add(until)
				} else {
					add(line.read().stamp)
				}
			},
			"judge later": func(*rapid.T) {
				waiting = append(waiting, line.read())
				waiting = waiting[max(len(waiting)-5, 0):]
			},
			"burst":     func(*rapid.T) { line.coarse.wanted.Store(true) },
			"publish":   func(t *rapid.T) { interrupted(t, line.publish) },
			"unpublish": func(t *rapid.T) { interrupted(t, line.unpublish) },
			"":          func(*rapid.T) { judge() },
		})
	})
}

// TestStallsAreBounded records more stalls than are kept apart.
func TestStallsAreBounded(t *testing.T) {
	var s *stalls
	late := func(tick int64) int64 { return tick % 7 }
	for tick := int64(1); tick <= 10000; tick += 3 {
		s = s.with(tick, tick+late(tick))
		if len(*s) > mostStalls {
			t.Fatalf("%d stalls are kept", len(*s))
		}
	}
	for tick := int64(1); tick <= 10000; tick += 3 {
		if got := s.seen(tick); got < tick+late(tick) || got > tick+6 {
			t.Errorf("the stamp %d, late by %d, counts as seen at %d", tick, late(tick), got)
		}
	}
	if got := s.seen(20000); got != 20000 {
		t.Errorf("a stamp after all stalls counts as seen at %d", got)
	}
}
