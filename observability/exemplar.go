package observability

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
)

// observe records a time, with the trace of ctx as exemplar when it is kept.
func observe(ctx context.Context, histogram prometheus.Observer, took time.Duration) {
	observeTraced(histogram, took, keptTrace(ctx))
}

// keptTrace gives the id of the trace of ctx; empty when it is not kept.
func keptTrace(ctx context.Context) string {
	span := trace.SpanContextFromContext(ctx)
	if !span.IsSampled() {
		return ""
	}
	return span.TraceID().String()
}

// observeTraced records a time, with a trace as exemplar unless it is empty. Exemplars
// carry trace ids and nothing else (operability.md).
func observeTraced(histogram prometheus.Observer, took time.Duration, trace string) {
	if with, ok := histogram.(prometheus.ExemplarObserver); ok && trace != "" {
		with.ObserveWithExemplar(took.Seconds(), prometheus.Labels{"trace_id": trace})
		return
	}
	histogram.Observe(took.Seconds())
}
