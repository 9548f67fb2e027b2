package observability

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/plugins/sdk"
)

// contract is what operability.md says of the families that are built.
var contract = map[string][]string{
	"passmend_http_requests_total":           {"code", "method", "route"},
	"passmend_http_request_duration_seconds": {"method", "route"},
	"passmend_http_inflight_requests":        {"listener"},
	"passmend_requests_accepted_total":       {"account"},
	"passmend_requests_rejected_total":       {"reason"},
	"passmend_rate_limited_total":            {"action", "scope"},
	"passmend_requests_terminal_total":       {"account", "reason", "state"},
	"passmend_ledger_requests":               {"state"},
	"passmend_ledger_imbalance":              nil,
	"passmend_queue_wait_seconds":            {"lane"},
	"passmend_jobs_total":                    {"lane", "outcome"},
	"passmend_jobs_rescued_total":            {"lane"},
	"passmend_accept_to_ack_seconds":         {"provider"},
	"passmend_delivery_attempts_total":       {"account", "provider", "result"},
	"passmend_delivery_failovers_total":      {"result"},
	"passmend_plugin_breaker_state":          {"plugin"},
	"passmend_delivery_duration_seconds":     {"provider"},
	"passmend_plugin_up":                     {"plugin", "protocol", "version"},
	"passmend_plugin_info":                   {"plugin", "protocol", "version"},
	"passmend_plugin_restarts_total":         {"plugin", "reason"},
	"passmend_plugin_rpc_duration_seconds":   {"method", "plugin"},
	"passmend_plugin_rpc_errors_total":       {"code", "method", "plugin"},
	"passmend_hash_duration_seconds":         {"algorithm"},
	"passmend_hash_rejected_total":           nil,
	"passmend_db_pool_wait_seconds":          nil,
	"passmend_db_tx_duration_seconds":        {"op"},
	"passmend_db_errors_total":               {"class"},
	"passmend_redactions_total":              {"sink"},
	"passmend_trace_spans_dropped_total":     nil,
	"passmend_build_info":                    {"commit", "goversion", "version"},
}

// exercise makes every family appear, with word wherever a caller gives one.
func exercise(t *testing.T, b *bundle, word string) {
	t.Helper()
	b.Balance(func(context.Context) (core.Balance, error) {
		return core.Balance{Accepted: 3, States: map[core.RequestState]int64{core.StateSent: 2, core.RequestState(word): 1}}, nil
	})
	b.Commit(word, 3, time.Millisecond, time.Millisecond)
	b.Error(word)
	b.PluginStarted(word, word)
	b.PluginExited(word, word)
	b.BreakerState(word, 1)
	b.Call(word, word, word, time.Millisecond)
	b.Rejected(word)
	b.RateLimited(word, word)
	b.Hashed(word, 0, 0)
	b.Hashed("hash", 0, time.Millisecond)
	b.Reaped(2)
	b.Redacted(word)(1)
	b.ended(core.RequestState(word), core.Reason(word))

	_ = b.Inbox(&fakeInbox{}).Accept(t.Context(), testAccount, core.Request{ID: core.RequestID(word)})
	mail := core.Delivery{Kind: core.KindMail, Request: testRequest, Attempt: 1, Queued: time.Now(), Now: time.Now()}
	for _, delivery := range []core.Delivery{mail, {Kind: core.Kind(word), Request: core.RequestID(word), TraceParent: word}} {
		b.Process(t.Context(), delivery, func(ctx context.Context) string {
			_, _ = b.Plugins(&fakePlugins{receipt: sdk.Receipt{Outcome: sdk.Outcome(word)}}).Send(ctx, word, sdk.SendRequest{})
			_, _ = b.Plugins(&fakePlugins{err: &sdk.Failure{Kind: sdk.Outcome(word)}}).Send(ctx, word, sdk.SendRequest{})
			return word
		})
	}
	serve(b, word, word)
}

func TestFamiliesAndLabelsAreThoseOfTheContract(t *testing.T) {
	t.Parallel()
	b := setup(t)
	exercise(t, b, "smtp")
	families, err := b.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for _, family := range families {
		if !strings.HasPrefix(family.GetName(), namespace+"_") {
			continue
		}
		got[family.GetName()] = nil
		for _, pair := range family.GetMetric()[0].GetLabel() {
			got[family.GetName()] = append(got[family.GetName()], pair.GetName())
		}
		slices.Sort(got[family.GetName()])
	}
	if diff := cmp.Diff(contract, got); diff != "" {
		t.Errorf("families (-contract +registry):\n%s", diff)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		t.Errorf("%s: %s", problem.Metric, problem.Text)
	}
}

// personal finds what must not be in a scrape: addresses, UUIDs, tokens.
var personal = regexp.MustCompile(`@|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-|[A-Za-z0-9_-]{43,}`)

func TestHostileValuesNeverBecomeLabels(t *testing.T) {
	t.Parallel()
	if !personal.MatchString(hostileAddress) || !personal.MatchString(hostileUUID) || !personal.MatchString(hostileToken) {
		t.Fatal("the search finds nothing")
	}
	b := setup(t)
	before := strings.Count(b.scrape(t, "text/plain"), "\n")
	for _, word := range []string{hostileAddress, hostileUUID, hostileToken, hostileAPIToken, "a\nb", `a"b`, "\xff", strings.Repeat("x", 99)} {
		b.Redacted(word)
		b.Commit(word, 1, 0, 0)
		b.Error(word)
		b.PluginStarted(word, word)
		b.PluginExited(word, word)
		b.Call(word, word, word, 0)
		b.Rejected(word)
		b.RateLimited(word, word)
		b.ended(core.RequestState(word), core.Reason(word))
		b.Process(t.Context(), core.Delivery{Kind: core.Kind(word)}, func(ctx context.Context) string {
			_, _ = b.Plugins(&fakePlugins{err: &sdk.Failure{Kind: sdk.Outcome(word)}}).Send(ctx, word, sdk.SendRequest{})
			return word
		})
		serve(b, "M"+word, "/no/"+word)
	}
	scrape := b.scrape(t, "text/plain")
	for line := range strings.Lines(scrape) {
		if strings.HasPrefix(line, namespace) && personal.MatchString(strings.NewReplacer("passmend_accept_to_ack", "").Replace(line[strings.IndexAny(line, "{ "):])) {
			t.Errorf("personal: %s", line)
		}
	}
	if grown := strings.Count(scrape, "\n") - before; grown > 250 {
		t.Errorf("%d new lines: the label sets are not closed", grown)
	}
	wantSeries(t, scrape, `passmend_requests_rejected_total{reason="other"} 8`, `passmend_jobs_total{lane="other",outcome="other"} 8`)

	// The control: the same search finds a label that was let through.
	b.rejected.WithLabelValues(hostileAddress)
	if !personal.MatchString(regexp.MustCompile(`reason="[^"]*example[^"]*"`).FindString(b.scrape(t, "text/plain"))) {
		t.Error("the search misses an address that is there")
	}
}

func TestLearnedNamesAreBounded(t *testing.T) {
	t.Parallel()
	known := newNames(2)
	for _, name := range []string{"smtp", "postmark", "webhook", "Smtp", "", "a@b", strings.Repeat("a", 33)} {
		want := other
		if name == "smtp" || name == "postmark" {
			want = name
		}
		if got := known.learn(name, "1.0.0"); got != want {
			t.Errorf("learn(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestAPluginShowsUpAndDownWithOneVersion(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.PluginStarted("smtp", "1.0.0")
	b.PluginExited("smtp", "exit")
	b.PluginStarted("smtp", "1.1.0")
	scrape := b.scrape(t, "text/plain")
	wantSeries(t, scrape,
		`passmend_plugin_up{plugin="smtp",protocol="1",version="1.1.0"} 1`,
		`passmend_plugin_restarts_total{plugin="smtp",reason="exit"} 1`)
	if strings.Contains(scrape, "1.0.0") {
		t.Error("the old version is still shown")
	}
	b.PluginExited("smtp", "stop")
	scrape = b.scrape(t, "text/plain")
	wantSeries(t, scrape, `passmend_plugin_up{plugin="smtp",protocol="1",version="1.1.0"} 0`)
	if strings.Contains(scrape, `reason="stop"`) {
		t.Error("a stop that was asked for counts as a restart")
	}
}

func TestOpenMetricsCarriesTraceIDsAsExemplars(t *testing.T) {
	t.Parallel()
	b := setup(t)
	serve(b, "POST", "/v1/accounts/acme/passwords")
	scrape := b.scrape(t, "application/openmetrics-text; version=1.0.0")
	trace := b.finished(t)["POST /v1/accounts/{account}/passwords"].SpanContext.TraceID().String()
	if !strings.Contains(scrape, `# {trace_id="`+trace+`"}`) {
		t.Errorf("no exemplar with trace %s", trace)
	}
}

func TestTheLedgerIsSummedAtMostEveryFiveSeconds(t *testing.T) {
	t.Parallel()
	now, reads, down := time.Unix(0, 0), 0, error(nil)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(newBalance(func(ctx context.Context) (core.Balance, error) {
		if _, bounded := ctx.Deadline(); !bounded {
			t.Error("the query has no deadline")
		}
		reads++
		return core.Balance{Accepted: 10, States: map[core.RequestState]int64{core.StateSent: 6, core.StatePending: 3}}, down
	}, func() time.Time { return now }))
	gather := func() map[string]float64 {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		values := map[string]float64{}
		for _, family := range families {
			for _, metric := range family.GetMetric() {
				name := family.GetName()
				for _, pair := range metric.GetLabel() {
					name += " " + pair.GetValue()
				}
				values[name] = metric.GetGauge().GetValue()
			}
		}
		return values
	}
	want := map[string]float64{
		"passmend_ledger_imbalance":        1,
		"passmend_ledger_requests pending": 3, "passmend_ledger_requests sent": 6,
		"passmend_ledger_requests suppressed": 0, "passmend_ledger_requests failed": 0,
		"passmend_ledger_requests expired": 0, "passmend_ledger_requests superseded": 0, "passmend_ledger_requests redeemed": 0,
	}
	for range 3 {
		if diff := cmp.Diff(want, gather()); diff != "" {
			t.Fatalf("balance (-want +got):\n%s", diff)
		}
	}
	if reads != 1 {
		t.Errorf("%d reads within the same moment, want 1", reads)
	}
	now, down = now.Add(balanceAge), errors.New("database is away")
	if got := gather(); len(got) != 0 || reads != 2 {
		t.Errorf("with the database away: %v after %d reads, want no series after 2", got, reads)
	}
}
