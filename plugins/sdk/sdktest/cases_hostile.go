package sdktest

import (
	"slices"
	"strings"

	"github.com/passmend/passmend/plugins/sdk"
)

// What is hostile in a mail is refused, or arrives without having done anything.
var hostileCases = []Case{
	{"A line break in the subject becomes no header field", mail, hostile(func(m *sdk.Mail) { m.Subject = "x\r\nBcc: " + eve })},
	{"A bare line feed in the subject becomes no header field", mail, hostile(func(m *sdk.Mail) { m.Subject = "x\nX-Injected: 1\n\nbody" })},
	{"A line break in a sender's name becomes no header field", mail, hostile(func(m *sdk.Mail) { m.From.Name = "x\r\nBcc: " + eve })},
	{"A line break in a recipient's name becomes no header field", mail, hostile(func(m *sdk.Mail) { m.To.Name = "x\nBcc: " + eve })},
	{"A line break in an address becomes no command", mail, hostile(func(m *sdk.Mail) { m.To.Address += "\r\nRCPT TO:<" + eve + ">" })},
	{"A second address in an address is not written to", mail, hostile(func(m *sdk.Mail) { m.To.Address += ", " + eve })},
	{"A quoted name in an address is not written to", mail, hostile(func(m *sdk.Mail) { m.To.Address = `"x" <` + eve + ">" })},
	{"A line break in a reply address becomes no header field", mail, hostile(func(m *sdk.Mail) { m.ReplyTo.Address = "help@acme.example\r\nBcc: " + eve })},
	{"A line break in a header value becomes no header field", mail, hostile(func(m *sdk.Mail) {
		m.Headers = []sdk.Header{{Name: "X-A", Value: "x\r\nBcc: " + eve}}
	})},
	{"A line break in a header name becomes no header field", mail, hostile(func(m *sdk.Mail) {
		m.Headers = []sdk.Header{{Name: "X-A: 1\r\nBcc", Value: eve}}
	})},
	{"A header field does not add a recipient", mail, hostile(func(m *sdk.Mail) {
		m.Headers = []sdk.Header{{Name: "Bcc", Value: eve}}
	})},
	{"A line break in a Message-ID becomes no header field", mail, hostile(func(m *sdk.Mail) { m.MessageID += ">\r\nBcc: <" + eve })},
	{"A message of no kind is refused", nothing, noContent},
	{"A message of a kind that Describe does not name is refused", nothing, otherContent},
}

const eve = "eve@evil.example"

func hostile(set func(*sdk.Mail)) func(*run) {
	return func(r *run) {
		before := len(r.Inbox())
		request := r.request("hostile")
		set(request.Mail)
		ctx, cancel := r.context()
		_, err := r.trySend(ctx, request)
		cancel()
		want := before + 1
		if err != nil {
			want = before
		}
		eventually(want, func() int { return len(r.Inbox()) })
		for _, sent := range r.Inbox()[before:] {
			if sent.To != r.To {
				r.errorf("a mail went to %q", sent.To)
			}
			for _, h := range sent.Header {
				if slices.Contains([]string{"bcc", "cc", "x-injected"}, strings.ToLower(h.Name)) {
					r.errorf("a field %s arrived", h.Name)
				}
			}
			if err == nil && sent.Header == nil {
				r.errorf("it was taken, and the target's inbox shows no header fields to tell what became of it")
			}
		}
		// What arrived altered beyond recognition was not found above; that it came
		// at all with nobody told is a fault too.
		if n := len(r.Inbox()) - before; err != nil && n != 0 {
			r.errorf("%d mails arrived, and Send said that none did", n)
		}
	}
}

func noContent(r *run) {
	ctx, cancel := r.context()
	defer cancel()
	if _, err := r.trySend(ctx, sdk.SendRequest{IdempotencyKey: "none", Settings: r.Settings}); err == nil {
		r.errorf("taken")
	}
}

func otherContent(r *run) {
	var request sdk.SendRequest
	switch {
	case !r.takes(sdk.ContentEvent):
		request, _ = r.event(nil)
	case !r.takes(sdk.ContentMail):
		request = r.request("other")
	default:
		r.skipf("the provider takes every kind")
	}
	_ = r.refuse(request)
}
