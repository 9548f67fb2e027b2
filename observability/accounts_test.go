package observability

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/tenants"
)

func accountNumber(n int) tenants.AccountID {
	return tenants.AccountID(fmt.Sprintf("0190a5e0-0000-7000-8000-%012x", n))
}

func TestAccountsWithTheMostRequestsHaveAName(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	r, err := newRanking("", func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	for n := range 300 {
		want := string(accountNumber(n))
		if n >= maxNamed {
			want = otherAccount
		}
		if got := r.count(accountNumber(n)); got != want {
			t.Fatalf("account %d of 300 that came one after the other: %q, want %q", n, got, want)
		}
	}
	for range 9 {
		for n := 250; n < 300; n++ {
			r.count(accountNumber(n))
		}
	}
	if lost := r.rank(); lost != nil {
		t.Errorf("ranked anew at once: %d lost their name", len(lost))
	}
	now = now.Add(rankEvery)
	lost := r.rank()
	if len(lost) != 50 {
		t.Errorf("%d accounts lost their name, want 50", len(lost))
	}
	if r.of(accountNumber(299)) == otherAccount || r.of(lost[0]) != otherAccount {
		t.Error("the busiest has no name, or one that lost it still has")
	}
	now = now.Add(30 * 24 * time.Hour)
	if lost := r.rank(); len(lost) != maxNamed || len(r.volume) != 0 {
		t.Errorf("after a quiet month %d of %d lost their name and %d are remembered", len(lost), maxNamed, len(r.volume))
	}
}

func TestAccountsAreToldApartAsConfigured(t *testing.T) {
	t.Parallel()
	for label, want := range map[AccountLabel]string{
		AccountsOff: otherAccount, AccountsTop: string(testAccount), AccountsAll: string(testAccount),
	} {
		r, err := newRanking(label, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.count(testAccount); got != want {
			t.Errorf("%s: %q, want %q", label, got, want)
		}
		if got := r.count(tenants.OwnID("canary")); got != otherAccount {
			t.Errorf("%s: the service's own account is %q", label, got)
		}
		if got := r.count(hostileAddress); got != otherAccount {
			t.Errorf("%s: an address became a label: %q", label, got)
		}
	}
	if _, err := newRanking("some", time.Now); err == nil || !strings.Contains(err.Error(), "off, top, all") {
		t.Errorf("an unknown label: %v", err)
	}
}

// manyAccounts makes everything happen that accounts are counted in, for so many.
func manyAccounts(tb testing.TB, m *Telemetry, count int) {
	tb.Helper()
	ctx := tb.Context()
	inbox := m.Inbox(&fakeInbox{})
	var backlog []core.Backlog
	for n := range count {
		id := accountNumber(n)
		_ = inbox.Accept(ctx, id, core.Request{ID: testRequest})
		for _, standing := range []core.Standing{
			{State: core.StateSent}, {State: core.StateSuppressed, Reason: core.ReasonUnknownUser},
			{State: core.StateSuppressed, Reason: core.ReasonRecipientLimit}, {State: core.StateExpired},
			{State: core.StateFailed, Reason: core.ReasonQuarantined}, {State: core.StateRedeemed},
		} {
			m.ended(id, standing.State, standing.Reason)
		}
		for _, kind := range []core.Kind{core.KindResolve, core.KindNotice, core.KindWebhook} {
			for _, state := range queueStates {
				backlog = append(backlog, core.Backlog{Account: id, Kind: kind, State: state, Deliveries: int64(n), Oldest: time.Second})
			}
		}
		for _, result := range results {
			m.Process(ctx, core.Delivery{Account: id, Kind: core.KindMail, Request: testRequest, Attempt: 1}, func(ctx context.Context) string {
				_, _ = m.Plugins(&fakePlugins{receipt: sdk.Receipt{Outcome: sdk.Outcome(result)}}).Send(ctx, "smtp", sdk.SendRequest{})
				return "ok"
			})
		}
	}
	m.Backlog(func(context.Context) ([]core.Backlog, error) { return backlog, nil })
}

func TestFiveThousandAccountsFitIntoAScrape(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.level.Set(12) // above all: the log of it is of no interest
	b.PluginStarted("smtp", "1.0.0")
	manyAccounts(t, b.Telemetry, 5000)
	hits := 0
	for i := range 200 { // and routes and codes beyond any that there are
		b.countCall(t.Context(), httpCall{method: "GET", route: fmt.Sprintf("/route/%d", i), status: 200 + i})
		hits++
	}
	scrape := b.scrape(t, "text/plain")
	series := 0
	for line := range strings.Lines(scrape) {
		if !strings.HasPrefix(line, "#") {
			series++
		}
	}
	if series > MaxSeries || len(scrape) > 1<<20 {
		t.Errorf("%d series in %d bytes, want at most %d in 1 MiB", series, len(scrape), MaxSeries)
	}
	t.Logf("%d series in %d bytes", series, len(scrape))
	accountLabels := regexp.MustCompile(`account="[^"]*"`)
	for line := range strings.Lines(scrape) {
		if at := strings.IndexByte(line, '{'); at >= 0 && !strings.HasPrefix(line, "#") {
			if found := personal.FindString(accountLabels.ReplaceAllString(line[at:], "")); found != "" {
				t.Errorf("%q: %s", found, line)
			}
		}
	}
	for name, want := range map[string]float64{
		"passmend_requests_accepted_total{": 5000, "passmend_requests_terminal_total{": 30_000,
		"passmend_delivery_attempts_total{": float64(5000 * len(results)), "passmend_queue_depth{": 9 * 5000 * 4999 / 2,
		"passmend_http_requests_total{": float64(hits),
	} {
		if got := sumOf(t, scrape, name); got != want {
			t.Errorf("%s...} adds up to %g, want %g: something was lost", name, got, want)
		}
	}
}

func sumOf(t *testing.T, scrape, prefix string) (sum float64) {
	t.Helper()
	for line := range strings.Lines(scrape) {
		if !strings.HasPrefix(line, prefix) {
			continue
		}
		var value float64
		if _, err := fmt.Sscan(line[strings.LastIndexByte(line, ' ')+1:], &value); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		sum += value
	}
	return sum
}

// BenchmarkScrape is a scrape of a service with 5,000 accounts.
func BenchmarkScrape(b *testing.B) {
	telemetry, err := New(b.Context(), Config{LogOutput: discard{}, LogLevel: 12, Getenv: func(string) string { return "" }})
	if err != nil {
		b.Fatal(err)
	}
	telemetry.PluginStarted("smtp", "1.0.0")
	manyAccounts(b, telemetry, 5000)
	handler, size := telemetry.MetricsHandler(), 0
	request := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	request.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	for b.Loop() {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		size = answer.Body.Len()
	}
	b.ReportMetric(float64(size)/1024, "KiB")
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/scrape")
}
