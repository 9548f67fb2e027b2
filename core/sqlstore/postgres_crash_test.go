package sqlstore_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/coretest"
	"github.com/passmend/passmend/core/sqlstore"
	"github.com/passmend/passmend/core/sqlstore/pgtest"
	"github.com/passmend/passmend/tenants"
)

func TestOpenRefusesADatabaseThatMayLoseCommits(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	connectStore(t, url, sqlstore.Config{})
	database := connectPostgres(t, url)
	database.exec(t, `ALTER DATABASE `+database.conn.Config().Database+` SET synchronous_commit = off`)
	refused(t, url, "synchronous_commit")
}

// refused says that Open names the setting, and opens all the same when told to.
func refused(t *testing.T, url, setting string) {
	t.Helper()
	_, err := sqlstore.Open(t.Context(), sqlstore.Config{URL: url, NewID: coretest.NewID})
	if !errors.Is(err, sqlstore.ErrUnsafeDurability) || !strings.Contains(err.Error(), setting+" is off") {
		t.Fatalf("error is %v, want one that names %s", err, setting)
	}
	store, err := sqlstore.Open(t.Context(), sqlstore.Config{URL: url, NewID: coretest.NewID, AllowUnsafeDurability: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestADatabaseThatCrashes kills the server under load, twice. What was accepted
// is there afterwards, nobody waits for ever, and everything works again.
func TestADatabaseThatCrashes(t *testing.T) {
	t.Parallel()
	pgtest.URL(t) // skips where there is no server
	cluster, err := pgtest.NewCluster(pgtest.Dir(t), nil)
	if errors.Is(err, pgtest.ErrNoBinaries) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := cluster.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
	})
	url := cluster.URL("postgres")
	store := startPostgres(t, url, sqlstore.Config{})
	account := newAccount(t, store)
	var changes atomic.Int64
	watch(t, store, &changes)
	for range 2 {
		crash(t, cluster, store, account)
	}
	changes.Store(0)
	if err := store.SetLogo(t.Context(), account, []byte("png")); err != nil {
		t.Fatal(err)
	}
	soon(t, "a changed account is heard of again", func() bool { return changes.Load() > 0 })
	for _, setting := range []string{"fsync", "full_page_writes"} {
		beside := connectPostgres(t, url)
		beside.exec(t, `ALTER SYSTEM SET `+setting+` = off`)
		beside.exec(t, `SELECT pg_reload_conf()`)
		soon(t, setting+" is off", func() bool { return beside.count(t, `SELECT (current_setting(?) = 'off')::int`, setting) == 1 })
		refused(t, url, setting)
		beside.exec(t, `ALTER SYSTEM RESET `+setting)
		beside.exec(t, `SELECT pg_reload_conf()`)
	}
}

// crash kills the server while callers accept, and brings it back.
func crash(t *testing.T, cluster *pgtest.Cluster, store *sqlstore.Store, account tenants.AccountID) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex
	var accepted []core.RequestID
	var refused atomic.Int64
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for ctx.Err() == nil {
				request := benchRequest()
				began := time.Now()
				err := store.Accept(t.Context(), account, request)
				if took := time.Since(began); took > 20*time.Second {
					t.Errorf("a caller waited for %s", took)
				}
				if err != nil {
					refused.Add(1)
					time.Sleep(time.Millisecond)
					continue
				}
				mu.Lock()
				accepted = append(accepted, request.ID)
				mu.Unlock()
			}
		})
	}
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(accepted) }
	soon(t, "accepts begin", func() bool { return count() > 50 })
	if err := cluster.Kill(); err != nil {
		t.Fatal(err)
	}
	soon(t, "accepts are refused", func() bool { return refused.Load() > 8 })
	if _, err := store.Claim(t.Context(), core.ClaimAsk{Free: 1}); err == nil {
		t.Error("claimed without a database")
	}
	if err := store.Ping(t.Context()); err == nil {
		t.Error("a database that is gone answers")
	}
	during := count()
	if err := cluster.Start(); err != nil {
		t.Fatal(err)
	}
	soon(t, "accepts go on", func() bool { return count() > during+50 })
	cancel()
	callers.Wait()
	for _, id := range accepted {
		if _, err := store.Request(t.Context(), account, id); err != nil {
			t.Fatalf("an accepted request is lost: %v", err)
		}
	}
}
