package lapse

import (
	"sync"
	"testing"
)

// TestEachHoldCounts holds and releases a session on several goroutines. If the
// hold of one were lost, the release of another would find none.
func TestEachHoldCounts(t *testing.T) {
	const goroutines, rounds = 3, 200_000
	e, _ := New[int, int](Options{})
	defer e.Close()
	s, _ := e.Start(1, 1)
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range rounds {
				if !s.Hold() || !s.Release() {
					t.Error("a hold was lost")
					return
				}
			}
		})
	}
	wg.Wait()
	if i, ok := s.Info(); !ok || i.Holds != 0 || s.Release() {
		t.Errorf("at the end there are %d holds; alive: %v", i.Holds, ok)
	}
}

// TestHeldIsNotEvicted has a session held after it was found to be the one that
// is to make room.
func TestHeldIsNotEvicted(t *testing.T) {
	e, _ := New[int, int](Options{Manual: true})
	defer e.Close()
	s, _ := e.Start(1, 1)
	s.Hold()
	sh, rec, idx := s.lockSlot()
	ends, ok := sh.end(rec, idx, s.gen(), ReasonEvicted, e.time.read(), nil)
	sh.unlock()
	if ok || len(ends) > 0 || !s.Alive() {
		t.Errorf("end returns %v, %d endings; alive: %v", ok, len(ends), s.Alive())
	}
}
