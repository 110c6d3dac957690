package peers

import (
	"time"

	"github.com/zeromicro/go-zero/core/collection"
)

// The timing wheel of go-zero, with the step of a second and the 300 slots that
// its own cache has. It is a wheel with keys: MoveTimer is the touch, and does not
// tell whether there was a session. All calls are sent to the wheel's goroutine
// over channels without buffer, and keys and values are of type any. Times are cut
// to whole steps, so that a session ends up to a second early. It cannot count its
// sessions, has no handles, and cannot tell polls from touches.

var infoGoZero = Info{
	Name:   "go-zero",
	Module: "github.com/zeromicro/go-zero",
	Can:    Can{Key: true, Cancel: true, Hook: true, OwnIdle: true, Values: true},
	Slack:  time.Second,
	Early:  time.Second,
	Note:   "seconds; a touch does not tell whether the session lives",
}

type goZeroPeer[K comparable] struct {
	c     Config[K]
	wheel *collection.TimingWheel
	value any
}

func newGoZero[K comparable, V any](c Config[K], value V) (*goZeroPeer[K], error) {
	wheel, err := collection.NewTimingWheel(time.Second, 300, func(key, _ any) { c.end(key.(K)) })
	if err != nil {
		return nil, err
	}
	return &goZeroPeer[K]{c, wheel, value}, nil
}

func (p *goZeroPeer[K]) Start(keys []K) error {
	for _, key := range keys {
		if err := p.wheel.SetTimer(key, p.value, p.c.idle(key)); err != nil {
			return err
		}
	}
	return nil
}

func (p *goZeroPeer[K]) StartFor(key K, idle time.Duration) error {
	return p.wheel.SetTimer(key, p.value, idle)
}

func (p *goZeroPeer[K]) Touch(keys []K) (alive int) {
	for _, key := range keys {
		if p.wheel.MoveTimer(key, p.c.idle(key)) == nil {
			alive++
		}
	}
	return alive
}

func (p *goZeroPeer[K]) End(keys []K) {
	for _, key := range keys {
		p.wheel.RemoveTimer(key)
	}
}

// Len is not known: see Can.Answer.
func (p *goZeroPeer[K]) Len() int { return 0 }

func (p *goZeroPeer[K]) Close() { p.wheel.Stop() }
