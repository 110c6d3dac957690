package lapsehttp

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"

	"github.com/lapse-go/lapse"
)

// The errors that Start, Promote and Renew return beside those of the engine;
// test for them with errors.Is.
var (
	// ErrNoSession: the request has no live session. By Promote and Renew.
	ErrNoSession = errors.New("lapsehttp: the request has no live session")
	// ErrWritten: the response has begun, so that the browser could not be told
	// of another id any more. By Start, Promote and Renew.
	ErrWritten = errors.New("lapsehttp: the response has begun: it is too late for a cookie")
)

// A Manager brings the sessions of an engine to net/http. All its methods are
// safe for concurrent use; the response and the request that are given to one
// are those of a handler, which may have been wrapped since.
type Manager[V any] struct {
	engine  *lapse.Engine[ID, V]
	class   *lapse.Class[ID, V] // nil: the engine's default
	classes sync.Map            // the classes that are known to be the engine's
	routes  *router
	cookies cookies
	prefix  string
	login   *login // nil: none
	refuse  func(http.ResponseWriter, *http.Request, lapse.Ending)
	owners  owners[V]
	graces  graces[V]
	streams streams[V]
	wipes   bool // a log-out clears the site's data
	logger  *slog.Logger

	entropy struct {
		sync.Mutex // one reader at a time
		io.Reader  // nil: crypto/rand
	}
}

// New makes a manager of the engine's sessions. Its error names the option, or
// the pattern of a route, that makes no sense. Several managers can share an
// engine if their cookies have different names. The cookies for the page,
// serverTime and sessionExpiry, have the same names for all: on one host the
// last response tells of its own manager's session.
func New[V any](e *lapse.Engine[ID, V], o Options[V]) (*Manager[V], error) {
	if e == nil {
		return nil, errors.New("lapsehttp: New needs an engine, not nil")
	}
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	routes, err := newRouter(o.Routes, o.Prefix)
	if err != nil {
		return nil, err
	}
	cookies, err := newCookies(o.Cookie, o.Insecure)
	if err != nil {
		return nil, err
	}
	m := &Manager[V]{
		engine:  e,
		class:   o.Class,
		routes:  routes,
		cookies: cookies,
		prefix:  o.Prefix,
		login:   newLogin(o.LoginURL),
		refuse:  o.Refuse,
		wipes:   !o.Insecure,
		logger:  o.Logger,
	}
	m.entropy.Reader = o.Entropy
	m.owners.of = o.Owner
	m.graces.setLength(o.RenewGrace)
	if o.Class != nil {
		if err := m.checkClass(o.Class); err != nil {
			return nil, fmt.Errorf("lapsehttp: Options.Class: %w", err)
		}
	}
	return m, nil
}

// checkClass returns an error if the class is not the engine's.
func (m *Manager[V]) checkClass(c *lapse.Class[ID, V]) error {
	if c == nil {
		return errors.New("the class is nil")
	}
	if _, known := m.classes.Load(c); known {
		return nil
	}
	for {
		p := c.Policy()
		if _, ok := m.engine.Stats().Live[p.Name]; !ok {
			return foreign(p) // and Class would make one of that name
		}
		own, err := m.engine.Class(p)
		switch {
		case err == nil && own == c:
			m.classes.Store(c, true)
			return nil
		case errors.Is(err, lapse.ErrClosed):
			return err
		case err != nil && c.Policy() != p:
			continue // SetPolicy has come between
		}
		return foreign(p)
	}
}

func foreign(p lapse.Policy) error { return fmt.Errorf("the class %q is another engine's", p.Name) }

// Start starts a session, as a log-in does, and gives the browser its id in the
// response: always a fresh one, whatever the request came with. A session that
// the request came with ends first, for [lapse.ReasonExpired], even if the new
// one then cannot start. Within [Manager.Handler], FromContext finds the new
// session from now on.
//
// Errors: [ErrWritten] within Handler; [lapse.ErrFull]; [lapse.ErrClosed]; what
// Options.Entropy says. Outside Handler, call it before the response begins,
// and not from two goroutines for one response; of several calls, of End and
// the others, too, the last one counts there as well.
func (m *Manager[V]) Start(w http.ResponseWriter, r *http.Request, v V) (lapse.Session[ID, V], error) {
	return m.start(w, r, m.class, v, false)
}

// Promote replaces the request's session by one of another class, with another
// value and under a fresh id, as when somebody logs in who had an anonymous
// session before. All limits count anew, from now. The old session ends, for
// [lapse.ReasonExpired], once the new one has started; its id finds nothing any
// more, without the grace that Renew gives. Event streams of the old session
// follow the new one.
//
// Errors: [ErrNoSession], also if the old session ends meanwhile; those of
// Start; a class that is nil or another engine's. After an error the old
// session lives on, unless the engine was full and had to give it up. A full
// engine evicts another session before that one.
func (m *Manager[V]) Promote(w http.ResponseWriter, r *http.Request, c *lapse.Class[ID, V], v V) error {
	if err := m.checkClass(c); err != nil {
		return fmt.Errorf("lapsehttp: Promote: %w", err)
	}
	_, err := m.start(w, r, c, v, true)
	return err
}

func (m *Manager[V]) start(w http.ResponseWriter, r *http.Request, c *lapse.Class[ID, V], v V, promote bool) (s lapse.Session[ID, V], err error) {
	q, outside := m.exchangeOf(w, r)
	old, err := q.replaced(promote)
	if err != nil {
		return s, err
	}
	var outdated []ID
	defer func() {
		if s == (lapse.Session[ID, V]{}) {
			m.graces.drop(outdated...)
		}
	}()
	if promote {
		s, outdated, err = q.succeed(old[0], c, v)
	} else {
		outdated = q.outdate(old...)
		for _, old := range old {
			old.Expire()
		}
		s, err = m.begin(c, v)
	}
	if err != nil {
		return lapse.Session[ID, V]{}, err
	}
	if !q.adopt(s) {
		s.Expire()
		return lapse.Session[ID, V]{}, ErrWritten
	}
	if outside {
		q.remark(w.Header())
	}
	return s, nil
}

// succeed starts a session and ends the one that it succeeds. Streams hear of
// neither before it is sure which of them they belong to. It returns the ids
// that it has outdated, also with an error.
func (q *exchange[V]) succeed(old lapse.Session[ID, V], c *lapse.Class[ID, V], v V) (s lapse.Session[ID, V], outdated []ID, err error) {
	m := q.m
	m.streams.park(old)
	defer func() { m.streams.resume(old, s) }()
	if !old.Hold() { // lest the engine evicts it in favor of the new one
		return s, nil, ErrNoSession
	}
	defer old.Release()
	fresh, err := m.begin(c, v)
	full := errors.Is(err, lapse.ErrFull)
	if err != nil && !full {
		return s, nil, err
	}
	outdated = q.outdate(old)
	if !old.Expire() {
		// It has ended meanwhile: somebody has logged out, or been promoted by
		// another request.
		fresh.Expire()
		return s, outdated, ErrNoSession
	}
	if full {
		s, err = m.begin(c, v) // the old one was one too many
		return s, outdated, err
	}
	return fresh, outdated, nil
}

// begin starts a session under a fresh id.
func (m *Manager[V]) begin(c *lapse.Class[ID, V], v V) (lapse.Session[ID, V], error) {
	owner := m.owners.owner(v) // before there is a session, in case it panics
	for range mostTries {
		id, err := m.newID()
		if err != nil {
			return lapse.Session[ID, V]{}, err
		}
		var s lapse.Session[ID, V]
		if c == nil {
			s, err = m.engine.Start(id, v)
		} else {
			s, err = c.Start(id, v)
		}
		if errors.Is(err, lapse.ErrExists) {
			continue
		}
		if err != nil {
			return lapse.Session[ID, V]{}, err
		}
		m.owners.add(s, owner)
		return s, nil
	}
	return lapse.Session[ID, V]{}, errRepeats
}

// mostTries is how many ids that are in use make plain that the source of
// entropy repeats itself.
const mostTries = 8

var errRepeats = fmt.Errorf("lapsehttp: Options.Entropy repeats itself: %d ids in a row were in use", mostTries)

func (m *Manager[V]) newID() (id ID, err error) {
	if m.entropy.Reader == nil {
		rand.Read(id[:]) // it never fails
		return id, nil
	}
	m.entropy.Lock()
	defer m.entropy.Unlock()
	if _, err := io.ReadFull(m.entropy.Reader, id[:]); err != nil {
		return ID{}, fmt.Errorf("lapsehttp: no entropy for an id: %w", err)
	}
	return id, nil
}

// Renew gives the request's session a fresh id and changes nothing else about
// it: do so now and then. The old id still finds the session for
// Options.RenewGrace, so that requests that are on their way with it succeed;
// they get the new one, too. So does somebody else who has the old id: where
// rights rise, use Promote, or a negative RenewGrace. Where several requests
// renew at once, one fresh id is made and all of them get it.
//
// Errors: [ErrNoSession]; within [Manager.Handler], [ErrWritten];
// [lapse.ErrClosed]; what Options.Entropy says.
func (m *Manager[V]) Renew(w http.ResponseWriter, r *http.Request) error {
	q, outside := m.exchangeOf(w, r)
	if err := q.renew(); err != nil {
		return err
	}
	if outside {
		q.remark(w.Header())
	}
	return nil
}

// rename gives the session, which the request knows by id, another id, unless
// somebody has done so meanwhile. It returns the id that the session has now.
func (m *Manager[V]) rename(s lapse.Session[ID, V], id ID) (ID, error) {
	for range mostTries {
		key, ok := s.Key()
		if !ok {
			return ID{}, ErrNoSession
		}
		if key != id {
			return key, nil
		}
		fresh, err := m.newID()
		if err != nil {
			return ID{}, err
		}
		if fresh == id {
			continue
		}
		// First, so that there is no moment at which the old id finds nothing.
		m.graces.add(id, s, m.engine.Now())
		if err = m.engine.Rename(id, fresh); err == nil {
			return fresh, nil
		}
		m.graces.drop(id)
		if !errors.Is(err, lapse.ErrNotFound) && !errors.Is(err, lapse.ErrExists) {
			return ID{}, err
		}
	}
	return ID{}, errRepeats
}

// End ends the request's session, for [lapse.ReasonExpired], as a log-out does:
// first the session, then the cookies. All windows learn of it by the cookies;
// behind TLS the browser is told to forget the site's data (Clear-Site-Data),
// which takes in the cookies of all subdomains of the registered domain.
// Without a session it clears the cookies only. Once the response has begun the
// session still ends, but the browser keeps its cookies until its next request.
func (m *Manager[V]) End(w http.ResponseWriter, r *http.Request) {
	q, outside := m.exchangeOf(w, r)
	if !q.logOut() {
		m.logger.Warn("lapsehttp: End was called after the response had begun: the session has ended, but the browser was not told to clear its cookies")
	}
	if outside {
		q.remark(w.Header())
	}
}

// EndAll ends all sessions of an owner, for [lapse.ReasonExpired], and returns
// how many: a log-out everywhere. Who owns a session is what Options.Owner said
// when Start or Promote set its value; with an empty owner, or without
// Options.Owner, there are none. A session that starts meanwhile may live on.
func (m *Manager[V]) EndAll(owner string) int {
	n := 0
	for _, s := range m.owners.take(owner) {
		if s.Expire() {
			n++
		}
	}
	return n
}
