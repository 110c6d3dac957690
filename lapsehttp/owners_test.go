package lapsehttp

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/lapse-go/lapse"
)

func TestOwners(t *testing.T) {
	m := newTest(t, lapse.Options{}, Options[string]{Owner: func(v string) string { return strings.TrimRight(v, "0123456789") }})
	var ada, bob []testSession
	for i := range 5 {
		s, _ := start(t, m, fmt.Sprint("Ada", i))
		ada = append(ada, s)
		s, _ = start(t, m, fmt.Sprint("Bob", i))
		bob = append(bob, s)
	}
	nobody, _ := start(t, m, "7")
	if n := m.owners.len(); n != 10 {
		t.Errorf("%d owned", n)
	}
	for _, i := range []int{0, 4, 2} { // the first, the last, one between
		ada[i].Expire()
	}
	ada[1].SetValue("Bob") // too late to change the owner
	if n := m.EndAll("Ada"); n != 2 || m.owners.len() != 5 {
		t.Errorf("%d sessions of Ada's ended, %d owned", n, m.owners.len())
	}
	for owner, want := range map[string]int{"Ada": 0, "": 0, "Eve": 0} {
		if n := m.EndAll(owner); n != want {
			t.Errorf("%d sessions of %q ended", n, owner)
		}
	}
	for i, s := range bob {
		if !s.Alive() {
			t.Errorf("session %d of Bob's has ended", i)
		}
		s.Expire()
	}
	if !nobody.Alive() || m.owners.len() != 0 || len(m.owners.byOwner) != 0 {
		t.Errorf("%d owned", m.owners.len())
	}
}

// TestOwnersRace starts, ends and ends all at the same time: nothing is left
// when all sessions have ended.
func TestOwnersRace(t *testing.T) {
	m := newTest(t, lapse.Options{}, Options[string]{Owner: func(v string) string { return v }})
	m.engine.NotifyOnExpire(func(testEvent) {}) // ends are delivered after our own hooks
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i := range 300 {
				s, err := m.begin(nil, fmt.Sprint(i%3))
				if err != nil {
					t.Error(err)
				} else if i%2 == 0 {
					s.Expire()
				}
			}
		})
		all.Go(func() {
			for i := range 300 {
				m.EndAll(fmt.Sprint(i % 3))
			}
		})
	}
	all.Wait()
	for i := range 3 {
		m.EndAll(fmt.Sprint(i))
	}
	if m.engine.Len() != 0 || m.owners.len() != 0 {
		t.Errorf("%d sessions, %d owned", m.engine.Len(), m.owners.len())
	}
}

// TestOwnerOfDead enters a session that has ended by then.
func TestOwnerOfDead(t *testing.T) {
	m := newTest(t, lapse.Options{}, Options[string]{})
	s, _ := start(t, m, "Ada")
	s.Expire()
	m.owners.add(s, "Ada")
	if n := m.owners.len(); n != 0 {
		t.Errorf("%d owned", n)
	}
}

// len counts the sessions that are owned.
func (o *owners[V]) len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := 0
	for _, first := range o.byOwner {
		for at := first; ; at = at.next {
			n++
			if at.next == first {
				break
			}
		}
	}
	return n
}
