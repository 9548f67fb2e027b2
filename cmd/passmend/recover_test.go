package main

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// The list of accounts reaches the inbox of an admin through the real service, on both
// engines, and nothing of it is in the log.
func TestAccountsAreMailedToTheirAdmin(t *testing.T) {
	t.Parallel()
	for engine, database := range map[string]func(*testing.T) []string{
		"sqlite":   func(*testing.T) []string { return nil },
		"postgres": migrated,
	} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, database(t)...)
			s.must("account", "create", "second", "--name", "The Second")
			for _, account := range []string{"acme", "second"} {
				s.must("user", "create", "boss@example.com", "--account", account, "--role", "admin")
			}
			srv := s.serve()
			for _, address := range []string{"nobody@example.com", "ada@example.com", "Boss@Example.com"} {
				got := s.send("POST", "/v1/recover", `{"meta":{"type":"account","email":"`+address+`"}}`)
				if got.status != http.StatusAccepted || got.body != "" {
					t.Fatalf("%d %s", got.status, got.body)
				}
			}
			s.eventually("the list arrives", func() bool { return len(s.mailbox.Messages()) > 0 })
			mail := s.mailbox.Messages()[0]
			if !slices.Equal(mail.To, []string{"boss@example.com"}) || !strings.Contains(mail.Text, "/acme/forgot\n") || !strings.Contains(mail.Text, "The Second\n"+s.base+"/second/forgot\n") {
				t.Errorf("To %q: %s", mail.To, mail.Text)
			}
			find := func() string { return s.must("request", "find", "boss@example.com", "--recover") }
			s.eventually("the request is sent", func() bool { return strings.Contains(find(), "sent") })
			shown := s.must("request", "show", idForm.FindString(find()), "--recover")
			if !strings.Contains(shown, "accounts, attempt 1") || strings.Contains(shown, "@") {
				t.Errorf("request show: %s", shown)
			}
			if code := srv.stop(); code != 0 {
				t.Errorf("exit status %d after SIGTERM", code)
			}
			if n := len(s.mailbox.Messages()); n != 1 {
				t.Errorf("%d mails", n)
			}
			if logs := srv.out.String(); strings.Contains(logs, "@example.com") {
				t.Errorf("the log holds an address: %s", grep(logs, "@example.com"))
			}
		})
	}
}
