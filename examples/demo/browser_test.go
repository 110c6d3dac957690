package main

import (
	"bytes"
	"encoding/json"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// testConfig is what the flags say by default, so that the tests know it.
func testConfig(t *testing.T) config {
	t.Helper()
	cfg, err := parse(nil, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// output is a log that can be read while hooks write to it.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// world is a site and its log.
type world struct {
	t       *testing.T
	site    *site
	handler http.Handler
	log     *output
}

func newWorld(t *testing.T, cfg config) *world {
	t.Helper()
	out := new(output)
	site, err := newSite(cfg, log.New(out, "", 0))
	if err != nil {
		t.Fatal(err)
	}
	return &world{t: t, site: site, handler: site.handler(), log: out}
}

// inBubble runs f with a site of its own and with fake time.
func inBubble(t *testing.T, f func(*world)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, testConfig(t))
		f(w)
		if err := w.site.engine.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if n := w.site.people.len(); n != 0 {
			t.Errorf("%d people left after the shutdown", n)
		}
	})
}

// pass lets fake time pass, and what is due by then happen: the engine ends a
// session less than a tick after its limit.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// browser keeps cookies as a browser does.
type browser struct {
	*world
	cookies map[string]*http.Cookie
}

func (w *world) browser() *browser {
	return &browser{world: w, cookies: make(map[string]*http.Cookie)}
}

// send sends a request as a script of the site does, and takes the cookies that
// come back.
func (b *browser) send(r *http.Request) *httptest.ResponseRecorder {
	b.t.Helper()
	if r.Header.Get("Sec-Fetch-Site") == "" {
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	if r.Header.Get("Sec-Fetch-Mode") == "" {
		r.Header.Set("Sec-Fetch-Mode", "cors")
		r.Header.Set("Sec-Fetch-Dest", "empty")
	}
	for _, c := range b.cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if b.cookies[c.Name] = c; c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		}
	}
	return w
}

// request makes a request; with fields, that is a form.
func request(method, path string, fields ...string) *http.Request {
	form := make(url.Values)
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	r := httptest.NewRequest(method, path, strings.NewReader(form.Encode()))
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return r
}

// navigation makes a request as the browser itself does for a page.
func navigation(method, path string, fields ...string) *http.Request {
	r := request(method, path, fields...)
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-Dest", "document")
	return r
}

// want sends a script's request and demands a status.
func (b *browser) want(status int, method, path string, fields ...string) *httptest.ResponseRecorder {
	b.t.Helper()
	w := b.send(request(method, path, fields...))
	if w.Code != status {
		b.t.Fatalf("%s %s: %d %s, want %d", method, path, w.Code, w.Body, status)
	}
	return w
}

// visit opens a page and demands a status.
func (b *browser) visit(status int, path string) string {
	b.t.Helper()
	w := b.send(navigation("GET", path))
	if w.Code != status {
		b.t.Fatalf("GET %s: %d %s, want %d", path, w.Code, w.Body, status)
	}
	return w.Body.String()
}

// login logs in, and demands that it succeeds.
func (w *world) login(name string) *browser {
	w.t.Helper()
	b := w.browser()
	if got := b.send(navigation("POST", "/login", "name", name)); got.Code != http.StatusSeeOther {
		w.t.Fatalf("log-in of %q: %d %s", name, got.Code, got.Body)
	}
	return b
}

func decode[T any](t *testing.T, w *httptest.ResponseRecorder) (v T) {
	t.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%s: %v", w.Body, err)
	}
	return v
}

func (b *browser) look(method, path string) look {
	b.t.Helper()
	return decode[look](b.t, b.want(http.StatusOK, method, path))
}

// mark is what the operator sees of the browser's session.
func (b *browser) mark() string {
	b.t.Helper()
	found := regexp.MustCompile(`title="Session ([0-9a-f]{8})"`).FindStringSubmatch(b.visit(http.StatusOK, "/watch"))
	if found == nil {
		b.t.Fatal("the page does not say what its session is called")
	}
	return found[1]
}
