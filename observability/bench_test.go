package observability

import (
	"context"
	"net/http"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// nowhere takes spans and drops them.
type nowhere struct{}

func (nowhere) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }
func (nowhere) Shutdown(context.Context) error                             { return nil }

// BenchmarkAccept is what logs, metrics and traces cost one request, the router and
// the test's own recorder included.
func BenchmarkAccept(b *testing.B) {
	for name, exporter := range map[string]sdktrace.SpanExporter{"untraced": nil, "one in twenty": nowhere{}} {
		b.Run(name, func(b *testing.B) {
			telemetry, err := New(b.Context(), Config{Version: "1.2.3", Commit: "abc", LogOutput: discard{}, SpanExporter: exporter, Getenv: func(string) string { return "" }})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = telemetry.Shutdown(context.Background()) }()
			handler := router(&bundle{Telemetry: telemetry}, &fakeInbox{})
			request, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "/v1/accounts/acme/passwords", http.NoBody)
			if err != nil {
				b.Fatal(err)
			}
			request.RemoteAddr = "203.0.113.77:4711"
			b.ReportAllocs()
			for b.Loop() {
				handler.ServeHTTP(&sink{header: http.Header{}}, request)
			}
		})
	}
}

type sink struct{ header http.Header }

func (s *sink) Header() http.Header       { return s.header }
func (*sink) Write(p []byte) (int, error) { return len(p), nil }
func (*sink) WriteHeader(int)             {}
