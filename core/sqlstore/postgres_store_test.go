package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/coretest"
	"github.com/passmend/passmend/core/sqlstore"
	"github.com/passmend/passmend/core/sqlstore/pgtest"
	"github.com/passmend/passmend/tenants"
)

func TestOpenNeverSaysThePassword(t *testing.T) {
	t.Parallel()
	const password = "s3cr3t"
	urls := map[string]string{
		"nobody listens":     "postgres://u:s3cr3t@127.0.0.1:1/db",
		"bad port":           "postgres://u:s3cr3t@127.0.0.1:port/db",
		"bad escape":         "postgres://u:s3cr3t%zz@127.0.0.1/db",
		"space":              "postgres://u:s3cr3t x@127.0.0.1/db",
		"slash in password":  "postgres://u:s3cr3t/x@127.0.0.1/db",
		"as an option":       "postgres://u@127.0.0.1:1/db?password=s3cr3t",
		"bad option":         "postgres://u:s3cr3t@127.0.0.1/db?sslmode=none",
		"bad pool size":      "postgres://u:s3cr3t@127.0.0.1/db?pool_max_conns=many",
		"the other scheme":   "postgresql://u:s3cr3t@127.0.0.1:1/db",
		"two at signs":       "postgres://u:@s3cr3t@127.0.0.1:1/db",
		"like a port":        "postgres://u:12/s3cr3t@127.0.0.1:1/db",
		"brackets":           "postgres://u:s3cr3t@[::1/db",
		"control characters": "postgres://u:s3cr3t\n@127.0.0.1/db",
	}
	for name, url := range urls {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			_, err := sqlstore.Open(ctx, sqlstore.Config{URL: url, NewID: coretest.NewID})
			if err == nil || strings.Contains(err.Error(), password) || strings.Contains(err.Error(), "3cr3") {
				t.Fatalf("error is %v", err)
			}
		})
	}
}

func TestStoreOnPostgreSQLThatSortsByLanguage(t *testing.T) {
	t.Parallel()
	coretest.ExerciseStore(t, func(t *testing.T) coretest.Database { return openPostgres(t, linguistic) })
}

// TestOneOrderOnEveryDatabase compares what is one address, and in which order
// names come, on SQLite, and on PostgreSQL in C and by language.
func TestOneOrderOnEveryDatabase(t *testing.T) {
	t.Parallel()
	byLanguage := openPostgres(t, linguistic)
	if byLanguage.Count(t, `SELECT (('a' < 'B') AND ('straße' < 'strasse-x'))::int`) != 1 {
		t.Fatal("the database that should sort by language does not")
	}
	want := outcomes(t, openSQLite(t).Store)
	for name, database := range map[string]coretest.Database{"C": openPostgres(t), "by language": byLanguage} {
		if diff := cmp.Diff(want, outcomes(t, database.Store)); diff != "" {
			t.Errorf("%s differs from SQLite:\n%s", name, diff)
		}
	}
}

// outcomes tries addresses and names that some collation takes for each other, or
// puts in another order.
func outcomes(t *testing.T, store coretest.Store) (table []string) {
	t.Helper()
	account, err := store.CreateAccount(t.Context(), tenants.New(tenants.AccountID(coretest.NewID()), "order", "Order"))
	if err != nil {
		t.Fatal(err)
	}
	for _, typed := range []string{
		"kelvin@example.com", "\u212Aelvin@example.com", "KELVIN@example.com", "strasse@example.com", "straße@example.com",
		"ſtrasse@example.com", "ångström@example.com", "a\u030Angstro\u0308m@example.com", "co-op@example.com", "coop@example.com",
		"i@example.com", "\u0131@example.com", "\u0130@example.com", "ﬁ@example.com", "fi@example.com", "a\u00ADb@example.com", "ab@example.com",
	} {
		address, err := core.ParseAddress(typed)
		if err != nil {
			table = append(table, fmt.Sprintf("%q is refused", typed))
			continue
		}
		_, found := store.UserByAddress(t.Context(), account.ID, address)
		_, created := store.CreateUser(t.Context(), account.ID, core.User{ID: core.UserID(coretest.NewID()), Address: address, Role: core.RoleUser})
		table = append(table, fmt.Sprintf("%q found %t, taken %t", typed, found == nil, errors.Is(created, core.ErrAddressTaken)))
	}
	for _, name := range []string{"B", "a", "co-op", "coop", "ä", "z", "A"} {
		if err := store.CreateProvider(t.Context(), account.ID, core.Provider{ID: core.ProviderID(coretest.NewID()), Name: name, Plugin: "p"}); err != nil {
			t.Fatal(err)
		}
	}
	providers, err := store.Providers(t.Context(), account.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, provider := range providers {
		table = append(table, provider.Name)
	}
	return table
}

func TestMigratePostgreSQL(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	store := connectStore(t, url, sqlstore.Config{})
	if err := store.CheckSchema(t.Context()); !errors.Is(err, sqlstore.ErrSchemaBehind) || !strings.Contains(err.Error(), "passmend migrate up") {
		t.Fatalf("error is %v, want ErrSchemaBehind that says what to do", err)
	}
	status, err := store.MigrationStatus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var total atomic.Int64
	var wait sync.WaitGroup
	for range 4 {
		beside := connectStore(t, url, sqlstore.Config{})
		wait.Go(func() {
			applied, err := beside.Migrate(t.Context())
			if err != nil {
				t.Error(err)
			}
			total.Add(int64(len(applied)))
		})
	}
	wait.Wait()
	if int(total.Load()) != len(status) || len(status) == 0 {
		t.Fatalf("four at once applied %d of %d", total.Load(), len(status))
	}
	if err := store.CheckSchema(t.Context()); err != nil {
		t.Fatal(err)
	}
	connectPostgres(t, url).exec(t, `INSERT INTO schema_migrations (name, group_id) VALUES ('9999', 99)`)
	if err := store.CheckSchema(t.Context()); err != nil {
		t.Fatalf("a newer schema: %v", err)
	}
	if undone, err := store.MigrateDown(t.Context()); err == nil {
		t.Fatalf("a step that is not known was undone: %q", undone)
	}
	connectPostgres(t, url).exec(t, `DELETE FROM schema_migrations WHERE name = '9999'`)
	downAndUp(t, store, len(status))
	tables := connectPostgres(t, url).count(t, `SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE 'schema_%'`)
	if tables == 0 {
		t.Fatal("no tables after going up again")
	}
}

// downAndUp undoes every step, one at a time, and applies them again.
func downAndUp(t *testing.T, store *sqlstore.Store, steps int) {
	t.Helper()
	for n := range steps + 1 {
		undone, err := store.MigrateDown(t.Context())
		if err != nil || (undone == "") != (n == steps) {
			t.Fatalf("step %d: undone %q, %v", n, undone, err)
		}
		if err := store.CheckSchema(t.Context()); !errors.Is(err, sqlstore.ErrSchemaBehind) {
			t.Fatalf("with a step undone: %v", err)
		}
	}
	if applied, err := store.Migrate(t.Context()); err != nil || len(applied) != steps {
		t.Fatal(applied, err)
	}
}

// A migration waits behind a lock only so long: whoever comes after it waits too.
func TestMigrationGivesUpOnALockedTable(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	store := startPostgres(t, url, sqlstore.Config{})
	beside := connectPostgres(t, url)
	beside.exec(t, "BEGIN")
	// Whatever the newest step changes.
	beside.exec(t, `DO $$ DECLARE t text; BEGIN
		FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE 'schema_%' LOOP
			EXECUTE format('LOCK TABLE %I IN ACCESS SHARE MODE', t);
		END LOOP;
	END $$`)
	began := time.Now()
	if undone, err := store.MigrateDown(t.Context()); err == nil {
		t.Fatalf("%s was undone under a lock", undone)
	}
	if took := time.Since(began); took < 2*time.Second || took > 8*time.Second {
		t.Fatalf("it gave up after %s, want three seconds", took)
	}
	beside.exec(t, "ROLLBACK")
}

func TestReplicasClaimBesideEachOther(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	first := startPostgres(t, url, sqlstore.Config{})
	second := startPostgres(t, url, sqlstore.Config{})
	for _, store := range []*sqlstore.Store{first, second} {
		release, err := store.LockServer(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer release()
	}
	account := newAccount(t, first)
	for range 40 {
		if err := first.Accept(t.Context(), account, benchRequest()); err != nil {
			t.Fatal(err)
		}
	}
	// Another replica has the first ten in hand and does not come to an end.
	beside := connectPostgres(t, url)
	const tenInHand = `SELECT count(*) FROM (SELECT id FROM deliveries WHERE ready = TRUE ORDER BY run_at, id LIMIT 10 FOR UPDATE) AS held`
	beside.exec(t, "BEGIN")
	if n := beside.count(t, tenInHand); n != 10 {
		t.Fatal(n)
	}
	waits := connectPostgres(t, url)
	waits.exec(t, "SET lock_timeout = '100ms'")
	if err := waits.conn.QueryRow(t.Context(), tenInHand).Scan(new(int)); err == nil {
		t.Fatal("nothing is in the way: the test would see no fault")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	claim, err := second.Claim(ctx, core.ClaimAsk{Free: 200})
	if err != nil || len(claim.Deliveries) != 30 || !claim.Full {
		t.Fatalf("%d deliveries, full %t, %v; want the other thirty and full", len(claim.Deliveries), claim.Full, err)
	}
	if again, err := second.Claim(ctx, core.ClaimAsk{Free: 200}); err != nil || len(again.Deliveries) != 0 || !again.Full {
		t.Fatalf("%d deliveries, full %t, %v; want none and full", len(again.Deliveries), again.Full, err)
	}
	beside.exec(t, "ROLLBACK")
	rest, err := first.Claim(ctx, core.ClaimAsk{Free: 200})
	if err != nil || len(rest.Deliveries) != 10 || rest.Full {
		t.Fatalf("%d deliveries, full %t, %v; want the last ten", len(rest.Deliveries), rest.Full, err)
	}
	seen := map[core.DeliveryID]bool{}
	for _, delivery := range append(claim.Deliveries, rest.Deliveries...) {
		seen[delivery.ID] = true
	}
	if len(seen) != 40 {
		t.Fatalf("%d different deliveries, want 40", len(seen))
	}
	if n, err := second.Reap(ctx); err != nil || n != 0 {
		t.Fatalf("%d leases lapsed when a second replica started (%v)", n, err)
	}
}

func TestReapersPassOverEachOther(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	stores := []*sqlstore.Store{startPostgres(t, url, sqlstore.Config{}), startPostgres(t, url, sqlstore.Config{}), startPostgres(t, url, sqlstore.Config{})}
	account := newAccount(t, stores[0])
	var wait sync.WaitGroup
	for range 50 {
		wait.Go(func() {
			if err := stores[0].Accept(t.Context(), account, benchRequest()); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	claim, err := stores[0].Claim(t.Context(), core.ClaimAsk{Free: 200})
	if err != nil || len(claim.Deliveries) != 50 {
		t.Fatal(len(claim.Deliveries), err)
	}
	connectPostgres(t, url).exec(t, `UPDATE deliveries SET lease_until = 1`)
	var reaped atomic.Int64
	for _, store := range stores {
		wait.Go(func() {
			n, err := store.Reap(t.Context())
			if err != nil {
				t.Error(err)
			}
			reaped.Add(int64(n))
		})
	}
	wait.Wait()
	lost := connectPostgres(t, url).count(t, `SELECT count(*) FROM deliveries WHERE lost = 1 AND ready = TRUE`)
	if reaped.Load() != 50 || lost != 50 {
		t.Fatalf("%d were reaped and %d counted once, want 50 each", reaped.Load(), lost)
	}
}

func TestNoticesReachEveryReplica(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	quiet := startPostgres(t, url, sqlstore.Config{})
	account := newAccount(t, quiet)
	var wakes, changes, ownWakes, ownChanges atomic.Int64
	busy := startPostgres(t, url, sqlstore.Config{Wake: func() { ownWakes.Add(1) }})
	idle := startPostgres(t, url, sqlstore.Config{Wake: func() { wakes.Add(1) }})
	watch(t, busy, &ownChanges)
	accept := func() {
		t.Helper()
		if err := busy.Accept(t.Context(), account, benchRequest()); err != nil {
			t.Fatal(err)
		}
	}
	accept()
	time.Sleep(50 * time.Millisecond)
	if wakes.Load() != 0 {
		t.Fatal("woken without listening: the test would see no fault")
	}
	watch(t, idle, &changes)
	soon(t, "listening begins as if something had changed", func() bool { return wakes.Load() > 0 && changes.Load() > 0 && ownChanges.Load() > 0 })
	settle := func() {
		time.Sleep(50 * time.Millisecond)
		wakes.Store(0)
		changes.Store(0)
		ownChanges.Store(0)
		ownWakes.Store(0)
	}
	settle()
	accept()
	soon(t, "an accept wakes another replica", func() bool { return wakes.Load() > 0 })
	time.Sleep(50 * time.Millisecond)
	if ownWakes.Load() != 1 || changes.Load() != 0 {
		t.Fatalf("an accept woke its own worker %d times and was %d changes of an account; want once and none", ownWakes.Load(), changes.Load())
	}
	settle()
	if err := quiet.SetLogo(t.Context(), account, []byte("png")); err != nil {
		t.Fatal(err)
	}
	soon(t, "a changed account is told to all", func() bool { return changes.Load() > 0 && ownChanges.Load() > 0 })
	settle()
	connectPostgres(t, url).exec(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND pid <> pg_backend_pid() AND datname = current_database()`)
	soon(t, "a listener that was cut comes back", func() bool { return wakes.Load() > 0 && changes.Load() > 0 })
}

// watch runs Watch until the test ends.
func watch(t *testing.T, store *sqlstore.Store, changes *atomic.Int64) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		store.Watch(ctx, func() { changes.Add(1) })
	}()
	t.Cleanup(func() { cancel(); <-done })
}

func TestAcceptWaitsNoLongerThanItsCaller(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	store := startPostgres(t, url, sqlstore.Config{})
	account := newAccount(t, store)
	beside := connectPostgres(t, url)
	beside.exec(t, "BEGIN")
	beside.exec(t, "LOCK TABLE requests")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := store.Accept(ctx, account, benchRequest()); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error is %v, want that time ran out", err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Fatalf("the caller waited for %s", took)
	}
	// Decisions do not queue behind accepts.
	if _, err := store.CreateAccount(t.Context(), tenants.New(tenants.AccountID(coretest.NewID()), "beside", "Beside")); err != nil {
		t.Fatal(err)
	}
	beside.exec(t, "ROLLBACK")
	if err := store.Accept(t.Context(), account, benchRequest()); err != nil {
		t.Fatal(err)
	}
}
