package lapse_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/benbjohnson/clock"
	"github.com/lapse-go/lapse"
)

type (
	id      = [16]byte
	none    = struct{}
	engine  = lapse.Engine[id, none]
	session = lapse.Session[id, none]
)

func idOf(n int) (k id) {
	// Spread as random ids are, and the same in each run.
	binary.LittleEndian.PutUint64(k[:], uint64(n)*0x9e3779b97f4a7c15)
	binary.LittleEndian.PutUint64(k[8:], uint64(n))
	return k
}

// fill starts n sessions whose ends lie 30 minutes away.
func fill(b *testing.B, n int) (*engine, []session) {
	b.Helper()
	e, err := lapse.New[id, none](lapse.Options{Default: lapse.Policy{Name: "bench", Idle: 30 * time.Minute}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { e.Close() })
	sessions := make([]session, n)
	for i := range sessions {
		if sessions[i], err = e.Start(idOf(i), none{}); err != nil {
			b.Fatal(err)
		}
	}
	return e, sessions
}

// sizes are the numbers of sessions that are touched: a hot few, and more than
// a cache holds.
var sizes = []int{1000, 1000000}

// orders is a power of two, so that the remainder by it costs nothing beside a
// touch.
const orders = 1 << 16

// order visits n sessions in a random order, which is drawn before the clock
// runs.
func order(n int) []uint32 {
	r := rand.New(rand.NewPCG(1, 2))
	order := make([]uint32, orders)
	for i := range order {
		order[i] = uint32(r.IntN(n))
	}
	return order
}

func BenchmarkTouch(b *testing.B) {
	for _, n := range sizes {
		e, sessions := fill(b, n)
		order := order(n)
		bench := func(by string, touch func(i uint32)) {
			b.Run(fmt.Sprintf("by=%s/n=%d", by, n), func(b *testing.B) {
				b.ReportAllocs()
				for i := uint(0); b.Loop(); i++ {
					touch(order[i%orders])
				}
			})
		}
		bench("handle", func(i uint32) { sessions[i].Touch() })
		// A server reads the clock once for all that it does in a round.
		now, round := time.Now(), 0
		bench("time", func(i uint32) {
			if round++; round%256 == 0 {
				now = time.Now()
			}
			sessions[i].TouchAt(now)
		})
		keys := make([]id, n)
		for i := range keys {
			keys[i] = idOf(i)
		}
		bench("key", func(i uint32) { e.Touch(keys[i]) })
		e.Close()
	}
}

// BenchmarkTouchAll touches sessions that all have to be written, each once in
// 11ms at most, one by one and in rounds.
func BenchmarkTouchAll(b *testing.B) {
	const n, round = 1_000_000, 256
	e, sessions := fill(b, n)
	r := rand.New(rand.NewPCG(1, 2))
	r.Shuffle(n, func(i, j int) { sessions[i], sessions[j] = sessions[j], sessions[i] })
	at := 0
	bench := func(name string, touch func(some []session)) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				touch(sessions[at : at+round])
				at = (at + round) % (n / round * round)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*round), "ns/touch")
		})
	}
	bench("single", func(some []session) {
		for _, s := range some {
			s.Touch()
		}
	})
	bench("all", func(some []session) { e.TouchAll(some) })
}

func BenchmarkTouchParallel(b *testing.B) {
	for _, n := range sizes {
		_, sessions := fill(b, n)
		order := order(n)
		b.Run("by=handle/n="+strconv.Itoa(n), func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for i := rand.UintN(orders); pb.Next(); i++ {
					sessions[order[i%orders]].Touch()
				}
			})
		})
	}
}

func BenchmarkPoll(b *testing.B) {
	for _, n := range sizes {
		_, sessions := fill(b, n)
		order := order(n)
		b.Run("n="+strconv.Itoa(n), func(b *testing.B) {
			b.ReportAllocs()
			for i := uint(0); b.Loop(); i++ {
				sessions[order[i%orders]].Poll()
			}
		})
	}
}

func BenchmarkGet(b *testing.B) {
	for _, n := range sizes {
		e, _ := fill(b, n)
		order := order(n)
		b.Run("n="+strconv.Itoa(n), func(b *testing.B) {
			b.ReportAllocs()
			for i := uint(0); b.Loop(); i++ {
				e.Get(idOf(int(order[i%orders])))
			}
		})
	}
}

func BenchmarkInfo(b *testing.B) {
	_, sessions := fill(b, 1000)
	b.ReportAllocs()
	for i := uint(0); b.Loop(); i++ {
		sessions[i%uint(len(sessions))].Info()
	}
}

// BenchmarkStart starts a million sessions at a time and reports what one takes
// of memory.
func BenchmarkStart(b *testing.B) {
	const n = 1000000
	b.Run("n="+strconv.Itoa(n), func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; i < b.N; {
			b.StopTimer()
			before := heap()
			e, _ := fill(b, 0)
			b.StartTimer()
			for range min(n, b.N-i) {
				e.Start(idOf(i), none{})
				i++
			}
			b.StopTimer()
			if e.Len() == n {
				b.ReportMetric(float64(heap()-before)/n, "B/session")
			}
			e.Close()
		}
	})
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func BenchmarkExpire(b *testing.B) {
	const n = 1000000
	b.Run("n="+strconv.Itoa(n), func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; i < b.N; {
			b.StopTimer()
			e, sessions := fill(b, min(n, b.N-i))
			rand.New(rand.NewPCG(1, 2)).Shuffle(len(sessions), func(i, j int) {
				sessions[i], sessions[j] = sessions[j], sessions[i]
			})
			b.StartTimer()
			for _, s := range sessions {
				s.Expire()
			}
			i += len(sessions)
			b.StopTimer()
			e.Close()
		}
	})
}

// BenchmarkAdvance ends sessions at their deadlines in a loop of the
// embedder's, one an operation.
func BenchmarkAdvance(b *testing.B) {
	const n = 100000
	for _, hooks := range []int{0, 1} {
		b.Run(fmt.Sprintf("hooks=%d/n=%d", hooks, n), func(b *testing.B) {
			for i := 0; i < b.N; {
				b.StopTimer()
				mock := clock.NewMock()
				e, err := lapse.New[id, none](lapse.Options{Clock: mock, Manual: true})
				if err != nil {
					b.Fatal(err)
				}
				ended := 0
				if hooks > 0 {
					e.NotifyOnExpire(func(lapse.Event[id, none]) { ended++ })
				}
				for range n {
					if _, err := e.Start(idOf(i), none{}); err != nil {
						b.Fatal(err)
					}
					i++
				}
				mock.Add(lapse.DefaultSession.Idle)
				b.StartTimer()
				e.Advance()
				b.StopTimer()
				if e.Len() > 0 || hooks > 0 && ended != n {
					b.Fatalf("%d sessions are left, %d hooks were called", e.Len(), ended)
				}
				e.Close()
			}
		})
	}
}

// BenchmarkSetPolicy changes the policy of a class with many sessions, to and
// fro. It reports the longest time that a Touch or a Start took meanwhile on
// another goroutine.
func BenchmarkSetPolicy(b *testing.B) {
	for _, n := range []int{100000, 10000000} {
		for _, change := range []string{"lengthen", "shorten"} {
			b.Run(fmt.Sprintf("change=%s/n=%d", change, n), func(b *testing.B) {
				if n > 1000000 && testing.Short() {
					b.Skip("ten million sessions take a gigabyte")
				}
				long := lapse.Policy{Name: "bench", Idle: 2 * time.Hour}
				short := lapse.Policy{Name: "bench", Idle: time.Hour}
				e, err := lapse.New[id, none](lapse.Options{})
				if err != nil {
					b.Fatal(err)
				}
				defer e.Close()
				first, next := long, short
				if change == "lengthen" {
					first, next = short, long
				}
				class, err := e.Class(first)
				if err != nil {
					b.Fatal(err)
				}
				for i := range n {
					class.Start(idOf(i), none{})
				}
				runtime.GC()
				var worst, machine, took time.Duration
				for b.Loop() {
					b.StopTimer()
					if err := class.SetPolicy(first); err != nil {
						b.Fatal(err)
					}
					began := time.Now()
					worst = max(worst, longestCall(e, class, n, func() {
						b.StartTimer()
						err = class.SetPolicy(next)
						b.StopTimer()
					}))
					if err != nil {
						b.Fatal(err)
					}
					took = time.Since(began)
					machine = max(machine, longestCall(e, class, n, func() {
						for time.Since(began) < 2*took {
						}
					}))
					b.StartTimer()
				}
				b.ReportMetric(float64(worst.Microseconds())/1000, "ms-blocked")
				// What the system does to such calls beside a goroutine that
				// only counts.
				b.ReportMetric(float64(machine.Microseconds())/1000, "ms-machine")
			})
		}
	}
}

// longestCall starts and touches sessions for as long as a function runs, and
// returns how long the longest of these calls took.
func longestCall(e *engine, class *lapse.Class[id, none], n int, during func()) time.Duration {
	stop, worst := make(chan struct{}), make(chan time.Duration)
	go func() {
		var longest time.Duration
		for i := 0; ; i++ {
			select {
			case <-stop:
				worst <- longest
				return
			default:
			}
			began := time.Now()
			if i%2 == 0 {
				e.Touch(idOf(i % n))
			} else if s, err := class.Start(idOf(-i), none{}); err == nil {
				s.Expire()
			}
			longest = max(longest, time.Since(began))
		}
	}()
	during()
	close(stop)
	return <-worst
}
