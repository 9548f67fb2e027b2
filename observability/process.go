package observability

import (
	"context"
	"encoding/hex"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// Process runs the work of one delivery in a trace of its own, linked to the
// request that led to it; work gives the outcome, one of ok, retry, permanent,
// unknown, snoozed and fenced. It fits worker.Config.
func (t *Telemetry) Process(ctx context.Context, delivery core.Delivery, work func(ctx context.Context) (outcome string)) {
	began := time.Now()
	lane := laneOf(delivery.Kind)
	from, _ := parseTraceParent(delivery.TraceParent)
	claim, since := t.claims.take(delivery.Lease), began
	if claim != nil {
		since = claim.began
	}
	ctx, span := t.tracing.startRoot(ctx, "process "+lane, trace.SpanKindConsumer, from, trace.WithTimestamp(since),
		trace.WithAttributes(attribute.Int(attemptNumber, delivery.Attempt)))
	if claim != nil {
		claim.count(ctx, t.claimDuration.with(t.database))
		t.tracing.past(ctx, "claim deliveries", claim.began, claim.took, t.statement("UPDATE", "deliveries")...)
	}
	if span.IsRecording() {
		span.SetAttributes(deliveryAttributes(delivery, lane)...)
	}
	under := &attempt{kind: delivery.Kind, request: delivery.Request, account: delivery.Account, number: delivery.Attempt}
	ctx = context.WithValue(ctx, attemptKey{}, under)
	if waited := delivery.Now.Sub(delivery.Queued); delivery.Attempt == 1 && !delivery.Queued.IsZero() && waited >= 0 {
		observe(ctx, t.queueWait.with(lane), waited)
	}
	outcome := "unknown" // what a panic leaves
	defer func() {
		endProcess(span, outcome)
		t.jobs.with(lane, outcome).Inc()
		t.logAttempt(ctx, delivery, under, outcome, time.Since(began))
	}()
	outcome = outcomes.of(work(ctx))
}

// attemptNumber is there when a span begins, for the sampler.
const attemptNumber = "passmend.attempt"

func deliveryAttributes(delivery core.Delivery, lane string) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("messaging.system", namespace),
		attribute.String("messaging.operation.type", "process"),
		attribute.String("messaging.operation.name", "process"),
		attribute.String("messaging.destination.name", lane),
		attribute.String("messaging.message.id", string(delivery.Request)),
		attribute.String("passmend.delivery.kind", string(delivery.Kind)),
		attribute.String("passmend.lane", lane),
		attribute.String("passmend.tenant.id", string(delivery.Account)),
	}
}

func endProcess(span trace.Span, outcome string) {
	span.SetAttributes(attribute.String("passmend.outcome", outcome))
	if outcome == "permanent" || outcome == "unknown" {
		span.SetAttributes(attribute.String("error.type", outcome))
		span.SetStatus(codes.Error, "")
	}
	span.End()
}

// logAttempt writes the one line of an attempt. The address is not in it: support
// finds it by the delivery.
func (t *Telemetry) logAttempt(ctx context.Context, delivery core.Delivery, under *attempt, outcome string, took time.Duration) {
	level := slog.LevelInfo
	if outcome == "permanent" || outcome == "unknown" || outcome == "fenced" {
		level = slog.LevelWarn
	}
	provider, result := under.last()
	t.logger.LogAttrs(ctx, level, "delivery attempt",
		slog.String("delivery", string(delivery.ID)),
		slog.String("request", string(delivery.Request)), // of recovery; request_id is of HTTP
		slog.String("account", string(delivery.Account)),
		slog.String("kind", string(delivery.Kind)),
		slog.Int("attempt", delivery.Attempt),
		slog.String("outcome", outcome),
		slog.String("plugin", provider),
		slog.String("result", result),
		milliseconds(took),
	)
}

// attempt is what the decorators below Process tell each other. It decides nothing.
type attempt struct {
	kind    core.Kind
	request core.RequestID
	account tenants.AccountID
	number  int // 1 is the first

	mu             sync.Mutex
	plugin, result string // of the last message handed over
}

type attemptKey struct{}

// attemptOf gives the attempt that ctx belongs to, or nil.
func attemptOf(ctx context.Context) *attempt {
	under, _ := ctx.Value(attemptKey{}).(*attempt)
	return under
}

// accountOf gives the account of ctx's attempt; empty without one.
func accountOf(ctx context.Context) tenants.AccountID {
	if under := attemptOf(ctx); under != nil {
		return under.account
	}
	return ""
}

func (a *attempt) sent(plugin, result string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.plugin, a.result = plugin, result
}

func (a *attempt) last() (plugin, result string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.plugin, a.result
}

// endsRequest says whether the request follows this delivery.
func (a *attempt) endsRequest() bool {
	return a.kind.EndsRequest() || a.kind == core.KindResolve
}

// sinceAccept is how long ago the request of a mail was accepted. The moment is in
// its id (UUIDv7; RFC 9562, section 5.7), in milliseconds of the clock of the process
// that accepted.
func (a *attempt) sinceAccept() (time.Duration, bool) {
	if !a.kind.EndsRequest() {
		return 0, false
	}
	accepted, ok := uuidTime(string(a.request))
	return max(time.Since(accepted), 0), ok
}

func uuidTime(id string) (time.Time, bool) {
	if len(id) != 36 || id[14] != '7' {
		return time.Time{}, false
	}
	raw, err := hex.DecodeString(id[:8] + id[9:13])
	if err != nil {
		return time.Time{}, false
	}
	var milliseconds int64
	for _, b := range raw {
		milliseconds = milliseconds<<8 | int64(b)
	}
	return time.UnixMilli(milliseconds), true
}
