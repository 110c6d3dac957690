package peers

import (
	"fmt"
	"time"

	"github.com/lapse-go/lapse"
)

// lapse with default Options. Sessions belong to as many classes as there are
// time-outs, and a session with a time-out of its own is given it with SetIdle:
// that is two calls. To end a session by its key takes two, as well: Get and
// Expire. It cannot end a session more exactly than by its tick, 10 ms.

var infoLapse = Info{
	Name:  "lapse",
	Can:   Can{Key: true, Handle: true, Answer: true, Cancel: true, Hook: true, OwnIdle: true, Poll: true, Values: true},
	Slack: 10 * time.Millisecond, // Options.Tick
}

type lapsePeer[K comparable, V any] struct {
	handles[lapse.Session[K, V]]
	c       Config[K]
	e       *lapse.Engine[K, V]
	classes []*lapse.Class[K, V]
	value   V
}

func newLapse[K comparable, V any](c Config[K], value V) (*lapsePeer[K, V], error) {
	e, err := lapse.New[K, V](lapse.Options{})
	if err != nil {
		return nil, err
	}
	p := &lapsePeer[K, V]{c: c, e: e, value: value, handles: newHandles[lapse.Session[K, V]](c.Handles, c.Sessions)}
	for i, idle := range c.Idles {
		class, err := e.Class(lapse.Policy{Name: fmt.Sprint("class ", i), Idle: idle})
		if err != nil {
			return nil, err
		}
		p.classes = append(p.classes, class)
	}
	if c.OnEnd != nil {
		e.NotifyOnExpire(func(ev lapse.Event[K, V]) { c.OnEnd(c.Kind.Number(ev.Key)) })
	}
	return p, nil
}

func (p *lapsePeer[K, V]) class(key K) *lapse.Class[K, V] {
	if len(p.classes) == 1 {
		return p.classes[0]
	}
	return p.classes[int(p.c.Kind.Number(key))%len(p.classes)]
}

func (p *lapsePeer[K, V]) Start(keys []K) error {
	for _, key := range keys {
		s, err := p.class(key).Start(key, p.value)
		if err != nil {
			return err
		}
		p.keep(s)
	}
	return nil
}

func (p *lapsePeer[K, V]) StartFor(key K, idle time.Duration) error {
	s, err := p.class(key).Start(key, p.value)
	if err != nil {
		return err
	}
	s.SetIdle(idle)
	p.keep(s)
	return nil
}

func (p *lapsePeer[K, V]) Touch(keys []K) (alive int) {
	for _, key := range keys {
		if _, ok := p.e.Touch(key); ok {
			alive++
		}
	}
	return alive
}

func (p *lapsePeer[K, V]) TouchHandles(from, to int) (alive int) {
	for _, s := range p.table[from:to] {
		if s.Touch() {
			alive++
		}
	}
	return alive
}

func (p *lapsePeer[K, V]) Poll(keys []K) (alive int) {
	for _, key := range keys {
		if _, ok := p.e.Poll(key); ok {
			alive++
		}
	}
	return alive
}

func (p *lapsePeer[K, V]) PollHandles(from, to int) (alive int) {
	for _, s := range p.table[from:to] {
		if s.Poll() {
			alive++
		}
	}
	return alive
}

func (p *lapsePeer[K, V]) End(keys []K) {
	for _, key := range keys {
		if s, ok := p.e.Get(key); ok {
			s.Expire()
		}
	}
}

func (p *lapsePeer[K, V]) Len() int        { return p.e.Len() }
func (p *lapsePeer[K, V]) Wakeups() uint64 { return p.e.Stats().Wakeups }
func (p *lapsePeer[K, V]) Close()          { p.e.Close() }
