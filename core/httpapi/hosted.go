package httpapi

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// hostedFiles holds a template for every state of a page, and the stylesheet.
//
//go:embed hosted
var hostedFiles embed.FS

// hosted serves the pages on which a person gets a password back, in the
// account's brand and without JavaScript:
//
//	GET  /{account}/forgot ── POST ─▶ "if an account exists …"          (mail)
//	                                                                      │
//	GET  /{account}/r/{token} ◀───────────────────────────────────────────┘
//	  ├─ unknown ─▶ 404, the same bytes for every reason
//	  ├─ expired ─▶ 410, and POST /{account}/forgot/again in one click
//	  └─ good ────▶ 303 and a sealed cookie
//	GET  /{account}/r ── POST ─▶ 303 ─▶ GET /{account}/r/done
//	  └─ "I did not ask" ── POST /{account}/r/dispute ─▶ 303 ─▶ GET /{account}/r/disputed
//
// On a host that is the account's own they begin without /{account}.
//
// Limits first: GET and HEAD change nothing, so that mail scanners may open a link
// as often as they like; nothing on a page is built from a request header; no
// page holds a token or a password; an address stands only on the page of
// somebody who holds its link.
type hosted struct {
	c      Config
	pages  map[string]*template.Template // by state
	sheet  string
	secure bool // the base URL is https
	csrf   *http.CrossOriginProtection
	log    *slog.Logger
	gate   *gate
}

// newHosted reads the templates; it starts nothing.
func newHosted(c Config, gate *gate) (*hosted, error) {
	pages, err := parsePages()
	if err != nil {
		return nil, err
	}
	sheet, err := hostedFiles.ReadFile("hosted/style.css")
	if err != nil {
		return nil, fmt.Errorf("hosted pages: %w", err)
	}
	return &hosted{
		c: c, pages: pages, sheet: string(sheet),
		secure: c.BaseURL.Scheme == "https",
		csrf:   http.NewCrossOriginProtection(),
		log:    c.Logger,
		gate:   gate,
	}, nil
}

// register adds every route of the pages.
func (h *hosted) register(routes gin.IRouter) {
	anyHost := routes.Group("", h.headers)
	readRoute(anyHost, "/robots.txt", h.robots)
	readRoute(anyHost, "/theme/:file", h.theme)

	readRoute(anyHost, "/:account/logo/:file", h.branded(h.logo))
	readRoute(anyHost, ownLogos+":file", h.branded(h.logo))
	h.registerPages(anyHost.Group("/:account"))
	h.registerPages(anyHost.Group(""))
}

// registerPages adds the pages of an account in one of their two places.
func (h *hosted) registerPages(pages gin.IRoutes) {
	get := func(path string, handle gin.HandlerFunc) { readRoute(pages, path, handle) }
	get("/forgot", h.branded(h.getForgot))
	pages.POST("/forgot", h.branded(h.sameOrigin(h.limited(h.postForgot))))
	get("/forgot/again", h.branded(h.getAgain))
	pages.POST("/forgot/again", h.branded(h.fromPrivatePage(h.limited(h.postAgain))))

	get("/r", h.branded(h.unlessGuessing(h.getReset)))
	pages.POST("/r", h.branded(h.sameOrigin(h.unlessGuessing(h.postReset))))
	get("/r/:token", h.branded(h.unlessGuessing(h.openLink)))
	get("/r/done", h.branded(h.getDone))
	get("/r/dispute", h.branded(h.getAgain))
	pages.POST("/r/dispute", h.branded(h.sameOrigin(h.unlessGuessing(h.postDispute))))
	get("/r/disputed", h.branded(h.getDisputed))
}

// readRoute adds a route for GET and HEAD; net/http leaves the body of HEAD out.
func readRoute(routes gin.IRoutes, path string, handle gin.HandlerFunc) {
	routes.GET(path, handle)
	routes.HEAD(path, handle)
}

// hostedHandler answers for an account that is known.
type hostedHandler func(*gin.Context, tenants.Account)

// headers writes the list of threats.md, "Routes and exact headers". The page with
// the token in its URL is no-referrer; the others are same-origin, because
// browsers send "Origin: null" with the form of a no-referrer page.
func (h *hosted) headers(c *gin.Context) {
	header := c.Writer.Header()
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; font-src 'self'; script-src 'self'; connect-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'")
	header.Set("Referrer-Policy", "same-origin")
	if strings.HasSuffix(c.FullPath(), "/r/:token") {
		header.Set("Referrer-Policy", "no-referrer")
	}
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Permissions-Policy", "accelerometer=(), camera=(), geolocation=(), microphone=(), payment=(), usb=(), interest-cohort=()")
	header.Set("X-Robots-Tag", "noindex, nofollow, noarchive")
	header.Set("Vary", "Accept-Language, Sec-Fetch-Site")
	if h.secure {
		header.Set("Strict-Transport-Security", "max-age=63072000")
	}
}

// branded finds the account of the host or the path, and turns other hosts away before
// anything of an account is shown (threats.md, row 71). Paused and canceled accounts are
// served like any other (contract.md, B).
func (h *hosted) branded(next hostedHandler) gin.HandlerFunc {
	return func(c *gin.Context) {
		c.Request = c.Request.WithContext(h.c.withOrigin(c))
		account, err := h.account(c)
		switch {
		case errors.Is(err, errUnknownHost):
			h.show(c, http.StatusMisdirectedRequest, "misdirected", h.neutral())
		case errors.Is(err, tenants.ErrUnknown), errors.Is(err, errNoAccount):
			h.show(c, http.StatusNotFound, "noaccount", h.neutral())
		case err != nil:
			h.unavailable(c, h.neutral(), "account not found out", err)
		default:
			next(c, account)
		}
	}
}

// account gives the one whose page it is: on the host of one, the path names none.
func (h *hosted) account(c *gin.Context) (tenants.Account, error) {
	ctx, named := c.Request.Context(), c.Param("account")
	account, err := h.c.hostAccount(ctx, c.Request.Host)
	switch {
	case err != nil || account.ID != "" && named == "":
		return account, err
	case account.ID != "":
		return tenants.Account{}, tenants.ErrUnknown
	}
	return h.c.pathAccount(ctx, named)
}

// sameOrigin refuses a form that another site sent (threats.md, row 26).
func (h *hosted) sameOrigin(next hostedHandler) hostedHandler {
	return func(c *gin.Context, account tenants.Account) {
		if err := h.csrf.Check(c.Request); err != nil {
			h.show(c, http.StatusForbidden, "refused", h.page(c, account))
			return
		}
		next(c, account)
	}
}

// fromPrivatePage is sameOrigin for the form on a no-referrer page, with which an
// older browser sends "Origin: null" and no Sec-Fetch-Site. The handler behind
// it wants a sealed value that only our own page holds.
func (h *hosted) fromPrivatePage(next hostedHandler) hostedHandler {
	strict := h.sameOrigin(next)
	return func(c *gin.Context, account tenants.Account) {
		if c.Request.Header.Get("Origin") == "null" {
			c.Request.Header.Del("Origin")
		}
		strict(c, account)
	}
}

// limited applies the limits per client on asking.
func (h *hosted) limited(next hostedHandler) hostedHandler {
	return func(c *gin.Context, account tenants.Account) {
		if over := h.gate.asking(c.Request); over != nil {
			h.c.Observer.Rejected(over.reason)
			h.tooMany(c, account, over)
			return
		}
		next(c, account)
	}
}

// unlessGuessing turns a client away that has tried too many links that nobody
// has, before its link is looked up. Opening a good link never counts: a mail
// scanner may stand before many people.
func (h *hosted) unlessGuessing(next hostedHandler) hostedHandler {
	return func(c *gin.Context, account tenants.Account) {
		if over := h.gate.opening(c.Request); over != nil {
			h.tooMany(c, account, over)
			return
		}
		next(c, account)
	}
}

// tooMany says when to come back.
func (h *hosted) tooMany(c *gin.Context, account tenants.Account, over *excess) {
	c.Header("Retry-After", wholeSeconds(over.wait))
	p := h.page(c, account)
	p.Limit, p.Wait = over.name, inAbout(over.wait)
	h.show(c, http.StatusTooManyRequests, "limited", p)
}

// maxForm bounds a form's body: two passwords of 1,024 bytes, percent-encoded,
// with room to spare.
const maxForm = 16 << 10

// form reads the body's fields and nothing of the query. When it cannot, it has
// answered.
func (h *hosted) form(c *gin.Context, account tenants.Account) (fields url.Values, ok bool) {
	c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, maxForm)
	err := c.Request.ParseForm()
	if err == nil {
		return c.Request.PostForm, true
	}
	status := http.StatusBadRequest
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		status = http.StatusRequestEntityTooLarge
	}
	h.show(c, status, "unreadable", h.page(c, account))
	return nil, false
}

// onlyValue gives the one value of a field: a field sent twice has none
// (threats.md, row 9).
func onlyValue(fields url.Values, name string) string {
	if values := fields[name]; len(values) == 1 {
		return values[0]
	}
	return ""
}

// unavailable says that it is our fault and that trying again will help. The
// error's own text goes to the log only; being busy and a client that has gone
// are no faults.
func (h *hosted) unavailable(c *gin.Context, p hostedPage, what string, err error) {
	if ctx := c.Request.Context(); !errors.Is(err, core.ErrBusy) && !errors.Is(ctx.Err(), context.Canceled) {
		h.log.LogAttrs(ctx, slog.LevelError, "hosted page unavailable",
			slog.String("request_id", c.Writer.Header().Get("X-Request-Id")),
			slog.String("route", c.FullPath()), slog.String("what", what), slog.Any("error", err))
	}
	c.Header("Retry-After", "2")
	h.show(c, http.StatusServiceUnavailable, "unavailable", p)
}

func (h *hosted) robots(c *gin.Context) {
	c.Data(http.StatusOK, "text/plain; charset=utf-8", []byte("User-agent: *\nDisallow: /\n"))
}
