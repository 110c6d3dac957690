package lapsehttp_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lapse-go/lapse"
	"github.com/lapse-go/lapse/lapsehttp"
)

// Several changes of the session in one request: the last one counts, the
// browser hears of that one only, and nothing is left of the others.
func TestConformanceSequences(t *testing.T) {
	guest := lapse.Policy{Name: "guest", Idle: 60 * sec}
	for _, c := range []struct {
		steps string
		user  string // at last; empty: there is no session
		ends  int    // sessions that have ended
	}{
		{"", "Ada", 0},
		{"start", "1", 1},
		{"start start", "2", 2},
		{"start start start", "3", 3},
		{"start end", "", 2},
		{"end", "", 1},
		{"end end", "", 1},
		{"end start", "2", 1},
		{"end start end", "", 2},
		{"end renew", "", 1},
		{"end promote", "", 1},
		{"renew", "Ada", 0},
		{"renew renew", "Ada", 0},
		{"renew end", "", 1},
		{"renew start", "2", 1},
		{"renew promote", "2", 1},
		{"start renew", "1", 1},
		{"promote", "1", 1},
		{"promote promote", "2", 2},
		{"promote renew", "1", 1},
		{"promote start", "2", 2},
		{"promote end", "", 2},
	} {
		t.Run(strings.ReplaceAll(c.steps, " ", "-"), func(t *testing.T) {
			s := newSite(t, setup{policy: guest, http: lapsehttp.Options[string]{RenewGrace: -1}})
			member := s.class(lapse.Policy{Name: "member", Idle: 600 * sec})
			ended := 0
			s.engine.NotifyOnExpire(func(testEvent) { ended++ })
			s.handle("POST /steps", func(w http.ResponseWriter, r *http.Request) {
				for i, step := range strings.Fields(c.steps) {
					user := string(rune('1' + i))
					var err error
					var session testSession
					switch step {
					case "start":
						session, err = s.manager.Start(w, r, user)
						if got, ok := lapsehttp.FromContext[string](r.Context()); !ok || got != session {
							t.Errorf("after Start, FromContext gives %v, %t", got, ok)
						}
					case "renew":
						err = s.manager.Renew(w, r)
					case "promote":
						err = s.manager.Promote(w, r, member, user)
					case "end":
						s.manager.End(w, r)
						if _, ok := lapsehttp.FromContext[string](r.Context()); ok {
							t.Error("after End there is a session")
						}
					}
					if wantErr := i > 0 && strings.HasPrefix(c.steps, "end") && step != "start" && step != "end"; (err != nil) != wantErr {
						t.Errorf("%s: %v", step, err)
					}
				}
				whose(w, r)
			})
			b, _ := s.login("Ada")
			old := b.id()
			s.advance(sec)
			a := b.post("/steps").want(http.StatusOK)
			if ended != c.ends {
				t.Errorf("%d sessions have ended, want %d", ended, c.ends)
			}
			if c.user == "" {
				a.wantBody("nobody")
				a.wantCleared()
				a.wantOver()
				s.wantLen(0)
				b.get("/page").want(http.StatusUnauthorized)
				return
			}
			a.wantBody(c.user)
			idle := 60 * sec
			if strings.Contains(c.steps, "promote") && !strings.HasSuffix(c.steps, "start") {
				idle = 600 * sec
			}
			a.wantLive(sec + idle)
			a.cookie(s.idName) // once at most
			if c.steps != "" && b.id() == old {
				t.Error("the id is the same")
			}
			s.wantLen(1)
			if info, _ := b.session().Info(); info.Holds != 0 {
				t.Errorf("%d holds are left", info.Holds)
			}
			b.get("/page").want(http.StatusOK).wantBody(c.user)
			if c.steps != "" {
				s.with(old).get("/page").want(http.StatusUnauthorized)
			}
		})
	}
}

func TestConformanceOptions(t *testing.T) {
	if _, err := lapsehttp.New(nil, lapsehttp.Options[string]{}); err == nil {
		t.Error("New takes no engine for one")
	}
	// Sessions start in the class of the Options, which may change its policy.
	e, err := lapse.New[lapsehttp.ID, string](lapse.Options{Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	c, err := e.Class(lapse.Policy{Name: "site", Idle: 60 * sec})
	if err != nil {
		t.Fatal(err)
	}
	m, err := lapsehttp.New(e, lapsehttp.Options[string]{Class: c})
	if err != nil {
		t.Fatal(err)
	}
	for _, idle := range []time.Duration{60 * sec, 30 * sec} {
		if err := c.SetPolicy(lapse.Policy{Name: "site", Idle: idle}); err != nil {
			t.Fatal(err)
		}
		session, err := m.Start(httptest.NewRecorder(), httptest.NewRequest("POST", "/login", nil), "Ada")
		if err != nil {
			t.Fatal(err)
		}
		if info, _ := session.Info(); info.Class != "site" || info.Deadline.Sub(info.Started) != idle {
			t.Errorf("the session is %+v", info)
		}
	}
	// Two managers on one engine, nested: each has a session of its own.
	other, err := lapsehttp.New(e, lapsehttp.Options[string]{Cookie: http.Cookie{Name: "other"}})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	m.Handler(other.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for user, m := range map[string]*lapsehttp.Manager[string]{"Ada": m, "Eve": other} {
			if _, err := m.Start(w, r, user); err != nil {
				t.Error(err)
			}
		}
		if user, _ := lapsehttp.FromContext[string](r.Context()); user == (testSession{}) {
			t.Error("the inner session is not found")
		} else if name, _ := user.Value(); name != "Eve" {
			t.Errorf("the innermost session is %q's", name)
		}
	}))).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	names := make(map[string]int)
	for _, c := range w.Result().Cookies() {
		names[c.Name]++
	}
	if names["__Host-session"] != 1 || names["other"] != 1 || e.Len() != 4 {
		t.Errorf("cookies %v, %d sessions", names, e.Len())
	}
}

// A wrapped is the ResponseWriter of some middleware.
type wrapped struct{ http.ResponseWriter }

func (w wrapped) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Middleware between Handler and a page may wrap the response, and replace the
// request.
func TestConformanceMiddleware(t *testing.T) {
	s := newSite(t, setup{policy: lapse.Policy{Idle: 60 * sec}})
	between := func(next http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			next(wrapped{w}, r.Clone(context.Background()))
		}
	}
	s.handle("POST /start", between(func(w http.ResponseWriter, r *http.Request) {
		if _, err := s.manager.Start(w, r, "Eve"); err != nil {
			t.Error(err)
		}
	}))
	s.handle("POST /renew", between(func(w http.ResponseWriter, r *http.Request) {
		if err := s.manager.Renew(w, r); err != nil {
			t.Error(err)
		}
	}))
	s.handle("POST /end", between(s.manager.End))
	b, ada := s.login("Ada")
	s.advance(sec)
	b.post("/start").want(http.StatusOK).wantLive(61 * sec)
	eve, id := b.session(), b.id()
	if ada.Alive() {
		t.Error("the old session lives")
	}
	s.wantInfo(eve, sec, 0)
	a := b.post("/renew").want(http.StatusOK)
	a.wantLive(61 * sec)
	if a.cookie(s.idName); b.id() == id || b.session() != eve {
		t.Error("the id is the same, or the session is another one")
	}
	a = b.post("/end").want(http.StatusOK)
	a.wantOver()
	a.wantCleared()
	s.wantLen(0)
}

// The response begins while Start is at work, as under a time-out: the browser
// cannot be told of the session any more, so there is none.
func TestConformanceBegunMeanwhile(t *testing.T) {
	begin := func() {}
	s := newSite(t, setup{http: lapsehttp.Options[string]{Entropy: readerFunc(func(b []byte) (int, error) {
		begin()
		return rand.Read(b)
	})}})
	member := s.class(lapse.Policy{Name: "member"})
	s.handle("POST /late", func(w http.ResponseWriter, r *http.Request) {
		begin = func() { io.WriteString(w, "too late") }
		defer func() { begin = func() {} }()
		if session, err := s.manager.Start(w, r, "Eve"); !errors.Is(err, lapsehttp.ErrWritten) || session.Alive() {
			t.Errorf("Start: %v, alive %t", err, session.Alive())
		}
	})
	s.handle("POST /promote", func(w http.ResponseWriter, r *http.Request) {
		begin = func() { io.WriteString(w, "too late") }
		defer func() { begin = func() {} }()
		if err := s.manager.Promote(w, r, member, "Eve"); !errors.Is(err, lapsehttp.ErrWritten) {
			t.Errorf("Promote: %v", err)
		}
	})
	s.browser().post("/late").want(http.StatusOK).wantBody("too late")
	s.wantLen(0)
	for _, path := range []string{"/late", "/promote"} {
		b, _ := s.login("Ada")
		id := b.id()
		b.post(path).want(http.StatusOK).wantBody("too late")
		if b.id() != id {
			t.Errorf("%s: the browser has another id", path)
		}
		if s.manager.EndAll("Eve") != 0 {
			t.Errorf("%s: a session that nobody has an id of is left", path)
		}
		s.manager.EndAll("Ada")
	}
	s.wantLen(0)
}

// Early hints are not the beginning of the response: they say nothing of the
// session, and a log-in can follow.
func TestConformanceEarlyHints(t *testing.T) {
	s := newSite(t, setup{policy: lapse.Policy{Idle: 60 * sec}})
	s.handle("POST /hints", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		if _, err := s.manager.Start(w, r, "Eve"); err != nil {
			t.Error(err)
		}
	})
	b, _ := s.login("Ada")
	hints := 0
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
		hints++
		if len(header["Set-Cookie"]) > 0 || header.Get("X-Session-Expires-In") != "" {
			t.Errorf("%d has %v", code, header)
		}
		return nil
	}})
	req, err := http.NewRequestWithContext(ctx, "POST", s.srv.URL+"/hints", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := b.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if hints != 1 {
		t.Errorf("%d early hints", hints)
	}
	if user, _ := b.session().Value(); user != "Eve" {
		t.Errorf("the session is %q's", user)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// pass lets the fake time of a bubble pass, and what is due by then happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// A stream that has nothing to say says so, lest a proxy takes it for dead.
func TestConformanceHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, err := lapse.New[lapsehttp.ID, string](lapse.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		m, err := lapsehttp.New(e, lapsehttp.Options[string]{})
		if err != nil {
			t.Fatal(err)
		}
		var id lapsehttp.ID
		if _, err := e.Start(id, "Ada"); err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/session/events", nil)
		r.AddCookie(&http.Cookie{Name: "__Host-session", Value: id.String()})
		w := &streamWriter{header: make(http.Header)}
		done := make(chan struct{})
		go func() {
			m.Endpoints().ServeHTTP(w, r)
			close(done)
		}()
		pass(14 * sec)
		if text := w.take(); strings.Count(text, "event: ") != 1 || strings.Contains(text, "\n:") {
			t.Errorf("within 14 s: %s", text)
		}
		pass(32 * sec)
		if text := w.take(); strings.Contains(text, "event: ") || strings.Count("\n"+text, "\n:") != 3 {
			t.Errorf("from then to 46 s: %s", text)
		}
		// The whole time is no activity.
		pass(15 * time.Minute)
		<-done
		if text := w.take(); !strings.Contains(text, "event: ended\n") || !strings.Contains(text, `"reason":"idle"`) {
			t.Errorf("the end is not told: %s", text)
		}
	})
}

// A streamWriter is a ResponseWriter that can be read while it is written.
type streamWriter struct {
	lines
	header http.Header
}

func (w *streamWriter) Header() http.Header { return w.header }
func (w *streamWriter) WriteHeader(int)     {}
func (w *streamWriter) Flush()              {}

// Open streams do not keep a server from being shut down.
func TestConformanceServerShutdown(t *testing.T) {
	s := newSite(t, setup{policy: streamPolicy})
	b, session := s.login("Ada")
	es := b.events("/session/events")
	es.wantState("extended", 600*sec)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.srv.Config.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	es.wantEnd() // without "ended": the session lives, and the page comes back
	if !session.Alive() {
		t.Error("the session has ended")
	}
}
