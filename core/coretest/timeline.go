package coretest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/plugins/sdk"
)

func (f *fixture) requests(query core.RequestQuery) (ids []core.RequestID) {
	f.t.Helper()
	listed, err := f.Store.Requests(f.t.Context(), f.account, query)
	f.ok(err)
	for _, request := range listed {
		same(f.t, request, f.request(request.ID))
		ids = append(ids, request.ID)
	}
	return ids
}

func (f *fixture) deliveries(id core.RequestID) []core.DeliveryRecord {
	f.t.Helper()
	records, err := f.Store.Deliveries(f.t.Context(), f.account, id)
	f.ok(err)
	return records
}

func exerciseTimelines(t *testing.T, open Open) {
	t.Run("requests are listed newest first, on from the one named, whole", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		same(t, len(f.requests(core.RequestQuery{Limit: 10})), 0)
		first, _ := f.resolved(f.newUser(f.account), nil)
		second, third := f.accept(f.account).ID, f.accept(f.account).ID
		same(t, f.requests(core.RequestQuery{Limit: 10}), []core.RequestID{third, second, first.ID})
		same(t, f.requests(core.RequestQuery{Limit: 2}), []core.RequestID{third, second})
		same(t, f.requests(core.RequestQuery{Limit: 10, Before: second}), []core.RequestID{first.ID})
		same(t, len(f.requests(core.RequestQuery{Limit: 10, Before: first.ID})), 0)
	})
	t.Run("a list holds one to a hundred", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		f.acceptMany(f.account, 101)
		for limit, want := range map[int]int{-1: 1, 0: 1, 1: 1, 99: 99, 100: 100, 101: 100} {
			listed, err := f.Store.Requests(t.Context(), f.account, core.RequestQuery{Limit: limit})
			f.ok(err)
			same(t, len(listed), want)
		}
	})
	t.Run("those for an address are found by its digest, in their account only", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		first := f.accept(f.account)
		f.accept(f.account)
		again := newRequest()
		again.AddressDigest = first.AddressDigest
		f.ok(f.Store.Accept(t.Context(), f.account, again))
		query := core.RequestQuery{AddressDigest: first.AddressDigest, Limit: 10}
		same(t, f.requests(query), []core.RequestID{again.ID, first.ID})
		query.Before = again.ID
		same(t, f.requests(query), []core.RequestID{first.ID})
		same(t, len(f.requests(core.RequestQuery{AddressDigest: make([]byte, 32), Limit: 10})), 0)
		f.account = f.newAccount()
		query.Before = ""
		same(t, len(f.requests(query)), 0)
		same(t, len(f.requests(core.RequestQuery{Limit: 10})), 0)
	})
	t.Run("what was done for a request is told in order, with every attempt", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user := f.newUser(f.account)
		f.mailed(f.newUser(f.account)) // another request's stay out of it
		request, _, mail := f.mailed(user)
		busy := core.Attempt{Provider: "first", Outcome: string(sdk.Temporary), Detail: "it's busy?", Duration: 20 * time.Millisecond}
		taken := core.Attempt{Provider: "second", Outcome: string(sdk.Accepted), Duration: time.Second}
		f.ok(f.settle(mail, core.Settlement{State: core.DeliveryQueued, Provider: "second", Attempt: &busy}))
		f.ok(f.settle(f.claimOne(), core.Settlement{State: core.DeliveryDone, MessageID: "m-1", Attempt: &taken}))
		r := redemption(request.ID, user)
		_, err := f.Store.Redeem(t.Context(), f.account, r)
		f.ok(err)
		held := f.claimOne()

		got := f.deliveries(request.ID)
		delivery := func(id core.DeliveryID, kind core.Kind, user core.UserID, attempt int) core.Delivery {
			return core.Delivery{
				ID: id, Account: f.account, Request: request.ID, Kind: kind, User: user, Attempt: attempt, TraceParent: request.TraceParent,
			}
		}
		want := []core.DeliveryRecord{
			{Delivery: delivery(got[0].ID, core.KindResolve, "", 1), State: core.DeliveryDone},
			{
				Delivery: delivery(mail.ID, core.KindMail, user.ID, 2), State: core.DeliveryDone, MessageID: "m-1",
				Attempts: []core.AttemptRecord{{Attempt: busy, Number: 1}, {Attempt: taken, Number: 2}},
			},
			{Delivery: delivery(held.ID, core.KindNotice, user.ID, 1), State: core.DeliveryQueued},
		}
		want[1].Provider = "second"
		same(t, got, want, cmpopts.IgnoreTypes(time.Time{}))
		for i, record := range got {
			recent(t, "queued", record.Queued)
			recent(t, "due", record.RunAt)
			if ended := !record.Ended.IsZero(); ended != (i < 2) {
				t.Errorf("delivery %d has ended: %t", i, ended)
			}
			for _, attempt := range record.Attempts {
				recent(t, "attempt's end", attempt.Ended)
			}
		}
		if !got[1].NotAfter.Equal(mail.NotAfter) {
			t.Errorf("not after %s, want %s", got[1].NotAfter, mail.NotAfter)
		}
	})
	t.Run("a failed delivery tells why", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		request, _, mail := f.mailed(f.newUser(f.account))
		f.ok(f.settle(mail, core.Settlement{State: core.DeliveryFailed, Reason: core.ReasonRecipientRefused}))
		got := f.deliveries(request.ID)[1]
		same(t, got.State, core.DeliveryFailed)
		same(t, got.Reason, core.ReasonRecipientRefused)
	})
	t.Run("a request that does not exist, or is another account's, has none", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		request := f.accept(f.account)
		same(t, len(f.deliveries(request.ID)), 1)
		same(t, len(f.deliveries(core.RequestID(NewID()))), 0)
		f.account = f.newAccount()
		same(t, len(f.deliveries(request.ID)), 0)
	})
}
