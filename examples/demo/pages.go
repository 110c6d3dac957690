package main

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/lapse-go/lapse"
	"github.com/lapse-go/lapse/lapsehttp"
)

var (
	//go:embed assets
	assetFiles embed.FS
	//go:embed pages
	pageFiles embed.FS

	assets = newAssets()
	pages  = newPages("login", "home", "editor", "score", "watch", "operator")
)

// An asset is a file that all pages may load.
type asset struct {
	body       []byte
	kind, etag string
}

// newAssets returns a handler of the embedded assets. Browsers ask each time
// whether a file is still the same, so that an old page never meets a new
// script.
func newAssets() http.Handler {
	files := make(map[string]asset)
	must(fs.WalkDir(assetFiles, "assets", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := assetFiles.ReadFile(name)
		sum := sha256.Sum256(body)
		files["/"+name] = asset{body, kinds[path.Ext(name)], `"` + hex.EncodeToString(sum[:8]) + `"`}
		return err
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		file, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		h := w.Header()
		h.Set("Content-Type", file.kind)
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", file.etag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(file.body))
	})
}

// kinds does not depend on what the machine takes a suffix for.
var kinds = map[string]string{
	".css": mime.FormatMediaType("text/css", map[string]string{"charset": "utf-8"}),
	".js":  mime.FormatMediaType("text/javascript", map[string]string{"charset": "utf-8"}),
	".svg": "image/svg+xml",
}

// newPages parses the pages, each with the layout around it.
func newPages(names ...string) map[string]*template.Template {
	all := make(map[string]*template.Template)
	layout := template.New("layout").Funcs(template.FuncMap{"words": words})
	layout = template.Must(layout.ParseFS(pageFiles, "pages/layout.html"))
	for _, name := range names {
		all[name] = template.Must(template.Must(layout.Clone()).ParseFS(pageFiles, "pages/"+name+".html"))
	}
	return all
}

// must is for what cannot fail once the program compiles.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// A view is what the templates show.
type view struct {
	Page      string
	Title     string
	Name      string // of the visitor; empty: nobody is logged in
	Mark      string // of the session
	Policy    lapse.Policy
	Poll      time.Duration
	Refresh   time.Duration
	Spread    time.Duration
	Storm     time.Duration
	MostCrowd int
	MostName  int
	Next      string // where the log-in goes on
	Text      string // of the editor, or what was typed at the log-in
	WhileOpen bool   // the editor keeps the session alive while it is open
	Error     string
}

// show sends a page.
func (s *site) show(w http.ResponseWriter, r *http.Request, status int, v view) {
	v.Policy, v.Poll, v.Refresh = s.visitor.Policy(), s.config.poll, s.config.refresh
	v.Spread, v.Storm, v.MostCrowd, v.MostName = s.config.spread, s.config.storm, mostCrowd, mostName
	if session, ok := lapsehttp.FromContext[*visitor](r.Context()); ok {
		if who, ok := session.Value(); ok {
			id, _ := session.Key()
			v.Name, v.Mark = who.name, fingerprint(id)
		}
	}
	var page bytes.Buffer
	if err := pages[v.Page].ExecuteTemplate(&page, "layout", v); err != nil {
		s.journal.logger.Print(err)
		http.Error(w, "this page could not be made", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	page.WriteTo(w)
}

func (s *site) loginPage(w http.ResponseWriter, r *http.Request) {
	s.show(w, r, http.StatusOK, view{Page: "login", Title: "Log in", Next: lapsehttp.ReturnPath(r)})
}

// login starts a session under a fresh id. What the visitor came with ends.
func (s *site) login(w http.ResponseWriter, r *http.Request) {
	if !form(w, r) {
		return
	}
	again := view{Page: "login", Title: "Log in", Next: lapsehttp.ReturnPath(r), Text: r.PostForm.Get("name")}
	name, problem := cleanName(again.Text)
	if problem != "" {
		again.Error = problem
		s.show(w, r, http.StatusUnprocessableEntity, again)
		return
	}
	if s.people.len() >= mostPeople {
		s.full(w, r, again)
		return
	}
	session, err := s.manager.Start(w, r, &visitor{name: name})
	if err != nil {
		if !errors.Is(err, lapse.ErrFull) {
			s.journal.logger.Print(err)
		}
		s.full(w, r, again)
		return
	}
	id, _ := session.Key()
	s.journal.add(kindStart, "%s logged in, session %s", name, fingerprint(id))
	s.people.add(session)
	http.Redirect(w, r, again.Next, http.StatusSeeOther)
}

// full says that nobody can log in now.
func (s *site) full(w http.ResponseWriter, r *http.Request, again view) {
	again.Error = "There is no room for another session right now. Please try again in a moment."
	s.show(w, r, http.StatusServiceUnavailable, again)
}

func (s *site) home(w http.ResponseWriter, r *http.Request) {
	s.show(w, r, http.StatusOK, view{Page: "home", Title: "Touch, poll, peek"})
}

func (s *site) watch(w http.ResponseWriter, r *http.Request) {
	s.show(w, r, http.StatusOK, view{Page: "watch", Title: "Peek"})
}

func (s *site) score(w http.ResponseWriter, r *http.Request) {
	s.show(w, r, http.StatusOK, view{Page: "score", Title: "Score"})
}

// goals is what the score page asks for again and again. Each is a poll.
func (s *site) goals(w http.ResponseWriter, _ *http.Request) {
	seconds := int(time.Since(s.opened) / time.Second)
	minute := seconds%90 + 1
	reply(w, http.StatusOK, map[string]any{"minute": minute, "wheels": minute / 13, "heaps": minute / 31})
}

func (s *site) editor(w http.ResponseWriter, r *http.Request) {
	v := view{Page: "editor", Title: "Editor", WhileOpen: r.URL.Query().Get("keep") == "open"}
	if session, ok := lapsehttp.FromContext[*visitor](r.Context()); ok {
		if who, ok := session.Value(); ok {
			v.Text = who.text()
		}
	}
	s.show(w, r, http.StatusOK, v)
}

// mostText is the longest text that the editor keeps, in bytes.
const mostText = 20_000

// save keeps the editor's text as long as the session lives. A script gets a
// look for it, a form the page again.
func (s *site) save(w http.ResponseWriter, r *http.Request) {
	if !form(w, r) {
		return
	}
	text := strings.ReplaceAll(r.PostForm.Get("text"), "\r\n", "\n")
	if len(text) > mostText {
		fail(w, http.StatusUnprocessableEntity, "TOO_LONG", fmt.Sprintf("the text is %d bytes: at most %d are kept", len(text), mostText))
		return
	}
	if session, ok := lapsehttp.FromContext[*visitor](r.Context()); ok {
		if who, ok := session.Value(); ok {
			who.save(strings.ToValidUTF8(text, "\uFFFD"))
		}
	}
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		s.look(w, r)
		return
	}
	http.Redirect(w, r, "/editor", http.StatusSeeOther)
}

// everywhere logs the visitor out, whatever browsers the same name logged in
// with.
func (s *site) everywhere(w http.ResponseWriter, r *http.Request) {
	session, _ := lapsehttp.FromContext[*visitor](r.Context())
	if who, ok := session.Value(); ok {
		s.logOutAll(who.name)
	}
	s.manager.End(w, r)
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}
