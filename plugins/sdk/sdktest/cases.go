package sdktest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
)

// Cases gives the cases in the order in which they make sense.
func Cases() []Case {
	return []Case{
		{"Describe is well-formed", describe},
		{"Describe gives the same answer twice", describeTwice},
		{"Health answers", health},
		{"Check takes usable settings", checkTakes},
		{"Check sends nothing", checkSendsNothing},
		{"Check refuses unusable settings and names the setting", checkRefuses},
		{"Send refuses unusable settings with a Failure", sendRefuses},
		{"Send delivers", sendDelivers},
		{"The link arrives byte for byte", linkArrives},
		{"The same key is sent with the same Message-ID", sameMessageID},
		{"Text beyond ASCII arrives", textArrives},
		{"A large body arrives", largeBody},
		{"A line break does not become a header", injection},
		{"No secret, address or link is in an error", silentErrors},
		{"A message of no kind is refused", noContent},
		{"A deadline is honoured", deadline},
		{"A cancellation is honoured", cancellation},
		{"A call that is over before it begins sends nothing", overBefore},
		{"64 calls at once are each delivered once", concurrent},
	}
}

func (r *run) context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), callLimit)
}

func describe(r *run) {
	ctx, cancel := r.context()
	defer cancel()
	d, err := r.Provider.Describe(ctx)
	if err != nil {
		r.fatalf("%v", err)
	}
	if d.Name != r.Name || !isName(d.Name) {
		r.errorf("name %q is not %q, or not 2 to 32 of a-z, 0-9 and -", d.Name, r.Name)
	}
	if strings.Count(d.Version, ".") != 2 {
		r.errorf("version %q is not a semantic one", d.Version)
	}
	if len(d.Contents) == 0 {
		r.errorf("no contents")
	}
	for _, content := range d.Contents {
		if content != sdk.ContentMail && content != sdk.ContentEvent {
			r.errorf("unknown content %q", content)
		}
	}
	var document struct {
		Type       string                     `json:"type"`
		Properties map[string]json.RawMessage `json:"properties"`
	}
	if err := json.Unmarshal(d.SettingsSchema, &document); err != nil || document.Type != "object" {
		r.fatalf("the settings schema does not describe an object: %v", err)
	}
	for name := range r.Settings.Secrets {
		var property struct {
			WriteOnly bool `json:"writeOnly"`
		}
		if err := json.Unmarshal(document.Properties[name], &property); err != nil || !property.WriteOnly {
			r.errorf("secret %q is not a writeOnly property of the schema", name)
		}
	}
}

func isName(name string) bool {
	return len(name) >= 2 && len(name) <= 32 && !strings.ContainsFunc(name, func(c rune) bool {
		return c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z')
	})
}

func describeTwice(r *run) {
	ctx, cancel := r.context()
	defer cancel()
	first, err := r.Provider.Describe(ctx)
	second, again := r.Provider.Describe(ctx)
	if err != nil || again != nil {
		r.fatalf("%v, %v", err, again)
	}
	if first.Name != second.Name || first.Version != second.Version || !slices.Equal(first.Contents, second.Contents) ||
		!bytes.Equal(first.SettingsSchema, second.SettingsSchema) {
		r.errorf("the answers differ")
	}
}

func health(r *run) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := r.Provider.Health(ctx); err != nil {
		r.errorf("%v", err)
	}
}

func checkTakes(r *run) {
	ctx, cancel := r.context()
	defer cancel()
	if err := r.Provider.Check(ctx, r.Settings); err != nil {
		r.errorf("%s", tell(err))
	}
}

func checkSendsNothing(r *run) {
	before := len(r.Inbox())
	checkTakes(r)
	if n := len(r.Inbox()) - before; n != 0 {
		r.errorf("%d messages", n)
	}
}

func checkRefuses(r *run) {
	if len(r.Refused) == 0 {
		r.fatalf("the target has no settings to refuse")
	}
	for _, refused := range r.Refused {
		ctx, cancel := r.context()
		err := r.Provider.Check(ctx, refused.Settings)
		cancel()
		r.refusal(refused, err)
	}
}

func sendRefuses(r *run) {
	before := len(r.Inbox())
	for _, refused := range r.Refused {
		ctx, cancel := r.context()
		request := r.request("refused")
		request.Settings = refused.Settings
		_, err := r.Provider.Send(ctx, request)
		cancel()
		r.refusal(refused, err)
	}
	if n := len(r.Inbox()) - before; n != 0 {
		r.errorf("%d messages were delivered", n)
	}
}

func (r *run) refusal(refused Refused, err error) {
	r.t.Helper()
	var failure *sdk.Failure
	switch {
	case err == nil:
		r.errorf("%s: taken", refused.Case)
	case !errors.As(err, &failure):
		r.errorf("%s: the error is not a *sdk.Failure", refused.Case)
	case failure.Kind != sdk.Misconfigured && failure.Kind != sdk.AuthenticationFailed:
		r.errorf("%s: kind %s", refused.Case, failure.Kind)
	case !strings.Contains(failure.Public, refused.Names):
		r.errorf("%s: public text %q does not name %q", refused.Case, failure.Public, refused.Names)
	}
}

func sendDelivers(r *run) {
	request := r.request("delivers")
	receipt := r.send(request)
	if receipt.Outcome != sdk.Accepted && receipt.Outcome != sdk.AcceptedUnknown && receipt.Outcome != "" {
		r.errorf("a receipt with outcome %s", receipt.Outcome)
	}
	var elapsed time.Duration
	for _, step := range receipt.Steps {
		if step.Name == "" || step.Start < 0 || step.Duration < 0 || step.Start < elapsed {
			r.errorf("step %+v is out of order", step)
		}
		elapsed = step.Start
	}
	got := r.arrived(request, 1)[0]
	want := Sent{MessageID: request.Mail.MessageID, To: r.To, Text: request.Mail.Text, HTML: request.Mail.HTML}
	if got != want {
		r.errorf("arrived %+v, want %+v", got, want)
	}
}

// linkArrives uses links with everything that encodings and trackers touch.
func linkArrives(r *run) {
	for i, link := range []string{
		"https://reset.example.com/r/AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA",
		"https://app.example/reset?token=acme.0197c0de-0000.AQID_BAUG-w==&lang=de#top",
		"https://app.example/" + strings.Repeat("a-_B", 60) + "?t=" + strings.Repeat("9=", 40),
	} {
		request := r.request(fmt.Sprint("link-", i))
		request.Mail.Facts.Link = sdk.NewSecret(link)
		request.Mail.Text = "Hello,\n\n" + link + "\n\nBye\n"
		request.Mail.HTML = `<p><a href="` + link + `">Choose</a></p>`
		r.send(request)
		got := r.arrived(request, 1)[0]
		if !strings.Contains(got.Text, "\n"+link+"\n") {
			r.errorf("link %d is not alone and whole in the text", i)
		}
		if !strings.Contains(got.HTML, `href="`+link+`"`) {
			r.errorf("link %d is not whole in the HTML", i)
		}
		if n := strings.Count(got.Text+got.HTML, "://"); n != 2 {
			r.errorf("link %d: %d links arrived, want the 2 that were given", i, n)
		}
	}
}

func sameMessageID(r *run) {
	request := r.request("twice")
	r.send(request)
	r.send(request)
	// The far side may take the repeat for what it is, or twice.
	if got := r.arrived(request, 0); len(got) < 1 || len(got) > 2 {
		r.errorf("%d mails arrived with the Message-ID, want 1 or 2", len(got))
	}
}

func textArrives(r *run) {
	request := r.request("unicode")
	request.Mail.Subject = "Neues Paßwort – 新しいパスワード 🔑"
	request.Mail.To.Name = "Zoë Straße"
	request.Mail.Text = "Grüße, 你好\n.\n..\nFrom here\n" + strings.Repeat("ü", 600) + "\n"
	request.Mail.HTML = "<p>Grüße, 你好 – tab\there</p>"
	r.send(request)
	got := r.arrived(request, 1)[0]
	if got.Text != request.Mail.Text || got.HTML != request.Mail.HTML {
		r.errorf("arrived %q and %q", got.Text, got.HTML)
	}
}

func largeBody(r *run) {
	request := r.request("large")
	request.Mail.HTML = "<p>" + strings.Repeat("0123456789abcde\n", 1<<16) + "</p>"
	r.send(request)
	if got := r.arrived(request, 1)[0]; got.HTML != request.Mail.HTML {
		r.errorf("arrived %d bytes, want %d", len(got.HTML), len(request.Mail.HTML))
	}
}

func injection(r *run) {
	before := len(r.Inbox())
	for _, set := range []func(*sdk.Mail){
		func(m *sdk.Mail) { m.Subject = "x\r\nBcc: eve@evil.example" },
		func(m *sdk.Mail) { m.To.Address = "ada@example.com\r\nRCPT TO:<eve@evil.example>" },
		func(m *sdk.Mail) { m.To.Name = "x\nBcc: eve@evil.example" },
		func(m *sdk.Mail) { m.Headers = []sdk.Header{{Name: "X-A", Value: "x\r\nBcc: eve@evil.example"}} },
	} {
		ctx, cancel := r.context()
		request := r.request("injection")
		set(request.Mail)
		_, err := r.Provider.Send(ctx, request)
		cancel()
		if err == nil {
			r.errorf("%q was taken", request.Mail.Subject)
		}
	}
	for _, sent := range r.Inbox()[before:] {
		if sent.To != r.To {
			r.errorf("a mail went to %q", sent.To)
		}
	}
}

// silentErrors looks at every error that the kit can provoke.
func silentErrors(r *run) {
	const canary = "canary-7f3a9c51"
	for _, refused := range r.Refused {
		settings := refused.Settings
		settings.Secrets = make(map[string]sdk.Secret)
		for name := range refused.Settings.Secrets {
			settings.Secrets[name] = sdk.NewSecret(canary)
		}
		request := r.request("silent")
		request.Settings = settings
		request.Mail.To.Address = canary + "@example.com"
		request.Mail.Facts.Link = sdk.NewSecret("https://reset.example.com/r/" + canary)
		request.Mail.Text = "https://reset.example.com/r/" + canary
		ctx, cancel := r.context()
		_, send := r.Provider.Send(ctx, request)
		check := r.Provider.Check(ctx, settings)
		cancel()
		for _, err := range []error{send, check} {
			if err != nil && strings.Contains(tell(err), canary) {
				r.errorf("%s: the error tells a value", refused.Case)
			}
		}
	}
}

func noContent(r *run) {
	ctx, cancel := r.context()
	defer cancel()
	request := r.request("none")
	request.Mail = nil
	if _, err := r.Provider.Send(ctx, request); err == nil {
		r.errorf("taken")
	}
}

func deadline(r *run) {
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	r.stalled(ctx)
}

func cancellation(r *run) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	timer := time.AfterFunc(300*time.Millisecond, cancel)
	defer timer.Stop()
	r.stalled(ctx)
}

func (r *run) stalled(ctx context.Context) {
	r.t.Helper()
	if r.Stalled.Values == nil {
		r.t.Logf("%s: left out, the target has no stalled server", r.name)
		return
	}
	request := r.request("stalled")
	request.Settings = r.Stalled
	ended := make(chan error, 1)
	go func() {
		_, err := r.Provider.Send(ctx, request)
		ended <- err
	}()
	select {
	case err := <-ended:
		if err == nil {
			r.errorf("a receipt from a server that never answered")
		}
	case <-time.After(3 * time.Second):
		r.errorf("Send is still running 2.7 s after its end")
	}
}

func overBefore(r *run) {
	ctx, cancel := r.context()
	cancel()
	request := r.request("over")
	if _, err := r.Provider.Send(ctx, request); err == nil {
		r.errorf("a receipt")
	}
	if got := r.arrived(request, 0); len(got) != 0 {
		r.errorf("%d mails arrived", len(got))
	}
}

func concurrent(r *run) {
	const n = 64
	requests := make([]sdk.SendRequest, n)
	var sending sync.WaitGroup
	var failed atomic.Pointer[string]
	for i := range requests {
		requests[i] = r.request(fmt.Sprint("concurrent-", i))
		sending.Go(func() {
			ctx, cancel := r.context()
			defer cancel()
			if _, err := r.Provider.Send(ctx, requests[i]); err != nil {
				text := tell(err)
				failed.Store(&text)
			}
		})
	}
	sending.Wait()
	if text := failed.Load(); text != nil {
		r.fatalf("%s", *text)
	}
	for _, request := range requests {
		r.arrived(request, 1)
	}
}
