package lapsehttp

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/lapse-go/lapse"
)

func TestIsNavigation(t *testing.T) {
	const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	for _, tt := range []struct {
		method string
		header string // lines
		want   bool
	}{
		{"GET", "Sec-Fetch-Mode: navigate\nSec-Fetch-Dest: document", true},
		{"POST", "Sec-Fetch-Mode: navigate\nSec-Fetch-Dest: document\nAccept: application/json", true},
		{"GET", "Sec-Fetch-Mode: navigate\nSec-Fetch-Dest: iframe", true},
		{"GET", "Sec-Fetch-Mode: navigate", true},
		{"GET", "Sec-Fetch-Dest: document", true},
		{"GET", "Sec-Fetch-Mode: navigate\nSec-Fetch-Dest: object", false},
		{"GET", "Sec-Fetch-Mode: navigate\nSec-Fetch-Dest: empty", false},
		{"GET", "Sec-Fetch-Mode: cors\nSec-Fetch-Dest: empty\nAccept: " + browser, false},
		{"GET", "Sec-Fetch-Mode: no-cors\nSec-Fetch-Dest: image\nAccept: " + browser, false},
		{"GET", "Sec-Fetch-Mode: websocket\nAccept: " + browser, false},
		{"GET", "Sec-Fetch-Dest: empty\nAccept: " + browser, false},
		{"GET", "Sec-Fetch-Mode: navigate\nX-Requested-With: XMLHttpRequest", true},
		{"GET", "X-Requested-With: XMLHttpRequest\nAccept: " + browser, false},
		{"GET", "Accept: " + browser, true},
		{"HEAD", "Accept: " + browser, true},
		{"POST", "Accept: " + browser, true},
		{"PUT", "Accept: " + browser, false},
		{"OPTIONS", "Accept: " + browser, false},
		{"GET", "", false},
		{"GET", "Accept: */*", false},
		{"GET", "Accept: text/*", false},
		{"GET", "Accept: application/json, text/javascript, */*; q=0.01", false},
		{"GET", "Accept: application/json, text/html", false},
		{"GET", "Accept: application/json;q=0.8, text/html;q=0.9", true},
		{"GET", "Accept: application/json;q=0.9, text/html;q=0.8", false},
		{"GET", "Accept: application/problem+json, text/html", false},
		{"GET", "Accept: TEXT/HTML ;charset=utf-8; Q=0.1", true},
		{"GET", "Accept: text/html;q=0", false},
		{"GET", "Accept: text/html;q=-1", false},
		{"GET", "Accept: text/html;q=2", false},
		{"GET", "Accept: text/html;q=NaN", false},
		{"GET", "Accept: text/html;q=x", false},
		{"GET", "Accept: text/html;q=", false},
		{"GET", "Accept: image/png\nAccept: text/html", true},
	} {
		r := httptest.NewRequest(tt.method, "/", nil)
		for line := range strings.SplitSeq(tt.header, "\n") {
			if name, value, ok := strings.Cut(line, ": "); ok {
				r.Header.Add(name, value)
			}
		}
		if got := isNavigation(r); got != tt.want {
			t.Errorf("%s %q: %t", tt.method, tt.header, got)
		}
	}
}

func FuzzIsNavigation(f *testing.F) {
	f.Add("GET", "navigate", "document", "", "")
	f.Add("GET", "", "", "", "text/html;q=0.9,*/*;q=0.8")
	f.Add("POST", "", "", "XMLHttpRequest", "text/html;;q=,,application/json;q=.")
	f.Fuzz(func(t *testing.T, method, mode, dest, with, accept string) {
		r := &http.Request{Method: method, Header: make(http.Header)}
		for name, value := range map[string]string{"Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest, "X-Requested-With": with, "Accept": accept} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		got := isNavigation(r)
		html := strings.Contains(strings.ToLower(accept), "html")
		switch {
		case mode != "" || dest != "":
			if got != ((mode == "" || mode == "navigate") && (dest == "" || dest == "document" || dest == "iframe" || dest == "frame")) {
				t.Errorf("%v: %t, whatever the rest says", r.Header, got)
			}
		case got && (with != "" || !html):
			t.Errorf("%v: a page for what may be a script", r.Header)
		}
	})
}

func FuzzActivityHeader(f *testing.F) {
	f.Add("poll")
	f.Add(" , PEEK;, touch")
	f.Add("PEEK\f") // no space of a header, nor a peek
	f.Fuzz(func(t *testing.T, line string) {
		r := &http.Request{Method: "GET", Header: http.Header{activityHeader: {line}}}
		for _, act := range []Activity{Touch, Poll, Peek} {
			if got := lowered(act, r); got < act || got > Peek {
				t.Errorf("%q makes a %v a %v", line, act, got)
			}
		}
		if strings.EqualFold(strings.Trim(line, " \t"), "peek") && lowered(Touch, r) != Peek {
			t.Errorf("%q is no peek", line)
		}
	})
}

func TestReturnPath(t *testing.T) {
	for _, tt := range []struct{ request, referer, want string }{
		{"GET /", "", "/"},
		{"GET /a?b=c%20d&next=//x", "", "/a?b=c%20d&next=//x"},
		{"HEAD /a", "http://example.com/b", "/a"},
		{"GET //evil.example/", "", "/"},
		{"GET /\\evil.example/", "", "/"},
		{"GET /a\\b", "", "/"},
		{"GET http://evil.example/a", "", "/a"}, // a proxy's form
		{"GET /" + strings.Repeat("a", 3000), "", "/"},
		{"POST /save", "", "/save"},
		{"POST /save", "http://example.com/edit?id=1#top", "/edit?id=1"},
		{"POST /save", "http://evil.example/edit", "/save"},
		{"POST /save", "http://example.com//evil.example", "/"},
		{"POST /save", "%", "/save"},
	} {
		method, target, _ := strings.Cut(tt.request, " ")
		r := httptest.NewRequest(method, "/", nil)
		r.Host = "example.com"
		r.RequestURI = target
		if u, err := url.ParseRequestURI(target); err == nil {
			r.URL = u
		}
		if tt.referer != "" {
			r.Header.Set("Referer", tt.referer)
		}
		if got := returnPath(r); got != tt.want {
			t.Errorf("%s from %q: %q, want %q", tt.request, tt.referer, got, tt.want)
		}
	}
}

func TestReturnPathOf(t *testing.T) {
	for next, want := range map[string]string{
		"/account?tab=2":          "/account?tab=2",
		"":                        "/",
		"account":                 "/",
		"//evil.example":          "/",
		"/\\evil.example":         "/",
		"\\\\evil.example":        "/",
		"https://evil.example":    "/",
		"javascript:alert(1)":     "/",
		"/\t/evil.example":        "/",
		"/\n/evil.example":        "/",
		" //evil.example":         "/",
		"/a\r\nSet-Cookie: a=b":   "/",
		"/%2F/evil.example":       "/%2F/evil.example",
		"/%5Cevil.example":        "/%5Cevil.example",
		"/é":                      "/",
		"/\x00":                   "/",
		"/a#top":                  "/a#top",
		strings.Repeat("/a", 999): strings.Repeat("/a", 999),
	} {
		form := url.Values{"next": {next}}
		for _, r := range []*http.Request{
			httptest.NewRequest("GET", "/login?"+form.Encode(), nil),
			httptest.NewRequest("POST", "/login", strings.NewReader(form.Encode())),
		} {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if got := ReturnPath(r); got != want {
				t.Errorf("%s with %q: %q, want %q", r.Method, next, got, want)
			}
		}
	}
}

// FuzzReturnPath has a browser's rules follow whatever ReturnPath gives.
func FuzzReturnPath(f *testing.F) {
	for _, next := range []string{"/a", "//evil", "/\\evil", "/./" + "/evil", "/%0a/evil", "/a//b", "https:evil", "/..//evil", "/\u2028/evil"} {
		f.Add(next)
	}
	base, _ := url.Parse("https://site.example/login")
	f.Fuzz(func(t *testing.T, next string) {
		got := cleanReturn(next)
		// A browser takes a backslash for a slash, and drops tabs and newlines.
		seen := strings.NewReplacer("\\", "/", "\t", "", "\n", "", "\r", "").Replace(got)
		u, err := base.Parse(seen)
		if err != nil {
			return // it goes nowhere
		}
		if u.Host != base.Host || u.Scheme != base.Scheme || u.User != nil {
			t.Errorf("%q: %q leads to %s", next, got, u)
		}
		if got != next && got != "/" {
			t.Errorf("%q becomes %q", next, got)
		}
		w := httptest.NewRecorder()
		http.Redirect(w, httptest.NewRequest("POST", "/login", nil), got, http.StatusSeeOther)
		if to, err := base.Parse(w.Header().Get("Location")); err != nil || to.Host != base.Host {
			t.Errorf("%q: http.Redirect goes to %s (%v)", next, to, err)
		}
	})
}

func TestLogin(t *testing.T) {
	for _, tt := range []struct{ login, request, want string }{
		{"/login", "GET /account", "/login?next=%2Faccount"},
		{"/login?lang=en", "GET /account?a=b", "/login?lang=en&next=%2Faccount%3Fa%3Db"},
		{"/login#form", "GET /account", "/login?next=%2Faccount#form"},
		{"/#/login", "GET /account", "/?next=%2Faccount#/login"},
		{"https://id.example/in", "GET /in", "https://id.example/in?next=%2Fin"},
		{"/login", "GET /login/me", "/login?next=%2Flogin%2Fme"},
		{"/log/in/", "GET /log/in", ""},
		{"/log/in", "GET /log/in/", ""},
		{"/", "GET /", ""},
		{"/login", "GET /login", ""},
		{"/login?a=b", "GET /login?next=%2Faccount", ""},
		{"/log%20in", "GET /log%20in", ""},
		{"http://example.com/in", "GET /in", ""},
		{"", "GET /account", ""},
	} {
		m := newTest(t, lapse.Options{}, Options[string]{LoginURL: tt.login})
		method, target, _ := strings.Cut(tt.request, " ")
		r := httptest.NewRequest(method, target, nil)
		r.Header.Set("Accept", "text/html")
		status := http.StatusSeeOther
		if tt.want == "" {
			status = http.StatusUnauthorized
		}
		// The log-in page's path is the one that the browser sees.
		h := http.StripPrefix(strings.TrimSuffix(r.URL.Path, "in"), m.Require(ok))
		w := serve(t, h, r, status)
		if got := w.Header().Get("Location"); got != tt.want {
			t.Errorf("%s: %s leads to %q, want %q", tt.login, tt.request, got, tt.want)
		}
		if tt.want == "" && (!strings.Contains(w.Body.String(), "<h1>") || w.Header().Get("WWW-Authenticate") != "Session") {
			t.Errorf("%s: %s: %v %s", tt.login, tt.request, w.Header(), w.Body)
		}
	}
}

// TestRefusalOfHEAD has the length of a body that is not sent.
func TestRefusalOfHEAD(t *testing.T) {
	m := newTest(t, lapse.Options{}, Options[string]{})
	get := serve(t, m.Require(ok), request("GET", "/"), http.StatusUnauthorized)
	head := serve(t, m.Require(ok), request("HEAD", "/"), http.StatusUnauthorized)
	if head.Body.Len() != 0 || head.Header().Get("Content-Length") != get.Header().Get("Content-Length") {
		t.Errorf("HEAD: %v %s", head.Header(), head.Body)
	}
	if c := get.Result().Cookies(); len(c) != 0 {
		t.Errorf("cookies for nobody: %v", c)
	}
}

func TestOwnRefusal(t *testing.T) {
	var ends []lapse.Ending
	inBubble(t, lapse.Options{Remember: 1}, Options[string]{
		Routes: Routes{"/poll": Poll},
		Refuse: func(w http.ResponseWriter, r *http.Request, end lapse.Ending) {
			if _, ok := FromContext[string](r.Context()); ok {
				t.Error("a session in Refuse")
			}
			ends = append(ends, end)
			w.WriteHeader(http.StatusTeapot)
		},
	}, func(t *testing.T, m *testManager) {
		s, id := start(t, m, "Ada")
		s.Expire()
		for _, path := range []string{"/page", "/poll"} {
			for _, r := range []*http.Request{request("GET", path), request("GET", path, id), request("GET", path, ID{})} {
				w := serve(t, m.Require(ok), r, http.StatusTeapot)
				if h := w.Header(); h.Get("Cache-Control") != "no-store" || h.Get("Vary") != "Cookie" {
					t.Errorf("%s: %v", path, h)
				}
				if (cookie(w, "session") != nil) != (r.Header.Get("Cookie") != "") {
					t.Errorf("%s: %v", path, w.Header())
				}
			}
		}
		if len(ends) != 6 || ends[1].Reason != lapse.ReasonExpired || ends[4] != ends[1] || ends[0].Reason != 0 || ends[2].Reason != 0 {
			t.Errorf("ends: %v", ends)
		}
		// The client of the endpoints is answered in the way it knows.
		w := serve(t, m.Handler(m.Endpoints()), request("GET", "/session/keepalive", id), http.StatusUnauthorized)
		var body refusal
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body.Error != errTimeout || body.Reason != "expired" || body.EndedAt != ends[1].At.UnixMilli() {
			t.Errorf("%s (%v)", w.Body, err)
		}
	})
}
