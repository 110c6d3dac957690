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

// TestOutsideAgain makes several calls for one response, outside of Handler: the
// last one counts, as it does inside.
func TestOutsideAgain(t *testing.T) {
	e, err := lapse.New[ID, string](lapse.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	m, err := New(e, Options[string]{Cookie: http.Cookie{Name: "session"}})
	if err != nil {
		t.Fatal(err)
	}
	eternal, err := e.Class(lapse.Policy{Name: "eternal"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		steps string
		live  bool
	}{
		{"start start", true},
		{"start end", false},
		{"end end", false},
		{"end start", true},
		{"end start end", false},
		{"end start renew", true},
		{"start promote", true},
		{"end start promote", true},
		{"renew renew", true},
		{"renew start", true},
		{"renew end", false},
		{"promote end", false},
		{"promote promote", true},
	} {
		_, id := start(t, m, "guest")
		w, r := httptest.NewRecorder(), request("POST", "/", id)
		w.Header().Add("Set-Cookie", "theme=dark")
		limited := true
		for step := range strings.FieldsSeq(tt.steps) {
			var err error
			switch limited = step != "promote"; step {
			case "start":
				_, err = m.Start(w, r, "Ada")
			case "promote":
				err = m.Promote(w, r, eternal, "Ada")
			case "renew":
				err = m.Renew(w, r)
			case "end":
				m.End(w, r)
			}
			if err != nil {
				t.Errorf("%s: %s: %v", tt.steps, step, err)
			}
		}
		h := w.Header()
		if len(h["Set-Cookie"]) != 4 || h["Set-Cookie"][0] != "theme=dark" || (h.Get(expiresHeader) != "") != limited || (h.Get("Clear-Site-Data") == "") != tt.live {
			t.Errorf("%s: %v", tt.steps, h)
		}
		if sessions := e.Len(); !tt.live {
			if c := cookie(w, "session"); c == nil || c.MaxAge >= 0 || sessions != 0 {
				t.Errorf("%s: %v, %d sessions", tt.steps, h, sessions)
			}
		} else if s, ok := e.Get(sentID(t, w)); !ok || sessions != 1 {
			t.Errorf("%s: the browser has the id of no session; there are %d", tt.steps, sessions)
		} else {
			s.Expire()
		}
	}
	// What others have set stays.
	w := httptest.NewRecorder()
	w.Header().Set("Clear-Site-Data", `"cache"`)
	w.Header().Add("Set-Cookie", "serverTime=local; Path=/other")
	for range 2 {
		if _, err := m.Start(w, request("POST", "/"), "Ada"); err != nil {
			t.Error(err)
		}
	}
	if h := w.Header(); h.Get("Clear-Site-Data") != `"cache"` || len(h["Set-Cookie"]) != 4 {
		t.Errorf("%v", h)
	}
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
		pass(30 * time.Minute)
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
			w := within(t, m, request("GET", "/", id), func(w http.ResponseWriter, r *http.Request) {
				began.Done()
				began.Wait()
				errs[i] = m.Promote(w, r, m.defaultClass(t), "Ada")
			})
			if takesAway(w) {
				t.Errorf("the browser is to forget the other's id: %v", w.Header())
			}
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
	_, _, err := (&exchange[string]{m: m}).succeed(old, nil, "Ada")
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

// TestPromoteEvicts has a full engine make room for the new session: not at the
// expense of the one that is promoted, while there are others.
func TestPromoteEvicts(t *testing.T) {
	for _, most := range []int{1, 2} {
		m := newTest(t, lapse.Options{MaxSessions: most, WhenFull: lapse.Evict}, Options[string]{})
		s, id := start(t, m, "guest")
		for m.engine.Len() < most {
			start(t, m, "other")
		}
		r := request("POST", "/", id)
		r.Header.Set(activityHeader, "peek") // which holds nothing
		var evicted []string
		m.engine.NotifyOnExpire(func(ev testEvent) {
			if ev.Reason == lapse.ReasonEvicted {
				evicted = append(evicted, ev.Value)
			}
		})
		w := within(t, m, r, func(w http.ResponseWriter, r *http.Request) {
			if err := m.Promote(w, r, m.defaultClass(t), "Ada"); err != nil {
				t.Error(err)
			}
		})
		if s.Alive() || m.engine.Len() != 1 || len(evicted) != most-1 {
			t.Errorf("%d sessions, evicted %q", m.engine.Len(), evicted)
		}
		serve(t, m.Require(ok), request("GET", "/", sentID(t, w)), http.StatusOK)
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
