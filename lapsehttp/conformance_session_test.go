package lapsehttp_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/lapse-go/lapse"
	"github.com/lapse-go/lapse/lapsehttp"
)

func TestConformanceIDs(t *testing.T) {
	t.Run("case=32", func(t *testing.T) {
		bytesOf := func(from byte) (id lapsehttp.ID) {
			for i := range id {
				id[i] = from + byte(i)
			}
			return id
		}
		var entropy []byte
		for _, from := range []byte{0, 0xa0} {
			id := bytesOf(from)
			entropy = append(entropy, id[:]...)
		}
		s := newSite(t, setup{http: lapsehttp.Options[string]{Entropy: bytes.NewReader(entropy)}})
		for i, want := range []string{"000102030405060708090a0b0c0d0e0f", "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf"} {
			b, session := s.login("Ada")
			if b.id() != want {
				t.Errorf("id %d is %q, want %q", i, b.id(), want)
			}
			if key, _ := session.Key(); key != bytesOf([]byte{0, 0xa0}[i]) || key.String() != want {
				t.Errorf("the key of session %d is % x, and %q as a string", i, key[:], key)
			}
			if id, err := lapsehttp.ParseID(want); err != nil || id != bytesOf([]byte{0, 0xa0}[i]) {
				t.Errorf("ParseID(%q): % x, %v", want, id[:], err)
			}
		}
		// There is no more entropy: an error, not an id that could be guessed.
		b := s.browser()
		a := b.post("/login?user=Ada").want(http.StatusInternalServerError)
		if c := a.cookie(s.idName); c != nil {
			t.Errorf("without entropy the id is %q", c.Value)
		}
		s.wantLen(2)
	})
	t.Run("case=32/short", func(t *testing.T) {
		s := newSite(t, setup{http: lapsehttp.Options[string]{Entropy: strings.NewReader("15 bytes, sorry")}})
		s.browser().post("/login?user=Ada").want(http.StatusInternalServerError)
		s.wantLen(0)
	})
	t.Run("case=32/repeats", func(t *testing.T) {
		s := newSite(t, setup{http: lapsehttp.Options[string]{Entropy: zeros{}}})
		b, session := s.login("Ada")
		s.browser().post("/login?user=Eve").want(http.StatusInternalServerError)
		s.wantLen(1)
		if user, _ := session.Value(); user != "Ada" || b.session() != session {
			t.Errorf("the session is %q's", user)
		}
	})

	t.Run("case=33", func(t *testing.T) {
		const n = 10_000
		s := newSite(t, setup{})
		start := func() lapsehttp.ID {
			session, err := s.manager.Start(httptest.NewRecorder(), httptest.NewRequest("POST", "/login", nil), "Ada")
			if err != nil {
				t.Fatal(err)
			}
			id, _ := session.Key()
			return id
		}
		seen := make(map[lapsehttp.ID]bool)
		var ones, zeros lapsehttp.ID
		for range n {
			id := start()
			seen[id] = true
			for i, b := range id {
				ones[i] |= b
				zeros[i] |= ^b
			}
		}
		if len(seen) != n {
			t.Errorf("%d of %d ids are distinct", len(seen), n)
		}
		for i := range ones {
			if ones[i] != 0xff || zeros[i] != 0xff {
				t.Errorf("bits of byte %d are always the same: %08b are ever 1, %08b ever 0", i, ones[i], zeros[i])
			}
		}
		// Where crypto/rand repeats itself the ids do, too, so they come from there.
		cryptotest.SetGlobalRandom(t, 1)
		want := start()
		session, _ := s.engine.Get(want)
		session.Expire()
		cryptotest.SetGlobalRandom(t, 1)
		if got := start(); got != want {
			t.Errorf("the id is %v, want the bytes of crypto/rand, %v", got, want)
		}
	})
}

// zeros is a source of entropy that is broken.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// unknownIDs gives ids of the right shape that are not live, each with a
// different past.
func unknownIDs(t *testing.T, s *site) map[string]string {
	t.Helper()
	dead, session := s.login("Ada")
	session.Expire()
	idle, _ := s.login("Ada")
	renamed, session := s.login("Ada")
	var fresh lapsehttp.ID
	fresh[0] = 1
	key, _ := session.Key()
	if err := s.engine.Rename(key, fresh); err != nil {
		t.Fatal(err)
	}
	replaced, _ := s.login("Ada")
	old := replaced.id()
	replaced.login("Ada")
	ids := map[string]string{
		"forged":      "0123456789abcdef0123456789abcdef",
		"zero":        strings.Repeat("0", 32),
		"logged out":  dead.id(),
		"idled":       idle.id(),
		"renamed":     renamed.id(),
		"replaced":    old,
		"maliciousid": "maliciousid",
	}
	s.advance(time.Hour)
	return ids
}

func TestConformanceSession(t *testing.T) {
	t.Run("case=36", func(t *testing.T) {
		s := newSite(t, setup{
			engine: lapse.Options{Remember: 100},
			http:   lapsehttp.Options[string]{LoginURL: "/login"},
		})
		for name, id := range unknownIDs(t, s) {
			t.Run(name, func(t *testing.T) {
				before := s.engine.Len()
				check := func(a *answer) {
					t.Helper()
					if c := a.cookie(s.idName); c == nil || c.Value != "" {
						t.Errorf("the cookie of the id is %v, want it cleared", c)
					}
					if lines := strings.Join(a.header["Set-Cookie"], "\n"); strings.Contains(lines, id) {
						t.Errorf("the id that was sent comes back: %s", lines)
					}
				}
				check(s.with(id).get("/page").want(http.StatusUnauthorized))
				check(s.with(id).navigate("GET", "/page").want(http.StatusSeeOther))
				a := s.with(id).get("/free").want(http.StatusOK)
				a.wantBody("nobody")
				check(a)
				s.wantLen(before)
				if parsed, err := lapsehttp.ParseID(id); err == nil {
					if _, ok := s.engine.Get(parsed); ok {
						t.Error("the id that was sent has a session")
					}
				}

				b := s.with(id)
				b.login("Eve")
				if b.id() == id || b.id() == "" {
					t.Errorf("Start gives the id %q, want a fresh one", b.id())
				}
				s.wantLen(before + 1)
			})
		}
	})

	t.Run("case=37", func(t *testing.T) {
		s := newSite(t, setup{})
		b, session := s.login("Ada")
		id := b.id()
		for range 5 {
			a := b.get("/page").want(http.StatusOK)
			a.wantBody("Ada")
			if c := a.cookie(s.idName); c != nil {
				t.Errorf("a new id is set: %v", c)
			}
			s.advance(sec)
		}
		if b.id() != id || b.session() != session {
			t.Error("the session is another one")
		}
		s.wantLen(1)
	})

	t.Run("case=38", func(t *testing.T) {
		s := newSite(t, setup{})
		_, session := s.login("Ada")
		id, _ := session.Key()
		calls := 0
		h := s.manager.Handler(s.manager.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			// The engine reads its clock whenever it looks for a session, so a
			// FromContext that does not read it has not looked.
			before := s.clock.n.Load()
			for range 10 {
				calls++
				if got, ok := lapsehttp.FromContext[string](r.Context()); !ok || got != session {
					t.Errorf("call %d gives %v, %t", calls, got, ok)
				}
			}
			if n := s.clock.n.Load() - before; n != 0 {
				t.Errorf("the engine was asked %d times", n)
			}
			ctx, cancel := context.WithCancel(r.Context())
			defer cancel()
			if got, ok := lapsehttp.FromContext[string](ctx); !ok || got != session {
				t.Errorf("a derived context gives %v, %t", got, ok)
			}
			if _, ok := lapsehttp.FromContext[int](r.Context()); ok {
				t.Error("there is a session of another type")
			}
			// Another id is no other session.
			if err := s.manager.Renew(w, r); err != nil {
				t.Error(err)
			}
			if got, ok := lapsehttp.FromContext[string](r.Context()); !ok || got != session {
				t.Errorf("after Renew: %v, %t", got, ok)
			}
		})))
		r := httptest.NewRequest("GET", "/", nil)
		r.AddCookie(&http.Cookie{Name: s.idName, Value: id.String()})
		h.ServeHTTP(httptest.NewRecorder(), r)
		if calls != 10 {
			t.Errorf("%d calls", calls)
		}
	})

	t.Run("case=40", func(t *testing.T) {
		s := newSite(t, setup{})
		s.handle("/ask", func(w http.ResponseWriter, r *http.Request) {
			if session, ok := lapsehttp.FromContext[string](r.Context()); ok || session != (testSession{}) {
				t.Errorf("FromContext gives %v, %t", session, ok)
			}
		})
		for _, method := range []string{"GET", "POST", "HEAD", "DELETE"} {
			a := s.browser().send(method, "/ask", nil).want(http.StatusOK)
			if len(a.cookies) != 0 || a.header.Get("X-Session-Expires-In") != "" {
				t.Errorf("%s: without a session the answer says %v", method, a.header)
			}
		}
		s.wantLen(0)
		if _, ok := lapsehttp.FromContext[string](context.Background()); ok {
			t.Error("there is a session without a request")
		}
	})

	t.Run("case=42", func(t *testing.T) {
		s := newSite(t, setup{policy: lapse.Policy{Idle: 900 * sec}})
		b, session := s.login("Ada")
		for at := 300 * sec; at <= 1200*sec; at += 300 * sec {
			s.advance(300 * sec)
			b.get("/page").want(http.StatusOK).wantLive(at + 900*sec)
			if b.session() != session {
				t.Fatalf("at %v the session is another one", at)
			}
			s.wantDeadline(session, at+900*sec)
		}
		s.advance(899 * sec)
		s.wantDeadline(session, 2100*sec)
		s.advance(sec)
		s.wantLen(0)
		b.get("/page").want(http.StatusUnauthorized)
	})

	t.Run("case=43", func(t *testing.T) {
		s := newSite(t, setup{
			policy: lapse.Policy{Idle: 900 * sec, PollMax: 10},
			http:   lapsehttp.Options[string]{Routes: lapsehttp.Routes{"/score": lapsehttp.Poll, "/look": lapsehttp.Peek}},
		})
		// However often the layers are nested, a request is one activity.
		ten := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for range 10 {
				session, _ := lapsehttp.FromContext[string](r.Context())
				if user, ok := session.Value(); !ok || user != "Ada" {
					t.Errorf("the session is %q's", user)
				}
			}
			s.manager.Require(http.HandlerFunc(whose)).ServeHTTP(w, r)
		})
		nested := s.manager.Require(s.manager.Handler(s.manager.Require(s.manager.Handler(ten))))
		s.mux.Handle("/ten", nested)
		s.mux.Handle("/score", nested)
		s.mux.Handle("/look", nested)
		b, session := s.login("Ada")
		s.advance(300 * sec)
		b.get("/ten").want(http.StatusOK).wantLive(1200 * sec)
		s.wantInfo(session, 300*sec, 0)
		s.wantDeadline(session, 1200*sec)
		s.advance(sec)
		b.get("/look").want(http.StatusOK).wantLive(1200 * sec)
		s.wantInfo(session, 300*sec, 0)
		b.get("/score").want(http.StatusOK).wantLive(1201 * sec)
		s.wantInfo(session, 301*sec, 1)
		if info, _ := session.Info(); info.Holds != 0 {
			t.Errorf("%d holds are left", info.Holds)
		}
	})

	t.Run("case=69", func(t *testing.T) {
		s := newSite(t, setup{})
		s.handle("POST /renew", func(w http.ResponseWriter, r *http.Request) {
			if err := s.manager.Renew(w, r); err != nil {
				http.Error(w, "refused", http.StatusForbidden)
				if !errors.Is(err, lapsehttp.ErrNoSession) {
					t.Error(err)
				}
			}
		})
		b, session := s.login("Ada")
		old := b.id()
		b.post("/renew").want(http.StatusOK)
		if b.id() == old || b.session() != session {
			t.Errorf("Renew gives the id %q after %q", b.id(), old)
		}
		for _, id := range []string{"maliciousid", strings.Repeat("ab", 16)} {
			b := s.with(id)
			a := b.post("/renew").want(http.StatusForbidden)
			if strings.Contains(strings.Join(a.header["Set-Cookie"], "\n"), id) || b.id() == id {
				t.Errorf("Renew gives the id that was sent, %q", id)
			}
			b = s.with(id)
			b.login("Eve")
			if b.id() == id {
				t.Errorf("Start gives the id that was sent, %q", id)
			}
		}
		s.wantLen(3)
	})

	t.Run("case=70", func(t *testing.T) {
		s := newSite(t, setup{})
		c := s.browser().post("/login?user=Ada").cookie(s.idName)
		if c == nil || !c.Expires.IsZero() || c.MaxAge != 0 {
			t.Errorf("a cookie of this visit has an end: %v", c)
		}
		const timeout = 900
		s = newSite(t, setup{
			policy: lapse.Policy{Idle: timeout * sec},
			http:   lapsehttp.Options[string]{Cookie: http.Cookie{Name: "sid", MaxAge: timeout}},
		})
		b := s.browser()
		c = b.post("/login?user=Ada").cookie("sid")
		if c == nil || c.MaxAge != timeout || !c.Expires.Equal(epoch.Add(timeout*sec)) {
			t.Errorf("a cookie that is kept is %v, want Max-Age %d and Expires", c, timeout)
		}
		// The browser must not forget the id before the session ends.
		s.advance(600 * sec)
		c = b.get("/page").want(http.StatusOK).cookie("sid")
		if c == nil || c.Value != b.id() || c.MaxAge != timeout || !c.Expires.Equal(epoch.Add((600+timeout)*sec)) {
			t.Errorf("after a touch at 600 s the cookie is %v", c)
		}
		// Polls keep the session alive, so they keep the id as well.
		c = b.post("/session/keepalive").want(http.StatusNoContent).cookie("sid")
		if c == nil || c.Value != b.id() || c.MaxAge != timeout {
			t.Errorf("after a poll the cookie is %v", c)
		}
		if c := b.get("/page", "X-Session-Activity", "peek").cookie("sid"); c != nil {
			t.Errorf("after a peek the cookie is %v", c)
		}
	})
}

func TestConformanceDeadCookie(t *testing.T) {
	// The cap has ended the session, and its id comes back on every route.
	t.Run("case=52", func(t *testing.T) {
		s := newSite(t, setup{
			policy: lapse.Policy{Idle: 300 * sec, PollCap: 60 * sec},
			engine: lapse.Options{Remember: 10},
			http: lapsehttp.Options[string]{Routes: lapsehttp.Routes{
				"/score": lapsehttp.Poll, "/look": lapsehttp.Peek,
			}},
		})
		page := s.manager.Require(http.HandlerFunc(whose))
		s.mux.Handle("/score", page)
		s.mux.Handle("/look", page)
		b, _ := s.login("Ada")
		id := b.id()
		b.get("/score").want(http.StatusOK)
		s.pass(61 * sec)
		b.get("/score").want(http.StatusUnauthorized)
		if b.id() != "" {
			t.Errorf("the browser still has the id %q", b.id())
		}
		for range 2 {
			for _, path := range []string{"/page", "/score", "/look", "/session/keepalive"} {
				for _, method := range []string{"GET", "POST"} {
					a := s.with(id).send(method, path, nil).want(http.StatusUnauthorized)
					a.wantJSON(`{"success":false,"error":"SESSION_TIMEOUT","reason":"poll cap","endedAt":1700000061000}`)
					a.wantCleared()
					a.wantOver()
				}
			}
			s.with(id).get("/free").want(http.StatusOK).wantBody("nobody")
			s.with(id).get("/session/events").want(http.StatusNoContent)
			s.with(id).get("/session/status").want(http.StatusOK).
				wantJSON(`{"state":"ended","serverTime":1700000061000,"warnMs":0,"idleMs":0,"reason":"poll cap","endedAt":1700000061000}`)
			s.with(id).get("/nothing").want(http.StatusNotFound).wantCleared()
		}
		// Even another session does not bring it back.
		other := s.with(id)
		other.login("Eve")
		other.get("/page").wantBody("Eve")
		s.with(id).get("/page").want(http.StatusUnauthorized)
		s.wantLen(1)
	})
}
