// Package peers makes lapse, and whatever else ends sessions in Go programs, do
// the same work. Each file adapts one peer, used as its documentation says, and
// begins with what was chosen and why. What a peer cannot do is not built around
// it: [Can] says so, and its cell in a table stays empty.
//
// A peer is given many keys at a time. So what a call through the interface
// costs is shared by a thousand operations, and the loop over them is compiled
// with the peer's own code.
package peers

import (
	"fmt"
	"math/bits"
	"slices"
	"time"

	"github.com/lapse-go/lapse/bench/keys"
)

// A Peer holds sessions that end by themselves. The keys of the sessions are
// made by Config.Kind. Calls are safe for concurrent use, but for Close.
type Peer[K comparable] interface {
	// Start starts a session for each key, with the time-out of its class.
	Start(keys []K) error
	// StartFor starts one session, with a time-out of its own.
	StartFor(key K, idle time.Duration) error
	// Touch extends the sessions of the keys by their time-out, and returns how
	// many of them were alive.
	Touch(keys []K) (alive int)
	// End ends the sessions of the keys now.
	End(keys []K)
	// Len returns the number of sessions, those included that are due but are
	// still there.
	Len() int
	// Close stops what runs in the background.
	Close()
}

// ByHandle is a peer whose sessions can be touched without a look-up, by what it
// returned when the session was started. With Config.Handles it keeps those, in
// the order of the starts, which then come from one goroutine.
type ByHandle interface {
	// Arrange makes a table of the handles in an order of numbers of starts.
	Arrange(order []uint32)
	// TouchHandles touches the sessions from..to-1 of the table.
	TouchHandles(from, to int) (alive int)
}

// Poller is a peer that tells polls from touches.
type Poller[K comparable] interface {
	Poll(keys []K) (alive int)
	PollHandles(from, to int) (alive int)
}

// Waker is a peer that counts how often it wakes up by itself.
type Waker interface {
	Wakeups() uint64
}

// A Config says what a peer is made for.
type Config[K comparable] struct {
	Kind *keys.Kind[K]
	// Idles are the time-outs of the classes of sessions: one for all, or
	// keys.Classes.
	Idles []time.Duration
	// Sessions is how many there will be at most, for peers that are to know.
	Sessions int
	// OnEnd is called with the number of each session that has ended, at the
	// earliest when it has; on any goroutine. Nil: no hook is registered.
	OnEnd func(number uint32)
	// Handles: the peer keeps the handles of what Start starts.
	Handles bool
}

// idle returns the time-out of a key's session. Peers whose touch is to be told
// learn it from the key, at no cost but a nanosecond or two.
func (c *Config[K]) idle(key K) time.Duration {
	if len(c.Idles) == 1 {
		return c.Idles[0]
	}
	return c.Idles[keys.Class(c.Kind.Number(key))]
}

// end calls the hook, if there is one.
func (c *Config[K]) end(key K) {
	if c.OnEnd != nil {
		c.OnEnd(c.Kind.Number(key))
	}
}

// Can says what a peer is able to do.
type Can struct {
	Key     bool // finds a session by its key
	Handle  bool // touches a session without a look-up
	Answer  bool // a touch tells whether the session was alive
	Cancel  bool // a session can be ended by a call
	Hook    bool // tells when a session has ended
	OwnIdle bool // each session can have a time-out of its own
	Poll    bool // tells polls from touches
	Values  bool // keeps a value of any type with a session
	// Strings: the only keys are strings; a 16-byte key is a string of 16 bytes.
	Strings bool
}

// An Info describes a peer.
type Info struct {
	Name   string
	Module string // that it comes from; empty: the standard library or this one
	Can    Can
	// Slack is how late an end may be by the peer's design, and Early how early
	// it may be after a touch: steps of its clock, intervals between sweeps.
	Slack, Early time.Duration
	Note         string // on what the figures have to be read with
}

// Floor is the name of what is no peer: one store of the time into an array.
// Nothing that notes the time of a touch can cost less.
const Floor = "floor"

// sweepInterval is how often those peers look for what is due that have to be
// told. All of them get the same, whatever is measured.
const sweepInterval = time.Second

// List returns all peers, lapse first and [Floor] last. On 32-bit machines bigcache
// is not among them: it counts with atomics that must be aligned there, and are
// not.
func List() []Info {
	list := []Info{
		infoLapse, infoAfterFunc, infoSweep, infoHeap, infoBTree, infoOtter, infoTTLCache, infoTheine,
		infoRistretto, infoGoCache, infoBigCache, infoSCS, infoGoZero, infoTHW, infoFloor,
	}
	if bits.UintSize == 32 {
		list = slices.DeleteFunc(list, func(info Info) bool { return info.Name == infoBigCache.Name })
	}
	return list
}

// Find returns the peer of a name.
func Find(name string) (Info, bool) {
	for _, info := range List() {
		if info.Name == name {
			return info, true
		}
	}
	return Info{}, false
}

// New makes a peer. Each of its sessions has the value. The error says what is
// wrong: there is no such peer, or it has no keys or values of these types.
func New[K comparable, V any](name string, c Config[K], value V) (Peer[K], error) {
	if n := len(c.Idles); n != 1 && n != keys.Classes {
		return nil, fmt.Errorf("Config.Idles has %d time-outs: want 1 or %d", n, keys.Classes)
	}
	switch name {
	case infoLapse.Name:
		return newLapse(c, value)
	case infoAfterFunc.Name:
		return newAfterFunc(c, value), nil
	case infoSweep.Name:
		return newSweep(c, value), nil
	case infoHeap.Name:
		return newHeap(c, value), nil
	case infoBTree.Name:
		return newBTree(c, value), nil
	case infoOtter.Name:
		return newOtter(c, value)
	case infoTTLCache.Name:
		return newTTLCache(c, value), nil
	case infoTheine.Name:
		return newTheine(c, value)
	case infoRistretto.Name:
		switch c := any(c).(type) {
		case Config[string]:
			return as[K](newRistretto(c, value))
		case Config[uint64]:
			return as[K](newRistretto(c, value))
		}
	case infoGoCache.Name:
		if c, ok := any(c).(Config[string]); ok {
			return as[K](newGoCache(c, value), nil)
		}
	case infoBigCache.Name:
		if c, ok := any(c).(Config[string]); ok {
			return as[K](newBigCache(c, value))
		}
	case infoSCS.Name:
		if c, ok := any(c).(Config[string]); ok {
			return as[K](newSCS(c, value))
		}
	case infoGoZero.Name:
		return newGoZero(c, value)
	case infoTHW.Name:
		return newTHW(c), nil
	case infoFloor.Name:
		return newFloor(c), nil
	default:
		return nil, fmt.Errorf("there is no peer %q", name)
	}
	return nil, fmt.Errorf("%s has no keys of type %T", name, *new(K))
}

// as gives a peer the type of its keys back.
func as[K comparable, L comparable](peer Peer[L], err error) (Peer[K], error) {
	if err != nil {
		return nil, err
	}
	return any(peer).(Peer[K]), nil
}
