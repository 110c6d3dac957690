package lapsehttp_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lapse-go/lapse"
	"github.com/lapse-go/lapse/lapsehttp"
)

// newActivitySite makes a site with a page of each activity, by route.
func newActivitySite(t *testing.T, p lapse.Policy) *site {
	t.Helper()
	s := newSite(t, setup{
		policy: p,
		engine: lapse.Options{Remember: 100},
		http: lapsehttp.Options[string]{Routes: lapsehttp.Routes{
			"/touch": lapsehttp.Touch, "/poll": lapsehttp.Poll, "/peek": lapsehttp.Peek,
		}},
	})
	for _, path := range []string{"/touch", "/poll", "/peek"} {
		s.mux.Handle(path, s.manager.Require(http.HandlerFunc(whose)))
	}
	return s
}

func TestConformancePollingCap(t *testing.T) {
	t.Run("case=51", func(t *testing.T) {
		s := newActivitySite(t, lapse.Policy{Idle: 300 * sec, PollCap: 60 * sec})
		b, _ := s.login("Ada")
		for range 7 {
			b.get("/poll").want(http.StatusOK)
			s.pass(10 * sec)
		}
		ran := false
		s.handle("/poll/ran", func(http.ResponseWriter, *http.Request) { ran = true })
		a := b.get("/poll/ran", "X-Session-Activity", "poll").want(http.StatusUnauthorized)
		if ran {
			t.Error("the handler ran for a poll over the cap")
		}
		a.wantCleared()
		a.wantOver()
		a.wantHeader("WWW-Authenticate", "Session")
		a.wantJSON(`{"success":false,"error":"SESSION_TIMEOUT","reason":"poll cap","endedAt":1700000070000}`)
		s.wantLen(0)
	})
	t.Run("case=51/most", func(t *testing.T) {
		s := newActivitySite(t, lapse.Policy{Idle: 300 * sec, PollMax: 3})
		b, _ := s.login("Ada")
		for range 3 {
			b.get("/poll").want(http.StatusOK)
		}
		a := b.get("/poll").want(http.StatusUnauthorized)
		a.wantCleared()
		a.wantOver()
		a.wantJSON(`{"success":false,"error":"SESSION_TIMEOUT","reason":"poll max","endedAt":1700000000000}`)
		s.wantLen(0)
	})

	// Whatever the routes around a polling route say, its polls are no touches.
	t.Run("case=55", func(t *testing.T) {
		for path, routes := range map[string]lapsehttp.Routes{
			"/score":         {"/": lapsehttp.Touch, "/score": lapsehttp.Poll},
			"/app/score":     {"/": lapsehttp.Touch, "/app/": lapsehttp.Touch, "GET /app/score": lapsehttp.Poll},
			"/app/x/score":   {"/app/": lapsehttp.Peek, "/app/{team}/score": lapsehttp.Poll},
			"/app/x/y/score": {"/": lapsehttp.Peek, "/app/{rest...}": lapsehttp.Poll},
			"/live/":         {"/{$}": lapsehttp.Touch, "/live/": lapsehttp.Poll},
			"/files/a%2Fb":   {"/files/": lapsehttp.Touch, "/files/{name}": lapsehttp.Poll},
			"/%73core":       {"/": lapsehttp.Touch, "/score": lapsehttp.Poll},
			"/caf%C3%A9":     {"/café": lapsehttp.Poll},
		} {
			t.Run(strings.ReplaceAll(path[1:], "/", "_"), func(t *testing.T) {
				s := newSite(t, setup{
					policy: lapse.Policy{Idle: 60 * sec, PollCap: 100 * sec},
					http:   lapsehttp.Options[string]{Routes: routes},
				})
				s.handle("/", whose)
				b, session := s.login("Ada")
				for n := range 11 {
					b.get(path).want(http.StatusOK).wantBody("Ada")
					s.wantInfo(session, s.now(), n+1)
					s.pass(10 * sec)
				}
				b.get(path).want(http.StatusUnauthorized)
			})
		}
	})

	t.Run("case=81", func(t *testing.T) {
		s := newActivitySite(t, lapse.Policy{Idle: 60 * sec, PollMax: 10})
		b, session := s.login("Ada")
		for n := range 10 {
			if n%2 == 0 {
				b.get("/poll").want(http.StatusOK)
			} else {
				b.get("/session/keepalive").want(http.StatusNoContent)
			}
			s.wantInfo(session, s.now(), n+1)
			s.pass(sec)
		}
		b.get("/touch").want(http.StatusOK)
		s.wantInfo(session, s.now(), 0)
		for range 5 {
			b.post("/session/keepalive").want(http.StatusNoContent)
			b.get("/poll").want(http.StatusOK)
		}
		s.wantInfo(session, s.now(), 10)
		b.get("/session/keepalive").want(http.StatusUnauthorized)
		s.wantLen(0)
	})
}

func TestConformanceRoutes(t *testing.T) {
	// Routes that no request would match are refused, by name.
	t.Run("case=56", func(t *testing.T) {
		for _, pattern := range []string{
			"score", "GET score", "GET\tscore", "score/live", "static/", "POST static/", "score/{id}", "localhost",
			"", " ", "GET", "GET ", "get /score", "Get /score", "/a/{x}/{x}", "/a{x}", "/{", "/{x", "/{x...}/y", "/{$}/y",
			"{x}/y", "http://example.com/", "/score?x=1", "/score#top", "//score", "/a//b", "/a/./b", "/a/../b",
		} {
			t.Run("", func(t *testing.T) {
				e, err := lapse.New[lapsehttp.ID, string](lapse.Options{Manual: true})
				if err != nil {
					t.Fatal(err)
				}
				defer e.Close()
				_, err = lapsehttp.New(e, lapsehttp.Options[string]{Routes: lapsehttp.Routes{pattern: lapsehttp.Poll}})
				if err == nil {
					t.Fatalf("the pattern %q is taken", pattern)
				}
				if !strings.Contains(err.Error(), fmt.Sprintf("%q", pattern)) || !strings.Contains(err.Error(), "Routes") {
					t.Errorf("the error for %q does not name it: %v", pattern, err)
				}
			})
		}
	})
	t.Run("case=56/conflict", func(t *testing.T) {
		e, err := lapse.New[lapsehttp.ID, string](lapse.Options{Manual: true})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		for _, routes := range []lapsehttp.Routes{
			{"/{x}/b": lapsehttp.Poll, "/a/{y}": lapsehttp.Peek},
			{"/score": lapsehttp.Peek + 1},
			{"/score": 255},
		} {
			if _, err := lapsehttp.New(e, lapsehttp.Options[string]{Routes: routes}); err == nil || !strings.Contains(err.Error(), "Routes") {
				t.Errorf("%v: %v", routes, err)
			}
		}
	})
	// A route counts for its method and host only; HEAD goes with GET.
	t.Run("case=56/matched", func(t *testing.T) {
		s := newSite(t, setup{
			policy: lapse.Policy{Idle: 60 * sec},
			http: lapsehttp.Options[string]{Routes: lapsehttp.Routes{
				"GET /score": lapsehttp.Poll, "127.0.0.1/here": lapsehttp.Poll, "example.com/there": lapsehttp.Poll, "/end/{$}": lapsehttp.Poll,
			}},
		})
		s.handle("/", whose)
		b, session := s.login("Ada")
		for _, c := range []struct {
			method, path string
			poll         bool
		}{
			{"GET", "/score", true},
			{"HEAD", "/score", true},
			{"POST", "/score", false},
			{"GET", "/score/", false},
			{"GET", "/scores", false},
			{"GET", "/score?since=5", true},
			{"GET", "/here", true},
			{"GET", "/there", false},
			{"GET", "/end/", true},
			{"GET", "/end/x", false},
		} {
			b.get("/free").want(http.StatusOK) // ends the run
			b.send(c.method, c.path, nil).want(http.StatusOK)
			polls := 0
			if c.poll {
				polls = 1
			}
			if info, _ := session.Info(); info.Polls != polls {
				t.Errorf("%s %s: %d polls, want %d", c.method, c.path, info.Polls, polls)
			}
		}
	})

	t.Run("case=61", func(t *testing.T) {
		s := newActivitySite(t, lapse.Policy{Idle: 60 * sec})
		b, session := s.login("Ada")
		for range 11 {
			s.advance(5 * sec)
			b.get("/peek").want(http.StatusOK).wantLive(60 * sec)
			s.wantInfo(session, 0, 0)
		}
		s.advance(5 * sec)
		b.get("/peek").want(http.StatusUnauthorized).
			wantJSON(`{"success":false,"error":"SESSION_TIMEOUT","reason":"idle","endedAt":1700000060000}`)
	})

	// What does not extend leaves the end where it is, and tells the time.
	t.Run("case=111", func(t *testing.T) {
		s := newActivitySite(t, lapse.Policy{Idle: 60 * sec, PollCap: 60 * sec})
		b, _ := s.login("Ada")
		for range 5 {
			s.advance(sec)
			b.get("/peek").want(http.StatusOK).wantLive(60 * sec)
			b.get("/touch", "X-Session-Activity", "peek").want(http.StatusOK).wantLive(60 * sec)
			b.get("/session/status").want(http.StatusOK).wantLive(60 * sec)
		}
		b.get("/poll").want(http.StatusOK).wantLive(65 * sec)
		for range 5 {
			s.advance(10 * sec)
			b.get("/poll").want(http.StatusOK).wantLive(65 * sec) // the cap does not move
			b.get("/session/keepalive").want(http.StatusNoContent).wantLive(65 * sec)
		}
	})

	t.Run("case=142", func(t *testing.T) {
		// What the activity did shows in the stamp and the run of polls, when
		// one poll came at 1 s and the request comes at 2 s.
		type effect struct {
			seen  time.Duration
			polls int
		}
		touched, polled, peeked := effect{2 * sec, 0}, effect{2 * sec, 2}, effect{sec, 1}
		least := func(route string, header effect) effect {
			all := []effect{touched, polled, peeked}
			byRoute := map[string]int{"/touch": 0, "/poll": 1, "/peek": 2}[route]
			for i, e := range all {
				if e == header {
					return all[max(i, byRoute)]
				}
			}
			panic("unreachable")
		}
		s := newActivitySite(t, lapse.Policy{Idle: 60 * sec})
		for _, h := range []struct {
			header []string
			means  effect
		}{
			{nil, touched},
			{[]string{"X-Session-Activity", "poll"}, polled},
			{[]string{"X-Session-Activity", "peek"}, peeked},
			{[]string{"x-session-activity", "Poll"}, polled},
			{[]string{"X-Session-Activity", "touch"}, touched},
			{[]string{"X-Session-Activity", "TOUCH"}, touched},
			{[]string{"X-Session-Activity", "0"}, touched},
			{[]string{"X-Session-Activity", "-1"}, touched},
			{[]string{"X-Session-Activity", ""}, touched},
			{[]string{"X-Session-Activity", strings.Repeat("touch,", 10_000)}, touched},
			{[]string{"X-Session-Activity", "touch", "X-Session-Activity", "peek"}, peeked},
			{[]string{"X-Session-Activity", "peek", "X-Session-Activity", "touch"}, peeked},
			{[]string{"X-Session-Activity", "peek", "X-Session-Activity", "poll"}, peeked},
			{[]string{"X-Session-Activity", "poll, peek"}, peeked},
			{[]string{"X-Session-Activity", "touch,\tpoll"}, polled},
			{[]string{"Last-Event-ID", "7"}, polled},
			{[]string{"Last-Event-ID", "7", "X-Session-Activity", "touch"}, polled},
			{[]string{"Last-Event-ID", "7", "X-Session-Activity", "peek"}, peeked},
			{[]string{"Cookie", "X-Session-Activity=touch"}, touched},
		} {
			for _, route := range []string{"/touch", "/poll", "/peek"} {
				start := s.now()
				b, session := s.login("Ada")
				s.pass(sec)
				b.get("/session/keepalive").want(http.StatusNoContent)
				s.pass(sec)
				b.get(route, h.header...).want(http.StatusOK)
				info, _ := session.Info()
				got := effect{info.Seen.Sub(epoch) - start, info.Polls}
				if want := least(route, h.means); got != want {
					t.Errorf("%s with %.60q: %+v, want %+v", route, h.header, got, want)
				}
			}
		}
		// No header makes a touch of what never is one.
		for _, path := range []string{"/session/status", "/session/keepalive"} {
			start := s.now()
			b, session := s.login("Ada")
			s.pass(sec)
			b.get("/session/keepalive").want(http.StatusNoContent)
			s.pass(sec)
			b.get(path, "X-Session-Activity", "touch")
			want := peeked
			if path == "/session/keepalive" {
				want = polled
			}
			s.wantInfo(session, start+want.seen, want.polls)
		}
	})
}
