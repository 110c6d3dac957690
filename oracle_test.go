package lapse_test

import (
	"cmp"
	"slices"
	"time"
)

// The oracle is a second engine that is too slow to use and too simple to be
// wrong: sessions stand in a slice in order of start, their times are whole
// ticks since New, and every question is answered by going through all of them.
// It shares nothing with the engine, and it promises the order of everything,
// as an engine in Manual mode does.
type oracle struct {
	modelTape
	tick   int64 // nanoseconds
	origin time.Time
	now    int64 // nanoseconds since New: the latest reading of the clock

	sessions []*oracleSession // all that ever started: a handle is an index
	open     []*oracleSession // those of them that nobody has ended yet
	classes  []*oracleClass   // the first is the default
	hooks    []*oracleHook    // all that were ever registered: a stop is an index

	onExpire, batches, onWarn []*oracleHook // of the engine

	maxSessions int
	evict       bool
	remember    int
	ended       []oracleEnd

	advancing, closing, closed bool

	timed   bool           // hooks record when they run
	ends    map[string]int // by reason and way, to see what many programs have reached
	reasons map[string]int
	panics  int
}

type oracleSession struct {
	id            int
	key, value    int
	class         *oracleClass
	started, seen int64
	polling       bool // a run of polls is on:
	run           int64
	polls         int
	idle          int64 // its own, in ticks; zero: its class's
	holds         int
	warned        bool
	verdict       *oracleLimit // found due, for ever
	open          bool         // nobody has ended it
	ending        bool         // its own hooks are running
	hooks, onWarn []*oracleHook
}

type oracleClass struct {
	modelPolicy
	hooks []*oracleHook
}

type oracleHook struct {
	*modelHook
	session               *oracleSession // whose own it is
	warns, begun, stopped bool
}

type oracleLimit struct {
	why string
	at  int64
}

type oracleEnd struct {
	key int
	why string
	at  int64
}

const (
	lastTick = 1<<39 - 1 // time is counted up to here
	never    = 1 << 62   // the limit of a session that has none
)

// What ends a session, in the oracle's words.
const (
	whyIdle     = "idle"
	whyLifetime = "lifetime"
	whyPollCap  = "pollcap"
	whyPollMax  = "pollmax"
	whyExpired  = "expired"
	whyEvicted  = "evicted"
	whyShutdown = "shutdown"
)

// Times.

func (o *oracle) floor() int64 { return min(o.now/o.tick, lastTick) }
func (o *oracle) stamp() int64 { return min(o.ceil(o.now), lastTick) }

func (o *oracle) ceil(ns int64) int64 {
	if ns <= 0 {
		return 0
	}
	return (ns-1)/o.tick + 1
}

// time tells a tick as the engine hands it out. Ticks of a second outrun a
// Duration, hence the seconds apart.
func (o *oracle) time(tick int64) time.Time {
	const giga = 1_000_000_000
	seconds, rest := tick/giga*o.tick, tick%giga*o.tick
	return time.Unix(o.origin.Unix()+seconds, int64(o.origin.Nanosecond())).Add(time.Duration(rest)).UTC()
}

// limitTime is zero for no limit.
func (o *oracle) limitTime(l oracleLimit) time.Time {
	if l.why == "" {
		return time.Time{}
	}
	return o.time(l.at)
}

// Limits.

// limits lists what ends s if nothing happens; at a tie the first one counts.
func (o *oracle) limits(s *oracleSession, seen int64) []oracleLimit {
	list := make([]oracleLimit, 0, 3)
	if d := o.ceil(int64(s.class.lifetime)); d > 0 {
		list = append(list, oracleLimit{whyLifetime, s.started + d})
	}
	if d := o.ceil(int64(s.class.pollCap)); d > 0 && s.polling {
		list = append(list, oracleLimit{whyPollCap, s.run + d})
	}
	if d := cmp.Or(s.idle, o.ceil(int64(s.class.idle))); d > 0 {
		list = append(list, oracleLimit{whyIdle, seen + d})
	}
	return slices.DeleteFunc(list, func(l oracleLimit) bool { return l.at >= never })
}

func least(list []oracleLimit) oracleLimit {
	best := oracleLimit{"", never}
	for _, l := range list {
		if l.at < best.at {
			best = l
		}
	}
	return best
}

// limit is what Info says: for a held session, as if it were released now.
func (o *oracle) limit(s *oracleSession) oracleLimit {
	if s.verdict != nil {
		return *s.verdict
	}
	if s.holds > 0 {
		return least(o.limits(s, max(s.seen, o.stamp())))
	}
	return least(o.limits(s, s.seen))
}

// due tells whether the clock has ended s, and by which limit.
func (o *oracle) due(s *oracleSession) (oracleLimit, bool) {
	if s.verdict != nil {
		return *s.verdict, true
	}
	list := o.limits(s, s.seen)
	if s.holds > 0 {
		list = slices.DeleteFunc(list, func(l oracleLimit) bool { return l.why != whyLifetime })
	}
	for _, l := range list {
		if o.floor() > l.at || o.floor() == l.at && l.why != whyPollCap {
			return least(list), true
		}
	}
	return oracleLimit{}, false
}

// living judges s as every call does. Whoever finds it due marks it for ever.
func (o *oracle) living(s *oracleSession) bool {
	if !s.open {
		return false
	}
	l, due := o.due(s)
	if due {
		s.verdict = &l
	}
	return !due
}

// holder finds the session that has the key, due or not.
func (o *oracle) holder(key int) *oracleSession {
	for _, s := range o.open {
		if s.key == key {
			return s
		}
	}
	return nil
}

func (o *oracle) find(key int) *oracleSession {
	if s := o.holder(key); s != nil && o.living(s) {
		return s
	}
	return nil
}

// Starts.

func (o *oracle) start(class *oracleClass, key, value int) (*oracleSession, string) {
	for {
		holder := o.holder(key)
		switch {
		case o.closing:
			return nil, "closed"
		case holder != nil && o.living(holder):
			return holder, "exists"
		case holder != nil:
			o.end("start", holder, *holder.verdict)
			continue
		}
		if o.maxSessions > 0 && len(o.open) >= o.maxSessions {
			if overdue := o.overdue(); len(overdue) > 0 {
				o.batch(o.endAll("full", overdue))
			} else if victim := o.victim(); o.evict && victim != nil {
				o.end("full", victim, oracleLimit{whyEvicted, o.limit(victim).at})
			} else {
				return nil, "full"
			}
			continue
		}
		s := &oracleSession{
			id: len(o.sessions), key: key, value: value, class: class,
			started: o.stamp(), seen: o.stamp(), open: true,
		}
		o.sessions = append(o.sessions, s)
		o.open = append(o.open, s)
		return s, ""
	}
}

func (o *oracle) rename(from, to int) string {
	for {
		s := o.find(from)
		switch other := o.holder(to); {
		case o.closing:
			return "closed"
		case s == nil:
			return "not found"
		case other == s:
			return ""
		case other == nil:
			s.key = to
			return ""
		case o.living(other):
			return "exists"
		default:
			o.end("rename", other, *other.verdict)
		}
	}
}

// Activity.

func (o *oracle) touch(s *oracleSession, at int64) bool {
	if !o.living(s) {
		return false
	}
	if at >= s.run {
		s.polling = false
	}
	s.seen = max(s.seen, at)
	o.changed(s)
	return true
}

func (o *oracle) touchAt(s *oracleSession, ns int64) bool {
	if ns > o.now+o.tick {
		return o.touch(s, max(s.seen, o.stamp()))
	}
	return o.touch(s, o.ceil(ns))
}

func (o *oracle) poll(s *oracleSession) bool {
	if !s.open {
		return false
	}
	if !o.living(s) {
		if s.verdict.why == whyPollCap {
			o.end("poll", s, *s.verdict)
		}
		return false
	}
	c := s.class
	switch {
	case s.polling && c.pollCap > 0 && o.stamp() > s.run+o.ceil(int64(c.pollCap)):
		o.end("poll", s, oracleLimit{whyPollCap, o.limit(s).at})
		return false
	case s.polling && c.pollMax > 0 && s.polls >= c.pollMax:
		o.end("poll", s, oracleLimit{whyPollMax, o.limit(s).at})
		return false
	case !s.polling:
		s.polling, s.run, s.polls = true, o.stamp(), 0
	}
	s.polls++
	s.seen = max(s.seen, o.stamp())
	o.changed(s)
	return true
}

func (o *oracle) info(s *oracleSession) modelInfo {
	l := o.limit(s)
	i := modelInfo{
		class: s.class.name, why: l.why, holds: s.holds,
		started: o.time(s.started), seen: o.time(s.seen), deadline: o.limitTime(l),
	}
	if s.polling {
		i.polls = s.polls
	}
	return i
}

// Ends.

// end ends s, and runs its hooks, on behalf of one call.
func (o *oracle) end(way string, s *oracleSession, l oracleLimit) {
	o.batch([]modelEvent{o.endOne(way, s, l)})
}

// endAll ends what is due, or all that is left, in order of limit and start. It
// returns the last batch.
func (o *oracle) endAll(way string, list []*oracleSession) (batch []modelEvent) {
	o.sort(list)
	for i, s := range list {
		if i > 0 && o.limit(list[i-1]).at == o.limit(s).at {
			o.ends["tie of sessions"]++
		}
		if !s.open || o.closed { // a hook has ended it
			continue
		}
		l := oracleLimit{whyShutdown, o.limit(s).at}
		if !o.living(s) {
			l = *s.verdict
		}
		if batch = append(batch, o.endOne(way, s, l)); len(batch) == 256 {
			o.batch(batch)
			batch = nil
		}
	}
	return batch
}

func (o *oracle) endOne(way string, s *oracleSession, l oracleLimit) modelEvent {
	if o.depth > 0 {
		way += " in a hook"
	}
	o.ends[l.why+" by "+way]++
	o.reasons[l.why]++
	ev := o.event(s, l)
	at := max(o.floor(), s.seen) // that was rounded up
	ev.ended = o.time(at)
	s.open, s.ending = false, true
	o.open = slices.DeleteFunc(o.open, func(other *oracleSession) bool { return other == s })
	o.ended = append(o.ended, oracleEnd{s.key, l.why, at})
	for i := 0; i < len(s.hooks); i++ { // a hook may add one
		o.run("hook", s.hooks[i], ev)
	}
	s.ending = false
	for _, h := range slices.Concat(s.class.hooks, o.onExpire) {
		o.run("hook", h, ev)
	}
	return ev
}

func (o *oracle) batch(events []modelEvent) {
	for _, h := range o.batches {
		if len(events) > 0 {
			o.run("batch", h, events...)
		}
	}
}

func (o *oracle) run(what string, h *oracleHook, events ...modelEvent) {
	if h.stopped || o.closed {
		o.ends["hook was stopped"]++
		return
	}
	h.begun = true
	own, at := noHandle, int64(0)
	if h.session != nil {
		own = h.session.id
	}
	if o.timed {
		at = o.floor()
	}
	if o.play(o.do, what, h.modelHook, own, at, events) {
		o.panics++
	}
}

func (o *oracle) event(s *oracleSession, l oracleLimit) modelEvent {
	i := o.info(s)
	ev := modelEvent{
		key: s.key, value: s.value, class: i.class, why: l.why, polls: i.polls,
		started: i.started, seen: i.seen,
	}
	if l.at < never {
		ev.deadline = o.time(l.at)
	}
	return ev
}

// overdue finds, and marks, what the clock has ended.
func (o *oracle) overdue() (list []*oracleSession) {
	for _, s := range o.open {
		if !o.living(s) {
			list = append(list, s)
		}
	}
	return list
}

func (o *oracle) sort(list []*oracleSession) {
	slices.SortFunc(list, func(a, b *oracleSession) int {
		return cmp.Or(cmp.Compare(o.limit(a).at, o.limit(b).at), cmp.Compare(a.id, b.id))
	})
}

func (o *oracle) advance() {
	if o.advancing || o.closed {
		return
	}
	o.advancing = true
	overdue, near := o.overdue(), o.toWarn() // what hooks bring about waits for the next call
	batch := o.endAll("advance", overdue)
	o.warn(near)
	o.batch(batch)
	o.advancing = false
}

func (o *oracle) shutdown() string {
	if o.closing {
		return "closed"
	}
	o.closing = true
	o.overdue()
	o.batch(o.endAll("shutdown", slices.Clone(o.open)))
	if o.closed { // a hook has cut it short
		return "closed"
	}
	o.close()
	return ""
}

func (o *oracle) close() {
	for _, s := range o.open {
		s.open = false
	}
	o.open, o.closing, o.closed = nil, true, true
}

func (o *oracle) classLen(c *oracleClass) (n int) {
	for _, s := range o.open {
		if s.class == c {
			n++
		}
	}
	return n
}

func (o *oracle) newClass(p modelPolicy) (int, string) {
	switch {
	case !p.valid():
		return noHandle, "error"
	case o.closing:
		return noHandle, "closed"
	}
	for i, c := range o.classes {
		if c.modelPolicy == p {
			return i, ""
		}
		if c.name == p.name {
			return noHandle, "error"
		}
	}
	o.classes = append(o.classes, &oracleClass{modelPolicy: p})
	return len(o.classes) - 1, ""
}
