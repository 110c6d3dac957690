package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/lapse-go/lapse"
)

// TestShots saves pictures of the dialog, for somebody to look at.
func TestShots(t *testing.T) {
	if *shots == "" {
		t.Skip("no -shots DIR")
	}
	if err := os.MkdirAll(*shots, 0o755); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, lapse.Policy{Idle: 10 * time.Minute, Lifetime: 25 * time.Minute})
	p := s.logIn(how{Dialog: "{}"})
	shoot := func(state string) {
		for _, scheme := range []string{"light", "dark"} {
			p.prefer("color-scheme: "+scheme, "reduced-motion: reduce")
			for name, size := range map[string][2]int64{"wide": {1000, 600}, "narrow": {360, 640}, "zoomed": {320, 256}} {
				p.resize(size[0], size[1], 2)
				p.do(`document.activeElement.scrollIntoView({block: 'nearest'})`)
				p.still()
				picture := must(p, chromedp.CaptureScreenshot())
				name := filepath.Join(*shots, fmt.Sprintf("%s-%s-%s.png", state, scheme, name))
				if err := os.WriteFile(name, picture, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	s.pass(9*time.Minute + 7*time.Second)
	shoot("warning")
	s.setBroken("/session/keepalive")
	p.do(`session.extend(), box.querySelector('button').click()`)
	p.wait(`times('error') >= 1`)
	s.quiet()
	shoot("failed")
	s.setBroken("")
	p.do(`session.extend()`)
	p.wait(`!box.open`)
	s.pass(8 * time.Minute)
	p.do(`session.extend()`)
	s.pass(7*time.Minute + 10*time.Second)
	p.wait(`session.state === 'warning' && !session.extendable`)
	shoot("final")
	s.pass(5 * time.Minute)
	p.wait(`session.state === 'ended'`)
	shoot("ended")
}
