package lapsehttp_test

import (
	"bytes"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/benbjohnson/clock"
	"github.com/lapse-go/lapse"
	"github.com/lapse-go/lapse/lapsehttp"
)

// The conformance tests follow the tables of behavior: the subtest case=N shows
// row N, and "go test -run '/case=N$'" runs all that is said about it. They
// talk to a real server over the loopback interface, with a client that keeps
// cookies as a browser does. The engine is a Manual one with a mock clock, so
// that time stands still unless a test moves it.

const (
	ms  = time.Millisecond
	sec = time.Second

	// patience is how long a test waits for what is certain to come before it
	// gives up. A test that passes never waits for it.
	patience = time.Minute
)

// epoch is where the mock clock starts.
var epoch = time.UnixMilli(1_700_000_000_000)

type (
	testSession = lapse.Session[lapsehttp.ID, string]
	testEvent   = lapse.Event[lapsehttp.ID, string]
)

// A setup says how a site differs from the plain one.
type setup struct {
	policy lapse.Policy // of the engine's default class, if it has a name
	engine lapse.Options
	http   lapsehttp.Options[string]
	tls    bool // with secure cookies
	http2  bool // over TLS
	driver bool // the engine ends sessions by itself, not when the test says so
	bare   bool // no mux, which would clean paths: everything goes to root
	root   http.Handler
}

// A site is a server with sessions whose value is the name of the user.
type site struct {
	t       *testing.T
	engine  *lapse.Engine[lapsehttp.ID, string]
	manager *lapsehttp.Manager[string]
	mock    *clock.Mock
	clock   *countingClock // what the engine reads: the mock
	mux     *http.ServeMux
	handler http.Handler // what the server serves
	srv     *httptest.Server
	idName  string // of the cookie with the id
	log     lines  // of the manager, the engine and the server
	secure  bool
}

// newSite makes a site with these pages, and more where a test adds some:
//
//	POST /login  starts a session for the user named in the query
//	/page        needs a session, and says whose it is
//	/free        says whose session it is, or nobody's
func newSite(t *testing.T, how setup) *site {
	t.Helper()
	s := &site{t: t, mock: clock.NewMock(), mux: http.NewServeMux(), secure: how.tls || how.http2}
	s.mock.Set(epoch)
	s.clock = &countingClock{Mock: s.mock}
	logger := slog.New(slog.NewTextHandler(&s.log, nil))

	o := how.engine
	o.Clock, o.Manual, o.Logger = s.clock, !how.driver, logger
	if how.policy != (lapse.Policy{}) {
		o.Default = how.policy
		if o.Default.Name == "" {
			o.Default.Name = "default"
		}
	}
	var err error
	if s.engine, err = lapse.New[lapsehttp.ID, string](o); err != nil {
		t.Fatalf("lapse.New: %v", err)
	}
	t.Cleanup(func() { s.engine.Close() })

	h := how.http
	h.Insecure, h.Logger = !s.secure, logger
	if h.Owner == nil {
		h.Owner = func(user string) string { return user }
	}
	if s.idName = h.Cookie.Name; s.idName == "" {
		s.idName = "session"
		if s.secure {
			s.idName = "__Host-session"
		}
	}
	if s.manager, err = lapsehttp.New(s.engine, h); err != nil {
		t.Fatalf("lapsehttp.New: %v", err)
	}
	prefix := h.Prefix
	if prefix == "" {
		prefix = "/session/"
	}
	s.mux.Handle(prefix, s.manager.Endpoints())
	s.handle("POST /login", func(w http.ResponseWriter, r *http.Request) {
		if _, err := s.manager.Start(w, r, r.FormValue("user")); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	s.mux.Handle("/page", s.manager.Require(http.HandlerFunc(whose)))
	s.handle("/free", whose)

	root := how.root
	if root == nil {
		root = s.mux
	}
	if how.bare {
		root = s.manager.Require(http.HandlerFunc(whose))
	}
	s.handler = s.manager.Handler(root)
	s.srv = httptest.NewUnstartedServer(s.handler)
	s.srv.Config.ErrorLog = log.New(&s.log, "server: ", 0)
	s.srv.EnableHTTP2 = how.http2
	if s.secure {
		s.srv.StartTLS()
	} else {
		s.srv.Start()
	}
	t.Cleanup(func() {
		s.srv.Close()
		s.wantLog(0)
	})
	return s
}

func (s *site) handle(pattern string, f http.HandlerFunc) { s.mux.Handle(pattern, f) }

// whose answers with the user's name.
func whose(w http.ResponseWriter, r *http.Request) {
	user := "nobody"
	if s, ok := lapsehttp.FromContext[string](r.Context()); ok {
		if user, ok = s.Value(); !ok {
			user = "a ghost"
		}
	}
	io.WriteString(w, user)
}

// now is the time since the epoch.
func (s *site) now() time.Duration { return s.mock.Now().Sub(epoch) }

// pass moves the clock and nothing else.
func (s *site) pass(d time.Duration) { s.mock.Add(d) }

// advance moves the clock and ends what is due then.
func (s *site) advance(d time.Duration) {
	s.mock.Add(d)
	s.engine.Advance()
}

func (s *site) class(p lapse.Policy) *lapse.Class[lapsehttp.ID, string] {
	s.t.Helper()
	c, err := s.engine.Class(p)
	if err != nil {
		s.t.Fatalf("Class(%+v): %v", p, err)
	}
	return c
}

func (s *site) wantLen(n int) {
	s.t.Helper()
	if got := s.engine.Len(); got != n {
		s.t.Errorf("at %v there are %d sessions, want %d", s.now(), got, n)
	}
}

// wantLog checks how many lines have been logged, and gives them. A line that
// no test asks about is an error.
func (s *site) wantLog(n int) string {
	s.t.Helper()
	text := s.log.take()
	if got := strings.Count(text, "\n"); got != n {
		s.t.Errorf("%d lines in the log, want %d:\n%s", got, n, text)
	}
	return text
}

// A countingClock counts how often it is asked for the time.
type countingClock struct {
	*clock.Mock
	n atomic.Int64
}

func (c *countingClock) Now() time.Time {
	c.n.Add(1)
	return c.Mock.Now()
}

// lines is a log that several goroutines write.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.buf.Reset()
	return l.buf.String()
}

// wantInfo checks what a session has seen: its last activity since the epoch,
// and the polls of the run.
func (s *site) wantInfo(session testSession, seen time.Duration, polls int) {
	s.t.Helper()
	info, ok := session.Info()
	if !ok {
		s.t.Fatalf("at %v the session is gone", s.now())
	}
	if got := info.Seen.Sub(epoch); got != seen || info.Polls != polls {
		s.t.Errorf("at %v the session was seen at %v with %d polls, want %v and %d", s.now(), got, info.Polls, seen, polls)
	}
}

// wantDeadline checks when a session ends, since the epoch.
func (s *site) wantDeadline(session testSession, want time.Duration) {
	s.t.Helper()
	if at, ok := session.Deadline(); !ok || at.Sub(epoch) != want {
		s.t.Errorf("at %v the session ends at %v (%t), want %v", s.now(), at.Sub(epoch), ok, want)
	}
}
