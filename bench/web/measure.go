package web

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/lapse-go/lapse/bench/work"
)

// A remote is a server in a process of its own.
type remote struct {
	Addr     string
	cmd      *exec.Cmd
	commands io.WriteCloser
	answers  *bufio.Reader
}

// ServeCommand is the argument with which a program that measures is started as a
// server. After it come the site, the number of sessions, and "streams" or
// nothing.
const ServeCommand = "serve"

// ServeMain is what such a program then does.
func ServeMain(args []string) error {
	if len(args) < 2 {
		return errors.New("serve needs a site and a number of sessions")
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	return Serve(args[0], n, len(args) > 2, os.Stdin, os.Stdout)
}

func startServer(ctx context.Context, name string, n int, streams bool) (*remote, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{ServeCommand, name, strconv.Itoa(n)}
	if streams {
		args = append(args, "streams")
	}
	r := &remote{cmd: exec.CommandContext(ctx, self, args...)}
	r.cmd.Stderr = os.Stderr
	if r.commands, err = r.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	r.answers = bufio.NewReader(out)
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	reply, err := r.read()
	if err != nil {
		r.stop()
		return nil, fmt.Errorf("%s: the server did not start: %w", name, err)
	}
	r.Addr = reply.Addr
	return r, nil
}

func (r *remote) read() (reply Reply, err error) {
	line, err := r.answers.ReadBytes('\n')
	if err != nil {
		return reply, err
	}
	if err := json.Unmarshal(line, &reply); err != nil {
		return reply, err
	}
	if reply.Error != "" {
		return reply, errors.New(reply.Error)
	}
	return reply, nil
}

func (r *remote) do(command string) (Reply, error) {
	if _, err := io.WriteString(r.commands, command+"\n"); err != nil {
		return Reply{}, err
	}
	return r.read()
}

// stop ends the server.
func (r *remote) stop() {
	r.commands.Close()
	// Whoever does not end by himself is ended by the context.
	_ = r.cmd.Wait()
}

// An Effort says how long and with how much a server is asked.
type Effort struct {
	Conns int
	Time  time.Duration
	Inner int // requests without a connection
}

// Requests measures a site that has n sessions.
func Requests(ctx context.Context, name string, n int, effort Effort) (work.Values, error) {
	site, err := Find(name)
	if err != nil {
		return nil, err
	}
	// So many browsers make requests; the other sessions are there.
	cookies := make([]string, min(n, 100_000))
	r := rand.New(rand.NewPCG(1, 2))
	for i := range cookies {
		if cookies[i], err = site.Cookie(r.Uint32N(uint32(n))); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	server, err := startServer(ctx, name, n, false)
	if err != nil {
		return nil, err
	}
	defer server.stop()
	inner, err := server.do("inner " + strconv.Itoa(effort.Inner))
	if err != nil {
		return nil, err
	}
	var before Reply
	load, err := Run(server.Addr, cookies, effort.Conns, effort.Time, func() (err error) {
		before, err = server.do("counters")
		return err
	})
	if err != nil {
		return nil, err
	}
	after, err := server.do("counters")
	if err != nil {
		return nil, err
	}
	us := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
	count := float64(load.Requests)
	return work.Values{
		"requests_per_s": count / load.Wall.Seconds(),
		"p50_us":         us(load.P50),
		"p90_us":         us(load.P90),
		"p99_us":         us(load.P99),
		"p999_us":        us(load.P999),
		"max_us":         us(load.Most),
		"server_cpu_us":  (after.CPU - before.CPU) / 1e3 / count,
		"allocs":         (after.Mallocs - before.Mallocs) / count,
		"alloc_B":        (after.Bytes - before.Bytes) / count,
		"inner_ns":       inner.Ns,
		"inner_allocs":   inner.Allocs,
	}, nil
}

// EventStreams measures n event streams, each on a connection of its own: what
// one takes of the server's memory, and how long it takes until all have been
// told of the end.
func EventStreams(ctx context.Context, name string, n int) (work.Values, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	server, err := startServer(ctx, name, n, true)
	if err != nil {
		return nil, err
	}
	defer server.stop()
	empty, err := server.do("memory")
	if err != nil {
		return nil, err
	}
	began := time.Now()
	streams, err := OpenAll(server.Addr, n, name != "bare")
	if err != nil {
		return nil, explain(err)
	}
	defer streams.Close()
	opened := time.Since(began)
	full, err := server.do("memory")
	if err != nil {
		return nil, err
	}
	before, err := server.do("counters")
	if err != nil {
		return nil, err
	}
	began = time.Now()
	reply, err := server.do("end")
	if err != nil {
		return nil, err
	}
	if reply.Ended != n {
		return nil, fmt.Errorf("%d of %d sessions were ended", reply.Ended, n)
	}
	after, err := streams.Await(began)
	if err != nil {
		return nil, err
	}
	counters, err := server.do("counters")
	if err != nil {
		return nil, err
	}
	ms := func(q float64) float64 {
		return float64(after[int(q*float64(n-1))]) / float64(time.Millisecond)
	}
	return work.Values{
		"open_s":     opened.Seconds(),
		"heap_B":     (full.Heap - empty.Heap) / float64(n),
		"resident_B": (full.Memory - empty.Memory) / float64(n),
		"first_ms":   ms(0),
		"p50_ms":     ms(0.5),
		"p99_ms":     ms(0.99),
		"last_ms":    ms(1),
		"cpu_ms":     (counters.CPU - before.CPU) / 1e6,
	}, nil
}

// explain says what to do about an error that comes from the number of
// connections.
func explain(err error) error {
	if strings.Contains(err.Error(), "too many open files") {
		return fmt.Errorf("%w: allow the process more open files (ulimit -n)", firstOf(err))
	}
	return firstOf(err)
}

// firstOf returns the first of joined errors: ten thousand say the same.
func firstOf(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok && len(joined.Unwrap()) > 0 {
		return joined.Unwrap()[0]
	}
	return err
}
