package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"
)

// TestInChromium drives one browser through everything that only a browser can
// show; each story has a profile of its own.
func TestInChromium(t *testing.T) {
	t.Parallel()
	browser := startChromium(t)
	t.Run("T17 the journey by keyboard leaks nothing", func(t *testing.T) { journeyByKeyboard(t, browser, "") })
	t.Run("T17 the journey on a host of the account's own", func(t *testing.T) { journeyByKeyboard(t, browser, ownHost) })
	t.Run("T17 sees a leaking page", func(t *testing.T) { leakIsSeen(t, browser) })
	t.Run("T18 a scanner that runs scripts spends nothing", func(t *testing.T) { scriptingScanner(t, browser) })
	t.Run("T27 no page is shown in a frame", func(t *testing.T) { framesAreRefused(t, browser) })
	t.Run("every state reflows at 320 px", func(t *testing.T) { statesReflow(t, browser) })
}

// startChromium starts a headless browser. Without one the tests are skipped on a
// laptop and fail in CI.
func startChromium(t *testing.T) chromium {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" && os.Getenv("CI") == "true" {
		t.Fatal("no Chromium: install it (apt-get install chromium)")
	}
	if path == "" {
		t.Skip("no Chromium")
	}
	// Not t.TempDir: what the browser's helpers write last may outlive its end by a
	// moment, and that must not fail the test.
	dir, err := os.MkdirTemp("", "passmend-chromium-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.UserDataDir(dir), chromedp.Env("TMPDIR="+dir),
		chromedp.Flag("host-resolver-rules", "MAP "+ownHost+" 127.0.0.1"),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	t.Cleanup(cancel)
	ctx, stop := chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(stop)
	ctx, leave := chromedp.NewContext(ctx)
	t.Cleanup(leave)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = chromedp.Cancel(ctx) })
	return chromium{ctx}
}

// chromium is a browser without a page.
type chromium struct{ ctx context.Context }

// tab is a page in a profile of its own, and what it asked the network for.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	requests []string
}

func openTab(t *testing.T, browser chromium) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser.ctx, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx}
	err := chromedp.Listen(ctx, func(event any) {
		if sent, ok := event.(*network.EventRequestWillBeSent); ok {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.requests = append(b.requests, sent.Request.URL)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// ask gives the value of an expression. The protocol may ask where the page's own
// scripts are off.
func ask[T any](b *tab, expression string) T {
	b.t.Helper()
	got, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatal(err)
	}
	return got
}

// withoutScripts turns JavaScript off in the tab.
func (b *tab) withoutScripts() {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
		b.t.Fatal(err)
	}
}

// waitTitle waits for a page that begins with the title.
func (b *tab) waitTitle(title string) {
	b.t.Helper()
	b.waitFor(title, func() bool {
		got, err := chromedp.Run(b.ctx, chromedp.Title())
		return err == nil && strings.HasPrefix(got, title)
	})
}

func (b *tab) waitFor(what string, holds func() bool) {
	b.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			b.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// tabTo presses the tabulator until the element has the focus, which must show.
func (b *tab) tabTo(id string) {
	b.t.Helper()
	for range 8 {
		b.do(chromedp.KeyEvent("\t"))
		if ask[string](b, `document.activeElement.id || document.activeElement.type || ""`) == id {
			if outline := ask[string](b, `(s => s.outlineStyle + " " + s.outlineWidth)(getComputedStyle(document.activeElement))`); outline != "solid 3px" {
				b.t.Errorf("focus on %s shows as %q", id, outline)
			}
			return
		}
	}
	b.t.Fatalf("the tabulator does not reach %s", id)
}

// watcher remembers the Referer of every request that a site got.
type watcher struct {
	mu       sync.Mutex
	referers []string
}

func (w *watcher) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.referers = append(w.referers, r.Referer())
		w.mu.Unlock()
		next.ServeHTTP(rw, r)
	})
}

// leaks says where a token can be seen after the tab's journey, and which other
// origins it called.
func (b *tab) leaks(origin, token string, seen *watcher) (found []string) {
	b.t.Helper()
	where, err := chromedp.Run(b.ctx, chromedp.Location())
	if err != nil {
		b.t.Fatal(err)
	}
	if strings.Contains(where, token) {
		found = append(found, "address bar")
	}
	history, err := chromedp.Run(b.ctx, chromedp.NavigationEntries())
	if err != nil {
		b.t.Fatal(err)
	}
	for _, entry := range history.Entries {
		if strings.Contains(entry.URL, token) {
			found = append(found, "history")
		}
	}
	seen.mu.Lock()
	defer seen.mu.Unlock()
	if slices.ContainsFunc(seen.referers, func(referer string) bool { return strings.Contains(referer, token) }) {
		found = append(found, "Referer")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, request := range b.requests {
		if !strings.HasPrefix(request, origin+"/") {
			found = append(found, "other origin")
		}
	}
	return found
}

func journeyByKeyboard(t *testing.T, browser chromium, host string) {
	var seen watcher
	s := newSite(t, wrapped(seen.wrap))
	s.acme = s.withLogo(s.acme)
	origin, root := s.url, "/acme"
	if host != "" {
		s.moveTo(host)
		origin, root = "http://"+host+":"+s.config.BaseURL.Port(), ""
	}
	b := openTab(t, browser)
	b.withoutScripts()

	b.do(chromedp.Navigate(origin + root + "/forgot"))
	b.tabTo("email")
	b.do(chromedp.KeyEvent("ada@example.com\r"))
	b.waitTitle("Check your inbox")

	token := s.link(s.acme, "ada@example.com")
	b.do(chromedp.Navigate(origin + root + "/r/" + token))
	b.waitTitle("Choose a new password")
	b.tabTo("username")
	b.tabTo("password")
	b.do(chromedp.KeyEvent("short77"))
	b.tabTo("repeat")
	b.do(chromedp.KeyEvent("short77\r"))
	b.waitTitle("Error: Choose a new password")
	b.waitFor("the focus on the field that is wrong", func() bool {
		return ask[string](b, `document.activeElement.id`) == "password"
	})
	b.do(chromedp.KeyEvent(goodPassword))
	b.tabTo("repeat")
	b.do(chromedp.KeyEvent(goodPassword))
	b.tabTo("submit")
	b.do(chromedp.KeyEvent(" "))
	b.waitTitle("Your password was changed")

	if diff := cmp.Diff([]string{goodPassword}, s.links.passwords()); diff != "" {
		t.Errorf("passwords set (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"acme ada@example.com"}, s.intake.all()); diff != "" {
		t.Errorf("accepted (-want +got):\n%s", diff)
	}
	if found := b.leaks(origin, token, &seen); len(found) > 0 {
		t.Errorf("the token is in %v", found)
	}
	if n := len(b.requests); n < 6 {
		t.Errorf("only %d requests watched", n)
	}
}

// leakIsSeen is the control: a page that stays under the link's own URL, lets the
// Referer out and calls a stranger.
func leakIsSeen(t *testing.T, browser chromium) {
	stranger := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(stranger.Close)
	var seen watcher
	s := newSite(t, wrapped(func(next http.Handler) http.Handler {
		return seen.wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasPrefix(r.URL.Path, "/acme/r/") {
				next.ServeHTTP(w, r)
				return
			}
			w.Header().Set("Referrer-Policy", "unsafe-url")
			w.Header().Set("Content-Type", "text/html")
			_, _ = fmt.Fprintf(w, `<title>Leak</title><link rel="stylesheet" href="/theme/x.css"><link rel="stylesheet" href="%s/x.css">`, stranger.URL)
		}))
	}))
	b := openTab(t, browser)
	token := s.link(s.acme, "ada@example.com")
	b.do(chromedp.Navigate(s.url + "/acme/r/" + token))
	b.waitTitle("Leak")
	found := b.leaks(s.url, token, &seen)
	for _, leak := range []string{"address bar", "history", "Referer", "other origin"} {
		if !slices.Contains(found, leak) {
			t.Errorf("%s was not seen; found %v", leak, found)
		}
	}
}

func scriptingScanner(t *testing.T, browser chromium) {
	s := newSite(t)
	token := s.link(s.acme, "ada@example.com")
	scanner := openTab(t, browser)
	for range 3 {
		scanner.do(chromedp.Navigate(s.url + "/acme/r/" + token))
		scanner.waitTitle("Choose a new password")
	}
	v := s.visitor()
	view := v.open(s.acme, token)
	wantRedirect(t, v.post("/acme/r", "view", view, "password", goodPassword, "repeat", goodPassword), "/acme/r/done")
}

func framesAreRefused(t *testing.T, browser chromium) {
	bare := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(without{w, "X-Frame-Options,Content-Security-Policy"}, r)
		})
	}
	b := openTab(t, browser)
	framed := func(s *site, path string) bool {
		attacker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = fmt.Fprintf(w, `<title>Prize</title><iframe src="%s%s"></iframe>`, s.url, path)
		}))
		t.Cleanup(attacker.Close)
		b.do(chromedp.Navigate(attacker.URL))
		tree, err := chromedp.Call(b.ctx, cdppage.GetFrameTree, struct{}{})
		if err != nil {
			t.Fatal(err)
		}
		if len(tree.FrameTree.ChildFrames) != 1 {
			t.Fatalf("%d frames, want 1", len(tree.FrameTree.ChildFrames))
		}
		return tree.FrameTree.ChildFrames[0].Frame.URL == s.url+path
	}
	s := newSite(t)
	for _, path := range []string{"/acme/forgot", "/acme/r", "/acme/r/done"} {
		if framed(s, path) {
			t.Errorf("%s is shown in a stranger's frame", path)
		}
	}
	if !framed(newSite(t, wrapped(bare)), "/acme/forgot") {
		t.Error("without the headers no frame is seen either: this test proves nothing")
	}
}

// tooWide gives what sticks out of the window or is too small to hit: 24 px at
// least, but for links within a line of text (WCAG 2.2, 1.4.10 and 2.5.8).
const tooWide = `(() => {
	const faults = [];
	if (document.documentElement.scrollWidth > innerWidth) faults.push("scrolls sideways by " + (document.documentElement.scrollWidth - innerWidth));
	for (const e of document.querySelectorAll("main *, header *, footer *")) {
		if (e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0 && getComputedStyle(e).overflowX === "hidden") faults.push(e.tagName + " cuts its text off");
	}
	for (const e of document.querySelectorAll("button, .button, input:not([type=hidden]), .summary a, footer a")) {
		const box = e.getBoundingClientRect();
		if (box.height < 24 || box.width < 24) faults.push(e.tagName + " is " + box.width + " by " + box.height);
	}
	return faults.join("; ");
})()`

// spacedOut is the text spacing that a page must bear (WCAG 2.2, 1.4.12).
const spacedOut = `(() => {
	for (const e of document.querySelectorAll("*")) {
		e.style.lineHeight = "1.5"; e.style.letterSpacing = ".12em"; e.style.wordSpacing = ".16em";
	}
	for (const e of document.querySelectorAll("p")) e.style.marginBottom = "2em";
	return true;
})()`

func statesReflow(t *testing.T, browser chromium) {
	bodies := map[string]string{}
	s := newSite(t, wrapped(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if body, ok := bodies[r.URL.Path]; ok {
				w.Header().Set("Content-Type", "text/html; charset=utf-8")
				_, _ = w.Write([]byte(body))
				return
			}
			next.ServeHTTP(w, r)
		})
	}))
	s.acme.Branding.ProductName = strings.Repeat("Unterwasserschweißgerät", 4)
	s.acme.Branding.SupportAddress = strings.Repeat("long", 15) + "@" + strings.Repeat("domain", 9) + ".example"
	s.accounts.add(s.acme)
	// Drawn first, served after: a state may need a form of its own to get there.
	drawn := map[string]string{}
	for i, state := range drawnStates() {
		drawn[fmt.Sprintf("/drawn/%d", i)] = state.show(s).Body
		s.limit(func(*Limits) {})
		s.intake.fault = nil
	}
	bodies = drawn
	b := openTab(t, browser)
	b.do(chromedp.EmulateViewport(320, 640))
	for i, state := range drawnStates() {
		b.do(chromedp.Navigate(fmt.Sprintf("%s/drawn/%d", s.url, i)))
		if faults := ask[string](b, tooWide); faults != "" {
			t.Errorf("%s: %s", state.name, faults)
		}
		ask[bool](b, spacedOut)
		if faults := ask[string](b, tooWide); faults != "" {
			t.Errorf("%s, spaced out: %s", state.name, faults)
		}
	}
	// The control: a picture that is wider than the window.
	if ask[bool](b, `document.body.style.minWidth = "400px", true`); ask[string](b, tooWide) == "" {
		t.Error("a page of 400 px passed")
	}
}
