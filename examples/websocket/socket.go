package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/lapse-go/lapse"
	"github.com/lapse-go/lapse/lapsehttp"
)

// activities says what the types of messages mean to the session.
var activities = map[string]lapsehttp.Activity{
	"say":       lapsehttp.Touch, // the user did something
	"refresh":   lapsehttp.Poll,  // the page asked by itself
	"heartbeat": lapsehttp.Peek,  // the page wants to know whether the socket works
}

// largestMessage is what a client may make the server read at a time.
const largestMessage = 4 << 10

// A message is what a client sends.
type message struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

// A reply is what the server answers: the message's type and text, and what has
// become of the session; or what is wrong with the message.
type reply struct {
	Type        string `json:"type"` // "error" if something is wrong
	Text        string `json:"text,omitempty"`
	Activity    string `json:"activity,omitempty"`
	Limit       string `json:"limit,omitempty"` // which will end the session
	RemainingMS int64  `json:"remainingMs"`     // until then
	Polls       int    `json:"polls"`           // since the last touch
}

// closeCode is the status with which a socket is closed when its session ends:
// one of those that are left to applications.
func closeCode(why lapse.Reason) websocket.StatusCode {
	return 4000 + websocket.StatusCode(why)
}

// socket serves one WebSocket for as long as the session lives and the client
// stays. When it returns, nothing of it is left: no goroutine, no hook.
func (s *site) socket(w http.ResponseWriter, r *http.Request) {
	// While the server still waits for this request; after the upgrade it
	// does not.
	s.sockets.Add(1)
	defer s.sockets.Done()
	user, _ := lapsehttp.FromContext[string](r.Context())
	conn, err := websocket.Accept(w, r, nil) // pages of other origins are refused
	if err != nil {
		return // and answered
	}
	conn.SetReadLimit(largestMessage)

	// The request's context means nothing after the upgrade. This one says that
	// the session has ended, and why.
	ctx, cancel := user.Context(context.Background())
	var end, pings sync.WaitGroup
	end.Go(func() { closeAtEnd(ctx, conn) })
	pings.Go(func() { s.ping(ctx, conn) })
	defer pings.Wait()
	defer conn.CloseNow() // unless that has been done
	defer end.Wait()
	defer cancel()

	for {
		// Not with ctx: what ends a read by its context drops the connection,
		// and the client would never hear why.
		kind, data, err := conn.Read(context.Background())
		if err != nil {
			return
		}
		answer, live := s.answer(user, kind, data)
		if !live {
			// It is due, and its hooks are about to run.
			<-ctx.Done()
			return
		}
		if err := s.write(conn, answer); err != nil {
			return
		}
	}
}

// closeAtEnd closes the socket when the session ends. The end is told on a
// goroutine of its own, since a client may take its time to answer, and the
// engine's hooks do not wait for clients.
func closeAtEnd(ctx context.Context, conn *websocket.Conn) {
	<-ctx.Done()
	if end, ok := errors.AsType[*lapse.EndedError](context.Cause(ctx)); ok {
		conn.Close(closeCode(end.Reason), end.Reason.String())
	}
}

// ping finds out about clients that are gone without a word. The session does
// not hear of it.
func (s *site) ping(ctx context.Context, conn *websocket.Conn) {
	tick := time.NewTicker(s.pause)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		// Not under ctx, which would drop the connection if the session ended
		// while a ping was on its way.
		pong, cancel := context.WithTimeout(context.Background(), s.patience)
		err := conn.Ping(pong)
		cancel()
		if err != nil {
			conn.CloseNow()
			return
		}
	}
}

// answer applies a message to the session and says what has become of it. Live
// is false if it has ended, be it by this very message: a poll too many.
func (s *site) answer(user session, kind websocket.MessageType, data []byte) (answer reply, live bool) {
	var m message
	act, known := lapsehttp.Peek, false
	switch err := json.Unmarshal(data, &m); {
	case kind != websocket.MessageText || err != nil:
		answer = reply{Type: "error", Text: `want a text message such as {"type":"say","text":"hello"}`}
	default:
		act, known = activities[m.Type]
		if !known {
			act = lapsehttp.Peek
			answer = reply{Type: "error", Text: fmt.Sprintf("no message has the type %q: want say, refresh or heartbeat", m.Type)}
			break
		}
		answer = reply{Type: m.Type, Text: m.Text, Activity: act.String()}
	}
	switch act {
	case lapsehttp.Touch:
		live = user.Touch()
	case lapsehttp.Poll:
		live = user.Poll()
	default:
		live = user.Alive()
	}
	if !live {
		return reply{}, false
	}
	info, live := user.Info()
	if !info.Deadline.IsZero() {
		answer.Limit = info.Reason.String()
		answer.RemainingMS = max(0, info.Deadline.Sub(s.engine.Now()).Milliseconds())
	}
	answer.Polls = info.Polls
	return answer, live
}

// write sends a reply to a client that may be slow, or gone.
func (s *site) write(conn *websocket.Conn, answer reply) error {
	data, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.patience)
	defer cancel()
	return conn.Write(ctx, websocket.MessageText, data)
}
