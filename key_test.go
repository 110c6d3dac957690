package lapse

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"sync/atomic"
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

// TestLookUpsDuringChanges looks keys up while sessions start, end and are
// renamed all around them, so that slots and the places in the index go from
// one key to another all the time. A session that is found must have had that
// key, and one that lives throughout must be found.
func TestLookUpsDuringChanges(t *testing.T) {
	testLookUps(t, func(i int) [16]byte { return [16]byte{0: byte(i), 8: byte(i), 15: byte(i >> 8)} })
	testLookUps(t, func(i int) string { return fmt.Sprintf("%0*d", 1+i%7, i) })
	testLookUps(t, func(i int) any { return i })
}

func testLookUps[K comparable](t *testing.T, key func(int) K) {
	t.Run(reflect.TypeFor[K]().String(), func(t *testing.T) {
		const steady, keys = 64, 1024
		rounds := 15
		if testing.Short() {
			rounds = 5
		}
		e, _ := New[K, int](Options{Manual: true})
		defer e.Close()
		all := make([]K, keys)
		for i := range all {
			all[i] = key(i)
		}
		for i := range steady {
			e.Start(all[i], i)
		}
		var stop atomic.Bool
		var changes, looks sync.WaitGroup
		for g := range 2 {
			changes.Go(func() {
				// Each goroutine changes keys of its own; the value tells the
				// number that the key had at the start, or was changed to.
				own := func(i int) int { return steady + 2*(i%((keys-steady)/2)) + g }
				r := rand.New(rand.NewPCG(1, uint64(g)))
				for range rounds * keys {
					i, j := own(r.IntN(keys)), own(r.IntN(keys))
					switch r.IntN(3) {
					case 0:
						e.Start(all[i], i)
					case 1:
						if s, ok := e.Get(all[i]); ok {
							s.Expire()
						}
					default:
						e.Rename(all[i], all[j])
					}
				}
			})
			looks.Go(func() {
				r := rand.New(rand.NewPCG(2, uint64(g)))
				for !stop.Load() {
					i := r.IntN(steady)
					s, ok := e.Touch(all[i])
					if v, _ := s.Value(); !ok || v != i {
						t.Errorf("key %d, which lives throughout: found %v, the session of %d", i, ok, v)
						return
					}
					// Of the others it is only known whose they can be.
					i = steady + r.IntN(keys-steady)
					if s, ok := e.Get(all[i]); ok {
						if v, ok := s.Value(); ok && (v-i)%2 != 0 {
							t.Errorf("key %d led to the session of %d", i, v)
							return
						}
					}
				}
			})
		}
		changes.Wait()
		stop.Store(true)
		looks.Wait()
		if err := CheckInvariants(e); err != nil {
			t.Error(err)
		}
	})
}

// TestGlanceNeedsAnEvenVersion looks at a segment as it is while a slot is
// taken out, and as a replaced one stays.
func TestGlanceNeedsAnEvenVersion(t *testing.T) {
	e, _ := New[uint64, int](Options{Manual: true})
	defer e.Close()
	e.Start(1, 1)
	hash, key := e.hash(1), uint64(1)
	x := &e.shardOf(hash).index
	s := x.dir.Load().at(high(hash))
	s.version.Add(1)
	if _, _, sure := x.glance(high(hash), &key); sure {
		t.Error("a segment that is changing is trusted")
	}
	if _, ok := e.Get(1); !ok {
		t.Error("the session is not found with the lock either")
	}
	s.version.Add(1)
	if _, ok, sure := x.glance(high(hash), &key); !ok || !sure {
		t.Errorf("found %v, sure %v of a segment at rest", ok, sure)
	}
}

// TestReplacedSegments keeps every segment that an index has had.
func TestReplacedSegments(t *testing.T) {
	e, _ := New[uint64, int](Options{Manual: true})
	defer e.Close()
	x := &e.shards[0].index
	used := make(map[*segment]bool) // is it in use now?
	for key := uint64(0); len(used) < 40; key++ {
		e.Start(key, 0)
		if dir := x.dir.Load(); dir != nil {
			for s := range used {
				used[s] = false
			}
			for i := range dir.segments {
				used[dir.segments[i].Load()] = true
			}
		}
	}
	for s, now := range used {
		if even := s.version.Load()%2 == 0; even != now {
			t.Errorf("a segment is in use: %v; look-ups may trust it: %v", now, even)
		}
	}
}

// TestOneSlotForTwoKeys starts and ends sessions of two keys in turn in one
// slot. A look-up must never lead from one key to the other's session.
func TestOneSlotForTwoKeys(t *testing.T) {
	rounds := 100000
	if testing.Short() {
		rounds = 20000
	}
	e, _ := New[string, int](Options{Manual: true})
	defer e.Close()
	var keys []string
	for i := 0; len(keys) < 2; i++ {
		// One is much longer, so that its length would not fit the other.
		key := fmt.Sprintf("%0*d", 1+200*len(keys), i)
		if e.shardOf(e.hash(key)) == &e.shards[0] {
			keys = append(keys, key)
		}
	}
	var stop atomic.Bool
	var looks sync.WaitGroup
	looks.Go(func() {
		for n := 0; !stop.Load(); n++ {
			i := n % 2
			if s, ok := e.Get(keys[i]); ok {
				if v, ok := s.Value(); ok && v != i {
					t.Errorf("key %d led to the session of %d", i, v)
					return
				}
			}
		}
	})
	for n := range rounds {
		i := n % 2
		s, err := e.Start(keys[i], i)
		if err != nil {
			t.Fatal(err)
		}
		s.Expire()
	}
	stop.Store(true)
	looks.Wait()
}
