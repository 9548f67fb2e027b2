package coretest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// listing is the plan for a request of tenants.RecoverID.
func listing(request core.Request) core.Plan {
	return core.Plan{
		Request: request.ID, Address: request.AddressDigest, LinkLife: life,
		Mail: &core.NewDelivery{ID: core.DeliveryID(NewID())},
	}
}

// exerciseRecover is about what is asked of the service itself.
func exerciseRecover(t *testing.T, open Open) {
	platform := func(t *testing.T) *fixture {
		f := setup(t, open)
		f.account = tenants.RecoverID
		return f
	}
	t.Run("a request of the service's own leads to a list, and ends with it", func(t *testing.T) {
		t.Parallel()
		f := platform(t)
		request := f.accept(f.account)
		f.ok(f.resolve(f.claimOne(), listing(request)))
		f.stands(request.ID, core.StatePending, "")
		list := f.claimOne()
		same(t, list, core.Delivery{
			ID: list.ID, Account: f.account, Request: request.ID, Kind: core.KindAccounts, Attempt: 1, TraceParent: request.TraceParent,
		}, cmpopts.IgnoreFields(core.Delivery{}, "Queued", "Now", "Lease", "NotAfter"))
		recent(t, "not after less life", list.NotAfter.Add(-life))
		f.ok(f.settle(list, core.Settlement{State: core.DeliveryQueued}))
		f.stands(request.ID, core.StatePending, "")
		f.ok(f.settle(f.claimOne(), core.Settlement{State: core.DeliveryDone}))
		f.stands(request.ID, core.StateSent, "")
		same(t, f.Count(t, `SELECT count(*) FROM requests WHERE seed IS NOT NULL OR user_id IS NOT NULL`), 0)
		same(t, f.Count(t, `SELECT count(*) FROM events`), 0)
		f.balanced(1)
	})
	t.Run("a list that is leased with its plan goes on at once", func(t *testing.T) {
		t.Parallel()
		f := platform(t)
		request := f.accept(f.account)
		p := listing(request)
		p.Mail.Lease = core.LeaseID(NewID())
		standing, err := f.Store.Resolve(t.Context(), f.account, f.claimOne().LeaseOf(), p)
		f.ok(err)
		if standing.Mail == nil || standing.Mail.Kind != core.KindAccounts || standing.Mail.User != "" || standing.Mail.Known != nil {
			t.Fatalf("%+v", standing)
		}
		f.ok(f.settle(*standing.Mail, core.Settlement{State: core.DeliveryFailed, Reason: core.ReasonNoProvider}))
		f.stands(request.ID, core.StateFailed, core.ReasonNoProvider)
	})
	t.Run("budgets and the suppression list stop a list", func(t *testing.T) {
		t.Parallel()
		f := platform(t)
		once := budget(core.ReasonRecipientAll, core.Rate{Count: 1, Per: time.Hour})
		for _, reason := range []core.Reason{"", core.ReasonRecipientAll} {
			request := f.accept(f.account)
			p := listing(request)
			p.Budgets = []core.Budget{once}
			f.ok(f.resolve(f.claimOne(), p))
			if reason == "" {
				f.ok(f.settle(f.claimOne(), core.Settlement{State: core.DeliveryDone}))
				continue
			}
			f.stands(request.ID, core.StateSuppressed, reason)
		}
		request := f.accept(f.account)
		f.suppress(core.Suppression{ID: core.SuppressionID(NewID()), AddressDigest: request.AddressDigest, Reason: core.SuppressionComplained})
		f.ok(f.resolve(f.claimOne(), listing(request)))
		f.stands(request.ID, core.StateSuppressed, core.ReasonSuppressed)
		f.balanced(3)
	})
	t.Run("what a provider reports of a list is recorded", func(t *testing.T) {
		t.Parallel()
		f := platform(t)
		request := f.accept(f.account)
		f.ok(f.resolve(f.claimOne(), listing(request)))
		f.ok(f.settle(f.claimOne(), core.Settlement{
			State: core.DeliveryDone, MessageID: "m-1", Attempt: &core.Attempt{Provider: "mail", Outcome: "accepted"},
		}))
		account, err := f.Store.AccountOfMessage(t.Context(), "mail", "m-1")
		f.ok(err)
		same(t, account, tenants.RecoverID)
	})
	t.Run("nobody finds, lists or deletes what stands for the service", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		_, err := f.Store.AccountByID(t.Context(), tenants.RecoverID)
		f.is(err, tenants.ErrUnknown)
		f.is(f.Store.DeleteAccount(t.Context(), tenants.RecoverID), tenants.ErrUnknown)
		listed, err := f.Store.ListAccounts(t.Context(), "", 10)
		f.ok(err)
		same(t, len(listed), 1)
		f.ok(f.Store.Accept(t.Context(), tenants.RecoverID, newRequest()))
	})
	t.Run("an address is listed where it is more than a user", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		join := func(name string, role core.Role) tenants.Account {
			account := tenants.New(tenants.AccountID(NewID()), "slug-"+name, name)
			created, err := f.Store.CreateAccount(t.Context(), account)
			f.ok(err)
			_, err = f.Store.CreateUser(t.Context(), created.ID, core.User{ID: core.UserID(NewID()), Address: address(t, "boss@example.com"), Role: role})
			f.ok(err)
			return created
		}
		b, a := join("b", core.RoleAdmin), join("a", core.RoleReadOnly)
		join("c", core.RoleUser)
		gone := join("d", core.RoleAdmin)
		f.ok(f.Store.DeleteAccount(t.Context(), gone.ID))
		list := func(typed string, limit int) []tenants.Account {
			accounts, err := f.Store.AdministeredAccounts(t.Context(), address(t, typed), limit)
			f.ok(err)
			return accounts
		}
		same(t, list("BOSS@example.com", 10), []tenants.Account{a, b})
		same(t, list("boss@example.com", 1), []tenants.Account{a})
		same(t, len(list("nobody@example.com", 10)), 0)
	})
}
