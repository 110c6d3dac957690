package lapse

import (
	"fmt"
	"sync"
	"time"
)

// An Ending says why and when a session ended.
type Ending struct {
	Reason Reason
	At     time.Time
}

// An EndedError is the cause of a context that Session.Context made, once its
// session has ended. Its Ending is zero if the session had ended before the
// context was made.
type EndedError struct{ Ending }

// Error says that the session has ended, and why.
func (e *EndedError) Error() string {
	if e.Reason == 0 {
		return "lapse: the session has ended"
	}
	return fmt.Sprintf("lapse: the session has ended: %v", e.Reason)
}

// A memory keeps the last sessions that ended, in a ring.
type memory[K comparable] struct {
	mu   sync.Mutex
	size int
	ring []remembered[K]
	last map[K]int // the last place of a key in the ring
	next int
}

type remembered[K comparable] struct {
	key K
	why Reason
	at  int64
}

func (m *memory[K]) init(size int) { m.size = size }

func (m *memory[K]) add(key K, why Reason, at int64) {
	if m.size == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last == nil {
		m.last = make(map[K]int)
	}
	entry := remembered[K]{key, why, at}
	if len(m.ring) < m.size {
		m.ring = append(m.ring, entry)
		m.last[key] = len(m.ring) - 1
		return
	}
	if old := m.ring[m.next].key; m.last[old] == m.next {
		delete(m.last, old)
	}
	m.ring[m.next] = entry
	m.last[key] = m.next
	m.next = (m.next + 1) % m.size
}

func (m *memory[K]) find(key K) (remembered[K], bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if i, ok := m.last[key]; ok {
		return m.ring[i], true
	}
	return remembered[K]{}, false
}

func (m *memory[K]) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.size, m.ring, m.last = 0, nil, nil
}

// Ended says why and when the last session of that key ended, if it is among
// the last Options.Remember that did. A session that is due is known already,
// with its deadline for a time. While a session of that key lives it is false.
func (e *Engine[K, V]) Ended(key K) (Ending, bool) {
	s, ok, _ := e.find(&key)
	if ok && s.Alive() {
		return Ending{}, false
	}
	d := e.time.dial()
	if ok && e.memory.on() {
		sh, idx := e.locate(s.slot())
		sh.mu.Lock()
		defer sh.unlock()
		if rec := sh.slab.record(idx); rec != nil && rec.key == key && rec.state.Load()>>phaseShift == s.gen()<<2|phaseDue>>phaseShift {
			limit, why := rec.read().verdict()
			return Ending{why, d.at(limit)}, true
		}
	}
	if last, ok := e.memory.find(key); ok {
		return Ending{last.why, d.at(last.at)}, true
	}
	return Ending{}, false
}

func (m *memory[K]) on() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.size > 0
}
