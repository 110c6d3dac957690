package lapse

import "sync"

// An index finds the slot of a key. Each shard has one, for the keys that hash
// to it; after a Rename the slot can be another shard's.
//
// It is an extendible hash table: a directory of segments that grow, and split,
// one at a time, so that no insertion waits for more than one segment to be
// moved. A segment is an array with linear probing whose elements hold 32 bits
// of the hash beside the slot; that is enough to move them without a look at
// the keys.
type index[K comparable, V any] struct {
	e  *Engine[K, V]
	mu sync.Mutex
	// mu guards the fields below, and the keys of the sessions they lead to.

	depth uint // the top depth bits of a hash choose the segment
	dir   []*segment
}

// A segment holds the slots of the hashes that begin with its bits.
type segment struct {
	depth uint
	used  int
	cells []slotHash
}

// A slotHash is 32 bits of a key's hash and its slot plus one; zero is empty.
type slotHash uint64

func (c slotHash) hash() uint32 { return uint32(c >> 32) }
func (c slotHash) slot() uint32 { return uint32(c) - 1 }

const (
	segmentFirst = 8
	// From segmentStep on, segments grow by segmentStep/4: a table that is
	// never much emptier than it may be full.
	segmentStep = 2048
	segmentMost = 4096
	segmentHalf = segmentStep + segmentStep/4
)

// find returns the slot of a key.
func (x *index[K, V]) find(hash uint32, key K) (slot uint32, ok bool) {
	if x.dir == nil {
		return 0, false
	}
	s := x.segment(hash)
	for i := s.home(hash); s.cells[i] != 0; i = s.after(i) {
		if c := s.cells[i]; c.hash() == hash && x.e.record(c.slot()).key == key {
			return c.slot(), true
		}
	}
	return 0, false
}

// insert adds a slot; the caller knows that its key is not there.
func (x *index[K, V]) insert(hash, slot uint32) {
	if x.dir == nil {
		x.dir = []*segment{{cells: make([]slotHash, segmentFirst)}}
	}
	s := x.segment(hash)
	for s.used >= len(s.cells)/8*7 {
		switch n := len(s.cells); {
		case n < segmentStep:
			s.resize(2 * n)
		case n < segmentMost || s.depth >= 16:
			s.resize(n + segmentStep/4)
		default:
			x.split(s, hash)
			s = x.segment(hash)
		}
	}
	s.put(slotHash(hash)<<32 | slotHash(slot+1))
}

// clear forgets everything.
func (x *index[K, V]) clear() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.dir, x.depth = nil, 0
}

// remove takes a slot out.
func (x *index[K, V]) remove(hash, slot uint32) {
	if x.dir == nil {
		return // Close has been here
	}
	s := x.segment(hash)
	gone := slotHash(hash)<<32 | slotHash(slot+1)
	hole := s.home(hash)
	for s.cells[hole] != gone {
		if s.cells[hole] == 0 {
			panic("lapse: the index lost a session")
		}
		hole = s.after(hole)
	}
	// Move back what the hole would hide from a search that starts at its home.
	for i := s.after(hole); s.cells[i] != 0; i = s.after(i) {
		home := s.home(s.cells[i].hash())
		if hole < i && (home <= hole || home > i) || hole > i && home <= hole && home > i {
			s.cells[hole] = s.cells[i]
			hole = i
		}
	}
	s.cells[hole] = 0
	s.used--
}

func (x *index[K, V]) segment(hash uint32) *segment { return x.dir[uint64(hash)<<x.depth>>32] }

// split makes two of a segment, by the next bit of the hashes.
func (x *index[K, V]) split(s *segment, hash uint32) {
	if s.depth == x.depth {
		dir := make([]*segment, 2*len(x.dir))
		for i := range dir {
			dir[i] = x.dir[i/2]
		}
		x.dir = dir
		x.depth++
	}
	depth := s.depth + 1
	halves := [2]*segment{
		{depth: depth, cells: make([]slotHash, segmentHalf)},
		{depth: depth, cells: make([]slotHash, segmentHalf)},
	}
	for _, c := range s.cells {
		if c != 0 {
			halves[c.hash()>>(32-depth)&1].put(c)
		}
	}
	span := len(x.dir) >> s.depth // directory entries that lead to s
	first := int(uint64(hash)<<s.depth>>32) * span
	for i := range span {
		x.dir[first+i] = halves[2*i/span]
	}
}

func (s *segment) put(c slotHash) {
	i := s.home(c.hash())
	for s.cells[i] != 0 {
		i = s.after(i)
	}
	s.cells[i] = c
	s.used++
}

func (s *segment) resize(n int) {
	old := s.cells
	s.cells, s.used = make([]slotHash, n), 0
	for _, c := range old {
		if c != 0 {
			s.put(c)
		}
	}
}

// home is where a search begins: the bits below the segment's, scaled to its
// size.
func (s *segment) home(hash uint32) int {
	return int(uint64(hash<<s.depth) * uint64(len(s.cells)) >> 32)
}

func (s *segment) after(i int) int {
	if i++; i < len(s.cells) {
		return i
	}
	return 0
}
