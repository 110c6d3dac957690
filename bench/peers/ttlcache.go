package peers

import (
	"context"
	"time"

	"github.com/jellydator/ttlcache/v3"
)

// ttlcache as in its documentation: New, then go Start, which sleeps until the
// earliest end; Get extends what it finds. Its method Touch does so, too, and
// somewhat cheaper, but does not tell whether there was a session, which a server
// must know. OnEviction runs the hook on a goroutine for each end. It has no
// handles, and cannot tell polls from touches: WithDisableTouchOnHit makes a Get
// extend nothing, which is neither.

var infoTTLCache = Info{
	Name:   "ttlcache",
	Module: "github.com/jellydator/ttlcache/v3",
	Can:    Can{Key: true, Answer: true, Cancel: true, Hook: true, OwnIdle: true, Values: true},
	Note:   "each end is a goroutine",
}

type ttlcachePeer[K comparable, V any] struct {
	c     Config[K]
	cache *ttlcache.Cache[K, V]
	value V
}

func newTTLCache[K comparable, V any](c Config[K], value V) *ttlcachePeer[K, V] {
	cache := ttlcache.New(ttlcache.WithTTL[K, V](c.Idles[0]))
	if c.OnEnd != nil {
		cache.OnEviction(func(_ context.Context, _ ttlcache.EvictionReason, item *ttlcache.Item[K, V]) { c.end(item.Key()) })
	}
	go cache.Start()
	return &ttlcachePeer[K, V]{c, cache, value}
}

func (p *ttlcachePeer[K, V]) Start(keys []K) error {
	for _, key := range keys {
		p.cache.Set(key, p.value, p.c.idle(key))
	}
	return nil
}

func (p *ttlcachePeer[K, V]) StartFor(key K, idle time.Duration) error {
	p.cache.Set(key, p.value, idle)
	return nil
}

func (p *ttlcachePeer[K, V]) Touch(keys []K) (alive int) {
	for _, key := range keys {
		if p.cache.Get(key) != nil {
			alive++
		}
	}
	return alive
}

func (p *ttlcachePeer[K, V]) End(keys []K) {
	for _, key := range keys {
		p.cache.Delete(key)
	}
}

// Len asks for the metrics rather than for the length, which counts what is
// unexpired and cannot be had while a million sessions are being expired.
func (p *ttlcachePeer[K, V]) Len() int {
	m := p.cache.Metrics()
	return int(m.Insertions - m.Evictions)
}

func (p *ttlcachePeer[K, V]) Close() { p.cache.Stop() }
