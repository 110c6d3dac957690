package lapsehttp

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lapse-go/lapse"
)

// A spy is a ResponseWriter that notes what is called.
type spy struct {
	httptest.ResponseRecorder
	calls  []string
	source io.Reader
}

func newSpy() *spy { return &spy{ResponseRecorder: *httptest.NewRecorder()} }

func (s *spy) ReadFrom(r io.Reader) (int64, error) {
	s.calls, s.source = append(s.calls, "ReadFrom"), r
	return io.Copy(&s.ResponseRecorder, r)
}

func (s *spy) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	s.calls = append(s.calls, "Hijack")
	return nil, nil, nil
}

func (s *spy) SetReadDeadline(time.Time) error {
	s.calls = append(s.calls, "SetReadDeadline")
	return nil
}

// A pusher is a ResponseWriter as over HTTP/2.
type pusher struct {
	http.ResponseWriter
	pushed []string
}

func (p *pusher) Push(target string, _ *http.PushOptions) error {
	p.pushed = append(p.pushed, target)
	return nil
}

// A flushPusher is one that can flush, as they all can.
type flushPusher struct {
	*pusher
	http.Flusher
}

// An onlyHijacker cannot flush.
type onlyHijacker struct {
	*nowhere
	http.Hijacker
}

// SetReadDeadline does nothing.
func (onlyHijacker) SetReadDeadline(time.Time) error { return nil }

// An errorFlusher flushes for those who want to know whether that has worked.
type errorFlusher struct{ *nowhere }

func (errorFlusher) FlushError() error { return nil }

// A wrapped ResponseWriter can do what it wraps can, for those who ask by
// Unwrap.
type wrapped struct{ http.ResponseWriter }

func (w wrapped) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func TestWriterInterfaces(t *testing.T) {
	m := newTest(t, lapse.Options{}, Options[string]{})
	_, id := start(t, m, "Ada")
	push := &pusher{ResponseWriter: httptest.NewRecorder()}
	for _, tt := range []struct {
		name                string
		w                   http.ResponseWriter
		flush, hijack, push bool
	}{
		{"plain", &nowhere{make(http.Header)}, false, false, false},
		{"recorder", httptest.NewRecorder(), true, false, false},
		{"HTTP/1", newSpy(), true, true, false},
		{"HTTP/1 wrapped", wrapped{newSpy()}, true, true, false},
		{"HTTP/1 without flush", onlyHijacker{&nowhere{make(http.Header)}, newSpy()}, false, true, false},
		{"HTTP/2", flushPusher{push, newSpy()}, true, false, true},
		{"HTTP/2 without flush", push, false, false, true},
		{"HTTP/2 wrapped", wrapped{push}, false, false, true},
		{"errors", errorFlusher{&nowhere{make(http.Header)}}, true, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m.Handler(handle(func(w http.ResponseWriter, r *http.Request) {
				_, flushes := w.(http.Flusher)
				hijacker, hijacks := w.(http.Hijacker)
				pusher, pushes := w.(http.Pusher)
				if flushes != tt.flush || hijacks != tt.hijack || pushes != tt.push {
					t.Errorf("flushes: %t, hijacks: %t, pushes: %t", flushes, hijacks, pushes)
				}
				if !flushes {
					if err := http.NewResponseController(w).Flush(); !errors.Is(err, http.ErrNotSupported) {
						t.Errorf("Flush: %v", err)
					}
				}
				// Nothing has been written.
				if err := m.Renew(w, r); err != nil {
					t.Error(err)
				}
				if pushes {
					if err := pusher.Push("/style.css", nil); err != nil {
						t.Error(err)
					}
				}
				if hijacks {
					if _, _, err := hijacker.Hijack(); err != nil {
						t.Error(err)
					}
				} else if _, _, err := http.NewResponseController(w).Hijack(); !errors.Is(err, http.ErrNotSupported) {
					t.Errorf("Hijack: %v", err)
				}
				if err := http.NewResponseController(w).SetReadDeadline(time.Time{}); (err == nil) != tt.hijack {
					t.Errorf("SetReadDeadline: %v", err)
				}
			})).ServeHTTP(tt.w, request("GET", "/", id))
		})
	}
	if !slices.Equal(push.pushed, []string{"/style.css", "/style.css", "/style.css"}) {
		t.Errorf("pushed %q", push.pushed)
	}
	if err := (pushWriter[string]{writer[string]{&exchange[string]{w: httptest.NewRecorder()}}}).Push("/", nil); !errors.Is(err, http.ErrNotSupported) {
		t.Errorf("Push: %v", err)
	}
}

// TestHijackFails has nothing be written by a Hijack that is not one.
func TestHijackFails(t *testing.T) {
	m := newTest(t, lapse.Options{}, Options[string]{})
	m.Handler(handle(func(w http.ResponseWriter, r *http.Request) {
		if _, _, err := w.(http.Hijacker).Hijack(); !errors.Is(err, http.ErrHijacked) {
			t.Errorf("Hijack: %v", err)
		}
		if len(w.Header()) != 0 {
			t.Errorf("%v", w.Header())
		}
		if _, err := m.Start(w, r, "Ada"); err != nil {
			t.Error(err)
		}
	})).ServeHTTP(unhijackable{httptest.NewRecorder()}, request("GET", "/"))
}

// An unhijackable ResponseWriter finds out when it tries.
type unhijackable struct{ *httptest.ResponseRecorder }

func (unhijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, http.ErrHijacked }

// TestFirstByte has each way to begin a response set the headers before it, and
// only once.
func TestFirstByte(t *testing.T) {
	m := newTest(t, lapse.Options{}, Options[string]{})
	_, id := start(t, m, "Ada")
	for name, begin := range map[string]func(http.ResponseWriter){
		"nothing":     func(http.ResponseWriter) {},
		"Write":       func(w http.ResponseWriter) { w.Write([]byte("a")) },
		"WriteHeader": func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) },
		"WriteString": func(w http.ResponseWriter) { io.WriteString(w, "a") },
		"ReadFrom":    func(w http.ResponseWriter) { io.Copy(w, struct{ io.Reader }{strings.NewReader("a")}) },
		"Flush":       func(w http.ResponseWriter) { w.(http.Flusher).Flush() },
		"control":     func(w http.ResponseWriter) { http.NewResponseController(w).Flush() },
		"hijacks":     func(w http.ResponseWriter) { w.(http.Hijacker).Hijack() },
		"switches":    func(w http.ResponseWriter) { w.WriteHeader(http.StatusSwitchingProtocols) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newSpy()
			m.Handler(handle(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Cache-Control", "public, max-age=600")
				w.Header().Add("Set-Cookie", "theme=dark")
				w.Header().Set("Vary", "Accept-Encoding")
				if begin(w); name == "nothing" {
					return
				}
				if h := w.Header(); len(h["Set-Cookie"]) != 3 || h.Get(expiresHeader) == "" {
					t.Errorf("after the first byte: %v", h)
				}
				io.WriteString(w, "b")
			})).ServeHTTP(w, request("GET", "/", id))
			h := w.Header()
			if len(h["Set-Cookie"]) != 3 || h["Set-Cookie"][0] != "theme=dark" || len(h["Cache-Control"]) != 1 || h.Get("Cache-Control") != "no-store" ||
				!slices.Equal(h["Vary"], []string{"Accept-Encoding", "Cookie"}) {
				t.Errorf("%v", h)
			}
		})
	}
}

// TestStricter leaves alone what a handler has forbidden already.
func TestStricter(t *testing.T) {
	m := newTest(t, lapse.Options{}, Options[string]{})
	_, id := start(t, m, "Ada")
	for _, tt := range []struct{ cache, vary string }{
		{"private, No-Store", "*"},
		{"no-store", "accept, cookie"},
	} {
		w := serve(t, m.Handler(handle(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", tt.cache)
			w.Header().Set("Vary", tt.vary)
		})), request("GET", "/", id), http.StatusOK)
		if h := w.Header(); h.Get("Cache-Control") != tt.cache || len(h["Vary"]) != 1 || h.Get("Vary") != tt.vary {
			t.Errorf("%v", h)
		}
	}
	// How long a response is kept that carries no session is its handler's
	// business, but not for those who have one.
	w := serve(t, m.Handler(handle(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "public")
	})), request("GET", "/"), http.StatusOK)
	if h := w.Header(); h.Get("Cache-Control") != "public" || h.Get("Vary") != "Cookie" || len(h) != 2 {
		t.Errorf("%v", h)
	}
}

// TestInformational has 103 come before the cookies.
func TestInformational(t *testing.T) {
	m := newTest(t, lapse.Options{}, Options[string]{})
	_, id := start(t, m, "Ada")
	srv := httptest.NewServer(m.Handler(handle(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		if err := m.Renew(w, r); err != nil {
			t.Errorf("after 103: %v", err)
		}
		w.WriteHeader(http.StatusAccepted)
	})))
	defer srv.Close()
	hints := 0
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		hints++
		if code != http.StatusEarlyHints || h.Get("Link") == "" || len(h["Set-Cookie"]) > 0 {
			t.Errorf("%d %v", code, h)
		}
		return nil
	}})
	r, err := http.NewRequestWithContext(ctx, "GET", srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.AddCookie(&http.Cookie{Name: "session", Value: id.String()})
	res, err := srv.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusAccepted || hints != 1 || len(res.Cookies()) != 3 {
		t.Errorf("%d %v, %d hints", res.StatusCode, res.Header, hints)
	}
}

// TestSendFile gives a file to the server as it is, which can then spare the
// copy.
func TestSendFile(t *testing.T) {
	m := newTest(t, lapse.Options{}, Options[string]{})
	_, id := start(t, m, "Ada")
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := newSpy()
	m.Handler(handle(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, name) })).ServeHTTP(w, request("GET", "/", id))
	limited, ok := w.source.(*io.LimitedReader)
	if !ok {
		t.Fatalf("the server was given a %T, %q", w.source, w.calls)
	}
	if _, ok := limited.R.(*os.File); !ok || w.Body.String() != "content" {
		t.Errorf("a %T, %q", limited.R, w.Body)
	}
}

// TestHold says when a request lets go of its session.
func TestHold(t *testing.T) {
	m := newTest(t, lapse.Options{}, Options[string]{Routes: Routes{"/poll": Poll, "/peek": Peek}})
	s, id := start(t, m, "Ada")
	holds := func() int {
		info, _ := s.Info()
		return info.Holds
	}
	stream := func(kind string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", kind)
			io.WriteString(w, "data: 1\n\n")
			if n := holds(); n != 1 {
				t.Errorf("%s: %d holds before the flush", kind, n)
			}
			for range 2 {
				http.NewResponseController(w).Flush()
			}
		}
	}
	for _, tt := range []struct {
		name, path string
		do         func(http.ResponseWriter)
		want       int
	}{
		{"touch", "/", func(w http.ResponseWriter) { io.WriteString(w, "a") }, 1},
		{"poll", "/poll", func(http.ResponseWriter) {}, 0},
		{"peek", "/peek", func(http.ResponseWriter) {}, 0},
		{"hijack", "/", func(w http.ResponseWriter) { w.(http.Hijacker).Hijack() }, 0},
		{"events", "/", stream("text/event-stream"), 0},
		{"events with parameter", "/", stream("Text/Event-Stream ; charset=utf-8"), 0},
		{"other stream", "/", stream("text/event-stream-not"), 1},
	} {
		other := 0
		for range 2 { // another hold is not let go of
			m.Handler(handle(func(w http.ResponseWriter, _ *http.Request) {
				if tt.do(w); holds() != tt.want+other {
					t.Errorf("%s: %d holds, want %d and %d others", tt.name, holds(), tt.want, other)
				}
			})).ServeHTTP(newSpy(), request("GET", tt.path, id))
			if holds() != other {
				t.Errorf("%s: %d holds are left, want %d", tt.name, holds(), other)
			}
			if other == 0 && strings.HasPrefix(tt.name, "hijack") {
				s.Hold()
				other = 1
			}
		}
		if other == 1 {
			s.Release()
		}
	}
	// A session that is started in the request is held in the old one's place.
	m.Handler(handle(func(w http.ResponseWriter, r *http.Request) {
		var err error
		if s, err = m.Start(w, r, "Ada"); err != nil || holds() != 1 {
			t.Errorf("Start: %v, %d holds", err, holds())
		}
	})).ServeHTTP(newSpy(), request("GET", "/", id))
	if holds() != 0 {
		t.Errorf("%d holds are left", holds())
	}
	m.Handler(handle(func(w http.ResponseWriter, r *http.Request) {
		w.(http.Hijacker).Hijack()
		_, err := m.Start(w, r, "Ada")
		isError(t, err, ErrWritten)
	})).ServeHTTP(newSpy(), request("GET", "/"))
}
