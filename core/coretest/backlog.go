package coretest

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/passmend/passmend/core"
)

func exerciseBacklog(t *testing.T, open Open) {
	t.Run("what has not ended is counted by account, kind and how it waits", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		f.accept(f.account)
		held := f.claimOne()
		f.accept(f.account)
		later := f.claimOne()
		f.ok(f.settle(later, core.Settlement{State: core.DeliveryQueued, Delay: time.Hour}))
		_, _, mail := f.mailed(f.newUser(f.account))
		f.ok(f.settle(mail, core.Settlement{State: core.DeliveryDone}))
		for range 3 {
			f.accept(f.account)
		}
		other := f.newAccount()
		f.accept(other)
		f.Exec(t, `UPDATE deliveries SET run_at = run_at - ? WHERE ready = TRUE`, time.Minute.Microseconds())
		backlog, err := f.Store.Backlog(t.Context())
		f.ok(err)
		want := []core.Backlog{
			{Account: f.account, Kind: core.KindResolve, State: core.BacklogLater, Deliveries: 1},
			{Account: f.account, Kind: core.KindResolve, State: core.BacklogLeased, Deliveries: 1},
			{Account: f.account, Kind: core.KindResolve, State: core.BacklogReady, Deliveries: 3},
			{Account: other, Kind: core.KindResolve, State: core.BacklogReady, Deliveries: 1},
		}
		order := func(a, b core.Backlog) int {
			return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.State, b.State))
		}
		slices.SortFunc(backlog, order)
		slices.SortFunc(want, order)
		same(t, backlog, want, cmpopts.IgnoreFields(core.Backlog{}, "Oldest"))
		for _, row := range backlog {
			if ready := row.State == core.BacklogReady; ready != (row.Oldest >= time.Minute) || row.Oldest > 2*time.Minute {
				t.Errorf("the oldest that is %s has been ready for %s", row.State, row.Oldest)
			}
		}
		f.ok(f.Store.Release(t.Context(), []core.Lease{held.LeaseOf()}))
	})
	t.Run("endpoints are counted by how they do", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		counts, err := f.Store.EndpointCounts(t.Context())
		f.ok(err)
		same(t, counts, map[string]int64{})
	})
}
