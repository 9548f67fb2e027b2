package worker_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/coretest"
	"github.com/passmend/passmend/core/sqlstore"
	"github.com/passmend/passmend/core/worker"
	"github.com/passmend/passmend/tenants"
)

// database is a store on a file of its own, and a connection past it.
type database struct {
	*sqlstore.Store
	beside *sql.DB
	wake   atomic.Pointer[func()]
}

func openDatabase(t testing.TB) *database {
	t.Helper()
	d := &database{}
	path := filepath.Join(t.TempDir(), "passmend.db")
	var err error
	d.Store, err = sqlstore.Open(t.Context(), sqlstore.Config{URL: "sqlite://" + path, NewID: coretest.NewID, Wake: func() {
		if wake := d.wake.Load(); wake != nil {
			(*wake)()
		}
	}})
	ok(t, err)
	t.Cleanup(func() { ok(t, d.Close()) })
	_, err = d.Migrate(t.Context())
	ok(t, err)
	d.beside, err = sql.Open("sqlite", path+"?_busy_timeout=10000&_foreign_keys=1")
	ok(t, err)
	d.beside.SetMaxOpenConns(1)
	t.Cleanup(func() { ok(t, d.beside.Close()) })
	ok(t, d.Start(t.Context()))
	t.Cleanup(func() { ok(t, d.Stop(context.Background())) })
	return d
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (d *database) exec(t testing.TB, query string, args ...any) {
	t.Helper()
	_, err := d.beside.Exec(query, args...)
	ok(t, err)
}

func (d *database) count(t testing.TB, query string, args ...any) (n int) {
	t.Helper()
	ok(t, d.beside.QueryRow(query, args...).Scan(&n))
	return n
}

func (d *database) account(t testing.TB) tenants.AccountID {
	t.Helper()
	id := tenants.AccountID(coretest.NewID())
	created, err := d.CreateAccount(t.Context(), tenants.New(id, "a"+strings.ReplaceAll(string(id), "-", ""), "Example"))
	ok(t, err)
	return created.ID
}

// queue makes deliveries that are due, past the store.
func (d *database) queue(t testing.TB, account tenants.AccountID, n int) {
	t.Helper()
	tx, err := d.beside.Begin()
	ok(t, err)
	for i := range n {
		_, err := tx.Exec(`INSERT INTO deliveries (account_id, id, kind, state, ready, run_at, queued_at) VALUES (?, ?, 'notice', 'queued', TRUE, ?, 1)`,
			string(account), coretest.NewID(), i+1)
		ok(t, err)
	}
	ok(t, tx.Commit())
}

// sink is a dispatcher that counts, and a ledger in front of the store's that does.
type sink struct {
	worker.Ledger
	takes time.Duration
	held  chan struct{} // nothing is sent before it is closed; nil: at once

	mu      sync.Mutex
	sent    map[core.DeliveryID]int
	settled map[core.DeliveryID]int
	order   []tenants.AccountID // whose were begun, one after the other
}

func newSink(ledger worker.Ledger) *sink {
	return &sink{Ledger: ledger, sent: map[core.DeliveryID]int{}, settled: map[core.DeliveryID]int{}}
}

func (s *sink) Dispatch(_ context.Context, delivery core.Delivery) (core.Settlement, error) {
	s.mu.Lock()
	s.sent[delivery.ID]++
	s.order = append(s.order, delivery.Account)
	s.mu.Unlock()
	if s.held != nil {
		<-s.held
	}
	time.Sleep(s.takes)
	return core.Settlement{State: core.DeliveryDone, Attempt: &core.Attempt{Provider: "main", Outcome: "accepted"}}, nil
}

func (s *sink) Settle(ctx context.Context, account tenants.AccountID, lease core.Lease, settlement core.Settlement) error {
	err := s.Ledger.Settle(ctx, account, lease, settlement)
	if err == nil {
		s.mu.Lock()
		s.settled[lease.Delivery]++
		s.mu.Unlock()
	}
	return err
}

// onceEach says whether n deliveries were each sent once and settled once.
func (s *sink) onceEach(n int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sent) != n || len(s.settled) != n {
		return fmt.Errorf("%d were sent and %d settled, want %d", len(s.sent), len(s.settled), n)
	}
	for id := range s.sent {
		if s.sent[id] != 1 || s.settled[id] != 1 {
			return fmt.Errorf("%s was sent %d times and settled %d times", id, s.sent[id], s.settled[id])
		}
	}
	return nil
}

func (s *sink) done() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.settled)
}

func (s *sink) wait(t testing.TB, n int) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); s.done() < n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d are settled", s.done(), n)
		}
	}
}

type noResolver struct{}

func (noResolver) Resolve(context.Context, core.Delivery) (core.Plan, error) {
	return core.Plan{}, errors.New("nothing to resolve here")
}

// run starts a worker until the test ends or stop is called.
func run(t testing.TB, queue worker.Queue, s *sink, change func(*worker.Config)) (w *worker.Worker, stop func()) {
	t.Helper()
	c := worker.Config{Queue: queue, Ledger: s, Resolver: noResolver{}, Dispatcher: s, Logger: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&c)
	}
	w, err := worker.New(c)
	ok(t, err)
	ok(t, w.Start(t.Context()))
	stop = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = w.Stop(ctx)
	})
	t.Cleanup(stop)
	return w, stop
}

// counted counts the claims that are asked of a queue.
type counted struct {
	worker.Queue
	claims atomic.Int64
}

func (c *counted) Claim(ctx context.Context, ask core.ClaimAsk) (core.Claim, error) {
	c.claims.Add(1)
	return c.Queue.Claim(ctx, ask)
}

// BenchmarkWorker settles deliveries of one account or of many, which take no time
// to send or about as long as a mail.
func BenchmarkWorker(b *testing.B) {
	for _, takes := range []time.Duration{0, 10 * time.Millisecond} {
		for _, accounts := range []int{1, 20} {
			b.Run(fmt.Sprintf("send=%s/accounts=%d", takes, accounts), func(b *testing.B) { benchmarkWorker(b, takes, accounts) })
		}
	}
}

func benchmarkWorker(b *testing.B, takes time.Duration, accounts int) {
	d := openDatabase(b)
	for i := range accounts {
		d.queue(b, d.account(b), (b.N+i)/accounts)
	}
	s, queue := newSink(d.Store), &counted{Queue: d.Store}
	s.takes = takes
	b.ResetTimer()
	began, before := time.Now(), cpu(b)
	_, stop := run(b, queue, s, nil)
	s.wait(b, b.N)
	b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "deliveries/s")
	stop()
	b.ReportMetric((cpu(b)-before).Seconds()*1000/float64(b.N), "cpu-s/1000")
	b.ReportMetric(float64(b.N)/float64(queue.claims.Load()), "deliveries/claim")
}

// cpu is what the process has used so far.
func cpu(t testing.TB) time.Duration {
	t.Helper()
	var used syscall.Rusage
	ok(t, syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
