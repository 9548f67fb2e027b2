package httpapi

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Whoever did not ask ends the link, without a password and without a script.
func TestALinkIsDisputed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	v := s.visitor()
	token := s.link(s.acme, "ada@example.com")
	view := v.open(s.acme, token)
	page := v.get("/acme/r").Body
	if !strings.Contains(page, `action="/acme/r/dispute"`) || !strings.Contains(page, "I did not ask for this") {
		t.Error("the page offers no way to say so")
	}
	got := v.post("/acme/r/dispute", "view", view)
	wantRedirect(t, got, "/acme/r/disputed")
	if got.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control %q", got.Header.Get("Cache-Control"))
	}
	wantPage(t, v.get("/acme/r/disputed"), 200, "This link is ended")
	if diff := cmp.Diff([]string{"ada@example.com"}, s.links.disputes()); diff != "" {
		t.Error(diff)
	}
	if len(s.links.passwords()) != 0 {
		t.Error("a password was set")
	}
	wantPage(t, v.get("/acme/r/"+token), 404, "This link does not work")
	wantPage(t, v.get("/acme/r"), 403, "This page has timed out")
	wantRedirect(t, v.get("/acme/r/dispute"), "/acme/forgot") // who reloads from the address bar
}

// What does not come from the page that was drawn for the link ends nothing.
func TestOnlyItsOwnPageDisputesALink(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		send  func(v *visitor, view string) pageAnswer
		want  int
		title string
	}{
		"positive control": {func(v *visitor, view string) pageAnswer { return v.post("/acme/r/dispute", "view", view) }, 303, ""},
		"another site": {func(v *visitor, view string) pageAnswer {
			return v.do("POST", "/acme/r/dispute", formOf("view", view), http.Header{"Sec-Fetch-Site": {"cross-site"}})
		}, 403, "This form could not be used"},
		"a neighbouring site": {func(v *visitor, view string) pageAnswer {
			return v.do("POST", "/acme/r/dispute", formOf("view", view), http.Header{"Sec-Fetch-Site": {"same-site"}})
		}, 403, "This form could not be used"},
		"without the view":  {func(v *visitor, _ string) pageAnswer { return v.post("/acme/r/dispute") }, 403, "This form could not be used"},
		"another view":      {func(v *visitor, _ string) pageAnswer { return v.post("/acme/r/dispute", "view", "x") }, 403, "This form could not be used"},
		"view in the query": {func(v *visitor, view string) pageAnswer { return v.post("/acme/r/dispute?view=" + view) }, 403, "This form could not be used"},
		"without the cookie": {func(v *visitor, view string) pageAnswer {
			return v.site.visitor().post("/acme/r/dispute", "view", view)
		}, 403, "This page has timed out"},
		"a scanner's GET": {func(v *visitor, view string) pageAnswer { return v.get("/acme/r/dispute?view=" + view) }, 303, ""},
		"a page of yesterday": {func(v *visitor, view string) pageAnswer {
			v.site.clock.forward(16 * time.Minute)
			return v.post("/acme/r/dispute", "view", view)
		}, 403, "This page has timed out"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			v := s.visitor()
			got := c.send(v, v.open(s.acme, s.link(s.acme, "ada@example.com")))
			if c.want == 303 && got.Status != 303 {
				t.Errorf("%d", got.Status)
			} else if c.want != 303 {
				wantPage(t, got, c.want, c.title)
			}
			if ended := len(s.links.disputes()) == 1; ended != (name == "positive control") {
				t.Errorf("the link was ended: %t", ended)
			}
		})
	}
}

// A dead link gets from the second form what it gets from the first.
func TestDeadLinksGetEqualAnswersFromBothForms(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		kill func(s *site, token string)
		want int
	}{
		"used":    {func(s *site, token string) { s.links.links[token].spent = true }, 404},
		"gone":    {func(s *site, token string) { delete(s.links.links, token) }, 404},
		"expired": {func(s *site, token string) { s.expire(token) }, 410},
		"faulty":  {func(s *site, _ string) { s.links.fault = http.ErrServerClosed }, 503},
		"guessing": {func(s *site, _ string) {
			s.limit(func(l *Limits) { l.BadToken = every(89 * time.Second) })
			s.visitor().get("/acme/r/unknown")
		}, 429},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			v := s.visitor()
			token := s.link(s.acme, "ada@example.com")
			view := v.open(s.acme, token)
			c.kill(s, token)
			first := v.post("/acme/r", "view", view, "password", goodPassword, "repeat", goodPassword)
			second := v.post("/acme/r/dispute", "view", view)
			if first.Status != c.want || second.Status != c.want {
				t.Errorf("%d and %d, want %d", first.Status, second.Status, c.want)
			}
			if name != "expired" && first.Body != second.Body { // the address is sealed anew each time
				t.Error("the pages differ")
			}
		})
	}
}
