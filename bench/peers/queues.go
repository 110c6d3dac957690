package peers

import "time"

// What the ordered structures made by hand have in common: each shard has a timer,
// armed for its least deadline, that ends what is due. A touch that moves the
// least deadline away leaves the timer alone, and the timer looks again. How a
// session is found and moved is each structure's own, in its own file, so that
// nothing is called through an interface where touches are timed.

// A queue is the sessions of a shard in the order of their deadlines, as a pointer
// to Q. All its methods are called under the shard's lock.
type queue[K comparable, Q any] interface {
	*Q
	len() int
	// least returns the least deadline; ok is false if there is no session.
	least() (deadline int64, ok bool)
	// pop takes the session with the least deadline out, and returns its key.
	pop() K
	clear()
}

type queueShard[Q any] struct {
	queue Q
	timer *time.Timer
	armed int64 // when the timer fires; 0: it is not armed
}

type queues[K comparable, Q any, P queue[K, Q]] struct {
	c      Config[K]
	shards shards[K, queueShard[Q]]
}

// init makes the queues empty.
func (p *queues[K, Q, P]) init(c Config[K]) {
	p.c = c
	p.shards.init(&c)
	p.shards.each(func(s *queueShard[Q]) { P(&s.queue).clear() })
}

// arm sees to it that the shard's timer fires at a deadline or before.
func (p *queues[K, Q, P]) arm(sh *shard[queueShard[Q]], deadline, now int64) {
	if sh.s.armed != 0 && sh.s.armed <= deadline {
		return
	}
	sh.s.armed = deadline
	if sh.s.timer == nil {
		sh.s.timer = time.AfterFunc(time.Duration(deadline-now), func() { p.expire(sh) })
	} else {
		sh.s.timer.Reset(time.Duration(deadline - now))
	}
}

// expire is what a timer calls. Hooks are called without the lock.
func (p *queues[K, Q, P]) expire(sh *shard[queueShard[Q]]) {
	due := make([]K, 0, mostAtOnce)
	for more := true; more; {
		due = due[:0]
		sh.Lock()
		sh.s.armed = 0
		now := p.shards.now()
		for len(due) < mostAtOnce {
			deadline, ok := P(&sh.s.queue).least()
			if ok && deadline > now {
				p.arm(sh, deadline, now)
			}
			if !ok || deadline > now {
				break
			}
			due = append(due, P(&sh.s.queue).pop())
		}
		more = len(due) == mostAtOnce
		sh.Unlock()
		for _, key := range due {
			p.c.end(key)
		}
	}
}

func (p *queues[K, Q, P]) len() (n int) {
	p.shards.each(func(s *queueShard[Q]) { n += P(&s.queue).len() })
	return n
}

func (p *queues[K, Q, P]) close() {
	p.shards.each(func(s *queueShard[Q]) {
		if s.timer != nil {
			s.timer.Stop()
		}
		P(&s.queue).clear()
	})
}
