package e2e

import (
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
)

// What a page does when it is refused, and what it leaves to the user.
func TestErrors(t *testing.T) {
	const twenty = `Promise.all(Array.from({length: 20}, () => client.fetch('/api/touch').then((r) => r.critical)))`

	t.Run("case=127", func(t *testing.T) {
		s := newSite(t, tenMinutes)
		p := s.logIn(how{})
		p.fill()
		at := p.text(`location.href`)
		s.pass(11 * time.Minute)
		p.check(`session.state === 'ended'`)
		p.filled(true)
		s.pass(time.Hour)
		p.filled(true)
		if now := p.text(`location.href`); now != at {
			t.Errorf("the page has gone from %s to %s by itself", at, now)
		}
		// Over the log-in in this tab.
		p.check(`!JSON.stringify(Object.values({...sessionStorage, ...localStorage})).includes('hunter2')`)
		p.load(func() {
			p.do(`location.assign(session.ended.login + '?next=' + encodeURIComponent(location.pathname + location.search))`)
		})
		p.load(func() { p.click("#login") })
		p.begin(how{})
		p.wait(`letter.value`)
		p.filled(false)
		p.check(`secret.value === ''`)
		// Once.
		p.load(func() { p.do(`location.reload()`) })
		p.begin(how{})
		p.check(`letter.value === '' && sessionStorage.length === 0`)
	})

	t.Run("case=127/redirect", func(t *testing.T) {
		// A page that wants to leave at the end keeps its drafts, too.
		s := newSite(t, tenMinutes)
		p := s.logIn(how{Watch: `{"redirect": true, "login": "/login?next=/page"}`})
		p.fill()
		s.shift(10*time.Minute, 0, 0)
		p.load(func() { p.do(`void client.fetch('/api/touch')`) })
		p.check(`location.pathname === '/login'`)
		p.load(func() { p.click("#login") })
		p.begin(how{})
		p.wait(`letter.value`)
		p.filled(false)
	})

	t.Run("case=131", func(t *testing.T) {
		s := newSite(t, tenMinutes)
		p := s.logIn(how{Dialog: "{}"})
		p.check(`client.critical({error: 'SESSION_TIMEOUT'}) && client.critical({error: 'NOT_LOGGED_IN'})`)
		p.check(`client.critical({error: 'NO_SUCH_FILE'}) === false && client.critical({error: false}) === false`)
		// Any other error is the page's to show: nobody else reads the answer.
		p.check(`client.fetch('/api/fail').then(async (r) => r.critical === false && r.status === 409 && (await r.json()).error === 'NO_SUCH_FILE')`)
		p.check(`!told.length && !box.open`)
		s.pass(time.Second)
		s.session().Expire()
		p.check(`client.fetch('/api/touch').then(async (r) => r.critical === true && r.status === 401 && (await r.json()).error === 'SESSION_TIMEOUT')`)
		p.check(`times('ended') === 1 && last('ended').error === 'SESSION_TIMEOUT' && last('ended').reason === 'expired' && last('ended').confirmed`)
		p.check(`box.open && new URL(box.querySelector('a').href).pathname === '/login'`)
	})

	t.Run("case=131/not logged in", func(t *testing.T) {
		// The cookies are gone, as after a log-out that wiped them.
		s := newSite(t, tenMinutes)
		p := s.logIn(how{Without: "cookieStore"})
		s.pass(time.Second)
		call(p, network.ClearBrowserCookies, cdp.Empty{})
		p.check(`client.fetch('/api/touch').then(async (r) => r.critical === true && (await r.json()).error === 'NOT_LOGGED_IN')`)
		p.check(`times('ended') === 1 && last('ended').error === 'NOT_LOGGED_IN'`)
	})

	t.Run("case=131/redirect", func(t *testing.T) {
		s := newSite(t, tenMinutes)
		p := s.logIn(how{Watch: `{"redirect": true}`})
		p.check(`client.fetch('/api/fail').then((r) => r.critical === false)`)
		s.pass(time.Second)
		s.session().Expire()
		p.load(func() { p.do(`void client.fetch('/api/touch')`) })
		p.check(`location.pathname === '/login'`)
	})

	t.Run("case=132", func(t *testing.T) {
		s := newSite(t, tenMinutes)
		p := s.logIn(how{Dialog: "{}"})
		other := s.open(how{})
		s.pass(time.Second)
		s.session().Expire()
		p.check(twenty + `.then((all) => all.length === 20 && all.every((critical) => critical))`)
		p.check(`times('ended') === 1 && document.querySelectorAll('dialog[open]').length === 1`)
		other.wait(`times('ended') === 1`)
		other.do(twenty)
		s.pass(time.Minute)
		other.check(`times('ended') === 1`)
		p.check(`times('ended') === 1`)
	})

	t.Run("case=132/redirect", func(t *testing.T) {
		s := newSite(t, tenMinutes)
		p := s.logIn(how{Watch: `{"redirect": true}`})
		s.pass(time.Second)
		s.session().Expire()
		s.forget()
		p.do(`navigation.addEventListener('navigate', () => { sessionStorage.navigations = 1 + Number(sessionStorage.navigations ?? 0); })`)
		p.load(func() { p.do(`void ` + twenty) })
		p.check(`location.pathname === '/login' && sessionStorage.navigations === '1'`)
		if n := s.count("GET /login"); n != 1 {
			t.Errorf("the page went to the log-in %d times, want once", n)
		}
		// Once, in its history, too: one step back is the page itself, which the
		// server does not show any more.
		p.back()
		p.check(`location.pathname === '/login' && history.length <= 4`)
	})
}

// The back button after the end.
func TestBack(t *testing.T) {
	const private = `document.body.textContent.includes('for Ada alone')`
	ends := map[string]func(s *site, p *tab){
		"idle":    func(s *site, _ *tab) { s.pass(11 * time.Minute) },
		"log-out": func(_ *site, p *tab) { p.do(`session.logout()`) },
		"asleep":  func(s *site, _ *tab) { s.sleep(time.Hour, true) },
		"by a form": func(_ *site, p *tab) {
			p.load(func() {
				p.do(`(() => {
					form.action = '/session/logout';
					form.submit();
				})()`)
			})
		},
	}
	for name, end := range ends {
		t.Run("case=137/"+name, func(t *testing.T) {
			s := newSite(t, tenMinutes)
			p := s.logIn(how{})
			p.check(private)
			end(s, p)
			p.visit(how{Shell: true, Bare: true}.url(s))
			p.back()
			p.check(`!(` + private + `) && location.pathname === '/login'`)
		})
		t.Run("case=137/elsewhere/"+name, func(t *testing.T) {
			// The session ends while the browser shows another page.
			s := newSite(t, tenMinutes)
			p := s.logIn(how{})
			other := s.open(how{})
			p.visit(how{Shell: true, Bare: true}.url(s))
			end(s, other)
			p.back()
			p.check(`!(` + private + `) && location.pathname === '/login'`)
		})
	}
}

// fill fills in the page's form, as a user does.
func (p *tab) fill() {
	p.t.Helper()
	for selector, text := range map[string]string{"#letter": "Dear Bob, all is well.", "#topic": "News", "#secret": "hunter2"} {
		p.click(selector)
		p.press(text)
	}
	p.click("#news")
	p.filled(true)
}

// filled checks that the form is as fill left it, but for the password.
func (p *tab) filled(secret bool) {
	p.t.Helper()
	p.check(`letter.value === 'Dear Bob, all is well.' && topic.value === 'News' && news.checked`)
	if secret {
		p.check(`secret.value === 'hunter2'`)
	}
}
