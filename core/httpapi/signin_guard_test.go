package httpapi_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/httpapi"
	"github.com/passmend/passmend/core/keys"
	"github.com/passmend/passmend/core/sqlstore"
	"github.com/passmend/passmend/tenants"
)

// signs signs in to acme.
func (e *edge) signs(address, password string) reply {
	e.t.Helper()
	return e.do(ask{path: tokens, header: map[string]string{"Authorization": basic(address, password)}})
}

// guarded lets sign-ins be counted, hidden and upgraded, as the service does.
func guarded(t *testing.T, changes ...func(*httpapi.Config)) *edge {
	e := setup(t, changes...)
	hashes := e.signIn.Passwords.(*keys.Passwords)
	e.signIn.Tries, e.signIn.Digester = e.store, e.keys
	e.signIn.Ages, e.signIn.Changes, e.signIn.Decoys = hashes, e.store, &core.Decoys{Shares: e.store, Hashes: hashes}
	return e
}

// imported makes a user of acme with the hash of another system.
func (e *edge) imported(address, hash string) core.ImportedUser {
	e.t.Helper()
	importer := &core.Importer{Hashes: e.signIn.Passwords.(*keys.Passwords), NewID: newID}
	user := got(importer.Judge(e.acme.ID, core.UserRecord{Email: address, PasswordHash: hash}))(e.t)
	got(e.store.ImportUsers(e.t.Context(), e.acme.ID, []core.ImportedUser{user}))(e.t)
	return user
}

// After ten wrong passwords in a row not even the right one is looked at for a while,
// and nothing tells whether there is a user. No header says for how long: that would be
// about the address. The controls: another address signs in, and so does this one when
// its row has ended.
func TestWrongPasswordsInARowHaveToWait(t *testing.T) {
	t.Parallel()
	e := guarded(t)
	e.userWithPassword(e.acme, "pat@example.com", nil)
	e.userWithPassword(e.acme, "other@example.com", nil)
	for range core.FreeTries - 1 {
		if line := e.signs("pat@example.com", "wrong").line(t); !strings.Contains(line, "PASSWORD_INVALID") {
			t.Fatal(line)
		}
	}
	if ok := e.signs("PAT@example.com", adaPassword); ok.Status != 201 {
		t.Fatalf("the tenth, right: %d %s", ok.Status, ok.Body)
	}
	for range core.FreeTries {
		e.signs("pat@example.com", "wrong")
		e.signs("nobody@example.com", "wrong")
		e.signs("ada@example.com", "wrong") // has no password
	}
	known, unknown := e.signs("pat@example.com", adaPassword), e.signs("nobody@example.com", adaPassword)
	if found, meta := known.oneError(t); known.Status != 429 || found.Code != "TOO_MANY_REQUESTS" || meta {
		t.Errorf("%d %s", known.Status, known.Body)
	}
	for _, other := range []reply{unknown, e.signs("ada@example.com", "wrong"), e.signs("pat@example.com", "wrong")} {
		if diff := cmp.Diff(known.fingerprint(), other.fingerprint()); diff != "" {
			t.Errorf("it tells who exists: %s", diff)
		}
	}
	for name := range known.Header {
		if strings.Contains(name, "Ratelimit") || name == "Retry-After" {
			t.Errorf("%s speaks of the address", name)
		}
	}
	if ok := e.signs("other@example.com", adaPassword); ok.Status != 201 {
		t.Errorf("control: %d %s", ok.Status, ok.Body)
	}
	must(t, e.store.ClearTries(t.Context(), e.acme.ID, core.TryKey(e.keys, e.acme.ID, got(core.ParseAddress("pat@example.com"))(t))))
	if ok := e.signs("pat@example.com", adaPassword); ok.Status != 201 {
		t.Errorf("control: %d %s", ok.Status, ok.Body)
	}
}

// A reset proves the mailbox: it ends the row of wrong passwords.
func TestAResetEndsTheRowOfWrongPasswords(t *testing.T) {
	t.Parallel()
	e := guarded(t, func(c *httpapi.Config) { c.Redeemer = redeemer(c, nil) })
	e.userWithPassword(e.acme, "pat@example.com", nil)
	for range core.FreeTries {
		e.signs("pat@example.com", "wrong")
	}
	if locked := e.signs("pat@example.com", adaPassword); locked.Status != 429 {
		t.Fatalf("control: %d", locked.Status)
	}
	reset := e.resets("pat@example.com", e.link(e.acme, "pat@example.com"), "another good phrase")
	if ok := e.signs("pat@example.com", "another good phrase"); reset.Status != 200 || ok.Status != 201 {
		t.Errorf("%d, then %d %s", reset.Status, ok.Status, ok.Body)
	}
}

func (e *edge) resets(user, raw, password string) reply {
	e.t.Helper()
	return e.do(ask{path: "/v1/accounts/acme/users/" + user + "/actions/reset-password",
		body: `{"meta":{"passwordResetToken":"` + raw + `","newPassword":"` + password + `"}}`})
}

// redeemer is one that counts what is tried with a link.
func redeemer(c *httpapi.Config, upgraded func(string)) *core.Redeemer {
	signIn := c.SignIn.(*core.SignIn)
	store, ring := signIn.Tokens.(*sqlstore.Store), c.CallKeys.(*keys.Keys)
	return core.NewRedeemer(core.RedeemConfig{
		Requests: store, Users: store, Redemptions: store, Keys: ring, Passwords: signIn.Passwords, NewID: newID,
		Digester: ring, Ages: signIn.Passwords.(*keys.Passwords), Upgraded: upgraded,
		Guesses: httpapi.NewLinkGuesses(c.Observer, c.Now),
	})
}

// Ten wrong tags freeze a link for ten minutes: it answers as one that does not exist.
// Another link of the same user is none the worse.
func TestWrongTagsFreezeTheirLink(t *testing.T) {
	t.Parallel()
	at := &clock{now: time.Unix(1_800_000_000, 0)}
	e := setup(t, func(c *httpapi.Config) {
		c.Now = at.Now
		c.Redeemer = redeemer(c, nil)
	})
	e.userWithPassword(e.acme, "pat@example.com", nil)
	raw := e.link(e.acme, "pat@example.com")
	const password = "another good phrase"
	forged := []byte(raw)
	forged[30] = map[bool]byte{true: 'B', false: 'A'}[forged[30] == 'A']
	nowhere := e.resets("pat@example.com", strings.Repeat("A", 43), password)
	for range 10 {
		if wrong := e.resets("pat@example.com", string(forged), password); wrong.fingerprint() != nowhere.fingerprint() {
			t.Fatalf("%d %s", wrong.Status, wrong.Body)
		}
	}
	if frozen := e.resets("pat@example.com", raw, password); frozen.fingerprint() != nowhere.fingerprint() || frozen.Status != 404 {
		t.Errorf("frozen: %d %s", frozen.Status, frozen.Body)
	}
	at.move(10*time.Minute + time.Second)
	if ok := e.resets("pat@example.com", raw, password); ok.Status != 200 {
		t.Errorf("ten minutes later: %d %s", ok.Status, ok.Body)
	}
}

// A genuine link takes twenty passwords that the policy refuses, and no more. It is
// not spent by them.
func TestBadPasswordsOfALinkAreCounted(t *testing.T) {
	t.Parallel()
	at := &clock{now: time.Unix(1_800_000_000, 0)}
	e := setup(t, func(c *httpapi.Config) {
		c.Now = at.Now
		c.Redeemer = redeemer(c, nil)
	})
	e.userWithPassword(e.acme, "pat@example.com", nil)
	raw := e.link(e.acme, "pat@example.com")
	for n := range 20 {
		if bad := e.resets("pat@example.com", raw, "short"); bad.Status != 422 {
			t.Fatalf("%d: %d %s", n+1, bad.Status, bad.Body)
		}
	}
	if line := e.resets("pat@example.com", raw, "short").line(t); !strings.HasPrefix(line, "Too Many Requests | TOO_MANY_REQUESTS") {
		t.Error(line)
	}
	if ok := e.resets("pat@example.com", raw, "another good phrase"); ok.Status != 200 {
		t.Errorf("a good one: %d %s", ok.Status, ok.Body)
	}
}

const bcryptOfU = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW" // U*U

// An imported hash is made anew at the first sign-in, once, and by a reset; links and
// the user stay as they are.
func TestImportedHashesBecomeOurs(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var from []string
	note := func(algorithm string) { mu.Lock(); from = append(from, algorithm); mu.Unlock() }
	e := guarded(t, func(c *httpapi.Config) { c.Redeemer = redeemer(c, note) })
	e.signIn.Upgraded = note
	user := e.imported("pat@example.com", bcryptOfU)
	e.imported("reset@example.com", "$pbkdf2-sha256$1212$4vjV83LKPjQzk31VI4E0Vw$hsYF68OiOUPdDZ1Fg.fJPeq1h/gXXY7acBp9/6c.tmQ")
	if line := e.signs("pat@example.com", "wrong").line(t); !strings.Contains(line, "PASSWORD_INVALID") || len(from) != 0 {
		t.Errorf("%s, made anew %v", line, from)
	}
	for range 2 {
		if ok := e.signs("pat@example.com", "U*U"); ok.Status != 201 {
			t.Fatalf("%d %s", ok.Status, ok.Body)
		}
	}
	after := got(e.store.User(t.Context(), e.acme.ID, user.ID))(t)
	if string(after.PasswordHash) == string(user.PasswordHash) || after.CredentialVersion != 1 {
		t.Errorf("the hash is what it was, or links are dead: version %d", after.CredentialVersion)
	}
	if reset := e.resets("reset@example.com", e.link(e.acme, "reset@example.com"), "another good phrase"); reset.Status != 200 {
		t.Fatalf("%d %s", reset.Status, reset.Body)
	}
	if diff := cmp.Diff([]string{"bcrypt", "pbkdf2-sha256"}, from); diff != "" {
		t.Error(diff)
	}
	if shares := got(e.store.HashShares(t.Context(), e.acme.ID))(t); shares != nil {
		t.Errorf("left: %v", shares)
	}
}

// verifySpy sees what is verified.
type verifySpy struct {
	core.Passwords
	hashes *keys.Passwords
	mu     sync.Mutex
	seen   []string
}

func (s *verifySpy) Verify(ctx context.Context, account tenants.AccountID, user core.UserID, stored []byte, password tenants.Secret) (bool, error) {
	// Whose algorithm it is, is what a clock would see.
	from, _, err := s.hashes.Outdated(account, user, stored)
	if err != nil {
		from = err.Error()
	}
	s.mu.Lock()
	s.seen = append(s.seen, from)
	s.mu.Unlock()
	return s.Passwords.Verify(ctx, account, user, stored, password)
}

// Where all users came with bcrypt, a sign-in of nobody verifies bcrypt too; where none
// did, it has the hash of today.
func TestSignInsOfNobodyTakeWhatImportedOnesDo(t *testing.T) {
	t.Parallel()
	e := guarded(t)
	hashes := e.signIn.Passwords.(*keys.Passwords)
	spy := &verifySpy{Passwords: hashes, hashes: hashes}
	e.imported("pat@example.com", bcryptOfU)
	e.signIn.Passwords = spy
	e.signs("pat@example.com", "wrong")
	e.signs("nobody@example.com", "wrong")
	e.signs("ada@example.com", "wrong") // has no password
	e.do(ask{path: "/v1/accounts/other/tokens", header: map[string]string{"Authorization": basic("nobody@example.com", "wrong")}})
	if diff := cmp.Diff([]string{"bcrypt", "bcrypt", "bcrypt", ""}, spy.seen); diff != "" {
		t.Error(diff)
	}
}

// What a limit of the caller tells, in Keygen's headers and in those of the draft.
func TestThrottledAnswersSayTheLimit(t *testing.T) {
	t.Parallel()
	e, _ := limited(t, func(l *httpapi.Limits) { l.Rstpwd, l.IPDay = parsed(t, "2/h"), parsed(t, "3/d") })
	for range 2 {
		e.passwords(good)
	}
	headers := func(answer reply) map[string]string {
		found := make(map[string]string)
		for _, name := range []string{"X-RateLimit-Window", "X-RateLimit-Count", "X-RateLimit-Limit", "X-RateLimit-Remaining", "RateLimit", "RateLimit-Policy", "Retry-After"} {
			if value := answer.Header.Get(name); value != "" {
				found[name] = value
			}
		}
		return found
	}
	want := map[string]string{
		"X-RateLimit-Window": "rstpwd", "X-RateLimit-Count": "3", "X-RateLimit-Limit": "2", "X-RateLimit-Remaining": "0",
		"RateLimit": `"rstpwd";r=0;t=3000`, "RateLimit-Policy": `"rstpwd";q=2;w=3600`, "Retry-After": "3000",
	}
	if diff := cmp.Diff(want, headers(e.passwords(good))); diff != "" {
		t.Error(diff)
	}
	want = map[string]string{
		"X-RateLimit-Window": "ip_day", "X-RateLimit-Limit": "3", "X-RateLimit-Remaining": "0",
		"RateLimit": `"ip_day";r=0;t=28800`, "RateLimit-Policy": `"ip_day";q=3;w=86400`, "Retry-After": "28800",
	}
	if diff := cmp.Diff(want, headers(e.passwords(good))); diff != "" {
		t.Error(diff)
	}
}
