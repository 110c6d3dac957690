package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestScripts runs the tests of what the pages work out, which need Node 20 and
// nothing else.
func TestScripts(t *testing.T) {
	tests, err := filepath.Glob("testdata/*.test.mjs")
	if err != nil || len(tests) == 0 {
		t.Fatalf("there are no tests: %v", err)
	}
	node, err := exec.LookPath("node")
	if err != nil {
		if os.Getenv("REQUIRE_ALL") == "1" {
			t.Fatal("no node on this machine, and REQUIRE_ALL=1")
		}
		t.Skip("LEFT OUT: the tests of the demo's scripts; there is no node on this machine")
	}
	if out, err := exec.Command(node, append([]string{"--test"}, tests...)...).CombinedOutput(); err != nil {
		t.Errorf("node --test: %v\n%s", err, out)
	}
}
