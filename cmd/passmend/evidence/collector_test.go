package evidence

import (
	"compress/gzip"
	"context"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// collector is an OTLP collector on loopback, by both protocols, that keeps all.
type collector struct {
	collectorpb.UnimplementedTraceServiceServer

	grpcURL, httpURL string

	mu    sync.Mutex
	raw   []string // requests as they came, for searching
	spans []span
}

// span is one that was received, in plain values.
type span struct {
	name, trace, id, parent string // ids in hex; parent empty: a root
	kind                    tracepb.Span_SpanKind
	links                   []string // trace:span
	attributes              map[string]string
	resource                map[string]string
	events                  []string
	failed                  bool
}

func startCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	collectorpb.RegisterTraceServiceServer(server, c)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	c.grpcURL = "http://" + listener.Addr().String()
	overHTTP := httptest.NewServer(http.HandlerFunc(c.serveHTTP))
	t.Cleanup(overHTTP.Close)
	c.httpURL = overHTTP.URL
	return c
}

// Export is of OTLP over gRPC.
func (c *collector) Export(_ context.Context, request *collectorpb.ExportTraceServiceRequest) (*collectorpb.ExportTraceServiceResponse, error) {
	c.take(request)
	return &collectorpb.ExportTraceServiceResponse{}, nil
}

// serveHTTP is OTLP over HTTP with protobuf.
func (c *collector) serveHTTP(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		var err error
		if body, err = gzip.NewReader(body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	content, err := io.ReadAll(body)
	request := &collectorpb.ExportTraceServiceRequest{}
	if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(content, request) != nil {
		http.Error(w, "not OTLP", http.StatusBadRequest)
		return
	}
	c.take(request)
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func (c *collector) take(request *collectorpb.ExportTraceServiceRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw = append(c.raw, request.String())
	for _, resource := range request.GetResourceSpans() {
		about := plain(resource.GetResource().GetAttributes())
		for _, scope := range resource.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				got := span{
					name: s.GetName(), kind: s.GetKind(),
					trace: hex.EncodeToString(s.GetTraceId()), id: hex.EncodeToString(s.GetSpanId()), parent: hex.EncodeToString(s.GetParentSpanId()),
					attributes: plain(s.GetAttributes()), resource: about,
					failed: s.GetStatus().GetCode() == tracepb.Status_STATUS_CODE_ERROR,
				}
				for _, link := range s.GetLinks() {
					got.links = append(got.links, hex.EncodeToString(link.GetTraceId())+":"+hex.EncodeToString(link.GetSpanId()))
				}
				for _, event := range s.GetEvents() {
					got.events = append(got.events, event.GetName())
				}
				c.spans = append(c.spans, got)
			}
		}
	}
}

func plain(attributes []*commonpb.KeyValue) map[string]string {
	values := make(map[string]string)
	for _, a := range attributes {
		switch value := a.GetValue().GetValue().(type) {
		case *commonpb.AnyValue_StringValue:
			values[a.GetKey()] = value.StringValue
		case *commonpb.AnyValue_IntValue:
			values[a.GetKey()] = strconv.FormatInt(value.IntValue, 10)
		default:
			values[a.GetKey()] = a.GetValue().String()
		}
	}
	return values
}

// text is everything that was received.
func (c *collector) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.raw, "\n")
}

// named gives the spans of a name.
func (c *collector) named(name string) (found []span) {
	return c.which(func(s span) bool { return s.name == name })
}

func (c *collector) which(holds func(span) bool) (found []span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		if holds(s) {
			found = append(found, s)
		}
	}
	return found
}

// below gives the children of a span.
func (c *collector) below(parent span) []span {
	return c.which(func(s span) bool { return s.trace == parent.trace && s.parent == parent.id })
}

// child gives the one child of that name.
func (c *collector) child(parent span, name string) (span, bool) {
	children := slices.DeleteFunc(c.below(parent), func(s span) bool { return s.name != name })
	if len(children) != 1 {
		return span{}, false
	}
	return children[0], true
}

// linkedTo gives the spans of a name that a span led to.
func (c *collector) linkedTo(from span, name string) []span {
	return c.which(func(s span) bool { return s.name == name && slices.Contains(s.links, from.trace+":"+from.id) })
}
