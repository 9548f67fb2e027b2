package httpapi

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// Web pages of any origin may call the API (contract.md, C11): tokens travel in
// headers that a page has to know, never in cookies, so that no page can use what
// the browser knows. Credentials are therefore allowed to nobody.

// exposed are the headers that scripts of web pages may read.
var exposed = []string{
	"Keygen-Account", "Keygen-Account-Id", "Keygen-Bearer", "Keygen-Bearer-Id", "Keygen-Token", "Keygen-Token-Id",
	"Keygen-Environment", "Keygen-Edition", "Keygen-Mode", "Keygen-Revision", "Keygen-Version",
	"Keygen-Date", "Keygen-Digest", "Keygen-Signature",
	"X-RateLimit-Window", "X-RateLimit-Count", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset",
	"RateLimit", "RateLimit-Policy", "X-Request-Id", "Date", "Digest", "Retry-After", "Location", "Idempotent-Replayed",
}

// methods are the ones that HTTP knows; any other is no method (contract.md, C7).
var methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}

// nothingHere answers where no route is: a preflight under /v1, for every path alike,
// or the 404 that a wrong verb gets too.
func (a *api) nothingHere(c *call) error {
	if err := a.ourHost(c); err != nil {
		return err
	}
	asked := c.Request.Header.Get("Access-Control-Request-Method")
	switch {
	case !slices.Contains(methods, c.Request.Method):
		return errMethod
	case c.Request.Method != http.MethodOptions || asked == "" || !strings.HasPrefix(c.Request.URL.Path, "/v1/"):
		if !text8(c.Request.URL.Path) {
			return errEncoding
		}
		return errNoRoute
	}
	c.Header("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
	if names := c.Request.Header.Get("Access-Control-Request-Headers"); names != "" && headerNames.MatchString(names) {
		// Named one by one: "*" does not cover Authorization.
		c.Header("Access-Control-Allow-Headers", names)
		c.Header("Vary", "Access-Control-Request-Headers")
	}
	c.Header("Access-Control-Max-Age", "86400")
	c.empty(http.StatusNoContent)
	return nil
}

// headerNames is a list of field names (RFC 9110, section 5.6.2).
var headerNames = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+(\\s*,\\s*[A-Za-z0-9!#$%&'*+.^_`|~-]+)*$")
