package e2e

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/chromedp/kb"
	"github.com/lapse-go/lapse"
)

// The ready-made dialog.
func TestDialog(t *testing.T) {
	t.Run("case=123/least", func(t *testing.T) {
		// A class that warns too late for anybody to read it.
		s := newSite(t, lapse.Policy{Idle: 10 * time.Minute, Warn: 5 * time.Second})
		p := s.logIn(how{Dialog: "{}"})
		s.pass(10*time.Minute - 20*time.Second - time.Millisecond)
		p.check(`!times('warning') && !box.open`)
		s.pass(time.Millisecond)
		p.check(`last('warning').remaining === 20_000 && box.open`)
		s.pass(20*time.Second - time.Millisecond)
		p.check(`session.state === 'warning' && box.open`)
	})

	t.Run("case=123/action", func(t *testing.T) {
		// One simple action stays, each time, and more than ten times.
		s := newSite(t, tenMinutes)
		p := s.logIn(how{Dialog: "{}"})
		actions := []struct {
			name string
			do   func()
		}{
			{"Escape", func() { p.press(kb.Escape) }},
			{"Enter", func() { p.press(kb.Enter) }},
			{"the space bar", func() { p.press(" ") }},
			{"a click", func() { p.click(".lapse-actions button") }},
		}
		for i := range 12 {
			s.pass(9 * time.Minute)
			p.check(`session.state === 'warning' && box.open`)
			s.forget()
			actions[i%len(actions)].do()
			s.await("POST /session/keepalive", 1)
			p.wait(`!box.open`)
			p.check(`session.state === 'live' && session.remaining === 600_000`)
			if t.Failed() {
				t.Fatalf("action %d was %s", i+1, actions[i%len(actions)].name)
			}
		}
		p.check(`times('warning') === 12 && times('extended') === 12 && !times('ended')`)
	})

	t.Run("case=123/announced", func(t *testing.T) {
		s := newSite(t, tenMinutes)
		p := s.logIn(how{Dialog: "{}"})
		if n := len(p.roles("alertdialog")); n != 0 {
			t.Errorf("%d alertdialogs before the warning, want none", n)
		}
		s.pass(9 * time.Minute)
		found := p.roles("alertdialog")
		if len(found) != 1 {
			t.Fatalf("%d alertdialogs, want 1", len(found))
		}
		dialog := found[0]
		if dialog.name == "" || !strings.Contains(dialog.description, "1 minute") {
			t.Errorf("it is announced as %q, %q; want a name, and a description with the time that is left", dialog.name, dialog.description)
		}
		if dialog.properties["modal"] != "true" {
			t.Error("it is not modal")
		}
		focused := p.focused()
		if focused.role != "button" || !strings.Contains(focused.name, "Stay") {
			t.Errorf("the focus is on the %s %q, want the button that stays", focused.role, focused.name)
		}
		// It is announced once: what is read out stays as it is, and what changes
		// is not read out.
		p.do(`(() => {
			globalThis.changes = new Set();
			new MutationObserver((list) => {
				for (const { target } of list) {
					const element = target.nodeType === 1 ? target : target.parentElement;
					changes.add(element.closest('[aria-hidden=true]') ? 'silent' : element.outerHTML);
				}
			}).observe(box, {subtree: true, childList: true, characterData: true, attributes: true});
		})()`)
		s.pass(20 * time.Second)
		p.check(`String([...changes]) === 'silent'`)
		p.check(`box.querySelector('.lapse-clock').textContent === '0:40'`)
	})

	t.Run("case=123/input", func(t *testing.T) {
		// While it asks, a mouse that is moved is no answer.
		s := newSite(t, tenMinutes)
		p := s.logIn(how{Dialog: "{}"})
		s.pass(9 * time.Minute)
		s.forget()
		for range 5 {
			p.move(20)
			p.press("a")
			s.pass(time.Second)
		}
		if n := s.count("POST /session/keepalive"); n != 0 {
			t.Errorf("%d keep-alives without an answer, want none", n)
		}
		p.check(`session.state === 'warning' && box.open && session.remaining === 55_000`)
	})

	t.Run("case=123/failed", func(t *testing.T) {
		// Staying does not work: the dialog says so and stays, until it works.
		s := newSite(t, tenMinutes)
		p := s.logIn(how{Dialog: "{}"})
		s.pass(9 * time.Minute)
		s.setBroken("/session/keepalive")
		before := p.text(`box.textContent`)
		p.press(kb.Enter)
		p.wait(`times('error') === 1`)
		p.wait(`box.open && session.state === 'warning'`)
		if after := p.text(`box.textContent`); after == before {
			t.Errorf("the dialog still says %q", after)
		}
		s.setBroken("")
		p.press(kb.Enter)
		p.wait(`session.state === 'live' && !box.open`)
	})

	t.Run("case=124/lifetime", func(t *testing.T) {
		s := newSite(t, lapse.Policy{Idle: 10 * time.Minute, Lifetime: 15 * time.Minute})
		p := s.logIn(how{Dialog: "{}"})
		s.pass(8 * time.Minute)
		p.do(`client.fetch('/api/touch')`)
		s.pass(6*time.Minute - time.Millisecond)
		p.check(`!times('warning')`)
		s.pass(time.Millisecond)
		p.check(`times('warning') === 1 && last('warning').extendable === false && last('warning').limit === 'lifetime'`)
		p.finalDialog()
		s.pass(time.Minute)
		p.check(`last('ended').reason === 'lifetime' && box.open`)
	})

	t.Run("case=124/cap", func(t *testing.T) {
		s := newSite(t, lapse.Policy{Idle: 10 * time.Minute, PollCap: 15 * time.Minute})
		p := s.logIn(how{Dialog: "{}"})
		for range 7 {
			p.do(`client.fetch('/api/poll')`)
			s.pass(2 * time.Minute)
		}
		p.check(`times('warning') === 1 && last('warning').extendable === false && last('warning').limit === 'poll cap'`)
		p.finalDialog()
		s.pass(2 * time.Minute)
		p.check(`session.state === 'ended' && last('ended').reason === 'poll cap'`)
	})

	t.Run("keyboard", func(t *testing.T) {
		// The focus is kept in the dialog and given back, with the caret.
		s := newSite(t, tenMinutes)
		p := s.logIn(how{Dialog: "{}"})
		p.click("#letter")
		p.press("Dear Bob,")
		p.press(kb.ArrowLeft)
		for _, key := range []string{kb.Escape, kb.Enter} {
			s.pass(9*time.Minute + time.Second)
			p.check(`box.open && box.contains(document.activeElement)`)
			for range 4 {
				p.press(kb.Tab)
				p.check(`box.contains(document.activeElement) || document.activeElement === document.body`)
			}
			// Nothing behind it can be reached.
			x, y := p.place("#topic")
			p.check(`(() => {
				const at = document.elementFromPoint(` + jsonText(x) + `, ` + jsonText(y) + `);
				return at === box || box.contains(at) || at === document.documentElement;
			})()`)
			p.do(`box.querySelector('button').focus()`)
			p.press(key)
			p.wait(`session.state === 'live' && !box.open`)
			p.check(`document.activeElement.id === 'letter' && letter.selectionStart === 8`)
		}
		p.press("!")
		p.check(`letter.value === 'Dear Bob!,'`)
	})

	t.Run("keyboard/twice", func(t *testing.T) {
		// Nobody is signed out by an Escape too many.
		s := newSite(t, tenMinutes)
		p := s.logIn(how{Dialog: "{}"})
		s.pass(9 * time.Minute)
		s.setBroken("/session/keepalive")
		p.press(kb.Escape)
		p.wait(`times('error') === 1`)
		s.setBroken("")
		p.press(kb.Escape)
		p.press(kb.Escape)
		p.wait(`session.state === 'live' && !box.open`)
	})

	t.Run("end", func(t *testing.T) {
		// The end: said, with a way to sign in, and the page is left as it is.
		s := newSite(t, tenMinutes)
		p := s.logIn(how{Dialog: "{}"})
		p.click("#letter")
		p.press("Dear Bob")
		s.pass(10 * time.Minute)
		p.check(`session.state === 'ended' && box.open`)
		found := p.roles("alertdialog")
		if len(found) != 1 || found[0].name == "" || found[0].description == "" {
			t.Fatalf("the end is announced as %+v, want one alertdialog with a name and a description", found)
		}
		if focused := p.focused(); focused.role != "heading" {
			t.Errorf("the focus is on the %s %q, want the title", focused.role, focused.name)
		}
		for _, key := range []string{kb.Enter, " "} {
			p.press(key)
			p.check(`box.open && location.pathname !== '/login'`)
		}
		p.check(`new URL(box.querySelector('a').href).pathname === '/login'`)
		p.press(kb.Escape)
		p.wait(`!box.open`)
		p.check(`document.activeElement.id === 'letter' && letter.value === 'Dear Bob'`)
		s.pass(10 * time.Minute)
		p.check(`!box.open && times('ended') === 1`)
	})

	t.Run("end/sign in", func(t *testing.T) {
		s := newSite(t, tenMinutes)
		p := s.logIn(how{Dialog: "{}"})
		s.pass(10 * time.Minute)
		p.press(kb.Tab)
		p.load(func() { p.press(kb.Enter) })
		p.check(`location.pathname === '/login'`)
	})

	t.Run("page's own dialog", func(t *testing.T) {
		// The page has a modal dialog of its own open.
		s := newSite(t, tenMinutes)
		p := s.logIn(how{Dialog: "{}"})
		p.do(`(() => {
			const own = document.body.appendChild(document.createElement('dialog'));
			own.append(document.createElement('input'));
			own.id = 'own';
			own.showModal();
		})()`)
		s.pass(9 * time.Minute)
		p.check(`box.open && own.open && box.contains(document.activeElement)`)
		p.press(kb.Enter)
		p.wait(`!box.open && session.state === 'live'`)
		p.check(`own.open && own.contains(document.activeElement)`)
	})

	t.Run("motion", func(t *testing.T) {
		s := newSite(t, tenMinutes)
		p := s.logIn(how{Dialog: "{}"})
		p.prefer("reduced-motion: no-preference")
		s.pass(9 * time.Minute)
		p.check(`getComputedStyle(box).animationName !== 'none'`)
		p.prefer("reduced-motion: reduce")
		p.check(`getComputedStyle(box).animationName === 'none' && !box.getAnimations({subtree: true}).length`)
		p.check(`[box, ...box.querySelectorAll('*')].every((e) => getComputedStyle(e).transitionDuration === '0s')`)
	})

	t.Run("colors", func(t *testing.T) {
		s := newSite(t, tenMinutes)
		p := s.logIn(how{Dialog: "{}"})
		s.pass(9 * time.Minute)
		var seen []string
		for _, ended := range []bool{false, true} {
			if ended {
				s.pass(time.Minute)
			}
			for _, scheme := range []string{"light", "dark"} {
				p.prefer("color-scheme: " + scheme)
				for _, worst := range get[[]contrast](p, contrasts) {
					if worst.Ratio < 4.5 {
						t.Errorf("%s: %q has a contrast of %.2f, want at least 4.5", scheme, worst.Text, worst.Ratio)
					}
				}
				seen = append(seen, p.text(`getComputedStyle(box).backgroundColor`))
			}
		}
		if seen[0] == seen[1] {
			t.Errorf("light and dark are both %s", seen[0])
		}
	})

	t.Run("theme", func(t *testing.T) {
		s := newSite(t, tenMinutes)
		p := s.logIn(how{Dialog: "{}"})
		p.do(`document.adoptedStyleSheets.push(Object.assign(new CSSStyleSheet(), {}));
			document.adoptedStyleSheets.at(-1).replaceSync(':root { --lapse-background: rgb(1, 2, 3); --lapse-accent: rgb(4, 5, 6); }')`)
		s.pass(9 * time.Minute)
		p.check(`getComputedStyle(box).backgroundColor === 'rgb(1, 2, 3)'`)
		p.check(`getComputedStyle(box.querySelector('button')).backgroundColor === 'rgb(4, 5, 6)'`)
	})

	t.Run("narrow", func(t *testing.T) {
		// A telephone held upright, and a window that is zoomed to 400 %.
		s := newSite(t, tenMinutes)
		p := s.logIn(how{Dialog: "{}"})
		for _, size := range [][2]int64{{360, 640}, {320, 256}, {1280, 720}} {
			p.resize(size[0], size[1], 1)
			s.pass(9 * time.Minute)
			p.check(`box.open`)
			p.still()
			p.check(`(() => {
				const {left, right, top, bottom} = box.getBoundingClientRect();
				return left >= 0 && right <= innerWidth && top >= 0 && bottom <= innerHeight && box.scrollWidth <= box.clientWidth;
			})()`)
			p.check(`[...box.querySelectorAll('button, a')].every((e) => e.getBoundingClientRect().height >= 44)`)
			// What has the focus can be seen, and is not covered.
			p.check(`(() => {
				const {left, right, top, bottom} = document.activeElement.getBoundingClientRect();
				return box.contains(document.elementFromPoint((left + right) / 2, top + 1)) && bottom <= innerHeight;
			})()`)
			p.check(ringShows)
			p.press(kb.Enter)
			p.wait(`!box.open && session.state === 'live'`)
		}
		p.resize(320, 256, 1)
		s.pass(10 * time.Minute)
		p.check(`session.state === 'ended'`)
		p.still()
		for range 3 { // round all that it offers
			p.check(ringShows)
			p.press(kb.Tab)
		}
	})
}

// ringShows says that the ring round what has the focus is not cut off: three
// pixels, two away.
const ringShows = `(() => {
	const [ring, all] = [document.activeElement, box].map((e) => e.getBoundingClientRect());
	return document.activeElement.matches(':focus-visible') && ring.left - 5 >= all.left && ring.right + 5 <= all.right &&
		ring.top - 5 >= all.top && ring.bottom + 5 <= all.bottom;
})()`

// finalDialog checks a dialog of what cannot be extended.
func (p *tab) finalDialog() {
	p.t.Helper()
	p.check(`box.open && !/stay/i.test(box.querySelector('.lapse-actions').textContent)`)
	p.check(`/sign in again/i.test(box.textContent)`)
	s := p.s
	s.forget()
	p.press(kb.Enter)
	p.wait(`!box.open`)
	if n := s.count("POST /session/keepalive"); n != 0 {
		p.t.Errorf("%d keep-alives for what cannot be extended, want none", n)
	}
}

// An exposed is what assistive technology is told of an element.
type exposed struct {
	role, name, description string
	properties              map[string]string
}

// exposed returns the page's accessibility tree.
func (p *tab) exposed() (all []exposed) {
	p.t.Helper()
	text := func(v *accessibility.Value) string {
		if v == nil {
			return ""
		}
		var decoded any
		json.Unmarshal(v.Value, &decoded)
		if s, ok := decoded.(string); ok {
			return s
		}
		return string(v.Value)
	}
	for _, node := range call(p, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{}).Nodes {
		if node.Ignored {
			continue
		}
		e := exposed{text(node.Role), text(node.Name), text(node.Description), map[string]string{}}
		for _, property := range node.Properties {
			e.properties[string(property.Name)] = text(property.Value)
		}
		all = append(all, e)
	}
	return all
}

func (p *tab) roles(role string) []exposed {
	p.t.Helper()
	return slices.DeleteFunc(p.exposed(), func(e exposed) bool { return e.role != role })
}

// focused returns the element that has the focus.
func (p *tab) focused() exposed {
	p.t.Helper()
	for _, e := range slices.Backward(p.exposed()) {
		if e.properties["focused"] == "true" {
			return e
		}
	}
	return exposed{}
}

// A contrast is that of a text against what is behind it.
type contrast struct {
	Text  string
	Ratio float64
}

// contrasts measures those of all texts of the dialog.
const contrasts = `(() => {
	const canvas = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
	const pixel = (...colors) => {
		canvas.clearRect(0, 0, 1, 1);
		for (const color of colors) {
			canvas.fillStyle = color;
			canvas.fillRect(0, 0, 1, 1);
		}
		return canvas.getImageData(0, 0, 1, 1).data;
	};
	const light = ([r, g, b]) => [r, g, b]
		.map((c) => c / 255)
		.map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
		.reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
	return [...box.querySelectorAll('h2, p:not([hidden]), button, a')].map((e) => {
		const behind = [];
		for (let at = e; at !== box.parentElement; at = at.parentElement) behind.unshift(getComputedStyle(at).backgroundColor);
		const [a, b] = [light(pixel(...behind)), light(pixel(...behind, getComputedStyle(e).color))].sort((x, y) => y - x);
		return {Text: e.textContent, Ratio: (a + 0.05) / (b + 0.05)};
	});
})()`

func jsonText(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}
