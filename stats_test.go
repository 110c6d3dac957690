package lapse

import (
	"testing"

	"github.com/benbjohnson/clock"
)

// TestStatsPanics makes a class while Stats goes through the shards.
func TestStatsPanics(t *testing.T) {
	c := &trapClock{Mock: clock.NewMock()}
	e, _ := New[string, int](Options{Clock: c, Manual: true})
	c.trap = func(int) {
		cl, _ := e.Class(ShortSession)
		cl.Start("a", 0)
	}
	defer func() {
		if v := recover(); v != nil {
			t.Errorf("Stats panicked: %v", v)
		}
	}()
	e.Stats()
}
