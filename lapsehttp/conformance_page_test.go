package lapsehttp_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lapse-go/lapse"
	"github.com/lapse-go/lapse/lapsehttp"
)

// responses are handlers that answer in every way there is.
var responses = []struct {
	name   string
	status int
	body   string
	serve  http.HandlerFunc
}{
	{"nothing", http.StatusOK, "", func(http.ResponseWriter, *http.Request) {}},
	{"status", http.StatusAccepted, "", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusAccepted) }},
	{"no content", http.StatusNoContent, "", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) }},
	{"write", http.StatusOK, "hello", func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("hello")) }},
	{"string", http.StatusOK, "hello", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") }},
	{"read from", http.StatusOK, "hello", func(w http.ResponseWriter, r *http.Request) {
		w.(io.ReaderFrom).ReadFrom(strings.NewReader("hello"))
	}},
	{"copy", http.StatusOK, "hello", func(w http.ResponseWriter, r *http.Request) {
		io.Copy(w, io.LimitReader(strings.NewReader("hello"), 9))
	}},
	{"much", http.StatusOK, strings.Repeat("0123456789", 10_000), func(w http.ResponseWriter, r *http.Request) {
		for range 10_000 {
			io.WriteString(w, "0123456789")
		}
	}},
	{"flush", http.StatusOK, "hello", func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		io.WriteString(w, "hello")
	}},
	{"controlled flush", http.StatusOK, "hello", func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).Flush(); err != nil {
			panic(err)
		}
		io.WriteString(w, "hello")
	}},
	{"early hints", http.StatusOK, "hello", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		io.WriteString(w, "hello")
	}},
	{"twice", http.StatusTeapot, "", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTeapot) }},
	{"redirect", http.StatusFound, "", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/page", http.StatusFound) }},
	{"error", http.StatusInternalServerError, "sorry\n", func(w http.ResponseWriter, r *http.Request) { http.Error(w, "sorry", http.StatusInternalServerError) }},
	{"forbidden", http.StatusForbidden, "no\n", func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusForbidden) }},
	{"not found", http.StatusNotFound, "404 page not found\n", http.NotFound},
	{"not modified", http.StatusNotModified, "", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNotModified) }},
	{"content", http.StatusOK, "hello", func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "a.txt", epoch, bytes.NewReader([]byte("hello")))
	}},
	{"own cookies", http.StatusOK, "", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "theme", Value: "dark"})
	}},
	{"public", http.StatusOK, "", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=3600")
		w.Header().Set("Vary", "Accept-Encoding")
	}},
	{"cleared headers", http.StatusOK, "", func(w http.ResponseWriter, r *http.Request) { clear(w.Header()) }},
}

func TestConformancePage(t *testing.T) {
	t.Run("case=100", func(t *testing.T) {
		for _, how := range []setup{{}, {tls: true}, {http2: true}} {
			how.policy = lapse.Policy{Idle: 600 * sec}
			s := newSite(t, how)
			for i, res := range responses {
				s.handle(fmt.Sprintf("/response/%d", i), res.serve)
			}
			b, _ := s.login("Ada")
			for i, res := range responses {
				s.advance(sec)
				a := b.get(fmt.Sprintf("/response/%d", i))
				t.Run(fmt.Sprintf("http2=%t/%s", how.http2, res.name), func(t *testing.T) {
					a.t = t
					a.want(res.status)
					a.wantLive(s.now() + 600*sec)
					if res.body != "" {
						a.wantBody(res.body)
					}
					switch res.name {
					case "own cookies":
						if c := a.cookie("theme"); c == nil || c.Value != "dark" {
							t.Errorf("the page's own cookie is lost: %v", a.cookies)
						}
					case "public":
						if !lists(a.header, "Vary", "Accept-Encoding") || lists(a.header, "Cache-Control", "public") {
							t.Errorf("Vary %q, Cache-Control %q", a.header["Vary"], a.header["Cache-Control"])
						}
					}
				})
			}
			for _, method := range []string{"POST", "HEAD", "PUT", "DELETE", "OPTIONS"} {
				s.advance(sec)
				ends := s.now() + 600*sec
				if method == "OPTIONS" {
					ends -= sec // browsers send it by themselves: no touch
				}
				b.send(method, "/free", nil).want(http.StatusOK).wantLive(ends)
			}
			b.get("/nothing").want(http.StatusNotFound).wantLive(s.now() + 600*sec)
			b.get("/session/status").want(http.StatusOK).wantLive(s.now() + 600*sec)
			b.get("/session/keepalive").want(http.StatusNoContent).wantLive(s.now() + 600*sec)
			b.post("/login?user=Eve").want(http.StatusOK).wantLive(s.now() + 600*sec)
		}
	})

	t.Run("case=101", func(t *testing.T) {
		s := newSite(t, setup{policy: lapse.Policy{Idle: 600 * sec}})
		a := s.browser().post("/login?user=Ada").want(http.StatusOK)
		if now, end := a.cookie("serverTime"), a.cookie("sessionExpiry"); now.Value != "1700000000000" || end.Value != "1700000600000" {
			t.Errorf("serverTime %s, sessionExpiry %s", now.Value, end.Value)
		}
		a.wantHeader("X-Session-Expires-In", "600000")
	})

	t.Run("case=102", func(t *testing.T) {
		s := newSite(t, setup{
			policy: lapse.Policy{Idle: 600 * sec},
			http:   lapsehttp.Options[string]{LoginURL: "/login", Routes: lapsehttp.Routes{"/score": lapsehttp.Poll}},
		})
		s.handle("/out", s.manager.End)
		for _, out := range []func(*browser) *answer{
			func(b *browser) *answer { return b.post("/session/logout") },
			func(b *browser) *answer { return b.navigate("POST", "/session/logout") },
			func(b *browser) *answer { return b.get("/out") },
			func(b *browser) *answer { s.advance(600 * sec); return b.get("/page") },
			func(b *browser) *answer { s.advance(600 * sec); return b.navigate("GET", "/page") },
			func(b *browser) *answer { s.advance(600 * sec); return b.get("/score") },
			func(b *browser) *answer { s.advance(600 * sec); return b.get("/free") },
			func(b *browser) *answer { s.advance(600 * sec); return b.get("/session/status") },
			func(b *browser) *answer { s.advance(600 * sec); return b.get("/session/keepalive") },
			func(b *browser) *answer { s.advance(600 * sec); return b.get("/session/events") },
			func(b *browser) *answer { s.advance(600 * sec); return b.post("/session/logout") },
		} {
			b, session := s.login("Ada")
			s.advance(sec)
			a := out(b)
			a.wantOver()
			a.wantCleared()
			if session.Alive() || b.id() != "" {
				t.Errorf("the session lives, or the browser has the id %q still", b.id())
			}
		}
		// Whoever has no id hears nothing of it.
		for _, path := range []string{"/page", "/free", "/session/status", "/session/keepalive"} {
			if a := s.browser().get(path); len(a.cookies) != 0 {
				t.Errorf("%s without an id sets %v", path, a.cookies)
			}
		}
	})

	t.Run("case=114", func(t *testing.T) {
		s := newSite(t, setup{tls: true, policy: lapse.Policy{Idle: 600 * sec}})
		b := s.browser()
		a := b.post("/login?user=Ada").want(http.StatusOK)
		c := a.cookie("__Host-session")
		if c == nil || !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" {
			t.Fatalf("the cookie of the id is %v", c)
		}
		id := c.Value
		for _, a := range []*answer{a, b.get("/page"), b.get("/session/status"), b.get("/session/keepalive"), b.post("/session/logout")} {
			for _, name := range []string{"serverTime", "sessionExpiry"} {
				a.millis(name) // nothing but a number, not HttpOnly, Secure, Lax
			}
			for _, c := range a.cookies {
				if c.Name != s.idName && strings.Contains(c.Raw, id) {
					t.Errorf("the id is in %s", c.Raw)
				}
			}
			if strings.Contains(a.body, id) {
				t.Errorf("the id is in the body %s", a.body)
			}
		}
		if len(a.cookies) != 3 {
			t.Errorf("the cookies are %v", a.cookies)
		}
		// For development, on plain HTTP, without Secure.
		s = newSite(t, setup{})
		a = s.browser().post("/login?user=Ada").want(http.StatusOK)
		if c := a.cookie("session"); c == nil || !c.HttpOnly || c.Secure || c.SameSite != http.SameSiteLaxMode {
			t.Errorf("the cookie of the id is %v", c)
		}
		a.millis("serverTime")
	})
	// A template cannot take away what keeps the id safe, and what no browser
	// would accept is an error.
	t.Run("case=114/template", func(t *testing.T) {
		s := newSite(t, setup{tls: true, http: lapsehttp.Options[string]{
			Cookie: http.Cookie{Name: "sid", Path: "/app", SameSite: http.SameSiteStrictMode},
		}})
		c := s.browser().post("/login?user=Ada").want(http.StatusOK).cookie("sid")
		if c == nil || !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteStrictMode || c.Path != "/app" {
			t.Errorf("the cookie of the id is %v", c)
		}
		for _, o := range []lapsehttp.Options[string]{
			{Cookie: http.Cookie{Name: "a b"}},
			{Cookie: http.Cookie{Name: "a=b"}},
			{Cookie: http.Cookie{Name: "a;b"}},
			{Cookie: http.Cookie{Name: "serverTime"}},
			{Cookie: http.Cookie{Name: "sessionExpiry"}},
			{Cookie: http.Cookie{Name: "__Host-sid", Path: "/app"}},
			{Cookie: http.Cookie{Name: "__Host-sid", Domain: "example.com"}},
			{Cookie: http.Cookie{Name: "__Host-sid"}, Insecure: true},
			{Cookie: http.Cookie{Name: "__Secure-sid"}, Insecure: true},
			{Cookie: http.Cookie{SameSite: http.SameSiteNoneMode}, Insecure: true},
			{Cookie: http.Cookie{Value: "x"}},
			{Cookie: http.Cookie{MaxAge: -1}},
			{Cookie: http.Cookie{Path: "/a;b"}},
			{Cookie: http.Cookie{Name: "sid", Domain: "no domain"}},
		} {
			if _, err := lapsehttp.New(s.engine, o); err == nil || !strings.Contains(err.Error(), "Cookie") {
				t.Errorf("%+v: %v", o.Cookie, err)
			}
		}
	})

	t.Run("case=115", func(t *testing.T) {
		s := newSite(t, setup{policy: lapse.Policy{Idle: 60 * sec}})
		b, session := s.login("Ada")
		forge := func() {
			year := s.mock.Now().Add(365 * 24 * time.Hour).UnixMilli()
			b.set("sessionExpiry", fmt.Sprint(year))
			b.set("serverTime", fmt.Sprint(year))
		}
		forge()
		b.get("/session/status", "X-Session-Expires-In", "31536000000").want(http.StatusOK).wantLive(60 * sec)
		s.wantDeadline(session, 60*sec)
		forge()
		s.advance(60 * sec)
		b.get("/page", "X-Session-Expires-In", "31536000000").want(http.StatusUnauthorized).wantOver()
		s.wantLen(0)
	})

	t.Run("case=116", func(t *testing.T) {
		for _, c := range []struct {
			policy lapse.Policy
			ends   time.Duration // after a touch at 0 s, a poll at 30 s and one at 50 s
			limit  string
		}{
			{lapse.Policy{Idle: 60 * sec, PollCap: 900 * sec, Lifetime: 900 * sec}, 110 * sec, "idle"},
			{lapse.Policy{Idle: 60 * sec, PollCap: 75 * sec, Lifetime: 900 * sec}, 105 * sec, "poll cap"},
			{lapse.Policy{Idle: 60 * sec, PollCap: 75 * sec, Lifetime: 80 * sec}, 80 * sec, "lifetime"},
			{lapse.Policy{Lifetime: 800 * sec}, 800 * sec, "lifetime"},
			{lapse.Policy{PollCap: 100 * sec}, 130 * sec, "poll cap"},
			{lapse.Policy{Idle: 60 * sec, PollCap: 80 * sec}, 110 * sec, "poll cap"}, // a tie
		} {
			s := newSite(t, setup{policy: c.policy})
			b, session := s.login("Ada")
			s.advance(30 * sec)
			b.get("/session/keepalive").want(http.StatusNoContent)
			s.advance(20 * sec)
			b.get("/session/keepalive").want(http.StatusNoContent).wantLive(c.ends)
			a := b.get("/session/status").want(http.StatusOK)
			a.wantLive(c.ends)
			if limit := a.object()["limit"]; limit != c.limit {
				t.Errorf("%+v: the limit is %v, want %q", c.policy, limit, c.limit)
			}
			s.wantDeadline(session, c.ends)
		}
	})
	// Without a limit there is nothing to say: the page asks.
	t.Run("case=116/none", func(t *testing.T) {
		s := newSite(t, setup{policy: lapse.Policy{Name: "endless"}})
		b, _ := s.login("Ada")
		a := b.get("/page").want(http.StatusOK)
		if c := a.cookie("sessionExpiry"); c == nil || c.Value != "" || c.MaxAge >= 0 {
			t.Errorf("the cookie sessionExpiry is not cleared: %v", c)
		}
		a.millis("serverTime")
		a.wantUncached()
		if v := a.header.Values("X-Session-Expires-In"); len(v) != 0 {
			t.Errorf("X-Session-Expires-In is %q without a limit", v)
		}
	})
}

func TestConformanceCaching(t *testing.T) {
	t.Run("case=137", func(t *testing.T) {
		s := newSite(t, setup{policy: lapse.Policy{Idle: 60 * sec}, http: lapsehttp.Options[string]{LoginURL: "/login"}})
		// A page that would rather be kept.
		s.handle("/kept", func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Set("Cache-Control", "public, max-age=600, immutable")
			h.Add("Vary", "Accept-Encoding")
			h.Add("Vary", "Origin")
			h.Set("Expires", "Thu, 01 Jan 2099 00:00:00 GMT")
			whose(w, r)
		})
		s.mux.Handle("/refused", s.manager.Require(s.mux))
		b, _ := s.login("Ada")
		a := b.get("/kept").want(http.StatusOK)
		a.wantUncached()
		if lists(a.header, "Cache-Control", "public") || lists(a.header, "Cache-Control", "max-age=600") {
			t.Errorf("Cache-Control is %q", a.header["Cache-Control"])
		}
		for _, token := range []string{"Accept-Encoding", "Origin"} {
			if !lists(a.header, "Vary", token) {
				t.Errorf("Vary has lost %s: %q", token, a.header["Vary"])
			}
		}
		b.post("/login?user=Eve").want(http.StatusOK).wantUncached()
		b.post("/session/logout").want(http.StatusNoContent).wantUncached()
		// Whoever has no session is refused, and that is not kept either.
		for _, b := range []*browser{s.browser(), s.with("nonsense")} {
			b.get("/refused").want(http.StatusUnauthorized).wantUncached()
			b.send("HEAD", "/refused", nil).want(http.StatusUnauthorized).wantUncached()
			b.send("OPTIONS", "/refused", nil).want(http.StatusUnauthorized).wantUncached()
			b.navigate("GET", "/refused").want(http.StatusSeeOther).wantUncached()
			b.get("/session/keepalive").want(http.StatusUnauthorized).wantUncached()
			b.get("/session/status").want(http.StatusOK).wantUncached()
			b.get("/session/events").want(http.StatusNoContent).wantUncached()
		}
		// A page for everybody, asked for by nobody in particular, can be kept.
		a = s.browser().get("/kept").want(http.StatusOK)
		a.wantHeader("Cache-Control", "public, max-age=600, immutable")
		if !lists(a.header, "Vary", "Cookie") || !lists(a.header, "Vary", "Accept-Encoding") {
			t.Errorf("Vary is %q", a.header["Vary"])
		}
	})
	// The back button after the end: the browser has kept nothing, asks again,
	// and is refused.
	t.Run("case=137/back", func(t *testing.T) {
		s := newSite(t, setup{policy: lapse.Policy{Idle: 60 * sec}, http: lapsehttp.Options[string]{LoginURL: "/login"}})
		s.mux.Handle("/private", s.manager.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "private.html", epoch, strings.NewReader("secret"))
		})))
		b, _ := s.login("Ada")
		a := b.navigate("GET", "/private").want(http.StatusOK)
		a.wantBody("secret")
		a.wantUncached()
		s.advance(60 * sec)
		// Not even "it has not changed".
		a = b.navigate("GET", "/private", "If-Modified-Since", a.header.Get("Last-Modified")).want(http.StatusSeeOther)
		if strings.Contains(a.body, "secret") {
			t.Errorf("the body is %s", a.body)
		}
		a.wantUncached()
	})
	t.Run("case=137/custom", func(t *testing.T) {
		var end lapse.Ending
		s := newSite(t, setup{
			policy: lapse.Policy{Idle: 60 * sec},
			engine: lapse.Options{Remember: 5},
			http: lapsehttp.Options[string]{Refuse: func(w http.ResponseWriter, r *http.Request, e lapse.Ending) {
				end = e
				http.Error(w, "out", http.StatusUnauthorized)
			}},
		})
		b, _ := s.login("Ada")
		s.advance(60 * sec)
		a := b.get("/page").want(http.StatusUnauthorized)
		a.wantBody("out\n")
		a.wantOver()
		a.wantCleared()
		if want := (lapse.Ending{Reason: lapse.ReasonIdle, At: epoch.Add(60 * sec)}); end.Reason != want.Reason || !end.At.Equal(want.At) {
			t.Errorf("Refuse was told %+v, want %+v", end, want)
		}
		end = lapse.Ending{Reason: lapse.ReasonShutdown}
		s.browser().get("/page").want(http.StatusUnauthorized).wantUncached()
		if end != (lapse.Ending{}) {
			t.Errorf("Refuse was told %+v of nobody", end)
		}
	})
}
