package coretest

import (
	"errors"
	"testing"
	"time"

	"github.com/passmend/passmend/core"
)

func exerciseLease(t *testing.T, open Open) {
	t.Run("extending gives those that are lost", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		f.accept(f.account)
		held := f.claimOne().LeaseOf()
		gone := core.Lease{Delivery: held.Delivery, ID: core.LeaseID(NewID())}
		f.Exec(t, `UPDATE deliveries SET lease_until = lease_until - ?`, (50 * time.Second).Microseconds())
		lost, err := f.Store.Extend(t.Context(), []core.Lease{held, gone})
		f.ok(err)
		same(t, lost, []core.Lease{gone})
		f.Exec(t, `UPDATE deliveries SET lease_until = lease_until - ?`, (50 * time.Second).Microseconds())
		same(t, f.reap(), 0)
		lost, err = f.Store.Extend(t.Context(), nil)
		f.ok(err)
		same(t, len(lost), 0)
	})
	t.Run("a thousand leases are claimed, extended and released as one is", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		_, errs := f.acceptMany(f.account, 1000)
		f.ok(errors.Join(errs...))
		var leases []core.Lease
		for _, delivery := range f.claim(2000).Deliveries {
			leases = append(leases, delivery.LeaseOf())
		}
		same(t, len(leases), 1000)
		lost, err := f.Store.Extend(t.Context(), leases)
		f.ok(err)
		same(t, len(lost), 0)
		f.ok(f.Store.Release(t.Context(), leases))
		same(t, len(f.claim(2000).Deliveries), 1000)
	})
	t.Run("a released delivery is ready at once and its attempt uncounted", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		f.accept(f.account)
		first := f.claimOne()
		f.ok(f.Store.Release(t.Context(), []core.Lease{first.LeaseOf(), {Delivery: first.ID, ID: core.LeaseID(NewID())}}))
		f.ok(f.Store.Release(t.Context(), nil))
		second := f.claimOne()
		if second.ID != first.ID || second.Attempt != 1 || second.Lost != 0 {
			t.Fatalf("unexpected delivery %+v", second)
		}
		f.ok(f.Store.Release(t.Context(), []core.Lease{first.LeaseOf()}))
		same(t, len(f.claim(8).Deliveries), 0)
	})
	t.Run("a lease that lives is not reaped; one that lapsed is, and counted", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		f.accept(f.account)
		first := f.claimOne()
		same(t, f.reap(), 0)
		f.lapse(first.LeaseOf())
		same(t, f.reap(), 1)
		second := f.claimOne()
		if second.ID != first.ID || second.Attempt != 2 || second.Lost != 1 {
			t.Fatalf("unexpected delivery %+v", second)
		}
	})
	t.Run("the third lapse quarantines the delivery and fails its request", func(t *testing.T) {
		t.Parallel()
		for _, kind := range []core.Kind{core.KindResolve, core.KindMail} {
			t.Run(string(kind), func(t *testing.T) {
				t.Parallel()
				f := setup(t, open)
				var id core.RequestID
				if kind == core.KindMail {
					request, _ := f.resolved(f.newUser(f.account), nil)
					id = request.ID
				} else {
					id = f.accept(f.account).ID
				}
				for n := range 3 {
					f.stands(id, core.StatePending, "")
					delivery := f.claimOne()
					if delivery.Kind != kind || delivery.Lost != n {
						t.Fatalf("unexpected delivery %+v", delivery)
					}
					f.lapse(delivery.LeaseOf())
					same(t, f.reap(), 1)
				}
				f.stands(id, core.StateFailed, core.ReasonQuarantined)
				same(t, len(f.claim(8).Deliveries), 0)
				same(t, f.Count(t, `SELECT count(*) FROM deliveries WHERE state = 'quarantined'`), 1)
				f.balanced(1)
			})
		}
	})
	t.Run("whoever lost the lease can write nothing more", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user := f.newUser(f.account)
		request := f.accept(f.account)
		slow := f.claimOne()
		f.lapse(slow.LeaseOf())
		f.reap()
		f.is(f.resolve(slow, plan(user, request.ID)), core.ErrLeaseLost)
		quick := f.claimOne()
		f.is(f.resolve(slow, plan(user, request.ID)), core.ErrLeaseLost)
		f.is(f.settle(slow, core.Settlement{State: core.DeliveryFailed, Reason: core.ReasonNoProvider}), core.ErrLeaseLost)
		f.stands(request.ID, core.StatePending, "")
		same(t, f.Count(t, `SELECT count(*) FROM events`), 0)
		f.ok(f.resolve(quick, plan(user, request.ID)))
		f.is(f.resolve(quick, plan(user, request.ID)), core.ErrLeaseLost)
	})
	t.Run("a lease that lapsed but was not taken may still settle", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		request, _, mail := f.mailed(f.newUser(f.account))
		f.lapse(mail.LeaseOf())
		f.ok(f.settle(mail, core.Settlement{State: core.DeliveryDone}))
		same(t, f.reap(), 0)
		f.stands(request.ID, core.StateSent, "")
	})
	t.Run("a lease is good in its own account only", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		_, _, mail := f.mailed(f.newUser(f.account))
		err := f.Store.Settle(t.Context(), f.newAccount(), mail.LeaseOf(), core.Settlement{State: core.DeliveryDone})
		f.is(err, core.ErrLeaseLost)
		f.ok(f.settle(mail, core.Settlement{State: core.DeliveryDone}))
	})
}
