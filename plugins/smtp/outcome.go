package smtp

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"regexp"
	"strings"

	"github.com/passmend/passmend/plugins/sdk"
)

// stage is how far a call had come.
type stage string

const (
	stageWait     stage = "wait" // for a free connection
	stageDial     stage = "dial"
	stageTLS      stage = "tls"
	stageGreeting stage = "greeting"
	stageHello    stage = "hello"
	stageAuth     stage = "auth"
	stageReset    stage = "reset"
	stageMail     stage = "mail"
	stageRcpt     stage = "rcpt"
	stageData     stage = "data"
	stageBody     stage = "body"
	stageEnd      stage = "end" // the final dot was written
)

// stageError is an error and where it happened.
type stageError struct {
	stage stage
	err   error
}

func (e *stageError) Error() string { return string(e.stage) + ": " + e.err.Error() }
func (e *stageError) Unwrap() error { return e.err }

// isStale tells that a connection died before the server could have taken
// anything: the message may be sent again at once.
func isStale(err error) bool {
	var at *stageError
	if !errors.As(err, &at) {
		return false
	}
	switch at.stage {
	case stageReset:
		return true
	case stageMail, stageRcpt, stageData:
		code := replyCode(err)
		return code == 0 || code == 421
	}
	return false
}

// replyCode is the server's reply code, or 0 when err is not a reply.
func replyCode(err error) int {
	var reply *textproto.Error
	if errors.As(err, &reply) {
		return reply.Code
	}
	return 0
}

// failureOf classifies by stage, reply code and error type, never by text.
func failureOf(err error, t *timer) *sdk.Failure {
	var known *sdk.Failure
	if errors.As(err, &known) {
		failure := *known
		failure.Steps = t.steps
		return &failure
	}
	failure := &sdk.Failure{Kind: sdk.Unknown, Public: "the mail server gave no usable answer"}
	var at *stageError
	if errors.As(err, &at) {
		failure.Kind, failure.Public = classify(at.stage, at.err)
		failure.Private = private(at.stage, at.err)
	}
	failure.Steps = t.steps
	return failure
}

func classify(at stage, err error) (sdk.Outcome, string) {
	code := replyCode(err)
	switch {
	case code >= 500:
		return refusal(at, code)
	case code >= 400:
		return sdk.Temporary, "the mail server asks to try later"
	case at == stageEnd:
		return sdk.Unknown, "the connection was lost before the mail server confirmed the message"
	case at == stageWait:
		return sdk.Temporary, "every connection to the mail server is busy"
	case at == stageDial:
		var name *net.DNSError
		if errors.As(err, &name) && name.IsNotFound {
			return sdk.Misconfigured, "host does not exist in the DNS"
		}
		return sdk.Temporary, "the mail server cannot be reached"
	case at == stageTLS:
		return tlsFailure(err)
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return sdk.Temporary, "the mail server did not answer in time"
	}
	return sdk.Temporary, "the connection to the mail server was lost"
}

// refusal reads a 5xx reply by where it came (RFC 5321, 4.2; RFC 4954, 6).
func refusal(at stage, code int) (sdk.Outcome, string) {
	switch {
	case code == 535 || code == 530 || code == 538:
		if at == stageAuth {
			return sdk.AuthenticationFailed, "username and password are refused by the mail server"
		}
		return sdk.AuthenticationFailed, "the mail server asks for username and password"
	case at == stageAuth && code == 534:
		return sdk.AuthenticationFailed, "the mail server refuses this way to authenticate with username and password"
	case at == stageAuth:
		return sdk.Misconfigured, "username is set, but the mail server does not authenticate"
	case at == stageHello:
		return sdk.Misconfigured, "heloName is refused by the mail server"
	case at == stageTLS:
		return sdk.Misconfigured, "tls is refused by the mail server"
	case at == stageMail:
		return sdk.Misconfigured, "the sender's address is refused by the mail server"
	case at == stageRcpt:
		return sdk.RecipientRefused, "the recipient's address is refused by the mail server"
	case at == stageData || at == stageBody || at == stageEnd:
		return sdk.ContentRefused, "the message is refused by the mail server"
	default:
		return sdk.Misconfigured, "host does not take mail from here"
	}
}

func tlsFailure(err error) (sdk.Outcome, string) {
	var certificate *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var invalid x509.CertificateInvalidError
	if errors.As(err, &certificate) || errors.As(err, &authority) || errors.As(err, &hostname) || errors.As(err, &invalid) {
		return sdk.Misconfigured, "host has a certificate that is not valid for it"
	}
	var record tls.RecordHeaderError
	if errors.As(err, &record) {
		return sdk.Misconfigured, "tls does not fit: the mail server does not speak TLS on this port"
	}
	var alert tls.AlertError
	if errors.As(err, &alert) {
		return sdk.Misconfigured, "tls is refused by the mail server"
	}
	return sdk.Temporary, "the encrypted connection to the mail server failed"
}

// private is for the operator: the stage, the reply code, the server's own words.
// Words that can hold an address, a link or a token are left out; of errors that
// are not replies only the type is told, for their texts quote addresses too.
func private(at stage, err error) string {
	var reply *textproto.Error
	if errors.As(err, &reply) {
		return fmt.Sprintf("%s: %d %s", at, reply.Code, plainWords(reply.Msg))
	}
	return fmt.Sprintf("%s: %s", at, causeType(err))
}

// causeType is the type of the innermost error.
func causeType(err error) string {
	for next := errors.Unwrap(err); next != nil; next = errors.Unwrap(next) {
		err = next
	}
	return fmt.Sprintf("%T", err)
}

// plainWords keeps at most 200 bytes of short words.
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

// queued finds the name that Postfix and its kin give a message they took.
var queued = regexp.MustCompile(`(?i)\bqueued as ([A-Za-z0-9._-]{4,64})`)

// queueID is the server's own name for the message, empty when it gave none.
func queueID(reply string) string {
	if found := queued.FindStringSubmatch(reply); found != nil {
		return found[1]
	}
	return ""
}
