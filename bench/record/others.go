package record

import (
	"math"
	"time"

	"github.com/lapse-go/lapse/bench/usage"
)

// Watch begins to count what is done on the machine. The function that it returns
// says how many cores other programs, and other guests of the machine, have taken
// since then; -1: the system does not tell. What the process did, and those that
// it started and has waited for, is its own.
func Watch() (others func() float64) {
	before, tells := Busy()
	ownBefore := usage.Now().CPU + usage.Children()
	began := time.Now()
	return func() float64 {
		after, ok := Busy()
		if !tells || !ok {
			return -1
		}
		own := usage.Now().CPU + usage.Children() - ownBefore
		return cores(after-before, time.Duration(own), time.Since(began))
	}
}

// cores is what others have taken of so many seconds of all cores' work, in
// hundredths. The system counts in steps, so that nothing may be less than that.
func cores(busy float64, own, wall time.Duration) float64 {
	return max(math.Round(100*(busy-own.Seconds())/wall.Seconds())/100, 0)
}
