package smtp

import (
	"bytes"
	"mime"
	netmail "net/mail"
	"strings"

	"github.com/wneessen/go-mail"

	"github.com/passmend/passmend/plugins/sdk"
)

// message is a built mail: an envelope and what goes over the wire after DATA.
type message struct {
	from, to, replyTo string
	data              []byte
}

// needsUTF8 tells whether the message needs SMTPUTF8 (RFC 6531): domains are
// A-labels by now, local parts have no such form.
func (m *message) needsUTF8() bool {
	return !isASCII(m.from) || !isASCII(m.to) || !isASCII(m.replyTo)
}

// build checks every field and writes and signs the message before anything is
// connected; a nil signer does not sign. Its error is a *sdk.Failure.
//
// Everything is quoted-printable: a link of at most 75 characters without "="
// that is alone on its line stays as it is even in the raw text, and any other
// comes out of decoding byte for byte; nor can a relay have a reason to encode
// anew and break the signature. go-mail v0.8.1 must not be asked for "7bit": it
// then encodes quoted-printable and labels it 7bit, which breaks every link that
// holds a "=".
func build(m *sdk.Mail, s *signer) (*message, error) {
	built, err := envelopeOf(m)
	if err != nil {
		return nil, err
	}
	if err := check(m); err != nil {
		return nil, err
	}
	msg := mail.NewMsg(mail.WithCharset(mail.CharsetUTF8), mail.WithEncoding(mail.EncodingQP),
		mail.WithNoDefaultUserAgent())
	msg.FromMailAddress(&netmail.Address{Name: m.From.Name, Address: built.from})
	msg.ToMailAddress(&netmail.Address{Name: m.To.Name, Address: built.to})
	if built.replyTo != "" {
		msg.ReplyToMailAddress(&netmail.Address{Name: m.ReplyTo.Name, Address: built.replyTo})
	}
	msg.Subject(m.Subject)
	msg.SetMessageIDWithValue(m.MessageID)
	switch {
	case m.Text == "":
		msg.SetBodyString(mail.TypeTextHTML, m.HTML)
	case m.HTML == "":
		msg.SetBodyString(mail.TypeTextPlain, m.Text)
	default:
		msg.SetBodyString(mail.TypeTextPlain, m.Text)
		msg.AddAlternativeString(mail.TypeTextHTML, m.HTML)
	}
	size := len(m.Text) + len(m.HTML) + roomForFields
	for _, inline := range m.Inline {
		if err := embed(msg, inline); err != nil {
			return nil, refused("an inline part cannot be encoded", err)
		}
		size += len(inline.Bytes) * 3 / 2
	}
	var buffer bytes.Buffer
	buffer.Grow(size + size/8)
	// go-mail sorts its fields and keeps one of each name.
	for _, header := range m.Headers {
		buffer.Write(field(header))
	}
	if _, err := msg.WriteTo(&buffer); err != nil {
		return nil, refused("the message cannot be encoded", err)
	}
	built.data = buffer.Bytes()
	if !bytes.HasSuffix(built.data, []byte("\r\n")) {
		// A body alone that ends within a line: a soft line break, which decoding
		// removes, ends it (RFC 2045, 6.7).
		built.data = append(built.data, "=\r\n"...)
	}
	if s != nil {
		if built.data, err = s.sign(built.data); err != nil {
			return nil, err
		}
	}
	if built.data, err = overTheWire(built.data); err != nil {
		return nil, err
	}
	return built, nil
}

// roomForFields is about what header fields and boundaries take, in bytes.
const roomForFields = 2 << 10

// envelopeOf checks the addresses and gives them as they are to be written.
func envelopeOf(m *sdk.Mail) (*message, error) {
	to, ok := parseAddress(m.To.Address)
	if !ok {
		return nil, &sdk.Failure{Kind: sdk.RecipientRefused, Public: "the recipient's address cannot be used with SMTP"}
	}
	from, ok := parseAddress(m.From.Address)
	if !ok {
		return nil, &sdk.Failure{Kind: sdk.Misconfigured, Public: "the sender's address is not usable"}
	}
	built := &message{from: from, to: to}
	if m.ReplyTo.Address != "" {
		if built.replyTo, ok = parseAddress(m.ReplyTo.Address); !ok {
			return nil, &sdk.Failure{Kind: sdk.Misconfigured, Public: "the reply address is not usable"}
		}
	}
	return built, nil
}

// field writes a header field, folded at spaces (RFC 5322, 2.2.3), its value in
// encoded words where it needs them (RFC 2047).
func field(header sdk.Header) []byte {
	text := []byte(header.Name + ":")
	line := len(text)
	for word := range strings.SplitSeq(mime.QEncoding.Encode("utf-8", header.Value), " ") {
		if word != "" && line+1+len(word) > mail.MaxHeaderLength {
			text = append(text, "\r\n"...)
			line = 0
		}
		text = append(text, " "+word...)
		line += 1 + len(word)
	}
	return append(text, "\r\n"...)
}

// overTheWire doubles dots that begin a line and adds the one that ends the
// message (RFC 5321, 4.5.2). A carriage return or line feed without the other is
// refused: servers disagree on whether it ends a line, and that is how one message
// becomes two.
func overTheWire(text []byte) ([]byte, error) {
	crlf := []byte("\r\n")
	lines := bytes.Count(text, crlf)
	if bytes.Count(text, crlf[:1]) != lines || bytes.Count(text, crlf[1:]) != lines {
		return nil, refused("the message holds a bare line break", nil)
	}
	if dot := []byte("\r\n."); bytes.Contains(text, dot) {
		text = bytes.ReplaceAll(text, dot, []byte("\r\n.."))
	}
	return append(text, '.', '\r', '\n'), nil
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
