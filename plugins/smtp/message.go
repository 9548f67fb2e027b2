package smtp

import (
	"bytes"
	"mime"
	netmail "net/mail"
	"strings"

	"github.com/wneessen/go-mail"

	"github.com/passmend/passmend/plugins/sdk"
)

// message is a built mail: an envelope and the finished bytes.
type message struct {
	from, to string
	bytes    []byte
}

// needsUTF8 tells whether the envelope needs SMTPUTF8 (RFC 6531).
func (m *message) needsUTF8() bool { return !isASCII(m.from) || !isASCII(m.to) }

// build checks every field and writes the message before anything is connected.
// Its error is a *sdk.Failure.
//
// Everything is quoted-printable: a link of at most 75 characters without "="
// that is alone on its line stays as it is even in the raw text, and any other
// comes out of decoding byte for byte. go-mail v0.8.1 must not be asked for
// "7bit": it then encodes quoted-printable and labels it 7bit, which breaks every
// link that holds a "=".
func build(m *sdk.Mail) (*message, error) {
	if err := check(m); err != nil {
		return nil, err
	}
	msg := mail.NewMsg(mail.WithCharset(mail.CharsetUTF8), mail.WithEncoding(mail.EncodingQP),
		mail.WithNoDefaultUserAgent())
	msg.FromMailAddress(&netmail.Address{Name: m.From.Name, Address: m.From.Address})
	msg.ToMailAddress(&netmail.Address{Name: m.To.Name, Address: m.To.Address})
	if m.ReplyTo.Address != "" {
		msg.ReplyToMailAddress(&netmail.Address{Name: m.ReplyTo.Name, Address: m.ReplyTo.Address})
	}
	msg.Subject(m.Subject)
	msg.SetMessageIDWithValue(m.MessageID)
	for _, header := range m.Headers {
		msg.SetGenHeader(mail.Header(header.Name), header.Value)
	}
	switch {
	case m.Text == "":
		msg.SetBodyString(mail.TypeTextHTML, m.HTML)
	case m.HTML == "":
		msg.SetBodyString(mail.TypeTextPlain, m.Text)
	default:
		msg.SetBodyString(mail.TypeTextPlain, m.Text)
		msg.AddAlternativeString(mail.TypeTextHTML, m.HTML)
	}
	for _, inline := range m.Inline {
		if err := embed(msg, inline); err != nil {
			return nil, refused("an inline part cannot be encoded", err)
		}
	}
	var buffer bytes.Buffer
	if _, err := msg.WriteTo(&buffer); err != nil {
		return nil, refused("the message cannot be encoded", err)
	}
	return &message{from: m.From.Address, to: m.To.Address, bytes: buffer.Bytes()}, nil
}

func embed(msg *mail.Msg, inline sdk.Inline) error {
	name := inline.Name
	if name == "" {
		name = inline.ContentID
	}
	return msg.EmbedReader(name, bytes.NewReader(inline.Bytes),
		mail.WithFileContentID("<"+inline.ContentID+">"),
		mail.WithFileContentType(mail.ContentType(inline.ContentType)),
		mail.WithFileEncoding(mail.EncodingB64))
}

// check refuses what could write a header, a recipient or a command of its own.
func check(m *sdk.Mail) error {
	switch {
	case !isAddress(m.To.Address):
		return &sdk.Failure{Kind: sdk.RecipientRefused, Public: "the recipient's address cannot be used with SMTP"}
	case !isAddress(m.From.Address):
		return &sdk.Failure{Kind: sdk.Misconfigured, Public: "the sender's address is not usable"}
	case m.ReplyTo.Address != "" && !isAddress(m.ReplyTo.Address):
		return &sdk.Failure{Kind: sdk.Misconfigured, Public: "the reply address is not usable"}
	case hasControl(m.From.Name), hasControl(m.To.Name), hasControl(m.ReplyTo.Name):
		return refused("a display name holds control characters", nil)
	case hasControl(m.Subject):
		return refused("the subject holds control characters", nil)
	case !isMessageID(m.MessageID):
		return refused("the Message-ID is not usable", nil)
	case m.Text == "" && m.HTML == "":
		return refused("the mail is empty", nil)
	}
	for _, header := range m.Headers {
		if !isFieldName(header.Name) || isReserved(header.Name) || hasControl(header.Value) {
			return refused("a header field is not usable", nil)
		}
	}
	for _, inline := range m.Inline {
		if _, _, err := mime.ParseMediaType(inline.ContentType); err != nil ||
			!isMessageID(inline.ContentID) || hasControl(inline.Name) || strings.ContainsAny(inline.Name, `"\`) {
			return refused("an inline part is not usable", nil)
		}
	}
	return nil
}

// isMessageID takes what may stand between the angle brackets of a Message-ID or
// a Content-ID: printable ASCII without brackets and spaces.
func isMessageID(id string) bool {
	return id != "" && len(id) <= 900 && !strings.ContainsFunc(id, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || r == '<' || r == '>'
	})
}

// isFieldName follows RFC 5322, 3.6.8.
func isFieldName(name string) bool {
	return name != "" && len(name) <= 76 && !strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || r == ':'
	})
}

// isReserved names the fields that Mail has places of its own for, and those that
// would add recipients or change how the body is read.
func isReserved(name string) bool {
	name = strings.ToLower(name)
	switch name {
	case "from", "sender", "to", "cc", "bcc", "reply-to", "subject", "date", "message-id", "mime-version", "return-path":
		return true
	}
	return strings.HasPrefix(name, "content-") || strings.HasPrefix(name, "resent-")
}

func refused(public string, err error) *sdk.Failure {
	failure := &sdk.Failure{Kind: sdk.ContentRefused, Public: public}
	if err != nil {
		failure.Private = "building the message: " + causeType(err)
	}
	return failure
}
