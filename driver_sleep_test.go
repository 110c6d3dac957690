package lapse

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/benbjohnson/clock"
)

// A jumpClock moves once, just before a timer is armed.
type jumpClock struct {
	*clock.Mock
	once sync.Once
	by   time.Duration
}

func (c *jumpClock) AfterFunc(d time.Duration, f func()) *clock.Timer {
	c.once.Do(func() { c.Mock.Add(c.by) })
	return c.Mock.AfterFunc(d, f)
}

// TestMockMovedBeforeArm moves a mock clock between the reading of the driver
// and the arming of its timer, by many ticks or by less than one.
func TestMockMovedBeforeArm(t *testing.T) {
	const idle = time.Second // so short that its entry lies where it ends
	for _, by := range []time.Duration{900 * time.Millisecond, 5 * time.Millisecond, 1} {
		synctest.Test(t, func(t *testing.T) {
			c := &jumpClock{Mock: clock.NewMock(), by: by}
			e, _ := New[string, int](Options{Clock: c, Default: Policy{Name: "d", Idle: idle}})
			defer e.Close()
			var ended atomic.Bool
			e.NotifyOnExpire(func(Event[string, int]) { ended.Store(true) })
			e.Start("a", 0)
			time.Sleep(time.Second) // the mock's Add, which the driver calls, sleeps
			synctest.Wait()
			c.Add(idle - by)
			synctest.Wait()
			if !ended.Load() {
				t.Errorf("moved by %v: no hook at the deadline", by)
			}
		})
	}
}

// TestDriverLooksTwice starts a session while the driver looks for the next
// visit, in a shard that it has looked at already, and before it has told until
// when it sleeps. So many shards make that a long way.
func TestDriverLooksTwice(t *testing.T) {
	const shardBits, rounds = 12, 400
	synctest.Test(t, func(t *testing.T) {
		e, err := New[int, int](Options{Manual: true})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		e.makeShards(shardBits)
		key := 0
		for e.shardOf(e.hash(&key)) != &e.shards[0] {
			key++
		}
		d := &e.driver // whose goroutine is one of the test's
		var awake, ready, asleep atomic.Bool
		turns := make(chan struct{})
		go func() {
			for range turns {
				awake.Store(true)
				for !ready.Load() {
				}
				asleep.Store(true)
				d.sleep()
				asleep.Store(false)
			}
		}()
		defer d.kick()
		defer close(turns)
		for round := range rounds {
			turns <- struct{}{}
			// Neither yields here, so that each has a processor.
			for !awake.Load() {
			}
			ready.Store(true)
			s, err := e.Start(key, 1)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if until, next := d.until.Load(), e.nextVisit(); asleep.Load() && until > next {
				t.Fatalf("round %d: the driver sleeps until tick %d, the next visit is at %d", round, until, next)
			}
			d.kick()
			synctest.Wait()
			awake.Store(false)
			ready.Store(false)
			s.Expire()
			select {
			case <-d.wake:
			default:
			}
		}
	})
}
