package sqlstore_test

import (
	"fmt"
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

// benchPostgres gives a database of a cluster that is sized as a small production
// server. Set TMPDIR to a directory on a disk, or commits cost nothing.
func benchPostgres(b *testing.B) string {
	b.Helper()
	cluster, err := pgtest.NewCluster(pgtest.Dir(b), map[string]string{"shared_buffers": "512MB", "max_wal_size": "4GB"})
	if err != nil {
		b.Fatal(err)
	}
	if err := cluster.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = cluster.Stop() })
	return cluster.URL("postgres")
}

// BenchmarkAcceptOnPostgreSQL has 64 callers who accept one request after the other.
func BenchmarkAcceptOnPostgreSQL(b *testing.B) {
	const callers = 64
	watched := &watcher{}
	store := startPostgres(b, benchPostgres(b), sqlstore.Config{Observer: watched})
	account, err := store.CreateAccount(b.Context(), tenants.New(tenants.AccountID(coretest.NewID()), "bench", "Bench"))
	if err != nil {
		b.Fatal(err)
	}
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ResetTimer()
	began := time.Now()
	var wait sync.WaitGroup
	for range callers {
		wait.Go(func() {
			for left.Add(-1) >= 0 {
				if err := store.Accept(b.Context(), account.ID, benchRequest()); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "accepts/s")
	b.ReportMetric(float64(watched.rows.Load())/float64(watched.accepts.Load()), "rows/commit")
}

// BenchmarkClaimOnPostgreSQL is BenchmarkClaim, claimed rows given back untimed.
func BenchmarkClaimOnPostgreSQL(b *testing.B) {
	for _, accounts := range []int{10, 10_000, 100_000} {
		b.Run(fmt.Sprintf("accounts=%d", accounts), func(b *testing.B) { benchmarkPostgresClaim(b, accounts) })
	}
}

func benchmarkPostgresClaim(b *testing.B, accounts int) {
	url := benchPostgres(b)
	store := startPostgres(b, url, sqlstore.Config{})
	beside := connectPostgres(b, url)
	beside.exec(b, `INSERT INTO accounts
		SELECT lpad(n::text, 36, '0'), 'a' || n, 'n', FALSE, 'active', '1.8', TRUE, 'caller', 3600000000, '', 8, '[]', '', '#000000', '', '', '', '', 1, 1
		FROM generate_series(1, ?::int) AS n`, accounts)
	beside.exec(b, `INSERT INTO deliveries (account_id, id, kind, state, ready, run_at, queued_at)
		SELECT a.id, gen_random_uuid()::text, 'notice', 'queued', n < 2,
			CASE WHEN n < 2 THEN n ELSE ?::bigint END, 1
		FROM accounts a, generate_series(0, 3) AS n`, time.Now().Add(24*time.Hour).UnixMicro())
	beside.exec(b, `ANALYZE`)
	var cursor tenants.AccountID
	var took time.Duration
	rows := 0
	b.ResetTimer()
	for range b.N {
		began := time.Now()
		claim, err := store.Claim(b.Context(), core.ClaimAsk{Cursor: cursor, Free: 64})
		if err != nil {
			b.Fatal(err)
		}
		took += time.Since(began)
		cursor = claim.Cursor
		rows += len(claim.Deliveries)
		leases := make([]core.Lease, len(claim.Deliveries))
		for i, delivery := range claim.Deliveries {
			leases[i] = delivery.LeaseOf()
		}
		if err := store.Release(b.Context(), leases); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(took.Microseconds())/float64(b.N)/1000, "ms/claim")
	b.ReportMetric(float64(rows)/float64(b.N), "rows/claim")
}
