// Package keys makes the keys of a benchmark's sessions from their numbers, so
// that a hook that is given a key knows whose it is.
package keys

import (
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"unsafe"

	"github.com/lapse-go/lapse/bench/offheap"
)

// ID is a session id as lapse recommends it.
type ID = [16]byte

// Classes is the number of classes of sessions. A key tells which one its
// session belongs to, for peers that must be told the time-out at each touch.
const Classes = 32

// A Kind makes keys of one type. It is for concurrent use.
type Kind[K comparable] struct {
	Name   string
	Make   func(number uint32) K // with memory of its own
	Number func(K) uint32        // the inverse of Make
	Table  func(order []uint32) []K
	// Shard returns random bits of the key. Who shards a map by hand knows what
	// his keys look like, and need not hash them for that.
	Shard func(K) uint64
}

// Class returns the class of a session's number.
func Class(number uint32) int { return int(number % Classes) }

// IDs are 16-byte keys.
func IDs() *Kind[ID] {
	return &Kind[ID]{
		Name:   "id",
		Make:   idOf,
		Number: numberOfID,
		Table:  func(order []uint32) []ID { return fill(order, idOf) },
		Shard:  func(k ID) uint64 { return binary.LittleEndian.Uint64(k[:]) },
	}
}

// Uints are uint64 keys.
func Uints() *Kind[uint64] {
	return &Kind[uint64]{
		Name:   "uint64",
		Make:   func(number uint32) uint64 { return mix(uint64(number)) },
		Number: func(k uint64) uint32 { return uint32(unmix(k)) },
		Table: func(order []uint32) []uint64 {
			return fill(order, func(number uint32) uint64 { return mix(uint64(number)) })
		},
		Shard: func(k uint64) uint64 { return k },
	}
}

// RawStrings are strings of 16 bytes: the 16-byte keys of peers that know no
// keys but strings.
func RawStrings() *Kind[string] {
	return &Kind[string]{
		Name:   "id",
		Make:   func(number uint32) string { id := idOf(number); return string(id[:]) },
		Number: func(k string) uint32 { return numberOfID(ID([]byte(k))) },
		Table:  func(order []uint32) []string { return stringTable(order, 16, writeRaw) },
		Shard:  func(k string) uint64 { return binary.LittleEndian.Uint64([]byte(k)) },
	}
}

// Strings are strings of 32 hexadecimal digits, as most session ids look.
func Strings() *Kind[string] {
	return &Kind[string]{
		Name: "string",
		Make: func(number uint32) string {
			var b [32]byte
			writeHex(b[:], number)
			return string(b[:])
		},
		Number: func(k string) (number uint32) {
			for _, c := range []byte(k[24:]) {
				number = number<<4 | uint32(strings.IndexByte(digits, c))
			}
			return number
		},
		Table: func(order []uint32) []string { return stringTable(order, 32, writeHex) },
		Shard: func(k string) uint64 { return binary.LittleEndian.Uint64([]byte(k)) * 0x9e3779b97f4a7c15 >> 32 },
	}
}

// idOf makes the first half of an id as random as ids are, and puts the number
// in the second.
func idOf(number uint32) (id ID) {
	binary.LittleEndian.PutUint64(id[:], mix(uint64(number)+1<<32))
	binary.BigEndian.PutUint64(id[8:], uint64(number))
	return id
}

func numberOfID(id ID) uint32 { return binary.BigEndian.Uint32(id[12:]) }

func writeRaw(b []byte, number uint32) {
	id := idOf(number)
	copy(b, id[:])
}

const digits = "0123456789abcdef"

func writeHex(b []byte, number uint32) {
	for i, c := range idOf(number) {
		b[2*i], b[2*i+1] = digits[c>>4], digits[c&15]
	}
}

// fill makes the keys of the sessions in an order, off the heap.
func fill[K any](order []uint32, key func(uint32) K) []K {
	table := offheap.Make[K](len(order))
	for i, number := range order {
		table[i] = key(number)
	}
	return table
}

// stringTable is fill for strings, whose bytes are off the heap, too.
func stringTable(order []uint32, size int, write func([]byte, uint32)) []string {
	bytes := offheap.Make[byte](size * len(order))
	table := offheap.Make[string](len(order))
	for i, number := range order {
		b := bytes[size*i:][:size]
		write(b, number)
		table[i] = unsafe.String(unsafe.SliceData(b), size)
	}
	return table
}

// Ascending returns the numbers from first on.
func Ascending(first, n int) []uint32 {
	order := offheap.Make[uint32](n)
	for i := range order {
		order[i] = uint32(first + i)
	}
	return order
}

// Shuffled returns the numbers from first on in random order, the same in each
// process.
func Shuffled(first, n int) []uint32 {
	order := Ascending(first, n)
	rand.New(rand.NewPCG(1, 2)).Shuffle(n, func(i, j int) { order[i], order[j] = order[j], order[i] })
	return order
}

// mix is a permutation of the numbers of 64 bits that looks random: the
// finalizer of splitmix64.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// unmix is the inverse of mix.
func unmix(x uint64) uint64 {
	x = (x ^ x>>31 ^ x>>62) * 0x319642b2d24d8ec3
	x = (x ^ x>>27 ^ x>>54) * 0x96de1b173f119089
	return x ^ x>>30 ^ x>>60
}
