package lapsehttp_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/lapse-go/lapse"
	"github.com/lapse-go/lapse/lapsehttp"
)

func TestConformanceAnswers(t *testing.T) {
	t.Run("case=128", func(t *testing.T) {
		s := newSite(t, setup{})
		s.handle("/save", func(w http.ResponseWriter, r *http.Request) {
			if err := lapsehttp.Success(w, "saved"); err != nil {
				t.Error(err)
			}
		})
		s.handle("/fail", func(w http.ResponseWriter, r *http.Request) {
			if err := lapsehttp.Failure(w, http.StatusConflict, "TAKEN <&>"); err != nil {
				t.Error(err)
			}
		})
		s.handle("/data", func(w http.ResponseWriter, r *http.Request) {
			if err := lapsehttp.Success(w, map[string]any{"n": 1, "list": []int{1, 2}}); err != nil {
				t.Error(err)
			}
		})
		b, _ := s.login("Ada")
		for _, b := range []*browser{b, s.browser()} {
			b.get("/save").want(http.StatusOK).wantJSON(`{"success":"saved","error":false}`)
			b.get("/data").want(http.StatusOK).wantJSON(`{"success":{"n":1,"list":[1,2]},"error":false}`)
			b.get("/fail").want(http.StatusConflict).wantJSON(`{"success":false,"error":"TAKEN <&>"}`)
		}
		b.get("/save").wantLive(900 * sec)
		// What cannot be told is an error before anything is written.
		for name, f := range map[string]func(http.ResponseWriter) error{
			"channel":   func(w http.ResponseWriter) error { return lapsehttp.Success(w, make(chan int)) },
			"function":  func(w http.ResponseWriter) error { return lapsehttp.Success(w, func() {}) },
			"no code":   func(w http.ResponseWriter) error { return lapsehttp.Failure(w, 400, "") },
			"status 0":  func(w http.ResponseWriter) error { return lapsehttp.Failure(w, 0, "X") },
			"status -1": func(w http.ResponseWriter) error { return lapsehttp.Failure(w, -1, "X") },
			"status 1e": func(w http.ResponseWriter) error { return lapsehttp.Failure(w, 1000, "X") },
		} {
			w := httptest.NewRecorder()
			if err := f(w); err == nil || !strings.Contains(err.Error(), "lapsehttp") {
				t.Errorf("%s: %v", name, err)
			}
			if w.Body.Len() > 0 || len(w.Result().Header) > 0 {
				t.Errorf("%s: %v and %q have been written", name, w.Result().Header, w.Body)
			}
		}
	})

	t.Run("case=129", func(t *testing.T) {
		for _, c := range []struct {
			how  setup
			end  func(*site, testSession)
			want string
		}{
			{setup{}, func(s *site, _ testSession) { s.advance(60 * sec) },
				`{"success":false,"error":"SESSION_TIMEOUT","reason":"idle","endedAt":1700000060000,"login":"/login"}`},
			{setup{}, func(s *site, session testSession) { s.pass(5 * sec); session.Expire() },
				`{"success":false,"error":"SESSION_TIMEOUT","reason":"expired","endedAt":1700000005000,"login":"/login"}`},
			{setup{policy: lapse.Policy{Lifetime: 30 * sec}}, func(s *site, _ testSession) { s.advance(31 * sec) },
				`{"success":false,"error":"SESSION_TIMEOUT","reason":"lifetime","endedAt":1700000031000,"login":"/login"}`},
			{setup{engine: lapse.Options{MaxSessions: 1, WhenFull: lapse.Evict}}, func(s *site, _ testSession) { s.pass(sec); s.login("Eve") },
				`{"success":false,"error":"SESSION_TIMEOUT","reason":"evicted","endedAt":1700000001000,"login":"/login"}`},
			// An engine that has been closed knows nothing.
			{setup{}, func(s *site, _ testSession) { s.engine.Shutdown(t.Context()) },
				`{"success":false,"error":"SESSION_TIMEOUT","login":"/login"}`},
			{setup{}, func(s *site, _ testSession) { s.engine.Close() },
				`{"success":false,"error":"SESSION_TIMEOUT","login":"/login"}`},
		} {
			if c.how.policy == (lapse.Policy{}) {
				c.how.policy = lapse.Policy{Idle: 60 * sec}
			}
			c.how.engine.Remember = 1
			c.how.http.LoginURL = "/login"
			s := newSite(t, c.how)
			b, session := s.login("Ada")
			c.end(s, session)
			a := b.get("/page").want(http.StatusUnauthorized)
			a.wantJSON(c.want)
			a.wantHeader("WWW-Authenticate", "Session")
			a.wantUncached()
		}
		// What the engine does not remember, and what does not exist, is left out.
		s := newSite(t, setup{policy: lapse.Policy{Idle: 60 * sec}})
		b, _ := s.login("Ada")
		s.advance(60 * sec)
		b.get("/page").want(http.StatusUnauthorized).wantJSON(`{"success":false,"error":"SESSION_TIMEOUT"}`)
	})

	t.Run("case=130", func(t *testing.T) {
		for login, want := range map[string]string{
			"":       `{"success":false,"error":"NOT_LOGGED_IN"}`,
			"/login": `{"success":false,"error":"NOT_LOGGED_IN","login":"/login"}`,
		} {
			s := newSite(t, setup{http: lapsehttp.Options[string]{LoginURL: login}})
			b := s.browser()
			b.set("theme", "dark")
			b.set("xsession", strings.Repeat("0", 32))
			for _, b := range []*browser{b, s.browser()} {
				a := b.get("/page").want(http.StatusUnauthorized)
				a.wantJSON(want)
				if len(a.cookies) != 0 {
					t.Errorf("cookies are set: %v", a.cookies)
				}
			}
		}
	})
}

// asks are requests as browsers, libraries and tools send them.
var asks = []struct {
	name       string
	navigation bool
	method     string
	header     []string
}{
	{"fetch", false, "GET", []string{"Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty", "Sec-Fetch-Site", "same-origin", "Accept", "*/*"}},
	{"fetch no-cors", false, "GET", []string{"Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "empty", "Accept", "*/*"}},
	{"fetch of HTML", false, "GET", []string{"Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty", "Accept", "text/html"}},
	{"fetch post", false, "POST", []string{"Sec-Fetch-Mode", "same-origin", "Sec-Fetch-Dest", "empty", "Accept", "text/html"}},
	{"XMLHttpRequest", false, "GET", []string{"X-Requested-With", "XMLHttpRequest", "Accept", "text/html, */*; q=0.01"}},
	{"XMLHttpRequest post", false, "POST", []string{"X-Requested-With", "XMLHttpRequest", "Accept", "text/html"}},
	{"image", false, "GET", []string{"Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image", "Accept", "image/avif,*/*"}},
	{"script", false, "GET", []string{"Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "script", "Accept", "*/*"}},
	{"event source", false, "GET", []string{"Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty", "Accept", "text/event-stream"}},
	{"old event source", false, "GET", []string{"Accept", "text/event-stream"}},
	{"web socket", false, "GET", []string{"Sec-Fetch-Mode", "websocket", "Sec-Fetch-Dest", "empty", "Upgrade", "websocket"}},
	{"curl", false, "GET", []string{"Accept", "*/*"}},
	{"nothing", false, "GET", nil},
	{"nothing post", false, "POST", nil},
	{"json", false, "GET", []string{"Accept", "application/json"}},
	{"json first", false, "GET", []string{"Accept", "application/json, text/html;q=0.9"}},
	{"axios", false, "GET", []string{"Accept", "application/json, text/plain, */*"}},
	{"vendor json", false, "GET", []string{"Accept", "application/vnd.api+json, text/html;q=0.5"}},
	{"json as good", false, "GET", []string{"Accept", "text/html, application/json"}},
	{"no html", false, "GET", []string{"Accept", "text/html;q=0, */*"}},
	{"bad quality", false, "GET", []string{"Accept", "application/json, text/html;q=2"}},
	{"empty accept", false, "GET", []string{"Accept", ""}},
	{"put", false, "PUT", []string{"Accept", "application/json"}},
	{"mode against accept", false, "GET", []string{"Sec-Fetch-Mode", "cors", "Accept", "text/html,application/xhtml+xml"}},
	{"mode unknown", false, "GET", []string{"Sec-Fetch-Mode", "mystery", "Accept", "text/html"}},
	{"mode against dest", false, "GET", []string{"Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "document"}},

	{"click", true, "GET", []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Fetch-User", "?1", "Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}},
	{"form", true, "POST", []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Accept", "text/html"}},
	{"frame", true, "GET", []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}},
	{"mode alone", true, "GET", []string{"Sec-Fetch-Mode", "navigate"}},
	{"mode against json", true, "GET", []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Accept", "application/json"}},
	{"mode against requested-with", true, "GET", []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "X-Requested-With", "com.example.app"}},
	{"old browser", true, "GET", []string{"Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}},
	{"old form", true, "POST", []string{"Accept", "text/html,application/xhtml+xml,*/*"}},
	{"html over json", true, "GET", []string{"Accept", "application/json;q=0.1, text/html"}},
}

func TestConformanceRefusal(t *testing.T) {
	newRefusingSite := func(t *testing.T, login string) (s *site, without, dead *browser) {
		s = newSite(t, setup{policy: lapse.Policy{Idle: 60 * sec}, http: lapsehttp.Options[string]{
			LoginURL: login, Routes: lapsehttp.Routes{"/score": lapsehttp.Poll},
		}})
		s.mux.Handle("/score", s.manager.Require(http.HandlerFunc(whose)))
		dead, _ = s.login("Ada")
		id := dead.id()
		s.advance(60 * sec)
		return s, s.browser(), s.with(id)
	}
	// The browser forgets a dead id once it has been told, so each request
	// brings it again.
	again := func(s *site, b *browser) *browser {
		if id := b.id(); id != "" {
			return s.with(id)
		}
		return s.browser()
	}

	t.Run("case=133", func(t *testing.T) {
		for _, login := range []string{"", "/login"} {
			s, without, dead := newRefusingSite(t, login)
			for _, ask := range asks {
				if ask.navigation {
					continue
				}
				for i, b := range []*browser{without, dead} {
					for _, path := range []string{"/page", "/score"} {
						a := again(s, b).send(ask.method, path, nil, ask.header...).want(http.StatusUnauthorized)
						if o := a.object(); o["success"] != false || o["error"] != []string{"NOT_LOGGED_IN", "SESSION_TIMEOUT"}[i] {
							t.Errorf("%s: %s", ask.name, a.body)
						}
						a.wantHeader("Content-Type", "application/json")
						if to := a.header.Get("Location"); to != "" {
							t.Errorf("%s: a script is sent to %s", ask.name, to)
						}
					}
				}
			}
		}
	})

	t.Run("case=134", func(t *testing.T) {
		s, without, dead := newRefusingSite(t, "/login?from=site#form")
		for _, ask := range asks {
			if !ask.navigation {
				continue
			}
			for _, b := range []*browser{without, dead} {
				b := again(s, b)
				a, err := b.try(ask.method, "/page?a=1&b=%2F#x", strings.NewReader("amount=1000"), append(ask.header, "Referer", s.srv.URL+"/form?id=1")...)
				if err != nil {
					t.Fatal(err)
				}
				a.want(http.StatusSeeOther) // which makes a GET of any method, without the body
				to := returned(a)
				want := "/page?a=1&b=%2F"
				if ask.method == "POST" {
					want = "/form?id=1"
				}
				if to.path != "/login" || to.back != want || to.query.Get("from") != "site" || to.fragment != "form" {
					t.Errorf("%s: sent to %s", ask.name, a.header.Get("Location"))
				}
				if strings.Contains(a.header.Get("Location")+a.body, "1000") {
					t.Errorf("%s: what was posted is in the answer: %s %s", ask.name, a.header.Get("Location"), a.body)
				}
				a.wantUncached()
			}
		}
		dead = again(s, dead)
		a := dead.navigate("GET", "/page").want(http.StatusSeeOther)
		a.wantCleared()
		a.wantOver()
		// The whole way: to the log-in page and back.
		s.handle("GET /login", func(w http.ResponseWriter, r *http.Request) {
			if _, err := s.manager.Start(w, r, "Ada"); err != nil {
				t.Error(err)
			}
			http.Redirect(w, r, lapsehttp.ReturnPath(r), http.StatusSeeOther)
		})
		b := s.browser()
		b.client.CheckRedirect = nil
		b.navigate("GET", "/page?x=1").want(http.StatusOK).wantBody("Ada")
	})
	// Where there is no log-in page, a plain one says what is the matter.
	t.Run("case=134/plain", func(t *testing.T) {
		s, without, dead := newRefusingSite(t, "")
		for _, b := range []*browser{without, dead} {
			a := again(s, b).navigate("GET", "/page").want(http.StatusUnauthorized)
			if !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") || !strings.Contains(a.body, "<") {
				t.Errorf("the page is %q, %s", a.header.Get("Content-Type"), a.body)
			}
			a.wantHeader("WWW-Authenticate", "Session")
			a.wantUncached()
			if a := again(s, b).navigate("HEAD", "/page").want(http.StatusUnauthorized); a.body != "" {
				t.Errorf("HEAD has a body: %s", a.body)
			}
		}
	})

	t.Run("case=135", func(t *testing.T) {
		s, _, _ := newRefusingSite(t, "/login")
		for _, ask := range asks {
			a := s.browser().send(ask.method, "/page", nil, ask.header...)
			want := http.StatusUnauthorized
			if ask.navigation {
				want = http.StatusSeeOther
			}
			if a.status != want {
				t.Errorf("%s: status %d, want %d", ask.name, a.status, want)
			}
		}
	})

	t.Run("case=136", func(t *testing.T) {
		for _, login := range []string{"", "/login"} {
			s, without, dead := newRefusingSite(t, login)
			for _, ask := range asks {
				for _, b := range []*browser{without, dead} {
					for _, path := range []string{"/page", "/score", "/session/keepalive"} {
						a := again(s, b).send(ask.method, path, nil, ask.header...)
						switch a.status {
						case http.StatusUnauthorized:
							scheme, _, _ := strings.Cut(a.header.Get("WWW-Authenticate"), " ")
							if n := len(a.header["Www-Authenticate"]); n != 1 || scheme != "Session" {
								t.Errorf("%s %s: WWW-Authenticate is %q", ask.name, path, a.header["Www-Authenticate"])
							}
						case http.StatusSeeOther, http.StatusMethodNotAllowed:
						default:
							t.Errorf("%s %s: status %d", ask.name, path, a.status)
						}
					}
				}
			}
			// Whoever has a session but no right hears that from the handler.
			s.mux.Handle("/secret", s.manager.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.Error(w, "not you", http.StatusForbidden)
			})))
			b, session := s.login("Ada")
			a := b.get("/secret").want(http.StatusForbidden)
			a.wantLive(s.now() + 60*sec)
			if !session.Alive() {
				t.Error("a 403 has ended the session")
			}
			s.browser().get("/secret").want(http.StatusUnauthorized)
		}
	})

	t.Run("case=136/head", func(t *testing.T) {
		s, without, dead := newRefusingSite(t, "/login")
		for _, b := range []*browser{without, dead} {
			get, head := again(s, b).get("/page").want(http.StatusUnauthorized), again(s, b).send("HEAD", "/page", nil).want(http.StatusUnauthorized)
			if head.body != "" || head.header.Get("Content-Length") != get.header.Get("Content-Length") || head.header.Get("WWW-Authenticate") != "Session" {
				t.Errorf("HEAD: %v %q; GET: %v", head.header, head.body, get.header)
			}
			again(s, b).navigate("HEAD", "/page").want(http.StatusSeeOther)
			again(s, b).send("OPTIONS", "/page", nil, "Origin", "https://evil.example", "Access-Control-Request-Method", "GET").want(http.StatusUnauthorized)
		}
	})
}
