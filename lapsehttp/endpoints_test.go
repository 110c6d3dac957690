package lapsehttp

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/lapse-go/lapse"
)

func TestMethods(t *testing.T) {
	m := newTest(t, lapse.Options{}, Options[string]{})
	h := m.Endpoints()
	for name, allowed := range map[string]string{
		"keepalive": "GET, POST, HEAD, OPTIONS",
		"status":    "GET, HEAD, OPTIONS",
		"events":    "GET, HEAD, OPTIONS",
		"logout":    "POST, OPTIONS",
		"client.js": "GET, HEAD, OPTIONS",
		"dialog.js": "GET, HEAD, OPTIONS",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"} {
			r := request(method, "/session/"+name)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			switch {
			case method == "OPTIONS":
				if w.Code != http.StatusNoContent || w.Header().Get("Allow") != allowed {
					t.Errorf("OPTIONS %s: %d %v", name, w.Code, w.Header())
				}
			case strings.Contains(allowed, method):
				if w.Code == http.StatusMethodNotAllowed {
					t.Errorf("%s %s is not allowed", method, name)
				}
			default:
				if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != allowed {
					t.Errorf("%s %s: %d %v", method, name, w.Code, w.Header())
				}
			}
		}
	}
	for _, path := range []string{"/session/", "/session/nothing", "/session/status/", "/session//status", "/else"} {
		serve(t, h, request("GET", path), http.StatusNotFound)
	}
}

// TestMethodIsNoActivity has the wrong method at the keep-alive.
func TestMethodIsNoActivity(t *testing.T) {
	m := newTest(t, lapse.Options{}, Options[string]{})
	s, id := start(t, m, "Ada")
	for _, h := range []http.Handler{m.Endpoints(), m.Handler(m.Endpoints())} {
		for _, method := range []string{"PUT", "DELETE", "PATCH"} {
			serve(t, h, request(method, "/session/keepalive", id), http.StatusMethodNotAllowed)
		}
		serve(t, h, request("OPTIONS", "/session/keepalive", id), http.StatusNoContent)
		if info, _ := s.Info(); info.Polls != 0 {
			t.Errorf("%d polls", info.Polls)
		}
	}
}

// TestPrefix mounts the endpoints elsewhere, with and without the prefix.
func TestPrefix(t *testing.T) {
	m := newTest(t, lapse.Options{}, Options[string]{Prefix: "/app/s/"})
	s, id := start(t, m, "Ada")
	for _, h := range []http.Handler{
		m.Endpoints(),
		m.Handler(m.Endpoints()),
		http.StripPrefix("/app/s", m.Endpoints()),
		http.StripPrefix("/app/s/", m.Endpoints()),
		m.Handler(http.StripPrefix("/app", http.StripPrefix("/s", m.Endpoints()))),
	} {
		before, _ := s.Info()
		w := serve(t, h, request("POST", "/app/s/keepalive", id), http.StatusNoContent)
		if info, _ := s.Info(); info.Polls != before.Polls+1 || len(w.Header()["Set-Cookie"]) != 2 {
			t.Errorf("%d polls, %v", info.Polls, w.Header())
		}
	}
	serve(t, m.Endpoints(), request("GET", "/session/status"), http.StatusNotFound)
}

// stateIn reads the JSON of the status.
func stateIn(t *testing.T, text []byte) (st state) {
	t.Helper()
	if err := json.Unmarshal(text, &st); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return st
}

func TestStatus(t *testing.T) {
	policy := lapse.Policy{Name: "user", Idle: 10 * time.Minute, PollCap: 15 * time.Minute, Lifetime: time.Hour, Warn: time.Minute}
	inBubble(t, lapse.Options{Default: policy, Remember: 10}, Options[string]{LoginURL: "/login"}, func(t *testing.T, m *testManager) {
		status := func(ids ...ID) state {
			t.Helper()
			w := serve(t, m.Endpoints(), request("GET", "/session/status", ids...), http.StatusOK)
			return stateIn(t, w.Body.Bytes())
		}
		if st := status(); st.State != "none" || st.ServerTime != time.Now().UnixMilli() || st.ExpiresAt != nil || st.Reason != "" || st.Login != "/login" {
			t.Errorf("without an id: %+v", st)
		}
		if st := status(ID{1}); st.State != "ended" || st.Reason != "" || st.EndedAt != 0 || st.Login != "/login" {
			t.Errorf("a forged id: %+v", st)
		}
		s, id := start(t, m, "Ada")
		live := func(limit string, left, idle time.Duration) {
			t.Helper()
			st := status(id)
			if st.State != "live" || st.Limit != limit || *st.RemainingMS != left.Milliseconds() || *st.ExpiresAt != time.Now().Add(left).UnixMilli() ||
				st.WarnMS != 60000 || st.IdleMS != idle.Milliseconds() || st.Login != "" {
				t.Errorf("%+v, %d ms left", st, *st.RemainingMS)
			}
		}
		live("idle", 10*time.Minute, 10*time.Minute)
		pass(time.Minute)
		live("idle", 9*time.Minute, 10*time.Minute)
		s.SetIdle(5 * time.Minute)
		live("idle", 4*time.Minute, 5*time.Minute)
		s.SetIdle(0)
		for range 5 {
			s.Poll()
			pass(2 * time.Minute)
		}
		live("poll cap", 5*time.Minute, 10*time.Minute)
		for range 7 {
			s.Touch()
			pass(7 * time.Minute)
		}
		if s.Alive() {
			t.Fatal("it lives")
		}
		at := time.Now()
		if st := status(id); st.State != "ended" || st.Reason != "lifetime" || st.EndedAt > at.UnixMilli() || st.EndedAt < at.Add(-time.Minute).UnixMilli() || st.ExpiresAt != nil {
			t.Errorf("after the end: %+v", st)
		}
	})
}

// TestStatusPollsUsedUp tells the page that a keep-alive would not help.
func TestStatusPollsUsedUp(t *testing.T) {
	policy := lapse.Policy{Name: "user", Idle: 10 * time.Minute, Lifetime: time.Hour, PollMax: 2}
	inBubble(t, lapse.Options{Default: policy}, Options[string]{}, func(t *testing.T, m *testManager) {
		s, id := start(t, m, "Ada")
		p := open(t, m, id)
		limit := func(want string) {
			t.Helper()
			w := serve(t, m.Endpoints(), request("GET", "/session/status", id), http.StatusOK)
			told := stateIn(t, []byte(p.want("extended:600000")))
			if st := stateIn(t, w.Body.Bytes()); st.Limit != want || told.Limit != want {
				t.Errorf("the limit is %q, to the stream %q, want %q", st.Limit, told.Limit, want)
			}
		}
		keepAlive := func() {
			pass(2 * time.Second)
			serve(t, m.Endpoints(), request("POST", "/session/keepalive", id), http.StatusNoContent)
		}
		limit("idle")
		keepAlive()
		limit("idle")
		keepAlive()
		limit("poll max")
		pass(2 * time.Second)
		serve(t, m.Handler(ok), request("GET", "/", id), http.StatusOK)
		limit("idle")
		// Another limit that comes sooner is the one that cannot be helped.
		for range 6 {
			s.Touch()
			pass(9 * time.Minute)
		}
		keepAlive()
		keepAlive()
		w := serve(t, m.Endpoints(), request("GET", "/session/status", id), http.StatusOK)
		if st := stateIn(t, w.Body.Bytes()); st.Limit != "lifetime" {
			t.Errorf("the limit is %q", st.Limit)
		}
		p.cancel()
		p.gone()
	})
}

// TestStatusUnlimited has no end to tell of.
func TestStatusUnlimited(t *testing.T) {
	m := newTest(t, lapse.Options{Default: lapse.Policy{Name: "eternal"}}, Options[string]{})
	_, id := start(t, m, "Ada")
	w := serve(t, m.Endpoints(), request("GET", "/session/status", id), http.StatusOK)
	if text := w.Body.String(); strings.Contains(text, "expiresAt") || strings.Contains(text, "remainingMs") || strings.Contains(text, "limit") || !strings.Contains(text, `"idleMs":0`) {
		t.Error(text)
	}
	if w := serve(t, m.Endpoints(), request("HEAD", "/session/status", id), http.StatusOK); w.Body.Len() != 0 || w.Header().Get("Content-Length") == "" {
		t.Errorf("HEAD: %v %s", w.Header(), w.Body)
	}
}

// TestStatusEndsMeanwhile has the session end after it was found.
func TestStatusEndsMeanwhile(t *testing.T) {
	m := newTest(t, lapse.Options{Remember: 1}, Options[string]{})
	s, id := start(t, m, "Ada")
	w := serve(t, m.Handler(handle(func(w http.ResponseWriter, r *http.Request) {
		s.Expire()
		m.Endpoints().ServeHTTP(w, r)
	})), request("GET", "/session/status", id), http.StatusOK)
	if st := stateIn(t, w.Body.Bytes()); st.State != "ended" || st.Reason != "expired" {
		t.Errorf("%+v", st)
	}
}

func TestLogout(t *testing.T) {
	for _, tt := range []struct {
		name   string
		header http.Header
		login  string
		status int
		to     string
	}{
		{"script", http.Header{"Sec-Fetch-Site": {"same-origin"}, "Sec-Fetch-Mode": {"cors"}}, "/login", http.StatusNoContent, ""},
		{"form", http.Header{"Sec-Fetch-Site": {"same-origin"}, "Sec-Fetch-Mode": {"navigate"}}, "/login", http.StatusSeeOther, "/login"},
		{"form without LoginURL", http.Header{"Sec-Fetch-Site": {"none"}, "Sec-Fetch-Mode": {"navigate"}}, "", http.StatusSeeOther, "/"},
		{"old browser", http.Header{"Origin": {"http://example.com"}}, "", http.StatusNoContent, ""},
		{"no browser", nil, "", http.StatusNoContent, ""},
		{"other site", http.Header{"Sec-Fetch-Site": {"cross-site"}, "Sec-Fetch-Mode": {"navigate"}}, "", http.StatusForbidden, ""},
		{"neighbor", http.Header{"Sec-Fetch-Site": {"same-site"}}, "", http.StatusForbidden, ""},
		{"other site, old browser", http.Header{"Origin": {"http://evil.example"}}, "", http.StatusForbidden, ""},
		{"nobody's, old browser", http.Header{"Origin": {"null"}}, "", http.StatusForbidden, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newTest(t, lapse.Options{}, Options[string]{LoginURL: tt.login})
			s, id := start(t, m, "Ada")
			for range 2 {
				r := request("POST", "http://example.com/session/logout", id)
				for k, v := range tt.header {
					r.Header[k] = v
				}
				w := serve(t, m.Handler(m.Endpoints()), r, tt.status)
				if got := w.Header().Get("Location"); got != tt.to {
					t.Errorf("it leads to %q", got)
				}
				if s.Alive() != (tt.status == http.StatusForbidden) {
					t.Errorf("alive: %t", s.Alive())
				}
			}
		})
	}
}

func TestModules(t *testing.T) {
	m := newTest(t, lapse.Options{}, Options[string]{})
	s, id := start(t, m, "Ada")
	for _, h := range []http.Handler{m.Endpoints(), m.Handler(m.Endpoints())} {
		for name, want := range map[string][]byte{"client.js": clientJS, "dialog.js": dialogJS} {
			r := request("GET", "/session/"+name, id)
			w := serve(t, h, r, http.StatusOK)
			head := w.Header()
			if w.Body.String() != string(want) || len(want) == 0 || head.Get("Content-Type") != "text/javascript; charset=utf-8" ||
				head.Get("Cache-Control") != "no-cache" || len(head["Set-Cookie"]) > 0 || head.Get("Vary") != "Accept-Encoding" {
				t.Errorf("%s: %d bytes, %v", name, w.Body.Len(), head)
			}
			r.Header.Set("If-None-Match", head.Get("ETag"))
			if w := serve(t, h, r, http.StatusNotModified); w.Body.Len() != 0 {
				t.Errorf("%s again: %d bytes", name, w.Body.Len())
			}
			serve(t, h, request("HEAD", "/session/"+name), http.StatusOK)
			serve(t, h, request("POST", "/session/"+name), http.StatusMethodNotAllowed)

			r = request("GET", "/session/"+name)
			r.Header.Set("Accept-Encoding", "br, GZIP;q=0.5")
			w = serve(t, h, r, http.StatusOK)
			if w.Header().Get("Content-Encoding") != "gzip" || w.Header().Get("ETag") == head.Get("ETag") || w.Body.Len() >= len(want) {
				t.Errorf("%s for gzip: %d bytes, %v", name, w.Body.Len(), w.Header())
			}
			if plain, err := gzip.NewReader(w.Body); err != nil {
				t.Error(err)
			} else if text, err := io.ReadAll(plain); err != nil || string(text) != string(want) {
				t.Errorf("%s: %d bytes unzipped, %v", name, len(text), err)
			}
			r.Header.Set("If-None-Match", w.Header().Get("ETag"))
			serve(t, h, r, http.StatusNotModified)
			r.Header.Set("Accept-Encoding", "gzip;q=0, *")
			if w := serve(t, h, r, http.StatusOK); w.Header().Get("Content-Encoding") != "" {
				t.Errorf("%s: %v", name, w.Header())
			}
		}
	}
	if info, _ := s.Info(); !info.Seen.Equal(info.Started) {
		t.Error("a module is an activity")
	}
	if modules["client.js"].etag == modules["dialog.js"].etag {
		t.Error("both have the same ETag")
	}
}

func TestAnswers(t *testing.T) {
	for _, tt := range []struct {
		answer func(http.ResponseWriter) error
		status int
		body   string
	}{
		{func(w http.ResponseWriter) error { return Success(w, "done") }, 200, `{"success":"done","error":false}`},
		{func(w http.ResponseWriter) error { return Success(w, map[string]int{"n": 1}) }, 200, `{"success":{"n":1},"error":false}`},
		{func(w http.ResponseWriter) error { return Success(w, nil) }, 200, `{"success":null,"error":false}`},
		{func(w http.ResponseWriter) error { return Failure(w, 404, "NO_SUCH_FILE") }, 404, `{"success":false,"error":"NO_SUCH_FILE"}`},
		{func(w http.ResponseWriter) error { return Failure(w, 200, `"<b>`) }, 200, `{"success":false,"error":"\"\u003cb\u003e"}`},
	} {
		w := httptest.NewRecorder()
		if err := tt.answer(w); err != nil {
			t.Error(err)
		}
		if w.Code != tt.status || w.Body.String() != tt.body || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
		}
	}
	for _, err := range []error{
		Success(untouchable{t}, make(chan int)), Success(untouchable{t}, func() {}), Failure(untouchable{t}, 199, "X"), Failure(untouchable{t}, 600, "X"),
		Failure(untouchable{t}, 0, "X"), Failure(untouchable{t}, 404, ""),
	} {
		names(t, err, "lapsehttp: ")
	}
	if err := Success(failing{httptest.NewRecorder()}, 1); err != io.ErrClosedPipe {
		t.Errorf("the error of writing: %v", err)
	}
}

// An untouchable ResponseWriter must not be used.
type untouchable struct{ t *testing.T }

func (w untouchable) Header() http.Header { w.t.Error("Header"); return nil }
func (w untouchable) Write([]byte) (int, error) {
	w.t.Error("Write")
	return 0, nil
}
func (w untouchable) WriteHeader(int) { w.t.Error("WriteHeader") }

// A failing ResponseWriter has lost its connection.
type failing struct{ *httptest.ResponseRecorder }

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
