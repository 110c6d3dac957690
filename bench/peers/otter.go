package peers

import (
	"time"

	"github.com/maypok86/otter/v2"
)

// otter without a maximum size, so that nothing is evicted, with an expiry that
// is reset by each access, which is its documentation's way to do it:
// GetIfPresent is the touch. A time-out of a session's own is given with
// SetExpiresAfter, which the next read replaces by that of the class.
//
// Ends are told by OnDeletion on the default executor, a goroutine each, which
// the documentation gives precedence over OnAtomicDeletion: that one runs under a
// lock and may not call the cache. A read that would move the end by less than a
// second leaves it where it is, and a session may end up to a second early.
// Expired entries are dropped by maintenance, once a second at least. It has no
// handles, and cannot tell polls from touches by the call.

var infoOtter = Info{
	Name:   "otter",
	Module: "github.com/maypok86/otter/v2",
	Can:    Can{Key: true, Answer: true, Cancel: true, Hook: true, OwnIdle: true, Values: true},
	Slack:  time.Second,
	Early:  time.Second,
	Note:   "may end sessions up to a second early",
}

type otterPeer[K comparable, V any] struct {
	cache *otter.Cache[K, V]
	value V
}

func newOtter[K comparable, V any](c Config[K], value V) (*otterPeer[K, V], error) {
	o := &otter.Options[K, V]{
		ExpiryCalculator: otter.ExpiryAccessingFunc(func(e otter.Entry[K, V]) time.Duration { return c.idle(e.Key) }),
	}
	if c.OnEnd != nil {
		o.OnDeletion = func(e otter.DeletionEvent[K, V]) {
			if e.Cause != otter.CauseReplacement {
				c.end(e.Key)
			}
		}
	}
	cache, err := otter.New(o)
	if err != nil {
		return nil, err
	}
	return &otterPeer[K, V]{cache, value}, nil
}

func (p *otterPeer[K, V]) Start(keys []K) error {
	for _, key := range keys {
		p.cache.Set(key, p.value)
	}
	return nil
}

func (p *otterPeer[K, V]) StartFor(key K, idle time.Duration) error {
	p.cache.Set(key, p.value)
	p.cache.SetExpiresAfter(key, idle)
	return nil
}

func (p *otterPeer[K, V]) Touch(keys []K) (alive int) {
	for _, key := range keys {
		if _, ok := p.cache.GetIfPresent(key); ok {
			alive++
		}
	}
	return alive
}

func (p *otterPeer[K, V]) End(keys []K) {
	for _, key := range keys {
		p.cache.Invalidate(key)
	}
}

func (p *otterPeer[K, V]) Len() int { return p.cache.EstimatedSize() }
func (p *otterPeer[K, V]) Close()   { p.cache.StopAllGoroutines() }
