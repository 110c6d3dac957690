package peers

import (
	"container/heap"
	"time"
)

// container/heap, as in the priority queue of its documentation: items know
// their place in the heap, and a touch is heap.Fix. A sharded map leads from key
// to item. Each shard has a heap and one timer, armed for the heap's least
// deadline; a touch that moves the least one away leaves the timer alone, and the
// timer looks again.

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

type heapShard[K comparable, V any] struct {
	items map[K]*heapItem[K, V]
	queue heapQueue[K, V]
	timer *time.Timer
	armed int64 // when the timer fires; 0: it is not armed
}

type heapPeer[K comparable, V any] struct {
	c      Config[K]
	shards shards[K, heapShard[K, V]]
	value  V
}

func newHeap[K comparable, V any](c Config[K], value V) *heapPeer[K, V] {
	p := &heapPeer[K, V]{c: c, value: value}
	p.shards.init(&c)
	for i := range p.shards.all {
		sh := &p.shards.all[i]
		sh.s.items = make(map[K]*heapItem[K, V])
	}
	return p
}

// arm sees to it that the shard's timer fires at the least deadline or before.
func (p *heapPeer[K, V]) arm(sh *shard[heapShard[K, V]], now int64) {
	if len(sh.s.queue) == 0 {
		return
	}
	least := sh.s.queue[0].deadline
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

func (p *heapPeer[K, V]) expire(sh *shard[heapShard[K, V]]) {
	due := make([]K, 0, mostAtOnce)
	for more := true; more; {
		due = due[:0]
		sh.Lock()
		sh.s.armed = 0
		now := p.shards.now()
		for len(sh.s.queue) > 0 && sh.s.queue[0].deadline <= now && len(due) < mostAtOnce {
			item := heap.Pop(&sh.s.queue).(*heapItem[K, V])
			delete(sh.s.items, item.key)
			due = append(due, item.key)
		}
		if more = len(due) == mostAtOnce; !more {
			p.arm(sh, now)
		}
		sh.Unlock()
		for _, key := range due {
			p.c.end(key)
		}
	}
}

func (p *heapPeer[K, V]) Start(keys []K) error {
	for _, key := range keys {
		p.StartFor(key, p.c.idle(key))
	}
	return nil
}

func (p *heapPeer[K, V]) StartFor(key K, idle time.Duration) error {
	now := p.shards.now()
	item := &heapItem[K, V]{deadline: now + int64(idle), idle: idle, key: key, value: p.value}
	sh := p.shards.of(key)
	sh.Lock()
	sh.s.items[key] = item
	heap.Push(&sh.s.queue, item)
	p.arm(sh, now)
	sh.Unlock()
	return nil
}

func (p *heapPeer[K, V]) Touch(keys []K) (alive int) {
	for _, key := range keys {
		now := p.shards.now()
		sh := p.shards.of(key)
		sh.Lock()
		if item := sh.s.items[key]; item != nil && item.deadline > now {
			item.deadline = now + int64(item.idle)
			heap.Fix(&sh.s.queue, item.index)
			alive++
		}
		sh.Unlock()
	}
	return alive
}

func (p *heapPeer[K, V]) End(keys []K) {
	for _, key := range keys {
		sh := p.shards.of(key)
		sh.Lock()
		item := sh.s.items[key]
		if item != nil {
			delete(sh.s.items, key)
			heap.Remove(&sh.s.queue, item.index)
		}
		sh.Unlock()
		if item != nil {
			p.c.end(key)
		}
	}
}

func (p *heapPeer[K, V]) Len() (n int) {
	for i := range p.shards.all {
		sh := &p.shards.all[i]
		sh.Lock()
		n += len(sh.s.queue)
		sh.Unlock()
	}
	return n
}

func (p *heapPeer[K, V]) Close() {
	for i := range p.shards.all {
		sh := &p.shards.all[i]
		sh.Lock()
		if sh.s.timer != nil {
			sh.s.timer.Stop()
		}
		sh.s.queue = nil
		clear(sh.s.items)
		sh.Unlock()
	}
}
