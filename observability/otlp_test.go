package observability

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// mute takes connections and never says a word.
func mute(t *testing.T) (endpoint string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var taken []net.Conn
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			taken = append(taken, conn)
			mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		mu.Lock()
		defer mu.Unlock()
		for _, conn := range taken {
			_ = conn.Close()
		}
	})
	return "http://" + listener.Addr().String()
}

// The exporters read the process's environment: no other test may run beside this.
func TestACollectorThatNeverAnswersSlowsNothing(t *testing.T) {
	for _, protocol := range []string{overGRPC, overHTTP} {
		t.Run(protocol, func(t *testing.T) {
			endpoint := mute(t)
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
			config := TracingConfig{Getenv: func(name string) string {
				return map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}[name]
			}}
			exporter, err := config.exporter(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			telemetry := newTelemetry(t, discard{}, exporter, map[string]string{"OTEL_TRACES_SAMPLER": "always_on"})
			const spans = 2 * spanQueue
			if !endsInTime(10*time.Second, spans, func() trace.Span {
				_, span := telemetry.tracing.start(context.Background(), "x", trace.SpanKindInternal)
				return span
			}) {
				t.Error("ending a span waits for the collector")
			}
			scrape := telemetry.scrape(t, "text/plain")
			if strings.Contains(scrape, "passmend_trace_spans_dropped_total 0\n") {
				t.Error("what was dropped is not counted")
			}
			// The control: by a processor that waits for the exporter, the same takes for ever.
			provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))
			if endsInTime(time.Second, 1, func() trace.Span {
				_, span := provider.Tracer("x").Start(context.Background(), "x")
				return span
			}) {
				t.Error("the collector answers: the test shows nothing")
			}
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			_ = telemetry.Shutdown(ctx)
		})
	}
}

// endsInTime says whether so many spans can be begun and ended within a time.
func endsInTime(within time.Duration, spans int, begin func() trace.Span) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range spans {
			begin().End()
		}
	}()
	select {
	case <-done:
		return true
	case <-time.After(within):
		return false
	}
}
