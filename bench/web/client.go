package web

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// A conn is a connection that is kept alive. The client is as small as can be,
// since it shares the machine with the server.
type conn struct {
	net.Conn
	in *bufio.Reader
}

func dial(addr string) (*conn, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &conn{c, bufio.NewReaderSize(c, 4096)}, nil
}

func request(method, path, cookie string) []byte {
	line := method + " " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\n"
	if cookie != "" {
		line += "Cookie: " + cookie + "\r\n"
	}
	return []byte(line + "\r\n")
}

var (
	okLine        = []byte("HTTP/1.1 200 ")
	contentLength = []byte("Content-Length: ")
	setCookie     = []byte("Set-Cookie: __Host-session=")
	cookiePrefix  = len("Set-Cookie: ")
)

// head reads the status line and the headers of a response. It returns the length
// of the body, -1 where there is none given, and the cookie of the session if it
// was set.
func (c *conn) head() (length int, cookie string, err error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return 0, "", err
	}
	if !bytes.HasPrefix(line, okLine) {
		return 0, "", fmt.Errorf("the answer begins with %q", bytes.TrimSpace(line))
	}
	length = -1
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return 0, "", err
		}
		line = bytes.TrimRight(line, "\r\n")
		switch {
		case len(line) == 0:
			return length, cookie, nil
		case bytes.HasPrefix(line, contentLength):
			if length, err = strconv.Atoi(string(line[len(contentLength):])); err != nil {
				return 0, "", err
			}
		case bytes.HasPrefix(line, setCookie):
			value, _, _ := bytes.Cut(line[cookiePrefix:], []byte(";"))
			cookie = string(value)
		}
	}
}

// do sends a request and reads the answer.
func (c *conn) do(request []byte) (cookie string, err error) {
	if _, err := c.Write(request); err != nil {
		return "", err
	}
	length, cookie, err := c.head()
	if err != nil {
		return "", err
	}
	if length < 0 {
		return "", errors.New("the answer has no length")
	}
	_, err = c.in.Discard(length)
	return cookie, err
}

// A Load is what a load of requests found.
type Load struct {
	Requests                  int
	Wall                      time.Duration
	P50, P90, P99, P999, Most time.Duration
}

// Run sends requests over so many connections for a while, each the next one
// when the last was answered, with the cookies in turn. It first does so for a
// quarter of the time that does not count; between is called when it begins to
// count.
func Run(addr string, cookies []string, conns int, length time.Duration, between func() error) (Load, error) {
	requests := make([][]byte, len(cookies))
	for i, cookie := range cookies {
		requests[i] = request("GET", "/articles/wheels", cookie)
	}
	open := make([]*conn, conns)
	for i := range open {
		c, err := dial(addr)
		if err != nil {
			return Load{}, err
		}
		defer c.Close()
		open[i] = c
	}
	if _, err := run(open, requests, length/4); err != nil {
		return Load{}, err
	}
	if err := between(); err != nil {
		return Load{}, err
	}
	return run(open, requests, length)
}

func run(open []*conn, requests [][]byte, length time.Duration) (load Load, err error) {
	times := make([][]time.Duration, len(open))
	errs := make([]error, len(open))
	began := time.Now()
	var wg sync.WaitGroup
	for i, c := range open {
		wg.Go(func() {
			mine := make([]time.Duration, 0, 1<<16)
			next := i * len(requests) / len(open)
			for now := began; now.Sub(began) < length && errs[i] == nil; {
				_, errs[i] = c.do(requests[next])
				if next++; next == len(requests) {
					next = 0
				}
				then := now
				now = time.Now()
				mine = append(mine, now.Sub(then))
			}
			times[i] = mine
		})
	}
	wg.Wait()
	load.Wall = time.Since(began)
	if err := errors.Join(errs...); err != nil {
		return load, err
	}
	all := slices.Concat(times...)
	slices.Sort(all)
	load.Requests = len(all)
	at := func(q float64) time.Duration { return all[int(q*float64(len(all)-1))] }
	load.P50, load.P90, load.P99, load.P999, load.Most = at(0.5), at(0.9), at(0.99), at(0.999), at(1)
	return load, nil
}

// Opened is a set of event streams.
type Opened struct {
	conns []*conn
	ended []time.Time
	wg    sync.WaitGroup
	errs  []error
}

// OpenAll opens event streams, each of a session of its own, and returns when
// each has had its first event. With login it logs in first, on the same
// connection.
func OpenAll(addr string, n int, login bool) (*Opened, error) {
	o := &Opened{conns: make([]*conn, n), ended: make([]time.Time, n), errs: make([]error, n)}
	places := make(chan int)
	go func() {
		defer close(places)
		for i := range n {
			places <- i
		}
	}()
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for i := range places {
				o.conns[i], o.errs[i] = openStream(addr, login)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(o.errs...); err != nil {
		o.Close()
		return nil, err
	}
	for i, c := range o.conns {
		o.wg.Go(func() { o.ended[i], o.errs[i] = c.awaitEvent("ended") })
	}
	return o, nil
}

func openStream(addr string, login bool) (c *conn, err error) {
	if c, err = dial(addr); err != nil {
		return nil, err
	}
	cookie := ""
	if login {
		if cookie, err = c.do(request("POST", "/login", "")); err != nil {
			return c, fmt.Errorf("log-in: %w", err)
		}
	}
	if _, err := c.Write(request("GET", StreamPath, cookie)); err != nil {
		return c, err
	}
	if _, _, err := c.head(); err != nil {
		return c, fmt.Errorf("stream: %w", err)
	}
	_, err = c.awaitEvent("extended")
	return c, err
}

// awaitEvent reads a stream until an event of a name begins. The sizes of chunks
// are lines between the others, and are passed over as the others are.
func (c *conn) awaitEvent(name string) (time.Time, error) {
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = fmt.Errorf("the stream was closed before an event %q", name)
			}
			return time.Time{}, err
		}
		if event, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("event: ")); ok && string(event) == name {
			return time.Now(), nil
		}
	}
}

// Await waits until all streams have had the event of their end, and returns how
// long after a time each had it, sorted.
func (o *Opened) Await(began time.Time) ([]time.Duration, error) {
	o.wg.Wait()
	if err := errors.Join(o.errs...); err != nil {
		return nil, err
	}
	after := make([]time.Duration, len(o.ended))
	for i, at := range o.ended {
		after[i] = at.Sub(began)
	}
	slices.Sort(after)
	return after, nil
}

// Close closes the streams.
func (o *Opened) Close() {
	for _, c := range o.conns {
		if c != nil {
			c.Close()
		}
	}
}
