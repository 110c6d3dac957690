package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Devices that sleep, and windows that nobody sees.
func TestWake(t *testing.T) {
	// What wakes a page. It is deaf to all the other events.
	wakes := []struct {
		name  string
		shell bool
		rest  func(p *tab)          // before the sleep
		wake  func(s *site, p *tab) // after it
	}{
		{name: "visibilitychange",
			rest: func(p *tab) { p.cover() },
			wake: func(_ *site, p *tab) { p.show() },
		},
		{name: "focus",
			rest: func(p *tab) {
				p.front()
				p.do(`window.blur()`)
			},
			wake: func(_ *site, p *tab) { p.do(`void dispatchEvent(new FocusEvent('focus'))`) },
		},
		{name: "online",
			rest: func(p *tab) { p.offline(true) },
			wake: func(_ *site, p *tab) { p.offline(false) },
		},
		{name: "pageshow", shell: true,
			rest: func(p *tab) { p.visit(how{Bare: true, Shell: true, Other: "page"}.url(p.s)) },
			wake: func(_ *site, p *tab) { p.back() },
		},
		{name: "timer",
			rest: func(p *tab) {},
			wake: func(s *site, p *tab) { s.pass(10 * time.Second) },
		},
		{name: "input",
			rest: func(p *tab) {},
			wake: func(_ *site, p *tab) { p.click("#letter") },
		},
	}
	for _, w := range wakes {
		for _, awake := range []bool{true, false} {
			t.Run(fmt.Sprintf("case=117/%s/monotonic=%v", w.name, awake), func(t *testing.T) {
				s := newSite(t, tenMinutes)
				p := s.logIn(how{Shell: w.shell, Without: strings.ReplaceAll("onvisibilitychange onfocus ononline onpageshow onresume", "on"+w.name, "")})
				s.pass(time.Minute)
				w.rest(p)
				s.sleep(2*time.Hour, awake)
				w.wake(s, p)
				p.see(`session.ended?.confirmed`)
				p.check(`times('ended') === 1 && !times('warning') && session.ended.reason === 'idle'`)
			})
		}
	}

	t.Run("case=117/at once", func(t *testing.T) {
		// Where the clock went on in sleep, the page knows before the input that
		// woke it reaches anything.
		s := newSite(t, tenMinutes)
		p := s.logIn(how{})
		p.do(`document.getElementById('send').addEventListener('pointerdown', () => { globalThis.state = session.state; })`)
		s.sleep(2*time.Hour, true)
		p.click("#send")
		p.check(`globalThis.state === 'ended'`)
	})

	t.Run("case=118", func(t *testing.T) {
		// Timers once a minute, for half an hour.
		s := newSite(t, tenMinutes)
		p := s.logIn(how{})
		p.cover()
		other := s.open(how{})
		p.do(`clock.throttle(60_000)`)
		for range 6 {
			s.pass(4 * time.Minute)
			p.check(`session.state === 'live' && session.remaining === 360_000`)
			s.pass(time.Minute)
			p.check(`session.remaining === 300_000`)
			other.do(`client.fetch('/api/touch')`)
			p.wait(`session.remaining === 600_000`)
		}
		p.check(`!times('warning') && !times('ended')`)
		s.pass(9*time.Minute + 30*time.Second)
		p.check(`session.remaining === 30_000`)
		s.pass(90 * time.Second)
		p.check(`session.state === 'ended' && times('ended') === 1`)
	})

	t.Run("case=118/offline", func(t *testing.T) {
		// Nobody tells it: its own verdict comes with the first timer after the end.
		s := newSite(t, tenMinutes)
		p := s.logIn(how{})
		p.cover()
		p.offline(true)
		p.do(`clock.throttle(60_000)`)
		s.pass(10*time.Minute + 14*time.Second)
		p.check(`!times('ended')`)
		s.pass(time.Minute)
		p.check(`times('ended') === 1`)
	})

	for _, awake := range []bool{true, false} {
		t.Run(fmt.Sprintf("case=119/monotonic=%v", awake), func(t *testing.T) {
			s := newSite(t, tenMinutes)
			p := s.logIn(how{Dialog: "{}"})
			p.cover()
			s.sleep(9*time.Minute+30*time.Second, awake)
			p.show()
			p.wait(`session.state === 'warning'`)
			p.check(`last('warning').remaining === 30_000 && session.remaining === 30_000`)
			p.check(`box.open && box.querySelector('.lapse-clock').textContent === '0:30'`)
			s.pass(10 * time.Second)
			p.check(`box.querySelector('.lapse-clock').textContent === '0:20'`)
		})
		t.Run(fmt.Sprintf("case=119/again/monotonic=%v", awake), func(t *testing.T) {
			// It slept while the warning was on.
			s := newSite(t, tenMinutes)
			p := s.logIn(how{Dialog: "{}"})
			s.pass(9 * time.Minute)
			p.check(`box.open && box.querySelector('.lapse-clock').textContent === '1:00'`)
			p.cover()
			s.sleep(30*time.Second, awake)
			p.show()
			p.wait(`session.remaining === 30_000`)
			s.pass(time.Second)
			p.check(`box.open && box.querySelector('.lapse-clock').textContent === '0:29'`)
			p.check(`times('warning') === 1`)
		})
	}
}
