package observability

import (
	"context"
	"regexp"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/passmend/passmend/core"
)

// exemplarsOf gives the trace ids among the exemplars of a histogram, and how often it
// has measured.
func (b *bundle) exemplarsOf(t *testing.T, histogram string) (traces []string, measured string) {
	t.Helper()
	scrape := b.scrape(t, "application/openmetrics-text; version=1.0.0")
	for _, found := range regexp.MustCompile(`(?m)^passmend_`+histogram+`_bucket\{.*# \{trace_id="([0-9a-f]{32})"\}`).FindAllStringSubmatch(scrape, -1) {
		traces = append(traces, found[1])
	}
	if found := regexp.MustCompile(`(?m)^passmend_` + histogram + `_count\S* (\d+)`).FindStringSubmatch(scrape); found != nil {
		measured = found[1]
	}
	return traces, measured
}

// claimOf has a claim of so many deliveries worked on, all for the request of ctx,
// and gives the trace of the first.
func (b *bundle) claimOf(ctx context.Context, t *testing.T, n int) (first string) {
	t.Helper()
	claim := core.Claim{}
	for i := range n {
		claim.Deliveries = append(claim.Deliveries, core.Delivery{
			Lease: core.LeaseID(rune('a' + i)), Kind: core.KindMail, Attempt: 1, Account: testAccount, TraceParent: TraceParent(ctx),
		})
	}
	if _, err := b.Queue(fakeQueue{claim: claim}).Claim(t.Context(), core.ClaimAsk{}); err != nil {
		t.Fatal(err)
	}
	for i, delivery := range claim.Deliveries {
		b.Process(t.Context(), delivery, func(ctx context.Context) string {
			if i == 0 {
				first = keptTrace(ctx)
			}
			return "ok"
		})
	}
	return first
}

// operability.md: exemplars carry trace ids only. What is measured in a trace that is
// kept has one, and it leads to where the time shows.
func TestTimesOfCallsCommitsAndClaimsLeadToTheirTrace(t *testing.T) {
	t.Parallel()
	for histogram, measure := range map[string]func(ctx context.Context, t *testing.T, b *bundle) (trace string){
		"plugin_rpc_duration_seconds": func(ctx context.Context, _ *testing.T, b *bundle) string {
			b.Call(ctx, "smtp", "Send", "accepted", time.Millisecond)
			return keptTrace(ctx)
		},
		"db_tx_duration_seconds": func(ctx context.Context, _ *testing.T, b *bundle) string {
			b.Commit("accept", 1, 0, time.Millisecond, b.Trace(ctx))
			return keptTrace(ctx)
		},
		// Three deliveries, and one claim.
		"queue_claim_duration_seconds": func(ctx context.Context, t *testing.T, b *bundle) string { return b.claimOf(ctx, t, 3) },
	} {
		t.Run(histogram, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			ctx, span := b.tracing.start(t.Context(), "create reset", trace.SpanKindProducer)
			defer span.End()
			want := measure(ctx, t, b)
			if traces, measured := b.exemplarsOf(t, histogram); want == "" || measured != "1" || len(traces) != 1 || traces[0] != want {
				t.Errorf("measured %s times, with exemplars of %q, want one of %q", measured, traces, want)
			}
			// What is not kept is measured, and leads nowhere.
			b = setup(t)
			measure(t.Context(), t, b)
			if traces, measured := b.exemplarsOf(t, histogram); measured != "1" || len(traces) != 0 {
				t.Errorf("without a trace: measured %s times, with exemplars of %q", measured, traces)
			}
		})
	}
}

// A claim that brings nothing is a claim.
func TestAnEmptyClaimIsMeasured(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.claimOf(t.Context(), t, 0)
	if _, measured := b.exemplarsOf(t, "queue_claim_duration_seconds"); measured != "1" {
		t.Errorf("measured %s times", measured)
	}
}
