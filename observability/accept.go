package observability

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// Inbox counts what is accepted and puts the producer's trace parent into the row,
// where the worker finds it.
func (t *Telemetry) Inbox(next core.Inbox) core.Inbox { return inbox{t, next} }

type inbox struct {
	*Telemetry
	next core.Inbox
}

func (i inbox) Accept(ctx context.Context, account tenants.AccountID, request core.Request) error {
	err := i.create(ctx, account, request)
	if err == nil {
		i.accepted.with(i.ranking.count(account)).Inc()
	}
	return err
}

// create puts the producer's span round the insert, where one is kept; else the row's
// trace parent is what the intake found.
func (i inbox) create(ctx context.Context, account tenants.AccountID, request core.Request) error {
	if i.tracing.dropped(ctx) {
		return i.next.Accept(ctx, account, request)
	}
	ctx, span := i.tracing.start(ctx, "create reset", trace.SpanKindProducer,
		attribute.String("messaging.system", namespace),
		attribute.String("messaging.operation.type", "create"),
		attribute.String("messaging.operation.name", "create"),
		attribute.String("messaging.destination.name", "reset"),
		attribute.String("messaging.message.id", string(request.ID)),
	)
	if parent := TraceParent(ctx); parent != "" {
		request.TraceParent = parent
	}
	err := i.inDatabase(ctx, "INSERT", "requests", func(ctx context.Context) error {
		return i.next.Accept(ctx, account, request)
	})
	finish(span, err)
	return err
}

// inDatabase runs a statement's work in a client span.
func (t *Telemetry) inDatabase(ctx context.Context, operation, table string, do func(ctx context.Context) error) error {
	ctx, span := t.tracing.start(ctx, operation+" "+table, trace.SpanKindClient, t.statement(operation, table)...)
	err := do(ctx)
	finish(span, err)
	return err
}

// statement describes a statement by what it does, never by its text or values.
func (t *Telemetry) statement(operation, table string) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("db.system.name", t.database),
		attribute.String("db.operation.name", operation),
		attribute.String("db.collection.name", table),
		attribute.String("db.query.summary", operation+" "+table),
	}
}

// finish ends a span. Of an error only its class is told: its text may hold ids.
func finish(span trace.Span, err error) {
	if err != nil {
		span.SetAttributes(attribute.String("error.type", errorType(err)))
		span.SetStatus(codes.Error, "")
	}
	span.End()
}

// errorTypes are the classes of errors that a port gives.
var errorTypes = []struct {
	err  error
	name string
}{
	{core.ErrBusy, "busy"},
	{core.ErrLeaseLost, "lease_lost"},
	{core.ErrUnknownLink, "unknown_link"},
	{core.ErrExpiredLink, "expired_link"},
	{core.ErrNotFound, "not_found"},
	{core.ErrPasswordTooLong, "password_too_long"},
	{context.DeadlineExceeded, "timeout"},
	{context.Canceled, "cancelled"},
}

func errorType(err error) string {
	for _, class := range errorTypes {
		if errors.Is(err, class.err) {
			return class.name
		}
	}
	return other
}
