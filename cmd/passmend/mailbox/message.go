package mailbox

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/emersion/go-message"
	_ "github.com/emersion/go-message/charset" // the charsets of RFC 2047 words and of text parts
	"github.com/emersion/go-message/mail"
)

// Limits on nesting: a mail of 2 MiB can nest thousands deep, and each level
// costs a reader.
const (
	maxDepth = 8
	maxParts = 64
)

// Message is a received mail, decoded.
type Message struct {
	// Number counts from 1 in the order of arrival and is never used again.
	Number   int       `json:"number"`
	Received time.Time `json:"received"`
	// From is the header field, decoded: "Name <address>".
	From string `json:"from"`
	// To is the envelope's recipients, whatever the header says.
	To      []string `json:"to"`
	Subject string   `json:"subject"`
	// Text and HTML are the first part of each kind that is no attachment, in
	// UTF-8 with plain line feeds; empty: there is none. A message that is no mail
	// at all is all Text.
	Text string `json:"text"`
	HTML string `json:"html"`
	// Links is the http and https URLs of Text in order, then those of HTML that
	// are not among them.
	Links []string `json:"links"`
	// Raw is the message as received, dots unstuffed.
	Raw string `json:"raw"`

	images map[string]string // content id to data: URL
}

// Parse decodes a mail. It never fails: what cannot be decoded is shown as it came.
func Parse(recipients []string, raw []byte, received time.Time) Message {
	parsed := Message{Received: received, To: recipients, Raw: string(raw), images: map[string]string{}}
	if parsed.To == nil {
		parsed.To = []string{}
	}
	entity, err := message.Read(bytes.NewReader(raw))
	if entity == nil {
		parsed.Text = unixText(raw)
	} else {
		parsed.header(mail.Header{Header: entity.Header})
		_ = parsed.body(entity, err) // a broken structure ends the walk; what was found stays
	}
	parsed.Links = Links(parsed.Text, parsed.HTML)
	return parsed
}

func (m *Message) header(header mail.Header) {
	m.Subject = decoded(header, "Subject")
	m.From = decoded(header, "From")
	if addresses, err := header.AddressList("From"); err == nil && len(addresses) > 0 {
		shown := make([]string, len(addresses))
		for i, address := range addresses {
			shown[i] = address.Address
			if address.Name != "" {
				shown[i] = address.Name + " <" + address.Address + ">"
			}
		}
		m.From = strings.Join(shown, ", ")
	}
}

// decoded gives a field's text, or the field as it came where a word of it is in
// an unknown charset.
func decoded(header mail.Header, field string) string {
	text, _ := header.Text(field)
	return strings.ToValidUTF8(text, "\ufffd")
}

var errTooDeep = errors.New("too many parts")

func (m *Message) body(entity *message.Entity, err error) error {
	if err != nil && !message.IsUnknownCharset(err) && !message.IsUnknownEncoding(err) {
		return err
	}
	parts := 0
	return entity.Walk(func(path []int, part *message.Entity, _ error) error {
		if parts++; parts > maxParts || len(path) > maxDepth {
			return errTooDeep
		}
		m.part(part)
		return nil
	})
}

func (m *Message) part(part *message.Entity) {
	mediaType, _, _ := part.Header.ContentType()
	disposition, _, _ := part.Header.ContentDisposition()
	switch {
	case mediaType == "text/plain" && disposition != "attachment" && m.Text == "":
		m.Text = unixText(content(part))
	case mediaType == "text/html" && disposition != "attachment" && m.HTML == "":
		m.HTML = unixText(content(part))
	case shownImage(mediaType):
		if id := strings.Trim(part.Header.Get("Content-Id"), "<> \t"); id != "" {
			m.images[id] = "data:" + mediaType + ";base64," + base64.StdEncoding.EncodeToString(content(part))
		}
	}
}

// content reads as much of a part as can be decoded.
func content(part *message.Entity) []byte {
	decoded, _ := io.ReadAll(part.Body)
	return decoded
}

func shownImage(mediaType string) bool {
	switch mediaType {
	case "image/png", "image/jpeg", "image/gif", "image/webp":
		return true
	}
	return false
}

func unixText(text []byte) string {
	return strings.ToValidUTF8(strings.ReplaceAll(string(text), "\r\n", "\n"), "\ufffd")
}

var headTag = regexp.MustCompile(`(?i)<head(?:\s[^>]*)?>`)

// preview gives the HTML with its inline images in place, and links that open
// outside of the frame it is shown in.
func (m Message) preview() string {
	if m.HTML == "" {
		return ""
	}
	var pairs []string
	for id, image := range m.images {
		pairs = append(pairs, "cid:"+id, image, "cid:"+url.PathEscape(id), image)
	}
	const base = `<base target="_blank">`
	shown := strings.NewReplacer(pairs...).Replace(m.HTML)
	// Behind <head>: in front of the doctype it would change how the mail is laid out.
	if head := headTag.FindStringIndex(shown); head != nil {
		return shown[:head[1]] + base + shown[head[1]:]
	}
	return base + shown
}
