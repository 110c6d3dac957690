package main

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/lapse-go/lapse"
	"github.com/lapse-go/lapse/lapsehttp"
)

func (s *site) operator(w http.ResponseWriter, r *http.Request) {
	s.show(w, r, http.StatusOK, view{Page: "operator", Title: "Operator"})
}

// state is what the operator's page asks for again and again: a snapshot, and
// the lines of the journal after the one that the page has.
func (s *site) state(w http.ResponseWriter, r *http.Request) {
	var since int64
	if text := r.URL.Query().Get("since"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			fail(w, http.StatusBadRequest, "BAD_INPUT", fmt.Sprintf("since is %q: want the number of a line", text))
			return
		}
		since = n
	}
	lines, last := s.journal.since(since)
	reply(w, http.StatusOK, struct {
		snapshot
		Log  []line `json:"log"`
		Last int64  `json:"last"`
	}{s.board.look(), lines, last})
}

// expire ends one session, by its fingerprint.
func (s *site) expire(w http.ResponseWriter, r *http.Request) {
	if !form(w, r) {
		return
	}
	mark := r.PostForm.Get("mark")
	session, ok := s.people.find(mark)
	who, _ := session.Value()
	if !ok || !session.Expire() {
		fail(w, http.StatusNotFound, "NO_SESSION", fmt.Sprintf("no live session is called %q: it may have ended meanwhile", mark))
		return
	}
	s.done(w, "ended %s's session %s", who.name, mark)
}

// everywhereOf logs a person out wherever the same name logged in.
func (s *site) everywhereOf(w http.ResponseWriter, r *http.Request) {
	if !form(w, r) {
		return
	}
	name := r.PostForm.Get("name")
	n := s.logOutAll(name)
	if n == 0 {
		fail(w, http.StatusNotFound, "NO_SESSION", fmt.Sprintf("nobody called %q is logged in any more", name))
		return
	}
	s.done(w, "logged %s out everywhere: %s", name, sessions(n))
}

func (s *site) logOutAll(name string) int { return s.manager.EndAll(name) }

// everybody logs all people out; the crowd stays.
func (s *site) everybody(w http.ResponseWriter, _ *http.Request) {
	n := 0
	for _, session := range s.people.all() {
		if session.Expire() {
			n++
		}
	}
	s.done(w, "logged everybody out: %s", sessions(n))
}

// setPolicy changes a class while its sessions live. What the engine says
// against it, the page shows.
func (s *site) setPolicy(w http.ResponseWriter, r *http.Request) {
	if !form(w, r) {
		return
	}
	class := s.classOf(r.PostForm.Get("class"))
	if class == nil {
		fail(w, http.StatusNotFound, "NO_CLASS", fmt.Sprintf("there is no class %q: want visitor or crowd", r.PostForm.Get("class")))
		return
	}
	p, err := readPolicy(r.PostForm.Get)
	if err == nil {
		p.Name = class.Policy().Name
		err = class.SetPolicy(p)
	}
	if err != nil {
		fail(w, http.StatusUnprocessableEntity, "BAD_POLICY", strings.TrimPrefix(err.Error(), "lapse: "))
		return
	}
	s.done(w, "class %s has another policy: %s", p.Name, describe(p))
}

func (s *site) classOf(name string) *class {
	for _, c := range []*class{s.visitor, s.crowd.class} {
		if c.Policy().Name == name {
			return c
		}
	}
	return nil
}

// readPolicy reads the fields of a form. Empty means no such limit.
func readPolicy(get func(string) string) (p lapse.Policy, err error) {
	for _, f := range []struct {
		name string
		to   *time.Duration
	}{{"idle", &p.Idle}, {"lifetime", &p.Lifetime}, {"cap", &p.PollCap}, {"warn", &p.Warn}} {
		text := strings.TrimSpace(get(f.name))
		if text == "" {
			continue
		}
		if *f.to, err = time.ParseDuration(text); err != nil {
			return p, fmt.Errorf("%s is %q: want a time such as 20s or 1m30s, or 0 for none", f.name, text)
		}
	}
	if text := strings.TrimSpace(get("pollMax")); text != "" {
		if p.PollMax, err = strconv.Atoi(text); err != nil {
			return p, fmt.Errorf("most polls is %q: want a whole number, or 0 for no such limit", text)
		}
	}
	return p, nil
}

// describe names the limits of a policy that are set.
func describe(p lapse.Policy) string {
	var parts []string
	for _, f := range []struct {
		name  string
		value time.Duration
	}{{"idle", p.Idle}, {"lifetime", p.Lifetime}, {"polling cap", p.PollCap}, {"warning", p.Warn}} {
		if f.value > 0 {
			parts = append(parts, f.name+" "+short(f.value))
		}
	}
	if p.PollMax > 0 {
		parts = append(parts, fmt.Sprintf("at most %d polls", p.PollMax))
	}
	if len(parts) == 0 {
		return "no limits"
	}
	return strings.Join(parts, ", ")
}

// startCrowd starts synthetic sessions.
func (s *site) startCrowd(w http.ResponseWriter, r *http.Request) {
	if !form(w, r) {
		return
	}
	n, err := strconv.Atoi(strings.TrimSpace(r.PostForm.Get("n")))
	if err != nil || n < 1 || n > mostCrowd {
		fail(w, http.StatusUnprocessableEntity, "BAD_INPUT",
			fmt.Sprintf("the number of sessions is %q: want 1 to %d", r.PostForm.Get("n"), mostCrowd))
		return
	}
	var until func() time.Time
	var ends string
	switch how := r.PostForm.Get("ends"); how {
	case "spread":
		ends = "their ends are spread over " + words(s.config.spread)
		until = spread(s.config.spread)
	case "storm":
		ends = "all end at one instant, in " + words(s.config.storm)
		until = storm(s.config.storm)
	default:
		fail(w, http.StatusUnprocessableEntity, "BAD_INPUT", fmt.Sprintf("ends is %q: want spread or storm", how))
		return
	}
	took, err := s.crowd.start(r.Context(), n, until)
	if err != nil {
		fail(w, http.StatusConflict, "NOT_STARTED", err.Error())
		return
	}
	s.done(w, "started %s synthetic sessions in %v; %s", count(n), took.Round(time.Millisecond), ends)
}

func (s *site) stopCrowd(w http.ResponseWriter, _ *http.Request) {
	s.done(w, "stopped the crowd: %s", sessions(s.crowd.stop()))
}

// done answers a script with what was done, and notes it.
func (s *site) done(w http.ResponseWriter, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s.journal.add(kindOperator, "operator: %s", text)
	w.Header().Set("Cache-Control", "no-store")
	lapsehttp.Success(w, text) // an error here is an operator who has left
}

func sessions(n int) string {
	if n == 1 {
		return "1 session"
	}
	return count(n) + " sessions"
}
