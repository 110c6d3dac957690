package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/lapse-go/lapse"
	"github.com/lapse-go/lapse/lapsehttp"
)

// A visitor is the value of the session of somebody who logged in. Synthetic
// sessions have none.
type visitor struct {
	name string

	mu sync.Mutex
	// mu guards the fields below.

	draft string
	run   time.Time // when the present run of polls began; zero: there is none
}

// observe keeps track of where the run of polls began, for the gauges.
func (v *visitor) observe(info lapse.Info) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case info.Polls == 0:
		v.run = time.Time{}
	case info.Polls == 1 || v.run.IsZero():
		v.run = info.Seen
	}
}

func (v *visitor) runStart() time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.run
}

func (v *visitor) text() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.draft
}

func (v *visitor) save(text string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.draft = text
}

// mostName is the longest name, in characters.
const mostName = 40

// cleanName returns the name that somebody logs in with, or what the page says
// against it.
func cleanName(name string) (clean, problem string) {
	name = strings.TrimSpace(name)
	switch n := utf8.RuneCountInString(name); {
	case name == "":
		return "", "Please type a name. Any will do."
	case n > mostName:
		return "", fmt.Sprintf("This name has %d characters. Please take one of at most %d.", n, mostName)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "", "This name has characters that cannot be shown. Please take another one."
	}
	return name, ""
}

// fingerprint is what a session may be called where others see it: the id
// itself would open it.
func fingerprint(id lapsehttp.ID) string {
	sum := sha256.Sum256(id[:])
	return hex.EncodeToString(sum[:4])
}

// people are the sessions of those who logged in, with their fingerprints.
type people struct {
	mu   sync.Mutex
	live map[session]string // guarded by mu
}

// add enters a session until it ends.
func (p *people) add(s session) {
	id, _ := s.Key()
	p.mu.Lock()
	p.live[s] = fingerprint(id)
	p.mu.Unlock()
	if _, ok := s.NotifyOnExpire(func(event) { p.remove(s) }); !ok {
		p.remove(s) // it ended meanwhile: the hook will not run
	}
}

func (p *people) remove(s session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.live, s)
}

// find returns the session that has the fingerprint.
func (p *people) find(mark string) (session, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for s, m := range p.live {
		if m == mark {
			return s, true
		}
	}
	return session{}, false
}

// all returns the sessions, of which some may have ended by now.
func (p *people) all() []session {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Keys(p.live))
}

func (p *people) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.live)
}

// A person is a live session as the operator sees it.
type person struct {
	Name  string `json:"name"`
	Mark  string `json:"mark"`
	Age   int64  `json:"age"`  // milliseconds since the log-in
	Left  int64  `json:"left"` // until the end; -1: no limit
	Limit string `json:"limit"`
	Polls int    `json:"polls"`
}

// list returns the latest of the people.
func (p *people) list(now time.Time, most int) []person {
	type member struct {
		session session
		mark    string
		info    lapse.Info
	}
	p.mu.Lock()
	all := make([]member, 0, len(p.live))
	for s, mark := range p.live {
		all = append(all, member{session: s, mark: mark})
	}
	p.mu.Unlock()

	all = slices.DeleteFunc(all, func(m member) bool { return !m.session.Alive() })
	for i := range all {
		all[i].info, _ = all[i].session.Info()
	}
	slices.SortFunc(all, func(a, b member) int {
		if c := b.info.Started.Compare(a.info.Started); c != 0 {
			return c
		}
		return strings.Compare(a.mark, b.mark)
	})
	list := make([]person, 0, min(most, len(all)))
	for _, m := range all[:min(most, len(all))] {
		v, ok := m.session.Value()
		if !ok {
			continue
		}
		left := int64(-1)
		if !m.info.Deadline.IsZero() {
			left = ms(m.info.Deadline.Sub(now))
		}
		list = append(list, person{v.name, m.mark, ms(now.Sub(m.info.Started)), left, m.info.Reason.String(), m.info.Polls})
	}
	return list
}

// ms is a distance in milliseconds, not below zero.
func ms(d time.Duration) int64 { return max(d, 0).Milliseconds() }
