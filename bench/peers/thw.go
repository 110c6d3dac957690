package peers

import (
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server/thw"
)

// The hash wheel of the NATS server, which keeps a deadline for a number. It is
// not safe for concurrent use, has no goroutine, and Update and Remove must be
// told the old deadline. So there is a lock around it, and a table of deadlines by
// number, which its caller needs in any case: in the server it is the message
// store that knows them. As there, a timer is armed for the next deadline, but
// for no less than 250 ms, and tasks are expired under the lock. A session is
// touched by its number, which is a handle; there are no keys and no values. It
// cannot tell polls from touches.

var infoTHW = Info{
	Name:   "thw",
	Module: "github.com/nats-io/nats-server/v2",
	Can:    Can{Handle: true, Answer: true, Cancel: true, Hook: true, OwnIdle: true},
	Slack:  thwShortest,
	Note:   "no keys, no values",
}

// thwShortest is the least time from one expiry to the next.
const thwShortest = 250 * time.Millisecond

type thwPeer[K comparable] struct {
	c Config[K]

	mu        sync.Mutex // guards the fields below
	wheel     *thw.HashWheel
	deadlines []int64 // by number; 0: no session
	count     int
	timer     *time.Timer
	armed     int64 // when the timer fires; 0: it is not armed
	closed    bool

	table []uint32
}

func newTHW[K comparable](c Config[K]) *thwPeer[K] {
	return &thwPeer[K]{c: c, wheel: thw.NewHashWheel(), deadlines: make([]int64, c.Sessions)}
}

// arm arms the timer for the wheel's next deadline.
func (p *thwPeer[K]) arm(now int64) {
	next := p.wheel.GetNextExpiration(1<<63 - 1)
	if next == 1<<63-1 || p.closed {
		return
	}
	next = max(next, now+int64(thwShortest))
	if p.armed != 0 && p.armed <= next {
		return
	}
	p.armed = next
	if p.timer == nil {
		p.timer = time.AfterFunc(time.Duration(next-now), p.expire)
	} else {
		p.timer.Reset(time.Duration(next - now))
	}
}

func (p *thwPeer[K]) expire() {
	var due []uint32
	p.mu.Lock()
	p.armed = 0
	p.wheel.ExpireTasks(func(seq uint64, _ int64) bool {
		due = append(due, uint32(seq))
		p.deadlines[seq] = 0
		p.count--
		return true
	})
	p.arm(time.Now().UnixNano())
	p.mu.Unlock()
	if p.c.OnEnd != nil {
		for _, number := range due {
			p.c.OnEnd(number)
		}
	}
}

func (p *thwPeer[K]) Start(keys []K) error {
	for _, key := range keys {
		if err := p.StartFor(key, p.c.idle(key)); err != nil {
			return err
		}
	}
	return nil
}

func (p *thwPeer[K]) StartFor(key K, idle time.Duration) error {
	number := p.c.Kind.Number(key)
	now := time.Now().UnixNano()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deadlines[number] = now + int64(idle)
	p.count++
	err := p.wheel.Add(uint64(number), p.deadlines[number])
	p.arm(now)
	return err
}

// Arrange implements [ByHandle]: a handle is a session's number.
func (p *thwPeer[K]) Arrange(order []uint32) { p.table = order }

func (p *thwPeer[K]) TouchHandles(from, to int) (alive int) {
	for _, number := range p.table[from:to] {
		deadline := time.Now().UnixNano() + int64(p.c.Idles[int(number)%len(p.c.Idles)])
		p.mu.Lock()
		if old := p.deadlines[number]; old != 0 {
			p.deadlines[number] = deadline
			if p.wheel.Update(uint64(number), old, p.deadlines[number]) == nil {
				alive++
			}
		}
		p.mu.Unlock()
	}
	return alive
}

// Touch cannot be: see Can.Key.
func (p *thwPeer[K]) Touch([]K) int { return 0 }

// End ends by number, which the key tells.
func (p *thwPeer[K]) End(keys []K) {
	for _, key := range keys {
		number := p.c.Kind.Number(key)
		p.mu.Lock()
		old := p.deadlines[number]
		if old != 0 {
			p.wheel.Remove(uint64(number), old)
			p.deadlines[number] = 0
			p.count--
		}
		p.mu.Unlock()
		if old != 0 && p.c.OnEnd != nil {
			p.c.OnEnd(number)
		}
	}
}

func (p *thwPeer[K]) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count
}

func (p *thwPeer[K]) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.timer != nil {
		p.timer.Stop()
	}
}
