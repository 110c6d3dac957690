package lapse_test

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/benbjohnson/clock"
	"github.com/lapse-go/lapse"
)

// A session that is left alone ends, and its hook is told.
func Example() {
	mock := clock.NewMock() // leave Options.Clock out for the real clock
	engine, err := lapse.New[string, string](lapse.Options{Clock: mock, Manual: true})
	if err != nil {
		panic(err)
	}
	defer engine.Close()

	session, err := engine.Start("id-1", "Ada")
	if err != nil {
		panic(err)
	}
	session.NotifyOnExpire(func(ev lapse.Event[string, string]) {
		fmt.Printf("%s has left: %v after %v\n", ev.Value, ev.Reason, ev.Ended.Sub(ev.Started))
	})

	mock.Add(10 * time.Minute)
	engine.Touch("id-1") // Ada did something
	mock.Add(15 * time.Minute)
	engine.Advance() // an engine that is not Manual does this by itself
	// Output:
	// Ada has left: idle after 25m0s
}

// Sessions of different classes have different limits, as with ShortSession in
// the documentation of Twisted Web.
func ExampleEngine_Class() {
	mock := clock.NewMock()
	engine, err := lapse.New[string, int](lapse.Options{Clock: mock, Manual: true})
	if err != nil {
		panic(err)
	}
	defer engine.Close()
	short, err := engine.Class(lapse.ShortSession)
	if err != nil {
		panic(err)
	}
	engine.NotifyOnExpire(func(ev lapse.Event[string, int]) {
		fmt.Println(ev.Ended.Unix(), ev.Key, ev.Class)
	})

	short.Start("guest", 1)
	engine.Start("member", 2)
	for range 15 {
		mock.Add(time.Minute)
		engine.Advance()
	}
	// Output:
	// 60 guest short
	// 900 member default
}

// A page that polls in the background keeps its session alive up to the cap,
// and no longer.
func ExampleSession_Poll() {
	mock := clock.NewMock()
	engine, err := lapse.New[string, int](lapse.Options{Clock: mock, Manual: true, Default: lapse.Policy{
		Name:    "page",
		Idle:    time.Minute,
		PollCap: 5 * time.Minute,
	}})
	if err != nil {
		panic(err)
	}
	defer engine.Close()

	session, _ := engine.Start("id-1", 0)
	session.NotifyOnExpire(func(ev lapse.Event[string, int]) {
		fmt.Println("ended:", ev.Reason)
	})
	polls := 0
	for session.Poll() {
		polls++
		mock.Add(30 * time.Second)
	}
	fmt.Println(polls, "polls")
	// Output:
	// ended: poll cap
	// 11 polls
}

// A server with an event loop of its own calls Advance from it.
func ExampleEngine_Advance() {
	mock := clock.NewMock()
	engine, err := lapse.New[int, string](lapse.Options{Clock: mock, Manual: true, Default: lapse.Policy{Name: "job", Idle: 3 * time.Second}})
	if err != nil {
		panic(err)
	}
	defer engine.Close()
	engine.NotifyOnExpire(func(ev lapse.Event[int, string]) {
		fmt.Printf("%v: %s\n", ev.Ended.Unix(), ev.Value)
	})
	engine.Start(1, "the first")
	mock.Add(time.Second)
	engine.Start(2, "the second")

	for {
		next, ok := engine.Advance()
		if !ok {
			break // nothing is left to wait for
		}
		mock.Set(next) // a real loop waits for its other work until then
	}
	// Output:
	// 3: the first
	// 4: the second
}

// With the mock clock every rule can be tested without sleeping. An engine that
// is not Manual ends sessions on a goroutine of its own, so the test waits for
// the hook.
func Example_mockClock() {
	mock := clock.NewMock()
	engine, err := lapse.New[string, int](lapse.Options{Clock: mock})
	if err != nil {
		panic(err)
	}
	defer engine.Close()
	var ended sync.WaitGroup
	ended.Add(1)
	engine.NotifyOnExpire(func(ev lapse.Event[string, int]) {
		fmt.Println(ev.Key, ev.Reason)
		ended.Done()
	})
	session, _ := engine.Start("id-1", 0)

	mock.Add(899 * time.Second)
	fmt.Println(session.Alive())
	mock.Add(time.Second)
	ended.Wait()
	fmt.Println(session.Alive())
	// Output:
	// true
	// id-1 idle
	// false
}

// Start refuses a key that is in use and returns the session that has it.
func ExampleEngine_Start() {
	engine, err := lapse.New[string, string](lapse.Options{})
	if err != nil {
		panic(err)
	}
	defer engine.Close()
	engine.Start("id-1", "Ada")

	session, err := engine.Start("id-1", "Grace")
	value, _ := session.Value()
	fmt.Println(errors.Is(err, lapse.ErrExists), value)
	// Output:
	// true Ada
}

// A new id for the same session, as after a log-in: nothing else about it
// changes.
func ExampleEngine_Rename() {
	engine, err := lapse.New[string, string](lapse.Options{})
	if err != nil {
		panic(err)
	}
	defer engine.Close()
	session, _ := engine.Start("old", "Ada")

	err = engine.Rename("old", "new")
	_, found := engine.Get("old")
	same, _ := engine.Get("new")
	fmt.Println(err, found, same == session)
	// Output:
	// <nil> false true
}
