package coretest

import (
	"crypto/rand"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/passmend/passmend/core"
)

// budget is one with a key that nobody else has.
func budget(reason core.Reason, rates ...core.Rate) core.Budget {
	key := make([]byte, 16)
	_, _ = rand.Read(key)
	return core.Budget{Key: key, Rates: rates, Reason: reason}
}

// hourAndDay is what an address has in an account by default.
func hourAndDay() core.Budget {
	return budget(core.ReasonRecipientLimit, core.Rate{Count: 3, Per: time.Hour}, core.Rate{Count: 6, Per: 24 * time.Hour})
}

// pass lets time pass for every budget.
func (f *fixture) pass(by time.Duration) {
	f.t.Helper()
	f.Exec(f.t, `UPDATE limits SET tat = tat - ?`, by.Microseconds())
}

// through says how many of so many requests the budgets let through; the others
// must be suppressed for the reason.
func (f *fixture) through(user core.User, asked int, reason core.Reason, budgets ...core.Budget) (passed int) {
	f.t.Helper()
	for range asked {
		request, _ := f.resolved(user, func(p *core.Plan) { p.Mail, p.Budgets = nil, budgets })
		if request.State == core.StateSent {
			passed++
			continue
		}
		f.stands(request.ID, core.StateSuppressed, reason)
	}
	return passed
}

func exerciseLimits(t *testing.T, open Open) {
	t.Run("three an hour and six a day hold, also over a restart", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user, b := f.newUser(f.account), hourAndDay()
		steps := []struct {
			after    time.Duration
			ask, let int
		}{
			{0, 2, 2},
			{20 * time.Minute, 5, 1},
			{39 * time.Minute, 5, 0}, // 59 minutes after the first two
			{time.Minute, 5, 2},
			{19 * time.Minute, 5, 0}, {time.Minute, 5, 1}, // the third is an hour old
			{10 * time.Hour, 5, 0},                // the day's six are used up
			{12*time.Hour + 39*time.Minute, 5, 0}, // 23 h 59 min after the first two
			{time.Minute, 5, 2}, {20 * time.Minute, 5, 1},
			{48 * time.Hour, 5, 3}, {59 * time.Minute, 5, 0}, {time.Minute, 5, 3}, // as good as new, not better
		}
		for i, step := range steps {
			f.pass(step.after)
			if i%3 == 1 {
				f.Store = f.Reopen(t)
			}
			if got := f.through(user, step.ask, core.ReasonRecipientLimit, b); got != step.let {
				t.Fatalf("step %d: %d of %d went through, want %d", i, got, step.ask, step.let)
			}
		}
		f.Exec(t, `DELETE FROM limits`) // what a limit that forgets would look like
		same(t, f.through(user, 5, core.ReasonRecipientLimit, b), 3)
	})
	t.Run("T12 no stretch of an hour sees more than three", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user := f.newUser(f.account)
		// Who asks every ten minutes for five hours.
		busiest := func(b core.Budget) (most, all int) {
			var last []int
			for minute := 0; minute < 300; minute += 10 {
				if f.through(user, 1, core.ReasonRecipientLimit, b) == 1 {
					last, all = append(last, minute), all+1
				}
				for len(last) > 0 && last[0] <= minute-60 {
					last = last[1:]
				}
				most = max(most, len(last))
				f.pass(10 * time.Minute)
			}
			return most, all
		}
		most, all := busiest(budget(core.ReasonRecipientLimit, core.Rate{Count: 3, Per: time.Hour}))
		same(t, [2]int{most, all}, [2]int{3, 15})
		// The control: what comes back evenly lets more through.
		most, _ = busiest(budget(core.ReasonRecipientLimit, core.Rate{Count: 3, Per: time.Hour, Burst: 3}))
		same(t, most, 5)
	})
	t.Run("a request that is refused leaves no mail and no event, and costs nothing", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user, b := f.newUser(f.account), budget(core.ReasonRecipientAll, core.Rate{Count: 1, Per: time.Hour})
		limited := func(p *core.Plan) { p.Budgets = []core.Budget{b} }
		first, _ := f.resolved(user, limited)
		f.stands(first.ID, core.StatePending, "")
		f.claimOne()
		for range 3 {
			again, _ := f.resolved(user, limited)
			got := f.stands(again.ID, core.StateSuppressed, core.ReasonRecipientAll)
			same(t, [3]string{string(got.User), string(got.LinkRequest), string(got.Link.Seed[:])}, [3]string{"", "", string(make([]byte, 16))})
			same(t, len(f.claim(8).Deliveries), 0)
		}
		same(t, f.Count(t, `SELECT count(*) FROM events`), 1)
		same(t, f.Count(t, `SELECT count(*) FROM deliveries WHERE kind = 'resolve' AND state = 'done'`), 4)
		f.pass(time.Hour)
		same(t, f.through(user, 2, core.ReasonRecipientAll, b), 1)
		f.balanced(6)
	})
	t.Run("a budget that is used up leaves those before it unspent", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user := f.newUser(f.account)
		first := budget(core.ReasonRecipientLimit, core.Rate{Count: 3, Per: time.Hour}, core.Rate{Count: 4, Per: 24 * time.Hour})
		second := budget(core.ReasonRecipientAll, core.Rate{Count: 1, Per: 24 * time.Hour})
		same(t, f.through(user, 4, core.ReasonRecipientAll, first, second), 1)
		same(t, f.through(user, 4, core.ReasonRecipientLimit, first), 2)
		f.pass(time.Hour)
		same(t, f.through(user, 4, core.ReasonRecipientLimit, first), 1) // the day's four: a later rate of the same budget
		f.Exec(t, `DELETE FROM limits WHERE rate % 4 = 1`)
		same(t, f.through(user, 4, core.ReasonRecipientLimit, first), 2) // the hour's rate kept what the day's refused
	})
	t.Run("a burst bounds what goes through at once", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user, b := f.newUser(f.account), budget(core.ReasonRecipientLimit, core.Rate{Count: 6, Per: time.Hour, Burst: 2})
		same(t, f.through(user, 4, core.ReasonRecipientLimit, b), 2)
		f.pass(9 * time.Minute)
		same(t, f.through(user, 2, core.ReasonRecipientLimit, b), 0)
		f.pass(time.Minute)
		same(t, f.through(user, 2, core.ReasonRecipientLimit, b), 1)
	})
	t.Run("another key is another budget, a shared one is shared over accounts", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		all := budget(core.ReasonRecipientAll, core.Rate{Count: 5, Per: 24 * time.Hour})
		same(t, f.through(f.newUser(f.account), 4, core.ReasonRecipientLimit, hourAndDay(), all), 3)
		f.account = f.newAccount()
		same(t, f.through(f.newUser(f.account), 4, core.ReasonRecipientAll, hourAndDay(), all), 2)
		same(t, f.through(f.newUser(f.account), 4, core.ReasonRecipientLimit, hourAndDay()), 3)
	})
	t.Run("who asks at the same time gets no more than there is", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		// Users of their own: nothing but the shared budget holds one back for another.
		all := budget(core.ReasonRecipientAll, core.Rate{Count: 5, Per: 24 * time.Hour})
		_, errs := f.acceptMany(f.account, 20)
		f.ok(errors.Join(errs...))
		begin := make(chan struct{})
		var wait sync.WaitGroup
		for _, delivery := range f.claim(64).Deliveries {
			p := plan(f.newUser(f.account), delivery.Request)
			p.Mail, p.Budgets = nil, []core.Budget{hourAndDay(), all}
			wait.Go(func() {
				<-begin
				if _, err := f.Store.Resolve(t.Context(), f.account, delivery.LeaseOf(), p); err != nil {
					t.Error(err)
				}
			})
		}
		close(begin)
		wait.Wait()
		same(t, f.Count(t, `SELECT count(*) FROM requests WHERE state = 'sent'`), 5)
		same(t, f.Count(t, `SELECT count(*) FROM requests WHERE state = 'suppressed' AND reason = 'recipient_limit_all'`), 15)
		f.pass(24 * time.Hour) // no key has been spent more often than it let through
		same(t, f.through(f.newUser(f.account), 9, core.ReasonRecipientAll, all), 5)
		f.balanced(29)
	})
	t.Run("what leads to no mail and no event spends nothing", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		limited := func(p *core.Plan) { p.Budgets = []core.Budget{hourAndDay()} }
		f.resolved(core.User{}, func(p *core.Plan) { limited(p); p.Suppress = core.ReasonUnknownUser })
		f.resolved(core.User{ID: "nobody"}, limited)
		request := f.accept(f.account)
		stale := f.claimOne()
		f.ok(f.Store.Release(t.Context(), []core.Lease{stale.LeaseOf()}))
		p := plan(f.newUser(f.account), request.ID)
		limited(&p)
		f.is(f.resolve(stale, p), core.ErrLeaseLost)
		same(t, f.Count(t, `SELECT count(*) FROM limits`), 0)
		f.ok(f.resolve(f.claimOne(), p))
		same(t, f.Count(t, `SELECT count(*) FROM limits WHERE key = ?`, p.Budgets[0].Key), 2)
	})
	t.Run("a budget that could never pass is an error and changes nothing", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		request := f.accept(f.account)
		delivery, p := f.claimOne(), plan(f.newUser(f.account), request.ID)
		for _, wrong := range []core.Budget{
			budget("x", core.Rate{Per: time.Hour}), budget("x", core.Rate{Count: core.MaxWindow + 1, Per: time.Hour}), budget("x", core.Rate{Count: 1}), budget("x", core.Rate{Count: 1, Per: time.Hour, Burst: -1}),
			{Key: []byte("ada@example.com"), Rates: []core.Rate{{Count: 1, Per: time.Hour}}, Reason: "x"},
		} {
			p.Budgets = []core.Budget{hourAndDay(), wrong}
			if err := f.resolve(delivery, p); err == nil {
				t.Fatalf("%+v was no error", wrong.Rates)
			}
		}
		same(t, f.Count(t, `SELECT count(*) FROM limits`), 0)
		f.stands(request.ID, core.StatePending, "")
		p.Budgets = nil
		f.ok(f.resolve(delivery, p))
	})
}
