package main

import (
	"errors"
	"fmt"
	"log"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lapse-go/lapse"
	"github.com/lapse-go/lapse/lapsehttp"
)

type (
	engine  = lapse.Engine[lapsehttp.ID, *visitor]
	class   = lapse.Class[lapsehttp.ID, *visitor]
	session = lapse.Session[lapsehttp.ID, *visitor]
	event   = lapse.Event[lapsehttp.ID, *visitor]
	manager = lapsehttp.Manager[*visitor]
)

const (
	tick       = 10 * time.Millisecond // the engine's resolution
	mostPeople = 10_000                // what strangers may take of this machine's memory
	mostCrowd  = 200_000               // synthetic sessions
	mostBody   = 64 << 10              // bytes of a request
)

// routes say what is no touch. Everything else that the user opens or presses
// is one.
var routes = lapsehttp.Routes{
	"POST /poll":      lapsehttp.Poll, // a button of the home page
	"GET /score/live": lapsehttp.Poll, // the score page asks, not the user
	"GET /look":       lapsehttp.Peek, // the pages draw their countdown by it
	"GET /watch":      lapsehttp.Peek, // a page that only looks
	"/operator":       lapsehttp.Peek, // whoever looks at the engine keeps nothing alive
	"/operator/":      lapsehttp.Peek,
}

// site is the server's state. It is safe for concurrent use.
type site struct {
	config  config
	engine  *engine
	manager *manager
	visitor *class // of those who log in; the engine's default
	people  people
	crowd   crowd
	journal journal
	board   board
	opened  time.Time
}

func newSite(cfg config, logger *log.Logger) (*site, error) {
	e, err := lapse.New[lapsehttp.ID, *visitor](lapse.Options{
		Default:     cfg.visitor,
		Tick:        tick,
		MaxSessions: mostPeople + mostCrowd,
		Remember:    mostPeople, // so that a page can say why its session ended
	})
	if err != nil {
		v := cfg.visitor
		return nil, fmt.Errorf("%w\n(of the flags: -idle %v -lifetime %v -cap %v -poll-max %d -warn %v)",
			err, v.Idle, v.Lifetime, v.PollCap, v.PollMax, v.Warn)
	}
	s := &site{config: cfg, engine: e, opened: time.Now()}
	s.journal.logger = logger
	s.people.live = make(map[session]string)
	s.visitor, err = e.Class(cfg.visitor)
	if err == nil {
		// Without limits: each of its sessions has an idle time of its own.
		s.crowd.class, err = e.Class(lapse.Policy{Name: "crowd"})
	}
	if err == nil {
		s.manager, err = lapsehttp.New(e, lapsehttp.Options[*visitor]{
			Class:    s.visitor,
			Routes:   routes,
			Insecure: !cfg.secure,
			LoginURL: "/login",
			Owner:    func(v *visitor) string { return v.name },
		})
	}
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	s.crowd.engine = e
	s.board.site = s
	s.visitor.NotifyOnExpire(func(ev event) { s.journal.ended(ev) })
	e.NotifyBeforeExpire(func(ev event) { s.journal.warned(ev) })
	e.NotifyOnExpireBatch(func(events []event) { s.journal.tally(events) })
	return s, nil
}

// handler is the whole site.
func (s *site) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /login", s.loginPage)
	mux.HandleFunc("POST /login", s.login)
	mux.Handle("/session/", s.manager.Endpoints())
	for pattern, handler := range map[string]http.HandlerFunc{
		"GET /{$}":         s.home,
		"POST /touch":      s.look, // the activity is the manager's business
		"POST /poll":       s.look,
		"GET /look":        s.look,
		"GET /editor":      s.editor,
		"POST /editor":     s.save,
		"GET /score":       s.score,
		"GET /score/live":  s.goals,
		"GET /watch":       s.watch,
		"POST /everywhere": s.everywhere,
	} {
		mux.Handle(pattern, s.manager.Require(handler))
	}
	for pattern, handler := range map[string]http.HandlerFunc{
		"GET /operator":             s.operator,
		"GET /operator/state":       s.state,
		"POST /operator/expire":     s.expire,
		"POST /operator/everywhere": s.everywhereOf,
		"POST /operator/everybody":  s.everybody,
		"POST /operator/policy":     s.setPolicy,
		"POST /operator/crowd":      s.startCrowd,
		"POST /operator/stop":       s.stopCrowd,
	} {
		mux.HandleFunc(pattern, handler)
	}

	top := http.NewServeMux()
	top.Handle("GET /assets/", assets)
	top.Handle("GET /favicon.ico", http.RedirectHandler("/assets/icon.svg", http.StatusMovedPermanently))
	top.Handle("/", s.manager.Handler(s.observe(mux)))
	// No other site does anything here in a visitor's name.
	return guard(http.NewCrossOriginProtection().Handler(top))
}

// observe notes for the visitor's gauges what the request did.
func (s *site) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if session, ok := lapsehttp.FromContext[*visitor](r.Context()); ok {
			v, _ := session.Value()
			if info, ok := session.Info(); ok && v != nil {
				v.observe(info)
			}
		}
		next.ServeHTTP(w, r)
	})
}

// policy lets pages load what is the site's own and nothing else, nothing
// inline included.
var policy = strings.Join([]string{
	"default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'",
	"form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'",
}, "; ")

// guard sets the headers that protect a page, and bounds what a request may
// send.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		r.Body = http.MaxBytesReader(w, r.Body, mostBody)
		next.ServeHTTP(w, r)
	})
}

// form reads the form of a POST. It answers those that it cannot read.
func form(w http.ResponseWriter, r *http.Request) bool {
	err := r.ParseForm()
	if err == nil {
		return true
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		http.Error(w, fmt.Sprintf("the form is too long: at most %d bytes", mostBody), http.StatusRequestEntityTooLarge)
		return false
	}
	http.Error(w, "this is no form", http.StatusBadRequest)
	return false
}

// short writes a duration without the zeros at its end: 3m, not 3m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// words writes a duration as people say it, such as 20 seconds.
func words(d time.Duration) string {
	unit, n := "second", d.Seconds()
	switch {
	case d < time.Second:
		unit, n = "millisecond", d.Seconds()*1000
	case d >= time.Minute && d%time.Minute == 0:
		unit, n = "minute", d.Minutes()
	case d >= 2*time.Minute:
		return short(d)
	}
	text := strconv.FormatFloat(n, 'f', -1, 64) + " " + unit
	if n != 1 {
		text += "s"
	}
	return text
}

// count writes a number with its digits in groups of three.
func count(n int) string {
	digits := fmt.Sprint(max(n, -n))
	var groups []string
	for len(digits) > 3 {
		groups = append(groups, digits[len(digits)-3:])
		digits = digits[:len(digits)-3]
	}
	groups = append(groups, digits)
	slices.Reverse(groups)
	sign := ""
	if n < 0 {
		sign = "-"
	}
	return sign + strings.Join(groups, "\u202f")
}
