package core_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/tenants"
)

// recover asks which accounts are somebody's.
func (h *house) recover(address string) {
	h.t.Helper()
	if err := h.intake.Accept(h.t.Context(), tenants.Recover("reset.example"), core.Ask{Address: h.address(address)}); err != nil {
		h.t.Fatal(err)
	}
}

// administers makes accounts in which the address has a role.
func (h *house) administers(address string, role core.Role, slugs ...string) {
	h.t.Helper()
	for _, slug := range slugs {
		account, err := h.store.CreateAccount(h.t.Context(), tenants.New(tenants.AccountID(h.resolver.NewID()), slug, "The "+slug))
		if err != nil {
			h.t.Fatal(err)
		}
		user := core.User{ID: core.UserID(h.resolver.NewID()), Address: h.address(address), Role: role}
		if _, err := h.store.CreateUser(h.t.Context(), account.ID, user); err != nil {
			h.t.Fatal(err)
		}
	}
}

// Whoever is an admin is mailed the list, by the platform's provider; nobody else
// anything.
func TestRecoverMailsTheAccountsOfAnAdmin(t *testing.T) {
	t.Parallel()
	h := newHouse(t, time.Hour, "a")
	h.administers("boss@example.com", core.RoleAdmin, "one")
	h.administers("boss@example.com", core.RoleReadOnly, "two")
	h.administers("boss@example.com", core.RoleUser, "three")
	h.recover("ada@example.com") // a user of acme
	h.recover("nobody@example.com")
	h.recover(strings.Repeat("a", 400) + "@example.com")
	h.recover("BOSS@example.com ")
	want := map[string]int{"sent": 1, "suppressed unknown_user": 2, "suppressed address_too_long": 1}
	if diff := cmp.Diff(want, h.states()); diff != "" {
		t.Fatal(diff)
	}
	mails := h.plugin.mails()
	if len(mails) != 1 {
		t.Fatalf("%d mails", len(mails))
	}
	mail := mails[0].Mail
	if mail.To.Address != "boss@example.com" || mail.Facts.Template != core.MailAccounts || mail.Subject != "Your accounts at reset.example" || mail.From.Address != "no-reply@passmend.example" {
		t.Errorf("%+v", mail)
	}
	if !strings.Contains(mail.Text, "The one\nhttps://reset.example/one/forgot\n\nThe two\nhttps://reset.example/two/forgot\n") || strings.Contains(mail.Text, "three") {
		t.Error(mail.Text)
	}
	var sealed int
	if err := h.db.QueryRow(`SELECT count(*) FROM requests WHERE address_sealed IS NOT NULL`).Scan(&sealed); err != nil || sealed != 0 {
		t.Errorf("%d ended requests keep their address (%v)", sealed, err)
	}
}

// The list is as long as it was when it goes out, and no longer than it may be.
func TestRecoverListsWhatThereIs(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 0, "a")
	var slugs []string
	for i := range core.MostListed + 1 {
		slugs = append(slugs, fmt.Sprintf("account-%03d", i))
	}
	h.administers("boss@example.com", core.RoleAdmin, slugs...)
	h.plugin.answer = func(n int, _ string) error {
		if n == 1 {
			h.exec(`UPDATE users SET role = 'user' WHERE account_id = (SELECT id FROM accounts WHERE slug = 'account-000')`)
			return &sdk.Failure{Kind: sdk.Temporary, Public: "later"}
		}
		return nil
	}
	h.recover("boss@example.com")
	if diff := cmp.Diff(map[string]int{"sent": 1}, h.states()); diff != "" {
		t.Fatal(diff)
	}
	first, second := h.plugin.mails()[0].Mail.Text, h.plugin.mails()[1].Mail.Text
	if strings.Count(first, "/forgot") != core.MostListed || !strings.Contains(first, "These are the first 100; there are more.") {
		t.Error(first)
	}
	if strings.Count(second, "/forgot") != core.MostListed || strings.Contains(second, "there are more") || strings.Contains(second, "account-000") {
		t.Error(second)
	}
}

// Who is an admin of nothing any more is written to no more.
func TestRecoverStopsWithTheLastAccount(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 0, "a")
	h.administers("boss@example.com", core.RoleAdmin, "one")
	h.plugin.answer = func(int, string) error {
		h.exec(`UPDATE users SET role = 'user'`)
		return &sdk.Failure{Kind: sdk.Temporary, Public: "later"}
	}
	h.recover("boss@example.com")
	if diff := cmp.Diff(map[string]int{"superseded": 1}, h.states()); diff != "" {
		t.Fatal(diff)
	}
}

// A list counts in what an address is mailed over all accounts, and in what it is
// mailed by the service.
func TestRecoverCountsForTheRecipient(t *testing.T) {
	t.Parallel()
	twice := core.Limit{Rates: []core.Rate{{Count: 2, Per: time.Hour}}}
	for reason, limit := range map[core.Reason]func(*core.Resolver){
		core.ReasonRecipientLimit: func(r *core.Resolver) { r.Recipient = twice },
		core.ReasonRecipientAll:   func(r *core.Resolver) { r.RecipientAll = twice },
		"":                        func(*core.Resolver) {},
	} {
		t.Run(string(reason), func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, 0, "a")
			limit(h.resolver)
			h.administers("ada@example.com", core.RoleAdmin, "one")
			for range 2 {
				h.recover("ada@example.com")
				h.states()
			}
			h.ask("ada@example.com") // of another account
			h.recover("ada@example.com")
			want := map[core.Reason]map[string]int{
				"":                        {"sent": 4},
				core.ReasonRecipientLimit: {"sent": 3, "suppressed recipient_limit": 1},
				core.ReasonRecipientAll:   {"sent": 2, "suppressed recipient_limit_all": 2},
			}[reason]
			if diff := cmp.Diff(want, h.states()); diff != "" {
				t.Error(diff)
			}
		})
	}
}
