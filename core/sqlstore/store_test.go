package sqlstore_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/coretest"
	"github.com/passmend/passmend/core/sqlstore"
	"github.com/passmend/passmend/tenants"
)

func TestOpenNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		url, says string
	}{
		"unknown scheme": {"mysql://localhost/passmend", "must be sqlite://PATH"},
		"no scheme":      {"passmend.db", "must be sqlite://PATH"},
		"no path":        {"sqlite://", "must be sqlite://PATH"},
		"no folder":      {"sqlite://" + filepath.Join(t.TempDir(), "none", "x.db"), "does not exist"},
		"a folder":       {"sqlite://" + t.TempDir(), "is a directory"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := sqlstore.Open(t.Context(), sqlstore.Config{URL: c.url, NewID: coretest.NewID})
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("error is %v, want one that says %q", err, c.says)
			}
		})
	}
}

func TestOpenKeepsTheFilesToTheirOwner(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "it's 100% ?new#.db")
	store := start(t, path, nil)
	if _, err := store.CreateAccount(t.Context(), tenants.New("a", "aa", "A")); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %s", suffix, info.Mode())
		}
	}
}

func TestOpenSetsWhatDurabilityNeeds(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	open(t, path, sqlstore.Config{})
	header, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// Bytes 18 and 19 of the header are 2 in WAL mode (SQLite, file format, 1.3.4).
	if header[18] != 2 || header[19] != 2 {
		t.Fatal("the file is not in WAL mode")
	}
}

func TestMigrate(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	config := sqlstore.Config{URL: "sqlite://" + path, NewID: coretest.NewID}
	store, err := sqlstore.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	status := func() (pending int) {
		t.Helper()
		migrations, err := store.MigrationStatus(t.Context())
		if err != nil || len(migrations) == 0 {
			t.Fatal(err)
		}
		for _, m := range migrations {
			if !m.Applied {
				pending++
			}
		}
		return pending
	}
	known := status()
	if known == 0 {
		t.Fatal("an empty database has every migration applied")
	}
	var total atomic.Int64
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			beside, err := sqlstore.Open(t.Context(), config)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = beside.Close() }()
			applied, err := beside.Migrate(t.Context())
			if err != nil {
				t.Error(err)
			}
			total.Add(int64(len(applied)))
		})
	}
	wait.Wait()
	if int(total.Load()) != known || status() != 0 {
		t.Fatalf("four at once applied %d of %d, %d are pending", total.Load(), known, status())
	}
	if n := connect(t, path).count(t, `SELECT count(*) FROM schema_migrations`); n != known {
		t.Fatalf("%d marks for %d migrations", n, known)
	}
}

func TestMigrationsGoDownAndUpAgain(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	store := open(t, path, sqlstore.Config{})
	beside := connect(t, path)
	downs, err := filepath.Glob("migrations/sqlite/*.down.sql")
	if err != nil || len(downs) == 0 {
		t.Fatal(err, len(downs))
	}
	for i := len(downs) - 1; i >= 0; i-- {
		text, err := os.ReadFile(downs[i])
		if err != nil {
			t.Fatal(err)
		}
		beside.exec(t, string(text))
	}
	beside.exec(t, `DELETE FROM schema_migrations`)
	if n := beside.count(t, `SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'schema_%' AND name NOT LIKE 'sqlite_%'`); n != 0 {
		t.Fatalf("%d tables are left", n)
	}
	if applied, err := store.Migrate(t.Context()); err != nil || len(applied) != len(downs) {
		t.Fatal(applied, err)
	}
}

func TestASecondServerIsRefused(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path, alias := filepath.Join(folder, "x.db"), filepath.Join(folder, "alias.db")
	first := open(t, path, sqlstore.Config{})
	if err := os.Symlink(path, alias); err != nil {
		t.Fatal(err)
	}
	second := open(t, alias, sqlstore.Config{})
	release, err := first.LockServer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := second.LockServer(t.Context()); !errors.Is(err, sqlstore.ErrServed) {
		t.Fatalf("error is %v, want ErrServed", err)
	}
	if _, err := second.CreateAccount(t.Context(), tenants.New("a", "aa", "A")); err != nil {
		t.Fatalf("a command beside the server: %v", err)
	}
	release()
	release, err = second.LockServer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	release()
}

// A server that was killed holds leases for a minute; the next one knows better.
func TestNextServerTakesOverTheLeases(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	first := open(t, path, sqlstore.Config{})
	account := newAccount(t, first)
	if err := first.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := first.Accept(t.Context(), account, benchRequest()); err != nil {
		t.Fatal(err)
	}
	claim, err := first.Claim(t.Context(), core.ClaimAsk{Free: 10})
	if err != nil || len(claim.Deliveries) != 1 {
		t.Fatal(claim, err)
	}
	if n, err := first.Reap(t.Context()); err != nil || n != 0 {
		t.Fatalf("%d leases are reaped while they live (%v)", n, err)
	}
	second := open(t, path, sqlstore.Config{})
	release, err := second.LockServer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if n, err := second.Reap(t.Context()); err != nil || n != 1 {
		t.Fatalf("%d leases are reaped, want 1 (%v)", n, err)
	}
	lease := claim.Deliveries[0].LeaseOf()
	if err := first.Settle(t.Context(), account, lease, core.Settlement{State: core.DeliveryDone}); !errors.Is(err, core.ErrLeaseLost) {
		t.Fatalf("the first server settles: %v, want ErrLeaseLost", err)
	}
}

func TestAcceptIsBusyWhenTooManyWait(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	store := open(t, path, sqlstore.Config{AcceptQueue: 10})
	account := newAccount(t, store)
	if err := store.Accept(t.Context(), account, benchRequest()); !errors.Is(err, core.ErrBusy) {
		t.Fatalf("before Start: %v, want ErrBusy", err)
	}
	if err := store.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	beside := connect(t, path)
	beside.exec(t, "BEGIN IMMEDIATE") // no commit gets through
	results := make(chan error, 200)
	for range cap(results) {
		go func() { results <- store.Accept(t.Context(), account, benchRequest()) }()
	}
	// At most 64 are in the batch that waits for the disk, and 10 in the queue.
	for range cap(results) - 64 - 10 {
		if err := <-results; !errors.Is(err, core.ErrBusy) {
			t.Fatalf("error is %v, want ErrBusy", err)
		}
	}
	beside.exec(t, "ROLLBACK")
	accepted := 0
	for range 64 + 10 {
		if err := <-results; err == nil {
			accepted++
		} else if !errors.Is(err, core.ErrBusy) {
			t.Fatal(err)
		}
	}
	if n := beside.count(t, `SELECT count(*) FROM requests`); n != accepted || accepted < 10 {
		t.Fatalf("%d rows for %d accepted", n, accepted)
	}
	stop(t, store)
	if err := store.Accept(t.Context(), account, benchRequest()); !errors.Is(err, core.ErrBusy) {
		t.Fatalf("after Stop: %v, want ErrBusy", err)
	}
}

func TestStopCommitsWhatWaits(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	store := open(t, path, sqlstore.Config{})
	account := newAccount(t, store)
	if err := store.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := store.Start(t.Context()); err == nil {
		t.Fatal("a second Start was no error")
	}
	beside := connect(t, path)
	beside.exec(t, "BEGIN IMMEDIATE")
	results := make(chan error, 100)
	var called sync.WaitGroup
	called.Add(cap(results))
	for range cap(results) {
		go func() { called.Done(); results <- store.Accept(t.Context(), account, benchRequest()) }()
	}
	called.Wait()
	time.Sleep(50 * time.Millisecond) // most are in the queue by now; a few late ones hear ErrBusy
	var stopping sync.WaitGroup
	stopping.Go(func() { stop(t, store) })
	time.Sleep(50 * time.Millisecond)
	beside.exec(t, "ROLLBACK")
	stopping.Wait()
	accepted := 0
	for range cap(results) {
		if <-results == nil {
			accepted++
		}
	}
	if n := beside.count(t, `SELECT count(*) FROM requests`); n != accepted || n == 0 {
		t.Fatalf("%d rows for %d accepted", n, accepted)
	}
}

func TestStopGivesUpWhenItsContextEnds(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	store := open(t, path, sqlstore.Config{})
	account := newAccount(t, store)
	if err := store.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	beside := connect(t, path)
	beside.exec(t, "BEGIN IMMEDIATE")
	result := make(chan error, 1)
	go func() { result <- store.Accept(t.Context(), account, benchRequest()) }()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := store.Stop(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Fatalf("Stop took %s", took)
	}
	if err := <-result; err == nil {
		t.Fatal("accepted without a commit")
	}
	beside.exec(t, "ROLLBACK")
}

func TestWakeFollowsACommitThatMadeWorkReady(t *testing.T) {
	t.Parallel()
	var wakes atomic.Int64
	store := open(t, filepath.Join(t.TempDir(), "x.db"), sqlstore.Config{Wake: func() { wakes.Add(1) }})
	account := newAccount(t, store)
	if err := store.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, store) })
	woken := func(what string, want bool, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if got := wakes.Swap(0) > 0; got != want {
			t.Fatalf("woken after %s: %t, want %t", what, got, want)
		}
	}
	woken("accept", true, store.Accept(t.Context(), account, benchRequest()))
	claim := func() core.Lease {
		claim, err := store.Claim(t.Context(), core.ClaimAsk{Free: 2})
		woken("claim", false, err)
		return claim.Deliveries[0].LeaseOf()
	}
	woken("release", true, store.Release(t.Context(), []core.Lease{claim()}))
	woken("a retry", true, store.Settle(t.Context(), account, claim(), core.Settlement{State: core.DeliveryQueued}))
	woken("an end", false, store.Settle(t.Context(), account, claim(), core.Settlement{State: core.DeliveryFailed}))
	_, err := store.Reap(t.Context())
	woken("an idle reaper", false, err)
}

func TestWatchSeesOthersAndNotItself(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	store := start(t, path, nil)
	account := newAccount(t, store)
	changes := make(chan struct{}, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		store.Watch(ctx, func() { changes <- struct{}{} })
	}()
	<-changes // the account that was just made
	expect := func(what string, want bool, wait time.Duration) {
		t.Helper()
		select {
		case <-changes:
			if !want {
				t.Fatalf("%s was called a change", what)
			}
		case <-time.After(wait):
			if want {
				t.Fatalf("%s was not seen", what)
			}
		}
	}
	if err := store.Accept(t.Context(), account, benchRequest()); err != nil {
		t.Fatal(err)
	}
	expect("an own accept", false, 700*time.Millisecond)
	connect(t, path).exec(t, `UPDATE accounts SET name = 'changed'`)
	expect("another process's write", true, 5*time.Second)
	if err := store.SetLogo(t.Context(), account, []byte("png")); err != nil {
		t.Fatal(err)
	}
	expect("an own change of an account", true, 5*time.Second)
	cancel()
	<-done
}

// TestErasedIsGoneFromTheFile looks for seeds and sealed addresses in the bytes
// of the file, while they are needed and after.
func TestErasedIsGoneFromTheFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	store := start(t, path, nil)
	account := newAccount(t, store)
	const requests = 20
	redemptions := make([]core.Redemption, requests)
	for n := range redemptions {
		redemptions[n] = canary(t, store, account, n)
	}
	found := func() int {
		t.Helper()
		connect(t, path).exec(t, `PRAGMA wal_checkpoint(TRUNCATE)`)
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Count(raw, []byte("canary-"))
	}
	if n := found(); n < 2*requests {
		t.Fatalf("%d canaries are there to begin with, want %d", n, 2*requests)
	}
	for _, redemption := range redemptions {
		if _, err := store.Redeem(t.Context(), account, redemption); err != nil {
			t.Fatal(err)
		}
	}
	if n := found(); n > 0 {
		t.Fatalf("%d canaries are still in the file", n)
	}
}

// canary brings a request to its link, with a seed and a sealed address that can
// be recognised.
func canary(t *testing.T, store *sqlstore.Store, account tenants.AccountID, n int) core.Redemption {
	t.Helper()
	address, err := core.ParseAddress(coretest.NewID() + "@example.com")
	if err != nil {
		t.Fatal(err)
	}
	user, err := store.CreateUser(t.Context(), account, core.User{ID: core.UserID(coretest.NewID()), Address: address, Role: core.RoleUser})
	if err != nil {
		t.Fatal(err)
	}
	request := benchRequest()
	request.SealedAddress = []byte("canary-of-a-sealed-address" + strings.Repeat(".", 10*n))
	link := core.LinkSeed{Key: 1, CredentialVersion: 1, Selector: core.Selector{byte(n)}}
	copy(link.Seed[:], "canary-of-a-seed")
	if err := store.Accept(t.Context(), account, request); err != nil {
		t.Fatal(err)
	}
	claim, err := store.Claim(t.Context(), core.ClaimAsk{Free: 2})
	if err != nil {
		t.Fatal(err)
	}
	_, err = store.Resolve(t.Context(), account, claim.Deliveries[0].LeaseOf(), core.Plan{
		Request: request.ID, User: user.ID, Link: link, LinkLife: time.Hour, MaxLive: 3,
		Mail: &core.NewDelivery{ID: core.DeliveryID(coretest.NewID())},
	})
	if err != nil {
		t.Fatal(err)
	}
	mail, err := store.Claim(t.Context(), core.ClaimAsk{Free: 2})
	if err != nil || len(mail.Deliveries) != 1 {
		t.Fatal(err, len(mail.Deliveries))
	}
	return core.Redemption{Request: request.ID, User: user.ID, CredentialVersion: 1}
}

// TestUnguardedRedeemingIsSeen puts the fault back that Redeem's guards prevent:
// look first, write then. The suite's own assertion must find it.
func TestUnguardedRedeemingIsSeen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	store := start(t, path, nil)
	account := newAccount(t, store)
	request := benchRequest()
	if err := store.Accept(t.Context(), account, request); err != nil {
		t.Fatal(err)
	}
	beside := connect(t, path)
	var looked sync.WaitGroup
	looked.Add(10)
	err := coretest.OneWins(10, core.ErrUnknownLink, func() error {
		unspent := beside.count(t, `SELECT count(*) FROM requests WHERE id = ? AND spent_at IS NULL`, string(request.ID))
		looked.Done()
		looked.Wait()
		if unspent == 0 {
			return core.ErrUnknownLink
		}
		beside.exec(t, `UPDATE requests SET spent_at = 1 WHERE id = ?`, string(request.ID))
		return nil
	})
	if err == nil {
		t.Fatal("ten wins were not seen")
	}
}

func TestErrorsOfTheDatabaseAreCountedAndShowNoValues(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	watched := &watcher{}
	store := start(t, path, watched)
	account := newAccount(t, store)
	address, err := core.ParseAddress("canary@example.com")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.UserByAddress(t.Context(), account, address); !errors.Is(err, core.ErrNotFound) || watched.errors.Load() != 0 {
		t.Fatalf("%v; %d errors counted, want none for an answer", err, watched.errors.Load())
	}
	connect(t, path).exec(t, `DROP TABLE api_tokens`)
	connect(t, path).exec(t, `ALTER TABLE users RENAME TO gone`)
	_, readErr := store.UserByAddress(t.Context(), account, address)
	_, writeErr := store.CreateUser(t.Context(), account, core.User{ID: "u", Address: address})
	for _, err := range []error{readErr, writeErr} {
		if err == nil || strings.Contains(err.Error(), "canary") {
			t.Fatalf("error is %v", err)
		}
	}
	if watched.errors.Load() != 2 {
		t.Fatalf("%d errors counted, want 2", watched.errors.Load())
	}
}

func newAccount(t *testing.T, store *sqlstore.Store) tenants.AccountID {
	t.Helper()
	account, err := store.CreateAccount(t.Context(), tenants.New(tenants.AccountID(coretest.NewID()), "example", "Example"))
	if err != nil {
		t.Fatal(err)
	}
	return account.ID
}
