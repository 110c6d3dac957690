package lapse

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// wheelDeltas are distances at which a wheel can go wrong: around the reach of
// each level and the horizon.
func wheelDeltas() []int64 {
	deltas := []int64{0, 1, 2, 63, 64, 65}
	for level := range wheelLevels {
		reach := int64(wheelSlots) << (levelShift * level)
		width := int64(1) << (levelShift * level)
		deltas = append(deltas, reach-width-1, reach-width, reach-width+1, reach-1, reach, reach+1, width-1, width, width+1)
	}
	return append(deltas, farLead-1, farLead, farLead+1, 2*wheelHorizon, 1<<32-1, 1<<32, 1<<32+1)
}

// TestWheel plays random programs on a wheel, from starts at which an index
// wraps, against a list of what lies in it.
func TestWheel(t *testing.T) {
	starts := []int64{0, 1, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 32, 1 << 37}
	for level := range wheelLevels {
		starts = append(starts, int64(wheelSlots)<<(levelShift*level)-2)
	}
	rapid.Check(t, func(t *rapid.T) {
		now := rapid.SampledFrom(starts).Draw(t, "start")
		w := newWheel(now)
		ticks := make(map[uint32]int64) // what lies in the wheel, by index
		far := make(map[uint32]bool)    // those that were far, or placed in the past
		visits := make(map[uint32]int)
		next := uint32(0)
		buf := make([]entry, 7)

		delta := rapid.OneOf(rapid.SampledFrom(wheelDeltas()), rapid.Int64Range(0, 300), rapid.Int64Range(0, 3*wheelHorizon))
		checkTick := func(e entry) {
			if got, tick := w.poppedTick(e.armed()), ticks[e.idx()]; !far[e.idx()] && got > w.cur && got != tick {
				t.Fatalf("an entry for %d, popped at %d, counts as one for %d", tick, w.cur, got)
			}
		}
		drain := func(t *rapid.T) {
			for n := w.pop(buf); n > 0; n = w.pop(buf) {
				for _, e := range buf[:n] {
					tick, ok := ticks[e.idx()]
					if !ok || uint32(tick) != e.armed() {
						t.Fatalf("popped an entry of %d for %d that was not there", e.idx(), e.armed())
					}
					checkTick(e)
					if visits[e.idx()]++; visits[e.idx()] > wheelLevels+1 {
						t.Fatalf("%d was visited %d times", e.idx(), visits[e.idx()])
					}
					if tick <= now {
						delete(ticks, e.idx())
					} else {
						far[e.idx()] = w.place(tick, e.idx())
					}
				}
			}
			for idx, tick := range ticks {
				if tick <= now {
					t.Fatalf("%d is due at %d and was not popped at %d", idx, tick, now)
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"place": func(t *rapid.T) {
				for range rapid.IntRange(1, 300).Draw(t, "n") {
					tick := now + delta.Draw(t, "delta")
					ticks[next] = tick
					far[next] = w.place(tick, next)
					next++
				}
			},
			"crowd": func(t *rapid.T) {
				tick := now + delta.Draw(t, "delta")
				for range 20 {
					ticks[next] = tick
					far[next] = w.place(tick, next)
					next++
				}
			},
			"past": func(t *rapid.T) {
				tick := max(w.cur-rapid.Int64Range(0, 1000).Draw(t, "ago"), 0)
				ticks[next], far[next] = tick, true
				w.place(tick, next)
				next++
				if got := w.next(); got != w.cur {
					t.Fatalf("next is %d after a place in the past, it is %d", got, w.cur)
				}
			},
			"pass":  func(t *rapid.T) { now += delta.Draw(t, "delta"); w.advance(now); drain(t) },
			"stale": func(t *rapid.T) { now += rapid.Int64Range(0, 500).Draw(t, "delta") }, // the next place comes before advance
			"to the next visit": func(t *rapid.T) {
				if at := w.next(); at != noTick {
					if at > now {
						w.advance(at - 1)
						if n := w.pop(buf); n > 0 {
							t.Fatalf("popped %d entries a tick before next said", n)
						}
						now = at
					}
					w.advance(now)
					drain(t)
				}
			},
			"part": func(t *rapid.T) {
				now += delta.Draw(t, "delta")
				w.advance(now)
				for _, e := range buf[:w.pop(buf[:rapid.IntRange(0, 7).Draw(t, "n")])] {
					checkTick(e)
					if tick := ticks[e.idx()]; tick <= now {
						delete(ticks, e.idx())
					} else {
						w.place(tick, e.idx())
					}
				}
			},
			"sift": func(t *rapid.T) {
				for _, e := range buf[:w.sift(buf)] {
					tick, ok := ticks[e.idx()]
					if !ok || uint32(tick) != e.armed() {
						t.Fatalf("sifted an entry of %d for %d that was not there", e.idx(), e.armed())
					}
					if rapid.Bool().Draw(t, "drop") {
						delete(ticks, e.idx())
					} else {
						w.place(tick, e.idx())
					}
				}
			},
			"scan": func(t *rapid.T) {
				most, last := rapid.IntRange(0, 50).Draw(t, "most"), int64(0)
				w.scan(func(first, end int64, e entry) (keep, more bool) {
					if first < last || end < first {
						t.Fatalf("slot from %d to %d after one from %d", first, end, last)
					}
					last = first
					most--
					if rapid.Bool().Draw(t, "drop") {
						delete(ticks, e.idx())
						return false, most > 0
					}
					return true, most > 0
				})
			},
			"drop far": func(t *rapid.T) {
				for idx := range next {
					if _, ok := w.farAt[idx]; ok {
						w.dropFar(idx)
						delete(ticks, idx)
						break
					}
				}
			},
			"clear": func(t *rapid.T) {
				if rapid.IntRange(0, 9).Draw(t, "really") == 0 {
					w.clear()
					clear(ticks)
				}
			},
			"": func(t *rapid.T) {
				entries := make(map[uint32]bool)
				n, err := w.check(func(e entry) { entries[e.idx()] = true })
				if err == nil && (n != len(ticks) || n != w.count || len(entries) != n) {
					err = fmt.Errorf("%d entries of %d sessions, counted %d, placed %d", n, len(entries), w.count, len(ticks))
				}
				if err != nil {
					t.Fatal(err)
				}
				first := int64(noTick)
				for _, tick := range ticks {
					first = min(first, max(tick, w.cur))
				}
				if at := w.next(); at > first || (at == noTick) != (len(ticks) == 0) {
					t.Fatalf("next is %d, the earliest of %d entries is for %d", at, len(ticks), first)
				}
			},
		})
		// However far the clock jumps, nothing is left, and nothing is lost.
		now = max(now, w.cur) + 4*wheelHorizon + 1<<33
		w.advance(now)
		drain(t)
		if len(ticks) > 0 || w.next() != noTick || w.count != 0 {
			t.Fatalf("%d entries are left, next is %d, count is %d", len(ticks), w.next(), w.count)
		}
	})
}

// TestWheelJumpsCostSlots counts what a jump of years over an almost empty
// wheel looks at.
func TestWheelJumpsCostSlots(t *testing.T) {
	w := newWheel(0)
	for idx := range uint32(1000) {
		w.place(int64(idx)*1000003, idx)
	}
	slots := 0
	for level := range wheelLevels {
		for slot := range wheelSlots {
			if w.slots[level][slot] != 0 {
				slots++
			}
		}
	}
	w.advance(1 << 38)
	if len(w.due) > slots {
		t.Errorf("a jump cut off %d chains of %d slots", len(w.due), slots)
	}
	if got := w.overdue(1 << 38); got != 1000 {
		t.Errorf("%d entries are overdue, want 1000", got)
	}
}

// TestFarEntriesComeIn places an entry beyond the horizon: it is brought into
// the wheel well before its tick.
func TestFarEntriesComeIn(t *testing.T) {
	w := newWheel(0)
	const tick int64 = 3 * wheelHorizon
	if !w.place(tick, 1) || w.next() != tick-farLead {
		t.Fatalf("next is %d, want %d", w.next(), tick-farLead)
	}
	w.advance(tick - farLead)
	var buf [2]entry
	if n := w.pop(buf[:]); n != 1 || w.place(tick, 1) {
		t.Errorf("%d entries came in; they were still far", n)
	}
}

// TestSiftedEntriesAreDue has the time of a slot come while its entries are
// being sifted.
func TestSiftedEntriesAreDue(t *testing.T) {
	const at, entries, sifted = 10, 100, 10
	w := newWheel(0)
	for idx := range uint32(entries) {
		w.place(at, idx)
	}
	var buf [entries]entry
	if n := w.sift(buf[:sifted]); n != sifted {
		t.Fatalf("%d entries were sifted, want %d", n, sifted)
	}
	if next := w.next(); next != at {
		t.Errorf("next is %d, want %d", next, at)
	}
	levels := make([][]int, wheelLevels)
	for level := range levels {
		levels[level] = make([]int, wheelSlots)
	}
	if w.tally(levels); levels[0][at] != entries-sifted {
		t.Errorf("%d entries count for their tick, want %d", levels[0][at], entries-sifted)
	}
	levels[0][at] = 0
	if w.advance(at - 1); w.pop(buf[:]) != 0 {
		t.Error("entries come out a tick early")
	}
	if n := w.overdue(at); n != entries-sifted {
		t.Errorf("%d entries are overdue in their tick, want %d", n, entries-sifted)
	}
	w.advance(at)
	if w.tally(levels); levels[0][0] != entries-sifted {
		t.Errorf("%d entries count for the present tick, want %d", levels[0][0], entries-sifted)
	}
	if n := w.pop(buf[:]); n != entries-sifted {
		t.Errorf("%d entries come out in their tick, want %d", n, entries-sifted)
	}
}
