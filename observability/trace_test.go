package observability

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/go-cmp/cmp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/tenants"
)

const callersTrace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// router has routes like the edge's.
func router(b *bundle, inbox core.Inbox) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.Use(func(c *gin.Context) {
		c.Header("X-Request-Id", hostileUUID)
		defer func() { _ = recover() }()
		c.Next()
	})
	engine.Use(b.Middleware()...)
	engine.POST("/v1/accounts/:account/passwords", func(c *gin.Context) {
		intake := core.Intake{Inbox: b.Inbox(inbox), Sealer: plain{}, Digester: plain{}, NewID: func() string { return string(testRequest) }, TraceParent: TraceParent}
		address, _ := core.ParseAddress(hostileAddress)
		if err := intake.Accept(c.Request.Context(), tenants.New(testAccount, "acme", "Acme"), core.Ask{Address: address}); err != nil {
			c.Status(http.StatusServiceUnavailable)
			return
		}
		c.Status(http.StatusAccepted)
	})
	engine.GET("/:account/r/:token", func(c *gin.Context) { c.String(http.StatusOK, "page") })
	engine.GET("/broken", func(*gin.Context) { panic(hostileAddress) })
	return engine
}

// plain seals nothing.
type plain struct{}

func (plain) Seal(tenants.AccountID, string, []byte) ([]byte, error) { return nil, nil }
func (plain) Open(tenants.AccountID, string, []byte) ([]byte, error) { return nil, nil }
func (plain) Digest(string, tenants.AccountID, []byte) []byte        { return nil }

func serve(b *bundle, method, path string) *httptest.ResponseRecorder {
	return serveWith(b, &fakeInbox{}, method, path)
}

func serveWith(b *bundle, inbox core.Inbox, method, path string) *httptest.ResponseRecorder {
	request := httptest.NewRequest(http.MethodGet, "/", nil)
	request.Method, request.URL = method, &url.URL{Path: path}
	request.Host, request.RemoteAddr = "id.example:8443", "203.0.113.77:4711"
	request.Header.Set("traceparent", callersTrace)
	request.Header.Set("tracestate", "who="+hostileToken)
	request.Header.Set("baggage", "who="+hostileAddress)
	request.Header.Set("User-Agent", "probe ("+hostileAddress+") \xff")
	request = request.WithContext(b.around(request.Context()))
	answer := httptest.NewRecorder()
	router(b, inbox).ServeHTTP(answer, request)
	return answer
}

// around puts a span into ctx that must not become anything's parent. Where nothing
// is traced there can be none.
func (b *bundle) around(ctx context.Context) context.Context {
	if b.tracing.provider == nil {
		return ctx
	}
	span, _ := parseTraceParent(callersTrace)
	return trace.ContextWithSpanContext(ctx, span)
}

// deliver does the worker's part for the request that inbox has taken.
func deliver(t *testing.T, b *bundle, request core.Request, plugins core.Plugins) {
	t.Helper()
	delivery := core.Delivery{
		ID: "0190a5e0-0000-7000-8000-000000000002", Account: testAccount, Request: request.ID, Kind: core.KindMail,
		Attempt: 1, Queued: time.Now(), Now: time.Now(), TraceParent: request.TraceParent,
	}
	ledger := b.Ledger(fakeLedger{})
	b.Process(b.around(t.Context()), delivery, func(ctx context.Context) string {
		_, _ = b.Plugins(plugins).Send(ctx, "smtp", sdk.SendRequest{})
		if err := ledger.Settle(ctx, testAccount, delivery.LeaseOf(), core.Settlement{State: core.DeliveryDone}); err != nil {
			return "unknown"
		}
		return "ok"
	})
}

func TestOneRequestIsOneLinkedChain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.PluginStarted("smtp", "1.2.3")
	inbox := &fakeInbox{}
	if answer := serveWith(b, inbox, http.MethodPost, "/v1/accounts/acme/passwords"); answer.Code != http.StatusAccepted {
		t.Fatalf("status %d", answer.Code)
	}
	plugin := &fakePlugins{receipt: sdk.Receipt{Outcome: sdk.Accepted, Steps: []sdk.Step{
		{Name: "dial", Start: 0, Duration: time.Nanosecond},
		{Name: hostileToken, Start: -time.Hour, Duration: 2 * time.Hour},
	}}}
	deliver(t, b, inbox.got, plugin)

	spans := b.finished(t)
	server, create, insert := spans["POST /v1/accounts/{account}/passwords"], spans["create reset"], spans["INSERT requests"]
	process, call, dial, odd := spans["process reset"], spans[sendMethod], spans["dial"], spans[other]
	settle := spans["UPDATE deliveries"]

	if server.Parent.IsValid() || len(server.Links) != 1 || server.Links[0].SpanContext.TraceID().String() != callersTrace[3:35] {
		t.Error("the server's span is not a root linked to the caller")
	}
	if server.Links[0].SpanContext.TraceState().Len() != 0 {
		t.Error("the caller's trace state was kept")
	}
	for _, edge := range []struct {
		name          string
		child, parent tracetest.SpanStub
	}{
		{"create below server", create, server}, {"insert below create", insert, create},
		{"call below process", call, process}, {"settle below process", settle, process},
		{"dial below call", dial, call}, {"odd step below call", odd, call},
	} {
		if !edge.child.SpanContext.IsValid() || edge.child.Parent.SpanID() != edge.parent.SpanContext.SpanID() {
			t.Errorf("%s does not hold", edge.name)
		}
	}
	if process.Parent.IsValid() || process.SpanContext.TraceID() == server.SpanContext.TraceID() {
		t.Error("process is not a new trace")
	}
	if len(process.Links) != 1 || !process.Links[0].SpanContext.Equal(create.SpanContext.WithRemote(true)) {
		t.Error("process is not linked to create")
	}
	if want := parentOf(create); inbox.got.TraceParent != want {
		t.Errorf("the row's trace parent is %q, want %q", inbox.got.TraceParent, want)
	}
	if want := parentOf(call); plugin.got.TraceParent != want {
		t.Errorf("the plugin's trace parent is %q, want %q", plugin.got.TraceParent, want)
	}
	for _, step := range []tracetest.SpanStub{dial, odd} {
		if step.StartTime.Before(call.StartTime) || step.EndTime.After(call.EndTime) || step.EndTime.Before(step.StartTime) {
			t.Errorf("step %q sticks out of its call", step.Name)
		}
	}
	kinds := map[string]trace.SpanKind{}
	for name, span := range spans {
		kinds[name] = span.SpanKind
	}
	if diff := cmp.Diff(map[string]trace.SpanKind{
		server.Name: trace.SpanKindServer, "create reset": trace.SpanKindProducer, "INSERT requests": trace.SpanKindClient,
		"process reset": trace.SpanKindConsumer, sendMethod: trace.SpanKindClient, "UPDATE deliveries": trace.SpanKindClient,
		"dial": trace.SpanKindInternal, other: trace.SpanKindInternal,
	}, kinds); diff != "" {
		t.Errorf("kinds (-want +got):\n%s", diff)
	}
}

// An event is posted by the plugin: its request is a span of the plugin's process.
func TestAnEventsRequestIsShown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.PluginStarted("webhook", "1.0.0")
	delivery := core.Delivery{Account: testAccount, Request: testRequest, Kind: core.KindWebhook, Attempt: 3}
	plugin := &fakePlugins{
		err:   &sdk.Failure{Kind: sdk.Temporary, Code: "503", Answer: hostileAddress, Steps: []sdk.Step{{Name: "wait", Duration: time.Nanosecond}}},
		began: func(ctx context.Context) { b.Reached(ctx, 4711) },
	}
	b.Process(t.Context(), delivery, func(ctx context.Context) string {
		_, _ = b.Plugins(plugin).Send(ctx, "webhook", sdk.SendRequest{Event: &sdk.Event{URL: "https://user:pw@hooks.example:8443/" + hostileToken}})
		_ = b.Ledger(fakeLedger{}).Settle(ctx, testAccount, delivery.LeaseOf(), core.Settlement{
			State: core.DeliveryQueued, Delay: time.Second, Attempt: &core.Attempt{Outcome: string(sdk.Temporary)},
		})
		return "retry"
	})
	spans := b.finished(t)
	post, wait := spans["POST"], spans["wait"]
	if post.Parent.SpanID() != spans[sendMethod].SpanContext.SpanID() || wait.Parent.SpanID() != post.SpanContext.SpanID() || post.SpanKind != trace.SpanKindClient {
		t.Error("the request is not below the call, or its steps are not below it")
	}
	if diff := cmp.Diff(map[string]string{
		"http.request.method": "POST", "server.address": "hooks.example", "http.response.status_code": "503", "error.type": "503", "http.request.resend_count": "2",
	}, attributes(post)); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
	if got := attributes(wait)["passmend.plugin.pid"]; got != "4711" {
		t.Errorf("the step's process is %q", got)
	}
	if events := spans["process webhook"].Events; len(events) != 1 || events[0].Name != "retry" {
		t.Errorf("events: %v", events)
	}
	if text := fmt.Sprint(b.spans.GetSpans()); strings.Contains(text, hostileToken) || strings.Contains(text, "user:pw") || strings.Contains(text, hostileAddress) {
		t.Error("the endpoint's path, password or answer is in a span")
	}
}

func parentOf(span tracetest.SpanStub) string {
	return TraceParent(trace.ContextWithSpanContext(context.Background(), span.SpanContext))
}

func TestSpansCarryTheAttributesOfTheContract(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.PluginStarted("smtp", "1.2.3")
	inbox := &fakeInbox{}
	serveWith(b, inbox, http.MethodPost, "/v1/accounts/acme/passwords")
	deliver(t, b, inbox.got, &fakePlugins{err: &sdk.Failure{Kind: sdk.Unknown, Public: hostileAddress, Private: hostileToken}})
	spans := b.finished(t)
	want := map[string]map[string]string{
		"POST /v1/accounts/{account}/passwords": {
			"http.request.method": "POST", "http.route": "/v1/accounts/{account}/passwords", "url.scheme": "http",
			"server.address": "id.example", "user_agent.original": "probe ([redacted]) ?", "http.response.status_code": "202",
		},
		"create reset": {
			"messaging.system": "passmend", "messaging.operation.type": "create", "messaging.operation.name": "create",
			"messaging.destination.name": "reset", "messaging.message.id": string(testRequest),
		},
		"INSERT requests": {
			"db.system.name": "sqlite", "db.operation.name": "INSERT", "db.collection.name": "requests", "db.query.summary": "INSERT requests",
		},
		"process reset": {
			"messaging.system": "passmend", "messaging.operation.type": "process", "messaging.operation.name": "process",
			"messaging.destination.name": "reset", "messaging.message.id": string(testRequest), "passmend.delivery.kind": "mail",
			"passmend.lane": "reset", "passmend.attempt": "1", "passmend.tenant.id": string(testAccount), "passmend.outcome": "ok",
		},
		sendMethod: {
			"rpc.system.name": "grpc", "rpc.method": sendMethod, "rpc.response.status_code": "UNKNOWN", "error.type": "unknown",
			"passmend.plugin.name": "smtp", "passmend.plugin.version": "1.2.3", "passmend.outcome": "unknown",
		},
	}
	for name, attrs := range want {
		if diff := cmp.Diff(attrs, attributes(spans[name])); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestNothingPersonalIsInSpansOrLines(t *testing.T) {
	t.Parallel()
	b := setup(t)
	inbox := &fakeInbox{err: errHostile}
	for _, path := range []string{"/v1/accounts/acme/passwords", "/acme/r/" + hostileToken, "/nowhere/" + hostileAddress, "/broken"} {
		serveWith(b, inbox, http.MethodPost, path)
		serveWith(b, inbox, http.MethodGet, path)
	}
	deliver(t, b, inbox.got, &fakePlugins{err: errHostile})
	secret := tenants.NewSecret(hostilePassword)
	_, _ = b.Passwords(fakePasswords{errHostile}).Hash(t.Context(), testAccount, "u", secret)
	_, _ = b.Passwords(fakePasswords{errHostile}).Verify(t.Context(), testAccount, "u", nil, secret)
	_, _ = b.Redemptions(fakeRedemptions{errHostile}).Redeem(t.Context(), testAccount, core.Redemption{})

	b.finished(t)
	var spans strings.Builder
	for _, span := range b.spans.GetSpans() {
		fmt.Fprintf(&spans, "%s %v %v %v\n", span.Name, attributes(span), span.Status, span.Events)
	}
	for _, personal := range []string{hostileAddress, "lovelace", hostileToken, hostilePassword, "203.0.113.77", callersTrace} {
		if strings.Contains(spans.String(), personal) {
			t.Errorf("%q is in a span", personal)
		}
		if strings.Contains(b.log.String(), personal) {
			t.Errorf("%q is in the log", personal)
		}
	}
	wantSeries(t, b.scrape(t, "text/plain"), `passmend_redactions_total{sink="log"} 0`)
	// The control: all of it was there to be shown.
	if !strings.Contains(errHostile.Error(), "lovelace") || !strings.Contains(spans.String(), "GET /{account}/r/{token}") {
		t.Error("the test shows nothing")
	}
}

func TestOneWideLineForEachRequestAndEachAttempt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.PluginStarted("smtp", "1.2.3")
	inbox := &fakeInbox{}
	serveWith(b, inbox, http.MethodPost, "/v1/accounts/acme/passwords")
	deliver(t, b, inbox.got, &fakePlugins{receipt: sdk.Receipt{Outcome: sdk.Accepted}})
	spans := b.finished(t)
	lines := decodeLines(t, b.log.String())
	if len(lines) != 2 {
		t.Fatalf("%d lines, want 2:\n%s", len(lines), b.log.String())
	}
	server, process := spans["POST /v1/accounts/{account}/passwords"], spans["process reset"]
	want := []map[string]any{
		{
			"level": "INFO", "msg": "http request", "route": "/v1/accounts/{account}/passwords", "method": "POST", "status": 202.0, "bytes": 0.0,
			"request_id": hostileUUID, "peer": "203.0.113.0/24",
			"trace_id": server.SpanContext.TraceID().String(), "span_id": server.SpanContext.SpanID().String(),
		},
		{
			"level": "INFO", "msg": "delivery attempt", "delivery": "0190a5e0-0000-7000-8000-000000000002", "request": string(testRequest),
			"account": string(testAccount), "kind": "mail", "attempt": 1.0, "outcome": "ok", "plugin": "smtp", "result": "accepted",
			"trace_id": process.SpanContext.TraceID().String(), "span_id": process.SpanContext.SpanID().String(),
		},
	}
	for _, line := range lines {
		if _, ok := line["duration_ms"].(float64); !ok {
			t.Errorf("no duration in %v", line)
		}
		delete(line, "duration_ms")
		delete(line, "time")
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

func TestWhatHappenedIsCounted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.PluginStarted("smtp", "1.2.3")
	inbox := &fakeInbox{}
	serveWith(b, inbox, http.MethodPost, "/v1/accounts/acme/passwords")
	serveWith(b, &fakeInbox{err: core.ErrBusy}, http.MethodPost, "/v1/accounts/acme/passwords")
	serve(b, http.MethodGet, "/nowhere")
	serve(b, http.MethodGet, "/broken")
	deliver(t, b, inbox.got, &fakePlugins{receipt: sdk.Receipt{Outcome: sdk.Accepted}})
	for _, f := range []fakeLedger{
		{standing: core.Standing{State: core.StateSuppressed, Reason: core.ReasonUnknownUser}},
		{standing: core.Standing{State: core.StateSuppressed, Reason: core.ReasonRecipientLimit}},
		{standing: core.Standing{State: core.StateSent}},
		{standing: core.Standing{State: core.StatePending}},
		{err: core.ErrLeaseLost},
	} {
		_, _ = b.Ledger(f).Resolve(t.Context(), testAccount, core.Lease{}, core.Plan{})
	}
	over := core.Settlement{State: core.DeliveryQueued, Attempt: &core.Attempt{Outcome: string(sdk.Misconfigured)}, Event: &core.Event{Name: core.EventFailedOver}}
	_ = b.Ledger(fakeLedger{}).Settle(t.Context(), testAccount, core.Lease{}, over)
	b.BreakerState("relay", 2)
	_, _ = b.Redemptions(fakeRedemptions{}).Redeem(t.Context(), testAccount, core.Redemption{})
	_, _ = b.Redemptions(fakeRedemptions{core.ErrExpiredLink}).Redeem(t.Context(), testAccount, core.Redemption{})
	for _, f := range []fakeReports{{fresh: true}, {}, {err: core.ErrNotFound}, {err: errHostile}} {
		_, _ = b.Reports(&f).Report(t.Context(), testAccount, core.Report{ProviderEvent: core.ProviderEvent{Kind: "bounced"}})
	}
	b.Hashed(t.Context(), "verify", 0, 30*time.Millisecond)
	b.Hashed(t.Context(), "rejected", time.Second, 0)
	wantSeries(t, b.scrape(t, "text/plain"),
		`passmend_http_requests_total{code="202",method="POST",route="/v1/accounts/{account}/passwords"} 1`,
		`passmend_http_requests_total{code="503",method="POST",route="/v1/accounts/{account}/passwords"} 1`,
		`passmend_http_requests_total{code="404",method="GET",route="other"} 1`,
		`passmend_http_requests_total{code="500",method="GET",route="/broken"} 1`,
		`passmend_http_inflight_requests{listener="public"} 0`,
		`passmend_requests_accepted_total{account="`+string(testAccount)+`"} 1`,
		`passmend_requests_terminal_total{account="`+string(testAccount)+`",reason="none",state="sent"} 2`,
		`passmend_requests_terminal_total{account="`+string(testAccount)+`",reason="unknown_user",state="suppressed"} 1`,
		`passmend_requests_terminal_total{account="`+string(testAccount)+`",reason="recipient_limit",state="suppressed"} 1`,
		`passmend_rate_limited_total{action="suppress",scope="recipient"} 1`,
		`passmend_delivery_failovers_total{result="misconfigured"} 1`,
		`passmend_plugin_breaker_state{plugin="relay"} 2`,
		`passmend_provider_events_total{kind="bounced",result="recorded"} 1`,
		`passmend_provider_events_total{kind="bounced",result="repeated"} 1`,
		`passmend_provider_events_total{kind="bounced",result="unknown"} 1`,
		`passmend_provider_events_total{kind="complained",result="recorded"} 0`,
		`passmend_requests_terminal_total{account="`+string(testAccount)+`",reason="none",state="redeemed"} 1`,
		`passmend_jobs_total{lane="reset",outcome="ok"} 1`,
		`passmend_delivery_attempts_total{account="`+string(testAccount)+`",provider="smtp",result="accepted"} 1`,
		`passmend_accept_to_ack_seconds_count{provider="smtp"} 1`,
		`passmend_queue_wait_seconds_count{lane="reset"} 1`,
		`passmend_hash_duration_seconds_count{algorithm="argon2id"} 1`,
		`passmend_hash_rejected_total 1`,
	)
}

func TestDecoratorsGiveBackWhatThePortGave(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if err := b.Inbox(&fakeInbox{err: errHostile}).Accept(t.Context(), testAccount, core.Request{}); !errors.Is(err, errHostile) {
		t.Errorf("inbox: %v", err)
	}
	if user, err := b.Redemptions(fakeRedemptions{}).Redeem(t.Context(), testAccount, core.Redemption{}); user.ID != "u" || err != nil {
		t.Errorf("redemptions: %v, %v", user.ID, err)
	}
	if fresh, err := b.Reports(&fakeReports{fresh: true, err: errHostile}).Report(t.Context(), testAccount, core.Report{}); !fresh || !errors.Is(err, errHostile) {
		t.Errorf("reports: %t, %v", fresh, err)
	}
	if matches, err := b.Passwords(fakePasswords{}).Verify(t.Context(), testAccount, "u", nil, tenants.Secret{}); !matches || err != nil {
		t.Errorf("passwords: %v, %v", matches, err)
	}
	want := sdk.Receipt{Outcome: sdk.Accepted, MessageID: "m", Steps: []sdk.Step{{Name: "data"}}}
	got, err := b.Plugins(&fakePlugins{receipt: want}).Send(t.Context(), "smtp", sdk.SendRequest{IdempotencyKey: "k"})
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("plugins: %v\n%s", err, diff)
	}
	done := false
	b.Process(t.Context(), core.Delivery{Kind: core.KindNotice}, func(context.Context) string { done = true; return "ok" })
	if !done {
		t.Error("the work was not done")
	}
}

func TestAPanicIsCountedAndPassesThrough(t *testing.T) {
	t.Parallel()
	b := setup(t)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		b.Process(t.Context(), core.Delivery{Kind: core.KindWebhook}, func(context.Context) string { panic(hostileAddress) })
	}()
	span := b.finished(t)["process webhook"]
	if len(span.Events) != 0 || attributes(span)["passmend.outcome"] != "unknown" {
		t.Errorf("span of the panic: %v %v", span.Events, attributes(span))
	}
	wantSeries(t, b.scrape(t, "text/plain"), `passmend_jobs_total{lane="webhook",outcome="unknown"} 1`)
}

func TestTheLevelChangesAtRunTime(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.Level().Set(slog.LevelWarn)
	serve(b, http.MethodGet, "/nowhere")
	if b.log.String() != "" {
		t.Errorf("an info line at level warn: %s", b.log.String())
	}
}

var _ sdktrace.SpanExporter = (*tracetest.InMemoryExporter)(nil)
