package postmark

import (
	"bytes"
	"context"
	"net/http/httptrace"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/passmend/passmend/plugins/postmark/postmarktest"
	"github.com/passmend/passmend/plugins/sdk"
)

var seen = cmpopts.IgnoreFields(postmarktest.Message{}, "ID", "At")

func TestSendDeliversWhatItWasGiven(t *testing.T) {
	t.Parallel()
	server := postmarktest.Start(t, postmarktest.Options{Streams: []string{"outbound", "resets"}})
	logo := []byte("\x89PNG\r\n\x1a\n a logo")
	m := testMail()
	m.From.Name = `Acme "Rockets", Inc. \o/`
	m.ReplyTo = sdk.Mailbox{Name: "Support", Address: "support@acme.example"}
	m.Subject = "Neues Paßwort für Ada"
	m.Headers = []sdk.Header{{Name: "Auto-Submitted", Value: "auto-generated"}, {Name: "X-Request", Value: "r-1"}}
	m.Inline = []sdk.Inline{{ContentID: "logo@acme", ContentType: "image/png", Name: "logo.png", Bytes: logo}}
	request := requestTo(server, m)
	request.Settings = settingsOf(server, `,"messageStream":"resets"`)

	receipt, err := newProvider(t).Send(t.Context(), request)
	if err != nil {
		t.Fatal(tell(err))
	}
	taken := server.Messages()
	if len(taken) != 1 {
		t.Fatalf("%d messages, want 1", len(taken))
	}
	want := postmarktest.Message{
		From:    `"Acme \"Rockets\", Inc. \\o/" <noreply@acme.example>`,
		To:      "ada@example.com",
		ReplyTo: `"Support" <support@acme.example>`,
		Subject: m.Subject, Text: m.Text, HTML: m.HTML, MessageID: m.MessageID,
		Headers:     []postmarktest.Header{{Name: "Auto-Submitted", Value: "auto-generated"}, {Name: "X-Request", Value: "r-1"}},
		Attachments: []postmarktest.Attachment{{Name: "logo.png", ContentType: "image/png", ContentID: "cid:logo@acme", Content: logo}},
		Metadata:    map[string]string{"delivery": deliveryName("key-1")},
		Stream:      "resets", TrackLinks: "None",
	}
	if diff := cmp.Diff(want, taken[0], seen); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
	wantReceipt := sdk.Receipt{Outcome: sdk.Accepted, MessageID: taken[0].ID, Code: "200"}
	if diff := cmp.Diff(wantReceipt, receipt, cmpopts.IgnoreFields(sdk.Receipt{}, "Steps")); diff != "" {
		t.Errorf("receipt (-want +got):\n%s", diff)
	}
}

// The fake tracks unless it is told not to, as Postmark does on a server where
// tracking is on. The control is a payload that does not say so.
func TestNothingIsTracked(t *testing.T) {
	t.Parallel()
	server := postmarktest.Start(t, postmarktest.Options{})
	p := newProvider(t)
	request := requestTo(server, testMail())
	if _, err := p.Send(t.Context(), request); err != nil {
		t.Fatal(tell(err))
	}
	s, err := parseSettings(request.Settings)
	if err != nil {
		t.Fatal(err)
	}
	m, err := build(s, request)
	if err != nil {
		t.Fatal(err)
	}
	m.body = bytes.Replace(m.body, []byte(`,"TrackOpens":false,"TrackLinks":"None"`), nil, 1)
	if r := p.post(t.Context(), s, []*message{m})[0]; r.failure != nil {
		t.Fatal(tell(r.failure))
	}
	got := server.Messages()
	if got[0].Text != testMail().Text || got[0].HTML != testMail().HTML {
		t.Errorf("arrived %q and %q", got[0].Text, got[0].HTML)
	}
	if strings.Contains(got[1].Text, "\n"+testLink+"\n") || !strings.Contains(got[1].HTML, "open") {
		t.Error("the fake does not track what does not forbid it")
	}
}

func TestATemplateTakesTheFacts(t *testing.T) {
	t.Parallel()
	server := postmarktest.Start(t, postmarktest.Options{Templates: map[string]postmarktest.Template{
		"reset-1": {
			Subject: "{{{subject}}}", Text: "{{{to_name}}}: {{{link}}} until {{{expires_at}}}",
			HTML: `<a href="{{link}}">{{from_name}}, {{locale}}</a>`,
		},
	}})
	m := testMail()
	m.Facts.Link = sdk.NewSecret("https://app.example/reset?token=a.b.c&x=1")
	m.Facts.ExpiresAt = time.Date(2030, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	m.Inline = []sdk.Inline{{ContentID: "logo@acme", ContentType: "image/png", Name: "logo.png", Bytes: []byte("x")}}
	request := requestTo(server, m)
	request.Settings = settingsOf(server, `,"resetTemplate":"reset-1"`)
	p := newProvider(t)
	if _, err := p.Send(t.Context(), request); err != nil {
		t.Fatal(tell(err))
	}
	want := postmarktest.Message{
		From: `"Acme" <noreply@acme.example>`, To: "ada@example.com", Subject: m.Subject, MessageID: m.MessageID,
		Text:     "Ada Lovelace: https://app.example/reset?token=a.b.c&x=1 until 2030-01-02T02:04:05Z",
		HTML:     `<a href="https://app.example/reset?token=a.b.c&amp;x=1">Acme, en</a>`,
		Metadata: map[string]string{"delivery": deliveryName("key-1")},
		Stream:   "outbound", Template: "reset-1", TrackLinks: "None",
	}
	if diff := cmp.Diff(want, server.Messages()[0], seen); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
	// Another template key has no alias here, and is sent as it was written.
	m.Facts.Template = "changed"
	if _, err := p.Send(t.Context(), request); err != nil {
		t.Fatal(tell(err))
	}
	if got := server.Messages()[1]; got.Template != "" || got.Text != m.Text {
		t.Errorf("the notice went through template %q", got.Template)
	}
}

func TestStepsTellWhereTheTimeWent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		tls  bool
		want []string
	}{
		{"http on loopback", false, []string{"dial", "data"}},
		{"https", true, []string{"dial", "tls", "data"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := postmarktest.Start(t, postmarktest.Options{TLS: c.tls})
			p := newProvider(t)
			if c.tls {
				trust(p, server)
			}
			for _, want := range [][]string{c.want, {"data"}} { // the second finds a kept connection
				receipt, err := p.Send(t.Context(), requestTo(server, testMail()))
				if err != nil {
					t.Fatal(tell(err))
				}
				var names []string
				for _, step := range receipt.Steps {
					names = append(names, step.Name)
					if step.Start < 0 || step.Duration <= 0 {
						t.Errorf("step %+v", step)
					}
				}
				if diff := cmp.Diff(want, names); diff != "" {
					t.Errorf("steps (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// The transport may begin a dial and then find another connection; the dial ends
// after the request, and its time was not the request's.
func TestADialThatWasNotNeededIsNoStep(t *testing.T) {
	t.Parallel()
	watched := &trace{}
	entered := time.Now()
	hooks := httptrace.ContextClientTrace(watched.attach(t.Context()))
	hooks.GetConn("")
	hooks.ConnectStart("", "")
	hooks.GotConn(httptrace.GotConnInfo{Reused: true})
	hooks.WroteHeaders()
	watched.finish()
	hooks.ConnectDone("", "", nil)
	if steps := watched.steps(entered); len(steps) != 1 || steps[0].Name != "data" || !watched.reached() {
		t.Errorf("steps %+v, reached %v", steps, watched.reached())
	}
	// Another attempt is made only when nothing of the first was processed.
	again := &trace{}
	hooks = httptrace.ContextClientTrace(again.attach(t.Context()))
	hooks.WroteHeaders()
	hooks.GetConn("")
	if again.reached() {
		t.Error("the earlier attempt counts")
	}
}

// The payloads try to add a recipient or a header; each must end before anything
// is said to Postmark.
func TestNothingAddsARecipientOrAHeader(t *testing.T) {
	t.Parallel()
	server := postmarktest.Start(t, postmarktest.Options{})
	p := newProvider(t)
	var mails []*sdk.Mail
	add := func(set func(*sdk.Mail)) {
		m := testMail()
		set(m)
		mails = append(mails, m)
	}
	for _, text := range []string{
		"x\r\nBcc: eve@evil.example", "x\ny", "x\rX: y", "x\x00y", "x\x7fy", "x\u2028y", "x\u2029y", "x\u0085y", "x\xffy",
	} {
		add(func(m *sdk.Mail) { m.From.Name = text })
		add(func(m *sdk.Mail) { m.To.Name = text })
		add(func(m *sdk.Mail) { m.ReplyTo = sdk.Mailbox{Name: text, Address: "a@acme.example"} })
		add(func(m *sdk.Mail) { m.Subject = text })
		add(func(m *sdk.Mail) { m.MessageID = text })
		add(func(m *sdk.Mail) { m.Headers = []sdk.Header{{Name: "X-A", Value: text}} })
		add(func(m *sdk.Mail) { m.Headers = []sdk.Header{{Name: text, Value: "x"}} })
		add(func(m *sdk.Mail) {
			m.Inline = []sdk.Inline{{ContentID: "a", ContentType: "image/png", Name: text}}
		})
	}
	for _, address := range []string{
		"", "ada", "@example.com", "ada@", `"a b"@example.com`, "ada@[127.0.0.1]", "ada@example.com,eve@evil.example",
		"ada@example.com\r\nBcc: eve@evil.example", "Eve <eve@evil.example>", "a@b@example.com", "ada@example.com>,<eve@evil.example",
	} {
		add(func(m *sdk.Mail) { m.To.Address = address })
		add(func(m *sdk.Mail) { m.From.Address = address })
		if address != "" {
			add(func(m *sdk.Mail) { m.ReplyTo.Address = address })
		}
	}
	for _, name := range []string{"Bcc", "to", "X-PM-KeepID", "X-PM-Tag", "Message-Id", "Content-Type", "Resent-To"} {
		add(func(m *sdk.Mail) { m.Headers = []sdk.Header{{Name: name, Value: "x"}} })
	}
	add(func(m *sdk.Mail) { m.Text, m.HTML = "", "" })
	add(func(m *sdk.Mail) { m.HTML = strings.Repeat("x", maxMessage) })
	for _, m := range mails {
		_, err := p.Send(t.Context(), requestTo(server, m))
		switch kindOf(err) {
		case sdk.ContentRefused, sdk.RecipientRefused, sdk.Misconfigured:
		default:
			t.Errorf("%+v: %v", *m, err)
		}
	}
	if n := len(server.Requests()); n != 0 {
		t.Fatalf("%d requests reached the server", n)
	}
	// The controls: the same mail without a payload arrives, and so do a comma and
	// an address inside a name, at the one recipient.
	m := testMail()
	m.To.Name = `Eve <eve@evil.example>, "Ada"`
	if _, err := p.Send(t.Context(), requestTo(server, m)); err != nil {
		t.Fatal(tell(err))
	}
	if got := server.Messages(); len(got) != 1 || got[0].To != "ada@example.com" {
		t.Errorf("arrived %+v", got)
	}
}

func TestWhatIsOverIsNotSent(t *testing.T) {
	t.Parallel()
	server := postmarktest.Start(t, postmarktest.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := newProvider(t).Send(ctx, requestTo(server, testMail())); kindOf(err) != sdk.Temporary {
		t.Errorf("Send = %v", err)
	}
	if n := len(server.Requests()); n != 0 {
		t.Errorf("%d requests", n)
	}
}
