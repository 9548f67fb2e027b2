package coretest

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// events lists webhook events, the oldest first, and sees to it that each is what it
// is alone.
func (f *fixture) events(names ...core.EventName) (events []core.WebhookEvent) {
	f.t.Helper()
	events, err := f.Store.WebhookEvents(f.t.Context(), f.account, core.WebhookEventQuery{Names: names, Limit: 100})
	f.ok(err)
	for _, event := range events {
		one, err := f.Store.WebhookEvent(f.t.Context(), f.account, event.ID)
		f.ok(err)
		same(f.t, event, one)
	}
	return events
}

// toldNames are the names of events, in order.
func toldNames(events []core.WebhookEvent) (names []core.EventName) {
	for _, event := range events {
		names = append(names, event.Event.Name)
	}
	return names
}

// tell raises an event about nobody in particular.
func (f *fixture) tell(name core.EventName) core.Event {
	f.t.Helper()
	event := core.Event{ID: core.EventID(NewID()), Name: name, Facts: json.RawMessage(`{"data":{"a":1}}`)}
	id := NewID()
	_, err := f.Store.CreateUser(f.t.Context(), f.account, core.User{
		ID: core.UserID(id), Address: address(f.t, id+"@example.com"), Role: core.RoleUser,
	}, event)
	f.ok(err)
	return event
}

func exerciseWebhookEvents(t *testing.T, open Open) {
	t.Run("an event waits for each endpoint that wants it, and for no other", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		all, one := f.newEndpoint(), f.newEndpoint(core.EventUserBanned, core.EventUserCreated)
		f.newEndpoint(core.EventUserBanned)
		disabled := f.newEndpoint()
		f.Exec(t, `UPDATE webhook_endpoints SET disabled_at = 1 WHERE id = ?`, string(disabled.ID))
		own := f.account
		f.account = f.newAccount()
		f.newEndpoint()
		f.account = own
		event := f.tell(core.EventUserCreated)
		found := f.events()
		same(t, len(found), 2)
		endpoints := map[core.EndpointID]bool{}
		for _, e := range found {
			recent(t, "created", e.Created)
			endpoints[e.Endpoint] = true
			same(t, e, core.WebhookEvent{
				ID: e.ID, Account: f.account, Event: event, Endpoint: e.Endpoint, URL: all.URL, APIVersion: "1.3",
				State: core.DeliveryQueued, Created: e.Created, Updated: e.Created,
			})
		}
		same(t, endpoints, map[core.EndpointID]bool{all.ID: true, one.ID: true})
		claimed := f.claim(8).Deliveries
		same(t, len(claimed), 2)
		for _, d := range claimed {
			same(t, d.Kind, core.KindWebhook)
			same(t, d.Event, event.ID)
			same(t, endpoints[d.Endpoint], true)
			recent(t, "its end, less its life", d.NotAfter.Add(-core.WebhookLife))
		}
	})
	t.Run("a name that is part of another's is not the other", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		f.newEndpoint(core.EventPasswordDisputed)
		f.tell(core.EventPasswordReset)
		same(t, len(f.events()), 0)
		f.tell(core.EventPasswordDisputed)
		same(t, len(f.events()), 1)
	})
	t.Run("whatever records an event tells of it, in the same commit", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		f.newEndpoint()
		user := f.newUser(f.account)
		name := "Ada"
		_, err := f.Store.UpdateUser(t.Context(), f.account, user.ID, core.UserChange{FirstName: &name, Events: []core.Event{newEvent(core.EventUserUpdated, user.ID)}})
		f.ok(err)
		token := f.newToken(user.ID, "d", tokenEvent(core.EventTokenGenerated))
		_, err = f.Store.RegenerateAPIToken(t.Context(), f.account, token.ID, []byte("e"), time.Hour, tokenEvent(core.EventTokenRegenerated))
		f.ok(err)
		f.ok(f.Store.DeleteAPIToken(t.Context(), f.account, token.ID, tokenEvent(core.EventTokenRevoked)))
		f.Exec(t, `UPDATE deliveries SET run_at = run_at + 3600000000, ready = FALSE WHERE kind = 'webhook'`)

		request, _ := f.resolved(user, nil)
		mail := core.Delivery{}
		for _, d := range f.claim(8).Deliveries {
			if d.Kind == core.KindMail {
				mail = d
			}
		}
		over := newEvent(core.EventFailedOver, user.ID)
		f.ok(f.settle(mail, core.Settlement{State: core.DeliveryDone, MessageID: "m", Attempt: &core.Attempt{Provider: "p", Outcome: "accepted"}, Event: &over}))
		same(t, f.report(told("m", "1", core.DeliveryBounced)), true)
		_, err = f.Store.Redeem(t.Context(), f.account, redemption(request.ID, user))
		f.ok(err)
		f.ok(f.Store.DeleteUser(t.Context(), f.account, user.ID, func(core.User) (core.Event, error) { return newEvent(core.EventUserDeleted, user.ID), nil }))
		same(t, toldNames(f.events()), []core.EventName{
			core.EventUserUpdated, core.EventTokenGenerated, core.EventTokenRegenerated, core.EventTokenRevoked,
			core.EventPasswordReset, core.EventFailedOver, core.EventBounced, core.EventPasswordChanged, core.EventUserDeleted,
		})
		users, err := f.Store.UsersByID(t.Context(), f.account, []core.UserID{user.ID})
		f.ok(err)
		same(t, len(users), 0)
	})
	t.Run("an event with a token ends with its link", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		f.newEndpoint()
		request, _ := f.resolved(f.newUser(f.account), func(p *core.Plan) { p.Mail = nil })
		delivery := f.claimOne()
		same(t, delivery.Kind, core.KindWebhook)
		same(t, delivery.NotAfter, request.Expires)
		same(t, delivery.Request, request.ID)
		same(t, request.State, core.StateSent)
	})
	t.Run("they are listed from either end, by name, on from one and past some", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		f.newEndpoint()
		for _, name := range []core.EventName{core.EventUserCreated, core.EventUserBanned, core.EventUserCreated, core.EventUserDeleted} {
			f.tell(name)
			time.Sleep(2 * time.Millisecond) // ids are in the order of milliseconds
		}
		all := f.events()
		a, b, c, d := all[0], all[1], all[2], all[3]
		for name, l := range map[string]struct {
			query core.WebhookEventQuery
			want  []core.WebhookEvent
		}{
			"newest":    {core.WebhookEventQuery{Newest: true, Limit: 2}, []core.WebhookEvent{d, c}},
			"after":     {core.WebhookEventQuery{Newest: true, After: c.ID, Limit: 2}, []core.WebhookEvent{b, a}},
			"oldest":    {core.WebhookEventQuery{After: b.ID, Limit: 9}, []core.WebhookEvent{c, d}},
			"skip":      {core.WebhookEventQuery{Newest: true, Skip: 1, Limit: 2}, []core.WebhookEvent{c, b}},
			"one name":  {core.WebhookEventQuery{Names: []core.EventName{core.EventUserCreated}, Limit: 9}, []core.WebhookEvent{a, c}},
			"two names": {core.WebhookEventQuery{Names: []core.EventName{core.EventUserBanned, core.EventUserDeleted}, Newest: true, Skip: 1, Limit: 9}, []core.WebhookEvent{b}},
			"none":      {core.WebhookEventQuery{Names: []core.EventName{core.EventBounced}, Limit: 9}, []core.WebhookEvent{}},
			"one":       {core.WebhookEventQuery{}, []core.WebhookEvent{a}},
		} {
			listed, err := f.Store.WebhookEvents(t.Context(), f.account, l.query)
			f.ok(err)
			t.Log(name)
			same(t, listed, l.want)
		}
	})
	exerciseWebhookOutcomes(t, open)
	exerciseWebhookAgain(t, open)
}

func exerciseWebhookOutcomes(t *testing.T, open Open) {
	failed := func(id core.EndpointID) core.Settlement {
		return core.Settlement{
			State: core.DeliveryQueued, Delay: -time.Second, Endpoint: &core.EndpointNews{ID: id},
			Attempt: &core.Attempt{Provider: "webhook", Outcome: "temporary", Code: "503", Answer: "no", Detail: "it said no", Duration: time.Second},
		}
	}
	t.Run("attempts stand under it, and the last of them on it", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		endpoint := f.newEndpoint()
		f.tell(core.EventUserCreated)
		delivery := f.claimOne()
		f.ok(f.settle(delivery, failed(endpoint.ID)))
		one := f.events()[0]
		same(t, one.State, core.DeliveryQueued)
		same(t, one.LastCode+one.LastAnswer, "503no")
		same(t, one.Attempts, 1)
		delivery = f.claimOne()
		f.ok(f.settle(delivery, core.Settlement{
			State: core.DeliveryDone, Endpoint: &core.EndpointNews{ID: endpoint.ID, Healthy: true},
			Attempt: &core.Attempt{Provider: "webhook", Outcome: "accepted", Code: "204"},
		}))
		one = f.events()[0]
		same(t, one.State, core.DeliveryDone)
		same(t, one.LastCode+one.LastAnswer, "204")
		same(t, one.Attempts, 2)
		attempts, err := f.Store.WebhookAttempts(t.Context(), f.account, one.ID)
		f.ok(err)
		same(t, len(attempts), 2)
		same(t, attempts[0].Code+attempts[0].Answer+attempts[0].Detail+attempts[1].Code, "503noit said no204")
		same(t, attempts[0].Number+10*attempts[1].Number, 21)
	})
	t.Run("failures in a row are counted from the first, and a success ends the row", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		endpoint := f.newEndpoint()
		f.tell(core.EventUserCreated)
		counts := func(want map[string]int64) {
			t.Helper()
			states, err := f.Store.EndpointCounts(t.Context())
			f.ok(err)
			same(t, states, want)
		}
		counts(map[string]int64{"enabled": 1})
		f.ok(f.settle(f.claimOne(), failed(endpoint.ID)))
		first := f.endpoint(endpoint.ID)
		same(t, first.Failures, 1)
		recent(t, "failing since", first.FailingSince)
		warned := failed(endpoint.ID)
		warned.Endpoint.Warned = 50
		f.ok(f.settle(f.claimOne(), warned))
		f.ok(f.settle(f.claimOne(), failed(endpoint.ID)))
		third := f.endpoint(endpoint.ID)
		same(t, third.Failures*100+third.Warned, 350)
		same(t, third.FailingSince, first.FailingSince)
		counts(map[string]int64{"failing": 1})
		f.ok(f.settle(f.claimOne(), core.Settlement{State: core.DeliveryDone, Endpoint: &core.EndpointNews{ID: endpoint.ID, Healthy: true}}))
		same(t, f.endpoint(endpoint.ID), endpoint)
	})
	t.Run("an endpoint is disabled once, its event tells the others, and enabling forgets", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		endpoint, other := f.newEndpoint(core.EventUserCreated), f.newEndpoint(core.EventEndpointDisabled)
		f.tell(core.EventUserCreated)
		f.tell(core.EventUserCreated)
		for _, delivery := range f.claim(8).Deliveries {
			gone := failed(endpoint.ID)
			gone.State, gone.Reason = core.DeliveryFailed, core.ReasonEndpointGone
			gone.Endpoint.Disable, gone.Endpoint.Event = core.DisabledGone, newEvent(core.EventEndpointDisabled, "")
			f.ok(f.settle(delivery, gone))
		}
		disabled := f.endpoint(endpoint.ID)
		recent(t, "disabled", disabled.Disabled)
		same(t, disabled.DisabledReason, core.DisabledGone)
		told := f.events(core.EventEndpointDisabled)
		same(t, len(told), 1)
		same(t, told[0].Endpoint, other.ID)
		f.tell(core.EventUserCreated)
		same(t, len(f.events(core.EventUserCreated)), 2)
		enabled, err := f.Store.EnableEndpoint(t.Context(), f.account, endpoint.ID)
		f.ok(err)
		endpoint.Updated = enabled.Updated
		same(t, enabled, endpoint)
		f.tell(core.EventUserCreated)
		same(t, len(f.events(core.EventUserCreated)), 3)
	})
}

func exerciseWebhookAgain(t *testing.T, open Open) {
	t.Run("told again it is another about the same, for as long as the endpoint is there", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		endpoint := f.newEndpoint()
		f.tell(core.EventUserCreated)
		first := f.events()[0]
		f.ok(f.settle(f.claimOne(), core.Settlement{State: core.DeliveryDone}))
		again, err := f.Store.RepeatWebhookEvent(t.Context(), f.account, first.ID)
		f.ok(err)
		same(t, again.Event, first.Event)
		same(t, again.IdempotencyToken(), first.IdempotencyToken())
		same(t, again.State, core.DeliveryQueued)
		same(t, len(f.events()), 2)
		delivery := f.claimOne()
		same(t, delivery.ID, again.ID)
		recent(t, "its end, less its life", delivery.NotAfter.Add(-core.WebhookLife))
		f.Exec(t, `UPDATE webhook_endpoints SET disabled_at = 1`)
		_, err = f.Store.RepeatWebhookEvent(t.Context(), f.account, first.ID)
		f.is(err, core.ErrEndpointGone)
		f.ok(f.Store.DeleteEndpoint(t.Context(), f.account, endpoint.ID))
		_, err = f.Store.RepeatWebhookEvent(t.Context(), f.account, first.ID)
		f.is(err, core.ErrEndpointGone)
		same(t, len(f.events()), 2)
	})
	t.Run("a token that is told again ends with its link all the same", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		f.newEndpoint()
		request, _ := f.resolved(f.newUser(f.account), func(p *core.Plan) { p.Mail = nil })
		f.ok(f.settle(f.claimOne(), core.Settlement{State: core.DeliveryDone}))
		_, err := f.Store.RepeatWebhookEvent(t.Context(), f.account, f.events()[0].ID)
		f.ok(err)
		same(t, f.claimOne().NotAfter, request.Expires)
	})
	t.Run("one that is deleted is gone with its attempts, also while it is under way", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		f.newEndpoint()
		f.tell(core.EventUserCreated)
		one := f.events()[0]
		delivery := f.claimOne()
		f.ok(f.Store.DeleteWebhookEvent(t.Context(), f.account, one.ID))
		f.is(f.settle(delivery, core.Settlement{State: core.DeliveryDone, Attempt: &core.Attempt{Outcome: "accepted"}}), core.ErrLeaseLost)
		f.is(f.Store.DeleteWebhookEvent(t.Context(), f.account, one.ID), core.ErrNotFound)
		same(t, f.Count(t, `SELECT count(*) FROM attempts`), 0)
		same(t, len(f.events()), 0)
	})
	t.Run("another account's is not there, nor is what is no webhook's", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		f.newEndpoint(core.EventUserCreated)
		f.tell(core.EventUserCreated)
		theirs, own := f.events()[0], f.account
		f.ok(f.settle(f.claimOne(), core.Settlement{State: core.DeliveryDone}))
		_, _, mail := f.mailed(f.newUser(f.account))
		absent := func(account tenants.AccountID, id core.DeliveryID) {
			t.Helper()
			_, err := f.Store.WebhookEvent(t.Context(), account, id)
			f.is(err, core.ErrNotFound)
			_, err = f.Store.WebhookAttempts(t.Context(), account, id)
			f.is(err, core.ErrNotFound)
			_, err = f.Store.RepeatWebhookEvent(t.Context(), account, id)
			f.is(err, core.ErrNotFound)
			f.is(f.Store.DeleteWebhookEvent(t.Context(), account, id), core.ErrNotFound)
		}
		absent(own, mail.ID)
		f.account = f.newAccount()
		absent(f.account, theirs.ID)
		same(t, len(f.events()), 0)
		f.account = own
		same(t, f.events()[0].ID, theirs.ID)
	})
	t.Run("events that have ended are removed with what was tried", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		f.newEndpoint()
		f.tell(core.EventUserCreated)
		f.ok(f.settle(f.claimOne(), core.Settlement{State: core.DeliveryDone, Attempt: &core.Attempt{Outcome: "accepted"}}))
		f.tell(core.EventUserBanned)
		f.Exec(t, `UPDATE events SET created_at = created_at - ?`, (2 * time.Hour).Microseconds())
		_, err := f.Store.Retain(t.Context(), time.Hour, 100)
		f.ok(err)
		same(t, toldNames(f.events()), []core.EventName{core.EventUserBanned}) // it still waits
		same(t, f.Count(t, `SELECT count(*) FROM attempts`), 0)
	})
}
