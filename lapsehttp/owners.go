package lapsehttp

import (
	"sync"

	"github.com/lapse-go/lapse"
)

// owners is the index for EndAll. A session is in it from before its id is
// given to anybody until its end, whose hook takes it out.
type owners[V any] struct {
	of func(V) string // nil: there are none

	mu sync.Mutex
	// mu guards the field below, and the links between its elements.

	byOwner map[string]*owned[V] // the first of a ring
}

// An owned session is in the ring of its owner.
type owned[V any] struct {
	session    lapse.Session[ID, V]
	owner      string
	prev, next *owned[V] // nil: in no ring any more
}

// owner asks Options.Owner.
func (o *owners[V]) owner(v V) string {
	if o.of == nil {
		return ""
	}
	return o.of(v)
}

// add enters a session that has just been started.
func (o *owners[V]) add(s lapse.Session[ID, V], owner string) {
	if owner == "" {
		return
	}
	n := &owned[V]{session: s, owner: owner}
	o.mu.Lock()
	o.link(n)
	o.mu.Unlock()
	// The hook comes after the entry: if the session has ended by now the hook
	// never runs, and nobody else would take the entry out.
	if _, ok := s.NotifyOnExpire(func(lapse.Event[ID, V]) { o.remove(n) }); !ok {
		o.remove(n)
	}
}

func (o *owners[V]) link(n *owned[V]) {
	first := o.byOwner[n.owner]
	if first == nil {
		n.prev, n.next = n, n
		if o.byOwner == nil {
			o.byOwner = make(map[string]*owned[V])
		}
		o.byOwner[n.owner] = n
		return
	}
	n.prev, n.next = first.prev, first
	n.prev.next, n.next.prev = n, n
}

func (o *owners[V]) remove(n *owned[V]) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if n.next == nil {
		return
	}
	if n.next == n {
		delete(o.byOwner, n.owner)
	} else {
		n.prev.next, n.next.prev = n.next, n.prev
		if o.byOwner[n.owner] == n {
			o.byOwner[n.owner] = n.next
		}
	}
	n.prev, n.next = nil, nil
}

// take takes the sessions of an owner out.
func (o *owners[V]) take(owner string) (sessions []lapse.Session[ID, V]) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := o.byOwner[owner]
	delete(o.byOwner, owner)
	for n != nil && n.next != nil {
		sessions = append(sessions, n.session)
		next := n.next
		n.prev, n.next = nil, nil
		n = next
	}
	return sessions
}
