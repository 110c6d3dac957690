package lapse

import (
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
