package observability

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/passmend/passmend/core"
)

// maxUserAgent is how much of a User-Agent a span keeps (operability.md, Traces).
const maxUserAgent = 128

// HTTP gives the middleware of a listener, public or admin: a span of a new trace,
// the metrics and one log line for every request. It must stand before the handlers
// that answer. The path is never shown, only the route's template; nor is the whole
// address of the client.
func (t *Telemetry) HTTP(listener string) gin.HandlerFunc {
	inflight := t.httpInflight.with(listeners.of(listener))
	return func(c *gin.Context) {
		began := time.Now()
		inflight.Inc()
		call := httpCall{method: httpMethods.of(c.Request.Method), route: template(c.FullPath())}
		from, _ := parseTraceParent(c.GetHeader("traceparent"))
		ctx, span := t.tracing.startRoot(c.Request.Context(), call.method+" "+call.route, trace.SpanKindServer, from)
		if span.SpanContext().IsValid() {
			c.Request = c.Request.WithContext(ctx)
		}
		if span.IsRecording() {
			span.SetAttributes(requestAttributes(c.Request, call)...)
		}
		answered := false
		defer func() {
			inflight.Dec()
			call.status, call.took = c.Writer.Status(), time.Since(began)
			if !answered { // a panic is passing through
				call.status = http.StatusInternalServerError
			}
			call.end(span)
			t.countCall(ctx, call)
			t.logCall(ctx, c, call)
		}()
		c.Next()
		answered = true
	}
}

// httpCall is one request, in words from closed lists.
type httpCall struct {
	method, route string
	status        int
	took          time.Duration
}

func (h httpCall) end(span trace.Span) {
	if span.IsRecording() {
		span.SetAttributes(attribute.Int("http.response.status_code", h.status))
		if h.status >= http.StatusInternalServerError {
			span.SetAttributes(attribute.String("error.type", strconv.Itoa(h.status)))
			span.SetStatus(codes.Error, "")
		}
	}
	span.End()
}

func (t *Telemetry) countCall(ctx context.Context, h httpCall) {
	code := other
	if 100 <= h.status && h.status <= 599 {
		code = strconv.Itoa(h.status)
	}
	t.httpRequests.with(h.route, h.method, code).Inc()
	observe(ctx, t.httpDuration.with(h.route, h.method), h.took)
}

func (t *Telemetry) logCall(ctx context.Context, c *gin.Context, h httpCall) {
	level := slog.LevelInfo
	if h.status >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	if !t.logger.Enabled(ctx, level) {
		return
	}
	attributes := []slog.Attr{
		slog.String("route", h.route),
		slog.String("method", h.method),
		slog.Int("status", h.status),
		slog.Int("bytes", max(c.Writer.Size(), 0)),
		milliseconds(h.took),
		slog.String("request_id", requestID(c.Writer.Header())),
		slog.String("peer", truncated(c.RemoteIP())),
	}
	if event := securityEvent(h); event != "" {
		attributes = append(attributes, slog.String("event", event))
	}
	t.logger.LogAttrs(ctx, level, "http request", attributes...)
}

// securityEvent is what the OWASP Logging Vocabulary calls an answer; empty: nothing.
func securityEvent(h httpCall) string {
	switch h.status {
	case http.StatusTooManyRequests:
		return "excess_rate_limit_exceeded"
	case http.StatusUnauthorized:
		if strings.HasSuffix(h.route, "-password") {
			return "authn_password_change_fail"
		}
		return "authn_login_fail"
	case http.StatusForbidden:
		return "authz_fail"
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return "input_validation_fail"
	}
	return ""
}

func requestAttributes(r *http.Request, h httpCall) []attribute.KeyValue {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	attributes := []attribute.KeyValue{
		attribute.String("http.request.method", h.method),
		attribute.String("http.route", h.route),
		attribute.String("url.scheme", scheme),
	}
	if host, ok := hostName(r.Host); ok {
		attributes = append(attributes, attribute.String("server.address", host))
	}
	if agent := userAgent(r); agent != "" {
		attributes = append(attributes, attribute.String("user_agent.original", agent))
	}
	return attributes
}

// userAgent is free text of the caller: it is redacted like a log line, but not
// counted, as a caller may write what it likes.
func userAgent(r *http.Request) string {
	agent, _ := Redact(strings.ToValidUTF8(r.UserAgent(), "?"))
	if len(agent) > maxUserAgent {
		agent = strings.ToValidUTF8(agent[:maxUserAgent], "")
	}
	return agent
}

// routeNames holds what template made of each route: they are few, and every request has one.
var routeNames sync.Map

func template(route string) string {
	if made, ok := routeNames.Load(route); ok {
		return made.(string) //nolint:forcetypeassert // nothing else is in it
	}
	made := newTemplate(route)
	routeNames.Store(route, made)
	return made
}

// newTemplate writes a route of Gin as operability.md does: /:account as /{account}.
func newTemplate(route string) string {
	if route == "" {
		return other
	}
	segments := strings.Split(route, "/")
	for i, segment := range segments {
		if segment != "" && (segment[0] == ':' || segment[0] == '*') {
			segments[i] = "{" + segment[1:] + "}"
		}
	}
	return strings.Join(segments, "/")
}

// requestID is the one that we gave; the caller's own is not looked at.
func requestID(answer http.Header) string {
	id := answer.Get("X-Request-Id")
	if len(id) > 36 {
		return ""
	}
	for _, b := range []byte(id) {
		if !wordByte[b] {
			return ""
		}
	}
	return id
}

// truncated keeps the network of an address; nothing of what is none.
func truncated(ip string) string {
	address, err := netip.ParseAddr(ip)
	if err != nil {
		return ""
	}
	return core.Network(address)
}

// hostName is the name in a Host header, if it can be one.
func hostName(host string) (string, bool) {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	if host == "" || len(host) > 253 {
		return "", false
	}
	for _, b := range []byte(host) {
		if !(wordByte[b] && b != '_' || b == '.' || b == ':' || b == '[' || b == ']') {
			return "", false
		}
	}
	_, hits := Redact(host)
	return host, hits == 0
}

func milliseconds(took time.Duration) slog.Attr {
	return slog.Float64("duration_ms", float64(took.Microseconds())/1000)
}
