package main

import (
	"context"
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"github.com/lapse-go/lapse/lapsehttp"
)

// A crowd is many synthetic sessions that nobody uses: they show how the wheels
// fill and turn. Their class has no limits; each has an idle time of its own.
type crowd struct {
	engine *engine
	class  *class

	mu sync.Mutex // one start or stop at a time
}

// start starts n sessions, which end when until says, and returns how long that
// took. It stops early when ctx is done.
func (c *crowd) start(ctx context.Context, n int, until func() time.Time) (time.Duration, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if have := c.class.Len(); have+n > mostCrowd {
		return 0, fmt.Errorf("there are %s synthetic sessions already, and at most %s are possible: stop them first, or start fewer",
			count(have), count(mostCrowd))
	}
	begin := time.Now()
	for i := range n {
		if i%1024 == 0 && ctx.Err() != nil {
			return 0, fmt.Errorf("stopped after %s sessions: %w", count(i), ctx.Err())
		}
		var id lapsehttp.ID
		rand.Read(id[:])
		s, err := c.class.Start(id, nil)
		if err != nil {
			return 0, fmt.Errorf("stopped after %s sessions: %w", count(i), err)
		}
		info, _ := s.Info()
		// A start is a whole tick. The distance is rounded up to ticks, so that
		// sessions with the same end have it in the same tick.
		s.SetIdle(max(until().Sub(info.Started), tick))
	}
	return time.Since(begin), nil
}

// spread is for sessions whose ends are spread over the time to come.
func spread(over time.Duration) (until func() time.Time) {
	begin := time.Now()
	return func() time.Time { return begin.Add(mathrand.N(over)) }
}

// storm is for sessions that all end at one instant.
func storm(in time.Duration) (until func() time.Time) {
	end := time.Now().Add(in)
	return func() time.Time { return end }
}

// stop ends all synthetic sessions and returns how many those were.
func (c *crowd) stop() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for s := range c.engine.All() {
		if v, ok := s.Value(); ok && v == nil && s.Expire() {
			n++
		}
	}
	return n
}
