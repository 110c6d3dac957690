package peers

import (
	"time"

	"github.com/google/btree"
)

// google/btree, generic, of degree 32 as in its own benchmarks: an ordered set of
// deadlines and keys for each shard, beside a map from key to deadline. A touch
// deletes the session from the tree and inserts it again. Each shard has a tree,
// and the timer of [queues]. It has no handles, as the tree holds values, and
// cannot tell polls from touches.

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
	if a.deadline != b.deadline {
		return a.deadline < b.deadline
	}
	return a.serial < b.serial
}

// The value comes first: an empty one at the end would take eight bytes.
type treeSession[V any] struct {
	value    V
	deadline int64
	serial   uint64
	idle     time.Duration
}

// A treeShard is the queue of a shard, and the sessions by key.
type treeShard[K comparable, V any] struct {
	sessions map[K]treeSession[V]
	tree     *btree.BTreeG[treeItem[K]]
	serial   uint64
}

func (t *treeShard[K, V]) len() int { return len(t.sessions) }

func (t *treeShard[K, V]) least() (deadline int64, ok bool) {
	item, ok := t.tree.Min()
	return item.deadline, ok
}

func (t *treeShard[K, V]) pop() K {
	item, _ := t.tree.DeleteMin()
	delete(t.sessions, item.key)
	return item.key
}

func (t *treeShard[K, V]) clear() {
	t.sessions, t.tree = make(map[K]treeSession[V]), btree.NewG(32, treeItem[K].less)
}

type btreePeer[K comparable, V any] struct {
	queues queues[K, treeShard[K, V], *treeShard[K, V]]
	value  V
}

func newBTree[K comparable, V any](c Config[K], value V) *btreePeer[K, V] {
	p := &btreePeer[K, V]{value: value}
	p.queues.init(c)
	return p
}

func (p *btreePeer[K, V]) Start(keys []K) error {
	for _, key := range keys {
		p.StartFor(key, p.queues.c.idle(key))
	}
	return nil
}

func (p *btreePeer[K, V]) StartFor(key K, idle time.Duration) error {
	now := p.queues.shards.now()
	sh := p.queues.shards.of(key)
	sh.Lock()
	sh.s.queue.serial++
	s := treeSession[V]{p.value, now + int64(idle), sh.s.queue.serial, idle}
	sh.s.queue.sessions[key] = s
	sh.s.queue.tree.ReplaceOrInsert(treeItem[K]{s.deadline, s.serial, key})
	p.queues.arm(sh, s.deadline, now)
	sh.Unlock()
	return nil
}

func (p *btreePeer[K, V]) Touch(keys []K) (alive int) {
	for _, key := range keys {
		now := p.queues.shards.now()
		sh := p.queues.shards.of(key)
		sh.Lock()
		if s, ok := sh.s.queue.sessions[key]; ok && s.deadline > now {
			sh.s.queue.tree.Delete(treeItem[K]{s.deadline, s.serial, key})
			s.deadline = now + int64(s.idle)
			sh.s.queue.tree.ReplaceOrInsert(treeItem[K]{s.deadline, s.serial, key})
			sh.s.queue.sessions[key] = s
			alive++
		}
		sh.Unlock()
	}
	return alive
}

func (p *btreePeer[K, V]) End(keys []K) {
	for _, key := range keys {
		sh := p.queues.shards.of(key)
		sh.Lock()
		s, ok := sh.s.queue.sessions[key]
		if ok {
			delete(sh.s.queue.sessions, key)
			sh.s.queue.tree.Delete(treeItem[K]{s.deadline, s.serial, key})
		}
		sh.Unlock()
		if ok {
			p.queues.c.end(key)
		}
	}
}

func (p *btreePeer[K, V]) Len() int { return p.queues.len() }
func (p *btreePeer[K, V]) Close()   { p.queues.close() }
