package lapse

import (
	"context"
	"time"
)

// A Session is a handle: comparable, copied freely, two words long. Once its
// session has ended every method says so, even when another session uses the
// memory by then. The zero Session is one that has ended. A session ends at the
// moment it is due, which can be before its hooks run. All methods are safe for
// concurrent use, and none panics but SetClass and the registration of a nil
// hook.
type Session[K comparable, V any] struct {
	e *Engine[K, V]
	// ref is the generation of the slot and the slot, 32 bits each.
	ref uint64
}

// refOf returns the reference to the session that has a slot's present state.
func refOf(state uint64, slot uint32) uint64 { return state>>genShift<<32 | uint64(slot) }

func (s Session[K, V]) slot() uint32 { return uint32(s.ref) }
func (s Session[K, V]) gen() uint64  { return s.ref >> 32 }

// An Info is one consistent reading of a session.
type Info struct {
	Class    string
	Reason   Reason // the one it will end for if nothing happens; none if it will not
	Polls    int    // accepted polls since the last touch
	Holds    int    // Holds without their Release
	Started  time.Time
	Seen     time.Time // the last touch, poll or release, else the start
	Deadline time.Time // when it will end if nothing happens; zero: it will not
}

// lock locks the session's shard if the session lives, and returns where it is.
func (s Session[K, V]) lock(m moment) (sh *shard[K, V], rec *record[K], idx uint32) {
	sh, rec, idx = s.lockSlot()
	if rec != nil && !sh.alive(rec, s.gen(), m) {
		sh.unlock()
		return nil, nil, 0
	}
	return sh, rec, idx
}

// lockSlot locks the session's shard if the session's slot exists, whoever has
// it, and returns where that is.
func (s Session[K, V]) lockSlot() (sh *shard[K, V], rec *record[K], idx uint32) {
	if s.e == nil {
		return nil, nil, 0
	}
	sh, idx = s.e.locate(s.slot())
	sh.mu.Lock()
	if rec = sh.slab.record(idx); rec == nil {
		sh.mu.Unlock()
		return nil, nil, 0
	}
	return sh, rec, idx
}

// record returns the record of the session's slot, whoever has it; nil if there
// is none.
func (s Session[K, V]) record() *record[K] {
	if s.e == nil {
		return nil
	}
	return s.e.record(s.slot())
}

// read reads the engine's clock, if there is an engine.
func (s Session[K, V]) read() moment {
	if s.e == nil {
		return moment{}
	}
	return s.e.time.read()
}

// readDial is read with what it takes to tell times.
func (s Session[K, V]) readDial() (dial, moment) {
	if s.e == nil {
		return dial{}, moment{}
	}
	d := s.e.time.dial()
	return d, s.e.time.momentOf(d.elapsed)
}

// Touch tells that the user did something: the session's Idle starts anew, and
// a run of polls ends. It returns false if the session has ended. It does not
// allocate, and takes no lock unless the session is held, has been warned, or
// is about to end.
func (s Session[K, V]) Touch() bool {
	if s.e == nil {
		return false
	}
	if until := s.e.time.coarse.until.Load(); until > 0 && s.touchCoarse(until, until) {
		return true
	}
	m := s.readTouch()
	return s.touch(m, m.stamp, true)
}

// TouchAt is Touch with the caller's reading of the clock: a server that has
// asked for the time anyway passes it on. A time ahead of the engine's clock by
// more than a tick counts as now. An older time than that of the last touch or
// poll moves nothing; it ends a run of polls unless it is older than the first
// of them.
func (s Session[K, V]) TouchAt(t time.Time) bool {
	if s.e == nil {
		return false
	}
	at := s.e.time.ns(t)
	if until := s.e.time.coarse.until.Load(); until > 0 {
		if end := until * s.e.time.tick; at <= end {
			stamp := until
			if at <= end-s.e.time.tick { // else a division is saved
				stamp = s.e.time.ceil(at)
			}
			if s.touchCoarse(until, stamp) {
				return true
			}
		}
	}
	m := s.readTouch()
	if at > m.ns+s.e.time.tick {
		at = m.ns
	}
	return s.touch(m, s.e.time.ceil(at), at >= m.ns)
}

// TouchAll touches sessions, each as [Session.Touch] does, and returns how many
// of them are alive. An event loop that touches at once whom it has heard in a
// round waits for their memory together, where single touches of sessions that
// are in no cache wait for each.
func (e *Engine[K, V]) TouchAll(sessions []Session[K, V]) (alive int) {
	for len(sessions) > 0 {
		some := sessions[:min(len(sessions), portion)]
		sessions = sessions[len(some):]
		for _, s := range some {
			if rec := e.record(s.slot()); rec != nil {
				rec.state.Load()
			}
		}
		for _, s := range some {
			if s.Touch() {
				alive++
			}
		}
	}
	return alive
}

// readTouch reads the clock for a touch. If there are many such, the driver
// publishes a coarse one.
func (s Session[K, V]) readTouch() moment {
	t := &s.e.time
	m := t.read()
	if t.clock == nil && !s.e.manual && t.coarse.note(m.now) {
		s.e.driver.kick()
	}
	return m
}

// touchCoarse touches the session without a look at the clock if it can: if it
// is plain that the session is alive, and one compare-and-swap at most does it.
// Until is the coarse clock's tick.
func (s Session[K, V]) touchCoarse(until, stamp int64) bool {
	rec := s.e.record(s.slot())
	if rec == nil {
		return false
	}
	// This is the hot path: it says what cell.read and terms.dueTick say,
	// without a copy.
	state := rec.state.Load()
	seen := int64(state & tickMask)
	if state>>heldShift != s.gen()<<(genShift-heldShift) || state&warnedBit != 0 || seen > until {
		return false
	}
	born, arm := rec.born.Load(), rec.arm.Load()
	t := s.e.termsOf(born >> classShift & classMask)
	idle := t.idle
	if own := int64(arm >> idleShift); own != 0 {
		idle = own
	}
	if until+1 >= seen+idle || until+1 >= int64(born&tickMask)+t.life {
		return false
	}
	if state&runBit != 0 {
		if stamp < seen || until >= int64(rec.run.Load()&tickMask)+t.pollCap {
			return false
		}
	} else if stamp <= seen {
		// Unless somebody has changed the rest of the cell between the
		// readings.
		return rec.state.Load() == state
	}
	if stamp < until && s.e.time.coarse.stalledPast(seen, stamp) {
		return false
	}
	return rec.state.CompareAndSwap(state, state&^(runBit|tickMask)|uint64(stamp))
}

// touch sets the session's stamp with one compare-and-swap. What needs more
// than that, or seems due, takes the lock. Whatever the session's entry in the
// wheel says, a touch only moves the end away from it.
func (s Session[K, V]) touch(m moment, stamp int64, now bool) bool {
	rec := s.e.record(s.slot())
	if rec == nil {
		return false
	}
	for {
		r := rec.read()
		if r.state>>phaseShift != s.gen()<<2 {
			return false
		}
		if r.state&(warnedBit|heldBit) != 0 || m.now >= s.e.terms(r).dueTick(&r) || stamp < r.seen && r.polled() && !now {
			return s.touchLocked(m, stamp, now)
		}
		stamp := stamp
		if stamp > r.seen {
			var over bool
			if stamp, over = s.e.time.outdated(r.seen, stamp); over {
				stamp = r.seen // it was seen later than its stamp says
			}
		}
		if stamp <= r.seen && !r.polled() {
			// Unless somebody has changed the rest of the cell between the
			// readings.
			if rec.state.Load() == r.state {
				return true
			}
			continue
		}
		if rec.state.CompareAndSwap(r.state, r.state&^(runBit|tickMask)|uint64(max(stamp, r.seen))) {
			return true
		}
	}
}

func (s Session[K, V]) touchLocked(m moment, stamp int64, now bool) bool {
	sh, rec, idx := s.lock(m)
	if rec == nil {
		return false
	}
	defer sh.unlock()
	clear := uint64(runBit)
	if r := rec.read(); !now && r.polled() && stamp < r.runStart() {
		clear = 0
	}
	sh.change(rec, clear, 0, stamp)
	sh.arm(rec, idx, m)
	return true
}

// Poll tells that the page asked for something by itself: the session's Idle
// starts anew, but a run of polls without a touch is bounded by the class's
// PollCap and PollMax. The first poll past either ends the session: its hooks
// run before Poll returns false. A poll at exactly the cap still counts. Poll
// also returns false if the session had ended.
func (s Session[K, V]) Poll() bool {
	m := s.read()
	sh, rec, idx := s.lockSlot()
	if rec == nil {
		return false
	}
	ends, ok := sh.poll(rec, idx, s.gen(), m)
	sh.unlock()
	s.e.deliver(ends)
	return ok
}

// Alive reports whether the session has not ended. It changes nothing.
func (s Session[K, V]) Alive() bool {
	rec := s.record()
	if rec == nil {
		return false
	}
	m := s.e.time.read()
	for {
		r := rec.read()
		if r.state>>phaseShift != s.gen()<<2 {
			return false
		}
		if r.state&warnedBit != 0 || m.now >= s.e.terms(r).dueTick(&r) {
			sh, rec, _ := s.lock(m)
			if rec == nil {
				return false
			}
			sh.unlock()
			return true
		}
		if rec.state.Load() == r.state {
			return true
		}
	}
}

// Key returns the session's key, the new one after a Rename; false if the
// session has ended.
func (s Session[K, V]) Key() (key K, ok bool) {
	sh, rec, _ := s.lock(s.read())
	if rec == nil {
		return key, false
	}
	defer sh.unlock()
	return rec.key, true
}

// Value returns the session's value; false if the session has ended.
func (s Session[K, V]) Value() (value V, ok bool) {
	sh, rec, idx := s.lock(s.read())
	if rec == nil {
		return value, false
	}
	defer sh.unlock()
	return *sh.slab.value(idx), true
}

// SetValue gives the session another value; false if the session has ended.
func (s Session[K, V]) SetValue(value V) bool {
	sh, rec, idx := s.lock(s.read())
	if rec == nil {
		return false
	}
	defer sh.unlock()
	*sh.slab.value(idx) = value
	return true
}

// Info returns one consistent reading of the session; false if it has ended. It
// changes nothing. While the session is held, Deadline and Reason say how it
// would end if it were released now.
func (s Session[K, V]) Info() (Info, bool) {
	d, m := s.readDial()
	sh, rec, idx := s.lock(m)
	if rec == nil {
		return Info{}, false
	}
	r := sh.read(rec, m)
	limit, why := s.e.terms(r).end(&r, m.stamp)
	holds := 0
	if r.held() {
		holds = 1 + sh.holds[idx]
	}
	sh.unlock()
	return Info{
		Class:    s.e.class(r).name,
		Reason:   why,
		Polls:    r.polls(),
		Holds:    holds,
		Started:  d.at(r.started()),
		Seen:     d.at(r.seen),
		Deadline: d.at(limit),
	}, true
}

// Deadline returns the time at which the session will end if nothing happens;
// false if there is none, or the session has ended. See [Session.Info] about
// held sessions.
func (s Session[K, V]) Deadline() (time.Time, bool) {
	d, m := s.readDial()
	limit, ok := s.limit(m)
	if !ok {
		return time.Time{}, false
	}
	return d.at(limit), limit < never
}

// limit returns the session's limit, if it lives.
func (s Session[K, V]) limit(m moment) (limit int64, ok bool) {
	rec := s.record()
	if rec == nil {
		return 0, false
	}
	r := rec.read()
	if r.state>>phaseShift != s.gen()<<2 {
		return 0, false
	}
	t := s.e.terms(r)
	r.seen = s.e.time.seen(r.seen, m)
	if r.state&warnedBit == 0 && r.ownIdle() == 0 && m.now < t.dueTick(&r) {
		limit, _ = t.end(&r, m.stamp)
		// Unless somebody has changed the rest of the cell between the readings;
		// SetClass changes two words of it, though one of them to nothing here.
		if rec.state.Load() == r.state && rec.born.Load() == r.born {
			return limit, true
		}
	}
	sh, rec, _ := s.lock(m)
	if rec == nil {
		return 0, false
	}
	defer sh.unlock()
	r = sh.read(rec, m)
	limit, _ = sh.e.terms(r).end(&r, m.stamp)
	return limit, true
}

// Policy returns the policy that the session obeys: its class's, with the
// session's own Idle, in whole ticks, if [Session.SetIdle] has given it one;
// false if the session has ended.
func (s Session[K, V]) Policy() (p Policy, ok bool) {
	sh, rec, _ := s.lock(s.read())
	if rec == nil {
		return p, false
	}
	defer sh.unlock()
	r := rec.read()
	p = s.e.terms(r).policy
	if own := r.ownIdle(); own != 0 {
		p.Idle = s.e.time.duration(own)
	}
	return p, true
}

// Hold tells that a request of the session runs: until as many calls of
// Release, the clock does not end the session by Idle or PollCap. Its Lifetime
// does, and so does a Poll past its PollCap or PollMax. Hold returns false if
// the session has ended.
func (s Session[K, V]) Hold() bool {
	rec := s.record()
	if rec == nil {
		return false
	}
	m := s.e.time.read()
	for {
		r := rec.read()
		if r.state>>phaseShift != s.gen()<<2 {
			return false
		}
		if r.state&(warnedBit|heldBit) != 0 || m.now >= s.e.terms(r).dueTick(&r) {
			return s.holdLocked(m)
		}
		if rec.state.CompareAndSwap(r.state, r.state|heldBit) {
			return true
		}
	}
}

func (s Session[K, V]) holdLocked(m moment) bool {
	sh, rec, idx := s.lock(m)
	if rec == nil {
		return false
	}
	defer sh.unlock()
	for {
		state := rec.state.Load()
		if state&heldBit != 0 {
			break
		}
		if rec.state.CompareAndSwap(state, state|heldBit) {
			return true
		}
	}
	if sh.holds == nil {
		sh.holds = make(map[uint32]int)
	}
	sh.holds[idx]++
	return true
}

// Release takes back one Hold. The last one counts as being seen, but does not
// end a run of polls; if the polling cap has passed meanwhile, the session is
// due now. Release returns false if the session has ended or is not held.
func (s Session[K, V]) Release() bool {
	m := s.read()
	sh, rec, idx := s.lock(m)
	if rec == nil {
		return false
	}
	defer sh.unlock()
	if !rec.read().held() {
		return false
	}
	if n := sh.holds[idx]; n > 1 {
		sh.holds[idx] = n - 1
	} else if n == 1 {
		delete(sh.holds, idx)
	} else {
		sh.change(rec, heldBit, 0, m.stamp)
		sh.arm(rec, idx, m)
	}
	return true
}

// Expire ends the session now, for [ReasonExpired]. Its hooks run before Expire
// returns true. It returns false if the session had ended before, by its
// deadline too.
func (s Session[K, V]) Expire() bool {
	m := s.read()
	sh, rec, idx := s.lockSlot()
	if rec == nil {
		return false
	}
	ends, ok := sh.end(rec, idx, s.gen(), ReasonExpired, m, nil)
	sh.unlock()
	s.e.deliver(ends)
	return ok
}

// SetIdle gives the session an Idle of its own, which holds at once and counts
// from when the session was last seen; zero or less: its class's again. It
// returns false if the session had ended.
func (s Session[K, V]) SetIdle(d time.Duration) bool {
	m := s.read()
	sh, rec, idx := s.lock(m)
	if rec == nil {
		return false
	}
	defer sh.unlock()
	ticks := int64(0)
	if d > 0 {
		ticks = s.e.time.ticks(d)
	}
	rec.setIdle(ticks)
	sh.arm(rec, idx, m)
	return true
}

// SetClass moves the session to another class, whose limits hold at once; an
// own Idle is dropped. It returns false if the session had ended. A class that
// is nil or another engine's panics.
func (s Session[K, V]) SetClass(c *Class[K, V]) bool {
	if c == nil || s.e != nil && c.e != s.e {
		panic("lapse: SetClass to a class that is nil or of another engine")
	}
	m := s.read()
	sh, rec, idx := s.lock(m)
	if rec == nil {
		return false
	}
	defer sh.unlock()
	sh.count(rec.read().class(), -1)
	sh.count(c.id, 1)
	// Who looks without the lock may see one of the two changed, whichever is
	// first. At worst a touch beside this call wins though the session becomes
	// due during the call.
	rec.setClass(c.id)
	rec.setIdle(0)
	sh.arm(rec, idx, m)
	return true
}

// Context returns a copy of parent that is cancelled when the session ends,
// with an [EndedError] as its cause. If the session has ended, it is cancelled
// already. As with context.WithCancel, calling the function frees what the
// context holds. Engine.Close cancels it, too.
func (s Session[K, V]) Context(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	if s.e == nil {
		cancel(&EndedError{})
		return ctx, func() {}
	}
	h := &hook[K, V]{closing: true}
	// Whoever cancels the parent forgets the session, too.
	stopParent := context.AfterFunc(parent, func() { s.stopHook(h) })
	h.fn = func(ev Event[K, V]) {
		stopParent()
		cancel(&EndedError{Ending{ev.Reason, ev.Ended}})
	}
	if !s.addHook(h) {
		stopParent()
		cancel(&EndedError{})
		return ctx, func() {}
	}
	return ctx, func() {
		stopParent()
		s.stopHook(h)
		cancel(nil)
	}
}
