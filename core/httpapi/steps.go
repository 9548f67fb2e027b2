package httpapi

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// maxBody bounds the body of every request to the API (contract.md, R15).
const maxBody = 16 << 10

// ourHost refuses a request that was sent to somebody else (contract.md, B).
func (a *api) ourHost(c *call) error {
	if !a.c.knownHost(c.Request.Host) {
		return errNoRoute
	}
	return nil
}

// limitIP is the limit per client on asking for passwords. It comes before
// anything is parsed.
func (a *api) limitIP(c *call) error {
	return a.refusedBy(a.gate.asking(c.Request))
}

// limitAccount is the limit per account on asking for passwords. A call that asks
// for nobody is not counted: rubbish uses up nobody's share.
func (a *api) limitAccount(c *call) error {
	if _, ok := wantedAddress(c); !ok {
		return nil
	}
	return a.refusedBy(a.gate.accepting(c.account.ID))
}

// limitGuesses refuses a client that has tried too many links that nobody has.
func (a *api) limitGuesses(c *call) error {
	return a.refusedBy(a.gate.opening(c.Request))
}

// refusedBy is the answer to a limit that is used up; nil for none.
func (a *api) refusedBy(over *excess) error {
	if over == nil {
		return nil
	}
	return throttled(map[string]string{
		"X-RateLimit-Window":    over.name,
		"X-RateLimit-Remaining": "0",
		"X-RateLimit-Reset":     strconv.FormatInt(a.c.Now().Add(over.wait).Unix()+1, 10),
	}, over.wait, over.reason)
}

// readBody reads at most maxBody bytes and parses them as JSON, unless their type
// says that they are something else. Nothing is ever decompressed.
func (a *api) readBody(c *call) error {
	raw, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return errTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("read body: %w", err)
	case err != nil:
		return fmt.Errorf("read body: %w: %w", errJSON, err)
	}
	if name, _ := bodyType(c.Request); !slices.Contains(parsed, name) {
		return nil
	}
	c.body, err = parseJSON(raw)
	return err
}

// readVersion takes Keygen-Version, with or without a v (contract.md, C10).
func (a *api) readVersion(c *call) error {
	sent := strings.TrimSpace(c.Request.Header.Get("Keygen-Version"))
	if sent == "" {
		return nil
	}
	version := strings.TrimPrefix(sent, "v")
	if !slices.Contains(tenants.APIVersions(), version) {
		return errVersion
	}
	c.version = version
	c.Header("Keygen-Version", version)
	return nil
}

// findAccount resolves {ACCOUNT}. When the look-up itself fails nothing can be
// accepted: that is a 503 and no 404.
func (a *api) findAccount(c *call) error {
	account, err := a.c.Resolver.Resolve(c.Request.Context(), c.param("account"))
	if errors.Is(err, tenants.ErrUnknown) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%w: resolve account: %w", core.ErrNotAccepted, err)
	}
	c.belongsTo(account)
	return nil
}

// belongsTo settles whose call it is, and with it the version that is spoken.
func (c *call) belongsTo(account tenants.Account) {
	c.account = account
	c.speaks(account.APIVersion)
	c.idHeader("Keygen-Account", string(account.ID))
}

// speaks settles the version, if the client named none.
func (c *call) speaks(version string) {
	if c.version == "" {
		c.version = version
		c.Header("Keygen-Version", version)
	}
}

// idHeader sends an identifier; up to version 1.3 the name ends in -Id
// (contract.md, C9).
func (c *call) idHeader(name, id string) {
	if c.version <= "1.3" {
		name += "-Id"
	}
	c.Header(name, id)
}

// signatureWish is what Keygen-Accept-Signature may hold: key="value" pairs.
var signatureWish = regexp.MustCompile(`^\s*[a-z]+="[^"]*"\s*(,\s*[a-z]+="[^"]*"\s*)*$`)

var signatureAlgorithm = regexp.MustCompile(`(?:^|,)\s*algorithm="(?:ed25519|rsa-pss-sha256|rsa-sha256|ecdsa-p256)"`)

// readHeaders refuses headers that ask for what cannot be given.
func (a *api) readHeaders(c *call) error {
	wish := c.Request.Header.Get("Keygen-Accept-Signature")
	if wish != "" && (!signatureWish.MatchString(wish) || (strings.Contains(wish, "algorithm=") && !signatureAlgorithm.MatchString(wish))) {
		return errSignature
	}
	if c.Request.Header.Get("Keygen-Environment") != "" {
		return errEnvironment
	}
	return nil
}

// withinWindow counts the call in the windows of contract.md, G: per account, client
// and whom it is about. A call that is about nobody is not counted.
func (a *api) withinWindow(windows []*window, scope string, about func(*call) (string, bool)) step {
	return func(c *call) error {
		whom, ok := about(c)
		if !ok || len(windows) == 0 {
			return nil
		}
		key := a.gate.limits.key(windows[0].name, string(c.account.ID), clientPrefix(a.c.clientIP(c.Request)), whom)
		over := a.gate.limits.take(windows, key)
		if over == nil {
			return nil
		}
		a.observer.RateLimited(scope, "reject")
		return throttled(map[string]string{
			"X-RateLimit-Window":    over.window.name,
			"X-RateLimit-Count":     strconv.Itoa(over.count),
			"X-RateLimit-Limit":     strconv.Itoa(over.window.limit),
			"X-RateLimit-Remaining": "0",
			"X-RateLimit-Reset":     strconv.FormatInt(over.reset.Unix(), 10),
		}, over.reset.Sub(over.now), "rate_ip")
	}
}

// methods are the ones that HTTP knows; any other is no method (contract.md, C7).
var methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}

// nothingHere answers where no route is: a preflight under /v1 (contract.md, C11),
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
