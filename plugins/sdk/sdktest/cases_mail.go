package sdktest

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
)

var mailCases = []Case{
	{"Send delivers", mail, sendDelivers},
	{"The receipt is well-formed", mail, receiptWellFormed},
	{"The link arrives byte for byte in the text", mail, linkInText},
	{"The link arrives byte for byte in the HTML", mail, linkInHTML},
	{"No link is added", mail, noLinkAdded},
	{"The same key is sent with the same Message-ID", mail, sameMessageID},
	{"The Message-ID is the one that was given", mail, givenMessageID},
	{"The subject arrives, beyond ASCII and beyond one line", mail, subjectArrives},
	{"The sender arrives, name and address", mail, fromArrives},
	{"The recipient arrives, name and address", mail, toArrives},
	{"The reply address arrives", mail, replyToArrives},
	{"No reply address is made up", mail, noReplyTo},
	{"Header fields arrive in their order", mail, headersArrive},
	{"Text beyond ASCII arrives", mail, unicodeArrives},
	{"Lines that look like the protocol's arrive", mail, oddLinesArrive},
	{"Lines of 20,000 characters arrive", mail, longLinesArrive},
	{"A mail without HTML arrives", mail, noHTML},
	{"A mail without text arrives", mail, noText},
	{"An inline image arrives", mail, inlineArrives},
	{"A body of 1 MiB arrives", mail, largeBody},
	{"A mail without a link arrives", mail, noLink},
	{"A call without a trace parent is delivered", mail, noTraceParent},
	{"An address with dots and a plus is taken as it is", mail, verbatimAddress},
}

func sendDelivers(r *run) {
	request := r.request("delivers")
	got := r.deliver(request)
	if got.To != r.To {
		r.errorf("it went to %q, want %q", got.To, r.To)
	}
	r.sameBodies(got, request)
}

func (r *run) sameBodies(got Sent, request sdk.SendRequest) {
	if got.Text != request.Mail.Text {
		r.errorf("the text arrived as %q", shown(got.Text))
	}
	if got.HTML != request.Mail.HTML {
		r.errorf("the HTML arrived as %q", shown(got.HTML))
	}
}

// shown is the beginning of a long text.
func shown(text string) string {
	if len(text) > 200 {
		return strings.ToValidUTF8(text[:200], "") + "..."
	}
	return text
}

func receiptWellFormed(r *run) {
	r.checkReceipt(r.send(r.request("receipt")))
}

func (r *run) checkReceipt(receipt sdk.Receipt) {
	if receipt.Outcome != sdk.Accepted && receipt.Outcome != sdk.AcceptedUnknown && receipt.Outcome != "" {
		r.errorf("outcome %s", receipt.Outcome)
	}
	if len(receipt.MessageID) > 256 || !isPrintable(receipt.MessageID) {
		r.errorf("the message id is not at most 256 printable characters")
	}
	r.checkCode(receipt.Code, receipt.Answer)
	var elapsed time.Duration
	for _, step := range receipt.Steps {
		if step.Name == "" || step.Start < elapsed || step.Duration < 0 {
			r.errorf("step %+v is out of order", step)
		}
		elapsed = step.Start
	}
}

// linkTexts are links with everything that encodings and trackers touch.
var linkTexts = []string{
	link,
	"https://app.example/reset?token=acme.0197c0de-0000.AQID_BAUG-w==&lang=de#top",
	"https://app.example/" + strings.Repeat("a-_B", 60) + "?t=" + strings.Repeat("9=", 40),
}

func (r *run) linkRequest(link string) sdk.SendRequest {
	request := r.request("link")
	request.Mail.Facts.Link = sdk.NewSecret(link)
	request.Mail.Text = "Hello,\n\n" + link + "\n\nBye\n"
	request.Mail.HTML = `<p><a href="` + link + `">Choose</a></p>`
	return request
}

func linkInText(r *run) {
	for i, link := range linkTexts {
		if got := r.deliver(r.linkRequest(link)); !strings.Contains(got.Text, "\n"+link+"\n") {
			r.errorf("link %d is not alone and whole in the text", i+1)
		}
	}
}

func linkInHTML(r *run) {
	for i, link := range linkTexts {
		if got := r.deliver(r.linkRequest(link)); !strings.Contains(got.HTML, `href="`+link+`"`) {
			r.errorf("link %d is not whole in the HTML", i+1)
		}
	}
}

func noLinkAdded(r *run) {
	for i, link := range linkTexts {
		got := r.deliver(r.linkRequest(link))
		if n := strings.Count(got.Text+got.HTML, "://"); n != 2 {
			r.errorf("link %d: %d links arrived, want the 2 that were given", i+1, n)
		}
	}
}

func sameMessageID(r *run) {
	request := r.request("twice")
	r.send(request)
	r.send(request)
	// The far side may take the repeat for what it is, or twice.
	n := eventually(2, func() int { return len(r.inboxOf(request)) })
	if n < 1 || n > 2 {
		r.errorf("%d mails arrived with the Message-ID, want 1 or 2", n)
	}
}

// header gives the fields of a mail, if the target shows them.
func (r *run) header(sent Sent) []sdk.Header {
	if sent.Header == nil {
		r.skipf("the target's inbox does not show header fields")
	}
	return sent.Header
}

func givenMessageID(r *run) {
	request := r.request("id")
	header := r.header(r.deliver(request))
	n := 0
	for _, h := range header {
		if strings.EqualFold(h.Name, "Message-ID") {
			n++
		}
	}
	if want := "<" + request.Mail.MessageID + ">"; n != 1 || strings.TrimSpace(field(header, "Message-ID")) != want {
		r.errorf("%d fields, the first %q, want one: %q", n, field(header, "Message-ID"), want)
	}
}

func subjectArrives(r *run) {
	for _, subject := range []string{
		"Neues Pa\u00dfwort \u2013 \u65b0\u3057\u3044\u30d1\u30b9\u30ef\u30fc\u30c9 \U0001f511",
		"Choose a new password " + strings.Repeat("for your account at Acme ", 10) + "today",
		strings.Repeat("\u00fc", 150),
		`Quotes "and" <angles> =?utf-8?q?and_words?=`,
	} {
		request := r.request("subject")
		request.Mail.Subject = subject
		// A subject that looks encoded is either encoded again or, in plain, decoded
		// by nobody.
		header := r.header(r.deliver(request))
		if got := field(header, "Subject"); words(got) != subject && got != subject {
			r.errorf("arrived %q, want %q", shown(words(got)), shown(subject))
		}
	}
}

func fromArrives(r *run) {
	request := r.request("from")
	request.Mail.From.Name = "Zo\u00eb \"the\" Support, Acme"
	r.sameMailbox(request, "From", request.Mail.From)
}

func toArrives(r *run) {
	request := r.request("to")
	request.Mail.To.Name = "\u00c5sa Stra\u00dfe (Ms.)"
	r.sameMailbox(request, "To", request.Mail.To)
}

func replyToArrives(r *run) {
	request := r.request("reply")
	request.Mail.ReplyTo = sdk.Mailbox{Name: "Hilfe f\u00fcr alle", Address: "help@acme.example"}
	r.sameMailbox(request, "Reply-To", request.Mail.ReplyTo)
}

func (r *run) sameMailbox(request sdk.SendRequest, name string, want sdk.Mailbox) {
	value := field(r.header(r.deliver(request)), name)
	got, err := mailbox(value)
	if err != nil {
		r.fatalf("%s: %q cannot be read: %v", name, value, err)
	}
	if got != want {
		r.errorf("%s: arrived %+v, want %+v", name, got, want)
	}
}

func noReplyTo(r *run) {
	header := r.header(r.deliver(r.request("no-reply")))
	if got := field(header, "Reply-To"); got != "" {
		r.errorf("Reply-To: %q", got)
	}
}

// headersArrive gives fields in an order that no sorting makes.
func headersArrive(r *run) {
	request := r.request("headers")
	request.Mail.Headers = []sdk.Header{
		{Name: "X-Passmend-Kit", Value: "first"},
		{Name: "Auto-Submitted", Value: "auto-generated"},
		{Name: "X-Auto-Response-Suppress", Value: "All"},
		{Name: "Feedback-ID", Value: "reset:acme:passmend"},
	}
	var got []sdk.Header
	for _, h := range r.header(r.deliver(request)) {
		for _, want := range request.Mail.Headers {
			if strings.EqualFold(h.Name, want.Name) {
				got = append(got, sdk.Header{Name: want.Name, Value: words(h.Value)})
			}
		}
	}
	if !slices.Equal(got, request.Mail.Headers) {
		r.errorf("arrived %v, want %v", got, request.Mail.Headers)
	}
}

// bodies delivers a mail with these bodies and compares.
func (r *run) bodies(name, text, html string) {
	request := r.request(name)
	request.Mail.Text, request.Mail.HTML = text, html
	r.sameBodies(r.deliver(request), request)
}

func unicodeArrives(r *run) {
	r.bodies("unicode", "Gr\u00fc\u00dfe, \u4f60\u597d \U0001f511\n"+strings.Repeat("\u00fc", 600)+"\n",
		"<p>Gr\u00fc\u00dfe, \u4f60\u597d \u2013 tab\there</p>")
}

func oddLinesArrive(r *run) {
	r.bodies("lines", ".\n..\nFrom here\n.hidden\n--boundary\ntrailing space \n=20=3D\n\nend\n", "<pre>\n.\n..\nFrom here\n--x--\n</pre>\n")
}

func longLinesArrive(r *run) {
	r.bodies("long", strings.Repeat("abcdefghi ", 2000)+"\n", "<p>"+strings.Repeat("x", 20000)+"</p>")
}

func noHTML(r *run) { r.bodies("text", "Hello,\n\n"+link+"\n", "") }

func noText(r *run) { r.bodies("html", "", `<p><a href="`+link+`">Choose</a></p>`) }

func inlineArrives(r *run) {
	request := r.request("inline")
	want := sdk.Inline{
		ContentID: "logo@acme.example", ContentType: "image/png", Name: "logo.png",
		Bytes: append([]byte("\x89PNG\r\n\x1a\n\x00"), bytes.Repeat([]byte{0, 0xff, '\n'}, 2000)...),
	}
	request.Mail.HTML += `<img src="cid:logo@acme.example">`
	request.Mail.Inline = []sdk.Inline{want}
	got := r.deliver(request)
	r.header(got) // an inbox that shows no fields shows no parts
	if len(got.Inline) != 1 || got.Inline[0].ContentID != want.ContentID ||
		got.Inline[0].ContentType != want.ContentType || !bytes.Equal(got.Inline[0].Bytes, want.Bytes) {
		r.errorf("%d parts arrived, or not the one that was given", len(got.Inline))
	}
	r.sameBodies(got, request)
}

func largeBody(r *run) {
	r.bodies("large", "Hello,\n", "<p>"+strings.Repeat("0123456789abcde\n", 1<<16)+"</p>")
}

func noLink(r *run) {
	request := r.request("changed")
	request.Mail.Facts = sdk.Facts{Template: "changed", Locale: "de-CH"}
	request.Mail.Text, request.Mail.HTML = "Your password was changed.\n", "<p>Your password was changed.</p>"
	r.sameBodies(r.deliver(request), request)
}

func noTraceParent(r *run) {
	request := r.request("untraced")
	request.TraceParent = ""
	r.deliver(request)
}

func verbatimAddress(r *run) {
	request := r.request("verbatim")
	local, domain, _ := strings.Cut(r.To, "@")
	request.Mail.To.Address = local + ".Lovelace+reset_1@" + domain
	if got := r.deliver(request); got.To != request.Mail.To.Address {
		r.errorf("it went to %q", got.To)
	}
}
