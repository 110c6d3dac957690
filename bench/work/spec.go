// Package work is what is measured: each case builds a peer, gives it sessions,
// and times what it does with them. A measurement is meant to be a process of its
// own, so that no peer inherits the memory of another.
package work

import (
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/lapse-go/lapse/bench/peers"
)

// A Spec names one measurement. Its String is the name: the case, and what is
// not the default as key=value.
type Spec struct {
	Case   string
	Peer   string
	By     string // touch and poll: handle or key
	Key    string // id (16 bytes), uint64 or string (32 digits); empty: id
	Value  string // empty, pointer or 64B; empty string: empty
	Access string // touch and poll: hot (1000 sessions), tick (the same, once a tick), random (all); bytes: touched (ten time-outs long)
	Hook   string // end: yes or no
	N      int    // sessions
	Procs  int    // goroutines that make the calls
}

// The cases.
const (
	Touch   = "touch"
	Poll    = "poll"
	Start   = "start"
	End     = "end"
	Spread  = "spread"
	Storm   = "storm"
	Keep    = "keep"
	Churn   = "churn"
	Collect = "collect"
	Idle    = "idle"
	Bytes   = "bytes"
)

func (s Spec) String() string {
	var b strings.Builder
	b.WriteString(s.Case)
	for _, f := range s.fields() {
		if v := f.get(); v != "" {
			fmt.Fprintf(&b, "/%s=%s", f.name, v)
		}
	}
	return b.String()
}

// A field is one key=value of a name.
type field struct {
	name string
	get  func() string
	set  func(string) error
}

func (s *Spec) fields() []field {
	text := func(name string, p *string) field {
		return field{name, func() string { return *p }, func(v string) error { *p = v; return nil }}
	}
	return []field{
		text("peer", &s.Peer),
		text("by", &s.By),
		text("key", &s.Key),
		text("value", &s.Value),
		text("access", &s.Access),
		text("hook", &s.Hook),
		{"n", func() string { return Count(s.N) }, func(v string) (err error) { s.N, err = ParseCount(v); return err }},
		{"procs", func() string {
			if s.Procs == 0 {
				return ""
			}
			return strconv.Itoa(s.Procs)
		}, func(v string) (err error) { s.Procs, err = strconv.Atoi(v); return err }},
	}
}

// Parse is the inverse of Spec.String.
func Parse(name string) (Spec, error) {
	var s Spec
	parts := strings.Split(name, "/")
	s.Case = parts[0]
	for _, part := range parts[1:] {
		key, value, _ := strings.Cut(part, "=")
		i := slices.IndexFunc(s.fields(), func(f field) bool { return f.name == key })
		if i < 0 {
			return s, fmt.Errorf("%q has no parameter %q", name, key)
		}
		if err := s.fields()[i].set(value); err != nil {
			return s, fmt.Errorf("%q: %s: %w", name, key, err)
		}
	}
	return s, nil
}

// Count writes a number of sessions, such as 10M.
func Count(n int) string {
	switch {
	case n == 0:
		return ""
	case n%1_000_000 == 0:
		return strconv.Itoa(n/1_000_000) + "M"
	case n%1000 == 0:
		return strconv.Itoa(n/1000) + "k"
	}
	return strconv.Itoa(n)
}

// ParseCount is the inverse of Count.
func ParseCount(s string) (int, error) {
	unit := 1
	switch {
	case strings.HasSuffix(s, "M"):
		unit = 1_000_000
	case strings.HasSuffix(s, "k"):
		unit = 1000
	}
	n, err := strconv.Atoi(strings.TrimRight(s, "Mk"))
	if err == nil && (n < 0 || n > (1<<31-1)/unit) {
		err = fmt.Errorf("%s sessions are out of range", s)
	}
	return n * unit, err
}

// Possible says why a peer cannot do the work; nil: it can.
func (s Spec) Possible() error {
	info, ok := peers.Find(s.Peer)
	if !ok {
		return fmt.Errorf("there is no peer %q", s.Peer)
	}
	can := info.Can
	lacks := func(what string) error { return fmt.Errorf("%s %s", s.Peer, what) }
	floor := s.Peer == peers.Floor
	switch {
	case s.By == "handle" && !can.Handle:
		return lacks("has no handles")
	case s.By == "key" && !can.Key:
		return lacks("has no keys")
	case s.Case == Poll && !can.Poll:
		return lacks("does not tell polls from touches")
	case s.Case == End && !can.Cancel:
		return lacks("ends nothing by a call")
	case s.Case == End && s.Hook == "yes" && !can.Hook:
		return lacks("has no hooks")
	case (s.Case == Spread || s.Case == Storm || s.Case == Keep) && !can.Hook:
		return lacks("has no hooks")
	case s.Case == Storm && !can.OwnIdle:
		return lacks("has one time-out for all sessions")
	case (s.Case == Keep || s.Case == Churn || s.Case == Bytes || s.Case == Storm) && !can.Key:
		return lacks("has no keys")
	case s.Case == Start && floor:
		return lacks("starts nothing")
	case s.Key == "uint64" && can.Strings && s.Peer != "ristretto":
		return lacks("has no keys but strings")
	case s.Value == "pointer" && !can.Values, s.Value != "" && !can.Key:
		return lacks("keeps no such values")
	}
	return nil
}

// Procs are the numbers of goroutines to measure with: one, and as many as there
// are cores, and what lies between in powers of two.
func Procs() []int {
	var procs []int
	all := runtime.GOMAXPROCS(0)
	for n := 1; n < all; n *= 2 {
		procs = append(procs, n)
	}
	return append(procs, all)
}
