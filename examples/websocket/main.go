// Command websocket is a small web site whose page talks to the server through
// a WebSocket, behind lapsehttp: open its page, and watch what each kind of
// message does to the end of the session.
//
// The upgrade goes through the Handler of lapsehttp like any request. To open
// the socket is a peek, since a page does so by itself, as often as the network
// fails. What comes through it counts by its type: a message "say" is a touch,
// "refresh" a poll, and "heartbeat" a peek. When the session ends, the server
// closes the socket with a status of its own, 4000 and the number of the
// reason, and the reason in words.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/lapse-go/lapse"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "`address` to listen on")
	policy := lapse.Policy{Name: "websocket"}
	flag.DurationVar(&policy.Idle, "idle", 15*time.Second, "longest `time` without a touch or a poll; 0: no such limit")
	flag.DurationVar(&policy.PollCap, "cap", 30*time.Second, "longest `time` of polls without a touch; 0: no such limit")
	flag.DurationVar(&policy.Lifetime, "lifetime", 10*time.Minute, "longest `time` at all; 0: no such limit")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if err := run(ctx, *addr, lapse.Options{Default: policy, MaxSessions: 10_000, Remember: 10_000}); err != nil {
		fmt.Fprintln(os.Stderr, "websocket:", err)
		os.Exit(1)
	}
}

// run serves the site until ctx is done.
func run(ctx context.Context, addr string, options lapse.Options) error {
	site, err := newSite(options)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("%w\nchoose another address with -addr, for example -addr 127.0.0.1:8081", err)
	}
	log.Printf("open http://%v/ in a browser; Ctrl-C ends the program", listener.Addr())

	server := &http.Server{Handler: site.handler(), ReadHeaderTimeout: 5 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}

	// First the requests, then the sessions. The server does not know of sockets
	// any more; the end of their sessions closes them.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	return errors.Join(server.Shutdown(ctx), site.engine.Shutdown(ctx), site.wait(ctx))
}
