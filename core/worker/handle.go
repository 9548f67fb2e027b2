package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/passmend/passmend/core"
)

// The outcomes of a piece of work (operability.md, jobs_total).
const (
	outcomeOK        = "ok"
	outcomeRetry     = "retry"
	outcomePermanent = "permanent"
	outcomeUnknown   = "unknown"
	outcomeFenced    = "fenced"
)

// handle does the work of one delivery and settles it under its lease. Work that
// could not even be tried is queued again; if that cannot be written either, the
// lease lapses and the reaper counts it.
func (w *Worker) handle(ctx context.Context, delivery core.Delivery) string {
	settlement, err := w.do(ctx, delivery)
	write, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	if err != nil && !errors.Is(err, core.ErrLeaseLost) {
		w.c.Logger.ErrorContext(ctx, "delivery could not be tried", slog.String("delivery", string(delivery.ID)), slog.Any("error", err))
		settlement, err = untried(delivery), nil
	}
	if err == nil && settlement != nil {
		err = w.c.Ledger.Settle(write, delivery.Account, delivery.LeaseOf(), *settlement)
	}
	switch {
	case errors.Is(err, core.ErrLeaseLost):
		return outcomeFenced
	case err != nil:
		w.c.Logger.ErrorContext(ctx, "outcome could not be written", slog.String("delivery", string(delivery.ID)), slog.Any("error", err))
		return outcomeUnknown
	case settlement == nil:
		return outcomeOK
	default:
		return outcome(*settlement)
	}
}

// untried puts a delivery off for work that could not begin, unless it would be
// too late by then.
func untried(delivery core.Delivery) *core.Settlement {
	delay := core.RetryDelay(delivery.Attempt)
	if !delivery.NotAfter.IsZero() && delivery.Now.Add(delay).After(delivery.NotAfter) {
		return &core.Settlement{State: core.DeliveryExpired}
	}
	return &core.Settlement{State: core.DeliveryQueued, Delay: delay, Provider: delivery.Provider}
}

// do carries a plan out, or makes an attempt and gives what is to be settled. A
// panic is an error like another: one delivery must not end the others.
func (w *Worker) do(ctx context.Context, delivery core.Delivery) (settlement *core.Settlement, err error) {
	defer func() {
		if p := recover(); p != nil {
			// The value may hold what the delivery was about; its type does not.
			settlement, err = nil, fmt.Errorf("%s panicked with a %T", delivery.Kind, p)
		}
	}()
	switch delivery.Kind {
	case core.KindResolve:
		plan, err := w.c.Resolver.Resolve(ctx, delivery)
		if err != nil {
			return nil, err
		}
		return nil, w.c.Ledger.Resolve(ctx, delivery.Account, delivery.LeaseOf(), plan)
	case core.KindMail, core.KindNotice:
		settled, err := w.c.Dispatcher.Dispatch(ctx, delivery)
		return &settled, err
	default:
		return nil, fmt.Errorf("no way to handle a delivery of kind %q", delivery.Kind)
	}
}

func outcome(settlement core.Settlement) string {
	switch {
	case settlement.State == core.DeliveryDone:
		return outcomeOK
	case settlement.State != core.DeliveryQueued:
		return outcomePermanent
	case settlement.Attempt != nil && settlement.Attempt.Unknown():
		return outcomeUnknown
	default:
		return outcomeRetry
	}
}
