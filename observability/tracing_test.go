package observability

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/plugins/sdk"
)

func decodeLines(t *testing.T, text string) (lines []map[string]any) {
	t.Helper()
	scanner := bufio.NewScanner(strings.NewReader(text))
	for scanner.Scan() {
		var line map[string]any
		if err := json.Unmarshal(scanner.Bytes(), &line); err != nil {
			t.Fatalf("%v in %s", err, scanner.Text())
		}
		lines = append(lines, line)
	}
	return lines
}

// hung is an exporter that answers only when it is let go, whatever its context.
type hung struct {
	let  chan struct{}
	once sync.Once
	seen atomic.Int64
}

func newHung() *hung { return &hung{let: make(chan struct{})} }

func (h *hung) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	<-h.let
	h.seen.Add(int64(len(spans)))
	return nil
}
func (h *hung) Shutdown(context.Context) error { return nil }
func (h *hung) release()                       { h.once.Do(func() { close(h.let) }) }

func TestAnExporterThatHangsSlowsNothing(t *testing.T) {
	t.Parallel()
	exporter := newHung()
	t.Cleanup(exporter.release)
	telemetry := newTelemetry(t, discard{}, exporter, map[string]string{"OTEL_TRACES_SAMPLER": "always_on"})
	const spans = 3 * spanQueue
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range spans {
			_, span := telemetry.tracing.start(context.Background(), "x", trace.SpanKindInternal)
			span.End()
		}
	}()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Fatal("ending a span waits for the exporter")
	}
	wantSeries(t, telemetry.scrape(t, "text/plain"), "passmend_trace_spans_dropped_total 4096")

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := telemetry.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("shutdown: %v, want the deadline", err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("shutdown took %v", took)
	}
	// What was let in is not lost when the collector comes back.
	exporter.release()
	for deadline := time.Now().Add(5 * time.Second); exporter.seen.Load() != spanQueue; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d spans reached the exporter, want %d", exporter.seen.Load(), spanQueue)
		}
	}
}

// refusing is a collector that takes nothing.
type refusing struct{}

func (refusing) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error {
	return errors.New("refused " + hostileAddress)
}
func (refusing) Shutdown(context.Context) error { return nil }

func TestRefusedSpansAreCounted(t *testing.T) {
	t.Parallel()
	telemetry := newTelemetry(t, discard{}, refusing{}, map[string]string{"OTEL_TRACES_SAMPLER": "always_on"})
	for range 3 {
		_, span := telemetry.tracing.start(t.Context(), "x", trace.SpanKindInternal)
		span.End()
	}
	if err := telemetry.Shutdown(t.Context()); err != nil {
		t.Errorf("shutdown tells of the exporter: %v", err)
	}
	wantSeries(t, telemetry.scrape(t, "text/plain"), "passmend_trace_spans_dropped_total 3")
}

func TestWithoutAnEndpointNothingIsTraced(t *testing.T) {
	t.Parallel()
	for name, env := range map[string]map[string]string{
		"nothing said": {},
		"none":         {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317"},
		"disabled":     {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317"},
	} {
		b := &bundle{log: &lockedBuffer{}, spans: tracetest.NewInMemoryExporter()}
		b.Telemetry = newTelemetry(t, b.log, nil, env)
		if b.tracing.provider != nil {
			t.Errorf("%s: spans are made", name)
		}
		inbox, plugin := &fakeInbox{}, &fakePlugins{receipt: sdk.Receipt{Outcome: sdk.Accepted}}
		serveWith(b, inbox, "POST", "/v1/accounts/acme/passwords")
		deliver(t, b, inbox.got, plugin)
		if inbox.got.TraceParent != "" || plugin.got.TraceParent != "" || strings.Contains(b.log.String(), "trace_id") {
			t.Errorf("%s: a trace shows", name)
		}
		if got := len(decodeLines(t, b.log.String())); got != 2 {
			t.Errorf("%s: %d lines, want 2", name, got)
		}
	}
}

func TestAnEndpointIsEnoughAndNobodyWaitsForIt(t *testing.T) {
	t.Parallel()
	for _, env := range []map[string]string{
		{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1"},
		{"OTEL_TRACES_EXPORTER": "otlp"},
	} {
		telemetry := newTelemetry(t, discard{}, nil, env)
		if telemetry.tracing.provider == nil {
			t.Errorf("%v: nothing is traced", env)
		}
	}
}

func TestBadTracingVariablesAreRefusedByName(t *testing.T) {
	t.Parallel()
	for variable, env := range map[string]map[string]string{
		"OTEL_TRACES_EXPORTER":               {"OTEL_TRACES_EXPORTER": "console"},
		"OTEL_EXPORTER_OTLP_PROTOCOL":        {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
		"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http"},
		"OTEL_EXPORTER_OTLP_ENDPOINT":        {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317"},
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "unix:///run/collector"},
		"OTEL_TRACES_SAMPLER":                {"OTEL_TRACES_SAMPLER": "sometimes"},
		"OTEL_TRACES_SAMPLER_ARG":            {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "NaN"},
	} {
		_, err := NewTracing(t.Context(), TracingConfig{Getenv: func(name string) string { return env[name] }})
		if err == nil || !strings.Contains(err.Error(), variable+" is ") || !strings.Contains(err.Error(), "must be") {
			t.Errorf("%v: %v", env, err)
		}
	}
}

func TestWhatHasFailedBeforeIsKept(t *testing.T) {
	t.Parallel()
	for sampler, keeps := range map[string]bool{"": true, "parentbased_always_off": false, "always_off": false} {
		config := TracingConfig{Getenv: func(name string) string {
			return map[string]string{"OTEL_TRACES_SAMPLER": sampler}[name]
		}}
		chosen, err := config.sampler()
		if err != nil {
			t.Fatal(err)
		}
		provider := sdktrace.NewTracerProvider(sdktrace.WithSampler(chosen))
		tracing := &Tracing{tracer: provider.Tracer("test"), provider: provider}
		unsampled := sampledOrigin(t).WithTraceFlags(0)
		for attempt, want := range map[int]bool{1: false, 2: keeps, 7: keeps} {
			_, span := tracing.startRoot(t.Context(), "process", trace.SpanKindConsumer, unsampled,
				trace.WithAttributes(attribute.Int(attemptNumber, attempt)))
			if got := span.SpanContext().IsSampled(); got != want {
				t.Errorf("%q, attempt %d: sampled %t", sampler, attempt, got)
			}
		}
	}
}

func TestOneInTwentyIsTracedAndItsDeliveriesWithIt(t *testing.T) {
	t.Parallel()
	config := TracingConfig{Getenv: func(string) string { return "" }}
	sampler, err := config.sampler()
	if err != nil {
		t.Fatal(err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithSampler(sampler))
	tracing := &Tracing{tracer: provider.Tracer("test"), provider: provider}
	const roots = 20_000
	sampled := 0
	for range roots {
		_, root := tracing.startRoot(t.Context(), "POST", trace.SpanKindServer, sampledOrigin(t))
		_, delivery := tracing.startRoot(t.Context(), "process", trace.SpanKindConsumer, root.SpanContext())
		if delivery.SpanContext().IsSampled() != root.SpanContext().IsSampled() {
			t.Fatal("a delivery is not sampled like its request")
		}
		if root.SpanContext().IsSampled() {
			sampled++
		}
	}
	// 1,000 expected, standard deviation 31: this misses once in 10^10 runs. Had the
	// caller's sampled flag been believed, all would be.
	if sampled < 800 || sampled > 1200 {
		t.Errorf("%d of %d sampled, want about %v", sampled, roots, defaultRatio*roots)
	}
}

func sampledOrigin(t *testing.T) trace.SpanContext {
	t.Helper()
	origin, err := parseTraceParent(callersTrace)
	if err != nil || !origin.IsSampled() {
		t.Fatalf("%v, sampled %v", err, origin.IsSampled())
	}
	return origin
}

func TestTraceParentsAreReadStrictly(t *testing.T) {
	t.Parallel()
	ctx := trace.ContextWithSpanContext(t.Context(), sampledOrigin(t))
	if got := TraceParent(ctx); got != callersTrace {
		t.Errorf("%q is written as %q", callersTrace, got)
	}
	for _, bad := range []string{
		"", "00", callersTrace + "-x", "01" + callersTrace[2:], strings.ToUpper(callersTrace),
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01", "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
		strings.Replace(callersTrace, "-", "_", 3), strings.Repeat("x", 55), hostileToken,
	} {
		if origin, err := parseTraceParent(bad); err == nil || origin.IsValid() {
			t.Errorf("%q is taken as a trace parent", bad)
		}
	}
}

func TestClientAddressesAreCut(t *testing.T) {
	t.Parallel()
	for ip, want := range map[string]string{
		"203.0.113.77": "203.0.113.0/24", "::ffff:203.0.113.77": "203.0.113.0/24",
		"2001:db8:1:2:3::4": "2001:db8:1::/48", "fe80::1%eth0": "fe80::/48", "": "", "nonsense": "",
	} {
		if got := truncated(ip); got != want {
			t.Errorf("truncated(%q) = %q, want %q", ip, got, want)
		}
	}
}

func TestTheMomentOfAcceptingIsInTheRequestID(t *testing.T) {
	t.Parallel()
	// The example of RFC 9562, A.6.
	got, ok := uuidTime("017f22e2-79b0-7cc3-98c4-dc0c0c07398f")
	if want := time.Date(2022, 2, 22, 19, 22, 22, 0, time.UTC); !ok || !got.Equal(want) {
		t.Errorf("%v, %v, want %v", got, ok, want)
	}
	for _, id := range []string{"", "017f22e2-79b0-4cc3-98c4-dc0c0c07398f", "zzzzzzzz-79b0-7cc3-98c4-dc0c0c07398f"} {
		if _, ok := uuidTime(id); ok {
			t.Errorf("%q has a time", id)
		}
	}
	under := &attempt{kind: core.KindNotice, request: testRequest}
	if _, ok := under.sinceAccept(); ok {
		t.Error("a notice counts as the answer to a request")
	}
}
