package lapse

import "sync/atomic"

// A cell is what the engine knows of a session besides its key and value: 32
// bytes without pointers.
//
//	state  | generation 20 | phase 2 | held 1 | warned 1 | run 1 | seen 39 |
//	run    | polls 24 | start of the run 39 |
//	born   | armed, high 7 | place 2 | class 16 | started 39 |
//	arm    | own idle 39 | armed, low 25 |
//
// All times are ticks. The lock of the shard guards a cell, with one exception:
// a touch of a live session compares and swaps state without the lock, setting
// seen and clearing run. Hence a holder of the lock that reads a cell and then
// swaps state from what it read has acted on a true reading: nobody else sets
// the run bit, so a run that was touched away cannot be back.
//
// A session that is due keeps its verdict where it needs nothing else any more:
// the limit in the start of the run, the reason in its own idle.
type cell struct {
	state, run, born, arm atomic.Uint64
}

const (
	tickBits = 39
	tickMask = 1<<tickBits - 1

	runBit     = 1 << 39
	warnedBit  = 1 << 40
	heldBit    = 1 << 41
	heldShift  = 41
	phaseShift = 42
	phaseMask  = 3 << phaseShift
	genShift   = 44
	lastGen    = 1<<20 - 1

	pollsShift = 39
	pollsMask  = 1<<24 - 1

	classShift = 39
	classMask  = 1<<16 - 1
	placeShift = 55
	placeMask  = 3
	armedHigh  = 57
	armedLow   = 25
	idleShift  = 25
)

// The phases of a slot. Only phaseLive is alive to a caller.
const (
	phaseLive  = uint64(iota) << phaseShift
	phaseDue   // found due by somebody, and not yet ended by the wheel
	phaseEnded // ended; its own hooks have not all run
	phaseFree
)

// Where the entry of a session lies that is to be visited next.
const (
	unarmed = iota
	inWheel
	inFar
)

// A reading is a copy of a cell, and the time when the session was seen, which
// can be later than the cell's stamp; see coarse.
type reading struct {
	state, run, born, arm uint64
	seen                  int64
}

// read copies a cell. Without the lock of the shard, the copy is true if state
// is the same afterwards.
func (c *cell) read() reading {
	r := reading{state: c.state.Load(), run: c.run.Load(), born: c.born.Load(), arm: c.arm.Load()}
	r.seen = r.stamp()
	return r
}

func (r reading) gen() uint64     { return r.state >> genShift }
func (r reading) phase() uint64   { return r.state & phaseMask }
func (r reading) held() bool      { return r.state&heldBit != 0 }
func (r reading) warned() bool    { return r.state&warnedBit != 0 }
func (r reading) polled() bool    { return r.state&runBit != 0 }
func (r reading) stamp() int64    { return int64(r.state & tickMask) }
func (r reading) runStart() int64 { return int64(r.run & tickMask) }
func (r reading) started() int64  { return int64(r.born & tickMask) }
func (r reading) class() uint64   { return r.born >> classShift & classMask }
func (r reading) place() int      { return int(r.born >> placeShift & placeMask) }
func (r reading) ownIdle() int64  { return int64(r.arm >> idleShift) }

// polls counts the accepted polls of the present run.
func (r reading) polls() int {
	if !r.polled() {
		return 0
	}
	return int(r.run >> pollsShift & pollsMask)
}

// armed returns the low half of the tick that the session is armed for.
func (r reading) armed() uint32 {
	return uint32(r.born>>armedHigh<<armedLow) | uint32(r.arm&(1<<armedLow-1))
}

// verdict returns what mark has written.
func (r reading) verdict() (limit int64, why Reason) {
	return r.runStart(), Reason(r.ownIdle())
}

func (c *cell) setArmed(place int, tick int64) {
	r := reading{born: c.born.Load(), arm: c.arm.Load()}
	r.setArmed(place, tick)
	c.born.Store(r.born)
	c.arm.Store(r.arm)
}

func (r *reading) setArmed(place int, tick int64) {
	low := uint32(tick)
	r.born = r.born&^(placeMask<<placeShift|(1<<7-1)<<armedHigh) | uint64(place)<<placeShift | uint64(low>>armedLow)<<armedHigh
	r.arm = r.arm>>idleShift<<idleShift | uint64(low&(1<<armedLow-1))
}

func (c *cell) setIdle(ticks int64) {
	c.arm.Store(c.arm.Load()&(1<<idleShift-1) | uint64(min(ticks, tickMask))<<idleShift)
}

func (c *cell) setClass(class uint64) {
	c.born.Store(c.born.Load()&^(classMask<<classShift) | class<<classShift)
}

func (c *cell) setRun(start int64, polls int) {
	c.run.Store(uint64(polls)<<pollsShift | uint64(start))
}

// mark records the verdict on a live session that was read as r and is due. It
// fails if a touch has come between.
func (c *cell) mark(r reading, limit int64, why Reason) bool {
	if !c.state.CompareAndSwap(r.state, r.state&^tickMask|phaseDue|uint64(r.seen)) {
		return false
	}
	c.setRun(limit, r.polls())
	c.setIdle(int64(why))
	return true
}

const (
	pageShift = 10
	pageSize  = 1 << pageShift
)

// A record is a cell and its key, which a look-up compares right after finding
// the cell: together they mostly lie in one cache line.
type record[K comparable] struct {
	cell
	key K
}

// A page holds the sessions of 1024 slots. It is never moved. Values lie apart,
// so that a page of pointer-free keys is nothing to the garbage collector.
type page[K comparable, V any] struct {
	records *[pageSize]record[K]
	values  *[pageSize]V
	order   *[pageSize]uint64      // of the starts; nil but in Manual mode
	warned  *[pageSize / 64]uint64 // bits of the sessions that have been warned
}

// A slab hands out the slots of a shard. The lock of the shard guards it; pages
// can be reached without it.
type slab[K comparable, V any] struct {
	pages  atomic.Pointer[[]page[K, V]]
	used   uint32 // slots handed out so far
	free   uint32 // first slot of the free list, plus one
	manual bool
	keys   keyKind
}

// at returns the page and the place in it of a slot, nil if there is none.
func (s *slab[K, V]) at(idx uint32) (*page[K, V], uint32) {
	if pages := s.pages.Load(); pages != nil && int(idx>>pageShift) < len(*pages) {
		return &(*pages)[idx>>pageShift], idx % pageSize
	}
	return nil, 0
}

// record returns the record of a slot, nil if there is none.
func (s *slab[K, V]) record(idx uint32) *record[K] {
	if p, i := s.at(idx); p != nil {
		return &p.records[i]
	}
	return nil
}

// value returns where the value of a slot is that exists.
func (s *slab[K, V]) value(idx uint32) *V {
	p, i := s.at(idx)
	return &p.values[i]
}

// startOrder returns the place of a slot's session in the order of starts; zero
// where that is not kept.
func (s *slab[K, V]) startOrder(idx uint32) uint64 {
	if p, i := s.at(idx); p.order != nil {
		return p.order[i]
	}
	return 0
}

// noteWarned keeps warned as the session's bit in its state is.
func (s *slab[K, V]) noteWarned(idx uint32, on bool) {
	p, i := s.at(idx)
	if bit := uint64(1) << (i % 64); on {
		p.warned[i/64] |= bit
	} else {
		p.warned[i/64] &^= bit
	}
}

// take hands out a slot, unless there are limit of them.
func (s *slab[K, V]) take(limit uint32) (idx uint32, ok bool) {
	if s.free != 0 {
		idx = s.free - 1
		s.free = uint32(s.record(idx).run.Load())
		return idx, true
	}
	if s.used >= limit {
		return 0, false
	}
	idx = s.used
	if idx%pageSize == 0 {
		s.grow()
	}
	s.used++
	return idx, true
}

func (s *slab[K, V]) grow() {
	p := page[K, V]{records: new([pageSize]record[K]), values: new([pageSize]V), warned: new([pageSize / 64]uint64)}
	for i := range p.records {
		p.records[i].state.Store(phaseFree)
	}
	if s.manual {
		p.order = new([pageSize]uint64)
	}
	var pages []page[K, V]
	if old := s.pages.Load(); old != nil {
		pages = *old
	}
	// Readers hold the old header and never look beyond its length.
	pages = append(pages, p)
	s.pages.Store(&pages)
}

// put takes a slot back. A slot whose generations are used up is retired, so
// that no handle ever names two sessions.
func (s *slab[K, V]) put(idx uint32) {
	p, i := s.at(idx)
	rec := &p.records[i]
	var zero V
	p.values[i] = zero
	if s.keys != wordsKey { // which refers to nothing
		var zero K
		setKey(s.keys, rec, zero)
	}
	gen := rec.state.Load() >> genShift
	rec.state.Store(min(gen+1, lastGen)<<genShift | phaseFree)
	if gen < lastGen {
		rec.run.Store(uint64(s.free))
		s.free = idx + 1
	}
}

// clear drops all pages.
func (s *slab[K, V]) clear() {
	s.pages.Store(nil)
	s.used, s.free = 0, 0
}
