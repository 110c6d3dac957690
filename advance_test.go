package lapse_test

import (
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/lapse-go/lapse"
)

// TestHookThatStartsAgain has each end start a session that is due a tick
// later. The Advance that called the hook leaves it to the next.
func TestHookThatStartsAgain(t *testing.T) {
	e := newEngine(t, lapse.Policy{Name: "tick", Idle: tick})
	ends := 0
	e.NotifyOnExpire(func(ev testEvent) {
		ends++
		e.pass(tick)
		if _, err := e.Start(ev.Key, ev.Value); err != nil {
			t.Error(err)
		}
		e.Advance() // ends nothing: one is running
	})
	e.start("key")
	for i := range 100 {
		e.advance(tick)
		if ends != i+1 {
			t.Fatalf("%d ends after %d calls of Advance", ends, i+1)
		}
	}
}

// TestAdvanceWithinAdvance has a hook let time pass, so that another session is
// due, and call Advance: that one is left to the next call.
func TestAdvanceWithinAdvance(t *testing.T) {
	e := newEngine(t, lapse.Policy{Name: "minute", Idle: time.Minute})
	var ended []string
	e.NotifyOnExpire(func(ev testEvent) {
		ended = append(ended, ev.Key)
		if ev.Key == "first" {
			e.pass(time.Second)
			e.Advance()
			if len(ended) > 1 {
				t.Error("an Advance within an Advance has ended a session")
			}
		}
	})
	e.start("first")
	e.pass(time.Second)
	e.start("second")
	e.advance(59 * time.Second)
	if want := []string{"first"}; !slices.Equal(ended, want) {
		t.Errorf("the first Advance ended %v, want %v", ended, want)
	}
	e.Advance()
	if want := []string{"first", "second"}; !slices.Equal(ended, want) {
		t.Errorf("ended %v, want %v", ended, want)
	}
}

// TestAdvanceInBatches ends more sessions in one Advance than a batch holds.
func TestAdvanceInBatches(t *testing.T) {
	const sessions = 600
	e := newEngine(t)
	var batches, keys []string
	e.NotifyOnExpireBatch(func(events []testEvent) {
		batches = append(batches, strconv.Itoa(len(events)))
		for _, ev := range events {
			keys = append(keys, ev.Key)
		}
	})
	var started []string
	for i := range sessions {
		started = append(started, strconv.Itoa(i))
		e.start(started[i])
	}
	e.advance(lapse.DefaultSession.Idle)
	if want := []string{"256", "256", "88"}; !slices.Equal(batches, want) {
		t.Errorf("batches of %v, want %v", batches, want)
	}
	if !slices.Equal(keys, started) {
		t.Errorf("%d sessions were told of, not in the order of their starts", len(keys))
	}
}

// TestAdvanceInBatchesAfterGoexit has a hook end its goroutine when a batch is
// full: the batch hooks are given no more than that.
func TestAdvanceInBatchesAfterGoexit(t *testing.T) {
	const sessions = 600
	e := newEngine(t)
	called := 0
	e.NotifyOnExpire(func(testEvent) {
		if called++; called == 256 {
			runtime.Goexit()
		}
	})
	var batches []string
	told := 0
	e.NotifyOnExpireBatch(func(events []testEvent) {
		batches = append(batches, strconv.Itoa(len(events)))
		if told += len(events); told == 512 {
			runtime.Goexit()
		}
	})
	for i := range sessions {
		e.start(strconv.Itoa(i))
	}
	e.pass(lapse.DefaultSession.Idle)
	done := make(chan bool)
	go func() {
		defer close(done)
		e.Advance()
	}()
	<-done
	if want := []string{"256", "256", "88"}; !slices.Equal(batches, want) {
		t.Errorf("batches of %v, want %v", batches, want)
	}
}
