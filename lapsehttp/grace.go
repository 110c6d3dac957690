package lapsehttp

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/lapse-go/lapse"
)

// graces remembers the ids that the browser has been given another for:
// requests with them may still be on their way. For RenewGrace after Renew they
// find the session; otherwise nothing, but nor do they have the browser forget
// its new id. There is no timer: what is over goes when something is added or
// looked for. All ids are remembered equally long, so the ring is in order of
// their ends.
type graces[V any] struct {
	length time.Duration // how long ids are remembered
	finds  time.Duration // how long they find a session, at most length
	some   atomic.Bool   // there may be one

	mu sync.Mutex
	// mu guards the fields below.

	byID  map[ID]grace[V]
	ring  []ended // the order of byID
	first int
	n     int
}

type grace[V any] struct {
	session lapse.Session[ID, V] // the zero Session: it finds nothing
	until   time.Time
	adds    int // less the drops
}

// An ended says until when an old id is remembered.
type ended struct {
	id    ID
	until time.Time
}

// mostGraces bounds the ids that are remembered. Beyond, the oldest go before
// their time.
const mostGraces = 1 << 17

// setLength takes Options.RenewGrace.
func (g *graces[V]) setLength(d time.Duration) {
	g.finds = max(d, 0)
	g.length = max(d, defaultGrace)
}

// add remembers that id was replaced, and the session that it finds at first.
func (g *graces[V]) add(id ID, s lapse.Session[ID, V], now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.finds == 0 {
		s = lapse.Session[ID, V]{} // even if the clock is set back
	}
	g.purge(now, mostGraces-1)
	if g.byID == nil {
		g.byID = make(map[ID]grace[V])
	}
	until := now.Add(g.length)
	g.byID[id] = grace[V]{s, until, g.byID[id].adds + 1}
	g.push(ended{id, until})
	g.some.Store(true)
}

// drop takes back one add for each of the ids, since the browser gets no other
// one. It may have got one by another request, which has added the id, too.
func (g *graces[V]) drop(ids ...ID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, id := range ids {
		old := g.byID[id] // it may be over
		if old.adds > 1 {
			old.adds--
			g.byID[id] = old
		} else {
			delete(g.byID, id)
		}
	}
}

// find returns the session that had the id until lately. It may have ended, or
// be the zero Session. False: the id has not been replaced lately.
func (g *graces[V]) find(id ID, now func() time.Time) (s lapse.Session[ID, V], ok bool) {
	if !g.some.Load() {
		return s, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	at := now()
	g.purge(at, mostGraces)
	old, ok := g.byID[id]
	if !at.Before(old.until.Add(g.finds - g.length)) {
		return s, ok
	}
	return old.session, ok
}

// purge forgets what is over at now, and the oldest beyond most.
func (g *graces[V]) purge(now time.Time, most int) {
	for g.n > 0 && (g.n > most || !now.Before(g.ring[g.first].until)) {
		last := g.ring[g.first]
		// A parallel renewal may have remembered the id once more.
		if g.byID[last.id].until.Equal(last.until) {
			delete(g.byID, last.id)
		}
		g.ring[g.first] = ended{}
		g.first = (g.first + 1) % len(g.ring)
		g.n--
	}
	if g.n == 0 && g.ring != nil {
		// Neither map nor ring shrinks otherwise.
		g.byID, g.ring, g.first = nil, nil, 0
		g.some.Store(false)
	}
}

func (g *graces[V]) push(e ended) {
	if g.n == len(g.ring) {
		ring := make([]ended, max(2*len(g.ring), 8))
		k := copy(ring, g.ring[g.first:])
		copy(ring[k:], g.ring[:g.first])
		g.ring, g.first = ring, 0
	}
	g.ring[(g.first+g.n)%len(g.ring)] = e
	g.n++
}
