package sqlstore_test

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/passmend/passmend/core/coretest"
	"github.com/passmend/passmend/core/sqlstore"
	"github.com/passmend/passmend/core/sqlstore/pgtest"
)

// linguistic makes a database whose locale sorts and compares by language.
const linguistic = "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de-u-ks-level2'"

func TestStoreOnPostgreSQL(t *testing.T) {
	t.Parallel()
	coretest.ExerciseStore(t, func(t *testing.T) coretest.Database { return openPostgres(t) })
}

func TestLedgerOnPostgreSQL(t *testing.T) {
	t.Parallel()
	coretest.ExerciseLedger(t, func(t *testing.T) coretest.Database { return openPostgres(t) })
}

// openPostgres gives the suites a store on a database of its own.
func openPostgres(t *testing.T, clauses ...string) coretest.Database {
	t.Helper()
	url := pgtest.URL(t, clauses...)
	watched := &watcher{}
	store := startPostgres(t, url, sqlstore.Config{Observer: watched})
	beside := connectPostgres(t, url)
	return coretest.Database{
		Store: store,
		Exec:  beside.exec,
		Count: beside.count,
		Reopen: func(t testing.TB) coretest.Store {
			stop(t, store)
			return startPostgres(t, url, sqlstore.Config{Observer: watched})
		},
		Commits: func() int { return int(watched.accepts.Load()) },
	}
}

// startPostgres opens, migrates and starts a store until the test ends.
func startPostgres(t testing.TB, url string, config sqlstore.Config) *sqlstore.Store {
	t.Helper()
	store := connectStore(t, url, config)
	if _, err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := store.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, store) })
	return store
}

// connectStore opens a store until the test ends.
func connectStore(t testing.TB, url string, config sqlstore.Config) *sqlstore.Store {
	t.Helper()
	config.URL, config.NewID = url, coretest.NewID
	store, err := sqlstore.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// postgresSide is a connection of the test's own.
type postgresSide struct {
	mu   *sync.Mutex
	conn *pgx.Conn
}

func connectPostgres(t testing.TB, url string) postgresSide {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return postgresSide{&sync.Mutex{}, conn}
}

func (s postgresSide) exec(t testing.TB, query string, args ...any) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.conn.Exec(t.Context(), numbered(query), args...); err != nil {
		t.Fatal(err)
	}
}

func (s postgresSide) count(t testing.TB, query string, args ...any) (n int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.conn.QueryRow(t.Context(), numbered(query), args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// numbered turns each "?" into "$1", "$2", …
func numbered(query string) string {
	var b strings.Builder
	for i, part := range strings.Split(query, "?") {
		if i > 0 {
			b.WriteString("$" + strconv.Itoa(i))
		}
		b.WriteString(part)
	}
	return b.String()
}

// soon waits until something holds.
func soon(t testing.TB, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within ten seconds", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
