package peers

import (
	"encoding/binary"
	"time"

	"github.com/dgraph-io/ristretto/v2"
	"github.com/lapse-go/lapse/bench/keys"
)

// ristretto as its Config recommends: ten counters for each session, 64 buffer
// items, a maximum cost that no number of sessions reaches, each of cost 1. It
// drops new entries when it is busy, which no store of sessions may do: a Start
// that was dropped waits for the buffer and tries again. A touch is Get and
// SetWithTTL, since reading extends nothing.
//
// Entries are known by two hashes of 64 bits; of a 16-byte key they are its
// halves, which KeyToHash allows and which is cheaper than the default. OnEvict
// tells of ends by time, which come in steps of five seconds, and not of those by
// Del. Of hex keys the default hashes are used, and ends are not told. It has no
// handles, and cannot tell polls from touches; keys are strings or integers.

var infoRistretto = Info{
	Name:   "ristretto",
	Module: "github.com/dgraph-io/ristretto/v2",
	Can:    Can{Key: true, Answer: true, Cancel: true, Hook: true, OwnIdle: true, Values: true, Strings: true},
	Slack:  7500 * time.Millisecond, // steps of 5 s, looked at every 2.5 s
	Note:   "steps of five seconds; a touch is a read and a write",
}

// A ristrettoKey is a type of keys that both ristretto and the benchmarks have.
type ristrettoKey interface{ string | uint64 }

type ristrettoPeer[K ristrettoKey, V any] struct {
	c     Config[K]
	cache *ristretto.Cache[K, V]
	value V
}

func newRistretto[K ristrettoKey, V any](c Config[K], value V) (*ristrettoPeer[K, V], error) {
	o := &ristretto.Config[K, V]{
		NumCounters:        int64(10 * max(c.Sessions, 100)),
		MaxCost:            1 << 40,
		BufferItems:        64,
		IgnoreInternalCost: true, // costs are no bytes
	}
	if c.Kind.Name == keys.RawStrings().Name {
		o.KeyToHash = func(key K) (uint64, uint64) {
			b := []byte(any(key).(string))
			return binary.LittleEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
		}
	}
	if c.OnEnd != nil {
		switch c.Kind.Name {
		case keys.RawStrings().Name:
			o.OnEvict = func(item *ristretto.Item[V]) { c.OnEnd(uint32(item.Conflict)) }
		case keys.Uints().Name:
			o.OnEvict = func(item *ristretto.Item[V]) { c.OnEnd(keys.Uints().Number(item.Key)) }
		}
	}
	cache, err := ristretto.NewCache(o)
	if err != nil {
		return nil, err
	}
	return &ristrettoPeer[K, V]{c, cache, value}, nil
}

func (p *ristrettoPeer[K, V]) Start(keys []K) error {
	for _, key := range keys {
		p.StartFor(key, p.c.idle(key))
	}
	return nil
}

func (p *ristrettoPeer[K, V]) StartFor(key K, idle time.Duration) error {
	for !p.cache.SetWithTTL(key, p.value, 1, idle) {
		p.cache.Wait()
	}
	return nil
}

func (p *ristrettoPeer[K, V]) Touch(keys []K) (alive int) {
	for _, key := range keys {
		if value, ok := p.cache.Get(key); ok {
			p.cache.SetWithTTL(key, value, 1, p.c.idle(key))
			alive++
		}
	}
	return alive
}

func (p *ristrettoPeer[K, V]) End(keys []K) {
	for _, key := range keys {
		p.cache.Del(key)
	}
}

// Len waits for what is buffered, and counts by what it has cost.
func (p *ristrettoPeer[K, V]) Len() int {
	p.cache.Wait()
	return int(p.cache.MaxCost() - p.cache.RemainingCost())
}

func (p *ristrettoPeer[K, V]) Close() { p.cache.Close() }
