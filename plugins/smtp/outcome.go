package smtp

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/textproto"
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

// isCrowded tells that the server refused a connection for now. 421 in place of a
// greeting is what servers say that limit connections (RFC 5321, 3.8 and 4.2.2).
func isCrowded(err error) bool {
	var at *stageError
	return errors.As(err, &at) && (at.stage == stageGreeting || at.stage == stageHello) && replyCode(err) == 421
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
	failure := &sdk.Failure{Kind: sdk.Unknown, Public: "the mail server gave no usable answer", Steps: t.steps}
	var at *stageError
	if errors.As(err, &at) {
		failure.Kind, failure.Public = classify(at.stage, at.err)
		failure.Private = private(at.stage, at.err)
	}
	var said *textproto.Error
	if errors.As(err, &said) {
		failure.Code = statusOf(said.Code, said.Msg).String()
	}
	return failure
}

func classify(at stage, err error) (sdk.Outcome, string) {
	var said *textproto.Error
	switch {
	case errors.As(err, &said) && said.Code >= 400:
		return verdictOf(at, statusOf(said.Code, said.Msg))
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
