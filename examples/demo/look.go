package main

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/lapse-go/lapse"
	"github.com/lapse-go/lapse/lapsehttp"
)

// A look is what a page needs to draw its session. All times but Now are
// milliseconds from then, so that no clock but the server's matters.
type look struct {
	Now     int64  `json:"now"`   // milliseconds since the epoch
	Left    int64  `json:"left"`  // until the end; -1: no limit
	Limit   string `json:"limit"` // which will end it
	Seen    int64  `json:"seen"`  // since the last touch or poll
	Polls   int    `json:"polls"` // since the last touch
	PollMax int    `json:"pollMax"`
	Warn    int64  `json:"warn"` // how long before the end the server warns; 0: never
	Idle    gauge  `json:"idle"`
	Cap     gauge  `json:"cap"` // full while there is no run of polls
	Life    gauge  `json:"life"`
}

// A gauge is what is left of a limit. Of is zero where there is no such limit.
type gauge struct {
	Left int64 `json:"left"`
	Of   int64 `json:"of"`
}

func newGauge(limit time.Duration, from, now time.Time) gauge {
	return gauge{min(ms(from.Add(limit).Sub(now)), ms(limit)), ms(limit)}
}

func newLook(info lapse.Info, p lapse.Policy, run, now time.Time) look {
	l := look{
		Now:     now.UnixMilli(),
		Left:    -1,
		Limit:   info.Reason.String(),
		Seen:    ms(now.Sub(info.Seen)),
		Polls:   info.Polls,
		PollMax: p.PollMax,
		Warn:    ms(p.Warn),
		Idle:    newGauge(p.Idle, info.Seen, now),
		Cap:     gauge{ms(p.PollCap), ms(p.PollCap)},
		Life:    newGauge(p.Lifetime, info.Started, now),
	}
	if !info.Deadline.IsZero() {
		l.Left = ms(info.Deadline.Sub(now))
	}
	if info.Polls > 0 {
		l.Cap = newGauge(p.PollCap, run, now)
	}
	return l
}

// look tells a page about its session. By which road it was asked decides
// whether that was a touch, a poll or a peek; the answer is the same.
func (s *site) look(w http.ResponseWriter, r *http.Request) {
	session, _ := lapsehttp.FromContext[*visitor](r.Context())
	info, ok := session.Info()
	v, alive := session.Value()
	if !ok || !alive {
		// It ended since Require let the request pass.
		fail(w, http.StatusUnauthorized, "SESSION_TIMEOUT", "the session has just ended")
		return
	}
	reply(w, http.StatusOK, newLook(info, s.visitor.Policy(), v.runStart(), time.Now()))
}

// fail answers a script, with words for the user.
func fail(w http.ResponseWriter, status int, code, message string) {
	reply(w, status, map[string]any{"success": false, "error": code, "message": message})
}

func reply(w http.ResponseWriter, status int, answer any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(answer) // an error here is a visitor who has left
}
