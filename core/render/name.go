package render

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/passmend/passmend/tenants"
)

// Longest names, in code points. A longer first name is no greeting, a longer
// label is cut.
const (
	maxFirstName = 60
	maxFullName  = 100
	maxLabel     = 100
)

// maxMarks is how many combining marks may follow each other. No script in use
// needs more; a stack of forty hides the lines around it.
const maxMarks = 4

// plain gives s as one line of visible characters: white space of every kind
// becomes a single space, controls, line separators, bidirectional overrides and
// other invisible characters go. Zero-width joiners stay, because Persian,
// several Indic scripts and emoji are misspelt without them.
func plain(s string) string {
	var b strings.Builder
	marks := 0
	for _, r := range strings.ToValidUTF8(s, "") {
		switch {
		case unicode.IsSpace(r), r == '\u2028', r == '\u2029':
			b.WriteByte(' ')
		case unicode.In(r, unicode.Mn, unicode.Me):
			if marks++; marks <= maxMarks {
				b.WriteRune(r)
			}
			continue
		case joiner(r), unicode.IsGraphic(r) && !blank(r):
			b.WriteRune(r)
		default:
			continue
		}
		marks = 0
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func joiner(r rune) bool { return r == '\u200c' || r == '\u200d' }

// blank names the characters that count as graphic and show nothing.
func blank(r rune) bool {
	switch r {
	case '\u115f', '\u1160', '\u2800', '\u3164', '\uffa0', '\ufffc', '\ufffd':
		return true
	}
	return false
}

// personName gives a person's name as it may be shown, or nothing when a mail
// client might turn a piece of it into a link, or when it is not a name at all.
// Anyone may choose what stands here and have it mailed to a stranger.
func personName(s string, limit int) string {
	name := plain(s)
	if utf8.RuneCountInString(name) > limit || !strings.ContainsFunc(name, unicode.IsLetter) {
		return ""
	}
	folded := fold(name)
	if linkable(folded) || dotted(folded) || strings.ContainsAny(folded, `<>{}[]|\/:`) {
		return ""
	}
	digits := 0
	for _, r := range folded {
		if unicode.IsDigit(r) {
			digits++
		}
	}
	if digits > 4 { // a telephone number, which clients make callable
		return ""
	}
	return name
}

// label gives the name of a product or sender as it may be shown, or nothing. A
// dot stays: many products are called by their domain. It is cut at maxLabel.
func label(s string) string {
	name := plain(s)
	if linkable(fold(name)) || !strings.ContainsFunc(name, letterOrDigit) {
		return ""
	}
	if utf8.RuneCountInString(name) > maxLabel {
		name = strings.TrimSpace(string([]rune(name)[:maxLabel-1])) + "…"
	}
	return name
}

// productName is what the mail calls the account: its product's name, its own,
// or its slug, whichever can be shown first; a valid slug always can.
func productName(account tenants.Account) string {
	for _, candidate := range []string{account.Branding.ProductName, account.Name, account.Slug} {
		if name := label(candidate); name != "" {
			return name
		}
	}
	return ""
}

// listedName is productName for a mail that does not come from the account: whoever
// named it must not put a host or a telephone number into it.
func listedName(account tenants.Account) string {
	if name := personName(productName(account), maxLabel); name != "" {
		return name
	}
	return account.Slug
}

// linkable says whether folded text holds what every client makes a link of.
func linkable(folded string) bool {
	return strings.Contains(folded, "//") || strings.Contains(folded, "www.") || strings.Contains(folded, "@")
}

// dotted says whether a dot is followed by a letter or digit: a host name.
func dotted(folded string) bool {
	previous := ' '
	for _, r := range folded {
		if previous == '.' && letterOrDigit(r) {
			return true
		}
		previous = r
	}
	return false
}

// fold gives s as the most obliging client would read it: lower case, without
// joiners, full-width forms and look-alike dots as ASCII.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case joiner(r):
			return -1
		case '\uff01' <= r && r <= '\uff5e':
			r -= 0xfee0
		case r == '\u3002', r == '\uff61', r == '\u2024', r == '\ufe52':
			r = '.'
		case r == '\u2044', r == '\u2215', r == '\u29f8':
			r = '/'
		case r == '\u2236', r == '\ua789', r == '\ufe55':
			r = ':'
		case r == '\ufe6b':
			r = '@'
		}
		return unicode.ToLower(r)
	}, s)
}

func letterOrDigit(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
