package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// api answers under /v1.
type api struct {
	c        Config
	gate     *gate
	log      *slog.Logger
	observer Observer
	docs     string // where links.about leads
	headers  []header
	webhooks queueHealth
	large    chan struct{} // holds one for each large callback that is being taken
}

func newAPI(c Config, gate *gate) *api {
	return &api{
		c: c, gate: gate, log: c.Logger, observer: c.Observer,
		docs:    c.BaseURL.JoinPath("docs").String(),
		headers: standardHeaders(c), large: make(chan struct{}, largeCallbacks),
	}
}

// call is one request to the API and what its steps have found out so far.
type call struct {
	*gin.Context
	api       *api
	id        string          // X-Request-Id
	mediaType string          // of the answer
	version   string          // empty until readVersion, or findAccount when none was sent
	hosted    tenants.Account // whose own the host is; empty on the platform's
	account   tenants.Account
	raw       []byte                  // the body as it came
	body      *node                   // nil: empty
	signs     core.SignatureAlgorithm // how the answer is to be signed; empty: not
	held      *answer                 // where the answer is kept back; nil: it is sent

	token core.APIToken // from bearer
	user  core.User     // the bearer; empty for an operator

	asksForPassword bool // what is refused is counted as a rejected request
}

// step is one check, or the last step: the answer. An error ends the call.
type step func(*call) error

// callTime bounds a call; what takes longer is a 503 (contract.md, C7).
const callTime = 15 * time.Second

// do makes a handler of steps.
func (a *api) do(steps ...step) gin.HandlerFunc {
	return func(g *gin.Context) {
		ctx, cancel := context.WithTimeout(a.c.withOrigin(g), callTime)
		defer cancel()
		g.Request = g.Request.WithContext(ctx)
		c := &call{Context: g, api: a, id: g.Writer.Header().Get("X-Request-Id"), mediaType: preferredType(g.Request)}
		c.setHeaders()
		for _, next := range steps {
			if err := next(c); err != nil {
				a.refuse(c, err)
				return
			}
		}
	}
}

// name gives every request a fresh id; one that the client sent is not looked at,
// and no row has it.
func (a *api) name(g *gin.Context) {
	g.Header("X-Request-Id", a.c.NewID())
}

// survive turns a panic into a 500. The value may hold anything, so its type and
// the stack are logged and not its text, unless the runtime wrote it.
func (a *api) survive(g *gin.Context) {
	defer func() {
		caught := recover()
		if caught == nil {
			return
		}
		if caught == http.ErrAbortHandler { //nolint:errorlint // a panic value, compared as net/http does
			panic(caught)
		}
		kind := "panic"
		if fault, ok := caught.(runtime.Error); ok {
			kind = fault.Error()
		}
		id := g.Writer.Header().Get("X-Request-Id")
		a.log.LogAttrs(g.Request.Context(), slog.LevelError, "handler panicked", slog.String("event", "sys_crash"), slog.String("request_id", id),
			slog.String("route", g.FullPath()), slog.String("panic", kind), slog.String("stack", string(debug.Stack())))
		if g.Writer.Written() {
			panic(http.ErrAbortHandler) // half an answer must not look like a whole one
		}
		g.Abort()
		c := &call{Context: g, api: a, id: id, mediaType: preferredType(g.Request)}
		c.setHeaders()
		quiet := internal
		quiet.ours = false // logged above
		a.refuse(c, &told{quiet})
	}()
	g.Next()
}

// withOrigin notes where a call comes from, for the audit log.
func (c Config) withOrigin(g *gin.Context) context.Context {
	return core.WithOrigin(g.Request.Context(), core.Origin{
		Client: c.clientIP(g.Request), Request: g.Writer.Header().Get("X-Request-Id"),
	})
}

// param gives a part of the path with its escapes undone.
func (c *call) param(name string) string {
	raw := c.Param(name)
	if plain, err := url.PathUnescape(raw); err == nil {
		return plain
	}
	return raw
}
