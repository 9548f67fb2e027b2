package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
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
	hsts     bool
}

func newAPI(c Config, gate *gate) *api {
	return &api{
		c: c, gate: gate, log: c.Logger, observer: c.Observer,
		docs: c.BaseURL.JoinPath("docs").String(),
		hsts: c.BaseURL.Scheme == "https",
	}
}

// call is one request to the API and what its steps have found out so far.
type call struct {
	*gin.Context
	id        string // X-Request-Id
	mediaType string // of the answer
	version   string // empty until readVersion, or findAccount when none was sent
	account   tenants.Account
	body      *node // nil: empty

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
		ctx, cancel := context.WithTimeout(g.Request.Context(), callTime)
		defer cancel()
		g.Request = g.Request.WithContext(ctx)
		c := &call{Context: g, id: g.Writer.Header().Get("X-Request-Id"), mediaType: preferredType(g.Request)}
		a.setHeaders(c)
		for _, next := range steps {
			if err := next(c); err != nil {
				a.refuse(c, err)
				return
			}
		}
	}
}

// exposed are the headers that scripts of web pages may read (contract.md, C11).
var exposed = strings.Join([]string{
	"Keygen-Account", "Keygen-Account-Id", "Keygen-Bearer", "Keygen-Bearer-Id", "Keygen-Token", "Keygen-Token-Id",
	"Keygen-Environment", "Keygen-Edition", "Keygen-Mode", "Keygen-Revision", "Keygen-Version",
	"Keygen-Date", "Keygen-Digest", "Keygen-Signature",
	"X-RateLimit-Window", "X-RateLimit-Count", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset",
	"X-Request-Id", "Date", "Digest", "Retry-After", "Location",
}, ", ")

// setHeaders writes what every answer under /v1 carries (contract.md, C9 and C11).
func (a *api) setHeaders(c *call) {
	c.Header("Cache-Control", "no-transform, no-store, max-age=0")
	c.Header("Content-Security-Policy", "default-src 'none'")
	c.Header("X-Content-Type-Options", "nosniff")
	c.Header("Access-Control-Allow-Origin", "*")
	c.Header("Access-Control-Expose-Headers", exposed)
	c.Header("Keygen-Edition", "CE")
	c.Header("Keygen-Mode", "multiplayer")
	if a.c.Revision != "" {
		c.Header("Keygen-Revision", a.c.Revision)
	}
	if a.hsts {
		c.Header("Strict-Transport-Security", "max-age=63072000")
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
		a.log.LogAttrs(g.Request.Context(), slog.LevelError, "handler panicked", slog.String("request_id", id),
			slog.String("route", g.FullPath()), slog.String("panic", kind), slog.String("stack", string(debug.Stack())))
		if g.Writer.Written() {
			panic(http.ErrAbortHandler) // half an answer must not look like a whole one
		}
		g.Abort()
		c := &call{Context: g, id: id, mediaType: preferredType(g.Request)}
		a.setHeaders(c)
		quiet := internal
		quiet.ours = false // logged above
		a.refuse(c, &told{quiet})
	}()
	g.Next()
}

// param gives a part of the path with its escapes undone.
func (c *call) param(name string) string {
	raw := c.Param(name)
	if plain, err := url.PathUnescape(raw); err == nil {
		return plain
	}
	return raw
}

// write sends a document in the media type that the client prefers.
func (c *call) write(status int, document any) error {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(document); err != nil {
		return err
	}
	body.Truncate(body.Len() - 1) // the encoder's line feed
	c.Header("Content-Length", strconv.Itoa(body.Len()))
	c.Data(status, c.mediaType+"; charset=utf-8", body.Bytes())
	return nil
}

// empty sends a status and nothing else: no body, no Content-Type (contract.md, R1).
func (c *call) empty(status int) {
	if status != http.StatusNoContent {
		c.Header("Content-Length", "0")
	}
	c.Status(status)
	c.Writer.WriteHeaderNow()
}
