package coretest

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/passmend/passmend/core"
)

func exerciseResolve(t *testing.T, open Open) {
	t.Run("a user's request gets its link, its mail and its event", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user := f.newUser(f.account)
		request, p := f.resolved(user, nil)
		same(t, request, core.Request{
			ID: request.ID, Account: f.account, State: core.StatePending, SealedAddress: request.SealedAddress,
			AddressDigest: request.AddressDigest, Deliver: true, TraceParent: request.TraceParent,
			User: user.ID, Link: p.Link, Accepted: request.Accepted, Expires: request.Expires,
		})
		recent(t, "expiry less life", request.Expires.Add(-life))
		mail := f.claimOne()
		same(t, mail, core.Delivery{
			ID: p.Mail.ID, Account: f.account, Request: request.ID, User: user.ID, Kind: core.KindMail, Attempt: 1,
			NotAfter: request.Expires.Add(-margin), TraceParent: request.TraceParent,
		}, cmpopts.IgnoreFields(core.Delivery{}, "Queued", "Now", "Lease"))
		same(t, f.Count(t, `SELECT count(*) FROM events WHERE id = ? AND account_id = ? AND user_id = ? AND request_id = ?
			AND name = 'user.password-reset'`, string(p.Event.ID), string(f.account), string(user.ID), string(request.ID)), 1)
		f.balanced(1)
	})
	t.Run("a mail that is leased with its link goes on at once", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user := f.newUser(f.account)
		request := f.accept(f.account)
		p := plan(user, request.ID)
		p.Mail.Lease = core.LeaseID(NewID())
		standing, err := f.Store.Resolve(t.Context(), f.account, f.claimOne().LeaseOf(), p)
		f.ok(err)
		request = f.request(request.ID)
		if standing.Mail == nil {
			t.Fatalf("no mail was leased: %+v", standing)
		}
		mail := *standing.Mail
		same(t, standing, core.Standing{State: core.StatePending, Mail: &mail})
		recent(t, "queued", mail.Queued)
		recent(t, "now", mail.Now)
		same(t, mail, core.Delivery{
			ID: p.Mail.ID, Account: f.account, Request: request.ID, User: user.ID, Kind: core.KindMail, Attempt: 1,
			NotAfter: request.Expires.Add(-margin), Queued: mail.Queued, Now: mail.Now, Lease: p.Mail.Lease,
			TraceParent: request.TraceParent, Known: &core.Known{User: p.Recipient, Link: p.Link, Expires: request.Expires},
		})
		same(t, len(f.claim(8).Deliveries), 0)
		lost, err := f.Store.Extend(t.Context(), []core.Lease{mail.LeaseOf()})
		f.ok(err)
		same(t, len(lost), 0)
		f.ok(f.settle(mail, core.Settlement{State: core.DeliveryDone}))
		f.stands(request.ID, core.StateSent, "")
		f.balanced(1)
	})
	t.Run("a repeat's mail that goes on at once knows the earlier link", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user := f.newUser(f.account)
		first, _, mail := f.mailed(user)
		f.ok(f.settle(mail, core.Settlement{State: core.DeliveryDone}))
		repeat := plan(user, f.accept(f.account).ID)
		repeat.Mail.Lease, repeat.Coalesce = core.LeaseID(NewID()), time.Minute
		standing, err := f.Store.Resolve(t.Context(), f.account, f.claimOne().LeaseOf(), repeat)
		f.ok(err)
		same(t, standing.Repeated, true)
		same(t, standing.Mail.Known, &core.Known{User: user, Link: first.Link, Expires: first.Expires})
	})
	t.Run("a mail that was leased with its link and lost is claimed again", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		p := plan(f.newUser(f.account), f.accept(f.account).ID)
		p.Mail.Lease = core.LeaseID(NewID())
		standing, err := f.Store.Resolve(t.Context(), f.account, f.claimOne().LeaseOf(), p)
		f.ok(err)
		f.lapse(standing.Mail.LeaseOf())
		_, err = f.Store.Reap(t.Context())
		f.ok(err)
		again := f.claimOne()
		same(t, again.ID, p.Mail.ID)
		same(t, []int{again.Attempt, again.Lost}, []int{2, 1})
	})
	t.Run("plans that share a commit count and link as if one came after the other", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		const each = 8
		shared := budget(core.ReasonRecipientLimit, core.Rate{Count: 5, Per: time.Hour})
		users := []core.User{f.newUser(f.account), f.newUser(f.account)}
		for range each * len(users) {
			f.accept(f.account)
		}
		var deliveries []core.Delivery
		for len(deliveries) < each*len(users) {
			claim := f.claim(64)
			if len(claim.Deliveries) == 0 {
				t.Fatalf("only %d deliveries were claimed", len(deliveries))
			}
			deliveries = append(deliveries, claim.Deliveries...)
		}
		var mu sync.Mutex
		states := map[core.RequestState]int{}
		repeated := 0
		var all sync.WaitGroup
		for i, delivery := range deliveries {
			all.Go(func() {
				p := plan(users[i%len(users)], delivery.Request)
				if i%len(users) == 0 {
					p.Budgets = []core.Budget{shared}
				}
				standing, err := f.Store.Resolve(t.Context(), f.account, delivery.LeaseOf(), p)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				}
				states[standing.State]++
				if standing.Repeated {
					repeated++
				}
			})
		}
		all.Wait()
		// The first user has five within the budget, the second all; of each three get
		// a link of their own.
		same(t, states, map[core.RequestState]int{core.StatePending: 5 + each, core.StateSuppressed: each - 5})
		same(t, repeated, 5-3+each-3)
		f.balanced(int64(each * len(users)))
	})
	t.Run("without mail the request is sent once its event is recorded", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		request, p := f.resolved(f.newUser(f.account), func(p *core.Plan) { p.Mail = nil })
		f.stands(request.ID, core.StateSent, "")
		same(t, request.Link, p.Link)
		same(t, len(f.claim(8).Deliveries), 0)
		same(t, f.Count(t, `SELECT count(*) FROM events`), 1)
		f.balanced(1)
	})
	t.Run("a suppressed request ends with its reason, no user, no event", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		request, _ := f.resolved(core.User{}, func(p *core.Plan) {
			*p = core.Plan{Request: p.Request, Suppress: core.ReasonUnknownUser}
		})
		f.stands(request.ID, core.StateSuppressed, core.ReasonUnknownUser)
		same(t, request.User, core.UserID(""))
		same(t, len(f.claim(8).Deliveries), 0)
		same(t, f.Count(t, `SELECT count(*) FROM events`), 0)
		f.balanced(1)
	})
	t.Run("a credential that changed since the plan supersedes the request", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user := f.newUser(f.account)
		user.CredentialVersion--
		request, _ := f.resolved(user, nil)
		f.stands(request.ID, core.StateSuperseded, "")
		same(t, request.Link, core.LinkSeed{})
		same(t, len(f.claim(8).Deliveries), 0)
		f.balanced(1)
	})
	t.Run("a user who is gone, or another account's, is an unknown one", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		request, _ := f.resolved(f.newUser(f.newAccount()), nil)
		f.stands(request.ID, core.StateSuppressed, core.ReasonUnknownUser)
		same(t, f.Count(t, `SELECT count(*) FROM events`), 0)
	})
	t.Run("a plan for another request is refused and changes nothing", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		first := f.accept(f.account)
		delivery := f.claimOne()
		second := f.accept(f.account)
		if err := f.resolve(delivery, plan(f.newUser(f.account), second.ID)); err == nil {
			t.Fatal("no error")
		}
		f.stands(first.ID, core.StatePending, "")
		f.stands(second.ID, core.StatePending, "")
		f.ok(f.resolve(delivery, plan(f.newUser(f.account), first.ID)))
	})
	t.Run("of the links the newest live one is sent again when there are as many as may be", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user := f.newUser(f.account)
		var own []core.Request
		for n := range 3 {
			request, p := f.resolved(user, nil)
			same(t, request.Link, p.Link)
			f.age(request.ID, time.Duration(10-n)*time.Minute)
			f.claimOne()
			own = append(own, f.request(request.ID))
		}
		repeat, _ := f.resolved(user, nil)
		same(t, repeat.LinkRequest, own[2].ID)
		same(t, repeat.Link, core.LinkSeed{})
		same(t, repeat.Expires, own[2].Expires)
		same(t, f.claimOne().NotAfter, own[2].Expires.Add(-margin))
		f.age(own[0].ID, life) // one has expired: there is room again
		fresh, p := f.resolved(user, nil)
		same(t, fresh.Link, p.Link)
		same(t, fresh.LinkRequest, core.RequestID(""))
	})
	t.Run("another user's links do not count", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		for range 4 {
			request, p := f.resolved(f.newUser(f.account), nil)
			same(t, request.Link, p.Link)
			f.claimOne()
		}
	})
	t.Run("a repeat within the coalescing time sends the link again, also when no mail is wanted", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user := f.newUser(f.account)
		coalesce := func(p *core.Plan) { p.Coalesce = 2 * time.Minute }
		first, _ := f.resolved(user, coalesce)
		f.claimOne()
		second, _ := f.resolved(user, coalesce)
		same(t, second.LinkRequest, first.ID)
		f.claimOne()
		third, _ := f.resolved(user, func(p *core.Plan) { coalesce(p); p.Mail = nil })
		same(t, third.LinkRequest, first.ID)
		f.stands(third.ID, core.StateSent, "")
		f.age(first.ID, 3*time.Minute)
		fourth, p := f.resolved(user, coalesce)
		same(t, fourth.Link, p.Link)
		f.balanced(4)
	})
	t.Run("a failed, expired or superseded link is not sent again", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user := f.newUser(f.account)
		for _, state := range []core.DeliveryState{core.DeliveryFailed, core.DeliveryExpired, core.DeliverySuperseded} {
			_, _, mail := f.mailed(user)
			f.ok(f.settle(mail, core.Settlement{State: state}))
			again, p := f.resolved(user, func(p *core.Plan) { p.Coalesce = time.Minute })
			same(t, again.Link, p.Link)
			f.ok(f.settle(f.claimOne(), core.Settlement{State: core.DeliveryFailed}))
		}
	})
}
