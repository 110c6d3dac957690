package lapse

import (
	"errors"
	"testing"
)

// TestStartWithoutSlot starts a session in a shard that has no slot left: it
// does not count.
func TestStartWithoutSlot(t *testing.T) {
	e, err := New[int, int](Options{Manual: true, MaxSessions: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	most := e.mostSlots
	e.mostSlots = 0
	if _, err := e.Start(0, 0); !errors.Is(err, ErrFull) {
		t.Errorf("Start returns %v", err)
	}
	e.mostSlots = most
	if _, err := e.Start(0, 0); err != nil {
		t.Errorf("Start returns %v where there is room again", err)
	}
	if err := CheckInvariants(e); err != nil {
		t.Error(err)
	}
}

// TestStartFindsKeyFree has the session that had the key go elsewhere between
// the look-up of Start or Rename and the look at the session: the key may be
// free, and neither ends the session.
func TestStartFindsKeyFree(t *testing.T) {
	e, err := New[int, int](Options{Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.Start(1, 0)
	if err != nil {
		t.Fatal(err)
	}
	if e.endIfDue(s, 1, e.time.read()) {
		t.Error("the key of a live session counts as free")
	}
	if err := e.Rename(1, 2); err != nil {
		t.Fatal(err)
	}
	if !e.endIfDue(s, 1, e.time.read()) || !s.Alive() {
		t.Errorf("the key that a session had counts as taken, or the session is gone: alive is %v", s.Alive())
	}
	e.Close()
	if !e.endIfDue(s, 2, e.time.read()) {
		t.Error("a key of a closed engine counts as taken")
	}
}
