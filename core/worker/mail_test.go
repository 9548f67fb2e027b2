package worker_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/coretest"
	"github.com/passmend/passmend/core/keys"
	"github.com/passmend/passmend/core/render"
	"github.com/passmend/passmend/core/worker"
	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/tenants"
)

// accepting is a plugin that takes every mail at once.
type accepting struct {
	mails atomic.Int64
	one   chan struct{} // told of each, if somebody listens
}

func (a *accepting) Send(context.Context, string, sdk.SendRequest) (sdk.Receipt, error) {
	a.mails.Add(1)
	select {
	case a.one <- struct{}{}:
	default:
	}
	return sdk.Receipt{Outcome: sdk.Accepted}, nil
}

// BenchmarkMail takes requests that were accepted through resolving, rendering
// and a plugin that takes no time, with a breaker before it.
func BenchmarkMail(b *testing.B) {
	d, ring, account := setupMail(b)
	acceptAll(b, d, ring, account, b.N)
	plugin := &accepting{}
	b.ResetTimer()
	began, before := time.Now(), cpu(b)
	stop := startMail(b, d, ring, plugin)
	for deadline := began.Add(5 * time.Minute); plugin.mails.Load() < int64(b.N); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatalf("%d of %d were sent", plugin.mails.Load(), b.N)
		}
	}
	b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "mails/s")
	stop()
	b.ReportMetric((cpu(b)-before).Seconds()*1000/float64(b.N), "cpu-s/1000")
}

// BenchmarkMailAlone is the way of one request when there is nothing else to do:
// from before its acceptance until the plugin has its mail.
func BenchmarkMailAlone(b *testing.B) {
	d, ring, account := setupMail(b)
	plugin := &accepting{one: make(chan struct{}, 1)}
	stop := startMail(b, d, ring, plugin)
	took := make([]time.Duration, b.N)
	for i := range took {
		address := user(b, d, account, i)
		time.Sleep(20 * time.Millisecond) // until the last is settled
		begun := time.Now()
		accept(b, d, ring, account, address)
		<-plugin.one
		took[i] = time.Since(begun)
	}
	stop()
	slices.Sort(took)
	b.ReportMetric(float64(took[b.N/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[b.N*99/100].Microseconds())/1000, "p99-ms")
}

func setupMail(b *testing.B) (*database, *keys.Keys, tenants.Account) {
	b.Helper()
	d := openDatabase(b)
	path := filepath.Join(b.TempDir(), "keys.json")
	ok(b, keys.Init(path))
	ring, err := keys.Open(path)
	ok(b, err)
	account, err := d.AccountByID(b.Context(), d.account(b))
	ok(b, err)
	ok(b, d.CreateProvider(b.Context(), "", core.Provider{
		ID: core.ProviderID(coretest.NewID()), Name: "main", Plugin: "smtp", Settings: []byte(`{}`),
	}))
	return d, ring, account
}

// acceptAll makes n users and accepts a request of each.
func acceptAll(b *testing.B, d *database, ring *keys.Keys, account tenants.Account, n int) {
	b.Helper()
	var next atomic.Int64
	var wait sync.WaitGroup
	for range 64 {
		wait.Go(func() {
			for i := next.Add(1); i <= int64(n) && !b.Failed(); i = next.Add(1) {
				accept(b, d, ring, account, user(b, d, account, int(i)))
			}
		})
	}
	wait.Wait()
}

// user makes one and gives their address.
func user(b *testing.B, d *database, account tenants.Account, i int) core.Address {
	address, err := core.ParseAddress(fmt.Sprintf("user%d@example.com", i))
	if err == nil {
		_, err = d.CreateUser(b.Context(), account.ID, core.User{
			ID: core.UserID(coretest.NewID()), Address: address, Role: core.RoleUser, PasswordHash: []byte("old"),
		})
	}
	if err != nil {
		b.Error(err)
	}
	return address
}

func accept(b *testing.B, d *database, ring *keys.Keys, account tenants.Account, address core.Address) {
	intake := &core.Intake{Inbox: d.Store, Sealer: ring, Digester: ring, NewID: coretest.NewID}
	if err := intake.Accept(b.Context(), account, core.Ask{Address: address}); err != nil {
		b.Error(err)
	}
}

func startMail(b *testing.B, d *database, ring *keys.Keys, plugin core.Plugins) (stop func()) {
	b.Helper()
	accounts, err := tenants.NewResolver(d.Store)
	ok(b, err)
	renderer, err := render.New(render.Config{From: sdk.Mailbox{Address: "no-reply@passmend.example"}})
	ok(b, err)
	breakers, err := worker.NewBreakers(worker.BreakersConfig{})
	ok(b, err)
	w, err := worker.New(worker.Config{
		Queue: d.Store, Ledger: d.Store, Logger: slog.New(slog.DiscardHandler),
		Resolver: &core.Resolver{Accounts: accounts, Users: d.Store, Sealer: ring, Keys: ring, NewID: coretest.NewID, Limiter: ring},
		Dispatcher: core.NewDispatcher(core.DispatchConfig{
			Accounts: accounts, Logos: d.Store, Ledger: d.Store, Users: d.Store, Providers: d.Store, Sealer: ring, Keys: ring,
			Renderer: renderer, Plugins: plugin, BaseURL: &url.URL{Scheme: "https", Host: "reset.example"},
			DefaultProviders: []string{"main"}, NewID: coretest.NewID, Breakers: breakers,
		}),
	})
	ok(b, err)
	wake := w.Wake
	d.wake.Store(&wake)
	ok(b, w.Start(b.Context()))
	return func() { ok(b, w.Stop(context.WithoutCancel(b.Context()))) }
}
