package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/debugger"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/lapse-go/lapse"
)

// Several windows of one browser.
func TestWindows(t *testing.T) {
	t.Run("case=109", func(t *testing.T) {
		s := newSite(t, tenMinutes)
		a := s.logIn(how{Dialog: "{}"})
		b := s.open(how{Dialog: "{}"})
		s.pass(9 * time.Minute)
		a.check(`session.state === 'warning' && box.open`)
		b.check(`session.state === 'warning' && box.open`)
		b.do(`client.fetch('/api/touch')`)
		// At once: no time passes.
		for _, p := range []*tab{a, b} {
			p.wait(`session.state === 'live' && session.remaining === 600_000 && !box.open`)
			p.check(`times('warning') === 1 && times('extended') === 1`)
		}
	})

	t.Run("case=109/cookies", func(t *testing.T) {
		// A window without the client makes a request: the browser tells of cookies.
		s := newSite(t, tenMinutes)
		a := s.logIn(how{})
		b := s.open(how{Bare: true})
		s.pass(9 * time.Minute)
		a.check(`session.state === 'warning'`)
		b.do(`fetch('/api/touch')`)
		a.soon(`session.state === 'live' && times('extended') === 1`)
	})

	t.Run("case=109/check", func(t *testing.T) {
		// Nothing tells: the next check sees it.
		s := newSite(t, tenMinutes)
		a := s.logIn(how{Without: alone})
		b := s.open(how{Bare: true})
		s.pass(9 * time.Minute)
		a.check(`session.state === 'warning'`)
		b.do(`fetch('/api/touch')`)
		s.pass(10 * time.Second)
		a.check(`session.state === 'live' && times('extended') === 1 && session.remaining === 590_000`)
	})

	t.Run("case=110", func(t *testing.T) {
		s := newSite(t, tenMinutes)
		a := s.logIn(how{})
		b := s.open(how{})
		hidden := s.open(how{})
		hidden.cover()
		s.pass(time.Second)
		a.do(`session.logout()`)
		for _, p := range []*tab{a, b, hidden} {
			p.soon(`session.state === 'ended'`)
			p.check(`times('ended') === 1 && last('ended').confirmed`)
		}
		if n := s.engine.Len(); n != 0 {
			t.Errorf("the server has %d sessions after the log-out, want none", n)
		}
	})

	t.Run("case=110/reason", func(t *testing.T) {
		// The browser tells of the cookies before the answer is there: the window
		// that logs out knows why, all the same.
		s := newSite(t, tenMinutes)
		p := s.logIn(how{})
		s.pass(time.Minute)
		p.do(`clock.hold('/session/logout')`)
		p.do(`void (globalThis.changed = new Promise((done) => cookieStore.addEventListener('change', done, {once: true})))`)
		p.do(`void session.logout()`)
		p.do(`changed.then(() => {})`)
		s.quiet()
		p.do(`clock.release()`)
		p.soon(`session.state === 'ended'`)
		p.check(`times('ended') === 1 && last('ended').reason === 'expired' && last('ended').confirmed`)
	})

	t.Run("case=110/plain", func(t *testing.T) {
		s := newSite(t, tenMinutes, plain)
		a := s.logIn(how{})
		b := s.open(how{})
		a.check(`!isSecureContext && !navigator.locks && !globalThis.cookieStore`)
		s.pass(time.Second)
		a.do(`session.logout()`)
		for _, p := range []*tab{a, b} {
			p.soon(`session.state === 'ended'`)
			p.check(`times('ended') === 1 && last('ended').confirmed && last('ended').reason === 'expired'`)
		}
	})

	t.Run("case=110/storage", func(t *testing.T) {
		s := newSite(t, tenMinutes)
		h := how{Without: "BroadcastChannel cookieStore locks"}
		a := s.logIn(h)
		b := s.open(h)
		s.pass(time.Second)
		a.do(`session.logout()`)
		b.soon(`session.state === 'ended' && times('ended') === 1`)
	})

	t.Run("case=110/cookies", func(t *testing.T) {
		// A form logs out, in a window without the client.
		s := newSite(t, tenMinutes)
		a := s.logIn(how{})
		b := s.open(how{Bare: true})
		s.pass(time.Second)
		b.load(func() {
			b.do(`(() => {
				const form = document.createElement('form');
				form.method = 'post';
				form.action = '/session/logout';
				document.body.append(form);
				form.submit();
			})()`)
		})
		if at := b.text(`location.pathname`); at != "/login" {
			t.Errorf("the form leads to %s, want /login", at)
		}
		a.soon(`session.state === 'ended' && times('ended') === 1 && last('ended').confirmed`)
	})

	t.Run("case=110/check", func(t *testing.T) {
		s := newSite(t, tenMinutes)
		a := s.logIn(how{Without: alone})
		b := s.open(how{Bare: true})
		s.pass(time.Minute)
		b.do(`fetch('/session/logout', {method: 'POST'})`)
		s.pass(25 * time.Second)
		a.check(`session.state === 'ended' && times('ended') === 1`)
	})

	t.Run("again", func(t *testing.T) {
		// After the end somebody logs in, in one of the windows.
		s := newSite(t, tenMinutes)
		a := s.logIn(how{Dialog: "{}"})
		b := s.open(how{})
		s.pass(11 * time.Minute)
		a.check(`session.state === 'ended' && box.open`)
		b.visit(s.url + "/login")
		b.load(func() { b.click("#login") })
		b.begin(how{})
		a.wait(`session.state === 'live' && !box.open && session.remaining === 600_000`)
		a.check(`times('extended') === 1 && last('extended').again`)
	})

	t.Run("none", func(t *testing.T) {
		// A page that is there before anybody has logged in.
		s := newSite(t, tenMinutes)
		p := s.open(how{Shell: true, Dialog: "{}"})
		p.check(`session.state === 'none' && !told.length && !box.open`)
		s.pass(time.Minute)
		p.check(`session.state === 'none' && !told.length && !box.open`)
		other := s.logIn(how{})
		p.wait(`session.state === 'live' && session.remaining === 600_000`)
		other.do(`session.logout()`)
		p.soon(`session.state === 'ended' && times('ended') === 1`)
	})

	t.Run("end", func(t *testing.T) {
		// Both windows ask at the end. The one whose question came first takes the
		// cookie away, but is slow to say what it has heard.
		s := newSite(t, tenMinutes)
		slow := s.logIn(how{})
		quick := s.open(how{})
		quick.do(`clock.throttle(9_000)`)
		slow.do(`clock.hold('/session/status')`)
		s.pass(10 * time.Minute)
		quick.soon(`session.state === 'ended'`)
		slow.do(`clock.release()`)
		s.pass(time.Minute)
		for _, p := range []*tab{slow, quick} {
			p.check(`times('ended') === 1 && last('ended').reason === 'idle' && last('ended').confirmed`)
		}
	})

	t.Run("late", func(t *testing.T) {
		// An answer from before the end comes after the end is known.
		s := newSite(t, tenMinutes)
		a := s.logIn(how{})
		b := s.open(how{})
		s.pass(time.Minute)
		s.forget()
		b.do(`clock.hold('/session/status')`)
		b.do(`document.cookie = 'sessionExpiry=x; path=/; secure'`)
		s.await("GET /session/status", 1)
		s.session().Expire()
		a.check(`client.fetch('/api/touch').then((r) => r.critical)`)
		b.soon(`session.state === 'ended'`)
		b.do(`clock.release()`)
		s.pass(time.Minute)
		for _, p := range []*tab{a, b} {
			p.check(`session.state === 'ended' && !times('extended') && times('ended') === 1`)
		}
	})

	t.Run("case=125", func(t *testing.T) {
		// A browser that lacks or refuses whatever is not needed.
		s := newSite(t, tenMinutes)
		p := s.logIn(how{Without: alone + " sessionStorage locks EventSource", Watch: `{"stream": true}`, Dialog: `{}`})
		s.pass(9 * time.Minute)
		p.check(`session.state === 'warning' && box.open`)
		p.do(`session.extend()`)
		p.wait(`session.state === 'live' && !box.open`)
		s.forget()
		s.pass(3 * time.Minute)
		p.click("#letter")
		s.await("POST /session/keepalive", 1)
		s.pass(time.Second)
		if n := s.count("POST /session/keepalive"); n != 1 {
			t.Errorf("%d keep-alives for the input, want 1", n)
		}
		p.check(`session.remaining > 590_000`)
		s.pass(10 * time.Minute)
		p.check(`session.state === 'ended' && times('warning') === 2 && times('ended') === 1`)
	})

	t.Run("case=126", func(t *testing.T) {
		s := newSite(t, lapse.Policy{Idle: 10 * time.Minute, PollCap: 30 * time.Minute})
		p := s.logIn(how{})
		p.cover()
		s.forget()
		for i := range 4 {
			s.pass(7 * time.Minute)
			p.do(`client.fetch('/api/touch')`)
			if info, _ := s.session().Info(); info.Polls != i+1 {
				t.Fatalf("after request %d of a hidden window the run has %d polls: it was no poll", i+1, info.Polls)
			}
		}
		for _, h := range s.requests("GET /api/touch") {
			if h.activity != "poll" {
				t.Errorf("a hidden window's request was a %q, want poll", h.activity)
			}
		}
		// What asks for less stays less.
		p.do(`client.fetch('/api/touch', {headers: {'X-Session-Activity': 'peek'}})`)
		if info, _ := s.session().Info(); info.Polls != 4 {
			t.Errorf("a peek was counted as poll %d", info.Polls)
		}
		p.show()
		p.do(`client.fetch('/api/touch')`)
		if info, _ := s.session().Info(); info.Polls != 0 {
			t.Error("a visible window's request was no touch")
		}
	})

	t.Run("case=126/keep-alive", func(t *testing.T) {
		// Kept alive while open, and hidden: up to the cap, no longer.
		s := newSite(t, lapse.Policy{Idle: 10 * time.Minute, PollCap: 30 * time.Minute})
		p := s.logIn(how{Watch: `{"whileOpen": true}`})
		p.cover()
		s.pass(29 * time.Minute)
		p.check(`session.state !== 'ended'`)
		if info, _ := s.session().Info(); info.Polls < 4 || info.Polls > 6 {
			t.Errorf("%d polls in half an hour, want one each 5 minutes", info.Polls)
		}
		s.pass(10 * time.Minute)
		p.check(`session.state === 'ended' && last('ended').reason === 'poll cap'`)
	})
}

// Which window sends the keep-alives.
func TestLeader(t *testing.T) {
	// Where there are locks, and where there are none.
	for _, c := range []struct {
		name   string
		traits []trait
	}{
		{"locks", nil},
		{"election", []trait{plain}},
	} {
		t.Run("case=121/"+c.name, func(t *testing.T) {
			// A time-out of 4 s, so that a period is 1 s.
			s := newSite(t, lapse.Policy{Idle: 4 * time.Second}, c.traits...)
			tabs := []*tab{s.logIn(how{})}
			for range 4 {
				tabs = append(tabs, s.open(how{}))
			}
			for _, p := range tabs {
				p.do(`addEventListener('pointermove', () => { globalThis.moves = (globalThis.moves ?? 0) + 1; })`)
			}
			const seconds = 4
			s.pass(time.Second)
			s.forget()
			for range 4 * seconds {
				s.moveAll(tabs, 500/4)
				s.pass(time.Second / 4)
			}
			for _, p := range tabs {
				p.check(`moves >= 4`)
				p.check(`session.state !== 'ended'`)
			}
			if n := s.count("POST /session/keepalive") + s.count("GET /session/keepalive"); n < seconds-1 || n > seconds+1 {
				t.Errorf("%d keep-alives in %d periods, want at most one a period, for all windows together", n, seconds)
			}
		})

		t.Run("case=121/while open/"+c.name, func(t *testing.T) {
			s := newSite(t, tenMinutes, c.traits...)
			h := how{Watch: `{"whileOpen": true}`}
			s.logIn(h)
			s.open(h)
			s.open(h)
			s.pass(time.Second)
			s.forget()
			s.pass(30 * time.Minute)
			if n := s.count("POST /session/keepalive"); n != 5 && n != 6 {
				t.Errorf("%d keep-alives in half an hour, want one each 5 minutes, for all windows together", n)
			}
			s.leader().check(`session.state === 'live' && !told.some(([type]) => type !== 'extended')`)
		})

		t.Run("case=122/"+c.name, func(t *testing.T) {
			s := newSite(t, tenMinutes, c.traits...)
			s.logIn(how{})
			s.open(how{})
			s.open(how{})
			s.pass(10 * time.Second)
			for range 2 {
				leader := s.leader()
				s.forget()
				leader.shut()
				s.pass(3 * time.Second)
				leader = s.leader()
				s.pass(3 * time.Minute)
				// Input in a window that does not lead.
				for _, p := range s.present() {
					if p != leader || len(s.present()) == 1 {
						p.click("#letter")
					}
				}
				s.await("POST /session/keepalive", 1)
				if n := s.count("POST /session/keepalive"); n != 1 {
					t.Errorf("%d keep-alives, want 1", n)
				}
				leader.wait(`session.remaining === 600_000`)
			}
		})

		// It is put to sleep, as telephones do with hidden pages: altogether, or so
		// that it hears the others but sends nothing.
		for name, sleep := range map[string]func(*tab){"asleep": (*tab).halt, "frozen": (*tab).freeze} {
			t.Run("case=122/"+name+"/"+c.name, func(t *testing.T) {
				s := newSite(t, tenMinutes, c.traits...)
				leader := s.logIn(how{})
				s.pass(10 * time.Second)
				leader.cover()
				other := s.open(how{})
				s.pass(3 * time.Minute)
				leader.check(`session.leads`)
				sleep(leader)
				s.forget()
				other.click("#letter")
				s.pass(5 * time.Second)
				s.await("POST /session/keepalive", 1)
				other.wait(`session.remaining > 590_000`)
			})
		}

		t.Run("case=122/crash/"+c.name, func(t *testing.T) {
			// Its process dies, so that it cannot say good-bye.
			s := newSite(t, tenMinutes, c.traits...)
			s.logIn(how{})
			s.open(how{})
			s.pass(10 * time.Second)
			leader := s.leader()
			leader.crash()
			s.pass(3 * time.Second)
			s.leader()
		})
	}
}

// leader returns the one window that leads.
func (s *site) leader() (leader *tab) {
	s.t.Helper()
	present := s.present()
	present[0].until("one leader", func() bool {
		s.runAll()
		n := 0
		for _, p := range present {
			if p.is(`session.leads`) {
				leader = p
				n++
			}
		}
		return n == 1
	})
	return leader
}

// crash kills the process that shows the page.
func (p *tab) crash() {
	p.t.Helper()
	p.away = true
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	go chromedp.Call(ctx, page.Crash, cdp.Empty{}) // there is nobody left to answer
	p.until("the crash", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.crashed
	})
}

// freeze stops the page, which has to be hidden, in Chromium's own way.
func (p *tab) freeze() {
	p.t.Helper()
	p.away = true
	call(p, page.SetWebLifecycleState, page.SetWebLifecycleStateParams{State: page.SetWebLifecycleStateStateFrozen})
}

// halt stops the page altogether.
func (p *tab) halt() {
	p.t.Helper()
	p.away = true
	paused := chromedp.Events(p.ctx, debugger.Paused)
	call(p, debugger.Enable, debugger.EnableParams{})
	p.do(`void realTimeout(() => { debugger; })`)
	for _, err := range paused {
		if err != nil {
			p.t.Fatal(err)
		}
		break
	}
}
