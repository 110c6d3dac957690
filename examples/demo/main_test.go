package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	var out bytes.Buffer
	cfg, err := parse([]string{"-addr", "127.0.0.1:0", "-idle", "10s", "-cap", "1m", "-poll-max", "5", "-storm", "3s"}, &out)
	if err != nil || out.Len() != 0 {
		t.Fatalf("%v\n%s", err, &out)
	}
	v := cfg.visitor
	if cfg.addr != "127.0.0.1:0" || v.Idle != 10*time.Second || v.PollCap != time.Minute || v.PollMax != 5 || cfg.storm != 3*time.Second {
		t.Errorf("%+v", cfg)
	}
	for _, tt := range []struct{ args, want string }{
		{"-idle 0s", "-idle is 0s"},
		{"-idle -1s", "-idle is -1s"},
		{"-poll 1ms", "-poll is 1ms"},
		{"-storm 0s", "-storm is 0s"},
		{"-spread 0s", "-spread is 0s"},
		{"-refresh 1ms", "-refresh is 1ms"},
		{"-idle soon", "-idle"},
		{"-nonsense", "-nonsense"},
		{"8080", `"8080" is no flag`},
	} {
		out.Reset()
		if _, err := parse(strings.Fields(tt.args), &out); err == nil || !strings.Contains(out.String(), tt.want) {
			t.Errorf("%s: %v\n%s, want %q", tt.args, err, &out, tt.want)
		}
	}
	if _, err := parse([]string{"-h"}, &out); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h: %v", err)
	}
}

func TestRunStopsGracefully(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	cfg := testConfig(t)
	cfg.addr = "127.0.0.1:0"
	var out bytes.Buffer
	if err := run(ctx, &out, cfg); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "http://127.0.0.1:") || strings.Contains(out.String(), "Note:") {
		t.Errorf("the greeting is\n%s", &out)
	}
}

func TestRunNamesWhatToDo(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for addr, want := range map[string]string{
		listener.Addr().String(): "-addr 127.0.0.1:8081",
		"127.0.0.1:http-no-port": "-addr",
	} {
		cfg := testConfig(t)
		cfg.addr = addr
		if err := run(t.Context(), new(bytes.Buffer), cfg); !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("on %s: %v, want it to name %s", addr, err, want)
		}
	}
	cfg := testConfig(t)
	cfg.visitor.PollCap = time.Hour
	if err := run(t.Context(), new(bytes.Buffer), cfg); !strings.Contains(fmt.Sprint(err), "-cap 1h0m0s") {
		t.Errorf("%v, want it to name -cap", err)
	}
}

func TestGreet(t *testing.T) {
	cfg := testConfig(t)
	for _, tt := range []struct {
		addr, url string
		note      bool
	}{
		{"127.0.0.1:80", "http://127.0.0.1:80/", false},
		{"[::1]:80", "http://[::1]:80/", false},
		{"0.0.0.0:80", "http://localhost:80/", true},
		{"[::]:80", "http://localhost:80/", true},
		{"192.0.2.1:80", "http://192.0.2.1:80/", true},
	} {
		addr, err := net.ResolveTCPAddr("tcp", tt.addr)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		greet(&out, addr, cfg)
		if !strings.Contains(out.String(), "Open "+tt.url+" in") || strings.Contains(out.String(), "Note:") != tt.note {
			t.Errorf("%s:\n%s", tt.addr, &out)
		}
	}
}
