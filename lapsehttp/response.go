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

// A hijackWriter is a writer over HTTP/1.
type hijackWriter[V any] struct{ writer[V] }

// A pushWriter is a writer over HTTP/2.
type pushWriter[V any] struct{ writer[V] }

// writer returns a ResponseWriter for the exchange that can do what the one
// below it can, so that a handler that asks by a type assertion hears the
// truth.
func (q *exchange[V]) writer() http.ResponseWriter {
	for below := q.w; ; {
		switch below.(type) {
		case http.Hijacker:
			return hijackWriter[V]{writer[V]{q}}
		case http.Pusher:
			return pushWriter[V]{writer[V]{q}}
		}
		u, ok := below.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return writer[V]{q}
		}
		below = u.Unwrap()
	}
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

func (w writer[V]) Flush() { w.FlushError() }

// FlushError is Flush for http.ResponseController. The first flush of an event
// stream is the end of what the user did: from here on the page listens.
func (w writer[V]) FlushError() error {
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

// Hijack hands over the connection, and with it the session: it is not held any
// more. The headers are in Header for those who write a response of their own.
func (w hijackWriter[V]) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.begin()
	conn, rw, err := http.NewResponseController(w.q.w).Hijack()
	if err == nil {
		w.q.release()
	}
	return conn, rw, err
}

// Push starts an HTTP/2 server push.
func (w pushWriter[V]) Push(target string, opts *http.PushOptions) error {
	for below := w.q.w; ; {
		if p, ok := below.(http.Pusher); ok {
			return p.Push(target, opts)
		}
		u, ok := below.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return http.ErrNotSupported
		}
		below = u.Unwrap()
	}
}
