package lapse

import (
	"runtime"
	"testing"
	"time"
)

// TestEachShardHasItsTurn lets the driver end one session a round, since the
// hook queue has no more room: each shard is to be the first in turn.
func TestEachShardHasItsTurn(t *testing.T) {
	e, _ := New[int, int](Options{})
	e.driver.started.Store(true) // the test drives
	e.queue.workers = 0          // and takes from the queue
	defer e.Close()
	e.NotifyOnExpire(func(Event[int, int]) {})
	const each = 4
	for key := 0; e.Len() < each*len(e.shards); key++ {
		if e.shardOf(e.hash(&key)).sessions < each {
			e.Start(key, 0)
		}
	}
	e.queue.put(make([]ending[int, int], queueLen-1))
	later := e.time.momentOf(int64(time.Hour))
	for round := 1; round <= each; round++ {
		for range e.shards {
			if ends, more := e.driver.round(&tour[int]{moment: later}, nil); len(ends) > 0 || more == (e.Len() == 0) {
				t.Fatalf("round returns %d endings and %v with %d sessions left", len(ends), more, e.Len())
			}
			e.queue.mu.Lock()
			e.queue.n--
			e.queue.mu.Unlock()
		}
		for i := range e.shards {
			if n := e.shards[i].sessions; n != each-round {
				t.Errorf("shard %d has %d sessions after it was the first %d times, want %d", i, n, round, each-round)
			}
		}
	}
}

// TestHookDuringARound registers the first hook while a round ends sessions of
// many shards. What it is to be told of must not be more than the queue holds.
func TestHookDuringARound(t *testing.T) {
	const shardBits = 6
	e, _ := New[int, int](Options{Manual: true, Remember: 1})
	e.queue.workers = 0 // the test takes from the queue
	defer e.Close()
	e.makeShards(shardBits)
	for key := range 2 * queueLen {
		e.Start(key, 0)
	}
	e.memory.mu.Lock() // the first end waits here
	done := make(chan bool)
	go func() {
		defer close(done)
		e.driver.round(&tour[int]{moment: e.time.momentOf(int64(time.Hour))}, nil)
	}()
	for i := 0; e.shards[i].mu.TryLock(); i = (i + 1) % len(e.shards) {
		e.shards[i].mu.Unlock()
		runtime.Gosched()
	}
	e.NotifyOnExpire(func(Event[int, int]) {})
	e.memory.mu.Unlock()
	<-done
	if n := e.queue.n; n == 0 || n > queueLen {
		t.Errorf("%d endings are in a queue for %d", n, queueLen)
	}
}
