package coretest

import (
	"testing"
	"time"

	"github.com/passmend/passmend/core"
)

// kept is how long the suite keeps requests.
const kept = 30 * 24 * time.Hour

func (f *fixture) retain(batch int) int {
	f.t.Helper()
	removed, err := f.Store.Retain(f.t.Context(), kept, batch)
	f.ok(err)
	return removed
}

func exerciseRetention(t *testing.T, open Open) {
	t.Run("an ended request goes with all that was done for it, and nothing else does", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user := f.newUser(f.account)
		bring := func() core.RequestID {
			request, _, mail := f.mailed(user)
			f.ok(f.settle(mail, core.Settlement{State: core.DeliveryDone, Attempt: &core.Attempt{Provider: "p"}}))
			return request.ID
		}
		young, old, oldest := bring(), bring(), bring()
		f.age(young, kept-time.Minute)
		f.age(old, kept+time.Minute)
		f.age(oldest, kept+time.Hour)
		same(t, f.retain(10), 2)
		same(t, f.requests(core.RequestQuery{Limit: 10}), []core.RequestID{young})
		same(t, len(f.deliveries(young)), 2)
		for table, want := range map[string]int{"requests": 1, "deliveries": 2, "attempts": 1, "events": 1} {
			if got := f.Count(t, `SELECT count(*) FROM `+table); got != want {
				t.Errorf("%d %s are left, want %d", got, table, want)
			}
		}
		same(t, f.Count(t, `SELECT count(*) FROM events WHERE request_id = ?`, string(young)), 1)
		f.balanced(1)
		same(t, f.retain(10), 0)
	})
	t.Run("the oldest go first, as many as a batch holds", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		var ids []core.RequestID
		for n := range 5 {
			request, _ := f.resolved(core.User{}, func(p *core.Plan) {
				*p = core.Plan{Request: p.Request, Suppress: core.ReasonUnknownUser}
			})
			f.age(request.ID, kept+time.Duration(n+1)*time.Hour)
			ids = append(ids, request.ID)
		}
		same(t, f.retain(0), 0)
		same(t, f.retain(2), 2)
		same(t, f.requests(core.RequestQuery{Limit: 10}), []core.RequestID{ids[2], ids[1], ids[0]})
		same(t, f.retain(2), 2)
		f.balanced(1)
		same(t, f.retain(2), 1)
		f.balanced(0)
	})
	t.Run("a pending request stays, however old", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		request := f.accept(f.account)
		f.age(request.ID, 2*kept)
		same(t, f.retain(10), 0)
		f.ok(f.settle(f.claimOne(), core.Settlement{State: core.DeliveryExpired}))
		same(t, f.retain(10), 1)
	})
	t.Run("a request that is stuck stays, so that the balance goes on showing it", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		request := f.accept(f.account)
		f.age(request.ID, 2*kept)
		f.Exec(t, `UPDATE deliveries SET state = 'failed', ready = FALSE`)
		same(t, f.retain(10), 0)
		balance, err := f.Store.Balance(t.Context())
		f.ok(err)
		if sum(balance) == nil {
			t.Fatalf("balance %+v hides it", balance)
		}
	})
	t.Run("a request with work to do stays", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user := f.newUser(f.account)
		request, _, mail := f.mailed(user)
		f.ok(f.settle(mail, core.Settlement{State: core.DeliveryDone}))
		_, err := f.Store.Redeem(t.Context(), f.account, redemption(request.ID, user))
		f.ok(err)
		f.age(request.ID, 2*kept)
		same(t, f.retain(10), 0)
		notice := f.claimOne()
		same(t, f.retain(10), 0)
		f.ok(f.settle(notice, core.Settlement{State: core.DeliveryFailed}))
		same(t, f.retain(10), 1)
		f.balanced(0)
	})
	t.Run("a request whose link is live stays, and the link works", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user := f.newUser(f.account)
		request, _ := f.resolved(user, func(p *core.Plan) { p.Mail = nil })
		removed, err := f.Store.Retain(t.Context(), 0, 10)
		f.ok(err)
		same(t, removed, 0)
		r := redemption(request.ID, user)
		r.Notice = ""
		_, err = f.Store.Redeem(t.Context(), f.account, r)
		f.ok(err)
		f.age(request.ID, life)
		removed, err = f.Store.Retain(t.Context(), 0, 10)
		f.ok(err)
		same(t, removed, 1)
	})
	t.Run("a limit that is as good as new goes, another stays", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user, b := f.newUser(f.account), hourAndDay()
		same(t, f.through(user, 3, core.ReasonRecipientLimit, b), 3)
		f.pass(time.Hour)
		f.retain(10)
		same(t, f.Count(t, `SELECT count(*) FROM limits`), 3)
		same(t, f.through(user, 5, core.ReasonRecipientLimit, b), 3) // the day's six, as before
		f.pass(24 * time.Hour)
		f.retain(10)
		same(t, f.Count(t, `SELECT count(*) FROM limits`), 0)
	})
}
