package lapsehttp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/benbjohnson/clock"
	"github.com/lapse-go/lapse"
	"github.com/lapse-go/lapse/lapsehttp"
)

// A site names its log-in page and the routes that its pages poll. It gets
// time-outs, the polling cap, a keep-alive, the status, the cookies for the
// page and the browser client.
func Example() {
	mock := clock.NewMock() // leave Options.Clock out for the real clock
	engine, err := lapse.New[lapsehttp.ID, string](lapse.Options{
		Clock:   mock,
		Default: lapse.Policy{Name: "user", Idle: 10 * time.Minute, PollCap: time.Hour},
	})
	if err != nil {
		panic(err)
	}
	defer engine.Close()
	sessions, err := lapsehttp.New(engine, lapsehttp.Options[string]{
		LoginURL: "/login",
		Routes:   lapsehttp.Routes{"GET /score": lapsehttp.Poll},
	})
	if err != nil {
		panic(err)
	}

	mux := http.NewServeMux()
	mux.Handle("/session/", sessions.Endpoints())
	mux.Handle("/score", sessions.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "3:2")
	})))
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		if _, err := sessions.Start(w, r, r.FormValue("user")); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	})
	site := httptest.NewTLSServer(sessions.Handler(mux))
	defer site.Close()

	browser := newBrowser(site)
	browser.send("POST", "/login?user=Ada")
	for polls := 1; ; polls++ { // nobody is there, but the page polls
		if status, body := browser.send("GET", "/score"); status != http.StatusOK {
			fmt.Println(polls, "polls:", status, body)
			break
		}
		mock.Add(5 * time.Minute)
	}
	// Output:
	// 14 polls: 401 {"success":false,"error":"SESSION_TIMEOUT","login":"/login"}
}

// A page that only wants to know asks for the status, which prolongs nothing.
func ExampleManager_Endpoints() {
	mock := clock.NewMock()
	mock.Set(time.UnixMilli(1_700_000_000_000))
	site := newExample(mock, lapse.Policy{Name: "user", Idle: 10 * time.Minute, Warn: time.Minute})
	defer site.close()

	browser := newBrowser(site.server)
	browser.send("POST", "/login?user=Ada")
	for range 3 {
		mock.Add(3 * time.Minute)
		_, body := browser.send("GET", "/session/status")
		var status struct {
			State       string
			RemainingMS int64
		}
		if err := json.Unmarshal([]byte(body), &status); err != nil {
			panic(err)
		}
		fmt.Println(status.State, time.Duration(status.RemainingMS)*time.Millisecond)
	}
	browser.send("POST", "/session/logout")
	fmt.Println(browser.send("POST", "/session/keepalive"))
	// Output:
	// live 7m0s
	// live 4m0s
	// live 1m0s
	// 401 {"success":false,"error":"NOT_LOGGED_IN"}
}

// Who visits anonymously has a short session with a basket. A log-in gives the
// visitor another id, and a longer session with other limits.
func ExampleManager_Promote() {
	type visitor struct{ name, basket string }
	engine, err := lapse.New[lapsehttp.ID, visitor](lapse.Options{Default: lapse.ShortSession})
	if err != nil {
		panic(err)
	}
	defer engine.Close()
	members, err := engine.Class(lapse.Policy{Name: "member", Idle: time.Hour, Lifetime: 24 * time.Hour})
	if err != nil {
		panic(err)
	}
	sessions, err := lapsehttp.New(engine, lapsehttp.Options[visitor]{Insecure: true})
	if err != nil {
		panic(err)
	}
	show := func(w http.ResponseWriter, r *http.Request) {
		s, _ := lapsehttp.FromContext[visitor](r.Context())
		v, _ := s.Value()
		info, _ := s.Info()
		fmt.Fprintf(w, "%s has %s and is a %s", v.name, v.basket, info.Class)
	}

	mux := http.NewServeMux()
	mux.HandleFunc("POST /basket", func(w http.ResponseWriter, r *http.Request) {
		sessions.Start(w, r, visitor{"somebody", r.FormValue("what")})
	})
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		s, _ := lapsehttp.FromContext[visitor](r.Context())
		v, _ := s.Value()
		v.name = r.FormValue("user")
		if err := sessions.Promote(w, r, members, v); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		show(w, r)
	})
	site := httptest.NewServer(sessions.Handler(mux))
	defer site.Close()

	browser := newBrowser(site)
	browser.send("POST", "/basket?what=apples")
	fmt.Println(browser.send("POST", "/login?user=Ada"))
	fmt.Println(engine.Len(), "session")
	// Output:
	// 200 Ada has apples and is a member
	// 1 session
}

// After a change of the password all other devices are logged out.
func ExampleManager_EndAll() {
	site := newExample(clock.NewMock(), lapse.DefaultSession)
	defer site.close()
	phone, laptop := newBrowser(site.server), newBrowser(site.server)
	phone.send("POST", "/login?user=Ada")
	laptop.send("POST", "/login?user=Ada")

	fmt.Println(site.sessions.EndAll("Ada"), "sessions")
	fmt.Println(phone.send("GET", "/account"))
	// Output:
	// 2 sessions
	// 401 {"success":false,"error":"SESSION_TIMEOUT"}
}

// A log-in returns to where the browser was sent away from, and nowhere else.
func ExampleReturnPath() {
	for _, query := range []string{"next=%2Faccount%3Ftab%3D2", "next=%2F%2Fevil.example", "next=https:%2F%2Fevil.example", ""} {
		r := httptest.NewRequest("GET", "/login?"+query, nil)
		fmt.Println(lapsehttp.ReturnPath(r))
	}
	// Output:
	// /account?tab=2
	// /
	// /
	// /
}

// Success and Failure answer scripts in the form of Require's refusals.
func ExampleFailure() {
	balance := func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("account") != "1" {
			lapsehttp.Failure(w, http.StatusNotFound, "NO_SUCH_ACCOUNT")
			return
		}
		lapsehttp.Success(w, "100.00")
	}
	for _, account := range []string{"1", "2"} {
		w := httptest.NewRecorder()
		balance(w, httptest.NewRequest("GET", "/?account="+account, nil))
		fmt.Println(w.Code, w.Body)
	}
	// Output:
	// 200 {"success":"100.00","error":false}
	// 404 {"success":false,"error":"NO_SUCH_ACCOUNT"}
}

// An example is a site at which anybody can log in.
type example struct {
	engine   *lapse.Engine[lapsehttp.ID, string]
	sessions *lapsehttp.Manager[string]
	server   *httptest.Server
}

func newExample(c clock.Clock, policy lapse.Policy) *example {
	engine, err := lapse.New[lapsehttp.ID, string](lapse.Options{Clock: c, Default: policy})
	if err != nil {
		panic(err)
	}
	sessions, err := lapsehttp.New(engine, lapsehttp.Options[string]{Insecure: true, Owner: func(user string) string { return user }})
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/session/", sessions.Endpoints())
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		sessions.Start(w, r, r.FormValue("user"))
	})
	mux.Handle("/account", sessions.Require(http.NotFoundHandler()))
	return &example{engine, sessions, httptest.NewServer(sessions.Handler(mux))}
}

func (e *example) close() {
	e.server.Close()
	e.engine.Close()
}

// An exampleBrowser keeps cookies.
type exampleBrowser struct {
	client *http.Client
	url    string
}

func newBrowser(site *httptest.Server) exampleBrowser {
	client := *site.Client()
	client.Jar, _ = cookiejar.New(nil)
	return exampleBrowser{&client, site.URL}
}

func (b exampleBrowser) send(method, path string) (status int, body string) {
	r, err := http.NewRequestWithContext(context.Background(), method, b.url+path, nil)
	if err != nil {
		panic(err)
	}
	res, err := b.client.Do(r)
	if err != nil {
		panic(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		panic(err)
	}
	return res.StatusCode, strings.TrimSpace(string(text))
}
