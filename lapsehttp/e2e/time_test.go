package e2e

import (
	"fmt"
	"sync"
	"time"

	"github.com/chromedp/chromedp"
)

// pass lets time pass, for the server and all pages together, from one timer to
// the next.
func (s *site) pass(d time.Duration) {
	s.t.Helper()
	for d > 0 {
		step := d
		for _, p := range s.present() {
			if p.next >= 0 {
				step = min(step, max(p.next, time.Millisecond))
			}
		}
		if next, ok := s.engine.Advance(); ok {
			step = min(step, max(next.Sub(s.clock.Now()), time.Millisecond))
		}
		s.shift(step, step, step)
		s.quiet()
		d -= step
	}
}

// sleep puts the device to sleep, so that its timers do not run; awake says
// whether its monotonic clock goes on in sleep, as it does on some systems. No
// timer has run when it returns.
func (s *site) sleep(d time.Duration, awake bool) {
	s.t.Helper()
	mono := d
	if !awake {
		mono = 0
	}
	s.shift(d, mono, d)
}

// setWall sets the device's wall clock forward, or back.
func (s *site) setWall(d time.Duration) {
	s.t.Helper()
	s.mu.Lock()
	s.wall += d
	s.mu.Unlock()
	s.shiftPages(0, d)
}

// shift moves the server's clock and the two of the device.
func (s *site) shift(server, mono, wall time.Duration) {
	s.t.Helper()
	s.clock.move(server)
	s.mu.Lock()
	s.mono += mono
	s.wall += wall - server
	s.mu.Unlock()
	s.shiftPages(mono, wall)
	s.engine.Advance()
}

func (s *site) shiftPages(mono, wall time.Duration) {
	s.t.Helper()
	var all sync.WaitGroup
	for _, p := range s.present() {
		all.Go(func() {
			shift := fmt.Sprintf(`clock.shift(%d, %d)`, mono.Milliseconds(), wall.Milliseconds())
			if _, err := run(p, chromedp.Evaluate[chromedp.Void](shift)); err != nil {
				s.t.Errorf("%s: its clock: %v", p.name, err)
			}
		})
	}
	all.Wait()
}

// quiet runs what is due everywhere and waits for what follows from it. It does
// nothing where time is real.
func (s *site) quiet() {
	s.t.Helper()
	s.runAll()
	if len(s.present()) > 1 {
		// What came late from one window may concern another.
		s.runAll()
	}
}

func (s *site) runAll() {
	s.t.Helper()
	if s.clock == nil {
		return
	}
	s.engine.Advance()
	present := s.present()
	var all sync.WaitGroup
	for _, p := range present {
		all.Go(func() {
			next, err := run(p, chromedp.Evaluate[float64](fmt.Sprintf(`clock.run(%d)`, len(present)-1), chromedp.EvalAwaitPromise))
			if err != nil {
				// It goes to another page just now, or the next call says why not.
				next = -1
			}
			p.next = time.Duration(next * float64(time.Millisecond))
		})
	}
	all.Wait()
}

// present are the tabs that show a page with a clock.
func (s *site) present() (present []*tab) {
	if s.clock == nil {
		return nil
	}
	for _, p := range s.tabs {
		if !p.closed && !p.away {
			present = append(present, p)
		}
	}
	return present
}
