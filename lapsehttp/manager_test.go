package lapsehttp

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lapse-go/lapse"
)

// within calls f as the handler of a request.
func within(t testing.TB, m *testManager, r *http.Request, f func(http.ResponseWriter, *http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	return serve(t, m.Handler(handle(f)), r, http.StatusOK)
}

func TestStart(t *testing.T) {
	m := newTest(t, lapse.Options{}, Options[string]{})
	old, id := start(t, m, "Ada")
	var s testSession
	w := within(t, m, request("GET", "/", id), func(w http.ResponseWriter, r *http.Request) {
		var err error
		if s, err = m.Start(w, r, "Bob"); err != nil || old.Alive() {
			t.Errorf("Start: %v; the old session lives: %t", err, old.Alive())
		}
		if got, ok := FromContext[string](r.Context()); got != s || !ok {
			t.Errorf("FromContext: %v, %t", got, ok)
		}
	})
	if key, _ := s.Key(); sentID(t, w) != key || key == id || len(w.Header()["Set-Cookie"]) != 3 {
		t.Errorf("%v", w.Header())
	}
	// An id that is not live is not taken over.
	w = within(t, m, request("GET", "/", ID{9}), func(w http.ResponseWriter, r *http.Request) { m.Start(w, r, "Eve") })
	if sentID(t, w) == (ID{9}) || strings.Contains(fmt.Sprint(w.Header()), ID{9}.String()) || len(w.Header()["Set-Cookie"]) != 3 {
		t.Errorf("%v", w.Header())
	}
}

// TestOutside calls the methods from handlers that are not in Handler.
func TestOutside(t *testing.T) {
	m := newTest(t, lapse.Options{}, Options[string]{})
	member, err := m.engine.Class(lapse.Policy{Name: "member"})
	if err != nil {
		t.Fatal(err)
	}
	outside := func(r *http.Request, f func(http.ResponseWriter, *http.Request)) *httptest.ResponseRecorder {
		return serve(t, handle(f), r, http.StatusOK)
	}
	id := sentID(t, outside(request("GET", "/"), func(w http.ResponseWriter, r *http.Request) {
		if _, err := m.Start(w, r, "Ada"); err != nil {
			t.Error(err)
		}
	}))
	first, _ := m.engine.Get(id)
	id = sentID(t, outside(request("GET", "/", id), func(w http.ResponseWriter, r *http.Request) {
		if err := m.Renew(w, r); err != nil {
			t.Error(err)
		}
	}))
	if s, ok := m.engine.Get(id); !ok || s != first {
		t.Error("Renew has changed more than the id")
	}
	id = sentID(t, outside(request("GET", "/", id), func(w http.ResponseWriter, r *http.Request) {
		if err := m.Promote(w, r, member, "Ada"); err != nil {
			t.Error(err)
		}
	}))
	if info, _ := first.Info(); info.Class != "" {
		t.Error("the first session lives on")
	}
	w := outside(request("GET", "/", id), m.End)
	if c := cookie(w, "session"); c == nil || c.MaxAge >= 0 || m.engine.Len() != 0 {
		t.Errorf("%v, %d sessions", w.Header(), m.engine.Len())
	}
	outside(request("GET", "/", id), func(w http.ResponseWriter, r *http.Request) {
		isError(t, m.Renew(w, r), ErrNoSession)
		isError(t, m.Promote(w, r, member, "Ada"), ErrNoSession)
		m.End(w, r)
	})
}

// TestLostContext has middleware replace the request's context.
func TestLostContext(t *testing.T) {
	m := newTest(t, lapse.Options{}, Options[string]{})
	old, id := start(t, m, "Ada")
	w := within(t, m, request("GET", "/", id), func(w http.ResponseWriter, r *http.Request) {
		s, err := m.Start(wrapped{w}, r.WithContext(t.Context()), "Bob")
		if err != nil {
			t.Error(err)
		}
		if got, _ := FromContext[string](r.Context()); got != s {
			t.Error("the request does not know its session")
		}
	})
	if old.Alive() || len(w.Header()["Set-Cookie"]) != 3 {
		t.Errorf("%v", w.Header())
	}
}

func TestPromote(t *testing.T) {
	inBubble(t, lapse.Options{Default: lapse.Policy{Name: "guest", Lifetime: time.Hour}}, Options[string]{}, func(t *testing.T, m *testManager) {
		member, err := m.engine.Class(lapse.Policy{Name: "member", Lifetime: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		old, id := start(t, m, "guest")
		time.Sleep(30 * time.Minute)
		var s testSession
		w := within(t, m, request("GET", "/", id), func(w http.ResponseWriter, r *http.Request) {
			if err := m.Promote(w, r, member, "Ada"); err != nil {
				t.Fatal(err)
			}
			s, _ = FromContext[string](r.Context())
			info, ok := s.Info()
			value, _ := s.Value()
			if !ok || info.Class != "member" || time.Since(info.Started) != 0 || value != "Ada" || old.Alive() || info.Holds != 1 {
				t.Errorf("%+v, %q; the old session lives: %t", info, value, old.Alive())
			}
		})
		if key, _ := s.Key(); sentID(t, w) != key || w.Header().Get(expiresHeader) != "3600000" {
			t.Errorf("%v", w.Header())
		}
		// There is no grace: the old id had no rights.
		serve(t, m.Require(ok), request("GET", "/", id), http.StatusUnauthorized)
		within(t, m, request("GET", "/"), func(w http.ResponseWriter, r *http.Request) {
			isError(t, m.Promote(w, r, member, "Ada"), ErrNoSession)
		})
		// Nor is there anything to promote once the session has ended.
		within(t, m, request("GET", "/", sentID(t, w)), func(w http.ResponseWriter, r *http.Request) {
			s.Expire()
			isError(t, m.Promote(w, r, member, "Ada"), ErrNoSession)
		})
		if n := m.engine.Stats().Ended[lapse.ReasonExpired]; n != 2 || m.engine.Len() != 0 {
			t.Errorf("%d sessions, %d have ended", m.engine.Len(), n)
		}
	})
}

// TestPromoteAtOnce has two requests promote one session: one of them fails.
func TestPromoteAtOnce(t *testing.T) {
	m := newTest(t, lapse.Options{}, Options[string]{Owner: func(v string) string { return v }})
	old, id := start(t, m, "")
	var began sync.WaitGroup
	began.Add(2)
	var both sync.WaitGroup
	errs := make([]error, 2)
	for i := range errs {
		both.Go(func() {
			within(t, m, request("GET", "/", id), func(w http.ResponseWriter, r *http.Request) {
				began.Done()
				began.Wait()
				errs[i] = m.Promote(w, r, m.defaultClass(t), "Ada")
			})
		})
	}
	both.Wait()
	if (errs[0] == nil) == (errs[1] == nil) || old.Alive() || m.engine.Len() != 1 {
		t.Errorf("%v; %d sessions", errs, m.engine.Len())
	}
	for _, err := range errs {
		if err != nil {
			isError(t, err, ErrNoSession)
		}
	}
	if n := m.EndAll("Ada"); n != 1 {
		t.Errorf("%d sessions ended", n)
	}
}

func (m *Manager[V]) defaultClass(t testing.TB) *lapse.Class[ID, V] {
	c, err := m.engine.Class(lapse.DefaultSession)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestPromoteGone has the session end between the two steps of Promote.
func TestPromoteGone(t *testing.T) {
	m := newTest(t, lapse.Options{}, Options[string]{})
	old, _ := start(t, m, "")
	m.owners.of = func(string) string {
		old.Expire()
		return "Ada"
	}
	_, err := m.succeed(old, nil, "Ada")
	isError(t, err, ErrNoSession)
	if m.engine.Len() != 0 || m.owners.len() != 0 {
		t.Errorf("%d sessions, %d owned", m.engine.Len(), m.owners.len())
	}
}

func TestFull(t *testing.T) {
	m := newTest(t, lapse.Options{MaxSessions: 1}, Options[string]{})
	_, id := start(t, m, "guest")
	within(t, m, request("GET", "/"), func(w http.ResponseWriter, r *http.Request) {
		_, err := m.Start(w, r, "Bob")
		isError(t, err, lapse.ErrFull)
	})
	// The one that goes makes room.
	w := within(t, m, request("GET", "/", id), func(w http.ResponseWriter, r *http.Request) {
		if err := m.Promote(w, r, m.defaultClass(t), "Ada"); err != nil {
			t.Error(err)
		}
	})
	w = within(t, m, request("GET", "/", sentID(t, w)), func(w http.ResponseWriter, r *http.Request) {
		if _, err := m.Start(w, r, "Ada"); err != nil {
			t.Error(err)
		}
	})
	if _, ok := m.engine.Get(sentID(t, w)); !ok || m.engine.Len() != 1 {
		t.Errorf("%d sessions", m.engine.Len())
	}
}

func TestClosed(t *testing.T) {
	m := newTest(t, lapse.Options{}, Options[string]{})
	_, id := start(t, m, "Ada")
	class := m.defaultClass(t)
	within(t, m, request("GET", "/", id), func(w http.ResponseWriter, r *http.Request) {
		m.engine.Close()
		_, err := m.Start(w, r, "Bob")
		isError(t, err, lapse.ErrClosed)
		isError(t, m.Promote(w, r, class, "Bob"), lapse.ErrClosed)
		isError(t, m.Renew(w, r), ErrNoSession)
		m.End(w, r)
	})
	serve(t, m.Require(ok), request("GET", "/", id), http.StatusUnauthorized)
	if n := m.EndAll("Ada"); n != 0 {
		t.Errorf("%d sessions ended", n)
	}
}

func TestEnd(t *testing.T) {
	for _, insecure := range []bool{true, false} {
		e, err := lapse.New[ID, string](lapse.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		m, err := New(e, Options[string]{Insecure: insecure, Cookie: http.Cookie{Name: "session"}})
		if err != nil {
			t.Fatal(err)
		}
		s, id := start(t, m, "Ada")
		for _, r := range []*http.Request{request("GET", "/", id), request("GET", "/", id), request("GET", "/")} {
			w := within(t, m, r, func(w http.ResponseWriter, r *http.Request) {
				m.End(w, r)
				if _, ok := FromContext[string](r.Context()); ok || s.Alive() {
					t.Error("there is a session after End")
				}
				m.End(w, r) // once more changes nothing
			})
			if at, end := cookie(w, serverTimeCookie), cookie(w, sessionExpiryCookie); at.Value != end.Value || cookie(w, "session").MaxAge >= 0 ||
				len(w.Header()["Set-Cookie"]) != 3 || (w.Header().Get("Clear-Site-Data") != "") == insecure {
				t.Errorf("insecure %t: %v", insecure, w.Header())
			}
		}
		// A log-in after it is not wiped away.
		w := within(t, m, request("GET", "/"), func(w http.ResponseWriter, r *http.Request) {
			m.End(w, r)
			if _, err := m.Start(w, r, "Ada"); err != nil {
				t.Error(err)
			}
		})
		sentID(t, w)
		if w.Header().Get("Clear-Site-Data") != "" {
			t.Errorf("%v", w.Header())
		}
	}
}

// TestEndTooLate logs that the browser could not be told, without the id.
func TestEndTooLate(t *testing.T) {
	var log bytes.Buffer
	m := newTest(t, lapse.Options{}, Options[string]{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	s, id := start(t, m, "Ada")
	within(t, m, request("GET", "/", id), func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("a"))
		m.End(w, r)
	})
	if s.Alive() || strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "cookies") || strings.Contains(log.String(), id.String()) {
		t.Errorf("alive: %t; logged: %s", s.Alive(), &log)
	}
}

// TestPersistent sends the id again with each Touch, so that the browser keeps
// it as long as the session.
func TestPersistent(t *testing.T) {
	inBubble(t, lapse.Options{}, Options[string]{Cookie: http.Cookie{MaxAge: 900}, Routes: Routes{"/poll": Poll}}, func(t *testing.T, m *testManager) {
		_, id := start(t, m, "Ada")
		time.Sleep(time.Minute)
		w := serve(t, m.Handler(ok), request("GET", "/", id), http.StatusOK)
		if c := cookie(w, "session"); c == nil || c.Value != id.String() || c.MaxAge != 900 || !c.Expires.Equal(time.Now().Add(15*time.Minute)) {
			t.Errorf("%v", w.Header())
		}
		w = serve(t, m.Handler(ok), request("GET", "/poll", id), http.StatusOK)
		if cookie(w, "session") != nil {
			t.Errorf("%v", w.Header())
		}
	})
}

func TestRenew(t *testing.T) {
	inBubble(t, lapse.Options{Default: lapse.Policy{Name: "user", Idle: time.Hour}}, Options[string]{}, func(t *testing.T, m *testManager) {
		s, id := start(t, m, "Ada")
		renew := func(id ID) ID {
			t.Helper()
			return sentID(t, within(t, m, request("GET", "/", id), func(w http.ResponseWriter, r *http.Request) {
				if err := m.Renew(w, r); err != nil {
					t.Error(err)
				}
			}))
		}
		first := renew(id)
		if second := renew(id); second != first {
			t.Error("a late request has made another id")
		}
		// The old id works, for any activity, and is told the new one.
		for _, header := range []string{"", "poll", "peek"} {
			r := request("GET", "/", id)
			r.Header.Set(activityHeader, header)
			w := within(t, m, r, func(_ http.ResponseWriter, r *http.Request) {
				if got, ok := FromContext[string](r.Context()); got != s || !ok {
					t.Errorf("FromContext: %v, %t", got, ok)
				}
			})
			if sentID(t, w) != first {
				t.Error("another id was sent")
			}
		}
		if w := within(t, m, request("GET", "/", first), func(http.ResponseWriter, *http.Request) {}); cookie(w, "session") != nil {
			t.Errorf("%v", w.Header())
		}
		third := renew(first)
		if third == first {
			t.Error("the id is the same")
		}
		time.Sleep(10*time.Second - time.Millisecond)
		serve(t, m.Require(ok), request("GET", "/", id), http.StatusOK)
		time.Sleep(time.Millisecond)
		for _, gone := range []ID{id, first} {
			serve(t, m.Require(ok), request("GET", "/", gone), http.StatusUnauthorized)
		}
		serve(t, m.Require(ok), request("GET", "/", third), http.StatusOK)
		if m.graces.len() != 0 || m.graces.ring != nil || m.graces.some.Load() {
			t.Error("something is left of the graces")
		}
		// Grace is the session's, not longer.
		fourth := renew(third)
		s.Expire()
		for _, gone := range []ID{third, fourth} {
			serve(t, m.Require(ok), request("GET", "/", gone), http.StatusUnauthorized)
		}
	})
}

// TestRenewTwice renews twice in one request: the browser gets the last id.
func TestRenewTwice(t *testing.T) {
	m := newTest(t, lapse.Options{}, Options[string]{RenewGrace: -1})
	s, id := start(t, m, "Ada")
	w := within(t, m, request("GET", "/", id), func(w http.ResponseWriter, r *http.Request) {
		for range 2 {
			if err := m.Renew(w, r); err != nil {
				t.Error(err)
			}
		}
	})
	if key, _ := s.Key(); sentID(t, w) != key || len(w.Header()["Set-Cookie"]) != 3 || m.graces.len() != 0 {
		t.Errorf("%v", w.Header())
	}
	serve(t, m.Require(ok), request("GET", "/", id), http.StatusUnauthorized)
}

// TestRenewAtOnce has many requests renew one session while others use it.
func TestRenewAtOnce(t *testing.T) {
	m := newTest(t, lapse.Options{}, Options[string]{})
	s, id := start(t, m, "Ada")
	var all sync.WaitGroup
	ids := make([]ID, 20)
	for i := range ids {
		all.Go(func() {
			ids[i] = sentID(t, within(t, m, request("GET", "/", id), func(w http.ResponseWriter, r *http.Request) {
				if err := m.Renew(w, r); err != nil {
					t.Error(err)
				}
			}))
		})
		all.Go(func() {
			serve(t, m.Require(ok), request("GET", "/", id), http.StatusOK)
		})
	}
	all.Wait()
	for _, got := range ids {
		if key, _ := s.Key(); got != key {
			t.Error("two ids were made")
		}
	}
}

func TestGraces(t *testing.T) {
	now := time.Unix(0, 0)
	g := graces[string]{length: 10 * time.Second}
	idOf := func(i int) ID { return ID{byte(i), byte(i >> 8), byte(i >> 16)} }
	find := func(i int) bool {
		_, ok := g.find(idOf(i), func() time.Time { return now })
		return ok
	}
	for i := range 100 {
		g.add(idOf(i), testSession{}, now)
		now = now.Add(time.Second)
		for j := range 100 {
			if want := j <= i && j > i-9; find(j) != want {
				t.Fatalf("after %d: %d is known: %t", i, j, !want)
			}
		}
		if g.len() > 10 || len(g.ring) > 16 {
			t.Fatalf("%d ids, a ring of %d", g.len(), len(g.ring))
		}
	}
	// The same id once more lives as long as the later.
	g.add(idOf(7), testSession{}, now)
	now = now.Add(5 * time.Second)
	g.add(idOf(7), testSession{}, now)
	now = now.Add(6 * time.Second)
	if !find(7) {
		t.Error("it is gone with the earlier one")
	}
	now = now.Add(5 * time.Second)
	if find(7) || g.byID != nil || g.ring != nil {
		t.Error("something is left")
	}
	// Too many at once: the oldest go.
	for i := range mostGraces + 10 {
		g.add(idOf(i), testSession{}, now)
	}
	if g.len() != mostGraces || find(9) || !find(10) || !find(mostGraces+9) {
		t.Errorf("%d ids", g.len())
	}
}

func TestOwners(t *testing.T) {
	m := newTest(t, lapse.Options{}, Options[string]{Owner: func(v string) string { return strings.TrimRight(v, "0123456789") }})
	var ada, bob []testSession
	for i := range 5 {
		s, _ := start(t, m, fmt.Sprint("Ada", i))
		ada = append(ada, s)
		s, _ = start(t, m, fmt.Sprint("Bob", i))
		bob = append(bob, s)
	}
	nobody, _ := start(t, m, "7")
	if n := m.owners.len(); n != 10 {
		t.Errorf("%d owned", n)
	}
	for _, i := range []int{0, 4, 2} { // the first, the last, one between
		ada[i].Expire()
	}
	ada[1].SetValue("Bob") // too late to change the owner
	if n := m.EndAll("Ada"); n != 2 || m.owners.len() != 5 {
		t.Errorf("%d sessions of Ada's ended, %d owned", n, m.owners.len())
	}
	for owner, want := range map[string]int{"Ada": 0, "": 0, "Eve": 0} {
		if n := m.EndAll(owner); n != want {
			t.Errorf("%d sessions of %q ended", n, owner)
		}
	}
	for i, s := range bob {
		if !s.Alive() {
			t.Errorf("session %d of Bob's has ended", i)
		}
		s.Expire()
	}
	if !nobody.Alive() || m.owners.len() != 0 || len(m.owners.byOwner) != 0 {
		t.Errorf("%d owned", m.owners.len())
	}
}

// TestOwnersRace starts, ends and ends all at the same time: nothing is left
// when all sessions have ended.
func TestOwnersRace(t *testing.T) {
	m := newTest(t, lapse.Options{}, Options[string]{Owner: func(v string) string { return v }})
	m.engine.NotifyOnExpire(func(testEvent) {}) // ends are delivered after our own hooks
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i := range 300 {
				s, err := m.begin(nil, fmt.Sprint(i%3))
				if err != nil {
					t.Error(err)
				} else if i%2 == 0 {
					s.Expire()
				}
			}
		})
		all.Go(func() {
			for i := range 300 {
				m.EndAll(fmt.Sprint(i % 3))
			}
		})
	}
	all.Wait()
	for i := range 3 {
		m.EndAll(fmt.Sprint(i))
	}
	if m.engine.Len() != 0 || m.owners.len() != 0 {
		t.Errorf("%d sessions, %d owned", m.engine.Len(), m.owners.len())
	}
}

// TestOwnerOfDead enters a session that has ended by then.
func TestOwnerOfDead(t *testing.T) {
	m := newTest(t, lapse.Options{}, Options[string]{})
	s, _ := start(t, m, "Ada")
	s.Expire()
	m.owners.add(s, "Ada")
	if n := m.owners.len(); n != 0 {
		t.Errorf("%d owned", n)
	}
}

// len counts the sessions that are owned.
func (o *owners[V]) len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := 0
	for _, first := range o.byOwner {
		for at := first; ; at = at.next {
			n++
			if at.next == first {
				break
			}
		}
	}
	return n
}

// len counts the ids in grace.
func (g *graces[V]) len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.byID)
}
