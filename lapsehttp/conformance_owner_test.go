package lapsehttp_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"testing"
	"weak"

	"github.com/benbjohnson/clock"
	"github.com/lapse-go/lapse"
	"github.com/lapse-go/lapse/lapsehttp"
)

func TestConformanceEndAll(t *testing.T) {
	t.Run("case=170", func(t *testing.T) {
		s := newSite(t, setup{policy: lapse.Policy{Idle: 60 * sec}, engine: lapse.Options{Remember: 100}})
		member := s.class(lapse.Policy{Name: "member", Idle: 60 * sec})
		s.handle("POST /renew", func(w http.ResponseWriter, r *http.Request) { s.manager.Renew(w, r) })
		s.handle("POST /promote", func(w http.ResponseWriter, r *http.Request) {
			if err := s.manager.Promote(w, r, member, r.FormValue("user")); err != nil {
				t.Error(err)
			}
		})
		var ada []*browser
		for range 5 {
			b, _ := s.login("Ada")
			ada = append(ada, b)
		}
		ada[1].post("/renew").want(http.StatusOK)
		ada[2].login("Ada")
		anonymous, _ := s.login("")
		anonymous.post("/promote?user=Ada").want(http.StatusOK)
		ada = append(ada, anonymous)
		eve, _ := s.login("Eve")
		nobody, _ := s.login("")
		turned, _ := s.login("Ada")
		turned.post("/promote?user=Bob").want(http.StatusOK)
		out, _ := s.login("Ada")
		out.post("/session/logout").want(http.StatusNoContent)
		s.wantLen(9)

		for _, owner := range []string{"", "ada", "Ada ", "Mallory"} {
			if n := s.manager.EndAll(owner); n != 0 {
				t.Errorf("EndAll(%q) ends %d sessions", owner, n)
			}
		}
		if n := s.manager.EndAll("Ada"); n != 6 {
			t.Errorf("EndAll ends %d sessions, want 6", n)
		}
		for i, b := range ada {
			id := b.id()
			a := b.get("/page").want(http.StatusUnauthorized)
			if o := a.object(); o["error"] != "SESSION_TIMEOUT" || o["reason"] != "expired" {
				t.Errorf("session %d: %s", i, a.body)
			}
			a.wantCleared()
			s.with(id).get("/session/keepalive").want(http.StatusUnauthorized)
		}
		for user, b := range map[string]*browser{"Eve": eve, "": nobody, "Bob": turned} {
			b.get("/page").want(http.StatusOK).wantBody(user)
		}
		if n := s.manager.EndAll("Ada"); n != 0 {
			t.Errorf("EndAll once more ends %d", n)
		}
		ada[0].login("Ada")
		ada[0].get("/page").want(http.StatusOK)
		// What the clock has ended, or is about to, is not counted.
		s.pass(60 * sec)
		if n := s.manager.EndAll("Ada") + s.manager.EndAll("Eve"); n != 0 {
			t.Errorf("EndAll ends %d sessions that had ended", n)
		}
		s.engine.Advance()
		s.wantLen(0)
		if n := s.manager.EndAll("Eve") + s.manager.EndAll("Bob"); n != 0 {
			t.Errorf("EndAll ends %d sessions that had ended", n)
		}
	})

	t.Run("case=170/without", func(t *testing.T) {
		e, err := lapse.New[lapsehttp.ID, string](lapse.Options{Manual: true})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		m, err := lapsehttp.New(e, lapsehttp.Options[string]{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Start(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil), "Ada"); err != nil {
			t.Fatal(err)
		}
		if n := m.EndAll("Ada") + m.EndAll(""); n != 0 || e.Len() != 1 {
			t.Errorf("without Owner, EndAll ends %d", n)
		}
	})

	// Nothing is left of a session, however it ended: neither its value nor an
	// entry, of which there would be ever more.
	t.Run("case=170/leak", func(t *testing.T) {
		type account struct {
			name string
			_    [1 << 10]byte
		}
		mock := clock.NewMock()
		e, err := lapse.New[lapsehttp.ID, *account](lapse.Options{Manual: true, Clock: mock, Default: lapse.Policy{Name: "p", Idle: 60 * sec}})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		class := func(name string) *lapse.Class[lapsehttp.ID, *account] {
			c, err := e.Class(lapse.Policy{Name: name, Idle: 60 * sec})
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		member := class("member")
		m, err := lapsehttp.New(e, lapsehttp.Options[*account]{Owner: func(a *account) string { return a.name }})
		if err != nil {
			t.Fatal(err)
		}
		request := func(s lapse.Session[lapsehttp.ID, *account]) *http.Request {
			r := httptest.NewRequest("POST", "/", nil)
			if key, ok := s.Key(); ok {
				r.AddCookie(&http.Cookie{Name: "__Host-session", Value: key.String()})
			}
			return r
		}
		n := 0
		round := func() (values []weak.Pointer[account]) {
			for i := range 2000 {
				n++
				a := &account{name: fmt.Sprint("user", n)}
				values = append(values, weak.Make(a))
				s, err := m.Start(httptest.NewRecorder(), httptest.NewRequest("POST", "/", nil), a)
				if err != nil {
					t.Fatal(err)
				}
				switch i % 6 {
				case 0:
					if m.EndAll(a.name) != 1 {
						t.Error("EndAll finds nothing")
					}
				case 1:
					m.End(httptest.NewRecorder(), request(s))
				case 2:
					s.Expire()
				case 3: // the clock
				case 4:
					if err := m.Renew(httptest.NewRecorder(), request(s)); err != nil {
						t.Error(err)
					}
				case 5:
					b := &account{name: a.name + "b"}
					values = append(values, weak.Make(b))
					if err := m.Promote(httptest.NewRecorder(), request(s), member, b); err != nil {
						t.Error(err)
					}
				}
			}
			mock.Add(60 * sec)
			e.Advance()
			if e.Len() != 0 {
				t.Errorf("%d sessions are left", e.Len())
			}
			return values
		}
		check := func(values []weak.Pointer[account]) {
			t.Helper()
			// What Renew remembers goes when its grace is over and somebody looks.
			s, err := m.Start(httptest.NewRecorder(), httptest.NewRequest("POST", "/", nil), &account{name: "last"})
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Renew(httptest.NewRecorder(), request(s)); err != nil {
				t.Fatal(err)
			}
			s.Expire()
			runtime.GC()
			runtime.GC()
			left := 0
			for _, v := range values {
				if v.Value() != nil {
					left++
				}
			}
			if left > 1 { // this very frame may hold the last one
				t.Errorf("%d of %d values are left", left, len(values))
			}
		}
		check(round())
		before := heap()
		for range 4 {
			check(round())
		}
		if grown := heap() - before; grown > 8000*16 {
			t.Errorf("the heap has grown by %d bytes with 8000 sessions that have ended", grown)
		}
		runtime.KeepAlive(m)
	})

	t.Run("case=170/races", func(t *testing.T) {
		s := newSite(t, setup{policy: lapse.Policy{Idle: 60 * sec}})
		s.handle("POST /renew", func(w http.ResponseWriter, r *http.Request) { s.manager.Renew(w, r) })
		var wg sync.WaitGroup
		ended := make([]int, 4)
		for i := range ended {
			wg.Go(func() {
				user := fmt.Sprint("user", i%2)
				for range 25 {
					b := s.browser()
					for _, step := range []struct {
						method, path string
					}{{"POST", "/login?user=" + user}, {"GET", "/page"}, {"POST", "/renew"}, {"GET", "/session/keepalive"}, {"POST", "/session/logout"}} {
						if step.path == "/session/logout" && i == 0 {
							continue
						}
						a, err := b.try(step.method, step.path, nil)
						if err != nil || a.status >= 500 {
							t.Errorf("%s: %v %v", step.path, a, err)
						}
					}
					ended[i] += s.manager.EndAll(user)
				}
			})
		}
		wg.Wait()
		total := 0
		for _, n := range ended {
			total += n
		}
		if total == 0 {
			t.Error("EndAll has ended nothing")
		}
		s.manager.EndAll("user0")
		s.manager.EndAll("user1")
		s.wantLen(0)
	})
}

func TestConformancePromote(t *testing.T) {
	guest := lapse.Policy{Name: "guest", Idle: 60 * sec, Lifetime: 200 * sec, PollMax: 2}
	member := lapse.Policy{Name: "member", Idle: 600 * sec, Lifetime: 1000 * sec, PollMax: 2}
	newPromotingSite := func(t *testing.T, how setup) *site {
		how.policy = guest
		s := newSite(t, how)
		c := s.class(member)
		s.handle("POST /promote", func(w http.ResponseWriter, r *http.Request) {
			if err := s.manager.Promote(w, r, c, r.FormValue("user")); err != nil {
				if !errors.Is(err, lapsehttp.ErrNoSession) {
					t.Error(err)
				}
				http.Error(w, "no session", http.StatusConflict)
				return
			}
			whose(w, r)
		})
		return s
	}

	t.Run("case=171", func(t *testing.T) {
		s := newPromotingSite(t, setup{engine: lapse.Options{Remember: 10}})
		b, old := s.login("")
		oldID := b.id()
		var end testEvent
		old.NotifyOnExpire(func(ev testEvent) { end = ev })
		old.SetIdle(30 * sec)
		s.advance(20 * sec)
		b.get("/session/keepalive").want(http.StatusNoContent)
		s.advance(5 * sec)

		a := b.post("/promote?user=Ada").want(http.StatusOK)
		a.wantBody("Ada") // already in the request that promotes
		a.wantLive(625 * sec)
		if c := a.cookie(s.idName); c == nil || c.Value == oldID || c.Value != b.id() {
			t.Fatalf("the new id is %v", c)
		}
		session := b.session()
		info, _ := session.Info()
		if session == old || info.Class != "member" || info.Started.Sub(epoch) != 25*sec || info.Seen.Sub(epoch) != 25*sec || info.Polls != 0 {
			t.Errorf("the new session is %+v", info)
		}
		if old.Alive() || end.Reason != lapse.ReasonExpired || end.Class != "guest" {
			t.Errorf("the old session: %+v", end)
		}
		// What is on its way with the old id is refused, and takes the new one
		// away no more than anything else.
		for _, path := range []string{"/page", "/session/keepalive"} {
			s.with(oldID).get(path).want(http.StatusUnauthorized).wantNoCookies()
		}
		s.wantLen(1)
		// All limits count from now.
		b.get("/session/keepalive").want(http.StatusNoContent)
		b.get("/session/keepalive").want(http.StatusNoContent)
		b.get("/page").want(http.StatusOK).wantBody("Ada")
		s.advance(500 * sec)
		s.with(oldID).get("/page").want(http.StatusUnauthorized).wantCleared()
		b.get("/page").want(http.StatusOK).wantLive(1025 * sec)
		s.advance(500 * sec)
		s.wantLen(0)
		b.get("/page").want(http.StatusUnauthorized).
			wantJSON(`{"success":false,"error":"SESSION_TIMEOUT","reason":"lifetime","endedAt":1700001025000}`)
	})

	t.Run("case=171/errors", func(t *testing.T) {
		s := newPromotingSite(t, setup{})
		for _, b := range []*browser{s.browser(), s.with("nonsense")} {
			a := b.post("/promote?user=Ada").want(http.StatusConflict)
			if c := a.cookie(s.idName); c != nil && c.Value != "" {
				t.Errorf("an id is given out: %v", c)
			}
		}
		s.wantLen(0)
		other := newSite(t, setup{})
		foreign := other.class(lapse.Policy{Name: "foreign"})
		sameName := other.class(lapse.Policy{Name: "member", Idle: 600 * sec, Lifetime: 1000 * sec, PollMax: 2})
		s.handle("POST /wrong", func(w http.ResponseWriter, r *http.Request) {
			for _, c := range []*lapse.Class[lapsehttp.ID, string]{nil, foreign, sameName} {
				if err := s.manager.Promote(w, r, c, "Ada"); err == nil {
					t.Error("a class that is nil, or of another engine, is taken")
				}
			}
			whose(w, r)
		})
		b, session := s.login("guest")
		id := b.id()
		b.post("/wrong").want(http.StatusOK).wantBody("guest")
		if b.id() != id || b.session() != session {
			t.Error("the session has changed")
		}
		s.wantLen(1)
		if _, err := lapsehttp.New(s.engine, lapsehttp.Options[string]{Class: foreign}); err == nil {
			t.Error("New takes a class of another engine")
		}
	})

	// Log-ins at once, as by a double click: one of them wins, and nothing is
	// left of the others.
	t.Run("case=171/parallel", func(t *testing.T) {
		s := newPromotingSite(t, setup{})
		for range 20 {
			b, old := s.login("")
			id := b.id()
			var results []func() *answer
			for range 8 {
				results = append(results, s.with(id).start("POST", "/promote?user=Ada", nil))
			}
			won := 0
			for _, result := range results {
				a := result()
				c := a.cookie(s.idName)
				switch a.status {
				case http.StatusOK:
					won++
					a.wantBody("Ada")
					if s.with(c.Value).session() == old {
						t.Error("the session is the old one")
					}
				case http.StatusConflict:
					if c != nil && c.Value != "" {
						t.Errorf("who lost is given an id: %v", c)
					}
				default:
					t.Errorf("%d %s", a.status, a.body)
				}
			}
			if won != 1 || old.Alive() {
				t.Errorf("%d have won, and the old session lives: %t", won, old.Alive())
			}
			s.wantLen(1)
			s.manager.EndAll("Ada")
			s.wantLen(0)
		}
	})

	// A window that listens goes on listening: nobody has logged out.
	t.Run("case=171/stream", func(t *testing.T) {
		s := newPromotingSite(t, setup{})
		b, _ := s.login("")
		es := b.events("/session/events")
		es.want("extended", `{"state":"live","serverTime":1700000000000,"expiresAt":1700000060000,"remainingMs":60000,"limit":"idle","warnMs":0,"idleMs":60000}`)
		b.post("/promote?user=Ada").want(http.StatusOK)
		es.want("extended", `{"state":"live","serverTime":1700000000000,"expiresAt":1700000600000,"remainingMs":600000,"limit":"idle","warnMs":0,"idleMs":600000}`)
		b.post("/session/logout").want(http.StatusNoContent)
		es.want("ended", `{"reason":"expired","endedAt":1700000000000}`)
		es.wantEnd()
	})

	// An engine that is full has room for who is in already.
	t.Run("case=171/full", func(t *testing.T) {
		s := newPromotingSite(t, setup{engine: lapse.Options{MaxSessions: 1}})
		b, _ := s.login("")
		b.post("/promote?user=Ada").want(http.StatusOK).wantBody("Ada")
		b.get("/page").want(http.StatusOK).wantBody("Ada")
		b.login("Eve")
		b.get("/page").want(http.StatusOK).wantBody("Eve")
		a := s.browser().post("/login?user=Bob").want(http.StatusInternalServerError)
		if len(a.cookies) != 0 {
			t.Errorf("cookies without a session: %v", a.cookies)
		}
		b.get("/page").want(http.StatusOK)
	})
}
