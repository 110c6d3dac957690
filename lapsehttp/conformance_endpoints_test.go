package lapsehttp_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/lapse-go/lapse"
	"github.com/lapse-go/lapse/lapsehttp"
)

func TestConformanceKeepalive(t *testing.T) {
	t.Run("case=74", func(t *testing.T) {
		for _, method := range []string{"GET", "POST"} {
			s := newSite(t, setup{policy: lapse.Policy{Idle: 300 * sec}})
			b, session := s.login("Ada")
			for n := range 5 {
				s.advance(150 * sec)
				a := b.send(method, "/session/keepalive", nil).want(http.StatusNoContent)
				a.wantBody("")
				a.wantLive(s.now() + 300*sec)
				if c := a.cookie(s.idName); c != nil {
					t.Errorf("an id is set: %v", c)
				}
				s.wantDeadline(session, s.now()+300*sec)
				s.wantInfo(session, s.now(), n+1)
			}
			// It holds nothing.
			if info, _ := session.Info(); info.Holds != 0 {
				t.Errorf("%d holds", info.Holds)
			}
		}
	})

	t.Run("case=75", func(t *testing.T) {
		s := newSite(t, setup{
			policy: lapse.Policy{Idle: 300 * sec},
			engine: lapse.Options{Remember: 10},
			http:   lapsehttp.Options[string]{LoginURL: "/login"},
		})
		for _, method := range []string{"GET", "POST"} {
			a := s.browser().send(method, "/session/keepalive", nil).want(http.StatusUnauthorized)
			a.wantJSON(`{"success":false,"error":"NOT_LOGGED_IN","login":"/login"}`)
			if len(a.cookies) != 0 {
				t.Errorf("cookies are made: %v", a.cookies)
			}
			// It is a script's, whatever it looks like.
			a = s.browser().navigate(method, "/session/keepalive").want(http.StatusUnauthorized)
			a.wantJSON(`{"success":false,"error":"NOT_LOGGED_IN","login":"/login"}`)
		}
		s.wantLen(0)
		b, _ := s.login("Ada")
		s.advance(300 * sec)
		a := b.get("/session/keepalive").want(http.StatusUnauthorized)
		a.wantJSON(`{"success":false,"error":"SESSION_TIMEOUT","reason":"idle","endedAt":1700000300000,"login":"/login"}`)
		a.wantCleared()
		a.wantOver()
		s.wantLen(0)
	})

	t.Run("case=82", func(t *testing.T) {
		s := newSite(t, setup{})
		b, _ := s.login("Ada")
		for _, a := range []*answer{
			b.get("/session/keepalive").want(http.StatusNoContent),
			b.get("/session/keepalive", "If-None-Match", "*", "If-Modified-Since", "Mon, 01 Jan 2024 00:00:00 GMT").want(http.StatusNoContent),
			s.browser().get("/session/keepalive").want(http.StatusUnauthorized),
		} {
			a.wantUncached()
			for _, name := range []string{"ETag", "Last-Modified", "Expires"} {
				if v := a.header.Get(name); v != "" {
					t.Errorf("%s: %s would let a cache answer", name, v)
				}
			}
		}
	})
}

func TestConformanceStatus(t *testing.T) {
	t.Run("case=144", func(t *testing.T) {
		s := newSite(t, setup{policy: lapse.Policy{Idle: 900 * sec}})
		b, session := s.login("Ada")
		s.advance(100 * sec)
		for n := range 1000 {
			if n%100 == 0 {
				s.pass(ms * 10)
			}
			b.get("/session/status").want(http.StatusOK)
		}
		s.wantInfo(session, 0, 0)
		s.wantDeadline(session, 900*sec)
	})

	t.Run("case=144/shape", func(t *testing.T) {
		s := newSite(t, setup{
			policy: lapse.Policy{Idle: 900 * sec, Warn: 60 * sec},
			engine: lapse.Options{Remember: 10},
			http:   lapsehttp.Options[string]{LoginURL: "/login"},
		})
		b, session := s.login("Ada")
		s.advance(100 * sec)
		a := b.get("/session/status").want(http.StatusOK)
		a.wantJSON(`{"state":"live","serverTime":1700000100000,"expiresAt":1700000900000,"remainingMs":800000,"limit":"idle","warnMs":60000,"idleMs":900000}`)
		a.wantLive(900 * sec)

		session.SetIdle(500 * sec)
		b.get("/session/status").wantJSON(`{"state":"live","serverTime":1700000100000,"expiresAt":1700000500000,"remainingMs":400000,"limit":"idle","warnMs":60000,"idleMs":500000}`)

		capped := s.class(lapse.Policy{Name: "capped", Idle: 900 * sec, PollCap: 200 * sec})
		session.SetClass(capped)
		b.get("/session/keepalive").want(http.StatusNoContent)
		b.get("/session/status").wantJSON(`{"state":"live","serverTime":1700000100000,"expiresAt":1700000300000,"remainingMs":200000,"limit":"poll cap","warnMs":0,"idleMs":900000}`)

		session.SetClass(s.class(lapse.Policy{Name: "lifetime", Lifetime: 400 * sec, Warn: 30 * sec}))
		b.get("/session/status").wantJSON(`{"state":"live","serverTime":1700000100000,"expiresAt":1700000400000,"remainingMs":300000,"limit":"lifetime","warnMs":30000,"idleMs":0}`)

		session.SetClass(s.class(lapse.Policy{Name: "endless"}))
		a = b.get("/session/status").want(http.StatusOK)
		a.wantJSON(`{"state":"live","serverTime":1700000100000,"warnMs":0,"idleMs":0}`)

		session.Expire()
		a = b.get("/session/status").want(http.StatusOK)
		a.wantJSON(`{"state":"ended","serverTime":1700000100000,"warnMs":0,"idleMs":0,"reason":"expired","endedAt":1700000100000,"login":"/login"}`)
		a.wantOver()
		a.wantCleared()
		a = s.browser().get("/session/status").want(http.StatusOK)
		a.wantUncached()
		a.wantJSON(`{"state":"none","serverTime":1700000100000,"warnMs":0,"idleMs":0,"login":"/login"}`)
		if len(a.cookies) != 0 {
			t.Errorf("without a cookie there are %v", a.cookies)
		}
	})
}

func TestConformanceEndpoints(t *testing.T) {
	t.Run("methods", func(t *testing.T) {
		s := newSite(t, setup{policy: lapse.Policy{Idle: 300 * sec}})
		b, session := s.login("Ada")
		for _, c := range []struct {
			method, path string
			status       int
		}{
			{"GET", "/session/logout", http.StatusMethodNotAllowed},
			{"HEAD", "/session/logout", http.StatusMethodNotAllowed},
			{"DELETE", "/session/logout", http.StatusMethodNotAllowed},
			{"POST", "/session/status", http.StatusMethodNotAllowed},
			{"PUT", "/session/keepalive", http.StatusMethodNotAllowed},
			{"POST", "/session/events", http.StatusMethodNotAllowed},
			{"POST", "/session/client.js", http.StatusMethodNotAllowed},
			{"GET", "/session/", http.StatusNotFound},
			{"GET", "/session/nothing", http.StatusNotFound},
			{"GET", "/session/status/", http.StatusNotFound},
			{"GET", "/session/client.min.js", http.StatusNotFound},
		} {
			a := b.send(c.method, c.path, nil).want(c.status)
			if c.status == http.StatusMethodNotAllowed && a.header.Get("Allow") == "" {
				t.Errorf("%s %s: no Allow", c.method, c.path)
			}
		}
		if !session.Alive() {
			t.Fatal("the session has ended")
		}
		head, get := b.send("HEAD", "/session/status", nil).want(http.StatusOK), b.get("/session/status")
		if head.body != "" || head.header.Get("Content-Length") != get.header.Get("Content-Length") {
			t.Errorf("HEAD gives %v, GET %v", head.header, get.header)
		}
		for _, path := range []string{"status", "keepalive", "logout", "events", "client.js"} {
			if a := b.send("OPTIONS", "/session/"+path, nil); a.status/100 == 5 || a.status == http.StatusUnauthorized {
				t.Errorf("OPTIONS %s: %d", path, a.status)
			}
		}
		if !session.Alive() {
			t.Fatal("OPTIONS has ended the session")
		}
	})

	t.Run("prefix", func(t *testing.T) {
		s := newSite(t, setup{http: lapsehttp.Options[string]{Prefix: "/a/b/"}})
		b, session := s.login("Ada")
		b.get("/a/b/status").want(http.StatusOK)
		b.get("/a/b/keepalive").want(http.StatusNoContent)
		b.get("/session/status").want(http.StatusNotFound)
		b.post("/a/b/logout").want(http.StatusNoContent)
		if session.Alive() {
			t.Error("the session lives")
		}
		for _, prefix := range []string{"session", "/session", "session/", "//session/", "/a/../b/", "/{x}/", "/a b/", "/a?b/", "/é/", "/a#/", "/%2f/"} {
			if _, err := lapsehttp.New(s.engine, lapsehttp.Options[string]{Prefix: prefix}); err == nil || !strings.Contains(err.Error(), "Prefix") {
				t.Errorf("the prefix %q: %v", prefix, err)
			}
		}
	})

	t.Run("client", func(t *testing.T) {
		s := newSite(t, setup{})
		for _, b := range []*browser{s.browser(), s.with("nonsense")} {
			for _, name := range []string{"client.js", "dialog.js"} {
				plain := []string{"Accept-Encoding", "identity"}
				a := b.get("/session/"+name, plain...).want(http.StatusOK)
				if kind := a.header.Get("Content-Type"); !strings.HasPrefix(kind, "text/javascript") {
					t.Errorf("%s is %q", name, kind)
				}
				a.wantHeader("Cache-Control", "no-cache")
				tag := a.header.Get("ETag")
				if tag == "" || a.body == "" || a.header.Get("Content-Encoding") != "" || len(a.cookies) != 0 {
					t.Errorf("%s: %v, %d bytes", name, a.header, len(a.body))
				}
				b.get("/session/"+name, append(plain, "If-None-Match", tag)...).want(http.StatusNotModified).wantBody("")
				b.get("/session/"+name, append(plain, "If-None-Match", `"other"`)...).want(http.StatusOK)
				if head := b.send("HEAD", "/session/"+name, nil, plain...).want(http.StatusOK); head.body != "" || head.header.Get("ETag") != tag {
					t.Errorf("HEAD: %v", head.header)
				}
				// The client unpacks by itself what it has not asked for by name.
				b.get("/session/" + name).want(http.StatusOK).wantBody(a.body)
				// A packed one is another file, for caches.
				packed := b.get("/session/"+name, "Accept-Encoding", "gzip").want(http.StatusOK)
				if packed.header.Get("Content-Encoding") == "gzip" {
					r, err := gzip.NewReader(strings.NewReader(packed.body))
					if err != nil {
						t.Fatal(err)
					}
					if text, err := io.ReadAll(r); err != nil || string(text) != a.body {
						t.Errorf("unpacked it has %d bytes, want %d: %v", len(text), len(a.body), err)
					}
					if packed.header.Get("ETag") == tag || !lists(packed.header, "Vary", "Accept-Encoding") || !lists(a.header, "Vary", "Accept-Encoding") {
						t.Errorf("packed: %v", packed.header)
					}
					b.get("/session/"+name, "Accept-Encoding", "gzip", "If-None-Match", packed.header.Get("ETag")).want(http.StatusNotModified)
				}
				for _, not := range []string{"gzip;q=0", "br", "*;q=0", "xgzip", ""} {
					b.get("/session/"+name, "Accept-Encoding", not).want(http.StatusOK).wantBody(a.body)
				}
			}
		}
	})
}
