// Package web measures what sessions cost a web server: the same small handler,
// bare and behind session managers, in a server of its own process that is asked
// over loopback; and event streams.
package web

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/gorilla/securecookie"
	"github.com/gorilla/sessions"

	"github.com/lapse-go/lapse"
	"github.com/lapse-go/lapse/bench/keys"
	"github.com/lapse-go/lapse/lapsehttp"
)

// A Site is a handler that greets the user of a request's session by name.
type Site struct {
	Name string
	Note string
	// Open makes the handler, with n sessions that live.
	Open func(n int) (http.Handler, error)
	// Cookie returns what the browser of a session sends.
	Cookie func(number uint32) (string, error)
}

// idle is the time-out of all sessions. No request finds an ended one.
const idle = 30 * time.Minute

const hello = "hello, "

// nameOf is the user of a session.
func nameOf(number uint32) string { return fmt.Sprintf("user %d", number) }

// Sites returns what is compared. Each is used as its documentation says, with an
// idle time-out of half an hour that each request starts anew.
func Sites() []Site {
	return []Site{
		{
			Name:   "bare",
			Note:   "no sessions: the name is that of nobody",
			Open:   openBare,
			Cookie: func(number uint32) (string, error) { return "session=" + idOf(number).String(), nil },
		},
		{
			Name:   "lapsehttp",
			Note:   "Manager.Handler with default options; the page is told the end of its session, too",
			Open:   openLapse,
			Cookie: func(number uint32) (string, error) { return "__Host-session=" + idOf(number).String(), nil },
		},
		{
			Name:   "scs",
			Note:   "LoadAndSave with its memory store: values are decoded and encoded with gob for each request",
			Open:   openSCS,
			Cookie: func(number uint32) (string, error) { return "session=" + idOf(number).String(), nil },
		},
		{
			Name:   "gorilla",
			Note:   "its cookie store, signed: the browser keeps the session, the server nothing",
			Open:   openGorilla,
			Cookie: gorillaCookie,
		},
	}
}

// Find returns the site of a name.
func Find(name string) (Site, error) {
	for _, s := range Sites() {
		if s.Name == name {
			return s, nil
		}
	}
	return Site{}, fmt.Errorf("there is no site %q", name)
}

func idOf(number uint32) lapsehttp.ID { return lapsehttp.ID(keys.IDs().Make(number)) }

func openBare(int) (http.Handler, error) {
	name := nameOf(0)
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, hello+name)
	}), nil
}

func openLapse(n int) (http.Handler, error) {
	_, m, err := newManager(n, lapsehttp.Options[string]{})
	if err != nil {
		return nil, err
	}
	return m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, ok := lapsehttp.FromContext[string](r.Context())
		if !ok {
			http.Error(w, "no session", http.StatusUnauthorized)
			return
		}
		name, _ := s.Value()
		io.WriteString(w, hello+name)
	})), nil
}

// newManager makes an engine with n sessions.
func newManager(n int, o lapsehttp.Options[string]) (*lapse.Engine[lapsehttp.ID, string], *lapsehttp.Manager[string], error) {
	e, err := lapse.New[lapsehttp.ID, string](lapse.Options{Default: lapse.Policy{Name: "user", Idle: idle}})
	if err != nil {
		return nil, nil, err
	}
	for number := range uint32(n) {
		if _, err := e.Start(idOf(number), nameOf(number)); err != nil {
			return nil, nil, err
		}
	}
	m, err := lapsehttp.New(e, o)
	return e, m, err
}

func openSCS(n int) (http.Handler, error) {
	m := scs.New()
	m.IdleTimeout = idle
	now := time.Now()
	for number := range uint32(n) {
		data, err := m.Codec.Encode(now.Add(m.Lifetime), map[string]any{"name": nameOf(number)})
		if err != nil {
			return nil, err
		}
		if err := m.Store.Commit(idOf(number).String(), data, now.Add(idle)); err != nil {
			return nil, err
		}
	}
	return m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := m.GetString(r.Context(), "name")
		if name == "" {
			http.Error(w, "no session", http.StatusUnauthorized)
			return
		}
		io.WriteString(w, hello+name)
	})), nil
}

// gorillaKey signs cookies. It is no secret: nobody logs in here.
const gorillaKey = "0123456789abcdef0123456789abcdef"

const gorillaName = "session"

func openGorilla(int) (http.Handler, error) {
	store := sessions.NewCookieStore([]byte(gorillaKey))
	store.MaxAge(int(idle.Seconds()))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := store.Get(r, gorillaName)
		name, ok := s.Values["name"].(string)
		if err != nil || !ok {
			http.Error(w, "no session", http.StatusUnauthorized)
			return
		}
		// Saving it is what extends a session that the browser keeps.
		if err := s.Save(r, w); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		io.WriteString(w, hello+name)
	}), nil
}

func gorillaCookie(number uint32) (string, error) {
	value, err := securecookie.EncodeMulti(gorillaName, map[any]any{"name": nameOf(number)}, securecookie.CodecsFromPairs([]byte(gorillaKey))...)
	return gorillaName + "=" + value, err
}

// Streams is a site whose handlers are event streams. End ends all sessions.
type Streams struct {
	Handler http.Handler
	End     func() int
}

// StreamPath is where the stream of a session is.
const StreamPath = "/session/events"

// OpenStreams makes a site for event streams: that of lapsehttp, or a bare one
// that sends one event and waits, which shows what a connection and a goroutine
// cost by themselves.
func OpenStreams(name string, n int) (Streams, error) {
	switch name {
	case "bare":
		done := make(chan struct{})
		return Streams{
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				io.WriteString(w, "event: extended\ndata: {}\n\n")
				http.NewResponseController(w).Flush()
				select {
				case <-done:
					io.WriteString(w, "event: ended\ndata: {}\n\n")
				case <-r.Context().Done():
				}
			}),
			End: func() int { close(done); return n },
		}, nil
	case "lapsehttp":
		// One user has all the sessions, so that one call ends them all.
		everybody := func(string) string { return "everybody" }
		_, m, err := newManager(0, lapsehttp.Options[string]{Owner: everybody})
		if err != nil {
			return Streams{}, err
		}
		mux := http.NewServeMux()
		mux.Handle("/session/", m.Endpoints())
		mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
			if _, err := m.Start(w, r, "user"); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		})
		return Streams{m.Handler(mux), func() int { return m.EndAll("everybody") }}, nil
	}
	return Streams{}, errors.New("there are no streams of " + name)
}
