package render

import (
	"context"
	"embed"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io/fs"
	"strings"
	texttemplate "text/template"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/tenants"
)

// Why a mail cannot be made. The texts never hold the value that was refused.
var (
	// ErrTemplate: not one of the four mails.
	ErrTemplate = errors.New("unknown mail template")
	// ErrRecipient: the user's address cannot stand in a mail header.
	ErrRecipient = errors.New("recipient's address cannot be mailed to")
	// ErrSender: the account's or the platform's sender cannot stand in a header.
	ErrSender = errors.New("sender's address cannot stand in a mail")
	// ErrLink: missing, or no absolute http or https URL of plain ASCII.
	ErrLink = errors.New("link is not a plain http or https URL")
	// ErrFacts: a time, the link's life, the message id or every name of the
	// account is missing or unusable.
	ErrFacts = errors.New("facts of the mail are incomplete")
)

//go:embed locales templates
var files embed.FS

// Config of a Renderer.
type Config struct {
	// From is the platform's sender, for accounts without a FromAddress of their
	// own. Its name is not used: a mail comes from the product.
	From sdk.Mailbox
	// Locale is the BCP 47 tag that Mail writes in; empty means "en".
	Locale string
}

func (c Config) validate() error {
	if !usableAddress(c.From.Address) {
		return fmt.Errorf("from address: %w", ErrSender)
	}
	if c.Locale != "" && !wellFormedTag(c.Locale) {
		return errors.New("locale: not a BCP 47 tag such as en or pt-BR")
	}
	return nil
}

// Renderer makes mails. It never changes after New and serves any number of
// goroutines.
type Renderer struct {
	from    string // addr-spec
	locale  string
	locales map[string]locale
	text    *texttemplate.Template
	html    *htmltemplate.Template
}

var _ core.Renderer = (*Renderer)(nil)

// New reads the embedded locales and templates and checks each phrase for the
// placeholders that it may and must have.
func New(config Config) (*Renderer, error) {
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("render config: %w", err)
	}
	return load(config, files)
}

func load(config Config, from fs.FS) (*Renderer, error) {
	locales, err := readLocales(from)
	if err != nil {
		return nil, err
	}
	text, err := texttemplate.New("mail.txt").Option("missingkey=error").ParseFS(from, "templates/mail.txt")
	if err != nil {
		return nil, fmt.Errorf("read text template: %w", err)
	}
	html, err := htmltemplate.New("mail.html").Option("missingkey=error").ParseFS(from, "templates/mail.html")
	if err != nil {
		return nil, fmt.Errorf("read HTML template: %w", err)
	}
	return &Renderer{
		from:    config.From.Address,
		locale:  config.Locale,
		locales: locales,
		text:    text,
		html:    html,
	}, nil
}

// Mail makes the mail in the configured locale. Errors: ErrTemplate,
// ErrRecipient, ErrSender, ErrLink, ErrFacts.
func (r *Renderer) Mail(_ context.Context, facts core.MailFacts) (sdk.Mail, error) {
	return r.MailIn(r.locale, facts)
}

// MailIn makes the mail in the language nearest to tag (RFC 4647, section 3.4),
// English when there is none. Errors as for Mail.
func (r *Renderer) MailIn(tag string, facts core.MailFacts) (sdk.Mail, error) {
	if err := check(facts); err != nil {
		return sdk.Mail{}, fmt.Errorf("render mail: %w", err)
	}
	chosen := r.nearest(tag)
	letter := newLetter(chosen, facts)

	mail, err := r.envelope(letter, facts)
	if err != nil {
		return sdk.Mail{}, fmt.Errorf("render mail: %w", err)
	}
	var text, html strings.Builder
	text.Grow(textSize)
	html.Grow(htmlSize)
	if err := r.text.Execute(&text, letter); err != nil {
		return sdk.Mail{}, fmt.Errorf("render text: %w", err)
	}
	if err := r.html.Execute(&html, letter); err != nil {
		return sdk.Mail{}, fmt.Errorf("render HTML: %w", err)
	}
	mail.Text, mail.HTML = text.String(), html.String()
	return mail, nil
}

// About as long as the two bodies are, in bytes.
const (
	textSize = 1 << 10
	htmlSize = 8 << 10
)

// envelope is all of the mail that is not its two bodies.
func (r *Renderer) envelope(letter letter, facts core.MailFacts) (sdk.Mail, error) {
	from, err := r.sender(letter, facts.Account.Branding)
	if err != nil {
		return sdk.Mail{}, err
	}
	mail := sdk.Mail{
		From:      from,
		To:        sdk.Mailbox{Name: personName(facts.To.FullName(), maxFullName), Address: facts.To.Address.Reveal()},
		Subject:   letter.Subject,
		MessageID: facts.MessageID,
		Headers: []sdk.Header{
			// RFC 3834: nobody's holiday notice should come back. No Precedence: a
			// reset is not bulk mail and must not be filed as such.
			{Name: "Auto-Submitted", Value: "auto-generated"},
			{Name: "X-Auto-Response-Suppress", Value: "All"},
		},
		Facts: sdk.Facts{
			Template:  facts.Template,
			Locale:    letter.Lang,
			Link:      sdk.NewSecret(facts.Link.Reveal()),
			ExpiresAt: facts.Expires,
		},
	}
	if letter.Support != "" {
		mail.ReplyTo = sdk.Mailbox{Address: letter.Support}
	}
	if letter.Logo != nil {
		mail.Inline = []sdk.Inline{letter.Logo.inline}
	}
	return mail, nil
}

// sender is the account's own address, or the platform's under the product's
// name. A broken address of the account is not replaced by ours: its mail must
// not come from where its owner does not expect it.
func (r *Renderer) sender(letter letter, branding tenants.Branding) (sdk.Mailbox, error) {
	from := sdk.Mailbox{Name: letter.Product, Address: r.from}
	if branding.FromAddress != "" {
		if !usableAddress(branding.FromAddress) {
			return sdk.Mailbox{}, ErrSender
		}
		from.Address = branding.FromAddress
	}
	if name := label(branding.FromName); name != "" {
		from.Name = name
	}
	return from, nil
}

// check refuses what no mail can be made of.
func check(facts core.MailFacts) error {
	switch facts.Template {
	case core.MailReset, core.MailInvite:
		switch {
		case !plainURL(facts.Link.Reveal()):
			return ErrLink
		case facts.Life <= 0 || facts.Expires.IsZero():
			return ErrFacts
		}
	case core.MailChanged:
		switch {
		case facts.Link.Reveal() != "":
			return ErrLink // a notice never carries the right to change anything
		case facts.ForgotURL != "" && !plainURL(facts.ForgotURL):
			return ErrLink
		case facts.Changed.IsZero():
			return ErrFacts
		}
	case core.MailAccounts:
		switch {
		case facts.Link.Reveal() != "":
			return ErrLink // it is a list, and opens nothing
		case len(facts.Accounts) == 0:
			return ErrFacts
		}
		for _, entry := range facts.Accounts {
			if !plainURL(entry.ForgotURL) {
				return ErrLink
			}
		}
	default:
		return ErrTemplate
	}
	if !usableAddress(facts.To.Address.Reveal()) {
		return ErrRecipient
	}
	if !usableMessageID(facts.MessageID) || productName(facts.Account) == "" {
		return ErrFacts
	}
	return nil
}
