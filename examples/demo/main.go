// Command demo is a web site that shows sessions live and end: open its page,
// log in as anyone, and watch what a touch, a poll and a peek do. Its
// operator's page shows the engine inside, the timing wheels included.
//
// It is built on package lapsehttp. The program in examples/embed shows how to
// do the same by hand.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/lapse-go/lapse"
)

// A config is what the flags say.
type config struct {
	addr    string
	secure  bool
	visitor lapse.Policy  // of those who log in
	storm   time.Duration // until the end of synthetic sessions that end at one instant
	spread  time.Duration // over which the ends of other synthetic sessions are spread
	poll    time.Duration // how often the score page polls
	refresh time.Duration // of the operator's page
}

func main() {
	cfg, err := parse(os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		os.Exit(2) // the flag set has said why
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if err := run(ctx, os.Stdout, cfg); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// parse reads the flags. It tells out what is wrong with them.
func parse(args []string, out io.Writer) (config, error) {
	cfg := config{visitor: lapse.Policy{Name: "visitor"}}
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.StringVar(&cfg.addr, "addr", "127.0.0.1:8080", "`address` to listen on")
	flags.BoolVar(&cfg.secure, "secure", false, "send cookies by https only, for a proxy with TLS in front")
	flags.DurationVar(&cfg.visitor.Idle, "idle", 20*time.Second, "longest `time` without a touch or a poll")
	flags.DurationVar(&cfg.visitor.Lifetime, "lifetime", 3*time.Minute, "longest `time` from log-in to the end; 0: no such limit")
	flags.DurationVar(&cfg.visitor.PollCap, "cap", 40*time.Second, "longest `time` of polls without a touch; 0: no such limit")
	flags.IntVar(&cfg.visitor.PollMax, "poll-max", 0, "most polls without a touch; 0: no such limit")
	flags.DurationVar(&cfg.visitor.Warn, "warn", 10*time.Second, "how long before the end to warn; 0: no warning by the server")
	flags.DurationVar(&cfg.poll, "poll", 2*time.Second, "`time` from one poll of the score page to the next")
	flags.DurationVar(&cfg.storm, "storm", 15*time.Second, "`time` until a storm of synthetic sessions ends")
	flags.DurationVar(&cfg.spread, "spread", time.Minute, "`time` over which the ends of other synthetic sessions are spread")
	flags.DurationVar(&cfg.refresh, "refresh", 250*time.Millisecond, "`time` from one look of the operator's page to the next")
	if err := flags.Parse(args); err != nil {
		return config{}, err
	}
	err := cfg.check()
	if flags.NArg() > 0 {
		err = fmt.Errorf("%q is no flag: every setting has a name, as in -idle 10s", flags.Arg(0))
	}
	if err != nil {
		fmt.Fprintln(out, "demo:", err)
	}
	return cfg, err
}

// check returns an error that names the flag that makes no sense. The policies
// themselves are the engine's to judge.
func (c *config) check() error {
	for _, f := range []struct {
		name        string
		value, from time.Duration
	}{
		{"-idle", c.visitor.Idle, time.Second},
		{"-poll", c.poll, 100 * time.Millisecond},
		{"-storm", c.storm, time.Second},
		{"-spread", c.spread, time.Second},
		{"-refresh", c.refresh, 50 * time.Millisecond},
	} {
		if f.value < f.from {
			return fmt.Errorf("%s is %v: want at least %v", f.name, f.value, f.from)
		}
	}
	return nil
}

// run serves the site until ctx is done.
func run(ctx context.Context, out io.Writer, cfg config) error {
	site, err := newSite(cfg, log.New(out, "", log.Ltime))
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", cfg.addr)
	if err != nil {
		return fmt.Errorf(`%w
Another program may have this address already. Choose another one with the flag
-addr, for example -addr 127.0.0.1:8081 (with make: make demo ADDR=127.0.0.1:8081),
or -addr 127.0.0.1:0 for any that is free`, err)
	}
	greet(out, listener.Addr(), cfg)

	server := &http.Server{Handler: site.handler(), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}

	// First the requests, then the sessions: a handler never meets a closed engine.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return errors.Join(server.Shutdown(ctx), site.engine.Shutdown(ctx))
}

// greet says where to look.
func greet(out io.Writer, addr net.Addr, cfg config) {
	url, loopback := "http://"+addr.String()+"/", true
	if tcp, ok := addr.(*net.TCPAddr); ok {
		loopback = tcp.IP.IsLoopback()
		if tcp.IP.IsUnspecified() {
			url = fmt.Sprintf("http://localhost:%d/", tcp.Port)
		}
	}
	fmt.Fprintf(out, `
  Open %s in a browser and log in as anyone.
  Your session ends %s after you did something last: watch it.
  The timing wheels turn on %soperator.
  Ctrl-C ends the program.

`, url, short(cfg.visitor.Idle), url)
	if !loopback {
		fmt.Fprint(out, "  Note: whoever reaches this address can use the operator's page, too.\n\n")
	}
	if cfg.secure {
		fmt.Fprint(out, "  Note: with -secure, browsers keep the session by https, or on this machine, only.\n\n")
	}
}
