package lapsehttp

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What a log-out adds behind TLS: the browser forgets the site's data.
const (
	wipeHeader = "Clear-Site-Data"
	wiped      = `"cookies", "storage"`
)

// writeHeaders adds to the response what it says about the session, the first
// time it is called.
func (q *exchange[V]) writeHeaders() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.writeHeadersLocked()
}

func (q *exchange[V]) writeHeadersLocked() {
	if !q.written {
		q.written = true
		q.mark(q.w.Header())
	}
}

// remark is mark for calls outside of Handler, of which the last one counts.
func (q *exchange[V]) remark(h http.Header) {
	if _, again := q.m.cookies.given(h); again {
		h["Set-Cookie"] = slices.DeleteFunc(h["Set-Cookie"], q.m.cookies.own)
		h.Del(expiresHeader)
		if h.Get(wipeHeader) == wiped {
			h.Del(wipeHeader)
		}
	}
	q.mark(h)
}

// mark sets the headers. Where there is no session and none was asked for it
// only says that with a session the response might be another one.
func (q *exchange[V]) mark(h http.Header) {
	if !q.live && !q.dead && !q.out {
		varied(h, q.values[4:5:5])
		return
	}
	now := q.m.engine.Now()
	left, limited := time.Duration(0), true
	deadline, ok := q.session.Deadline() // of the zero Session there is none
	switch {
	case ok:
		left = max(deadline.Sub(now), 0)
	case q.session.Alive():
		limited = false
	case !q.out && q.late(now):
		uncached(h)
		return
	}
	q.page(h, now, left, limited)
	c := &q.m.cookies
	if q.sends {
		if id, ok := q.session.Key(); ok {
			h.Add("Set-Cookie", c.id(id, now))
		}
	}
	if !q.live {
		h.Add("Set-Cookie", c.clearID(now))
	}
	if q.out && q.m.wipes {
		h.Set(wipeHeader, wiped)
	}
	unstored(h, q.values[3:4:4])
	varied(h, q.values[4:5:5])
}

// page sets the cookies for the page, and the header that says how long the
// session has left. All of it is parts of one string.
func (q *exchange[V]) page(h http.Header, now time.Time, left time.Duration, limited bool) {
	attrs := q.m.cookies.attrs
	server := now.UnixMilli()
	var array [256]byte
	buf := append(array[:0], serverTimeCookie+"="...)
	buf = strconv.AppendInt(buf, server, 10)
	buf = append(buf, attrs...)
	first := len(buf)
	second, third := first, first
	if limited {
		buf = append(buf, sessionExpiryCookie+"="...)
		buf = strconv.AppendInt(buf, server+left.Milliseconds(), 10)
		buf = append(buf, attrs...)
		second = len(buf)
		buf = strconv.AppendInt(buf, left.Milliseconds(), 10)
		third = len(buf)
	}
	all := string(buf)
	values := &q.values
	values[0], values[1] = all[:first], all[first:second]
	if limited {
		values[2] = all[second:third]
		h[expiresHeader] = values[2:3:3]
	} else {
		values[1] = q.m.cookies.cleared
	}
	if have := h["Set-Cookie"]; len(have) == 0 {
		h["Set-Cookie"] = values[0:2:2]
	} else {
		h["Set-Cookie"] = append(have, values[0], values[1])
	}
}

// uncached keeps a response out of caches, unless it says so already.
func uncached(h http.Header) {
	unstored(h, make([]string, 1))
	varied(h, make([]string, 1))
}

// unstored forbids caches to keep a response. The value is room for one.
func unstored(h http.Header, value []string) {
	if !hasToken(h["Cache-Control"], "no-store") {
		value[0] = "no-store"
		h["Cache-Control"] = value
	}
}

// varied says that another cookie gets another response. The value is room for
// one.
func varied(h http.Header, value []string) {
	if have := h["Vary"]; len(have) == 0 {
		value[0] = "Cookie"
		h["Vary"] = value
	} else if !hasToken(have, "Cookie") && !hasToken(have, "*") {
		h["Vary"] = append(have, "Cookie")
	}
}

// hasToken reports whether a header that lists tokens has one.
func hasToken(lines []string, token string) bool {
	for _, line := range lines {
		for len(line) > 0 {
			var word string
			word, line, _ = strings.Cut(line, ",")
			if strings.EqualFold(strings.Trim(word, " \t"), token) {
				return true
			}
		}
	}
	return false
}
