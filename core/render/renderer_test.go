package render_test

import (
	"bytes"
	"errors"
	"fmt"
	"image/png"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/render"
	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/tenants"
)

func TestSubjectsNameTheProduct(t *testing.T) {
	t.Parallel()
	for template, want := range map[string]string{
		core.MailReset:   "Reset your Acme password",
		core.MailInvite:  "Set your Acme password",
		core.MailChanged: "Your Acme password was changed",
	} {
		if got := mail(t, facts(t, template)).Subject; got != want {
			t.Errorf("%s: %q, want %q", template, got, want)
		}
	}
}

func TestSenderIsTheAccountsOrThePlatforms(t *testing.T) {
	t.Parallel()
	type answer struct{ From, ReplyTo sdk.Mailbox }
	tests := []struct {
		name     string
		branding tenants.Branding
		want     answer
	}{
		{"all set",
			tenants.Branding{ProductName: "Acme", FromName: "Acme Accounts", FromAddress: "a@acme.example", SupportAddress: "help@acme.example"},
			answer{sdk.Mailbox{Name: "Acme Accounts", Address: "a@acme.example"}, sdk.Mailbox{Address: "help@acme.example"}}},
		{"no name: the product's", tenants.Branding{ProductName: "Acme", FromAddress: "a@acme.example"},
			answer{From: sdk.Mailbox{Name: "Acme", Address: "a@acme.example"}}},
		{"no address: the platform's", tenants.Branding{ProductName: "Acme", FromName: "Acme Accounts"},
			answer{From: sdk.Mailbox{Name: "Acme Accounts", Address: platform.Address}}},
		{"nothing: the account's name", tenants.Branding{},
			answer{From: sdk.Mailbox{Name: "Acme Corporation", Address: platform.Address}}},
		{"a name that poses as an address", tenants.Branding{ProductName: "Acme", FromName: "ceo@bank.example"},
			answer{From: sdk.Mailbox{Name: "Acme", Address: platform.Address}}},
		{"a broken support address is left out", tenants.Branding{ProductName: "Acme", SupportAddress: "help at acme"},
			answer{From: sdk.Mailbox{Name: "Acme", Address: platform.Address}}},
	}
	for _, test := range tests {
		rendered := mail(t, facts(t, core.MailReset, func(f *core.MailFacts) { f.Account.Branding = test.branding }))
		if diff := cmp.Diff(test.want, answer{rendered.From, rendered.ReplyTo}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
		if got := strings.Contains(rendered.Text, "Need a hand?"); got != (rendered.ReplyTo.Address != "") {
			t.Errorf("%s: support line shown: %t", test.name, got)
		}
	}
}

func TestHeadersStopAutomaticAnswers(t *testing.T) {
	t.Parallel()
	want := []sdk.Header{{Name: "Auto-Submitted", Value: "auto-generated"}, {Name: "X-Auto-Response-Suppress", Value: "All"}}
	for _, template := range []string{core.MailReset, core.MailInvite, core.MailChanged, core.MailAccounts} {
		if diff := cmp.Diff(want, mail(t, facts(t, template)).Headers); diff != "" {
			t.Errorf("%s (-want +got):\n%s", template, diff)
		}
	}
}

func TestLinkArrivesByteForByte(t *testing.T) {
	t.Parallel()
	links := []string{
		link,
		"http://127.0.0.1:8080/demo/r/AQx0bVb3b2dVQw5Yc1n0J7-k2mZr8T_4uGhP6sXeLfA",
		"https://app.example/reset?token=a.b.c-_~&user=1&x=%2B%20+#/step;1,2!$*=@:",
		"https://a.example/" + strings.Repeat("long-", 300),
		"http://[::1]:8080/r/x",
	}
	for _, given := range links {
		rendered := mail(t, facts(t, core.MailReset, func(f *core.MailFacts) { f.Link = tenants.NewSecret(given) }))
		if n := strings.Count(rendered.Text, "\n\n"+given+"\n\n"); n != 1 {
			t.Errorf("%s: alone on its line %d times", given, n)
		}
		if rendered.Facts.Link.Reveal() != given {
			t.Errorf("%s: facts hold another link", given)
		}
		var hrefs []string
		root, _ := html.Parse(strings.NewReader(rendered.HTML))
		for node := range root.Descendants() {
			if node.Data == "a" {
				hrefs = append(hrefs, node.Attr[slices.IndexFunc(node.Attr, func(a html.Attribute) bool { return a.Key == "href" })].Val)
			}
		}
		if diff := cmp.Diff([]string{given, given, "mailto:help@acme.example"}, hrefs); diff != "" {
			t.Errorf("links of the HTML part (-want +got):\n%s", diff)
		}
		if !strings.Contains(words(rendered.HTML), "\n"+given+"\n") {
			t.Errorf("%s: not written out in the HTML part", given)
		}
	}
}

func TestWrongFactsAreRefused(t *testing.T) {
	t.Parallel()
	type change = func(*core.MailFacts)
	setLink := func(s string) change { return func(f *core.MailFacts) { f.Link = tenants.NewSecret(s) } }
	tests := []struct {
		name     string
		template string
		change   change
		want     error
	}{
		{"unknown template", core.MailReset, func(f *core.MailFacts) { f.Template = "welcome" }, render.ErrTemplate},
		{"no template", core.MailReset, func(f *core.MailFacts) { f.Template = "" }, render.ErrTemplate},
		{"no link", core.MailReset, setLink(""), render.ErrLink},
		{"script link", core.MailReset, setLink("javascript:alert(1)"), render.ErrLink},
		{"script link with a host", core.MailReset, setLink("javascript://a.example/%0aalert%281%29"), render.ErrLink},
		{"link of another scheme", core.MailReset, setLink("ftp://a.example/r/abc"), render.ErrLink},
		{"data link", core.MailReset, setLink("data:text/html,x"), render.ErrLink},
		{"relative link", core.MailReset, setLink("/r/abc"), render.ErrLink},
		{"link without a host", core.MailReset, setLink("https:///r/abc"), render.ErrLink},
		{"link with a password", core.MailReset, setLink("https://a:b@c.example/"), render.ErrLink},
		{"link with a space", core.MailReset, setLink(link + " x"), render.ErrLink},
		{"link with a line break", core.MailReset, setLink(link + "\r\nBcc: x"), render.ErrLink},
		{"link with a quote", core.MailReset, setLink(link + `"`), render.ErrLink},
		{"link with a bracket", core.MailReset, setLink(link + "<b>"), render.ErrLink},
		{"link beyond ASCII", core.MailReset, setLink("https://аpple.example/"), render.ErrLink},
		{"link too long", core.MailReset, setLink("https://a.example/" + strings.Repeat("x", 2048)), render.ErrLink},
		{"no life", core.MailReset, func(f *core.MailFacts) { f.Life = 0 }, render.ErrFacts},
		{"no expiry", core.MailInvite, func(f *core.MailFacts) { f.Expires = time.Time{} }, render.ErrFacts},
		{"no time of change", core.MailChanged, func(f *core.MailFacts) { f.Changed = time.Time{} }, render.ErrFacts},
		{"notice with a token", core.MailChanged, setLink(link), render.ErrLink},
		{"notice with a bad page", core.MailChanged, func(f *core.MailFacts) { f.ForgotURL = "javascript:x" }, render.ErrLink},
		{"no accounts", core.MailAccounts, func(f *core.MailFacts) { f.Accounts = nil }, render.ErrFacts},
		{"list with a token", core.MailAccounts, setLink(link), render.ErrLink},
		{"list with a bad page", core.MailAccounts, func(f *core.MailFacts) { f.Accounts[1].ForgotURL = "javascript:x" }, render.ErrLink},
		{"no message id", core.MailReset, func(f *core.MailFacts) { f.MessageID = "" }, render.ErrFacts},
		{"message id with brackets", core.MailReset, func(f *core.MailFacts) { f.MessageID = "<a@b>" }, render.ErrFacts},
		{"no address", core.MailReset, func(f *core.MailFacts) { f.To.Address = core.Address{} }, render.ErrRecipient},
		{"no syntax", core.MailReset, func(f *core.MailFacts) { f.To.Address = parse(t, "foo") }, render.ErrRecipient},
		{"bad sender", core.MailReset, func(f *core.MailFacts) { f.Account.Branding.FromAddress = "a@b@c" }, render.ErrSender},
		{"no name at all", core.MailReset, func(f *core.MailFacts) { f.Account = tenants.Account{} }, render.ErrFacts},
	}
	r := setup(t)
	for _, test := range tests {
		got, err := r.Mail(t.Context(), facts(t, test.template, test.change))
		if !errors.Is(err, test.want) {
			t.Errorf("%s: error %v, want %v", test.name, err, test.want)
		}
		if got.To.Address != "" || got.Text != "" || got.HTML != "" {
			t.Errorf("%s: a mail came with the error", test.name)
		}
		if err != nil && (strings.Contains(err.Error(), "@") || strings.Contains(err.Error(), "://")) {
			t.Errorf("%s: the error tells an address or a link: %v", test.name, err)
		}
	}
}

// T25 at this level: whatever stands in a field, either no mail is made or no
// field can end its line. The same check must see a mail that pasted it in.
func TestNothingBreaksOutOfAHeader(t *testing.T) {
	t.Parallel()
	breaks := []string{
		"\r\nBcc: victim@evil.example", "\nBcc: victim@evil.example", "\rBcc: v@evil.example", "\r\n\r\nbody",
		"\x00", "\x0b", "\x0c", "\x1b[2J", "\x7f", "\u0085Bcc: v@evil.example", "\u2028Bcc: v", "\u2029Bcc: v",
		"\r\n.\r\nMAIL FROM:<v@evil.example>", "\t\r\n x", "\u202e", "\xff\r\n",
	}
	slots := map[string]struct {
		put   func(*core.MailFacts, string)
		paste func(*sdk.Mail, string)
	}{
		"recipient": {
			func(f *core.MailFacts, s string) {
				f.To.Address = core.Address{Secret: tenants.NewSecret("a" + s + "@b.example")}
			},
			func(m *sdk.Mail, s string) { m.To.Address = "a" + s + "@b.example" }},
		"recipient's domain": {
			func(f *core.MailFacts, s string) {
				f.To.Address = core.Address{Secret: tenants.NewSecret("a@b.example" + s)}
			},
			func(m *sdk.Mail, s string) { m.To.Address = "a@b.example" + s }},
		"sender": {
			func(f *core.MailFacts, s string) { f.Account.Branding.FromAddress = "a@b.example" + s },
			func(m *sdk.Mail, s string) { m.From.Address = "a@b.example" + s }},
		"support": {
			func(f *core.MailFacts, s string) { f.Account.Branding.SupportAddress = "a@b.example" + s },
			func(m *sdk.Mail, s string) { m.ReplyTo.Address = "a@b.example" + s }},
		"message id": {
			func(f *core.MailFacts, s string) { f.MessageID = "a@b" + s },
			func(m *sdk.Mail, s string) { m.MessageID = "a@b" + s }},
		"first name": {
			func(f *core.MailFacts, s string) { f.To.FirstName = "Ada" + s },
			func(m *sdk.Mail, s string) { m.To.Name = "Ada" + s }},
		"product name": {
			func(f *core.MailFacts, s string) { f.Account.Branding.ProductName = "Acme" + s },
			func(m *sdk.Mail, s string) { m.Subject = "Reset your Acme" + s }},
		"from name": {
			func(f *core.MailFacts, s string) { f.Account.Branding.FromName = "Acme" + s },
			func(m *sdk.Mail, s string) { m.From.Name = "Acme" + s }},
	}
	r := setup(t)
	for name, slot := range slots {
		for _, text := range breaks {
			rendered, err := r.Mail(t.Context(), facts(t, core.MailReset, func(f *core.MailFacts) { slot.put(f, text) }))
			if faults := unsafeFields(rendered); err == nil && len(faults) > 0 {
				t.Errorf("%s with %q: %q", name, text, faults)
			}
			pasted := mail(t, facts(t, core.MailReset))
			slot.paste(&pasted, text)
			if len(unsafeFields(pasted)) == 0 {
				t.Errorf("%s with %q pasted in goes unnoticed", name, text)
			}
		}
	}
}

func TestAddressesThatAreMailedTo(t *testing.T) {
	t.Parallel()
	tests := map[string]bool{
		"ada@example.com": true, "ada+reset@sub.example.com": true, "a@localhost": true, "o'brien@example.com": true,
		"grüße@xn--exmple-cua.example": true, "a!#$%&*/=?^_`{|}~-@example.com": true,
		`"quoted local"@example.com`: false, "a@[127.0.0.1]": false, "a@b@c.example": false, "a b@c.example": false,
		".a@b.example": false, "a.@b.example": false, "a..b@c.example": false, "a@-b.example": false, "a@b..example": false,
		"a@b.example.": false, "@b.example": false, "a@": false, "a,b@c.example": false, "a@b.example>": false,
		"a@bücher.example": false, "a\u202eb@c.example": false, strings.Repeat("a", 320) + "@b.example": false,
	}
	r := setup(t)
	for given, want := range tests {
		_, err := r.Mail(t.Context(), facts(t, core.MailReset, func(f *core.MailFacts) {
			f.To.Address = core.Address{Secret: tenants.NewSecret(given)}
		}))
		if got := err == nil; got != want {
			t.Errorf("%q is mailed to: %t, want %t", given, got, want)
		}
	}
}

func TestMailToSupportKeepsItsAddress(t *testing.T) {
	t.Parallel()
	rendered := mail(t, facts(t, core.MailReset, func(f *core.MailFacts) {
		f.Account.Branding.SupportAddress = "help+a?b%c&d@acme.example"
	}))
	if !strings.Contains(rendered.HTML, `href="mailto:help+a%3Fb%25c&amp;d@acme.example"`) &&
		!strings.Contains(rendered.HTML, `href="mailto:help&#43;a%3Fb%25c&amp;d@acme.example"`) {
		t.Error("the address is not encoded as RFC 6068 asks")
	}
}

func TestAccentIsAColourOrTheDefault(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"#0a6b4f": "#0a6b4f", "#0A6B4F": "#0A6B4F",
		"": tenants.DefaultAccent, "red": tenants.DefaultAccent, "#fff": tenants.DefaultAccent,
		"#12345g": tenants.DefaultAccent, "#000;}": tenants.DefaultAccent, `"><b>x`: tenants.DefaultAccent,
	}
	for given, want := range tests {
		rendered := mail(t, facts(t, core.MailReset, func(f *core.MailFacts) { f.Account.Branding.Accent = given }))
		if !strings.Contains(rendered.HTML, `bgcolor="`+want+`" align="center" style="background-color:`+want+`;`) {
			t.Errorf("accent %q: the button is not %s", given, want)
		}
		if strings.Contains(rendered.HTML, "ZgotmplZ") {
			t.Errorf("accent %q: the template refused a value", given)
		}
	}
}

func TestLogoTravelsInline(t *testing.T) {
	t.Parallel()
	large := bytes.Repeat([]byte{0}, 100<<10+1)
	tests := []struct {
		name          string
		logo          []byte
		width, height int // 0: no logo
	}{
		{"wide", logoPNG(t, 512, 128), 192, 48},
		{"very wide", logoPNG(t, 512, 32), 200, 12},
		{"small stays small", logoPNG(t, 40, 20), 40, 20},
		{"square", logoPNG(t, 128, 128), 48, 48},
		{"none", nil, 0, 0},
		{"no PNG", []byte("<svg onload=alert(1)>"), 0, 0},
		{"too large", append(logoPNG(t, 10, 10), large...), 0, 0},
	}
	for _, test := range tests {
		rendered := mail(t, facts(t, core.MailReset, func(f *core.MailFacts) { f.Logo = test.logo }))
		if test.width == 0 {
			if len(rendered.Inline) != 0 || strings.Contains(rendered.HTML, "<img") {
				t.Errorf("%s: an image is in the mail", test.name)
			}
			continue
		}
		if len(rendered.Inline) != 1 {
			t.Fatalf("%s: %d inline parts", test.name, len(rendered.Inline))
		}
		part := rendered.Inline[0]
		want := fmt.Sprintf(`src="cid:%s" alt="Acme" width="%d" height="%d"`, part.ContentID, test.width, test.height)
		if !strings.Contains(rendered.HTML, want) {
			t.Errorf("%s: no %s", test.name, want)
		}
		if _, err := png.Decode(bytes.NewReader(part.Bytes)); err != nil || part.ContentType != "image/png" {
			t.Errorf("%s: the part is no PNG: %v", test.name, err)
		}
	}
}

// A mail must not tell anybody that it was opened, and must show with no network.
func TestNoForeignAsset(t *testing.T) {
	t.Parallel()
	for _, template := range []string{core.MailReset, core.MailInvite, core.MailChanged} {
		rendered := mail(t, facts(t, template, func(f *core.MailFacts) { f.Logo = logoPNG(t, 64, 16) }))
		if found := assets(rendered.HTML); len(found) > 0 {
			t.Errorf("%s loads %q", template, found)
		}
		if len(rendered.HTML) > 15<<10 {
			t.Errorf("%s: %d bytes of HTML; clients clip long mails", template, len(rendered.HTML))
		}
	}
	if len(assets(`<img src="https://a.example/p.png"><link rel="stylesheet" href="x.css"><p style="background:url(x)">`)) != 3 {
		t.Error("the check does not see foreign assets")
	}
}

func assets(document string) []string {
	var found []string
	root, _ := html.Parse(strings.NewReader(document))
	for node := range root.Descendants() {
		if slices.Contains([]string{"link", "script", "iframe", "object", "embed", "base"}, node.Data) && node.Type == html.ElementNode {
			found = append(found, node.Data)
		}
		if node.Type == html.TextNode && node.Parent.Data == "style" && strings.Contains(node.Data, "url(") {
			found = append(found, "style")
		}
		for _, attribute := range node.Attr {
			loads := slices.Contains([]string{"src", "srcset", "background", "poster"}, attribute.Key)
			if loads && !strings.HasPrefix(attribute.Val, "cid:") || strings.Contains(attribute.Val, "url(") {
				found = append(found, attribute.Key)
			}
		}
	}
	return found
}

func TestConfigIsRefusedByField(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]render.Config{
		"from address": {From: sdk.Mailbox{Address: "nobody"}},
		"locale":       {From: platform, Locale: "en_US"},
	} {
		if _, err := render.New(config); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v does not name it", name, err)
		}
	}
}

func TestUnknownLocaleIsEnglish(t *testing.T) {
	t.Parallel()
	r := setup(t)
	for _, tag := range []string{"", "en", "EN-gb", "tlh", "not a tag", "-", "en-", strings.Repeat("a-", 40)} {
		rendered, err := r.MailIn(tag, facts(t, core.MailReset))
		if err != nil || rendered.Facts.Locale != "en" || !strings.Contains(rendered.HTML, `<html lang="en" dir="ltr">`) {
			t.Errorf("%q: locale %q, error %v", tag, rendered.Facts.Locale, err)
		}
	}
}

func TestManyMailsAtOnceDoNotMix(t *testing.T) {
	t.Parallel()
	r := setup(t)
	var wait sync.WaitGroup
	for i := range 200 {
		made := facts(t, core.MailReset, func(f *core.MailFacts) {
			f.Account.Branding.ProductName = fmt.Sprintf("Product%03d", i)
			f.Link = tenants.NewSecret(fmt.Sprintf("https://p%03d.example/r/x", i))
		})
		wait.Go(func() {
			rendered, err := r.Mail(t.Context(), made)
			if err != nil || strings.Count(rendered.Text+rendered.HTML, "Product") != strings.Count(rendered.Text+rendered.HTML, fmt.Sprintf("Product%03d", i)) ||
				strings.Count(rendered.Text+rendered.HTML, "https://") != strings.Count(rendered.Text+rendered.HTML, fmt.Sprintf("https://p%03d.", i)) {
				t.Errorf("mail %d holds another's words: %v", i, err)
			}
		})
	}
	wait.Wait()
}

func BenchmarkMail(b *testing.B) {
	r, made := setup(b), facts(b, core.MailReset)
	for b.Loop() {
		if _, err := r.Mail(b.Context(), made); err != nil {
			b.Fatal(err)
		}
	}
}
