package peers

import "time"

// time.AfterFunc, one timer for each session, and a sharded map from key to
// session. The timer's function takes the session out of the map and calls the
// hook, on a goroutine of its own, as time.AfterFunc says.
//
// A touch resets the timer. If the timer was active, the reset has moved it; if
// it was not, its function has been started already, so the session ends: the
// timer that the reset has armed is stopped, and the touch has lost. So a touch
// by key needs the lock of its shard for the look-up alone.
//
// A handle is the timer and the time-out, which time.Timer does not remember. A
// timer knows one time-out alone: it cannot tell polls from touches.

var infoAfterFunc = Info{
	Name: "afterfunc",
	Can:  Can{Key: true, Handle: true, Answer: true, Cancel: true, Hook: true, OwnIdle: true, Values: true},
	Note: "each end is a goroutine",
}

// The value comes first: an empty one at the end would take eight bytes.
type timedSession[V any] struct {
	value V
	timer *time.Timer
	idle  time.Duration
}

type timerHandle struct {
	timer *time.Timer
	idle  time.Duration
}

type afterFuncPeer[K comparable, V any] struct {
	handles[timerHandle]
	c      Config[K]
	shards shards[K, map[K]*timedSession[V]]
	value  V
}

func newAfterFunc[K comparable, V any](c Config[K], value V) *afterFuncPeer[K, V] {
	p := &afterFuncPeer[K, V]{c: c, value: value, handles: newHandles[timerHandle](c.Handles, c.Sessions)}
	p.shards.init(&c)
	p.shards.each(func(sessions *map[K]*timedSession[V]) { *sessions = make(map[K]*timedSession[V]) })
	return p
}

func (p *afterFuncPeer[K, V]) Start(keys []K) error {
	for _, key := range keys {
		p.StartFor(key, p.c.idle(key))
	}
	return nil
}

func (p *afterFuncPeer[K, V]) StartFor(key K, idle time.Duration) error {
	s := &timedSession[V]{idle: idle, value: p.value}
	sh := p.shards.of(key)
	sh.Lock()
	sh.s[key] = s
	s.timer = time.AfterFunc(idle, func() { p.expire(key, s) })
	sh.Unlock()
	p.keep(timerHandle{s.timer, idle})
	return nil
}

// expire is what a timer calls. Another session may have the key by now.
func (p *afterFuncPeer[K, V]) expire(key K, s *timedSession[V]) {
	sh := p.shards.of(key)
	sh.Lock()
	mine := sh.s[key] == s
	if mine {
		delete(sh.s, key)
	}
	sh.Unlock()
	if mine {
		p.c.end(key)
	}
}

func (p *afterFuncPeer[K, V]) Touch(keys []K) (alive int) {
	for _, key := range keys {
		sh := p.shards.of(key)
		sh.Lock()
		s := sh.s[key]
		sh.Unlock()
		if s != nil && reset(s.timer, s.idle) {
			alive++
		}
	}
	return alive
}

func (p *afterFuncPeer[K, V]) TouchHandles(from, to int) (alive int) {
	for _, h := range p.table[from:to] {
		if reset(h.timer, h.idle) {
			alive++
		}
	}
	return alive
}

func reset(t *time.Timer, d time.Duration) bool {
	if t.Reset(d) {
		return true
	}
	t.Stop()
	return false
}

func (p *afterFuncPeer[K, V]) End(keys []K) {
	for _, key := range keys {
		sh := p.shards.of(key)
		sh.Lock()
		s := sh.s[key]
		delete(sh.s, key)
		sh.Unlock()
		if s != nil {
			s.timer.Stop()
			p.c.end(key)
		}
	}
}

func (p *afterFuncPeer[K, V]) Len() (n int) {
	p.shards.each(func(sessions *map[K]*timedSession[V]) { n += len(*sessions) })
	return n
}

func (p *afterFuncPeer[K, V]) Close() {
	p.shards.each(func(sessions *map[K]*timedSession[V]) {
		for _, s := range *sessions {
			s.timer.Stop()
		}
		clear(*sessions)
	})
}
