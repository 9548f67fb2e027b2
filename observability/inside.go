package observability

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/passmend/passmend/plugins/sdk"
)

// call is what is known of a call to a plugin when it is over.
type call struct {
	began time.Time
	took  time.Duration
	steps []sdk.Step
	code  string // the receiving side's status
	pid   int    // of the plugin's process; 0: not known
}

// process is the one that a traced call has reached; 0: none yet. A call that waits
// for a plugin to start does not know it before.
type process struct{ pid atomic.Int64 }

type processKey struct{}

// Reached notes which process the call of ctx goes to. The plugin host calls it.
func (*Telemetry) Reached(ctx context.Context, pid int) {
	if reached, ok := ctx.Value(processKey{}).(*process); ok {
		reached.pid.Store(int64(pid))
	}
}

// showInside writes what went on in the plugin's process as spans below the call of
// ctx: its steps, and around them, for an event, the request that it made. The plugin
// has no way to the collector: it tells, and its host writes down.
func (t *Telemetry) showInside(ctx context.Context, event *sdk.Event, c call) {
	if c.pid != 0 {
		trace.SpanFromContext(ctx).SetAttributes(attribute.Int("passmend.plugin.pid", c.pid))
	}
	if event == nil {
		t.showSteps(ctx, c)
		return
	}
	ctx, span := t.tracing.tracer.Start(ctx, http.MethodPost, trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(c.began))
	span.SetAttributes(attribute.String("http.request.method", http.MethodPost))
	if target, err := url.Parse(event.URL); err == nil {
		if host, ok := hostName(target.Host); ok {
			span.SetAttributes(attribute.String("server.address", host))
		}
	}
	if status, ok := httpStatus(c.code); ok {
		span.SetAttributes(attribute.Int("http.response.status_code", status))
		if status >= http.StatusBadRequest {
			span.SetAttributes(attribute.String("error.type", c.code))
			span.SetStatus(codes.Error, "")
		}
	}
	if under := attemptOf(ctx); under != nil && under.number > 1 {
		span.SetAttributes(attribute.Int("http.request.resend_count", under.number-1))
	}
	t.showSteps(ctx, c)
	span.End(trace.WithTimestamp(c.began.Add(c.took)))
}

func httpStatus(code string) (int, bool) {
	status, err := strconv.Atoi(code)
	return status, err == nil && 100 <= status && status <= 599
}

// showSteps writes the plugin's steps as spans below that of ctx. Their clock starts
// when the plugin is entered, a little after ours; what would stick out of the call
// is cut, and a name that is not on the list is "other".
func (t *Telemetry) showSteps(ctx context.Context, c call) {
	for _, step := range c.steps[:min(len(c.steps), maxSteps)] {
		from := min(max(step.Start, 0), c.took)
		length := min(max(step.Duration, 0), c.took-from)
		_, span := t.tracing.tracer.Start(ctx, stepNames.of(step.Name), trace.WithTimestamp(c.began.Add(from)))
		if c.pid != 0 {
			span.SetAttributes(attribute.Int("passmend.plugin.pid", c.pid))
		}
		span.End(trace.WithTimestamp(c.began.Add(from + length)))
	}
}
