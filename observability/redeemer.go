package observability

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// Redeemer takes links and new passwords, as core.Redeemer does.
type Redeemer interface {
	Inspect(ctx context.Context, account tenants.Account, raw tenants.Secret) (core.Holder, error)
	Redeem(ctx context.Context, account tenants.Account, ref core.UserRef, raw, password tenants.Secret) (core.User, error)
	Dispute(ctx context.Context, account tenants.Account, raw tenants.Secret) error
}

// Redeemer traces and counts new passwords that are offered with a link.
func (t *Telemetry) Redeemer(next Redeemer) Redeemer { return redeemer{next, t} }

type redeemer struct {
	Redeemer
	t *Telemetry
}

func (r redeemer) Redeem(ctx context.Context, account tenants.Account, ref core.UserRef, raw, password tenants.Secret) (core.User, error) {
	ctx, span := r.t.tracing.start(ctx, "redeem link", trace.SpanKindInternal, attribute.String("passmend.tenant.id", string(account.ID)))
	user, err := r.Redeemer.Redeem(ctx, account, ref, raw, password)
	finish(span, err)
	r.t.fulfilments.with(fulfilment(err)).Inc()
	return user, err
}

func (r redeemer) Dispute(ctx context.Context, account tenants.Account, raw tenants.Secret) error {
	ctx, span := r.t.tracing.start(ctx, "dispute link", trace.SpanKindInternal, attribute.String("passmend.tenant.id", string(account.ID)))
	err := r.Redeemer.Dispute(ctx, account, raw)
	finish(span, err)
	return err
}

func fulfilment(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, core.ErrUnknownLink):
		return "unknown"
	case errors.Is(err, core.ErrExpiredLink):
		return "expired"
	case errors.Is(err, core.ErrPasswordTooShort), errors.Is(err, core.ErrPasswordTooLong), errors.Is(err, core.ErrPasswordCommon):
		return "password"
	case errors.Is(err, core.ErrBusy):
		return "busy"
	default:
		return other
	}
}
