package smtptest

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"strings"
	"testing"
)

// Parsed is a mail taken apart.
type Parsed struct {
	Header mail.Header
	// Shape is the tree of media types, such as
	// "multipart/related(multipart/alternative(text/plain text/html) image/png)".
	Shape  string
	Text   string
	HTML   string
	Inline map[string][]byte // by Content-ID, with brackets
}

// MessageID is the field's value without brackets.
func (p *Parsed) MessageID() string { return strings.Trim(p.Header.Get("Message-ID"), "<>") }

// Parse takes raw apart; line ends in texts become "\n".
func Parse(t testing.TB, raw []byte) *Parsed {
	t.Helper()
	message, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("message: %v", err)
	}
	p := &Parsed{Header: message.Header, Inline: make(map[string][]byte)}
	p.Shape = p.part(t, textproto.MIMEHeader(message.Header), message.Body)
	return p
}

func (p *Parsed) part(t testing.TB, header textproto.MIMEHeader, body io.Reader) string {
	t.Helper()
	media, parameters, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil {
		t.Fatalf("content type %q: %v", header.Get("Content-Type"), err)
	}
	if strings.HasPrefix(media, "multipart/") {
		var shapes []string
		parts := multipart.NewReader(body, parameters["boundary"])
		for {
			part, err := parts.NextRawPart()
			if err == io.EOF {
				return media + "(" + strings.Join(shapes, " ") + ")"
			}
			if err != nil {
				t.Fatalf("part: %v", err)
			}
			shapes = append(shapes, p.part(t, part.Header, part))
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
		t.Fatalf("part: %v", err)
	}
	text := strings.ReplaceAll(string(content), "\r\n", "\n")
	switch {
	case header.Get("Content-ID") != "":
		p.Inline[header.Get("Content-ID")] = content
	case media == "text/plain":
		p.Text = text
	case media == "text/html":
		p.HTML = text
	}
	return media
}
