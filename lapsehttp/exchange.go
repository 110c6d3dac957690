package lapsehttp

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/lapse-go/lapse"
)

// An exchange is one request and its response, as far as the session goes.
type exchange[V any] struct {
	m        *Manager[V]
	w        http.ResponseWriter // what Handler was given
	ctx      context.Context     // the request's, as Handler was given it
	activity Activity
	carried  carried

	// mu guards the fields below: under http.TimeoutHandler a handler can
	// outlive its request.
	mu      sync.Mutex
	session lapse.Session[ID, V]
	id      ID   // by which the request knows the session
	live    bool // the request has a session, though it may end meanwhile
	dead    bool // the request came with an id that is not live
	out     bool // it has logged out
	sends   bool // the browser is to be given the session's id
	held    bool // the request holds its session
	written bool // the headers are

	came time.Time // when the request came, if it is dead

	values [5]string // of headers; one allocation less for each
}

// exchangeKey is the key of exchanges in contexts. Without a manager it finds
// the innermost.
type exchangeKey[V any] struct{ m *Manager[V] }

func (m *Manager[V]) exchange(ctx context.Context) *exchange[V] {
	q, _ := ctx.Value(exchangeKey[V]{m}).(*exchange[V])
	return q
}

// exchangeOf returns the exchange that a handler's request or response belongs
// to. Outside of Handler it makes one, whose headers the caller has to write.
func (m *Manager[V]) exchangeOf(w http.ResponseWriter, r *http.Request) (q *exchange[V], outside bool) {
	if q := m.exchange(r.Context()); q != nil {
		return q, false
	}
	// Some middleware gives its handlers a request with a context of its own.
	for w := w; w != nil; w = unwrap(w) {
		if x, ok := w.(interface{ exchange() *exchange[V] }); ok && x.exchange().m == m {
			return x.exchange(), false
		}
	}
	q = &exchange[V]{m: m, activity: Peek}
	q.look(r)
	q.recall(w.Header())
	return q, true
}

// recall has an exchange outside of Handler go on where earlier calls for the
// same response have left off, by what they have put on its header.
func (q *exchange[V]) recall(h http.Header) {
	value, ok := q.m.cookies.given(h)
	if !ok {
		return
	}
	q.session, q.live, q.dead, q.sends = lapse.Session[ID, V]{}, false, false, false
	if id, ok := parseID(value); ok {
		q.use(id)
	}
}

// look finds the request's session and applies its activity, and holds it if
// that is a Touch. One look-up suffices but for a browser with two cookies.
func (q *exchange[V]) look(r *http.Request) {
	m := q.m
	q.carried.read(r.Header["Cookie"], m.cookies.template.Name)
	ids := q.carried.known()
	switch len(ids) {
	case 1:
		q.use(ids[0])
	case 2:
		a, _, isA := m.find(ids[0], Peek)
		b, _, isB := m.find(ids[1], Peek)
		switch {
		case isA && (!isB || a == b):
			q.use(ids[0])
		case isB && !isA:
			q.use(ids[1])
		}
	}
	if q.dead = !q.live && q.carried.some; q.dead {
		q.came = m.engine.Now()
	}
}

// use makes the session that has the id the request's, if there is one.
func (q *exchange[V]) use(id ID) {
	s, renewed, ok := q.m.find(id, q.activity)
	if !ok {
		return
	}
	if q.activity == Touch {
		if !s.Hold() {
			return
		}
		q.held = true
	}
	q.session, q.id, q.live = s, id, true
	q.sends = renewed || q.activity != Peek && q.m.cookies.persistent()
	if q.activity != Peek {
		q.m.streams.look(s)
	}
}

// find finds the session that has the id, or had it until lately, and applies
// an activity. Renewed says that the session has another id now. What is not
// live takes the same way, whatever the cause.
func (m *Manager[V]) find(id ID, act Activity) (s lapse.Session[ID, V], renewed, ok bool) {
	switch act {
	case Touch:
		s, ok = m.engine.Touch(id)
	case Poll:
		s, ok = m.engine.Poll(id)
	default:
		s, ok = m.engine.Get(id)
	}
	if ok {
		return s, false, true
	}
	if s, ok = m.graces.find(id, m.engine.Now); !ok {
		return s, false, false
	}
	switch act {
	case Touch:
		ok = s.Touch()
	case Poll:
		ok = s.Poll()
	default:
		ok = s.Alive()
	}
	return s, true, ok
}

func (q *exchange[V]) isLive() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.live
}

// replaced returns the sessions that a new one takes the place of: the
// request's, or those that were not taken because there were two. Needed says
// that there must be the former.
func (q *exchange[V]) replaced(needed bool) (old []lapse.Session[ID, V], err error) {
	q.mu.Lock()
	s, live, written := q.session, q.live, q.written
	q.mu.Unlock()
	switch {
	case written:
		return nil, ErrWritten
	case live && (!needed || s.Alive()):
		return []lapse.Session[ID, V]{s}, nil
	case needed:
		return nil, ErrNoSession
	}
	return q.rivals(), nil
}

// rivals returns the live sessions of a request that came with several.
func (q *exchange[V]) rivals() (all []lapse.Session[ID, V]) {
	for _, id := range q.carried.known() {
		if s, _, ok := q.m.find(id, Peek); ok {
			all = append(all, s)
		}
	}
	return all
}

// outdate notes that the browser is about to get another id than those that it
// has, of which some are of the sessions that end in favor of a new one. It
// returns these ids, to be dropped if there is no new one after all.
func (q *exchange[V]) outdate(old ...lapse.Session[ID, V]) []ID {
	now, ids := q.m.engine.Now(), slices.Clone(q.carried.known())
	for _, s := range old {
		if id, ok := s.Key(); ok && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	for _, id := range ids {
		q.m.graces.add(id, lapse.Session[ID, V]{}, now)
	}
	return ids
}

// late reports whether the browser may have another id by now than it had when
// it sent the request, so that the response must not have it forget that one.
func (q *exchange[V]) late(now time.Time) bool {
	ids := q.carried.known()
	if q.live {
		ids = []ID{q.id}
	} else if now.Sub(q.came) >= q.m.graces.length {
		return true // nobody knows any more
	}
	for _, id := range ids {
		if _, replaced := q.m.graces.find(id, q.m.engine.Now); replaced {
			return true
		}
	}
	return false
}

// adopt makes a session that has just been started the request's. It fails if
// the response has begun meanwhile.
func (q *exchange[V]) adopt(s lapse.Session[ID, V]) bool {
	id, _ := s.Key()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.written {
		return false
	}
	q.session, q.id, q.live = s, id, true
	q.sends, q.dead, q.out = true, false, false
	q.held = q.activity == Touch && s.Hold()
	return true
}

// renew gives the request's session another id, unless somebody has done so
// since the request came. The lock is held throughout, so that the response
// cannot begin without the new id.
func (q *exchange[V]) renew() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.written:
		return ErrWritten
	case !q.live:
		return ErrNoSession
	}
	id, err := q.m.rename(q.session, q.id)
	if err == nil {
		q.id, q.sends = id, true
	}
	return err
}

// logOut ends the request's session, and notes that the page is to be told. It
// returns false if it is too late for that.
func (q *exchange[V]) logOut() bool {
	q.mu.Lock()
	s, live := q.session, q.live
	q.mu.Unlock()
	if live {
		s.Expire()
	} else {
		for _, s := range q.rivals() {
			s.Expire()
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.session == s {
		q.session, q.live = lapse.Session[ID, V]{}, false
		q.sends, q.out = false, true
	}
	return !q.written
}

// finish comes after the handler, also when that panics.
func (q *exchange[V]) finish() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.releaseLocked()
	q.writeHeadersLocked()
}

// release takes back the hold on the session, once.
func (q *exchange[V]) release() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.releaseLocked()
}

func (q *exchange[V]) releaseLocked() {
	if q.held && q.session.Release() {
		q.m.streams.look(q.session)
	}
	q.held = false
}
