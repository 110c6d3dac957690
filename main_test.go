package lapse_test

import (
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// TestMain fails if an engine has left a goroutine behind.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if left := leftovers(); left != "" {
			fmt.Fprintf(os.Stderr, "goroutines are left:\n%s\n", left)
			code = 1
		}
	}
	os.Exit(code)
}

// leftovers returns the stacks of the engines' goroutines, as soon as all of
// them wait for something: one that has been told to end may still be on its
// way.
func leftovers() string {
	buf := make([]byte, 1<<20)
	for {
		var left []string
		onTheirWay := false
		for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(stack, "github.com/lapse-go/lapse.") {
				left = append(left, stack)
				onTheirWay = onTheirWay || !waits.MatchString(stack)
			}
		}
		if !onTheirWay {
			return strings.Join(left, "\n\n")
		}
		runtime.Gosched()
	}
}

// waits matches the stacks of goroutines that go on only if others do
// something.
var waits = regexp.MustCompile(`^goroutine \d+ (gp=\S+ .*)?\[(chan (send|receive)|select|sync\.(Cond|WaitGroup)\.Wait)`)
