package lapse

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// inUse counts the pages and the places in the index that an engine holds.
func inUse(t *testing.T, e *Engine[int, int]) (pages, places int) {
	t.Helper()
	if err := CheckInvariants(e); err != nil {
		t.Error(err)
	}
	for i := range e.shards {
		sh := &e.shards[i]
		for n := range sh.slab.pages {
			if sh.slab.recordsOf(n) != nil {
				pages++
			}
		}
		seen := make(map[*segment]bool)
		if dir := sh.index.dir.Load(); dir != nil {
			for i := range dir.segments {
				if s := dir.segments[i].Load(); !seen[s] {
					seen[s] = true
					places += len(s.cells)
				}
			}
		}
	}
	return pages, places
}

// TestMemoryIsGivenBack ends nearly all of many sessions. The handles of those
// stay dead when the memory is used again.
func TestMemoryIsGivenBack(t *testing.T) {
	const kept = 10
	e, _ := New[int, int](Options{Manual: true, Default: Policy{Name: "d", Idle: time.Hour}})
	defer e.Close()
	n := 4 * pageSize * len(e.shards)
	var old []Session[int, int]
	for round := range 3 {
		var handles []Session[int, int]
		for i := range n {
			s, err := e.Start(i, i)
			if i < kept && round > 0 {
				if err != ErrExists {
					t.Fatalf("session %d: %v", i, err)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			handles = append(handles, s)
		}
		full, _ := inUse(t, e)
		now := make(map[Session[int, int]]bool, len(handles))
		for _, s := range handles {
			now[s] = true
		}
		for _, s := range old {
			if now[s] || s.Touch() || s.Alive() {
				t.Fatalf("round %d: the handle of a session that has ended is another's", round)
			}
		}
		old = old[:0]
		for _, s := range handles {
			if key, _ := s.Key(); key >= kept {
				s.Expire()
				old = append(old, s)
			}
		}
		live := 0
		for s := range e.All() {
			if key, ok := s.Key(); !ok || key >= kept {
				t.Errorf("All yields %d", key)
			}
			live++
		}
		if live != kept || e.Len() != kept {
			t.Errorf("All yields %d sessions, Len is %d", live, e.Len())
		}
		pages, places := inUse(t, e)
		if most := kept + len(e.shards); pages > most || full <= most {
			t.Errorf("round %d: %d pages of %d are left", round, pages, full)
		}
		if places > n/10 {
			t.Errorf("round %d: the index has %d places for %d sessions", round, places, kept)
		}
	}
}

// TestRetiredSlotKeepsItsPage ends the last generation of a slot: its page is
// not emptied, since no session may have the slot again.
func TestRetiredSlotKeepsItsPage(t *testing.T) {
	s := slab[int, int]{keys: wordsKey}
	for range 3 * pageSize {
		s.take(1 << 20)
	}
	s.record(pageSize).state.Store(lastGen<<genShift | phaseEnded)
	for idx := range uint32(3 * pageSize) {
		s.put(idx)
	}
	if s.recordsOf(1) == nil || s.recordsOf(2) != nil {
		t.Error("the page of a retired slot was emptied, or one without was not")
	}
	for range 4 * pageSize {
		if idx, ok := s.take(1 << 20); ok && idx == pageSize {
			t.Error("a retired slot was handed out")
		}
	}
}

// TestPagesComeAndGo has handles used whose pages are being emptied and filled.
func TestPagesComeAndGo(t *testing.T) {
	e, _ := New[int, int](Options{Default: Policy{Name: "d", Idle: time.Hour}})
	defer e.Close()
	n := 3 * pageSize * len(e.shards)
	handles := make([]atomic.Pointer[Session[int, int]], n)
	var over atomic.Bool
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for i := 0; !over.Load(); i = (i + 1) % n {
				s := handles[i].Load()
				if s == nil {
					continue
				}
				s.Touch()
				s.Alive()
				if key, ok := s.Key(); ok && key != i {
					t.Errorf("the handle of %d is that of %d", i, key)
				}
				if found, ok := e.Get(i); ok {
					if key, ok := found.Key(); ok && key != i {
						t.Errorf("the look-up of %d gave %d", i, key)
					}
				}
			}
		})
	}
	for range 5 {
		for i := range n {
			s, err := e.Start(i, i)
			if err != nil {
				t.Fatal(err)
			}
			handles[i].Store(&s)
		}
		for i := range n {
			if !handles[i].Load().Expire() {
				t.Fatalf("session %d has ended by itself", i)
			}
		}
	}
	over.Store(true)
	wg.Wait()
	if err := CheckInvariants(e); err != nil {
		t.Error(err)
	}
}

// TestGenerationsDoNotRepeat uses a slot for more sessions than it has
// generations, of which it is taken to have spent all but the last few. Handles
// of earlier sessions stay dead, and the slot is given up after the last.
func TestGenerationsDoNotRepeat(t *testing.T) {
	const left = 10
	e, err := New[string, int](Options{Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var handles []Session[string, int]
	start := func() (slot uint32) {
		s, err := e.Start("key", len(handles))
		if err != nil {
			t.Fatal(err)
		}
		for i, old := range handles {
			if old == s || old.Alive() || old.Touch() {
				t.Fatalf("the handle of session %d is alive while session %d is", i, len(handles))
			}
		}
		if v, _ := s.Value(); v != len(handles) {
			t.Fatalf("session %d has the value %d", len(handles), v)
		}
		s.Expire()
		handles = append(handles, s)
		return s.slot()
	}
	slot := start()
	e.record(slot).state.Store((lastGen-left)<<genShift | phaseFree)
	for i := range left + 1 {
		if start() != slot {
			t.Fatalf("the slot is given up %d generations early", left+1-i)
		}
	}
	for range 3 {
		if start() == slot {
			t.Fatal("a slot is used whose generations are spent")
		}
	}
	if err := CheckInvariants(e); err != nil {
		t.Error(err)
	}
}
