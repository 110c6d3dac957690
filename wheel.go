package lapse

import (
	"math"
	"math/bits"

	"github.com/google/btree"
)

// Geometry of the wheel. Level l has slots of 8^l ticks; a level is chosen by
// the distance to the visit, so an entry is visited when at most an eighth of
// that distance is left, and then moves two levels down at once.
const (
	wheelLevels = 9
	wheelSlots  = 128
	levelShift  = 3

	// wheelHorizon is the distance from which an entry lies in the tree of far
	// entries instead: 248 days at 10ms.
	wheelHorizon = (wheelSlots - 1) << (levelShift * (wheelLevels - 1))
	// farLead is how long before its tick a far entry is brought into the
	// wheel.
	farLead = wheelHorizon / 2

	chunkEntries = 127
	blockChunks  = 16

	// noTick is later than every tick.
	noTick = math.MaxInt64
)

// An entry asks for a visit to a session: the low half of the tick it was armed
// for, and the session's place in the slab. An entry that was superseded is not
// taken out; whoever receives it sees that the session is armed for another
// tick and drops it.
type entry uint64

func makeEntry(tick int64, idx uint32) entry { return entry(uint64(uint32(tick))<<32 | uint64(idx)) }

func (e entry) armed() uint32 { return uint32(e >> 32) }
func (e entry) idx() uint32   { return uint32(e) }

// A farEntry is an entry beyond the horizon.
type farEntry struct {
	tick int64
	idx  uint32
}

func farLess(a, b farEntry) bool {
	return a.tick < b.tick || a.tick == b.tick && a.idx < b.idx
}

// A wheel is a hierarchical timing wheel. It knows ticks and indices and
// nothing else; its owner serializes all calls.
//
// A slot holds a chain of chunks, arrays of entries: draining a chain keeps
// many cache misses in flight, where a linked list of sessions would wait for
// each in turn. Slots whose start has come are cut off as whole chains by
// advance and read out by pop, in as many portions as the owner likes, so a
// jump of the clock costs slots and never ticks.
//
// Invariants: cur never decreases; a slot that is not empty starts after cur
// or, on level 0, at cur; bit s of level l in occupied is set if and only if
// that slot holds entries; soon is the start of the earliest such slot, or
// noTick.
type wheel struct {
	cur      int64
	soon     int64
	count    int // entries, far ones included
	occupied [wheelLevels][wheelSlots / 64]uint64
	slots    [wheelLevels][wheelSlots]chunkRef
	due      []chunkRef // chains cut off by advance, in order of their slots
	drained  int        // how many of due are read out
	dueFrom  int64      // no entry of due was armed for a tick before it
	sifting  chunkRef   // chain cut off by sift
	siftFrom int64      // start of the slot that sifting was
	cursor   int        // slot that sift takes next
	far      *btree.BTreeG[farEntry]
	farAt    map[uint32]int64
	chunks   chunkPool
}

func newWheel(now int64) wheel {
	return wheel{cur: now, soon: noTick, siftFrom: noTick}
}

// next returns the earliest tick at which advance and pop may yield an entry,
// or noTick.
func (w *wheel) next() int64 {
	if w.drained < len(w.due) {
		return w.cur
	}
	next := min(w.soon, w.siftFrom)
	if w.far != nil {
		if first, ok := w.far.Min(); ok {
			next = min(next, max(first.tick-farLead, w.cur))
		}
	}
	return next
}

// place adds an entry for a visit at tick, or at the current tick when that is
// past. It reports whether the entry went to the far ones.
func (w *wheel) place(tick int64, idx uint32) (far bool) {
	w.count++
	delta := tick - w.cur
	if delta >= wheelHorizon {
		if w.far == nil {
			w.far = btree.NewG(32, farLess)
			w.farAt = make(map[uint32]int64)
		}
		w.far.ReplaceOrInsert(farEntry{tick, idx})
		w.farAt[idx] = tick
		return true
	}
	if delta < 0 {
		// Without this the difference would wrap to a slot of a later lap.
		delta = 0
	}
	level := levelOf(delta)
	shift := uint(levelShift * level)
	when := (w.cur + delta) >> shift
	slot := when & (wheelSlots - 1)
	w.slots[level][slot] = w.chunks.push(w.slots[level][slot], makeEntry(tick, idx))
	w.occupied[level][slot/64] |= 1 << (slot % 64)
	w.soon = min(w.soon, when<<shift)
	return false
}

// tickOf returns the tick, of those around the current one, whose low half is
// armed.
func (w *wheel) tickOf(armed uint32) int64 { return w.cur + int64(int32(armed-uint32(w.cur))) }

// poppedTick returns the tick of an entry that pop has yielded. However far the
// clock has jumped since it left its slot, it is not taken for one to come. A
// far entry can lie later than that.
func (w *wheel) poppedTick(armed uint32) int64 {
	return w.dueFrom + int64(armed-uint32(w.dueFrom))
}

// levelOf returns the lowest level whose reach includes delta ticks.
func levelOf(delta int64) int {
	level := 0
	for reach := int64(wheelSlots - 1); delta >= reach; reach <<= levelShift {
		level++
	}
	return level
}

// isFar reports whether idx has a far entry that advance has not cut off.
func (w *wheel) isFar(idx uint32) bool {
	_, ok := w.farAt[idx]
	return ok
}

// farTick returns the tick of the far entry of idx; one that advance has cut
// off counts as current.
func (w *wheel) farTick(idx uint32) int64 {
	if tick, ok := w.farAt[idx]; ok {
		return tick
	}
	return w.cur
}

// dropFar removes the far entry of idx, unless advance has cut it off.
func (w *wheel) dropFar(idx uint32) {
	if tick, ok := w.farAt[idx]; ok {
		w.far.Delete(farEntry{tick, idx})
		delete(w.farAt, idx)
		w.count--
	}
}

// advance moves the wheel to now, which must not be before the tick of the last
// call, and cuts off the slots whose start has come for pop.
func (w *wheel) advance(now int64) {
	now = max(now, w.cur)
	if now < w.next() {
		w.cur = now
		return
	}
	w.cutting()
	for w.soon <= now {
		level, slot := w.earliest()
		w.due = append(w.due, w.detach(level, slot))
		w.seek()
	}
	if w.siftFrom <= now {
		w.due = append(w.due, w.sifting)
		w.sifting, w.siftFrom = 0, noTick
	}
	w.cur = now
	for w.far != nil {
		first, ok := w.far.Min()
		if !ok || first.tick-farLead > now {
			break
		}
		w.far.DeleteMin()
		delete(w.farAt, first.idx)
		if w.drained == len(w.due) {
			w.due = append(w.due, 0)
		}
		last := len(w.due) - 1
		w.due[last] = w.chunks.push(w.due[last], makeEntry(first.tick, first.idx))
	}
}

// pop fills buf with entries whose visit is due and returns how many.
func (w *wheel) pop(buf []entry) int {
	n := 0
	for n < len(buf) && w.drained < len(w.due) {
		n += w.chunks.pop(&w.due[w.drained], buf[n:])
		if w.due[w.drained] == 0 {
			w.drained++
		}
	}
	if w.drained == len(w.due) {
		w.due, w.drained = w.due[:0], 0
	}
	w.count -= n
	return n
}

// sift fills buf with entries that are not due, going round the slots, and
// returns how many. The owner places those that it still needs again: so the
// superseded ones leave the wheel long before their time, a few at each call.
func (w *wheel) sift(buf []entry) int {
	for tried := 0; w.sifting == 0 && tried < wheelLevels*wheelSlots; tried++ {
		level, slot := w.cursor/wheelSlots, w.cursor%wheelSlots
		w.cursor = (w.cursor + 1) % (wheelLevels * wheelSlots)
		if w.slots[level][slot] != 0 {
			w.siftFrom = w.start(level, slot)
			w.sifting = w.detach(level, slot)
			w.seek()
		}
	}
	if w.sifting == 0 {
		return 0
	}
	n := w.chunks.pop(&w.sifting, buf)
	if w.sifting == 0 {
		w.siftFrom = noTick
	}
	w.count -= n
	return n
}

// unsift cuts off for pop what sift has not handed out yet.
func (w *wheel) unsift() {
	if w.sifting != 0 {
		w.cutting()
		w.due = append(w.due, w.sifting)
		w.sifting, w.siftFrom = 0, noTick
	}
}

// cutting is called before chains are cut off for pop.
func (w *wheel) cutting() {
	if w.drained == len(w.due) {
		w.dueFrom = w.cur
	}
}

// scan passes over the entries that are not due, slot after slot in the order
// of their starts, until visit says that it wants no more. Visit is told the
// first and the last tick of the slot; an entry that it does not keep leaves
// the wheel. It may place entries after the slot's last tick, which the scan
// passes by where they come into a longer slot that began before.
func (w *wheel) scan(visit func(first, last int64, e entry) (keep, more bool)) {
	defer w.seek()
	from, far := w.cur, farEntry{}
	for {
		first := int64(noTick)
		for level := range wheelLevels {
			first = min(first, w.startFrom(level, from))
		}
		// Far entries come between: the wheel may have come nearer to them
		// since.
		if next, ok := w.farFrom(far); ok && next.tick <= first {
			keep, more := visit(next.tick, next.tick, makeEntry(next.tick, next.idx))
			if !keep {
				w.dropFar(next.idx)
			}
			if !more {
				return
			}
			far = farEntry{next.tick, next.idx + 1}
			continue
		}
		if first == noTick {
			return
		}
		for level := range wheelLevels {
			if w.startFrom(level, from) == first && !w.scanSlot(level, first, visit) {
				return
			}
		}
		from = first + 1
	}
}

// farFrom returns the first far entry that is not before f.
func (w *wheel) farFrom(f farEntry) (next farEntry, ok bool) {
	if w.far != nil {
		w.far.AscendGreaterOrEqual(f, func(e farEntry) bool {
			next, ok = e, true
			return false
		})
	}
	return next, ok
}

func (w *wheel) scanSlot(level int, first int64, visit func(first, last int64, e entry) (keep, more bool)) bool {
	shift := uint(levelShift * level)
	slot := int(first>>shift) & (wheelSlots - 1)
	chain, kept := w.detach(level, slot), chunkRef(0)
	var one [1]entry
	more := true
	for more && w.chunks.pop(&chain, one[:]) > 0 {
		var keep bool
		if keep, more = visit(first, first+1<<shift-1, one[0]); keep {
			kept = w.chunks.push(kept, one[0])
		} else {
			w.count--
		}
	}
	for w.chunks.pop(&kept, one[:]) > 0 {
		chain = w.chunks.push(chain, one[0])
	}
	// What visit has placed may lie here, too.
	for placed := w.detach(level, slot); w.chunks.pop(&placed, one[:]) > 0; {
		chain = w.chunks.push(chain, one[0])
	}
	if chain != 0 {
		w.slots[level][slot] = chain
		w.occupied[level][slot/64] |= 1 << (slot % 64)
	}
	return more
}

// startFrom returns the start of a level's earliest occupied slot that starts
// at from or later, or noTick.
func (w *wheel) startFrom(level int, from int64) int64 {
	shift := uint(levelShift * level)
	if slot, ok := w.firstSlot(level, (from+1<<shift-1)>>shift); ok {
		if start := w.start(level, slot); start >= from {
			return start
		}
	}
	return noTick
}

// clear drops all entries.
func (w *wheel) clear() {
	if w.count == 0 {
		return
	}
	w.soon = noTick
	w.count = 0
	w.occupied = [wheelLevels][wheelSlots / 64]uint64{}
	w.slots = [wheelLevels][wheelSlots]chunkRef{}
	w.due, w.drained = w.due[:0], 0
	w.sifting, w.siftFrom = 0, noTick
	w.far, w.farAt = nil, nil
	w.chunks.reset()
}

// overdue counts the entries that advance(now) and pop would yield.
func (w *wheel) overdue(now int64) int {
	n := 0
	for _, chain := range w.due[w.drained:] {
		n += w.chunks.len(chain)
	}
	if w.siftFrom <= now {
		n += w.chunks.len(w.sifting)
	}
	for level := range wheelLevels {
		for slot := range wheelSlots {
			if chain := w.slots[level][slot]; chain != 0 && w.start(level, slot) <= now {
				n += w.chunks.len(chain)
			}
		}
	}
	return n
}

// detach empties a slot and returns its chain; soon is then to be sought anew.
func (w *wheel) detach(level, slot int) chunkRef {
	chain := w.slots[level][slot]
	w.slots[level][slot] = 0
	w.occupied[level][slot/64] &^= 1 << (slot % 64)
	return chain
}

// start returns the first tick of a slot that is not empty.
func (w *wheel) start(level, slot int) int64 {
	shift := uint(levelShift * level)
	first := w.cur >> shift
	return (first + (int64(slot)-first)&(wheelSlots-1)) << shift
}

// earliest returns the slot that starts at soon.
func (w *wheel) earliest() (level, slot int) {
	for level = range wheelLevels {
		shift := uint(levelShift * level)
		slot = int(w.soon>>shift) & (wheelSlots - 1)
		if w.slots[level][slot] != 0 && w.start(level, slot) == w.soon {
			return level, slot
		}
	}
	panic("lapse: the wheel's earliest slot is empty")
}

// seek sets soon. A level's earliest slot is not always earlier than the next
// level's, so it looks at all of them.
func (w *wheel) seek() {
	w.soon = noTick
	for level := range wheelLevels {
		if slot, ok := w.firstSlot(level, w.cur>>(levelShift*level)); ok {
			w.soon = min(w.soon, w.start(level, slot))
		}
	}
}

// firstSlot returns the first occupied slot of a level, going round from a slot
// number on.
func (w *wheel) firstSlot(level int, number int64) (int, bool) {
	lo, hi := w.occupied[level][0], w.occupied[level][1]
	if lo|hi == 0 {
		return 0, false
	}
	from := uint(number) & (wheelSlots - 1)
	if from >= 64 {
		lo, hi = hi, lo
	}
	// lo holds from, hi the other 64 slots; of lo, what lies before from comes
	// last.
	ahead := lo >> (from % 64) << (from % 64)
	base := from &^ 63
	switch {
	case ahead != 0:
		return int(base) + bits.TrailingZeros64(ahead), true
	case hi != 0:
		return int(base^64) + bits.TrailingZeros64(hi), true
	default:
		return int(base) + bits.TrailingZeros64(lo), true
	}
}

// A chunkRef names a chunk, plus one; zero is the empty chain.
type chunkRef uint32

// A chunk is a kilobyte of entries and the rest of its chain.
type chunk struct {
	n       uint32
	rest    chunkRef
	entries [chunkEntries]entry
}

// A chunkPool owns the chunks. They lie in blocks without pointers, so the
// garbage collector passes over them.
type chunkPool struct {
	blocks []*[blockChunks]chunk
	unused int      // chunks of the last block that were never handed out
	free   chunkRef // chain of chunks that were
}

func (p *chunkPool) at(c chunkRef) *chunk {
	return &p.blocks[(c-1)/blockChunks][(c-1)%blockChunks]
}

// push adds an entry to a chain and returns the chain.
func (p *chunkPool) push(chain chunkRef, e entry) chunkRef {
	if chain == 0 || p.at(chain).n == chunkEntries {
		fresh := p.take()
		c := p.at(fresh)
		c.n, c.rest = 0, chain
		chain = fresh
	}
	c := p.at(chain)
	c.entries[c.n] = e
	c.n++
	return chain
}

// pop moves entries of a chain to buf, as many as fit, and returns how many.
func (p *chunkPool) pop(chain *chunkRef, buf []entry) int {
	n := 0
	for n < len(buf) && *chain != 0 {
		c := p.at(*chain)
		k := min(int(c.n), len(buf)-n)
		copy(buf[n:], c.entries[int(c.n)-k:c.n])
		c.n -= uint32(k)
		n += k
		if c.n == 0 {
			done := *chain
			*chain = c.rest
			c.rest, p.free = p.free, done
		}
	}
	return n
}

// len counts the entries of a chain.
func (p *chunkPool) len(chain chunkRef) int {
	n := 0
	for ; chain != 0; chain = p.at(chain).rest {
		n += int(p.at(chain).n)
	}
	return n
}

func (p *chunkPool) take() chunkRef {
	if c := p.free; c != 0 {
		p.free = p.at(c).rest
		return c
	}
	if p.unused == 0 {
		p.blocks = append(p.blocks, new([blockChunks]chunk))
		p.unused = blockChunks
	}
	p.unused--
	return chunkRef(len(p.blocks)*blockChunks - p.unused)
}

// reset takes all chunks back. One block stays, so that an engine that goes
// from one session to none and back does not allocate each time.
func (p *chunkPool) reset() {
	if len(p.blocks) > 1 {
		p.blocks = []*[blockChunks]chunk{p.blocks[0]}
	}
	p.free, p.unused = 0, 0
	if len(p.blocks) == 1 {
		p.unused = blockChunks
	}
}

// tally adds the entries of each slot to levels, counted from the current slot
// on. What is due counts for the first; far entries do not count.
func (w *wheel) tally(levels [][]int) {
	for level := range wheelLevels {
		first := int(w.cur>>(levelShift*level)) & (wheelSlots - 1)
		for slot := range wheelSlots {
			if chain := w.slots[level][slot]; chain != 0 {
				levels[level][(slot-first)&(wheelSlots-1)] += w.chunks.len(chain)
			}
		}
	}
	for _, chain := range w.due[w.drained:] {
		levels[0][0] += w.chunks.len(chain)
	}
	if w.sifting != 0 {
		level := levelOf(w.siftFrom - w.cur)
		shift := uint(levelShift * level)
		levels[level][w.siftFrom>>shift-w.cur>>shift] += w.chunks.len(w.sifting)
	}
}
