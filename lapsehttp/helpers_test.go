package lapsehttp

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lapse-go/lapse"
)

type (
	testManager = Manager[string]
	testSession = lapse.Session[ID, string]
	testEvent   = lapse.Event[ID, string]
)

// newTest makes an engine and a manager, whose cookies are not secure.
func newTest(t testing.TB, eo lapse.Options, o Options[string]) *testManager {
	t.Helper()
	e, err := lapse.New[ID, string](eo)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.Close()
		if n := e.Stats().Panics; n != 0 {
			t.Errorf("%d hooks have panicked", n)
		}
	})
	o.Insecure = true
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	m, err := New(e, o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// inBubble runs f with a manager in fake time.
func inBubble(t *testing.T, eo lapse.Options, o Options[string], f func(*testing.T, *testManager)) {
	synctest.Test(t, func(t *testing.T) { f(t, newTest(t, eo, o)) })
}

// pass lets the fake time of a bubble pass, and what is due by then happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// start starts a session as an embedding program may, and returns its id.
func start(t testing.TB, m *testManager, value string) (testSession, ID) {
	t.Helper()
	s, err := m.begin(m.class, value)
	if err != nil {
		t.Fatal(err)
	}
	id, ok := s.Key()
	if !ok {
		t.Fatal("the session has ended at once")
	}
	return s, id
}

// request makes a request of a script with these ids.
func request(method, target string, ids ...ID) *http.Request {
	r := httptest.NewRequest(method, target, nil)
	for _, id := range ids {
		r.AddCookie(&http.Cookie{Name: "session", Value: id.String()})
	}
	return r
}

// serve calls a handler and checks the status of its response.
func serve(t testing.TB, h http.Handler, r *http.Request, status int) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != status {
		t.Fatalf("%s %s: status %d, want %d; %v %s", r.Method, r.URL, w.Code, status, w.Header(), w.Body)
	}
	return w
}

// cookie returns the last cookie of a name that a response sets, nil if none.
func cookie(w *httptest.ResponseRecorder, name string) (last *http.Cookie) {
	for _, c := range w.Result().Cookies() {
		if c.Name == name {
			last = c
		}
	}
	return last
}

// sentID returns the id that a response gives to the browser.
func sentID(t testing.TB, w *httptest.ResponseRecorder) ID {
	t.Helper()
	c := cookie(w, "session")
	if c == nil || c.MaxAge < 0 {
		t.Fatalf("no id in %v", w.Header())
	}
	id, err := ParseID(c.Value)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// names checks that an error says these words.
func names(t testing.TB, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one about %q", words)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the error does not say %q: %v", word, err)
		}
	}
}

func isError(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("the error is %v, want %v", err, want)
	}
}

// handle makes a handler of a function that checks something.
func handle(f func(w http.ResponseWriter, r *http.Request)) http.Handler { return http.HandlerFunc(f) }

var ok = handle(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
