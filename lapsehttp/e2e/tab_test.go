package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/inspector"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience is how long a test waits for what should come soon. It decides
// nothing but when a test that has failed says so.
const patience = 20 * time.Second

// A tab is one page of the device that visits a site.
type tab struct {
	s      *site
	t      *testing.T
	name   string
	ctx    context.Context
	close  context.CancelFunc
	closed bool
	away   bool          // it shows a page without a clock
	next   time.Duration // until the page's next timer; negative: none

	mu       sync.Mutex
	problems []string // what the console was told
	crashed  bool
}

// how says what a page is like.
type how struct {
	Watch   string // options of watch, as JSON
	Dialog  string // options of the dialog, as JSON; empty: without
	Without string // what the browser shall not have, separated by spaces
	Cookie  string // set before the client runs
	Cache   string // Cache-Control
	Bare    bool   // without the client
	Other   string // tells addresses apart
	Shell   bool   // a page that is the same for everybody
	Tab     bool   // in the window of the device's first tab
}

func (h how) url(s *site) string {
	q := url.Values{}
	set := func(key, value string) {
		if value != "" {
			q.Set(key, value)
		}
	}
	set("watch", h.Watch)
	set("dialog", h.Dialog)
	set("without", h.Without)
	set("cookie", h.Cookie)
	set("cache", h.Cache)
	set("other", h.Other)
	if h.Bare {
		q.Set("bare", "")
	}
	path := "/page"
	if h.Shell {
		path = "/shell"
	}
	return s.url + path + "?" + q.Encode()
}

// logIn opens a window, logs in, and shows a page like that.
func (s *site) logIn(h how) *tab {
	s.t.Helper()
	p := s.window(h.Tab)
	p.visit(s.url + "/login?next=" + url.QueryEscape(strings.TrimPrefix(h.url(s), s.url)))
	p.load(func() { p.do(`document.getElementById('login').click()`) })
	p.begin(h)
	return p
}

// open opens a page like that in a further window, or tab, of the device.
func (s *site) open(h how) *tab {
	s.t.Helper()
	p := s.window(h.Tab)
	p.visit(h.url(s))
	p.begin(h)
	return p
}

// begin waits until the page's client knows the session.
func (p *tab) begin(h how) {
	p.t.Helper()
	if !h.Bare {
		p.wait(`globalThis.ready && session.state !== 'unknown'`)
		p.s.quiet()
	}
}

// window opens an empty window, or tab, of the device.
func (s *site) window(inTab bool) *tab {
	s.t.Helper()
	browser, err := startBrowser()
	if err != nil {
		s.t.Fatalf("the browser does not start: %v", err)
	}
	if s.profile == "" {
		s.profile = newProfile(s.t, browser)
	}
	p := &tab{s: s, t: s.t, name: fmt.Sprintf("window %d", len(s.tabs)+1), away: true}
	p.ctx, p.close = chromedp.NewContext(browser, chromedp.WithExistingBrowserContext(s.profile),
		chromedp.WithNewWindow(!inTab), chromedp.WithListener(p.listen))
	s.tabs = append(s.tabs, p)
	s.t.Cleanup(func() {
		p.shut()
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, problem := range p.problems {
			p.t.Errorf("%s: the console: %s", p.name, problem)
		}
	})
	if err := chromedp.Do(p.ctx); err != nil {
		s.t.Fatalf("%s does not open: %v", p.name, err)
	}
	return p
}

// shut closes the tab.
func (p *tab) shut() {
	if !p.closed {
		p.closed = true
		p.close()
	}
}

// listen notes what the console is told: errors, and whatever the
// Content-Security-Policy refuses. That a request was answered with 401, or
// not at all, is no error of the page's.
func (p *tab) listen(event any) {
	var problem string
	switch event := event.(type) {
	case *inspector.EventTargetCrashed:
		p.mu.Lock()
		defer p.mu.Unlock()
		p.crashed = true
		return
	case *runtime.EventExceptionThrown:
		problem = event.ExceptionDetails.Text
		if e := event.ExceptionDetails.Exception; e != nil {
			problem += ": " + e.Description
		}
	case *runtime.EventConsoleAPICalled:
		if event.Type != runtime.ConsoleAPICalledTypeError && event.Type != runtime.ConsoleAPICalledTypeWarning {
			return
		}
		for _, arg := range event.Args {
			problem += " " + string(arg.Value) + arg.Description
		}
	case *log.EventEntryAdded:
		if event.Entry.Source == log.EntrySourceNetwork || event.Entry.Level == log.EntryLevelVerbose || event.Entry.Level == log.EntryLevelInfo {
			return
		}
		problem = fmt.Sprintf("%s: %s", event.Entry.Source, event.Entry.Text)
	default:
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.problems = append(p.problems, problem)
}

// run runs an action within the time that a test is willing to wait.
func run[T any](p *tab, a chromedp.Action[T]) (T, error) {
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	return chromedp.Run(ctx, a)
}

// must runs an action that has to succeed.
func must[T any](p *tab, a chromedp.Action[T]) T {
	p.t.Helper()
	v, err := run(p, a)
	if err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
	return v
}

// visit goes to an address, and waits until the page is there.
func (p *tab) visit(address string) {
	p.t.Helper()
	p.away = true
	must(p, chromedp.Navigate(address))
	p.arrived()
}

// arrived notes whether the page that has come has a clock.
func (p *tab) arrived() {
	p.t.Helper()
	p.away, p.next = !p.is(`globalThis.clock`), 0
}

// load does what leads to another page, and waits until that is there.
func (p *tab) load(f func()) {
	p.t.Helper()
	p.do(`globalThis.old = true`)
	p.away = true
	f()
	p.until(`the next page`, func() bool {
		there, err := run(p, chromedp.Evaluate[bool](`!globalThis.old && document.readyState === 'complete'`))
		return err == nil && there
	})
	p.arrived()
}

// get evaluates an expression, awaits it if it is a promise, and decodes it.
func get[T any](p *tab, expression string) T {
	p.t.Helper()
	v, err := run(p, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatalf("%s: %s: %v", p.name, expression, err)
	}
	return v
}

func (p *tab) do(statement string) { p.t.Helper(); get[chromedp.Void](p, statement) }
func (p *tab) text(expression string) string {
	p.t.Helper()
	return get[string](p, "String("+expression+")")
}

// is says whether an expression, or what it promises, is true.
func (p *tab) is(expression string) bool {
	p.t.Helper()
	return get[bool](p, "Promise.resolve("+expression+").then((value) => !!value)")
}

// check fails the test unless the expression is true.
func (p *tab) check(expression string) {
	p.t.Helper()
	if !p.is(expression) {
		p.t.Errorf("%s: want %s; %s", p.name, expression, p.story())
	}
}

// wait waits until the expression is true. Timers that are due run meanwhile,
// but no time passes unless it is real.
func (p *tab) wait(expression string) {
	p.t.Helper()
	p.until(expression, func() bool {
		p.s.runAll()
		return p.is(expression)
	})
}

// soon waits until the expression is true, and lets up to three seconds pass.
func (p *tab) soon(expression string) {
	p.t.Helper()
	left := 3 * time.Second
	p.until(expression, func() bool {
		p.s.runAll()
		if p.is(expression) {
			return true
		}
		if p.s.clock != nil && left > 0 {
			const step = 100 * time.Millisecond
			p.s.pass(step)
			left -= step
		}
		return false
	})
}

// see is as wait, but no timer runs.
func (p *tab) see(expression string) {
	p.t.Helper()
	p.until(expression, func() bool { return p.is(expression) })
}

func (p *tab) until(what string, done func() bool) {
	p.t.Helper()
	for begin := time.Now(); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > patience {
			p.t.Fatalf("%s: waited in vain for: %s; %s", p.name, what, p.story())
		}
	}
}

// story tells what a page was told, for whoever reads of a failure.
func (p *tab) story() string {
	v, err := run(p, chromedp.Evaluate[string](`JSON.stringify({at: document.URL, state: globalThis.session?.state,
		remaining: globalThis.session?.remaining, offset: globalThis.session?.offset, leads: globalThis.session?.leads,
		cookie: document.cookie, told: globalThis.told}, (_, v) => v instanceof Error ? String(v) : v)`))
	if err != nil {
		return err.Error()
	}
	hits := make([]string, 0, 12)
	p.s.mu.Lock()
	for _, h := range p.s.hits[max(0, len(p.s.hits)-cap(hits)):] {
		hits = append(hits, h.at.UTC().Format("15:04:05.000 ")+h.what)
	}
	p.s.mu.Unlock()
	log, _ := json.Marshal(hits)
	return fmt.Sprintf("the page: %s, the last requests: %s", v, log)
}
