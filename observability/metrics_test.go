package observability

import (
	"context"
	"errors"
	"os"
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
	"github.com/passmend/passmend/tenants"
)

// exercise makes every family appear, with word wherever a caller gives one.
func exercise(t *testing.T, b *bundle, word string) {
	t.Helper()
	b.Balance(func(context.Context) (core.Balance, error) {
		return core.Balance{Accepted: 3, States: map[core.RequestState]int64{core.StateSent: 2, core.RequestState(word): 1}}, nil
	})
	b.Commit(word, 3, time.Millisecond, time.Millisecond, "")
	b.Error(word)
	b.PluginStarted(word, word)
	b.PluginExited(word, word)
	b.BreakerState(word, 1)
	b.Call(t.Context(), word, word, word, time.Millisecond)
	b.Rejected(word)
	b.RateLimited(word, word)
	b.Hashed(t.Context(), word, 0, 0)
	b.Hashed(t.Context(), "hash", 0, time.Millisecond)
	b.Lapsed(word, 2, 1)
	b.Maintained(word)
	b.Sandboxed(word, word, true)
	b.Line(word, word, false)
	b.Line(word, word, true)
	b.LinkOpened(word)
	b.CertExpires(word, time.Now())
	b.CanaryBegan(word)
	b.Canary(word, word, time.Second)
	b.CanaryLink(word, false)
	b.Backlog(func(context.Context) ([]core.Backlog, error) {
		return []core.Backlog{{Account: testAccount, Kind: core.Kind(word), State: word, Deliveries: 1}}, nil
	})
	b.Holds(func(context.Context) ([]core.HoldCount, error) {
		return []core.HoldCount{{Scope: word, State: word, Holds: 1}}, nil
	})
	b.Endpoints(func(context.Context) (map[string]int64, error) { return map[string]int64{word: 1}, nil })
	b.Hashing(func() (running, waiting int) { return 1, 2 })
	b.Database(func() (used, idle, most int) { return 1, 2, 3 }, func() (int64, bool) { return 4, true })
	b.Disks(map[string]string{"data": t.TempDir(), word: t.TempDir()})
	b.KeySlots(map[string]time.Time{"token": time.Now().Add(-time.Hour), word: time.Now()})
	b.Processes(func() map[string]int { return map[string]int{word: os.Getpid()} })
	_, _ = b.Queue(fakeQueue{}).Claim(t.Context(), core.ClaimAsk{})
	_, _ = b.Redeemer(fakeRedeemer{}).Redeem(t.Context(), tenants.Account{}, core.UserRef{}, tenants.Secret{}, tenants.Secret{})
	b.Redacted(word)(1)
	b.ended(tenants.AccountID(word), core.RequestState(word), core.Reason(word))
	_, _ = b.Reports(&fakeReports{}).Report(t.Context(), testAccount, core.Report{ProviderEvent: core.ProviderEvent{Kind: word}})

	_ = b.Inbox(&fakeInbox{}).Accept(t.Context(), testAccount, core.Request{ID: core.RequestID(word)})
	mail := core.Delivery{Kind: core.KindMail, Request: testRequest, Attempt: 1, Queued: time.Now(), Now: time.Now()}
	hook := core.Delivery{Kind: core.KindWebhook, Request: testRequest, Attempt: 1}
	for _, delivery := range []core.Delivery{mail, hook, {Kind: core.Kind(word), Request: core.RequestID(word), TraceParent: word}} {
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
	got := map[string]string{}
	for _, family := range families {
		name, ours := strings.CutPrefix(family.GetName(), namespace+"_")
		if !ours {
			continue
		}
		words := []string{strings.ToLower(family.GetType().String())}
		for _, pair := range family.GetMetric()[0].GetLabel() {
			words = append(words, pair.GetName())
		}
		slices.Sort(words[1:])
		got[name] = strings.Join(words, " ")
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
		b.Commit(word, 1, 0, 0, "")
		b.Error(word)
		b.PluginStarted(word, word)
		b.PluginExited(word, word)
		b.Call(t.Context(), word, word, word, 0)
		b.Rejected(word)
		b.RateLimited(word, word)
		b.ended(tenants.AccountID(word), core.RequestState(word), core.Reason(word))
		_, _ = b.Reports(&fakeReports{}).Report(t.Context(), testAccount, core.Report{ProviderEvent: core.ProviderEvent{Kind: word}})
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
	leak := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "leak_total"}, []string{"reason"})
	b.registry.MustRegister(leak)
	leak.WithLabelValues(hostileAddress)
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

func TestHoldsAreShownByScopeAndState(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.Holds(func(context.Context) ([]core.HoldCount, error) {
		return []core.HoldCount{{Scope: core.HoldOfAccount, State: core.HoldHeld, Holds: 2}, {Scope: core.HoldOfAll, State: core.HoldDraining, Holds: 1}}, nil
	})
	wantSeries(t, b.scrape(t, "text/plain"),
		`passmend_holds{scope="account",state="draining"} 0`, `passmend_holds{scope="account",state="held"} 2`,
		`passmend_holds{scope="all",state="draining"} 1`, `passmend_holds{scope="all",state="held"} 0`,
		`passmend_holds{scope="provider",state="draining"} 0`, `passmend_holds{scope="provider",state="held"} 0`)
	away := setup(t)
	away.Holds(func(context.Context) ([]core.HoldCount, error) { return nil, errors.New("database is away") })
	if scrape := away.scrape(t, "text/plain"); strings.Contains(scrape, "passmend_holds{") {
		t.Error("with the database away there are numbers")
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

func TestTheLedgerIsSummedAtMostEveryHalfMinute(t *testing.T) {
	t.Parallel()
	now, reads, down := time.Unix(0, 0), 0, error(nil)
	b := setup(t)
	b.balance(func(ctx context.Context) (core.Balance, error) {
		if _, bounded := ctx.Deadline(); !bounded {
			t.Error("the query has no deadline")
		}
		reads++
		return core.Balance{Accepted: 10, States: map[core.RequestState]int64{core.StateSent: 6, core.StatePending: 3}}, down
	}, func() time.Time { return now })
	gather := func() map[string]float64 {
		families, err := b.registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		values := map[string]float64{}
		for _, family := range families {
			for _, metric := range family.GetMetric() {
				if !strings.HasPrefix(family.GetName(), "passmend_ledger_") {
					continue
				}
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
	now, down = now.Add(sumAge), errors.New("database is away")
	if got := gather(); len(got) != 0 || reads != 2 {
		t.Errorf("with the database away: %v after %d reads, want no series after 2", got, reads)
	}
}
