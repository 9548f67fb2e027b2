package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// Resolver turns what stands for {ACCOUNT} in a path, or a host name, into an
// account; tenants.ErrUnknown when there is none.
type Resolver interface {
	Resolve(ctx context.Context, ref string) (tenants.Account, error)
	ResolveHost(ctx context.Context, name string) (tenants.Account, error)
}

// Intake accepts requests, as core.Intake does.
type Intake interface {
	Accept(ctx context.Context, account tenants.Account, ask core.Ask) error
}

// Redeemer takes links and new passwords, as core.Redeemer does.
type Redeemer interface {
	Inspect(ctx context.Context, account tenants.Account, raw tenants.Secret) (core.Holder, error)
	Redeem(ctx context.Context, account tenants.Account, ref core.UserRef, raw, password tenants.Secret) (core.User, error)
	Dispute(ctx context.Context, account tenants.Account, raw tenants.Secret) error
}

// SignIn proves who somebody is and issues API tokens, as core.SignIn does.
type SignIn interface {
	Password(ctx context.Context, account tenants.Account, address core.Address, password tenants.Secret) (core.User, error)
	Bearer(ctx context.Context, value tenants.Secret) (core.APIToken, core.User, error)
	Issue(ctx context.Context, user core.User, want core.NewToken) (core.APIToken, tenants.Secret, error)
	// Regenerate and Revoke answer core.ErrNotFound.
	Regenerate(ctx context.Context, token core.APIToken) (core.APIToken, tenants.Secret, error)
	Revoke(ctx context.Context, token core.APIToken) error
}

// AccountAdmin makes, changes and deletes accounts, as core.AccountAdmin does.
type AccountAdmin interface {
	Create(ctx context.Context, describe func(*tenants.Account) error) (tenants.Account, error)
	Change(ctx context.Context, id tenants.AccountID, change func(*tenants.Account) error) (tenants.Account, error)
	Delete(ctx context.Context, id tenants.AccountID) error
	List(ctx context.Context, after tenants.AccountID, limit int) ([]tenants.Account, error)
}

// UserAdmin makes, changes, bans and deletes users, as core.UserAdmin does.
type UserAdmin interface {
	Create(ctx context.Context, account tenants.Account, want core.NewUser) (core.User, error)
	Update(ctx context.Context, account tenants.Account, user core.User, patch core.UserPatch) (core.User, error)
	SetBanned(ctx context.Context, account tenants.AccountID, user core.User, banned bool) (core.User, error)
	Delete(ctx context.Context, account tenants.AccountID, id core.UserID) error
	ChangePassword(ctx context.Context, account tenants.Account, user core.User, inUse core.TokenID, old, chosen tenants.Secret) (core.User, error)
}

// Logos gives an account's logo; core.ErrNotFound when there is none.
type Logos interface {
	Logo(ctx context.Context, account tenants.AccountID) ([]byte, error)
}

// Cookies seals the small values that the hosted pages hand to browsers. What was
// sealed for one purpose does not open for another.
type Cookies interface {
	SealCookie(purpose string, plaintext []byte) (string, error)
	OpenCookie(purpose, value string) ([]byte, error)
}

// Support shows what became of requests, as core.Support does.
type Support interface {
	// Timeline answers core.ErrNotFound.
	Timeline(ctx context.Context, account tenants.AccountID, id core.RequestID) (core.Timeline, error)
	// List gives the requests that the filter chooses, newest first.
	List(ctx context.Context, account tenants.AccountID, filter core.RequestFilter) ([]core.Request, error)
}

// ProviderEvents takes callbacks of providers' services, as core.ProviderEvents does.
type ProviderEvents interface {
	// Take answers core.ErrNotFound, core.ErrUnproven, core.ErrUnreadable and
	// core.ErrProviderAway.
	Take(ctx context.Context, account tenants.AccountID, provider string, callback core.Callback) error
}

// Suppressions is an account's suppression list, as core.SuppressionList is.
type Suppressions interface {
	// Add gives what is on the list for the address; fresh when it was not there yet.
	Add(ctx context.Context, account tenants.AccountID, address core.Address) (found core.Suppression, fresh bool, err error)
	// Suppression and Remove answer core.ErrNotFound.
	Suppression(ctx context.Context, account tenants.AccountID, id core.SuppressionID) (core.Suppression, error)
	Remove(ctx context.Context, account tenants.AccountID, id core.SuppressionID) error
	// List gives those that the filter chooses, newest first.
	List(ctx context.Context, account tenants.AccountID, filter core.SuppressionFilter) ([]core.Suppression, error)
}

// EndpointDesk makes and changes webhook endpoints, as core.EndpointDesk does.
type EndpointDesk interface {
	// Create and Update answer what a URL, subscriptions and a key are refused for.
	Create(ctx context.Context, account tenants.Account, want core.EndpointChange) (core.Endpoint, tenants.Secret, error)
	Update(ctx context.Context, account tenants.AccountID, id core.EndpointID, want core.EndpointChange) (core.Endpoint, error)
	Rotate(ctx context.Context, account tenants.AccountID, id core.EndpointID) (core.Endpoint, tenants.Secret, error)
}

// EventDesk shows an account its webhook events, as core.EventDesk does.
type EventDesk interface {
	Event(ctx context.Context, account tenants.AccountID, id core.DeliveryID) (core.WebhookEvent, error)
	List(ctx context.Context, account tenants.AccountID, query core.WebhookEventQuery) ([]core.WebhookEvent, error)
	Attempts(ctx context.Context, account tenants.AccountID, id core.DeliveryID) ([]core.AttemptRecord, error)
	// Repeat answers core.ErrEndpointGone.
	Repeat(ctx context.Context, account tenants.AccountID, id core.DeliveryID) (core.WebhookEvent, error)
	Delete(ctx context.Context, account tenants.AccountID, id core.DeliveryID) error
}

// AuditLog shows who changed what; see core.AuditLog and core.System.
type AuditLog interface {
	AuditEvents(ctx context.Context, account tenants.AccountID, query core.AuditQuery) ([]core.AuditEvent, error)
	AllAuditEvents(ctx context.Context, query core.AuditQuery) ([]core.AuditEvent, error)
}

// Observer hears of what was refused, for metrics (operability.md). The strings
// are from closed lists: reason is malformed, too_large, rate_ip, rate_tenant,
// backlog or db_unavailable; scope is ip, tenant, email, token or probe; action is reject.
type Observer interface {
	// Rejected counts a request for a password that was not accepted.
	Rejected(reason string)
	// RateLimited counts a refusal by a limit, on any route.
	RateLimited(scope, action string)
	// LinkOpened counts a link that was opened on the hosted pages: ok, expired, unknown,
	// or other when nobody could tell.
	LinkOpened(result string)
}

// Config is what the edge works with. What has no default below is needed.
type Config struct {
	Resolver Resolver
	Intake   Intake
	Redeemer Redeemer
	SignIn   SignIn
	Tokens   core.APITokens
	Users    core.Users
	Accounts Logos
	Support  Support
	Cookies  Cookies

	AccountAdmin   AccountAdmin
	UserAdmin      UserAdmin
	ProviderEvents ProviderEvents
	Suppressions   Suppressions
	Audit          AuditLog
	Holds          core.Holds

	Endpoints    core.Endpoints
	EndpointDesk EndpointDesk
	EventDesk    EventDesk

	// Calls and CallKeys remember what calls with an Idempotency-Key came to.
	Calls    core.IdempotentCalls
	CallKeys IdempotencyKeys
	Queue    Queue // for the health of webhooks
	// Signatures signs answers that clients want signed, with their account's keys.
	Signatures core.Signatures

	// BaseURL is where people and apps reach this service: its host, and those that
	// are accounts' own, are the only ones answered, and links to documentation begin
	// with it.
	BaseURL *url.URL
	// Account, when set, is the id or slug of the one account that there is: paths need
	// not name it and may name no other.
	Account string
	// Development also answers on localhost, 127.0.0.1 and [::1].
	Development bool
	Version     string // of the build, for people
	Revision    string // the commit, sent as Keygen-Revision

	// TrustedProxies may name the client in X-Forwarded-For; default none.
	TrustedProxies []netip.Prefix
	Limits         Limits
	// Proven says whether the proof that a call carries in CanaryHeader is the
	// service's own, for this path; nil: none is.
	Proven func(path, proof string) bool

	// Middleware goes round every route, in order: logs, traces, metrics.
	Middleware []gin.HandlerFunc
	// Mailbox, when set, serves /dev/mailbox and below; Development only.
	Mailbox  http.Handler
	Logger   *slog.Logger     // default: nothing is logged
	Observer Observer         // default: nobody
	NewID    func() string    // UUIDv7, for X-Request-Id
	Now      func() time.Time // for limits and tickets; default time.Now
}

func (c *Config) validate() error {
	for _, need := range []struct {
		field  string
		absent bool
	}{
		{"Resolver", c.Resolver == nil}, {"Intake", c.Intake == nil}, {"Redeemer", c.Redeemer == nil},
		{"SignIn", c.SignIn == nil}, {"Users", c.Users == nil}, {"Tokens", c.Tokens == nil}, {"UserAdmin", c.UserAdmin == nil}, {"AccountAdmin", c.AccountAdmin == nil}, {"Accounts", c.Accounts == nil},
		{"Support", c.Support == nil}, {"Cookies", c.Cookies == nil},
		{"ProviderEvents", c.ProviderEvents == nil}, {"Suppressions", c.Suppressions == nil},
		{"Endpoints", c.Endpoints == nil}, {"EndpointDesk", c.EndpointDesk == nil}, {"EventDesk", c.EventDesk == nil},
		{"Audit", c.Audit == nil}, {"Holds", c.Holds == nil},
		{"Queue", c.Queue == nil}, {"Calls", c.Calls == nil}, {"CallKeys", c.CallKeys == nil}, {"Signatures", c.Signatures == nil},
		{"BaseURL", c.BaseURL == nil || c.BaseURL.Hostname() == ""}, {"NewID", c.NewID == nil},
	} {
		if need.absent {
			return fmt.Errorf("http edge: %s is missing", need.field)
		}
	}
	if c.Mailbox != nil && !c.Development {
		return errors.New("http edge: a mailbox is for development mode only")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Observer == nil {
		c.Observer = nobody{}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c.Limits.Validate()
}

type nobody struct{}

func (nobody) Rejected(string)            {}
func (nobody) RateLimited(string, string) {}
func (nobody) LinkOpened(string)          {}

// New gives the handler of the public listener. It starts nothing and needs no
// end. Its error names the field that is wrong.
func New(c Config) (http.Handler, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	gate := newGate(c)
	pages, err := newHosted(c, gate)
	if err != nil {
		return nil, err
	}
	docs, err := newReference(c)
	if err != nil {
		return nil, err
	}
	edge := newAPI(c, gate)

	// Gin's mode is the process's: without this it writes its routes to stdout.
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	// Gin believes every proxy unless told otherwise (CVE-2020-28483); clientIP in
	// client.go is the one place that reads X-Forwarded-For.
	if err := engine.SetTrustedProxies(nil); err != nil {
		return nil, fmt.Errorf("http edge: trusted proxies: %w", err)
	}
	engine.ForwardedByClientIP = false
	// A {USER} may be an address with any character escaped. Routing on the escaped
	// path and unescaping once, in param, keeps %2F inside its segment and %25 whole;
	// Gin's own unescaping would turn + into a space.
	engine.UseEscapedPath = true
	engine.UnescapePathValues = false
	engine.RedirectTrailingSlash = false
	engine.HandleMethodNotAllowed = false // a wrong verb is a 404 (contract.md, C7)

	engine.Use(edge.name)
	engine.Use(c.Middleware...)
	engine.Use(edge.survive, edge.turnAway)
	edge.register(engine)
	pages.register(engine)
	docs.register(engine)
	if c.Mailbox != nil {
		engine.Any("/dev/mailbox", edge.mailbox)
		engine.Any("/dev/mailbox/*rest", edge.mailbox)
	}
	engine.NoRoute(edge.do(edge.nothingHere))
	return formatSuffix(engine), nil
}

// mailbox hands on to the development mailbox, unless the Host header is a
// stranger's: a page that rebinds its name to this machine must not read mail.
func (a *api) mailbox(g *gin.Context) {
	if !a.c.knownHost(g.Request.Host) {
		g.AbortWithStatus(http.StatusMisdirectedRequest)
		return
	}
	a.c.Mailbox.ServeHTTP(g.Writer, g.Request)
}

// Bounds of a connection (threats.md, row 23).
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 60 * time.Second
	maxHeaderBytes    = 16 << 10
)

// NewHTTPServer gives a server that cuts slow and greedy clients off: 5 s for the
// headers, 10 s for the whole request, 30 s to take the answer, 60 s idle, 16 KiB
// of headers (net/http adds 4 KiB of slack). The caller starts it and shuts it
// down, and may set ErrorLog.
func NewHTTPServer(handler http.Handler, addr string) *http.Server {
	return &http.Server{
		Addr: addr, Handler: handler,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
	}
}
