package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/lapse-go/lapse"
)

// alone are the means by which windows learn of each other.
const alone = "BroadcastChannel cookieStore localStorage"

// tenMinutes is what most sessions here may idle.
var tenMinutes = lapse.Policy{Idle: 10 * time.Minute}

// The offset to the server's clock, and what is judged by it.
func TestClock(t *testing.T) {
	const year = 365 * 24 * time.Hour

	t.Run("case=103", func(t *testing.T) {
		s := newSite(t, tenMinutes)
		s.setWall(5 * time.Second)
		p := s.logIn(how{})
		p.check(`session.offset === 5000`)
		p.check(`session.remaining === 600_000`)
	})

	t.Run("case=104", func(t *testing.T) {
		s := newSite(t, tenMinutes)
		s.setWall(5 * time.Second)
		p := s.logIn(how{})
		p.offline(true) // so that it has to judge by itself
		s.pass(10*time.Minute + 15*time.Second)
		p.do(`void dispatchEvent(new FocusEvent('focus'))`) // so that it looks just now
		p.check(`session.state !== 'ended' && !times('ended')`)
		s.pass(time.Millisecond)
		p.check(`session.state === 'ended' && times('ended') === 1 && last('ended').confirmed === false`)
	})

	t.Run("case=105", func(t *testing.T) {
		s := newSite(t, tenMinutes)
		p := s.logIn(how{Without: alone})
		// A check reads the cookies.
		p.do(`(() => {
			const real = Object.getOwnPropertyDescriptor(Document.prototype, 'cookie').get;
			globalThis.looks = [performance.now()];
			Object.defineProperty(document, 'cookie', {get() { looks.push(performance.now()); return real.call(document); }});
		})()`)
		s.pass(time.Minute)
		p.check(`String([...new Set(looks)].map((at) => at - looks[0])) === '0,10000,20000,30000,40000,50000,60000'`)
		p.offline(true)
		s.pass(9 * time.Minute)
		p.check(`session.state !== 'ended'`)
		s.pass(25 * time.Second)
		p.check(`session.state === 'ended'`)
	})

	// A clock that is wrong all the time makes no difference, by however much and
	// to whichever side.
	for _, c := range []struct {
		name string
		wall time.Duration
	}{
		{"case=106/behind", -time.Hour},
		{"case=106/ahead", time.Hour},
		{"case=107/behind", -year},
		{"case=107/ahead", year},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, tenMinutes)
			s.setWall(c.wall)
			p := s.logIn(how{})
			p.check(fmt.Sprintf(`session.offset === %d`, c.wall.Milliseconds()))
			s.pass(9*time.Minute - time.Millisecond)
			p.check(`session.state === 'live' && !told.length`)
			s.pass(time.Millisecond)
			p.check(`session.state === 'warning' && session.remaining === 60_000`)
			s.pass(time.Minute - time.Millisecond)
			p.check(`session.state === 'warning' && !times('ended')`)
			s.pass(time.Millisecond)
			p.check(`session.state === 'ended' && last('ended').confirmed && last('ended').reason === 'idle'`)
		})
		t.Run(c.name+"/offline", func(t *testing.T) {
			s := newSite(t, tenMinutes)
			s.setWall(c.wall)
			p := s.logIn(how{})
			p.offline(true)
			s.pass(10*time.Minute + 15*time.Second)
			p.check(`session.state !== 'ended'`)
			s.pass(10 * time.Second)
			p.check(`session.state === 'ended'`)
		})
	}

	t.Run("case=108", func(t *testing.T) {
		s := newSite(t, tenMinutes)
		p := s.logIn(how{})
		s.pass(9*time.Minute - time.Millisecond)
		p.check(`!times('warning')`)
		s.pass(time.Millisecond)
		p.check(`times('warning') === 1 && last('warning').remaining === 60_000`)
		s.pass(10 * time.Minute)
		p.check(`times('warning') === 1 && times('ended') === 1`)
	})

	t.Run("case=108/policy", func(t *testing.T) {
		// The server's own idea of when to warn wins over the default.
		s := newSite(t, lapse.Policy{Idle: 10 * time.Minute, Warn: 3 * time.Minute})
		p := s.logIn(how{})
		s.pass(7*time.Minute - time.Millisecond)
		p.check(`!times('warning')`)
		s.pass(time.Millisecond)
		p.check(`times('warning') === 1 && last('warning').remaining === 180_000`)
	})

	for _, awake := range []bool{true, false} {
		t.Run(fmt.Sprintf("case=108/late/monotonic=%v", awake), func(t *testing.T) {
			// A device that was asleep from before the warning until after the end.
			s := newSite(t, tenMinutes)
			p := s.logIn(how{})
			s.sleep(20*time.Minute, awake)
			s.pass(time.Minute)
			p.check(`!times('warning') && times('ended') === 1`)
		})
	}

	// A clock that is set while the page is open.
	for name, by := range map[string]time.Duration{"case=120/forward": time.Hour, "case=120/back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, tenMinutes)
			p := s.logIn(how{})
			s.pass(5 * time.Minute)
			s.forget()
			s.setWall(by)
			s.pass(time.Minute)
			p.check(`session.state === 'live' && !told.length`)
			p.check(`session.remaining === 240_000`)
			p.check(fmt.Sprintf(`session.offset === %d`, by.Milliseconds()))
			if n := s.count("GET /session/status"); n != 1 {
				t.Errorf("the server was asked %d times, want once", n)
			}
			// The next page goes by the new time from the beginning.
			p.visit(how{Other: "page"}.url(s))
			p.begin(how{})
			p.check(fmt.Sprintf(`session.offset === %d && session.remaining === 600_000`, by.Milliseconds()))
			s.pass(9 * time.Minute)
			p.check(`session.state === 'warning'`)
		})
	}

	t.Run("case=120/offline", func(t *testing.T) {
		// Nobody can be asked: elapsed time still is what it is.
		s := newSite(t, tenMinutes)
		p := s.logIn(how{})
		s.pass(5 * time.Minute)
		p.offline(true)
		s.setWall(time.Hour)
		s.pass(time.Minute)
		p.check(`session.state === 'live' && !times('ended') && session.remaining === 240_000`)
		s.setWall(-2 * time.Hour)
		s.pass(3 * time.Minute)
		p.check(`session.state === 'warning' && session.remaining === 60_000`)
		p.offline(false)
		p.wait(`Math.abs(session.offset + 3_600_000) < 1`)
		p.check(`session.state === 'warning' && session.remaining === 60_000 && !times('ended')`)
	})
}

// What a page goes by that finds cookies it did not see being set.
func TestCookies(t *testing.T) {
	t.Run("case=112/bfcache", func(t *testing.T) {
		s := newSite(t, tenMinutes)
		p := s.logIn(how{Shell: true})
		p.do(`addEventListener('pageshow', (event) => { globalThis.restored = event.persisted; })`)
		s.pass(time.Minute)
		// Two minutes elsewhere, where a request leaves its cookies.
		p.visit(how{Bare: true}.url(s))
		s.pass(2 * time.Minute)
		s.forget()
		p.back()
		if !p.is(`globalThis.restored`) {
			t.Fatal("the page did not come from the back-forward cache: nothing is proven")
		}
		p.wait(`session.remaining === 480_000`)
		p.check(`session.offset === 0 && session.state === 'live' && !times('warning') && !times('ended')`)
		if n := s.count("GET /session/status"); n != 1 {
			t.Errorf("the server was asked %d times, want once", n)
		}
		s.pass(7*time.Minute - time.Millisecond)
		p.check(`!times('warning')`)
		s.pass(time.Millisecond)
		p.check(`session.state === 'warning'`)
	})

	t.Run("case=112/bfcache/stream", func(t *testing.T) {
		// A page that holds the stream can go there, too, and opens it again.
		s := newSite(t, tenMinutes)
		p := s.logIn(how{Shell: true, Watch: `{"stream": true}`})
		s.await("GET /session/events", 1)
		p.do(`addEventListener('pageshow', (event) => { globalThis.restored = event.persisted; })`)
		p.visit(how{Bare: true}.url(s))
		p.back()
		if !p.is(`globalThis.restored`) {
			t.Fatal("the page did not come from the back-forward cache: nothing is proven")
		}
		s.await("GET /session/events", 2)
		s.session().Expire()
		p.wait(`session.state === 'ended' && last('ended').reason === 'expired'`)
	})

	t.Run("case=112/bfcache/offline", func(t *testing.T) {
		s := newSite(t, tenMinutes)
		p := s.logIn(how{Shell: true})
		p.visit(how{Bare: true}.url(s))
		s.pass(2 * time.Minute)
		s.setBroken("/session/status")
		p.back()
		s.quiet()
		p.check(`session.offset === 0 && session.state === 'live'`)
		s.pass(time.Minute)
		p.check(`session.offset === 0 && session.state === 'live' && !times('ended')`)
	})

	t.Run("case=112/stale", func(t *testing.T) {
		// The cookie at load is an hour old.
		s := newSite(t, tenMinutes)
		s.logIn(how{Bare: true})
		old := s.clock.Now().Add(-time.Hour).UnixMilli()
		p := s.open(how{Shell: true, Cookie: fmt.Sprintf("serverTime=%d; path=/; secure", old)})
		p.check(`session.offset === 0 && session.remaining === 600_000 && session.state === 'live'`)
	})

	t.Run("case=112/cache", func(t *testing.T) {
		// The page comes out of the cache, and there is no status to be had: the
		// end is unknown, whatever the cookies say.
		s := newSite(t, tenMinutes)
		s.logIn(how{Bare: true})
		h := how{Shell: true, Cache: "max-age=3600"}
		p := s.open(h)
		p.visit(how{Bare: true}.url(s))
		s.pass(5 * time.Minute)
		s.setBroken("/session/status")
		p.load(func() { p.do(fmt.Sprintf(`location.assign(%q)`, h.url(s))) })
		p.wait(`globalThis.ready && times('error')`)
		p.check(`performance.getEntriesByType('navigation')[0].transferSize === 0`)
		p.check(`session.state === 'unknown' && Number.isNaN(session.offset) && !times('ended')`)
		s.setBroken("")
		s.pass(10 * time.Second)
		p.check(`session.state === 'live' && session.offset === 0 && session.remaining === 290_000`)
	})

	t.Run("case=113/missing", func(t *testing.T) {
		s := newSite(t, tenMinutes)
		p := s.logIn(how{})
		s.forget()
		call(p, network.DeleteCookies, network.DeleteCookiesParams{Name: "sessionExpiry", URL: s.url})
		s.await("GET /session/status", 1)
		s.pass(time.Minute)
		p.check(`session.state === 'live' && !told.length && session.remaining === 540_000`)
		if n := s.count("GET /session/status"); n != 1 {
			t.Errorf("the server was asked %d times, want once", n)
		}
	})

	t.Run("case=113/none", func(t *testing.T) {
		// Somebody takes the cookie away whenever it comes.
		s := newSite(t, tenMinutes)
		p := s.logIn(how{})
		p.do(`cookieStore.onchange = () => { document.cookie = 'sessionExpiry=; max-age=0; path=/; secure'; }`)
		p.do(`cookieStore.onchange()`)
		s.pass(5 * time.Minute)
		p.check(`session.state === 'live' && !told.length && session.remaining === 300_000`)
	})

	for name, value := range map[string]string{"word": "tomorrow", "empty": "", "fraction": "17e11", "negative": "-1"} {
		t.Run("case=113/"+name, func(t *testing.T) {
			s := newSite(t, tenMinutes)
			p := s.logIn(how{})
			s.forget()
			p.do(fmt.Sprintf(`document.cookie = 'sessionExpiry=%s; path=/; secure'`, value))
			s.await("GET /session/status", 1)
			s.pass(time.Minute)
			p.check(`session.state === 'live' && !told.length && session.remaining === 540_000`)
			if n := s.count("GET /session/status"); n != 1 {
				t.Errorf("the server was asked %d times, want once", n)
			}
		})
	}

	t.Run("case=113/load", func(t *testing.T) {
		s := newSite(t, tenMinutes)
		s.logIn(how{Bare: true})
		s.forget()
		p := s.open(how{Shell: true, Cookie: "sessionExpiry=; max-age=0; path=/; secure"})
		p.check(`session.state === 'live' && session.remaining === 600_000`)
		if n := s.count("GET /session/status"); n != 1 {
			t.Errorf("the server was asked %d times, want once", n)
		}
	})

	t.Run("no limit", func(t *testing.T) {
		// A session without any limit has no such cookie, and lives on.
		s := newSite(t, lapse.Policy{})
		p := s.logIn(how{})
		p.check(`!document.cookie.includes('sessionExpiry') && session.state === 'live' && session.remaining === Infinity`)
		s.forget()
		s.pass(30 * time.Minute)
		p.check(`session.state === 'live' && !told.length`)
		if n := s.count("GET /session/status"); n > 1 {
			t.Errorf("the server was asked %d times in half an hour", n)
		}
	})
}
