package lapsehttp

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/lapse-go/lapse"
)

// Endpoints serves what the browser client asks for, under Options.Prefix:
//
//	keepalive  GET or POST: a Poll. 204, or the 401 of Require for scripts
//	status     GET: a Peek. JSON: how long the session has left; always 200
//	events     GET: a Peek. An event stream: warning, extended, ended
//	logout     POST: End. 204, or 303 to Options.LoginURL (else /) for a form
//	client.js  GET: the client
//	dialog.js  GET: its ready-made dialog
//
// Mount it at Prefix, inside or outside of [Manager.Handler]:
//
//	mux.Handle("/session/", manager.Endpoints())
//
// None of them creates a session or makes an id; in the grace after Renew they
// give out the one that the session has, as all responses do. A log-out from any
// other origin, be it of the same site, is refused with status 403.
//
// Streams end with their session, and when their http.Server is shut down, which
// would wait for them otherwise. Middleware around it that compresses must pass
// Flush on.
func (m *Manager[V]) Endpoints() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, ok := strings.CutPrefix(r.URL.Path, m.prefix)
		if !ok {
			name = strings.TrimPrefix(r.URL.Path, "/") // as http.StripPrefix leaves it
		}
		if f, ok := modules[name]; ok {
			if allow(w, r, http.MethodGet, http.MethodHead) {
				f.ServeHTTP(w, r)
			}
			return
		}
		e, ok := endpoints[name]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if m.exchange(r.Context()) != nil {
			m.endpoint(name, w, r)
			return
		}
		m.enter(w, r, e.activity(r), ofEndpoint, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			m.endpoint(name, w, r)
		}))
	})
}

// An endpoint is one that has to do with a session.
type endpoint struct {
	act     Activity
	methods []string
}

// endpoints are the endpoints by name.
var endpoints = map[string]endpoint{
	"keepalive": {Poll, []string{http.MethodGet, http.MethodPost, http.MethodHead}},
	"status":    {Peek, []string{http.MethodGet, http.MethodHead}},
	"events":    {Peek, []string{http.MethodGet, http.MethodHead}},
	"logout":    {Peek, []string{http.MethodPost}},
}

// activity returns what a request of the endpoint is: nothing, if it is going to
// be told that it has the wrong method.
func (e endpoint) activity(r *http.Request) Activity {
	if !slices.Contains(e.methods, r.Method) {
		return Peek
	}
	return lowered(e.act, r)
}

func (m *Manager[V]) endpoint(name string, w http.ResponseWriter, r *http.Request) {
	q := m.exchange(r.Context())
	uncached(w.Header())
	if !allow(w, r, endpoints[name].methods...) {
		return
	}
	switch name {
	case "keepalive":
		m.keepalive(w, r, q)
	case "status":
		m.sendJSON(w, r, http.StatusOK, m.status(q))
	case "events":
		m.events(w, r, q)
	case "logout":
		m.logout(w, r)
	}
}

// allow reports whether the request has one of the methods. It answers those
// that have not.
func allow(w http.ResponseWriter, r *http.Request, methods ...string) bool {
	if slices.Contains(methods, r.Method) {
		return true
	}
	w.Header().Set("Allow", strings.Join(append(methods, http.MethodOptions), ", "))
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
		return false
	}
	http.Error(w, "want the method "+methods[0], http.StatusMethodNotAllowed)
	return false
}

func (m *Manager[V]) keepalive(w http.ResponseWriter, r *http.Request, q *exchange[V]) {
	if !q.isLive() {
		m.refuseScript(w, r, q, m.ending(&q.carried))
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// crossOrigin tells other sites' requests by Sec-Fetch-Site, else by Origin.
var crossOrigin = http.NewCrossOriginProtection()

func (m *Manager[V]) logout(w http.ResponseWriter, r *http.Request) {
	if crossOrigin.Check(r) != nil {
		http.Error(w, "a log-out comes from the site itself", http.StatusForbidden)
		return
	}
	m.End(w, r)
	if !isNavigation(r) {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	to := "/"
	if m.login != nil {
		to = m.login.url
	}
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}

// A state is the JSON of the status endpoint and of the event stream: what the
// page needs to know of its session.
type state struct {
	State       string `json:"state"` // "live", "ended" (the request came with an id that is not live) or "none"
	ServerTime  int64  `json:"serverTime"`
	ExpiresAt   *int64 `json:"expiresAt,omitempty"` // nil: without a limit, or not live
	RemainingMS *int64 `json:"remainingMs,omitempty"`
	Limit       string `json:"limit,omitempty"` // which will end it, and whether a keep-alive can help: see limitOf
	WarnMS      int64  `json:"warnMs"`
	IdleMS      int64  `json:"idleMs"` // zero: no such limit
	farewell
}

func (m *Manager[V]) status(q *exchange[V]) state {
	q.mu.Lock()
	s, live := q.session, q.live
	q.mu.Unlock()
	if live {
		if st, ok := m.stateOf(s); ok {
			return st
		}
	}
	st := state{State: "none", ServerTime: m.engine.Now().UnixMilli(), farewell: m.farewell(m.ending(&q.carried))}
	if live || q.carried.some {
		st.State = "ended"
	}
	return st
}

// stateOf returns the state of a session; false if it has ended.
func (m *Manager[V]) stateOf(s lapse.Session[ID, V]) (st state, ok bool) {
	policy, _ := s.Policy()
	info, ok := s.Info()
	if !ok {
		return st, false
	}
	now := m.engine.Now()
	st = state{State: "live", ServerTime: now.UnixMilli(), WarnMS: policy.Warn.Milliseconds(), IdleMS: policy.Idle.Milliseconds()}
	if !info.Deadline.IsZero() {
		left := max(info.Deadline.Sub(now), 0).Milliseconds()
		at := st.ServerTime + left
		st.ExpiresAt, st.RemainingMS, st.Limit = &at, &left, limitOf(policy, info).String()
	}
	return st, true
}

// limitOf returns the limit that a page should know of: the one that will end
// the session, or PollMax if that would be Idle but no polls are left. A page
// that then sent a keep-alive would end the session at once.
func limitOf(policy lapse.Policy, info lapse.Info) lapse.Reason {
	if info.Reason == lapse.ReasonIdle && policy.PollMax > 0 && info.Polls >= policy.PollMax {
		return lapse.ReasonPollMax
	}
	return info.Reason
}

// heartbeat is how often a stream that has nothing to say says so, lest a proxy
// takes it for dead.
const heartbeat = 15 * time.Second
