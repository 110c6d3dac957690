package lapsehttp_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/lapse-go/lapse"
	"github.com/lapse-go/lapse/lapsehttp"
)

func TestConformanceLogout(t *testing.T) {
	t.Run("case=138", func(t *testing.T) {
		for _, how := range []setup{{}, {tls: true}, {http2: true}} {
			how.policy = lapse.Policy{Idle: 60 * sec}
			how.engine.Remember = 10
			how.http.LoginURL = "/login"
			s := newSite(t, how)
			wipe := func(a *answer, want bool) {
				t.Helper()
				got := a.header.Values("Clear-Site-Data")
				if want && (len(got) != 1 || got[0] != `"cookies", "storage"`) || !want && len(got) > 0 {
					t.Errorf("TLS %t: Clear-Site-Data is %q", s.secure, got)
				}
			}
			// The session is gone before its handler goes on, and before the
			// browser has heard of anything.
			var order []string
			s.handle("POST /out", func(w http.ResponseWriter, r *http.Request) {
				session, _ := lapsehttp.FromContext[string](r.Context())
				session.NotifyOnExpire(func(ev testEvent) {
					order = append(order, "ended: "+ev.Reason.String())
					if len(w.Header()["Set-Cookie"]) > 0 {
						t.Error("the cookie is cleared before the session has ended")
					}
				})
				s.manager.End(w, r)
				order = append(order, "returned")
				if session.Alive() {
					t.Error("the session outlives End")
				}
				if session, ok := lapsehttp.FromContext[string](r.Context()); ok || session.Alive() {
					t.Error("the request still has a session")
				}
				s.manager.End(w, r) // twice does no harm
				s.manager.Require(http.HandlerFunc(whose)).ServeHTTP(w, r)
			})
			b, session := s.login("Ada")
			id := b.id()
			a := b.post("/out").want(http.StatusUnauthorized)
			a.wantCleared()
			a.wantOver()
			wipe(a, s.secure)
			if got := strings.Join(order, ", "); got != "ended: expired, returned" {
				t.Errorf("the order is %s", got)
			}
			if b.id() != "" || session.Alive() {
				t.Error("the browser has an id, or the session lives")
			}
			s.wantLen(0)
			// A copy of the cookie is worth nothing.
			s.with(id).get("/page").want(http.StatusUnauthorized)

			// The endpoint does the same, and says so in each caller's way.
			b, session = s.login("Ada")
			a = b.post("/session/logout").want(http.StatusNoContent)
			a.wantBody("")
			a.wantCleared()
			a.wantOver()
			wipe(a, s.secure)
			if session.Alive() {
				t.Error("the session lives")
			}
			// Again, with and without the dead id.
			b.post("/session/logout").want(http.StatusNoContent)
			s.with(id).post("/session/logout").want(http.StatusNoContent).wantCleared()
			b, session = s.login("Ada")
			a = b.navigate("POST", "/session/logout").want(http.StatusSeeOther)
			a.wantHeader("Location", "/login")
			a.wantCleared()
			wipe(a, s.secure)
			if session.Alive() {
				t.Error("the session lives")
			}

			// The end by the clock clears no more than the id.
			b, _ = s.login("Ada")
			id = b.id()
			wipe(b.get("/page").want(http.StatusOK), false)
			s.advance(60 * sec)
			for _, path := range []string{"/page", "/free", "/session/status", "/session/keepalive"} {
				a := s.with(id).get(path)
				a.wantCleared()
				wipe(a, false)
				wipe(s.with(id).navigate("GET", path), false)
			}
			// Nor does a log-in, or the end from elsewhere.
			b, _ = s.login("Ada")
			wipe(b.post("/login?user=Eve").want(http.StatusOK), false)
			s.manager.EndAll("Eve")
			wipe(b.get("/page").want(http.StatusUnauthorized), false)
		}
	})
	t.Run("case=138/nowhere", func(t *testing.T) {
		s := newSite(t, setup{})
		s.browser().navigate("POST", "/session/logout").want(http.StatusSeeOther).wantHeader("Location", "/")
	})
	// A log-out that comes too late for cookies ends the session nevertheless.
	t.Run("case=138/late", func(t *testing.T) {
		s := newSite(t, setup{})
		s.handle("POST /out", func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			s.manager.End(w, r)
		})
		b, session := s.login("Ada")
		b.post("/out").want(http.StatusOK)
		if session.Alive() {
			t.Error("the session lives")
		}
		if text := s.wantLog(1); strings.Contains(text, b.id()) {
			t.Errorf("the id is in the log: %s", text)
		}
		b.get("/page").want(http.StatusUnauthorized).wantCleared()
	})
	// Log-out and any other request of the same session at once.
	t.Run("case=138/races", func(t *testing.T) {
		s := newSite(t, setup{http: lapsehttp.Options[string]{Routes: lapsehttp.Routes{"/score": lapsehttp.Poll}}})
		s.mux.Handle("/score", s.manager.Require(http.HandlerFunc(whose)))
		for range 20 {
			b, session := s.login("Ada")
			id := b.id()
			var results []func() *answer
			for _, path := range []string{"/page", "/score", "/session/keepalive", "/session/status", "/page", "/free"} {
				results = append(results, s.with(id).start("GET", path, nil))
			}
			for range 3 {
				results = append(results, s.with(id).start("POST", "/session/logout", nil))
			}
			for _, result := range results {
				a := result()
				if a.status != http.StatusOK && a.status != http.StatusNoContent && a.status != http.StatusUnauthorized {
					t.Errorf("status %d: %s", a.status, a.body)
				}
				if c := a.cookie(s.idName); c != nil && c.Value != "" {
					t.Errorf("an id is given out: %v", c)
				}
			}
			if session.Alive() {
				t.Error("the session lives")
			}
			s.wantLen(0)
		}
	})
}

// A page of another site must not log anybody out.
func TestConformanceCrossSite(t *testing.T) {
	s := newSite(t, setup{http: lapsehttp.Options[string]{LoginURL: "/login"}})
	host := strings.TrimPrefix(s.srv.URL, "http://")
	for _, c := range []struct {
		name   string
		ok     bool
		header []string
	}{
		{"cross-site", false, []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}},
		{"cross-site without origin", false, []string{"Sec-Fetch-Site", "cross-site"}},
		{"cross-site with our origin", false, []string{"Sec-Fetch-Site", "cross-site", "Origin", s.srv.URL}},
		{"same-site", false, []string{"Sec-Fetch-Site", "same-site", "Origin", "http://sub." + host}},
		{"unknown", false, []string{"Sec-Fetch-Site", "mystery"}},
		{"upper case", false, []string{"Sec-Fetch-Site", "CROSS-SITE"}},
		{"old, other origin", false, []string{"Origin", "https://evil.example"}},
		{"old, opaque origin", false, []string{"Origin", "null"}},
		{"old, other port", false, []string{"Origin", "http://127.0.0.1:1"}},
		{"old, begins like ours", false, []string{"Origin", "http://" + host + ".evil.example"}},
		{"old, ends like ours", false, []string{"Origin", "http://evil" + host}},
		{"old, user", false, []string{"Origin", "http://" + host + "@evil.example"}},
		{"old, nonsense", false, []string{"Origin", "://%zz"}},
		{"same-origin", true, []string{"Sec-Fetch-Site", "same-origin", "Origin", s.srv.URL}},
		{"same-origin without referrer", true, []string{"Sec-Fetch-Site", "same-origin", "Origin", "null"}},
		{"typed", true, []string{"Sec-Fetch-Site", "none"}},
		{"old, our origin", true, []string{"Origin", s.srv.URL}},
		{"a tool", true, nil},
	} {
		for _, navigation := range []bool{false, true} {
			b, session := s.login("Ada")
			id := b.id()
			header, done := c.header, http.StatusNoContent
			if navigation {
				header = append([]string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, header...)
				done = http.StatusSeeOther
			}
			s.advance(sec)
			a := b.post("/session/logout", header...)
			if c.ok {
				a.want(done).wantCleared()
				if session.Alive() {
					t.Errorf("%s: the session lives", c.name)
				}
				continue
			}
			a.want(http.StatusForbidden)
			if !session.Alive() || b.id() != id || a.header.Get("Clear-Site-Data") != "" {
				t.Errorf("%s: alive %t, the id is %q, %v", c.name, session.Alive(), b.id(), a.header)
			}
			s.wantInfo(session, s.now()-sec, 0) // not even an activity
			session.Expire()
		}
	}
	// Nor by a link, an image or a form that is sent by GET.
	b, session := s.login("Ada")
	b.get("/session/logout").want(http.StatusMethodNotAllowed)
	b.navigate("GET", "/session/logout").want(http.StatusMethodNotAllowed)
	if !session.Alive() || b.id() == "" {
		t.Error("GET has ended the session")
	}
}
