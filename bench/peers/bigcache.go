package peers

import (
	"context"
	"time"
	"unsafe"

	"github.com/allegro/bigcache/v3"
)

// bigcache with its DefaultConfig, told how many sessions there will be, which it
// recommends where that is known. Keys are strings, values are bytes, and one
// time-out holds for all entries: that of the last class here, the longest, so
// that the ends are not spread. It extends no entry by reading it, so a touch is Get and Set.
// Set appends to a queue, and what it replaces stays there until the life window
// has passed: touches cost memory.
//
// It has a clock of seconds: an entry ends up to a second early or late, and is
// removed by a sweep each second, in the order of the queue. Until then Get finds
// it. OnRemove is the hook; it runs under the lock of a shard. It has no handles,
// and cannot tell polls from touches.

var infoBigCache = Info{
	Name:   "bigcache",
	Module: "github.com/allegro/bigcache/v3",
	Can:    Can{Key: true, Answer: true, Cancel: true, Hook: true, Strings: true},
	Slack:  2 * time.Second,
	Early:  time.Second,
	Note:   "one time-out for all; seconds; touches take memory until it has passed",
}

type bigCachePeer struct {
	cache *bigcache.BigCache
	value []byte
}

func newBigCache[V any](c Config[string], value V) (*bigCachePeer, error) {
	// A value is so many bytes: they would be a session, serialized.
	bytes := make([]byte, unsafe.Sizeof(value))
	o := bigcache.DefaultConfig(c.Idles[len(c.Idles)-1])
	o.MaxEntriesInWindow = c.Sessions
	o.MaxEntrySize = bigCacheHeader + len(c.Kind.Make(0)) + len(bytes)
	o.Verbose = false
	if c.OnEnd != nil {
		o.OnRemove = func(key string, _ []byte) { c.end(key) }
	}
	cache, err := bigcache.New(context.Background(), o)
	if err != nil {
		return nil, err
	}
	return &bigCachePeer{cache, bytes}, nil
}

// bigCacheHeader is what bigcache puts before each entry: time, hash, length.
const bigCacheHeader = 8 + 8 + 2

func (p *bigCachePeer) Start(keys []string) error {
	for _, key := range keys {
		if err := p.cache.Set(key, p.value); err != nil {
			return err
		}
	}
	return nil
}

// StartFor cannot be: see Can.OwnIdle.
func (p *bigCachePeer) StartFor(key string, _ time.Duration) error { return p.cache.Set(key, p.value) }

func (p *bigCachePeer) Touch(keys []string) (alive int) {
	for _, key := range keys {
		if value, err := p.cache.Get(key); err == nil && p.cache.Set(key, value) == nil {
			alive++
		}
	}
	return alive
}

func (p *bigCachePeer) End(keys []string) {
	for _, key := range keys {
		p.cache.Delete(key)
	}
}

func (p *bigCachePeer) Len() int { return p.cache.Len() }
func (p *bigCachePeer) Close()   { p.cache.Close() }
