package lapse_test

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// What came to the oracle in a second step: warnings, holds, changes of a
// policy, a limit of sessions, and the memory of those that have ended; and the
// table of calls.

// warning is the limit that s is to be warned of.
func (o *oracle) warning(s *oracleSession) oracleLimit {
	list, warn := o.limits(s, s.seen), o.ceil(int64(s.class.warn))
	if s.idle > 0 && s.idle <= warn {
		list = slices.DeleteFunc(list, func(l oracleLimit) bool { return l.why == whyIdle })
	}
	return least(list)
}

// near tells whether the clock is inside the time of the warning.
func (o *oracle) near(s *oracleSession) bool {
	w, warn := o.warning(s), o.ceil(int64(s.class.warn))
	return warn > 0 && w.why != "" && o.floor() >= w.at-warn
}

// changed makes a session that has left the time of its warning ready for the
// next.
func (o *oracle) changed(s *oracleSession) {
	if !o.near(s) {
		s.warned = false
	}
}

// toWarn lists those that are to be warned, in order of their limit and start.
func (o *oracle) toWarn() (list []*oracleSession) {
	for _, s := range o.open {
		if o.living(s) && s.holds == 0 && !s.warned && o.near(s) {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b *oracleSession) int {
		return cmp.Or(cmp.Compare(o.warning(a).at, o.warning(b).at), cmp.Compare(a.id, b.id))
	})
	return list
}

func (o *oracle) warn(list []*oracleSession) {
	for _, s := range list {
		if !slices.Contains(o.toWarn(), s) {
			continue // a hook has changed it
		}
		s.warned = true
		o.ends["warning"]++
		for _, h := range slices.Concat(s.onWarn, o.onWarn) {
			if o.living(s) && s.warned && s.holds == 0 {
				o.run("warning", h, o.event(s, o.warning(s)))
			}
		}
	}
}

func (o *oracle) release(s *oracleSession) bool {
	if !o.living(s) || s.holds == 0 {
		return false
	}
	s.holds--
	if s.holds == 0 {
		s.seen = max(s.seen, o.stamp())
		o.changed(s)
	}
	return true
}

// setPolicy gives a class another policy. What was due before stays ended.
func (o *oracle) setPolicy(class *oracleClass, p modelPolicy) string {
	switch {
	case p.name != class.name || !p.valid():
		return "error"
	case o.closing:
		return "closed"
	}
	o.overdue()
	class.modelPolicy = p
	for _, s := range o.open {
		if s.class == class {
			o.changed(s)
		}
	}
	return ""
}

// victim is the session nearest its end that nobody holds. One that the clock
// never ends is not near its end.
func (o *oracle) victim() (victim *oracleSession) {
	for _, s := range o.open {
		if s.holds == 0 && o.limit(s).at <= lastTick && (victim == nil || o.limit(s).at < o.limit(victim).at) {
			victim = s
		}
	}
	return victim
}

// endOf is what is still known of the end of the session that had the key.
func (o *oracle) endOf(key int) (string, time.Time, bool) {
	if o.remember == 0 || o.closed || o.find(key) != nil {
		return "", time.Time{}, false
	}
	if s := o.holder(key); s != nil {
		return s.verdict.why, o.time(s.verdict.at), true
	}
	known := o.ended[max(0, len(o.ended)-o.remember):]
	for _, e := range slices.Backward(known) {
		if e.key == key {
			return e.why, o.time(e.at), true
		}
	}
	return "", time.Time{}, false
}

// nextTick is when the clock ends or warns somebody.
func (o *oracle) nextTick() int64 {
	next := int64(never)
	for _, s := range o.open {
		if s.verdict != nil {
			return o.floor()
		}
		for _, l := range o.limits(s, s.seen) {
			switch {
			case s.holds > 0 && l.why != whyLifetime:
			case l.why == whyPollCap:
				next = min(next, l.at+1)
			default:
				next = min(next, l.at)
			}
		}
		if w := o.warning(s); w.why != "" && !s.warned && s.holds == 0 && s.class.warn > 0 && len(s.onWarn)+len(o.onWarn) > 0 {
			next = min(next, w.at-o.ceil(int64(s.class.warn)))
		}
	}
	if next > lastTick {
		return never
	}
	return next
}

// do makes one call, as modelEngine.do does it with the engine.
func (o *oracle) do(op modelOp) (r modelResult) {
	var s *oracleSession
	if len(o.sessions) > 0 {
		s = o.sessions[recent(op.h, len(o.sessions))]
	}
	found := func(s *oracleSession) {
		if r.h, r.ok = noHandle, s != nil; s != nil {
			r.h = s.id
		}
	}
	class := o.classes[op.class%len(o.classes)]
	switch op.call {
	case "start":
		s, r.err = o.start(class, op.key, op.value)
		found(s)
	case "get":
		found(o.find(op.key))
	case "touch key":
		if s = o.find(op.key); s != nil {
			o.touch(s, max(s.seen, o.stamp()))
		}
		found(s)
	case "poll key":
		if s = o.holder(op.key); s != nil && !o.poll(s) {
			s = nil
		}
		found(s)
	case "rename":
		r.err = o.rename(op.key, op.to)
	case "all":
		for _, s := range slices.Clone(o.open) {
			if o.living(s) {
				r.list += fmt.Sprint(s.id, " ")
			}
		}
	case "touch":
		r.ok = o.touch(s, max(s.seen, o.stamp()))
	case "touch at":
		r.ok = o.touchAt(s, o.now+int64(op.d))
	case "poll":
		r.ok = o.poll(s)
	case "hold":
		if r.ok = o.living(s); r.ok {
			s.holds++
		}
	case "release":
		r.ok = o.release(s)
	case "look":
		if r.ok = o.living(s); r.ok {
			r.info, r.key, r.value = o.info(s), s.key, s.value
		}
	case "set value":
		if r.ok = o.living(s); r.ok {
			s.value = op.value
		}
	case "expire":
		if r.ok = o.living(s); r.ok {
			o.end("expire", s, oracleLimit{whyExpired, o.limit(s).at})
		}
	case "set idle":
		if r.ok = o.living(s); r.ok {
			s.idle = o.ceil(int64(op.d))
			if s.idle >= lastTick {
				s.idle = never // no limit
			}
			o.changed(s)
		}
	case "set class":
		if r.ok = o.living(s); r.ok {
			s.class, s.idle = class, 0
			o.changed(s)
		}
	case "class":
		r.h, r.err = o.newClass(op.policy)
	case "set policy":
		r.err = o.setPolicy(class, op.policy)
	case "ended":
		r.why, r.at, r.ok = o.endOf(op.key)
	case "advance":
		o.advance()
	case "shutdown":
		r.err = o.shutdown()
	case "close":
		o.close()
	case "stop":
		h := o.hooks[op.n%len(o.hooks)]
		r.ok = !h.stopped && !o.closed && (h.session == nil || h.session.open && h.warns || !h.warns && !h.begun)
		h.stopped = true
	default:
		r.ok = o.register(op, s, class)
	}
	return r
}

// register adds a hook where op says.
func (o *oracle) register(op modelOp, s *oracleSession, class *oracleClass) bool {
	h := &oracleHook{modelHook: op.hook}
	o.hooks = append(o.hooks, h)
	switch op.call {
	case "notify", "notify before":
		h.session, h.warns = s, op.call == "notify before"
		switch {
		case !o.living(s) && (h.warns || !s.ending || o.closed):
			h.stopped = true // its stop says false
			return false
		case h.warns:
			s.onWarn = append(s.onWarn, h)
		default:
			s.hooks = append(s.hooks, h)
		}
	case "notify class":
		class.hooks = append(class.hooks, h)
	case "notify all":
		o.onExpire = append(o.onExpire, h)
	case "notify batch":
		o.batches = append(o.batches, h)
	case "notify all before":
		o.onWarn = append(o.onWarn, h)
	default:
		panic("no such call: " + op.call)
	}
	return true
}
