package observability

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// Bounds of the spans that wait for the collector. What does not fit is dropped
// and counted; a request never waits for it.
const (
	spanQueue     = 2048
	spanBatch     = 512
	exportTimeout = 10 * time.Second
	// maxAttributeBytes bounds every text of a span.
	maxAttributeBytes = 256
)

// TracingConfig says where spans go. Besides it the standard OTEL_* variables
// count: OTEL_SDK_DISABLED, OTEL_TRACES_EXPORTER (otlp or none),
// OTEL_EXPORTER_OTLP_(TRACES_)ENDPOINT, _PROTOCOL (grpc or http/protobuf) and their
// companions, OTEL_TRACES_SAMPLER(_ARG), OTEL_BSP_SCHEDULE_DELAY, OTEL_SERVICE_NAME,
// OTEL_RESOURCE_ATTRIBUTES.
type TracingConfig struct {
	ServiceVersion string
	// Exporter takes the spans; nil: OTLP when the environment names an endpoint, else
	// nothing is traced.
	Exporter sdktrace.SpanExporter
	// Dropped is told of spans that were lost; nil: nobody is told.
	Dropped func(n int)
	// Getenv reads the environment; nil: os.Getenv.
	Getenv func(name string) string
}

func (c *TracingConfig) validate() error {
	if c.Dropped == nil {
		c.Dropped = func(int) {}
	}
	if c.Getenv == nil {
		c.Getenv = os.Getenv
	}
	switch exporter := c.env("OTEL_TRACES_EXPORTER"); exporter {
	case "", "otlp", "none":
	default:
		return fmt.Errorf("OTEL_TRACES_EXPORTER is %q, must be otlp or none", exporter)
	}
	return c.validateOTLP()
}

func (c *TracingConfig) env(name string) string { return strings.TrimSpace(c.Getenv(name)) }

// Tracing makes spans and sends them on in the background.
type Tracing struct {
	tracer   trace.Tracer             // nil with provider
	provider *sdktrace.TracerProvider // nil: nothing is traced
}

// NewTracing reads the environment and, when there is somewhere to send spans to,
// starts the one goroutine that sends them; Shutdown ends it. It does not wait for
// the collector. Its error names the variable and the values it takes.
func NewTracing(ctx context.Context, c TracingConfig) (*Tracing, error) {
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	sampler, err := c.sampler()
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	if c.Exporter == nil {
		if !c.exports() {
			return &Tracing{}, nil
		}
		if c.Exporter, err = c.exporter(ctx); err != nil {
			return nil, fmt.Errorf("tracing: %w", err)
		}
	}
	about, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", namespace), attribute.String("service.version", c.ServiceVersion)),
		resource.WithTelemetrySDK(),
		resource.WithProcessPID(),
		resource.WithFromEnv(), // last, so that it wins
	)
	if err != nil {
		return nil, fmt.Errorf("tracing: OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	limits := sdktrace.NewSpanLimits()
	limits.AttributeValueLengthLimit = maxAttributeBytes
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithResource(about),
		sdktrace.WithSampler(sampler),
		sdktrace.WithRawSpanLimits(limits),
		// A panic's text may hold anything; the edge and the worker tell of it.
		sdktrace.WithoutPanicRecording(),
		sdktrace.WithSpanProcessor(newGate(c.Exporter, c.Dropped)),
	)
	return &Tracing{tracer: provider.Tracer(namespace), provider: provider}, nil
}

// Shutdown sends what is waiting and ends the exporter, or gives up when ctx ends.
// Spans that end later are lost.
func (t *Tracing) Shutdown(ctx context.Context) error {
	if t.provider == nil {
		return nil
	}
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("send the last spans: %w", err)
	}
	return nil
}

// start opens a span below that of ctx. Below one that is not kept there is none: every
// sampler here decides so, and the one request in twenty that is kept is to pay.
func (t *Tracing) start(ctx context.Context, name string, kind trace.SpanKind, attributes ...attribute.KeyValue) (context.Context, trace.Span) {
	if t.dropped(ctx) {
		return ctx, noop.Span{}
	}
	return t.tracer.Start(ctx, name, trace.WithSpanKind(kind), trace.WithAttributes(attributes...))
}

// dropped says whether nothing that begins below the span of ctx is kept.
func (t *Tracing) dropped(ctx context.Context) bool {
	if t.provider == nil {
		return true
	}
	parent := trace.SpanContextFromContext(ctx)
	return parent.IsValid() && !parent.IsSampled()
}

// startRoot opens a span of a new trace, linked to where the work came from.
func (t *Tracing) startRoot(
	ctx context.Context, name string, kind trace.SpanKind, from trace.SpanContext, options ...trace.SpanStartOption,
) (context.Context, trace.Span) {
	if t.provider == nil {
		return ctx, noop.Span{}
	}
	options = append(options, trace.WithNewRoot(), trace.WithSpanKind(kind))
	if from.IsValid() {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: from}))
	}
	return t.tracer.Start(ctx, name, options...)
}

// past records, below the span of ctx, what was over before anybody knew that it
// belonged there.
func (t *Tracing) past(ctx context.Context, name string, began time.Time, took time.Duration, attributes ...attribute.KeyValue) {
	if t.dropped(ctx) {
		return
	}
	_, span := t.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(began), trace.WithAttributes(attributes...))
	span.End(trace.WithTimestamp(began.Add(took)))
}

// TraceParent gives the W3C trace parent (Trace Context, section 3.2) of the span
// in ctx; empty when nothing is traced.
func TraceParent(ctx context.Context) string {
	span := trace.SpanContextFromContext(ctx)
	if !span.IsValid() {
		return ""
	}
	return "00-" + span.TraceID().String() + "-" + span.SpanID().String() + "-" + span.TraceFlags().String()
}

var errTraceParent = errors.New("not a W3C trace parent")

// parseTraceParent reads version 00, strictly. There is no trace state: it is free
// text of whoever sent it.
func parseTraceParent(s string) (trace.SpanContext, error) {
	if len(s) != 55 || s[:3] != "00-" || s[35] != '-' || s[52] != '-' {
		return trace.SpanContext{}, errTraceParent
	}
	id, err := trace.TraceIDFromHex(s[3:35])
	if err != nil {
		return trace.SpanContext{}, errTraceParent
	}
	span, err := trace.SpanIDFromHex(s[36:52])
	if err != nil {
		return trace.SpanContext{}, errTraceParent
	}
	var flags trace.TraceFlags
	if s[53:] == "01" {
		flags = trace.FlagsSampled
	}
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: span, TraceFlags: flags, Remote: true}), nil
}
