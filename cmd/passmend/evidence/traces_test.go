package evidence

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/passmend/passmend/plugins/smtp/smtptest"
)

const (
	accepting   = "POST /v1/accounts/{account}/passwords"
	resetting   = "POST /v1/accounts/{account}/users/{user}/actions/reset-password"
	pluginCall  = "passmend.provider.v1.Provider/Send"
	callersOwn  = "4bf92f3577b34da6a3ce929d0e0e4736"
	callersSpan = "00f067aa0ba902b7"
)

// tracingTo are the variables that send every span to an endpoint, soon.
func tracingTo(protocol, endpoint string) []string {
	return []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL=" + protocol,
		"OTEL_TRACES_SAMPLER=parentbased_always_on", "OTEL_BSP_SCHEDULE_DELAY=100",
	}
}

// Every request gives the whole chain, of this process and of the plugin's, and so
// does a link that is redeemed. A relay that refuses once is tried again, and both
// attempts are shown.
func TestEveryRequestIsAChainAcrossBothProcesses(t *testing.T) {
	t.Parallel()
	for protocol, endpoint := range map[string]func(*collector) string{
		"grpc":          func(c *collector) string { return c.grpcURL },
		"http/protobuf": func(c *collector) string { return c.httpURL },
	} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			collector := startCollector(t)
			s := newSite(t, smtptest.Options{Refuse: refuseOnce("u1@example.com")}, tracingTo(protocol, endpoint(collector))...)
			srv := s.serve()
			const requests = 40
			for n := range requests {
				s.register(fmt.Sprintf("u%d@example.com", n), "")
				s.forget(fmt.Sprintf("u%d@example.com", n), "traceparent", "00-"+callersOwn+"-"+callersSpan+"-01", "baggage", "who=me")
			}
			eventually(t, "every mail is out", func() bool { return len(s.relay.Messages()) == requests })
			if got := s.redeem("u0@example.com", s.token("u0@example.com"), "a new one, remembered"); got.status != http.StatusOK {
				t.Fatalf("redeem: %d %s", got.status, got.body)
			}
			eventually(t, "the notice is out", func() bool { return len(s.relay.Messages()) == requests+1 })
			exemplars := s.exemplars()
			srv.stop()

			whole := 0
			for _, root := range collector.named(accepting) {
				faults := collector.faultsOfChain(root, srv.cmd.Process.Pid)
				if len(faults) == 0 {
					whole++
				}
				for _, fault := range faults {
					t.Errorf("trace %s: %s", root.trace, fault)
				}
			}
			if whole != requests {
				t.Errorf("%d of %d requests are a whole chain", whole, requests)
			}
			if got := collector.which(func(s span) bool { return s.trace == callersOwn }); len(got) != 0 {
				t.Errorf("%d spans are in the trace of the caller", len(got))
			}
			if strings.Contains(collector.text(), "baggage") || strings.Contains(collector.text(), "who=me") {
				t.Error("the caller's baggage is in a span")
			}
			for _, step := range []string{"dial", "tls", "auth", "data"} { // a connection that is kept needs no second dial
				if len(collector.named(step)) == 0 {
					t.Errorf("no step %q", step)
				}
			}
			for _, fault := range collector.faultsOfRedeeming() {
				t.Error(fault)
			}
			for _, fault := range append(collector.faultsOfRetrying(), collector.faultsOfExemplars(exemplars)...) {
				t.Error(fault)
			}
			// The control: without one of its spans a chain has a fault.
			root := collector.named(accepting)[0]
			for _, name := range []string{"INSERT requests", "resolve request", "render mail", "data", "UPDATE deliveries"} {
				if faults := collector.without(name).faultsOfChain(root, srv.cmd.Process.Pid); len(faults) == 0 {
					t.Errorf("a chain without %q is taken for whole", name)
				}
			}
			if faults := collector.without("claim deliveries").faultsOfExemplars(exemplars); len(faults) == 0 {
				t.Error("an exemplar that leads nowhere is not seen")
			}
		})
	}
}

// refuseOnce has the relay put one recipient off, the first time.
func refuseOnce(address string) func(stage, argument string) *smtptest.Reply {
	var refused atomic.Bool
	return func(stage, argument string) *smtptest.Reply {
		if stage != "rcpt" || argument != address || refused.Swap(true) {
			return nil
		}
		return &smtptest.Reply{Code: 451, Enhanced: [3]int{4, 3, 0}, Text: "later"}
	}
}

// faultsOfRedeeming looks at the one link that was redeemed.
func (c *collector) faultsOfRedeeming() (faults []string) {
	roots := c.named(resetting)
	if len(roots) != 1 {
		return []string{fmt.Sprintf("%d redemptions", len(roots))}
	}
	redeem, ok := c.child(roots[0], "redeem link")
	hash, hashed := c.child(redeem, "hash password")
	_, spent := c.child(redeem, "UPDATE requests")
	if !ok || !hashed || !spent || hash.attributes["passmend.hash.algorithm"] != "argon2id" || hash.attributes["passmend.hash.wait_ms"] == "" {
		faults = append(faults, fmt.Sprintf("redeem link %t, hash password %t %v, UPDATE requests %t", ok, hashed, hash.attributes, spent))
	}
	if notices := c.named("process notice"); len(notices) != 1 {
		faults = append(faults, fmt.Sprintf("%d notices", len(notices)))
	}
	return faults
}

// faultsOfRetrying looks at the one mail that was put off.
func (c *collector) faultsOfRetrying() []string {
	second := c.which(func(s span) bool { return s.attributes["passmend.attempt"] == "2" })
	if len(second) != 1 || len(second[0].events) != 0 {
		return []string{fmt.Sprintf("second attempts: %v", second)}
	}
	first := c.which(func(s span) bool {
		return s.attributes["passmend.attempt"] == "1" && s.attributes["passmend.delivery.kind"] == "mail" && slices.Equal(s.links, second[0].links)
	})
	if len(first) != 1 || !slices.Equal(first[0].events, []string{"retry"}) {
		return []string{fmt.Sprintf("first attempts: %v", first)}
	}
	return nil
}

func (c *collector) without(name string) *collector {
	return &collector{spans: c.which(func(s span) bool { return s.name != name })}
}

// faultsOfChain walks from an accepted request to its mail's end.
func (c *collector) faultsOfChain(root span, service int) (faults []string) {
	say := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	if root.parent != "" || root.kind != tracepb.Span_SPAN_KIND_SERVER {
		say("the server's span is no root")
	}
	if !slices.Equal(root.links, []string{callersOwn + ":" + callersSpan}) {
		say("the server's span is linked to %v", root.links)
	}
	if got := root.resource["process.pid"]; got != strconv.Itoa(service) {
		say("process %s, not %d", got, service)
	}
	create, ok := c.child(root, "create reset")
	if !ok || create.kind != tracepb.Span_SPAN_KIND_PRODUCER {
		say("no producer")
		return faults
	}
	if _, ok := c.child(create, "INSERT requests"); !ok {
		say("no insert")
	}
	consumers := c.linkedTo(create, "process reset")
	var resolve, mail []span
	for _, consumer := range consumers {
		if consumer.kind != tracepb.Span_SPAN_KIND_CONSUMER || consumer.parent != "" || consumer.trace == root.trace {
			say("a consumer is not a trace of its own")
		}
		if consumer.attributes["messaging.message.id"] != create.attributes["messaging.message.id"] {
			say("a consumer is another request's")
		}
		switch consumer.attributes["passmend.delivery.kind"] {
		case "resolve":
			resolve = append(resolve, consumer)
		case "mail":
			mail = append(mail, consumer)
		}
	}
	mail = slices.DeleteFunc(mail, func(s span) bool { return s.attributes["passmend.outcome"] == "retry" })
	if len(resolve) != 1 || len(mail) != 1 {
		say("%d resolved, %d mailed", len(resolve), len(mail))
		return faults
	}
	for _, name := range []string{"claim deliveries", "resolve request", "UPDATE requests"} {
		if _, ok := c.child(resolve[0], name); !ok {
			say("resolving has no %q", name)
		}
	}
	for _, name := range []string{"render mail", "UPDATE deliveries"} {
		if _, ok := c.child(mail[0], name); !ok {
			say("the mail has no %q", name)
		}
	}
	return append(faults, c.faultsOfCall(mail[0], service)...)
}

// faultsOfCall looks at the call and into the plugin's process.
func (c *collector) faultsOfCall(mail span, service int) (faults []string) {
	call, ok := c.child(mail, pluginCall)
	if !ok || call.kind != tracepb.Span_SPAN_KIND_CLIENT || call.attributes["rpc.system.name"] != "grpc" ||
		call.attributes["rpc.response.status_code"] != "OK" || call.attributes["passmend.plugin.name"] != "smtp" {
		return []string{fmt.Sprintf("the call is %v", call.attributes)}
	}
	plugin, err := strconv.Atoi(call.attributes["passmend.plugin.pid"])
	if err != nil || plugin == service {
		faults = append(faults, fmt.Sprintf("the plugin's process is %q", call.attributes["passmend.plugin.pid"]))
	}
	steps := make(map[string]bool)
	for _, step := range c.below(call) {
		steps[step.name] = true
		if step.attributes["passmend.plugin.pid"] != strconv.Itoa(plugin) {
			faults = append(faults, fmt.Sprintf("step %q is of process %q", step.name, step.attributes["passmend.plugin.pid"]))
		}
	}
	if !steps["data"] {
		faults = append(faults, fmt.Sprintf("the steps are %v", steps))
	}
	return faults
}

// One in a million is sampled, and what has failed before.
func TestWhatFailedIsKept(t *testing.T) {
	t.Parallel()
	collector := startCollector(t)
	s := newSite(t, smtptest.Options{Refuse: refuseOnce("ada@example.com")},
		append(tracingTo("http/protobuf", collector.httpURL), "OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.000001")...)
	srv := s.serve()
	s.register("ada@example.com", "")
	s.forget("ada@example.com")
	s.token("ada@example.com")
	srv.stop()
	attempts := collector.which(func(s span) bool { return s.attributes["passmend.delivery.kind"] == "mail" })
	if len(attempts) != 1 || attempts[0].attributes["passmend.attempt"] != "2" || attempts[0].attributes["passmend.outcome"] != "ok" {
		t.Fatalf("attempts that are kept: %v", attempts)
	}
	if faults := collector.faultsOfCall(attempts[0], srv.cmd.Process.Pid); len(faults) != 0 {
		t.Errorf("the second attempt: %q", faults)
	}
	if len(collector.named(accepting)) != 0 {
		t.Error("what went well is kept too: the test shows nothing")
	}
}

// silent takes connections and never answers, as a collector that hangs.
func silent(t *testing.T) (endpoint string, taken *atomic.Int64) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	taken = &atomic.Int64{}
	var mu sync.Mutex
	var open []net.Conn
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			taken.Add(1)
			mu.Lock()
			open = append(open, conn)
			mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		mu.Lock()
		defer mu.Unlock()
		for _, conn := range open {
			_ = conn.Close()
		}
	})
	return "http://" + listener.Addr().String(), taken
}

// A collector that takes the connection and never answers costs nobody anything but
// the spans, which are counted. That as many as may wait are waiting, the tests of
// observability try, with a control.
func TestACollectorThatHangsSlowsNothing(t *testing.T) {
	t.Parallel()
	endpoint, taken := silent(t)
	s := newSite(t, smtptest.Options{}, append(tracingTo("http/protobuf", endpoint), "OTEL_EXPORTER_OTLP_TIMEOUT=4000")...)
	srv := s.serve()
	slowest := time.Duration(0)
	for n := range 200 {
		began := time.Now()
		s.forget(fmt.Sprintf("nobody%d@example.com", n))
		slowest = max(slowest, time.Since(began))
	}
	// An export takes four seconds to fail: had one request waited for it, it would show.
	if slowest > 3*time.Second {
		t.Errorf("the slowest request took %v", slowest)
	}
	eventually(t, "spans are dropped and counted", func() bool {
		return !strings.Contains(s.metrics(), "\npassmend_trace_spans_dropped_total 0\n")
	})
	if taken.Load() == 0 {
		t.Error("nobody called the collector: the test shows nothing")
	}
	began := time.Now()
	srv.stop()
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("the service took %v to end", took)
	}
}
