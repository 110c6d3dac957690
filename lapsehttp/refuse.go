package lapsehttp

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/lapse-go/lapse"
)

// The errors of refusals, for scripts.
const (
	errTimeout     = "SESSION_TIMEOUT" // the request came with an id that is not live
	errNotLoggedIn = "NOT_LOGGED_IN"   // it came without one
)

// A refusal is the JSON of a refused request.
type refusal struct {
	Success bool   `json:"success"`
	Error   string `json:"error"`
	farewell
}

// A farewell says how a session ended, as far as it is known.
type farewell struct {
	Reason  string `json:"reason,omitempty"`
	EndedAt int64  `json:"endedAt,omitempty"` // milliseconds since the epoch
	Login   string `json:"login,omitempty"`
}

func (m *Manager[V]) farewell(end lapse.Ending) (f farewell) {
	if end.Reason != 0 {
		f.Reason, f.EndedAt = end.Reason.String(), end.At.UnixMilli()
	}
	if m.login != nil {
		f.Login = m.login.url
	}
	return f
}

// ending says how the session ended whose id a request came with, if the engine
// knows.
func (m *Manager[V]) ending(c *carried) lapse.Ending {
	for _, id := range c.known() {
		if end, ok := m.engine.Ended(id); ok {
			return end
		}
	}
	return lapse.Ending{}
}

// refuseRequest answers a request that needs a live session and has none.
func (m *Manager[V]) refuseRequest(w http.ResponseWriter, r *http.Request, q *exchange[V]) {
	end := m.ending(&q.carried)
	if m.refuse != nil {
		uncached(w.Header())
		m.refuse(w, r, end)
		return
	}
	switch {
	case !isNavigation(r):
		m.refuseScript(w, r, q, end)
	case m.login != nil && !m.login.is(r):
		uncached(w.Header())
		w.Header().Set("Location", m.login.withReturn(r))
		w.WriteHeader(http.StatusSeeOther)
	default:
		h := w.Header()
		uncached(h)
		h.Set("WWW-Authenticate", challenge)
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("X-Content-Type-Options", "nosniff")
		send(w, r, http.StatusUnauthorized, []byte(refusalPage))
	}
}

// challenge is of a scheme for which no browser opens a dialog.
const challenge = "Session"

const refusalPage = `<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Not logged in</title>
<h1>Not logged in</h1>
<p>You are not logged in, or your session has ended.</p>
</html>
`

// refuseScript answers a script with JSON and status 401.
func (m *Manager[V]) refuseScript(w http.ResponseWriter, r *http.Request, q *exchange[V], end lapse.Ending) {
	body := refusal{Error: errNotLoggedIn, farewell: m.farewell(end)}
	if q.carried.some {
		body.Error = errTimeout
	}
	h := w.Header()
	uncached(h)
	h.Set("WWW-Authenticate", challenge)
	m.sendJSON(w, r, http.StatusUnauthorized, body)
}

// sendJSON answers with what always can be JSON.
func (m *Manager[V]) sendJSON(w http.ResponseWriter, r *http.Request, status int, v any) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	b, _ := json.Marshal(v)
	send(w, r, status, b)
}

// send sends a body of known length, or says how long it would be.
func send(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(body)
	}
}

// isNavigation reports whether a browser asks for a page to show. Whoever is in
// doubt is a script: it can read JSON, while a page of HTML with status 200
// where it expects data breaks it in silence.
func isNavigation(r *http.Request) bool {
	mode, dest := r.Header.Get("Sec-Fetch-Mode"), r.Header.Get("Sec-Fetch-Dest")
	switch {
	case mode != "" && mode != "navigate":
		return false
	case dest != "":
		return dest == "document" || dest == "iframe" || dest == "frame"
	case mode != "":
		return true
	case r.Header.Get("X-Requested-With") != "":
		return false
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
	default:
		return false // nobody navigates like that
	}
	html, json := accepted(r.Header["Accept"])
	return html > json
}

// accepted returns the weights, in thousandths, that an Accept header gives to
// HTML and to JSON by name. Wildcards say nothing.
func accepted(lines []string) (html, json int) {
	for _, line := range lines {
		for len(line) > 0 {
			var item string
			item, line, _ = strings.Cut(line, ",")
			kind, params, _ := strings.Cut(item, ";")
			kind = strings.ToLower(strings.Trim(kind, " \t"))
			switch {
			case kind == "text/html" || kind == "application/xhtml+xml":
				html = max(html, weight(params))
			case kind == "application/json" || kind == "text/json" || strings.HasSuffix(kind, "+json"):
				json = max(json, weight(params))
			}
		}
	}
	return html, json
}

// weight reads the q of an item of Accept, in thousandths; 1000 without one,
// zero if it is none.
func weight(params string) int {
	for len(params) > 0 {
		var param string
		param, params, _ = strings.Cut(params, ";")
		name, value, _ := strings.Cut(param, "=")
		if !strings.EqualFold(strings.Trim(name, " \t"), "q") {
			continue
		}
		q, err := strconv.ParseFloat(strings.Trim(value, " \t"), 32)
		if err != nil || !(q >= 0 && q <= 1) {
			return 0
		}
		return int(q*1000 + 0.5)
	}
	return 1000
}

// A login is where navigations without a session are sent.
type login struct {
	url        string // as it was given
	host, path string // host is empty where it is this site
	head, tail string // of a Location, around the return path
}

func newLogin(raw string) *login {
	if raw == "" {
		return nil
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil // checkLogin has been here
	}
	head, fragment, found := strings.Cut(raw, "#")
	if found {
		fragment = "#" + fragment
	}
	if strings.Contains(head, "?") {
		head += "&"
	} else {
		head += "?"
	}
	return &login{url: raw, host: u.Host, path: u.Path, head: head + returnParam + "=", tail: fragment}
}

// returnParam is the parameter of the log-in page that holds the return path.
const returnParam = "next"

// is reports whether the request asks for the log-in page itself, so that to
// send it there would go round in circles.
func (l *login) is(r *http.Request) bool {
	if l.host != "" && !strings.EqualFold(l.host, r.Host) {
		return false
	}
	// A mux may add or take away the slash at the end.
	return strings.TrimSuffix(requestPath(r, true), "/") == strings.TrimSuffix(l.path, "/")
}

func (l *login) withReturn(r *http.Request) string {
	return l.head + url.QueryEscape(returnPath(r)) + l.tail
}

// requestPath returns the path of a request as the browser knows it, whatever
// http.StripPrefix has done to it since: with its query, or decoded.
func requestPath(r *http.Request, decoded bool) string {
	u := r.URL
	if strings.HasPrefix(r.RequestURI, "/") {
		if sent, err := url.ParseRequestURI(r.RequestURI); err == nil {
			u = sent
		}
	}
	if decoded {
		return u.Path
	}
	return u.RequestURI()
}

// returnPath returns where a browser that was refused should come back to. What
// was not a GET is not repeated: the page it came from is the place.
func returnPath(r *http.Request) string {
	to := requestPath(r, false)
	if strings.HasPrefix(r.RequestURI, "/") {
		to = r.RequestURI
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		if from, err := url.Parse(r.Referer()); err == nil && from.Host != "" && from.Host == r.Host {
			to = from.RequestURI()
		}
	}
	return cleanReturn(to)
}

// cleanReturn returns a path, with its query, that stays on this site whatever
// a browser makes of it; else the root.
func cleanReturn(to string) string {
	if len(to) == 0 || len(to) > mostReturn || to[0] != '/' || len(to) > 1 && to[1] == '/' ||
		!printable(to) || strings.Contains(to, "\\") {
		return "/"
	}
	return to
}

// mostReturn is the longest return path: a longer one would not fit into every
// server's limit for a URL.
const mostReturn = 2048

// ReturnPath returns where a log-in should send the browser: the parameter next
// that a refusal has given to Options.LoginURL, from the request's form or
// query. Since anybody can make up that parameter, a value that is not a path on
// this site counts as "/". The body of a POST is read, as by
// http.Request.FormValue.
func ReturnPath(r *http.Request) string {
	return cleanReturn(r.FormValue(returnParam))
}
