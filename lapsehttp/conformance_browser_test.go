package lapsehttp_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lapse-go/lapse/lapsehttp"
)

// A browser keeps cookies, and follows no redirects. What it sends looks like
// a script's requests unless the test says otherwise.
type browser struct {
	t      *testing.T
	site   *site
	base   *url.URL
	client *http.Client
}

func (s *site) browser() *browser {
	base, err := url.Parse(s.srv.URL)
	if err != nil {
		s.t.Fatal(err)
	}
	jar, _ := cookiejar.New(nil)
	return &browser{s.t, s, base, &http.Client{
		Transport:     s.srv.Client().Transport,
		Jar:           jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// login gives a browser in which a user has logged in, and the session.
func (s *site) login(user string) (*browser, testSession) {
	s.t.Helper()
	b := s.browser()
	b.login(user)
	return b, b.session()
}

func (b *browser) login(user string) {
	b.t.Helper()
	b.post("/login?user=" + user).want(http.StatusOK)
}

// id is the session id that the browser has, empty if none.
func (b *browser) id() string {
	for _, c := range b.client.Jar.Cookies(b.base) {
		if c.Name == b.site.idName {
			return c.Value
		}
	}
	return ""
}

// set gives the browser a cookie, as a page's script or another site might.
func (b *browser) set(name, value string) {
	b.client.Jar.SetCookies(b.base, []*http.Cookie{{Name: name, Value: value, Path: "/"}})
}

// with gives another browser that has this id.
func (s *site) with(id string) *browser {
	b := s.browser()
	b.set(s.idName, id)
	return b
}

// session finds the browser's session. This is no activity.
func (b *browser) session() testSession {
	b.t.Helper()
	id, err := lapsehttp.ParseID(b.id())
	if err != nil {
		b.t.Fatalf("the browser's id: %v", err)
	}
	s, ok := b.site.engine.Get(id)
	if !ok {
		b.t.Fatalf("at %v the browser's session is gone", b.site.now())
	}
	return s
}

func (b *browser) get(path string, header ...string) *answer {
	b.t.Helper()
	return b.send("GET", path, nil, header...)
}

func (b *browser) post(path string, header ...string) *answer {
	b.t.Helper()
	return b.send("POST", path, nil, header...)
}

// navigate asks for a page to show.
func (b *browser) navigate(method, path string, header ...string) *answer {
	b.t.Helper()
	return b.send(method, path, nil, append(header, "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document")...)
}

// send sends a request with pairs of header names and values.
func (b *browser) send(method, path string, body io.Reader, header ...string) *answer {
	b.t.Helper()
	a, err := b.try(method, path, body, header...)
	if err != nil {
		b.t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

// try is send for goroutines other than the test's.
func (b *browser) try(method, path string, body io.Reader, header ...string) (*answer, error) {
	res, err := b.open(method, path, body, header...)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return &answer{b.t, b.site, res.StatusCode, res.Header, string(text), res.Cookies()}, err
}

func (b *browser) open(method, path string, body io.Reader, header ...string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.site.srv.URL+path, body)
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	return b.client.Do(req)
}

// start sends a request on another goroutine.
func (b *browser) start(method, path string, body io.Reader, header ...string) (result func() *answer) {
	type outcome struct {
		a   *answer
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		a, err := b.try(method, path, body, header...)
		done <- outcome{a, err}
	}()
	return func() *answer {
		b.t.Helper()
		o := receive(b.t, done)
		if o.err != nil {
			b.t.Fatalf("%s %s: %v", method, path, o.err)
		}
		return o.a
	}
}

// receive waits for something that is certain to come.
func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("nothing has come")
		panic("unreachable")
	}
}

// An answer is a response that has been read.
type answer struct {
	t       *testing.T
	site    *site
	status  int
	header  http.Header
	body    string
	cookies []*http.Cookie
}

func (a *answer) want(status int) *answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("at %v: status %d, want %d; %v %s", a.site.now(), a.status, status, a.header, a.body)
	}
	return a
}

func (a *answer) wantBody(body string) {
	a.t.Helper()
	if a.body != body {
		a.t.Errorf("at %v: body %q, want %q", a.site.now(), a.body, body)
	}
}

func (a *answer) wantHeader(name, value string) {
	a.t.Helper()
	if got := a.header.Values(name); len(got) != 1 || got[0] != value {
		a.t.Errorf("at %v: %s is %q, want %q", a.site.now(), name, got, value)
	}
}

// wantJSON checks that the body is this JSON, and said to be.
func (a *answer) wantJSON(want string) {
	a.t.Helper()
	var got, expected any
	if err := json.Unmarshal([]byte(want), &expected); err != nil {
		a.t.Fatalf("the test wants %s: %v", want, err)
	}
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || !reflect.DeepEqual(got, expected) {
		a.t.Errorf("at %v: the body is %s (%v), want %s", a.site.now(), a.body, err, want)
	}
	if kind, _, _ := strings.Cut(a.header.Get("Content-Type"), ";"); kind != "application/json" {
		a.t.Errorf("at %v: JSON is said to be %q", a.site.now(), kind)
	}
}

// object reads a body that is a JSON object.
func (a *answer) object() (o map[string]any) {
	a.t.Helper()
	if err := json.Unmarshal([]byte(a.body), &o); err != nil {
		a.t.Errorf("at %v: the body is %q: %v", a.site.now(), a.body, err)
	}
	return o
}

// cookie is the cookie that the answer sets under a name; nil if it does not.
func (a *answer) cookie(name string) (found *http.Cookie) {
	a.t.Helper()
	for _, c := range a.cookies {
		if c.Name == name {
			if found != nil {
				a.t.Errorf("the cookie %s is set twice: %v", name, a.header["Set-Cookie"])
			}
			found = c
		}
	}
	return found
}

// millis reads a cookie for the page, and checks the rest of it.
func (a *answer) millis(name string) time.Duration {
	a.t.Helper()
	c := a.cookie(name)
	if c == nil {
		a.t.Fatalf("at %v: no cookie %s: %v", a.site.now(), name, a.header["Set-Cookie"])
	}
	n, err := strconv.ParseInt(c.Value, 10, 64)
	if err != nil {
		a.t.Fatalf("the cookie %s is %q, want milliseconds", name, c.Value)
	}
	if c.Path != "/" || c.HttpOnly || c.Secure != a.site.secure || c.SameSite != http.SameSiteLaxMode ||
		c.MaxAge != 0 || !c.Expires.IsZero() || c.Domain != "" {
		a.t.Errorf("the cookie for the page is %q", c.Raw)
	}
	return time.UnixMilli(n).Sub(epoch)
}

// wantLive checks what every response of a live session says: the time, and
// when the session ends, since the epoch.
func (a *answer) wantLive(ends time.Duration) {
	a.t.Helper()
	now := a.site.now()
	if at, end := a.millis("serverTime"), a.millis("sessionExpiry"); at != now || end != ends {
		a.t.Errorf("at %v: serverTime is %v and sessionExpiry %v, want %v", now, at, end, ends)
	}
	a.wantHeader("X-Session-Expires-In", fmt.Sprint((ends - now).Milliseconds()))
	a.wantUncached()
}

// wantOver checks what a response says when the session is over: all windows
// learn of it, and nothing is kept.
func (a *answer) wantOver() {
	a.t.Helper()
	now := a.site.now()
	if at, end := a.millis("serverTime"), a.millis("sessionExpiry"); at != now || end != now {
		a.t.Errorf("at %v: serverTime is %v and sessionExpiry %v, want both now", now, at, end)
	}
	a.wantUncached()
}

func (a *answer) wantUncached() {
	a.t.Helper()
	if !lists(a.header, "Cache-Control", "no-store") || !lists(a.header, "Vary", "Cookie") {
		a.t.Errorf("at %v: Cache-Control %q, Vary %q", a.site.now(), a.header["Cache-Control"], a.header["Vary"])
	}
}

// wantCleared checks that the browser is told to forget the id.
func (a *answer) wantCleared() {
	a.t.Helper()
	c := a.cookie(a.site.idName)
	if c == nil || c.Value != "" || c.MaxAge > 0 || c.Path != "/" || c.Secure != a.site.secure {
		a.t.Fatalf("at %v: the cookie of the id is not cleared: %v", a.site.now(), c)
	}
	year := a.site.mock.Now().Sub(c.Expires).Hours() / 24
	if year < 364 || year > 367 {
		a.t.Errorf("at %v: the cookie of the id expired at %v, want a year ago", a.site.now(), c.Expires)
	}
}

// wantNoCookies checks that the browser keeps what it has, and nothing else is
// kept.
func (a *answer) wantNoCookies() {
	a.t.Helper()
	if len(a.cookies) > 0 {
		a.t.Errorf("at %v: the cookies are %v", a.site.now(), a.header["Set-Cookie"])
	}
	a.wantUncached()
}

// lists reports whether a header that lists tokens has one.
func lists(h http.Header, name, token string) bool {
	for line := range strings.SplitSeq(strings.Join(h[name], ","), ",") {
		if strings.EqualFold(strings.TrimSpace(line), token) {
			return true
		}
	}
	return false
}
