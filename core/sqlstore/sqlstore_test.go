package sqlstore_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/passmend/passmend/core/coretest"
	"github.com/passmend/passmend/core/sqlstore"
)

func TestStore(t *testing.T) {
	t.Parallel()
	coretest.ExerciseStore(t, openSQLite)
}

func TestLedger(t *testing.T) {
	t.Parallel()
	coretest.ExerciseLedger(t, openSQLite)
}

// openSQLite gives the suites a store on a file of its own.
func openSQLite(t *testing.T) coretest.Database {
	t.Helper()
	path := filepath.Join(t.TempDir(), "passmend.db")
	watched := &watcher{}
	store := start(t, path, watched)
	beside := connect(t, path)
	return coretest.Database{
		Store:   store,
		Exec:    beside.exec,
		Count:   beside.count,
		Reopen:  func(t testing.TB) coretest.Store { stop(t, store); return start(t, path, watched) },
		Commits: func() int { return int(watched.accepts.Load()) },
	}
}

// start opens, migrates and starts a store until the test ends.
func start(t testing.TB, path string, observer sqlstore.Observer) *sqlstore.Store {
	t.Helper()
	store := open(t, path, sqlstore.Config{Observer: observer})
	if err := store.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, store) })
	return store
}

// open opens and migrates a store until the test ends.
func open(t testing.TB, path string, config sqlstore.Config) *sqlstore.Store {
	t.Helper()
	config.URL, config.NewID = "sqlite://"+path, coretest.NewID
	store, err := sqlstore.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	if _, err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return store
}

func stop(t testing.TB, store *sqlstore.Store) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := store.Stop(ctx); err != nil {
		t.Error(err)
	}
	if err := store.Close(); err != nil {
		t.Error(err)
	}
}

// watcher counts what a store reports.
type watcher struct {
	accepts, rows, errors atomic.Int64
	traces                sync.Map // of the last commit, by kind
}

func (w *watcher) Commit(kind string, rows int, _, _ time.Duration, trace string) {
	w.traces.Store(kind, trace)
	if kind == "accept" {
		w.accepts.Add(1)
		w.rows.Add(int64(rows))
	}
}

// traceKey is where the tests have a trace in a context.
type traceKey struct{}

func (w *watcher) Trace(ctx context.Context) string {
	trace, _ := ctx.Value(traceKey{}).(string)
	return trace
}

func (w *watcher) Error(string) { w.errors.Add(1) }

func (w *watcher) Lapsed(string, int, int) {}

// side is a connection of the test's own.
type side struct{ db *sql.DB }

func connect(t testing.TB, path string) side {
	t.Helper()
	db, err := sql.Open("sqlite", path+"?_busy_timeout=10000&_foreign_keys=1")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { _ = db.Close() })
	return side{db}
}

func (s side) exec(t testing.TB, query string, args ...any) {
	t.Helper()
	if _, err := s.db.Exec(query, args...); err != nil {
		t.Fatal(err)
	}
}

func (s side) count(t testing.TB, query string, args ...any) (n int) {
	t.Helper()
	if err := s.db.QueryRow(query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
