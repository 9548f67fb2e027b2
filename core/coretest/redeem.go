package coretest

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

func redemption(request core.RequestID, user core.User) core.Redemption {
	return core.Redemption{
		Request: request, User: user.ID, CredentialVersion: user.CredentialVersion, PasswordHash: []byte("new"),
		Notice: core.DeliveryID(NewID()), NoticeLife: 24 * time.Hour,
		Event: core.Event{
			ID: core.EventID(NewID()), Name: core.EventPasswordChanged, User: user.ID, Request: request,
			Facts: json.RawMessage(`{}`),
		},
	}
}

// OneWins calls do many times at once and wants it to succeed once and to answer
// lost otherwise.
func OneWins(callers int, lost error, do func() error) error {
	var wins, others atomic.Int64
	var wait sync.WaitGroup
	begin := make(chan struct{})
	for range callers {
		wait.Go(func() {
			<-begin
			switch err := do(); {
			case err == nil:
				wins.Add(1)
			case !errors.Is(err, lost):
				others.Add(1)
			}
		})
	}
	close(begin)
	wait.Wait()
	if wins.Load() != 1 || others.Load() != 0 {
		return fmt.Errorf("%d of %d won, %d had another error than %q; want 1 and 0", wins.Load(), callers, others.Load(), lost)
	}
	return nil
}

func exerciseRedeem(t *testing.T, open Open) {
	t.Run("a link is spent, the password set, the notice and the event queued", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user := f.newUser(f.account)
		request, _, mail := f.mailed(user)
		f.ok(f.settle(mail, core.Settlement{State: core.DeliveryDone}))
		r := redemption(request.ID, user)
		after, err := f.Store.Redeem(t.Context(), f.account, r)
		f.ok(err)
		want := user
		want.PasswordHash, want.CredentialVersion, want.Updated = []byte("new"), user.CredentialVersion+1, after.Updated
		same(t, after, want)
		read, err := f.Store.User(t.Context(), f.account, user.ID)
		f.ok(err)
		same(t, read, want)
		spent := f.stands(request.ID, core.StateRedeemed, "")
		recent(t, "spent", spent.Spent)
		same(t, spent.Link.Seed, core.Seed{})
		notice := f.claimOne()
		recent(t, "notice's end less its life", notice.NotAfter.Add(-r.NoticeLife))
		same(t, notice, core.Delivery{
			ID: r.Notice, Account: f.account, Request: request.ID, User: user.ID, Kind: core.KindNotice, Attempt: 1,
			TraceParent: request.TraceParent,
		}, cmpopts.IgnoreFields(core.Delivery{}, "NotAfter", "Queued", "Now", "Lease"))
		same(t, f.Count(t, `SELECT count(*) FROM events WHERE name = 'user.password-changed' AND id = ?`, string(r.Event.ID)), 1)
		f.balanced(1)
	})
	t.Run("without a notice none is queued", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user := f.newUser(f.account)
		request, _ := f.resolved(user, func(p *core.Plan) { p.Mail = nil })
		r := redemption(request.ID, user)
		r.Notice = ""
		_, err := f.Store.Redeem(t.Context(), f.account, r)
		f.ok(err)
		same(t, len(f.claim(8).Deliveries), 0)
	})
	t.Run("the user's API tokens are gone, another's stay", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user, other := f.newUser(f.account), f.newUser(f.account)
		digest := func(u core.User) []byte { sum := sha256.Sum256([]byte(u.ID)); return sum[:] }
		for _, u := range []core.User{user, other} {
			_, err := f.Store.CreateAPIToken(t.Context(), f.account,
				core.APIToken{ID: core.TokenID(NewID()), User: u.ID, Digest: digest(u)})
			f.ok(err)
		}
		request, _ := f.resolved(user, nil)
		_, err := f.Store.Redeem(t.Context(), f.account, redemption(request.ID, user))
		f.ok(err)
		_, err = f.Store.APIToken(t.Context(), digest(user))
		f.is(err, core.ErrNotFound)
		_, err = f.Store.APIToken(t.Context(), digest(other))
		f.ok(err)
	})
	exerciseRefusals(t, open)
	t.Run("of fifty at once for one link exactly one wins", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user := f.newUser(f.account)
		request, _ := f.resolved(user, nil)
		f.ok(OneWins(50, core.ErrUnknownLink, func() error {
			_, err := f.Store.Redeem(t.Context(), f.account, redemption(request.ID, user))
			return err
		}))
		same(t, f.Count(t, `SELECT count(*) FROM deliveries WHERE kind = 'notice'`), 1)
	})
	t.Run("of two links of one user at once exactly one wins", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		for range 10 {
			user := f.newUser(f.account)
			first, _, _ := f.mailed(user)
			second, _, _ := f.mailed(user)
			var turn atomic.Int64
			f.ok(OneWins(2, core.ErrUnknownLink, func() error {
				link := []core.RequestID{first.ID, second.ID}[turn.Add(1)-1]
				_, err := f.Store.Redeem(t.Context(), f.account, redemption(link, user))
				return err
			}))
			f.claimOne() // the one notice
		}
	})
	exerciseDispute(t, open)
	exerciseSelector(t, open)
}

func exerciseRefusals(t *testing.T, open Open) {
	cases := map[string]struct {
		spoil func(f *fixture, request core.Request, r *core.Redemption) tenants.AccountID
		want  error
	}{
		"a request that never was": {func(f *fixture, _ core.Request, r *core.Redemption) tenants.AccountID {
			r.Request = core.RequestID(NewID())
			return f.account
		}, core.ErrUnknownLink},
		"another account": {func(f *fixture, _ core.Request, _ *core.Redemption) tenants.AccountID {
			return f.newAccount()
		}, core.ErrUnknownLink},
		"another user": {func(f *fixture, _ core.Request, r *core.Redemption) tenants.AccountID {
			r.User = f.newUser(f.account).ID
			return f.account
		}, core.ErrUnknownLink},
		"an expired link": {func(f *fixture, request core.Request, _ *core.Redemption) tenants.AccountID {
			f.age(request.ID, life+time.Second)
			return f.account
		}, core.ErrExpiredLink},
		"an expired link of another credential": {func(f *fixture, request core.Request, r *core.Redemption) tenants.AccountID {
			f.age(request.ID, life+time.Second)
			r.CredentialVersion++
			return f.account
		}, core.ErrExpiredLink},
		"another credential": {func(f *fixture, _ core.Request, _ *core.Redemption) tenants.AccountID {
			f.Exec(f.t, `UPDATE users SET credential_version = credential_version + 1`)
			return f.account
		}, core.ErrUnknownLink},
		"a link of an earlier credential": {func(f *fixture, _ core.Request, r *core.Redemption) tenants.AccountID {
			f.Exec(f.t, `UPDATE users SET credential_version = credential_version + 1`)
			r.CredentialVersion++
			return f.account
		}, core.ErrUnknownLink},
		"a user who is gone": {func(f *fixture, _ core.Request, _ *core.Redemption) tenants.AccountID {
			f.Exec(f.t, `DELETE FROM users`)
			return f.account
		}, core.ErrUnknownLink},
	}
	for name, c := range cases {
		t.Run(name+" is refused and nothing changes", func(t *testing.T) {
			t.Parallel()
			f := setup(t, open)
			user := f.newUser(f.account)
			request, _ := f.resolved(user, nil)
			r := redemption(request.ID, user)
			account := c.spoil(f, request, &r)
			_, err := f.Store.Redeem(t.Context(), account, r)
			f.is(err, c.want)
			same(t, f.stands(request.ID, core.StatePending, "").Link, request.Link)
			same(t, f.Count(t, `SELECT count(*) FROM deliveries WHERE kind = 'notice'`), 0)
			same(t, f.Count(t, `SELECT count(*) FROM users WHERE id = ? AND password_hash <> ?`, string(user.ID), []byte("old")), 0)
			f.is(f.Store.Dispute(t.Context(), account, disputeOf(r)), c.want)
			same(t, f.stands(request.ID, core.StatePending, "").Link, request.Link)
			same(t, f.Count(t, `SELECT count(*) FROM events WHERE name = 'user.password-reset.disputed'`), 0)
		})
	}
}

func exerciseSelector(t *testing.T, open Open) {
	t.Run("a link is found by its selector, in its own account", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		request, p := f.resolved(f.newUser(f.account), nil)
		found, expired, err := f.Store.RequestBySelector(t.Context(), f.account, p.Link.Selector)
		f.ok(err)
		same(t, found, request)
		same(t, expired, false)
		_, _, err = f.Store.RequestBySelector(t.Context(), f.newAccount(), p.Link.Selector)
		f.is(err, core.ErrNotFound)
		_, _, err = f.Store.RequestBySelector(t.Context(), f.account, core.Selector{})
		f.is(err, core.ErrNotFound)
	})
	t.Run("an expired link is found for a day and says so; then its seed is erased", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		request, p := f.resolved(f.newUser(f.account), nil)
		f.age(request.ID, life+23*time.Hour)
		f.reap()
		_, expired, err := f.Store.RequestBySelector(t.Context(), f.account, p.Link.Selector)
		f.ok(err)
		same(t, expired, true)
		f.age(request.ID, time.Hour)
		_, _, err = f.Store.RequestBySelector(t.Context(), f.account, p.Link.Selector)
		f.is(err, core.ErrNotFound)
		same(t, f.Count(t, `SELECT count(*) FROM requests WHERE seed IS NOT NULL`), 1)
		f.reap()
		same(t, f.Count(t, `SELECT count(*) FROM requests WHERE seed IS NOT NULL`), 0)
	})
	t.Run("a spent link is not found: its seed is erased", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user := f.newUser(f.account)
		request, p := f.resolved(user, nil)
		_, err := f.Store.Redeem(t.Context(), f.account, redemption(request.ID, user))
		f.ok(err)
		_, _, err = f.Store.RequestBySelector(t.Context(), f.account, p.Link.Selector)
		f.is(err, core.ErrNotFound)
	})
}
