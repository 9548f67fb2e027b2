package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/smtp"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/passmend/passmend/cmd/passmend/mailbox"
	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// canarySite is a deployment with a canary, whose provider hands mails to a relay of
// this test, which brings them to the inbox as change leaves them.
func canarySite(t *testing.T, change func(raw string) string) *site {
	t.Helper()
	inbox := freePort(t)
	s := newSite(t, "PASSMEND_CANARY=true", "PASSMEND_CANARY_ADDRESS=canary@probe.example.com", "PASSMEND_CANARY_INBOX="+inbox)
	ctx, cancel := context.WithCancel(t.Context())
	relayed := make(chan struct{})
	go func() {
		defer close(relayed)
		seen := 0
		for {
			message, err := s.mailbox.Wait(ctx, func(m mailbox.Message) bool { return m.Number > seen })
			if err != nil {
				return
			}
			seen = message.Number
			if err := smtp.SendMail(inbox, nil, "bounces@relay.example", message.To, []byte(change(message.Raw))); err != nil {
				t.Errorf("the inbox does not take a mail to %s: %v", message.To, err)
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-relayed })
	return s
}

func asItCame(raw string) string { return raw }

// The service resets a password of its own, within the default limits, through its
// plugin and back over HTTP. Nobody sees the account that it is done in.
func TestTheCanaryComesThrough(t *testing.T) {
	t.Parallel()
	s := canarySite(t, asItCame)
	srv := s.serve()
	s.eventually("a reset comes through", func() bool { return s.canaryReached("redeemed") })
	metrics := s.metrics()
	for _, stage := range []string{"accepted", "delivered", "opened", "redeemed"} {
		if !s.canaryReached(stage) || !strings.Contains(metrics, `passmend_canary_last_success_timestamp_seconds{provider="relay",stage="`+stage+`"}`) {
			t.Errorf("stage %s is missing:\n%s", stage, grep(metrics, "canary"))
		}
	}
	if !strings.Contains(metrics, `passmend_canary_link_intact{provider="relay"} 1`) {
		t.Errorf("the link is not intact:\n%s", grep(metrics, "canary"))
	}
	if list := s.must("account", "list"); strings.Contains(list, "canary") || !strings.Contains(list, "acme") {
		t.Errorf("the list of tenants is:\n%s", list)
	}
	if shown := grep(metrics, `account="00000000-`); shown != "" || !strings.Contains(metrics, `passmend_requests_accepted_total{account="_other"} 1`) {
		t.Errorf("the canary stands among tenants:\n%s", grep(metrics, "account="))
	}
	slug := regexp.MustCompile(`canary-[0-9a-f]{12}`).FindString(s.mailbox.Messages()[0].Text)
	if users := s.must("user", "list", "--account", slug); strings.Count(users, "canary+") != 1 {
		t.Errorf("the canary's users are:\n%s", users)
	}
	s.eventually("the notice of the new password is taken too", func() bool { return len(s.mailbox.Messages()) == 2 })
	if metrics := s.metrics(); !strings.Contains(metrics, "passmend_ledger_imbalance 0") || !strings.Contains(metrics, `passmend_redactions_total{sink="log"} 0`) {
		t.Errorf("the ledger does not balance, or something was redacted:\n%s", grep(metrics, "redactions"))
	}
	if code := srv.stop(); code != 0 {
		t.Errorf("exit status %d", code)
	}
	for _, never := range []string{"did not come through", "canary+", "/r/A"} {
		if strings.Contains(srv.out.String(), never) {
			t.Errorf("the log holds %q:\n%s", never, srv.out)
		}
	}
}

func (s *site) canaryReached(stage string) bool {
	return regexp.MustCompile(`passmend_canary_duration_seconds_count\{stage="` + stage + `"\} [1-9]`).MatchString(s.metrics())
}

// A provider that leads links through its own site is found, and its link not followed.
func TestTheCanaryFindsARewrittenLink(t *testing.T) {
	t.Parallel()
	var s *site
	s = canarySite(t, func(raw string) string {
		whole := strings.ReplaceAll(raw, "=\r\n", "") // as a service that decodes parts would see it
		return strings.ReplaceAll(whole, s.base+"/", "https://click.example/track/")
	})
	srv := s.serve()
	s.eventually("the link is not intact", func() bool {
		return strings.Contains(s.metrics(), `passmend_canary_link_intact{provider="relay"} 0`)
	})
	s.eventually("the log says so", func() bool {
		return strings.Contains(srv.out.String(), `"stage":"opened"`) && strings.Contains(srv.out.String(), "the provider rewrites links")
	})
	if !s.canaryReached("delivered") || s.canaryReached("opened") {
		t.Errorf("it came too far, or not far enough:\n%s", grep(s.metrics(), "canary"))
	}
}

// Where the provider's server is dead, what comes after it grows old.
func TestTheCanaryGrowsStale(t *testing.T) {
	t.Parallel()
	s := canarySite(t, asItCame)
	if err := s.mailbox.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.serve()
	s.eventually("it asks", func() bool { return s.canaryReached("accepted") })
	s.eventually("the provider fails", func() bool {
		return regexp.MustCompile(`passmend_delivery_attempts_total\{[^}]*result="temporary"\} [1-9]`).MatchString(s.metrics())
	})
	metrics := s.metrics()
	if s.canaryReached("delivered") {
		t.Errorf("nothing can have arrived:\n%s", grep(metrics, "canary"))
	}
	if delivered, accepted := canaryTime(t, metrics, "delivered"), canaryTime(t, metrics, "accepted"); delivered <= 0 || delivered >= accepted {
		t.Errorf("delivered at %f, accepted at %f: what never came through must be as old as the beginning", delivered, accepted)
	}
}

func canaryTime(t *testing.T, metrics, stage string) (at float64) {
	t.Helper()
	found := regexp.MustCompile(`passmend_canary_last_success_timestamp_seconds\{provider="relay",stage="` + stage + `"\} (\S+)`).FindStringSubmatch(metrics)
	if found == nil {
		t.Fatalf("no time of %s:\n%s", stage, grep(metrics, "canary"))
	}
	if _, err := fmt.Sscan(found[1], &at); err != nil {
		t.Fatal(err)
	}
	return at
}

// An account that an operator deleted is made anew, and people who were made long
// enough ago are deleted.
func TestTheCanary_sDesk(t *testing.T) {
	t.Parallel()
	store, err := openStore(t.Context(), config{dataDir: t.TempDir(), databaseURL: "sqlite://" + filepath.Join(t.TempDir(), "passmend.db")}, slog.New(slog.DiscardHandler), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	d := &canaryDesk{store: store, passwords: plainHash{}}
	account := func(provider string) tenants.Account {
		t.Helper()
		made, err := d.Account(t.Context(), provider)
		if err != nil || !made.ID.Own() {
			t.Fatalf("%v: %+v", err, made)
		}
		return made
	}
	first := account("relay")
	if again := account("relay"); again.ID != first.ID || account("backup").ID == first.ID {
		t.Errorf("the account of relay is %s and then %s; another provider's must be another", first.ID, again.ID)
	}
	if err := store.DeleteAccount(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
	second := account("relay")
	if second.ID == first.ID {
		t.Error("a deleted account is used")
	}
	people := func() int {
		t.Helper()
		n, err := store.CountUsers(t.Context(), second.ID, core.UserQuery{})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for i := range 3 {
		if err := d.Person(t.Context(), second, fmt.Sprintf("canary+%d@probe.example.com", i)); err != nil {
			t.Fatal(err)
		}
	}
	if n := people(); n != 3 {
		t.Errorf("%d people, want all of them for ten minutes", n)
	}
	if err := d.forget(t.Context(), second.ID, time.Now().Add(time.Hour)); err != nil || people() != 0 {
		t.Errorf("%v: %d people are left", err, people())
	}
}

// plainHash hashes nothing.
type plainHash struct{ core.Passwords }

func (plainHash) Hash(_ context.Context, _ tenants.AccountID, _ core.UserID, password tenants.Secret) ([]byte, error) {
	return []byte(password.Reveal()), nil
}

func TestTheCanaryNamesWhatItNeeds(t *testing.T) {
	t.Parallel()
	s := &site{t: t, dir: t.TempDir(), env: []string{"PATH=" + os.Getenv("PATH"), "PASSMEND_BASE_URL=http://127.0.0.1:8080"}}
	for _, c := range []struct {
		want string
		args []string
	}{
		{"PASSMEND_CANARY_ADDRESS: is needed", []string{"serve", "--canary", "true"}},
		{"PASSMEND_CANARY: must be true or false", []string{"serve", "--canary", "often"}},
		{"PASSMEND_CANARY_ADDRESS: must be an address", []string{"serve", "--canary", "true", "--canary-address", "canary+a@probe.example.com"}},
		{"PASSMEND_CANARY_INBOX: must be HOST:PORT", []string{"serve", "--canary-inbox", "2526"}},
		{"PASSMEND_CANARY_VIA: must be HOST:PORT", []string{"serve", "--canary-via", "http://service"}},
		{"PASSMEND_CANARY: must be false with PASSMEND_ACCOUNT", []string{"serve", "--canary", "true", "--canary-address", "canary@probe.example.com", "--account", "acme"}},
		{"PASSMEND_CANARY: must be false in development", []string{"dev", "--canary", "true", "--canary-address", "canary@probe.example.com"}},
	} {
		if code, _, stderr := s.try(nil, c.args...); code != 2 || !strings.Contains(stderr, c.want) {
			t.Errorf("%v: exit %d, %q; want 2 and %q", c.args, code, stderr, c.want)
		}
	}
}
