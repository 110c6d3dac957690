package web

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/lapse-go/lapse/bench/keys"
	"github.com/lapse-go/lapse/bench/usage"
)

// A Reply is a server's answer to a command.
type Reply struct {
	Addr    string  `json:",omitempty"` // where it listens
	Mallocs float64 // so far
	Bytes   float64 // allocated so far
	CPU     float64 // nanoseconds so far
	Heap    float64 // bytes that live, and stacks
	Memory  float64 // bytes that the process has
	Ended   int     // sessions that were ended
	Ns      float64 // of one request without a connection
	Allocs  float64 // likewise
	Error   string  `json:",omitempty"`
}

// Serve serves a site, or event streams, on a port of the loopback interface. It
// answers commands, a line each, with a line of JSON: "counters", "memory" (after
// a collection), "inner N" (N requests without a connection) and "end". The first
// answer comes without a command. It returns when there are no more of them.
func Serve(name string, n int, streams bool, commands io.Reader, answers io.Writer) error {
	s := server{n: n, out: json.NewEncoder(answers)}
	if streams {
		st, err := OpenStreams(name, n)
		if err != nil {
			return err
		}
		s.handler, s.end = st.Handler, st.End
	} else {
		site, err := Find(name)
		if err != nil {
			return err
		}
		if s.handler, err = site.Open(n); err != nil {
			return err
		}
		s.cookie = site.Cookie
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: s.handler, ErrorLog: log.New(io.Discard, "", 0)}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	runtime.GC()
	if err := s.out.Encode(Reply{Addr: listener.Addr().String()}); err != nil {
		return err
	}
	lines := bufio.NewScanner(commands)
	for lines.Scan() {
		if err := s.out.Encode(s.do(lines.Text())); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		server.Close()
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return lines.Err()
}

type server struct {
	n       int
	handler http.Handler
	cookie  func(uint32) (string, error)
	end     func() int
	out     *json.Encoder
}

func (s *server) do(command string) (r Reply) {
	verb, rest, _ := strings.Cut(command, " ")
	switch verb {
	case "counters":
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		r.Mallocs, r.Bytes, r.CPU = float64(m.Mallocs), float64(m.TotalAlloc), usage.Now().CPU
	case "memory":
		runtime.GC()
		debug.FreeOSMemory()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		r.Heap = float64(m.HeapAlloc + m.StackInuse)
		r.Memory, _, _ = usage.Resident()
	case "end":
		r.Ended = s.end()
	case "inner":
		count, err := strconv.Atoi(rest)
		if err == nil {
			r.Ns, r.Allocs, err = s.inner(count)
		}
		if err != nil {
			r.Error = err.Error()
		}
	default:
		r.Error = fmt.Sprintf("there is no command %q", verb)
	}
	return r
}

// A nowhere is a ResponseWriter without a connection.
type nowhere struct {
	header http.Header
	status int
}

func (w *nowhere) Header() http.Header         { return w.header }
func (w *nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (w *nowhere) WriteHeader(status int)      { w.status = status }

// inner calls the handler so many times, for a thousand sessions in turn, and
// returns what a call takes. The request is in the cache, as one is that the
// server has just read.
func (s *server) inner(count int) (ns, allocs float64, err error) {
	request, err := http.NewRequest("GET", "http://127.0.0.1/articles/wheels", nil)
	if err != nil {
		return 0, 0, err
	}
	cookies := make([]string, min(s.n, 1000))
	for i, number := range keys.Shuffled(0, s.n)[:len(cookies)] {
		if cookies[i], err = s.cookie(number); err != nil {
			return 0, 0, err
		}
	}
	cookie := make([]string, 1)
	request.Header["Cookie"] = cookie
	w := &nowhere{header: make(http.Header)}
	var before, after runtime.MemStats
	call := func(count int) {
		for i := range count {
			clear(w.header)
			cookie[0] = cookies[i%len(cookies)]
			// A copy, as some managers write into the request.
			r := *request
			s.handler.ServeHTTP(w, &r)
		}
	}
	call(len(cookies))
	runtime.GC()
	runtime.ReadMemStats(&before)
	began := time.Now()
	call(count)
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	if w.status != 0 {
		return 0, 0, fmt.Errorf("a request was answered with status %d", w.status)
	}
	return float64(took) / float64(count), float64(after.Mallocs-before.Mallocs) / float64(count), nil
}
