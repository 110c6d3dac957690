package peers

import (
	"time"

	"github.com/Yiling-J/theine-go"
)

// theine with a maximum size of twice the sessions, so that its policy evicts
// none, each of cost 1. It extends no entry by reading it, so a touch is Get,
// which tells whether there is a session, and SetWithTTL, which gives it the
// time-out again. If it ends in between, it is started anew: theine has no call
// that does both. The removal listener is its hook. The entry pool stays off, as
// it is by default: it is documented to race. It has no handles, and cannot tell
// polls from touches.

var infoTheine = Info{
	Name:   "theine",
	Module: "github.com/Yiling-J/theine-go",
	Can:    Can{Key: true, Answer: true, Cancel: true, Hook: true, OwnIdle: true, Values: true},
	Slack:  2 * time.Second, // its wheel's first level has slots of 2^30 ns, and is looked at twice a second
	Note:   "a touch is a read and a write",
}

type theinePeer[K comparable, V any] struct {
	c     Config[K]
	cache *theine.Cache[K, V]
	value V
}

func newTheine[K comparable, V any](c Config[K], value V) (*theinePeer[K, V], error) {
	b := theine.NewBuilder[K, V](int64(max(2*c.Sessions, 1000)))
	if c.OnEnd != nil {
		b.RemovalListener(func(key K, _ V, _ theine.RemoveReason) { c.end(key) })
	}
	cache, err := b.Build()
	if err != nil {
		return nil, err
	}
	return &theinePeer[K, V]{c, cache, value}, nil
}

func (p *theinePeer[K, V]) Start(keys []K) error {
	for _, key := range keys {
		p.cache.SetWithTTL(key, p.value, 1, p.c.idle(key))
	}
	return nil
}

func (p *theinePeer[K, V]) StartFor(key K, idle time.Duration) error {
	p.cache.SetWithTTL(key, p.value, 1, idle)
	return nil
}

func (p *theinePeer[K, V]) Touch(keys []K) (alive int) {
	for _, key := range keys {
		if value, ok := p.cache.Get(key); ok {
			p.cache.SetWithTTL(key, value, 1, p.c.idle(key))
			alive++
		}
	}
	return alive
}

func (p *theinePeer[K, V]) End(keys []K) {
	for _, key := range keys {
		p.cache.Delete(key)
	}
}

func (p *theinePeer[K, V]) Len() int { return p.cache.Len() }
func (p *theinePeer[K, V]) Close()   { p.cache.Close() }
