package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lapse-go/lapse"
)

// shot is what the operator's page gets.
type shot struct {
	snapshot
	Log  []line
	Last int64
}

// state looks at a fresh snapshot. In a bubble it lets the last one grow old.
func (b *browser) state(since int64) shot {
	b.t.Helper()
	pass(b.site.config.refresh)
	return decode[shot](b.t, b.want(http.StatusOK, "GET", fmt.Sprintf("/operator/state?since=%d", since)))
}

// says sends what a form of the operator's page sends, and returns what that
// shows.
func (b *browser) says(status int, path string, fields ...string) string {
	b.t.Helper()
	answer := decode[struct {
		Success any
		Message string
	}](b.t, b.want(status, "POST", path, fields...))
	if text, ok := answer.Success.(string); ok {
		return text
	}
	return answer.Message
}

func TestState(t *testing.T) {
	inBubble(t, func(w *world) {
		op := w.browser()
		w.login("Ada")
		w.login("Bob")
		got := op.state(0)
		if len(got.Levels) != 9 || len(got.Levels[0]) != 128 || got.Tick != 10 || len(got.Late) != 32 {
			t.Errorf("%d levels, a tick of %d ms, %d bars", len(got.Levels), got.Tick, len(got.Late))
		}
		entries := 0
		for _, slots := range got.Levels {
			for _, n := range slots {
				entries += n
			}
		}
		if entries != 2 || got.Live["visitor"] != 2 || len(got.People) != 2 {
			t.Errorf("%d entries, %v live, people %v, want 2 each", entries, got.Live, got.People)
		}
		if len(got.Log) != 2 || got.Log[0].Text != "Ada logged in, session "+got.People[1].Mark && got.Log[0].Text != "Ada logged in, session "+got.People[0].Mark {
			t.Errorf("the log is %+v", got.Log)
		}
		pass(20 * time.Second)
		later := op.state(got.Last)
		if later.Live["visitor"] != 0 || len(later.People) != 0 {
			t.Errorf("after 20 s: %v live, people %v", later.Live, later.People)
		}
		if i := slices.IndexFunc(later.Ended, func(r reasonCount) bool { return r.Reason == "idle" }); later.Ended[i].N != 2 {
			t.Errorf("after 20 s: ended %v", later.Ended)
		}
		kinds := make(map[string]int)
		for _, l := range later.Log {
			kinds[l.Kind]++
		}
		if kinds[kindWarning] != 2 || kinds[kindEnd] != 2 || kinds[kindStart] != 0 {
			t.Errorf("the news are %+v", later.Log)
		}
		for _, since := range []string{"x", "-1", "99999999999999999999"} {
			op.want(http.StatusBadRequest, "GET", "/operator/state?since="+since)
		}
		if far := op.state(1 << 60); len(far.Log) != 0 {
			t.Errorf("lines after the last one: %+v", far.Log)
		}
	})
}

func TestExpire(t *testing.T) {
	inBubble(t, func(w *world) {
		ada, bob := w.login("Ada"), w.login("Bob")
		op := w.browser()
		mark := ada.mark()
		if got := op.says(http.StatusOK, "/operator/expire", "mark", mark); got != "ended Ada's session "+mark {
			t.Errorf("it says %q", got)
		}
		ada.want(http.StatusUnauthorized, "GET", "/look")
		bob.want(http.StatusOK, "GET", "/look")
		for _, mark := range []string{mark, "", "00000000", bob.cookies["session"].Value} {
			if got := op.says(http.StatusNotFound, "/operator/expire", "mark", mark); !strings.Contains(got, "no live session") {
				t.Errorf("mark %q: it says %q", mark, got)
			}
		}
		bob.want(http.StatusOK, "GET", "/look")
	})
}

func TestOperatorLogsOut(t *testing.T) {
	inBubble(t, func(w *world) {
		first, second, bob := w.login("Ada"), w.login("Ada"), w.login("Bob")
		op := w.browser()
		op.says(http.StatusOK, "/operator/crowd", "n", "10", "ends", "spread")
		if got := op.says(http.StatusOK, "/operator/everywhere", "name", "Ada"); got != "logged Ada out everywhere: 2 sessions" {
			t.Errorf("it says %q", got)
		}
		first.want(http.StatusUnauthorized, "GET", "/look")
		second.want(http.StatusUnauthorized, "GET", "/look")
		for _, name := range []string{"Ada", "", "nobody"} {
			if got := op.says(http.StatusNotFound, "/operator/everywhere", "name", name); !strings.Contains(got, "nobody called") {
				t.Errorf("name %q: it says %q", name, got)
			}
		}
		bob.want(http.StatusOK, "GET", "/look")
		if got := op.says(http.StatusOK, "/operator/everybody"); got != "logged everybody out: 1 session" {
			t.Errorf("it says %q", got)
		}
		bob.want(http.StatusUnauthorized, "GET", "/look")
		if n := w.site.engine.Len(); n != 10 {
			t.Errorf("%d sessions, want the crowd's 10", n)
		}
	})
}

func TestSetPolicy(t *testing.T) {
	inBubble(t, func(w *world) {
		b, op := w.login("Ada"), w.browser()
		pass(3 * time.Second)
		got := op.says(http.StatusOK, "/operator/policy", "class", "visitor", "idle", "5s", "cap", " 1m30s ", "pollMax", "7")
		if got != "class visitor has another policy: idle 5s, polling cap 1m30s, at most 7 polls" {
			t.Errorf("it says %q", got)
		}
		if l := b.look("GET", "/look"); l.Left != 2000 || l.Life.Of != 0 || l.PollMax != 7 || l.Warn != 0 {
			t.Errorf("the new policy does not hold at once: %+v", l)
		}
		pass(2 * time.Second)
		b.want(http.StatusUnauthorized, "GET", "/look")
		want := policyStrings{"visitor", "5s", "0s", "1m30s", 7, "0s"}
		if got := op.state(0).Policies; got[0] != want {
			t.Errorf("policies %+v, want %+v first", got, want)
		}
	})
}

func TestSetPolicyRefuses(t *testing.T) {
	tests := []struct {
		name   string
		status int
		fields []string
		says   string
	}{
		{"no class", http.StatusNotFound, nil, `no class ""`},
		{"unknown class", http.StatusNotFound, []string{"class", "default"}, `no class "default"`},
		{"no time", http.StatusUnprocessableEntity, []string{"class", "visitor", "idle", "20"}, `idle is "20": want a time such as`},
		{"negative", http.StatusUnprocessableEntity, []string{"class", "visitor", "idle", "-1s"}, "Policy.Idle"},
		{"warning", http.StatusUnprocessableEntity, []string{"class", "visitor", "idle", "20s", "warn", "30s"}, "Policy.Warn"},
		{"lifetime", http.StatusUnprocessableEntity, []string{"class", "visitor", "idle", "20s", "lifetime", "10s"}, "Policy.Lifetime"},
		{"cap", http.StatusUnprocessableEntity, []string{"class", "crowd", "cap", "20s", "lifetime", "10s"}, "Policy.PollCap"},
		{"no number", http.StatusUnprocessableEntity, []string{"class", "visitor", "pollMax", "many"}, `most polls is "many"`},
		{"big number", http.StatusUnprocessableEntity, []string{"class", "visitor", "pollMax", "99999999"}, "Policy.PollMax"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				before := w.site.visitor.Policy()
				got := w.browser().says(tt.status, "/operator/policy", tt.fields...)
				if !strings.Contains(got, tt.says) {
					t.Errorf("it says %q, want %q", got, tt.says)
				}
				if w.site.visitor.Policy() != before {
					t.Error("the policy has changed")
				}
			})
		})
	}
}

func TestCrowdSpread(t *testing.T) {
	inBubble(t, func(w *world) {
		op := w.browser()
		const n = 3000
		if got := op.says(http.StatusOK, "/operator/crowd", "n", fmt.Sprint(n), "ends", "spread"); !strings.HasSuffix(got, "their ends are spread over 1 minute") {
			t.Errorf("it says %q", got)
		}
		for i, left := range []int{n * 3 / 4, n / 2, n / 4} {
			pass(15 * time.Second)
			// Twelve times the standard deviation: that never happens.
			if live := op.state(0).Live["crowd"]; max(live-left, left-live) > 330 {
				t.Errorf("after %d s: %d live, want about %d", (i+1)*15, live, left)
			}
		}
		pass(15 * time.Second)
		got := op.state(0)
		if got.Live["crowd"] != 0 {
			t.Errorf("after a minute %d live", got.Live["crowd"])
		}
		ended := 0
		for _, l := range got.Log {
			if l.Kind == kindCrowd {
				ended++
			}
		}
		if ended == 0 || ended > 10 {
			t.Errorf("%d lines for the crowd: %+v", ended, got.Log)
		}
		if strings.Contains(w.log.String(), "crowd:") {
			t.Errorf("the terminal tells of the crowd:\n%s", w.log)
		}
	})
}

func TestCrowdStorm(t *testing.T) {
	inBubble(t, func(w *world) {
		op := w.browser()
		if got := op.says(http.StatusOK, "/operator/crowd", "n", "2000", "ends", "storm"); !strings.HasSuffix(got, "all end at one instant, in 15 seconds") {
			t.Errorf("it says %q", got)
		}
		pass(15*time.Second - 2*tick)
		if live := w.site.crowd.class.Len(); live != 2000 {
			t.Errorf("two ticks before the end %d live", live)
		}
		pass(4 * tick)
		if live := w.site.crowd.class.Len(); live != 0 {
			t.Errorf("two ticks after the end %d live", live)
		}
		pass(quiet)
		if got := op.state(0).Log; !strings.Contains(got[len(got)-1].Text, "crowd: 2\u202f000 ended (idle)") {
			t.Errorf("the log is %+v", got)
		}
	})
}

// TestStormIsOneInstant needs no bubble, in which no time passes while the
// sessions start.
func TestStormIsOneInstant(t *testing.T) {
	w := newWorld(t, testConfig(t))
	defer w.site.engine.Close()
	begin := time.Now()
	if _, err := w.site.crowd.start(t.Context(), 20_000, storm(time.Hour)); err != nil {
		t.Fatal(err)
	}
	ends := make(map[time.Duration]int) // by the monotonic clock
	for s := range w.site.engine.All() {
		end, _ := s.Deadline()
		ends[end.Sub(begin)]++
	}
	if len(ends) > 1 {
		t.Errorf("the ends are %v, want one", ends)
	}
}

func TestCrowdRefuses(t *testing.T) {
	inBubble(t, func(w *world) {
		op := w.browser()
		for _, n := range []string{"", "0", "-1", "many", "1.5", fmt.Sprint(mostCrowd + 1), "99999999999999999999"} {
			if got := op.says(http.StatusUnprocessableEntity, "/operator/crowd", "n", n, "ends", "storm"); !strings.Contains(got, "the number of sessions is "+fmt.Sprintf("%q", n)) {
				t.Errorf("n %q: it says %q", n, got)
			}
		}
		if got := op.says(http.StatusUnprocessableEntity, "/operator/crowd", "n", "1", "ends", "soon"); !strings.Contains(got, `ends is "soon"`) {
			t.Errorf("it says %q", got)
		}
		op.says(http.StatusOK, "/operator/crowd", "n", "10", "ends", "spread")
		if got := op.says(http.StatusConflict, "/operator/crowd", "n", fmt.Sprint(mostCrowd-9), "ends", "storm"); !strings.Contains(got, "there are 10 synthetic sessions already") {
			t.Errorf("it says %q", got)
		}
		if n := w.site.engine.Len(); n != 10 {
			t.Errorf("%d sessions, want 10", n)
		}
		w.login("Ada")
		if got := op.says(http.StatusOK, "/operator/stop"); got != "stopped the crowd: 10 sessions" {
			t.Errorf("it says %q", got)
		}
		if got := w.site.people.len(); got != 1 {
			t.Errorf("%d people, want Ada", got)
		}
	})
}

func TestCrowdStopsWhenNobodyWaits(t *testing.T) {
	inBubble(t, func(w *world) {
		r := request("POST", "/operator/crowd", "n", "5000", "ends", "spread")
		ctx, cancel := context.WithCancel(r.Context())
		cancel()
		got := w.browser().send(r.WithContext(ctx))
		if got.Code != http.StatusConflict || w.site.engine.Len() != 0 {
			t.Errorf("%d %s, %d sessions", got.Code, got.Body, w.site.engine.Len())
		}
	})
}

func TestJournalIsBounded(t *testing.T) {
	j := journal{logger: log.New(io.Discard, "", 0)}
	for i := range mostLines + 50 {
		j.add(kindStart, "line %d", i+1)
	}
	lines, last := j.since(0)
	if len(lines) != mostLines || lines[0].Text != "line 51" || last != mostLines+50 {
		t.Errorf("%d lines from %q, the last is %d", len(lines), lines[0].Text, last)
	}
	for since, want := range map[int64]int{last: 0, last - 1: 1, last - 10: 10, 1: mostLines, last + 5: 0, -3: mostLines} {
		if lines, _ := j.since(since); len(lines) != want {
			t.Errorf("%d lines since %d, want %d", len(lines), since, want)
		}
	}
}

func TestTally(t *testing.T) {
	at := time.Unix(1000, 0)
	c := tally{from: at, to: at.Add(40 * time.Millisecond), warned: 3}
	c.ended[lapse.ReasonIdle] = 100_000
	c.ended[lapse.ReasonExpired] = 1
	if got := c.String(); got != "crowd: 3 warned, 100\u202f000 ended (idle), 1 ended (expired) within 40ms" {
		t.Errorf("%q", got)
	}
}
