package lapse

import "testing"

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
