package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/passmend/passmend/plugins/sdk"
)

const (
	// maxRetryAfter bounds the wait that an endpoint may ask for.
	maxRetryAfter = 24 * time.Hour
	// maxAnswer bounds the answer that is kept, in characters.
	maxAnswer = 256
)

// outcomeOf reads the endpoint's status: 2xx is success and nothing else is. A
// receiver is tried again whatever it says, but for 410, which is its way to say
// that it is gone (RFC 9110, 15.5.11).
func outcomeOf(r *reply, t *trace) (sdk.Receipt, error) {
	_, steps := t.finish()
	code, answer := strconv.Itoa(r.status), answerOf(r.body)
	if r.status >= 200 && r.status <= 299 {
		return sdk.Receipt{Outcome: sdk.Accepted, Code: code, Answer: answer, Steps: steps}, nil
	}
	failure := &sdk.Failure{
		Kind:   sdk.Temporary,
		Public: "the endpoint answered " + code,
		Code:   code,
		Answer: answer,
		Steps:  steps,
	}
	switch {
	case r.status == http.StatusGone:
		failure.Kind, failure.Public = sdk.RecipientRefused, "the endpoint says that it is gone (410)"
	case r.status == http.StatusTooManyRequests:
		failure.Kind, failure.Public = sdk.RateLimited, "the endpoint asks for fewer events (429)"
		failure.RetryAfter = retryAfter(r.header, time.Now())
	case r.status == http.StatusServiceUnavailable:
		failure.RetryAfter = retryAfter(r.header, time.Now())
	case r.status >= 300 && r.status <= 399:
		failure.Public += "; redirects are not followed"
	}
	return sdk.Receipt{}, failure
}

// retryAfter reads Retry-After, seconds or a date (RFC 9110, 10.2.3); 0 when it
// is not there, in the past, or unreadable.
func retryAfter(header http.Header, now time.Time) time.Duration {
	text := header.Get("Retry-After")
	if at, err := http.ParseTime(text); err == nil {
		return min(max(0, at.Sub(now)), maxRetryAfter)
	}
	seconds, err := strconv.ParseUint(text, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange) || seconds > uint64(maxRetryAfter/time.Second):
		return maxRetryAfter
	case err != nil:
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// keyLike is what a token, a signature or an encoded body looks like. Endpoints
// echo what they got, and the answer is stored: such runs are not.
var keyLike = regexp.MustCompile(`[A-Za-z0-9+/=_-]{40,}`)

// answerOf gives the beginning of the body as one line of printable characters.
func answerOf(body []byte) string {
	line := strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) || c == unicode.ReplacementChar {
			return ' '
		}
		return c
	}, string(body))
	line = keyLike.ReplaceAllLiteralString(strings.Join(strings.Fields(line), " "), "[withheld]")
	if runes := []rune(line); len(runes) > maxAnswer {
		line = string(runes[:maxAnswer])
	}
	return line
}

// lost is the failure of a call that got no status.
func lost(ctx context.Context, err error, t *trace) *sdk.Failure {
	at, steps := t.finish()
	kind, public := classify(ctx, at, err)
	return &sdk.Failure{Kind: kind, Public: public, Private: private(at, err), Steps: steps}
}

// classify goes by stage and error type, never by text.
func classify(ctx context.Context, at stage, err error) (sdk.Outcome, string) {
	var blocked *blockedError
	var timeout net.Error
	late := ctx.Err() != nil || errors.As(err, &timeout) && timeout.Timeout()
	switch {
	case errors.As(err, &blocked):
		return sdk.Misconfigured, "url leads into a network that is not allowed: " + blocked.rule
	case at == stageWait && late:
		return sdk.Unknown, "the endpoint took the event and did not answer in time"
	case at == stageWait:
		return sdk.Unknown, "the connection was lost before the endpoint answered"
	case errors.Is(ctx.Err(), context.Canceled):
		return sdk.Temporary, "the call was ended before the event was sent"
	case at == stageDNS:
		return sdk.Temporary, dnsFailure(err)
	case late && at == stageTLS:
		return sdk.Temporary, "the endpoint did not agree on encryption in time"
	case late:
		return sdk.Temporary, "the endpoint could not be reached in time"
	case errors.Is(err, fs.ErrPermission):
		return sdk.Misconfigured, "url has a port that this plugin may not connect to"
	}
	return sdk.Temporary, connectionFailure(at, err)
}

func dnsFailure(err error) string {
	var name *net.DNSError
	if errors.As(err, &name) && name.IsNotFound {
		return "the endpoint's host does not exist in the DNS"
	}
	return "the endpoint's host could not be looked up in the DNS"
}

func connectionFailure(at stage, err error) string {
	var certificate *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the endpoint's host refused the connection"
	case errors.Is(err, syscall.ECONNRESET):
		return "the endpoint's host reset the connection"
	case at == stageTLS && (errors.As(err, &certificate) || errors.As(err, &authority) ||
		errors.As(err, &hostname) || errors.As(err, &invalid)):
		return "the endpoint's certificate is not valid for its host"
	case at == stageTLS:
		return "the endpoint did not agree on encryption"
	case at == stageDial:
		return "the endpoint's host could not be reached"
	}
	return "the connection to the endpoint was lost"
}

// private is for the operator: stage and kind of error. Texts of errors quote
// addresses and URLs, and stay out.
func private(at stage, err error) string {
	var blocked *blockedError
	if errors.As(err, &blocked) {
		return at.String() + ": " + blocked.Error()
	}
	var number syscall.Errno
	if errors.As(err, &number) {
		return at.String() + ": " + number.Error()
	}
	for next := errors.Unwrap(err); next != nil; next = errors.Unwrap(next) {
		err = next
	}
	return fmt.Sprintf("%s: %T", at, err)
}
