package coretest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// ExerciseLedger holds a store to the ports of requests, deliveries, links and webhooks.
func ExerciseLedger(t *testing.T, open Open) {
	t.Run("accept", func(t *testing.T) { t.Parallel(); exerciseAccept(t, open) })
	t.Run("claim", func(t *testing.T) { t.Parallel(); exerciseClaim(t, open) })
	t.Run("lease", func(t *testing.T) { t.Parallel(); exerciseLease(t, open) })
	t.Run("resolve", func(t *testing.T) { t.Parallel(); exerciseResolve(t, open) })
	t.Run("recover", func(t *testing.T) { t.Parallel(); exerciseRecover(t, open) })
	t.Run("limits", func(t *testing.T) { t.Parallel(); exerciseLimits(t, open) })
	t.Run("settle", func(t *testing.T) { t.Parallel(); exerciseSettle(t, open) })
	t.Run("redeem", func(t *testing.T) { t.Parallel(); exerciseRedeem(t, open) })
	t.Run("holds", func(t *testing.T) { t.Parallel(); exerciseHolds(t, open) })
	t.Run("reports", func(t *testing.T) { t.Parallel(); exerciseReports(t, open) })
	t.Run("suppressions", func(t *testing.T) { t.Parallel(); exerciseSuppressions(t, open) })
	t.Run("webhook endpoints", func(t *testing.T) { t.Parallel(); exerciseEndpoints(t, open) })
	t.Run("webhook events", func(t *testing.T) { t.Parallel(); exerciseWebhookEvents(t, open) })
	t.Run("timelines", func(t *testing.T) { t.Parallel(); exerciseTimelines(t, open) })
	t.Run("retention", func(t *testing.T) { t.Parallel(); exerciseRetention(t, open) })
	t.Run("balance", func(t *testing.T) { t.Parallel(); exerciseBalance(t, open) })
	t.Run("backlog", func(t *testing.T) { t.Parallel(); exerciseBacklog(t, open) })
	t.Run("any order of events", func(t *testing.T) { t.Parallel(); exerciseMachine(t, open) })
}

// life is the life of links in the suite; margin what mails keep of it.
const (
	life   = time.Hour
	margin = 5 * time.Minute
)

// newRequest is a request as Accept takes it.
func newRequest() core.Request {
	id := NewID()
	digest := sha256.Sum256([]byte(id))
	sealed := make([]byte, 40)
	_, _ = rand.Read(sealed)
	return core.Request{
		ID: core.RequestID(id), SealedAddress: sealed, AddressDigest: digest[:], Deliver: true,
		TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}
}

func (f *fixture) accept(account tenants.AccountID) core.Request {
	f.t.Helper()
	request := newRequest()
	f.ok(f.Store.Accept(f.t.Context(), account, request))
	return request
}

func (f *fixture) request(id core.RequestID) core.Request {
	f.t.Helper()
	request, err := f.Store.Request(f.t.Context(), f.account, id)
	f.ok(err)
	return request
}

// stands checks state and reason, and that only a pending request has its
// address.
func (f *fixture) stands(id core.RequestID, state core.RequestState, reason core.Reason) core.Request {
	f.t.Helper()
	request := f.request(id)
	if request.State != state || request.Reason != reason {
		f.t.Fatalf("request is %s(%s), want %s(%s)", request.State, request.Reason, state, reason)
	}
	if held := request.SealedAddress != nil; held != (state == core.StatePending) {
		f.t.Fatalf("request is %s, sealed address there: %t", state, held)
	}
	return request
}

func (f *fixture) claim(free int) core.Claim {
	f.t.Helper()
	claim, err := f.Store.Claim(f.t.Context(), core.ClaimAsk{Free: free})
	f.ok(err)
	return claim
}

// claimOne claims the one delivery that is due.
func (f *fixture) claimOne() core.Delivery {
	f.t.Helper()
	claim := f.claim(4)
	if len(claim.Deliveries) != 1 {
		f.t.Fatalf("claimed %d deliveries, want 1", len(claim.Deliveries))
	}
	return claim.Deliveries[0]
}

// plan is what a resolver would plan for a known user.
func plan(user core.User, request core.RequestID) core.Plan {
	p := core.Plan{
		Request: request, User: user.ID, Recipient: user,
		Link:     core.LinkSeed{Key: 4242424242, CredentialVersion: user.CredentialVersion},
		LinkLife: life, MaxLive: 3,
		Mail: &core.NewDelivery{ID: core.DeliveryID(NewID()), Margin: margin},
		Event: core.Event{
			ID: core.EventID(NewID()), Name: core.EventPasswordReset, User: user.ID, Request: request,
			Facts: json.RawMessage(`{"meta":{}}`),
		},
	}
	_, _ = rand.Read(p.Link.Selector[:])
	_, _ = rand.Read(p.Link.Seed[:])
	return p
}

// resolved accepts a request and resolves it to the user, changed as asked.
func (f *fixture) resolved(user core.User, change func(*core.Plan)) (core.Request, core.Plan) {
	f.t.Helper()
	request := f.accept(f.account)
	delivery := f.claimOne()
	p := plan(user, request.ID)
	if change != nil {
		change(&p)
	}
	f.ok(f.resolve(delivery, p))
	return f.request(request.ID), p
}

// resolve carries a plan out, and sees to it that the standing is the row's.
func (f *fixture) resolve(delivery core.Delivery, p core.Plan) error {
	f.t.Helper()
	standing, err := f.Store.Resolve(f.t.Context(), f.account, delivery.LeaseOf(), p)
	if err != nil {
		same(f.t, standing, core.Standing{})
		return err
	}
	request := f.request(p.Request)
	same(f.t, standing, core.Standing{
		State: request.State, Reason: request.Reason, Repeated: request.LinkRequest != "",
	})
	return nil
}

// mailed brings a request to its claimed mail.
func (f *fixture) mailed(user core.User) (core.Request, core.Plan, core.Delivery) {
	f.t.Helper()
	request, p := f.resolved(user, nil)
	return request, p, f.claimOne()
}

func (f *fixture) settle(delivery core.Delivery, settlement core.Settlement) error {
	return f.Store.Settle(f.t.Context(), delivery.Account, delivery.LeaseOf(), settlement)
}

// age moves a request's times into the past.
func (f *fixture) age(id core.RequestID, by time.Duration) {
	f.t.Helper()
	f.Exec(f.t, `UPDATE requests SET accepted_at = accepted_at - ?, resolved_at = resolved_at - ?, expires_at = expires_at - ?
		WHERE id = ?`, by.Microseconds(), by.Microseconds(), by.Microseconds(), string(id))
}

// lapse ends a lease as time would.
func (f *fixture) lapse(lease core.Lease) {
	f.t.Helper()
	f.Exec(f.t, `UPDATE deliveries SET lease_until = lease_until - ? WHERE lease = ?`,
		(core.LeaseLife + time.Second).Microseconds(), string(lease.ID))
}

func (f *fixture) reap() int {
	f.t.Helper()
	freed, err := f.Store.Reap(f.t.Context())
	f.ok(err)
	return freed
}

// balanced checks that the ledger's sum is zero and as large as it should be.
func (f *fixture) balanced(accepted int64) {
	f.t.Helper()
	balance, err := f.Store.Balance(f.t.Context())
	f.ok(err)
	if err := sum(balance); err != nil || balance.Accepted != accepted {
		f.t.Fatalf("%d accepted, want %d; balance %+v: %v", balance.Accepted, accepted, balance, err)
	}
}

// sum says by how much a balance is off.
func sum(balance core.Balance) error {
	rest := balance.Accepted
	for _, count := range balance.States {
		rest -= count
	}
	if rest != 0 {
		return fmt.Errorf("balance is off by %d", rest)
	}
	return nil
}

func exerciseBalance(t *testing.T, open Open) {
	t.Run("states are counted", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		f.balanced(0)
		f.resolved(core.User{}, func(p *core.Plan) {
			*p = core.Plan{Request: p.Request, Suppress: core.ReasonUnknownUser}
		})
		f.resolved(f.newUser(f.account), func(p *core.Plan) { p.Mail = nil })
		f.mailed(f.newUser(f.account))
		f.accept(f.newAccount())
		balance, err := f.Store.Balance(t.Context())
		f.ok(err)
		same(t, balance, core.Balance{Accepted: 4, States: map[core.RequestState]int64{
			core.StateSuppressed: 1, core.StateSent: 1, core.StatePending: 2,
		}})
	})
	damages := map[string][]string{
		"a request that is stuck":    {`UPDATE deliveries SET state = 'failed', ready = FALSE`},
		"a request without work":     {`DELETE FROM deliveries`, `UPDATE requests SET state = 'sent'`},
		"a delivery without request": {`UPDATE deliveries SET request_id = NULL`, `DELETE FROM requests`},
	}
	for name, damage := range damages {
		t.Run(name+" shows as a difference", func(t *testing.T) {
			t.Parallel()
			f := setup(t, open)
			f.accept(f.account)
			f.balanced(1)
			for _, statement := range damage {
				f.Exec(t, statement)
			}
			balance, err := f.Store.Balance(t.Context())
			f.ok(err)
			if sum(balance) == nil {
				t.Fatalf("balance %+v hides it", balance)
			}
		})
	}
}
