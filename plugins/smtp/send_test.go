package smtp

import (
	"bytes"
	"mime"
	"net/mail"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/smtp/smtptest"
)

func TestSendDeliversWhatItWasGiven(t *testing.T) {
	t.Parallel()
	server := smtptest.Start(t, smtptest.Options{})
	logo := []byte("\x89PNG\r\n\x1a\n a logo")
	m := testMail()
	m.ReplyTo = sdk.Mailbox{Name: "Support", Address: "support@acme.example"}
	m.Subject = "Neues Paßwort für Ada"
	m.Headers = []sdk.Header{{Name: "Auto-Submitted", Value: "auto-generated"}, {Name: "X-Request", Value: "r-1"}}
	m.Inline = []sdk.Inline{{ContentID: "logo@acme", ContentType: "image/png", Name: "logo.png", Bytes: logo}}

	receipt, err := newProvider(t).Send(t.Context(), requestTo(server.Settings(""), m))
	if err != nil {
		t.Fatalf("Send: %v (%s)", err, sdk.FailureOf(err).Private)
	}
	if receipt.Outcome != sdk.Accepted {
		t.Errorf("outcome = %q", receipt.Outcome)
	}
	taken := server.Messages()
	if len(taken) != 1 {
		t.Fatalf("%d messages, want 1", len(taken))
	}
	if diff := cmp.Diff(
		smtptest.Message{From: "noreply@acme.example", To: []string{"ada@example.com"}, Raw: taken[0].Raw}, taken[0],
	); diff != "" {
		t.Errorf("envelope (-want +got):\n%s", diff)
	}
	got := smtptest.Parse(t, taken[0].Raw)
	subject, err := new(mime.WordDecoder).DecodeHeader(got.Header.Get("Subject"))
	if err != nil {
		t.Fatal(err)
	}
	type content struct {
		Shape, Text, HTML, Subject, MessageID string
		From, To, ReplyTo                     string
		Auto, Request, UserAgent, Mailer      string
		Inline                                map[string][]byte
	}
	h := got.Header
	if diff := cmp.Diff(content{
		Shape: "multipart/related(multipart/alternative(text/plain text/html) image/png)",
		Text:  m.Text, HTML: m.HTML, Subject: m.Subject, MessageID: m.MessageID,
		From: `"Acme" <noreply@acme.example>`, To: `"Ada Lovelace" <ada@example.com>`,
		ReplyTo: `"Support" <support@acme.example>`,
		Auto:    "auto-generated", Request: "r-1",
		Inline: map[string][]byte{"<logo@acme>": logo},
	}, content{
		Shape: got.Shape, Text: got.Text, HTML: got.HTML, Subject: subject, MessageID: got.MessageID(),
		From: h.Get("From"), To: h.Get("To"), ReplyTo: h.Get("Reply-To"),
		Auto: h.Get("Auto-Submitted"), Request: h.Get("X-Request"),
		UserAgent: h.Get("User-Agent"), Mailer: h.Get("X-Mailer"),
		Inline: got.Inline,
	}); diff != "" {
		t.Errorf("content (-want +got):\n%s", diff)
	}
	if date, err := mail.ParseDate(h.Get("Date")); err != nil || time.Since(date) > time.Minute {
		t.Errorf("date = %q", h.Get("Date"))
	}
}

func TestTheLinkSurvivesEncoding(t *testing.T) {
	t.Parallel()
	server := smtptest.Start(t, smtptest.Options{})
	provider := newProvider(t)
	for name, c := range map[string]struct {
		link string
		raw  bool // also untouched in the raw text
	}{
		"the usual form stays alone on its line": {testLink, true},
		"a query with an equals sign":            {"https://app.example/reset?token=acme.0197c0de.AQIDBAUG&x=1=", false},
		"longer than a line":                     {"https://app.example/" + strings.Repeat("a-_B", 60) + "?t=" + strings.Repeat("9", 80), false},
	} {
		t.Run(name, func(t *testing.T) {
			m := testMail()
			m.MessageID = strings.ReplaceAll(name, " ", ".") + "@acme.example"
			m.Text = "Grüße,\n\n" + c.link + "\n\nBis bald\n"
			m.HTML = "<a href=\"" + c.link + "\">Grüße</a>"
			if _, err := provider.Send(t.Context(), requestTo(server.Settings(""), m)); err != nil {
				t.Fatal(err)
			}
			raw := find(t, server, m.MessageID)
			got := smtptest.Parse(t, raw)
			if got.Text != m.Text || got.HTML != m.HTML {
				t.Errorf("text %q, html %q", got.Text, got.HTML)
			}
			if alone := bytes.Contains(raw, []byte("\r\n"+c.link+"\r\n")); alone != c.raw {
				t.Errorf("link alone on its raw line: %v, want %v", alone, c.raw)
			}
		})
	}
}

func TestSendOverEveryKindOfConnection(t *testing.T) {
	t.Parallel()
	users := map[string]string{"ada": "pässword"}
	for _, c := range []struct {
		name       string
		tls        string
		mechanisms []string
		steps      []string
	}{
		{"plain on loopback", "", nil, []string{"dial", "data"}},
		{"starttls", "starttls", nil, []string{"dial", "tls", "data"}},
		{"implicit", "implicit", nil, []string{"dial", "tls", "data"}},
		{"starttls with PLAIN", "starttls", []string{"PLAIN"}, []string{"dial", "tls", "auth", "data"}},
		{"implicit with LOGIN", "implicit", []string{"LOGIN"}, []string{"dial", "tls", "auth", "data"}},
		{"starttls with CRAM-MD5", "starttls", []string{"CRAM-MD5"}, []string{"dial", "tls", "auth", "data"}},
		{"loopback with LOGIN", "", []string{"LOGIN"}, []string{"dial", "auth", "data"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			options := smtptest.Options{TLS: c.tls}
			request := sdk.SendRequest{IdempotencyKey: "k", Mail: testMail()}
			more, wantUser := "", ""
			if c.mechanisms != nil {
				options.Users, options.Mechanisms = users, c.mechanisms
				more, wantUser = `,"username":"ada"`, "ada"
				request = withPassword(request, users["ada"])
			}
			server := smtptest.Start(t, options)
			request.Settings.Values = server.Settings(more)
			provider := newProvider(t)
			if err := provider.Check(t.Context(), request.Settings); err != nil {
				t.Fatalf("Check: %v (%s)", err, sdk.FailureOf(err).Private)
			}
			receipt, err := provider.Send(t.Context(), request)
			if err != nil {
				t.Fatalf("Send: %v (%s)", err, sdk.FailureOf(err).Private)
			}
			var steps []string
			for _, step := range receipt.Steps {
				steps = append(steps, step.Name)
			}
			if diff := cmp.Diff(c.steps, steps); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
			if taken := server.Messages(); len(taken) != 1 || taken[0].User != wantUser {
				t.Errorf("taken %d, as %q", len(taken), taken[0].User)
			}
		})
	}
}

func TestUTF8AddressesNeedTheServer(t *testing.T) {
	t.Parallel()
	const local = "jörg@exämple.com"
	for _, c := range []struct {
		name  string
		utf8  bool
		set   func(*sdk.Mail)
		want  sdk.Outcome
		names string // in the public text
	}{
		{"recipient, offered", true, func(m *sdk.Mail) { m.To.Address = local }, sdk.Accepted, ""},
		{"recipient, not offered", false, func(m *sdk.Mail) { m.To.Address = local }, sdk.RecipientRefused, "recipient's address needs SMTPUTF8"},
		{"sender, not offered", false, func(m *sdk.Mail) { m.From.Address = local }, sdk.Misconfigured, "sender's"},
		{"reply address, not offered", false, func(m *sdk.Mail) { m.ReplyTo.Address = local }, sdk.Misconfigured, "reply"},
		// The control: a domain alone has an ASCII form.
		{"domain, not offered", false, func(m *sdk.Mail) { m.To.Address = "ada@exämple.com" }, sdk.Accepted, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := smtptest.Start(t, smtptest.Options{UTF8: c.utf8})
			m := testMail()
			c.set(m)
			_, err := newProvider(t).Send(t.Context(), requestTo(server.Settings(""), m))
			if kindOf(err) != c.want || err != nil && !strings.Contains(err.Error(), c.names) {
				t.Fatalf("outcome = %s (%v), want %s", kindOf(err), err, c.want)
			}
			if err != nil {
				return
			}
			taken := server.Messages()[0]
			if !strings.HasSuffix(taken.To[0], "@xn--exmple-cua.com") || !bytes.Contains(taken.Raw, []byte("@xn--exmple-cua.com>")) {
				t.Errorf("to %q\n%s", taken.To, taken.Raw)
			}
		})
	}
}

// The payloads try to add a recipient, a header or a command; each must end
// before anything is said to the server.
func TestNothingWritesACommandOfItsOwn(t *testing.T) {
	t.Parallel()
	payloads := []string{
		"x\r\nBcc: eve@evil.example", "x\nRCPT TO:<eve@evil.example>", "x\rX: y", "x\x00y", "x\x7fy", "x\u2028y",
		"x\u2029y", "x\u0085y", "x\xffy",
	}
	addresses := []string{
		"", "ada", "@example.com", "ada@", `"a b"@example.com`, "ada@[127.0.0.1]", "a..b@example.com", ".a@example.com",
		"ada@-example.com", "ada@exa mple.com", "ada@example.com>,<eve@evil.example", "ada@example.com eve",
		"<ada@example.com>", "ada@example.com\r\nRCPT TO:<eve@evil.example>", "a@b@example.com", "ada,eve@example.com",
	}
	server := smtptest.Start(t, smtptest.Options{})
	provider := newProvider(t)
	try := func(place, payload string, set func(*sdk.Mail)) {
		m := testMail()
		m.Inline = []sdk.Inline{{ContentID: "logo@acme", ContentType: "image/png", Name: "logo.png", Bytes: []byte("x")}}
		set(m)
		if _, err := provider.Send(t.Context(), requestTo(server.Settings(""), m)); err == nil {
			t.Errorf("%s took %q", place, payload)
		} else if text := err.Error() + sdk.FailureOf(err).Private; payload != "" && strings.Contains(text, payload) {
			t.Errorf("%s: the error quotes %q", place, payload)
		}
	}
	for _, p := range payloads {
		try("from name", p, func(m *sdk.Mail) { m.From.Name = p })
		try("to name", p, func(m *sdk.Mail) { m.To.Name = p })
		try("reply name", p, func(m *sdk.Mail) { m.ReplyTo = sdk.Mailbox{Name: p, Address: "a@b.example"} })
		try("subject", p, func(m *sdk.Mail) { m.Subject = p })
		try("message id", p, func(m *sdk.Mail) { m.MessageID = p })
		try("header name", p, func(m *sdk.Mail) { m.Headers = []sdk.Header{{Name: p, Value: "v"}} })
		try("header value", p, func(m *sdk.Mail) { m.Headers = []sdk.Header{{Name: "X-A", Value: p}} })
		try("inline name", p, func(m *sdk.Mail) { m.Inline[0].Name = p })
		try("content id", p, func(m *sdk.Mail) { m.Inline[0].ContentID = p })
		try("content type", p, func(m *sdk.Mail) { m.Inline[0].ContentType = p })
	}
	for _, a := range slices.Concat(addresses, payloads) {
		try("to", a, func(m *sdk.Mail) { m.To.Address = a })
		try("from", a, func(m *sdk.Mail) { m.From.Address = a })
		if a != "" {
			try("reply to", a, func(m *sdk.Mail) { m.ReplyTo.Address = a })
		}
	}
	for _, name := range []string{"Bcc", "cc", "TO", "Content-Type", "Message-ID", "Resent-To", "Sender", "Return-Path"} {
		try("reserved header", name, func(m *sdk.Mail) { m.Headers = []sdk.Header{{Name: name, Value: "eve@evil.example"}} })
	}
	if n := len(server.Messages()) + server.Connections(); n != 0 {
		t.Errorf("%d connections or messages reached the server", n)
	}
	// The control: the same mail without a payload arrives.
	if _, err := provider.Send(t.Context(), requestTo(server.Settings(""), testMail())); err != nil || len(server.Messages()) != 1 {
		t.Errorf("without a payload: %v, %d messages", err, len(server.Messages()))
	}
}

func TestDotsAreStuffed(t *testing.T) {
	t.Parallel()
	server := smtptest.Start(t, smtptest.Options{})
	m := testMail()
	m.HTML = ""
	m.Text = "one\n.\nMAIL FROM:<eve@evil.example>\n..two\n"
	if _, err := newProvider(t).Send(t.Context(), requestTo(server.Settings(""), m)); err != nil {
		t.Fatal(err)
	}
	taken := server.Messages()
	if len(taken) != 1 {
		t.Fatalf("%d messages, want 1", len(taken))
	}
	if got := smtptest.Parse(t, taken[0].Raw).Text; got != m.Text {
		t.Errorf("text = %q", got)
	}
}

func find(t *testing.T, server *smtptest.Server, messageID string) []byte {
	t.Helper()
	for _, message := range server.Messages() {
		if smtptest.Parse(t, message.Raw).MessageID() == messageID {
			return message.Raw
		}
	}
	t.Fatalf("no message %q", messageID)
	return nil
}
