// Command embed is a small web site with the engine embedded by hand, to be
// read and to be watched: open its page, or visit /logme and stop.
//
// It shows the three kinds of activity. A visit to /logme is a touch: the user
// did something. A request for /score or /keepalive is a poll: the page asked
// in the background, which keeps a session alive only up to the polling cap. A
// request for /status is a peek: it looks and extends nothing.
package main

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/lapse-go/lapse"
)

const (
	cookieName  = "embed-session"
	maxSessions = 10_000 // what strangers may take of this machine's memory
)

//go:embed page.html
var pageHTML string

var page = template.Must(template.New("page").Parse(pageHTML))

type (
	// id is what the cookie holds: 128 random bits. It opens a session, so it
	// never goes into a log. The zero id is nobody's.
	id [16]byte
	// visitor is a session's value, and what a log may call it.
	visitor int64

	engine  = lapse.Engine[id, visitor]
	session = lapse.Session[id, visitor]
	event   = lapse.Event[id, visitor]
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "`address` to listen on")
	policy := lapse.Policy{Name: "embed"}
	flag.DurationVar(&policy.Idle, "idle", 5*time.Second, "longest `time` without a visit or a poll")
	flag.DurationVar(&policy.PollCap, "cap", 15*time.Second, "longest `time` of polls without a visit; 0: no such limit")
	flag.IntVar(&policy.PollMax, "poll-max", 10, "most polls without a visit; 0: no such limit")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if err := run(ctx, os.Stdout, *addr, policy); err != nil {
		fmt.Fprintln(os.Stderr, "embed:", err)
		os.Exit(1)
	}
}

// run serves the site until ctx is done.
func run(ctx context.Context, out io.Writer, addr string, policy lapse.Policy) error {
	site, err := newSite(policy, log.New(out, "", log.Ltime))
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("%w\nchoose another address with -addr, for example -addr 127.0.0.1:8081", err)
	}
	fmt.Fprintf(out, `Open http://%[1]s/ in a browser. Or visit, visit again, and stop:

    curl -c jar -b jar http://%[1]s/logme

A session ends %[2]v after its last visit. Ctrl-C ends the program.

`, listener.Addr(), policy.Idle)

	server := &http.Server{Handler: site.handler(), ReadHeaderTimeout: 5 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}

	// First the requests, then the sessions: a handler never meets a closed engine.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return errors.Join(server.Shutdown(ctx), site.engine.Shutdown(ctx))
}

// site is the server's state. It is safe for concurrent use.
type site struct {
	engine   *engine
	policy   lapse.Policy
	log      *log.Logger
	opened   time.Time
	visitors atomic.Int64 // given out so far

	mu   sync.Mutex
	seen map[session]bool // guarded by mu: sessions whose end /logme will log
}

func newSite(policy lapse.Policy, logger *log.Logger) (*site, error) {
	if policy.Idle <= 0 {
		return nil, errors.New("-idle must be above zero")
	}
	e, err := lapse.New[id, visitor](lapse.Options{
		Default:     policy,
		MaxSessions: maxSessions,
		Remember:    maxSessions, // so that /status can say why a session ended
	})
	if err != nil {
		return nil, err
	}
	s := &site{engine: e, policy: policy, log: logger, opened: time.Now(), seen: make(map[session]bool)}
	e.NotifyOnExpire(func(ev event) {
		s.log.Printf("visitor %d: the session has ended (%v) after %v",
			ev.Value, ev.Reason, ev.Ended.Sub(ev.Started).Round(100*time.Millisecond))
	})
	return s, nil
}

func (s *site) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.page)
	mux.HandleFunc("GET /logme", s.logme)
	mux.HandleFunc("GET /score", s.score)
	mux.HandleFunc("GET /keepalive", s.keepalive)
	mux.HandleFunc("GET /status", s.status)
	mux.HandleFunc("POST /login", s.login)
	mux.HandleFunc("POST /logout", s.logout)
	return http.NewCrossOriginProtection().Handler(mux) // no other site logs anybody in or out
}

func (s *site) page(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Security-Policy",
		"default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'")
	if err := page.Execute(w, s.policy); err != nil {
		s.log.Print(err)
	}
}

// login starts a session under a fresh id. What the visitor came with ends.
func (s *site) login(w http.ResponseWriter, r *http.Request) {
	if old, ok := s.engine.Get(key(r)); ok {
		old.Expire()
	}
	if _, n, ok := s.begin(w, r); ok {
		reply(w, http.StatusOK, map[string]any{"success": true, "visitor": n})
	}
}

// logme is a page to visit: keep visiting it to keep the session alive, stop,
// and a line on the terminal says that the session has expired. Who comes
// without a session gets one.
func (s *site) logme(w http.ResponseWriter, r *http.Request) {
	session, ok := s.engine.Touch(key(r))
	n, alive := session.Value()
	if !ok || !alive {
		if session, n, ok = s.begin(w, r); !ok {
			return
		}
	}
	s.logEnd(session)
	w.Header().Set("Cache-Control", "no-store")
	fmt.Fprintf(w, "You are visitor %d. Come back within %v, or your session ends.\n", n, s.policy.Idle)
}

// logEnd registers a hook with a session that it has not seen before. The set
// forgets the session in that hook, so it grows no larger than the engine.
func (s *site) logEnd(session session) {
	s.mu.Lock()
	seen := s.seen[session]
	s.seen[session] = true
	s.mu.Unlock()
	if seen {
		return
	}
	forget := func() {
		s.mu.Lock()
		delete(s.seen, session)
		s.mu.Unlock()
	}
	_, ok := session.NotifyOnExpire(func(ev event) {
		s.log.Printf("visitor %d: the session seen at /logme has expired", ev.Value)
		forget()
	})
	if !ok {
		forget() // it ended meanwhile: the hook will not run
	}
}

// score is what a page asks for in the background. It keeps the session alive,
// but not past the polling cap: a page left open is not a user.
func (s *site) score(w http.ResponseWriter, r *http.Request) {
	if _, ok := s.engine.Poll(key(r)); !ok {
		s.refuse(w, r)
		return
	}
	played := int(time.Since(s.opened).Seconds())
	reply(w, http.StatusOK, map[string]any{"success": true, "home": played / 7, "away": played / 11})
}

// keepalive is a poll, too. It creates nothing: no session, no cookie, no body.
func (s *site) keepalive(w http.ResponseWriter, r *http.Request) {
	if _, ok := s.engine.Poll(key(r)); !ok {
		s.refuse(w, r)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
}

// status is the answer of /status.
type status struct {
	State       string  `json:"state"`             // "live", "ended" or "none"
	Visitor     visitor `json:"visitor,omitempty"` // while it lives
	Reason      string  `json:"reason,omitempty"`  // of its end: the one to come, or the one it had
	RemainingMS int64   `json:"remainingMs"`       // until that end, if nothing happens
	Polls       int     `json:"polls"`             // since the last visit
	EndedAt     int64   `json:"endedAt,omitempty"` // milliseconds since the epoch
}

// status is a peek: however often it is asked, the session ends no later.
func (s *site) status(w http.ResponseWriter, r *http.Request) {
	answer := status{State: "none"}
	session, _ := s.engine.Get(key(r))
	info, live := session.Info()
	if live {
		answer.State = "live"
		answer.Visitor, _ = session.Value()
		answer.Reason = info.Reason.String()
		answer.RemainingMS = max(0, time.Until(info.Deadline).Milliseconds())
		answer.Polls = info.Polls
	} else if end, ok := s.engine.Ended(key(r)); ok {
		answer.State = "ended"
		answer.Reason = end.Reason.String()
		answer.EndedAt = end.At.UnixMilli()
	}
	reply(w, http.StatusOK, answer)
}

// logout ends the session before it takes the cookie: the id is dead, not lost.
func (s *site) logout(w http.ResponseWriter, r *http.Request) {
	session, _ := s.engine.Get(key(r))
	ended := session.Expire()
	http.SetCookie(w, &http.Cookie{Name: cookieName, Path: "/", MaxAge: -1})
	reply(w, http.StatusOK, map[string]any{"success": ended})
}

// begin starts a session and sends its id, or says why it cannot.
func (s *site) begin(w http.ResponseWriter, r *http.Request) (session, visitor, bool) {
	var fresh id
	rand.Read(fresh[:])
	n := visitor(s.visitors.Add(1))
	started, err := s.engine.Start(fresh, n)
	if err != nil {
		http.Error(w, "no more sessions at the moment", http.StatusServiceUnavailable)
		return session{}, 0, false
	}
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: hex.EncodeToString(fresh[:]), Path: "/",
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: r.TLS != nil,
	})
	s.log.Printf("visitor %d: a session has started", n)
	return started, n, true
}

// refuse answers a poll without a live session, in a form that a script can read.
func (s *site) refuse(w http.ResponseWriter, r *http.Request) {
	answer := map[string]any{"success": false, "error": "NOT_LOGGED_IN"}
	if key(r) != (id{}) {
		answer["error"] = "SESSION_TIMEOUT"
	}
	if end, ok := s.engine.Ended(key(r)); ok {
		answer["reason"] = end.Reason.String()
		answer["endedAt"] = end.At.UnixMilli()
	}
	w.Header().Set("WWW-Authenticate", "Session")
	reply(w, http.StatusUnauthorized, answer)
}

// key is the id that a request came with; the zero id if with none.
func key(r *http.Request) id {
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return id{}
	}
	b, err := hex.DecodeString(cookie.Value)
	if err != nil || len(b) != len(id{}) {
		return id{}
	}
	return id(b)
}

func reply(w http.ResponseWriter, code int, answer any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(answer) // an error here is a visitor who has left
}
