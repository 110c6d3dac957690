package lapse

import (
	"fmt"
	"time"
)

// A Policy says how long a session may live. Zero in a field means that there
// is no such limit. A negative field is an error, as are an empty Name, a
// Lifetime below Idle, a PollCap above Lifetime, a Warn that is not below every
// limit that is set, and a PollMax above 16777215.
//
// A limit that is no whole number of ticks holds rounded up to the next tick,
// Warn, too; the Policy itself is kept and given back as it was.
type Policy struct {
	Name     string        // of the class, in events and statistics
	Idle     time.Duration // longest time without a touch or a poll
	Lifetime time.Duration // longest life, however active
	PollCap  time.Duration // longest run of polls without a touch (the polling cap)
	PollMax  int           // most polls in such a run
	Warn     time.Duration // how long before its end a session's NotifyBeforeExpire hooks run; zero: never
}

// DefaultSession is the policy of sessions when Options.Default is not set:
// they end after 15 minutes without a touch, as Twisted Web's Session does.
var DefaultSession = Policy{Name: "default", Idle: 15 * time.Minute}

// ShortSession is a policy for sessions that end after a minute, as the
// ShortSession in the documentation of Twisted Web.
var ShortSession = Policy{Name: "short", Idle: time.Minute}

func (p Policy) validate() error {
	if p.Name == "" {
		return fmt.Errorf("lapse: Policy.Name is empty: a class needs a name")
	}
	bad := func(field string, value any, want string) error {
		return fmt.Errorf("lapse: Policy.%s of class %q is %v: %s", field, p.Name, value, want)
	}
	for _, f := range []struct {
		name  string
		value time.Duration
	}{{"Idle", p.Idle}, {"Lifetime", p.Lifetime}, {"PollCap", p.PollCap}, {"Warn", p.Warn}} {
		if f.value < 0 {
			return bad(f.name, f.value, "want zero (none) or more")
		}
	}
	switch {
	case p.PollMax < 0 || p.PollMax > pollsMask:
		return bad("PollMax", p.PollMax, fmt.Sprintf("want zero (no limit) to %d", pollsMask))
	case p.Lifetime > 0 && p.Lifetime < p.Idle:
		return bad("Lifetime", p.Lifetime, fmt.Sprintf("want at least Idle, %v", p.Idle))
	case p.Lifetime > 0 && p.PollCap > p.Lifetime:
		return bad("PollCap", p.PollCap, fmt.Sprintf("want at most Lifetime, %v", p.Lifetime))
	}
	for _, limit := range []time.Duration{p.Idle, p.Lifetime, p.PollCap} {
		if limit > 0 && p.Warn >= limit {
			return bad("Warn", p.Warn, fmt.Sprintf("want less than every limit, the least of which is at most %v", limit))
		}
	}
	return nil
}

// terms are a Policy in ticks. They hold the one rule that says when a session
// ends.
type terms struct {
	policy              Policy
	idle, life, pollCap int64 // never where the policy sets none
	pollMax             int
	warn                int64 // zero: no warnings
}

func (t *timeline) terms(p Policy) terms {
	terms := terms{policy: p, idle: t.ticks(p.Idle), life: t.ticks(p.Lifetime), pollCap: t.ticks(p.PollCap), pollMax: p.PollMax}
	if p.Warn > 0 {
		terms.warn = t.ticks(p.Warn)
	}
	return terms
}

func (t *terms) idleOf(r *reading) int64 {
	switch own := r.ownIdle(); own {
	case 0:
		return t.idle
	case tickMask:
		return never
	default:
		return own
	}
}

// end returns the limit of a session and its kind: the least of
//
//	seen + Idle    start + Lifetime    first poll of the run + PollCap
//
// and at a tie Lifetime before PollCap before Idle. While a session is held,
// that is the limit it would have if it were released at stamp.
func (t *terms) end(r *reading, stamp int64) (limit int64, why Reason) {
	seen := r.seen
	if r.held() {
		seen = max(seen, stamp)
	}
	limit, why = seen+t.idleOf(r), ReasonIdle
	if r.polled() {
		if at := r.runStart() + t.pollCap; at <= limit {
			limit, why = at, ReasonPollCap
		}
	}
	if at := r.started() + t.life; at <= limit {
		limit, why = at, ReasonLifetime
	}
	if limit >= never {
		return never, 0
	}
	return limit, why
}

// due reports whether a session has ended by the clock, and if so its limit and
// kind. A poll at the cap still counts, so the cap is passed a tick later.
func (t *terms) due(r *reading, now int64) (limit int64, why Reason, due bool) {
	if now < t.dueTick(r) {
		return 0, 0, false
	}
	if r.held() {
		return r.started() + t.life, ReasonLifetime, true
	}
	limit, why = t.end(r, 0)
	return limit, why, true
}

// dueTick returns the first tick at which a session is due.
func (t *terms) dueTick(r *reading) int64 {
	tick := r.started() + t.life
	if r.held() {
		return tick
	}
	tick = min(tick, r.seen+t.idleOf(r))
	if r.polled() {
		tick = min(tick, r.runStart()+t.pollCap+1)
	}
	return tick
}

// pastCap reports whether a poll at stamp comes after the cap.
func (t *terms) pastCap(r *reading, stamp int64) bool {
	return r.polled() && stamp > r.runStart()+t.pollCap
}

// warnLimit returns the limit that a warning is about and its kind: the
// session's limit, but for Idle where the session has an own one that is not
// above Warn.
func (t *terms) warnLimit(r *reading) (limit int64, why Reason) {
	released := *r
	released.state &^= heldBit
	if own := r.ownIdle(); own != 0 && own <= t.warn {
		without := *t
		without.idle = never
		released.arm &= 1<<idleShift - 1
		return without.end(&released, 0)
	}
	return t.end(&released, 0)
}

// warnTick returns the tick from which on a session is near its end.
func (t *terms) warnTick(r *reading) int64 {
	if t.warn == 0 {
		return never
	}
	limit, _ := t.warnLimit(r)
	return limit - t.warn
}

// toWarn reports whether a session that is not due is to be warned.
func (t *terms) toWarn(r *reading, now int64) bool {
	return !r.warned() && !r.held() && now >= t.warnTick(r)
}

// visitTick returns the tick at which the wheel has something to do for a
// session.
func (t *terms) visitTick(r *reading) int64 {
	tick := t.dueTick(r)
	if !r.warned() && !r.held() {
		tick = min(tick, t.warnTick(r))
	}
	return tick
}

// within reports whether a session that has its end under t has it no earlier
// under next, and its warning neither, whatever its state. Then the wheels need
// no change but for sessions that have been warned. A Warn that only shrinks is
// not within: an own Idle that was too short to be warned of may not be any
// more.
func (t *terms) within(next terms) bool {
	return t.idle <= next.idle && t.life <= next.life && t.pollCap <= next.pollCap && (next.warn == t.warn || next.warn == 0)
}
