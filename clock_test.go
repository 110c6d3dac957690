package lapse

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/benbjohnson/clock"
)

// A trapClock lets a test act whenever it is read.
type trapClock struct {
	*clock.Mock
	trap func(n int)
	n    int
	in   bool
}

func (c *trapClock) Now() time.Time {
	if c.trap != nil && !c.in {
		c.in = true
		c.n++
		c.trap(c.n)
		c.in = false
	}
	return c.Mock.Now()
}

// A lockClock complains when it is read under a lock.
type lockClock struct {
	*clock.Mock
	e  *Engine[int, int]
	t  *testing.T
	on bool
}

func (c *lockClock) Now() time.Time {
	if c.on {
		for i := range c.e.shards {
			if !c.e.shards[i].mu.TryLock() {
				buf := make([]byte, 4000)
				c.t.Errorf("the clock is read under a shard's lock: %s", buf[:runtime.Stack(buf, false)])
				c.on = false
				break
			}
			c.e.shards[i].mu.Unlock()
		}
		if c.on && !c.e.mu.TryLock() {
			c.t.Errorf("the clock is read under Engine.mu")
			c.on = false
		} else if c.on {
			c.e.mu.Unlock()
		}
	}
	return c.Mock.Now()
}

// TestClockUnderLock has a clock that uses the engine whenever it is read.
func TestClockUnderLock(t *testing.T) {
	for name, f := range map[string]func(c *lockClock, e *Engine[int, int]){
		"occupancy": func(c *lockClock, e *Engine[int, int]) { e.Occupancy() },
		"warning":   func(c *lockClock, e *Engine[int, int]) { c.Add(9 * time.Second); e.Advance() },
		"ended":     func(c *lockClock, e *Engine[int, int]) { c.Add(11 * time.Second); e.Ended(1) },
		"close":     func(c *lockClock, e *Engine[int, int]) { e.Close() },
		"shutdown":  func(c *lockClock, e *Engine[int, int]) { e.Shutdown(context.Background()) },
		"all": func(c *lockClock, e *Engine[int, int]) {
			for s := range e.All() {
				s.Info()
				s.Touch()
				s.Poll()
				s.Deadline()
				s.Hold()
				s.Release()
				s.SetIdle(1)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := &lockClock{Mock: clock.NewMock(), t: t}
			e, _ := New[int, int](Options{Manual: true, Clock: c, Remember: 5, Default: Policy{Name: "d", Idle: 10 * time.Second, Warn: 2 * time.Second}})
			e.NotifyBeforeExpire(func(Event[int, int]) {})
			c.e = e
			e.Start(1, 0)
			c.on = true
			f(c, e)
			c.on = false
			e.Close()
		})
	}
}
