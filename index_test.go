package lapse

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/benbjohnson/clock"
)

// TestManyKeys fills an index through all of its sizes, and empties it, in an
// order that leaves no cluster whole.
func TestManyKeys(t *testing.T) {
	e, err := New[int, int](Options{Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	const n = 300000
	for i := range n {
		if _, err := e.Start(i, i); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		if i%3 == 0 {
			if err := e.Rename(i, -1-i); err != nil {
				t.Fatal(err)
			}
		}
		if i%3 == 1 {
			s, ok := e.Get(i)
			if !ok || !s.Expire() {
				t.Fatalf("key %d is lost", i)
			}
		}
	}
	if err := CheckInvariants(e); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		key := i
		if i%3 == 0 {
			key = -1 - i
		}
		s, ok := e.Get(key)
		if ok != (i%3 != 1) {
			t.Fatalf("key %d: found is %v", key, ok)
		}
		if v, _ := s.Value(); ok && v != i {
			t.Fatalf("key %d leads to %d", key, v)
		}
	}
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
		if e.shardOf(e.hash(&key)) == &e.shards[0] {
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

// TestFindNeedsAnEvenVersion looks at a segment as it is while a slot is taken
// out, and as a replaced one stays.
func TestFindNeedsAnEvenVersion(t *testing.T) {
	e, _ := New[uint64, int](Options{Manual: true})
	defer e.Close()
	e.Start(1, 1)
	key := uint64(1)
	hash := e.hash(&key)
	x := &e.shardOf(hash).index
	s := x.dir.Load().at(high(hash))
	s.version.Add(1)
	if _, ok, locked := e.find(&key); !ok || !locked {
		t.Errorf("found %v, with the lock %v, in a segment that is changing", ok, locked)
	}
	s.version.Add(1)
	if _, ok, locked := e.find(&key); !ok || locked {
		t.Errorf("found %v, with the lock %v, in a segment at rest", ok, locked)
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

// TestFindWhileElementsMove ends a session whose element has kept another one
// from its place, and looks that one up meanwhile.
func TestFindWhileElementsMove(t *testing.T) {
	rounds := 20000
	if testing.Short() {
		rounds = 5000
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(max(2, runtime.GOMAXPROCS(0))))
	e, err := New[uint64, int](Options{Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	// Both belong to one place, the first of a segment of the first size.
	var keys []uint64
	for key := uint64(0); len(keys) < 2; key++ {
		if hash := e.hash(&key); e.shardOf(hash) == &e.shards[0] && high(hash) < 1<<32/segmentFirst {
			keys = append(keys, key)
		}
	}
	var there atomic.Int64 // the round in which the second is there; less than zero: it need not be
	var stop atomic.Bool
	var looks sync.WaitGroup
	looks.Go(func() {
		for !stop.Load() {
			round := there.Load()
			if _, ok, _ := e.find(&keys[1]); !ok && round > 0 && there.Load() == round {
				t.Errorf("round %d: the session is not found", round)
				return
			}
		}
	})
	for round := range int64(rounds) {
		first, _ := e.Start(keys[0], 0)
		second, _ := e.Start(keys[1], 0)
		there.Store(round + 1)
		first.Expire()
		there.Store(-1)
		second.Expire()
	}
	stop.Store(true)
	looks.Wait()
}

// TestFindWhileTheSlotIsGivenAway gives a slot to another key while a look-up
// without the lock compares its key, which is long and takes a while. The look-up
// must not lead to the other session.
func TestFindWhileTheSlotIsGivenAway(t *testing.T) {
	const changes, length = 20, 1 << 22
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(max(2, runtime.GOMAXPROCS(0))))
	e, err := New[string, int](Options{Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	key, same := strings.Repeat("k", length), strings.Repeat("k", length) // two copies
	s, err := e.Start(key, 1)
	if err != nil {
		t.Fatal(err)
	}
	hash := high(e.hash(&key))
	x, rec, slot := &e.shardOf(e.hash(&key)).index, e.record(s.slot()), s.slot()
	// give gives the slot to a key, as the end of a session and the start of
	// another do.
	give := func(key string, gen uint64) {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.remove(hash, slot)
		rec.state.Store(gen<<genShift | phaseLive)
		setKey(e.keys, rec, &key)
		x.insert(hash, slot)
	}
	gen := s.gen()
	for seen, round := 0, 0; seen < changes; round++ {
		var begun atomic.Bool
		done := make(chan struct{})
		var found Session[string, int]
		var ok, locked bool
		go func() {
			defer close(done)
			begun.Store(true)
			found, ok, locked = e.find(&same)
		}()
		for !begun.Load() {
			runtime.Gosched()
		}
		for range round % 64 * 16 { // at different places of its way
			begun.Load()
		}
		give("other", gen+1)
		<-done
		if ok && found.gen() != gen {
			t.Fatal("a look-up led to the session of another key")
		}
		if locked {
			seen++
		}
		give(key, gen)
	}
}

// TestRenameLocksInOrder renames a session from a shard to one before it, whose
// index is locked: Rename waits for that one without the other's lock, lest two
// Renames that cross wait for each other.
func TestRenameLocksInOrder(t *testing.T) {
	e, err := New[int, int](Options{Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	low, high := &e.shards[0], &e.shards[1]
	_, old, new := startToRename(t, e, high, low)
	low.index.mu.Lock()
	renamed := make(chan error)
	go func() { renamed <- e.Rename(old, new) }()
	for !waitsForMutex("Engine[...]).rename(") {
		runtime.Gosched()
	}
	if high.index.mu.TryLock() {
		high.index.mu.Unlock()
	} else {
		t.Error("Rename holds the lock of the later shard's index and waits for the earlier's")
	}
	low.index.mu.Unlock()
	if err := <-renamed; err != nil {
		t.Error(err)
	}
}

// waitsForMutex reports whether a goroutine in the function waits for a mutex.
func waitsForMutex(function string) bool {
	buf := make([]byte, 1<<20)
	for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if head, frames, _ := strings.Cut(stack, "\n"); strings.Contains(head, "[sync.Mutex.Lock") && strings.Contains(frames, function) {
			return true
		}
	}
	return false
}

// TestRenameOfARenamed renames a session after another Rename has found it by
// its old key, and before that one has its lock.
func TestRenameOfARenamed(t *testing.T) {
	c := &trapClock{Mock: clock.NewMock()}
	e, err := New[int, int](Options{Manual: true, Clock: c})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	s, err := e.Start(1, 0)
	if err != nil {
		t.Fatal(err)
	}
	c.trap = func(int) {
		c.trap = nil
		if err := e.Rename(1, 3); err != nil {
			t.Error(err)
		}
	}
	if err := e.Rename(1, 2); !errors.Is(err, ErrNotFound) {
		t.Errorf("Rename of a key that the session had returns %v", err)
	}
	if key, _ := s.Key(); key != 3 {
		t.Errorf("the session has the key %d, want 3", key)
	}
}

// TestRenameIsOneStep looks a session up while it is renamed: who no longer
// finds it under the old key finds it under the new one.
func TestRenameIsOneStep(t *testing.T) {
	e, err := New[[4]int, int](Options{Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	const rounds = 20_000
	keys := func(round int) (old, new [4]int) { return [4]int{round, 1, 1, 1}, [4]int{round, 2, 2, 2} }
	var started, renamed atomic.Int64
	var wg sync.WaitGroup
	wg.Go(func() {
		for round := range rounds {
			for started.Load() <= int64(round) {
				runtime.Gosched()
			}
			if err := e.Rename(keys(round)); err != nil {
				t.Error(err)
			}
			renamed.Store(int64(round) + 1)
		}
	})
	for round := range rounds {
		old, new := keys(round)
		s, err := e.Start(old, round)
		if err != nil {
			t.Fatal(err)
		}
		started.Store(int64(round) + 1)
		for _, ok := e.Get(old); ok; _, ok = e.Get(old) {
		}
		if found, ok := e.Get(new); !ok || found != s {
			t.Errorf("round %d: the session has neither key", round)
		}
		if _, ok := e.Get(old); ok {
			t.Errorf("round %d: the session has both keys", round)
		}
		for renamed.Load() <= int64(round) {
			runtime.Gosched()
		}
		if t.Failed() {
			started.Store(rounds)
			break
		}
		if round%100 > 0 { // so that segments are of several sizes
			s.Expire()
		}
	}
	wg.Wait()
}
