package lapsehttp_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain fails if an engine, a handler or a stream has left a goroutine
// behind.
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

// leftovers returns the stacks of goroutines that run code of this module, or
// serve a connection. One that has been told to end may still be on its way.
func leftovers() string {
	buf := make([]byte, 1<<20)
	for try := 0; ; try++ {
		var left []string
		for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(stack, "lapsehttp_test.leftovers") {
				continue
			}
			if strings.Contains(stack, "github.com/lapse-go/lapse") || strings.Contains(stack, "net/http.(*conn).serve") {
				left = append(left, stack)
			}
		}
		if len(left) == 0 || try == int(patience/ms) {
			return strings.Join(left, "\n\n")
		}
		time.Sleep(ms) // nothing tells when a goroutine has ended
	}
}
