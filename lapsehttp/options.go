package lapsehttp

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/lapse-go/lapse"
)

// Options say how a Manager works. The zero value is ready to use, behind TLS.
type Options[V any] struct {
	// Class is the class of the sessions that Start starts. Nil: the engine's
	// default class.
	Class *lapse.Class[ID, V]
	// Routes are the activities of requests by pattern. What no pattern matches
	// is a Touch.
	Routes Routes
	// Cookie is a template for the cookie that holds the id. Its zero value
	// means the name __Host-session, Path=/, Secure, HttpOnly, SameSite=Lax, and
	// a cookie that the browser forgets when it is closed; each of Name, Path
	// and SameSite that is not set is as that. HttpOnly always holds, and so
	// does Secure unless Insecure. With MaxAge above zero the browser keeps the
	// cookie for as many seconds from the last request that was a Touch or a
	// Poll. The cookies for the page share its Domain and Secure, but have Path=/
	// and SameSite=Lax whatever it says. Value, Expires and a negative MaxAge are
	// errors.
	Cookie http.Cookie
	// Insecure is for development, on plain HTTP: cookies are not Secure, and
	// the name of the zero Cookie is session.
	Insecure bool
	// Prefix is the path where Endpoints is mounted. It begins and ends with a
	// slash. Empty: /session/.
	Prefix string
	// LoginURL is where a navigation without a session is sent: a path such as
	// /login, or an http or https URL. Empty: such a navigation gets a plain
	// page with status 401.
	LoginURL string
	// RenewGrace is how long an id that Renew has replaced still finds its
	// session. Zero: 10s; negative: not at all. As long, but at least for 10s,
	// responses to an id that Renew, Start or Promote has replaced do not have
	// the browser forget the new one.
	RenewGrace time.Duration
	// Owner names the owner of a session for EndAll, such as the user's name. It
	// is asked once when Start or Promote sets a value; empty: nobody owns the
	// session. It must be safe for concurrent use. Nil: no session is owned.
	Owner func(V) string
	// Refuse replaces the default answers to requests without a live session.
	// End is the zero Ending where it is not known: see lapse.Options.Remember.
	// The headers have been set that keep the answer out of caches; those that
	// clear the cookie of an id that is not live come before the first byte. The
	// endpoints keep answering their
	// client by themselves. Nil: see [Manager.Require].
	Refuse func(w http.ResponseWriter, r *http.Request, end lapse.Ending)
	// Entropy is where the bytes of ids come from; it is read by one goroutine
	// at a time. Nil: crypto/rand.
	Entropy io.Reader
	// Logger is told what went wrong and cannot be returned to anybody, never an
	// id. Nil: slog.Default().
	Logger *slog.Logger
}

const (
	defaultPrefix = "/session/"
	defaultGrace  = 10 * time.Second
)

// setDefaults fills in what is not set and returns an error that names what
// makes no sense.
func (o *Options[V]) setDefaults() error {
	if o.Prefix == "" {
		o.Prefix = defaultPrefix
	}
	if o.RenewGrace == 0 {
		o.RenewGrace = defaultGrace
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	bad := func(field, value string, want string) error {
		return fmt.Errorf("lapsehttp: Options.%s is %q: %s", field, value, want)
	}
	if p := o.Prefix; p != strings.TrimSuffix(path.Clean("/"+p), "/")+"/" || strings.ContainsAny(p, "?#%{}\\") || !printable(p) {
		return bad("Prefix", p, `want a path that begins and ends with a slash and needs no escapes, such as "/session/"`)
	}
	if o.LoginURL != "" {
		if err := checkLogin(o.LoginURL); err != nil {
			return bad("LoginURL", o.LoginURL, err.Error())
		}
	}
	return nil
}

func checkLogin(login string) error {
	const want = `want a path such as "/login", or an http or https URL`
	u, err := url.Parse(login)
	switch {
	case err != nil || !printable(login) || strings.Contains(login, "\\"):
		return errors.New("it is no URL; " + want)
	case u.Scheme == "" && strings.HasPrefix(login, "/") && !strings.HasPrefix(login, "//"):
		return nil
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
		return nil
	}
	return errors.New(want)
}

// printable reports whether s has neither control characters nor spaces nor
// anything beyond ASCII.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}
