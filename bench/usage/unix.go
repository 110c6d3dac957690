//go:build unix

package usage

import (
	"syscall"
	"time"
)

// Now returns what the process has used so far.
func Now() Usage {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return Usage{}
	}
	return Usage{
		CPU:      float64(time.Duration(u.Utime.Nano()) + time.Duration(u.Stime.Nano())),
		Switches: int64(u.Nvcsw),
	}
}
