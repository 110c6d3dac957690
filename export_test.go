package lapse

import (
	"fmt"
	"iter"
	"math/bits"
	"slices"
)

// WheelHorizon is the reach of the wheel in ticks.
const WheelHorizon = wheelHorizon

// CheckInvariants looks at everything the engine holds, which must be at rest,
// and returns an error that says what is wrong first.
func CheckInvariants[K comparable, V any](e *Engine[K, V]) error {
	inIndex := make(map[uint32]int)
	for i := range e.shards {
		if err := e.shards[i].index.check(inIndex); err != nil {
			return fmt.Errorf("index %d: %w", i, err)
		}
	}
	for i := range e.shards {
		if err := e.shards[i].check(inIndex); err != nil {
			return fmt.Errorf("shard %d: %w", i, err)
		}
	}
	if len(inIndex) > 0 {
		return fmt.Errorf("the indexes lead to slots without a session: %v", inIndex)
	}
	return nil
}

func (x *index[K, V]) check(seen map[uint32]int) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	dir := x.dir.Load()
	if dir == nil {
		return nil
	}
	if len(dir.segments) != 1<<dir.depth {
		return fmt.Errorf("directory of %d, depth %d", len(dir.segments), dir.depth)
	}
	for i := range dir.segments {
		s := dir.segments[i].Load()
		if i > 0 && s == dir.segments[i-1].Load() {
			continue
		}
		if s.version.Load()&1 != 0 {
			return fmt.Errorf("segment %d is in use and counts as replaced", i)
		}
		n := 0
		for _, cell := range s.cells {
			c := slotHash(cell)
			if c == 0 {
				continue
			}
			n++
			seen[c.slot()]++
			key := x.e.record(c.slot()).key
			if hash := x.e.hash(&key); high(hash) != c.hash() || &x.e.shardOf(hash).index != x {
				return fmt.Errorf("slot %d lies under another hash than its key's", c.slot())
			}
			if found, ok := x.find(c.hash(), &key); !ok || found != c.slot() {
				return fmt.Errorf("slot %d is not found by its key", c.slot())
			}
			if !x.e.keys.shared() {
				continue
			}
			// Whose look-up wants the lock, which is held, waits for ever.
			if s, ok, _ := x.e.find(&key); !ok || s.slot() != c.slot() {
				return fmt.Errorf("slot %d is not found by its key without the lock", c.slot())
			}
		}
		if n != s.used || n == len(s.cells) {
			return fmt.Errorf("segment %d holds %d, used is %d of %d", i, n, s.used, len(s.cells))
		}
	}
	return nil
}

func (sh *shard[K, V]) check(inIndex map[uint32]int) error {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	w := &sh.wheel
	entries := make(map[uint32][]entry)
	total, err := w.check(func(e entry) { entries[e.idx()] = append(entries[e.idx()], e) })
	if err != nil {
		return err
	}
	if next := sh.next.Load(); next != w.next() {
		return fmt.Errorf("next is %d, the wheel's is %d", next, w.next())
	}
	// What has been cut off is visited next, whatever tick it is armed for.
	cut := make(map[uint32]bool)
	for _, c := range w.due[w.drained:] {
		for ; c != 0; c = w.chunks.at(c).rest {
			for _, e := range w.chunks.at(c).entries[:w.chunks.at(c).n] {
				cut[e.idx()] = true
			}
		}
	}
	live, armed, counts := 0, 0, make(map[uint64]int)
	free := make(map[uint32]bool)
	if err := sh.slab.check(free); err != nil {
		return err
	}
	for idx := range sh.slab.handedOut() {
		rec := sh.slab.record(idx)
		r := rec.read()
		slot := idx<<sh.e.shardBits | sh.id
		switch r.phase() {
		case phaseFree:
			if !free[idx] && r.gen() != lastGen {
				return fmt.Errorf("slot %d is free and not in the free list", idx)
			}
			if sh.hooks[idx] != nil {
				return fmt.Errorf("slot %d is free and has hooks", idx)
			}
			continue
		case phaseEnded:
			if sh.hooks[idx] == nil {
				return fmt.Errorf("slot %d has ended, is not free and has no hooks", idx)
			}
			continue
		}
		if free[idx] {
			return fmt.Errorf("slot %d lives and is in the free list", idx)
		}
		live++
		counts[r.class()]++
		if inIndex[slot] != 1 {
			return fmt.Errorf("slot %d is %d times in the indexes", idx, inIndex[slot])
		}
		delete(inIndex, slot)
		if !r.held() && sh.holds[idx] > 0 {
			return fmt.Errorf("slot %d has holds and is not held", idx)
		}
		if r.place() != unarmed {
			armed++
			n := 0
			for _, e := range entries[idx] {
				if e.armed() == r.armed() {
					n++
				}
			}
			if n == 0 {
				return fmt.Errorf("slot %d is armed for %d and has no such entry", idx, r.armed())
			}
		}
		if p, i := sh.slab.at(idx); r.phase() == phaseLive && p.warned[i/64]>>(i%64)&1 != 0 != r.warned() {
			return fmt.Errorf("slot %d: its warned bit differs from its page's", idx)
		}
		if r.phase() != phaseLive || sh.warningOf(idx, r).runs() {
			continue
		}
		visit := sh.e.terms(r).visitTick(&r)
		switch at := sh.armedTick(r); r.place() {
		case unarmed:
			if visit <= lastTick {
				return fmt.Errorf("slot %d is not armed, visit at %d", idx, visit)
			}
		case inWheel:
			if at > max(visit, w.cur) && !cut[idx] {
				return fmt.Errorf("slot %d is armed for %d, after its visit at %d", idx, at, visit)
			}
		case inFar:
			if at := w.farTick(idx); at > max(visit, w.cur) {
				return fmt.Errorf("slot %d is armed far for %d, after its visit at %d", idx, at, visit)
			}
		}
	}
	for ref, w := range sh.warnings {
		s := Session[K, V]{sh.e, ref}
		if r := s.record().read(); !w.runs() && (r.gen() != s.gen() || r.phase() > phaseDue) {
			return fmt.Errorf("a warning waits whose session has ended: %x", ref)
		}
	}
	if live != int(sh.live.Load()) || armed != sh.armed {
		return fmt.Errorf("%d live and %d armed, counted %d and %d", live, armed, sh.live.Load(), sh.armed)
	}
	for class, n := range sh.counts {
		if counts[uint64(class)] != n {
			return fmt.Errorf("%d of class %d, counted %d", counts[uint64(class)], class, n)
		}
	}
	if total != w.count {
		return fmt.Errorf("%d entries, counted %d", total, w.count)
	}
	if stale := total - armed; stale > max(1024, 2*live) {
		return fmt.Errorf("%d superseded entries, %d sessions", stale, live)
	}
	return nil
}

// check checks the wheel by itself, calls visit for every entry and counts
// them.
func (w *wheel) check(visit func(entry)) (total int, err error) {
	chain := func(c chunkRef) {
		for ; c != 0; c = w.chunks.at(c).rest {
			for _, e := range w.chunks.at(c).entries[:w.chunks.at(c).n] {
				visit(e)
				total++
			}
		}
	}
	soon := int64(noTick)
	for level := range wheelLevels {
		for slot := range wheelSlots {
			bit := w.occupied[level][slot/64]>>(slot%64)&1 != 0
			if bit != (w.slots[level][slot] != 0) {
				return 0, fmt.Errorf("bit of level %d slot %d is %v", level, slot, bit)
			}
			if !bit {
				continue
			}
			chain(w.slots[level][slot])
			start := w.start(level, slot)
			if level > 0 && start <= w.cur {
				return 0, fmt.Errorf("level %d slot %d starts at %d, it is %d", level, slot, start, w.cur)
			}
			soon = min(soon, start)
		}
		if w.occupied[level] != [2]uint64{} {
			slot, ok := w.firstSlot(level, w.cur>>(levelShift*level))
			if !ok || bits.OnesCount64(w.occupied[level][slot/64]>>(slot%64)&1) != 1 {
				return 0, fmt.Errorf("first slot of level %d is %d, %v", level, slot, ok)
			}
		}
	}
	if soon != w.soon {
		return 0, fmt.Errorf("soon is %d, the earliest slot starts at %d", w.soon, soon)
	}
	for _, c := range w.due[w.drained:] {
		chain(c)
	}
	chain(w.sifting)
	if w.far != nil {
		if w.far.Len() != len(w.farAt) {
			return 0, fmt.Errorf("%d far entries, %d known", w.far.Len(), len(w.farAt))
		}
		w.far.Ascend(func(f farEntry) bool {
			if w.farAt[f.idx] != f.tick {
				err = fmt.Errorf("far entry of %d at %d is known at %d", f.idx, f.tick, w.farAt[f.idx])
			}
			visit(makeEntry(f.tick, f.idx))
			total++
			return err == nil
		})
	}
	return total, err
}

// handedOut ranges over the slots that sessions have or had.
func (s *slab[K, V]) handedOut() iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for n := range s.pages {
			for i := range s.pages[n].fresh {
				if !yield(uint32(n)<<pageShift | i) {
					return
				}
			}
		}
	}
}

// check adds the slots that were given back to free.
func (s *slab[K, V]) check(free map[uint32]bool) error {
	if n := s.spare - 1; n >= 0 && (s.recordsOf(n) == nil || s.pages[n].used > 0) {
		return fmt.Errorf("page %d is the spare one, and is empty or in use", n)
	}
	for n := range s.pages {
		p := &s.pages[n]
		if s.recordsOf(n) == nil {
			if p.used != 0 || p.values != nil || !slices.Contains(s.empty, uint32(n)) {
				return fmt.Errorf("page %d has no records and is not empty", n)
			}
			continue
		}
		if p.used == 0 && s.spare != n+1 {
			return fmt.Errorf("page %d is in no use; spare is %d", n, s.spare)
		}
		if has := s.room[n/64]>>(n%64)&1 != 0; has != (p.used < pageSize) || has && n/64 < s.from {
			return fmt.Errorf("page %d uses %d slots; has room: %t, from %d", n, p.used, has, s.from)
		}
		notUsed := 0
		for i := p.free; i != 0; i = uint32(s.record(uint32(n)<<pageShift | (i - 1)).run.Load()) {
			idx := uint32(n)<<pageShift | (i - 1)
			if free[idx] {
				return fmt.Errorf("the free list is a ring at %d", idx)
			}
			free[idx] = true
			notUsed++
		}
		if p.used+notUsed != int(p.fresh) {
			return fmt.Errorf("page %d uses %d slots and has %d free", n, p.used, notUsed)
		}
	}
	return nil
}
