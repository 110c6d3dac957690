package lapse

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/benbjohnson/clock"
)

// startToRename starts a session under a key that hashes to the shard from, and
// returns another that hashes to the shard to.
func startToRename(t *testing.T, e *Engine[int, int], from, to *shard[int, int]) (s Session[int, int], old, new int) {
	t.Helper()
	old, new = -1, -1
	for k := 0; old < 0 || new < 0; k++ {
		switch e.shardOf(e.hash(&k)) {
		case from:
			old = k
		case to:
			new = k
		}
	}
	s, err := e.Start(old, 0)
	if err != nil {
		t.Fatal(err)
	}
	return s, old, new
}

// closeHalfWay has Close begin and come to the lock of a shard that is not the
// first, which it holds until goOn is called.
func closeHalfWay(e *Engine[int, int], until *shard[int, int]) (goOn func()) {
	until.mu.Lock()
	closed := make(chan struct{})
	go func() { e.Close(); close(closed) }()
	for e.shards[0].slab.records.Load() != nil || !e.closed.Load() {
		runtime.Gosched()
	}
	return func() {
		until.mu.Unlock()
		<-closed
	}
}

// TestGetDuringClose looks up a renamed session while Close is half way.
func TestGetDuringClose(t *testing.T) {
	e, _ := New[int, int](Options{Manual: true})
	first, last := &e.shards[0], &e.shards[len(e.shards)-1]
	_, old, new := startToRename(t, e, first, last)
	e.Rename(old, new)
	goOn := closeHalfWay(e, last)
	if _, ok := e.Get(new); ok {
		t.Error("a session is found whose record Close has dropped")
	}
	goOn()
}

// TestExpireDuringClose ends a renamed session while Close is half way: it has
// cleared the index that leads to the session, and not come to its record.
func TestExpireDuringClose(t *testing.T) {
	e, _ := New[int, int](Options{Manual: true})
	first, last := &e.shards[0], &e.shards[len(e.shards)-1]
	s, old, new := startToRename(t, e, last, first)
	e.Rename(old, new)
	goOn := closeHalfWay(e, &e.shards[1])
	if !s.Expire() {
		t.Error("it had ended before Close came to it")
	}
	goOn()
}

// TestRenameDuringClose renames a session while Close is half way: Rename had
// looked whether the engine is closing before Close began.
func TestRenameDuringClose(t *testing.T) {
	e, _ := New[int, int](Options{Manual: true})
	first, last := &e.shards[0], &e.shards[len(e.shards)-1]
	s, _, new := startToRename(t, e, last, first)
	goOn := closeHalfWay(e, &e.shards[1])
	sh, rec, _ := s.lock(e.time.read())
	if _, ok := e.rename(rec, s.slot(), &new); ok {
		t.Error("a session was renamed into an index that Close has cleared")
	}
	sh.unlock()
	goOn()
	if _, ok := e.Get(new); ok {
		t.Error("the new key leads to a session after Close")
	}
}

// TestStartDuringClose has Close clear an index while Start waits for it.
func TestStartDuringClose(t *testing.T) {
	e, _ := New[int, int](Options{Manual: true})
	defer e.Close()
	key := 0
	sh := e.shardOf(e.hash(&key))
	sh.index.mu.Lock()
	started := make(chan error)
	go func() {
		_, err := e.Start(key, 0)
		started <- err
	}()
	for sh.mu.TryLock() {
		sh.mu.Unlock()
		runtime.Gosched()
	}
	for range 1000 {
		runtime.Gosched() // lest Start has not come to the lock of the index
	}
	e.closing.Store(true)
	sh.index.mu.Unlock()
	if err := <-started; !errors.Is(err, ErrClosed) {
		t.Errorf("Start returns %v", err)
	}
	if sh.index.dir.Load() != nil {
		t.Error("a session came into an index that Close has cleared")
	}
}

// TestShutdownFindsFirstSession shuts down while a Start, the shard's first,
// holds its lock.
func TestShutdownFindsFirstSession(t *testing.T) {
	e, _ := New[int, int](Options{Manual: true})
	ended := 0
	e.NotifyOnExpire(func(Event[int, int]) { ended++ })
	key := 0
	sh := e.shardOf(e.hash(&key))
	sh.index.mu.Lock()
	started := make(chan error)
	go func() {
		_, err := e.Start(key, 0)
		started <- err
	}()
	for sh.mu.TryLock() {
		sh.mu.Unlock()
		runtime.Gosched()
	}
	down := make(chan error)
	go func() { down <- e.Shutdown(context.Background()) }()
	for !e.closing.Load() {
		runtime.Gosched()
	}
	for range 1000 {
		runtime.Gosched() // lest Shutdown has not come to the shard
	}
	sh.index.mu.Unlock()
	err := <-started
	if <-down; err == nil && ended == 0 {
		t.Error("the session had no hooks")
	}
}

// TestCloseForgetsContext closes the engine while the hooks of a session run,
// of which one cancels a context.
func TestCloseForgetsContext(t *testing.T) {
	e, _ := New[int, int](Options{Manual: true})
	first, last := &e.shards[0], &e.shards[len(e.shards)-1]
	k := 0
	for e.shardOf(e.hash(&k)) != last {
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
		runtime.Gosched()
	}
	close(goOn)
	<-expired
	first.mu.Unlock()
	<-closed
	if ctx.Err() == nil {
		t.Error("Close has returned, the session is gone, its context lives on")
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
		synctest.Test(t, func(t *testing.T) {
			e, _ := New[int, int](Options{Manual: manual})
			s, _ := e.Start(1, 0)
			goOn := make(chan bool)
			s.NotifyOnExpire(func(Event[int, int]) { <-goOn })
			var ran, down atomic.Bool
			e.NotifyOnExpire(func(Event[int, int]) { ran.Store(true) })
			go s.Expire()
			synctest.Wait() // it is in the session's hook
			go func() {
				if err := e.Shutdown(context.Background()); err != nil || !ran.Load() {
					t.Errorf("manual %v: Shutdown says %v, the engine's hook was called: %v", manual, err, ran.Load())
				}
				down.Store(true)
			}()
			synctest.Wait()
			if down.Load() {
				t.Errorf("manual %v: Shutdown has returned while a hook runs", manual)
			}
			close(goOn)
			synctest.Wait()
			if !down.Load() {
				t.Errorf("manual %v: Shutdown waits though all hooks have run", manual)
			}
		})
	}
}

// TestManualShutdownAwaitsAdvance shuts down while an Advance runs a batch hook,
// or a warning: Shutdown waits for that, and the hooks that follow are called.
func TestManualShutdownAwaitsAdvance(t *testing.T) {
	for _, c := range []struct {
		name     string
		register func(e *Engine[int, int], f func())
		at       time.Duration
	}{
		{"batch", func(e *Engine[int, int], f func()) {
			e.NotifyOnExpireBatch(func([]Event[int, int]) { f() })
		}, 10 * time.Second},
		{"warning", func(e *Engine[int, int], f func()) {
			e.NotifyBeforeExpire(func(Event[int, int]) { f() })
		}, 9 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, _ := New[int, int](Options{Manual: true, Default: Policy{Name: "d", Idle: 10 * time.Second, Warn: 2 * time.Second}})
				goOn := make(chan bool)
				var first, second, down atomic.Bool
				c.register(e, func() { <-goOn; first.Store(true) })
				e.NotifyOnExpireBatch(func([]Event[int, int]) { second.Store(true) })
				e.Start(1, 0)
				time.Sleep(c.at)
				go e.Advance()
				synctest.Wait() // it is in the hook
				go func() {
					if err := e.Shutdown(context.Background()); err != nil || !first.Load() || !second.Load() {
						t.Errorf("Shutdown says %v; the hook has returned: %v, the next was called: %v", err, first.Load(), second.Load())
					}
					down.Store(true)
				}()
				synctest.Wait()
				if down.Load() {
					t.Error("Shutdown has returned while a hook runs")
				}
				close(goOn)
				synctest.Wait()
				if !down.Load() {
					t.Error("Shutdown waits though all hooks have run")
				}
			})
		})
	}
}

// TestFindDuringClose looks a key up in a directory that was read before
// Close has cleared everything.
func TestFindDuringClose(t *testing.T) {
	e, _ := New[uint64, int](Options{Manual: true})
	key := uint64(1)
	e.Start(key, 0)
	x := &e.shardOf(e.hash(&key)).index
	dir := x.dir.Load()
	e.Close()
	x.dir.Store(dir)
	if _, ok, _ := e.find(&key); ok {
		t.Error("a session is found after Close")
	}
}

// TestRenameSeesClose closes the engine after Rename has looked whether it is
// closing, and before it changes the indexes.
func TestRenameSeesClose(t *testing.T) {
	c := &trapClock{Mock: clock.NewMock()}
	e, _ := New[int, int](Options{Manual: true, Clock: c})
	_, old, new := startToRename(t, e, &e.shards[len(e.shards)-1], &e.shards[0])
	var goOn func()
	c.trap = func(int) {
		c.trap = nil
		goOn = closeHalfWay(e, &e.shards[1])
	}
	if err := e.Rename(old, new); !errors.Is(err, ErrClosed) {
		t.Errorf("Rename returns %v", err)
	}
	goOn()
}

// TestShutdownWaitsForRoom shuts down more sessions than the queue holds while
// a hook does not come to its end: until the context does, or the engine is
// closed.
func TestShutdownWaitsForRoom(t *testing.T) {
	for _, want := range []error{nil, context.Canceled, ErrClosed} {
		synctest.Test(t, func(t *testing.T) {
			const sessions = 3 * queueLen
			e, _ := New[int, int](Options{})
			var began atomic.Int64
			goOn := make(chan bool)
			e.NotifyOnExpire(func(Event[int, int]) { began.Add(1); <-goOn })
			for key := range sessions {
				e.Start(key, 0)
			}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			down := make(chan error, 1)
			go func() { down <- e.Shutdown(ctx) }()
			synctest.Wait()
			if n := e.Len(); n == 0 || n == sessions || began.Load() != 1 {
				t.Errorf("%d sessions are left, %d hooks have begun while the first waits", n, began.Load())
			}
			switch want {
			case context.Canceled:
				cancel()
			case ErrClosed:
				e.Close()
			default:
				close(goOn)
			}
			if err := <-down; !errors.Is(err, want) {
				t.Errorf("Shutdown returns %v, want %v", err, want)
			}
			all := int64(sessions)
			if want != nil {
				all = 1
				close(goOn)
			}
			synctest.Wait()
			if n := began.Load(); n != all {
				t.Errorf("%d hooks were called, want %d", n, all)
			}
			if e.Len() != 0 {
				t.Errorf("%d sessions are left", e.Len())
			}
		})
	}
}
