package httpapi_test

import (
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/passmend/passmend/core/httpapi"
	"github.com/passmend/passmend/observability"
)

// nowhere takes spans and drops them.
type nowhere struct{}

func (nowhere) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }
func (nowhere) Shutdown(context.Context) error                             { return nil }

// observed gives an edge what cmd gives it: one request in twenty is traced. The
// log's level is such that it writes nothing, unless logged.
func observed(b *testing.B, logged bool) *edge {
	b.Helper()
	level := slog.LevelError + 1
	if logged {
		level = slog.LevelInfo
	}
	telemetry, err := observability.New(b.Context(), observability.Config{
		Version: "1.2.3", Commit: "abc1234", LogOutput: io.Discard, LogLevel: level,
		SpanExporter: nowhere{}, Getenv: func(string) string { return "" },
	})
	must(b, err)
	b.Cleanup(func() { _ = telemetry.Shutdown(context.Background()) })
	return setup(b, func(c *httpapi.Config) {
		c.Middleware, c.Observer, c.Logger = telemetry.Middleware(), telemetry, telemetry.Logger()
		intake := c.Intake.(*asks).next
		intake.Inbox, intake.TraceParent = telemetry.Inbox(intake.Inbox), observability.TraceParent
		c.Intake = intake
	})
}

// bare gives an edge that nobody observes.
func bare(b *testing.B) *edge {
	b.Helper()
	return setup(b, func(c *httpapi.Config) {
		c.Logger, c.Intake = slog.New(slog.DiscardHandler), c.Intake.(*asks).next
	})
}

// BenchmarkOverhead compares accepts through the edge into SQLite with and without
// metrics and traces, and with the log line too. Each round is one of each, in any order;
// the loss is the median over the rounds. Ask for an odd number of them:
//
//	go test -run '^$' -bench Overhead -benchtime 15x ./core/httpapi
func BenchmarkOverhead(b *testing.B) {
	const accepts = 4000
	edges := []*edge{bare(b), observed(b, false), observed(b, true)}
	rates := make([][]float64, len(edges))
	round := func(keep bool) {
		for _, at := range rand.Perm(len(edges)) { // what one leaves to do slows the next: no two always meet
			runtime.GC()
			if rate := acceptRate(b, edges[at], accepts); keep {
				rates[at] = append(rates[at], rate)
			}
		}
	}
	round(false) // caches, and the database's first pages
	b.ResetTimer()
	for range b.N {
		round(true)
	}
	b.ReportMetric(median(rates[0]), "bare-accepts/s")
	for i, name := range []string{"observed", "logged"} {
		losses := make([]float64, b.N)
		for n := range losses {
			losses[n] = 100 * (1 - rates[i+1][n]/rates[0][n])
		}
		b.ReportMetric(median(losses), name+"-loss-%")
		b.Logf("%s: loss in %% by round, sorted: %.1f", name, losses)
	}
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// acceptRate has 64 callers accept one request after the other.
func acceptRate(b *testing.B, e *edge, accepts int64) float64 {
	b.Helper()
	var left atomic.Int64
	left.Store(accepts)
	began := time.Now()
	var wait sync.WaitGroup
	for range 64 {
		wait.Go(func() {
			for left.Add(-1) >= 0 {
				request := httptest.NewRequest("POST", e.url+"/v1/accounts/acme/passwords", strings.NewReader(good))
				request.Header.Set("Content-Type", "application/vnd.api+json")
				recorder := httptest.NewRecorder()
				e.handler.ServeHTTP(recorder, request)
				if recorder.Code != http.StatusAccepted {
					b.Error(recorder.Code, recorder.Body)
					return
				}
			}
		})
	}
	wait.Wait()
	return float64(accepts) / time.Since(began).Seconds()
}
