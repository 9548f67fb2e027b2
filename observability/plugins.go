package observability

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/plugins/sdk"
)

// sendMethod names the call in spans, as gRPC does.
const sendMethod = "passmend.provider.v1.Provider/Send"

// maxSteps of an answer are shown: a plugin is a stranger.
const maxSteps = 16

// Plugins traces and counts what is handed to plugins, hands the trace on, and
// shows the steps that the plugin tells of.
func (t *Telemetry) Plugins(next core.Plugins) core.Plugins { return plugins{next, t} }

type plugins struct {
	next core.Plugins
	t    *Telemetry
}

func (p plugins) Send(ctx context.Context, plugin string, request sdk.SendRequest) (sdk.Receipt, error) {
	label, version := p.t.plugins.of(plugin)
	ctx, span := p.t.tracing.start(ctx, sendMethod, trace.SpanKindClient,
		attribute.String("rpc.system.name", "grpc"),
		attribute.String("rpc.method", sendMethod),
		attribute.String("passmend.plugin.name", label),
		attribute.String("passmend.plugin.version", version),
	)
	if parent := TraceParent(ctx); parent != "" {
		request.TraceParent = parent
	}
	began := time.Now()
	receipt, err := p.next.Send(ctx, plugin, request)
	took := time.Since(began)

	result, steps := string(receipt.Outcome), receipt.Steps
	if err != nil {
		failure := sdk.FailureOf(err)
		result, steps = string(failure.Kind), failure.Steps
	}
	result = results.of(result)
	p.t.showSteps(ctx, began, took, steps)
	endCall(span, result, err == nil)
	p.t.deliveryAttempts.WithLabelValues(label, result, otherAccount).Inc()
	observe(ctx, p.t.deliveryDuration.WithLabelValues(label), took)
	if under := attemptOf(ctx); under != nil {
		under.sent(label, result)
		if since, ok := under.sinceAccept(); ok && err == nil {
			observe(ctx, p.t.acceptToAck.WithLabelValues(label), since)
		}
	}
	return receipt, err
}

// endCall tells the outcome in our words and, where it is certain, in gRPC's: only
// a call without an answer leaves its outcome unknown.
func endCall(span trace.Span, result string, ok bool) {
	span.SetAttributes(attribute.String("passmend.outcome", result))
	switch {
	case ok:
		span.SetAttributes(attribute.String("rpc.response.status_code", "OK"))
	case result == string(sdk.Unknown):
		span.SetAttributes(attribute.String("rpc.response.status_code", "UNKNOWN"))
		fallthrough
	default:
		span.SetAttributes(attribute.String("error.type", result))
		span.SetStatus(codes.Error, "")
	}
	span.End()
}

// showSteps writes the plugin's steps as spans below the call. Their clock starts
// when the plugin is entered, a little after ours; what would stick out of the call
// is cut, and a name that is not on the list is "other".
func (t *Telemetry) showSteps(ctx context.Context, began time.Time, took time.Duration, steps []sdk.Step) {
	if !trace.SpanFromContext(ctx).IsRecording() {
		return
	}
	for _, step := range steps[:min(len(steps), maxSteps)] {
		from := min(max(step.Start, 0), took)
		length := min(max(step.Duration, 0), took-from)
		_, span := t.tracing.tracer.Start(ctx, stepNames.of(step.Name), trace.WithTimestamp(began.Add(from)))
		span.End(trace.WithTimestamp(began.Add(from + length)))
	}
}
