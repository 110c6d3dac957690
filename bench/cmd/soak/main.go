// Command soak keeps an engine busy for a long time, with many sessions, everything that can be done to them at random,
// and from several goroutines, and checks all the while that
//
//   - each session ends exactly once, and each hook of it is called exactly once and in order: its own, its class's,
//     the engine's, the batch;
//   - none ends before the time of its last touch, poll or release and its Idle (Lifetime and PollCap likewise), and no
//     activity that was reported as successful is lost;
//   - no call succeeds after one has failed, or after a hook has been told of the end;
//   - a look-up finds the session that has the key, and All each session that lives throughout, once;
//   - neither memory nor the number of goroutines grows;
//   - Shutdown ends all that is left and leaves nothing behind.
//
// It prints a line every few seconds, and exits with status 1 and a message if anything is wrong.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lapse-go/lapse"
)

var (
	length   = flag.Duration("time", 10*time.Minute, "how long to run")
	sessions = flag.Int("sessions", 1_000_000, "sessions that live at a time")
	workers  = flag.Int("workers", max(2, runtime.GOMAXPROCS(0)), "goroutines that make calls")
	idle     = flag.Duration("idle", 20*time.Second, "the Idle of most sessions; the other limits follow from it")
	rest     = flag.Duration("rest", time.Millisecond, "pause of each of them after 1024 calls")
	every    = flag.Duration("every", 5*time.Second, "how often to print a line")
	tick     = flag.Duration("tick", 10*time.Millisecond, "Options.Tick")
	hookers  = flag.Int("hookworkers", 0, "Options.HookWorkers")
	most     = flag.Int("max", 0, "Options.MaxSessions")
	evict    = flag.Bool("evict", false, "Options.WhenFull is Evict")
)

type (
	engine  = lapse.Engine[uint64, *life]
	session = lapse.Session[uint64, *life]
	event   = lapse.Event[uint64, *life]
)

// A class is one of the engine, and what its policies have in common at least.
type class struct {
	*lapse.Class[uint64, *life]
	least    lapse.Policy
	policies []lapse.Policy // between which SetPolicy changes
}

// A soak is one run. A seat is a place for one session at a time.
type soak struct {
	base    time.Time
	e       *engine
	classes map[string]*class
	names   []string
	seats   []atomic.Pointer[life]
	free    chan int // seats

	stop     atomic.Bool
	closing  atomic.Bool // Shutdown has been called
	failures atomic.Int64

	keys, ops, started, told, batched atomic.Int64
	ended                             [lapse.ReasonShutdown + 1]atomic.Int64
	accepted, ran                     atomic.Int64 // hooks of sessions
	panics, warnings, contexts        atomic.Int64
	passes                            atomic.Uint32 // of All
	late                              histogram
}

// fail reports that something is wrong, and has the run end.
func (s *soak) fail(format string, args ...any) {
	if s.failures.Add(1) <= 10 {
		fmt.Fprintf(os.Stderr, "WRONG, after %v: %s\n", time.Since(s.base).Round(time.Millisecond), fmt.Sprintf(format, args...))
	}
	s.stop.Store(true)
}

func (s *soak) now() time.Duration { return time.Since(s.base) }

func main() {
	flag.Parse()
	s, err := newSoak()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	s.run()
	if n := s.failures.Load(); n > 0 {
		fmt.Fprintf(os.Stderr, "%d things were wrong\n", n)
		os.Exit(1)
	}
	fmt.Printf("All was well: %d sessions, %d calls, %d hooks of sessions, %d warnings, %d contexts, %d panics in hooks.\n",
		s.started.Load(), s.ops.Load(), s.ran.Load(), s.warnings.Load(), s.contexts.Load(), s.panics.Load())
}

func newSoak() (*soak, error) {
	s := &soak{base: time.Now(), classes: make(map[string]*class)}
	d := *idle
	guest := lapse.Policy{Name: "guest", Idle: d, Warn: d / 10}
	member := lapse.Policy{Name: "member", Idle: d, Lifetime: 3 * d, PollCap: d / 2, PollMax: 20, Warn: d / 20}
	kiosk := lapse.Policy{Name: "kiosk", Idle: d / 2, Lifetime: 2 * d, PollCap: d, PollMax: 8}
	longer := lapse.Policy{Name: "kiosk", Idle: 3 * d / 4, Lifetime: 5 * d / 2, PollCap: d, PollMax: 10}
	o := lapse.Options{Default: guest, Tick: *tick, HookWorkers: *hookers, MaxSessions: *most, Remember: 10_000,
		Logger: slog.New(slog.DiscardHandler)}
	if *evict {
		o.WhenFull = lapse.Evict
	}
	var err error
	if s.e, err = lapse.New[uint64, *life](o); err != nil {
		return nil, err
	}
	for _, policies := range [][]lapse.Policy{{guest}, {member}, {kiosk, longer}} {
		c := &class{least: policies[0], policies: policies}
		if c.Class, err = s.e.Class(c.least); err != nil {
			return nil, err
		}
		c.NotifyOnExpire(func(ev event) { ev.Value.tellClass(ev) })
		s.classes[c.least.Name] = c
		s.names = append(s.names, c.least.Name)
	}
	s.e.NotifyOnExpire(func(ev event) { ev.Value.tell(ev) })
	s.e.NotifyOnExpireBatch(s.tellBatch)
	s.e.NotifyBeforeExpire(func(ev event) { ev.Value.warn(ev) })
	s.seats = make([]atomic.Pointer[life], *sessions)
	s.free = make(chan int, *sessions)
	for seat := range s.seats {
		s.free <- seat
	}
	return s, nil
}

// run runs everything and checks what can be checked from outside.
func (s *soak) run() {
	before := runtime.NumGoroutine()
	var wg sync.WaitGroup
	for range *workers {
		wg.Go(s.work)
	}
	wg.Go(s.govern)

	var early footprint
	ticker := time.NewTicker(*every)
	// By then as many sessions end as start, and the heap has its size.
	settled, end := time.After(max(*length/5, 4**idle)), time.After(*length)
	l := &line{s: s}
	for running := true; running && !s.stop.Load(); {
		select {
		case <-ticker.C:
			fmt.Println(l.next())
		case <-settled:
			early = measure()
			fmt.Println("settled:   ", early)
		case <-end:
			running = false
		}
	}
	ticker.Stop()
	if early.heap == 0 {
		fmt.Println("too short to compare the memory of early with that of late: four times -idle, at least")
	} else if late := measure(); !s.stop.Load() {
		fmt.Println("at the end:", late)
		if late.heap > early.heap+early.heap/10+16<<20 {
			s.fail("memory grows: %v, and then %v", early, late)
		}
		if late.goroutines > early.goroutines+4 {
			s.fail("goroutines are left: %v, and then %v", early, late)
		}
	}
	s.stop.Store(true)
	wg.Wait()
	s.shutdown(before)
}

// shutdown ends the engine and checks that nothing is left.
func (s *soak) shutdown(goroutines int) {
	s.closing.Store(true)
	fmt.Printf("shutting down %d sessions\n", s.e.Len())
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := s.e.Shutdown(ctx); err != nil {
		s.fail("Shutdown: %v", err)
	}
	for i := range s.seats {
		if l := s.seats[i].Load(); l != nil && (l.stage.Load() != told3 || l.handle.Alive()) {
			s.fail("after Shutdown %v", l)
		}
	}
	if n := s.e.Len(); n != 0 {
		s.fail("after Shutdown Len is %d", n)
	}
	if _, err := s.e.Start(1, nil); !errors.Is(err, lapse.ErrClosed) {
		s.fail("after Shutdown Start says %v", err)
	}
	st := s.e.Stats()
	for why := range st.Ended {
		if n := s.ended[why].Load(); uint64(n) != st.Ended[why] {
			s.fail("hooks were told of %d ends for %v, Stats of %d", n, lapse.Reason(why), st.Ended[why])
		}
	}
	for _, n := range []struct {
		what      string
		have, all int64
	}{
		{"ends told to the engine's hook, of sessions", s.told.Load(), s.started.Load()},
		{"ends told to the batch hook, of sessions", s.batched.Load(), s.started.Load()},
		{"hooks of sessions called, of those registered", s.ran.Load(), s.accepted.Load()},
		{"panics in Stats, of those in hooks", int64(st.Panics), s.panics.Load()},
	} {
		if n.have != n.all {
			s.fail("%s: %d of %d", n.what, n.have, n.all)
		}
	}
	for range 500 {
		if runtime.NumGoroutine() <= goroutines {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	buf := make([]byte, 1<<20)
	s.fail("%d goroutines are left:\n%s", runtime.NumGoroutine()-goroutines, buf[:runtime.Stack(buf, true)])
}

// govern changes a policy now and then, looks at all sessions, and registers hooks for a moment.
func (s *soak) govern() {
	for n := 0; !s.stop.Load(); n++ {
		time.Sleep(*every / 8)
		for _, c := range s.classes {
			if err := c.SetPolicy(c.policies[n%len(c.policies)]); err != nil {
				s.fail("SetPolicy: %v", err)
			}
		}
		stop := s.e.NotifyOnExpire(func(event) {})
		if n%8 == 0 {
			s.lookAtAll()
		}
		if !stop() {
			s.fail("stop says that it has been called before")
		}
	}
}

// lookAtAll checks that All yields each session that lives throughout, once.
func (s *soak) lookAtAll() {
	began, pass := s.now(), s.passes.Add(1)
	for h := range s.e.All() {
		if l, ok := h.Value(); ok && l.pass.Swap(pass) == pass {
			s.fail("All has yielded twice %v", l)
		}
		if s.stop.Load() {
			return
		}
	}
	for i := range s.seats {
		if l := s.seats[i].Load(); l != nil && l.ready < began && l.pass.Load() != pass && l.handle.Alive() {
			s.fail("All has missed %v", l)
		}
	}
}
