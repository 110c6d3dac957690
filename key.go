package lapse

import (
	"encoding/binary"
	"hash/maphash"
	"reflect"
	"sync/atomic"
	"unsafe"
)

// A keyKind says how a look-up can read the key of a record while another
// session may be getting the record.
type keyKind uint8

const (
	lockedKey keyKind = iota // only under the lock of the index
	wordsKey                 // word by word: equal if and only if all bits are
	stringKey                // pointer and length, and what it points to is never written
)

const wordSize = 8

func kindOf[K comparable]() keyKind {
	t := reflect.TypeFor[K]()
	switch {
	case t.Kind() == reflect.String:
		return stringKey
	case t.Size() > 0 && t.Size()%wordSize == 0 && plain(t):
		return wordsKey
	}
	return lockedKey
}

// plain reports whether values of a type are equal if and only if all their
// bits are, and hold no pointers.
func plain(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return true
	case reflect.Array:
		return plain(t.Elem())
	case reflect.Struct:
		size := uintptr(0)
		for i := range t.NumField() {
			f := t.Field(i)
			if f.Name == "_" || !plain(f.Type) {
				return false
			}
			size += f.Type.Size()
		}
		return size == t.Size() // no padding
	}
	return false
}

// shared reports whether keys can be read without the lock.
func (k keyKind) shared() bool { return k != lockedKey }

// hashOf hashes a key. Comparable could do so for all of them, but it copies the
// key, and where keys are copied on the stack the processor does not begin the
// next look-up's cache misses before this one's are over: see design-notes.md.
func hashOf[K comparable](kind keyKind, seed maphash.Seed, key *K) uint64 {
	switch kind {
	case wordsKey:
		return maphash.Bytes(seed, bytesOf(key))
	case stringKey:
		return maphash.String(seed, *(*string)(unsafe.Pointer(key)))
	default:
		return maphash.Comparable(seed, *key)
	}
}

// A stringWords is a string's pointer and length.
type stringWords struct {
	data unsafe.Pointer
	len  uintptr
}

// hasKey reports whether a record has the key. Whether that was one key that it
// read, the version of the segment tells.
func hasKey[K comparable](kind keyKind, rec *record[K], key *K, s *segment, version uint32) bool {
	if kind == wordsKey {
		want := bytesOf(key)
		for at := 0; at < len(want); at += wordSize {
			if atomic.LoadUint64(wordOf(rec, at)) != binary.NativeEndian.Uint64(want[at:]) {
				return false
			}
		}
		return true
	}
	want := *(*string)(unsafe.Pointer(key))
	have := (*stringWords)(unsafe.Pointer(&rec.key))
	if atomic.LoadUintptr(&have.len) != uintptr(len(want)) {
		return false
	}
	data := (*byte)(atomic.LoadPointer(&have.data))
	// Pointer and length belong together only if nothing has changed.
	return s.version.Load() == version && unsafe.String(data, len(want)) == want
}

// setKey gives a record a key, which look-ups may read meanwhile.
func setKey[K comparable](kind keyKind, rec *record[K], key *K) {
	switch kind {
	case wordsKey:
		words := bytesOf(key)
		for at := 0; at < len(words); at += wordSize {
			atomic.StoreUint64(wordOf(rec, at), binary.NativeEndian.Uint64(words[at:]))
		}
	case stringKey:
		from, to := (*stringWords)(unsafe.Pointer(key)), (*stringWords)(unsafe.Pointer(&rec.key))
		atomic.StorePointer(&to.data, from.data)
		atomic.StoreUintptr(&to.len, from.len)
	default:
		rec.key = *key
	}
}

func bytesOf[K comparable](key *K) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(key)), unsafe.Sizeof(*key))
}

// wordOf returns a word of a record's key, which lies at a multiple of the
// word's size since the words before it are such words.
func wordOf[K comparable](rec *record[K], at int) *uint64 {
	return (*uint64)(unsafe.Add(unsafe.Pointer(&rec.key), at))
}
