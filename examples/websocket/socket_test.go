package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/benbjohnson/clock"
	"github.com/coder/websocket"
	"github.com/lapse-go/lapse"
)

func TestMain(m *testing.M) {
	log.SetOutput(io.Discard)
	os.Exit(m.Run())
}

var testPolicy = lapse.Policy{Name: "test", Idle: time.Minute, PollCap: 2 * time.Minute, PollMax: 3, Lifetime: 5 * time.Minute}

// A visit is a browser that has logged in: a site of its own on a mock clock,
// served on loopback, and its session.
type visit struct {
	*testing.T
	site   *site
	clock  *clock.Mock
	server *httptest.Server
	client *http.Client
	user   session
}

// start serves a site; change may change it before.
func start(t *testing.T, change func(*lapse.Options, *site)) *visit {
	t.Helper()
	mock := clock.NewMock()
	options := lapse.Options{Default: testPolicy, Clock: mock}
	change(&options, new(site))
	site, err := newSite(options)
	if err != nil {
		t.Fatal(err)
	}
	change(&options, site)
	server := httptest.NewServer(site.handler())
	jar, _ := cookiejar.New(nil)
	client := server.Client()
	client.Jar = jar
	v := &visit{T: t, site: site, clock: mock, server: server, client: client}
	t.Cleanup(func() {
		server.Close()
		site.engine.Close() // which closes the sockets that are left
		site.sockets.Wait()
	})
	v.post("/login", url.Values{"name": {"Ada"}})
	for s := range site.engine.All() {
		v.user = s
	}
	if name, _ := v.user.Value(); name != "Ada" {
		t.Fatalf("the session is of %q, not of Ada", name)
	}
	return v
}

func plain(*lapse.Options, *site) {}

func (v *visit) post(path string, form url.Values) {
	v.Helper()
	response, err := v.client.PostForm(v.server.URL+path, form)
	if err != nil {
		v.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode >= 400 {
		v.Fatalf("POST %s: %s", path, response.Status)
	}
}

func (v *visit) dial(options websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
	options.HTTPClient = v.client
	return websocket.Dial(v.Context(), v.server.URL+"/socket", &options)
}

func (v *visit) open() *websocket.Conn {
	v.Helper()
	conn, _, err := v.dial(websocket.DialOptions{})
	if err != nil {
		v.Fatal(err)
	}
	v.Cleanup(func() { conn.CloseNow() })
	return conn
}

func (v *visit) send(conn *websocket.Conn, kind websocket.MessageType, text string) {
	v.Helper()
	if err := conn.Write(v.Context(), kind, []byte(text)); err != nil {
		v.Fatal(err)
	}
}

// say sends a message of a type, and returns the answer.
func (v *visit) say(conn *websocket.Conn, kind string) (answer reply) {
	v.Helper()
	v.send(conn, websocket.MessageText, `{"type":"`+kind+`","text":"hello"}`)
	return v.read(conn)
}

func (v *visit) read(conn *websocket.Conn) (answer reply) {
	v.Helper()
	_, data, err := conn.Read(v.Context())
	if err != nil {
		v.Fatal(err)
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		v.Fatalf("%v: %s", err, data)
	}
	return answer
}

func (v *visit) info() lapse.Info {
	v.Helper()
	info, ok := v.user.Info()
	if !ok {
		v.Fatal("the session has ended")
	}
	return info
}

func TestEnd(t *testing.T) {
	for _, tt := range []struct {
		name   string
		end    func(*visit, *websocket.Conn)
		code   websocket.StatusCode
		reason string
	}{
		{"expire", func(v *visit, _ *websocket.Conn) { v.user.Expire() }, 4005, "expired"},
		{"log-out", func(v *visit, _ *websocket.Conn) { v.post("/session/logout", nil) }, 4005, "expired"},
		{"log-in anew", func(v *visit, _ *websocket.Conn) { v.post("/login", url.Values{"name": {"Bob"}}) }, 4005, "expired"},
		{"shutdown", func(v *visit, _ *websocket.Conn) { v.site.engine.Shutdown(v.Context()) }, 4007, "shutdown"},
		{"idle", func(v *visit, _ *websocket.Conn) { v.clock.Add(time.Minute) }, 4001, "idle"},
		{"idle in spite of heartbeats", func(v *visit, conn *websocket.Conn) {
			for range 3 {
				v.clock.Add(15 * time.Second)
				v.say(conn, "heartbeat")
			}
			v.clock.Add(15 * time.Second)
		}, 4001, "idle"},
		{"lifetime", func(v *visit, conn *websocket.Conn) {
			for range 9 {
				v.clock.Add(30 * time.Second)
				v.say(conn, "say")
			}
			v.clock.Add(30 * time.Second)
		}, 4002, "lifetime"},
		{"poll cap", func(v *visit, conn *websocket.Conn) {
			for range 3 {
				v.say(conn, "refresh")
				v.clock.Add(45 * time.Second)
			}
		}, 4003, "poll cap"},
		{"a poll too many", func(v *visit, conn *websocket.Conn) {
			for range 3 {
				v.say(conn, "refresh")
			}
			v.send(conn, websocket.MessageText, `{"type":"refresh"}`)
		}, 4004, "poll max"},
	} {
		t.Run("case=141/"+tt.name, func(t *testing.T) {
			v := start(t, plain)
			conn := v.open()
			want := reply{Type: "say", Text: "hello", Activity: "touch", Limit: "idle", RemainingMS: 60_000}
			if answer := v.say(conn, "say"); answer != want {
				t.Errorf("the answer is %+v, want %+v", answer, want)
			}
			tt.end(v, conn)
			_, data, err := conn.Read(t.Context())
			end, ok := errors.AsType[websocket.CloseError](err)
			if !ok || end.Code != tt.code || end.Reason != tt.reason {
				t.Fatalf("got %q, %v; want the status %d and the reason %q", data, err, tt.code, tt.reason)
			}
		})
	}
}

// A session that is due answers no message, and the client still hears why,
// however long the hooks take to come.
func TestDue(t *testing.T) {
	t.Run("case=141", func(t *testing.T) {
		v := start(t, func(o *lapse.Options, _ *site) { o.Manual = true })
		conn := v.open()
		v.say(conn, "say")
		v.clock.Add(time.Minute)
		for kind := range activities {
			if answer, live := v.site.answer(v.user, websocket.MessageText, []byte(`{"type":"`+kind+`"}`)); live {
				t.Errorf("%s was answered with %+v", kind, answer)
			}
		}
		v.send(conn, websocket.MessageText, `{"type":"say"}`)
		v.site.engine.Advance()
		_, data, err := conn.Read(t.Context())
		if end, ok := errors.AsType[websocket.CloseError](err); !ok || end.Code != 4001 {
			t.Fatalf("got %q, %v; want the status 4001", data, err)
		}
	})
}

func TestActivities(t *testing.T) {
	t.Run("case=141", func(t *testing.T) {
		v := start(t, plain)
		before := v.info()
		v.clock.Add(time.Second)
		conn := v.open()
		if now := v.info(); now != before {
			t.Errorf("to open a socket is a peek, but %+v became %+v", before, now)
		}
		for _, tt := range []struct {
			kind       websocket.MessageType
			text, want string
			moves      bool
			polls      int
		}{
			{websocket.MessageText, `{"type":"heartbeat"}`, "heartbeat peek", false, 0},
			{websocket.MessageText, `{"type":"refresh"}`, "refresh poll", true, 1},
			{websocket.MessageText, `{"type":"heartbeat"}`, "heartbeat peek", false, 1},
			{websocket.MessageText, `{"type":"refresh"}`, "refresh poll", true, 2},
			{websocket.MessageText, `{"type":"touch"}`, "error ", false, 2},
			{websocket.MessageText, `{}`, "error ", false, 2},
			{websocket.MessageText, `[]`, "error ", false, 2},
			{websocket.MessageText, `{"type":"say"`, "error ", false, 2},
			{websocket.MessageBinary, `{"type":"say"}`, "error ", false, 2},
			{websocket.MessageText, `{"type":"say"}`, "say touch", true, 0},
		} {
			before := v.info()
			v.clock.Add(time.Second)
			v.send(conn, tt.kind, tt.text)
			answer := v.read(conn)
			if got := answer.Type + " " + answer.Activity; got != tt.want {
				t.Errorf("%s: got %q, want %q", tt.text, got, tt.want)
			}
			now := v.info()
			if moved := now.Seen.After(before.Seen); moved != tt.moves || now.Polls != tt.polls || answer.Polls != tt.polls {
				t.Errorf("%s: seen moved: %v, polls: %d, told: %d; want %v, %d", tt.text, moved, now.Polls, answer.Polls, tt.moves, tt.polls)
			}
		}
	})
}

func TestPingsArePeeks(t *testing.T) {
	t.Run("case=141", func(t *testing.T) {
		v := start(t, func(_ *lapse.Options, s *site) { s.pause, s.patience = time.Millisecond, time.Hour })
		before := v.info()
		v.clock.Add(time.Second)
		pings := make(chan bool)
		conn, _, err := v.dial(websocket.DialOptions{OnPingReceived: func(ctx context.Context, _ []byte) bool {
			select {
			case pings <- true:
			case <-t.Context().Done():
			}
			return true
		}})
		if err != nil {
			t.Fatal(err)
		}
		go conn.Read(t.Context()) // without which nobody answers pings
		for range 5 {
			<-pings
		}
		if now := v.info(); now != before {
			t.Errorf("after some pings, %+v became %+v", before, now)
		}
	})
}

func TestUpgrade(t *testing.T) {
	v := start(t, plain)
	conn, response, err := v.dial(websocket.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	for _, name := range []string{"serverTime=", "sessionExpiry="} {
		if !strings.Contains(strings.Join(response.Header["Set-Cookie"], "\n"), name) {
			t.Errorf("the upgrade has no cookie %s: %v", name, response.Header)
		}
	}
	if info := v.info(); info.Holds != 0 {
		t.Errorf("the socket holds the session %d times", info.Holds)
	}

	_, response, err = v.dial(websocket.DialOptions{HTTPHeader: http.Header{"Origin": {"https://elsewhere.example"}}})
	if err == nil || response == nil || response.StatusCode != http.StatusForbidden {
		t.Errorf("a page of another origin got %+v, %v", response, err)
	}
	v.user.Expire()
	for _, code := range []string{"SESSION_TIMEOUT", "NOT_LOGGED_IN"} {
		_, response, err = v.dial(websocket.DialOptions{})
		if err == nil || response == nil || response.StatusCode != http.StatusUnauthorized {
			t.Fatalf("want a refusal with status 401, not %+v, %v", response, err)
		}
		if body, _ := io.ReadAll(response.Body); !strings.Contains(string(body), code) {
			t.Errorf("want %s, not %s", code, body)
		}
	}
}

// A client that leaves takes its goroutines and its hook along, and the session
// stays.
func TestClientLeaves(t *testing.T) {
	for _, tt := range []struct {
		name  string
		leave func(*websocket.Conn)
	}{
		{"in order", func(conn *websocket.Conn) { conn.Close(websocket.StatusNormalClosure, "bye") }},
		{"without a word", func(conn *websocket.Conn) { conn.CloseNow() }},
		{"after nonsense", func(conn *websocket.Conn) {
			conn.Write(context.Background(), websocket.MessageText, make([]byte, largestMessage+1))
		}},
		{"silent", nil}, // it neither reads nor closes: pings find out
	} {
		t.Run("case=141/"+tt.name, func(t *testing.T) {
			v := start(t, func(_ *lapse.Options, s *site) {
				if tt.leave == nil {
					s.pause, s.patience = time.Millisecond, time.Millisecond
				}
			})
			conn := v.open()
			if tt.leave != nil {
				v.say(conn, "say")
				tt.leave(conn)
			}
			v.site.sockets.Wait()
			if left := goroutines(); left != "" {
				t.Errorf("goroutines are left:\n%s", left)
			}
			if hooks := v.hooks(); hooks != 1 {
				t.Errorf("%d hooks ran at the end of the session; want the engine's alone", hooks)
			}
		})
	}
	t.Run("case=141/not", func(t *testing.T) {
		v := start(t, plain)
		v.say(v.open(), "say")
		if left := goroutines(); left == "" {
			t.Error("no goroutines are found while a socket is open")
		}
		if hooks := v.hooks(); hooks != 2 {
			t.Errorf("%d hooks ran at the end of the session; want the engine's and the socket's", hooks)
		}
	})
}

// hooks ends the session and returns how many hooks ran for it.
func (v *visit) hooks() uint64 {
	v.Helper()
	before := v.site.engine.Stats().Hooks
	if !v.user.Expire() {
		v.Error("the session had ended before")
	}
	return v.site.engine.Stats().Hooks - before
}

// goroutines returns the stacks of goroutines that serve sockets, other than
// their handlers.
func goroutines() (found string) {
	buf := make([]byte, 1<<20)
	for _, stack := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(stack, ".(*site).ping(") || strings.Contains(stack, ".closeAtEnd(") {
			found += stack + "\n\n"
		}
	}
	return found
}
