package lapse

import (
	"context"
	"testing"
	"testing/synctest"
)

// TestContextLeak makes contexts of parents that are cancelled at that moment.
func TestContextLeak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _ := New[int, int](Options{Manual: true})
		defer e.Close()
		s, _ := e.Start(1, 0)
		parent, cancel := context.WithCancel(context.Background())
		cancel()
		for range 20000 {
			_, stop := s.Context(parent)
			stop()
		}
		synctest.Wait() // all that was started for the parent is done
		sh, idx := e.locate(s.slot())
		sh.mu.Lock()
		n := len(sh.hooks[idx].expire)
		sh.mu.Unlock()
		if n > 0 {
			t.Errorf("%d hooks of cancelled contexts are kept", n)
		}
	})
}

// TestZeroContext makes a context of the zero Session and a parent that is
// cancelled. The bubble waits for what that starts.
func TestZeroContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent, cancel := context.WithCancel(context.Background())
		cancel()
		for range 100 {
			ctx, stop := Session[int, int]{}.Context(parent)
			if ctx.Err() == nil {
				t.Error("the context of a session that has ended lives")
			}
			stop()
		}
	})
}
