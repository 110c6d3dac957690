package lapsehttp_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/lapse-go/lapse"
	"github.com/lapse-go/lapse/lapsehttp"
)

// An event is one of an event stream.
type event struct{ id, name, data string }

// An eventSource reads an event stream.
type eventSource struct {
	t      *testing.T
	site   *site
	res    *http.Response
	events chan event // closed at the end of the stream
	last   string     // the id of the last event
}

// events opens the session's event stream.
func (b *browser) events(path string, header ...string) *eventSource {
	b.t.Helper()
	res, err := b.open("GET", path, nil, append(header, "Accept", "text/event-stream")...)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { res.Body.Close() })
	if kind := res.Header.Get("Content-Type"); res.StatusCode != http.StatusOK || kind != "text/event-stream" {
		b.t.Fatalf("the stream has status %d and is %q", res.StatusCode, kind)
	}
	es := &eventSource{b.t, b.site, res, make(chan event, 100), ""}
	go es.read()
	return es
}

func (es *eventSource) read() {
	defer close(es.events)
	var ev event
	for lines := bufio.NewScanner(es.res.Body); lines.Scan(); {
		switch field, value, _ := strings.Cut(lines.Text(), ": "); field {
		case "id":
			ev.id = value
		case "event":
			ev.name = value
		case "data":
			ev.data += value
		case "":
			if ev != (event{}) {
				es.events <- ev
			}
			ev = event{}
		}
	}
}

// want waits for the next event, and checks it.
func (es *eventSource) want(name, data string) {
	es.t.Helper()
	ev := receive(es.t, es.events)
	if ev == (event{}) {
		es.t.Fatalf("at %v: the stream has ended, want %s", es.site.now(), name)
	}
	var got, want any
	if err := json.Unmarshal([]byte(data), &want); err != nil {
		es.t.Fatalf("the test wants %s: %v", data, err)
	}
	if err := json.Unmarshal([]byte(ev.data), &got); err != nil || ev.name != name || !reflect.DeepEqual(got, want) {
		es.t.Errorf("at %v: the event is %q %s (%v), want %q %s", es.site.now(), ev.name, ev.data, err, name, data)
	}
	if ev.id == "" || ev.id == es.last {
		es.t.Errorf("at %v: the event %s has the id %q after %q", es.site.now(), ev.name, ev.id, es.last)
	}
	es.last = ev.id
}

// wantState is want for an event with the session's state, of a policy with
// Idle 600 and Warn 60, that ends at a time since the epoch.
func (es *eventSource) wantState(name string, ends time.Duration) {
	es.t.Helper()
	now := es.site.now()
	es.want(name, fmt.Sprintf(`{"state":"live","serverTime":%d,"expiresAt":%d,"remainingMs":%d,"limit":"idle","warnMs":60000,"idleMs":600000}`,
		epoch.Add(now).UnixMilli(), epoch.Add(ends).UnixMilli(), (ends-now).Milliseconds()))
}

func (es *eventSource) wantEnd() {
	es.t.Helper()
	if ev := receive(es.t, es.events); ev != (event{}) {
		es.t.Errorf("at %v: the event %v comes, want the end of the stream", es.site.now(), ev)
	}
}

var streamPolicy = lapse.Policy{Idle: 600 * sec, Warn: 60 * sec}

func TestConformanceStream(t *testing.T) {
	t.Run("case=139", func(t *testing.T) {
		for _, c := range []struct {
			name  string
			how   setup
			end   func(*site, *browser, testSession)
			data  string
			known bool // by the engine, later
		}{
			{"idle", setup{policy: streamPolicy}, func(s *site, _ *browser, _ testSession) { s.advance(600 * sec) },
				`{"reason":"idle","endedAt":1700000600000,"login":"/login"}`, true},
			{"lifetime", setup{policy: lapse.Policy{Lifetime: 30 * sec}}, func(s *site, _ *browser, _ testSession) { s.advance(30 * sec) },
				`{"reason":"lifetime","endedAt":1700000030000,"login":"/login"}`, true},
			{"expire", setup{}, func(s *site, _ *browser, session testSession) { s.pass(sec); session.Expire() },
				`{"reason":"expired","endedAt":1700000001000,"login":"/login"}`, true},
			{"log-out elsewhere", setup{}, func(s *site, b *browser, _ testSession) {
				b.post("/session/logout").want(http.StatusNoContent)
			}, `{"reason":"expired","endedAt":1700000000000,"login":"/login"}`, true},
			{"everywhere", setup{}, func(s *site, _ *browser, _ testSession) { s.manager.EndAll("Ada") },
				`{"reason":"expired","endedAt":1700000000000,"login":"/login"}`, true},
			{"new log-in", setup{}, func(s *site, b *browser, _ testSession) { b.login("Eve") },
				`{"reason":"expired","endedAt":1700000000000,"login":"/login"}`, true},
			{"cap", setup{policy: lapse.Policy{PollMax: 1}}, func(s *site, b *browser, _ testSession) {
				id := b.id()
				b.get("/session/keepalive").want(http.StatusNoContent)
				s.with(id).get("/session/keepalive").want(http.StatusUnauthorized)
			}, `{"reason":"poll max","endedAt":1700000000000,"login":"/login"}`, true},
			{"shutdown", setup{}, func(s *site, _ *browser, _ testSession) { s.engine.Shutdown(t.Context()) },
				`{"reason":"shutdown","endedAt":1700000000000,"login":"/login"}`, false},
			{"driver", setup{policy: streamPolicy, driver: true}, func(s *site, _ *browser, _ testSession) { s.advance(600 * sec) },
				`{"reason":"idle","endedAt":1700000600000,"login":"/login"}`, true},
			{"http2", setup{policy: streamPolicy, http2: true}, func(s *site, _ *browser, _ testSession) { s.advance(600 * sec) },
				`{"reason":"idle","endedAt":1700000600000,"login":"/login"}`, true},
		} {
			t.Run(c.name, func(t *testing.T) {
				c.how.http.LoginURL = "/login"
				c.how.engine.Remember = 10
				s := newSite(t, c.how)
				b, session := s.login("Ada")
				id := b.id()
				es, other := b.events("/session/events"), b.events("/session/events")
				for _, es := range []*eventSource{es, other} {
					if ev := receive(t, es.events); ev.name != "extended" {
						t.Errorf("first comes %v", ev)
					}
				}
				c.end(s, b, session)
				for _, es := range []*eventSource{es, other} {
					ev := receive(t, es.events)
					if ev.name == "warning" { // the driver's clock goes there in two steps
						ev = receive(t, es.events)
					}
					if ev.name != "ended" || ev.id == "" {
						t.Fatalf("the event is %v", ev)
					}
					var got, want any
					json.Unmarshal([]byte(ev.data), &got)
					json.Unmarshal([]byte(c.data), &want)
					if !reflect.DeepEqual(got, want) {
						t.Errorf("it ended with %s, want %s", ev.data, c.data)
					}
					es.wantEnd()
				}
				// The EventSource comes back, and is told to stay away.
				a := s.with(id).get("/session/events", "Last-Event-ID", "2").want(http.StatusNoContent)
				a.wantBody("")
				if c.name == "new log-in" {
					a.wantNoCookies()
				} else if c.known {
					a.wantCleared()
				}
				s.browser().get("/session/events").want(http.StatusNoContent)
			})
		}
	})

	t.Run("case=139/events", func(t *testing.T) {
		s := newSite(t, setup{policy: streamPolicy})
		b, session := s.login("Ada")
		s.advance(10 * sec)
		es := b.events("/session/events")
		if c := es.res.Header; !lists(c, "Cache-Control", "no-store") || c.Get("X-Session-Expires-In") != "590000" {
			t.Errorf("the stream's headers are %v", c)
		}
		es.wantState("extended", 600*sec)
		s.wantInfo(session, 0, 0) // to listen is no activity
		if info, _ := session.Info(); info.Holds != 0 {
			t.Errorf("%d holds", info.Holds)
		}
		s.advance(530 * sec)
		es.wantState("warning", 600*sec)
		s.advance(10 * sec)
		b.get("/page").want(http.StatusOK)
		es.wantState("extended", 1150*sec)
		s.advance(540 * sec)
		es.wantState("warning", 1150*sec)
		b.get("/session/keepalive").want(http.StatusNoContent)
		es.wantState("extended", 1690*sec)
		s.advance(540 * sec)
		es.wantState("warning", 1690*sec)
		s.advance(60 * sec)
		es.want("ended", `{"reason":"idle","endedAt":1700001690000}`)
		es.wantEnd()
		s.wantLen(0)
	})

	// A stream is the session's, not the id's: it survives Renew, and the page
	// that opened it does not notice.
	t.Run("case=139/renewed", func(t *testing.T) {
		s := newSite(t, setup{policy: streamPolicy})
		s.handle("POST /renew", func(w http.ResponseWriter, r *http.Request) {
			if err := s.manager.Renew(w, r); err != nil {
				t.Error(err)
			}
		})
		b, session := s.login("Ada")
		es := b.events("/session/events")
		es.wantState("extended", 600*sec)
		s.advance(100 * sec)
		b.post("/renew").want(http.StatusOK)
		es.wantState("extended", 700*sec)
		session.Expire()
		es.want("ended", `{"reason":"expired","endedAt":1700000100000}`)
		es.wantEnd()
	})

	// The page goes away: nothing is left of the stream, and the session lives.
	t.Run("case=139/left", func(t *testing.T) {
		s := newSite(t, setup{policy: streamPolicy})
		b, session := s.login("Ada")
		for range 20 {
			es := b.events("/session/events")
			es.wantState("extended", 600*sec)
			es.res.Body.Close()
		}
		if !session.Alive() {
			t.Error("the session has ended")
		}
	})

	t.Run("case=140", func(t *testing.T) {
		s := newSite(t, setup{policy: streamPolicy, http: lapsehttp.Options[string]{
			Routes: lapsehttp.Routes{"/feed/poll": lapsehttp.Poll, "/feed/peek": lapsehttp.Peek},
		}})
		s.mux.Handle("/feed/", s.manager.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, "id: 1\ndata: news\n\n")
		})))
		for _, c := range []struct {
			path               string
			first, again       int // polls in the run, one of which was there before
			moved, movedByPoll bool
		}{
			{"/feed/", 0, 2, true, true},
			{"/feed/poll", 2, 2, true, true},
			{"/feed/peek", 1, 1, false, false},
			{"/session/status", 1, 1, false, false},
			{"/session/keepalive", 2, 2, true, true},
		} {
			for _, reconnect := range []bool{false, true} {
				b, session := s.login("Ada")
				s.pass(sec)
				b.get("/session/keepalive").want(http.StatusNoContent)
				seen := s.now()
				s.pass(sec)
				polls, moved := c.first, c.moved
				var header []string
				if reconnect {
					polls, moved, header = c.again, c.movedByPoll, []string{"Last-Event-ID", "1"}
				}
				if moved {
					seen = s.now()
				}
				b.get(c.path, header...)
				s.wantInfo(session, seen, polls)
			}
		}
		b, session := s.login("Ada")
		seen := s.now()
		s.pass(sec)
		b.events("/session/events", "Last-Event-ID", "5").wantState("extended", seen+600*sec)
		s.wantInfo(session, seen, 0)
	})
	// Where a page does nothing but reconnect, the cap ends it.
	t.Run("case=140/cap", func(t *testing.T) {
		s := newSite(t, setup{policy: lapse.Policy{Idle: 60 * sec, PollCap: 300 * sec}})
		s.mux.Handle("/feed", s.manager.Require(http.HandlerFunc(whose)))
		b, _ := s.login("Ada")
		for range 11 {
			b.get("/feed", "Last-Event-ID", "1").want(http.StatusOK)
			s.advance(30 * sec)
		}
		b.get("/feed", "Last-Event-ID", "1").want(http.StatusUnauthorized)
		s.wantLen(0)
	})
}
