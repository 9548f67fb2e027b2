package coretest

import (
	"sync"
	"testing"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// got counts the deliveries of each account.
func got(claim core.Claim) map[tenants.AccountID]int {
	counts := make(map[tenants.AccountID]int)
	for _, delivery := range claim.Deliveries {
		counts[delivery.Account]++
	}
	return counts
}

func exerciseClaim(t *testing.T, open Open) {
	t.Run("nothing ready gives nothing", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		same(t, f.claim(8), core.Claim{})
		f.accept(f.account)
		same(t, f.claim(0), core.Claim{})
	})
	t.Run("a row is claimed once", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		f.accept(f.account)
		f.claimOne()
		same(t, len(f.claim(8).Deliveries), 0)
	})
	t.Run("an account's oldest rows come first", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		first, second, third := f.accept(f.account), f.accept(f.account), f.accept(f.account)
		f.Exec(t, `UPDATE deliveries SET run_at = run_at - 2000000 WHERE request_id = ?`, string(third.ID))
		f.Exec(t, `UPDATE deliveries SET run_at = run_at - 1000000 WHERE request_id = ?`, string(first.ID))
		var order []core.RequestID
		for _, delivery := range f.claim(16).Deliveries {
			order = append(order, delivery.Request)
		}
		same(t, order, []core.RequestID{third.ID, first.ID, second.ID})
	})
	t.Run("a row that is not due waits, and Next says how long", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		f.accept(f.account)
		delivery := f.claimOne()
		f.ok(f.settle(delivery, core.Settlement{State: core.DeliveryQueued, Delay: time.Minute, Provider: "second"}))
		claim := f.claim(8)
		if len(claim.Deliveries) != 0 || claim.Next < 50*time.Second || claim.Next > time.Minute {
			t.Fatalf("%d deliveries, next in %s; want none and about a minute", len(claim.Deliveries), claim.Next)
		}
		f.Exec(t, `UPDATE deliveries SET run_at = run_at - ?`, time.Minute.Microseconds())
		again := f.claimOne()
		if again.ID != delivery.ID || again.Attempt != 2 || again.Provider != "second" || again.Lease == delivery.Lease {
			t.Fatalf("unexpected delivery %+v", again)
		}
	})
	exerciseFairness(t, open)
	t.Run("workers that claim at the same time share no row", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		_, errs := f.acceptMany(f.account, 100)
		f.ok(errs[0])
		var mu sync.Mutex
		var workers sync.WaitGroup
		times := make(map[core.DeliveryID]int)
		for range 8 {
			workers.Go(func() {
				for {
					claim, err := f.Store.Claim(t.Context(), core.ClaimAsk{Free: 10})
					if err != nil {
						t.Error(err)
					}
					if len(claim.Deliveries) == 0 {
						return
					}
					mu.Lock()
					for _, delivery := range claim.Deliveries {
						times[delivery.ID]++
					}
					mu.Unlock()
				}
			})
		}
		workers.Wait()
		same(t, len(times), 100)
		for id, n := range times {
			if n != 1 {
				t.Errorf("delivery %s was claimed %d times", id, n)
			}
		}
	})
}

func exerciseFairness(t *testing.T, open Open) {
	t.Run("one account that wants everything gets half", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		f.acceptMany(f.account, 100)
		claim := f.claim(64)
		same(t, got(claim), map[tenants.AccountID]int{f.account: 32})
		same(t, claim.Full, true)
	})
	t.Run("two that want everything get a third each", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		other := f.newAccount()
		f.acceptMany(f.account, 100)
		f.acceptMany(other, 100)
		same(t, got(f.claim(60)), map[tenants.AccountID]int{f.account: 20, other: 20})
	})
	t.Run("what an account has in flight counts against it", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		other := f.newAccount()
		f.acceptMany(f.account, 100)
		f.acceptMany(other, 3)
		held := map[tenants.AccountID]int{f.account: 32}
		claim, err := f.Store.Claim(t.Context(), core.ClaimAsk{Free: 32, InFlight: held})
		f.ok(err)
		same(t, got(claim), map[tenants.AccountID]int{other: 3})
		claim, err = f.Store.Claim(t.Context(), core.ClaimAsk{Free: 29, InFlight: held})
		f.ok(err)
		same(t, len(claim.Deliveries), 0)
		same(t, claim.Full, true)
	})
	t.Run("another account's row goes out with the next claim, however many wait before it", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		other := f.newAccount()
		f.acceptMany(f.account, 1000)
		f.claim(16)
		f.accept(other)
		// Without the ring the next eight would all be the first account's.
		same(t, f.Count(t, `SELECT count(*) FROM (SELECT account_id FROM deliveries WHERE ready = TRUE ORDER BY run_at LIMIT 8) AS next
			WHERE account_id = ?`, string(f.account)), 8)
		claim, err := f.Store.Claim(t.Context(), core.ClaimAsk{Free: 8, InFlight: map[tenants.AccountID]int{f.account: 8}})
		f.ok(err)
		same(t, got(claim), map[tenants.AccountID]int{other: 1})
	})
	t.Run("accounts that hold their share and have nothing ready do not widen the ring", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		held := map[tenants.AccountID]int{}
		for range 20 {
			held[tenants.AccountID(NewID())] = 200
		}
		var wait sync.WaitGroup
		for range 110 {
			account := f.newAccount()
			wait.Go(func() { _ = f.Store.Accept(t.Context(), account, newRequest()) })
		}
		wait.Wait()
		claim, err := f.Store.Claim(t.Context(), core.ClaimAsk{Free: 200, InFlight: held})
		f.ok(err)
		same(t, len(claim.Deliveries), 100)
		same(t, claim.Full, true)
	})
	t.Run("with few slots the ring gives every account its turn", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		accounts := []tenants.AccountID{f.account, f.newAccount(), f.newAccount(), f.newAccount(), f.newAccount()}
		for _, account := range accounts {
			f.acceptMany(account, 2)
		}
		var order []tenants.AccountID
		var cursor tenants.AccountID
		for range 10 {
			claim, err := f.Store.Claim(t.Context(), core.ClaimAsk{Cursor: cursor, Free: 1})
			f.ok(err)
			order, cursor = append(order, claim.Deliveries[0].Account), claim.Cursor
		}
		same(t, order, append(accounts, accounts...))
	})
	t.Run("a claim visits at most a hundred accounts and the next goes on from there", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		want := map[tenants.AccountID]int{}
		var wait sync.WaitGroup
		for range 130 {
			account := f.newAccount()
			want[account] = 1
			wait.Go(func() { _ = f.Store.Accept(t.Context(), account, newRequest()) })
		}
		wait.Wait()
		first := f.claim(400)
		same(t, len(first.Deliveries), 100)
		same(t, first.Full, true)
		second, err := f.Store.Claim(t.Context(), core.ClaimAsk{Cursor: first.Cursor, Free: 300})
		f.ok(err)
		same(t, len(second.Deliveries), 30)
		same(t, second.Full, false)
		first.Deliveries = append(first.Deliveries, second.Deliveries...)
		same(t, got(first), want)
	})
}
