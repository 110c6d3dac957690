package lapsehttp

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
)

// A writer is the ResponseWriter of an exchange: before the first byte it adds
// the headers that the session needs. It is one pointer, so that it fits into
// an interface without an allocation.
//
// http.ResponseController reaches what lies below through Unwrap.
type writer[V any] struct{ q *exchange[V] }

// The writers that can do more. Each is a pointer, too, so none has two of the
// others in it.
type (
	flushWriter[V any]       struct{ writer[V] }
	hijackWriter[V any]      struct{ writer[V] }
	flushHijackWriter[V any] struct{ flushWriter[V] } // as over HTTP/1
	pushWriter[V any]        struct{ writer[V] }
	flushPushWriter[V any]   struct{ flushWriter[V] } // as over HTTP/2
)

// writer returns a ResponseWriter for the exchange that can do what the one
// below it can, so that a handler that asks by a type assertion hears the
// truth.
func (q *exchange[V]) writer() http.ResponseWriter {
	w := writer[V]{q}
	var flushes, hijacks, pushes bool
	for below := q.w; below != nil; below = unwrap(below) {
		switch below.(type) {
		case http.Flusher, interface{ FlushError() error }:
			flushes = true
		}
		switch below.(type) {
		case http.Hijacker:
			hijacks = true
		case http.Pusher:
			pushes = true
		}
	}
	switch {
	case hijacks && flushes:
		return flushHijackWriter[V]{flushWriter[V]{w}}
	case hijacks:
		return hijackWriter[V]{w}
	case pushes && flushes:
		return flushPushWriter[V]{flushWriter[V]{w}}
	case pushes:
		return pushWriter[V]{w}
	case flushes:
		return flushWriter[V]{w}
	}
	return w
}

// unwrap returns what a ResponseWriter wraps, nil if it does not say.
func unwrap(w http.ResponseWriter) http.ResponseWriter {
	if u, ok := w.(interface{ Unwrap() http.ResponseWriter }); ok {
		return u.Unwrap()
	}
	return nil
}

func (w writer[V]) exchange() *exchange[V] { return w.q }

// Unwrap is for http.ResponseController.
func (w writer[V]) Unwrap() http.ResponseWriter { return w.q.w }

func (w writer[V]) Header() http.Header { return w.q.w.Header() }

// begin adds the headers if that has not been done.
func (w writer[V]) begin() { w.q.writeHeaders() }

func (w writer[V]) WriteHeader(status int) {
	// An informational response is not the beginning of the response; 101 is.
	if status >= 200 || status == http.StatusSwitchingProtocols {
		w.begin()
	}
	w.q.w.WriteHeader(status)
}

func (w writer[V]) Write(b []byte) (int, error) {
	w.begin()
	return w.q.w.Write(b)
}

func (w writer[V]) WriteString(s string) (int, error) {
	w.begin()
	return io.WriteString(w.q.w, s)
}

// ReadFrom lets the server send files without a copy through this process.
func (w writer[V]) ReadFrom(r io.Reader) (int64, error) {
	w.begin()
	return io.Copy(w.q.w, r)
}

func (w flushWriter[V]) Flush() { w.FlushError() }

// FlushError is Flush for http.ResponseController. The first flush of an event
// stream is the end of what the user did: from here on the page listens.
func (w flushWriter[V]) FlushError() error {
	w.begin()
	err := http.NewResponseController(w.q.w).Flush()
	if isEventStream(w.Header()) {
		w.q.release()
	}
	return err
}

func isEventStream(h http.Header) bool {
	const stream = "text/event-stream"
	for _, t := range h["Content-Type"] {
		t, _, _ = strings.Cut(t, ";")
		if strings.EqualFold(strings.Trim(t, " \t"), stream) {
			return true
		}
	}
	return false
}

func (w hijackWriter[V]) Hijack() (net.Conn, *bufio.ReadWriter, error)      { return w.hijack() }
func (w flushHijackWriter[V]) Hijack() (net.Conn, *bufio.ReadWriter, error) { return w.hijack() }

// hijack hands over the connection, and with it the session: it is not held any
// more. The headers are in Header for those who write a response of their own.
func (w writer[V]) hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.q.w).Hijack()
	if err == nil {
		w.begin()
		w.q.release()
	}
	return conn, rw, err
}

func (w pushWriter[V]) Push(target string, opts *http.PushOptions) error { return w.push(target, opts) }
func (w flushPushWriter[V]) Push(target string, opts *http.PushOptions) error {
	return w.push(target, opts)
}

// push starts an HTTP/2 server push.
func (w writer[V]) push(target string, opts *http.PushOptions) error {
	for below := w.q.w; below != nil; below = unwrap(below) {
		if p, ok := below.(http.Pusher); ok {
			return p.Push(target, opts)
		}
	}
	return http.ErrNotSupported
}
