package observability

import (
	"fmt"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// defaultRatio of the requests are traced when the environment says nothing.
const defaultRatio = 0.05

// sampler reads OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG. The SDK would too,
// but it answers a mistake with a guess.
func (c *TracingConfig) sampler() (sdktrace.Sampler, error) {
	const name, argument = "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"
	kind := c.env(name)
	ratio := 1.0
	if kind == "" {
		kind, ratio = "parentbased_traceidratio", defaultRatio
	} else if text := c.env(argument); text != "" {
		var err error
		if ratio, err = strconv.ParseFloat(text, 64); err != nil || !(0 <= ratio && ratio <= 1) {
			return nil, fmt.Errorf("%s is %q, must be a number from 0 to 1", argument, text)
		}
	}
	switch kind {
	case "always_on":
		return sdktrace.AlwaysSample(), nil
	case "always_off":
		return sdktrace.NeverSample(), nil
	case "traceidratio":
		return sdktrace.TraceIDRatioBased(ratio), nil
	case "parentbased_always_on":
		return originBased(sdktrace.AlwaysSample(), true), nil
	case "parentbased_always_off":
		return originBased(sdktrace.NeverSample(), false), nil
	case "parentbased_traceidratio":
		return originBased(sdktrace.TraceIDRatioBased(ratio), ratio > 0), nil
	default:
		return nil, fmt.Errorf("%s is %q, must be one of always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off, parentbased_traceidratio", name, kind)
	}
}

// originSampler carries the decision about a request over to its deliveries: they
// are traces of their own, and a chain of which one in twenty links survives
// at random tells nothing. A delivery that has failed before is kept whatever was
// decided: who samples at the head knows no more of errors than that.
type originSampler struct {
	sdktrace.Sampler
	keepFailed bool
}

func originBased(root sdktrace.Sampler, keepFailed bool) sdktrace.Sampler {
	return originSampler{sdktrace.ParentBased(root), keepFailed}
}

// ShouldSample follows the link of a consumer, whose origin is our own row. A
// server's link is the caller's word and decides nothing.
func (s originSampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	if p.Kind == trace.SpanKindConsumer && len(p.Links) > 0 {
		if p.Links[0].SpanContext.IsSampled() || s.keepFailed && again(p.Attributes) {
			return sdktrace.SamplingResult{Decision: sdktrace.RecordAndSample}
		}
		return sdktrace.SamplingResult{Decision: sdktrace.Drop}
	}
	return s.Sampler.ShouldSample(p)
}

// again says whether these are of a second attempt or a later one.
func again(attributes []attribute.KeyValue) bool {
	for _, a := range attributes {
		if a.Key == attemptNumber {
			return a.Value.AsInt64() > 1
		}
	}
	return false
}
