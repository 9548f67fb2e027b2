package render_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/tenants"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMailsReadAsReviewed(t *testing.T) {
	t.Parallel()
	bare := func(f *core.MailFacts) { f.Account.Branding = tenants.Branding{}; f.To.FirstName = "" }
	tests := []struct {
		name     string
		template string
		change   func(*core.MailFacts)
	}{
		{"reset", core.MailReset, func(*core.MailFacts) {}},
		{"reset-logo", core.MailReset, func(f *core.MailFacts) { f.Logo = logoPNG(t, 384, 96) }},
		{"reset-bare", core.MailReset, bare},
		{"invite", core.MailInvite, func(f *core.MailFacts) { f.Life = 90 * time.Minute }},
		{"changed", core.MailChanged, func(*core.MailFacts) {}},
		{"accounts", core.MailAccounts, func(*core.MailFacts) {}},
		{"accounts-more", core.MailAccounts, func(f *core.MailFacts) { f.More = true }},
		{"changed-alone", core.MailChanged, func(f *core.MailFacts) { bare(f); f.ForgotURL = "" }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			rendered := mail(t, facts(t, test.template, test.change))
			golden(t, test.name+".txt", head(rendered)+"\n"+rendered.Text)
			golden(t, test.name+".html", rendered.HTML)
		})
	}
}

// head writes down every field of a mail beside its bodies.
func head(m sdk.Mail) string {
	var b strings.Builder
	fmt.Fprintf(&b, "From: %q <%s>\nTo: %q <%s>\n", m.From.Name, m.From.Address, m.To.Name, m.To.Address)
	if m.ReplyTo != (sdk.Mailbox{}) {
		fmt.Fprintf(&b, "Reply-To: %q <%s>\n", m.ReplyTo.Name, m.ReplyTo.Address)
	}
	fmt.Fprintf(&b, "Subject: %s\nMessage-ID: %s\n", m.Subject, m.MessageID)
	for _, header := range m.Headers {
		fmt.Fprintf(&b, "%s: %s\n", header.Name, header.Value)
	}
	for _, part := range m.Inline {
		fmt.Fprintf(&b, "Inline: %s %s %s\n", part.ContentID, part.ContentType, part.Name)
	}
	fmt.Fprintf(&b, "Facts: %s %s %t %s\n", m.Facts.Template, m.Facts.Locale, m.Facts.Link.Reveal() != "", m.Facts.ExpiresAt.UTC().Format(time.RFC3339))
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got); go test -update after review:\n%s", path, diff)
	}
}
