package lapsehttp

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
)

// A router finds the activity of a request. It matches as http.ServeMux does,
// which has checked its patterns, but ServeMux collects what wildcards match
// and makes the handlers of its refusals, which takes longer than all else that
// a request with a session costs.
type router struct {
	root  node // its children are hosts, theirs methods, and from there on segments of paths
	some  bool // there are patterns
	hosts bool // some of them name a host
}

// A node of the tree; the path to it is a pattern, or the beginning of some.
type node struct {
	children edges
	any      *node  // what stands for any host, any method, or a wildcard for one segment
	rest     *node  // a wildcard for the rest of the path, which may be empty
	whole    string // the pattern that ends here; empty: none
	isRest   bool   // it ends with a wildcard for the rest
	act      Activity
}

// edges are the children of a node by literal. A few are found sooner without a
// map.
type edges struct {
	few  []edge
	many map[string]*node // all of them, where few is full
}

type edge struct {
	literal string
	node    *node
}

const mostFew = 8

func (e *edges) get(literal string) *node {
	if e.many != nil {
		return e.many[literal]
	}
	for i := range e.few {
		if e.few[i].literal == literal {
			return e.few[i].node
		}
	}
	return nil
}

func (e *edges) add(literal string, n *node) {
	if len(e.few) < mostFew {
		e.few = append(e.few, edge{literal, n})
		return
	}
	if e.many == nil {
		e.many = make(map[string]*node)
		for _, edge := range e.few {
			e.many[edge.literal] = edge.node
		}
	}
	e.many[literal] = n
}

// newRouter checks the routes. That none is silently unmatched counts for more
// than what ServeMux would take: it reads "score/live" as the path /live on a
// host named score, and "get" as a method that no request has.
func newRouter(routes Routes, prefix string) (*router, error) {
	mux := http.NewServeMux()
	t := new(router)
	for _, pattern := range slices.Sorted(maps.Keys(routes)) {
		p, err := parsePattern(pattern)
		if err == nil {
			err = p.check(routes[pattern], prefix)
		}
		if err == nil {
			err = p.register(mux)
		}
		if err != nil {
			return nil, fmt.Errorf("lapsehttp: Options.Routes: pattern %q: %w", pattern, err)
		}
		t.add(p, routes[pattern])
	}
	return t, nil
}

// A pattern is one of http.ServeMux, taken apart. Path has the leading slash.
type pattern struct{ whole, method, host, path string }

func parsePattern(whole string) (pattern, error) {
	p := pattern{whole: whole}
	rest := whole
	if i := strings.IndexAny(whole, " \t"); i >= 0 {
		p.method, rest = whole[:i], strings.TrimLeft(whole[i:], " \t")
	}
	slash := strings.IndexByte(rest, '/')
	if slash < 0 {
		return p, fmt.Errorf("the path has no leading slash: want %q", strings.TrimLeft(p.method+" /"+rest, " "))
	}
	p.host, p.path = rest[:slash], rest[slash:]
	return p, nil
}

// check finds what ServeMux would take but no request would match, or match
// without effect.
func (p pattern) check(act Activity, prefix string) error {
	if act > Peek {
		return fmt.Errorf("%v is no activity: want Touch, Poll or Peek", act)
	}
	if i := strings.IndexAny(p.path, "?# \t"); i >= 0 {
		return fmt.Errorf("a path ends before %q, so no request would match: want %q, or an escape",
			p.path[i], strings.TrimLeft(p.method+" "+p.host+p.path[:i], " "))
	}
	if clean := tidy(p.path); clean != p.path {
		return fmt.Errorf("paths are matched without empty, dot and double-dot segments: want %q",
			strings.TrimLeft(p.method+" "+p.host+clean, " "))
	}
	if upper := strings.ToUpper(p.method); p.method != upper {
		return fmt.Errorf("no request has the method %s: want %s", p.method, upper)
	}
	if p.host != "" && p.host != "localhost" && !strings.Contains(p.host, ".") {
		return fmt.Errorf("the path has no leading slash, so %q would be the name of a host: want %q",
			p.host, strings.TrimLeft(p.method+" /"+p.host+p.path, " "))
	}
	if name, ok := strings.CutPrefix(p.path, prefix); ok {
		if e, ok := endpoints[name]; ok && e.act != act {
			return fmt.Errorf("the endpoint %s is a %v whatever the routes say: leave it out", name, e.act)
		}
	}
	return nil
}

// register has a ServeMux check the pattern's form, and whether it conflicts
// with those before.
func (p pattern) register(mux *http.ServeMux) (err error) {
	defer func() {
		if why := recover(); why != nil {
			err = fmt.Errorf("http.ServeMux refuses it: %v", why)
		}
	}()
	mux.Handle(p.whole, http.NotFoundHandler())
	return nil
}

// add adds a pattern that ServeMux has taken.
func (t *router) add(p pattern, act Activity) {
	t.some = true
	t.hosts = t.hosts || p.host != ""
	n := t.root.literal(p.host).literal(p.method)
	for rest := p.path; rest != ""; {
		rest = rest[1:] // a slash
		i := strings.IndexByte(rest, '/')
		if i < 0 {
			i = len(rest)
		}
		var seg string
		seg, rest = rest[:i], rest[i:]
		switch {
		case seg == "" && rest == "", strings.HasPrefix(seg, "{") && strings.HasSuffix(seg, "...}"):
			if n.rest == nil {
				n.rest = &node{isRest: true}
			}
			n = n.rest
		case seg == "{$}":
			n = n.literal("/")
		case strings.HasPrefix(seg, "{"):
			n = n.literal("")
		default:
			n = n.literal(unescape(seg))
		}
	}
	n.whole, n.act = p.whole, act
}

// literal returns the child for a literal, made if need be; an empty one stands
// for any.
func (n *node) literal(s string) *node {
	if s == "" {
		if n.any == nil {
			n.any = new(node)
		}
		return n.any
	}
	c := n.children.get(s)
	if c == nil {
		c = new(node)
		n.children.add(s, c)
	}
	return c
}

// activity returns what a request is. Marked says that its route is a Poll.
func (t *router) activity(r *http.Request) (act Activity, marked bool) {
	if t.some {
		host := ""
		if t.hosts {
			host = bareHost(r.Host)
		}
		if n := t.match(host, r.Method, tidy(r.URL.EscapedPath())); n != nil {
			act = n.act
		}
	}
	return lowered(act, r), act == Poll
}

// match returns the node whose pattern a request matches, nil if there is none.
func (t *router) match(host, method, path string) (n *node) {
	// ServeMux sends /tree on to /tree/ where that is registered and nothing
	// matches /tree alone. The request is no more than the one that follows.
	var tree *node
	if host != "" {
		n = t.root.children.get(host).method(method, path, &tree)
	}
	if n == nil {
		n = t.root.any.method(method, path, &tree)
	}
	if (n == nil || n.isRest) && !strings.HasSuffix(path, "/") && tree != nil {
		return tree
	}
	return n
}

// method follows a method and then a path. In tree it leaves the first node that
// would match if the path had one more slash.
func (n *node) method(method, path string, tree **node) *node {
	if n == nil {
		return nil
	}
	if m := n.children.get(method).path(path, tree); m != nil {
		return m
	}
	if method == http.MethodHead {
		if m := n.children.get(http.MethodGet).path(path, tree); m != nil {
			return m
		}
	}
	return n.any.path(path, tree)
}

// path follows a path: a literal goes before a wildcard for its segment, and
// that before one for the rest.
func (n *node) path(path string, tree **node) *node {
	switch {
	case n == nil:
		return nil
	case path == "" && n.whole != "":
		return n
	case path == "":
		if *tree == nil {
			*tree = n.children.get("/")
		}
		if *tree == nil {
			*tree = n.rest
		}
		return nil
	}
	seg, rest := "/", ""
	if path != "/" {
		i := strings.IndexByte(path[1:], '/') + 1
		if i == 0 {
			i = len(path)
		}
		seg, rest = unescape(path[1:i]), path[i:]
	}
	if m := n.children.get(seg).path(rest, tree); m != nil {
		return m
	}
	if seg != "/" && n.any != nil {
		if m := n.any.path(rest, tree); m != nil {
			return m
		}
	}
	return n.rest
}

// tidy returns an escaped path as ServeMux would match it: without empty, dot
// and double-dot segments.
func tidy(p string) string {
	if len(p) > 0 && p[0] == '/' && !strings.Contains(p, "//") && !strings.Contains(p, "/.") {
		return p
	}
	clean := path.Clean("/" + p)
	if strings.HasSuffix(p, "/") && clean != "/" {
		clean += "/"
	}
	return clean
}

// unescape undoes the escapes of a segment, if they are right.
func unescape(seg string) string {
	if !strings.Contains(seg, "%") {
		return seg
	}
	if plain, err := url.PathUnescape(seg); err == nil {
		return plain
	}
	return seg
}

// bareHost returns a host without its port.
func bareHost(host string) string {
	if strings.IndexByte(host, ':') < 0 {
		return host
	}
	bare, _, err := net.SplitHostPort(host)
	if err != nil {
		return host
	}
	return bare
}
