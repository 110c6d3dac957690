package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/lapse-go/lapse"
)

// work makes calls at random until the end.
func (s *soak) work() {
	for n := int64(1); ; n++ {
		if n%1024 == 0 {
			s.ops.Add(1024)
			if s.stop.Load() {
				return
			}
			time.Sleep(*rest)
		}
		// With more seats than MaxSessions there is always a free one.
		if *most == 0 || n%16 == 0 {
			select {
			case seat := <-s.free:
				s.seat(seat)
				continue
			default:
			}
		}
		if l := s.seats[rand.IntN(len(s.seats))].Load(); l != nil {
			l.act()
		}
	}
}

// newLife makes a life that is not a session yet.
func (s *soak) newLife(seat int, key uint64) *life {
	l := &life{s: s, seat: seat, key: key, temper: temper(rand.IntN(int(tempers))), class: s.classes[s.names[rand.IntN(len(s.names))]]}
	l.idle.Store(int64(l.class.least.Idle))
	l.born = s.now()
	later(&l.seen, l.born)
	later(&l.touched, l.born)
	return l
}

// seat starts a session in a free seat.
func (s *soak) seat(seat int) {
	l := s.newLife(seat, uint64(s.keys.Add(1)))
	if _, err := l.start(); err != nil {
		if !errors.Is(err, lapse.ErrFull) || *most == 0 {
			s.fail("Start: %v", err)
		}
		s.free <- seat
	}
}

// start starts the session of a life and puts it in its seat.
func (l *life) start() (session, error) {
	s := l.s
	h, err := l.class.Start(l.key, l)
	if err != nil {
		return h, err
	}
	l.handle, l.ready = h, s.now()
	s.started.Add(1)
	switch n := rand.IntN(1000); {
	case n < 100:
		l.notify(l.own)
	case n < 120:
		l.notify(func(ev event) { l.own(ev); l.succeed(ev) })
	case n < 121:
		l.notify(func(ev event) { l.own(ev); s.panics.Add(1); panic("a hook that panics now and then") })
	case n < 140:
		c := new(canceler)
		c.Context, c.cancel = h.Context(context.Background())
		l.context.Store(c)
		s.contexts.Add(1)
	}
	s.seats[l.seat].Store(l)
	return h, nil
}

// notify registers a hook of the session; half of the sessions with hooks have a second one that is stopped again.
func (l *life) notify(f func(event)) {
	if _, ok := l.handle.NotifyOnExpire(f); ok {
		l.s.accepted.Add(1)
	}
	if rand.IntN(2) == 0 {
		if stop, ok := l.handle.NotifyOnExpire(l.own); ok && !stop() {
			l.s.accepted.Add(1)
		}
	}
}

// succeed is a hook that starts another session with the same key, in the same seat.
func (l *life) succeed(ev event) {
	if !l.mu.TryLock() {
		return // somebody changes its key, or starts another session with it
	}
	defer l.mu.Unlock()
	if !l.taken.CompareAndSwap(false, true) {
		return
	}
	if _, err := l.s.newLife(l.seat, ev.Key).start(); err == nil {
		l.heir = true
		return
	} else if !errors.Is(err, lapse.ErrClosed) && (!errors.Is(err, lapse.ErrFull) || *most == 0) {
		l.s.fail("Start in a hook: %v; %v", err, l)
	}
	l.s.free <- l.seat
}

// says takes note of what a call said that began at t: whether the session lives.
func (l *life) says(alive, knownOver bool, t time.Duration, what string, activity ...func(*life, time.Duration)) bool {
	if !alive {
		l.gone.Store(true)
		return false
	}
	if knownOver {
		l.s.fail("%s at %v succeeds after the end: %v", what, t, l)
	}
	for _, f := range activity {
		f(l, t)
	}
	return true
}

func touched(l *life, t time.Duration) { later(&l.seen, t); later(&l.touched, t) }
func seen(l *life, t time.Duration)    { later(&l.seen, t) }

// act does something to a session.
func (l *life) act() {
	over, t, n := l.over(), l.s.now(), rand.IntN(100)
	switch {
	case n < 12:
		l.look(over, t)
	case n < 13:
		l.startAgain(over, t)
	case l.temper == quiet:
		l.says(l.handle.Alive(), over, t, "Alive")
	case l.temper == polls && n < 80:
		for range 1 + rand.IntN(4) {
			t, over = l.s.now(), l.over()
			l.says(l.handle.Poll(), over, t, "Poll", seen)
		}
	case n < 55:
		l.says(l.handle.Touch(), over, t, "Touch", touched)
	case n < 65:
		now := time.Now()
		l.says(l.handle.TouchAt(now), over, t, "TouchAt", touched)
	case n < 67:
		l.says(l.handle.TouchAt(time.Now().Add(-*idle/3)), over, t, "TouchAt of an old time")
	case n < 77:
		l.byKey(over, t)
	case n < 80:
		l.says(l.handle.SetValue(l), over, t, "SetValue")
	case n < 82:
		if stop, ok := l.handle.NotifyBeforeExpire(func(ev event) { l.warn(ev) }); l.says(ok, over, t, "NotifyBeforeExpire") {
			stop()
		}
	case n < 83:
		l.expiring.Store(true)
		l.says(l.handle.Expire(), over, t, "Expire")
	case n < 84:
		if c := l.context.Load(); c != nil {
			c.cancel()
		}
	default:
		l.change(n, over, t)
	}
}

// look makes calls that change nothing.
func (l *life) look(over bool, t time.Duration) {
	switch rand.IntN(6) {
	case 0:
		l.says(l.handle.Alive(), over, t, "Alive")
	case 1:
		last := time.Duration(l.seen.Load())
		i, ok := l.handle.Info()
		l.says(ok, over, t, "Info")
		if ok && (i.Started.Sub(l.s.base) < l.born || i.Started.Sub(l.s.base) > t+*tick || i.Seen.Sub(l.s.base) < last) {
			l.s.fail("Info says %+v, and it was seen at %v: %v", i, last, l)
		}
	case 2:
		_, ok := l.handle.Deadline()
		l.says(ok, over, t, "Deadline")
	case 3:
		v, ok := l.handle.Value()
		l.says(ok, over, t, "Value")
		if ok && v != l {
			l.s.fail("the value of another session: %v has %v", l, v)
		}
	case 4:
		l.mu.Lock()
		defer l.mu.Unlock()
		h, ok := l.s.e.Get(l.key)
		if ok && h == l.handle {
			l.says(ok, over, t, "Get")
		} else if !l.heir && l.handle.Alive() {
			l.s.fail("Get does not find a session that lives: %v", l)
		}
	case 5:
		l.mu.Lock()
		defer l.mu.Unlock()
		if _, ok := l.s.e.Ended(l.key); ok && !l.heir && l.handle.Alive() {
			l.s.fail("Ended knows a session that lives: %v", l)
		}
	}
}

// byKey touches or polls by key. The mutex keeps the key from being changed.
func (l *life) byKey(over bool, t time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.heir {
		return
	}
	call, what, activity := l.s.e.Touch, "Touch by key", touched
	if rand.IntN(4) == 0 {
		call, what, activity = l.s.e.Poll, "Poll by key", seen
	}
	h, ok := call(l.key)
	if ok && h != l.handle {
		l.s.fail("%s finds another session than %v", what, l)
	}
	l.says(ok, over, t, what, activity)
}

// startAgain calls Start with a key that is taken, or whose session is due.
func (l *life) startAgain(over bool, t time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.heir || !l.taken.CompareAndSwap(false, true) {
		return
	}
	h, err := l.s.newLife(l.seat, l.key).start()
	switch {
	case err == nil:
		l.heir = true
		if l.handle.Alive() {
			l.s.fail("Start succeeds with the key of a session that lives: %v", l)
		}
		return
	case errors.Is(err, lapse.ErrExists) && h == l.handle:
		l.says(true, over, t, "Start, with ErrExists,")
	case !errors.Is(err, lapse.ErrFull) || *most == 0:
		l.s.fail("Start with the key of another session: %v; %v", err, l)
	}
	if l.taken.Store(false); l.stage.Load() == told3 {
		l.leave()
	}
}

// change changes limits, key, or holds.
func (l *life) change(n int, over bool, t time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case n < 88:
		own := max(0, time.Duration(rand.Int64N(int64(2**idle)))-*idle/2)
		next := l.class.least.Idle
		if own > 0 {
			next = own
		}
		l.limit(next, func() bool { return l.says(l.handle.SetIdle(own), over, t, "SetIdle") })
	case n < 91:
		c := l.s.classes[l.s.names[rand.IntN(len(l.s.names))]]
		if l.limit(c.least.Idle, func() bool { return l.says(l.handle.SetClass(c.Class), over, t, "SetClass") }) {
			l.class = c
		}
	case n < 95:
		if l.heir {
			return
		}
		key := uint64(l.s.keys.Add(1))
		err := l.s.e.Rename(l.key, key)
		if l.says(err == nil, over, t, "Rename") {
			l.key = key
		} else if !errors.Is(err, lapse.ErrNotFound) {
			l.s.fail("Rename: %v", err)
		}
	case l.held.Load():
		l.held.Store(false)
		l.says(l.handle.Release(), over, t, "Release", seen)
	default:
		if l.says(l.handle.Hold(), over, t, "Hold") {
			l.held.Store(true)
		}
	}
}

// limit makes a call that sets the session's Idle. While it runs, either Idle can be in force.
func (l *life) limit(next time.Duration, call func() bool) bool {
	l.idle.Store(min(l.idle.Load(), int64(next)))
	if !call() {
		return false
	}
	l.idle.Store(int64(next))
	return true
}
