package observability

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/plugins/sdk"
)

// Resolver plans requests, as core.Resolver does.
type Resolver interface {
	Resolve(ctx context.Context, delivery core.Delivery) (core.Plan, error)
}

// Resolver puts a span round the planning of a request. What the plan is does not
// show in it.
func (t *Telemetry) Resolver(next Resolver) Resolver { return resolver{next, t} }

type resolver struct {
	next Resolver
	t    *Telemetry
}

func (r resolver) Resolve(ctx context.Context, delivery core.Delivery) (core.Plan, error) {
	ctx, span := r.t.tracing.start(ctx, "resolve request", trace.SpanKindInternal)
	plan, err := r.next.Resolve(ctx, delivery)
	finish(span, err)
	return plan, err
}

// Renderer puts a span round the making of a mail.
func (t *Telemetry) Renderer(next core.Renderer) core.Renderer { return renderer{next, t} }

type renderer struct {
	next core.Renderer
	t    *Telemetry
}

func (r renderer) Mail(ctx context.Context, facts core.MailFacts) (sdk.Mail, error) {
	ctx, span := r.t.tracing.start(ctx, "render mail", trace.SpanKindInternal,
		attribute.String("passmend.mail.template", templates.of(facts.Template)))
	mail, err := r.next.Mail(ctx, facts)
	finish(span, err)
	return mail, err
}

// tellSettlement adds to the span of ctx what an attempt leads to, where that is
// not the end: another attempt, another provider, or a wait that is no attempt.
func tellSettlement(ctx context.Context, settlement core.Settlement) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() || settlement.State != core.DeliveryQueued {
		return
	}
	facts := []attribute.KeyValue{attribute.Int64("passmend.delay_ms", settlement.Delay.Milliseconds())}
	if settlement.Attempt != nil {
		facts = append(facts, attribute.String("passmend.result", results.of(settlement.Attempt.Outcome)))
	}
	name := "retry"
	switch {
	case settlement.Parked != "":
		name = "parked"
	case settlement.Snoozed:
		name = "snoozed"
	case settlement.Event != nil && settlement.Event.Name == core.EventFailedOver:
		name = "failover"
	}
	span.AddEvent(name, trace.WithAttributes(facts...))
}
