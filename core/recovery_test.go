package core_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	_ "modernc.org/sqlite"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/httpapi"
	"github.com/passmend/passmend/core/keys"
	"github.com/passmend/passmend/core/render"
	"github.com/passmend/passmend/core/sqlstore"
	"github.com/passmend/passmend/core/worker"
	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/tenants"
)

// house is the domain on a real database and real keys. Only the plugin is not
// real: it keeps what it is sent.
type house struct {
	t        *testing.T
	store    *sqlstore.Store
	db       *sql.DB // the test's own, to move times
	account  tenants.Account
	user     core.User
	intake   *core.Intake
	resolver *core.Resolver
	redeemer *core.Redeemer
	signIn   *core.SignIn
	plugin   *plugin
	desk     *core.EndpointDesk
	logs     lockedText // of webhooks
}

// plugin is every plugin; answer decides what becomes of a mail.
type plugin struct {
	mu     sync.Mutex
	sent   []sdk.SendRequest
	names  []string
	answer func(n int, plugin string) error
	send   func(request sdk.SendRequest) // nil: nothing; it may take its time
}

func (p *plugin) Send(_ context.Context, name string, request sdk.SendRequest) (sdk.Receipt, error) {
	if p.send != nil {
		p.send(request)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent, p.names = append(p.sent, request), append(p.names, name)
	if p.answer != nil {
		if err := p.answer(len(p.sent), name); err != nil {
			return sdk.Receipt{}, err
		}
	}
	return sdk.Receipt{Outcome: sdk.Accepted}, nil
}

func (p *plugin) mails() []sdk.SendRequest {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]sdk.SendRequest{}, p.sent...)
}

const oldPassword = "an old one, forgotten"

func newHouse(t *testing.T, coalesce time.Duration, providers ...string) *house {
	t.Helper()
	newID := func() string { return uuid.Must(uuid.NewV7()).String() }
	dir := t.TempDir()
	if err := keys.Init(filepath.Join(dir, "keys.json")); err != nil {
		t.Fatal(err)
	}
	ring, err := keys.Open(filepath.Join(dir, "keys.json"))
	if err != nil {
		t.Fatal(err)
	}
	passwords, err := keys.NewPasswords(keys.PasswordsConfig{Keys: ring})
	if err != nil {
		t.Fatal(err)
	}
	var loop *worker.Worker
	path := filepath.Join(dir, "test.db")
	store, err := sqlstore.Open(t.Context(), sqlstore.Config{URL: "sqlite://" + path, NewID: newID, Wake: func() { loop.Wake() }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	accounts, err := tenants.NewResolver(store)
	if err != nil {
		t.Fatal(err)
	}
	renderer, err := render.New(render.Config{From: sdk.Mailbox{Address: "no-reply@passmend.example"}})
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, store: store, db: db, plugin: &plugin{}, resolver: &core.Resolver{
		Accounts: accounts, Users: store, Sealer: ring, Keys: ring, NewID: newID, Coalesce: coalesce, Limiter: ring, Admins: store,
	}}
	base := &url.URL{Scheme: "https", Host: "reset.example"}
	loop, err = worker.New(worker.Config{
		Queue: store, Ledger: store, Logger: slog.New(slog.DiscardHandler), Poll: 20 * time.Millisecond,
		Resolver: h.resolver,
		Dispatcher: core.NewDispatcher(core.DispatchConfig{
			Accounts: accounts, Logos: store, Ledger: store, Users: store, Providers: store, Sealer: ring, Keys: ring,
			Renderer: renderer, Plugins: h.plugin, Admins: store, BaseURL: base, DefaultProviders: providers, NewID: newID,
		}),
		Webhooks: core.NewWebhookDispatcher(core.WebhookConfig{
			Endpoints: store, Events: store, Ledger: store, Users: store, Keys: ring, Sealer: ring, Wire: httpapi.Resources{},
			Signatures: core.NewSigner(core.SignerConfig{Keys: store, Sealer: ring, NewID: newID}), Recipients: keys.Recipients{},
			Plugins: h.plugin, Plugin: "webhook", Forbidden: func(context.Context) []string { return []string{"192.0.2.1/32"} },
			Version: "1.2.3", NewID: newID, Logger: slog.New(slog.NewTextHandler(&h.logs, nil)),
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range providers {
		if err := store.CreateProvider(t.Context(), "", core.Provider{ID: core.ProviderID(newID()), Name: name, Plugin: "plugin-" + name, Settings: []byte(`{}`)}); err != nil {
			t.Fatal(err)
		}
	}
	h.intake = &core.Intake{Inbox: store, Sealer: ring, Digester: ring, NewID: newID}
	h.redeemer = core.NewRedeemer(core.RedeemConfig{Requests: store, Users: store, Redemptions: store, Keys: ring, Passwords: passwords, NewID: newID})
	h.desk = &core.EndpointDesk{Endpoints: store, Recipients: keys.Recipients{}, Sealer: ring, NewID: newID}
	h.signIn = &core.SignIn{Users: store, Tokens: store, System: store, Passwords: passwords, NewID: newID}
	if h.account, err = store.CreateAccount(t.Context(), tenants.New(tenants.AccountID(newID()), "acme", "Acme")); err != nil {
		t.Fatal(err)
	}
	h.user = core.User{ID: core.UserID(newID()), Account: h.account.ID, Address: h.address("ada@example.com"), Role: core.RoleUser}
	if h.user.PasswordHash, err = passwords.Hash(t.Context(), h.account.ID, h.user.ID, tenants.NewSecret(oldPassword)); err != nil {
		t.Fatal(err)
	}
	if h.user, err = store.CreateUser(t.Context(), h.account.ID, h.user); err != nil {
		t.Fatal(err)
	}
	if err := store.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := loop.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 20*time.Second)
		defer cancel()
		for _, err := range []error{loop.Stop(ctx), store.Stop(ctx), passwords.Stop(ctx), db.Close(), store.Close()} {
			if err != nil {
				t.Error(err)
			}
		}
	})
	return h
}

func (h *house) address(s string) core.Address {
	h.t.Helper()
	a, err := core.ParseAddress(s)
	if err != nil {
		h.t.Fatal(err)
	}
	return a
}

func (h *house) ask(address string) {
	h.t.Helper()
	if err := h.intake.Accept(h.t.Context(), h.account, core.Ask{Address: h.address(address)}); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) exec(query string, args ...any) {
	h.t.Helper()
	if _, err := h.db.ExecContext(h.t.Context(), query, args...); err != nil {
		h.t.Fatal(err)
	}
}

// states counts the requests by state and reason, once none is pending.
func (h *house) states() map[string]int {
	h.t.Helper()
	found := map[string]int{}
	h.wait("no request is pending", func() bool {
		clear(found)
		rows, err := h.db.QueryContext(h.t.Context(), `SELECT trim(state || ' ' || reason), count(*) FROM requests GROUP BY 1`)
		if err != nil {
			h.t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var state string
			var n int
			if err := rows.Scan(&state, &n); err != nil {
				h.t.Fatal(err)
			}
			found[state] = n
		}
		return found["pending"] == 0
	})
	return found
}

func (h *house) wait(what string, holds func() bool) {
	h.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			h.t.Fatalf("it did not come to pass: %s", what)
		}
	}
}

var tokenForm = regexp.MustCompile(`https://reset\.example/acme/r/([A-Za-z0-9_-]{43})`)

// links waits for n mails and gives the token of each, in order; a mail without a
// link has an empty one.
func (h *house) links(n int) []tenants.Secret {
	h.t.Helper()
	h.wait("the mails are sent", func() bool { return len(h.plugin.mails()) >= n })
	var tokens []tenants.Secret
	for _, request := range h.plugin.mails() {
		found := tokenForm.FindStringSubmatch(request.Mail.Text)
		if found == nil {
			found = []string{"", ""}
		}
		tokens = append(tokens, tenants.NewSecret(found[1]))
	}
	return tokens
}

func (h *house) redeem(token tenants.Secret, password string) error {
	_, err := h.redeemer.Redeem(h.t.Context(), h.account, core.UserRef{}, token, tenants.NewSecret(password))
	return err
}

func TestUnknownAddressIsSuppressed(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 0, "a")
	h.ask("eve@example.com")
	h.ask(strings.Repeat("a", 400) + "@example.com")
	h.ask("")
	if got := h.states(); got["suppressed unknown_user"] != 1 || got["suppressed address_too_long"] != 2 {
		t.Errorf("states %v", got)
	}
	if n := len(h.plugin.mails()); n != 0 {
		t.Errorf("%d mails", n)
	}
	var sealed int
	if err := h.db.QueryRow(`SELECT count(*) FROM requests WHERE address_sealed IS NOT NULL`).Scan(&sealed); err != nil || sealed != 0 {
		t.Errorf("%d ended requests keep their address (%v)", sealed, err)
	}
}

// T11 and R7: links coexist, at most three; the fourth request sends the newest again.
func TestAtMostThreeLinksAreAlive(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 0, "a")
	distinct := map[string]bool{}
	for n := range 6 {
		h.ask("ada@example.com")
		distinct[h.links(n + 1)[n].Reveal()] = true
	}
	if len(distinct) != core.MaxLiveLinks {
		t.Errorf("%d different links, want %d", len(distinct), core.MaxLiveLinks)
	}
	first := h.links(6)[0]
	if err := h.redeem(first, "a new one, remembered"); err != nil {
		t.Errorf("the first link: %v", err)
	}
	for _, token := range h.links(6) {
		if err := h.redeem(token, "yet another new one"); !errors.Is(err, core.ErrUnknownLink) {
			t.Errorf("a link after one was used: %v", err)
		}
	}
}

func TestRepeatSendsTheSameLink(t *testing.T) {
	t.Parallel()
	h := newHouse(t, time.Minute, "a")
	h.ask("ada@example.com")
	h.links(1)
	h.ask("ada@example.com")
	tokens := h.links(2)
	if tokens[0] != tokens[1] {
		t.Error("a repeat within the time sends another link")
	}
	if a, b := h.plugin.mails()[0], h.plugin.mails()[1]; a.Mail.MessageID == b.Mail.MessageID || a.IdempotencyKey == b.IdempotencyKey {
		t.Error("two mails share a Message-ID")
	}
	h.exec(`UPDATE requests SET resolved_at = resolved_at - 61000000`)
	h.ask("ada@example.com")
	if third := h.links(3)[2]; third == tokens[0] {
		t.Error("a repeat after the time sends the old link")
	}
}

// Links and what a notice offers are on the account's own host, once it is verified.
func TestLinksLeadToTheAccountsOwnHost(t *testing.T) {
	t.Parallel()
	const host = "login.acme.example"
	for _, c := range []struct {
		verified bool
		pages    string
	}{{false, "https://reset.example/acme/"}, {true, "https://" + host + "/"}} {
		h := newHouse(t, 0, "a")
		if err := h.store.SetDomain(t.Context(), h.account.ID, tenants.Domain{Host: host, Verified: c.verified}); err != nil {
			t.Fatal(err)
		}
		h.ask("ada@example.com")
		h.wait("the mail is sent", func() bool { return len(h.plugin.mails()) == 1 })
		_, token, found := strings.Cut(h.plugin.mails()[0].Mail.Text, c.pages+"r/")
		if !found {
			t.Fatalf("the link leads elsewhere than to %s", c.pages)
		}
		if err := h.redeem(tenants.NewSecret(token[:43]), "several words in a row"); err != nil {
			t.Fatal(err)
		}
		h.wait("the notice is sent", func() bool { return len(h.plugin.mails()) == 2 })
		if text := h.plugin.mails()[1].Mail.Text; !strings.Contains(text, c.pages+"forgot") {
			t.Errorf("the notice leads elsewhere than to %s: %s", c.pages, text)
		}
	}
}

// T10: whatever changes a credential kills every link that is out.
func TestLinksDieWithTheCredential(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(h *house){
		"credential version": func(h *house) { h.exec(`UPDATE users SET credential_version = credential_version + 1`) },
		"address":            func(h *house) { h.exec(`UPDATE users SET address = 'ada@other.example'`) },
		"deleted user":       func(h *house) { h.exec(`DELETE FROM users`) },
		"expiry":             func(h *house) { h.exec(`UPDATE requests SET expires_at = expires_at - 3601000000`) },
		"nothing":            func(*house) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, 0, "a")
			for range 3 {
				h.ask("ada@example.com")
			}
			tokens := h.links(3)
			change(h)
			want := core.ErrUnknownLink
			switch name {
			case "expiry":
				want = core.ErrExpiredLink
			case "nothing":
				want = nil // the control: without a change the link works
			}
			if err := h.redeem(tokens[1], "a new one, remembered"); !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
		})
	}
}

func TestLinkOfAnotherAccountOrUserIsUnknown(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 0, "a")
	h.ask("ada@example.com")
	token := h.links(1)[0]
	other, err := h.store.CreateAccount(t.Context(), tenants.New(tenants.AccountID(uuid.NewString()), "other", "Other"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.redeemer.Inspect(t.Context(), other, token); !errors.Is(err, core.ErrUnknownLink) {
		t.Errorf("in another account: %v", err)
	}
	for _, ref := range []string{"eve@example.com", uuid.NewString(), "", "ada@example.com\x00"} {
		_, err := h.redeemer.Redeem(t.Context(), h.account, core.ParseUserRef(ref), token, tenants.NewSecret("a new one, remembered"))
		if !errors.Is(err, core.ErrUnknownLink) {
			t.Errorf("for %q: %v", ref, err)
		}
	}
	for _, ref := range []string{"ADA@example.com", strings.ToUpper(strings.ReplaceAll(string(h.user.ID), "-", ""))} {
		if !core.ParseUserRef(ref).Matches(h.user) {
			t.Errorf("%q does not name the user", ref)
		}
	}
}

func TestWeakPasswordLeavesTheLinkAlive(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 0, "a")
	h.ask("ada@example.com")
	token := h.links(1)[0]
	for typed, want := range map[string]error{"short": core.ErrPasswordTooShort, "password123": core.ErrPasswordCommon, strings.Repeat("x", 300): core.ErrPasswordTooLong} {
		if err := h.redeem(token, typed); !errors.Is(err, want) {
			t.Errorf("%.12s: %v, want %v", typed, err, want)
		}
	}
	if err := h.redeem(token, "a new one, remembered"); err != nil {
		t.Error(err)
	}
}

// T68: after a reset the old password, and every API token, is refused.
func TestResetRevokes(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 0, "a")
	_, value, err := h.signIn.Issue(t.Context(), h.user, core.NewToken{})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.signIn.Bearer(t.Context(), value); err != nil {
		t.Fatalf("before the reset: %v", err)
	}
	h.ask("ada@example.com")
	if err := h.redeem(h.links(1)[0], "a new one, remembered"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.signIn.Bearer(t.Context(), value); !errors.Is(err, core.ErrUnknownToken) {
		t.Errorf("the API token after the reset: %v", err)
	}
	if _, err := h.signIn.Password(t.Context(), h.account, h.user.Address, tenants.NewSecret(oldPassword)); !errors.Is(err, core.ErrWrongPassword) {
		t.Errorf("the old password: %v", err)
	}
	if _, err := h.signIn.Password(t.Context(), h.account, h.user.Address, tenants.NewSecret("a new one, remembered")); err != nil {
		t.Errorf("the new password: %v", err)
	}
	if notice := h.links(2); notice[1].Reveal() != "" {
		t.Error("the notice of the change holds a link to a form that sets a password")
	}
}

// T67: a reset lifts no ban.
func TestBannedUserStaysBanned(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 0, "a")
	h.exec(`UPDATE users SET banned = 1`)
	h.ask("ada@example.com")
	if err := h.redeem(h.links(1)[0], "a new one, remembered"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.signIn.Password(t.Context(), h.account, h.user.Address, tenants.NewSecret("a new one, remembered")); !errors.Is(err, core.ErrBanned) {
		t.Errorf("sign-in: %v, want ErrBanned", err)
	}
}

func TestSupersededMailIsNotSent(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 0, "a")
	h.plugin.answer = func(n int, _ string) error {
		if n == 1 {
			return &sdk.Failure{Kind: sdk.Temporary}
		}
		return nil
	}
	h.ask("ada@example.com")
	h.wait("the first attempt was made", func() bool { return len(h.plugin.mails()) == 1 })
	h.exec(`UPDATE users SET credential_version = credential_version + 1`)
	if got := h.states(); got["superseded"] != 1 {
		t.Errorf("states %v", got)
	}
	if n := len(h.plugin.mails()); n != 1 {
		t.Errorf("%d mails were handed over", n)
	}
}

func TestRefusedGoesToTheNextProviderWithTheSameLink(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 0, "a", "b")
	h.plugin.answer = func(_ int, plugin string) error {
		if plugin == "plugin-a" {
			return &sdk.Failure{Kind: sdk.Misconfigured, Public: "wrong"}
		}
		return nil
	}
	h.ask("ada@example.com")
	tokens := h.links(2)
	mails := h.plugin.mails()
	if tokens[0] != tokens[1] || mails[0].Mail.MessageID != mails[1].Mail.MessageID || mails[0].IdempotencyKey != mails[1].IdempotencyKey {
		t.Error("the second provider got another link, Message-ID or key")
	}
	if got := h.states(); got["sent"] != 1 {
		t.Errorf("states %v", got)
	}
}

func TestMailOfAHeldProviderWaitsForItAndForNoOther(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 0, "a", "b")
	if err := h.store.BeginHold(t.Context(), "", "a", true); err != nil {
		t.Fatal(err)
	}
	h.ask("ada@example.com")
	h.wait("the mail is parked", func() bool {
		holds, err := h.store.AllHolds(t.Context())
		return err == nil && holds[0].Waiting == 1
	})
	time.Sleep(100 * time.Millisecond) // several polls
	if n := len(h.plugin.mails()); n != 0 {
		t.Fatalf("%d mails went out", n)
	}
	if err := h.store.EndHold(t.Context(), "", "a", 0, true); err != nil {
		t.Fatal(err)
	}
	h.links(1)
	if got := h.states(); got["sent"] != 1 || len(h.plugin.mails()) != 1 {
		t.Errorf("states %v, %d mails", got, len(h.plugin.mails()))
	}
	var attempts int
	if err := h.db.QueryRow(`SELECT count(*) FROM attempts WHERE provider = 'a' AND number = 1`).Scan(&attempts); err != nil || attempts != 1 {
		t.Errorf("%d first attempts, %v", attempts, err)
	}
}

func TestWithoutProviderTheRequestWaits(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 0)
	h.ask("ada@example.com")
	h.wait("an attempt is recorded", func() bool {
		var outcome string
		err := h.db.QueryRow(`SELECT outcome FROM attempts LIMIT 1`).Scan(&outcome)
		return err == nil && outcome == string(sdk.Misconfigured)
	})
	var state string
	if err := h.db.QueryRow(`SELECT state FROM requests`).Scan(&state); err != nil || state != "pending" {
		t.Errorf("state %q, %v", state, err)
	}
}

func TestNeverPolicyMailsNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 0, "a")
	h.account.DeliverPolicy = tenants.DeliverNever
	if _, err := h.store.UpdateAccount(t.Context(), h.account.ID, h.account); err != nil {
		t.Fatal(err)
	}
	h.ask("ada@example.com")
	if got := h.states(); got["sent"] != 1 {
		t.Errorf("states %v", got)
	}
	var events int
	if err := h.db.QueryRow(`SELECT count(*) FROM events WHERE name = 'user.password-reset'`).Scan(&events); err != nil || events != 1 {
		t.Errorf("%d events, %v", events, err)
	}
	if n := len(h.plugin.mails()); n != 0 {
		t.Errorf("%d mails", n)
	}
}

// T12 of the token kind: random tokens are never taken.
func TestRandomTokensAreUnknown(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 0, "a")
	h.ask("ada@example.com")
	good := h.links(1)[0].Reveal()
	for i := range good {
		for _, c := range "Ax_9" {
			if byte(c) == good[i] {
				continue
			}
			bad := good[:i] + string(c) + good[i+1:]
			if _, err := h.redeemer.Inspect(t.Context(), h.account, tenants.NewSecret(bad)); !errors.Is(err, core.ErrUnknownLink) {
				t.Fatalf("character %d changed: %v", i, err)
			}
		}
	}
	if _, err := h.redeemer.Inspect(t.Context(), h.account, tenants.NewSecret(good)); err != nil {
		t.Errorf("the control: %v", err)
	}
}
