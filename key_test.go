package lapse

import (
	"fmt"
	"reflect"
	"testing"
)

func TestKindOfKey(t *testing.T) {
	type (
		name   string
		pair   struct{ A, B uint64 }
		padded struct {
			A uint64
			B uint8
		}
		blank struct{ A, _ uint64 }
	)
	for _, c := range []struct {
		name string
		got  keyKind
		want keyKind
	}{
		{"string", kindOf[string](), stringKey},
		{"named string", kindOf[name](), stringKey},
		{"uint64", kindOf[uint64](), wordsKey},
		{"[16]byte", kindOf[[16]byte](), wordsKey},
		{"[3]int64", kindOf[[3]int64](), wordsKey},
		{"struct of words", kindOf[pair](), wordsKey},
		{"struct with padding", kindOf[padded](), lockedKey},
		{"struct with a blank", kindOf[blank](), lockedKey},
		{"[20]byte", kindOf[[20]byte](), lockedKey},
		{"uint16", kindOf[uint16](), lockedKey},
		{"float64", kindOf[float64](), lockedKey}, // 0 == -0
		{"pointer", kindOf[*int](), lockedKey},
		{"struct with a string", kindOf[struct {
			s string
			i int
		}](), lockedKey},
		{"any", kindOf[any](), lockedKey},
		{"empty", kindOf[struct{}](), lockedKey},
	} {
		if c.got != c.want {
			t.Errorf("%s: kind %d, want %d", c.name, c.got, c.want)
		}
	}
}

// TestKeysOfEachKind plays the same program with keys of each kind, and with a
// float, whose zeros are equal and not the same bits.
func TestKeysOfEachKind(t *testing.T) {
	testKeys(t, func(i int) [16]byte { return [16]byte{0: byte(i), 15: byte(i >> 8)} })
	testKeys(t, func(i int) uint64 { return uint64(i) })
	testKeys(t, func(i int) string { return fmt.Sprint(i) })
	testKeys(t, func(i int) [20]byte { return [20]byte{0: byte(i), 19: byte(i >> 8)} })
	testKeys(t, func(i int) any { return i })
	testKeys(t, func(i int) struct{ s, t string } { return struct{ s, t string }{fmt.Sprint(i), "t"} })

	e, _ := New[float64, int](Options{Manual: true})
	defer e.Close()
	zero := 0.0
	e.Start(zero, 1)
	if _, ok := e.Get(-zero * 1); !ok {
		t.Error("-0 is not found where 0 is a key")
	}
}

func testKeys[K comparable](t *testing.T, key func(int) K) {
	t.Run(reflect.TypeFor[K]().String(), func(t *testing.T) {
		const n = 5000
		e, _ := New[K, int](Options{Manual: true})
		defer e.Close()
		for i := range n {
			e.Start(key(i), i)
		}
		for i := range n {
			s, ok := e.Get(key(i))
			v, _ := s.Value()
			if !ok || v != i {
				t.Fatalf("key %d: found %v, its value is %d", i, ok, v)
			}
			switch i % 3 {
			case 0:
				s.Expire()
			case 1:
				e.Rename(key(i), key(n+i))
			}
		}
		for i := range 2 * n {
			_, ok := e.Get(key(i))
			if want := i < n && i%3 == 2 || i >= n && (i-n)%3 == 1; ok != want {
				t.Fatalf("key %d: found is %v", i, ok)
			}
		}
		if err := CheckInvariants(e); err != nil {
			t.Error(err)
		}
	})
}

// TestHasKeyOfAnotherLength compares a key with a longer and a shorter one that
// begin alike: nothing beyond the shorter one's end is read.
func TestHasKeyOfAnotherLength(t *testing.T) {
	var rec record[string]
	var s segment
	setKey(stringKey, &rec, new("abc"))
	for key, want := range map[string]bool{"abc": true, "ab": false, "abcd": false, "": false, "abd": false} {
		if got := hasKey(stringKey, &rec, &key, &s, 0); got != want {
			t.Errorf("has %q, asked for %q: %v", rec.key, key, got)
		}
	}
}
