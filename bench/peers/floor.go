package peers

import (
	"sync/atomic"
	"time"
)

// What is measured beside the peers and is none: a touch stores the time into an
// array, at the session's number, and that is all. Nothing ends. It shows what the
// benchmark's own loop, a reading of the clock and a cache miss cost on a machine.

var infoFloor = Info{
	Name: Floor,
	Can:  Can{Handle: true},
	Note: "no peer: it notes the time of a touch and ends nothing",
}

type floorPeer[K comparable] struct {
	seen  []atomic.Int64 // by number, in nanoseconds since start
	start time.Time
	table []uint32
}

func newFloor[K comparable](c Config[K]) *floorPeer[K] {
	return &floorPeer[K]{seen: make([]atomic.Int64, c.Sessions), start: time.Now()}
}

// Arrange implements [ByHandle]: a handle is a session's number.
func (p *floorPeer[K]) Arrange(order []uint32) { p.table = order }

func (p *floorPeer[K]) TouchHandles(from, to int) int {
	for _, number := range p.table[from:to] {
		p.seen[number].Store(int64(time.Since(p.start)))
	}
	return to - from
}

func (p *floorPeer[K]) Start([]K) error                 { return nil }
func (p *floorPeer[K]) StartFor(K, time.Duration) error { return nil }
func (p *floorPeer[K]) Touch([]K) int                   { return 0 }
func (p *floorPeer[K]) End([]K)                         {}
func (p *floorPeer[K]) Len() int                        { return 0 }
func (p *floorPeer[K]) Close()                          {}
