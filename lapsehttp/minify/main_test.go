package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const clientDir = "../client"

// TestCommitted fails if a committed .min.js file is not what its source gives,
// or is too large.
func TestCommitted(t *testing.T) {
	var out bytes.Buffer
	if err := run(&out, clientDir, true); err != nil {
		t.Error(err)
	}
	t.Logf("\n%s", out.String())
}

// TestCheck breaks a copy of the client in each way that a check should notice.
func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(t *testing.T, dir string)
		want  string
	}{
		{"changed source", func(t *testing.T, dir string) {
			change(t, filepath.Join(dir, "time.js"), "60_000", "61_000")
		}, "client.min.js is not what its source gives"},
		{"changed file", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "dialog.min.js"), "export{}")
		}, "dialog.min.js is not what its source gives"},
		{"missing file", func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "client.min.js")); err != nil {
				t.Fatal(err)
			}
		}, "make it with: go run ."},
		{"broken source", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "time.js"), "export const = 5;")
		}, "client.js does not build"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(clientDir)); err != nil {
				t.Fatal(err)
			}
			if err := run(new(bytes.Buffer), dir, true); err != nil {
				t.Fatalf("before the change: %v", err)
			}
			tt.spoil(t, dir)
			err := run(new(bytes.Buffer), dir, true)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestBars(t *testing.T) {
	for _, tt := range []struct {
		client, dialog int
		want           []string
	}{
		{clientBar, dialogBar - clientBar, nil},
		{clientBar + 1, 1, []string{"client.min.js is 6001 bytes"}},
		{clientBar, dialogBar - clientBar + 1, []string{"8001 bytes gzipped together"}},
		{dialogBar, 1, []string{"client.min.js is", "together"}},
	} {
		err := bars([]build{{name: "client.min.js", gzip: tt.client}, {name: "dialog.min.js", gzip: tt.dialog}})
		if (err == nil) != (tt.want == nil) {
			t.Errorf("%d and %d bytes: %v", tt.client, tt.dialog, err)
		}
		for _, want := range tt.want {
			if err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%d and %d bytes: %v lacks %q", tt.client, tt.dialog, err, want)
			}
		}
	}
}

// TestClient runs the client's own tests, which need Node 20 and nothing else.
func TestClient(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		if os.Getenv("REQUIRE_ALL") == "1" {
			t.Fatal("no node on this machine, and REQUIRE_ALL=1")
		}
		t.Skip("LEFT OUT: the client's tests; there is no node on this machine")
	}
	cmd := exec.Command(node, "--test")
	cmd.Dir = clientDir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("node --test: %v\n%s", err, out)
	}
}

func change(t *testing.T, path, from, to string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(text, []byte(from)) {
		t.Fatalf("%s has no %q", path, from)
	}
	write(t, path, strings.ReplaceAll(string(text), from, to))
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
