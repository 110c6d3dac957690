package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// call runs a command of the protocol that has to succeed.
func call[P, R any](p *tab, command cdp.Command[P, R], params P) R {
	p.t.Helper()
	return must(p, func(ctx context.Context, t *chromedp.Target) (R, error) { return cdp.Call(ctx, t, command, params) })
}

// front brings the tab to the front of its window.
func (p *tab) front() {
	p.t.Helper()
	call(p, page.BringToFront, cdp.Empty{})
}

// cover opens another tab in front of the tab, so that it is hidden.
func (p *tab) cover() {
	p.t.Helper()
	p.front()
	p.s.open(how{Bare: true, Shell: true, Tab: true})
	p.see(`document.visibilityState === 'hidden'`)
}

// show brings the tab back.
func (p *tab) show() {
	p.t.Helper()
	p.front()
	p.see(`document.visibilityState === 'visible'`)
}

// offline takes the network away from the tab, or gives it back.
func (p *tab) offline(off bool) {
	p.t.Helper()
	call(p, network.EmulateNetworkConditionsByRule, network.EmulateNetworkConditionsByRuleParams{
		MatchedNetworkConditions: []*network.Conditions{{Offline: off, DownloadThroughput: -1, UploadThroughput: -1}},
	})
	call(p, network.OverrideNetworkState, network.OverrideNetworkStateParams{Offline: off, DownloadThroughput: -1, UploadThroughput: -1})
	p.see(fmt.Sprintf(`navigator.onLine === %v`, !off))
}

// prefer makes the browser say what the user prefers, as "color-scheme: dark".
func (p *tab) prefer(preferences ...string) {
	p.t.Helper()
	var features []*emulation.MediaFeature
	for _, preference := range preferences {
		name, value, _ := strings.Cut(preference, ": ")
		features = append(features, &emulation.MediaFeature{Name: "prefers-" + name, Value: value})
	}
	call(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features})
}

// press presses keys, one after the other.
func (p *tab) press(keys string) {
	p.t.Helper()
	must(p, chromedp.KeyEvent(keys))
}

// click clicks on what the selector finds, with the mouse.
func (p *tab) click(selector string) {
	p.t.Helper()
	x, y := p.place(selector)
	must(p, chromedp.MouseEvent(chromedp.MouseMoved, x, y))
	must(p, chromedp.MouseClickXY(x, y))
}

// place returns the middle of what the selector finds.
func (p *tab) place(selector string) (x, y float64) {
	p.t.Helper()
	quoted, _ := json.Marshal(selector)
	at := get[[2]float64](p, fmt.Sprintf(`(() => {
		const found = document.querySelector(%s);
		found.scrollIntoView({block: 'nearest'});
		const box = found.getBoundingClientRect();
		return [box.x + box.width / 2, box.y + box.height / 2];
	})()`, quoted))
	return at[0], at[1]
}

// move moves the mouse, so many steps.
func (p *tab) move(steps int) {
	p.t.Helper()
	p.s.moveAll([]*tab{p}, steps)
}

// moveAll moves the mouse in all of the tabs at once, so many steps in each.
func (s *site) moveAll(tabs []*tab, steps int) {
	s.t.Helper()
	// Nobody waits for an answer before the next step.
	const together = 50
	var all sync.WaitGroup
	for _, p := range tabs {
		ctx, cancel := context.WithTimeout(p.ctx, patience)
		defer cancel()
		for from := range together {
			all.Go(func() {
				for i := from; i < steps; i += together {
					_, err := chromedp.Call(ctx, input.DispatchMouseEvent, input.DispatchMouseEventParams{
						Type: chromedp.MouseMoved, X: float64(100 + i%300), Y: float64(100 + i%200),
					})
					if err != nil {
						s.t.Errorf("%s: moving the mouse: %v", p.name, err)
						return
					}
				}
			})
		}
	}
	all.Wait()
}

// back goes back in the tab's history.
func (p *tab) back() {
	p.t.Helper()
	p.do(`globalThis.left = true`)
	p.away = true
	// Not from this call itself, which would wait for an answer from a page that
	// is gone.
	p.do(`void queueMicrotask(() => history.back())`)
	p.until("the page before", func() bool {
		there, err := run(p, chromedp.Evaluate[bool](`!globalThis.left && document.readyState === 'complete'`))
		return err == nil && there
	})
	p.arrived()
}

// resize gives the page's window a size, at so many pixels a unit.
func (p *tab) resize(width, height int64, scale float64) {
	p.t.Helper()
	must(p, chromedp.EmulateViewport(width, height, chromedp.EmulateScale(scale)))
}

// still waits until nothing moves any more and all of it has been drawn.
func (p *tab) still() {
	p.t.Helper()
	p.do(`Promise.all(document.getAnimations().map((a) => a.finished.catch(() => {})))
		.then(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done()))))`)
}
