package coretest

import (
	"context"
	"sync"
	"testing"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

func exerciseAccept(t *testing.T, open Open) {
	t.Run("an accepted request is pending and reads back whole", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		want := f.accept(f.account)
		got := f.stands(want.ID, core.StatePending, "")
		recent(t, "accepted", got.Accepted)
		want.Account, want.State, want.Accepted = f.account, core.StatePending, got.Accepted
		same(t, got, want)
	})
	t.Run("it comes with one resolve delivery, ready at once", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		request := f.accept(f.account)
		got := f.claimOne()
		recent(t, "claimed", got.Now)
		recent(t, "queued", got.Queued)
		same(t, got, core.Delivery{
			ID: got.ID, Account: f.account, Request: request.ID, Kind: core.KindResolve, Attempt: 1,
			Queued: got.Queued, NotAfter: got.Queued.Add(core.ResolveLife), Now: got.Now, Lease: got.Lease, TraceParent: request.TraceParent,
			Asked: &core.Asked{SealedAddress: request.SealedAddress, AddressDigest: request.AddressDigest, Deliver: request.Deliver},
		})
		if got.ID == "" || got.Lease == "" {
			t.Fatal("delivery or lease has no id")
		}
	})
	t.Run("another account's request is not found", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		request := f.accept(f.account)
		_, err := f.Store.Request(t.Context(), f.newAccount(), request.ID)
		f.is(err, core.ErrNotFound)
		_, err = f.Store.Request(t.Context(), f.account, core.RequestID(NewID()))
		f.is(err, core.ErrNotFound)
	})
	t.Run("a request of no account is refused", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		f.is(f.Store.Accept(t.Context(), tenants.AccountID(NewID()), newRequest()), tenants.ErrUnknown)
		f.balanced(0)
	})
	t.Run("callers at the same time share commits, and what was accepted is there after reopening", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		const callers = 200
		ids, errs := f.acceptMany(f.account, callers)
		for _, err := range errs {
			f.ok(err)
		}
		if commits := f.Commits(); commits > callers/2 {
			t.Errorf("%d commits for %d accepts at the same time", commits, callers)
		}
		f.Store = f.Reopen(t)
		for _, id := range ids {
			f.stands(id, core.StatePending, "")
		}
		f.balanced(callers)
	})
	t.Run("callers one after the other do not", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		for range 5 {
			f.accept(f.account)
		}
		same(t, f.Commits(), 5)
	})
	t.Run("a row that breaks its batch breaks nobody else's", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		twice := f.accept(f.account)
		const callers = 60
		var wrong sync.WaitGroup
		refused := make(chan error, 20)
		for range cap(refused) {
			wrong.Go(func() { refused <- f.Store.Accept(t.Context(), f.account, twice) })
		}
		ids, errs := f.acceptMany(f.account, callers)
		wrong.Wait()
		for _, err := range errs {
			f.ok(err)
		}
		for range cap(refused) {
			if <-refused == nil {
				t.Error("a request was accepted twice")
			}
		}
		for _, id := range ids {
			f.stands(id, core.StatePending, "")
		}
		f.balanced(callers + 1)
	})
	t.Run("a caller whose context has ended stops waiting", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		request := newRequest()
		if err := f.Store.Accept(ctx, f.account, request); err != nil {
			f.is(err, context.Canceled)
		}
		after := f.accept(f.account)
		f.stands(after.ID, core.StatePending, "")
	})
}

// acceptMany accepts requests at the same time.
func (f *fixture) acceptMany(account tenants.AccountID, callers int) ([]core.RequestID, []error) {
	f.t.Helper()
	ids, errs := make([]core.RequestID, callers), make([]error, callers)
	var wait sync.WaitGroup
	for i := range callers {
		wait.Go(func() {
			request := newRequest()
			ids[i], errs[i] = request.ID, f.Store.Accept(f.t.Context(), account, request)
		})
	}
	wait.Wait()
	return ids, errs
}
