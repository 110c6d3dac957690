package main

import (
	"context"
	_ "embed"
	"html/template"
	"log"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/lapse-go/lapse"
	"github.com/lapse-go/lapse/lapsehttp"
)

//go:embed page.html
var pageHTML string

var page = template.Must(template.New("page").Parse(pageHTML))

// session has a name as its value: whose it is.
type session = lapse.Session[lapsehttp.ID, string]

// site is the server's state. It is safe for concurrent use.
type site struct {
	engine   *lapse.Engine[lapsehttp.ID, string]
	sessions *lapsehttp.Manager[string]
	policy   lapse.Policy
	sockets  sync.WaitGroup // the open ones

	pause    time.Duration // between the pings of a socket
	patience time.Duration // with a peer that does not read or answer
}

func newSite(options lapse.Options) (*site, error) {
	engine, err := lapse.New[lapsehttp.ID, string](options)
	if err != nil {
		return nil, err
	}
	sessions, err := lapsehttp.New(engine, lapsehttp.Options[string]{
		Routes: lapsehttp.Routes{
			"GET /{$}":    lapsehttp.Peek,
			"GET /socket": lapsehttp.Peek,
		},
		LoginURL: "/",
		Insecure: true, // on plain HTTP; leave it out behind TLS
	})
	if err != nil {
		return nil, err
	}
	engine.NotifyOnExpire(func(ev lapse.Event[lapsehttp.ID, string]) {
		log.Printf("the session of %q has ended: %v", ev.Value, ev.Reason)
	})
	return &site{
		engine: engine, sessions: sessions, policy: options.Default,
		pause: 30 * time.Second, patience: 10 * time.Second,
	}, nil
}

func (s *site) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.page)
	mux.HandleFunc("POST /login", s.login)
	mux.Handle("GET /socket", s.sessions.Require(http.HandlerFunc(s.socket)))
	mux.Handle("/session/", s.sessions.Endpoints())
	return http.NewCrossOriginProtection().Handler(s.sessions.Handler(mux))
}

func (s *site) page(w http.ResponseWriter, r *http.Request) {
	user, _ := lapsehttp.FromContext[string](r.Context())
	name, _ := user.Value()
	h := w.Header()
	h.Set("Content-Security-Policy",
		"default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'")
	h.Set("Cache-Control", "no-store")
	if err := page.Execute(w, struct {
		Name   string
		Policy lapse.Policy
	}{name, s.policy}); err != nil {
		log.Print(err)
	}
}

func (s *site) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<10)
	name := strings.TrimSpace(r.PostFormValue("name"))
	if name == "" || len(name) > 64 {
		http.Error(w, "a name is 1 to 64 bytes", http.StatusBadRequest)
		return
	}
	if _, err := s.sessions.Start(w, r, name); err != nil {
		http.Error(w, "no more sessions at the moment", http.StatusServiceUnavailable)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// wait returns when all sockets have been closed, or ctx is done.
func (s *site) wait(ctx context.Context) error {
	closed := make(chan struct{})
	go func() {
		s.sockets.Wait()
		close(closed)
	}()
	select {
	case <-closed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
