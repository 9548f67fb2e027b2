package sqlstore

import (
	"context"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/coretest"
	"github.com/passmend/passmend/tenants"
)

// recorder keeps every statement with the values that it had last.
type recorder struct {
	mu   sync.Mutex
	seen map[string][]any
}

func record(s *Store) *recorder {
	r := &recorder{seen: map[string][]any{}}
	s.dialect.heard = func(text string, args []any) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.seen[text] = args
	}
	return r
}

// checkPlans holds every statement that looks for rows against scans.
func (r *recorder) checkPlans(t *testing.T, scans func(text string, args ...any) []string) {
	t.Helper()
	if found := scans(`UPDATE deliveries SET run_at = 1 WHERE kind = 'mail'`); len(found) == 0 {
		t.Fatal("a statement that reads a whole table was not seen as one")
	}
	checked := 0
	for text, args := range r.seen {
		switch verb, _, _ := strings.Cut(strings.TrimSpace(text), " "); verb {
		case "SELECT", "WITH", "UPDATE", "DELETE":
			checked++
			if found := scans(text, args...); len(found) > 0 {
				t.Errorf("%q in %s", found, text)
			}
		}
	}
	if checked < 25 {
		t.Fatalf("only %d statements were seen", checked)
	}
}

// fullScan finds a step that reads a whole table. A scan of what the statement
// itself lists, of the ring, or of a sub-query's few rows is none.
var fullScan = regexp.MustCompile(`SCAN (\w+ AS )?(accounts|logos|users|api_tokens|providers|requests|deliveries|attempts|events|limits|provider_events|suppressions|d|e|p|r|t|u|x)( |$)`)

// scans gives the steps of a statement's plan that read a whole table.
func scans(t *testing.T, s *Store, text string, args ...any) (found []string) {
	t.Helper()
	var steps []struct {
		ID      int
		Parent  int
		NotUsed int    `bun:"notused"`
		Detail  string `bun:"detail"`
	}
	rows, err := s.write.DB.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+text, args...)
	if err == nil {
		err = s.write.ScanRows(t.Context(), rows, &steps)
	}
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	for _, step := range steps {
		if fullScan.MatchString(step.Detail) {
			found = append(found, step.Detail)
		}
	}
	return found
}

// TestNoStatementReadsAWholeTable runs everything once and asks SQLite for the
// plan of each statement.
func TestNoStatementReadsAWholeTable(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), Config{URL: "sqlite://" + filepath.Join(t.TempDir(), "plan.db"), NewID: coretest.NewID})
	fatal(t, err)
	t.Cleanup(func() { _ = s.Close() })
	_, err = s.Migrate(t.Context())
	fatal(t, err)
	seen := record(s)
	fatal(t, s.Start(t.Context()))
	walk(t, s)
	fatal(t, s.Stop(t.Context()))
	seen.checkPlans(t, func(text string, args ...any) []string { return scans(t, s, text, args...) })
}

// TestT19NoTextHoldsAValue: a text is what a server shows of a session, and logs of
// a statement that fails.
func TestT19NoTextHoldsAValue(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), Config{URL: "sqlite://" + filepath.Join(t.TempDir(), "texts.db"), NewID: coretest.NewID})
	fatal(t, err)
	t.Cleanup(func() { _ = s.Close() })
	_, err = s.Migrate(t.Context())
	fatal(t, err)
	seen := record(s)
	fatal(t, s.Start(t.Context()))
	walk(t, s)
	fatal(t, s.Stop(t.Context()))
	given := false
	for text, args := range seen.seen {
		if strings.Contains(text, "ada@example.com") {
			t.Errorf("an address is in %s", text)
		}
		given = given || slices.Contains(args, any("ada@example.com"))
	}
	if !given {
		t.Error("the address was not among the values, so nothing was tried")
	}
}

func fatal(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// walk calls every method that runs while the service does.
func walk(t *testing.T, s *Store) {
	t.Helper()
	ctx := t.Context()
	id := tenants.AccountID(coretest.NewID())
	account, err := s.CreateAccount(ctx, tenants.New(id, "plan", "Plan"))
	fatal(t, err)
	_, err = s.UpdateAccount(ctx, id, account)
	fatal(t, err)
	fatal(t, s.SetLogo(ctx, id, []byte("png")))
	_, err = s.Logo(ctx, id)
	fatal(t, err)
	_, err = s.AccountBySlug(ctx, "plan")
	fatal(t, err)
	address, err := core.ParseAddress("ada@example.com")
	fatal(t, err)
	user, err := s.CreateUser(ctx, id, core.User{ID: core.UserID(coretest.NewID()), Address: address, Role: core.RoleUser})
	fatal(t, err)
	_, err = s.UserByAddress(ctx, id, address)
	fatal(t, err)
	_, err = s.Users(ctx, id, core.UserQuery{Limit: 10})
	fatal(t, err)
	_, err = s.CreateAPIToken(ctx, id, core.APIToken{ID: core.TokenID(coretest.NewID()), User: user.ID, Digest: []byte("d")})
	fatal(t, err)
	walkUsers(t, s, id)
	fatal(t, s.CreateProvider(ctx, id, core.Provider{ID: core.ProviderID(coretest.NewID()), Name: "p", Plugin: "smtp"}))
	_, err = s.Provider(ctx, id, "p")
	fatal(t, err)
	fatal(t, s.DeleteProvider(ctx, id, "p"))

	request := core.RequestID(coretest.NewID())
	fatal(t, s.Accept(ctx, id, core.Request{ID: request, AddressDigest: []byte("d"), SealedAddress: []byte("s"), Deliver: true}))
	claim := func() core.Delivery {
		t.Helper()
		claim, err := s.Claim(ctx, core.ClaimAsk{Free: 4, Cursor: id})
		fatal(t, err)
		if len(claim.Deliveries) != 1 {
			t.Fatalf("claimed %d deliveries", len(claim.Deliveries))
		}
		return claim.Deliveries[0]
	}
	lease := claim().LeaseOf()
	_, err = s.Extend(ctx, []core.Lease{lease})
	fatal(t, err)
	fatal(t, s.Release(ctx, []core.Lease{lease}))
	_, err = s.Reap(ctx)
	fatal(t, err)
	link := core.LinkSeed{Selector: core.Selector{1}, Seed: core.Seed{1}, Key: 1, CredentialVersion: 1}
	_, err = s.Resolve(ctx, id, claim().LeaseOf(), core.Plan{
		Request: request, User: user.ID, Address: []byte("d"), Link: link, LinkLife: time.Hour, MaxLive: 3, Coalesce: time.Minute,
		Mail: &core.NewDelivery{ID: core.DeliveryID(coretest.NewID())}, Event: core.Event{ID: core.EventID(coretest.NewID())},
		Budgets: []core.Budget{{Key: make([]byte, 16), Rates: []core.Rate{{Count: 3, Per: time.Hour}}}},
	})
	fatal(t, err)
	fatal(t, s.Settle(ctx, id, claim().LeaseOf(), core.Settlement{
		State: core.DeliveryDone, MessageID: "m", Attempt: &core.Attempt{Provider: "p"}, Event: &core.Event{ID: core.EventID(coretest.NewID())},
	}))
	walkReports(t, s, id)
	_, _, err = s.RequestBySelector(ctx, id, link.Selector)
	fatal(t, err)
	_, err = s.Redeem(ctx, id, core.Redemption{
		Request: request, User: user.ID, CredentialVersion: 1, PasswordHash: []byte("h"),
		Notice: core.DeliveryID(coretest.NewID()), Event: core.Event{ID: core.EventID(coretest.NewID())},
	})
	fatal(t, err)
	fatal(t, s.Settle(ctx, id, claim().LeaseOf(), core.Settlement{State: core.DeliveryDone}))
	walkBack(t, s, id, request)
}

// walkUsers lists, changes and removes users and tokens.
func walkUsers(t *testing.T, s *Store, account tenants.AccountID) {
	t.Helper()
	ctx := t.Context()
	address, err := core.ParseAddress("bob@example.com")
	fatal(t, err)
	user, err := s.CreateUser(ctx, account, core.User{ID: core.UserID(coretest.NewID()), Address: address, Role: core.RoleUser})
	fatal(t, err)
	token, err := s.CreateAPIToken(ctx, account, core.APIToken{ID: core.TokenID(coretest.NewID()), User: user.ID, Digest: []byte("b")})
	fatal(t, err)
	no := false
	for _, query := range []core.UserQuery{
		{Newest: true, After: user.ID, Limit: 10},
		{Roles: []core.Role{core.RoleUser}, Banned: &no, Metadata: map[string]string{"a": "b"}, Limit: 10},
	} {
		_, err = s.Users(ctx, account, query)
		fatal(t, err)
		_, err = s.CountUsers(ctx, account, query)
		fatal(t, err)
	}
	for _, query := range []core.TokenQuery{{Limit: 10}, {User: user.ID, Newest: true, After: token.ID, Limit: 10}} {
		_, err = s.APITokens(ctx, account, query)
		fatal(t, err)
		_, err = s.CountAPITokens(ctx, account, query)
		fatal(t, err)
	}
	tell := func(core.APIToken) (core.Event, error) { return core.Event{}, nil }
	_, err = s.RegenerateAPIToken(ctx, account, token.ID, []byte("c"), time.Hour, tell)
	fatal(t, err)
	fatal(t, s.DeleteAPIToken(ctx, account, token.ID, tell))
	_, err = s.UpdateUser(ctx, account, user.ID, core.UserChange{EndTokens: true})
	fatal(t, err)
	_, err = s.UpgradePassword(ctx, account, user.ID, nil, []byte("h"))
	fatal(t, err)
	imported := core.ImportedUser{User: core.User{ID: core.UserID(coretest.NewID()), Address: user.Address}, Hash: core.ImportedHash{Cost: "$2b$10"}}
	_, err = s.ImportUsers(ctx, account, []core.ImportedUser{imported})
	fatal(t, err)
	_, err = s.HashShares(ctx, account)
	fatal(t, err)
	_, err = s.TakeTry(ctx, account, make([]byte, 32))
	fatal(t, err)
	fatal(t, s.ReturnTry(ctx, account, make([]byte, 32)))
	fatal(t, s.ClearTries(ctx, account, make([]byte, 32)))
	fatal(t, s.DeleteUser(ctx, account, user.ID, func(core.User) (core.Event, error) { return core.Event{}, nil }))
}

// walkBack gives a budget back, looks back at a request that has ended, and
// removes it.
func walkBack(t *testing.T, s *Store, account tenants.AccountID, request core.RequestID) {
	t.Helper()
	for _, query := range []core.RequestQuery{{}, {AddressDigest: []byte("d")}, {Before: request}, {AddressDigest: []byte("d"), Before: request}} {
		_, err := s.Requests(t.Context(), account, query)
		fatal(t, err)
	}
	_, err := s.Deliveries(t.Context(), account, request)
	fatal(t, err)
	fatal(t, s.change(t.Context(), "walk", false, func(ctx context.Context, tx session) error {
		if err := giveBack(ctx, tx, []spending{{key: make([]byte, 16)}}); err != nil {
			return err
		}
		_, err := tx.exec(ctx, `UPDATE requests SET expires_at = 1 WHERE account_id = ?`, string(account))
		return err
	}))
	removed, err := s.Retain(t.Context(), 0, 10)
	fatal(t, err)
	if removed != 1 {
		t.Fatalf("%d requests were removed", removed)
	}
}

// walkReports reports of the message m, and goes through the list that it leads to.
func walkReports(t *testing.T, s *Store, account tenants.AccountID) {
	t.Helper()
	ctx := t.Context()
	_, err := s.AccountOfMessage(ctx, "p", "m")
	fatal(t, err)
	suppression := core.Suppression{ID: core.SuppressionID(coretest.NewID()), Reason: core.SuppressionBounced}
	fresh, err := s.Report(ctx, account, core.Report{
		ProviderEvent: core.ProviderEvent{Provider: "p", Kind: "bounced"}, MessageID: "m", Key: make([]byte, 32),
		State: core.DeliveryBounced, Suppression: suppression, Event: core.Event{ID: core.EventID(coretest.NewID())},
	})
	fatal(t, err)
	if !fresh {
		t.Fatal("the report was there before")
	}
	suppression.AddressDigest = []byte("d")
	_, _, err = s.Suppress(ctx, account, suppression)
	fatal(t, err)
	for _, query := range []core.SuppressionQuery{
		{}, {AddressDigest: []byte("d")}, {Before: suppression.ID}, {AddressDigest: []byte("d"), Before: suppression.ID},
	} {
		_, err := s.Suppressions(ctx, account, query)
		fatal(t, err)
	}
	_, err = s.Suppression(ctx, account, suppression.ID)
	fatal(t, err)
	fatal(t, s.Unsuppress(ctx, account, suppression.ID))
}
