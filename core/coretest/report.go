package coretest

import (
	"crypto/sha256"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// accepted brings a request to its mail, which a provider has taken.
func (f *fixture) accepted(user core.User, provider, messageID string) core.Request {
	f.t.Helper()
	request, _, mail := f.mailed(user)
	f.ok(f.settle(mail, core.Settlement{
		State: core.DeliveryDone, MessageID: messageID, Attempt: &core.Attempt{Provider: provider, Outcome: "accepted"},
	}))
	return request
}

// told is a report of provider p as core makes it; the same name is the same event.
func told(messageID, name string, state core.DeliveryState) core.Report {
	key := sha256.Sum256([]byte(name))
	report := core.Report{
		ProviderEvent: core.ProviderEvent{
			Provider: "p", Kind: string(state), Detail: "it's what was told?", At: time.Date(2030, 1, 2, 3, 4, 5, 678000, time.UTC),
		},
		MessageID: messageID, Key: key[:], State: state,
	}
	if state == core.DeliveryBounced || state == core.DeliveryComplained {
		report.Suppression = core.Suppression{ID: core.SuppressionID(NewID()), Reason: core.SuppressionReason(state), Provider: "p"}
		report.Event = core.Event{ID: core.EventID(NewID()), Name: core.EventName("delivery." + state), Facts: json.RawMessage(`{"provider":"p"}`)}
	}
	return report
}

func (f *fixture) report(report core.Report) bool {
	f.t.Helper()
	fresh, err := f.Store.Report(f.t.Context(), f.account, report)
	f.ok(err)
	return fresh
}

// mailState is where a request's mail stands.
func (f *fixture) mailState(id core.RequestID) core.DeliveryState {
	f.t.Helper()
	return f.deliveries(id)[1].State
}

// untouched checks that nothing follows from what was tried.
func (f *fixture) untouched(id core.RequestID) {
	f.t.Helper()
	same(f.t, f.mailState(id), core.DeliveryDone)
	for _, table := range []string{"provider_events", "suppressions"} {
		same(f.t, f.Count(f.t, `SELECT count(*) FROM `+table), 0)
	}
	same(f.t, f.Count(f.t, `SELECT count(*) FROM events WHERE name <> 'user.password-reset'`), 0)
}

func exerciseReports(t *testing.T, open Open) {
	t.Run("a bounce moves the mail, suppresses the address, tells the account and stands in the timeline", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user := f.newUser(f.account)
		request := f.accepted(user, "p", "m-1")
		report := told("m-1", "bounce", core.DeliveryBounced)
		same(t, f.report(report), true)

		mail := f.deliveries(request.ID)[1]
		same(t, mail.State, core.DeliveryBounced)
		same(t, mail.Reports, []core.ProviderEventRecord{{ProviderEvent: report.ProviderEvent}}, cmpopts.IgnoreFields(core.ProviderEventRecord{}, "Recorded"))
		recent(t, "recorded", mail.Reports[0].Recorded)
		suppressed, err := f.Store.Suppression(t.Context(), f.account, report.Suppression.ID)
		f.ok(err)
		recent(t, "suppressed", suppressed.Created)
		same(t, suppressed, core.Suppression{
			ID: report.Suppression.ID, Account: f.account, AddressDigest: request.AddressDigest, Reason: core.SuppressionBounced,
			Provider: "p", User: user.ID, Address: user.Address, Created: suppressed.Created,
		})
		same(t, f.Count(t, `SELECT count(*) FROM events WHERE id = ? AND account_id = ? AND user_id = ? AND request_id = ? AND name = 'delivery.bounced'`,
			string(report.Event.ID), string(f.account), string(user.ID), string(request.ID)), 1)
		f.stands(request.ID, core.StateSent, "")
		f.balanced(1)
	})
	t.Run("told again it changes nothing, told another way it is recorded and tells nobody twice", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		request := f.accepted(f.newUser(f.account), "p", "m-1")
		same(t, f.report(told("m-1", "one", core.DeliveryBounced)), true)
		same(t, f.report(told("m-1", "one", core.DeliveryBounced)), false)
		same(t, f.report(told("m-1", "one", core.DeliveryComplained)), false)
		same(t, f.mailState(request.ID), core.DeliveryBounced)
		same(t, f.report(told("m-1", "two", core.DeliveryBounced)), true)
		same(t, len(f.deliveries(request.ID)[1].Reports), 2)
		same(t, f.Count(t, `SELECT count(*) FROM suppressions`), 1)
		same(t, f.Count(t, `SELECT count(*) FROM events WHERE name = 'delivery.bounced'`), 1)
	})
	t.Run("of several reports the gravest stands, in whatever order they come", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user := f.newUser(f.account)
		ranks := []core.DeliveryState{core.DeliveryDelivered, core.DeliveryBounced, core.DeliveryComplained}
		for i, orders := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 0}, {0, 2, 1}, {1, 2}, {0}} {
			message := NewID()
			request := f.accepted(user, "p", message)
			f.Exec(t, `DELETE FROM suppressions`)
			want := core.DeliveryDone
			gravest := -1
			for _, rank := range orders {
				same(t, f.report(told(message, NewID(), ranks[rank])), true)
				if rank > gravest {
					gravest, want = rank, ranks[rank]
				}
				if got := f.mailState(request.ID); got != want {
					t.Fatalf("order %d: %s, want %s", i, got, want)
				}
			}
			same(t, len(f.deliveries(request.ID)[1].Reports), len(orders))
			f.stands(request.ID, core.StateSent, "")
		}
		f.balanced(6)
	})
	t.Run("one that moves nothing is recorded all the same", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		request := f.accepted(f.newUser(f.account), "p", "m-1")
		report := told("m-1", "later", "")
		report.Kind, report.At, report.Detail = "deferred", time.Time{}, ""
		same(t, f.report(report), true)
		same(t, f.mailState(request.ID), core.DeliveryDone)
		same(t, f.deliveries(request.ID)[1].Reports[0].ProviderEvent, core.ProviderEvent{Provider: "p", Kind: "deferred"})
		same(t, f.Count(t, `SELECT count(*) FROM suppressions`), 0)
	})
	t.Run("a mail that goes on to another provider goes on, whatever the first reports", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		request, _, mail := f.mailed(f.newUser(f.account))
		f.ok(f.settle(mail, core.Settlement{
			State: core.DeliveryQueued, Provider: "q", MessageID: "m-1", Attempt: &core.Attempt{Provider: "p", Outcome: "unknown"},
		}))
		same(t, f.report(told("m-1", "late", core.DeliveryDelivered)), true)
		same(t, f.mailState(request.ID), core.DeliveryQueued)
		f.ok(f.settle(f.claimOne(), core.Settlement{State: core.DeliveryDone, MessageID: "m-2", Attempt: &core.Attempt{Provider: "q"}}))
		report := told("m-2", "then", core.DeliveryDelivered)
		report.Provider = "q"
		same(t, f.report(report), true)
		same(t, f.mailState(request.ID), core.DeliveryDelivered)
	})
	t.Run("another account's, another provider's and nobody's message is not found", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		request := f.accepted(f.newUser(f.account), "p", "m-1")
		other := f.newAccount()
		stranger := told("m-1", "x", core.DeliveryBounced)
		stranger.Provider = "q"
		for name, c := range map[string]struct {
			account tenants.AccountID
			report  core.Report
		}{
			"another account":  {other, told("m-1", "x", core.DeliveryBounced)},
			"no account":       {"", told("m-1", "x", core.DeliveryBounced)},
			"another provider": {f.account, stranger},
			"another message":  {f.account, told("M-1", "x", core.DeliveryBounced)},
			"no message":       {f.account, told("", "x", core.DeliveryBounced)},
		} {
			if fresh, err := f.Store.Report(t.Context(), c.account, c.report); fresh {
				t.Errorf("%s: recorded", name)
			} else {
				f.is(err, core.ErrNotFound)
			}
		}
		f.untouched(request.ID)
		same(t, f.report(told("m-1", "x", core.DeliveryBounced)), true) // positive control
	})
	t.Run("a notice is reported of too", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user := f.newUser(f.account)
		request := f.accepted(user, "p", "m-1")
		_, err := f.Store.Redeem(t.Context(), f.account, redemption(request.ID, user))
		f.ok(err)
		f.ok(f.settle(f.claimOne(), core.Settlement{State: core.DeliveryDone, MessageID: "m-2", Attempt: &core.Attempt{Provider: "p"}}))
		same(t, f.report(told("m-2", "x", core.DeliveryComplained)), true)
		same(t, f.deliveries(request.ID)[2].State, core.DeliveryComplained)
		f.stands(request.ID, core.StateRedeemed, "")
		f.balanced(1)
	})
	t.Run("reports go with their request, the suppression stays", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		request := f.accepted(f.newUser(f.account), "p", "m-1")
		f.report(told("m-1", "x", core.DeliveryBounced))
		f.age(request.ID, 2*kept)
		same(t, f.retain(10), 1)
		same(t, f.Count(t, `SELECT count(*) FROM provider_events`), 0)
		same(t, f.Count(t, `SELECT count(*) FROM suppressions`), 1)
		_, err := f.Store.Report(t.Context(), f.account, told("m-1", "x", core.DeliveryBounced))
		f.is(err, core.ErrNotFound)
	})
	t.Run("the account of a message of the platform's is found, unless it has such a provider itself", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		f.accepted(f.newUser(f.account), "p", "m-1")
		account, err := f.Store.AccountOfMessage(t.Context(), "p", "m-1")
		f.ok(err)
		same(t, account, f.account)
		for _, none := range [][2]string{{"q", "m-1"}, {"p", "m-2"}, {"p", ""}} {
			_, err := f.Store.AccountOfMessage(t.Context(), none[0], none[1])
			f.is(err, core.ErrNotFound)
		}
		own := core.Provider{ID: core.ProviderID(NewID()), Name: "p", Plugin: "x"}
		f.ok(f.Store.CreateProvider(t.Context(), f.newAccount(), own))
		_, err = f.Store.AccountOfMessage(t.Context(), "p", "m-1")
		f.ok(err) // another's provider of that name is no matter
		own.ID = core.ProviderID(NewID())
		f.ok(f.Store.CreateProvider(t.Context(), f.account, own))
		_, err = f.Store.AccountOfMessage(t.Context(), "p", "m-1")
		f.is(err, core.ErrNotFound)
	})
}
