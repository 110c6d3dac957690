package e2e

import (
	"testing"
	"time"

	"github.com/lapse-go/lapse"
)

// The event stream. Where time stands still no timer can have told what comes.
func TestStream(t *testing.T) {
	const streaming = `{"stream": true}`

	t.Run("end", func(t *testing.T) {
		s := newSite(t, tenMinutes)
		a := s.logIn(how{Watch: streaming})
		b := s.open(how{Watch: streaming})
		hidden := s.open(how{Watch: streaming})
		hidden.cover()
		s.await("GET /session/events", 1)
		s.session().Expire()
		for _, p := range []*tab{a, b, hidden} {
			p.wait(`session.state === 'ended'`)
			p.check(`times('ended') === 1 && last('ended').reason === 'expired' && last('ended').confirmed && last('ended').endedAt === Date.now()`)
		}
		s.pass(time.Minute)
		if n := s.count("GET /session/events"); n != 1 {
			t.Errorf("%d streams were opened, want one, for all windows", n)
		}
	})

	t.Run("warning", func(t *testing.T) {
		// The server warns, and takes it back when the session was seen elsewhere.
		s := newSite(t, lapse.Policy{Idle: 10 * time.Minute, Warn: 2 * time.Minute})
		p := s.logIn(how{Watch: streaming, Without: alone})
		s.await("GET /session/events", 1)
		s.pass(8 * time.Minute)
		p.wait(`session.state === 'warning' && last('warning').remaining === 120_000`)
		s.session().Touch()
		bare := s.open(how{Bare: true})
		bare.do(`fetch('/api/touch')`)
		p.wait(`session.state === 'live' && session.remaining === 600_000`)
	})

	t.Run("leader", func(t *testing.T) {
		// The window that held it closes: the next one opens it.
		s := newSite(t, tenMinutes)
		s.logIn(how{Watch: streaming})
		s.open(how{Watch: streaming})
		s.await("GET /session/events", 1)
		s.leader().shut()
		s.await("GET /session/events", 2)
		p := s.leader()
		s.session().Expire()
		p.wait(`session.state === 'ended' && last('ended').reason === 'expired'`)
	})

	t.Run("lost", func(t *testing.T) {
		// The connection breaks: the browser comes back, as a poll at most.
		s := newSite(t, lapse.Policy{Idle: 10 * time.Minute, PollCap: 30 * time.Minute})
		p := s.logIn(how{Watch: streaming})
		s.await("GET /session/events", 1)
		s.pass(time.Minute)
		s.cut()
		s.await("GET /session/events", 2)
		if info, _ := s.session().Info(); info.Seen.Equal(s.clock.Now()) && info.Polls == 0 {
			t.Error("the stream that came back was a touch")
		}
		s.session().Expire()
		p.wait(`session.state === 'ended' && last('ended').reason === 'expired'`)
		n := s.count("GET /session/events")
		s.pass(time.Minute)
		if now := s.count("GET /session/events"); now > n+1 {
			t.Errorf("%d more streams after the end", now-n)
		}
	})
}
