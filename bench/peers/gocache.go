package peers

import (
	"time"

	"github.com/patrickmn/go-cache"
)

// go-cache as in its documentation, with Delete's and DeleteExpired's hook,
// OnEvicted. A touch is Replace, which does nothing but tell so if there is no
// such session: one call under one lock. A caller who has not got the session's
// value at hand would have to Get it first. Expired entries are hidden at once
// and swept once a second, under the one lock of the cache. It has no handles, no
// keys but strings, and cannot tell polls from touches.

var infoGoCache = Info{
	Name:   "go-cache",
	Module: "github.com/patrickmn/go-cache",
	Can:    Can{Key: true, Answer: true, Cancel: true, Hook: true, OwnIdle: true, Values: true, Strings: true},
	Slack:  sweepInterval,
	Note:   "sweeps once a second, under its one lock",
}

type goCachePeer struct {
	c     Config[string]
	cache *cache.Cache
	value any
}

func newGoCache[V any](c Config[string], value V) *goCachePeer {
	p := &goCachePeer{c, cache.New(c.Idles[0], sweepInterval), value}
	if c.OnEnd != nil {
		p.cache.OnEvicted(func(key string, _ any) { c.end(key) })
	}
	return p
}

func (p *goCachePeer) Start(keys []string) error {
	for _, key := range keys {
		p.cache.Set(key, p.value, p.c.idle(key))
	}
	return nil
}

func (p *goCachePeer) StartFor(key string, idle time.Duration) error {
	p.cache.Set(key, p.value, idle)
	return nil
}

func (p *goCachePeer) Touch(keys []string) (alive int) {
	for _, key := range keys {
		if p.cache.Replace(key, p.value, p.c.idle(key)) == nil {
			alive++
		}
	}
	return alive
}

func (p *goCachePeer) End(keys []string) {
	for _, key := range keys {
		p.cache.Delete(key)
	}
}

func (p *goCachePeer) Len() int { return p.cache.ItemCount() }

// Close empties the cache. Its janitor stops when the collector finds that
// nobody has the cache.
func (p *goCachePeer) Close() {
	p.cache.OnEvicted(nil)
	p.cache.Flush()
}
