package peers

import (
	"container/heap"
	"time"
)

// container/heap, as in the priority queue of its documentation: items know
// their place in the heap, and a touch is heap.Fix. A sharded map leads from key
// to item. Each shard has a heap, and the timer of [queues]. It is measured
// by key alone: its items are no handles, as the shard's lock is not among what
// they know. It cannot tell polls from touches.

var infoHeap = Info{
	Name: "heap",
	Can:  Can{Key: true, Answer: true, Cancel: true, Hook: true, OwnIdle: true, Values: true},
}

// The value comes first: an empty one at the end would take eight bytes.
type heapItem[K comparable, V any] struct {
	value    V
	deadline int64
	index    int
	idle     time.Duration
	key      K
}

// A heapQueue implements heap.Interface.
type heapQueue[K comparable, V any] []*heapItem[K, V]

func (q heapQueue[K, V]) Len() int           { return len(q) }
func (q heapQueue[K, V]) Less(i, j int) bool { return q[i].deadline < q[j].deadline }
func (q heapQueue[K, V]) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}
func (q *heapQueue[K, V]) Push(x any) {
	item := x.(*heapItem[K, V])
	item.index = len(*q)
	*q = append(*q, item)
}
func (q *heapQueue[K, V]) Pop() any {
	last := len(*q) - 1
	item := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return item
}

// A heapShard is the queue of a shard, and the way to its items.
type heapShard[K comparable, V any] struct {
	items map[K]*heapItem[K, V]
	order heapQueue[K, V]
}

func (h *heapShard[K, V]) len() int { return len(h.order) }

func (h *heapShard[K, V]) least() (deadline int64, ok bool) {
	if len(h.order) == 0 {
		return 0, false
	}
	return h.order[0].deadline, true
}

func (h *heapShard[K, V]) pop() K {
	item := heap.Pop(&h.order).(*heapItem[K, V])
	delete(h.items, item.key)
	return item.key
}

func (h *heapShard[K, V]) clear() { h.items, h.order = make(map[K]*heapItem[K, V]), nil }

type heapPeer[K comparable, V any] struct {
	queues queues[K, heapShard[K, V], *heapShard[K, V]]
	value  V
}

func newHeap[K comparable, V any](c Config[K], value V) *heapPeer[K, V] {
	p := &heapPeer[K, V]{value: value}
	p.queues.init(c)
	return p
}

func (p *heapPeer[K, V]) Start(keys []K) error {
	for _, key := range keys {
		p.StartFor(key, p.queues.c.idle(key))
	}
	return nil
}

func (p *heapPeer[K, V]) StartFor(key K, idle time.Duration) error {
	now := p.queues.shards.now()
	item := &heapItem[K, V]{deadline: now + int64(idle), idle: idle, key: key, value: p.value}
	sh := p.queues.shards.of(key)
	sh.Lock()
	sh.s.queue.items[key] = item
	heap.Push(&sh.s.queue.order, item)
	p.queues.arm(sh, item.deadline, now)
	sh.Unlock()
	return nil
}

func (p *heapPeer[K, V]) Touch(keys []K) (alive int) {
	for _, key := range keys {
		now := p.queues.shards.now()
		sh := p.queues.shards.of(key)
		sh.Lock()
		if item := sh.s.queue.items[key]; item != nil && item.deadline > now {
			item.deadline = now + int64(item.idle)
			heap.Fix(&sh.s.queue.order, item.index)
			alive++
		}
		sh.Unlock()
	}
	return alive
}

func (p *heapPeer[K, V]) End(keys []K) {
	for _, key := range keys {
		sh := p.queues.shards.of(key)
		sh.Lock()
		item := sh.s.queue.items[key]
		if item != nil {
			delete(sh.s.queue.items, key)
			heap.Remove(&sh.s.queue.order, item.index)
		}
		sh.Unlock()
		if item != nil {
			p.queues.c.end(key)
		}
	}
}

func (p *heapPeer[K, V]) Len() int { return p.queues.len() }
func (p *heapPeer[K, V]) Close()   { p.queues.close() }
