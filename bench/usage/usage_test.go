package usage

import (
	"testing"
	"time"
)

func TestUsage(t *testing.T) {
	now, peak, ok := Resident()
	if ok && (now <= 0 || peak < now/2) {
		t.Errorf("resident memory is %v, at most %v", now, peak)
	}
	before := Now()
	if before == (Usage{}) {
		t.Skip("the system does not tell")
	}
	for Now().CPU == before.CPU { // work, until it shows
		for began := time.Now(); time.Since(began) < time.Millisecond; {
		}
	}
	if after := Now(); after.CPU < before.CPU || after.Switches < before.Switches {
		t.Errorf("usage went from %+v to %+v", before, after)
	}
}
