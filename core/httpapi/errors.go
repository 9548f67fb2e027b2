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
	"strings"
	"time"
	"unicode"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// Refusals of the edge itself.
var (
	errNoRoute      = errors.New("no such route")
	errMethod       = errors.New("unknown method")
	errParameters   = errors.New("query is not decodable")
	errMediaType    = errors.New("media type not acceptable")
	errVersion      = errors.New("unsupported API version")
	errEnvironment  = errors.New("environments are not supported")
	errSignature    = errors.New("malformed Keygen-Accept-Signature")
	errNoToken      = errors.New("no API token")
	errTokenFormat  = errors.New("an identifier in the place of an API token")
	errNoAddress    = errors.New("no address to sign in with")
	errNoSecret     = errors.New("no password to sign in with")
	errBearerBanned = errors.New("the bearer of an API token is banned")
	errForbidden    = errors.New("not for this bearer")
	errInactive     = errors.New("account is paused or canceled")
	errUnhealthy    = errors.New("webhooks wait for too long")
	errNoRequest    = errors.New("no such request")

	errNoSuppression = errors.New("no such suppression")
	errNoHold        = errors.New("no such hold")
	errNoProvider    = errors.New("no such provider")
	errNoSuchToken   = errors.New("no such API token")
	errNoEndpoint    = errors.New("no such webhook endpoint")
	errNoEvent       = errors.New("no such webhook event")
	errOldPassword   = errors.New("the old password is wrong")
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

	{errVersion, as(refusal{status: http.StatusBadRequest, title: "Bad request", code: "INVALID_API_VERSION", detail: "The requested API version is not supported", about: "versions", reason: "malformed"})},
	{errEnvironment, as(refusal{status: http.StatusBadRequest, title: "Bad request", code: "ENVIRONMENT_NOT_SUPPORTED", detail: "Environments are not supported", source: &source{Header: "Keygen-Environment"}, reason: "malformed"})},
	{errSignature, as(refusal{status: http.StatusBadRequest, title: "Bad request", detail: "The signature that is asked for is malformed or of an unknown algorithm", source: &source{Header: "Keygen-Accept-Signature"}, reason: "malformed"})},

	{errCallKey, as(refusal{status: http.StatusBadRequest, title: "Bad request", code: "IDEMPOTENCY_KEY_INVALID", detail: fmt.Sprintf("The key must be sent once and be 1 to %d visible ASCII characters", maxCallKey), source: &source{Header: "Idempotency-Key"}, reason: "malformed"})},
	{errCallDiffers, as(refusal{status: http.StatusUnprocessableEntity, title: "Unprocessable resource", code: "IDEMPOTENCY_KEY_REUSED", detail: "The key has been used for another call", source: &source{Header: "Idempotency-Key"}})},
	{errCallUnderWay, as(refusal{status: http.StatusConflict, title: "Conflict", code: "IDEMPOTENCY_KEY_IN_USE", detail: "The call with this key is still under way", source: &source{Header: "Idempotency-Key"}, retryAfter: 2 * time.Second})},

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
	{errNoAccount, as(refusal{status: http.StatusNotFound, title: "Not found", code: "NOT_FOUND", detail: "An account is required"})},
	{errInactive, as(refusal{status: http.StatusForbidden, title: "Account does not have an active subscription", detail: "The account is paused or canceled"})},
	{errNoRequest, func(c *call) refusal { return notFound("password-request", c.param("request")) }},
	{errNoSuppression, func(c *call) refusal { return notFound("suppression", c.param("suppression")) }},
	{errNoHold, func(c *call) refusal { return notFound("hold", c.param("provider")) }},
	{errNoProvider, func(c *call) refusal { return notFound("provider", c.param("provider")) }},
	{core.ErrFirmHold, as(refusal{status: http.StatusForbidden, title: "Access denied", code: "HELD_BY_OPERATOR", detail: "An operator holds it, and an operator lets it go"})},
	{errNoSuchToken, func(c *call) refusal { return notFound("token", c.param("token")) }},
	{errNoEndpoint, func(c *call) refusal { return notFound("webhook-endpoint", c.param("endpoint")) }},
	{errNoEvent, func(c *call) refusal { return notFound("webhook-event", c.param("event")) }},
	{core.ErrURLTooLong, as(unprocessable("url", "URL_TOO_LONG", "is too long (maximum is 4096 characters)"))},
	{core.ErrURLProtocol, as(unprocessable("url", "URL_PROTOCOL_INVALID", "must begin with https://"))},
	{core.ErrURLHost, as(unprocessable("url", "URL_HOST_INVALID", "must name a host that is public"))},
	{core.ErrURLInvalid, as(unprocessable("url", "URL_INVALID", "must be a whole URL, without user and fragment, on port 443 or one that the operator allows"))},
	{core.ErrNoSubscriptions, as(unprocessable("subscriptions", "SUBSCRIPTIONS_TOO_SHORT", "must name at least one event"))},
	{core.ErrUnknownEvent, as(unprocessable("subscriptions", "SUBSCRIPTIONS_NOT_ALLOWED", "names an event that there is not (events are "+eventList()+")"))},
	{core.ErrUnknownAlgorithm, as(unprocessable("signatureAlgorithm", "SIGNATURE_ALGORITHM_NOT_ALLOWED", "must be ed25519, rsa-pss-sha256, rsa-sha256 or ecdsa-p256"))},
	{core.ErrUnknownRecipient, as(unprocessable("encryptionKey", "ENCRYPTION_KEY_INVALID", "must be an age recipient (age1...) or the 32 bytes of a public X25519 key in base64"))},
	{core.ErrTooManyEndpoints, as(refusal{status: http.StatusUnprocessableEntity, title: "Unprocessable resource", code: "WEBHOOK_ENDPOINTS_LIMIT_EXCEEDED", detail: fmt.Sprintf("There can be %d webhook endpoints at most", core.MaxEndpoints), source: &source{Pointer: "/data"}})},
	{core.ErrEndpointGone, as(unprocessable("endpoint", "WEBHOOK_ENDPOINT_GONE", "was deleted or is disabled"))},
	{errOldPassword, as(refusal{status: http.StatusUnauthorized, title: "Unauthorized", detail: "is not valid", source: &source{Pointer: "/meta/oldPassword"}})},
	{core.ErrSlugTaken, as(unprocessable("slug", "SLUG_TAKEN", "has already been taken"))},
	{core.ErrOutdated, as(refusal{status: http.StatusConflict, title: "Conflict", detail: "It was changed by somebody else at the same time; read it and try again"})},
	{core.ErrAddressTaken, as(unprocessable("email", "EMAIL_TAKEN", "has already been taken"))},
	{core.ErrUnknownLink, func(c *call) refusal { return notFound("user", c.param("user")) }},
	{core.ErrNotFound, func(c *call) refusal { return notFound("user", c.param("user")) }},
	{core.ErrExpiredLink, as(refusal{status: http.StatusUnauthorized, title: "Unauthorized", detail: "is expired", source: &source{Pointer: "/meta/passwordResetToken"}})},
	{core.ErrManaged, as(refusal{status: http.StatusForbidden, title: "Access denied", detail: "You do not have permission to complete the request (the account's admins set this user's password)"})},
	{core.ErrPasswordTooShort, func(c *call) refusal {
		return badPassword("PASSWORD_TOO_SHORT", fmt.Sprintf("is too short (minimum is %d characters)", c.account.Password.Minimum))
	}},
	{core.ErrPasswordTooLong, as(badPassword("PASSWORD_TOO_LONG", fmt.Sprintf("is too long (maximum is %d characters)", core.MaxPasswordChars)))},
	{core.ErrPasswordCommon, as(badPassword("PASSWORD_COMMON", "is too common"))},

	// No header says for how long: that would be about the address, not the caller.
	{core.ErrTooManyTries, as(refusal{status: http.StatusTooManyRequests, title: "Too many requests", code: "TOO_MANY_REQUESTS", detail: tooMany, bare: true})},

	{errUnhealthy, as(refusal{status: http.StatusInternalServerError, title: "Internal server error", detail: "Webhooks wait for too long, or there is no worker", bare: true})},
	{core.ErrUnproven, as(unauthorized("", "The callback does not prove where it comes from"))},
	{core.ErrUnreadable, as(refusal{status: http.StatusBadRequest, title: "Bad request", detail: "The callback cannot be read"})},
	{core.ErrProviderAway, as(refusal{status: http.StatusServiceUnavailable, title: "Service unavailable", detail: "The callback cannot be taken now; send it again later", bare: true, retryAfter: 30 * time.Second})},

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

func payloadTooLarge(most int) refusal {
	return refusal{status: http.StatusRequestEntityTooLarge, title: "Payload too large",
		detail: fmt.Sprintf("The request body is larger than %d bytes", most), bare: true, reason: "too_large"}
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

// unprocessable is a 422 for an attribute.
func unprocessable(attribute, code, detail string) refusal {
	return refusal{status: http.StatusUnprocessableEntity, title: "Unprocessable resource", code: code, detail: detail,
		source: &source{Pointer: "/data/attributes/" + attribute}}
}

func eventList() string {
	names := []string{string(core.AllEvents)}
	for _, name := range core.EventNames() {
		names = append(names, string(name))
	}
	return strings.Join(names, ", ")
}

// flawCode is the code of a flaw of an attribute, as FIRST_NAME_TOO_LONG.
func flawCode(attribute, flaw string) string {
	var name strings.Builder
	for _, r := range attribute {
		if unicode.IsUpper(r) {
			name.WriteByte('_')
		}
		name.WriteRune(unicode.ToUpper(r))
	}
	return name.String() + "_" + flaw
}

func notFound(what, ref string) refusal {
	return refusal{status: http.StatusNotFound, title: "Not found", code: "NOT_FOUND",
		detail: "The requested " + what + " '" + ref + "' was not found"}
}

const tooMany = "There have been too many requests; try again later"

// throttled is a 429. Its headers speak of the caller and the account only. Reason
// is for Observer.Rejected.
func throttled(header map[string]string, retryAfter time.Duration, reason string) error {
	return &told{refusal{status: http.StatusTooManyRequests, title: "Too many requests", code: "TOO_MANY_REQUESTS",
		detail: tooMany, bare: true,
		header: header, retryAfter: retryAfter, reason: reason}}
}

// refusalOf finds the answer to an error.
func refusalOf(c *call, err error) refusal {
	var complete *told
	if errors.As(err, &complete) {
		return complete.refusal
	}
	var flaw *core.FieldError
	if errors.As(err, &flaw) {
		return unprocessable(flaw.Field, flawCode(flaw.Field, flaw.Code), flaw.Text)
	}
	var field *tenants.FieldError
	if errors.As(err, &field) {
		name := field.Field[strings.LastIndexByte(field.Field, '.')+1:]
		return unprocessable(strings.ReplaceAll(field.Field, ".", "/"), flawCode(name, "INVALID"), field.Accept)
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
