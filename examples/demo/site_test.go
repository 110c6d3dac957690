package main

import (
	"io/fs"
	"log"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/lapse-go/lapse"
)

func TestWithoutASession(t *testing.T) {
	inBubble(t, func(w *world) {
		b := w.browser()
		for _, path := range []string{"/", "/editor", "/score", "/watch"} {
			got := b.send(navigation("GET", path))
			want := "/login?next=" + url.QueryEscape(path)
			if got.Code != http.StatusSeeOther || got.Header().Get("Location") != want {
				t.Errorf("GET %s: %d to %q, want a redirect to %q", path, got.Code, got.Header().Get("Location"), want)
			}
		}
		for _, r := range []*http.Request{
			request("GET", "/look"), request("POST", "/touch"), request("POST", "/poll"),
			request("GET", "/score/live"), request("POST", "/editor", "text", "x"), request("POST", "/everywhere"),
		} {
			got := b.send(r)
			if answer := decode[struct{ Error string }](t, got); got.Code != http.StatusUnauthorized || answer.Error != "NOT_LOGGED_IN" {
				t.Errorf("%s %s: %d %s", r.Method, r.URL, got.Code, got.Body)
			}
		}
		b.visit(http.StatusOK, "/login")
		b.visit(http.StatusOK, "/operator")
		b.visit(http.StatusNotFound, "/nowhere")
		b.want(http.StatusMethodNotAllowed, "GET", "/touch")
		b.want(http.StatusMethodNotAllowed, "DELETE", "/editor")
		if n := w.site.engine.Len(); n != 0 {
			t.Errorf("looking around started %d sessions", n)
		}
	})
}

func TestLogin(t *testing.T) {
	inBubble(t, func(w *world) {
		b := w.login("  Ada ")
		if page := b.visit(http.StatusOK, "/"); !strings.Contains(page, "Hello Ada.") {
			t.Errorf("the page does not greet:\n%s", page)
		}
		first := b.cookies["session"].Value
		got := b.send(navigation("POST", "/login", "name", "Bob", "next", "/score"))
		if got.Header().Get("Location") != "/score" {
			t.Errorf("after the log-in to %q, want /score", got.Header().Get("Location"))
		}
		if w.site.engine.Len() != 1 || b.cookies["session"].Value == first {
			t.Errorf("after the second log-in: %d sessions, want one, with another id", w.site.engine.Len())
		}
		for _, next := range []string{"//evil.example/", "https://evil.example/", `/\evil.example`, ""} {
			got := b.send(navigation("POST", "/login", "name", "Bob", "next", next))
			if to := got.Header().Get("Location"); got.Code != http.StatusSeeOther || to != "/" {
				t.Errorf("next %q leads to %q with status %d", next, to, got.Code)
			}
		}
	})
}

func TestLoginRefusesNames(t *testing.T) {
	tests := []struct{ name, text, says string }{
		{"empty", "", "Please type a name"},
		{"blank", " \t ", "Please type a name"},
		{"long", strings.Repeat("ä", mostName+1), "41 characters"},
		{"control", "A\x1b[31mda", "cannot be shown"},
		{"line", "Ada\nBob", "cannot be shown"},
		{"no text", "A\xffda", "cannot be shown"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				got := w.browser().send(navigation("POST", "/login", "name", tt.text, "next", "/score"))
				body := got.Body.String()
				if got.Code != http.StatusUnprocessableEntity || !strings.Contains(body, tt.says) {
					t.Errorf("%d, want 422 and %q in\n%s", got.Code, tt.says, body)
				}
				if !strings.Contains(body, `name="next" value="/score"`) {
					t.Error("the page has forgotten where to go on")
				}
				if w.site.engine.Len() != 0 {
					t.Error("there is a session")
				}
			})
		})
	}
}

func TestNamesAreEscaped(t *testing.T) {
	inBubble(t, func(w *world) {
		b := w.login(`<i>"Ada"</i>`)
		for _, path := range []string{"/", "/score", "/editor", "/watch", "/operator", "/login"} {
			if page := b.visit(http.StatusOK, path); strings.Contains(page, "<i>\"") || !strings.Contains(page, "&lt;i&gt;") {
				t.Errorf("%s does not escape the name:\n%s", path, page)
			}
		}
	})
}

func TestBodiesAreBounded(t *testing.T) {
	inBubble(t, func(w *world) {
		b := w.login("Ada")
		long := strings.Repeat("x", mostBody)
		for _, path := range []string{"/login", "/editor", "/operator/expire", "/operator/everywhere", "/operator/policy", "/operator/crowd"} {
			b.want(http.StatusRequestEntityTooLarge, "POST", path, "name", long)
			r := request("POST", path)
			r.Header.Set("Content-Type", "multipart/form-data; boundary")
			if got := b.send(r); got.Code != http.StatusBadRequest {
				t.Errorf("POST %s with a broken content type: %d %s, want 400", path, got.Code, got.Body)
			}
		}
	})
}

func TestThreeKindsOfActivity(t *testing.T) {
	inBubble(t, func(w *world) {
		b := w.login("Ada")
		check := func(when string, l look, left, capLeft int64, polls int) {
			t.Helper()
			if l.Left != left || l.Now != time.Now().UnixMilli() || l.Limit != "idle" || l.Idle != (gauge{left, 20_000}) || l.Cap != (gauge{capLeft, 40_000}) || l.Polls != polls {
				t.Errorf("%s: %+v, want %d ms left, %d ms of the cap, %d polls", when, l, left, capLeft, polls)
			}
		}
		pass(5 * time.Second)
		check("after 5 s", b.look("GET", "/look"), 15_000, 40_000, 0)
		check("after a peek", b.look("GET", "/look"), 15_000, 40_000, 0)
		check("after a poll", b.look("POST", "/poll"), 20_000, 40_000, 1)
		pass(5 * time.Second)
		b.want(http.StatusNoContent, "POST", "/session/keepalive")
		check("after a keep-alive", b.look("GET", "/look"), 20_000, 35_000, 2)
		pass(5 * time.Second)
		check("5 s later", b.look("GET", "/look"), 15_000, 30_000, 2)
		check("after a touch", b.look("POST", "/touch"), 20_000, 40_000, 0)
		pass(5 * time.Second)
		b.visit(http.StatusOK, "/watch")
		check("after the page that only looks", b.look("GET", "/look"), 15_000, 40_000, 0)
		b.visit(http.StatusOK, "/score")
		if l := b.look("GET", "/look"); l.Left != 20_000 || l.Life != (gauge{160_000, 180_000}) || l.Warn != 10_000 {
			t.Errorf("after the score page: %+v", l)
		}
	})
}

func TestLooksKeepNothingAlive(t *testing.T) {
	inBubble(t, func(w *world) {
		b := w.login("Ada")
		for range 19 {
			pass(time.Second)
			b.visit(http.StatusOK, "/watch")
			b.visit(http.StatusOK, "/operator")
			b.want(http.StatusOK, "GET", "/operator/state")
			b.look("GET", "/look")
		}
		pass(time.Second)
		answer := decode[struct{ Error, Reason, Login string }](t, b.want(http.StatusUnauthorized, "GET", "/look"))
		if answer.Error != "SESSION_TIMEOUT" || answer.Reason != "idle" || answer.Login != "/login" {
			t.Errorf("after 20 s of looks: %+v", answer)
		}
	})
}

func TestScoreIsCapped(t *testing.T) {
	inBubble(t, func(w *world) {
		b := w.login("Ada")
		for range 21 { // at 0 s to 40 s: a poll at the cap still counts
			b.want(http.StatusOK, "GET", "/score/live")
			pass(2 * time.Second)
		}
		answer := decode[struct{ Error, Reason string }](t, b.want(http.StatusUnauthorized, "GET", "/score/live"))
		if answer.Error != "SESSION_TIMEOUT" || answer.Reason != "poll cap" {
			t.Errorf("the poll after the cap: %+v", answer)
		}
		if got := w.log.String(); !strings.Contains(got, "poll cap") || !strings.Contains(got, "21 polls") {
			t.Errorf("the log does not tell:\n%s", got)
		}
	})
}

func TestEditor(t *testing.T) {
	inBubble(t, func(w *world) {
		b := w.login("Ada")
		pass(5 * time.Second)
		r := request("POST", "/editor", "text", "a < b\r\nc")
		r.Header.Set("Accept", "application/json")
		if l := decode[look](t, b.send(r)); l.Left != 20_000 {
			t.Errorf("a save is no touch: %+v", l)
		}
		if page := b.visit(http.StatusOK, "/editor"); !strings.Contains(page, ">a &lt; b\nc</textarea>") {
			t.Errorf("the editor has lost the text:\n%s", page)
		}
		got := b.send(navigation("POST", "/editor", "text", "without a script"))
		if got.Code != http.StatusSeeOther || got.Header().Get("Location") != "/editor" {
			t.Errorf("a form: %d to %q", got.Code, got.Header().Get("Location"))
		}
		b.want(http.StatusUnprocessableEntity, "POST", "/editor", "text", strings.Repeat("x", mostText+1))
		if page := b.visit(http.StatusOK, "/editor?keep=open"); !strings.Contains(page, ">without a script</textarea>") ||
			!strings.Contains(page, " data-while-open") {
			t.Errorf("the editor that stays alive:\n%s", page)
		}
	})
}

func TestLogoutEverywhere(t *testing.T) {
	inBubble(t, func(w *world) {
		first, second, other := w.login("Ada"), w.login("Ada"), w.login("Bob")
		got := first.send(navigation("POST", "/everywhere"))
		if got.Code != http.StatusSeeOther || got.Header().Get("Location") != "/login" {
			t.Errorf("%d to %q", got.Code, got.Header().Get("Location"))
		}
		first.want(http.StatusUnauthorized, "GET", "/look")
		second.want(http.StatusUnauthorized, "GET", "/look")
		other.want(http.StatusOK, "GET", "/look")
	})
}

func TestOtherSitesAreRefused(t *testing.T) {
	inBubble(t, func(w *world) {
		b := w.login("Ada")
		for _, path := range []string{
			"/login", "/touch", "/poll", "/editor", "/everywhere", "/session/logout", "/operator/expire",
			"/operator/everywhere", "/operator/everybody", "/operator/policy", "/operator/crowd", "/operator/stop",
		} {
			r := request("POST", path, "name", "Ada", "n", "10", "ends", "storm")
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			if got := b.send(r); got.Code != http.StatusForbidden {
				t.Errorf("POST %s from another site: %d", path, got.Code)
			}
		}
		if n := w.site.engine.Len(); n != 1 {
			t.Errorf("%d sessions, want Ada's", n)
		}
	})
}

// TestPages looks at each page for what its policy forbids, and for parts that
// do not exist.
func TestPages(t *testing.T) {
	inBubble(t, func(w *world) {
		b := w.login("Ada")
		part := regexp.MustCompile(` (?:src|href|action|data-post|data-send)="([^"]*)"`)
		for _, path := range []string{"/login", "/", "/score", "/editor", "/editor?keep=open", "/watch", "/operator"} {
			got := b.send(navigation("GET", path))
			page := got.Body.String()
			h := got.Header()
			if csp := h.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
				t.Errorf("%s: Content-Security-Policy %q", path, csp)
			}
			if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: headers %v", path, h)
			}
			if found := regexp.MustCompile(`(?i)<style|<script(>| [^>]*>[^<])| style=| on[a-z]+=`).FindString(page); found != "" {
				t.Errorf("%s has something inline: %s", path, found)
			}
			for _, found := range part.FindAllStringSubmatch(page, -1) {
				to := found[1]
				if strings.HasPrefix(to, "//") || !strings.HasPrefix(to, "/") && !strings.HasPrefix(to, "#") {
					t.Errorf("%s loads from elsewhere: %s", path, to)
				}
				if strings.HasPrefix(to, "/assets/") {
					b.want(http.StatusOK, "GET", to)
				}
			}
		}
	})
}

func TestAssets(t *testing.T) {
	inBubble(t, func(w *world) {
		b := w.browser()
		kinds := map[string]string{".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
		load := regexp.MustCompile(`from '([^']+)'`)
		err := fs.WalkDir(assetFiles, "assets", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			got := b.want(http.StatusOK, "GET", "/"+name)
			if kind := got.Header().Get("Content-Type"); kind != kinds[path.Ext(name)] {
				t.Errorf("%s is of type %q", name, kind)
			}
			for _, found := range load.FindAllStringSubmatch(got.Body.String(), -1) {
				module := found[1]
				if !strings.HasPrefix(module, "/") {
					module = path.Join("/assets", module)
				}
				b.want(http.StatusOK, "GET", module)
			}
			r := request("GET", "/"+name)
			r.Header.Set("If-None-Match", got.Header().Get("ETag"))
			if again := b.send(r); again.Code != http.StatusNotModified {
				t.Errorf("%s again: %d", name, again.Code)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"/assets/", "/assets/none.js", "/assets/../site.go", "/assets/.."} {
			if got := b.send(request("GET", name)); got.Code == http.StatusOK {
				t.Errorf("%s: %d", name, got.Code)
			}
		}
	})
}

func TestNoIDsInSight(t *testing.T) {
	inBubble(t, func(w *world) {
		b := w.login("Ada")
		id := b.cookies["session"].Value
		seen := b.visit(http.StatusOK, "/") + b.visit(http.StatusOK, "/operator") + b.want(http.StatusOK, "GET", "/operator/state").Body.String()
		pass(21 * time.Second)
		seen += b.want(http.StatusOK, "GET", "/operator/state").Body.String() + w.log.String()
		if strings.Contains(seen, id) || strings.Contains(seen, id[:8]) {
			t.Errorf("the id %s, or its beginning, is in\n%s", id, seen)
		}
		if !strings.Contains(w.log.String(), "ended: idle") {
			t.Errorf("the log does not tell of the end:\n%s", w.log)
		}
	})
}

func TestNewSiteNamesTheFlags(t *testing.T) {
	cfg := testConfig(t)
	cfg.visitor.Warn = time.Minute
	_, err := newSite(cfg, log.New(t.Output(), "", 0))
	if err == nil || !strings.Contains(err.Error(), "Policy.Warn") || !strings.Contains(err.Error(), "-warn 1m0s") {
		t.Errorf("%v, want it to name the flag", err)
	}
}

func TestWords(t *testing.T) {
	tests := []struct {
		d            time.Duration
		words, short string
	}{
		{time.Second, "1 second", "1s"},
		{20 * time.Second, "20 seconds", "20s"},
		{2500 * time.Millisecond, "2.5 seconds", "2.5s"},
		{250 * time.Millisecond, "250 milliseconds", "250ms"},
		{time.Minute, "1 minute", "1m"},
		{90 * time.Second, "90 seconds", "1m30s"},
		{3 * time.Minute, "3 minutes", "3m"},
		{150 * time.Second, "2m30s", "2m30s"},
		{2 * time.Hour, "120 minutes", "2h"},
		{2*time.Hour + time.Second, "2h0m1s", "2h0m1s"},
		{0, "0 milliseconds", "0s"},
	}
	for _, tt := range tests {
		if got := words(tt.d); got != tt.words {
			t.Errorf("words(%v) = %q, want %q", tt.d, got, tt.words)
		}
		if got := short(tt.d); got != tt.short {
			t.Errorf("short(%v) = %q, want %q", tt.d, got, tt.short)
		}
		if d, err := time.ParseDuration(tt.short); err != nil || d != tt.d {
			t.Errorf("short(%v) is not read back: %v, %v", tt.d, d, err)
		}
	}
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1\u202f000", 1234567: "1\u202f234\u202f567", -1000: "-1\u202f000"} {
		if got := count(n); got != want {
			t.Errorf("count(%d) = %q, want %q", n, got, want)
		}
	}
}

// TestRunOfPolls does not see each poll: two can come at once.
func TestRunOfPolls(t *testing.T) {
	var v visitor
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	for _, step := range []struct {
		polls      int
		seen, want time.Time
	}{
		{0, at(1), time.Time{}},
		{1, at(2), at(2)},
		{3, at(4), at(2)},
		{0, at(5), time.Time{}},
		{2, at(6), at(6)},
		{3, at(7), at(6)},
		{1, at(9), at(9)},
	} {
		v.observe(lapse.Info{Polls: step.polls, Seen: step.seen})
		if got := v.runStart(); !got.Equal(step.want) {
			t.Errorf("with %d polls, seen at %v: the run began at %v, want %v", step.polls, step.seen, got, step.want)
		}
	}
}

func TestGauges(t *testing.T) {
	now := time.Unix(1000, 0)
	p := lapse.Policy{Name: "test"}
	l := newLook(lapse.Info{Started: now, Seen: now}, p, time.Time{}, now)
	if l.Left != -1 || l.Idle != (gauge{}) || l.Cap != (gauge{}) || l.Life != (gauge{}) {
		t.Errorf("without limits: %+v", l)
	}
	p.PollCap = time.Second
	l = newLook(lapse.Info{Started: now, Seen: now, Polls: 1, Deadline: now.Add(time.Second)}, p, now.Add(-2*time.Second), now)
	if l.Left != 1000 || l.Cap != (gauge{0, 1000}) {
		t.Errorf("past the cap: %+v", l)
	}
}

func TestSecure(t *testing.T) {
	cfg := testConfig(t)
	cfg.secure = true
	w := newWorld(t, cfg)
	defer w.site.engine.Close()
	for name, c := range w.login("Ada").cookies {
		if !c.Secure {
			t.Errorf("with -secure the cookie %s is not secure", name)
		}
	}
}
