package coretest

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// holds lists without the times.
func (f *fixture) holds() []core.Hold {
	f.t.Helper()
	listed, err := f.Store.AllHolds(f.t.Context())
	f.ok(err)
	for i := range listed {
		recent(f.t, "since", listed[i].Since)
		listed[i].Since, listed[i].Released = time.Time{}, time.Time{}
	}
	return listed
}

// rates gives how many a second each hold lets go.
func (f *fixture) rates() (rates []int) {
	f.t.Helper()
	for _, hold := range f.holds() {
		rates = append(rates, hold.Rate)
	}
	return rates
}

// goBy lets time pass for what drains.
func (f *fixture) goBy(by time.Duration) {
	f.t.Helper()
	f.Exec(f.t, `UPDATE holds SET tat = tat - ?`, by.Microseconds())
}

// drained claims step after step, each later than the one before, until everything
// went out, and gives how many each step brought.
func (f *fixture) drained(all int, step time.Duration) (counts []int) {
	f.t.Helper()
	for total := 0; total < all; {
		if len(counts) > 4*all {
			f.t.Fatalf("%d of %d went out in %d steps", total, all, len(counts))
		}
		f.goBy(step)
		n := len(f.claim(400).Deliveries)
		total += n
		counts = append(counts, n)
	}
	return counts
}

// parked is a mail whose dispatch found its provider held.
func (f *fixture) parked(provider core.Provider) core.Delivery {
	f.t.Helper()
	_, _, delivery := f.mailed(f.newUser(f.account))
	f.ok(f.settle(delivery, core.Settlement{State: core.DeliveryQueued, Provider: provider.Name, Snoozed: true, Parked: provider.ID}))
	return delivery
}

func (f *fixture) newProvider(owner tenants.AccountID, name string) core.Provider {
	f.t.Helper()
	provider := core.Provider{ID: core.ProviderID(NewID()), Account: owner, Name: name, Plugin: "smtp"}
	f.ok(f.Store.CreateProvider(f.t.Context(), owner, provider))
	return provider
}

func exerciseHolds(t *testing.T, open Open) {
	t.Run("holds are counted by what they are about and how they stand", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		counts := func() []core.HoldCount {
			t.Helper()
			counts, err := f.Store.HoldCounts(t.Context())
			f.ok(err)
			return counts
		}
		same(t, counts(), []core.HoldCount{})
		other := f.newAccount()
		f.ok(f.Store.BeginHold(t.Context(), "", "", true))
		f.ok(f.Store.BeginHold(t.Context(), f.account, "", true))
		f.ok(f.Store.BeginHold(t.Context(), other, "", false))
		f.ok(f.Store.BeginHold(t.Context(), "", f.newProvider("", "platform").Name, true))
		f.ok(f.Store.BeginHold(t.Context(), f.account, f.newProvider(f.account, "relay").Name, true))
		same(t, counts(), []core.HoldCount{
			{Scope: core.HoldOfAccount, State: core.HoldHeld, Holds: 2},
			{Scope: core.HoldOfAll, State: core.HoldHeld, Holds: 1},
			{Scope: core.HoldOfProvider, State: core.HoldHeld, Holds: 2},
		})
		f.ok(f.Store.EndHold(t.Context(), f.account, "", 5, true))
		f.ok(f.Store.EndHold(t.Context(), "", "", 0, true))
		same(t, counts(), []core.HoldCount{
			{Scope: core.HoldOfAccount, State: core.HoldDraining, Holds: 1},
			{Scope: core.HoldOfAccount, State: core.HoldHeld, Holds: 1},
			{Scope: core.HoldOfProvider, State: core.HoldHeld, Holds: 2},
		})
	})
	t.Run("while everything is held requests are accepted and none is claimed", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		f.accept(f.account)
		f.claimOne() // before
		f.ok(f.Store.BeginHold(t.Context(), "", "", true))
		f.ok(f.Store.BeginHold(t.Context(), "", "", true)) // again is the same
		f.acceptMany(f.account, 20)
		f.acceptMany(f.newAccount(), 5)
		same(t, f.claim(64), core.Claim{})
		same(t, f.holds(), []core.Hold{{Firm: true, Waiting: 25, UnderWay: 1}})
		f.balanced(26)

		f.Store = f.Reopen(t)
		same(t, f.claim(64), core.Claim{})
		f.ok(f.Store.EndHold(t.Context(), "", "", 0, true))
		same(t, len(f.claim(400).Deliveries), 25)
		same(t, f.holds(), []core.Hold{})
		f.is(f.Store.EndHold(t.Context(), "", "", 0, true), core.ErrNotFound)
	})
	t.Run("an account's hold keeps nobody else's back", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		other := f.newAccount()
		f.ok(f.Store.BeginHold(t.Context(), f.account, "", true))
		f.acceptMany(f.account, 20)
		f.acceptMany(other, 4)
		claim := f.claim(64)
		same(t, got(claim), map[tenants.AccountID]int{other: 4})
		same(t, claim.Full, false)
		same(t, f.holds(), []core.Hold{{Account: f.account, Firm: true, Waiting: 20}})
		f.is(f.Store.BeginHold(t.Context(), tenants.AccountID(NewID()), "", true), tenants.ErrUnknown)
		f.is(f.Store.EndHold(t.Context(), other, "", 0, true), core.ErrNotFound)
		f.ok(f.Store.EndHold(t.Context(), f.account, "", 0, true))
		same(t, len(f.claim(64).Deliveries), 20)
	})
	t.Run("what retries waits too, its attempt uncounted", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		f.accept(f.account)
		delivery := f.claimOne()
		f.ok(f.settle(delivery, core.Settlement{State: core.DeliveryQueued, Delay: time.Minute}))
		f.ok(f.Store.BeginHold(t.Context(), f.account, "", true))
		f.Exec(t, `UPDATE deliveries SET run_at = run_at - ?`, time.Minute.Microseconds())
		same(t, len(f.claim(8).Deliveries), 0)
		f.ok(f.Store.EndHold(t.Context(), f.account, "", 0, true))
		same(t, f.claimOne().Attempt, 2)
	})
	for name, of := range map[string]func(f *fixture) tenants.AccountID{
		"everything": func(*fixture) tenants.AccountID { return "" },
		"an account": func(f *fixture) tenants.AccountID { return f.account },
	} {
		t.Run("released at a rate, "+name+" goes out at that rate and nothing is lost", func(t *testing.T) {
			t.Parallel()
			f := setup(t, open)
			scope := of(f)
			f.ok(f.Store.BeginHold(t.Context(), scope, "", true))
			f.acceptMany(f.account, 50)
			// Two an hour of the clock is none: what goes out is what time was given for.
			f.ok(f.Store.EndHold(t.Context(), scope, "", 1, true))
			f.Exec(t, `UPDATE holds SET pace = ?`, time.Hour.Microseconds())
			claim := f.claim(64)
			same(t, len(claim.Deliveries), 0)
			if claim.Next < 59*time.Minute || claim.Next > time.Hour {
				t.Fatalf("next in %s, want an hour", claim.Next)
			}
			for range 3 {
				f.goBy(time.Hour)
				same(t, len(f.claim(64).Deliveries), 1)
				same(t, len(f.claim(64).Deliveries), 0)
			}
			f.goBy(100 * time.Hour) // nobody asked for a long time: no flood
			same(t, len(f.claim(64).Deliveries), 1)
			f.ok(f.Store.EndHold(t.Context(), scope, "", 5, true)) // faster
			same(t, f.rates(), []int{5})
			// A drain saves up a second's worth and no more, however long nobody asks and
			// however slow this machine is.
			same(t, f.drained(46, time.Minute), []int{5, 5, 5, 5, 5, 5, 5, 5, 5, 1})
			f.goBy(time.Minute)
			same(t, len(f.claim(64).Deliveries), 0)
			same(t, f.holds(), []core.Hold{})
			f.balanced(50)
		})
	}
	t.Run("replicas that drain at once keep to the rate together", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		f.ok(f.Store.BeginHold(t.Context(), f.account, "", true))
		f.acceptMany(f.account, 50)
		f.ok(f.Store.EndHold(t.Context(), f.account, "", 1, true))
		f.Exec(t, `UPDATE holds SET pace = ?`, time.Hour.Microseconds())
		f.goBy(time.Hour)
		var workers sync.WaitGroup
		var total atomic.Int64
		for range 8 {
			workers.Go(func() {
				claim, err := f.Store.Claim(t.Context(), core.ClaimAsk{Free: 10})
				if err != nil {
					t.Error(err)
				}
				total.Add(int64(len(claim.Deliveries)))
			})
		}
		workers.Wait()
		same(t, total.Load(), int64(1))
	})
	t.Run("a release can be taken back", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		f.ok(f.Store.BeginHold(t.Context(), f.account, "", true))
		f.acceptMany(f.account, 10)
		f.ok(f.Store.EndHold(t.Context(), f.account, "", 2, true))
		f.ok(f.Store.BeginHold(t.Context(), f.account, "", true))
		f.goBy(time.Hour)
		same(t, len(f.claim(64).Deliveries), 0)
		same(t, f.holds(), []core.Hold{{Account: f.account, Firm: true, Waiting: 10}})
	})
	t.Run("what goes to a held provider is parked, and goes out at the rate of its release", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		provider := f.newProvider("", "relay")
		same(t, f.found("", "relay").Held, false)
		f.is(f.Store.BeginHold(t.Context(), "", "other", true), core.ErrNotFound)
		f.ok(f.Store.BeginHold(t.Context(), "", "relay", true))
		same(t, f.found("", "relay").Held, true)
		var want []core.DeliveryID
		for range 3 {
			want = append(want, f.parked(provider).ID)
		}
		same(t, len(f.claim(64).Deliveries), 0)
		same(t, f.reap(), 0)
		same(t, len(f.claim(64).Deliveries), 0)
		same(t, f.holds(), []core.Hold{{Provider: "relay", Firm: true, Waiting: 3}})

		f.ok(f.Store.EndHold(t.Context(), "", "relay", 1, true))
		same(t, f.found("", "relay").Held, false)
		f.Exec(t, `UPDATE holds SET pace = ?`, time.Hour.Microseconds())
		same(t, len(f.claim(64).Deliveries), 0)
		var came []core.DeliveryID
		for range 3 {
			f.goBy(time.Hour)
			delivery := f.claimOne()
			same(t, delivery.Attempt, 1) // it was not tried
			came = append(came, delivery.ID)
		}
		same(t, came, want)
		f.goBy(time.Hour)
		f.claim(64)
		same(t, f.holds(), []core.Hold{})
	})
	t.Run("an operator's hold is not another's to release, and stays the operator's", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		f.ok(f.Store.BeginHold(t.Context(), f.account, "", false))
		f.ok(f.Store.EndHold(t.Context(), f.account, "", 0, false)) // one's own is
		f.ok(f.Store.BeginHold(t.Context(), f.account, "", true))
		f.ok(f.Store.BeginHold(t.Context(), f.account, "", false))
		f.is(f.Store.EndHold(t.Context(), f.account, "", 0, false), core.ErrFirmHold)
		f.is(f.Store.EndHold(t.Context(), f.account, "", 5, false), core.ErrFirmHold)
		same(t, f.holds(), []core.Hold{{Account: f.account, Firm: true}})
		f.ok(f.Store.EndHold(t.Context(), f.account, "", 0, true))
		same(t, f.holds(), []core.Hold{})
	})
	t.Run("holds are listed by whose they are", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		other := f.newAccount()
		f.newProvider("", "relay")
		f.newProvider(f.account, "own")
		f.ok(f.Store.BeginHold(t.Context(), "", "", true))
		f.ok(f.Store.BeginHold(t.Context(), "", "relay", true))
		f.ok(f.Store.BeginHold(t.Context(), f.account, "", false))
		f.ok(f.Store.BeginHold(t.Context(), f.account, "own", false))
		for owner, want := range map[tenants.AccountID][]string{"": {"", "relay"}, f.account: {"", "own"}, other: nil} {
			holds, err := f.Store.Holds(t.Context(), owner)
			f.ok(err)
			var got []string
			for _, hold := range holds {
				same(t, hold.Account, owner)
				got = append(got, hold.Provider)
			}
			same(t, got, want)
		}
		same(t, len(f.holds()), 4)
	})
	t.Run("what was parked for a provider that is gone, or held no more, goes on", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		gone, free := f.newProvider(f.account, "gone"), f.newProvider("", "free")
		f.ok(f.Store.BeginHold(t.Context(), f.account, "gone", true))
		f.parked(gone)
		f.parked(free)
		f.ok(f.Store.DeleteProvider(t.Context(), f.account, "gone"))
		f.reap()
		same(t, len(f.claim(64).Deliveries), 2)
		same(t, f.holds(), []core.Hold{})
	})
}

func (f *fixture) found(owner tenants.AccountID, name string) core.Provider {
	f.t.Helper()
	provider, err := f.Store.Provider(f.t.Context(), owner, name)
	f.ok(err)
	return provider
}
