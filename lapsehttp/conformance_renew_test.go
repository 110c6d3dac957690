package lapsehttp_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/lapse-go/lapse"
	"github.com/lapse-go/lapse/lapsehttp"
)

// newRenewingSite makes a site with a page that renews the id.
func newRenewingSite(t *testing.T, how setup) *site {
	t.Helper()
	s := newSite(t, how)
	s.handle("POST /renew", func(w http.ResponseWriter, r *http.Request) {
		if err := s.manager.Renew(w, r); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
		}
	})
	return s
}

func TestConformanceRenew(t *testing.T) {
	t.Run("case=163", func(t *testing.T) {
		s := newRenewingSite(t, setup{policy: lapse.Policy{Idle: 60 * sec}})
		b, session := s.login("Ada")
		old := b.id()
		a := b.post("/renew").want(http.StatusOK)
		c := a.cookie(s.idName)
		if c == nil || c.Value == old || c.Value != b.id() || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode {
			t.Fatalf("the new cookie of the id is %v", c)
		}
		s.wantLen(1)
		if b.session() != session {
			t.Fatal("the session is another one")
		}
		// Requests that were on their way still come through, and bring the new
		// id along, whatever kind they are.
		s.pass(9990 * ms)
		for _, path := range []string{"/free", "/page"} {
			late := s.with(old)
			a := late.get(path).want(http.StatusOK)
			a.wantBody("Ada")
			a.wantLive(s.now() + 60*sec)
			if late.id() != b.id() {
				t.Errorf("%s by the old id gives the id %q, want the new one", path, late.id())
			}
		}
		s.wantInfo(session, s.now(), 0)
		late := s.with(old)
		late.get("/session/keepalive").want(http.StatusNoContent)
		if late.id() != b.id() {
			t.Errorf("a keep-alive by the old id gives the id %q, want the new one", late.id())
		}
		s.wantInfo(session, s.now(), 1)
		late = s.with(old)
		late.get("/session/status").want(http.StatusOK).wantLive(s.now() + 60*sec)
		s.wantInfo(session, s.now(), 1)
		// The grace is over, whoever has used it.
		s.pass(20 * ms)
		a = s.with(old).get("/page").want(http.StatusUnauthorized)
		a.wantCleared()
		a.wantJSON(`{"success":false,"error":"SESSION_TIMEOUT"}`)
		b.get("/page").want(http.StatusOK).wantBody("Ada")
	})

	t.Run("case=163/grace", func(t *testing.T) {
		for grace, alive := range map[time.Duration]time.Duration{
			0: 9990 * ms, 3 * sec: 2990 * ms, 10 * time.Minute: 599 * sec, -1: -1, -time.Hour: -1,
		} {
			s := newRenewingSite(t, setup{http: lapsehttp.Options[string]{RenewGrace: grace}})
			b, _ := s.login("Ada")
			old := b.id()
			b.post("/renew").want(http.StatusOK)
			if alive >= 0 {
				s.with(old).get("/page").want(http.StatusOK)
				s.pass(alive)
				s.with(old).get("/page").want(http.StatusOK)
				s.pass(sec + 10*ms)
			}
			a := s.with(old).get("/page").want(http.StatusUnauthorized)
			if alive > 9*sec {
				a.wantCleared()
			} else {
				a.wantNoCookies() // or who renews would be logged out by late answers
				s.pass(10 * sec)
				s.with(old).get("/page").want(http.StatusUnauthorized).wantCleared()
			}
			b.get("/page").want(http.StatusOK)
		}
	})

	// Log-in gives no grace: whoever knew the id before must not be in after.
	t.Run("case=163/log-in", func(t *testing.T) {
		s := newRenewingSite(t, setup{engine: lapse.Options{Remember: 10}})
		member := s.class(lapse.Policy{Name: "member", Idle: 900 * sec})
		s.handle("POST /promote", func(w http.ResponseWriter, r *http.Request) {
			if err := s.manager.Promote(w, r, member, "Ada"); err != nil {
				t.Error(err)
			}
		})
		for _, path := range []string{"/login?user=Ada", "/promote"} {
			b, session := s.login("anonymous")
			first := b.id()
			b.post("/renew").want(http.StatusOK)
			old := b.id()
			b.post(path).want(http.StatusOK)
			for _, id := range []string{old, first} {
				s.with(id).get("/page").want(http.StatusUnauthorized).wantNoCookies()
				s.with(id).get("/session/status").want(http.StatusOK).wantNoCookies()
				s.with(id).get("/free").want(http.StatusOK).wantNoCookies()
			}
			s.pass(10 * sec)
			for _, id := range []string{old, first} {
				s.with(id).get("/page").want(http.StatusUnauthorized).wantCleared()
				s.with(id).get("/session/status").want(http.StatusOK).wantCleared()
				s.with(id).get("/free").want(http.StatusOK).wantCleared()
			}
			if session.Alive() || b.session() == session {
				t.Errorf("%s: the old session lives", path)
			}
			b.get("/page").want(http.StatusOK).wantBody("Ada")
		}
		s.wantLen(2)
	})

	// Each of several renewals starts its own grace, and all old ids lead to the
	// newest.
	t.Run("case=163/chain", func(t *testing.T) {
		s := newRenewingSite(t, setup{})
		b, session := s.login("Ada")
		ids := []string{b.id()}
		for range 4 {
			s.pass(3 * sec)
			b.post("/renew").want(http.StatusOK)
			ids = append(ids, b.id())
		}
		for i, id := range ids { // renewed at 3, 6, 9, 12 s, and it is 12 s
			late := s.with(id)
			late.get("/page").want(http.StatusOK)
			if late.id() != b.id() || late.session() != session {
				t.Errorf("id %d leads to %q", i, late.id())
			}
		}
		s.pass(2 * sec)
		for i, id := range ids {
			want := http.StatusOK
			if i == 0 {
				want = http.StatusUnauthorized
			}
			s.with(id).get("/page").want(want)
		}
		s.wantLen(1)
		// A renewal that comes late, by an old id, makes no other one.
		late := s.with(ids[3])
		late.post("/renew").want(http.StatusOK)
		if late.id() != b.id() {
			t.Errorf("a late renewal gives %q, want %q", late.id(), b.id())
		}
		b.get("/page").want(http.StatusOK)
	})

	// The grace is the id's, not the session's.
	t.Run("case=163/ended", func(t *testing.T) {
		for name, end := range map[string]func(*site, *browser, string){
			"log-out by the new id": func(s *site, b *browser, _ string) { b.post("/session/logout").want(http.StatusNoContent) },
			"log-out by the old id": func(s *site, _ *browser, old string) {
				s.with(old).post("/session/logout").want(http.StatusNoContent)
			},
			"everywhere": func(s *site, _ *browser, _ string) { s.manager.EndAll("Ada") },
			"idle":       func(s *site, _ *browser, _ string) { s.advance(5 * sec) },
			"unvisited":  func(s *site, _ *browser, _ string) { s.pass(5 * sec) },
		} {
			t.Run(name, func(t *testing.T) {
				s := newRenewingSite(t, setup{policy: lapse.Policy{Idle: 5 * sec}})
				b, session := s.login("Ada")
				old := b.id()
				b.post("/renew").want(http.StatusOK)
				fresh := b.id()
				end(s, b, old)
				for _, id := range []string{old, fresh} {
					s.with(id).get("/page").want(http.StatusUnauthorized)
					s.with(id).get("/session/keepalive").want(http.StatusUnauthorized)
				}
				// The browser has the new one by now.
				s.with(fresh).get("/page").wantCleared()
				s.with(old).get("/page").wantNoCookies()
				s.pass(10 * sec)
				s.with(old).get("/page").wantCleared()
				if session.Alive() {
					t.Error("the session lives")
				}
			})
		}
	})

	// It is the same session for all limits.
	t.Run("case=163/limits", func(t *testing.T) {
		s := newRenewingSite(t, setup{policy: lapse.Policy{Idle: 100 * sec, Lifetime: 300 * sec, PollMax: 3}, http: lapsehttp.Options[string]{
			Routes: lapsehttp.Routes{"/renew": lapsehttp.Poll},
		}})
		b, session := s.login("Ada")
		ended := 0
		session.NotifyOnExpire(func(testEvent) { ended++ })
		for n := range 3 {
			s.advance(10 * sec)
			old := b.id()
			b.post("/renew").want(http.StatusOK).wantLive(s.now() + 100*sec)
			if b.id() == old {
				t.Error("the id is the same")
			}
			s.wantInfo(session, s.now(), n+1)
		}
		for range 3 {
			s.advance(80 * sec)
			b.get("/page").want(http.StatusOK)
		}
		s.wantDeadline(session, 300*sec)
		s.advance(30 * sec)
		s.wantLen(0)
		if ended != 1 {
			t.Errorf("the hook has run %d times", ended)
		}
	})

	t.Run("case=163/errors", func(t *testing.T) {
		s := newRenewingSite(t, setup{})
		s.handle("POST /late", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			if err := s.manager.Renew(w, r); !errors.Is(err, lapsehttp.ErrWritten) {
				t.Errorf("Renew after the first byte: %v", err)
			}
			if _, err := s.manager.Start(w, r, "Eve"); !errors.Is(err, lapsehttp.ErrWritten) {
				t.Errorf("Start after the first byte: %v", err)
			}
		})
		b, session := s.login("Ada")
		id := b.id()
		b.post("/late").want(http.StatusOK)
		if b.id() != id || b.session() != session {
			t.Error("the session, or its id, has changed")
		}
		for _, b := range []*browser{s.browser(), s.with("nonsense")} {
			a := b.post("/renew").want(http.StatusConflict)
			if c := a.cookie(s.idName); c != nil && c.Value != "" {
				t.Errorf("an id is given out: %v", c)
			}
			b.post("/late").want(http.StatusOK)
		}
		s.wantLen(1)
		// Outside of a Handler it works all the same.
		r := httptest.NewRequest("POST", "/", nil)
		r.AddCookie(&http.Cookie{Name: s.idName, Value: id})
		w := httptest.NewRecorder()
		if err := s.manager.Renew(w, r); err != nil {
			t.Error(err)
		}
		a := &answer{t, s, 200, w.Result().Header, "", w.Result().Cookies()}
		if c := a.cookie(s.idName); c == nil || c.Value == id || len(c.Value) != 32 {
			t.Errorf("the new id is %v", c)
		}
		w = httptest.NewRecorder()
		if err := s.manager.Renew(w, httptest.NewRequest("POST", "/", nil)); !errors.Is(err, lapsehttp.ErrNoSession) {
			t.Errorf("Renew without a session: %v", err)
		}
	})

	t.Run("case=163/parallel", func(t *testing.T) {
		for _, grace := range []time.Duration{0, -1} {
			s := newRenewingSite(t, setup{http: lapsehttp.Options[string]{RenewGrace: grace}})
			for range 10 {
				b, session := s.login("Ada")
				old := b.id()
				// All have come in by the old id before any of them renews.
				const n = 20
				p := newPause()
				s.mux.Handle("POST /together/"+old, s.manager.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					p.wait(r)
					if err := s.manager.Renew(w, r); err != nil {
						t.Errorf("Renew: %v", err)
					}
				})))
				var results []func() *answer
				for range n {
					results = append(results, s.with(old).start("POST", "/together/"+old, nil))
				}
				for range n {
					receive(t, p.entered)
				}
				for range n {
					p.goOn()
				}
				key, fresh := "", 0
				for _, result := range results {
					c := result().want(http.StatusOK).cookie(s.idName)
					if c == nil {
						t.Fatal("a request that renewed gets no id")
					}
					if c.Value != key {
						key = c.Value
						fresh++
					}
				}
				if fresh != 1 || key == old {
					t.Errorf("grace %v: %d ids have been given out", grace, fresh)
				}
				if s.with(key).session() != session {
					t.Error("the new id is another session's")
				}
				session.Expire()
				s.wantLen(0)
			}
		}
	})
	// Nobody is thrown out because somebody else renews, while the grace lasts.
	t.Run("case=163/busy", func(t *testing.T) {
		s := newRenewingSite(t, setup{})
		b, session := s.login("Ada")
		for range 20 {
			id := b.id()
			var results []func() *answer
			for i := range 12 {
				path := []string{"/page", "/session/keepalive", "/renew"}[i%3]
				method := []string{"GET", "GET", "POST"}[i%3]
				results = append(results, s.with(id).start(method, path, nil))
			}
			newest := ""
			for i, result := range results {
				a := result()
				if a.status != http.StatusOK && a.status != http.StatusNoContent {
					t.Errorf("request %d: %d %s", i, a.status, a.body)
				}
				if c := a.cookie(s.idName); c != nil {
					if newest != "" && c.Value != newest {
						t.Errorf("request %d: another id than %q is given out: %q", i, newest, c.Value)
					}
					newest = c.Value
				}
			}
			b = s.with(newest)
			if b.session() != session {
				t.Fatal("the session is another one")
			}
			s.wantLen(1)
		}
	})
}
