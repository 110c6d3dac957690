package lapsehttp

import (
	"encoding/json"
	"maps"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"github.com/lapse-go/lapse"
)

// streams are the open event streams, by session. A session with streams has
// one hook for its end and one for its warning, however many they are; the
// hooks only leave word and wake the streams, each of which writes on the
// goroutine of its own request.
type streams[V any] struct {
	open atomic.Int64 // streams; without any nobody takes the lock

	mu sync.RWMutex
	// mu guards the fields below, and those of topics and streams that say so.

	topics map[lapse.Session[ID, V]]*topic[V]
	parked map[lapse.Session[ID, V]]int       // sessions that are about to be succeeded, by how many requests
	closed map[weak.Pointer[http.Server]]bool // the servers that tell when they shut down: have they?
}

// A topic is a session that has streams. The lock of streams guards it.
type topic[V any] struct {
	session lapse.Session[ID, V]
	members map[*stream[V]]bool
	stops   [2]func() bool
	ended   bool
	end     lapse.Ending // once it has ended
}

// A stream is one open event stream.
type stream[V any] struct {
	wake   chan struct{}             // of capacity one: there is something to look at
	server weak.Pointer[http.Server] // which serves it

	// The lock of streams guards the fields below.

	topic   *topic[V]
	warned  time.Time // the deadline that the page is to be warned of; else zero
	closing bool      // its server shuts down
}

func (st *stream[V]) kick() {
	select {
	case st.wake <- struct{}{}:
	default:
	}
}

// join opens a stream for a session; false if that has ended.
func (h *streams[V]) join(s lapse.Session[ID, V], server weak.Pointer[http.Server]) (*stream[V], bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.topics[s]
	if t == nil {
		t = &topic[V]{members: make(map[*stream[V]]bool)}
		h.follow(t, s)
	}
	if t.ended {
		return nil, false
	}
	st := &stream[V]{wake: make(chan struct{}, 1), server: server, topic: t, closing: h.closed[server]}
	t.members[st] = true
	h.open.Add(1)
	return st, true
}

// follow has a topic follow a session from now on.
func (h *streams[V]) follow(t *topic[V], s lapse.Session[ID, V]) {
	stopEnd, ok := s.NotifyOnExpire(func(ev lapse.Event[ID, V]) {
		h.tell(t, s, func() { t.ended, t.end = true, lapse.Ending{Reason: ev.Reason, At: ev.Ended} })
	})
	if !ok {
		t.session, t.ended = s, true
		return
	}
	stopWarn, _ := s.NotifyBeforeExpire(func(ev lapse.Event[ID, V]) {
		h.tell(t, s, func() {
			for st := range t.members {
				st.warned = ev.Deadline
			}
		})
	})
	t.session, t.stops = s, [2]func() bool{stopEnd, stopWarn}
	if h.topics == nil {
		h.topics = make(map[lapse.Session[ID, V]]*topic[V])
	}
	h.topics[s] = t
}

// tell leaves word for the streams of a topic if it still follows the session.
func (h *streams[V]) tell(t *topic[V], s lapse.Session[ID, V], leaveWord func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t.session == s {
		leaveWord()
		t.kick()
	}
}

func (t *topic[V]) kick() {
	for st := range t.members {
		st.kick()
	}
}

// leave closes a stream. The last one of a session takes its hooks along.
func (h *streams[V]) leave(st *stream[V]) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open.Add(-1)
	t := st.topic
	if delete(t.members, st); len(t.members) == 0 {
		h.unfollow(t)
	}
}

func (h *streams[V]) unfollow(t *topic[V]) {
	if h.topics[t.session] != t {
		return // it has ended before it could be followed
	}
	delete(h.topics, t.session)
	for _, stop := range t.stops {
		stop()
	}
}

// look has the streams of a session look at its deadline, which may have
// changed.
func (h *streams[V]) look(s lapse.Session[ID, V]) {
	if h.open.Load() == 0 {
		return
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	if t := h.topics[s]; t != nil {
		t.kick()
	}
}

// park keeps the end of a session from its streams until resume.
func (h *streams[V]) park(s lapse.Session[ID, V]) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.parked == nil {
		h.parked = make(map[lapse.Session[ID, V]]int)
	}
	h.parked[s]++
}

// resume has the streams of a session follow its successor. If that is the zero
// Session there is none: they go on, or hear how theirs has ended.
func (h *streams[V]) resume(from, to lapse.Session[ID, V]) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.parked[from]--; h.parked[from] == 0 {
		delete(h.parked, from)
	}
	t := h.topics[from]
	if t == nil {
		return
	}
	if to != (lapse.Session[ID, V]{}) {
		h.unfollow(t)
		t.ended, t.end = false, lapse.Ending{}
		h.follow(t, to)
	}
	t.kick()
}

// serverOf returns the server of a request. When that is shut down its streams
// close: it would wait for them otherwise.
func (h *streams[V]) serverOf(r *http.Request) (key weak.Pointer[http.Server]) {
	server, ok := r.Context().Value(http.ServerContextKey).(*http.Server)
	if !ok {
		return key
	}
	key = weak.Make(server)
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, known := h.closed[key]; !known {
		if h.closed == nil {
			h.closed = make(map[weak.Pointer[http.Server]]bool)
		}
		maps.DeleteFunc(h.closed, func(key weak.Pointer[http.Server], _ bool) bool { return key.Value() == nil })
		h.closed[key] = false
		server.RegisterOnShutdown(func() { h.close(key) })
	}
	return key
}

func (h *streams[V]) close(server weak.Pointer[http.Server]) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed[server] = true
	for _, t := range h.topics {
		for st := range t.members {
			if st.server == server {
				st.closing = true
				st.kick()
			}
		}
	}
}

// take returns what a stream is to tell.
func (h *streams[V]) take(st *stream[V]) (t topic[V], warned time.Time, closing bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	warned, st.warned = st.warned, time.Time{}
	t = *st.topic
	t.ended = t.ended && h.parked[t.session] == 0
	return t, warned, st.closing
}

// events is the event stream. It tells the state first, and again when the
// session is near its end, when the end has moved, and when it has come.
func (m *Manager[V]) events(w http.ResponseWriter, r *http.Request, q *exchange[V]) {
	q.mu.Lock()
	s, live := q.session, q.live
	q.mu.Unlock()
	if !live {
		w.WriteHeader(http.StatusNoContent) // an EventSource does not come back
		return
	}
	st, ok := m.streams.join(s, m.streams.serverOf(r))
	if !ok {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	defer m.streams.leave(st)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return
	}
	out := eventWriter{w: w, control: http.NewResponseController(w)}
	out.control.SetReadDeadline(time.Time{}) // the server's is for requests
	defer out.control.SetWriteDeadline(time.Time{})
	m.stream(&out, r, st)
}

// stream writes a stream's events until it is over.
func (m *Manager[V]) stream(out *eventWriter, r *http.Request, st *stream[V]) {
	beat := time.NewTimer(heartbeat)
	defer beat.Stop()
	var told time.Time // the deadline that the page knows
	least := time.Duration(0)
	beats := 0 // since it was live
	for first := true; out.err == nil; first = false {
		now, warned, closing := m.streams.take(st)
		info, live := now.session.Info()
		moved := info.Deadline.Sub(told).Abs()
		if live {
			beats = 0
		}
		switch {
		case now.ended || !live && beats > 1:
			out.event("ended", m.farewell(now.end))
			return
		case !live:
			// The hook will come and say why, unless the engine was closed.
		case closing:
			return // the page comes back, to another server
		case !warned.IsZero() && !info.Deadline.After(warned):
			// A session that has been touched since is not near its end.
			m.tellState(out, "warning", now.session)
			told, least = info.Deadline, 0
		case first || moved > least:
			m.tellState(out, "extended", now.session)
			// A busy user moves the end all the time. It is enough to say so once
			// in a while, but at once after a warning.
			told, least = info.Deadline, time.Second
		}
		select {
		case <-st.wake:
		case <-beat.C:
			beats++
			out.comment()
			beat.Reset(heartbeat)
		case <-r.Context().Done():
			return
		}
	}
}

func (m *Manager[V]) tellState(out *eventWriter, name string, s lapse.Session[ID, V]) {
	if st, ok := m.stateOf(s); ok {
		out.event(name, st)
	}
}

// An eventWriter writes server-sent events. After an error it does nothing.
type eventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	id      int64
	err     error
}

// patience is how long a stream waits for a page that does not read.
const patience = 15 * time.Second

// event sends an event. Each has an id, so that a page that connects again says
// so by Last-Event-ID.
func (e *eventWriter) event(name string, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		e.err = err
		return
	}
	e.id++
	b := append([]byte("id: "), strconv.FormatInt(e.id, 10)...)
	b = append(b, "\nevent: "...)
	b = append(b, name...)
	b = append(b, "\ndata: "...)
	b = append(b, data...)
	e.send(append(b, "\n\n"...))
}

func (e *eventWriter) comment() { e.send([]byte(":\n\n")) }

func (e *eventWriter) send(b []byte) {
	if e.err != nil {
		return
	}
	e.control.SetWriteDeadline(time.Now().Add(patience))
	if _, e.err = e.w.Write(b); e.err == nil {
		e.err = e.control.Flush()
	}
}
