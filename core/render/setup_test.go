package render_test

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"testing"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/render"
	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/tenants"
)

const (
	link    = "https://login.acme.example/r/AQx0bVb3b2dVQw5Yc1n0J7-k2mZr8T_4uGhP6sXeLfA"
	forgot  = "https://login.acme.example/forgot"
	address = "ada@example.com"
)

var platform = sdk.Mailbox{Name: "Passmend", Address: "noreply@passmend.example"}

func setup(t testing.TB) *render.Renderer {
	t.Helper()
	r, err := render.New(render.Config{From: platform})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// facts gives a mail that is right in every respect; change alters it.
func facts(t testing.TB, template string, change ...func(*core.MailFacts)) core.MailFacts {
	t.Helper()
	account := tenants.New("0190c0de-0000-7000-8000-000000000001", "acme", "Acme Corporation")
	account.Branding = tenants.Branding{
		ProductName: "Acme", Accent: "#0a6b4f",
		SupportAddress: "help@acme.example", FromName: "Acme Accounts", FromAddress: "accounts@acme.example",
	}
	made := core.MailFacts{
		Template:  template,
		Account:   account,
		To:        core.User{Address: parse(t, address), FirstName: "Ada", LastName: "Lovelace"},
		MessageID: "0190c0de-0000-7000-8000-0000000000aa@passmend.example",
		ForgotURL: forgot,
	}
	switch template {
	case core.MailChanged:
		made.Changed = time.Date(2026, 11, 24, 14, 5, 59, 0, time.UTC)
	case core.MailAccounts:
		made.Account, made.To = tenants.Recover("login.example.com"), core.User{Address: parse(t, address)}
		other := tenants.New("0190c0de-0000-7000-8000-000000000002", "sub-etha", "Sub-Etha & Co")
		made.Accounts = []core.AccountEntry{{Account: account, ForgotURL: forgot}, {Account: other, ForgotURL: "https://login.example.com/sub-etha/forgot"}}
	default:
		made.Link = tenants.NewSecret(link)
		made.Life = time.Hour
		made.Expires = time.Date(2026, 11, 24, 15, 5, 30, 0, time.FixedZone("CET", 3600))
	}
	for _, alter := range change {
		alter(&made)
	}
	return made
}

func parse(t testing.TB, typed string) core.Address {
	t.Helper()
	parsed, err := core.ParseAddress(typed)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func mail(t testing.TB, made core.MailFacts) sdk.Mail {
	t.Helper()
	rendered, err := setup(t).Mail(t.Context(), made)
	if err != nil {
		t.Fatal(err)
	}
	return rendered
}

// logoPNG draws a mark on a transparent ground, as tenants upload them.
func logoPNG(t testing.TB, width, height int) []byte {
	t.Helper()
	canvas := image.NewNRGBA(image.Rect(0, 0, width, height))
	ink := color.NRGBA{R: 0x0a, G: 0x6b, B: 0x4f, A: 0xff}
	for y := range height {
		for x := range width {
			cell := x / max(height, 1)
			dx, dy := x-cell*height-height/2, y-height/2
			inside := dx*dx+dy*dy < height*height/5
			if inside && (cell != 1 || dx*dx+dy*dy > height*height/16) {
				canvas.SetNRGBA(x, y, ink)
			}
		}
	}
	var encoded bytes.Buffer
	if err := png.Encode(&encoded, canvas); err != nil {
		t.Fatal(err)
	}
	return encoded.Bytes()
}
