// Package e2e tests lapsehttp and its client in a real browser: Chromium, without
// a window, driven by chromedp, with a real server on the loopback interface.
//
// Most tests stop time. The clocks of the server and of all pages then stand
// still until the test moves them, and they move together, from one timer to
// the next, so that a session of an hour takes a moment, the default times can
// be tested to the millisecond, and it does not matter how fast the machine is.
// Requests, cookies, messages between windows, locks, history, focus and input
// are the browser's own. The other tests, named Live, run in real time.
//
// The browser is the one in the variable CHROMIUM, else the first of chromium,
// chromium-browser and google-chrome. Without one the tests are left out, or
// fail with REQUIRE_ALL=1. With -shots DIR the test of the dialog's looks saves
// pictures of it.
package e2e
