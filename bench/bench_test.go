// Package bench_test has the benchmarks that are over soon. Their names are made
// for benchstat:
//
//	go test -bench . -count 8 -timeout 0 >new.txt
//	benchstat -col /peer new.txt
//
// What takes longer, or a process of its own, is measured by cmd/measure.
package bench_test

import (
	"flag"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lapse-go/lapse/bench/keys"
	"github.com/lapse-go/lapse/bench/peers"
	"github.com/lapse-go/lapse/bench/work"

	// See work/inline.go.
	_ "github.com/Yiling-J/theine-go"
	_ "github.com/dgraph-io/ristretto/v2"
	_ "github.com/google/btree"
	_ "github.com/jellydator/ttlcache/v3"
	_ "github.com/lapse-go/lapse"
	_ "github.com/maypok86/otter/v2"
)

var (
	sessions = flag.Int("sessions", 1_000_000, "the number of sessions")
	only     = flag.String("peer", "", "the only peer to be measured; empty: all")
)

const (
	hot   = 1000 // sessions that are touched where only a few are
	batch = 1024
)

// A subject is a peer without the types of its keys.
type subject struct {
	start    func(from, to int)             // sessions by number
	end      func(from, to int)             // sessions of the random order
	touch    func(from, to int) (alive int) // of the random order, by key
	poll     func(from, to int) (alive int) // likewise
	byHandle func(from, to int) (alive int) // likewise, by handle
	arrange  func()                         // when all are started, before byHandle
	close    func()
}

// newSubject makes a peer, with the sessions 0 to n-1 to come.
func newSubject[K comparable](b *testing.B, info peers.Info, kind *keys.Kind[K], n int, handles bool) subject {
	idles := make([]time.Duration, keys.Classes)
	for i := range idles {
		idles[i] = time.Minute + time.Duration(i)*29*time.Minute/(keys.Classes-1)
	}
	p, err := peers.New(info.Name, peers.Config[K]{Kind: kind, Idles: idles, Sessions: n, Handles: handles}, struct{}{})
	if err != nil {
		b.Fatal(err)
	}
	numbers, order := orders(n)
	ascending := tables(kind, "ascending", n, numbers)
	random := tables(kind, "random", n, order)
	s := subject{
		start: func(from, to int) {
			if err := p.Start(ascending[from:to]); err != nil {
				b.Fatal(err)
			}
		},
		end:     func(from, to int) { p.End(random[from:to]) },
		touch:   func(from, to int) int { return p.Touch(random[from:to]) },
		arrange: func() {},
		close:   p.Close,
	}
	if poller, ok := p.(peers.Poller[K]); ok {
		s.poll = func(from, to int) int { return poller.Poll(random[from:to]) }
	}
	if h, ok := p.(peers.ByHandle); ok && handles {
		s.arrange = func() { h.Arrange(order) }
		s.byHandle = h.TouchHandles
	}
	return s
}

// Tables lie off the heap and are never freed, so all peers share them.
var (
	ordersOf = make(map[int][2][]uint32)
	tablesOf = make(map[tableName]any)
)

type tableName struct {
	kind, order string
	n           int
	strings     bool
}

func orders(n int) (ascending, random []uint32) {
	if _, ok := ordersOf[n]; !ok {
		ordersOf[n] = [2][]uint32{keys.Ascending(0, n), keys.Shuffled(0, n)}
	}
	return ordersOf[n][0], ordersOf[n][1]
}

func tables[K comparable](kind *keys.Kind[K], order string, n int, numbers []uint32) []K {
	_, strings := any(*new(K)).(string)
	name := tableName{kind.Name, order, n, strings}
	if _, ok := tablesOf[name]; !ok {
		tablesOf[name] = kind.Table(numbers)
	}
	return tablesOf[name].([]K)
}

// each runs a benchmark for each peer that is able.
func each(b *testing.B, able func(peers.Can) bool, handles bool, run func(b *testing.B, build func(n int) subject)) {
	for _, info := range peers.List() {
		if !able(info.Can) || *only != "" && *only != info.Name {
			continue
		}
		b.Run("peer="+info.Name, func(b *testing.B) {
			run(b, func(n int) subject {
				if info.Can.Strings {
					return newSubject(b, info, keys.RawStrings(), n, handles)
				}
				return newSubject(b, info, keys.IDs(), n, handles)
			})
		})
		runtime.GC()
	}
}

// ring runs a benchmark of something that is done to a few sessions again and
// again, and to all of them, in random order.
func ring(b *testing.B, build func(n int) subject, pick func(subject) func(from, to int) int) {
	n := *sessions
	b.Run("n="+work.Count(n), func(b *testing.B) {
		s := build(n)
		defer s.close()
		inBatches(0, n, s.start)
		s.arrange()
		runtime.GC()
		touch := pick(s)
		for _, access := range []string{"hot", "random"} {
			size := n
			if access == "hot" {
				size = min(hot, n)
			}
			b.Run("access="+access, func(b *testing.B) {
				b.ReportAllocs()
				at, alive := 0, 0
				for done := 0; done < b.N; {
					to := min(at+batch, at+b.N-done, size)
					alive += touch(at, to)
					done += to - at
					if at = to; at == size {
						at = 0
					}
				}
				if alive != b.N {
					b.Errorf("%d of %d sessions were alive", alive, b.N)
				}
			})
		}
	})
}

func inBatches(from, to int, do func(from, to int)) {
	for ; from < to; from += batch {
		do(from, min(from+batch, to))
	}
}

func BenchmarkTouchKey(b *testing.B) {
	each(b, func(can peers.Can) bool { return can.Key }, false, func(b *testing.B, build func(n int) subject) {
		ring(b, build, func(s subject) func(from, to int) int { return s.touch })
	})
}

func BenchmarkTouchHandle(b *testing.B) {
	each(b, func(can peers.Can) bool { return can.Handle }, true, func(b *testing.B, build func(n int) subject) {
		ring(b, build, func(s subject) func(from, to int) int { return s.byHandle })
	})
}

func BenchmarkPollKey(b *testing.B) {
	each(b, func(can peers.Can) bool { return can.Poll }, false, func(b *testing.B, build func(n int) subject) {
		ring(b, build, func(s subject) func(from, to int) int { return s.poll })
	})
}

// BenchmarkTouchKeyParallel touches on all cores; -cpu says how many.
func BenchmarkTouchKeyParallel(b *testing.B) {
	each(b, func(can peers.Can) bool { return can.Key }, false, func(b *testing.B, build func(n int) subject) {
		n := *sessions
		b.Run("n="+work.Count(n)+"/access=random", func(b *testing.B) {
			s := build(n)
			defer s.close()
			inBatches(0, n, s.start)
			runtime.GC()
			b.ResetTimer()
			var places atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				// Each goroutine begins somewhere else in the ring. It asks for a batch of
				// iterations before it does them.
				at := int(places.Add(1)) * n / 8 % n
				for more := true; more; {
					size := 0
					for size < min(batch, n-at) {
						if more = pb.Next(); !more {
							break
						}
						size++
					}
					s.touch(at, at+size)
					at = (at + size) % n
				}
			})
		})
	})
}

func BenchmarkStart(b *testing.B) {
	afresh(b, func(subject, int) {}, func(s subject) func(from, to int) { return s.start })
}

func BenchmarkEnd(b *testing.B) {
	afresh(b, func(s subject, n int) { inBatches(0, n, s.start) }, func(s subject) func(from, to int) { return s.end })
}

// afresh runs a benchmark of something that is done to each session once: the
// peers are made and prepared anew, which is not timed, when all have had it.
func afresh(b *testing.B, prepare func(s subject, n int), pick func(subject) func(from, to int)) {
	each(b, func(can peers.Can) bool { return can.Cancel }, false, func(b *testing.B, build func(n int) subject) {
		n := *sessions
		b.Run("n="+work.Count(n), func(b *testing.B) {
			b.ReportAllocs()
			for done := 0; done < b.N; {
				b.StopTimer()
				s := build(n)
				prepare(s, n)
				runtime.GC()
				some := min(n, b.N-done)
				b.StartTimer()
				inBatches(0, some, pick(s))
				done += some
				b.StopTimer()
				s.close()
				b.StartTimer()
			}
		})
	})
}
