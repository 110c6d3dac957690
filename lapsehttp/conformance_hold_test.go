package lapsehttp_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lapse-go/lapse"
	"github.com/lapse-go/lapse/lapsehttp"
)

// A pause is a place where a handler waits for the test.
type pause struct {
	entered chan testSession
	resume  chan struct{}
}

func newPause() *pause { return &pause{make(chan testSession, 10), make(chan struct{}, 10)} }

// wait is for the handler.
func (p *pause) wait(r *http.Request) testSession {
	session, _ := lapsehttp.FromContext[string](r.Context())
	p.entered <- session
	<-p.resume
	return session
}

func (p *pause) goOn() { p.resume <- struct{}{} }

func TestConformanceEndsMeanwhile(t *testing.T) {
	ends := []struct {
		name  string
		short bool // before the lifetime, too
		end   func(*site, testSession)
	}{
		{"lifetime", false, func(s *site, _ testSession) { s.advance(100 * sec) }},
		{"lifetime before the tick", false, func(s *site, _ testSession) { s.pass(100 * sec) }},
		{"expire", true, func(s *site, session testSession) { session.Expire() }},
		{"everywhere", true, func(s *site, _ testSession) { s.manager.EndAll("Ada") }},
		{"shutdown", true, func(s *site, _ testSession) { s.engine.Shutdown(context.Background()) }},
		{"close", true, func(s *site, _ testSession) { s.engine.Close() }},
	}
	policy := lapse.Policy{Idle: 60 * sec, Lifetime: 100 * sec}

	t.Run("case=41", func(t *testing.T) {
		for _, c := range ends {
			t.Run(c.name, func(t *testing.T) {
				s := newSite(t, setup{policy: policy})
				p := newPause()
				s.mux.Handle("/slow", s.manager.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					session := p.wait(r)
					if session.Alive() || session.Touch() || session.Poll() || session.SetValue("Eve") || session.Hold() {
						t.Error("the handle of an ended session still works")
					}
					if _, ok := session.Value(); ok {
						t.Error("the handle of an ended session has a value")
					}
					io.WriteString(w, "a whole response")
				})))
				b, session := s.login("Ada")
				id := b.id()
				result := b.start("GET", "/slow", nil)
				if got := receive(t, p.entered); got != session {
					t.Errorf("the session is %v", got)
				}
				c.end(s, session)
				p.goOn()
				a := result().want(http.StatusOK)
				a.wantBody("a whole response")
				a.wantHeader("X-Session-Expires-In", "0")
				a.wantOver()
				s.wantLen(map[bool]int{false: 0, true: 1}[c.name == "lifetime before the tick"])
				s.with(id).get("/page").want(http.StatusUnauthorized).wantCleared()
				b.get("/page").want(http.StatusUnauthorized)
			})
		}
	})

	// What a handler does at the end of a long request cannot bring the session
	// back.
	t.Run("case=143", func(t *testing.T) {
		for _, c := range ends {
			t.Run(c.name, func(t *testing.T) {
				s := newSite(t, setup{policy: policy, engine: lapse.Options{Remember: 10}})
				member := s.class(lapse.Policy{Name: "member", Idle: 900 * sec})
				p := newPause()
				s.handle("/slow", func(w http.ResponseWriter, r *http.Request) {
					session := p.wait(r)
					if session.SetValue("Eve") || session.SetIdle(900*sec) || session.SetClass(member) || session.Release() {
						t.Error("an ended session can be changed")
					}
					if err := s.manager.Renew(w, r); err == nil {
						t.Error("an ended session can be renewed")
					}
					if err := s.manager.Promote(w, r, member, "Eve"); err == nil {
						t.Error("an ended session can be promoted")
					}
					s.manager.Require(http.HandlerFunc(whose)).ServeHTTP(w, r)
				})
				b, session := s.login("Ada")
				id := b.id()
				result := b.start("POST", "/slow", strings.NewReader("much"))
				receive(t, p.entered)
				c.end(s, session)
				before := s.engine.Len()
				p.goOn()
				a := result()
				if c := a.cookie(s.idName); c != nil && c.Value != "" {
					t.Errorf("an id is given out: %v", c)
				}
				a.wantOver()
				s.wantLen(before)
				s.engine.Advance()
				s.wantLen(0)
				s.with(id).get("/page").want(http.StatusUnauthorized)
			})
		}
	})
	// A log-out in one window while another one's request runs.
	t.Run("case=143/log-out", func(t *testing.T) {
		s := newSite(t, setup{policy: policy})
		p := newPause()
		s.handle("/slow", func(w http.ResponseWriter, r *http.Request) {
			p.wait(r)
			if err := s.manager.Renew(w, r); !errors.Is(err, lapsehttp.ErrNoSession) {
				t.Errorf("Renew: %v", err)
			}
		})
		b, _ := s.login("Ada")
		id := b.id()
		result := s.with(id).start("GET", "/slow", nil)
		receive(t, p.entered)
		b.post("/session/logout").want(http.StatusNoContent)
		p.goOn()
		a := result().want(http.StatusOK)
		a.wantHeader("X-Session-Expires-In", "0")
		a.wantOver()
		s.wantLen(0)
	})

	// Pages that no handler of the site knows, in every state of the session.
	t.Run("case=72", func(t *testing.T) {
		s := newSite(t, setup{policy: policy})
		s.handle("GET /only", whose)
		s.handle("/ends", func(w http.ResponseWriter, r *http.Request) {
			session, _ := lapsehttp.FromContext[string](r.Context())
			session.Expire()
			http.NotFound(w, r)
		})
		s.handle("/out", func(w http.ResponseWriter, r *http.Request) {
			s.manager.End(w, r)
			http.Error(w, "no", http.StatusMethodNotAllowed)
		})
		dead, session := s.login("Ada")
		id := dead.id()
		session.Expire()
		for _, b := range []func() *browser{
			s.browser,
			func() *browser { return s.with(id) },
			func() *browser { return s.with("nonsense") },
			func() *browser { b, _ := s.login("Ada"); return b },
		} {
			b().get("/nothing").want(http.StatusNotFound)
			b().send("DELETE", "/only", nil).want(http.StatusMethodNotAllowed)
			b().get("/ends").want(http.StatusNotFound)
			b().get("/out").want(http.StatusMethodNotAllowed)
			b().send("HEAD", "/nothing", nil).want(http.StatusNotFound)
			b().send("OPTIONS", "/only", nil).want(http.StatusMethodNotAllowed)
		}
		b, _ := s.login("Ada")
		a := b.get("/ends").want(http.StatusNotFound)
		a.wantHeader("X-Session-Expires-In", "0")
		a.wantOver()
		b, _ = s.login("Ada")
		b.get("/nothing").want(http.StatusNotFound).wantLive(60 * sec)
		b.send("DELETE", "/only", nil).want(http.StatusMethodNotAllowed).wantLive(60 * sec)
	})
	// A handler that panics takes neither the server nor the session along.
	t.Run("case=72/panic", func(t *testing.T) {
		s := newSite(t, setup{policy: policy})
		s.handle("/abort", func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) })
		s.handle("/late", func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "half a")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		})
		s.handle("/ends", func(w http.ResponseWriter, r *http.Request) {
			s.manager.End(w, r)
			panic(http.ErrAbortHandler)
		})
		for _, path := range []string{"/abort", "/late", "/ends"} {
			b, session := s.login("Ada")
			if a, err := b.try("GET", path, nil); err == nil {
				t.Errorf("%s: %d", path, a.status)
			}
			if info, ok := session.Info(); ok == (path == "/ends") || info.Holds != 0 {
				t.Errorf("%s: alive %t, %d holds", path, ok, info.Holds)
			}
			s.browser().get("/free").want(http.StatusOK)
		}
	})
}

func TestConformanceHold(t *testing.T) {
	// upload starts an upload, which ends when the test closes body.
	upload := func(t *testing.T, how setup, path string) (s *site, session testSession, body *io.PipeWriter, result func() *answer) {
		s = newSite(t, how)
		started := make(chan struct{})
		s.mux.Handle(path, s.manager.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			first := make([]byte, 5)
			io.ReadFull(r.Body, first)
			close(started)
			rest, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			w.Write(append(first, rest...))
		})))
		b, session := s.login("Ada")
		r, body := io.Pipe()
		result = b.start("POST", path, r)
		io.WriteString(body, "begin")
		receive(t, started)
		return s, session, body, result
	}

	// An upload of ten minutes, where a minute of silence ends a session.
	t.Run("upload", func(t *testing.T) {
		for _, how := range []setup{{}, {http2: true}, {driver: true}} {
			how.policy = lapse.Policy{Idle: 60 * sec}
			s, session, body, result := upload(t, how, "/upload")
			for range 60 {
				s.advance(10 * sec)
				io.WriteString(body, ".")
			}
			s.advance(ms)
			s.wantLen(1)
			if info, ok := session.Info(); !ok || info.Holds != 1 {
				t.Fatalf("alive %t, %d holds", ok, info.Holds)
			}
			body.Close()
			a := result().want(http.StatusOK)
			a.wantBody("begin" + strings.Repeat(".", 60))
			// It has been seen until the end.
			now := s.now()
			if end := a.millis("sessionExpiry"); end < now+60*sec || end > now+60*sec+10*ms {
				t.Errorf("sessionExpiry is %v at %v", end, now)
			}
			s.wantInfo(session, 600*sec+10*ms, 0)
			s.advance(59 * sec)
			s.wantLen(1)
			s.advance(sec + 10*ms)
			s.driven(func() bool { return s.engine.Len() == 0 })
		}
	})
	t.Run("upload/lifetime", func(t *testing.T) {
		s, session, body, result := upload(t, setup{policy: lapse.Policy{Idle: 60 * sec, Lifetime: 300 * sec}}, "/upload")
		s.advance(299 * sec)
		if !session.Alive() {
			t.Error("the session has ended")
		}
		s.advance(sec)
		s.wantLen(0)
		body.Close()
		a := result().want(http.StatusOK)
		a.wantHeader("X-Session-Expires-In", "0")
	})
	// What the user does not do holds nothing.
	t.Run("upload/poll", func(t *testing.T) {
		for _, act := range []lapsehttp.Activity{lapsehttp.Poll, lapsehttp.Peek} {
			s, session, body, result := upload(t, setup{
				policy: lapse.Policy{Idle: 60 * sec},
				http:   lapsehttp.Options[string]{Routes: lapsehttp.Routes{"/upload": act}},
			}, "/upload")
			if info, _ := session.Info(); info.Holds != 0 {
				t.Errorf("a %v holds its session", act)
			}
			s.advance(60 * sec)
			s.wantLen(0)
			body.Close()
			result().want(http.StatusOK).wantHeader("X-Session-Expires-In", "0")
		}
	})
	// Several at once: Idle counts from the last one's end.
	t.Run("upload/two", func(t *testing.T) {
		s := newSite(t, setup{policy: lapse.Policy{Idle: 60 * sec}})
		p, q := newPause(), newPause()
		s.handle("/p", func(w http.ResponseWriter, r *http.Request) { p.wait(r) })
		s.handle("/q", func(w http.ResponseWriter, r *http.Request) { q.wait(r) })
		b, session := s.login("Ada")
		first, second := b.start("GET", "/p", nil), b.start("GET", "/q", nil)
		receive(t, p.entered)
		receive(t, q.entered)
		s.advance(100 * sec)
		p.goOn()
		first().want(http.StatusOK)
		s.advance(100 * sec)
		if info, ok := session.Info(); !ok || info.Holds != 1 {
			t.Errorf("alive %t, %d holds", ok, info.Holds)
		}
		q.goOn()
		second().want(http.StatusOK)
		s.wantInfo(session, 200*sec, 0)
		s.wantDeadline(session, 260*sec)
		s.advance(60 * sec)
		s.wantLen(0)
	})
	// The client goes away in the middle.
	t.Run("upload/left", func(t *testing.T) {
		s := newSite(t, setup{policy: lapse.Policy{Idle: 60 * sec}})
		entered, left := make(chan struct{}), make(chan struct{})
		s.handle("/upload", func(w http.ResponseWriter, r *http.Request) {
			close(entered)
			<-r.Context().Done()
			close(left)
		})
		b, session := s.login("Ada")
		ctx, cancel := context.WithCancel(t.Context())
		req, _ := http.NewRequestWithContext(ctx, "GET", s.srv.URL+"/upload", nil)
		go b.client.Do(req)
		receive(t, entered)
		cancel()
		receive(t, left)
		s.driven(func() bool { info, ok := session.Info(); return ok && info.Holds == 0 })
		s.advance(60 * sec)
		s.wantLen(0)
	})
	// A session that is held anew: a log-in in a long request.
	t.Run("upload/log-in", func(t *testing.T) {
		s := newSite(t, setup{policy: lapse.Policy{Idle: 60 * sec}})
		p := newPause()
		s.handle("POST /slow", func(w http.ResponseWriter, r *http.Request) {
			session, err := s.manager.Start(w, r, "Ada")
			if err != nil {
				t.Error(err)
			}
			p.wait(r)
			if !session.Alive() {
				t.Error("the session has ended before the log-in had answered")
			}
		})
		b := s.browser()
		result := b.start("POST", "/slow", nil)
		session := receive(t, p.entered)
		s.advance(600 * sec)
		p.goOn()
		result().want(http.StatusOK).wantLive(660 * sec)
		if b.session() != session {
			t.Error("the browser has another session")
		}
		s.wantInfo(session, 600*sec, 0)
	})

	// A hijacked connection has what it needs from the session, and does not
	// hold it.
	t.Run("hijack", func(t *testing.T) {
		for _, controlled := range []bool{false, true} {
			s := newSite(t, setup{policy: lapse.Policy{Idle: 60 * sec}})
			p := newPause()
			s.handle("/hijack", func(w http.ResponseWriter, r *http.Request) {
				var c net.Conn
				var rw *bufio.ReadWriter
				var err error
				if controlled {
					c, rw, err = http.NewResponseController(w).Hijack()
				} else {
					c, rw, err = w.(http.Hijacker).Hijack()
				}
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				io.WriteString(rw, "HTTP/1.1 101 Switching Protocols\r\n")
				w.Header().Write(rw)
				io.WriteString(rw, "Upgrade: test\r\nConnection: Upgrade\r\n\r\n")
				rw.Flush()
				p.wait(r)
			})
			b, session := s.login("Ada")
			res, err := b.open("GET", "/hijack", nil, "Upgrade", "test", "Connection", "Upgrade")
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			a := &answer{t, s, res.StatusCode, res.Header, "", res.Cookies()}
			a.want(http.StatusSwitchingProtocols).wantLive(60 * sec)
			receive(t, p.entered)
			if info, _ := session.Info(); info.Holds != 0 {
				t.Errorf("%d holds", info.Holds)
			}
			s.advance(60 * sec)
			s.wantLen(0)
			p.goOn()
		}
	})
	// So does an event stream of the site's own, from its first flush on.
	t.Run("stream", func(t *testing.T) {
		for _, kind := range []string{"text/event-stream", "text/event-stream; charset=utf-8", "text/plain"} {
			s := newSite(t, setup{policy: lapse.Policy{Idle: 60 * sec}})
			p := newPause()
			s.handle("/feed", func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", kind)
				p.wait(r)
				http.NewResponseController(w).Flush()
				p.wait(r)
			})
			b, session := s.login("Ada")
			result := b.start("GET", "/feed", nil)
			receive(t, p.entered)
			s.advance(100 * sec)
			if !session.Alive() {
				t.Error("the session has ended before the stream began")
			}
			p.goOn()
			receive(t, p.entered)
			s.advance(60 * sec)
			stream := kind != "text/plain"
			if session.Alive() == stream {
				t.Errorf("%s: alive is %t", kind, !stream)
			}
			p.goOn()
			result().want(http.StatusOK).wantHeader("X-Session-Expires-In", "60000")
		}
	})
	// What a handler may ask of its ResponseWriter works through the layers.
	t.Run("controller", func(t *testing.T) {
		for _, how := range []setup{{}, {http2: true}} {
			s := newSite(t, how)
			s.handle("/control", func(w http.ResponseWriter, r *http.Request) {
				c := http.NewResponseController(w)
				later := time.Now().Add(time.Hour)
				for name, err := range map[string]error{
					"read deadline": c.SetReadDeadline(later), "write deadline": c.SetWriteDeadline(later), "flush": c.Flush(),
				} {
					if err != nil {
						t.Errorf("%s: %v", name, err)
					}
				}
				if _, ok := w.(http.Hijacker); ok != (r.ProtoMajor == 1) {
					t.Errorf("HTTP/%d: a Hijacker: %t", r.ProtoMajor, ok)
				}
				if _, ok := w.(http.Flusher); !ok {
					t.Error("not a Flusher")
				}
			})
			b, _ := s.login("Ada")
			b.get("/control").want(http.StatusOK)
		}
	})
}

// driven waits until the engine's own goroutine, or a handler's, has done what
// the clock has been set for.
func (s *site) driven(done func() bool) {
	s.t.Helper()
	for tries := patience / ms; !done(); tries-- {
		if tries == 0 {
			s.t.Fatalf("at %v it is still not done", s.now())
		}
		time.Sleep(ms) // nothing tells when it is done
	}
}
