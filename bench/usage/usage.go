// Package usage tells what the process uses of the machine.
package usage

import (
	"os"
	"strconv"
	"strings"
)

// A Usage is what the process has used so far.
type Usage struct {
	CPU      float64 // nanoseconds of all threads, in user mode and in the kernel
	Switches int64   // how often a thread has waited and was woken up
}

// Resident returns the bytes of memory that the process has, and the most that it
// has had since ResetPeak; ok is false where the system does not tell.
func Resident() (now, peak float64, ok bool) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0, false
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		if name != "VmRSS" && name != "VmHWM" {
			continue
		}
		kb, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
		if err != nil {
			return 0, 0, false
		}
		if name == "VmRSS" {
			now = kb * 1024
		} else {
			peak = kb * 1024
		}
	}
	return now, peak, now > 0
}

// ResetPeak has Resident count its peak from now on; false: it cannot be done.
func ResetPeak() bool {
	return os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) == nil
}
