package peers

import (
	"cmp"
	"time"

	"github.com/google/btree"
)

// google/btree, generic, of degree 32 as in its own benchmarks: an ordered set of
// deadlines and keys for each shard, beside a map from key to deadline. A touch
// deletes the session from the tree and inserts it again. Each shard has one
// timer, armed for the tree's least deadline.

var infoBTree = Info{
	Name:   "btree",
	Module: "github.com/google/btree",
	Can:    Can{Key: true, Answer: true, Cancel: true, Hook: true, OwnIdle: true, Values: true},
}

// A treeItem is an element of the tree: sessions of one deadline are told apart
// by the order of their starts, which compares faster than any key.
type treeItem[K comparable] struct {
	deadline int64
	serial   uint64
	key      K
}

func (a treeItem[K]) less(b treeItem[K]) bool {
	return cmp.Or(cmp.Compare(a.deadline, b.deadline), cmp.Compare(a.serial, b.serial)) < 0
}

// The value comes first: an empty one at the end would take eight bytes.
type treeSession[V any] struct {
	value    V
	deadline int64
	serial   uint64
	idle     time.Duration
}

type treeShard[K comparable, V any] struct {
	sessions map[K]treeSession[V]
	tree     *btree.BTreeG[treeItem[K]]
	serial   uint64
	timer    *time.Timer
	armed    int64 // when the timer fires; 0: it is not armed
}

type btreePeer[K comparable, V any] struct {
	c      Config[K]
	shards shards[K, treeShard[K, V]]
	value  V
}

func newBTree[K comparable, V any](c Config[K], value V) *btreePeer[K, V] {
	p := &btreePeer[K, V]{c: c, value: value}
	p.shards.init(&c)
	for i := range p.shards.all {
		sh := &p.shards.all[i]
		sh.s.sessions = make(map[K]treeSession[V])
		sh.s.tree = btree.NewG(32, treeItem[K].less)
	}
	return p
}

// arm sees to it that the shard's timer fires at the least deadline or before.
func (p *btreePeer[K, V]) arm(sh *shard[treeShard[K, V]], least, now int64) {
	if sh.s.armed != 0 && sh.s.armed <= least {
		return
	}
	sh.s.armed = least
	if sh.s.timer == nil {
		sh.s.timer = time.AfterFunc(time.Duration(least-now), func() { p.expire(sh) })
	} else {
		sh.s.timer.Reset(time.Duration(least - now))
	}
}

func (p *btreePeer[K, V]) expire(sh *shard[treeShard[K, V]]) {
	due := make([]K, 0, mostAtOnce)
	for more := true; more; {
		due = due[:0]
		sh.Lock()
		sh.s.armed = 0
		now := p.shards.now()
		for len(due) < mostAtOnce {
			least, ok := sh.s.tree.Min()
			if !ok {
				break
			}
			if least.deadline > now {
				p.arm(sh, least.deadline, now)
				break
			}
			sh.s.tree.DeleteMin()
			delete(sh.s.sessions, least.key)
			due = append(due, least.key)
		}
		more = len(due) == mostAtOnce
		sh.Unlock()
		for _, key := range due {
			p.c.end(key)
		}
	}
}

func (p *btreePeer[K, V]) Start(keys []K) error {
	for _, key := range keys {
		p.StartFor(key, p.c.idle(key))
	}
	return nil
}

func (p *btreePeer[K, V]) StartFor(key K, idle time.Duration) error {
	now := p.shards.now()
	sh := p.shards.of(key)
	sh.Lock()
	sh.s.serial++
	s := treeSession[V]{p.value, now + int64(idle), sh.s.serial, idle}
	sh.s.sessions[key] = s
	sh.s.tree.ReplaceOrInsert(treeItem[K]{s.deadline, s.serial, key})
	p.arm(sh, s.deadline, now)
	sh.Unlock()
	return nil
}

func (p *btreePeer[K, V]) Touch(keys []K) (alive int) {
	for _, key := range keys {
		now := p.shards.now()
		sh := p.shards.of(key)
		sh.Lock()
		if s, ok := sh.s.sessions[key]; ok && s.deadline > now {
			sh.s.tree.Delete(treeItem[K]{s.deadline, s.serial, key})
			s.deadline = now + int64(s.idle)
			sh.s.tree.ReplaceOrInsert(treeItem[K]{s.deadline, s.serial, key})
			sh.s.sessions[key] = s
			alive++
		}
		sh.Unlock()
	}
	return alive
}

func (p *btreePeer[K, V]) End(keys []K) {
	for _, key := range keys {
		sh := p.shards.of(key)
		sh.Lock()
		s, ok := sh.s.sessions[key]
		if ok {
			delete(sh.s.sessions, key)
			sh.s.tree.Delete(treeItem[K]{s.deadline, s.serial, key})
		}
		sh.Unlock()
		if ok {
			p.c.end(key)
		}
	}
}

func (p *btreePeer[K, V]) Len() (n int) {
	for i := range p.shards.all {
		sh := &p.shards.all[i]
		sh.Lock()
		n += len(sh.s.sessions)
		sh.Unlock()
	}
	return n
}

func (p *btreePeer[K, V]) Close() {
	for i := range p.shards.all {
		sh := &p.shards.all[i]
		sh.Lock()
		if sh.s.timer != nil {
			sh.s.timer.Stop()
		}
		sh.s.tree.Clear(false)
		clear(sh.s.sessions)
		sh.Unlock()
	}
}
