package render

import (
	"strconv"
	"strings"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// letter is what both templates see: finished plain text, to be escaped by the
// template that shows it.
type letter struct {
	Lang, Dir string

	Subject, Preview, Heading string
	Greeting, Lead            string

	// Link stands alone on its line, Button is its name. Both are empty in a
	// "changed" mail without a page to begin again.
	Link, Button, LinkHint string
	Note                   string // how long the link works; in "changed": nothing to do
	AsideTitle, Aside      string
	// Late puts the button behind the aside: in "changed" it belongs to the reader
	// who did not do it.
	Late bool

	// Accounts is the list of an "accounts" mail, More says that it is not whole.
	Accounts []line
	More     string

	Support, SupportURL         string // addr-spec; empty: none
	SupportBefore, SupportAfter string
	Origin                      string

	Product string
	Accent  string // "#rrggbb"
	Logo    *logo  // nil: the product's name stands in its place
}

// line is an account in a list.
type line struct{ Name, URL string }

func newLetter(l locale, facts core.MailFacts) letter {
	words := l.Mails[facts.Template]
	product := productName(facts.Account)
	written := letter{
		Lang: l.Tag, Dir: l.Direction,
		Subject:    words.Subject.fill("product", product),
		Heading:    words.Heading.fill(),
		Greeting:   greeting(l, facts.To.FirstName),
		Button:     words.Button.fill(),
		LinkHint:   l.LinkHint.fill(),
		AsideTitle: words.AsideTitle.fill(),
		Aside:      words.Aside.fill(),
		Origin:     l.Origin.fill("product", product),
		Product:    product,
		Accent:     accent(facts.Account.Branding.Accent),
		Logo:       newLogo(facts.Logo),
	}
	switch facts.Template {
	case core.MailChanged:
		written.notice(l, words, facts)
	case core.MailAccounts:
		written.list(words, facts)
	default:
		life := l.life(facts.Life)
		written.Link = facts.Link.Reveal()
		written.Preview = words.Preview.fill("life", life)
		written.Lead = words.Lead.fill("product", product)
		written.Note = words.Note.fill("life", life, "until", l.moment(facts.Expires))
	}
	if support := facts.Account.Branding.SupportAddress; usableAddress(support) {
		written.Support, written.SupportURL = support, mailto(support)
		written.SupportBefore, written.SupportAfter, _ = strings.Cut(l.Support.fill(), "{support}")
	}
	return written
}

// notice fills in what only the "changed" mail says.
func (w *letter) notice(l locale, words wording, facts core.MailFacts) {
	changed := l.moment(facts.Changed)
	w.Preview = words.Preview.fill("changed", changed)
	w.Lead = words.Lead.fill("product", w.Product, "changed", changed)
	w.Note = words.Note.fill()
	w.Link, w.Late = facts.ForgotURL, true
	if w.Link == "" {
		w.Button, w.LinkHint = "", ""
		w.Aside = words.AsideAlone.fill("product", w.Product)
	}
}

// list fills in what only the "accounts" mail says.
func (w *letter) list(words wording, facts core.MailFacts) {
	w.Preview, w.Note = words.Preview.fill(), words.Note.fill()
	w.Lead = words.Lead.fill("product", w.Product)
	w.Button, w.LinkHint = "", ""
	for _, entry := range facts.Accounts {
		w.Accounts = append(w.Accounts, line{listedName(entry.Account), entry.ForgotURL})
	}
	if facts.More {
		w.More = words.More.fill("n", strconv.Itoa(len(facts.Accounts)))
	}
}

func greeting(l locale, firstName string) string {
	if name := personName(firstName, maxFirstName); name != "" {
		return l.Greeting.fill("name", name)
	}
	return l.GreetingNeutral.fill()
}

// accent gives a colour that is one, and the default for anything else.
func accent(s string) string {
	if len(s) != len("#rrggbb") || s[0] != '#' || strings.Trim(s[1:], "0123456789abcdefABCDEF") != "" {
		return tenants.DefaultAccent
	}
	return s
}
