package lapse

import (
	"sync"
	"sync/atomic"
)

// An index finds the slot of a key. Each shard has one, for the keys that hash
// to it; after a Rename the slot can be another shard's.
//
// It is an extendible hash table: a directory of segments that grow, and split,
// one at a time, so that no insertion waits for more than one segment to be
// moved. A segment is an array with linear probing whose elements hold 32 bits
// of the hash beside the slot; that is enough to move them without a look at
// the keys.
//
// Changes are made under the lock. A look-up takes none where keys can be read
// while they are written: it reads the version of a segment, searches, and has
// a true answer if the version is the same afterwards, and even. The version
// changes when a slot is taken out, since elements move then and the slot's key
// may be another's soon; and when a key is changed. A segment that was replaced
// keeps an odd version.
type index[K comparable, V any] struct {
	e   *Engine[K, V]
	dir atomic.Pointer[directory] // nil: empty; written under mu

	mu sync.Mutex
	// mu guards the changes of the segments, and of the keys of the sessions
	// that they lead to.
}

// A directory leads from the top depth bits of a hash to a segment.
type directory struct {
	depth    uint
	segments []atomic.Pointer[segment]
}

func (d *directory) at(hash uint32) *segment { return d.segments[prefix(hash, d.depth)].Load() }

// A segment holds the slots of the hashes that begin with its bits.
type segment struct {
	version atomic.Uint32
	depth   uint // below 32, as that of a directory; "& 31" lets the compiler know
	used    int
	cells   []uint64 // slotHashes; read and written as atomics
}

// A slotHash is 32 bits of a key's hash and its slot plus one; zero is empty.
type slotHash uint64

func (c slotHash) hash() uint32 { return uint32(c >> 32) }
func (c slotHash) slot() uint32 { return uint32(c) - 1 }

// Sizes of segments. One of segmentMost that is full is split, into two of
// segmentHalf: neither is much emptier than it may be full, nor soon to be moved.
const (
	segmentFirst = 8
	segmentHalf  = 2560
	segmentMost  = 4096
)

// find looks up the session that has the key, which may be due, and tells
// whether it had to take the lock. It is all in one function: a call more makes a
// look-up a tenth slower.
func (e *Engine[K, V]) find(key *K) (_ Session[K, V], ok, locked bool) {
	full := e.hash(key)
	x, hash := &e.shardOf(full).index, high(full)
	if !e.keys.shared() {
		return x.lookLocked(hash, key)
	}
	dir := x.dir.Load()
	if dir == nil {
		return Session[K, V]{}, false, false
	}
	s := dir.at(hash)
	version := s.version.Load()
	if version&1 != 0 {
		return x.lookLocked(hash, key)
	}
	i := s.home(hash)
	for range s.cells {
		c := slotHash(atomic.LoadUint64(&s.cells[i]))
		if c == 0 {
			break
		}
		if c.hash() == hash {
			rec := e.record(c.slot())
			if rec == nil {
				break // Close has been here
			}
			if hasKey(e.keys, rec, key, s, version) {
				found := Session[K, V]{e, refOf(rec.state.Load(), c.slot())}
				if s.version.Load() != version {
					return x.lookLocked(hash, key)
				}
				return found, true, false
			}
		}
		i = s.after(i)
	}
	if s.version.Load() != version {
		return x.lookLocked(hash, key)
	}
	return Session[K, V]{}, false, false
}

// lookLocked is find under the lock.
func (x *index[K, V]) lookLocked(hash uint32, key *K) (s Session[K, V], ok, locked bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	slot, ok := x.find(hash, key)
	if !ok {
		return s, false, true
	}
	return x.e.session(slot), true, true
}

// fetch brings what the removal of a hash begins with into the cache.
func (x *index[K, V]) fetch(hash uint32) {
	if dir := x.dir.Load(); dir != nil {
		s := dir.at(hash)
		i := s.home(hash)
		atomic.LoadUint64(&s.cells[i])
		// A removal looks at all up to the next empty element, and that is often
		// in the next cache line.
		if i += 64 / wordSize; i < len(s.cells) {
			atomic.LoadUint64(&s.cells[i])
		}
	}
}

// find returns the slot of a key. The caller holds the lock.
func (x *index[K, V]) find(hash uint32, key *K) (slot uint32, ok bool) {
	dir := x.dir.Load()
	if dir == nil {
		return 0, false
	}
	s := dir.at(hash)
	for i := s.home(hash); s.cells[i] != 0; i = s.after(i) {
		if c := slotHash(s.cells[i]); c.hash() == hash && x.e.record(c.slot()).key == *key {
			return c.slot(), true
		}
	}
	return 0, false
}

// insert adds a slot; the caller knows that its key is not there.
func (x *index[K, V]) insert(hash, slot uint32) {
	dir := x.dir.Load()
	if dir == nil {
		dir = &directory{segments: make([]atomic.Pointer[segment], 1)}
		dir.segments[0].Store(&segment{cells: make([]uint64, segmentFirst)})
		x.dir.Store(dir)
	}
	s := dir.at(hash)
	for s.used >= len(s.cells)/8*7 {
		switch n := len(s.cells); {
		case n < segmentMost:
			x.replace(s, hash, s.moved(min(2*n, segmentMost), hash))
		case s.depth >= 16: // the directory is large enough
			x.replace(s, hash, s.moved(n+segmentMost/2, hash))
		default:
			x.split(s, hash)
		}
		s = x.dir.Load().at(hash)
	}
	atomic.StoreUint64(s.free(hash), uint64(hash)<<32|uint64(slot+1))
	s.used++
}

// remove takes a slot out.
func (x *index[K, V]) remove(hash, slot uint32) {
	dir := x.dir.Load()
	if dir == nil {
		return // Close has been here
	}
	s := dir.at(hash)
	hole := s.place(hash, slot)
	s.version.Add(1)
	s.empty(hole)
	s.version.Add(1)
	x.shrink(s, hash)
}

// shrink gives back memory of a segment that is nearly empty. It does so in large
// steps: when all sessions end, most elements are never moved.
func (x *index[K, V]) shrink(s *segment, hash uint32) {
	if n := len(s.cells) / 4; s.used < n/2 && n >= segmentFirst {
		x.replace(s, hash, s.moved(n, hash))
	}
}

// move moves a slot from where its old key is found to where the new one is,
// and calls set, which sets the key. Nobody sees the session under both keys, or
// under none: meanwhile the segments have odd versions, so that who looks at
// them waits for the locks. The caller holds those of both indexes.
func move[K comparable, V any](from, to *index[K, V], oldHash, newHash, slot uint32, set func()) {
	to.insert(newHash, slot)
	old, new := from.dir.Load().at(oldHash), to.dir.Load().at(newHash)
	old.version.Add(1)
	if new != old {
		new.version.Add(1)
	}
	set()
	old.empty(old.place(oldHash, slot))
	old.version.Add(1)
	if new != old {
		new.version.Add(1)
	}
	from.shrink(old, oldHash)
}

// clear forgets everything.
func (x *index[K, V]) clear() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.dir.Store(nil)
}

// split makes two of a segment, by the next bit of the hashes.
func (x *index[K, V]) split(s *segment, hash uint32) {
	if dir := x.dir.Load(); s.depth == dir.depth {
		wide := &directory{depth: dir.depth + 1, segments: make([]atomic.Pointer[segment], 2*len(dir.segments))}
		for i := range wide.segments {
			wide.segments[i].Store(dir.segments[i/2].Load())
		}
		x.dir.Store(wide)
	}
	depth := s.depth + 1
	first := prefix(hash, s.depth) << 1
	halves := [2]*segment{
		{depth: depth, cells: make([]uint64, segmentHalf)},
		{depth: depth, cells: make([]uint64, segmentHalf)},
	}
	for i, half := range halves {
		half.fill(s.cells, first+uint32(i))
	}
	x.replace(s, hash, halves[:]...)
}

// replace puts segments in the place of one, each in an equal part of it.
func (x *index[K, V]) replace(old *segment, hash uint32, by ...*segment) {
	dir := x.dir.Load()
	span := len(dir.segments) >> old.depth // entries that lead to old
	first := int(prefix(hash, old.depth)) * span
	for i := range span {
		dir.segments[first+i].Store(by[i*len(by)/span])
	}
	// Whoever still looks at it shall look again.
	old.version.Add(1)
}

// moved returns a segment of n cells with what s, which is for hash, holds.
func (s *segment) moved(n int, hash uint32) *segment {
	to := &segment{depth: s.depth, cells: make([]uint64, n)}
	to.fill(s.cells, prefix(hash, s.depth))
	return to
}

// fill adds those elements whose hashes begin with first to a segment that
// nobody else knows yet. A session is moved several times while the index
// grows, so this is most of the cost of growing.
func (s *segment) fill(elements []uint64, first uint32) {
	cells, depth := s.cells, s.depth
	for _, c := range elements {
		hash := slotHash(c).hash()
		if c == 0 || prefix(hash, depth) != first {
			continue
		}
		i := homeIn(cells, hash<<depth)
		for cells[i] != 0 {
			if i++; i == len(cells) {
				i = 0
			}
		}
		cells[i] = c
		s.used++
	}
}

// prefix returns the first depth bits of a hash.
func prefix(hash uint32, depth uint) uint32 { return uint32(uint64(hash) << (depth & 63) >> 32) }

// place returns where a slot is.
func (s *segment) place(hash, slot uint32) int {
	want := uint64(hash)<<32 | uint64(slot+1)
	i := s.home(hash)
	for s.cells[i] != want {
		if s.cells[i] == 0 {
			panic("lapse: the index lost a session")
		}
		i = s.after(i)
	}
	return i
}

// empty empties a cell. What the hole would hide from a search that starts at
// its home is moved back.
func (s *segment) empty(hole int) {
	for i := s.after(hole); s.cells[i] != 0; i = s.after(i) {
		home := s.home(slotHash(s.cells[i]).hash())
		if hole < i && (home <= hole || home > i) || hole > i && home <= hole && home > i {
			atomic.StoreUint64(&s.cells[hole], s.cells[i])
			hole = i
		}
	}
	atomic.StoreUint64(&s.cells[hole], 0)
	s.used--
}

// free returns the empty cell where a hash goes.
func (s *segment) free(hash uint32) *uint64 {
	i := s.home(hash)
	for s.cells[i] != 0 {
		i = s.after(i)
	}
	return &s.cells[i]
}

// home is where a search begins: the bits below the segment's, scaled to its
// size.
func (s *segment) home(hash uint32) int { return homeIn(s.cells, hash<<(s.depth&31)) }

func homeIn(cells []uint64, bits uint32) int { return int(uint64(bits) * uint64(len(cells)) >> 32) }

func (s *segment) after(i int) int {
	if i++; i < len(s.cells) {
		return i
	}
	return 0
}
