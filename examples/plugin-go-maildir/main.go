// Command passmend-maildir is a delivery provider of Passmend that writes mail into
// a Maildir: a vendor's plugin, whole, outside Passmend's own packages.
//
// Limits first: the host's cage lets no plugin write a file, so this one works only
// where an operator has turned the cage off; all mail goes into one folder.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"net/textproto"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/sdk/serve"
)

const schema = `{"type": "object", "additionalProperties": false, "required": ["directory"], "properties": {
	"directory": {"type": "string", "title": "Maildir", "description": "Absolute path of a folder that exists."}}}`

func main() { serve.Provider(provider{}) }

type provider struct{}

func (provider) Describe(context.Context) (sdk.Description, error) {
	return sdk.Description{
		Name: "maildir", Version: "0.1.0", Contents: []sdk.Content{sdk.ContentMail}, SettingsSchema: []byte(schema),
	}, nil
}

func (provider) Health(context.Context) error { return nil }
func (provider) Check(_ context.Context, settings sdk.Settings) error {
	_, err := directory(settings)
	return err
}

// directory reads the one setting. A refusal names it and does not quote it.
func directory(settings sdk.Settings) (string, error) {
	var values struct{ Directory string }
	err := json.Unmarshal(settings.Values, &values)
	if info, missing := os.Stat(values.Directory); err != nil || missing != nil || !info.IsDir() || !filepath.IsAbs(values.Directory) {
		return "", &sdk.Failure{Kind: sdk.Misconfigured, Public: "directory must be the absolute path of a folder"}
	}
	return values.Directory, nil
}

func (provider) Send(ctx context.Context, request sdk.SendRequest) (sdk.Receipt, error) {
	began := time.Now()
	if request.Mail == nil {
		return sdk.Receipt{}, &sdk.Failure{Kind: sdk.ContentRefused, Public: "a Maildir takes mail only"}
	}
	dir, err := directory(request.Settings)
	if err != nil {
		return sdk.Receipt{}, err
	}
	raw, harmless := compose(request.Mail)
	if !harmless {
		return sdk.Receipt{}, &sdk.Failure{Kind: sdk.ContentRefused, Public: "a field of the mail is not usable"}
	}
	if ctx.Err() != nil || store(dir, request.Mail.MessageID, raw) != nil {
		return sdk.Receipt{}, &sdk.Failure{Kind: sdk.Temporary, Public: "the mail could not be written"}
	}
	return sdk.Receipt{Outcome: sdk.Accepted, Steps: []sdk.Step{{Name: "write", Duration: time.Since(began)}}}, nil
}

// store writes to tmp and renames, so that nobody reads half a mail. The name comes
// of the Message-ID: a call that is repeated replaces its own mail.
func store(dir, id string, raw []byte) error {
	for _, folder := range []string{"tmp", "new", "cur"} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o700); err != nil {
			return err
		}
	}
	file, err := os.CreateTemp(filepath.Join(dir, "tmp"), "mail-")
	if err != nil {
		return err
	}
	_, err = file.Write(raw)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return os.Rename(file.Name(), filepath.Join(dir, "new", fmt.Sprintf("%x", sha256.Sum256([]byte(id)))))
}

var (
	addrSpec = regexp.MustCompile(`^[^\s<>(),;:"\\@]+@[^\s<>(),;:"\\@]+$`)
	custom   = regexp.MustCompile(`^[!-9;-~]+$`)
	reserved = regexp.MustCompile(`(?i)^(b?cc|to|from|sender|subject|reply-to|date|message-id|delivered-to|mime-version|content-.*|resent-.*)$`)
)

// compose writes a mail. It is not harmless when something in it could become a
// line, a header field or a recipient of its own.
func compose(m *sdk.Mail) (raw []byte, harmless bool) {
	b, harmless := new(bytes.Buffer), true
	line := func(name, value, shown string) {
		harmless = harmless && custom.MatchString(name) && !strings.ContainsFunc(value, unicode.IsControl)
		fmt.Fprintf(b, "%s: %s\n", name, shown)
	}
	mailbox := func(name string, m sdk.Mailbox) {
		harmless = harmless && addrSpec.MatchString(m.Address)
		line(name, m.Name, (&netmail.Address{Name: m.Name, Address: m.Address}).String())
	}
	mailbox("From", m.From)
	mailbox("To", m.To)
	if m.ReplyTo.Address != "" {
		mailbox("Reply-To", m.ReplyTo)
	}
	line("Subject", m.Subject, mime.QEncoding.Encode("utf-8", m.Subject))
	line("Message-ID", m.MessageID, "<"+m.MessageID+">")
	for _, h := range m.Headers {
		harmless = harmless && !reserved.MatchString(h.Name)
		line(h.Name, h.Value, h.Value)
	}
	parts := multipart.NewWriter(b)
	line("Date", "", time.Now().Format(time.RFC1123Z)+"\nMIME-Version: 1.0")
	fmt.Fprintf(b, "Content-Type: multipart/related; boundary=%s\n\n", parts.Boundary())
	part := func(contentType, id string, content []byte) {
		header := textproto.MIMEHeader{"Content-Type": {contentType}, "Content-Transfer-Encoding": {"quoted-printable"}}
		if id != "" {
			header.Set("Content-ID", "<"+id+">")
		}
		harmless = harmless && !strings.ContainsFunc(contentType+id, unicode.IsControl)
		w, _ := parts.CreatePart(header) // a buffer takes everything
		encoder := quotedprintable.NewWriter(w)
		encoder.Binary = true // byte for byte
		_, _ = encoder.Write(content)
		_ = encoder.Close()
	}
	part("text/html; charset=utf-8", "", []byte(m.HTML))
	part("text/plain; charset=utf-8", "", []byte(m.Text))
	for _, inline := range m.Inline {
		part(inline.ContentType, inline.ContentID, inline.Bytes)
	}
	_ = parts.Close() // as above
	return b.Bytes(), harmless
}
