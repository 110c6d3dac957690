package lapsehttp

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/lapse-go/lapse"
)

// TestNested has a request pass through two Handlers, a Require and Endpoints:
// it counts once, and its headers are written once.
func TestNested(t *testing.T) {
	m := newTest(t, lapse.Options{Default: lapse.Policy{Name: "user", PollMax: 3}}, Options[string]{Routes: Routes{"/poll": Poll}})
	s, id := start(t, m, "Ada")
	mux := http.NewServeMux()
	mux.Handle("/poll", m.Require(m.Handler(ok)))
	mux.Handle("/touch", m.Require(m.Handler(handle(func(_ http.ResponseWriter, r *http.Request) {
		if info, _ := s.Info(); info.Holds != 1 {
			t.Errorf("%d holds", info.Holds)
		}
	}))))
	mux.Handle("/session/", m.Endpoints())
	h := m.Handler(m.Handler(mux))
	for want, path := range []string{"/touch", "/poll", "/session/keepalive", "/poll", "/touch"} {
		status := http.StatusOK
		if path == "/session/keepalive" {
			status = http.StatusNoContent
		}
		w := serve(t, h, request("GET", path, id), status)
		if n := len(w.Header()["Set-Cookie"]); n != 2 {
			t.Errorf("%s: %d cookies", path, n)
		}
		if path == "/touch" {
			want = 0
		}
		if info, _ := s.Info(); info.Polls != want || info.Holds != 0 {
			t.Errorf("after %s: %d polls, want %d; %d holds", path, info.Polls, want, info.Holds)
		}
	}
}

// TestRequireAlone brings its own Handler.
func TestRequireAlone(t *testing.T) {
	m := newTest(t, lapse.Options{}, Options[string]{})
	s, id := start(t, m, "Ada")
	h := m.Require(handle(func(_ http.ResponseWriter, r *http.Request) {
		if got, ok := FromContext[string](r.Context()); got != s || !ok {
			t.Errorf("FromContext: %v, %t", got, ok)
		}
	}))
	if w := serve(t, h, request("GET", "/", id), http.StatusOK); cookie(w, serverTimeCookie) == nil {
		t.Errorf("no cookies: %v", w.Header())
	}
	serve(t, h, request("GET", "/"), http.StatusUnauthorized)
}

// TestRequireModules serves the client to everybody, and calls no handler that
// counts on a session.
func TestRequireModules(t *testing.T) {
	m := newTest(t, lapse.Options{}, Options[string]{})
	_, id := start(t, m, "Ada")
	private := handle(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s has come through Require", r.URL)
	})
	for _, h := range []http.Handler{
		m.Require(private), m.Handler(m.Require(private)), m.Require(m.Require(private)), m.Require(m.Endpoints()),
	} {
		for path, module := range map[string][]byte{"/session/client.js": clientJS, "/session/dialog.js": dialogJS} {
			for _, r := range []*http.Request{request("GET", path), request("GET", path, id), request("GET", path, ID{1})} {
				w := serve(t, h, r, http.StatusOK)
				if w.Body.String() != string(module) || len(w.Header()["Set-Cookie"]) != 0 {
					t.Errorf("%s: %d bytes, %v", path, w.Body.Len(), w.Header())
				}
			}
			serve(t, h, request("DELETE", path, id), http.StatusMethodNotAllowed)
		}
	}
}

// TestTwoManagers are of two kinds of sessions on one site.
func TestTwoManagers(t *testing.T) {
	users := newTest(t, lapse.Options{}, Options[string]{})
	guests := newTest(t, lapse.Options{}, Options[string]{Cookie: http.Cookie{Name: "guest"}})
	e, err := lapse.New[ID, int](lapse.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	numbers, err := New(e, Options[int]{Insecure: true, Cookie: http.Cookie{Name: "number"}})
	if err != nil {
		t.Fatal(err)
	}
	user, id := start(t, users, "Ada")
	h := numbers.Handler(users.Handler(guests.Handler(handle(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := FromContext[string](r.Context()); ok {
			t.Error("the innermost manager has a session")
		}
		if users.exchange(r.Context()).session != user || numbers.exchange(r.Context()).live {
			t.Error("a manager has lost its exchange")
		}
		guest, err := guests.Start(w, r, "Bob")
		if got, ok := FromContext[string](r.Context()); err != nil || got != guest || !ok {
			t.Errorf("Start: %v", err)
		}
		if _, err := numbers.Start(w, r, 7); err != nil {
			t.Errorf("Start: %v", err)
		}
		if n, ok := FromContext[int](r.Context()); !ok || !n.Alive() {
			t.Error("no number")
		}
		users.End(w, r)
	}))))
	w := serve(t, h, request("GET", "/", id), http.StatusOK)
	if cookie(w, "guest").MaxAge < 0 || cookie(w, "number").MaxAge < 0 || cookie(w, "session").MaxAge >= 0 || user.Alive() {
		t.Errorf("%v", w.Header())
	}
}

// TestScope has the context of a request be what it was, for all but the
// session.
func TestScope(t *testing.T) {
	type key struct{}
	deadline := time.Now().Add(time.Hour)
	ctx, cancel := context.WithDeadline(context.WithValue(context.Background(), key{}, "value"), deadline)
	m := newTest(t, lapse.Options{}, Options[string]{})
	s, id := start(t, m, "Ada")
	h := m.Handler(handle(func(_ http.ResponseWriter, r *http.Request) {
		child, stop := context.WithCancel(r.Context())
		defer stop()
		for _, c := range []context.Context{r.Context(), child} {
			if d, ok := c.Deadline(); !ok || !d.Equal(deadline) {
				t.Errorf("the deadline is %v, %t", d, ok)
			}
			if c.Value(key{}) != "value" || c.Err() != nil {
				t.Errorf("the value is %v, the error %v", c.Value(key{}), c.Err())
			}
			if got, ok := FromContext[string](c); !ok || got != s {
				t.Errorf("FromContext: %v, %t", got, ok)
			}
			if _, ok := FromContext[int](c); ok {
				t.Error("a session of another type")
			}
		}
		cancel()
		<-child.Done()
		if r.Context().Err() == nil {
			t.Error("not cancelled")
		}
	}))
	serve(t, h, request("GET", "/", id).WithContext(ctx), http.StatusOK)
	if _, ok := FromContext[string](context.Background()); ok {
		t.Error("a session from nowhere")
	}
}

// TestTwoCookies has a request come with two ids.
func TestTwoCookies(t *testing.T) {
	m := newTest(t, lapse.Options{}, Options[string]{Routes: Routes{"/peek": Peek}})
	mine, a := start(t, m, "Ada")
	planted, b := start(t, m, "Mallory")
	found := func(ids ...ID) (s testSession) {
		serve(t, m.Handler(handle(func(_ http.ResponseWriter, r *http.Request) {
			s, _ = FromContext[string](r.Context())
		})), request("GET", "/", ids...), http.StatusOK)
		return s
	}
	for _, tt := range []struct {
		ids  []ID
		want testSession
	}{
		{[]ID{a}, mine},
		{[]ID{a, a}, mine},
		{[]ID{a, {1}}, mine},
		{[]ID{{1}, a}, mine},
		{[]ID{a, b}, testSession{}},
		{[]ID{b, a}, testSession{}},
		{[]ID{{1}, {2}}, testSession{}},
		{[]ID{a, {1}, {2}}, testSession{}},
	} {
		if got := found(tt.ids...); got != tt.want {
			t.Errorf("%d ids: %v, want %v", len(tt.ids), got, tt.want)
		}
	}
	// An old and the new id of one session are no contradiction.
	w := serve(t, m.Handler(handle(func(w http.ResponseWriter, r *http.Request) {
		if err := m.Renew(w, r); err != nil {
			t.Error(err)
		}
	})), request("GET", "/", a), http.StatusOK)
	renewed := sentID(t, w)
	for _, ids := range [][]ID{{a, renewed}, {renewed, a}} {
		if got := found(ids...); got != mine {
			t.Errorf("old and new: %v", got)
		}
	}
	// A log-out and a log-in want neither of two.
	serve(t, m.Handler(handle(m.End)), request("GET", "/", renewed, b), http.StatusOK)
	if mine.Alive() || planted.Alive() {
		t.Error("a session lives on after a log-out")
	}
	mine, a = start(t, m, "Ada")
	planted, b = start(t, m, "Mallory")
	serve(t, m.Handler(handle(func(w http.ResponseWriter, r *http.Request) {
		if _, err := m.Start(w, r, "Ada"); err != nil {
			t.Error(err)
		}
	})), request("GET", "/", a, b), http.StatusOK)
	if mine.Alive() || planted.Alive() || m.engine.Len() != 1 {
		t.Error("a session lives on after a log-in")
	}
}

// TestUnknownIDs costs no more than no id, and leaves nothing behind.
func TestUnknownIDs(t *testing.T) {
	m := newTest(t, lapse.Options{Remember: 8}, Options[string]{})
	h := m.Require(ok)
	w := &nowhere{make(http.Header)}
	serveOne := func(ids ...ID) float64 {
		r := request("GET", "/", ids...)
		return testing.AllocsPerRun(100, func() {
			clear(w.header)
			h.ServeHTTP(w, r)
		})
	}
	none, forged := serveOne(), serveOne(ID{1})
	if forged > none+12 { // three cookies
		t.Errorf("%v allocations for a forged id, %v without one", forged, none)
	}
	for i := range 10000 {
		h.ServeHTTP(w, request("GET", "/", ID{byte(i), byte(i >> 8), 1}))
	}
	if m.engine.Len() != 0 || m.graces.ring != nil || m.streams.topics != nil {
		t.Error("something is left")
	}
}

// TestPanic has a handler panic: the session is released, and the cookies are
// there for whoever answers instead.
func TestPanic(t *testing.T) {
	m := newTest(t, lapse.Options{}, Options[string]{})
	s, id := start(t, m, "Ada")
	w := httptest.NewRecorder()
	func() {
		defer func() {
			if why := recover(); why != http.ErrAbortHandler {
				t.Errorf("recovered %v", why)
			}
		}()
		m.Handler(handle(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })).ServeHTTP(w, request("GET", "/", id))
	}()
	if info, _ := s.Info(); info.Holds != 0 {
		t.Errorf("%d holds are left", info.Holds)
	}
	if len(w.Header()["Set-Cookie"]) != 2 {
		t.Errorf("%v", w.Header())
	}
}

// TestTimeoutHandler has a handler outlive its request.
func TestTimeoutHandler(t *testing.T) {
	m := newTest(t, lapse.Options{}, Options[string]{})
	s, id := start(t, m, "Ada")
	class, err := m.engine.Class(lapse.ShortSession)
	if err != nil {
		t.Fatal(err)
	}
	proceed, done := make(chan bool), make(chan bool)
	h := m.Handler(http.TimeoutHandler(handle(func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		<-proceed
		if got, ok := FromContext[string](r.Context()); got != s || !ok {
			t.Errorf("FromContext: %v, %t", got, ok)
		}
		_, err := m.Start(w, r, "Bob")
		isError(t, err, ErrWritten)
		isError(t, m.Renew(w, r), ErrWritten)
		isError(t, m.Promote(w, r, class, "Bob"), ErrWritten)
		if !s.Alive() || m.engine.Len() != 1 {
			t.Error("the session has ended, or another one started")
		}
		m.End(w, r)
		if s.Alive() {
			t.Error("End has not ended the session")
		}
	}), time.Millisecond, "too slow"))
	w := serve(t, h, request("GET", "/", id), http.StatusServiceUnavailable)
	if len(w.Header()["Set-Cookie"]) != 2 {
		t.Errorf("%v", w.Header())
	}
	if info, _ := s.Info(); info.Holds != 0 {
		t.Errorf("%d holds are left", info.Holds)
	}
	close(proceed)
	<-done
}

// TestTimeoutHandlerStart has the response of http.TimeoutHandler, which
// collects headers of its own, carry the new id.
func TestTimeoutHandlerStart(t *testing.T) {
	m := newTest(t, lapse.Options{}, Options[string]{})
	var s testSession
	h := m.Handler(http.TimeoutHandler(handle(func(w http.ResponseWriter, r *http.Request) {
		s, _ = m.Start(w, r, "Ada")
		io.WriteString(w, "welcome")
	}), time.Minute, "too slow"))
	w := serve(t, h, request("GET", "/"), http.StatusOK)
	if key, _ := s.Key(); sentID(t, w) != key {
		t.Error("another id was sent")
	}
}

// TestEndsMeanwhile has sessions end while their request runs.
func TestEndsMeanwhile(t *testing.T) {
	inBubble(t, lapse.Options{Default: lapse.Policy{Name: "user", Idle: time.Minute, Lifetime: time.Hour}}, Options[string]{}, func(t *testing.T, m *testManager) {
		s, id := start(t, m, "Ada")
		h := m.Handler(handle(func(w http.ResponseWriter, r *http.Request) {
			pass(2 * time.Minute) // it is held
			if !s.Alive() {
				t.Error("the session has ended while held")
			}
			pass(time.Hour)
			if got, ok := FromContext[string](r.Context()); got != s || !ok || s.Alive() {
				t.Errorf("FromContext: %v, %t, alive %t", got, ok, s.Alive())
			}
			isError(t, m.Renew(w, r), ErrNoSession)
		}))
		w := serve(t, h, request("GET", "/", id), http.StatusOK)
		if at, end := cookie(w, serverTimeCookie), cookie(w, sessionExpiryCookie); at.Value != end.Value || w.Header().Get(expiresHeader) != "0" {
			t.Errorf("%v", w.Header())
		}
		if cookie(w, "session") != nil {
			t.Error("the id is cleared, so that the next request could not learn why it is refused")
		}
		serve(t, m.Require(ok), request("GET", "/", id), http.StatusUnauthorized)
	})
}

// TestNoLimit has sessions that never end.
func TestNoLimit(t *testing.T) {
	m := newTest(t, lapse.Options{Default: lapse.Policy{Name: "eternal"}}, Options[string]{})
	_, id := start(t, m, "Ada")
	w := serve(t, m.Handler(ok), request("GET", "/", id), http.StatusOK)
	if c := cookie(w, sessionExpiryCookie); c == nil || c.MaxAge >= 0 || c.Value != "" || cookie(w, serverTimeCookie) == nil {
		t.Errorf("%v", w.Header())
	}
	if _, ok := w.Header()[expiresHeader]; ok {
		t.Errorf("%v", w.Header())
	}
}

// TestPollRefused says which requests Handler refuses by itself.
func TestPollRefused(t *testing.T) {
	m := newTest(t, lapse.Options{Default: lapse.Policy{Name: "user", PollMax: 1}}, Options[string]{Routes: Routes{"/poll": Poll, "/peek": Peek}})
	_, live := start(t, m, "Ada")
	dead := ID{1}
	for _, tt := range []struct {
		method, path, header string
		ids                  []ID
		served               bool
	}{
		{"GET", "/free", "", nil, true},
		{"GET", "/free", "poll", nil, true},
		{"GET", "/free", "peek", nil, true},
		{"GET", "/free", "", []ID{dead}, true},
		{"GET", "/free", "poll", []ID{dead}, false},
		{"GET", "/free", "peek", []ID{dead}, true},
		{"GET", "/peek", "", nil, true},
		{"GET", "/peek", "", []ID{dead}, true},
		{"GET", "/poll", "", nil, false},
		{"GET", "/poll", "", []ID{dead}, false},
		{"GET", "/poll", "peek", []ID{dead}, false},
		{"GET", "/poll", "peek", nil, false},
		{"OPTIONS", "/poll", "", nil, true},
		{"OPTIONS", "/poll", "", []ID{dead}, true},
		{"GET", "/poll", "", []ID{live}, true},
		{"GET", "/free", "poll", []ID{live}, false}, // one too many
		{"GET", "/free", "", []ID{live}, true},
	} {
		served := false
		r := request(tt.method, tt.path, tt.ids...)
		if tt.header != "" {
			r.Header.Set(activityHeader, tt.header)
		}
		w := httptest.NewRecorder()
		m.Handler(handle(func(http.ResponseWriter, *http.Request) { served = true })).ServeHTTP(w, r)
		if served != tt.served || served != (w.Code == http.StatusOK) {
			t.Errorf("%s %s as %q with %d ids: served %t, status %d", tt.method, tt.path, tt.header, len(tt.ids), served, w.Code)
		}
	}
	if m.engine.Len() != 0 {
		t.Errorf("%d sessions", m.engine.Len())
	}
}
