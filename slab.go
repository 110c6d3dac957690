package lapse

import (
	"math/bits"
	"sync/atomic"
)

// A cell is what the engine knows of a session besides its key and value: 32
// bytes without pointers.
//
//	state  | generation 20 | phase 2 | held 1 | warned 1 | run 1 | seen 39 |
//	run    | polls 24 | start of the run 39 |
//	born   | armed, high 7 | place 2 | class 16 | started 39 |
//	arm    | own idle 39 | armed, low 25 |
//
// All times are ticks. The lock of the shard guards a cell, with two exceptions:
// without it, a touch of a live session compares and swaps state, setting seen
// and clearing run, and so does the first hold, setting held. Hence a holder of
// the lock that reads a cell and then swaps state from what it read has acted on
// a true reading: nobody else sets the run bit, so a run that was touched away
// cannot be back, nor clears held.
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

// records are those of the slots of a page. They are never moved.
type records[K comparable] = [pageSize]record[K]

// A page holds what else there is of 1024 slots. Values lie apart from records,
// so that those of pointer-free keys are nothing to the garbage collector. A
// page none of whose slots is in use can be empty: then it has no arrays.
type page[V any] struct {
	values *[pageSize]V
	order  *[pageSize]uint64      // of the starts; nil but in Manual mode
	warned *[pageSize / 64]uint64 // bits of the sessions that have been warned

	used  int    // slots that are handed out
	free  uint32 // the first of those that were given back, plus one
	fresh uint32 // the first of those that were never handed out
	// gen is a generation that none of the slots has had, should the page be
	// emptied.
	gen uint64
}

// A slab hands out the slots of a shard, from the first pages on, so that the
// last ones are emptied when there are fewer sessions. The lock of the shard
// guards it; records can be reached without it.
type slab[K comparable, V any] struct {
	records atomic.Pointer[[]atomic.Pointer[records[K]]] // by page; nil where that is empty
	pages   []page[V]
	room    []uint64 // bits of the pages, of those that are not empty, that have slots to hand out
	from    int      // room has nothing before this word
	empty   []uint32 // pages
	spare   int      // a page that is not in use nor empty, plus one; zero: there is none
	manual  bool
	keys    keyKind
}

// record returns the record of a slot, nil if there is none.
func (s *slab[K, V]) record(idx uint32) *record[K] {
	if p := s.recordsOf(int(idx >> pageShift)); p != nil {
		return &p[idx%pageSize]
	}
	return nil
}

// recordsOf returns the records of a page, nil if there are none.
func (s *slab[K, V]) recordsOf(page int) *records[K] {
	if all := s.records.Load(); all != nil && page < len(*all) {
		return (*all)[page].Load()
	}
	return nil
}

// extent returns how many pages there may be.
func (s *slab[K, V]) extent() int {
	if all := s.records.Load(); all != nil {
		return len(*all)
	}
	return 0
}

// at returns the page and the place in it of a slot that exists.
func (s *slab[K, V]) at(idx uint32) (*page[V], uint32) {
	return &s.pages[idx>>pageShift], idx % pageSize
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
	n := s.findRoom()
	p := &s.pages[n]
	if i := p.free; i != 0 {
		idx = uint32(n)<<pageShift | (i - 1)
		p.free = uint32(s.record(idx).run.Load())
	} else {
		if idx = uint32(n)<<pageShift | p.fresh; idx >= limit {
			return 0, false
		}
		p.fresh++
	}
	if p.used++; p.used == pageSize {
		s.room[n/64] &^= 1 << (n % 64)
	}
	if s.spare == n+1 {
		s.spare = 0
	}
	return idx, true
}

// findRoom returns the first page that has a slot to hand out. If there is none
// it fills an empty page, or adds one.
func (s *slab[K, V]) findRoom() int {
	for ; s.from < len(s.room); s.from++ {
		if word := s.room[s.from]; word != 0 {
			return 64*s.from + bits.TrailingZeros64(word)
		}
	}
	n := len(s.pages)
	if last := len(s.empty) - 1; last >= 0 {
		n = int(s.empty[last])
		s.empty = s.empty[:last]
	} else {
		s.pages = append(s.pages, page[V]{})
		if n%64 == 0 {
			s.room = append(s.room, 0)
		}
	}
	s.fill(n)
	s.noteRoom(n)
	return n
}

func (s *slab[K, V]) noteRoom(n int) {
	s.room[n/64] |= 1 << (n % 64)
	s.from = min(s.from, n/64)
}

// fill gives a page its arrays.
func (s *slab[K, V]) fill(n int) {
	p := &s.pages[n]
	p.values, p.warned = new([pageSize]V), new([pageSize / 64]uint64)
	if s.manual {
		p.order = new([pageSize]uint64)
	}
	recs := new(records[K])
	for i := range recs {
		recs[i].state.Store(p.gen<<genShift | phaseFree)
	}
	if n >= s.extent() {
		wide := make([]atomic.Pointer[records[K]], max(1, 2*n))
		for i := range n {
			wide[i].Store(s.recordsOf(i))
		}
		s.records.Store(&wide)
	}
	(*s.records.Load())[n].Store(recs)
}

// put takes a slot back. A slot whose generations are used up is retired, so
// that no handle ever names two sessions.
func (s *slab[K, V]) put(idx uint32) {
	p, i := s.at(idx)
	rec := s.record(idx)
	var zero V
	p.values[i] = zero
	if s.keys != wordsKey { // which refers to nothing
		var zero K
		setKey(s.keys, rec, &zero)
	}
	gen := rec.state.Load() >> genShift
	rec.state.Store(min(gen+1, lastGen)<<genShift | phaseFree)
	if gen == lastGen {
		return
	}
	rec.run.Store(uint64(p.free))
	p.free = i + 1
	p.gen = max(p.gen, gen+1)
	n := int(idx >> pageShift)
	s.noteRoom(n)
	if p.used--; p.used > 0 {
		return
	}
	// One page is kept for the sessions that come next.
	if s.spare == 0 {
		s.spare = n + 1
	} else {
		s.drop(n)
	}
}

// drop empties a page. Who has reached its records without the lock will find
// all of them free.
func (s *slab[K, V]) drop(n int) {
	s.pages[n] = page[V]{gen: s.pages[n].gen}
	s.room[n/64] &^= 1 << (n % 64)
	s.empty = append(s.empty, uint32(n))
	(*s.records.Load())[n].Store(nil)
}

// clear drops everything.
func (s *slab[K, V]) clear() {
	s.records.Store(nil)
	s.pages, s.room, s.from, s.empty, s.spare = nil, nil, 0, nil, 0
}
