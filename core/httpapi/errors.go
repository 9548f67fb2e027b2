package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// Refusals of the edge itself.
var (
	errNoRoute      = errors.New("no such route")
	errMethod       = errors.New("unknown method")
	errParameters   = errors.New("query is not decodable")
	errMediaType    = errors.New("media type not acceptable")
	errTooLarge     = errors.New("body is too large")
	errVersion      = errors.New("unsupported API version")
	errEnvironment  = errors.New("environments are not supported")
	errSignature    = errors.New("malformed Keygen-Accept-Signature")
	errNoToken      = errors.New("no API token")
	errTokenFormat  = errors.New("an identifier in the place of an API token")
	errNoAddress    = errors.New("no address to sign in with")
	errNoSecret     = errors.New("no password to sign in with")
	errBearerBanned = errors.New("the bearer of an API token is banned")
	errForbidden    = errors.New("not for this bearer")
	errNoRequest    = errors.New("no such request")
)

// refusal is an answer that refuses, as contract.md, C8 has it.
type refusal struct {
	status     int
	title      string
	detail     string
	code       string // may be empty, as may all below
	source     *source
	about      string // a place in the documentation
	bare       bool   // without meta: refused before the application proper
	retryAfter time.Duration
	header     map[string]string
	reason     string // for Observer.Rejected
	ours       bool   // to be logged: somebody has to look at it
}

// source says where in the request the fault lies; one of them is set.
type source struct {
	Pointer   string `json:"pointer,omitempty"`
	Parameter string `json:"parameter,omitempty"`
	Header    string `json:"header,omitempty"`
}

// told is a refusal that is complete where it was found, on its way to the client.
type told struct{ refusal }

func (t *told) Error() string { return t.title + ": " + t.detail }

// badParameter is what is wrong with a parameter of the query.
func badParameter(name, detail string) error {
	return &told{refusal{status: http.StatusBadRequest, title: "Bad request", detail: detail, source: &source{Parameter: name}}}
}

// badMember is what is wrong with a member of the body.
func badMember(pointer, detail string) error {
	return &told{refusal{status: http.StatusBadRequest, title: "Bad request", detail: detail,
		source: &source{Pointer: pointer}, reason: "malformed"}}
}

// refusals is the one table from errors to answers, walked with errors.Is; the
// first that fits wins. What is not in it is a 500 whose own text nobody sees
// but the log.
var refusals = []struct {
	is  error
	say func(*call) refusal
}{
	{errNoRoute, as(refusal{status: http.StatusNotFound, title: "Not found", code: "NOT_FOUND", detail: "The requested endpoint was not found"})},
	{errMethod, as(early("HTTP_METHOD_INVALID", "The request method is not one that is known"))},
	{errParameters, as(early("PARAMETERS_INVALID", "The query holds an escape that cannot be decoded"))},
	{errMediaType, as(early("MIME_TYPE_INVALID", "The request asks for, or holds, a media type that is not supported (use application/vnd.api+json)"))},
	{errJSON, as(early("JSON_INVALID", "The request body is not valid JSON (or names a member twice, or nests too deep)"))},
	{errEncoding, as(early("ENCODING_INVALID", "The request is not valid UTF-8 or holds a character that is not allowed"))},
	{core.ErrAddressEncoding, as(early("ENCODING_INVALID", "The request is not valid UTF-8 or holds a character that is not allowed"))},
	{errTooLarge, as(refusal{status: http.StatusRequestEntityTooLarge, title: "Payload too large", detail: fmt.Sprintf("The request body is larger than %d bytes", maxBody), bare: true, reason: "too_large"})},

	{errVersion, as(refusal{status: http.StatusBadRequest, title: "Bad request", code: "INVALID_API_VERSION", detail: "The requested API version is not supported", about: "versions", reason: "malformed"})},
	{errEnvironment, as(refusal{status: http.StatusBadRequest, title: "Bad request", code: "ENVIRONMENT_NOT_SUPPORTED", detail: "Environments are not supported", source: &source{Header: "Keygen-Environment"}, reason: "malformed"})},
	{errSignature, as(refusal{status: http.StatusBadRequest, title: "Bad request", detail: "The signature that is asked for is malformed or of an unknown algorithm", source: &source{Header: "Keygen-Accept-Signature"}, reason: "malformed"})},

	{errNoToken, as(unauthorized("TOKEN_MISSING", "An API token is needed"))},
	{errTokenFormat, as(unauthorized("TOKEN_FORMAT_INVALID", "The API token is malformed (this is an identifier and not the token's value)"))},
	{core.ErrUnknownToken, as(unauthorized("TOKEN_INVALID", "The API token is not valid"))},
	{core.ErrExpiredToken, as(unauthorized("TOKEN_EXPIRED", "The API token has expired"))},
	{errBearerBanned, as(refusal{status: http.StatusForbidden, title: "Access denied", code: "USER_BANNED", detail: "The user is banned"})},
	{errForbidden, as(refusal{status: http.StatusForbidden, title: "Access denied", detail: "You do not have permission to complete the request"})},

	{errNoAddress, login("EMAIL_REQUIRED", "An email address is needed")},
	{errNoSecret, login("PASSWORD_REQUIRED", "A password is needed")},
	{core.ErrUnknownUser, login("EMAIL_INVALID", "The email address is not valid")},
	{core.ErrNoPassword, login("PASSWORD_NOT_SUPPORTED", "The user has no password")},
	{core.ErrWrongPassword, login("PASSWORD_INVALID", "The password is not valid")},
	{core.ErrBanned, as(refusal{status: http.StatusForbidden, title: "Access denied", detail: "You do not have permission to complete the request (user is banned)"})},

	{tenants.ErrUnknown, func(c *call) refusal { return notFound("account", c.param("account")) }},
	{errNoRequest, func(c *call) refusal { return notFound("password-request", c.param("request")) }},
	{core.ErrUnknownLink, func(c *call) refusal { return notFound("user", c.param("user")) }},
	{core.ErrNotFound, func(c *call) refusal { return notFound("user", c.param("user")) }},
	{core.ErrExpiredLink, as(refusal{status: http.StatusUnauthorized, title: "Unauthorized", detail: "is expired", source: &source{Pointer: "/meta/passwordResetToken"}})},
	{core.ErrPasswordTooShort, func(c *call) refusal {
		return badPassword("PASSWORD_TOO_SHORT", fmt.Sprintf("is too short (minimum is %d characters)", c.account.Password.Minimum))
	}},
	{core.ErrPasswordTooLong, as(badPassword("PASSWORD_TOO_LONG", fmt.Sprintf("is too long (maximum is %d characters)", core.MaxPasswordChars)))},
	{core.ErrPasswordCommon, as(badPassword("PASSWORD_COMMON", "is too common"))},

	{core.ErrBusy, as(refusal{status: http.StatusServiceUnavailable, title: "Service unavailable", detail: "The service is busy; try again in a moment", bare: true, retryAfter: 2 * time.Second, reason: "backlog"})},
	{core.ErrNotAccepted, as(refusal{status: http.StatusServiceUnavailable, title: "Service unavailable", detail: "The request could not be accepted; try again in a moment", bare: true, retryAfter: 5 * time.Second, reason: "db_unavailable", ours: true})},
	{context.DeadlineExceeded, as(timeout)},
	{os.ErrDeadlineExceeded, as(timeout)},
}

var (
	timeout  = refusal{status: http.StatusServiceUnavailable, title: "Request timeout", detail: "The request took too long", bare: true, retryAfter: 2 * time.Second}
	internal = refusal{status: http.StatusInternalServerError, title: "Internal server error", detail: "Something went wrong on our side; the request id names this occurrence", ours: true}
)

func as(r refusal) func(*call) refusal { return func(*call) refusal { return r } }

// early is a 400 for what cannot be read at all.
func early(code, detail string) refusal {
	return refusal{status: http.StatusBadRequest, title: "Bad request", code: code, detail: detail, bare: true, reason: "malformed"}
}

func unauthorized(code, detail string) refusal {
	return refusal{status: http.StatusUnauthorized, title: "Unauthorized", code: code, detail: detail}
}

// login is a 401 for an address or a password. Up to version 1.7 they are all one,
// text included (contract.md, A5).
func login(code, detail string) func(*call) refusal {
	return func(c *call) refusal {
		code, detail := code, detail
		if c.version <= "1.7" {
			code, detail = "CREDENTIALS_INVALID", "The email address or the password is not valid"
		}
		r := unauthorized(code, detail)
		r.source = &source{Header: "Authorization"}
		return r
	}
}

func badPassword(code, detail string) refusal {
	return refusal{status: http.StatusUnprocessableEntity, title: "Unprocessable resource", code: code, detail: detail,
		source: &source{Pointer: "/data/attributes/password"}, about: "passwords"}
}

func notFound(what, ref string) refusal {
	return refusal{status: http.StatusNotFound, title: "Not found", code: "NOT_FOUND",
		detail: "The requested " + what + " '" + ref + "' was not found"}
}

// throttled is a 429. Its headers speak of the caller and the account only. Reason
// is for Observer.Rejected.
func throttled(header map[string]string, retryAfter time.Duration, reason string) error {
	return &told{refusal{status: http.StatusTooManyRequests, title: "Too many requests", code: "TOO_MANY_REQUESTS",
		detail: "There have been too many requests; try again later", bare: true,
		header: header, retryAfter: retryAfter, reason: reason}}
}

// refusalOf finds the answer to an error.
func refusalOf(c *call, err error) refusal {
	var complete *told
	if errors.As(err, &complete) {
		return complete.refusal
	}
	for _, entry := range refusals {
		if errors.Is(err, entry.is) {
			return entry.say(c)
		}
	}
	return internal
}

// errorDocument and what is in it keep the members in this order on the wire.
type errorDocument struct {
	Meta   *errorMeta  `json:"meta,omitempty"`
	Errors []errorItem `json:"errors"`
}

type errorMeta struct {
	ID string `json:"id"`
}

type errorItem struct {
	Title  string      `json:"title"`
	Detail string      `json:"detail"`
	Code   string      `json:"code,omitempty"`
	Source *source     `json:"source,omitempty"`
	Links  *errorLinks `json:"links,omitempty"`
}

type errorLinks struct {
	About string `json:"about"`
}

// refuse answers an error. It is logged here, once, when it is ours; a client that
// has gone is nobody's fault.
func (a *api) refuse(c *call, err error) {
	r := refusalOf(c, err)
	if r.ours && !errors.Is(c.Request.Context().Err(), context.Canceled) {
		a.log.LogAttrs(c.Request.Context(), slog.LevelError, "request not answered",
			slog.String("request_id", c.id), slog.String("route", c.FullPath()), slog.Int("status", r.status), slog.Any("error", err))
	}
	if c.asksForPassword && r.reason != "" {
		a.observer.Rejected(r.reason)
	}
	for name, value := range r.header {
		c.Header(name, value)
	}
	if r.retryAfter > 0 {
		c.Header("Retry-After", wholeSeconds(r.retryAfter))
	}
	if r.status == http.StatusUnauthorized {
		c.Header("WWW-Authenticate", `Bearer realm="passmend"`)
	}
	document := errorDocument{Errors: []errorItem{{Title: r.title, Detail: r.detail, Code: r.code, Source: r.source}}}
	if r.about != "" {
		document.Errors[0].Links = &errorLinks{About: a.docs + "#" + r.about}
	}
	if !r.bare {
		document.Meta = &errorMeta{ID: c.id}
	}
	if err := c.write(r.status, document); err != nil {
		c.empty(http.StatusInternalServerError) // cannot happen: these types always encode
	}
}

// wholeSeconds rounds up and never gives 0: a client that comes back at once would
// only be refused again.
func wholeSeconds(d time.Duration) string {
	return strconv.FormatInt(max(1, int64(math.Ceil(d.Seconds()))), 10)
}
