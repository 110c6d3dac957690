// Without net/http's limit to the number of cookies, which lapsehttp has not,
// FuzzCarried can compare the two.
//go:debug httpcookiemaxnum=0

package lapsehttp

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lapse-go/lapse"
)

func TestCookieTemplate(t *testing.T) {
	now := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	id := ID{0xaa}
	for _, tt := range []struct {
		name     string
		template http.Cookie
		insecure bool
		set      string
		clear    string
		page     string
	}{
		{
			name:  "zero",
			set:   "__Host-session=" + id.String() + "; Path=/; HttpOnly; Secure; SameSite=Lax",
			clear: "__Host-session=; Path=/; Expires=Sun, 04 May 2025 03:02:01 GMT; Max-Age=0; HttpOnly; Secure; SameSite=Lax",
			page:  "; Path=/; Secure; SameSite=Lax",
		},
		{
			name:     "insecure",
			insecure: true,
			set:      "session=" + id.String() + "; Path=/; HttpOnly; SameSite=Lax",
			clear:    "session=; Path=/; Expires=Sun, 04 May 2025 03:02:01 GMT; Max-Age=0; HttpOnly; SameSite=Lax",
			page:     "; Path=/; SameSite=Lax",
		},
		{
			name:     "persistent",
			template: http.Cookie{Name: "sid", MaxAge: 3600},
			set:      "sid=" + id.String() + "; Path=/; Expires=Mon, 04 May 2026 04:02:01 GMT; Max-Age=3600; HttpOnly; Secure; SameSite=Lax",
			clear:    "sid=; Path=/; Expires=Sun, 04 May 2025 03:02:01 GMT; Max-Age=0; HttpOnly; Secure; SameSite=Lax",
			page:     "; Path=/; Secure; SameSite=Lax",
		},
		{
			name:     "own",
			template: http.Cookie{Name: "__Secure-sid", Path: "/app", Domain: "example.com", SameSite: http.SameSiteStrictMode, Partitioned: true},
			set:      "__Secure-sid=" + id.String() + "; Path=/app; Domain=example.com; HttpOnly; Secure; SameSite=Strict; Partitioned",
			clear:    "__Secure-sid=; Path=/app; Domain=example.com; Expires=Sun, 04 May 2025 03:02:01 GMT; Max-Age=0; HttpOnly; Secure; SameSite=Strict; Partitioned",
			page:     "; Path=/; Domain=example.com; Secure; SameSite=Lax",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := newCookies(tt.template, tt.insecure)
			if err != nil {
				t.Fatal(err)
			}
			if got := c.id(id, now); got != tt.set {
				t.Errorf("set\n%s, want\n%s", got, tt.set)
			}
			if got := c.clearID(now); got != tt.clear {
				t.Errorf("clear\n%s, want\n%s", got, tt.clear)
			}
			if c.attrs != tt.page {
				t.Errorf("for the page\n%s, want\n%s", c.attrs, tt.page)
			}
		})
	}
}

func TestCookieTemplateErrors(t *testing.T) {
	for _, tt := range []struct {
		template http.Cookie
		insecure bool
		want     string // in the error
	}{
		{template: http.Cookie{Value: "x"}, want: "Value"},
		{template: http.Cookie{Expires: time.Unix(1, 0)}, want: "Expires"},
		{template: http.Cookie{MaxAge: -1}, want: "MaxAge"},
		{template: http.Cookie{Raw: "x"}, want: "Raw"},
		{template: http.Cookie{Name: "a b"}, want: "Name"},
		{template: http.Cookie{Name: "a;b"}, want: "Name"},
		{template: http.Cookie{Name: "serverTime"}, want: "Name"},
		{template: http.Cookie{Name: "sessionExpiry"}, want: "Name"},
		{template: http.Cookie{Name: "sid", Path: "/a;b"}, want: "Path"},
		{template: http.Cookie{Name: "sid", Domain: "a b"}, want: "Domain"},
		{template: http.Cookie{Domain: "example.com"}, want: "__Host-session"},
		{template: http.Cookie{Name: "__Host-sid", Domain: "example.com"}, want: "Domain"},
		{template: http.Cookie{Name: "__Host-sid", Path: "/app"}, want: "Path"},
		{template: http.Cookie{Name: "__host-sid", Path: "/app"}, want: "Path"},
		{template: http.Cookie{Name: "__Host-sid"}, insecure: true, want: "Insecure"},
		{template: http.Cookie{Name: "__Secure-sid"}, insecure: true, want: "Insecure"},
		{template: http.Cookie{Secure: true}, insecure: true, want: "Insecure"},
		{template: http.Cookie{SameSite: http.SameSiteNoneMode}, insecure: true, want: "SameSite"},
		{template: http.Cookie{Partitioned: true}, insecure: true, want: "Partitioned"},
		{template: http.Cookie{SameSite: 9}, want: "SameSite"},
		{template: http.Cookie{SameSite: -1}, want: "SameSite"},
	} {
		e, err := lapse.New[ID, string](lapse.Options{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = New(e, Options[string]{Cookie: tt.template, Insecure: tt.insecure})
		names(t, err, "Options.Cookie", tt.want)
		e.Close()
	}
}

// TestPersistent sends the id again with each Touch and Poll, so that the
// browser keeps it as long as the session lives.
func TestPersistent(t *testing.T) {
	routes := Routes{"/poll": Poll, "/peek": Peek}
	inBubble(t, lapse.Options{}, Options[string]{Cookie: http.Cookie{MaxAge: 900}, Routes: routes}, func(t *testing.T, m *testManager) {
		_, id := start(t, m, "Ada")
		for path, sends := range map[string]bool{"/": true, "/poll": true, "/session/keepalive": true, "/peek": false, "/session/status": false} {
			pass(time.Minute)
			w := httptest.NewRecorder()
			m.Handler(m.Endpoints()).ServeHTTP(w, request("GET", path, id))
			c := cookie(w, "session")
			if (c != nil) != sends {
				t.Errorf("%s: %v", path, w.Header())
			} else if sends && (c.Value != id.String() || c.MaxAge != 900 || !c.Expires.Equal(time.Now().Add(15*time.Minute))) {
				t.Errorf("%s: %v", path, c)
			}
		}
	})
}

func TestCarried(t *testing.T) {
	a, b, c := ID{1}, ID{2}, ID{3}
	for _, tt := range []struct {
		lines string // separated by |
		ids   []ID
		some  bool
	}{
		{lines: ""},
		{lines: "other=" + a.String()},
		{lines: "xsession=" + a.String()},
		{lines: "session"},
		{lines: "Session=" + a.String()},
		{lines: "session=", some: true},
		{lines: "session=abc", some: true},
		{lines: "session=\"" + a.String() + "\"", some: true},
		{lines: "session=" + a.String() + "00", some: true},
		{lines: "session=" + a.String(), ids: []ID{a}, some: true},
		{lines: "x=y;session=" + a.String() + " ; z", ids: []ID{a}, some: true},
		{lines: "x=y|\tsession=" + a.String(), ids: []ID{a}, some: true},
		{lines: "a=b;\nsession=" + a.String() + "; session=x|session\x05\xff\xff\x05", ids: []ID{a}, some: true},
		{lines: "session \t=" + a.String() + "\r\n", ids: []ID{a}, some: true},
		{lines: "session= " + a.String(), some: true},
		{lines: "session\v=" + a.String()},
		{lines: "session=" + a.String() + "=", some: true},
		{lines: strings.Repeat("a=b; ", 3000) + "session=" + a.String(), ids: []ID{a}, some: true},
		{lines: "session=bad; session=" + a.String(), ids: []ID{a}, some: true},
		{lines: "session=" + a.String() + "; session=" + a.String(), ids: []ID{a}, some: true},
		{lines: "session=" + a.String() + "; session=" + b.String(), ids: []ID{a, b}, some: true},
		{lines: "session=" + a.String() + "; session=" + b.String() + "|session=" + c.String(), some: true},
		{lines: "session=" + a.String() + "; session=" + b.String() + "|session=" + a.String(), ids: []ID{a, b}, some: true},
	} {
		var got carried
		got.read(strings.Split(tt.lines, "|"), "session")
		if !slices.Equal(got.known(), tt.ids) || got.some != tt.some {
			t.Errorf("%q: %v, %t", tt.lines, got.known(), got.some)
		}
	}
	lines := []string{"a=b; session=" + a.String(), "session=" + b.String() + "; session=bad; session=" + c.String()}
	if allocs := testing.AllocsPerRun(100, func() { new(carried).read(lines, "session") }); allocs > 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// FuzzCarried compares the reader with that of net/http.
func FuzzCarried(f *testing.F) {
	id := ID{7}.String()
	f.Add("session="+id, "")
	f.Add("a=b; session="+id+"; session=x", "session=\""+id+"\"")
	f.Add(";;=;session;session==;", "\t session="+id+" ;")
	f.Add("a=b;\nsession="+id+"; session=x", "session\x05\xff\xff\x05000000000000000000000000\"")
	f.Add("session \t="+id+"\r\n", "session= "+id)
	f.Add(strings.Repeat(";", 3000), "session="+id)
	f.Fuzz(func(t *testing.T, one, two string) {
		lines := []string{one, two}
		var got carried
		got.read(lines, "session")
		r := http.Request{Header: http.Header{"Cookie": lines}}
		var want []ID
		for _, c := range r.CookiesNamed("session") {
			if id, err := ParseID(c.Value); err == nil && !c.Quoted && !slices.Contains(want, id) {
				want = append(want, id)
			}
		}
		if len(want) > 2 {
			want = nil
		}
		if !slices.Equal(got.known(), want) {
			t.Errorf("%q: %v, net/http says %v", lines, got.known(), want)
		}
		if len(want) > 0 && !got.some {
			t.Errorf("%q: ids, but no cookie", lines)
		}
	})
}
