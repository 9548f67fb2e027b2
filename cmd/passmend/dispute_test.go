package main

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Whoever did not ask says so on the page of the link: the account's endpoint is told,
// the link is dead, and support and audit see it. On both engines.
func TestSomebodyDidNotAsk(t *testing.T) {
	t.Parallel()
	for engine, database := range map[string]func(*testing.T) []string{
		"sqlite":   func(*testing.T) []string { return nil },
		"postgres": migrated,
	} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			h := newHooks(t, database(t)...)
			h.endpoint("/hook", `"subscriptions":["user.password-reset","user.password-reset.disputed"]`)
			h.forgetQuietly("ada@example.com")
			token := h.await("/hook", "user.password-reset", 1)[0].resetToken(t)

			browser, visit := browserAt(t, h.base), visiting(t)
			_, page := visit(browser.Get(h.base + "/demo/r/" + token))
			found := viewForm.FindStringSubmatch(page)
			if found == nil {
				t.Fatalf("no form on %s", page)
			}
			if status, page := visit(browser.PostForm(h.base+"/demo/r/dispute", url.Values{"view": {found[1]}})); status != http.StatusOK || !strings.Contains(page, "Thank you for telling us") {
				t.Fatalf("%d %s", status, page)
			}
			_, payload := h.await("/hook", "user.password-reset.disputed", 1)[0].event(t)
			if payload.Data.Attributes["email"] != "ada@example.com" || len(payload.Meta) != 0 {
				t.Errorf("the payload is %+v", payload)
			}
			if status, _ := visit(browser.Get(h.base + "/demo/r/" + token)); status != http.StatusNotFound {
				t.Errorf("the link afterwards: %d", status)
			}
			if got := h.api("GET", "/password-requests", ""); !strings.Contains(got.body, `"disputed":"2`) || strings.Contains(got.body, `"redeemed":"2`) {
				t.Errorf("the timeline: %s", got.body)
			}
			names := regexp.MustCompile(`"event":"([a-z_]+)"`).FindAllStringSubmatch(h.api("GET", "/audit-events", "").body, -1)
			if !slices.ContainsFunc(names, func(n []string) bool { return n[1] == "authn_password_reset_disputed" }) {
				t.Errorf("the audit log: %v", names)
			}
		})
	}
}
