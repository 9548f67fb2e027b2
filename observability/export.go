package observability

import (
	"context"
	"sync/atomic"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// gate stands before the SDK's batch processor and lets in no more spans than may
// wait, so that every lost span is counted. Behind the processor it stands again,
// as the exporter, to see them out, and to keep the exporter's errors from the
// SDK's handler, which would print them past our filter.
type gate struct {
	sdktrace.SpanProcessor // the batch processor
	exporter               sdktrace.SpanExporter
	waiting                atomic.Int64
	dropped                func(n int)
}

func newGate(exporter sdktrace.SpanExporter, dropped func(n int)) *gate {
	g := &gate{exporter: exporter, dropped: dropped}
	g.SpanProcessor = sdktrace.NewBatchSpanProcessor(leaving{g},
		sdktrace.WithMaxQueueSize(spanQueue),
		sdktrace.WithMaxExportBatchSize(spanBatch),
		sdktrace.WithExportTimeout(exportTimeout),
	)
	return g
}

// OnEnd never blocks.
func (g *gate) OnEnd(span sdktrace.ReadOnlySpan) {
	if !span.SpanContext().IsSampled() {
		return
	}
	if g.waiting.Add(1) > spanQueue {
		g.waiting.Add(-1)
		g.dropped(1)
		return
	}
	g.SpanProcessor.OnEnd(span)
}

// leaving is the exporter that the batch processor sees.
type leaving struct{ *gate }

func (l leaving) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	defer l.waiting.Add(-int64(len(spans)))
	if err := l.exporter.ExportSpans(ctx, spans); err != nil {
		l.dropped(len(spans))
	}
	return nil
}

func (l leaving) Shutdown(ctx context.Context) error { return l.exporter.Shutdown(ctx) }
