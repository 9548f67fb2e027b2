package coretest

import (
	"encoding/json"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/passmend/passmend/core"
)

// disputeOf is what a redemption's link would be disputed by.
func disputeOf(r core.Redemption) core.Dispute {
	return core.Dispute{
		Request: r.Request, User: r.User, CredentialVersion: r.CredentialVersion,
		Event: core.Event{
			ID: core.EventID(NewID()), Name: core.EventPasswordDisputed, User: r.User, Request: r.Request, Facts: json.RawMessage(`{}`),
		},
	}
}

func exerciseDispute(t *testing.T, open Open) {
	t.Run("a disputed link is dead, told and noted, and the user is as before", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		endpoint := f.newEndpoint(core.EventPasswordDisputed)
		user := f.newUser(f.account)
		request, p, mail := f.mailed(user)
		f.ok(f.settle(mail, core.Settlement{State: core.DeliveryDone}))
		f.ok(f.Store.Dispute(t.Context(), f.account, disputeOf(redemption(request.ID, user))))
		after := f.stands(request.ID, core.StateSent, "")
		recent(t, "disputed", after.Disputed)
		same(t, after.Spent.IsZero(), true)
		same(t, after.Link.Seed, core.Seed{})
		_, _, err := f.Store.RequestBySelector(t.Context(), f.account, p.Link.Selector)
		f.is(err, core.ErrNotFound)
		read, err := f.Store.User(t.Context(), f.account, user.ID)
		f.ok(err)
		same(t, read, user)
		same(t, f.claimOne().Endpoint, endpoint.ID)
		log := f.log(f.account)
		same(t, log[len(log)-1], core.AuditEvent{
			Account: f.account, Seq: int64(len(log)), Actor: core.Self(user.ID), Name: core.AuditResetDisputed, Object: core.AuditObject{Type: "users", ID: string(user.ID)},
		})
		_, err = f.Store.Redeem(t.Context(), f.account, redemption(request.ID, user))
		f.is(err, core.ErrUnknownLink)
		f.is(f.Store.Dispute(t.Context(), f.account, disputeOf(redemption(request.ID, user))), core.ErrUnknownLink)
		f.balanced(1)
	})
	t.Run("other links of the user go on, and a repeat gets another", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user := f.newUser(f.account)
		first, _, _ := f.mailed(user)
		second, _, _ := f.mailed(user)
		f.ok(f.Store.Dispute(t.Context(), f.account, disputeOf(redemption(second.ID, user))))
		third, p := f.resolved(user, nil)
		same(t, third.Link, p.Link)
		_, err := f.Store.Redeem(t.Context(), f.account, redemption(first.ID, user))
		f.ok(err)
	})
	t.Run("of a redemption and a dispute at once exactly one wins", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		for range 10 {
			user := f.newUser(f.account)
			request, _, _ := f.mailed(user)
			var turn atomic.Int64
			var redeemed atomic.Bool
			f.ok(OneWins(20, core.ErrUnknownLink, func() error {
				if turn.Add(1)%2 == 0 {
					return f.Store.Dispute(t.Context(), f.account, disputeOf(redemption(request.ID, user)))
				}
				r := redemption(request.ID, user)
				r.Notice = ""
				_, err := f.Store.Redeem(t.Context(), f.account, r)
				redeemed.Store(redeemed.Load() || err == nil)
				return err
			}))
			after, err := f.Store.User(t.Context(), f.account, user.ID)
			if err != nil || (string(after.PasswordHash) == "new") != redeemed.Load() {
				t.Errorf("the password is not the winner's: %v", errors.Join(err))
			}
		}
	})
}
