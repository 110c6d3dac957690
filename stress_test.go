package lapse_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lapse-go/lapse"
)

// A history is what goroutines saw of one session. A call that began after
// another had reported the end must not report success.
type history struct {
	handle lapse.Session[string, int]
	ends   atomic.Int64 // calls of the hook that was registered first
	first  atomic.Int64 // the step at which the end was first known; zero: not yet
	last   atomic.Int64 // the latest step at which a call that succeeded began
	hooks  atomic.Int64 // hooks that were accepted and not stopped
	ran    atomic.Int64 // calls of those
	reason atomic.Uint32
}

// TestStress lets goroutines touch, poll, shorten, rename, hold and end the
// same few sessions, with deadlines of a few ticks, and checks each session's
// history: one end, one reason, each hook once, no success after the end.
func TestStress(t *testing.T) {
	const rounds, sessions, goroutines, calls = 60, 4, 8, 120
	policy := lapse.Policy{Name: "stress", Idle: 12 * time.Millisecond, Lifetime: 30 * time.Millisecond,
		PollCap: 9 * time.Millisecond, PollMax: 40, Warn: 3 * time.Millisecond}
	for _, workers := range []int{1, 4} {
		t.Run(fmt.Sprintf("workers=%d", workers), func(t *testing.T) {
			t.Parallel()
			e, err := lapse.New[string, int](lapse.Options{Tick: time.Millisecond, Default: policy, HookWorkers: workers})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			long, err := e.Class(lapse.Policy{Name: "long", Idle: 25 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			var step atomic.Int64
			var ended atomic.Int64
			e.NotifyOnExpire(func(lapse.Event[string, int]) { ended.Add(1) })
			var histories []*history
			for round := range rounds {
				var wg sync.WaitGroup
				for n := range sessions {
					h := new(history)
					histories = append(histories, h)
					key := fmt.Sprintf("%d/%d", round, n)
					if h.handle, err = e.Start(key, n); err != nil {
						t.Fatal(err)
					}
					h.handle.NotifyOnExpire(func(ev lapse.Event[string, int]) {
						h.first.CompareAndSwap(0, step.Add(1))
						h.ends.Add(1)
						h.reason.Store(uint32(ev.Reason))
						if h.handle.Touch() || h.handle.Poll() || h.handle.Expire() {
							t.Errorf("a call succeeded while the hook of the end ran")
						}
					})
					for g := range goroutines {
						wg.Go(func() {
							h.play(t, e, long, &step, key, rand.New(rand.NewPCG(uint64(round), uint64(n*goroutines+g))), calls)
						})
					}
				}
				wg.Wait()
			}
			for _, h := range histories {
				h.handle.Expire()
			}
			// Hooks of deadlines may still be on their way.
			for e.Len() > 0 || e.Stats().Queue > 0 || ended.Load() < int64(len(histories)) {
				runtime.Gosched()
			}
			for i, h := range histories {
				if n := h.ends.Load(); n != 1 {
					t.Errorf("session %d: its hook was called %d times", i, n)
				}
				if first, last := h.first.Load(), h.last.Load(); last > first {
					t.Errorf("session %d: the end was known at step %d, a call that began at %d succeeded", i, first, last)
				}
				if want, ran := h.hooks.Load(), h.ran.Load(); want != ran {
					t.Errorf("session %d: %d hooks were accepted, %d ran", i, want, ran)
				}
				if r := lapse.Reason(h.reason.Load()); r < lapse.ReasonIdle || r > lapse.ReasonExpired {
					t.Errorf("session %d ended with the reason %v", i, r)
				}
			}
			if n := ended.Load(); n != int64(len(histories)) {
				t.Errorf("%d sessions, %d ends", len(histories), n)
			}
			if err := lapse.CheckInvariants(e); err != nil {
				t.Error(err)
			}
		})
	}
}

// play makes calls at random and notes which said that the session lives, and
// which that it had ended.
func (h *history) play(t *testing.T, e *lapse.Engine[string, int], long *lapse.Class[string, int], step *atomic.Int64, key string, r *rand.Rand, calls int) {
	s := h.handle
	for range calls {
		began := step.Add(1)
		var alive bool
		switch op := r.IntN(200); {
		case op < 60:
			alive = s.Touch()
		case op < 75:
			alive = s.TouchAt(time.Now())
		case op < 110:
			alive = s.Poll()
		case op < 120:
			_, alive = s.Info()
		case op < 130:
			alive = s.Alive()
		case op < 140:
			alive = s.SetIdle(time.Duration(r.IntN(15)) * time.Millisecond)
		case op < 146:
			alive = s.SetClass(long)
		case op < 160:
			if alive = s.Hold(); alive {
				s.Release()
			}
		case op < 165:
			e.Rename(key, key+"'")
			continue // another goroutine may have renamed it
		case op < 185:
			var stop func() bool
			if stop, alive = s.NotifyOnExpire(func(lapse.Event[string, int]) { h.ran.Add(1) }); alive {
				h.hooks.Add(1)
				if r.IntN(2) == 0 && stop() {
					h.hooks.Add(-1)
				}
				continue // it may have joined the hooks of the end
			}
		case op < 198:
			// The calls would otherwise be over before the first deadline.
			time.Sleep(time.Duration(r.IntN(2)) * time.Millisecond)
			continue
		default:
			if s.Expire() {
				alive = false // this call has ended it
			}
		}
		if alive {
			for {
				last := h.last.Load()
				if began <= last || h.last.CompareAndSwap(last, began) {
					break
				}
			}
		} else {
			known := step.Add(1)
			for {
				first := h.first.Load()
				if first != 0 && first <= known || h.first.CompareAndSwap(first, known) {
					break
				}
			}
		}
	}
}
