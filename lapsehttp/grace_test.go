package lapsehttp

import (
	"crypto/rand"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/lapse-go/lapse"
)

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
		pass(10*time.Second - time.Millisecond)
		serve(t, m.Require(ok), request("GET", "/", id), http.StatusOK)
		pass(time.Millisecond)
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
	if key, _ := s.Key(); sentID(t, w) != key || len(w.Header()["Set-Cookie"]) != 3 {
		t.Errorf("%v", w.Header())
	}
	w = serve(t, m.Require(ok), request("GET", "/", id), http.StatusUnauthorized)
	if len(w.Header()["Set-Cookie"]) != 0 {
		t.Errorf("the browser is to forget the id that it has been given: %v", w.Header())
	}
}

// takesAway reports whether a response has the browser forget its id, or tells
// the page that its session is over.
func takesAway(w *httptest.ResponseRecorder) bool {
	id := cookie(w, "session")
	return id != nil && id.MaxAge < 0 || cookie(w, sessionExpiryCookie) != nil && w.Header().Get(expiresHeader) == "0"
}

// TestReplacedID has requests with an old id under way while the browser is
// given a new one: their responses do not take that away.
func TestReplacedID(t *testing.T) {
	user := lapse.Policy{Name: "user", Idle: time.Hour}
	for name, replace := range map[string]func(*testManager, http.ResponseWriter, *http.Request) error{
		"Start": func(m *testManager, w http.ResponseWriter, r *http.Request) error {
			_, err := m.Start(w, r, "Ada")
			return err
		},
		"Promote": func(m *testManager, w http.ResponseWriter, r *http.Request) error {
			class, _ := m.engine.Class(user)
			return m.Promote(w, r, class, "Ada")
		},
		"Renew": (*testManager).Renew,
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, lapse.Options{Default: user}, Options[string]{RenewGrace: -1, Routes: Routes{"/score": Poll}}, func(t *testing.T, m *testManager) {
				_, old := start(t, m, "")
				var w *httptest.ResponseRecorder
				slow := within(t, m, request("GET", "/", old), func(http.ResponseWriter, *http.Request) {
					w = within(t, m, request("POST", "/", old), func(w http.ResponseWriter, r *http.Request) {
						if err := replace(m, w, r); err != nil {
							t.Error(err)
						}
					})
				})
				fresh := sentID(t, w)
				refused := serve(t, m.Handler(ok), request("GET", "/score", old), http.StatusUnauthorized)
				served := serve(t, m.Handler(ok), request("GET", "/", old), http.StatusOK)
				for _, w := range []*httptest.ResponseRecorder{slow, refused, served} {
					if takesAway(w) || w.Header().Get("Cache-Control") != "no-store" {
						t.Errorf("%v", w.Header())
					}
				}
				// A log-out with the old id is one nevertheless.
				if w := within(t, m, request("POST", "/", old), m.End); !takesAway(w) {
					t.Errorf("%v", w.Header())
				}
				pass(10 * time.Second)
				if w := serve(t, m.Require(ok), request("GET", "/", old), http.StatusUnauthorized); !takesAway(w) {
					t.Errorf("when nothing can be under way any more: %v", w.Header())
				}
				serve(t, m.Require(ok), request("GET", "/", fresh), http.StatusOK)
			})
		})
	}
}

// TestRenewedIDReplaced has a log-in come after a renewal: all ids before are
// old ones.
func TestRenewedIDReplaced(t *testing.T) {
	m := newTest(t, lapse.Options{}, Options[string]{})
	_, first := start(t, m, "")
	second := sentID(t, within(t, m, request("GET", "/", first), func(w http.ResponseWriter, r *http.Request) { m.Renew(w, r) }))
	within(t, m, request("POST", "/", first), func(w http.ResponseWriter, r *http.Request) { m.Start(w, r, "Ada") })
	for _, id := range []ID{first, second} {
		if w := serve(t, m.Require(ok), request("GET", "/", id), http.StatusUnauthorized); takesAway(w) {
			t.Errorf("%v", w.Header())
		}
	}
}

// TestDeadID has a slow request come with an id that is not live: its response
// takes the id away unless somebody may have logged in since.
func TestDeadID(t *testing.T) {
	for _, tt := range []struct {
		name   string
		slow   time.Duration
		logIn  bool
		clears bool
	}{
		{"nobody", 0, false, true},
		{"nobody for long", 10*time.Second - time.Millisecond, false, true},
		{"nobody knows", 10 * time.Second, false, false},
		{"log-in", 0, true, false},
		{"log-in since", 9 * time.Second, true, false},
		{"log-in long ago", time.Hour, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, lapse.Options{}, Options[string]{}, func(t *testing.T, m *testManager) {
				w := within(t, m, request("GET", "/", ID{1}), func(http.ResponseWriter, *http.Request) {
					if tt.logIn {
						within(t, m, request("POST", "/", ID{1}), func(w http.ResponseWriter, r *http.Request) { m.Start(w, r, "Ada") })
					}
					pass(tt.slow)
				})
				if takesAway(w) != tt.clears {
					t.Errorf("%v", w.Header())
				}
			})
		})
	}
}

// TestShortGrace has ids find their sessions for a shorter time than responses
// to them may be under way.
func TestShortGrace(t *testing.T) {
	inBubble(t, lapse.Options{}, Options[string]{RenewGrace: time.Millisecond}, func(t *testing.T, m *testManager) {
		w := within(t, m, request("GET", "/", ID{1}), func(http.ResponseWriter, *http.Request) { pass(2 * time.Millisecond) })
		if !takesAway(w) {
			t.Errorf("an id that was never live: %v", w.Header())
		}
		_, id := start(t, m, "Ada")
		within(t, m, request("POST", "/", id), func(w http.ResponseWriter, r *http.Request) { m.Renew(w, r) })
		serve(t, m.Require(ok), request("GET", "/", id), http.StatusOK)
		for _, d := range []time.Duration{time.Millisecond, 10*time.Second - 2*time.Millisecond} {
			pass(d)
			if w := serve(t, m.Require(ok), request("GET", "/", id), http.StatusUnauthorized); takesAway(w) {
				t.Errorf("%v later: %v", d, w.Header())
			}
		}
		pass(time.Millisecond)
		if w := serve(t, m.Require(ok), request("GET", "/", id), http.StatusUnauthorized); !takesAway(w) {
			t.Errorf("when nothing can be under way any more: %v", w.Header())
		}
	})
}

// TestNoSuccessor has a session end though the browser gets no other id: the
// page is told, or else by the next response.
func TestNoSuccessor(t *testing.T) {
	promote := func(m *testManager, w http.ResponseWriter, r *http.Request) error {
		return m.Promote(w, r, m.class, "Ada")
	}
	logIn := func(m *testManager, w http.ResponseWriter, r *http.Request) error {
		_, err := m.Start(w, r, "Ada")
		return err
	}
	end := func(_ http.ResponseWriter, s testSession) { s.Expire() }
	for _, tt := range []struct {
		name    string
		most    int
		call    func(*testManager, http.ResponseWriter, *http.Request) error
		entropy int                                    // for so many ids
		during  func(http.ResponseWriter, testSession) // when an id is made
		want    error
	}{
		{name: "Start", call: logIn, want: io.EOF},
		{name: "Promote where the engine is full", most: 1, call: promote, entropy: 1, want: io.EOF},
		{name: "Promote when it ends", call: promote, entropy: 1, during: end, want: ErrNoSession},
		{name: "Renew when it ends", call: (*testManager).Renew, entropy: 1, during: end, want: ErrNoSession},
		{name: "Start when the response begins", call: logIn, entropy: 1, want: ErrWritten,
			during: func(w http.ResponseWriter, _ testSession) { w.WriteHeader(http.StatusOK) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			during := func() {}
			entropy := io.LimitReader(rand.Reader, int64(16*(1+tt.entropy)))
			m := newTest(t, lapse.Options{MaxSessions: tt.most}, Options[string]{Entropy: readerFunc(func(b []byte) (int, error) {
				during()
				return entropy.Read(b)
			})})
			m.class = m.defaultClass(t)
			s, id := start(t, m, "")
			w := within(t, m, request("POST", "/", id), func(w http.ResponseWriter, r *http.Request) {
				if tt.during != nil {
					during = func() { tt.during(w, s) }
				}
				isError(t, tt.call(m, w, r), tt.want)
			})
			if s.Alive() || takesAway(w) != (tt.want != ErrWritten) {
				t.Errorf("the session lives: %t; %v", s.Alive(), w.Header())
			}
			if w := serve(t, m.Require(ok), request("GET", "/", id), http.StatusUnauthorized); !takesAway(w) {
				t.Errorf("the next response: %v", w.Header())
			}
		})
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

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
	// What one of two adds has taken back is known by the other.
	g.add(idOf(7), testSession{}, now)
	g.add(idOf(7), testSession{}, now)
	g.drop(idOf(7), idOf(8))
	if !find(7) || find(8) {
		t.Error("the other add was dropped, too, or dropping adds")
	}
	g.drop(idOf(7))
	if find(7) {
		t.Error("both adds were dropped, and it is known")
	}
	// Too many at once: the oldest go.
	for i := range mostGraces + 10 {
		g.add(idOf(i), testSession{}, now)
	}
	if g.len() != mostGraces || find(9) || !find(10) || !find(mostGraces+9) {
		t.Errorf("%d ids", g.len())
	}
}

// TestNoGraceClockBack has somebody set the clock back: where no old id finds a
// session, none does then.
func TestNoGraceClockBack(t *testing.T) {
	m := newTest(t, lapse.Options{}, Options[string]{RenewGrace: -1})
	s, id := start(t, m, "Ada")
	now := m.engine.Now()
	m.graces.add(id, s, now)
	got, ok := m.graces.find(id, func() time.Time { return now.Add(-time.Second) })
	if got != (testSession{}) || !ok {
		t.Errorf("it finds the session: %t; it is known: %t", got == s, ok)
	}
}

// len counts the ids in grace.
func (g *graces[V]) len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.byID)
}
