//go:build unix

package usage

import (
	"syscall"
	"time"
)

// Now returns what the process has used so far.
func Now() Usage { return of(syscall.RUSAGE_SELF) }

// Children returns the CPU time of the processes that this one has started and
// waited for, as Usage.CPU.
func Children() float64 { return of(syscall.RUSAGE_CHILDREN).CPU }

func of(who int) Usage {
	var u syscall.Rusage
	if syscall.Getrusage(who, &u) != nil {
		return Usage{}
	}
	return Usage{
		CPU:      float64(time.Duration(u.Utime.Nano()) + time.Duration(u.Stime.Nano())),
		Switches: int64(u.Nvcsw),
	}
}
