package tenants

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

const anID = "0197c0de-0000-7000-8000-00000000abcd"

func TestNewAccountIsValid(t *testing.T) {
	t.Parallel()
	if err := New(anID, "acme", "Acme").Validate(); err != nil {
		t.Fatal(err)
	}
}

func TestValidateNamesTheFieldThatIsWrong(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		field  string
		change func(a *Account)
	}{
		{"slug", func(a *Account) { a.Slug = "" }},
		{"slug", func(a *Account) { a.Slug = "a" }},
		{"slug", func(a *Account) { a.Slug = "-acme" }},
		{"slug", func(a *Account) { a.Slug = "Acme" }},
		{"slug", func(a *Account) { a.Slug = "ac me" }},
		{"slug", func(a *Account) { a.Slug = "forgot" }},
		{"slug", func(a *Account) { a.Slug = anID }},
		{"slug", func(a *Account) { a.Slug = "0197c0de00007000800000000000abcd" }},
		{"name", func(a *Account) { a.Name = " " }},
		{"name", func(a *Account) { a.Name = "Ac\nme" }},
		{"name", func(a *Account) { a.Name = "\xff" }},
		{"status", func(a *Account) { a.Status = "gone" }},
		{"apiVersion", func(a *Account) { a.APIVersion = "2.0" }},
		{"deliverPolicy", func(a *Account) { a.DeliverPolicy = "sometimes" }},
		{"linkLife", func(a *Account) { a.LinkLife = 9 * time.Minute }},
		{"linkLife", func(a *Account) { a.LinkLife = 25 * time.Hour }},
		{"passwordMinimum", func(a *Account) { a.Password.Minimum = 5 }},
		{"passwordMinimum", func(a *Account) { a.Password.Minimum = 65 }},
		{"providers", func(a *Account) { a.Providers = []string{"a", "a"} }},
		{"providers", func(a *Account) { a.Providers = []string{"A b"} }},
		{"linkTemplate", func(a *Account) { a.LinkTemplate = "https://app.example/reset" }},
		{"linkTemplate", func(a *Account) { a.LinkTemplate = "http://app.example/{token}" }},
		{"linkTemplate", func(a *Account) { a.LinkTemplate = "https://{token}.example/" }},
		{"linkTemplate", func(a *Account) { a.LinkTemplate = "https://app.example/{token}{token}" }},
		{"linkTemplate", func(a *Account) { a.LinkTemplate = "https://app.example/{token}/{secret}" }},
		{"linkTemplate", func(a *Account) { a.LinkTemplate = "https://me@app.example/{token}" }},
		{"linkTemplate", func(a *Account) { a.LinkTemplate = "https://app.example?{token}" }},
		{"linkTemplate", func(a *Account) { a.LinkTemplate = "javascript://app.example/{token}" }},
		{"branding.accent", func(a *Account) { a.Branding.Accent = "red" }},
		{"branding.accent", func(a *Account) { a.Branding.Accent = "#ffff00" }},
		{"branding.productName", func(a *Account) { a.Branding.ProductName = "a\u202eb" }},
		{"branding.supportAddress", func(a *Account) { a.Branding.SupportAddress = "help" }},
		{"branding.fromName", func(a *Account) { a.Branding.FromName = "x\r\nBcc: y" }},
		{"branding.fromAddress", func(a *Account) { a.Branding.FromAddress = "a@x, b@y" }},
	} {
		account := New(anID, "acme", "Acme")
		c.change(&account)
		var wrong *FieldError
		if err := account.Validate(); !errors.As(err, &wrong) || wrong.Field != c.field {
			t.Errorf("%+v: got %v, want an error of %s", account, err, c.field)
		}
	}
}

func TestValidateTakesWhatIsAllowed(t *testing.T) {
	t.Parallel()
	account := New(anID, "acme-1", "Ácme & Söhne")
	account.LinkTemplate = "https://app.example/reset?a={account}&u={user}&t={token}"
	account.Branding = Branding{ProductName: "Acme", Accent: "#7a1fa2", SupportAddress: "help@acme.example", FromName: "Acme", FromAddress: "no-reply@acme.example"}
	account.Providers = []string{"acme-smtp", "relay"}
	if err := account.Validate(); err != nil {
		t.Fatal(err)
	}
	link := FillLink(account.LinkTemplate, "A", "U", NewSecret("T"))
	if got, want := link.Reveal(), "https://app.example/reset?a=A&u=U&t=T"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestDelivers(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	for _, c := range []struct {
		policy    DeliverPolicy
		byDefault bool
		asked     *bool
		want      bool
	}{
		{DeliverCaller, true, nil, true},
		{DeliverCaller, false, nil, false},
		{DeliverCaller, true, &no, false},
		{DeliverCaller, false, &yes, true},
		{DeliverAlways, false, &no, true},
		{DeliverNever, true, &yes, false},
	} {
		account := New(anID, "acme", "Acme")
		account.DeliverPolicy, account.DeliverDefault = c.policy, c.byDefault
		if got := account.Delivers(c.asked); got != c.want {
			t.Errorf("%+v: got %v", c, got)
		}
	}
}

func TestParseUUID(t *testing.T) {
	t.Parallel()
	for _, s := range []string{anID, "0197C0DE-0000-7000-8000-00000000ABCD", "0197c0de00007000800000000000abcd", "0197C0DE00007000800000000000ABCD"} {
		if got, ok := ParseUUID(s); !ok || got != anID {
			t.Errorf("%s: got %s, %v", s, got, ok)
		}
	}
	for _, s := range []string{"", "acme", "0197c0de-00007000-8000-00000000abcd", "0197c0de-0000-7000-8000-00000000abcg", "{" + anID + "}", anID + "\n"} {
		if got, ok := ParseUUID(s); ok {
			t.Errorf("%q was taken as %s", s, got)
		}
	}
}

func TestSecretPrintsNowhere(t *testing.T) {
	t.Parallel()
	secret := NewSecret("hunter2-hunter2")
	for _, verb := range []string{"%s", "%v", "%+v", "%#v", "%q", "%x", "%d"} {
		if got := fmt.Sprintf(verb, secret); got != "[redacted]" {
			t.Errorf("%s prints %s", verb, got)
		}
		if got := fmt.Sprintf(verb, struct{ S Secret }{secret}); len(got) == 0 || strings.Contains(got, "hunter2") {
			t.Errorf("%s of a struct prints %s", verb, got)
		}
	}
}
