package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

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

const (
	// writeTimeout bounds one try to write an outcome; it is not cut short by the end
	// of the work.
	writeTimeout = 5 * time.Second
	// writeFor is how long an outcome is kept for a database that is away: what was
	// sent and not written is sent again.
	writeFor = core.LeaseLife
)

// handle does the work of one delivery and settles it under its lease. Work that
// could not even be tried is queued again; if that cannot be written either, the
// lease lapses and the reaper counts it. next is the mail that follows at once from
// a resolving, under a lease of its own.
func (w *Worker) handle(ctx context.Context, delivery core.Delivery) (outcome string, next *core.Delivery) {
	settlement, next, err := w.do(ctx, delivery)
	if next != nil {
		return outcomeOK, next
	}
	return w.conclude(ctx, delivery, settlement, err), nil
}

// conclude writes what the work came to.
func (w *Worker) conclude(ctx context.Context, delivery core.Delivery, settlement *core.Settlement, err error) string {
	switch {
	case errors.Is(err, core.ErrLeaseLost):
		return outcomeFenced
	case err != nil && ctx.Err() != nil:
		w.release(ctx, []core.Delivery{delivery})
		return outcomeRetry
	case err != nil:
		w.c.Logger.ErrorContext(ctx, "delivery could not be tried", slog.String("delivery", string(delivery.ID)), slog.Any("error", err))
		settlement = untried(delivery)
	case settlement == nil:
		return outcomeOK
	}
	switch err := w.settle(ctx, delivery, *settlement); {
	case errors.Is(err, core.ErrLeaseLost):
		return outcomeFenced
	case err != nil:
		w.c.Logger.ErrorContext(ctx, "outcome could not be written", slog.String("delivery", string(delivery.ID)), slog.Any("error", err))
		return outcomeUnknown
	}
	return outcome(*settlement)
}

// settle writes an outcome, again and again while the database is away and the
// work is not cancelled, which the end of the lease does. A write that was done
// and not heard of shows as a lost lease.
func (w *Worker) settle(ctx context.Context, delivery core.Delivery, settlement core.Settlement) error {
	var tries backoff
	for began := time.Now(); ; {
		err := func() error {
			write, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
			defer cancel()
			return w.c.Ledger.Settle(write, delivery.Account, delivery.LeaseOf(), settlement)
		}()
		if err == nil || errors.Is(err, core.ErrLeaseLost) || time.Since(began) > writeFor || !pause(ctx, tries.next()) {
			return err
		}
	}
}

// release gives deliveries back that were not tried, their attempt uncounted. One
// that cannot be given back lapses.
func (w *Worker) release(ctx context.Context, deliveries []core.Delivery) {
	if len(deliveries) == 0 {
		return
	}
	leases := make([]core.Lease, len(deliveries))
	for i, delivery := range deliveries {
		leases[i] = delivery.LeaseOf()
	}
	write, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	if err := w.c.Queue.Release(write, leases); err != nil {
		w.c.Logger.ErrorContext(ctx, "deliveries could not be given back", slog.Int("deliveries", len(leases)), slog.Any("error", err))
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
func (w *Worker) do(ctx context.Context, delivery core.Delivery) (settlement *core.Settlement, next *core.Delivery, err error) {
	defer func() {
		if p := recover(); p != nil {
			// The value may hold what the delivery was about; its type does not.
			settlement, next, err = nil, nil, fmt.Errorf("%s panicked with a %T", delivery.Kind, p)
		}
	}()
	switch {
	case delivery.Kind == core.KindResolve:
		next, err := w.resolve(ctx, delivery)
		return nil, next, err
	case delivery.Kind.EndsRequest(), delivery.Kind == core.KindNotice:
		settled, err := w.c.Dispatcher.Dispatch(ctx, delivery)
		return &settled, nil, err
	case delivery.Kind == core.KindWebhook && w.c.Webhooks != nil:
		settled, err := w.c.Webhooks.Dispatch(ctx, delivery)
		return &settled, nil, err
	default:
		return nil, nil, fmt.Errorf("no way to handle a delivery of kind %q", delivery.Kind)
	}
}

// resolve plans a request and gives the mail that it leads to at once.
func (w *Worker) resolve(ctx context.Context, delivery core.Delivery) (*core.Delivery, error) {
	plan, err := w.c.Resolver.Resolve(ctx, delivery)
	if err != nil {
		return nil, err
	}
	standing, err := w.c.Ledger.Resolve(ctx, delivery.Account, delivery.LeaseOf(), plan)
	if err != nil {
		return nil, err
	}
	return standing.Mail, nil
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
