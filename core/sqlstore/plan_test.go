package sqlstore

import (
	"context"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/coretest"
	"github.com/passmend/passmend/tenants"
)

// recorder keeps the text of every statement.
type recorder struct {
	mu    sync.Mutex
	texts map[string]bool
}

func (r *recorder) BeforeQuery(ctx context.Context, _ *bun.QueryEvent) context.Context { return ctx }

func (r *recorder) AfterQuery(_ context.Context, event *bun.QueryEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.texts[event.Query] = true
}

// fullScan finds a step that reads a whole table. A scan of what the statement
// itself lists, of the ring, or of a sub-query's few rows is none.
var fullScan = regexp.MustCompile(`SCAN (\w+ AS )?(accounts|logos|users|api_tokens|providers|requests|deliveries|attempts|events|limits|d|r|t|u)( |$)`)

// scans gives the steps of a statement's plan that read a whole table.
func scans(t *testing.T, s *Store, query string) (found []string) {
	t.Helper()
	var steps []struct {
		ID      int
		Parent  int
		NotUsed int    `bun:"notused"`
		Detail  string `bun:"detail"`
	}
	if err := s.write.NewRaw("EXPLAIN QUERY PLAN "+strings.ReplaceAll(query, "?", `\?`)).Scan(t.Context(), &steps); err != nil {
		t.Fatalf("%v: %s", err, query)
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
	seen := &recorder{texts: map[string]bool{}}
	s.write, s.read = s.write.WithQueryHook(seen), s.read.WithQueryHook(seen)
	fatal(t, s.Start(t.Context()))
	walk(t, s)
	fatal(t, s.Stop(t.Context()))

	if found := scans(t, s, `UPDATE deliveries SET run_at = 1 WHERE kind = 'mail'`); len(found) == 0 {
		t.Fatal("a statement that reads a whole table was not seen as one")
	}
	checked := 0
	for query := range seen.texts {
		verb, _, _ := strings.Cut(strings.TrimSpace(query), " ")
		switch verb {
		case "SELECT", "WITH", "UPDATE", "DELETE":
		default:
			continue
		}
		checked++
		if found := scans(t, s, query); len(found) > 0 {
			t.Errorf("%q in %s", found, query)
		}
	}
	if checked < 25 {
		t.Fatalf("only %d statements were seen", checked)
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
	_, err = s.Users(ctx, id, "", 10)
	fatal(t, err)
	_, err = s.CreateAPIToken(ctx, id, core.APIToken{ID: core.TokenID(coretest.NewID()), User: user.ID, Digest: []byte("d")})
	fatal(t, err)
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
		Request: request, User: user.ID, Link: link, LinkLife: time.Hour, MaxLive: 3, Coalesce: time.Minute,
		Mail: &core.NewDelivery{ID: core.DeliveryID(coretest.NewID())}, Event: core.Event{ID: core.EventID(coretest.NewID())},
		Budgets: []core.Budget{{Key: make([]byte, 16), Rates: []core.Rate{{Count: 3, Per: time.Hour}}}},
	})
	fatal(t, err)
	fatal(t, s.Settle(ctx, id, claim().LeaseOf(), core.Settlement{
		State: core.DeliveryDone, Attempt: &core.Attempt{}, Event: &core.Event{ID: core.EventID(coretest.NewID())},
	}))
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
	fatal(t, s.change(t.Context(), "walk", false, func(ctx context.Context, tx bun.Tx) error {
		if err := giveBack(ctx, tx, []spending{{key: make([]byte, 16)}}); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE requests SET expires_at = 1 WHERE account_id = ?`, string(account))
		return err
	}))
	removed, err := s.Retain(t.Context(), 0, 10)
	fatal(t, err)
	if removed != 1 {
		t.Fatalf("%d requests were removed", removed)
	}
}
