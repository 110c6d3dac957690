package e2e

import (
	"sync"
	"testing"
	"time"

	"github.com/lapse-go/lapse"
	"github.com/lapse-go/lapse/lapsehttp"
)

// Real time, real timers, and an engine that runs by itself. What is slow takes
// longer here; nothing is judged by that.
func TestLive(t *testing.T) {
	t.Run("case=113/load", func(t *testing.T) {
		// A page that loads asks once.
		s := newSite(t, tenMinutes, live)
		p := s.logIn(how{})
		// Whatever the page has to ask it has asked before this answer.
		p.do(`client.fetch('/api/peek')`)
		p.do(`client.fetch('/api/peek')`)
		if n := s.count("GET /session/status"); n != 1 {
			t.Errorf("the page asked %d times when it loaded, want once", n)
		}
	})

	t.Run("case=118", func(t *testing.T) {
		s := newSite(t, lapse.Policy{Idle: 12 * time.Second, Warn: 10 * time.Second}, live)
		ends := s.ends()
		a := s.logIn(how{Dialog: "{}"})
		hidden := s.open(how{Dialog: "{}"})
		hidden.cover()
		b := s.open(how{Dialog: "{}"})
		for _, p := range []*tab{b, hidden} {
			p.do(`globalThis.ticks = 0; (function tick() { ticks++; setTimeout(tick, 10); })()`)
		}
		windows := []*tab{a, b, hidden}

		for _, p := range windows {
			p.see(`session.state === 'warning' && box.open`)
			p.check(`last('warning').remaining > 0 && last('warning').remaining <= 10_000`)
		}
		a.click(".lapse-actions button")
		for _, p := range windows {
			p.see(`session.state === 'live' && !box.open`)
			p.check(`times('warning') && times('extended') && !times('ended')`)
		}
		// Now nobody does anything. A poll does not help for ever, but once.
		for _, p := range windows {
			p.see(`session.state === 'ended' && box.open`)
			p.check(`times('warning') >= 2 && times('ended') === 1 && last('ended').reason === 'idle'`)
		}
		end := ends()
		for _, p := range windows {
			told := time.UnixMilli(get[int64](p, `told.findLast(([type]) => type === 'ended')[2]`))
			if told.Before(end.Truncate(time.Millisecond)) {
				t.Errorf("%s was told of the end at %v, before the session ended at %v", p.name, told, end)
			}
		}
		hidden.check(`document.visibilityState === 'hidden'`)
		b.check(`document.visibilityState === 'visible'`)
		seen, unseen := get[int](b, `ticks`), get[int](hidden, `ticks`)
		t.Logf("a timer of 10 ms ran %d times in a visible window and %d times in the hidden one", seen, unseen)
		if unseen > seen/2 {
			t.Errorf("a timer ran %d times in the hidden window and %d times in a visible one: it was not slowed down, so nothing is proven", unseen, seen)
		}
	})

	t.Run("stream", func(t *testing.T) {
		// The server ends a session that had a quarter of an hour left: without
		// the stream no window would know it for a long time.
		s := newSite(t, lapse.Policy{Idle: 15 * time.Minute}, live)
		a := s.logIn(how{Watch: `{"stream": true}`})
		b := s.open(how{Watch: `{"stream": true}`})
		s.await("GET /session/events", 1)
		s.session().Expire()
		for _, p := range []*tab{a, b} {
			p.see(`session.state === 'ended'`)
			p.check(`times('ended') === 1 && last('ended').reason === 'expired' && last('ended').confirmed`)
		}
	})

	t.Run("stream/warning", func(t *testing.T) {
		// The whole life over the stream, with the engine's own timers.
		s := newSite(t, lapse.Policy{Idle: 10 * time.Second, Warn: 9 * time.Second}, live)
		p := s.logIn(how{Watch: `{"stream": true}`})
		p.see(`times('warning') === 1`)
		p.see(`times('ended') === 1`)
		p.check(`times('warning') === 1 && last('ended').reason === 'idle' && last('ended').confirmed`)
		p.check(`told.findIndex(([type]) => type === 'warning') < told.findIndex(([type]) => type === 'ended')`)
	})
}

// ends returns a function that returns when the one session ended, by the
// server's clock.
func (s *site) ends() func() time.Time {
	var mu sync.Mutex
	var at time.Time
	s.engine.NotifyOnExpire(func(event lapse.Event[lapsehttp.ID, string]) {
		mu.Lock()
		defer mu.Unlock()
		at = event.Ended
	})
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return at
	}
}
