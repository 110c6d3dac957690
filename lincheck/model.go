// Package lincheck checks that an engine is linearizable: whatever goroutines do to the same few sessions at the same
// time, there is an order of their calls, one after the other, that explains every result.
//
// The tests let goroutines make random calls on a real engine and note when each call began, when it returned and
// what it said. Porcupine then looks for such an order, in which each call takes effect at one moment between its begin and its
// return. What a call does in such an order is said here, by a model that was written from the rules in
// docs/semantics.md and not from the code: some keys, each with the session that has it, and each session with a few numbers.
//
// Two things take more than one moment, by design, and the model says so:
//
//   - A call by key is a look-up and then a call by handle. A Rename can come between.
//   - A call reads the clock at one moment and acts at a later one, so the clock can have moved on meanwhile. The model
//     has no clock: each call has the list of readings that it can have made, and the model tries them all. That a
//     session is due is a fact of its state and of a reading; which call, or which visit of the wheel, has
//     found it first makes no difference to anybody. So steps of the clock, Advance and the engine's own
//     goroutine need no place in a history.
package lincheck

import (
	"fmt"
	"slices"

	"github.com/anishathalye/porcupine"
	"github.com/lapse-go/lapse"
)

const (
	keys        = 2
	goroutines  = 4
	mostHandles = 14
	none        = -1 // no session, no deadline
	never       = 1 << 14
)

// Limits are a policy in ticks; zero: none.
type limits struct {
	idle, life, pollCap, pollMax int16
}

// A rulebook has the policies of each class, between which SetPolicy changes.
type rulebook [][]limits

// An op is a kind of call.
type op uint8

const (
	opFind op = iota // the look-up of a call by key
	opGet
	opTouchKey
	opPollKey
	opStart
	opRename
	opCheckOld // what Rename sees of the old key before it says ErrExists
	opEnded
	opTouch
	opTouchAt
	opPoll
	opAlive
	opInfo
	opDeadline
	opExpire
	opSetIdle
	opSetClass
	opHold
	opRelease
	opValue
	opSetValue
	opSettle // what SetPolicy does before the change: what is due stays ended
	opSetPolicy
	opEvent // a hook was told of an end
)

var opNames = [...]string{"find", "Get", "Touch", "Poll", "Start", "Rename", "Rename sees", "Ended", "Touch", "TouchAt", "Poll",
	"Alive", "Info", "Deadline", "Expire", "SetIdle", "SetClass", "Hold", "Release", "Value", "SetValue", "settle", "SetPolicy", "event"}

func (o op) byKey() bool { return o <= opEnded }

// A call is what a goroutine asked. Times are half ticks, so that rounding shows.
type call struct {
	op        op
	goroutine int8
	key, to   int8 // to: of Rename
	id        int8 // the session, by handle
	class     int8
	arg       int16   // ticks of SetIdle, half ticks of TouchAt, a value, the policy of SetPolicy
	times     []int16 // what the clock may have said to the call, in order
}

// A result is what the call said. Fields without a meaning for its op are zero.
type result struct {
	ok     bool
	exists bool // the error of Start and Rename
	got    int8 // the session that was returned
	value  int16
	why    lapse.Reason
	seen   sight
}

// A sight is what Info or an Event says, in ticks.
type sight struct {
	timed                    bool // the times are known
	key, class, polls, holds int8
	why                      lapse.Reason
	started, seen, limit     int16
	value                    int16
}

type phase uint8

const (
	unborn phase = iota
	live
	ended
)

type session struct {
	phase         phase
	polled        bool
	why           lapse.Reason
	key, class    int8
	holds, polls  int8
	own           int16 // own Idle, zero: none
	started, seen int16
	run           int16
	limit         int16 // once ended
	value         int16
}

// A state is comparable, which makes the search fast.
type state struct {
	sessions [mostHandles]session
	holder   [keys]int8         // the session that got the key last, plus one, ended or not; zero: none
	last     [keys]lapse.Reason // why the one before it ended
	found    [goroutines]int8   // result of opFind, plus two; zero: none is under way
	policy   [2]int8            // the policy of each class
}

func floor(t int16) int16 { return t / 2 }
func ceil(t int16) int16  { return (t + 1) / 2 }

func (b rulebook) of(st *state, x *session) limits {
	l := b[x.class][st.policy[x.class]]
	if x.own > 0 {
		l.idle = x.own
	}
	return l
}

func orNever(at, limit int16) int16 {
	if limit == 0 {
		return never
	}
	return at + limit
}

// end returns the limit of a session, and its kind, with seen as given.
func (b rulebook) end(st *state, x *session, seen int16) (int16, lapse.Reason) {
	l := b.of(st, x)
	limit, why := orNever(seen, l.idle), lapse.ReasonIdle
	if at := orNever(x.run, l.pollCap); x.polled && at <= limit {
		limit, why = at, lapse.ReasonPollCap
	}
	if at := orNever(x.started, l.life); at <= limit {
		limit, why = at, lapse.ReasonLifetime
	}
	if limit >= never {
		return none, 0
	}
	return limit, why
}

// due reports whether the clock has ended a live session.
func (b rulebook) due(st *state, x *session, t int16) bool {
	l, now := b.of(st, x), floor(t)
	if now >= orNever(x.started, l.life) {
		return true
	}
	if x.holds > 0 {
		return false
	}
	return now >= orNever(x.seen, l.idle) || x.polled && now > orNever(x.run, l.pollCap)
}

// age ends a session if it is due.
func (b rulebook) age(st *state, x *session, t int16) {
	if x.phase != live || !b.due(st, x, t) {
		return
	}
	if x.holds > 0 {
		x.finish(x.started+b.of(st, x).life, lapse.ReasonLifetime)
		return
	}
	limit, why := b.end(st, x, x.seen)
	x.finish(limit, why)
}

func (x *session) finish(limit int16, why lapse.Reason) {
	x.phase, x.limit, x.why = ended, limit, why
}

// endNow ends a live session at somebody's wish.
func (b rulebook) endNow(st *state, x *session, t int16, why lapse.Reason) {
	seen := x.seen
	if x.holds > 0 {
		seen = max(seen, ceil(t))
	}
	limit, _ := b.end(st, x, seen)
	x.finish(limit, why)
}

// poll polls a live session that is not due.
func (b rulebook) poll(st *state, x *session, t int16) bool {
	l, stamp := b.of(st, x), ceil(t)
	switch {
	case x.polled && stamp > orNever(x.run, l.pollCap):
		b.endNow(st, x, t, lapse.ReasonPollCap)
		return false
	case x.polled && l.pollMax > 0 && int16(x.polls) >= l.pollMax:
		b.endNow(st, x, t, lapse.ReasonPollMax)
		return false
	case x.polled:
		x.polls++
	default:
		x.polled, x.run, x.polls = true, stamp, 1
	}
	x.seen = max(x.seen, stamp)
	return true
}

func (x *session) touch(stamp int16) {
	x.polled, x.run, x.polls = false, 0, 0
	x.seen = max(x.seen, stamp)
}

func (x *session) touchAt(at, t int16) {
	switch stamp := ceil(at); {
	case at > t+2: // more than a tick ahead
		x.touch(ceil(t))
	case at < t && stamp < x.seen && x.polled && stamp < x.run:
		// Older than the run: it says nothing.
	default:
		x.touch(stamp)
	}
}

// look is what Info and Event tell of a session.
func (b rulebook) look(x *session, limit int16, why lapse.Reason) sight {
	return sight{timed: true, class: x.class, polls: x.polls, why: why, started: x.started, seen: x.seen, limit: limit}
}

// same compares without the times if those are not known.
func (got sight) same(want sight) bool {
	if !got.timed {
		want.timed, want.why, want.started, want.seen, want.limit = false, got.why, got.started, got.seen, got.limit
	}
	return got == want
}

// step returns the states that a call with such a result can lead to; none: it cannot have said that.
func (b rulebook) step(st state, c *call, r *result) []state {
	latest := c.times[len(c.times)-1]
	switch c.op {
	case opFind:
		st.found[c.goroutine] = st.holder[c.key] + 1
		return []state{st}

	case opGet, opTouchKey, opPollKey:
		id := st.found[c.goroutine] - 2
		st.found[c.goroutine] = 0
		switch {
		case id < -1: // the look-up comes first
			return nil
		case id == none:
			return only(st, !r.ok)
		case r.ok && r.got != id:
			return nil
		}
		return b.stepHandle(st, id, c, r)

	case opStart:
		if h := st.holder[c.key]; r.exists {
			return b.judge(st, h-1, c.times, func(_ *state, x *session, _ int16) bool { return x.phase == live && h-1 == r.got })
		} else if h > 0 {
			x := &st.sessions[h-1]
			b.age(&st, x, latest)
			if x.phase == live {
				return nil
			}
			st.last[c.key] = x.why
		}
		if st.sessions[r.got].phase != unborn {
			return nil
		}
		st.holder[c.key] = r.got + 1
		var next []state
		for _, t := range c.times {
			st.sessions[r.got] = session{phase: live, key: c.key, class: c.class, started: ceil(t), seen: ceil(t), value: c.arg}
			next = append(next, st)
		}
		return next

	case opCheckOld:
		return b.judge(st, st.holder[c.key]-1, c.times, func(s *state, x *session, _ int16) bool {
			s.found[c.goroutine] = 1
			return x.phase == live
		})

	case opRename:
		h := st.holder[c.key] - 1
		switch {
		case r.exists:
			if st.found[c.goroutine] == 0 {
				return nil
			}
			st.found[c.goroutine] = 0
			return b.judge(st, st.holder[c.to]-1, c.times, func(_ *state, x *session, _ int16) bool { return x.phase == live })
		case !r.ok:
			return b.free(st, c.key, latest)
		case c.to == c.key:
			return b.judge(st, h, c.times, func(_ *state, x *session, _ int16) bool { return x.phase == live })
		}
		var next []state
		for _, s := range b.free(st, c.to, latest) {
			if other := s.holder[c.to]; other > 0 {
				s.last[c.to] = s.sessions[other-1].why
			}
			next = append(next, b.judge(s, h, c.times, func(s *state, x *session, _ int16) bool {
				s.holder[c.key], s.holder[c.to], x.key = 0, h+1, c.to
				return x.phase == live
			})...)
		}
		return next

	case opEnded:
		h := st.holder[c.key]
		if h == 0 {
			return only(st, r.ok == (st.last[c.key] != 0) && r.why == st.last[c.key])
		}
		return b.judge(st, h-1, c.times, func(_ *state, x *session, _ int16) bool {
			return r.ok == (x.phase == ended) && (!r.ok || r.why == x.why)
		})

	case opSettle:
		// It reads the clock not before the first of the times, and sees to all sessions that are due then.
		for i := range st.sessions {
			b.age(&st, &st.sessions[i], c.times[0])
		}
		st.found[c.goroutine] = 1
		return []state{st}

	case opSetPolicy:
		if st.found[c.goroutine] == 0 {
			return nil
		}
		st.found[c.goroutine] = 0
		next := []state{st}
		// Somebody may have found a session due before the change, or nobody.
		for i := range st.sessions {
			for _, s := range next {
				if b.age(&s, &s.sessions[i], latest); s.sessions[i] != st.sessions[i] {
					next = append(next, s)
				}
			}
		}
		for i := range next {
			next[i].policy[c.class] = int8(c.arg)
		}
		return next
	}
	return b.stepHandle(st, c.id, c, r)
}

// stepHandle is step for what is done by handle.
func (b rulebook) stepHandle(st state, id int8, c *call, r *result) []state {
	return b.judge(st, id, c.times, func(s *state, x *session, t int16) bool {
		alive := x.phase == live
		switch c.op {
		case opPoll, opPollKey:
			return r.ok == (alive && b.poll(s, x, t))
		case opRelease:
			alive = alive && x.holds > 0
		case opEvent:
			if alive && r.seen.why == lapse.ReasonShutdown {
				b.endNow(s, x, t, lapse.ReasonShutdown)
			}
			want := b.look(x, x.limit, x.why)
			want.key, want.value = x.key, x.value
			return x.phase == ended && r.seen.why == x.why && r.seen.same(want)
		}
		if r.ok != alive {
			return false
		}
		if !alive {
			return true
		}
		switch c.op {
		case opTouch, opTouchKey:
			x.touch(ceil(t))
		case opTouchAt:
			x.touchAt(c.arg, t)
		case opInfo, opDeadline:
			seen := x.seen
			if x.holds > 0 {
				seen = max(seen, ceil(t))
			}
			limit, why := b.end(s, x, seen)
			if c.op == opDeadline {
				return !r.seen.timed || r.seen.limit == limit
			}
			want := b.look(x, limit, why)
			want.holds = x.holds
			return r.seen.same(want)
		case opExpire:
			b.endNow(s, x, t, lapse.ReasonExpired)
		case opSetIdle:
			x.own = c.arg
		case opSetClass:
			x.class, x.own = c.class, 0
		case opHold:
			x.holds++
		case opRelease:
			if x.holds--; x.holds == 0 {
				x.seen = max(x.seen, ceil(t))
			}
		case opValue:
			return r.value == x.value
		case opSetValue:
			x.value = c.arg
		}
		return true
	})
}

// judge lets f look at a session, and change it, at each reading of the clock that the call can have made; f says
// whether that explains the result.
func (b rulebook) judge(st state, id int8, times []int16, f func(*state, *session, int16) bool) []state {
	if id < 0 || st.sessions[id].phase == unborn {
		return nil
	}
	var next []state
	for _, t := range times {
		s := st
		x := &s.sessions[id]
		b.age(&s, x, t)
		if f(&s, x, t) && !slices.Contains(next, s) {
			next = append(next, s)
		}
		if st.sessions[id].phase == ended {
			break // the clock makes no difference any more
		}
	}
	return next
}

// free returns the state in which no live session has the key, if that can be.
func (b rulebook) free(st state, key int8, latest int16) []state {
	h := st.holder[key]
	if h == 0 {
		return []state{st}
	}
	x := &st.sessions[h-1]
	b.age(&st, x, latest)
	return only(st, x.phase == ended)
}

func only(st state, ok bool) []state {
	if ok {
		return []state{st}
	}
	return nil
}

// model makes the rules known to porcupine.
func (b rulebook) model() porcupine.Model {
	m := porcupine.NondeterministicModel{
		Init: func() []any { return []any{state{}} },
		Step: func(st, in, out any) []any {
			var next []any
			for _, s := range b.step(st.(state), in.(*call), out.(*result)) {
				next = append(next, s)
			}
			return next
		},
		DescribeOperation: func(in, out any) string { return describe(in.(*call), out.(*result)) },
	}
	return m.ToModel()
}

func describe(c *call, r *result) string {
	text := fmt.Sprintf("%s(s%d", opNames[c.op], c.id)
	if c.op.byKey() {
		text = fmt.Sprintf("%s(%c", opNames[c.op], 'a'+c.key)
	}
	switch c.op {
	case opRename:
		text += fmt.Sprintf(", %c", 'a'+c.to)
	case opStart:
		text += fmt.Sprintf(", class %d, value %d", c.class, c.arg)
	case opSetClass:
		text += fmt.Sprintf(", class %d", c.class)
	case opSettle, opSetPolicy:
		text = fmt.Sprintf("%s(class %d, %d", opNames[c.op], c.class, c.arg)
	case opTouchAt, opSetIdle, opSetValue:
		text += fmt.Sprintf(", %d", c.arg)
	}
	text += ")"
	switch {
	case c.op == opFind || c.op == opCheckOld || c.op == opSettle || c.op == opSetPolicy:
	case c.op == opEvent:
		text += fmt.Sprintf(" %v", r.seen)
	case r.exists:
		text += " exists"
	case !r.ok:
		text += " false"
	default:
		text += " true"
	}
	if (r.ok || r.exists) && (c.op <= opStart) {
		text += fmt.Sprintf(" s%d", r.got)
	}
	if r.ok {
		switch c.op {
		case opInfo:
			text += fmt.Sprintf(" %v", r.seen)
		case opValue:
			text += fmt.Sprintf(" %d", r.value)
		case opEnded:
			text += fmt.Sprintf(" %v", r.why)
		}
	}
	return fmt.Sprintf("%s  clock %v", text, c.times)
}
