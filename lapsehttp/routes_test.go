package lapsehttp

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/lapse-go/lapse"
)

func TestRouteErrors(t *testing.T) {
	for _, tt := range []struct {
		pattern string
		act     Activity
		want    []string // in the error
	}{
		{"score", Poll, []string{"leading slash", `"/score"`}},
		{"GET score", Poll, []string{"leading slash", `"GET /score"`}},
		{"score/live", Poll, []string{"leading slash", `"/score/live"`}},
		{"PUT static/", Poll, []string{"leading slash", `"PUT /static/"`}},
		{"get /score", Poll, []string{"want GET"}},
		{"/a//b", Poll, []string{`want "/a/b"`}},
		{"GET h.example/a/../b/", Poll, []string{`want "GET h.example/b/"`}},
		{"/a?b", Poll, []string{`want "/a"`}},
		{"/{x}/{x}", Poll, []string{"ServeMux", "duplicate"}},
		{"/{", Poll, []string{"ServeMux"}},
		{"B@D /", Poll, []string{"ServeMux", "method"}},
		{"/a", 3, []string{"Activity(3)", "Peek"}},
		{"/session/keepalive", Touch, []string{"keepalive", "poll"}},
		{"GET /session/status", Poll, []string{"status", "peek"}},
	} {
		_, err := newRouter(Routes{tt.pattern: tt.act, "/fine": Poll}, "/session/")
		names(t, err, append(tt.want, "Options.Routes", `"`+tt.pattern+`"`)...)
	}
	_, err := newRouter(Routes{"/a/{x}": Poll, "/{y}/b": Peek}, "/session/")
	names(t, err, "conflicts", `"/a/{x}"`, `"/{y}/b"`)
	for _, fine := range []Routes{
		nil,
		{"localhost/": Poll, "h.example/": Peek, "GET /{$}": Touch, "POST /a/{b}/{c...}": Peek},
		{"/session/keepalive": Poll, "/session/status": Peek, "/session/": Touch, "/session/client.js": Peek},
		{"CONNECT h.example/": Peek},
	} {
		if _, err := newRouter(fine, "/session/"); err != nil {
			t.Error(err)
		}
	}
}

func TestActivity(t *testing.T) {
	t.Parallel()
	router, err := newRouter(Routes{
		"/": Touch, "GET /score": Poll, "/static/": Peek, "/api/{name}": Peek, "POST /api/{name}": Touch, "h.example/score": Peek,
	}, "/session/")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		request string
		header  string // name: value
		want    Activity
		marked  bool
	}{
		{"GET /", "", Touch, false},
		{"GET /score", "", Poll, true},
		{"HEAD /score", "", Poll, true},
		{"POST /score", "", Touch, false},
		{"GET /score/more", "", Touch, false},
		{"GET /static", "", Peek, false},
		{"GET /static/", "", Peek, false},
		{"GET /a/../static//x.css", "", Peek, false},
		{"GET /api/a%2Fb", "", Peek, false},
		{"GET /api/a/b", "", Touch, false},
		{"POST /api/x", "", Touch, false},
		{"GET http://h.example:8080/score", "", Peek, false},
		{"GET http://h.example:8080/static/", "", Peek, false},
		{"GET /", "X-Session-Activity: poll", Poll, false},
		{"GET /", "X-Session-Activity: Peek", Peek, false},
		{"GET /", "X-Session-Activity: touch, poll ,", Poll, false},
		{"GET /", "X-Session-Activity: poll,peek", Peek, false},
		{"GET /", "X-Session-Activity: peekaboo", Touch, false},
		{"GET /", "X-Session-Activity: ", Touch, false},
		{"GET /score", "X-Session-Activity: touch", Poll, true},
		{"GET /score", "X-Session-Activity: peek", Peek, true},
		{"GET /static/", "X-Session-Activity: poll", Peek, false},
		{"GET /", "Last-Event-ID: 7", Poll, false},
		{"GET /static/", "Last-Event-ID: ", Peek, false},
		{"OPTIONS /", "", Peek, false},
		{"GET /", "Sec-Purpose: prefetch", Peek, false},
		{"GET /score", "Sec-Purpose: prefetch;prerender", Peek, true},
		{"GET /", "Sec-Purpose: Prefetch ; anonymous-client-ip", Peek, false},
		{"GET /", "Sec-Purpose: prefetching", Touch, false},
	} {
		method, target, _ := strings.Cut(tt.request, " ")
		r := httptest.NewRequest(method, target, nil)
		if name, value, ok := strings.Cut(tt.header, ": "); ok {
			r.Header.Set(name, value)
		}
		if act, marked := router.activity(r); act != tt.want || marked != tt.marked {
			t.Errorf("%s %s: %v, %t", tt.request, tt.header, act, marked)
		}
	}
	if got := Activity(9).String(); got != "Activity(9)" {
		t.Error(got)
	}
}

// TestRouterIsServeMux gives random patterns and requests to both.
func TestRouterIsServeMux(t *testing.T) {
	t.Parallel()
	matched := 0
	for seed := range uint64(3000) {
		matched += compareWithServeMux(t, rand.New(rand.NewPCG(seed, 1)))
	}
	if matched < 3000 {
		t.Errorf("only %d requests matched", matched)
	}
}

// FuzzRouter does the same for what the fuzzer finds.
func FuzzRouter(f *testing.F) {
	f.Add("GET /a/{x}", "/a/", "h.example/{x...}", "GET", "/a/b%2F/../c")
	f.Add("/{$}", "/%2F/", "POST /{x}/", "HEAD", "//")
	f.Add("/a/{$}", "/{x}", "CONNECT /", "GET", "*")
	f.Add("/%2F/", "/{x}", "/{x}/", "PUT", "")
	f.Fuzz(func(t *testing.T, a, b, c, method, target string) {
		routes := make(Routes)
		for _, p := range []string{a, b, c} {
			routes[p] = Poll
			if _, err := newRouter(routes, "/session/"); err != nil {
				delete(routes, p)
				names(t, err, "Options.Routes")
			}
		}
		r, err := http.NewRequest(method, "http://h.example", nil)
		if err != nil || method == http.MethodConnect {
			return
		}
		if r.URL.Path, r.URL.RawPath = target, ""; len(target)%2 == 1 {
			r.URL.Path, r.URL.RawPath = "/a/b", target
		}
		compareRequest(t, routes, r)
	})
}

// compareWithServeMux returns how many requests matched a pattern.
func compareWithServeMux(t *testing.T, r *rand.Rand) (matched int) {
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	routes := make(Routes)
	for range 1 + r.IntN(6) {
		p := pick("", "", "GET ", "POST ", "HEAD ") + pick("", "", "", "h.example")
		for range r.IntN(3) {
			p += "/" + pick("a", "b", "{x}", "{y}", "c%2Fd", "é")
		}
		p += pick("", "/", "/{$}", "/{rest...}")
		if _, again := routes[p]; again {
			continue
		}
		routes[p] = Poll
		if _, err := newRouter(routes, "/session/"); err != nil {
			delete(routes, p) // a conflict, or a wildcard twice
		}
	}
	for range 20 {
		path := ""
		for range r.IntN(4) {
			path += "/" + pick("a", "b", "c%2Fd", "%C3%A9", "z", "..", ".", "", "%2F", "%41", "%zz")
		}
		path += pick("", "/")
		req, err := http.NewRequest(pick("GET", "POST", "HEAD", "PUT"), "http://"+pick("h.example", "h.example:80", "other", "[::1]")+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.URL.Path, req.URL.RawPath = unescape(path), path
		if compareRequest(t, routes, req) {
			matched++
		}
	}
	return matched
}

func compareRequest(t *testing.T, routes Routes, r *http.Request) (matched bool) {
	t.Helper()
	mux := http.NewServeMux()
	for p := range routes {
		mux.Handle(p, http.NotFoundHandler())
	}
	router, err := newRouter(routes, "/session/")
	if err != nil {
		t.Fatal(err)
	}
	_, want := mux.Handler(r)
	got := ""
	if n := router.match(bareHost(r.Host), r.Method, tidy(r.URL.EscapedPath())); n != nil {
		got = n.whole
	}
	if got != want {
		t.Fatalf("routes %v, %s %s %s: ServeMux chooses %q, the router %q", routes, r.Method, r.Host, r.URL.EscapedPath(), want, got)
	}
	return want != ""
}

// TestManyRoutes has more literals at one place than are kept in a row.
func TestManyRoutes(t *testing.T) {
	routes := make(Routes)
	for i := range 3 * mostFew {
		routes[fmt.Sprintf("GET /r%d/x", i)] = Poll
		router, err := newRouter(routes, "/session/")
		if err != nil {
			t.Fatal(err)
		}
		for j := range 3*mostFew + 1 {
			r := httptest.NewRequest("GET", fmt.Sprintf("/r%d/x", j), nil)
			if act, marked := router.activity(r); marked != (j <= i) || act == Poll != marked {
				t.Fatalf("with %d routes, %s is a %v", i+1, r.URL, act)
			}
		}
	}
}

// TestRoutesCopied changes the map that New was given.
func TestRoutesCopied(t *testing.T) {
	routes := Routes{"/score": Peek}
	m := newTest(t, lapse.Options{}, Options[string]{Routes: routes})
	routes["/score"] = Touch
	if act, _ := m.routes.activity(httptest.NewRequest("GET", "/score", nil)); act != Peek {
		t.Errorf("it is a %v now", act)
	}
}
