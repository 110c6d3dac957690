package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
)

var shots = flag.String("shots", "", "directory for pictures of the dialog")

// names are the commands that may start a browser.
var names = []string{"chromium", "chromium-browser", "google-chrome"}

// chromium is the one browser of all tests. Each test has a profile of its own
// in it.
var chromium struct {
	path string // empty: there is none
	why  error

	once  sync.Once
	ctx   context.Context
	close func()
	err   error
}

func TestMain(m *testing.M) {
	flag.Parse()
	chromium.path, chromium.why = findBrowser()
	if chromium.path == "" {
		fmt.Printf("LEFT OUT: the tests in a browser: %v\n", chromium.why)
	}
	code := m.Run()
	if chromium.close != nil {
		chromium.close()
	}
	os.Exit(code)
}

func findBrowser() (string, error) {
	if name := os.Getenv("CHROMIUM"); name != "" {
		path, err := exec.LookPath(name)
		if err != nil {
			return "", fmt.Errorf("the variable CHROMIUM names no browser: %w", err)
		}
		return path, nil
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("there is none of the commands %v, nor is one in the variable CHROMIUM", names)
}

// needBrowser skips a test that cannot have a browser.
func needBrowser(t *testing.T) {
	t.Helper()
	if chromium.path != "" {
		return
	}
	if os.Getenv("REQUIRE_ALL") == "1" {
		t.Fatalf("REQUIRE_ALL=1, but %v", chromium.why)
	}
	t.Skip(chromium.why)
}

// startBrowser starts the browser, once.
func startBrowser() (context.Context, error) {
	chromium.once.Do(func() {
		options := append(chromedp.DefaultExecAllocatorOptions[:],
			chromedp.ExecPath(chromium.path),
			chromedp.WindowSize(1000, 700),
			// A hidden window's timers are slowed down, as they are for users.
			chromedp.Flag("disable-background-timer-throttling", false),
			chromedp.Flag("disable-backgrounding-occluded-windows", false),
			chromedp.Flag("disable-renderer-backgrounding", false),
			// No pages behind the address bar, each of which is a process.
			chromedp.Flag("disable-features", "Translate,WebUIOmniboxPopup,WebUIOmniboxAimPopup,PreloadTopChromeWebUI"),
			// A host that is not loopback, so that plain http is no secure context.
			chromedp.Flag("host-resolver-rules", "MAP *.test 127.0.0.1"),
		)
		allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
		ctx, cancel := chromedp.NewContext(allocator)
		chromium.ctx, chromium.err = ctx, chromedp.Do(ctx)
		chromium.close = func() {
			cancel()
			stop()
		}
	})
	return chromium.ctx, chromium.err
}

// newProfile makes a fresh profile of the browser, for the time of a test.
func newProfile(t *testing.T, browser context.Context) cdp.BrowserContextID {
	t.Helper()
	made, err := chromedp.CallBrowser(browser, target.CreateBrowserContext, target.CreateBrowserContextParams{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, err := chromedp.CallBrowser(browser, target.DisposeBrowserContext, target.DisposeBrowserContextParams(made))
		if err != nil {
			t.Error(err)
		}
	})
	return made.BrowserContextID
}
