package lapsehttp_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/lapse-go/lapse"
	"github.com/lapse-go/lapse/lapsehttp"
)

// A sentTo is a Location that leads to a log-in page.
type sentTo struct {
	path, fragment string
	query          url.Values
	back           string // what ReturnPath makes of it
}

// returned reads the Location of a refusal.
func returned(a *answer) sentTo {
	a.t.Helper()
	u, err := url.Parse(a.header.Get("Location"))
	if err != nil || u.Host != "" || u.Scheme != "" || u.User != nil {
		a.t.Fatalf("Location is %q: %v", a.header.Get("Location"), err)
	}
	return sentTo{u.Path, u.Fragment, u.Query(), lapsehttp.ReturnPath(httptest.NewRequest("GET", u.RequestURI(), nil))}
}

// staysHere reports whether a browser that is at this site and follows to stays
// there. It reads to as the URL standard has browsers do, which take tabs and
// line breaks out, spaces off, and a backslash for a slash.
func staysHere(to string) bool {
	to = strings.Trim(to, " \t\r\n\f\v\x00")
	to = strings.NewReplacer("\t", "", "\r", "", "\n", "", "\\", "/").Replace(to)
	return strings.HasPrefix(to, "/") && !strings.HasPrefix(to, "//")
}

// nasty are return paths that lead elsewhere in some browser or server.
var nasty = []string{
	"//evil.example", "//evil.example/page", "///evil.example", "////evil.example", "//evil.example/..;/",
	"/\\evil.example", "\\\\evil.example", "\\/evil.example", "/\\/evil.example", "/\\\\evil.example", "\\evil.example",
	"/\t/evil.example", "/\n/evil.example", "/\r\n/evil.example", "\t//evil.example", " //evil.example", "/ /evil.example", "\x00//evil.example",
	"/\t\\evil.example", "/\x0b/evil.example", "/\x7f/evil.example", "//\tevil.example",
	"http://evil.example", "https://evil.example/", "HTTPS://EVIL.EXAMPLE", "http:evil.example", "http:/evil.example", "https:///evil.example", "://evil.example",
	"javascript:alert(1)", "JaVaScRiPt:alert(1)", "java\nscript:alert(1)", "data:text/html,x", "vbscript:x", "file:///etc/passwd", "blob:x", "mailto:a@b",
	"evil.example", "@evil.example", ".evil.example", "?next=//evil.example", "#//evil.example", "", " ", "\\", "/\u2028/evil.example", "／／evil.example", "/／evil.example",
	"//user:pass@evil.example", "//[::1]/", "//evil.example:443/x", "//evil%2eexample", "/\u200b/evil.example",
	"/page\r\nSet-Cookie: a=b", "/page\nLocation: //evil.example",
}

func TestConformanceReturnPath(t *testing.T) {
	// Anybody can make up the parameter of the log-in page.
	t.Run("case=134/nasty", func(t *testing.T) {
		for _, to := range nasty {
			for _, r := range []*http.Request{
				httptest.NewRequest("GET", "/login?next="+url.QueryEscape(to), nil),
				form(url.Values{"next": {to}}),
			} {
				got := lapsehttp.ReturnPath(r)
				if !staysHere(got) || strings.Contains(got, "evil") || strings.ContainsAny(got, "\r\n\t\\ \x00") {
					t.Errorf("%s with the parameter %q returns to %q", r.Method, to, got)
				}
			}
		}
		for _, to := range []string{"/", "/page", "/page?a=1&b=2", "/a//b", "/a/../b", "/caf%C3%A9", "/a%2Fb", "/x?u=https://else.example/", "/@a", "/a:b", "/%5Cevil.example", "/;a", "/a#part"} {
			if got := lapsehttp.ReturnPath(httptest.NewRequest("GET", "/login?next="+url.QueryEscape(to), nil)); got != to {
				t.Errorf("%q returns to %q", to, got)
			}
		}
		for _, query := range []string{"", "?", "?next", "?next=", "?next=%zz", "?next=%2", "?NEXT=/page", "?next=" + strings.Repeat("/a", 5000)} {
			if got := lapsehttp.ReturnPath(httptest.NewRequest("GET", "/login"+query, nil)); got != "/" {
				t.Errorf("%.50q returns to %.50q", query, got)
			}
		}
	})

	// Whatever path is asked for, the Location is this site's log-in page, and
	// what it returns to is this site.
	t.Run("case=134/asked", func(t *testing.T) {
		s := newSite(t, setup{bare: true, http: lapsehttp.Options[string]{LoginURL: "/login"}})
		check := func(name, location string) {
			t.Helper()
			u, err := url.Parse(location)
			if err != nil || u.Scheme != "" || u.Host != "" || u.Path != "/login" || !strings.HasPrefix(location, "/login?") || !staysHere(location) {
				t.Errorf("%q: Location is %q (%v)", name, location, err)
				return
			}
			for key, values := range u.Query() {
				for _, v := range values {
					if !staysHere(v) {
						t.Errorf("%q: %s is %q", name, key, v)
					}
				}
			}
		}
		for _, target := range []string{
			"//evil.example", "//evil.example/page", "///evil.example", "/\\evil.example", "/\\/evil.example", "/%5cevil.example", "/%2f/evil.example",
			"/%09/evil.example", "/%0d%0aSet-Cookie:a=b", "/.//evil.example", "/..//evil.example", "//evil.example/%2e%2e", "/;//evil.example", "/?//evil.example",
			"/page?next=//evil.example", "/page?next=https://evil.example&next=/x", "http://evil.example/page", "http://evil.example//evil.example", "https://evil.example",
			"/@evil.example", "/:evil.example", "/%00", "/page?\\evil", "/a b", "/caf\xc3\xa9", "/%zz",
		} {
			raw := s.raw("GET " + target + " HTTP/1.1\r\nHost: here.example\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nConnection: close\r\n\r\n")
			status, rest, _ := strings.Cut(raw, "\r\n")
			if strings.Contains(status, " 400 ") {
				continue // net/http knows it for no request
			}
			_, location, _ := strings.Cut(rest, "Location: ")
			location, _, _ = strings.Cut(location, "\r\n")
			if !strings.Contains(status, " 303 ") {
				t.Errorf("%q: %s", target, raw)
			}
			check(target, location)
			if strings.Contains(rest, "\r\nSet-Cookie") {
				t.Errorf("%q makes headers of its own: %s", target, rest)
			}
		}
		// A request that is no GET comes back to the page it came from, if that
		// is this site's.
		host := strings.TrimPrefix(s.srv.URL, "http://")
		for referer, want := range map[string]string{
			s.srv.URL + "/form?a=1":                    "/form?a=1",
			"http://evil.example/form":                 "",
			"//" + host + "/form":                      "",
			s.srv.URL + "//evil.example":               "/",
			s.srv.URL + "/\\else.example":              "",
			"http://" + host + "@evil.example/form":    "",
			"http://" + host + ".evil.example/form":    "",
			"javascript:alert(1)//" + host:             "",
			"http://evil.example/" + s.srv.URL + "/me": "",
			"": "",
		} {
			var header []string
			if referer != "" {
				header = []string{"Referer", referer}
			}
			a := s.browser().navigate("POST", "/save", header...).want(http.StatusSeeOther)
			check(referer, a.header.Get("Location"))
			if back := returned(a).back; want != "" && back != want || strings.Contains(back, "evil") {
				t.Errorf("from %q it returns to %q, want %q", referer, back, want)
			}
		}
	})
	t.Run("case=134/stripped", func(t *testing.T) {
		s := newSite(t, setup{http: lapsehttp.Options[string]{LoginURL: "/login"}})
		s.mux.Handle("/app/", http.StripPrefix("/app", s.manager.Require(http.HandlerFunc(whose))))
		if back := returned(s.browser().navigate("GET", "/app/x?y").want(http.StatusSeeOther)).back; back != "/app/x?y" {
			t.Errorf("it returns to %q", back)
		}
	})

	// A log-in page on another site gets a path, which means nothing there.
	t.Run("case=134/elsewhere", func(t *testing.T) {
		s := newSite(t, setup{http: lapsehttp.Options[string]{LoginURL: "https://login.example/in?app=7"}})
		a := s.browser().navigate("GET", "/page").want(http.StatusSeeOther)
		u, err := url.Parse(a.header.Get("Location"))
		if err != nil || u.Scheme != "https" || u.Host != "login.example" || u.Path != "/in" || u.Query().Get("app") != "7" {
			t.Errorf("Location is %q", a.header.Get("Location"))
		}
		for _, login := range []string{"login", "?login", "javascript:alert(1)", "//", "///login", "//login.example", "https://", "ftp://login.example/", "/lo gin", "/login\r\nSet-Cookie: a=b", "/\\login", "http://%zz/", "mailto:a@b.example"} {
			if _, err := lapsehttp.New(s.engine, lapsehttp.Options[string]{LoginURL: login}); err == nil || !strings.Contains(err.Error(), "LoginURL") {
				t.Errorf("the LoginURL %q: %v", login, err)
			}
		}
	})

	// A log-in page that itself needs a session must not send the browser round
	// in circles, each time with a longer way back.
	t.Run("case=134/circle", func(t *testing.T) {
		for login, pattern := range map[string]string{
			"/login": "GET /login", "/login?x=1": "GET /login", "/login#x": "GET /login", "/in/": "/in/", "/in": "/in/", "/caf%C3%A9": "/café",
		} {
			s := newSite(t, setup{policy: lapse.Policy{Idle: 60 * sec}, http: lapsehttp.Options[string]{LoginURL: login}})
			s.mux.Handle(pattern, s.manager.Require(http.HandlerFunc(whose)))
			dead, _ := s.login("Ada")
			s.advance(60 * sec)
			for _, b := range []*browser{s.browser(), dead} {
				redirects := 0
				b.client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
					redirects++
					if len(via) > 5 {
						return http.ErrUseLastResponse
					}
					return nil
				}
				a := b.navigate("GET", "/page?a=1").want(http.StatusUnauthorized)
				a.wantUncached()
				if redirects > 2 { // the mux may add a slash
					t.Errorf("%s: %d redirects", login, redirects)
				}
			}
		}
	})
}

func form(values url.Values) *http.Request {
	r := httptest.NewRequest("POST", "/login", strings.NewReader(values.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}
