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
	s.shift(0, 0, d)
}

// shift moves the server's clock and the two of the device.
func (s *site) shift(server, mono, wall time.Duration) {
	s.t.Helper()
	for begin := time.Now(); !s.tryShift(server, mono, wall); {
		if time.Since(begin) > patience {
			s.t.Fatal("waited in vain for all requests to be answered")
		}
		s.quiet()
	}
	s.engine.Advance()
}

// tryShift moves the clocks unless an answer is on its way to a page. Requests
// that come meanwhile wait.
func (s *site) tryShift(server, mono, wall time.Duration) bool {
	s.t.Helper()
	s.moving.Lock()
	defer s.moving.Unlock()
	var mu sync.Mutex
	var shifted []*tab
	present := s.present()
	s.together(present, func(p *tab) {
		if p.shift(mono, wall) {
			mu.Lock()
			defer mu.Unlock()
			shifted = append(shifted, p)
		}
	})
	if len(shifted) < len(present) {
		s.together(shifted, func(p *tab) { p.shift(-mono, -wall) })
		return false
	}
	s.clock.move(server)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mono += mono
	s.wall += wall - server
	return true
}

// shift moves the page's clocks, if it can.
func (p *tab) shift(mono, wall time.Duration) bool {
	p.t.Helper()
	moved, err := run(p, chromedp.Evaluate[bool](fmt.Sprintf(`clock.shift(%d, %d)`, mono.Milliseconds(), wall.Milliseconds())))
	if err != nil {
		p.t.Errorf("%s: its clock: %v", p.name, err)
	}
	return moved
}

// together does something with all of the tabs at once.
func (s *site) together(tabs []*tab, f func(*tab)) {
	var all sync.WaitGroup
	for _, p := range tabs {
		all.Go(func() { f(p) })
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
	s.together(present, func(p *tab) {
		next, err := run(p, chromedp.Evaluate[float64](fmt.Sprintf(`clock.run(%d)`, len(present)-1), chromedp.EvalAwaitPromise))
		if err != nil {
			// It goes to another page just now, or the next call says why not.
			next = -1
		}
		p.next = time.Duration(next * float64(time.Millisecond))
	})
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
