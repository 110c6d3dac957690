package lapsehttp

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/lapse-go/lapse"
)

// A nowhere is a ResponseWriter without a connection. Like the server's it has
// a header map for each response.
type nowhere struct{ header http.Header }

func (w *nowhere) Header() http.Header         { return w.header }
func (w *nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (w *nowhere) WriteHeader(int)             {}

// BenchmarkHandler compares a bare handler with the same in Handler, for a
// request with a live session.
func BenchmarkHandler(b *testing.B) {
	for _, bm := range []struct {
		name   string
		bare   bool
		routes Routes
		header http.Header
		method string
	}{
		{name: "impl=bare", bare: true},
		{name: "impl=lapse/activity=touch/routes=0"},
		{name: "impl=lapse/activity=touch/routes=8", routes: benchRoutes},
		{name: "impl=lapse/activity=poll/routes=8", routes: benchRoutes, header: http.Header{activityHeader: {"poll"}}},
		{name: "impl=lapse/activity=peek/routes=8", routes: benchRoutes, header: http.Header{activityHeader: {"peek"}}},
	} {
		b.Run(bm.name, func(b *testing.B) {
			e, err := lapse.New[ID, string](lapse.Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer e.Close()
			m, err := New(e, Options[string]{Routes: bm.routes})
			if err != nil {
				b.Fatal(err)
			}
			id, err := m.newID()
			if err != nil {
				b.Fatal(err)
			}
			if _, err := e.Start(id, "Ada"); err != nil {
				b.Fatal(err)
			}
			served := 0
			var h http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header()["Content-Type"] = htmlType
				io.WriteString(w, "hello")
				served++
			})
			if !bm.bare {
				h = m.Handler(h)
			}
			r, _ := http.NewRequestWithContext(b.Context(), "GET", "https://example.com/articles/2026/wheels", nil)
			r.AddCookie(&http.Cookie{Name: "__Host-session", Value: id.String()})
			for k, v := range bm.header {
				r.Header[k] = v
			}
			w := &nowhere{make(http.Header)}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				h.ServeHTTP(w, r)
			}
			if served != b.N || !bm.bare && len(w.header["Set-Cookie"]) != 2 {
				b.Fatalf("%d of %d served, header %v", served, b.N, w.header)
			}
		})
	}
}

var (
	htmlType    = []string{"text/html; charset=utf-8"}
	benchRoutes = Routes{
		"GET /score": Poll, "GET /news/{topic}": Poll, "/static/": Peek, "/favicon.ico": Peek,
		"GET /mail/unread": Poll, "/img/{size}/{name}": Peek, "example.com/ads/": Peek, "GET /articles/{year}/comments": Poll,
	}
)

// BenchmarkEvents measures how long it takes until the end of all sessions has
// reached 10 000 event streams: of one session, or of as many.
func BenchmarkEvents(b *testing.B) {
	const streams = 10000
	for _, sessions := range []int{1, streams} {
		b.Run(fmt.Sprintf("streams=%d/sessions=%d", streams, sessions), func(b *testing.B) {
			var last, size time.Duration
			for b.Loop() {
				took, bytes := endStreams(b, streams, sessions)
				last += took
				size += time.Duration(bytes)
			}
			b.ReportMetric(float64(last.Milliseconds())/float64(b.N), "ms/last")
			b.ReportMetric(float64(size)/float64(b.N), "B/stream")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// endStreams returns how long the end took to reach the last stream, and what a
// stream took of memory, goroutine and session included.
func endStreams(b *testing.B, streams, sessions int) (took time.Duration, bytes int) {
	e, err := lapse.New[ID, string](lapse.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	m, err := New(e, Options[string]{Insecure: true})
	if err != nil {
		b.Fatal(err)
	}
	requests := make([]*http.Request, sessions)
	for i := range requests {
		_, id := start(b, m, "Ada")
		requests[i] = request("GET", "/session/events", id)
	}
	before := inUse()
	var opened, ended sync.WaitGroup
	opened.Add(streams)
	h := m.Endpoints()
	for i := range streams {
		ended.Go(func() {
			h.ServeHTTP(&eventSink{header: make(http.Header), opened: opened.Done}, requests[i%sessions])
		})
	}
	opened.Wait()
	bytes = (inUse() - before) / streams
	began := time.Now()
	for s := range e.All() {
		s.Expire()
	}
	ended.Wait()
	return time.Since(began), bytes
}

func inUse() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapInuse + m.StackInuse)
}

// An eventSink is a ResponseWriter of a stream. It tells when the first event
// has been flushed.
type eventSink struct {
	header http.Header
	opened func()
	events int
}

func (w *eventSink) Header() http.Header { return w.header }
func (w *eventSink) WriteHeader(int)     {}

func (w *eventSink) Write(b []byte) (int, error) {
	w.events++
	return len(b), nil
}

func (w *eventSink) Flush() {
	if w.events == 1 {
		w.opened()
	}
}
