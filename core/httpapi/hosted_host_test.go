package httpapi

import (
	"errors"
	"net/http"
	"strings"
	"testing"
)

// ownHost is a host of the account's own.
const ownHost = "login.acme.example"

// moveTo gives the account a host of its own.
func (s *site) moveTo(host string) {
	s.acme.Host = host
	s.accounts.add(s.acme)
}

// at sends a request to a host.
func (b *visitor) at(host, method, path string, pairs ...string) pageAnswer {
	b.site.t.Helper()
	header := http.Header{"Host": {host}}
	if method == http.MethodGet {
		return b.do(method, path, nil, header)
	}
	return b.do(method, path, formOf(pairs...), header)
}

func TestPagesOnAHostOfTheAccountsOwn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.acme = s.withLogo(s.acme)
	s.moveTo(ownHost)
	v := s.visitor()

	forgot := v.at(ownHost, "GET", "/forgot")
	wantPage(t, forgot, 200, "Reset your password")
	if strings.Contains(forgot.Body, `"/acme`) || !strings.Contains(forgot.Body, `action="/forgot"`) {
		t.Errorf("the page leads elsewhere: %s", forgot.Body)
	}
	logo := v.at(ownHost, "GET", "/assets/logo/"+s.acme.Branding.LogoHash+".png")
	if !strings.Contains(forgot.Body, `src="/assets/logo/`+s.acme.Branding.LogoHash+`.png"`) || logo.Status != 200 || logo.Header.Get("Content-Type") != "image/png" {
		t.Errorf("the logo answers %d", logo.Status)
	}
	wantPage(t, v.at(ownHost, "POST", "/forgot", "email", "ada@example.com"), 200, "Check your inbox")
	if asked := s.intake.all(); len(asked) != 1 || asked[0] != "acme ada@example.com" {
		t.Errorf("accepted %q", asked)
	}

	wantRedirect(t, v.at(ownHost, "GET", "/r/"+s.link(s.acme, "ada@example.com")), "/r")
	form := v.at(ownHost, "GET", "/r")
	view := hiddenField(t, form.Body, "view")
	wantRedirect(t, v.at(ownHost, "POST", "/r", "view", view, "password", goodPassword, "repeat", goodPassword), "/r/done")
	wantPage(t, v.at(ownHost, "GET", "/r/done"), 200, "Your password was changed")

	token := s.link(s.acme, "ada@example.com")
	wantRedirect(t, v.at(ownHost, "GET", "/r/"+token), "/r")
	view = hiddenField(t, v.at(ownHost, "GET", "/r").Body, "view")
	wantRedirect(t, v.at(ownHost, "POST", "/r/dispute", "view", view), "/r/disputed")

	token = s.link(s.acme, "ada@example.com")
	s.expire(token)
	expired := v.at(ownHost, "GET", "/r/"+token)
	wantPage(t, v.at(ownHost, "POST", "/forgot/again", "again", hiddenField(t, expired.Body, "again")), 200, "Check your inbox")
}

func TestAHostOfAnAccountsOwnHasNobodyElsesPages(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	v := s.visitor()
	wantPage(t, v.at(ownHost, "GET", "/forgot"), 421, "Wrong address")
	s.moveTo(ownHost)
	other := s.acme
	other.ID, other.Slug, other.Host = "0197c0de-0000-7000-8000-00000000beef", "beta", ""
	s.accounts.add(other)

	for _, path := range []string{"/acme/forgot", "/beta/forgot", "/acme/r/" + s.link(s.acme, "ada@example.com")} {
		wantPage(t, v.at(ownHost, "GET", path), 404, "Page not found")
	}
	wantPage(t, v.at(ownHost, "GET", "/r/"+s.link(other, "ada@example.com")), 404, "This link does not work")
	wantPage(t, v.get("/forgot"), 404, "Page not found")
	wantPage(t, v.get("/acme/forgot"), 200, "Reset your password") // links from before it had a host

	s.accounts.fault = errors.New("no database")
	wantPage(t, v.at(ownHost, "GET", "/forgot"), 503, "Not available just now")
}

// Where there is one account only, the path need not name it, and may name no other.
func TestPagesOfTheOnlyAccount(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	other := s.acme
	other.ID, other.Slug = "0197c0de-0000-7000-8000-00000000beef", "beta"
	s.accounts.add(other)
	s.hosted.c.Account = "acme"
	v := s.visitor()
	wantPage(t, v.get("/forgot"), 200, "Reset your password")
	wantRedirect(t, v.get("/r/"+s.link(s.acme, "ada@example.com")), "/r")
	wantPage(t, v.get("/acme/forgot"), 200, "Reset your password")
	wantPage(t, v.get("/beta/forgot"), 404, "Page not found")
}
