package postmark

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
)

const (
	// maxRetryAfter bounds what a rate limit may ask for.
	maxRetryAfter = 24 * time.Hour
	// maxErrorCode is more than any code that Postmark documents.
	maxErrorCode = 99_999
)

// result is how a message of a call ended: a receipt, or a failure.
type result struct {
	receipt sdk.Receipt
	failure *sdk.Failure
	// doubtful: Postmark may have the message all the same.
	doubtful bool
	// alone: the whole batch was refused for its content, of which nothing says
	// whose it was; the message is to be sent by itself.
	alone bool
	trace *trace
}

// reply is Postmark's answer about one message, and the form of its errors.
type reply struct {
	ErrorCode *int
	Message   string
	MessageID string
}

// results reads the answer about n messages.
func (e *exchange) results(n int, batch bool) []result {
	all := make([]result, n)
	if e.status != http.StatusOK {
		failure := e.failure()
		for i := range all {
			all[i] = result{
				failure:  failure,
				doubtful: failure.Kind == sdk.Unknown || e.status == http.StatusInternalServerError,
				alone:    n > 1 && failure.Kind == sdk.ContentRefused,
			}
		}
		return all
	}
	replies, err := e.replies(n, batch)
	for i := range all {
		if err != nil {
			all[i] = result{doubtful: true, failure: &sdk.Failure{
				Kind: sdk.Unknown, Public: "Postmark's answer cannot be read", Private: "HTTP 200: " + causeType(err), Code: "200",
			}}
			continue
		}
		all[i] = replies[i].result()
	}
	return all
}

var errForm = errors.New("the answer does not have the documented form")

func (e *exchange) replies(n int, batch bool) ([]reply, error) {
	if e.err != nil {
		return nil, e.err
	}
	replies := make([]reply, 1)
	var err error
	if batch {
		err = json.Unmarshal(e.body, &replies)
	} else {
		err = json.Unmarshal(e.body, &replies[0])
	}
	if err != nil {
		return nil, err
	}
	if len(replies) != n {
		return nil, errForm
	}
	for _, r := range replies {
		if r.ErrorCode == nil {
			return nil, errForm
		}
	}
	return replies, nil
}

func (r reply) result() result {
	if *r.ErrorCode != 0 {
		failure := r.refusal(http.StatusOK)
		return result{failure: failure, doubtful: failure.Kind == sdk.Unknown}
	}
	receipt := sdk.Receipt{Outcome: sdk.Accepted, MessageID: messageID(r.MessageID), Code: "200"}
	if receipt.MessageID == "" {
		receipt.Outcome = sdk.AcceptedUnknown
	}
	return result{receipt: receipt}
}

// failure reads an exchange that did not end with 200. It is never nil.
func (e *exchange) failure() *sdk.Failure {
	if e.status == 0 {
		return e.lost()
	}
	var r reply
	if e.err != nil || json.Unmarshal(e.body, &r) != nil {
		r = reply{}
	}
	failure := r.refusal(e.status)
	if failure.Kind == sdk.RateLimited {
		failure.RetryAfter = retryAfter(e.retryAfter)
	}
	return failure
}

// refusal goes by Postmark's error code, and without one by the status. The two
// share numbers and nothing else.
func (r reply) refusal(status int) *sdk.Failure {
	failure := &sdk.Failure{Code: strconv.Itoa(status), Private: "HTTP " + strconv.Itoa(status)}
	if r.ErrorCode != nil && *r.ErrorCode > 0 && *r.ErrorCode <= maxErrorCode {
		failure.Code += "/" + strconv.Itoa(*r.ErrorCode)
		failure.Private += fmt.Sprintf(", error %d: %s", *r.ErrorCode, plainWords(r.Message))
		failure.Kind, failure.Public = byCode(*r.ErrorCode)
	}
	if failure.Kind == "" {
		failure.Kind, failure.Public = byStatus(status)
	}
	return failure
}

// byCode follows "API error codes" of Postmark's API overview; "" for a code that
// says nothing about sending.
func byCode(code int) (sdk.Outcome, string) {
	switch code {
	case 10:
		return sdk.AuthenticationFailed, "serverToken is refused by Postmark"
	case 100:
		return sdk.Temporary, "Postmark's API is down for maintenance"
	case 300:
		return sdk.ContentRefused, "Postmark takes the message for invalid"
	case 400, 401:
		return sdk.Misconfigured, "the sender's address has no confirmed sender signature at Postmark"
	case 402, 403, 409, 410:
		return sdk.ContentRefused, "Postmark cannot read the message"
	case 405:
		return sdk.QuotaExhausted, "the Postmark account has run out of credits"
	case 406:
		return sdk.RecipientRefused, "the recipient's address is inactive at Postmark after a bounce or a complaint"
	case 411:
		return sdk.ContentRefused, "Postmark does not take attachments of this type"
	case 412:
		return sdk.Misconfigured, "the Postmark account is not yet approved and may send to the sender's own domain only"
	case 413:
		return sdk.Misconfigured, "the Postmark account may not send"
	case 429:
		return sdk.RateLimited, "Postmark asks to send more slowly"
	}
	switch {
	case code >= 1100 && code < 1200:
		return sdk.Misconfigured, "the Postmark template of this mail (resetTemplate, inviteTemplate or changedTemplate) cannot be used"
	case code >= 1221 && code <= 1236:
		return sdk.Misconfigured, "messageStream cannot be used for sending"
	}
	return "", ""
}

// byStatus reads a refusal without a code that is known here; 200 is that of a
// batch that held it. Postmark says of 500 that most such messages are lost; of a
// gateway's 502 and 504 nobody says.
func byStatus(status int) (sdk.Outcome, string) {
	switch {
	case status >= 300 && status < 400:
		return sdk.Misconfigured, "baseUrl answers with a redirect, which is not followed"
	case status == http.StatusUnauthorized:
		return sdk.AuthenticationFailed, "serverToken is refused by Postmark"
	case status == http.StatusForbidden:
		return sdk.Misconfigured, "Postmark forbids requests from here"
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed:
		return sdk.Misconfigured, "baseUrl does not lead to Postmark's API"
	case status == http.StatusRequestTimeout:
		return sdk.Temporary, "Postmark did not get the whole request in time"
	case status == http.StatusRequestEntityTooLarge:
		return sdk.ContentRefused, "the message is larger than Postmark takes"
	case status == http.StatusTooManyRequests:
		return sdk.RateLimited, "Postmark asks to send more slowly"
	case status == http.StatusOK, status >= 400 && status < 500:
		return sdk.ContentRefused, "Postmark refuses the message"
	case status == http.StatusInternalServerError, status == http.StatusServiceUnavailable:
		return sdk.Temporary, "Postmark's API is not working at the moment"
	}
	return sdk.Unknown, "Postmark gave no usable answer"
}

// lost reads an exchange without an answer: by how far the request had come, and
// by the type of the error, never by its text.
func (e *exchange) lost() *sdk.Failure {
	failure := &sdk.Failure{Private: "no answer: " + causeType(e.err)}
	failure.Kind, failure.Public = lost(e.err, e.trace.reached())
	return failure
}

func lost(err error, reached bool) (sdk.Outcome, string) {
	switch {
	case reached && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)):
		return sdk.Unknown, "Postmark did not answer in time"
	case reached:
		return sdk.Unknown, "the connection was lost before Postmark confirmed the message"
	}
	var name *net.DNSError
	if errors.As(err, &name) && name.IsNotFound {
		return sdk.Misconfigured, "baseUrl names a host that does not exist in the DNS"
	}
	var certificate *tls.CertificateVerificationError
	var hostname x509.HostnameError
	var authority x509.UnknownAuthorityError
	if errors.As(err, &certificate) || errors.As(err, &hostname) || errors.As(err, &authority) {
		return sdk.Misconfigured, "baseUrl leads to a server whose certificate is not to be trusted"
	}
	var record tls.RecordHeaderError
	if errors.As(err, &record) || errors.Is(err, http.ErrSchemeMismatch) {
		return sdk.Misconfigured, "baseUrl is https, but the server does not speak TLS"
	}
	return sdk.Temporary, "Postmark cannot be reached"
}

// retryAfter reads RFC 9110, 10.2.3; 0 leaves the wait to the host. Postmark
// documents no such header; what stands in front of it may send one.
func retryAfter(value string) time.Duration {
	wait := time.Duration(0)
	if seconds, err := strconv.Atoi(value); err == nil {
		wait = time.Duration(min(max(seconds, 0), int(maxRetryAfter/time.Second))) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		wait = time.Until(at)
	}
	return min(max(wait, 0), maxRetryAfter)
}

// messageID is Postmark's own name for a message; empty when it is no name.
func messageID(id string) string {
	if len(id) > 128 || !isPrintable(id) {
		return ""
	}
	return id
}

// causeType is the type of the innermost error; error texts quote addresses.
func causeType(err error) string {
	for next := errors.Unwrap(err); next != nil; next = errors.Unwrap(next) {
		err = next
	}
	return fmt.Sprintf("%T", err)
}

// plainWords keeps at most 200 bytes of short words: what can hold an address, a
// link or a token is left out.
func plainWords(text string) string {
	var b strings.Builder
	for word := range strings.FieldsSeq(text) {
		if len(word) > 24 || strings.ContainsAny(word, "@/<>=%") || hasControl(word) {
			word = "..."
		}
		if b.Len()+len(word) >= 200 {
			break
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(word)
	}
	return b.String()
}
