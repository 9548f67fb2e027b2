package serve

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/sdk/serve/internal/providerv1"
)

// outcomes pairs the SDK's outcomes with the wire's, in the wire's order.
var outcomes = [...]struct {
	sdk  sdk.Outcome
	wire providerv1.Outcome
}{
	{sdk.Accepted, providerv1.Outcome_OUTCOME_ACCEPTED},
	{sdk.AcceptedUnknown, providerv1.Outcome_OUTCOME_ACCEPTED_UNKNOWN},
	{sdk.RecipientRefused, providerv1.Outcome_OUTCOME_RECIPIENT_REFUSED},
	{sdk.ContentRefused, providerv1.Outcome_OUTCOME_CONTENT_REFUSED},
	{sdk.Misconfigured, providerv1.Outcome_OUTCOME_MISCONFIGURED},
	{sdk.AuthenticationFailed, providerv1.Outcome_OUTCOME_AUTHENTICATION_FAILED},
	{sdk.RateLimited, providerv1.Outcome_OUTCOME_RATE_LIMITED},
	{sdk.QuotaExhausted, providerv1.Outcome_OUTCOME_QUOTA_EXHAUSTED},
	{sdk.Temporary, providerv1.Outcome_OUTCOME_TEMPORARY},
	{sdk.Unknown, providerv1.Outcome_OUTCOME_UNKNOWN},
}

// outcomeToWire takes what is not in the list as unknown.
func outcomeToWire(outcome sdk.Outcome) providerv1.Outcome {
	for _, pair := range outcomes {
		if pair.sdk == outcome {
			return pair.wire
		}
	}
	return providerv1.Outcome_OUTCOME_UNKNOWN
}

func outcomeFromWire(outcome providerv1.Outcome) sdk.Outcome {
	for _, pair := range outcomes {
		if pair.wire == outcome {
			return pair.sdk
		}
	}
	return sdk.Unknown
}

func isAccepted(outcome sdk.Outcome) bool {
	return outcome == sdk.Accepted || outcome == sdk.AcceptedUnknown
}

func accepted() *providerv1.Result {
	return &providerv1.Result{Outcome: providerv1.Outcome_OUTCOME_ACCEPTED}
}

// failed is the result of err. An error cannot say "accepted": that is unknown.
// Texts often hold a server's words; what is not UTF-8 in them must not cost the
// whole reply.
func failed(err error) *providerv1.Result {
	failure := sdk.FailureOf(err)
	outcome := failure.Kind
	if isAccepted(outcome) {
		outcome = sdk.Unknown
	}
	return &providerv1.Result{
		Outcome:      outcomeToWire(outcome),
		Public:       strings.ToValidUTF8(failure.Public, "?"),
		Private:      strings.ToValidUTF8(failure.Private, "?"),
		RetryAfterMs: failure.RetryAfter.Milliseconds(),
		UntilUnixMs:  timeToWire(failure.Until),
		Steps:        stepsToWire(failure.Steps),
		Code:         strings.ToValidUTF8(failure.Code, "?"),
		Answer:       strings.ToValidUTF8(failure.Answer, "?"),
	}
}

// failureFromWire is nil for an accepted result.
func failureFromWire(result *providerv1.Result) *sdk.Failure {
	outcome := outcomeFromWire(result.GetOutcome())
	if isAccepted(outcome) {
		return nil
	}
	failure := &sdk.Failure{
		Kind:       outcome,
		Public:     result.GetPublic(),
		Private:    result.GetPrivate(),
		RetryAfter: max(0, time.Duration(result.GetRetryAfterMs())*time.Millisecond),
		Until:      timeFromWire(result.GetUntilUnixMs()),
		Steps:      stepsFromWire(result.GetSteps()),
		Code:       result.GetCode(),
		Answer:     result.GetAnswer(),
	}
	if result.GetOutcome() == providerv1.Outcome_OUTCOME_UNSPECIFIED && failure.Private == "" {
		failure.Public = "the provider gave no usable answer"
		failure.Private = "reply without an outcome"
	}
	return failure
}

func receiptToWire(receipt sdk.Receipt) *providerv1.SendReply {
	if receipt.Outcome == "" {
		receipt.Outcome = sdk.Accepted
	}
	return &providerv1.SendReply{
		Result: &providerv1.Result{
			Outcome: outcomeToWire(receipt.Outcome),
			Steps:   stepsToWire(receipt.Steps),
			Code:    strings.ToValidUTF8(receipt.Code, "?"),
			Answer:  strings.ToValidUTF8(receipt.Answer, "?"),
		},
		MessageId: strings.ToValidUTF8(receipt.MessageID, "?"),
	}
}

func receiptFromWire(reply *providerv1.SendReply) sdk.Receipt {
	return sdk.Receipt{
		Outcome:   outcomeFromWire(reply.GetResult().GetOutcome()),
		MessageID: reply.GetMessageId(),
		Steps:     stepsFromWire(reply.GetResult().GetSteps()),
		Code:      reply.GetResult().GetCode(),
		Answer:    reply.GetResult().GetAnswer(),
	}
}

func descriptionToWire(d sdk.Description) *providerv1.DescribeReply {
	reply := &providerv1.DescribeReply{
		Name:           d.Name,
		Version:        d.Version,
		SettingsSchema: d.SettingsSchema,
		ParsesEvents:   d.ParsesEvents,
		Permissions:    &providerv1.Permissions{MemoryBytes: d.Permissions.MemoryBytes, Hosts: d.Permissions.Hosts},
	}
	for _, content := range d.Contents {
		reply.Contents = append(reply.Contents, string(content))
	}
	for _, port := range d.Permissions.Ports {
		reply.Permissions.Ports = append(reply.Permissions.Ports, uint32(port))
	}
	return reply
}

func descriptionFromWire(reply *providerv1.DescribeReply) sdk.Description {
	d := sdk.Description{
		Name:           reply.GetName(),
		Version:        reply.GetVersion(),
		SettingsSchema: reply.GetSettingsSchema(),
		ParsesEvents:   reply.GetParsesEvents(),
		Permissions: sdk.Permissions{
			MemoryBytes: max(0, reply.GetPermissions().GetMemoryBytes()),
			Hosts:       reply.GetPermissions().GetHosts(),
		},
	}
	for _, content := range reply.GetContents() {
		d.Contents = append(d.Contents, sdk.Content(content))
	}
	for _, port := range reply.GetPermissions().GetPorts() {
		if port > 0 && port <= 0xffff {
			d.Permissions.Ports = append(d.Permissions.Ports, uint16(port))
		}
	}
	return d
}

func stepsToWire(steps []sdk.Step) []*providerv1.Step {
	var wire []*providerv1.Step
	for _, step := range steps {
		wire = append(wire, &providerv1.Step{
			Name:       strings.ToValidUTF8(step.Name, "?"),
			StartNs:    step.Start.Nanoseconds(),
			DurationNs: step.Duration.Nanoseconds(),
		})
	}
	return wire
}

func stepsFromWire(wire []*providerv1.Step) []sdk.Step {
	var steps []sdk.Step
	for _, step := range wire {
		steps = append(steps, sdk.Step{
			Name:     step.GetName(),
			Start:    time.Duration(step.GetStartNs()),
			Duration: time.Duration(step.GetDurationNs()),
		})
	}
	return steps
}

func timeToWire(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func timeFromWire(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func valid(texts ...string) bool {
	for _, text := range texts {
		if !utf8.ValidString(text) {
			return false
		}
	}
	return true
}
