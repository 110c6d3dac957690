package peers

import "time"

// A sharded map from key to deadline, and one goroutine that looks through all
// of it once a second: what most programs have. A look-up judges by the clock, so
// that a session is gone when it is due, and its hook runs at the next sweep. The
// sweep locks one shard at a time, and calls hooks without the lock.
//
// The map holds values. Pointers would spare a touch the second look-up, which
// writes, and cost each session an allocation and the collector the walk. So
// there is nothing to have a handle of: with pointers, a touch by handle would be
// that of the [Floor]. It cannot tell polls from touches.

var infoSweep = Info{
	Name:  "sweep",
	Can:   Can{Key: true, Answer: true, Cancel: true, Hook: true, OwnIdle: true, Values: true},
	Slack: sweepInterval,
	Note:  "sweeps once a second",
}

// The value comes first: an empty one at the end would take eight bytes.
type sweptSession[V any] struct {
	value    V
	deadline int64
	idle     time.Duration
}

type sweepPeer[K comparable, V any] struct {
	c      Config[K]
	shards shards[K, map[K]sweptSession[V]]
	value  V
	stop   chan struct{}
}

func newSweep[K comparable, V any](c Config[K], value V) *sweepPeer[K, V] {
	p := &sweepPeer[K, V]{c: c, value: value, stop: make(chan struct{})}
	p.shards.init(&c)
	p.shards.each(func(sessions *map[K]sweptSession[V]) { *sessions = make(map[K]sweptSession[V]) })
	go p.run()
	return p
}

func (p *sweepPeer[K, V]) run() {
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	var due []K
	for {
		select {
		case <-ticker.C:
		case <-p.stop:
			return
		}
		for i := range p.shards.all {
			sh := &p.shards.all[i]
			sh.Lock()
			now := p.shards.now()
			for key, s := range sh.s {
				if s.deadline <= now {
					delete(sh.s, key)
					due = append(due, key)
				}
			}
			sh.Unlock()
			for _, key := range due {
				p.c.end(key)
			}
			clear(due)
			due = due[:0]
		}
	}
}

func (p *sweepPeer[K, V]) Start(keys []K) error {
	for _, key := range keys {
		p.StartFor(key, p.c.idle(key))
	}
	return nil
}

func (p *sweepPeer[K, V]) StartFor(key K, idle time.Duration) error {
	s := sweptSession[V]{p.value, p.shards.now() + int64(idle), idle}
	sh := p.shards.of(key)
	sh.Lock()
	sh.s[key] = s
	sh.Unlock()
	return nil
}

func (p *sweepPeer[K, V]) Touch(keys []K) (alive int) {
	for _, key := range keys {
		now := p.shards.now()
		sh := p.shards.of(key)
		sh.Lock()
		s, ok := sh.s[key]
		if ok && s.deadline > now {
			s.deadline = now + int64(s.idle)
			sh.s[key] = s
			alive++
		}
		sh.Unlock()
	}
	return alive
}

func (p *sweepPeer[K, V]) End(keys []K) {
	for _, key := range keys {
		sh := p.shards.of(key)
		sh.Lock()
		_, ok := sh.s[key]
		delete(sh.s, key)
		sh.Unlock()
		if ok {
			p.c.end(key)
		}
	}
}

func (p *sweepPeer[K, V]) Len() (n int) {
	p.shards.each(func(sessions *map[K]sweptSession[V]) { n += len(*sessions) })
	return n
}

func (p *sweepPeer[K, V]) Close() { close(p.stop) }
