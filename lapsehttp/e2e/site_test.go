package e2e

import (
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/benbjohnson/clock"
	"github.com/chromedp/cdproto/cdp"
	"github.com/lapse-go/lapse"
	"github.com/lapse-go/lapse/lapsehttp"
)

//go:embed testdata
var files embed.FS

var pageTemplate = template.Must(template.ParseFS(files, "testdata/page.html"))

// policy is the Content-Security-Policy of all pages. Whatever it refuses fails
// the test.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'self'; " +
	"base-uri 'none'; frame-ancestors 'none'; trusted-types 'none'; require-trusted-types-for 'script'"

// A site is a server with sessions, and the clocks of it and of the one device
// that visits it.
type site struct {
	t       *testing.T
	url     string
	engine  *lapse.Engine[lapsehttp.ID, string]
	manager *lapsehttp.Manager[string]
	class   *lapse.Class[lapsehttp.ID, string]
	clock   *stopped             // nil: time is real
	cut     func()               // breaks all connections
	profile cdp.BrowserContextID // of the device's browser; empty until it is needed
	tabs    []*tab

	moving sync.RWMutex // held by requests, and by who moves the clocks

	mu sync.Mutex
	// mu guards the fields below.

	hits   []hit
	wall   time.Duration // how far the device's wall clock is ahead of the server's
	mono   time.Duration // what the device's other clock shows
	broken string        // the path that does not work
}

// A hit is a request that the server has had.
type hit struct {
	what     string // method and path
	activity string // of the header
	at       time.Time
}

// A stopped clock moves when it is told to. The engine, which is driven by
// hand, asks it for nothing but the time.
type stopped struct {
	clock.Clock
	mu  sync.Mutex
	now time.Time
}

func (c *stopped) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *stopped) Since(t time.Time) time.Duration { return c.Now().Sub(t) }
func (c *stopped) Until(t time.Time) time.Duration { return t.Sub(c.Now()) }

func (c *stopped) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// A trait is what is unusual about a site.
type trait int

const (
	live  trait = iota // time is real
	plain              // http without TLS on a host that is not loopback
)

// newSite starts a server whose sessions obey the policy. From then on the test
// runs beside others.
func newSite(t *testing.T, p lapse.Policy, traits ...trait) *site {
	t.Helper()
	needBrowser(t)
	t.Parallel()
	s := &site{t: t}
	o := lapse.Options{Tick: time.Millisecond, Remember: 100}
	if !slices.Contains(traits, live) {
		s.clock = &stopped{Clock: clock.New(), now: time.UnixMilli(1_700_000_000_000)}
		o.Clock, o.Manual = s.clock, true
	}
	var err error
	if s.engine, err = lapse.New[lapsehttp.ID, string](o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.engine.Close() })
	p.Name = "page"
	if s.class, err = s.engine.Class(p); err != nil {
		t.Fatal(err)
	}
	s.manager, err = lapsehttp.New(s.engine, lapsehttp.Options[string]{
		Class:    s.class,
		LoginURL: "/login",
		Insecure: slices.Contains(traits, plain),
		Routes:   lapsehttp.Routes{"/api/poll": lapsehttp.Poll, "/api/peek": lapsehttp.Peek},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s.handler())
	s.cut = server.CloseClientConnections
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	s.url = server.URL
	if slices.Contains(traits, plain) {
		s.url = strings.Replace(s.url, "127.0.0.1", "lapse.test", 1)
	}
	return s
}

func (s *site) handler() http.Handler {
	private := http.NewServeMux()
	private.HandleFunc("/page", s.page)
	private.HandleFunc("/api/{what}", s.api)

	mux := http.NewServeMux()
	mux.Handle("/session/", s.manager.Endpoints())
	mux.HandleFunc("/login", s.login)
	mux.Handle("/", s.manager.Require(private))

	// The tests' own files are outside of Handler: they have nothing to do with
	// a session.
	outer := http.NewServeMux()
	outer.HandleFunc("GET /test/{file}", s.file)
	outer.HandleFunc("GET /test/now", s.now)
	outer.HandleFunc("GET /shell", s.page)
	outer.Handle("/", s.log(s.breakdown(s.manager.Handler(mux))))
	return outer
}

// log notes the requests, and keeps them waiting while the clocks are moved.
func (s *site) log(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/session/events" { // which takes as long as it likes
			s.moving.RLock()
			defer s.moving.RUnlock()
		}
		s.mu.Lock()
		s.hits = append(s.hits, hit{r.Method + " " + r.URL.Path, r.Header.Get("X-Session-Activity"), s.serverTime()})
		s.mu.Unlock()
		next.ServeHTTP(w, r)
	})
}

// breakdown answers requests to what is broken.
func (s *site) breakdown(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		broken := s.broken == r.URL.Path
		s.mu.Unlock()
		if broken {
			http.Error(w, "broken", http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// setBroken breaks the path, and repairs any other one.
func (s *site) setBroken(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = path
}

// requests returns the requests, such as "GET /page", that were logged.
func (s *site) requests(what string) (found []hit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.hits {
		if h.what == what {
			found = append(found, h)
		}
	}
	return found
}

func (s *site) count(what string) int { return len(s.requests(what)) }

// await waits until there have been so many requests, and what follows from
// them has run.
func (s *site) await(what string, n int) {
	s.t.Helper()
	for begin := time.Now(); s.count(what) < n; time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > patience {
			s.t.Fatalf("waited in vain for request %d: %s", n, what)
		}
		s.runAll()
	}
	s.quiet()
}

// forget empties the log.
func (s *site) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hits = nil
}

func (s *site) serverTime() time.Time {
	if s.clock == nil {
		return time.Now()
	}
	return s.clock.Now()
}

// now says what the device's clocks show, in milliseconds.
func (s *site) now(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Cache-Control", "no-store")
	fmt.Fprintf(w, `{"wall":%d,"mono":%d}`, s.clock.Now().Add(s.wall).UnixMilli(), s.mono.Milliseconds())
}

func (s *site) file(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "max-age=60")
	http.ServeFileFS(w, r, files, "testdata/"+r.PathValue("file"))
}

// page shows something private, to nobody in particular where it is the shell.
// Its query says what it is like: see how.
func (s *site) page(w http.ResponseWriter, r *http.Request) {
	session, _ := lapsehttp.FromContext[string](r.Context())
	user, _ := session.Value() // empty in the shell
	q := r.URL.Query()
	options := q.Get("watch")
	if options == "" {
		options = "{}"
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", policy)
	if cache := q.Get("cache"); cache != "" {
		w.Header().Set("Cache-Control", cache)
	}
	err := pageTemplate.Execute(w, map[string]any{
		"User": user, "Path": r.URL.Path, "Clock": s.clock != nil, "Watch": options,
		"Dialog": q.Get("dialog"), "Without": q.Get("without"), "Bare": q.Has("bare"), "Cookie": q.Get("cookie"),
	})
	if err != nil {
		s.t.Error(err)
	}
}

// login starts a session at a POST, for a form that asks for no password.
func (s *site) login(w http.ResponseWriter, r *http.Request) {
	next := r.URL.Query().Get("next")
	if !strings.HasPrefix(next, "/") {
		next = "/page"
	}
	if r.Method == http.MethodPost {
		if _, err := s.manager.Start(w, r, "Ada"); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		http.Redirect(w, r, next, http.StatusSeeOther)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", policy)
	fmt.Fprint(w, `<!DOCTYPE html><title>Log in</title><form method="post"><button id="login">Log in as Ada</button></form>`)
}

func (s *site) api(w http.ResponseWriter, r *http.Request) {
	switch r.PathValue("what") {
	case "fail":
		lapsehttp.Failure(w, http.StatusConflict, "NO_SUCH_FILE")
	case "end":
		s.manager.End(w, r)
		w.WriteHeader(http.StatusNoContent)
	default:
		lapsehttp.Success(w, "done")
	}
}

// session returns the one session that there is.
func (s *site) session() lapse.Session[lapsehttp.ID, string] {
	s.t.Helper()
	for session := range s.engine.All() {
		return session
	}
	s.t.Fatal("the server has no session")
	panic("not reached")
}
