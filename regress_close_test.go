package lapse

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/benbjohnson/clock"
)

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

// A Close that is half way is made by holding the lock of the shard that it
// comes to last.

// TestGetDuringClose looks up a renamed session while Close is half way.
func TestGetDuringClose(t *testing.T) {
	e, _ := New[int, int](Options{Manual: true})
	first, last := &e.shards[0], &e.shards[len(e.shards)-1]
	old, new := -1, -1
	for k := 0; old < 0 || new < 0; k++ {
		switch e.shardOf(e.hash(k)) {
		case first:
			old = k
		case last:
			new = k
		}
	}
	e.Start(old, 0)
	e.Rename(old, new)
	last.mu.Lock() // somebody is in the last shard for a moment
	closed := make(chan bool)
	go func() { e.Close(); close(closed) }()
	for first.slab.records.Load() != nil {
		time.Sleep(time.Millisecond)
	}
	func() {
		defer func() {
			if v := recover(); v != nil {
				t.Errorf("Get panicked: %v", v)
				last.index.mu.TryLock()
				last.index.mu.Unlock()
			}
		}()
		e.Get(new)
	}()
	last.mu.Unlock()
	<-closed
}

// TestExpireDuringClose ends a renamed session while Close is half way.
func TestExpireDuringClose(t *testing.T) {
	e, _ := New[int, int](Options{Manual: true})
	first, last := &e.shards[0], &e.shards[len(e.shards)-1]
	old, new := -1, -1
	for k := 0; old < 0 || new < 0; k++ {
		switch e.shardOf(e.hash(k)) {
		case last:
			old = k
		case first:
			new = k
		}
	}
	s, _ := e.Start(old, 0)
	e.Rename(old, new)
	mid := &e.shards[1]
	mid.mu.Lock()
	closed := make(chan bool)
	go func() { e.Close(); close(closed) }()
	for {
		first.index.mu.Lock()
		gone := first.index.dir.Load() == nil
		first.index.mu.Unlock()
		if gone {
			break
		}
		time.Sleep(time.Millisecond)
	}
	func() {
		defer func() {
			if v := recover(); v != nil {
				t.Errorf("Expire panicked: %v", v)
			}
		}()
		s.Expire()
	}()
	mid.mu.Unlock()
	<-closed
}

// TestRenameDuringClose renames a session while Close is half way.
func TestRenameDuringClose(t *testing.T) {
	e, _ := New[int, int](Options{Manual: true})
	first, last := &e.shards[0], &e.shards[len(e.shards)-1]
	old, new := -1, -1
	for k := 0; old < 0 || new < 0; k++ {
		switch e.shardOf(e.hash(k)) {
		case last:
			old = k
		case first:
			new = k
		}
	}
	s, _ := e.Start(old, 0)
	// Rename has looked at closing, then Close begins and gets as far as the
	// second shard.
	mid := &e.shards[1]
	mid.mu.Lock()
	closed := make(chan bool)
	go func() { e.Close(); close(closed) }()
	for first.slab.records.Load() != nil || !e.closed.Load() {
		time.Sleep(time.Millisecond)
	}
	sh, rec, _ := s.lock(e.time.read())
	if _, ok := e.rename(rec, s.slot(), new); ok {
		t.Error("a session was renamed into an index that Close has cleared")
	}
	sh.unlock()
	mid.mu.Unlock()
	<-closed
	defer func() {
		if v := recover(); v != nil {
			t.Errorf("Get after Close panicked: %v", v)
		}
	}()
	e.Get(new)
}

// TestCloseForgetsContext closes the engine while the hooks of a session run,
// of which one cancels a context.
func TestCloseForgetsContext(t *testing.T) {
	e, _ := New[int, int](Options{Manual: true})
	first, last := &e.shards[0], &e.shards[len(e.shards)-1]
	k := 0
	for e.shardOf(e.hash(k)) != last {
		k++
	}
	s, _ := e.Start(k, 0)
	goOn := make(chan bool)
	began := make(chan bool)
	s.NotifyOnExpire(func(Event[int, int]) { close(began); <-goOn })
	ctx, _ := s.Context(context.Background())
	expired := make(chan bool)
	go func() { s.Expire(); close(expired) }()
	<-began
	first.mu.Lock()
	closed := make(chan bool)
	go func() { e.Close(); close(closed) }()
	for !e.closed.Load() {
		time.Sleep(time.Millisecond)
	}
	close(goOn)
	<-expired
	first.mu.Unlock()
	<-closed
	if ctx.Err() == nil {
		t.Error("Close has returned, the session is gone, its context lives on")
	}
}

// TestDrainAfterClose waits for a queue that Close has dropped.
func TestDrainAfterClose(t *testing.T) {
	e, _ := New[int, int](Options{Manual: true})
	q := new(queue[int, int])
	q.init(e, 0)
	q.put(make([]ending[int, int], 3))
	q.close()
	if err := q.drain(context.Background()); err != ErrClosed {
		t.Errorf("drain: %v with 3 endings dropped", err)
	}
}

// TestShutdownCtxManual ends the context of a Shutdown inside a hook.
func TestShutdownCtxManual(t *testing.T) {
	e, _ := New[int, int](Options{Manual: true, Clock: clock.NewMock()})
	ctx, cancel := context.WithCancel(context.Background())
	s, _ := e.Start(1, 0)
	after := ""
	s.NotifyOnExpire(func(Event[int, int]) { cancel() })
	s.NotifyOnExpire(func(Event[int, int]) { after += " own" })
	e.NotifyOnExpire(func(Event[int, int]) { after += " engine" })
	e.NotifyOnExpireBatch(func([]Event[int, int]) { after += " batch" })
	err := e.Shutdown(ctx)
	if after != "" {
		t.Errorf("Shutdown: %v; hooks that began after the context had ended:%s", err, after)
	}
}

// TestShutdownLosesHooks shuts down while a caller of Expire runs hooks.
func TestShutdownLosesHooks(t *testing.T) {
	for _, manual := range []bool{false, true} {
		e, _ := New[int, int](Options{Manual: manual})
		s, _ := e.Start(1, 0)
		began, goOn := make(chan bool), make(chan bool)
		s.NotifyOnExpire(func(Event[int, int]) { close(began); <-goOn })
		var ran atomic.Bool
		e.NotifyOnExpire(func(Event[int, int]) { ran.Store(true) })
		go s.Expire()
		<-began
		shut := make(chan bool)
		go func() {
			if err := e.Shutdown(context.Background()); err != nil || !ran.Load() {
				t.Errorf("manual %v: Shutdown says %v, the engine's hook was called: %v", manual, err, ran.Load())
			}
			close(shut)
		}()
		for !e.closing.Load() {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(10 * time.Millisecond) // a Shutdown that does not wait would return by now
		close(goOn)
		<-shut
	}
}

// TestManualShutdownClosedByHook closes the engine from a hook of its Shutdown.
func TestManualShutdownClosedByHook(t *testing.T) {
	e, _ := New[int, int](Options{Manual: true})
	n := 0
	e.NotifyOnExpire(func(Event[int, int]) { n++; e.Close() })
	e.Start(1, 0)
	e.Start(2, 0)
	err := e.Shutdown(context.Background())
	if n != 1 || !errors.Is(err, ErrClosed) {
		t.Errorf("%d of two sessions had hooks, Shutdown says %v", n, err)
	}
}

// TestDrivenShutdownClosedByHook closes the engine from a hook of its Shutdown
// on a worker.
func TestDrivenShutdownClosedByHook(t *testing.T) {
	e, _ := New[int, int](Options{})
	var n atomic.Int64
	e.NotifyOnExpire(func(Event[int, int]) { n.Add(1); e.Close() })
	for k := range 100 {
		e.Start(k, 0)
	}
	if err := e.Shutdown(context.Background()); err == nil && n.Load() < 100 {
		t.Errorf("%d of 100 sessions had hooks, Shutdown says nil", n.Load())
	}
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
