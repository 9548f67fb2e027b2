package observability

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// The protocols that OTEL_EXPORTER_OTLP_(TRACES_)PROTOCOL names.
const (
	overGRPC = "grpc"
	overHTTP = "http/protobuf"
)

// otlpVariables are those that come for all signals and, stronger, for traces alone.
func otlpVariables(what string) []string {
	return []string{"OTEL_EXPORTER_OTLP_TRACES_" + what, "OTEL_EXPORTER_OTLP_" + what}
}

// validateOTLP refuses what the exporters would answer with a guess and a line on
// standard error. An endpoint's value is not told: it may hold a password.
func (c *TracingConfig) validateOTLP() error {
	for _, name := range otlpVariables("PROTOCOL") {
		if protocol := c.env(name); protocol != "" && protocol != overGRPC && protocol != overHTTP {
			return fmt.Errorf("%s is %q, must be %s or %s", name, protocol, overGRPC, overHTTP)
		}
	}
	for _, name := range otlpVariables("ENDPOINT") {
		endpoint := c.env(name)
		if endpoint == "" {
			continue
		}
		at, err := url.Parse(endpoint)
		if err != nil || at.Host == "" || at.Scheme != "http" && at.Scheme != "https" {
			return fmt.Errorf("%s is not a URL, must be http://HOST:PORT or https://HOST:PORT", name)
		}
	}
	return nil
}

// exports says whether the environment wants spans sent over OTLP.
func (c *TracingConfig) exports() bool {
	switch {
	case strings.EqualFold(c.env("OTEL_SDK_DISABLED"), "true"):
		return false
	case c.env("OTEL_TRACES_EXPORTER") != "":
		return c.env("OTEL_TRACES_EXPORTER") == "otlp"
	default:
		return c.firstOf(otlpVariables("ENDPOINT")) != ""
	}
}

func (c *TracingConfig) firstOf(names []string) string {
	for _, name := range names {
		if value := c.env(name); value != "" {
			return value
		}
	}
	return ""
}

// exporter speaks the protocol that the environment names; gRPC when it names none.
// Everything else of it (endpoint, headers, certificates, compression, timeout) the
// exporters read from the same variables. It does not wait for the collector.
func (c *TracingConfig) exporter(ctx context.Context) (exporter sdktrace.SpanExporter, err error) {
	if c.firstOf(otlpVariables("PROTOCOL")) == overHTTP {
		exporter, err = otlptracehttp.New(ctx)
	} else {
		exporter, err = otlptracegrpc.New(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("OTLP exporter: %w", err)
	}
	return exporter, nil
}
