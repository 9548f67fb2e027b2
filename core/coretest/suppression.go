package coretest

import (
	"crypto/sha256"
	"sync"
	"testing"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// suppression is what an admin asks for.
func suppression(name string) core.Suppression {
	digest := sha256.Sum256([]byte(name))
	return core.Suppression{ID: core.SuppressionID(NewID()), AddressDigest: digest[:], Reason: core.SuppressionManual}
}

func (f *fixture) suppress(s core.Suppression) (found core.Suppression, fresh bool) {
	f.t.Helper()
	found, fresh, err := f.Store.Suppress(f.t.Context(), f.account, s)
	f.ok(err)
	return found, fresh
}

func (f *fixture) suppressions(query core.SuppressionQuery) (ids []core.SuppressionID) {
	f.t.Helper()
	listed, err := f.Store.Suppressions(f.t.Context(), f.account, query)
	f.ok(err)
	for _, s := range listed {
		one, err := f.Store.Suppression(f.t.Context(), f.account, s.ID)
		f.ok(err)
		same(f.t, s, one)
		ids = append(ids, s.ID)
	}
	return ids
}

func exerciseSuppressions(t *testing.T, open Open) {
	t.Run("an address is on the list once, as it came there", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		want := suppression("ada")
		found, fresh := f.suppress(want)
		recent(t, "created", found.Created)
		want.Account, want.Created = f.account, found.Created
		same(t, found, want)
		same(t, fresh, true)
		again := suppression("ada")
		again.Reason, again.Provider = core.SuppressionBounced, "p"
		found, fresh = f.suppress(again)
		same(t, found, want)
		same(t, fresh, false)
		same(t, f.suppressions(core.SuppressionQuery{Limit: 10}), []core.SuppressionID{want.ID})
	})
	t.Run("it shows the address that its user has now, and outlives the user", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user := f.newUser(f.account)
		s := suppression("ada")
		s.User = user.ID
		found, _ := f.suppress(s)
		same(t, found.Address, user.Address)
		f.Exec(t, `DELETE FROM users`)
		found, err := f.Store.Suppression(t.Context(), f.account, s.ID)
		f.ok(err)
		same(t, found.Address, core.Address{})
		same(t, found.User, user.ID)
	})
	t.Run("it is listed newest first, on from the one named, or by its address", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		first, second, third := suppression("a"), suppression("b"), suppression("c")
		for _, s := range []core.Suppression{first, second, third} {
			f.suppress(s)
		}
		same(t, f.suppressions(core.SuppressionQuery{Limit: 2}), []core.SuppressionID{third.ID, second.ID})
		same(t, f.suppressions(core.SuppressionQuery{Limit: 2, Before: second.ID}), []core.SuppressionID{first.ID})
		same(t, f.suppressions(core.SuppressionQuery{Limit: 2, AddressDigest: second.AddressDigest}), []core.SuppressionID{second.ID})
		same(t, len(f.suppressions(core.SuppressionQuery{Limit: 2, AddressDigest: second.AddressDigest, Before: second.ID})), 0)
		same(t, len(f.suppressions(core.SuppressionQuery{})), 1)
	})
	t.Run("another account's list is another list", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		s := suppression("ada")
		f.suppress(s)
		own := f.account
		f.account = f.newAccount()
		same(t, len(f.suppressions(core.SuppressionQuery{Limit: 10})), 0)
		same(t, len(f.suppressions(core.SuppressionQuery{Limit: 10, AddressDigest: s.AddressDigest})), 0)
		_, err := f.Store.Suppression(t.Context(), f.account, s.ID)
		f.is(err, core.ErrNotFound)
		f.is(f.Store.Unsuppress(t.Context(), f.account, s.ID), core.ErrNotFound)
		_, fresh := f.suppress(suppression("ada"))
		same(t, fresh, true)
		f.account = own
		f.ok(f.Store.Unsuppress(t.Context(), f.account, s.ID))
		f.is(f.Store.Unsuppress(t.Context(), f.account, s.ID), core.ErrNotFound)
		same(t, len(f.suppressions(core.SuppressionQuery{Limit: 10})), 0)
		_, _, err = f.Store.Suppress(t.Context(), tenants.AccountID(NewID()), s)
		f.is(err, tenants.ErrUnknown)
	})
	t.Run("a request for a suppressed address gets its link and its event, and no mail", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user := f.newUser(f.account)
		f.suppress(suppression("ada"))
		toAda := func(p *core.Plan) { p.Address = suppression("ada").AddressDigest }
		leased := func(p *core.Plan) { toAda(p); p.Mail.Lease = core.LeaseID(NewID()) }
		request, p := f.resolved(user, leased)
		f.stands(request.ID, core.StateSuppressed, core.ReasonSuppressed)
		same(t, request.Link, p.Link)
		same(t, request.User, user.ID)
		recent(t, "expiry less life", request.Expires.Add(-life))
		same(t, len(f.claim(8).Deliveries), 0)
		same(t, f.Count(t, `SELECT count(*) FROM events WHERE request_id = ? AND name = 'user.password-reset'`, string(request.ID)), 1)
		f.balanced(1)

		repeat, _ := f.resolved(user, func(p *core.Plan) { toAda(p); p.Coalesce = time.Minute })
		f.stands(repeat.ID, core.StateSuppressed, core.ReasonSuppressed)
		same(t, repeat.LinkRequest, request.ID)

		r := redemption(request.ID, user)
		f.Exec(t, `UPDATE requests SET address_digest = ? WHERE id = ?`, suppression("ada").AddressDigest, string(request.ID))
		_, err := f.Store.Redeem(t.Context(), f.account, r)
		f.ok(err)
		f.stands(request.ID, core.StateRedeemed, "")
		same(t, len(f.claim(8).Deliveries), 0) // no notice
		f.balanced(2)
	})
	t.Run("without mail the list is not asked", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		f.suppress(suppression("ada"))
		request, _ := f.resolved(f.newUser(f.account), func(p *core.Plan) { p.Address, p.Mail = suppression("ada").AddressDigest, nil })
		f.stands(request.ID, core.StateSent, "")
	})
	t.Run("another address, another account and what is off the list again are mailed", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		s := suppression("ada")
		f.suppress(s)
		own := f.account
		mailed := func(name string) {
			t.Helper()
			request, _ := f.resolved(f.newUser(f.account), func(p *core.Plan) { p.Address = suppression(name).AddressDigest })
			f.stands(request.ID, core.StatePending, "")
			f.claimOne()
		}
		mailed("bob")
		f.account = f.newAccount()
		mailed("ada")
		f.account = own
		f.ok(f.Store.Unsuppress(t.Context(), f.account, s.ID))
		mailed("ada")
	})
	t.Run("a changed credential supersedes a suppressed request, and a budget comes before it", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		f.suppress(suppression("ada"))
		user := f.newUser(f.account)
		request, _ := f.resolved(user, func(p *core.Plan) {
			p.Address = suppression("ada").AddressDigest
			p.Link.CredentialVersion--
		})
		f.stands(request.ID, core.StateSuperseded, "")
		once := budget(core.ReasonRecipientLimit, core.Rate{Count: 1, Per: time.Hour})
		for _, want := range []core.Reason{core.ReasonSuppressed, core.ReasonRecipientLimit} {
			request, _ := f.resolved(user, func(p *core.Plan) {
				p.Address = suppression("ada").AddressDigest
				p.Budgets = []core.Budget{once}
			})
			f.stands(request.ID, core.StateSuppressed, want)
		}
		f.balanced(3)
	})
	t.Run("of plans that share a commit each is judged by its own address", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		f.suppress(suppression("ada"))
		f.acceptMany(f.account, 6)
		var all sync.WaitGroup
		want := map[core.RequestID]core.RequestState{}
		for i, delivery := range f.claim(64).Deliveries {
			p := plan(f.newUser(f.account), delivery.Request)
			p.Address, want[delivery.Request] = suppression("bob").AddressDigest, core.StatePending
			if i%2 == 0 {
				p.Address, want[delivery.Request] = suppression("ada").AddressDigest, core.StateSuppressed
			}
			all.Go(func() {
				if _, err := f.Store.Resolve(t.Context(), f.account, delivery.LeaseOf(), p); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		same(t, len(want), 6)
		for id, state := range want {
			same(t, f.request(id).State, state)
		}
	})
}
