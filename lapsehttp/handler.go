package lapsehttp

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/lapse-go/lapse"
)

// Handler finds the session of each request, applies the request's activity to
// it, and calls next: with the session in the request's context, where
// [FromContext] finds it, and with a ResponseWriter that adds the cookies and
// headers for the page before the first byte. It is meant to go round the whole
// site; a Handler of the same manager inside another does nothing. Without a
// session it adds Vary: Cookie, so that no cache takes the response for one to
// those who have a session.
//
// The activity is decided once, before next runs. See [Routes]. A Touch holds
// the session while next runs, so that a long upload does not lose it by Idle;
// Hijack and the first flush of a text/event-stream end that. A Poll and a Peek
// hold nothing. Under Prefix the endpoints decide for themselves, whether
// [Manager.Endpoints] is mounted or not.
//
// A request without a live session is served, too: otherwise nobody could log
// in. [Manager.Require] refuses it. One kind Handler itself refuses in the same
// way, before next runs: a Poll that comes with an id that is not live, for
// instance because it was one too many, and any request without a session to a
// route that is marked Poll. A page that polls learns so that it can stop.
//
// An id that is not live is never taken over: whether it has ended, was
// renewed away or is forged, the response clears its cookie. Only where the
// browser may have a new id by now does the response leave the cookies alone:
// for RenewGrace, and at least 10 s, after the old id was replaced, and where
// the response begins later than that after its request. Of two live sessions
// that one request brings cookies of, neither is used, since one of them may
// have been planted.
func (m *Manager[V]) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if m.exchange(r.Context()) != nil {
			next.ServeHTTP(w, r)
			return
		}
		path := r.URL.Path
		if strings.HasPrefix(path, m.prefix) {
			name := path[len(m.prefix):]
			if _, ok := modules[name]; ok {
				next.ServeHTTP(w, r) // it belongs to no session
				return
			}
			if e, ok := endpoints[name]; ok {
				m.enter(w, r, e.activity(r), ofEndpoint, next)
				return
			}
		}
		act, marked := m.routes.activity(r)
		by := ofRequest
		if marked {
			by = ofRoute
		}
		m.enter(w, r, act, by, next)
	})
}

// A marker says what made a request a Poll.
type marker uint8

const (
	ofRequest  marker = iota // its headers, if anything
	ofRoute                  // Options.Routes
	ofEndpoint               // it is one of the endpoints, which answer by themselves
)

// enter calls next for one request, unless it is a Poll that is to be refused.
func (m *Manager[V]) enter(w http.ResponseWriter, r *http.Request, act Activity, by marker, next http.Handler) {
	q := &exchange[V]{m: m, w: w, ctx: r.Context(), activity: act}
	q.look(r)
	defer q.finish()
	w, r = q.writer(), r.WithContext(scope[V]{q})
	if q.polledInVain(r, by) {
		m.refuseRequest(w, r, q)
		return
	}
	next.ServeHTTP(w, r)
}

// polledInVain reports whether the request is a Poll that has no session, so
// that its page should learn to stop.
func (q *exchange[V]) polledInVain(r *http.Request, by marker) bool {
	switch {
	case q.live || by == ofEndpoint:
		return false
	case by == ofRoute:
		return r.Method != http.MethodOptions
	}
	return q.activity == Poll && q.carried.some
}

// Require lets only requests with a live session through to next. It belongs
// inside [Manager.Handler]; elsewhere it brings its own.
//
// Others are refused. A script, judged by Sec-Fetch-Mode and Sec-Fetch-Dest,
// then X-Requested-With, then Accept, and a script if in doubt, gets status 401
// with
//
//	{"success":false,"error":"SESSION_TIMEOUT","reason":"idle","endedAt":1700000000000,"login":"/login"}
//
// if it came with an id that is not live; reason and endedAt are there if the
// engine still knows them (lapse.Options.Remember), login if Options.LoginURL
// is set. Without an id the error is NOT_LOGGED_IN. A navigation is sent to
// Options.LoginURL with status 303 and, in the parameter next, the path to
// return to; see [ReturnPath]. OPTIONS is refused as well: what answers CORS
// preflights goes around Require. The files of the browser client under Prefix
// are for everybody: Require serves them itself.
func (m *Manager[V]) Require(next http.Handler) http.Handler {
	endpoints := m.Endpoints()
	return m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch q := m.exchange(r.Context()); {
		case q == nil:
			// A file of the client. It is public, but next need not know that.
			endpoints.ServeHTTP(w, r)
		case !q.isLive():
			m.refuseRequest(w, r, q)
		default:
			next.ServeHTTP(w, r)
		}
	}))
}

// FromContext returns the session of the request that the context belongs to:
// the one that [Manager.Handler] found, or that Start or Promote started since.
// It looks nothing up. False: there is none, or End has ended it. The session
// may have ended in another way since the request began; then its methods say
// so.
func FromContext[V any](ctx context.Context) (lapse.Session[ID, V], bool) {
	q, ok := ctx.Value(exchangeKey[V]{}).(*exchange[V])
	if !ok {
		return lapse.Session[ID, V]{}, false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.session, q.live
}

// A scope is the context of a request that has an exchange.
type scope[V any] struct{ q *exchange[V] }

func (c scope[V]) Deadline() (time.Time, bool) { return c.q.ctx.Deadline() }
func (c scope[V]) Done() <-chan struct{}       { return c.q.ctx.Done() }
func (c scope[V]) Err() error                  { return c.q.ctx.Err() }

func (c scope[V]) Value(key any) any {
	if key, ok := key.(exchangeKey[V]); ok && (key.m == nil || key.m == c.q.m) {
		return c.q
	}
	return c.q.ctx.Value(key)
}
