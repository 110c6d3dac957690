package lapsehttp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lapse-go/lapse"
)

// A page has an event stream open, in a bubble.
type page struct {
	t      *testing.T
	cancel context.CancelFunc
	done   chan struct{}
	header http.Header
	fails  error // what a write gives

	read, write []time.Time // deadlines that were set

	mu  sync.Mutex
	buf strings.Builder
	ids int
}

func (p *page) Header() http.Header { return p.header }
func (p *page) WriteHeader(int)     {}
func (p *page) FlushError() error   { return p.fails }

func (p *page) SetReadDeadline(t time.Time) error {
	p.read = append(p.read, t)
	return nil
}

func (p *page) SetWriteDeadline(t time.Time) error {
	p.write = append(p.write, t)
	return nil
}

func (p *page) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.buf.Write(b)
}

// open opens an event stream.
func open(t *testing.T, m *testManager, id ID) *page {
	ctx, cancel := context.WithCancel(t.Context())
	p := &page{t: t, cancel: cancel, done: make(chan struct{}), header: make(http.Header)}
	go func() {
		defer close(p.done)
		m.Handler(m.Endpoints()).ServeHTTP(p, request("GET", "/session/events", id).WithContext(ctx))
	}()
	return p
}

// want waits until nothing moves and checks which events have come: name,
// colon, milliseconds left. It returns the data of the last one.
func (p *page) want(events ...string) (last string) {
	p.t.Helper()
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	text := p.buf.String()
	p.buf.Reset()
	var got []string
	for message := range strings.SplitSeq(text, "\n\n") {
		if message == "" {
			continue
		}
		if message == ":" {
			got = append(got, ":")
			continue
		}
		var id int
		var name string
		p.ids++
		head, data, _ := strings.Cut(message, "\ndata: ")
		if _, err := fmt.Sscanf(head, "id: %d\nevent: %s", &id, &name); err != nil || id != p.ids {
			p.t.Errorf("the message is %q (%v), want id %d", message, err, p.ids)
		}
		last = data
		var st state
		if err := json.Unmarshal([]byte(data), &st); err != nil {
			p.t.Error(err)
		}
		if st.RemainingMS != nil {
			name = fmt.Sprint(name, ":", *st.RemainingMS)
		}
		got = append(got, name)
	}
	if !slices.Equal(got, events) {
		p.t.Errorf("the events are %q, want %q", got, events)
	}
	return last
}

// gone checks that the stream has ended.
func (p *page) gone() {
	p.t.Helper()
	synctest.Wait()
	select {
	case <-p.done:
	default:
		p.t.Error("the stream goes on")
	}
}

var eventPolicy = lapse.Policy{Name: "user", Idle: 10 * time.Second, Warn: 3 * time.Second}

func TestEvents(t *testing.T) {
	inBubble(t, lapse.Options{Default: eventPolicy}, Options[string]{LoginURL: "/login"}, func(t *testing.T, m *testManager) {
		s, id := start(t, m, "Ada")
		p := open(t, m, id)
		p.want("extended:10000")
		if h := p.header; h.Get("Content-Type") != "text/event-stream" || h.Get("Cache-Control") != "no-store" || len(h["Set-Cookie"]) != 2 {
			t.Errorf("%v", h)
		}
		if info, _ := s.Info(); info.Holds != 0 || info.Polls != 0 {
			t.Errorf("the stream is an activity: %+v", info)
		}
		// A touch by another window, soon and later.
		touch := func() { serve(t, m.Require(ok), request("GET", "/", id), http.StatusOK) }
		pass(500 * time.Millisecond)
		touch()
		p.want()
		pass(time.Second)
		touch()
		p.want("extended:10000")
		pass(7 * time.Second)
		p.want("warning:3000")
		// A warning that a touch has overtaken is none.
		deadline, _ := s.Deadline()
		m.streams.tell(m.streams.topics[s], s, func() {
			for st := range m.streams.topics[s].members {
				st.warned = deadline.Add(-time.Millisecond)
			}
		})
		p.want()
		pass(10 * time.Millisecond)
		serve(t, m.Endpoints(), request("POST", "/session/keepalive", id), http.StatusNoContent)
		p.want("extended:10000")
		// What nobody tells the stream it sees at the next beat.
		s.SetIdle(time.Hour)
		touch()
		p.want("extended:3600000")
		s.SetIdle(time.Minute)
		p.want()
		pass(heartbeat - 8510*time.Millisecond)
		p.want(":", "extended:53510")
		s.SetIdle(0)
		pass(10 * time.Second)
		data := p.want("warning:3000", "ended")
		if want := fmt.Sprintf(`{"reason":"idle","endedAt":%d,"login":"/login"}`, time.Now().Add(-6490*time.Millisecond).UnixMilli()); data != want {
			t.Errorf("%s, want %s", data, want)
		}
		p.gone()
		serve(t, m.Endpoints(), request("GET", "/session/events", id), http.StatusNoContent)
		serve(t, m.Endpoints(), request("GET", "/session/events"), http.StatusNoContent)
		m.wantNoStreams(t)
	})
}

func (m *Manager[V]) wantNoStreams(t *testing.T) {
	t.Helper()
	if n := m.streams.open.Load(); n != 0 || len(m.streams.topics) != 0 || len(m.streams.parked) != 0 {
		t.Errorf("%d streams, %d sessions with streams", n, len(m.streams.topics))
	}
}

// TestEventsOfOneSession opens several streams, which come and go.
func TestEventsOfOneSession(t *testing.T) {
	inBubble(t, lapse.Options{Default: eventPolicy}, Options[string]{}, func(t *testing.T, m *testManager) {
		s, id := start(t, m, "Ada")
		_, other := start(t, m, "Bob")
		a, b, c := open(t, m, id), open(t, m, id), open(t, m, other)
		for _, p := range []*page{a, b, c} {
			p.want("extended:10000")
		}
		a.cancel()
		a.gone()
		pass(5 * time.Second)
		serve(t, m.Require(ok), request("GET", "/", id), http.StatusOK)
		b.want("extended:10000")
		c.want()
		a.want()
		serve(t, m.Endpoints(), request("POST", "/session/logout", id), http.StatusNoContent)
		if data := b.want("ended"); !strings.Contains(data, `"reason":"expired"`) {
			t.Error(data)
		}
		b.gone()
		c.cancel()
		c.gone()
		m.wantNoStreams(t)
		if s.Alive() {
			t.Error("it lives")
		}
	})
}

// TestEventsNotRead has pages whose connection is lost, or cannot stream.
func TestEventsNotRead(t *testing.T) {
	inBubble(t, lapse.Options{}, Options[string]{}, func(t *testing.T, m *testManager) {
		_, id := start(t, m, "Ada")
		for _, w := range []http.ResponseWriter{
			failing{httptest.NewRecorder()},
			&page{header: make(http.Header), fails: errors.New("gone")},
			&nowhere{make(http.Header)}, // it has no Flush
		} {
			m.Endpoints().ServeHTTP(w, request("GET", "/session/events", id))
		}
		serve(t, m.Endpoints(), request("HEAD", "/session/events", id), http.StatusOK)
		m.wantNoStreams(t)
	})
}

// TestEventsPromoted has the streams follow the session into another.
func TestEventsPromoted(t *testing.T) {
	inBubble(t, lapse.Options{Default: eventPolicy}, Options[string]{}, func(t *testing.T, m *testManager) {
		member, err := m.engine.Class(lapse.Policy{Name: "member", Idle: time.Minute, Warn: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		old, id := start(t, m, "guest")
		p := open(t, m, id)
		p.want("extended:10000")
		w := within(t, m, request("POST", "/", id), func(w http.ResponseWriter, r *http.Request) {
			if err := m.Promote(w, r, member, "Ada"); err != nil {
				t.Error(err)
			}
		})
		p.want("extended:60000")
		pass(12 * time.Second)
		if old.Alive() {
			t.Error("the old session lives")
		}
		p.want()
		pass(47 * time.Second)
		p.want(":", ":", ":", "warning:1000")
		pass(time.Second)
		p.want(":", "ended")
		p.gone()
		serve(t, m.Endpoints(), request("GET", "/session/events", sentID(t, w)), http.StatusNoContent)
		// Into a session that has ended already.
		s, id := start(t, m, "guest")
		p = open(t, m, id)
		p.want("extended:10000")
		m.streams.park(s)
		m.streams.resume(s, old)
		p.want("ended")
		p.gone()
		m.streams.park(s)
		m.streams.resume(s, old) // no streams
		m.wantNoStreams(t)
		// A hook of a session that the streams have left comes late.
		m.streams.tell(&topic[string]{session: s}, old, func() { t.Error("it is heard") })
	})
}

// TestEventsPromotedWhenFull has the old session go before the new one comes:
// the streams do not hear of that.
func TestEventsPromotedWhenFull(t *testing.T) {
	for _, when := range []lapse.FullPolicy{lapse.Reject, lapse.Evict} {
		inBubble(t, lapse.Options{Default: eventPolicy, MaxSessions: 1, WhenFull: when}, Options[string]{}, func(t *testing.T, m *testManager) {
			member, err := m.engine.Class(lapse.Policy{Name: "member", Idle: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			old, id := start(t, m, "guest")
			p, another := open(t, m, id), open(t, m, id)
			p.want("extended:10000")
			another.want("extended:10000")
			// Streams have all the time to say what they should not.
			old.NotifyOnExpire(func(testEvent) { pass(time.Second) })
			within(t, m, request("POST", "/", id), func(w http.ResponseWriter, r *http.Request) {
				if err := m.Promote(w, r, member, "Ada"); err != nil {
					t.Error(err)
				}
			})
			for _, p := range []*page{p, another} {
				p.want("extended:60000")
				p.cancel()
				p.gone()
			}
			m.wantNoStreams(t)
		})
	}
}

// TestEventsNotPromoted has a promotion fail: the streams go on, or hear how the
// session has ended.
func TestEventsNotPromoted(t *testing.T) {
	policy := eventPolicy
	policy.PollMax, policy.Lifetime = 1, 11*time.Second
	for _, tt := range []struct {
		name      string
		most      int                    // sessions in the engine
		ids       string                 // what there is of entropy
		meanwhile func(testSession) bool // what happens to the session, in its tenth second
		want      string
	}{
		{"log-out", 0, "0123456789abcdef", testSession.Expire, "expired"},
		{"a poll too many", 0, "0123456789abcdef", testSession.Poll, "poll max"},
		{"no id", 0, "", testSession.Alive, ""},
		{"full, and no id", 1, "0123456789abcdef", testSession.Alive, "expired"},
		{"due", 0, "0123456789abcdef", func(testSession) bool { time.Sleep(time.Second); return false }, "lifetime"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, lapse.Options{Default: policy, MaxSessions: tt.most, Manual: true}, Options[string]{}, func(t *testing.T, m *testManager) {
				s, id := start(t, m, "guest")
				pass(9 * time.Second)
				s.Poll()
				p := open(t, m, id)
				p.want("extended:2000")
				m.entropy.Reader = strings.NewReader(tt.ids)
				m.owners.of = func(string) string {
					tt.meanwhile(s)
					pass(time.Second)
					return ""
				}
				class, err := m.engine.Class(policy)
				if err != nil {
					t.Fatal(err)
				}
				r := request("POST", "/", id)
				r.Header.Set(activityHeader, "peek")
				within(t, m, r, func(w http.ResponseWriter, r *http.Request) {
					if m.Promote(w, r, class, "Ada") == nil {
						t.Error("no error")
					}
				})
				m.engine.Advance()
				if tt.want == "" {
					p.want("warning:1000")
					p.cancel()
				} else if ended := p.want("ended"); !strings.Contains(ended, `"reason":"`+tt.want+`"`) {
					t.Errorf("the event is %s, want %s", ended, tt.want)
				}
				p.gone()
				m.wantNoStreams(t)
			})
		})
	}
}

// TestEventsSoonAfterWarning tells of any extension after a warning, however
// short.
func TestEventsSoonAfterWarning(t *testing.T) {
	inBubble(t, lapse.Options{Default: lapse.Policy{Name: "hasty", Idle: time.Second, Warn: 800 * time.Millisecond}}, Options[string]{}, func(t *testing.T, m *testManager) {
		_, id := start(t, m, "Ada")
		p := open(t, m, id)
		p.want("extended:1000")
		for range 3 {
			pass(250 * time.Millisecond)
			p.want("warning:800")
			serve(t, m.Require(ok), request("GET", "/", id), http.StatusOK)
			p.want("extended:1000")
		}
		p.cancel()
		p.gone()
	})
}

// TestEventsLeaveNothing has streams come and go: the session has no hooks
// then, and the connection no deadlines.
func TestEventsLeaveNothing(t *testing.T) {
	inBubble(t, lapse.Options{Default: eventPolicy}, Options[string]{}, func(t *testing.T, m *testManager) {
		s, id := start(t, m, "Ada")
		for range 3 {
			p := open(t, m, id)
			p.want("extended:10000")
			p.cancel()
			p.gone()
			if len(p.read) != 1 || !p.read[0].IsZero() {
				t.Errorf("deadlines for reading: %v", p.read)
			}
			if len(p.write) != 2 || !p.write[0].Equal(time.Now().Add(patience)) || !p.write[1].IsZero() {
				t.Errorf("deadlines for writing: %v", p.write)
			}
		}
		m.wantNoStreams(t)
		s.Expire()
		if n := m.engine.Stats().Hooks; n != 0 {
			t.Errorf("%d hooks were called", n)
		}
	})
}

// TestJoinClosed opens a stream on a server that is being shut down.
func TestJoinClosed(t *testing.T) {
	m := newTest(t, lapse.Options{}, Options[string]{})
	s, _ := start(t, m, "Ada")
	server := new(http.Server)
	r := request("GET", "/").WithContext(context.WithValue(t.Context(), http.ServerContextKey, server))
	key := m.streams.serverOf(r)
	for _, closed := range []bool{false, true} {
		if st, ok := m.streams.join(s, m.streams.serverOf(r)); !ok || st.closing != closed {
			t.Errorf("closed %t: %v, %t", closed, st, ok)
		} else {
			m.streams.leave(st)
		}
		m.streams.close(key)
	}
	runtime.KeepAlive(server)
	m.wantNoStreams(t)
	// A server that is gone is forgotten.
	server = nil
	r = nil
	for range 100 {
		if runtime.GC(); key.Value() == nil {
			break
		}
	}
	m.streams.serverOf(request("GET", "/").WithContext(context.WithValue(t.Context(), http.ServerContextKey, new(http.Server))))
	if _, known := m.streams.closed[key]; known {
		t.Error("it is known still")
	}
}

// TestEventsClosed has the engine closed, which calls no hooks.
func TestEventsClosed(t *testing.T) {
	inBubble(t, lapse.Options{}, Options[string]{}, func(t *testing.T, m *testManager) {
		_, id := start(t, m, "Ada")
		p := open(t, m, id)
		p.want("extended:900000")
		m.engine.Close()
		p.want()
		pass(2 * heartbeat)
		if data := p.want(":", ":", "ended"); data != "{}" {
			t.Error(data)
		}
		p.gone()
		m.wantNoStreams(t)
	})
}

// TestEventsLateHook has a stream look at its session between the end and the
// hook: it waits for the hook, which knows the reason.
func TestEventsLateHook(t *testing.T) {
	inBubble(t, lapse.Options{Manual: true, Default: eventPolicy}, Options[string]{}, func(t *testing.T, m *testManager) {
		s, id := start(t, m, "Ada")
		p := open(t, m, id)
		p.want("extended:10000")
		pass(10 * time.Second)
		m.streams.look(s)
		p.want()
		pass(5 * time.Second)
		p.want(":")
		m.engine.Advance()
		if data := p.want("ended"); !strings.Contains(data, `"reason":"idle"`) {
			t.Error(data)
		}
		p.gone()
	})
}

// TestEventsSlowHooks has a stream look at its session while other hooks of the
// end hold up the one that knows the reason.
func TestEventsSlowHooks(t *testing.T) {
	inBubble(t, lapse.Options{Default: eventPolicy}, Options[string]{}, func(t *testing.T, m *testManager) {
		s, id := start(t, m, "Ada")
		held := make(chan struct{})
		s.NotifyOnExpire(func(testEvent) { <-held })
		p := open(t, m, id)
		p.want("extended:10000")
		go s.Expire()
		synctest.Wait()
		m.streams.look(s)
		p.want()
		pass(heartbeat)
		p.want(":")
		close(held)
		if data := p.want("ended"); !strings.Contains(data, `"reason":"expired"`) {
			t.Error(data)
		}
		p.gone()
	})
}

// TestEventsUnlimited has nothing to tell but the beat.
func TestEventsUnlimited(t *testing.T) {
	inBubble(t, lapse.Options{Default: lapse.Policy{Name: "eternal"}}, Options[string]{}, func(t *testing.T, m *testManager) {
		_, id := start(t, m, "Ada")
		p := open(t, m, id)
		p.want("extended")
		pass(heartbeat)
		serve(t, m.Require(ok), request("GET", "/", id), http.StatusOK)
		p.want(":")
		p.cancel()
		p.gone()
	})
}

// TestJoinDead opens a stream for a session that ended since it was found.
func TestJoinDead(t *testing.T) {
	m := newTest(t, lapse.Options{}, Options[string]{})
	s, id := start(t, m, "Ada")
	serve(t, m.Handler(handle(func(w http.ResponseWriter, r *http.Request) {
		s.Expire()
		m.Endpoints().ServeHTTP(w, r)
	})), request("GET", "/session/events", id), http.StatusNoContent)
	m.wantNoStreams(t)
}

// TestEventsServerShutdown closes the streams of a server that is shut down,
// which would wait for them.
func TestEventsServerShutdown(t *testing.T) {
	m := newTest(t, lapse.Options{}, Options[string]{})
	s, id := start(t, m, "Ada")
	servers := [2]*httptest.Server{httptest.NewUnstartedServer(m.Endpoints()), httptest.NewUnstartedServer(m.Endpoints())}
	var streams [2][2]*bufio.Reader
	for i, srv := range servers {
		srv.Config.WriteTimeout = time.Nanosecond // it is for answers, not for streams
		srv.Config.ReadTimeout = time.Minute
		srv.Start()
		defer srv.Close()
		for j := range streams[i] {
			r, err := http.NewRequestWithContext(t.Context(), "GET", srv.URL+"/session/events", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.AddCookie(&http.Cookie{Name: "session", Value: id.String()})
			res, err := srv.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			streams[i][j] = bufio.NewReader(res.Body)
			wantLine(t, streams[i][j], "event: extended\n")
		}
	}
	if err := servers[0].Config.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, r := range streams[0] {
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				break
			}
			if strings.Contains(line, "ended") {
				t.Errorf("the session's end is told: %q", line)
			}
		}
	}
	if n := m.streams.open.Load(); n != 2 {
		t.Errorf("%d streams are left, want the other server's", n)
	}
	s.Expire()
	for _, r := range streams[1] {
		wantLine(t, r, "event: ended\n")
	}
}

// wantLine reads up to a line.
func wantLine(t *testing.T, r *bufio.Reader, want string) {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("no %q: %v", want, err)
		}
		if line == want {
			return
		}
	}
}
