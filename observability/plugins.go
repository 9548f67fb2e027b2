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
	ctx, span := p.t.tracing.start(ctx, sendMethod, trace.SpanKindClient,
		attribute.String("rpc.system.name", "grpc"),
		attribute.String("rpc.method", sendMethod),
	)
	if parent := TraceParent(ctx); parent != "" {
		request.TraceParent = parent
	}
	reached := new(process)
	if span.IsRecording() {
		ctx = context.WithValue(ctx, processKey{}, reached)
	}
	began := time.Now()
	receipt, err := p.next.Send(ctx, plugin, request)
	took := time.Since(began)

	result, steps, code := string(receipt.Outcome), receipt.Steps, receipt.Code
	if err != nil {
		failure := sdk.FailureOf(err)
		result, steps, code = string(failure.Kind), failure.Steps, failure.Code
	}
	result = results.of(result)
	// Only now: a plugin that was waited for has become known meanwhile.
	label, version := p.t.plugins.of(plugin)
	if span.IsRecording() {
		span.SetAttributes(attribute.String("passmend.plugin.name", label), attribute.String("passmend.plugin.version", version))
		p.t.showInside(ctx, request.Event, call{began: began, took: took, steps: steps, code: code, pid: int(reached.pid.Load())})
	}
	endCall(span, result, err == nil)
	p.t.deliveryAttempts.with(label, result, p.t.ranking.of(accountOf(ctx))).Inc()
	observe(ctx, p.t.deliveryDuration.with(label), took)
	if under := attemptOf(ctx); under != nil {
		if under.kind == core.KindWebhook {
			p.t.countWebhook(ctx, result, took)
		}
		under.sent(label, result)
		if since, ok := under.sinceAccept(); ok && err == nil {
			observe(ctx, p.t.acceptToAck.with(label), since)
		}
	}
	return receipt, err
}

// countWebhook counts an attempt to post an event. The plugin that posts calls a
// destination that it may not reach misconfigured, and nothing else.
func (t *Telemetry) countWebhook(ctx context.Context, result string, took time.Duration) {
	t.webhookAttempts.with(result).Inc()
	observe(ctx, t.webhookDuration.with(result), took)
	if result == string(sdk.Misconfigured) {
		t.webhookBlocked.with("destination").Inc()
	}
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
