package lapse

import (
	"fmt"
	"slices"
	"time"
)

// A Class is a kind of session with a Policy and hooks of its own. It belongs
// to the engine that made it. All its methods are safe for concurrent use.
type Class[K comparable, V any] struct {
	e     *Engine[K, V]
	id    uint64
	name  string
	hooks hookList[K, V]
}

// mostClasses is the most classes that an engine has: a session names its own
// in 16 bits.
const mostClasses = classMask

// Class returns the class with the policy's name, and makes it if there is
// none. It is an error if the policy makes no sense (see [Policy]), if the
// class of that name has another policy now, if there are 65535 classes, or if
// the engine is closed ([ErrClosed]).
func (e *Engine[K, V]) Class(p Policy) (*Class[K, V], error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing.Load() {
		return nil, ErrClosed
	}
	classes := *e.classes.Load()
	if c := e.byName[p.Name]; c != nil {
		if have := c.Policy(); have != p {
			return nil, fmt.Errorf("lapse: class %q exists with another policy: %+v, not %+v; SetPolicy changes it", p.Name, have, p)
		}
		return c, nil
	}
	if len(classes) == mostClasses {
		return nil, fmt.Errorf("lapse: no room for class %q: there are %d classes, the most", p.Name, mostClasses)
	}
	c := &Class[K, V]{e: e, id: uint64(len(classes)), name: p.Name}
	// Readers hold the old headers and never look beyond their length.
	table := append(*e.table.Load(), e.time.terms(p))
	e.table.Store(&table)
	classes = append(classes, c)
	e.classes.Store(&classes)
	e.byName[p.Name] = c
	return c, nil
}

// Start starts a session of the class under key. If a live session has the key,
// it returns that one and [ErrExists]. If the key's session is due but has not
// been ended yet, that one is ended first, and its hooks run before Start
// returns. Other errors: [ErrClosed], [ErrFull], and a key that is not equal to
// itself, such as a NaN.
func (c *Class[K, V]) Start(key K, value V) (Session[K, V], error) {
	return c.e.start(c, key, value)
}

// Policy returns the policy as it was given to Class or SetPolicy last.
func (c *Class[K, V]) Policy() Policy { return c.e.termsOf(c.id).policy }

// SetPolicy gives the class, and all sessions of it that live, another policy.
// Their new ends count from when they were started and last seen, so that some
// can be due at once; what was due before stays ended. Look-ups obey when
// SetPolicy returns, and the wheels are armed for all by then: this walks
// through the sessions, a few at a time, and rests in between. Policies that
// only lengthen need no walk. Errors: a policy that makes no sense, one with
// another Name, [ErrClosed].
func (c *Class[K, V]) SetPolicy(p Policy) error {
	if err := p.validate(); err != nil {
		return err
	}
	if p.Name != c.name {
		return fmt.Errorf("lapse: Policy.Name is %q: the class is named %q and keeps its name", p.Name, c.name)
	}
	// One change at a time, or the one that is armed last could be the one that
	// was stored first.
	c.e.setPolicy.Lock()
	defer c.e.setPolicy.Unlock()
	c.e.markDue()
	next := c.e.time.terms(p)
	c.e.mu.Lock()
	if c.e.closing.Load() {
		c.e.mu.Unlock()
		return ErrClosed
	}
	old := c.e.termsOf(c.id)
	table := slices.Clone(*c.e.table.Load())
	table[c.id] = next
	// A call that holds a shard's lock goes by one policy throughout.
	for i := range c.e.shards {
		c.e.shards[i].mu.Lock()
	}
	c.e.table.Store(&table)
	for i := range c.e.shards {
		c.e.shards[i].mu.Unlock()
	}
	c.e.mu.Unlock()
	c.e.rearm(c, old.within(next))
	return nil
}

// Len returns the number of the class's sessions, those included that are due
// but have not been ended yet.
func (c *Class[K, V]) Len() int {
	n := 0
	for i := range c.e.shards {
		sh := &c.e.shards[i]
		sh.mu.Lock()
		if c.id < uint64(len(sh.counts)) {
			n += sh.counts[c.id]
		}
		sh.mu.Unlock()
	}
	return n
}

// markDue marks what is due in all shards.
func (e *Engine[K, V]) markDue() {
	m := e.time.read()
	for i := range e.shards {
		e.shards[i].markDue(m)
	}
}

// rearm arms the sessions of a class for their new ends; or only those that
// have been warned, which the bits of a page tell. It goes round the shards, 64
// sessions at a time, so that whoever waits for a shard's lock gets it, and
// rests after each half of a millisecond of work: a system that has put the
// thread of a waiting call behind this one on the same processor would leave it
// there until its next tick, 4 ms on many.
func (e *Engine[K, V]) rearm(c *Class[K, V], warned bool) {
	rested := time.Now()
	for word, more := 0, true; more; word++ {
		more = false
		for i := range e.shards {
			if e.shards[i].rearm(word, c.id, warned, e.time.read()) {
				more = true
			}
		}
		if time.Since(rested) > time.Millisecond/2 {
			time.Sleep(50 * time.Microsecond)
			rested = time.Now()
		}
	}
}
