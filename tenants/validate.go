package tenants

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// FieldError names the attribute that is wrong and what would be right.
type FieldError struct {
	Field  string // the attribute's name on the wire, as linkLife
	Accept string // what is accepted, in words
}

// Error gives "linkLife: must be …".
func (e *FieldError) Error() string { return e.Field + ": " + e.Accept }

// APIVersions is every version that an account may speak (contract.md, C10).
func APIVersions() []string {
	return []string{"1.0", "1.1", "1.2", "1.3", "1.4", "1.5", "1.6", "1.7", "1.8"}
}

var (
	slugForm   = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{1,62}$`)
	accentForm = regexp.MustCompile(`^#[0-9a-f]{6}$`)
	nameForm   = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
	// addrForm is a dot-atom at a host name of A-labels: what every mail server
	// takes, and nothing that could be read as two addresses.
	addrForm = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*@[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$")
)

// reservedSlugs would shadow a route of ours (design.md, Hosted pages) or an
// action of the API (contract.md, B).
var reservedSlugs = []string{"v1", "docs", "console", "dev", "forgot", "r", "theme", "assets", "action", "actions"}

// ValidSlug says whether s may be an account's slug: 2 to 63 of a-z, 0-9 and "-",
// no leading "-", not a UUID, not reserved.
func ValidSlug(s string) bool {
	if _, isID := ParseUUID(s); isID {
		return false
	}
	return slugForm.MatchString(s) && !slices.Contains(reservedSlugs, s)
}

// ValidName says whether s may name a configured provider: 1 to 63 of a-z, 0-9
// and "-", no leading "-".
func ValidName(s string) bool { return nameForm.MatchString(s) }

// ValidAddrSpec says whether s can stand in a From field: a dot-atom local part
// and a host name, at most 254 bytes (RFC 5322, section 3.4.1; RFC 5321, 4.5.3.1).
func ValidAddrSpec(s string) bool { return len(s) <= 254 && addrForm.MatchString(s) }

// Validate checks every attribute and gives a *FieldError for the first that is
// wrong.
func (a Account) Validate() error {
	checks := []struct {
		ok            bool
		field, accept string
	}{
		{ValidSlug(a.Slug), "slug", "must be 2 to 63 of a-z, 0-9 and \"-\", not begin with \"-\", not look like a UUID, and be none of " + strings.Join(reservedSlugs, ", ")},
		{plain(a.Name, 1, 255), "name", "must be 1 to 255 printable characters"},
		{slices.Contains([]Status{StatusActive, StatusPaused, StatusCanceled}, a.Status), "status", "must be active, paused or canceled"},
		{slices.Contains(APIVersions(), a.APIVersion), "apiVersion", "must be one of " + strings.Join(APIVersions(), ", ")},
		{slices.Contains([]DeliverPolicy{DeliverCaller, DeliverAlways, DeliverNever}, a.DeliverPolicy), "deliverPolicy", "must be caller, always or never"},
		{a.LinkLife >= MinLinkLife && a.LinkLife <= MaxLinkLife, "linkLife", fmt.Sprintf("must be %d to %d seconds", int(MinLinkLife.Seconds()), int(MaxLinkLife.Seconds()))},
		{a.Password.Minimum >= MinPasswordMinimum && a.Password.Minimum <= MaxPasswordMinimum, "passwordMinimum", fmt.Sprintf("must be %d to %d", MinPasswordMinimum, MaxPasswordMinimum)},
	}
	for _, check := range checks {
		if !check.ok {
			return &FieldError{Field: check.field, Accept: check.accept}
		}
	}
	if len(a.Providers) > 8 {
		return &FieldError{Field: "providers", Accept: "must name at most 8 providers"}
	}
	for i, name := range a.Providers {
		if !ValidName(name) || slices.Contains(a.Providers[:i], name) {
			return &FieldError{Field: "providers", Accept: "must be different names of 1 to 63 of a-z, 0-9 and \"-\""}
		}
	}
	if err := validateLinkTemplate(a.LinkTemplate); err != nil {
		return err
	}
	return a.Branding.validate()
}

func (b Branding) validate() error {
	switch {
	case b.ProductName != "" && !plain(b.ProductName, 1, 100):
		return &FieldError{Field: "branding.productName", Accept: "must be at most 100 printable characters"}
	case !accentForm.MatchString(b.Accent):
		return &FieldError{Field: "branding.accent", Accept: "must be a colour as #rrggbb in lower-case hexadecimal"}
	case Contrast(b.Accent, "#ffffff") < 4.5:
		return &FieldError{Field: "branding.accent", Accept: fmt.Sprintf("must have a contrast of at least 4.5:1 with white text (this one has %.1f:1); choose a darker colour", Contrast(b.Accent, "#ffffff"))}
	case b.SupportAddress != "" && !ValidAddrSpec(b.SupportAddress):
		return &FieldError{Field: "branding.supportAddress", Accept: "must be an address as help@example.com"}
	case b.FromName != "" && !plain(b.FromName, 1, 100):
		return &FieldError{Field: "branding.fromName", Accept: "must be at most 100 printable characters"}
	case b.FromAddress != "" && !ValidAddrSpec(b.FromAddress):
		return &FieldError{Field: "branding.fromAddress", Accept: "must be an address as no-reply@example.com"}
	}
	return nil
}

// plain says whether s is UTF-8 of least to most characters, all printable, not
// blank: nothing that could end a header field or a line.
func plain(s string, least, most int) bool {
	if !utf8.ValidString(s) || strings.TrimSpace(s) == "" {
		return false
	}
	n := utf8.RuneCountInString(s)
	return n >= least && n <= most && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
