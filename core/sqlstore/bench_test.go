package sqlstore_test

import (
	"crypto/rand"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/coretest"
	"github.com/passmend/passmend/core/sqlstore"
	"github.com/passmend/passmend/tenants"
)

// benchAccounts makes accounts past the store: thousands of them, quickly.
func benchAccounts(b *testing.B, beside side, n int) []tenants.AccountID {
	b.Helper()
	beside.exec(b, "BEGIN")
	ids := make([]tenants.AccountID, n)
	for i := range ids {
		ids[i] = tenants.AccountID(coretest.NewID())
		beside.exec(b, `INSERT INTO accounts VALUES (?, ?, 'n', 0, 'active', '1.8', 1, 'caller', 3600000000, '', 8, '[]', '', '#000000', '', '', '', '', 1, 1)`,
			string(ids[i]), fmt.Sprintf("a%d", i))
	}
	beside.exec(b, "COMMIT")
	return ids
}

func benchRequest() core.Request {
	request := core.Request{
		ID: core.RequestID(coretest.NewID()), SealedAddress: make([]byte, 60), AddressDigest: make([]byte, 32), Deliver: true,
		TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}
	_, _ = rand.Read(request.AddressDigest)
	return request
}

// BenchmarkAccept has 64 callers who accept one request after the other.
func BenchmarkAccept(b *testing.B) {
	const callers = 64
	path := filepath.Join(b.TempDir(), "bench.db")
	watched := &watcher{}
	store := start(b, path, watched)
	account := benchAccounts(b, connect(b, path), 1)[0]
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ResetTimer()
	began := time.Now()
	var wait sync.WaitGroup
	for range callers {
		wait.Go(func() {
			for left.Add(-1) >= 0 {
				if err := store.Accept(b.Context(), account, benchRequest()); err != nil {
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

// BenchmarkClaim claims 64 rows and gives them back, untimed, with so many
// accounts that have two rows ready each, and as many rows waiting for later.
func BenchmarkClaim(b *testing.B) {
	for _, accounts := range []int{10, 10_000, 100_000} {
		b.Run(fmt.Sprintf("accounts=%d", accounts), func(b *testing.B) { benchmarkClaim(b, accounts) })
	}
}

func benchmarkClaim(b *testing.B, accounts int) {
	path := filepath.Join(b.TempDir(), "bench.db")
	store := open(b, path, sqlstore.Config{})
	beside := connect(b, path)
	ids := benchAccounts(b, beside, accounts)
	beside.exec(b, "BEGIN")
	for _, account := range ids {
		for n := range 4 {
			beside.exec(b, `INSERT INTO deliveries (account_id, id, kind, state, ready, run_at, queued_at) VALUES (?, ?, 'notice', 'queued', ?, ?, 1)`,
				string(account), coretest.NewID(), n < 2, int64(n/2)*time.Now().Add(time.Hour).UnixMicro()+int64(n))
		}
	}
	beside.exec(b, "COMMIT")
	if err := store.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { stop(b, store) })
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

// BenchmarkRetain removes requests with all that a mail leaves behind. What one
// call takes is what an accept may wait behind it.
func BenchmarkRetain(b *testing.B) {
	for _, batch := range []int{50, 200, 1000} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) { benchmarkRetain(b, batch) })
	}
}

func benchmarkRetain(b *testing.B, batch int) {
	path := filepath.Join(b.TempDir(), "bench.db")
	store := start(b, path, nil)
	beside := connect(b, path)
	account := string(benchAccounts(b, beside, 1)[0])
	beside.exec(b, "BEGIN")
	for range batch * (b.N + 1) {
		request, delivery := coretest.NewID(), coretest.NewID()
		beside.exec(b, `INSERT INTO requests (account_id, id, state, address_digest, deliver, traceparent, accepted_at)
			VALUES (?, ?, 'sent', ?, TRUE, '', 1)`, account, request, make([]byte, 32))
		for _, id := range []string{delivery, coretest.NewID()} {
			beside.exec(b, `INSERT INTO deliveries (account_id, id, request_id, kind, state, ready, run_at, queued_at)
				VALUES (?, ?, ?, 'mail', 'done', FALSE, 1, 1)`, account, id, request)
		}
		beside.exec(b, `INSERT INTO attempts VALUES (?, ?, ?, 1, 'p', 'accepted', '', 1, 1)`, account, coretest.NewID(), delivery)
		beside.exec(b, `INSERT INTO events VALUES (?, ?, 'n', NULL, ?, '{}', 1)`, account, coretest.NewID(), request)
	}
	beside.exec(b, "COMMIT")
	b.ResetTimer()
	began := time.Now()
	for range b.N {
		if removed, err := store.Retain(b.Context(), time.Hour, batch); err != nil || removed != batch {
			b.Fatal(removed, err)
		}
	}
	took := time.Since(began).Seconds()
	b.ReportMetric(took/float64(b.N)*1000, "ms/call")
	b.ReportMetric(float64(b.N*batch)/took, "requests/s")
}
