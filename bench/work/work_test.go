package work

import (
	"flag"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/lapse-go/lapse/bench/keys"
	"github.com/lapse-go/lapse/bench/peers"
)

// TestMain lets all the tests wait at the same time: they do little else.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "100"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

var brief = Effort{Loop: time.Millisecond, Churn: 3 * time.Second, Idle: time.Millisecond, TimeOut: 500 * time.Millisecond}

// TestCases does the work of each case with each peer, at a size at which the
// figures say nothing, and checks that they are there. What does not depend on
// the machine must be right.
func TestCases(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		spec Spec
		want []string
	}{
		{Spec{Case: Touch, By: "handle", Access: "random", N: 3000, Procs: 2}, []string{"op_ns"}},
		{Spec{Case: Touch, By: "key", Access: "hot", N: 3000}, []string{"op_ns"}},
		{Spec{Case: Touch, By: "key", Access: "tick", N: 3000}, []string{"op_ns"}},
		{Spec{Case: Poll, By: "handle", Access: "random", N: 3000}, []string{"op_ns"}},
		{Spec{Case: Poll, By: "key", Access: "random", N: 3000}, []string{"op_ns"}},
		{Spec{Case: Start, N: 3000, Procs: 2}, []string{"op_ns", "allocs", "alloc_B"}},
		{Spec{Case: End, Hook: "yes", N: 3000}, []string{"op_ns"}},
		{Spec{Case: End, Hook: "no", N: 3000, Procs: 2}, []string{"op_ns"}},
		{Spec{Case: Collect, N: 3000}, []string{"gc_ms"}},
		{Spec{Case: Bytes, N: 3000}, []string{"heap_B"}},
		{Spec{Case: Bytes, Key: "uint64", Value: "64B", N: 3000}, []string{"heap_B"}},
		{Spec{Case: Bytes, Key: "string", Value: "pointer", N: 3000}, []string{"heap_B"}},
		{Spec{Case: Idle, N: 3000}, []string{"cpu_pct"}},
	} {
		t.Run(tt.spec.String(), func(t *testing.T) {
			t.Parallel()
			each(t, tt.spec, tt.want)
		})
	}
}

// TestLong does what takes seconds, with lapse and few others.
func TestLong(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		spec Spec
		want []string
	}{
		{Spec{Case: Spread, N: 3000}, []string{"late_p50_ms", "late_max_ms", "early", "lost", "double"}},
		{Spec{Case: Storm, N: 3000}, []string{"first_ms", "last_ms", "start_ms", "touch_ms"}},
		{Spec{Case: Keep, N: 1000}, []string{"refused", "early", "lost"}},
		{Spec{Case: Churn, N: 100_000}, []string{"cpu_pct", "pace_pct"}},
		{Spec{Case: Bytes, Access: "touched", N: 1000}, []string{"heap_B", "dead"}},
	} {
		for _, peer := range []string{"lapse", "sweep"} {
			tt.spec.Peer = peer
			t.Run(tt.spec.String(), func(t *testing.T) {
				t.Parallel()
				one(t, tt.spec, tt.want)
			})
		}
	}
}

func each(t *testing.T, spec Spec, want []string) {
	able := 0
	for _, info := range peers.List() {
		spec.Peer = info.Name
		if spec.Possible() != nil {
			if _, err := Run(spec, brief); err == nil {
				t.Errorf("%v is not possible and has no error", spec)
			}
			continue
		}
		able++
		one(t, spec, want)
	}
	if able == 0 {
		t.Error("no peer is able")
	}
}

func one(t *testing.T, spec Spec, want []string) {
	t.Helper()
	values, err := Run(spec, brief)
	if err != nil {
		t.Errorf("%v: %v", spec, err)
		return
	}
	for _, name := range want {
		if _, ok := values[name]; !ok {
			t.Errorf("%v has no %s: %v", spec, name, values)
		}
	}
	if spec.Peer != "lapse" {
		return
	}
	for _, name := range []string{"early", "refused", "lost", "double", "missing", "left"} {
		if values[name] != 0 {
			t.Errorf("%v: %s is %v", spec, name, values[name])
		}
	}
}

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		want   float64
	}{{[]float64{7}, 7}, {[]float64{9, 1}, 5}, {[]float64{100, 1, 3}, 3}, {[]float64{4, 1, 100, 2}, 3}, {[]float64{5, 4, 3, 2, 1}, 3}} {
		given := slices.Clone(tt.values)
		if got := Median(tt.values); got != tt.want || !slices.Equal(tt.values, given) {
			t.Errorf("Median(%v) is %v, want %v; the values are %v then", given, got, tt.want, tt.values)
		}
	}
}

func TestSpec(t *testing.T) {
	for _, s := range []Spec{
		{Case: Touch, Peer: "lapse", By: "key", Access: "random", N: 10_000_000, Procs: 1},
		{Case: Bytes, Peer: "sweep", Key: "uint64", Value: "64B", N: 1500},
		{Case: End, Peer: "scs", Hook: "no", N: 100_000},
	} {
		got, err := Parse(s.String())
		if err != nil || got != s {
			t.Errorf("Parse(%v) is %v, %v", s, got, err)
		}
	}
	if got := (Spec{Case: Touch, Peer: "lapse", By: "key", Access: "hot", N: 1_000_000, Procs: 2}).String(); got != "touch/peer=lapse/by=key/access=hot/n=1M/procs=2" {
		t.Errorf("the name is %s", got)
	}
	for _, bad := range []string{"touch/color=red", "touch/n=many", "touch/n=-1", "touch/n=9999M", "touch/procs=x"} {
		if _, err := Parse(bad); err == nil {
			t.Errorf("Parse(%q) has no error", bad)
		}
	}
	for _, bad := range []Spec{{Case: "nothing", Peer: "lapse"}, {Case: Touch, Peer: "nobody"}, {Case: Bytes, Peer: "lapse", Key: "float"}, {Case: Bytes, Peer: "lapse", Value: "big"}} {
		if _, err := Run(bad, brief); err == nil {
			t.Errorf("Run(%v) has no error", bad)
		}
	}
}

// A cheat ends some sessions as soon as they are touched, refuses others, and
// tells of some ends twice.
type cheat struct {
	peers.Peer[keys.ID]
	c peers.Config[keys.ID]
}

func (p cheat) Touch(table []keys.ID) (alive int) {
	for _, key := range table {
		switch number := p.c.Kind.Number(key); number {
		case 3, 5:
			p.c.OnEnd(number)
		case 7:
			alive--
		}
		alive++
	}
	return alive
}

// TestCheat checks that a peer that ends touched sessions is found out.
func TestCheat(t *testing.T) {
	info, _ := peers.Find("sweep")
	r := &rig[keys.ID]{
		spec:   Spec{Case: Touch, Peer: "sweep", By: "key", Access: "random", N: 10},
		effort: brief,
		info:   info,
		kind:   keys.IDs(),
		origin: time.Now(),
		values: make(Values),
		hooks:  true,
	}
	r.construct = func(c peers.Config[keys.ID]) (peers.Peer[keys.ID], error) {
		p, err := peers.New(info.Name, c, struct{}{})
		return cheat{p, c}, err
	}
	if err := r.touch(); err != nil {
		t.Fatal(err)
	}
	defer r.peer.Close()
	if r.values["early"] != 2 {
		t.Errorf("2 sessions have ended early, and it is said %v", r.values["early"])
	}
	if r.values["dead"] < 1 {
		t.Errorf("a session was refused at each touch, and it is said %v", r.values["dead"])
	}
	if r.twice.Load() == 0 {
		t.Error("ends were told twice, and nobody noticed")
	}

	// Session 0 ends on time, 1 early, 2 late, 3 and 5 have ended long ago, and
	// the others never do.
	due := make([]int64, 10)
	for i := range due {
		due[i] = r.now() + int64(time.Hour)
	}
	r.ends[0].Store(due[0])
	r.ends[1].Store(due[1] - 1)
	r.ends[2].Store(due[2] + 1)
	r.lateness(due)
	if r.values["early"] != 3 || r.values["lost"] != 5 || r.values["double"] == 0 {
		t.Errorf("3 were early, 5 lost, some double: %v", r.values)
	}
	if r.values["late_max_ms"] != 1e-6 {
		t.Errorf("the latest was a nanosecond late: %v ms", r.values["late_max_ms"])
	}
}
