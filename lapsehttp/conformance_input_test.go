package lapsehttp_test

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/lapse-go/lapse"
	"github.com/lapse-go/lapse/lapsehttp"
)

// whole is all of a response that its client can see, with the times taken out.
func (a *answer) whole() string {
	var b strings.Builder
	fmt.Fprintln(&b, a.status)
	h := a.header.Clone()
	h.Del("Date")
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, v := range h[name] {
			for _, c := range a.cookies {
				if name == "Set-Cookie" && c.Raw == v && c.Value != "" {
					v = strings.Replace(v, c.Value, "TIME", 1)
				}
			}
			fmt.Fprintf(&b, "%s: %s\n", name, v)
		}
	}
	fmt.Fprintf(&b, "\n%s", a.body)
	return b.String()
}

// newInputSite makes a site with one page of each kind.
func newInputSite(t *testing.T) *site {
	s := newSite(t, setup{
		policy: lapse.Policy{Idle: 600 * sec},
		http:   lapsehttp.Options[string]{LoginURL: "/login", Routes: lapsehttp.Routes{"/score": lapsehttp.Poll, "/score/open": lapsehttp.Poll}},
	})
	s.mux.Handle("/score", s.manager.Require(http.HandlerFunc(whose)))
	s.handle("/score/open", whose)
	return s
}

// direct asks the handler without a server between, with a Cookie header that
// no client would send.
func (s *site) direct(path string, cookies ...string) *answer {
	r := httptest.NewRequest("GET", path, nil)
	if len(cookies) > 0 {
		r.Header["Cookie"] = cookies
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	res := w.Result()
	return &answer{s.t, s, res.StatusCode, res.Header, w.Body.String(), res.Cookies()}
}

func TestConformanceUnknownIDs(t *testing.T) {
	pages := []string{"/page", "/score", "/score/open", "/free", "/session/keepalive", "/session/status", "/session/events"}

	t.Run("case=60", func(t *testing.T) {
		s := newInputSite(t)
		b, session := s.login("Ada")
		dead := b.id()
		session.Expire()
		goroutines := runtime.NumGoroutine()
		files := openFiles()
		for range 250 {
			// Also where nothing but the route's mark asks for a session.
			for _, path := range []string{"/score", "/score/open"} {
				s.browser().get(path).want(http.StatusUnauthorized).
					wantJSON(`{"success":false,"error":"NOT_LOGGED_IN","login":"/login"}`)
				s.with(dead).get(path).want(http.StatusUnauthorized).
					wantJSON(`{"success":false,"error":"SESSION_TIMEOUT","login":"/login"}`)
			}
		}
		s.wantLen(0)
		if live := s.engine.Stats().Live["default"]; live != 0 {
			t.Errorf("%d sessions", live)
		}
		if n := runtime.NumGoroutine(); n > goroutines+10 {
			t.Errorf("%d goroutines, %d before", n, goroutines)
		}
		if n := openFiles(); n > files+10 {
			t.Errorf("%d files are open, %d before", n, files)
		}
	})

	// Nobody can tell by the answer whether an id was ever a session's.
	t.Run("case=60/same", func(t *testing.T) {
		s := newInputSite(t)
		ids := unknownIDs(t, s)
		for _, path := range pages {
			for _, ask := range []func(*browser) *answer{
				func(b *browser) *answer { return b.get(path) },
				func(b *browser) *answer { return b.navigate("GET", path) },
				func(b *browser) *answer { return b.send("HEAD", path, nil) },
				func(b *browser) *answer { return b.post(path) },
			} {
				want := ""
				for _, name := range slices.Sorted(maps.Keys(ids)) {
					got := ask(s.with(ids[name])).whole()
					if want == "" {
						want = got
					}
					if got != want {
						t.Errorf("%s for an id that is %s:\n%s\nfor others:\n%s", path, name, got, want)
					}
				}
			}
		}
		a := s.with(ids["forged"]).get("/page")
		a.wantCleared()
		a.wantOver()
	})

	// Nor by the work that it takes: the engine reads its clock once for each
	// look-up.
	t.Run("case=60/work", func(t *testing.T) {
		s := newInputSite(t)
		s.handle("POST /renew", func(w http.ResponseWriter, r *http.Request) { s.manager.Renew(w, r) })
		b, _ := s.login("Ada")
		renewed := b.id()
		b.post("/renew").want(http.StatusOK)
		ids := unknownIDs(t, s) // and an hour has passed
		ids["renewed"] = renewed
		delete(ids, "maliciousid") // which has not the shape, and is not looked for
		b.login("Ada")
		b.post("/renew").want(http.StatusOK) // so that there is some grace to look for
		readings := func(cookies ...string) int64 {
			before := s.clock.n.Load()
			s.direct("/page", cookies...).want(http.StatusUnauthorized)
			return s.clock.n.Load() - before
		}
		want := readings(s.idName + "=" + ids["forged"])
		for name, id := range ids {
			if got := readings(s.idName + "=" + id); got != want {
				t.Errorf("an id that is %s takes %d readings of the clock, others %d", name, got, want)
			}
		}
		// Ever more ids in one request are not ever more work.
		var many []string
		for n := range 1000 {
			many = append(many, fmt.Sprintf("%s=%032x", s.idName, n))
		}
		if got := readings(strings.Join(many, "; ")); got > 2*want {
			t.Errorf("a thousand ids take %d readings of the clock, one %d", got, want)
		}
	})

	t.Run("case=60/many", func(t *testing.T) {
		s := newInputSite(t)
		ids := unknownIDs(t, s)
		live, before := s.engine.Len(), int64(0)
		want := make(map[string]string)
		for _, path := range pages {
			want[path] = s.direct(path, s.idName+"="+ids["logged out"]).whole()
		}
		random := rand.New(rand.NewPCG(1, 2))
		for n := range 10_000 {
			if n == 1000 {
				before = heap()
			}
			path := pages[n%len(pages)]
			id := fmt.Sprintf("%016x%016x", random.Uint64(), random.Uint64())
			if got := s.direct(path, s.idName+"="+id).whole(); got != want[path] {
				t.Fatalf("%s for an unknown id:\n%s\nfor a dead one:\n%s", path, got, want[path])
			}
		}
		s.wantLen(live)
		if grown := heap() - before; grown > 9000*16 {
			t.Errorf("the heap has grown by %d bytes for 9000 unknown ids", grown)
		}
		runtime.KeepAlive(s)
	})
}

// heap is the number of bytes that are in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// openFiles counts the files that this process has open, where the system tells.
func openFiles() int {
	all, _ := os.ReadDir("/proc/self/fd")
	return len(all)
}

func TestConformanceBadCookies(t *testing.T) {
	t.Run("case=36/shapes", func(t *testing.T) {
		s := newInputSite(t)
		b, session := s.login("Ada")
		live := b.id()
		s.pass(sec)
		name := s.idName
		forged := strings.Repeat("0", 32)
		want := s.direct("/page", name+"="+forged).want(http.StatusUnauthorized).whole()
		values := []string{
			"", "=", "\"\"", "0", "undefined", "null", "deleted", live[:31], live + "0", live[:16], live + live, live[1:] + "g", "-" + live[1:],
			"0x" + live[2:], live[:31] + "\x00", "\x00" + live[1:], live + "\x00", live[:15] + " " + live[16:], live[:30] + "%30", "%" + live[1:],
			strings.Repeat("é", 16), strings.Repeat("\xff", 32), strings.Repeat("٣", 32), strings.Repeat("Ａ", 11), "../../etc/passwd", "' OR 1=1 --",
			"{\"id\":1}", live + ",", live + ":", live + "=", "=" + live, "$" + live, "{" + live[:8] + "-" + live[8:] + "}", "\t" + live[1:],
			strings.Repeat("a", 4096), strings.Repeat("0", 1<<16), "\r\nSet-Cookie: a=b",
		}
		for _, v := range values {
			if _, err := lapsehttp.ParseID(v); err == nil || len(v) > 8 && strings.Contains(err.Error(), v) {
				t.Errorf("ParseID(%.80q): %v", v, err)
			}
			for _, line := range []string{name + "=" + v, "a=b; " + name + "=" + v + "; c=d"} {
				if got := s.direct("/page", line).whole(); got != want {
					t.Errorf("%.80q gives\n%s\nand not\n%s", line, got, want)
				}
			}
		}
		// What is not a cookie of that name is none.
		none := s.direct("/page").want(http.StatusUnauthorized).whole()
		for _, line := range []string{
			"", ";", ";;;;", "=", "a", name, name + live, "x" + name + "=" + live, strings.ToUpper(name) + "=" + live, name + "x=" + live,
			name[1:] + "=" + live, "=" + name + "=" + live, "a=" + name + "=" + live, strings.Repeat(";", 1<<16), live, "$Version=1", "\x00",
		} {
			if got := s.direct("/page", line).whole(); got != none {
				t.Errorf("%.80q gives\n%s\nand not\n%s", line, got, none)
			}
		}
		// None of it was an activity, and what ParseID takes is what a cookie is.
		s.wantInfo(session, 0, 0)
		s.wantLen(1)
		for _, v := range []string{live, strings.ToUpper(live), " " + live, live + " ", "\"" + live + "\""} {
			_, err := lapsehttp.ParseID(v)
			a := s.direct("/page", name+"="+v)
			if ok := a.status == http.StatusOK; ok != (err == nil) && strings.TrimSpace(v) == v && v[0] != '"' {
				t.Errorf("the cookie %q gives %d, ParseID says %v", v, a.status, err)
			}
			if a.status == http.StatusOK {
				a.wantBody("Ada")
			}
		}
		s.direct("/page", name+"="+live).want(http.StatusOK).wantBody("Ada")
	})

	t.Run("case=36/several", func(t *testing.T) {
		s := newInputSite(t)
		b, ada := s.login("Ada")
		adas := s.idName + "=" + b.id()
		b, eve := s.login("Eve")
		eves := s.idName + "=" + b.id()
		b, ended := s.login("Bob")
		deads := s.idName + "=" + b.id()
		ended.Expire()
		s.pass(sec)

		// Garbage beside a live id, from another path or domain, does not log out.
		for _, lines := range [][]string{
			{adas + "; " + deads}, {deads + "; " + adas}, {adas, deads}, {deads, adas},
			{adas + "; " + adas}, {adas, adas}, {adas + "; " + adas + "; " + adas + "; " + adas}, {adas + "; " + s.idName + "="}, {s.idName + "=x; " + adas},
			{strings.Repeat("a=b; ", 1000) + adas}, {adas + "; " + strings.Repeat(s.idName+"=x; ", 1000)},
		} {
			a := s.direct("/page", lines...).want(http.StatusOK)
			a.wantBody("Ada")
			if c := a.cookie(s.idName); c != nil {
				t.Errorf("%.100q: the cookie of the id is set: %v", lines, c)
			}
		}
		s.wantInfo(ada, sec, 0)

		// Of two live ones, one may have been planted. The order does not decide.
		for _, lines := range [][]string{{adas + "; " + eves}, {eves + "; " + adas}, {adas, eves}, {eves, adas}} {
			a := s.direct("/page", lines...).want(http.StatusUnauthorized)
			a.wantCleared()
			a.wantOver()
		}
		s.wantInfo(eve, 0, 0)

		// Too many ids are no id; what they cost does not depend on which are live.
		var many []string
		for n := range 1000 {
			many = append(many, fmt.Sprintf("%s=%032x", s.idName, n))
		}
		want := s.direct("/page", strings.Join(many, "; ")).want(http.StatusUnauthorized).whole()
		for _, at := range []int{0, 1, 500, 999} {
			if got := s.direct("/page", strings.Join(slices.Insert(slices.Clone(many), at, adas), "; ")).whole(); got != want {
				t.Errorf("a live id among a thousand forged ones, as number %d:\n%s\nnone:\n%s", at, got, want)
			}
		}
		s.wantLen(2)
	})

	t.Run("oversized", func(t *testing.T) {
		s := newInputSite(t)
		b, session := s.login("Ada")
		s.pass(sec)
		big := strings.Repeat("x", 200_000)
		for _, header := range [][]string{
			{"X-Session-Activity", big},
			{"X-Session-Activity", strings.Repeat(",", 200_000)},
			{"X-Session-Activity", strings.Repeat("poll touch ", 10_000)},
			{"Accept", strings.Repeat("text/html;q=0.1,", 10_000)},
			{"Accept", strings.Repeat("*/*;q=;;;==,", 10_000)},
			{"Accept", "text/html" + strings.Repeat(";", 100_000)},
			{"Sec-Fetch-Mode", big}, {"Sec-Fetch-Dest", big}, {"X-Requested-With", big}, {"Referer", "http://" + big},
			{"Cookie", "a=" + big}, {"Cookie", strings.Repeat("=;", 100_000)},
		} {
			b.get("/page", header...).want(http.StatusOK).wantBody("Ada")
			s.browser().get("/page", header...)
			a := s.browser().navigate("GET", "/page", header...)
			if a.status != http.StatusSeeOther && a.status != http.StatusUnauthorized {
				t.Errorf("%s: status %d", header[0], a.status)
			}
		}
		s.wantInfo(session, sec, 0)
		many := make([]string, 0, 2000)
		for range 1000 {
			many = append(many, "X-Session-Activity", "touch")
		}
		b.get("/page", append(many, "X-Session-Activity", "poll")...).want(http.StatusOK)
		s.wantInfo(session, sec, 1)
		// A path that is too long to come back to.
		a := s.browser().navigate("GET", "/page?"+big).want(http.StatusSeeOther)
		if n := len(a.header.Get("Location")); n > 8000 {
			t.Errorf("Location has %d bytes", n)
		}
		s.wantLen(1)
	})

	// What net/http lets through of a request that is hardly one.
	t.Run("raw", func(t *testing.T) {
		s := newInputSite(t)
		b, session := s.login("Ada")
		for _, request := range []string{
			"GET /page HTTP/1.0\r\nCookie: %s\r\n\r\n",
			"GET /page HTTP/1.1\r\nHost: h\r\ncookie:%s\r\nConnection: close\r\n\r\n",
			"GET http://elsewhere.example/page HTTP/1.1\r\nHost: h\r\nCookie: %s\r\nConnection: close\r\n\r\n",
			"GET /page HTTP/1.1\r\nHost:\r\nCookie: %s\r\nConnection: close\r\n\r\n",
			"GET /page HTTP/1.1\r\nHost: h\r\nCookie: a=b\r\nCookie: %s\r\nConnection: close\r\n\r\n",
		} {
			if got := s.raw(fmt.Sprintf(request, s.idName+"="+b.id())); !strings.HasPrefix(got, "HTTP/1.") || !strings.Contains(got, " 200 OK\r\n") || !strings.HasSuffix(got, "Ada") {
				t.Errorf("%q gives %q", request, got)
			}
			if got := s.raw(fmt.Sprintf(request, s.idName+"="+strings.Repeat("0", 32))); !strings.Contains(got, " 401 Unauthorized\r\n") {
				t.Errorf("%q without an id that is live gives %q", request, got)
			}
		}
		for _, request := range []string{
			"OPTIONS * HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
			"GET  HTTP/1.1\r\n\r\n", "GET /page\r\n\r\n", "BREW /page HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
			"CONNECT h:443 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
			"GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n", "GET /page HTTP/1.1\r\nHost: h\r\nCookie: \x01\r\n\r\n",
		} {
			if got := s.raw(request); !strings.HasPrefix(got, "HTTP/1.1 ") || strings.HasPrefix(got, "HTTP/1.1 5") {
				t.Errorf("%q gives %q", request, got)
			}
		}
		if !session.Alive() {
			t.Error("the session has ended")
		}
		s.wantLen(1)
	})
}

// raw sends these bytes to the server, and reads all of the answer.
func (s *site) raw(request string) string {
	s.t.Helper()
	c, err := net.Dial("tcp", s.srv.Listener.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, request)
	b, err := io.ReadAll(bufio.NewReader(c))
	if err != nil {
		s.t.Errorf("%q: %v", request, err)
	}
	return string(b)
}
