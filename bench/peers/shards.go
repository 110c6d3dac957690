package peers

import (
	"sync"
	"time"
)

// shardCount is how many shards the structures made by hand have: several for
// each core of most machines.
const shardCount = 64

// A shard of a structure made by hand is S, and a lock. The padding keeps the
// locks of two shards out of one cache line, and of the pair of lines that some
// machines fetch together.
type shard[S any] struct {
	sync.Mutex
	s S
	_ [128]byte
}

type shards[K comparable, S any] struct {
	bits  func(K) uint64
	all   [shardCount]shard[S]
	start time.Time
}

func (sh *shards[K, S]) init(c *Config[K]) {
	sh.bits = c.Kind.Shard
	sh.start = time.Now()
}

func (sh *shards[K, S]) of(key K) *shard[S] { return &sh.all[sh.bits(key)%shardCount] }

// each calls f with all shards in turn, under their locks.
func (sh *shards[K, S]) each(f func(*S)) {
	for i := range sh.all {
		one := &sh.all[i]
		one.Lock()
		f(&one.s)
		one.Unlock()
	}
}

// now returns the nanoseconds since the start: the cheapest clock that the
// library has, half as dear as time.Now.
func (sh *shards[K, S]) now() int64 { return int64(time.Since(sh.start)) }

// mostAtOnce is how many due sessions are taken out under one lock before their
// hooks are called.
const mostAtOnce = 256
