package lapsehttp

import (
	"fmt"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"time"
)

// The cookies for the page: integer milliseconds since the epoch, readable by
// scripts, without an id or a secret in them.
const (
	serverTimeCookie    = "serverTime"
	sessionExpiryCookie = "sessionExpiry"
)

// cookies knows how to write the cookies of a manager.
type cookies struct {
	template http.Cookie // of the id
	attrs    string      // of the cookies for the page, with the leading semicolon
	cleared  string      // a Set-Cookie that clears sessionExpiry
}

// mostAge bounds Cookie.MaxAge: browsers take 400 days at most.
const mostAge = 1<<31 - 1

func newCookies(template http.Cookie, insecure bool) (cookies, error) {
	bad := func(format string, args ...any) (cookies, error) {
		return cookies{}, fmt.Errorf("lapsehttp: Options.Cookie."+format, args...)
	}
	switch {
	case template.Value != "":
		return bad("Value is set: the value of the cookie is the id")
	case !template.Expires.IsZero() || template.RawExpires != "":
		return bad("Expires is set: use MaxAge, which counts anew for each user")
	case template.MaxAge < 0 || template.MaxAge > mostAge:
		return bad("MaxAge is %d: want zero (until the browser is closed) to %d seconds", template.MaxAge, mostAge)
	case template.Raw != "" || len(template.Unparsed) > 0 || template.Quoted:
		return bad("Raw, Unparsed or Quoted is set: they are of cookies that were read")
	}
	if template.Name == "" {
		template.Name = "__Host-session"
		if insecure {
			template.Name = "session"
		}
	}
	if template.Path == "" {
		template.Path = "/"
	}
	if template.SameSite == 0 || template.SameSite == http.SameSiteDefaultMode {
		template.SameSite = http.SameSiteLaxMode
	}
	if insecure && template.Secure {
		return bad("Secure is set, but so is Options.Insecure: want one of them")
	}
	template.Secure = !insecure
	template.HttpOnly = true
	lower := strings.ToLower(template.Name) // browsers do not mind the prefixes' case
	switch {
	case template.Name == serverTimeCookie || template.Name == sessionExpiryCookie:
		return bad("Name is %q, which is the name of a cookie for the page", template.Name)
	case insecure && (strings.HasPrefix(lower, "__host-") || strings.HasPrefix(lower, "__secure-")):
		return bad("Name is %q, which browsers take with Secure only, and Options.Insecure is set: want a name without that prefix", template.Name)
	case strings.HasPrefix(lower, "__host-") && template.Domain != "":
		return bad("Domain is %q, but a cookie named %q must have none", template.Domain, template.Name)
	case strings.HasPrefix(lower, "__host-") && template.Path != "/":
		return bad("Path is %q, but a cookie named %q must have the path /", template.Path, template.Name)
	case insecure && template.SameSite == http.SameSiteNoneMode:
		return bad("SameSite is None, which browsers take with Secure only, and Options.Insecure is set")
	case insecure && template.Partitioned:
		return bad("Partitioned is set, which browsers take with Secure only, and Options.Insecure is set")
	case template.SameSite < http.SameSiteDefaultMode || template.SameSite > http.SameSiteNoneMode:
		return bad("SameSite is %d: want one of the constants of net/http", template.SameSite)
	}
	template.Value = ID{}.String()
	if err := template.Valid(); err != nil {
		return bad("Name, Path or Domain cannot be in a cookie: %w", err)
	}
	template.Value = ""

	page := http.Cookie{
		Name: sessionExpiryCookie, Path: "/", Domain: template.Domain,
		Secure: template.Secure, SameSite: http.SameSiteLaxMode,
	}
	c := cookies{template: template, attrs: strings.TrimPrefix(page.String(), sessionExpiryCookie+"=")}
	page.MaxAge, page.Expires = -1, time.Unix(0, 0)
	c.cleared = page.String()
	return c, nil
}

// id returns the Set-Cookie that gives the browser an id.
func (c *cookies) id(id ID, now time.Time) string {
	cookie := c.template
	cookie.Value = id.String()
	if cookie.MaxAge > 0 {
		cookie.Expires = now.Add(time.Duration(cookie.MaxAge) * time.Second)
	}
	return cookie.String()
}

// clearID returns the Set-Cookie that takes the id away: it expired a year ago.
func (c *cookies) clearID(now time.Time) string {
	cookie := c.template
	cookie.MaxAge = -1
	cookie.Expires = now.AddDate(-1, 0, 0)
	return cookie.String()
}

// given returns the last cookie of the id that a header sets: its value, which
// is empty if it is cleared. False: there is none.
func (c *cookies) given(h http.Header) (value string, ok bool) {
	for _, line := range slices.Backward(h["Set-Cookie"]) {
		if value, ok := strings.CutPrefix(line, c.template.Name+"="); ok {
			value, _, _ = strings.Cut(value, ";")
			return value, true
		}
	}
	return "", false
}

// own reports whether a Set-Cookie is one of those that a manager writes.
func (c *cookies) own(line string) bool {
	name, _, _ := strings.Cut(line, "=")
	switch name {
	case c.template.Name:
		return true
	case serverTimeCookie, sessionExpiryCookie:
		return line == c.cleared || strings.HasSuffix(line, c.attrs)
	}
	return false
}

// persistent reports whether the browser keeps the id when it is closed.
func (c *cookies) persistent() bool { return c.template.MaxAge > 0 }

// carried are the ids that a request came with. A browser sends one; two if
// another path or domain has a cookie of the same name, which then may be
// somebody else's.
type carried struct {
	ids  [2]ID
	n    int  // different ids of the right shape; 3: too many
	some bool // a cookie of the name was there, whatever its shape
}

// read reads the cookies named name from the lines of the Cookie header, as
// net/http does, only that it does not allocate, and so needs no limit to their
// number.
func (c *carried) read(lines []string, name string) {
	for _, line := range lines {
		for len(line) > 0 {
			var part string
			part, line, _ = strings.Cut(line, ";")
			key, value, ok := strings.Cut(textproto.TrimString(part), "=")
			if !ok || textproto.TrimString(key) != name {
				continue
			}
			c.some = true
			if id, ok := parseID(value); ok {
				c.add(id)
			}
		}
	}
}

func (c *carried) add(id ID) {
	for _, have := range c.ids[:min(c.n, len(c.ids))] {
		if have == id {
			return
		}
	}
	if c.n < len(c.ids) {
		c.ids[c.n] = id
	}
	c.n = min(c.n+1, len(c.ids)+1)
}

// known returns the ids to try: none where there are too many.
func (c *carried) known() []ID {
	if c.n > len(c.ids) {
		return nil
	}
	return c.ids[:c.n]
}
