package peers

import (
	"fmt"
	"time"
	"unsafe"

	"github.com/alexedwards/scs/v2/memstore"
)

// The memory store of scs, without the session manager around it, which encodes
// values with gob. A touch is Find and Commit: what the manager's middleware does
// with each request where there is an idle time-out. Expired sessions are hidden
// at once, and swept once a minute, which is the default. The store has no hook,
// no handles, no keys but strings and no values but bytes, and cannot tell polls
// from touches.

var infoSCS = Info{
	Name:   "scs",
	Module: "github.com/alexedwards/scs/v2",
	Can:    Can{Key: true, Answer: true, Cancel: true, OwnIdle: true, Strings: true},
	Slack:  time.Minute,
	Note:   "no hooks; a touch is a read and a write",
}

type scsPeer struct {
	c     Config[string]
	store *memstore.MemStore
	value []byte
}

func newSCS[V any](c Config[string], value V) (*scsPeer, error) {
	if c.OnEnd != nil {
		return nil, fmt.Errorf("scs has no hooks")
	}
	// A value is so many bytes: they would be a session, serialized.
	return &scsPeer{c, memstore.New(), make([]byte, unsafe.Sizeof(value))}, nil
}

func (p *scsPeer) Start(keys []string) error {
	for _, key := range keys {
		p.StartFor(key, p.c.idle(key))
	}
	return nil
}

func (p *scsPeer) StartFor(key string, idle time.Duration) error {
	return p.store.Commit(key, p.value, time.Now().Add(idle))
}

func (p *scsPeer) Touch(keys []string) (alive int) {
	for _, key := range keys {
		if value, ok, _ := p.store.Find(key); ok {
			p.store.Commit(key, value, time.Now().Add(p.c.idle(key)))
			alive++
		}
	}
	return alive
}

func (p *scsPeer) End(keys []string) {
	for _, key := range keys {
		p.store.Delete(key)
	}
}

// Len counts what has not expired, which is what the store tells of itself.
func (p *scsPeer) Len() int {
	all, _ := p.store.All()
	return len(all)
}

// Close empties the store. Its goroutine stays: StopCleanup reads without a lock
// what the goroutine wrote without one.
func (p *scsPeer) Close() {
	all, _ := p.store.All()
	for key := range all {
		p.store.Delete(key)
	}
}
