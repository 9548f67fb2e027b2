package sqlstore_test

import (
	"context"
	"testing"

	"github.com/passmend/passmend/core/coretest"
	"github.com/passmend/passmend/core/sqlstore"
	"github.com/passmend/passmend/core/sqlstore/pgtest"
	"github.com/passmend/passmend/tenants"
)

// What a commit was for is told by the trace of one of its callers, and by none when
// they have none.
func TestACommitIsToldWithTheTraceOfACaller(t *testing.T) {
	t.Parallel()
	for engine, start := range map[string]func(t *testing.T, watched *watcher) *sqlstore.Store{
		"SQLite": func(t *testing.T, watched *watcher) *sqlstore.Store {
			return start(t, t.TempDir()+"/passmend.db", watched)
		},
		"PostgreSQL": func(t *testing.T, watched *watcher) *sqlstore.Store {
			return startPostgres(t, pgtest.URL(t), sqlstore.Config{Observer: watched})
		},
	} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			watched := &watcher{}
			store := start(t, watched)
			for _, trace := range []string{"one", "another", ""} {
				ctx := context.WithValue(t.Context(), traceKey{}, trace)
				account, err := store.CreateAccount(ctx, tenants.New(tenants.AccountID(coretest.NewID()), "a"+trace, "Example"))
				if err == nil {
					err = store.Accept(ctx, account.ID, benchRequest())
				}
				if err != nil {
					t.Fatal(err)
				}
				for _, kind := range []string{"turn", "accept"} {
					if told, _ := watched.traces.Load(kind); told != trace {
						t.Errorf("the commit of kind %s was told with trace %q, want %q", kind, told, trace)
					}
				}
			}
		})
	}
}
