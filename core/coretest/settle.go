package coretest

import (
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/plugins/sdk"
)

func exerciseSettle(t *testing.T, open Open) {
	t.Run("a mail's end is its request's", func(t *testing.T) {
		t.Parallel()
		cases := map[core.DeliveryState]struct {
			state  core.RequestState
			reason core.Reason
		}{
			core.DeliveryDone:        {core.StateSent, ""},
			core.DeliveryFailed:      {core.StateFailed, core.ReasonRecipientRefused},
			core.DeliveryExpired:     {core.StateExpired, ""},
			core.DeliverySuperseded:  {core.StateSuperseded, ""},
			core.DeliveryQuarantined: {core.StateFailed, core.ReasonQuarantined},
		}
		for end, want := range cases {
			t.Run(string(end), func(t *testing.T) {
				t.Parallel()
				f := setup(t, open)
				request, _, mail := f.mailed(f.newUser(f.account))
				settlement := core.Settlement{State: end}
				if end == core.DeliveryFailed {
					settlement.Reason = core.ReasonRecipientRefused
				}
				f.ok(f.settle(mail, settlement))
				f.stands(request.ID, want.state, want.reason)
				same(t, len(f.claim(8).Deliveries), 0)
				f.is(f.settle(mail, settlement), core.ErrLeaseLost)
				f.balanced(1)
			})
		}
	})
	t.Run("an attempt is recorded with its number", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		_, _, mail := f.mailed(f.newUser(f.account))
		attempt := core.Attempt{Provider: "first", Outcome: string(sdk.Temporary), Detail: "it's busy?", Duration: 20 * time.Millisecond}
		f.ok(f.settle(mail, core.Settlement{State: core.DeliveryQueued, Provider: "second", Attempt: &attempt}))
		mail = f.claimOne()
		f.ok(f.settle(mail, core.Settlement{
			State: core.DeliveryDone, MessageID: "m-1",
			Attempt: &core.Attempt{Provider: "second", Outcome: string(sdk.Accepted)},
		}))
		same(t, f.Count(t, `SELECT count(*) FROM attempts WHERE account_id = ? AND delivery_id = ? AND number = 1
			AND provider = 'first' AND outcome = 'temporary' AND detail = ? AND duration = 20000`,
			string(f.account), string(mail.ID), "it's busy?"), 1)
		same(t, f.Count(t, `SELECT count(*) FROM attempts WHERE number = 2 AND provider = 'second' AND outcome = 'accepted'`), 1)
		same(t, f.Count(t, `SELECT count(*) FROM deliveries WHERE message_id = 'm-1' AND state = 'done'`), 1)
	})
	t.Run("a snoozed delivery waits and has its attempt back", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		request, _, mail := f.mailed(f.newUser(f.account))
		f.ok(f.settle(mail, core.Settlement{State: core.DeliveryQueued, Delay: time.Minute, Provider: "first", Snoozed: true}))
		same(t, len(f.claim(8).Deliveries), 0)
		same(t, f.Count(t, `SELECT attempt FROM deliveries WHERE kind = 'mail'`), 0)
		f.Exec(t, `UPDATE deliveries SET run_at = run_at - ?`, time.Minute.Microseconds())
		again := f.claimOne()
		if again.ID != mail.ID || again.Attempt != 1 || again.Lost != 0 || again.Provider != "first" {
			t.Fatalf("unexpected delivery %+v", again)
		}
		same(t, f.Count(t, `SELECT count(*) FROM attempts`), 0)
		f.stands(request.ID, core.StatePending, "")
		f.ok(f.settle(again, core.Settlement{State: core.DeliveryExpired, Snoozed: true})) // what ends is not given back
		same(t, f.Count(t, `SELECT attempt FROM deliveries WHERE kind = 'mail'`), 1)
	})
	t.Run("an event comes with its settlement or not at all", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user := f.newUser(f.account)
		request, _, mail := f.mailed(user)
		failover := func() core.Settlement {
			return core.Settlement{State: core.DeliveryQueued, Provider: "second", Event: &core.Event{
				ID: core.EventID(NewID()), Name: core.EventFailedOver, User: user.ID, Request: request.ID,
				Facts: json.RawMessage(`{"meta":{"from":"first?","to":"second"}}`),
			}}
		}
		first := failover()
		f.ok(f.settle(mail, first))
		same(t, f.Count(t, `SELECT count(*) FROM events WHERE account_id = ? AND id = ? AND name = 'delivery.failed-over'
			AND user_id = ? AND request_id = ? AND facts = ?`, string(f.account), string(first.Event.ID),
			string(user.ID), string(request.ID), string(first.Event.Facts)), 1)
		f.is(f.settle(mail, failover()), core.ErrLeaseLost)
		twice := failover()
		twice.Event.ID = first.Event.ID
		mail = f.claimOne()
		if err := f.settle(mail, twice); err == nil {
			t.Fatal("an event was recorded twice")
		}
		same(t, f.Count(t, `SELECT count(*) FROM events WHERE name = 'delivery.failed-over'`), 1)
		f.ok(f.settle(mail, core.Settlement{State: core.DeliveryDone})) // the lease is still held
	})
	t.Run("nothing tried records no attempt", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		_, _, mail := f.mailed(f.newUser(f.account))
		f.ok(f.settle(mail, core.Settlement{State: core.DeliverySuperseded}))
		same(t, f.Count(t, `SELECT count(*) FROM attempts`), 0)
	})
	t.Run("a delivery queued again without delay is ready at once, its request pending", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		request, _, mail := f.mailed(f.newUser(f.account))
		f.ok(f.settle(mail, core.Settlement{State: core.DeliveryQueued, Provider: "next"}))
		f.stands(request.ID, core.StatePending, "")
		again := f.claimOne()
		if again.ID != mail.ID || again.Provider != "next" || again.Attempt != 2 || !again.NotAfter.Equal(mail.NotAfter) {
			t.Fatalf("unexpected delivery %+v", again)
		}
	})
	t.Run("a resolve delivery that cannot be resolved fails its request", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		request := f.accept(f.account)
		f.ok(f.settle(f.claimOne(), core.Settlement{State: core.DeliveryFailed, Reason: core.ReasonMisconfigured}))
		f.stands(request.ID, core.StateFailed, core.ReasonMisconfigured)
		f.balanced(1)
	})
	t.Run("of settlements at the same time each stands under its own lease", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		_, errs := f.acceptMany(f.account, 80)
		f.ok(errs[0])
		deliveries := f.claim(200).Deliveries
		same(t, len(deliveries), 80)
		results := make([][2]error, len(deliveries))
		var wait sync.WaitGroup
		for i, delivery := range deliveries {
			stale := delivery.LeaseOf()
			stale.ID = core.LeaseID(NewID())
			failed := core.Settlement{State: core.DeliveryFailed, Reason: core.ReasonNoProvider}
			wait.Go(func() { results[i][0] = f.settle(delivery, failed) })
			wait.Go(func() { results[i][1] = f.Store.Settle(t.Context(), f.account, stale, failed) })
		}
		wait.Wait()
		for _, result := range results {
			f.ok(result[0])
			f.is(result[1], core.ErrLeaseLost)
		}
		f.balanced(80)
	})
	t.Run("of two settlements under one lease the first stands", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		_, _, mail := f.mailed(f.newUser(f.account))
		f.ok(OneWins(20, core.ErrLeaseLost, func() error {
			return f.settle(mail, core.Settlement{State: core.DeliveryDone, Attempt: &core.Attempt{Provider: "p"}})
		}))
		same(t, f.Count(t, `SELECT count(*) FROM attempts`), 1)
	})
	t.Run("a redeemed request stays redeemed whatever becomes of its mail", func(t *testing.T) {
		t.Parallel()
		for _, end := range []core.DeliveryState{core.DeliveryDone, core.DeliveryFailed, core.DeliverySuperseded, core.DeliveryExpired} {
			f := setup(t, open)
			user := f.newUser(f.account)
			request, _, mail := f.mailed(user)
			_, err := f.Store.Redeem(t.Context(), f.account, redemption(request.ID, user))
			f.ok(err)
			f.ok(f.settle(mail, core.Settlement{State: end}))
			f.stands(request.ID, core.StateRedeemed, "")
			f.balanced(1)
		}
	})
}
