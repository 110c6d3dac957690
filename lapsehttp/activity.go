package lapsehttp

import (
	"fmt"
	"net/http"
	"strings"
)

// An Activity says what a request means to its session. The later ones do less.
type Activity uint8

const (
	// Touch: the user did something. The session's Idle starts anew and a run of
	// polls ends. While the request runs the session is held; see
	// [Manager.Handler].
	Touch Activity = iota
	// Poll: a page asked by itself. Idle starts anew, but a run of polls has an
	// end: Policy.PollCap and Policy.PollMax.
	Poll
	// Peek: nothing changes.
	Peek
)

// String returns "touch", "poll" or "peek".
func (a Activity) String() string {
	switch a {
	case Touch:
		return "touch"
	case Poll:
		return "poll"
	case Peek:
		return "peek"
	}
	return fmt.Sprintf("Activity(%d)", uint8(a))
}

// Routes says which requests are no Touch: it maps patterns of http.ServeMux,
// such as "GET /score", "/static/" or "/files/{name}", to activities. Where
// several match, the one that ServeMux would choose counts. What none matches
// is a Touch, also where only the method differs.
//
// A request is as much as its route says or less, never more: the header
// X-Session-Activity ("poll" or "peek") lowers it, so does Last-Event-ID, which
// an EventSource sends when it reconnects (to Poll), and what browsers send by
// themselves is a Peek: OPTIONS, and with Sec-Purpose: prefetch a page that the
// user may want to see next.
type Routes map[string]Activity

const (
	activityHeader = "X-Session-Activity"
	expiresHeader  = "X-Session-Expires-In"
)

// lowered returns act, or less where the request says so.
func lowered(act Activity, r *http.Request) Activity {
	for _, line := range r.Header[activityHeader] {
		act = max(act, headerActivity(line))
	}
	if len(r.Header["Last-Event-Id"]) > 0 {
		act = max(act, Poll)
	}
	if r.Method == http.MethodOptions || prefetches(r.Header["Sec-Purpose"]) {
		act = Peek
	}
	return act
}

// prefetches reads Sec-Purpose: "prefetch", maybe with parameters such as
// prerender.
func prefetches(lines []string) bool {
	for _, line := range lines {
		purpose, _, _ := strings.Cut(line, ";")
		if strings.EqualFold(strings.Trim(purpose, " \t"), "prefetch") {
			return true
		}
	}
	return false
}

// headerActivity reads X-Session-Activity: the least of what it lists. What it
// does not know means nothing.
func headerActivity(line string) (act Activity) {
	for len(line) > 0 {
		var word string
		word, line, _ = strings.Cut(line, ",")
		switch word = strings.Trim(word, " \t"); {
		case strings.EqualFold(word, "peek"):
			return Peek
		case strings.EqualFold(word, "poll"):
			act = Poll
		}
	}
	return act
}
