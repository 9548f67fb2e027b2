package observability

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/tenants"
)

// Values that must never come out of a log, a series or a span.
const (
	hostileToken    = "AaBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789-_abcd"
	hostileAddress  = "ada.lovelace@example.com"
	hostilePassword = "correct horse battery staple"
	hostileUUID     = "0190a5e0-1111-7222-8333-444455556666"
	hostileAPIToken = "admin-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdefv3"
)

const (
	testAccount = tenants.AccountID("0190a5e0-aaaa-7bbb-8ccc-ddddeeeeffff")
	testRequest = core.RequestID("0190a5e0-0000-7000-8000-000000000001")
)

// bundle is a Telemetry with its outputs at hand.
type bundle struct {
	*Telemetry
	log   *lockedBuffer
	spans *tracetest.InMemoryExporter
}

// setup traces everything into memory.
func setup(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{log: &lockedBuffer{}, spans: tracetest.NewInMemoryExporter()}
	b.Telemetry = newTelemetry(t, b.log, b.spans, map[string]string{"OTEL_TRACES_SAMPLER": "parentbased_always_on"})
	return b
}

func newTelemetry(t *testing.T, log io.Writer, exporter sdktrace.SpanExporter, env map[string]string) *Telemetry {
	t.Helper()
	telemetry, err := New(t.Context(), Config{
		Version: "1.2.3", Commit: "abc1234", LogOutput: log, LogLevel: slog.LevelDebug,
		SpanExporter: exporter, Getenv: func(name string) string { return env[name] },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = telemetry.Shutdown(ctx)
	})
	return telemetry
}

// finished gives the spans that have ended, by name.
func (b *bundle) finished(t *testing.T) map[string]tracetest.SpanStub {
	t.Helper()
	if err := b.tracing.provider.ForceFlush(t.Context()); err != nil {
		t.Fatal(err)
	}
	spans := map[string]tracetest.SpanStub{}
	for _, span := range b.spans.GetSpans() {
		spans[span.Name] = span
	}
	return spans
}

func (m *Metrics) scrape(t *testing.T, accept string) string {
	t.Helper()
	request := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	request.Header.Set("Accept", accept)
	answer := httptest.NewRecorder()
	m.MetricsHandler().ServeHTTP(answer, request)
	if answer.Code != http.StatusOK {
		t.Fatalf("scrape: status %d", answer.Code)
	}
	return answer.Body.String()
}

func wantSeries(t *testing.T, scrape string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains("\n"+scrape, "\n"+line+"\n") {
			t.Errorf("no series %q", line)
		}
	}
}

func attributes(span tracetest.SpanStub) map[string]string {
	got := map[string]string{}
	for _, a := range span.Attributes {
		got[string(a.Key)] = a.Value.String()
	}
	return got
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Ports that keep what they were given.

type fakeInbox struct {
	got core.Request
	err error
}

func (f *fakeInbox) Accept(_ context.Context, _ tenants.AccountID, request core.Request) error {
	f.got = request
	return f.err
}

type fakeReports struct {
	fresh bool
	err   error
}

func (f *fakeReports) Report(context.Context, tenants.AccountID, core.Report) (bool, error) {
	return f.fresh, f.err
}

type fakePlugins struct {
	got     sdk.SendRequest
	began   func(ctx context.Context) // nil: nothing happens then
	receipt sdk.Receipt
	err     error
}

func (f *fakePlugins) Send(ctx context.Context, _ string, request sdk.SendRequest) (sdk.Receipt, error) {
	if f.began != nil {
		f.began(ctx)
	}
	f.got = request
	return f.receipt, f.err
}

type fakeLedger struct {
	core.Ledger
	standing core.Standing
	err      error
}

func (f fakeLedger) Resolve(context.Context, tenants.AccountID, core.Lease, core.Plan) (core.Standing, error) {
	return f.standing, f.err
}

func (f fakeLedger) Settle(context.Context, tenants.AccountID, core.Lease, core.Settlement) error {
	return f.err
}

type fakeRedemptions struct{ err error }

func (f fakeRedemptions) Redeem(context.Context, tenants.AccountID, core.Redemption) (core.User, error) {
	return core.User{ID: "u"}, f.err
}

func (f fakeRedemptions) Dispute(context.Context, tenants.AccountID, core.Dispute) error {
	return f.err
}

type fakeQueue struct {
	Queue
	claim core.Claim
}

func (f fakeQueue) Claim(context.Context, core.ClaimAsk) (core.Claim, error) { return f.claim, nil }

type fakeRedeemer struct {
	Redeemer
	err error
}

func (f fakeRedeemer) Redeem(context.Context, tenants.Account, core.UserRef, tenants.Secret, tenants.Secret) (core.User, error) {
	return core.User{ID: "u"}, f.err
}

type fakePasswords struct{ err error }

func (f fakePasswords) Hash(context.Context, tenants.AccountID, core.UserID, tenants.Secret) ([]byte, error) {
	return []byte("hash"), f.err
}

func (f fakePasswords) Verify(context.Context, tenants.AccountID, core.UserID, []byte, tenants.Secret) (bool, error) {
	return true, f.err
}

// errHostile holds everything that an error must not bring into telemetry.
var errHostile = errors.Join(core.ErrBusy, fmt.Errorf("%s %s %s %s", hostileAddress, hostileToken, hostileUUID, hostilePassword))
