package web

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test's program be the server's process, too.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == ServeCommand {
		if err := ServeMain(os.Args[2:]); err != nil {
			panic(err)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestSites checks that each site knows whose session a cookie is, refuses
// others, and extends a session with each request.
func TestSites(t *testing.T) {
	const n = 10
	for _, site := range Sites() {
		t.Run(site.Name, func(t *testing.T) {
			handler, err := site.Open(n)
			if err != nil {
				t.Fatal(err)
			}
			get := func(cookie string) *httptest.ResponseRecorder {
				r := httptest.NewRequest("GET", "/articles/wheels", nil)
				r.Header.Set("Cookie", cookie)
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, r)
				return w
			}
			for number := range uint32(n) {
				cookie, err := site.Cookie(number)
				if err != nil {
					t.Fatal(err)
				}
				want := hello + nameOf(number)
				if site.Name == "bare" {
					want = hello + nameOf(0)
				}
				for range 2 {
					w := get(cookie)
					if w.Code != http.StatusOK || w.Body.String() != want {
						t.Fatalf("the answer to %d is %d %q, want %q", number, w.Code, w.Body, want)
					}
					if site.Name != "bare" && w.Header().Get("Set-Cookie") == "" {
						t.Errorf("nothing tells the browser of %d that its session goes on", number)
					}
				}
			}
			if site.Name == "bare" {
				return
			}
			unknown, err := site.Cookie(n + 1)
			if err != nil {
				t.Fatal(err)
			}
			if site.Name == "gorilla" {
				unknown = strings.Repeat("x", len(unknown)) // whose cookies are good if they are signed
			}
			if w := get(unknown); w.Code != http.StatusUnauthorized {
				t.Errorf("somebody unknown is answered with %d %q", w.Code, w.Body)
			}
		})
	}
	if _, err := Find("nobody"); err == nil {
		t.Error("a site that does not exist is no error")
	}
}

func TestRequests(t *testing.T) {
	for _, site := range Sites() {
		t.Run(site.Name, func(t *testing.T) {
			t.Parallel()
			v, err := Requests(context.Background(), site.Name, 20, Effort{Conns: 3, Time: 20 * time.Millisecond, Inner: 100})
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"requests_per_s", "p50_us", "p99_us", "max_us", "allocs", "inner_ns"} {
				if v[name] <= 0 {
					t.Errorf("%s is %v", name, v[name])
				}
			}
			if v["p50_us"] > v["p99_us"] || v["p99_us"] > v["max_us"] {
				t.Errorf("the quantiles are not in order: %v", v)
			}
		})
	}
	if _, err := Requests(context.Background(), "nobody", 1, Effort{Conns: 1, Inner: 1}); err == nil {
		t.Error("a site that does not exist is no error")
	}
}

func TestEventStreams(t *testing.T) {
	for _, name := range []string{"bare", "lapsehttp"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v, err := EventStreams(context.Background(), name, 50)
			if err != nil {
				t.Fatal(err)
			}
			if v["heap_B"] <= 0 || v["first_ms"] <= 0 || v["last_ms"] < v["first_ms"] {
				t.Errorf("%v", v)
			}
		})
	}
	if _, err := OpenStreams("scs", 1); err == nil {
		t.Error("streams of a site that has none are no error")
	}
}
