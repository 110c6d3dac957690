package lapsehttp

import (
	"net/http"
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

// len counts the ids in grace.
func (g *graces[V]) len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.byID)
}
