package observability

import (
	"context"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// Ledger traces the writes of the worker and counts the requests that they end. A
// request's end shows in a settlement only together with the delivery's kind, which
// Process leaves in the context: settlements outside of it are not counted.
func (t *Telemetry) Ledger(next core.Ledger) core.Ledger { return ledger{next, t} }

type ledger struct {
	core.Ledger
	t *Telemetry
}

func (l ledger) Resolve(ctx context.Context, account tenants.AccountID, lease core.Lease, plan core.Plan) (standing core.Standing, err error) {
	err = l.t.inDatabase(ctx, "UPDATE", "requests", func(ctx context.Context) (err error) {
		standing, err = l.Ledger.Resolve(ctx, account, lease, plan)
		return err
	})
	if err == nil {
		l.t.resolved(account, standing)
	}
	switch standing.Reason {
	case core.ReasonRecipientLimit, core.ReasonRecipientAll:
		l.t.RateLimited("recipient", "suppress")
	}
	return standing, err
}

func (l ledger) Settle(ctx context.Context, account tenants.AccountID, lease core.Lease, settlement core.Settlement) error {
	err := l.t.inDatabase(ctx, "UPDATE", "deliveries", func(ctx context.Context) error {
		return l.Ledger.Settle(ctx, account, lease, settlement)
	})
	if err == nil {
		tellSettlement(ctx, settlement)
	}
	if err == nil && settlement.Event != nil && settlement.Event.Name == core.EventFailedOver && settlement.Attempt != nil {
		l.t.failovers.with(results.of(settlement.Attempt.Outcome)).Inc()
	}
	if under := attemptOf(ctx); err == nil && under != nil && under.endsRequest() {
		if state, ok := requestState(settlement.State); ok {
			l.t.ended(account, state, settlement.Reason)
		}
	}
	return err
}

// requestState is the end of a request whose delivery has come to state.
func requestState(state core.DeliveryState) (core.RequestState, bool) {
	switch state {
	case core.DeliveryDone:
		return core.StateSent, true
	case core.DeliveryFailed, core.DeliveryQuarantined:
		return core.StateFailed, true
	case core.DeliveryExpired:
		return core.StateExpired, true
	case core.DeliverySuperseded:
		return core.StateSuperseded, true
	default:
		return "", false
	}
}

// resolved counts what resolving a request came to. One that is held back for its
// address alone has a link all the same, for its event.
func (m *Metrics) resolved(account tenants.AccountID, standing core.Standing) {
	if standing.State != core.StatePending {
		m.ended(account, standing.State, standing.Reason)
	}
	switch {
	case standing.State == core.StateSuppressed && standing.Reason != core.ReasonSuppressed:
	case standing.Repeated:
		m.linksIssued.with("repeated").Inc()
	default:
		m.linksIssued.with("new").Inc()
	}
}

func (m *Metrics) ended(account tenants.AccountID, state core.RequestState, reason core.Reason) {
	why := noReason
	if reason != "" {
		why = reasons.of(string(reason))
	}
	m.terminal.with(requestStates.of(string(state)), why, m.ranking.of(account)).Inc()
}

// Redemptions traces and counts links that are spent.
func (t *Telemetry) Redemptions(next core.Redemptions) core.Redemptions { return redemptions{next, t} }

type redemptions struct {
	next core.Redemptions
	t    *Telemetry
}

func (r redemptions) Dispute(ctx context.Context, account tenants.AccountID, dispute core.Dispute) error {
	return r.t.inDatabase(ctx, "UPDATE", "requests", func(ctx context.Context) error {
		return r.next.Dispute(ctx, account, dispute)
	})
}

func (r redemptions) Redeem(ctx context.Context, account tenants.AccountID, redemption core.Redemption) (user core.User, err error) {
	err = r.t.inDatabase(ctx, "UPDATE", "requests", func(ctx context.Context) (err error) {
		user, err = r.next.Redeem(ctx, account, redemption)
		return err
	})
	if err == nil {
		r.t.ended(account, core.StateRedeemed, "")
	}
	return user, err
}
