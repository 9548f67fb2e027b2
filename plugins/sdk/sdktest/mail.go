package sdktest

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"net/textproto"
	"strings"

	"github.com/passmend/passmend/plugins/sdk"
)

// maxDepth bounds the nesting of parts.
const maxDepth = 8

// ParseMail takes a mail apart that an inbox has got, in the form of RFC 5322; to
// is the envelope's recipient.
func ParseMail(raw []byte, to string) (Sent, error) {
	raw = bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))
	head, body, _ := bytes.Cut(raw, []byte("\n\n"))
	sent := Sent{To: to}
	for line := range strings.SplitSeq(string(head), "\n") {
		if last := len(sent.Header) - 1; last >= 0 && (strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t")) {
			sent.Header[last].Value += line // unfolded (RFC 5322, 2.2.3)
			continue
		}
		name, value, found := strings.Cut(line, ":")
		if !found {
			return Sent{}, errors.New("mail: a line of the header has no colon")
		}
		sent.Header = append(sent.Header, sdk.Header{Name: name, Value: value})
	}
	for i := range sent.Header {
		sent.Header[i].Value = strings.TrimSpace(sent.Header[i].Value)
	}
	sent.MessageID = strings.Trim(field(sent.Header, "Message-ID"), "<>")
	header := make(textproto.MIMEHeader)
	for _, h := range sent.Header {
		header.Add(h.Name, h.Value)
	}
	return sent, sent.part(header, bytes.NewReader(body), 0)
}

func (s *Sent) part(header textproto.MIMEHeader, body io.Reader, depth int) error {
	contentType := header.Get("Content-Type")
	if contentType == "" {
		contentType = "text/plain" // RFC 2045, 5.2
	}
	media, parameters, err := mime.ParseMediaType(contentType)
	if err != nil {
		return fmt.Errorf("mail: content type: %w", err)
	}
	if strings.HasPrefix(media, "multipart/") {
		if depth == maxDepth {
			return errors.New("mail: parts are nested too deep")
		}
		parts := multipart.NewReader(body, parameters["boundary"])
		for {
			part, err := parts.NextRawPart()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("mail: part: %w", err)
			}
			if err := s.part(part.Header, part, depth+1); err != nil {
				return err
			}
		}
	}
	switch strings.ToLower(header.Get("Content-Transfer-Encoding")) {
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	}
	content, err := io.ReadAll(body)
	if err != nil {
		return fmt.Errorf("mail: part: %w", err)
	}
	text := strings.ReplaceAll(string(content), "\r\n", "\n")
	switch id := header.Get("Content-Id"); {
	case id != "":
		s.Inline = append(s.Inline, sdk.Inline{ContentID: strings.Trim(id, "<>"), ContentType: media, Bytes: content})
	case media == "text/plain":
		s.Text = text
	case media == "text/html":
		s.HTML = text
	}
	return nil
}

// field is the value of the first field of that name; case does not matter.
func field(header []sdk.Header, name string) string {
	for _, h := range header {
		if strings.EqualFold(h.Name, name) {
			return h.Value
		}
	}
	return ""
}

// words decodes a field of text (RFC 2047); what cannot be decoded stays.
func words(value string) string {
	decoded, err := new(mime.WordDecoder).DecodeHeader(value)
	if err != nil {
		return value
	}
	return decoded
}

// mailbox reads a field with one mailbox.
func mailbox(value string) (sdk.Mailbox, error) {
	parsed, err := netmail.ParseAddress(value)
	if err != nil {
		return sdk.Mailbox{}, err
	}
	return sdk.Mailbox{Name: parsed.Name, Address: parsed.Address}, nil
}
