package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lapse-go/lapse"
)

var testPolicy = lapse.Policy{Name: "test", Idle: 5 * time.Second, PollCap: 15 * time.Second, PollMax: 10}

// browser keeps the cookie as a browser does, and has the site and its log.
type browser struct {
	t      *testing.T
	site   *site
	log    *lines
	cookie *http.Cookie
}

// lines is a log that can be read while hooks write to it.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// inBubble runs f with a site of its own and with fake time.
func inBubble(t *testing.T, policy lapse.Policy, f func(*browser)) {
	synctest.Test(t, func(t *testing.T) {
		out := new(lines)
		site, err := newSite(policy, log.New(out, "", 0))
		if err != nil {
			t.Fatal(err)
		}
		f(&browser{t: t, site: site, log: out})
		if err := site.engine.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if len(site.seen) != 0 {
			t.Errorf("%d sessions left in the set of seen ones", len(site.seen))
		}
	})
}

// do sends one request and takes the cookie that comes back.
func (b *browser) do(method, path string) *httptest.ResponseRecorder {
	b.t.Helper()
	r := httptest.NewRequest(method, path, nil)
	if b.cookie != nil {
		r.AddCookie(b.cookie)
	}
	w := httptest.NewRecorder()
	b.site.handler().ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if b.cookie = c; c.MaxAge < 0 {
			b.cookie = nil
		}
	}
	return w
}

// want sends one request and demands a status code.
func (b *browser) want(code int, method, path string) *httptest.ResponseRecorder {
	b.t.Helper()
	w := b.do(method, path)
	if w.Code != code {
		b.t.Fatalf("%s %s: %d %s, want %d", method, path, w.Code, w.Body, code)
	}
	return w
}

func (b *browser) status() (st status) {
	b.t.Helper()
	w := b.want(http.StatusOK, "GET", "/status")
	if err := json.Unmarshal(w.Body.Bytes(), &st); err != nil {
		b.t.Fatal(err)
	}
	return st
}

// pass lets fake time pass, and what is due by then happen. The engine ends a
// session less than a tick after its limit.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (b *browser) refusal(w *httptest.ResponseRecorder) (code, reason string) {
	b.t.Helper()
	var answer struct {
		Success       bool
		Error, Reason string
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.Success {
		b.t.Fatalf("refused with %s (%v)", w.Body, err)
	}
	return answer.Error, answer.Reason
}

func TestLogMe(t *testing.T) {
	inBubble(t, testPolicy, func(b *browser) {
		for range 4 { // visits keep the session alive
			w := b.want(http.StatusOK, "GET", "/logme")
			if !strings.Contains(w.Body.String(), "visitor 1.") {
				t.Fatalf("the visitor has changed: %s", w.Body)
			}
			pass(4 * time.Second)
		}
		pass(990 * time.Millisecond)
		if strings.Contains(b.log.String(), "expired") {
			t.Fatalf("too early:\n%s", b.log)
		}
		pass(30 * time.Millisecond)
		const want = "visitor 1: the session seen at /logme has expired\n"
		if strings.Count(b.log.String(), want) != 1 {
			t.Fatalf("want one line that says so, got:\n%s", b.log)
		}
		b.want(http.StatusOK, "GET", "/logme") // a new session under a new id
		if st := b.status(); st.State != "live" || st.Visitor != 2 {
			t.Fatalf("after the return: %+v", st)
		}
	})
}

func TestLogin(t *testing.T) {
	inBubble(t, testPolicy, func(b *browser) {
		b.want(http.StatusOK, "POST", "/login")
		first := b.cookie
		if !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(first.Value) ||
			!first.HttpOnly || first.SameSite != http.SameSiteLaxMode {
			t.Fatalf("cookie %v", first)
		}
		b.want(http.StatusOK, "POST", "/login")
		if b.cookie.Value == first.Value || b.site.engine.Len() != 1 {
			t.Fatalf("the second log-in: same id or %d sessions", b.site.engine.Len())
		}
		b.cookie = first
		if st := b.status(); st.State != "ended" || st.Reason != "expired" {
			t.Fatalf("the first session: %+v", st)
		}
	})
}

func TestStatusExtendsNothing(t *testing.T) {
	inBubble(t, testPolicy, func(b *browser) {
		if st := b.status(); st.State != "none" || b.cookie != nil {
			t.Fatalf("without a session: %+v", st)
		}
		b.want(http.StatusOK, "POST", "/login")
		for i := range 5 {
			st := b.status()
			if want := int64(5-i) * 1000; st.State != "live" || st.Reason != "idle" || st.RemainingMS != want {
				t.Fatalf("after %d s: %+v, want %d ms left", i, st, want)
			}
			pass(time.Second)
		}
		if st := b.status(); st.State != "ended" || st.Reason != "idle" || st.EndedAt == 0 {
			t.Fatalf("after 5 s: %+v", st)
		}
	})
}

func TestPollingCap(t *testing.T) {
	policy := testPolicy
	policy.PollMax = 0
	inBubble(t, policy, func(b *browser) {
		b.want(http.StatusOK, "POST", "/login")
		for range 6 { // at 0 s to 15 s: a poll at the cap still counts
			b.want(http.StatusOK, "GET", "/score")
			pass(3 * time.Second)
		}
		code, reason := b.refusal(b.want(http.StatusUnauthorized, "GET", "/score"))
		if code != "SESSION_TIMEOUT" || reason != "poll cap" {
			t.Fatalf("refused with %s, %s", code, reason)
		}

		b.want(http.StatusOK, "POST", "/login")
		for range 20 { // a visit ends each run of polls
			b.want(http.StatusOK, "GET", "/score")
			pass(3 * time.Second)
			b.want(http.StatusOK, "GET", "/logme")
		}
		if st := b.status(); st.Visitor != 2 || st.Polls != 0 {
			t.Fatalf("after a minute of visits: %+v", st)
		}
	})
}

func TestPollMax(t *testing.T) {
	inBubble(t, testPolicy, func(b *browser) {
		b.want(http.StatusOK, "POST", "/login")
		for i := range testPolicy.PollMax { // both routes count in one run
			if i%2 == 0 {
				b.want(http.StatusOK, "GET", "/score")
			} else {
				b.want(http.StatusNoContent, "GET", "/keepalive")
			}
		}
		if st := b.status(); st.Polls != testPolicy.PollMax {
			t.Fatalf("after %d polls: %+v", testPolicy.PollMax, st)
		}
		_, reason := b.refusal(b.want(http.StatusUnauthorized, "GET", "/keepalive"))
		if reason != "poll max" {
			t.Fatalf("refused with %s", reason)
		}
		if want := "visitor 1: the session has ended (poll max)"; !strings.Contains(b.log.String(), want) {
			t.Fatalf("the hooks had not run when the poll was refused:\n%s", b.log)
		}
	})
}

func TestKeepAlive(t *testing.T) {
	inBubble(t, testPolicy, func(b *browser) {
		for range 3 { // without a session it creates nothing
			if code, _ := b.refusal(b.want(http.StatusUnauthorized, "GET", "/keepalive")); code != "NOT_LOGGED_IN" {
				t.Fatalf("refused with %s", code)
			}
		}
		if b.cookie != nil || b.site.engine.Len() != 0 {
			t.Fatalf("a keep-alive made a cookie or a session")
		}
		b.cookie = &http.Cookie{Name: cookieName, Value: strings.Repeat("a", 32)} // made up: never adopted
		if code, _ := b.refusal(b.want(http.StatusUnauthorized, "GET", "/keepalive")); code != "SESSION_TIMEOUT" {
			t.Fatalf("refused with %s", code)
		}
		b.want(http.StatusOK, "POST", "/login")
		pass(4 * time.Second)
		w := b.want(http.StatusNoContent, "GET", "/keepalive")
		if w.Body.Len() != 0 || w.Header().Get("Set-Cookie") != "" || w.Header().Get("Cache-Control") != "no-store" {
			t.Fatalf("keep-alive: %v %q", w.Header(), w.Body)
		}
		pass(4 * time.Second)
		if st := b.status(); st.State != "live" || st.RemainingMS != 1000 {
			t.Fatalf("4 s after a keep-alive: %+v", st)
		}
	})
}

func TestLogout(t *testing.T) {
	inBubble(t, testPolicy, func(b *browser) {
		b.want(http.StatusOK, "POST", "/login")
		old := b.cookie
		b.want(http.StatusMethodNotAllowed, "GET", "/logout")
		b.want(http.StatusOK, "POST", "/logout")
		if b.cookie != nil || b.site.engine.Len() != 0 {
			t.Fatalf("after log-out: cookie %v, %d sessions", b.cookie, b.site.engine.Len())
		}
		b.cookie = old // replayed, it opens nothing
		b.want(http.StatusUnauthorized, "GET", "/score")
		b.want(http.StatusOK, "POST", "/logout") // and a second log-out does no harm
	})
}

func TestOtherSitesAreRefused(t *testing.T) {
	inBubble(t, testPolicy, func(b *browser) {
		r := httptest.NewRequest("POST", "/logout", nil)
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		w := httptest.NewRecorder()
		b.site.handler().ServeHTTP(w, r)
		if w.Code != http.StatusForbidden {
			t.Fatalf("a log-out from another site: %d", w.Code)
		}
	})
}

func TestNoIDInTheLog(t *testing.T) {
	inBubble(t, testPolicy, func(b *browser) {
		var ids []string
		for range 3 {
			b.want(http.StatusOK, "POST", "/login")
			b.want(http.StatusOK, "GET", "/logme")
			ids = append(ids, b.cookie.Value, b.cookie.Value[:8])
		}
		pass(6 * time.Second)
		if n := strings.Count(b.log.String(), "has ended"); n != 3 {
			t.Fatalf("%d ends logged, want 3:\n%s", n, b.log)
		}
		for _, id := range ids {
			if strings.Contains(b.log.String(), id) {
				t.Fatalf("the log has the id %s:\n%s", id, b.log)
			}
		}
	})
}

func TestPage(t *testing.T) {
	inBubble(t, testPolicy, func(b *browser) {
		w := b.want(http.StatusOK, "GET", "/")
		body := w.Body.String()
		for _, want := range []string{`data-idle-ms="5000"`, "It ends 5s after", "15s or 10 polls at most"} {
			if !strings.Contains(strings.Join(strings.Fields(body), " "), want) {
				t.Errorf("the page lacks %q", want)
			}
		}
		if found := regexp.MustCompile(`(src|href)="(https?:)?//`).FindString(body); found != "" {
			t.Errorf("the page loads from elsewhere: %s", found)
		}
		if b.cookie != nil || b.site.engine.Len() != 0 {
			t.Error("looking at the page started a session")
		}
		b.want(http.StatusNotFound, "GET", "/nowhere")
	})
}

func TestRunStopsGracefully(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	if err := run(ctx, &out, "127.0.0.1:0", testPolicy); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "http://127.0.0.1:") {
		t.Errorf("the greeting names no address:\n%s", &out)
	}
}

func TestRunNamesTheFlag(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	tests := []struct {
		name, addr string
		idle       time.Duration
		want       string
	}{
		{"busy port", listener.Addr().String(), 5 * time.Second, "-addr"},
		{"no idle time", "127.0.0.1:0", 0, "-idle"},
		{"negative idle time", "127.0.0.1:0", -1, "-idle"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			policy := testPolicy
			policy.Idle = tt.idle
			err := run(t.Context(), new(bytes.Buffer), tt.addr, policy)
			if !strings.Contains(fmt.Sprint(err), tt.want) {
				t.Fatalf("%v, want it to name %s", err, tt.want)
			}
		})
	}
}
