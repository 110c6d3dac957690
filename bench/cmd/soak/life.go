package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lapse-go/lapse"
)

// A temper says what is done to a session, so that each reason for an end has its sessions.
type temper uint8

const (
	quiet temper = iota // nobody calls but to look
	polls
	busy
	tempers
)

// The stages of an end: which hooks have been told.
const (
	told0 = iota
	told1 // the class's
	told2 // the engine's
	told3 // the batch
)

// A life is a session as the soak knows it; it is the session's value. Times are since the start of the run.
type life struct {
	s      *soak
	temper temper
	seat   int
	born   time.Duration // just before Start was called
	ready  time.Duration // just after it had returned
	handle session       // valid for whoever has found the life in its seat

	stage    atomic.Uint32
	why      atomic.Uint32 // the reason that the class's hook was told
	gone     atomic.Bool   // a call has said that the session has ended
	taken    atomic.Bool   // somebody sees to the next session in its seat
	expiring atomic.Bool   // somebody has called Expire
	held     atomic.Bool   // held, and nobody has begun to release it
	touched  atomic.Int64  // when the last successful touch began
	seen     atomic.Int64  // when the last successful touch, poll or release began
	idle     atomic.Int64  // the least Idle that can be in force
	pass     atomic.Uint32 // the last All that has yielded it
	context  atomic.Pointer[canceler]

	mu sync.Mutex // serializes what changes key, class, Idle and holds; hooks never wait for it
	// mu guards the fields below.

	key   uint64
	class *class
	heir  bool // another session was started with its key
}

type canceler struct {
	context.Context
	cancel context.CancelFunc
}

func (l *life) String() string {
	return fmt.Sprintf("session of seat %d: temper %d, born %v, seen %v, Idle %v, hooks told %d, reason %v, gone %v",
		l.seat, l.temper, l.born, time.Duration(l.seen.Load()), time.Duration(l.idle.Load()), l.stage.Load(),
		lapse.Reason(l.why.Load()), l.gone.Load())
}

// over reports whether the session is known to have ended.
func (l *life) over() bool { return l.gone.Load() || l.stage.Load() > told0 }

// later stores a time unless a later one is there.
func later(at *atomic.Int64, t time.Duration) {
	for old := at.Load(); old < int64(t) && !at.CompareAndSwap(old, int64(t)); old = at.Load() {
	}
}

// own is a hook of the session itself.
func (l *life) own(event) {
	l.s.ran.Add(1)
	if stage := l.stage.Load(); stage != told0 {
		l.s.fail("a session's own hook runs after those of its class: %v", l)
	}
}

// tellClass is the hook of each class. It runs after the session's own, so contexts are canceled.
func (l *life) tellClass(ev event) {
	l.why.Store(uint32(ev.Reason))
	if !l.stage.CompareAndSwap(told0, told1) {
		l.s.fail("the class's hook was told again, of the reason %v, or late: %v", ev.Reason, l)
	}
	if c := l.context.Load(); c != nil {
		var end *lapse.EndedError
		if cause := context.Cause(c); cause == nil {
			l.s.fail("the context is not canceled: %v", l)
		} else if errors.As(cause, &end) && end.Reason != 0 && end.Reason != ev.Reason {
			l.s.fail("the context says %v, the event %v: %v", cause, ev.Reason, l)
		}
	}
}

// tell is the engine's hook.
func (l *life) tell(ev event) {
	s := l.s
	s.told.Add(1)
	s.ended[ev.Reason].Add(1)
	if !l.stage.CompareAndSwap(told1, told2) {
		s.fail("the engine's hook was told again, of the reason %v, or out of order: %v", ev.Reason, l)
	}
	c := s.classes[ev.Class]
	held := l.held.Load()
	ended := ev.Ended.Sub(s.base)
	notBefore := func(what string, from time.Duration, limit time.Duration) {
		if ended < from+limit {
			s.fail("ended at %v, %v before its time: %s %v and %v. %v; %+v", ended, from+limit-ended, what, from, limit, l, ev)
		}
	}
	if started := ev.Started.Sub(s.base); started < l.born {
		s.fail("started at %v, says the event, before Start was called: %v", started, l)
	}
	if l.temper == quiet && ev.Reason <= lapse.ReasonPollCap && len(c.policies) == 1 {
		s.late.add(s.now() - ev.Deadline.Sub(s.base))
	}
	switch ev.Reason {
	case lapse.ReasonIdle:
		last := time.Duration(l.seen.Load())
		notBefore("seen", last, time.Duration(l.idle.Load()))
		if seen := ev.Seen.Sub(s.base); seen < last {
			s.fail("seen last at %v, says the event, but a call at %v was successful: %v", seen, last, l)
		}
		if held {
			s.fail("ended for idleness while held: %v", l)
		}
	case lapse.ReasonLifetime:
		notBefore("born", l.born, c.least.Lifetime)
	case lapse.ReasonPollCap:
		notBefore("touched", time.Duration(l.touched.Load()), c.least.PollCap)
	case lapse.ReasonPollMax:
		if ev.Polls < c.least.PollMax {
			s.fail("ended after %d polls: %v", ev.Polls, l)
		}
	case lapse.ReasonExpired:
		if !l.expiring.Load() {
			s.fail("ended by Expire, which nobody has called: %v", l)
		}
	case lapse.ReasonEvicted:
		if !*evict || held {
			s.fail("evicted: %v", l)
		}
	case lapse.ReasonShutdown:
		if !s.closing.Load() {
			s.fail("shut down: %v", l)
		}
	}
	if ev.Reason <= lapse.ReasonPollCap && ev.Ended.Before(ev.Deadline) {
		s.fail("ended at %v, before its deadline: %v; %+v", ended, l, ev)
	}
}

// tellBatch is the batch hook. It gives the seats of the ended to others.
func (s *soak) tellBatch(events []event) {
	if len(events) == 0 || len(events) > 256 {
		s.fail("a batch of %d events", len(events))
	}
	for _, ev := range events {
		l := ev.Value
		s.batched.Add(1)
		if !l.stage.CompareAndSwap(told2, told3) {
			s.fail("the batch hook was told again, of the reason %v, or out of order: %v", ev.Reason, l)
		}
		l.leave()
	}
}

// leave gives the seat to another session, unless somebody has seen to that.
func (l *life) leave() {
	if l.taken.CompareAndSwap(false, true) {
		l.s.free <- l.seat
	}
}

// warn is the engine's hook for warnings.
func (l *life) warn(ev event) {
	now := l.s.now()
	l.s.warnings.Add(1)
	if left := ev.Deadline.Sub(l.s.base) - now; left > l.s.classes[ev.Class].least.Warn {
		l.s.fail("warned %v before the end: %v", left, l)
	}
	if !ev.Ended.IsZero() {
		l.s.fail("a warning says that the session has ended: %v", l)
	}
	// A call may end a session while the hook begins; nobody makes such calls for a quiet one.
	if why := lapse.Reason(l.why.Load()); l.temper == quiet && why != 0 && why <= lapse.ReasonPollCap {
		l.s.fail("warned after the end: %v", l)
	}
}
