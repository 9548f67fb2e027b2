package observability

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// hashAlgorithm is what passwords are hashed with.
const hashAlgorithm = "argon2id"

// Passwords puts a span round every hash, the wait for a turn included. The span of
// a user who has no password is like any other.
func (t *Telemetry) Passwords(next core.Passwords) core.Passwords { return passwords{next, t} }

type passwords struct {
	next core.Passwords
	t    *Telemetry
}

func (p passwords) Hash(ctx context.Context, account tenants.AccountID, user core.UserID, password tenants.Secret) ([]byte, error) {
	ctx, span := p.begin(ctx)
	hash, err := p.next.Hash(ctx, account, user, password)
	finish(span, err)
	return hash, err
}

func (p passwords) Verify(ctx context.Context, account tenants.AccountID, user core.UserID, stored []byte, password tenants.Secret) (bool, error) {
	ctx, span := p.begin(ctx)
	matches, err := p.next.Verify(ctx, account, user, stored, password)
	finish(span, err)
	return matches, err
}

func (p passwords) begin(ctx context.Context) (context.Context, trace.Span) {
	return p.t.tracing.start(ctx, "hash password", trace.SpanKindInternal,
		attribute.String("passmend.hash.algorithm", hashAlgorithm))
}
