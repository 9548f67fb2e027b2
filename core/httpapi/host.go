package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// Whose request it is (contract.md, B). The host says it first: on a host that is an
// account's own, the path names no account. On the platform's hosts the path says
// it; where there is one account only, the path need not.

var (
	errUnknownHost = errors.New("unknown host")
	errNoAccount   = errors.New("no account is named")
)

// loopbackNames are also ours in development mode.
var loopbackNames = []string{"localhost", "127.0.0.1", "::1"}

// hostName is a Host header without its port, as host names are compared.
func hostName(host string) string {
	return strings.ToLower(strings.TrimSuffix((&url.URL{Host: host}).Hostname(), "."))
}

// knownHost says whether a Host header names the platform: the host of BaseURL,
// and in development mode this machine. The port does not matter.
func (c Config) knownHost(host string) bool {
	name := hostName(host)
	if name == "" {
		return false
	}
	return name == hostName(c.BaseURL.Host) || (c.Development && slices.Contains(loopbackNames, name))
}

// hostAccount gives the account whose own the host is, an empty one on the platform's
// hosts; errUnknownHost. Nothing under the platform's own name is anybody's: no
// account can take its host, or a neighbour of it.
func (c Config) hostAccount(ctx context.Context, host string) (tenants.Account, error) {
	if c.knownHost(host) {
		return tenants.Account{}, nil
	}
	name := hostName(host)
	if strings.HasSuffix(name, "."+hostName(c.BaseURL.Host)) {
		return tenants.Account{}, errUnknownHost
	}
	account, err := c.Resolver.ResolveHost(ctx, name)
	if errors.Is(err, tenants.ErrUnknown) {
		return tenants.Account{}, errUnknownHost
	}
	return account, err
}

// pathAccount gives the account that a path on the platform's hosts means; ref is
// empty when the path names none. errNoAccount, tenants.ErrUnknown.
func (c Config) pathAccount(ctx context.Context, ref string) (tenants.Account, error) {
	switch {
	case ref == "" && c.Account == "":
		return tenants.Account{}, errNoAccount
	case ref == "":
		ref = c.Account
	}
	account, err := c.Resolver.Resolve(ctx, ref)
	if err != nil || c.Account == "" || ref == c.Account {
		return account, err
	}
	only, err := c.Resolver.Resolve(ctx, c.Account)
	if err == nil && only.ID != account.ID {
		err = tenants.ErrUnknown
	}
	return account, err
}

// ourHost refuses a request that was sent to somebody else, and one that names an
// account on the host of one.
func (a *api) ourHost(c *call) (err error) {
	c.hosted, err = a.c.hostAccount(c.Request.Context(), c.Request.Host)
	switch {
	case errors.Is(err, errUnknownHost):
		return errNoRoute
	case err != nil:
		return fmt.Errorf("%w: resolve host: %w", core.ErrNotAccepted, err)
	case c.hosted.ID != "" && c.Param("account") != "":
		return errNoRoute
	}
	return nil
}

// findAccount settles whose request it is. When the look-up itself fails nothing can
// be accepted: that is a 503 and no 404.
func (a *api) findAccount(c *call) error {
	if c.hosted.ID != "" {
		c.belongsTo(c.hosted)
		return nil
	}
	account, err := a.c.pathAccount(c.Request.Context(), c.param("account"))
	switch {
	case errors.Is(err, tenants.ErrUnknown), errors.Is(err, errNoAccount):
		return err
	case err != nil:
		return fmt.Errorf("%w: resolve account: %w", core.ErrNotAccepted, err)
	}
	c.belongsTo(account)
	return nil
}

// findOwnAccount is findAccount where the bearer may say it as well.
func (a *api) findOwnAccount(c *call) error {
	if err := a.findAccount(c); !errors.Is(err, errNoAccount) {
		return err
	}
	return nil
}

// belongsTo settles whose call it is, and with it the version that is spoken.
func (c *call) belongsTo(account tenants.Account) {
	c.account = account
	c.speaks(account.APIVersion)
	c.idHeader("Keygen-Account", string(account.ID))
}

// belongsToNobody takes back what belongsTo has told: the answer is to be the one at
// an account that does not exist, header for header.
func (c *call) belongsToNobody() {
	c.account = tenants.Account{}
	headers := c.Writer.Header()
	headers.Del("Keygen-Account")
	headers.Del("Keygen-Account-Id")
	if c.Request.Header.Get("Keygen-Version") == "" {
		headers.Del("Keygen-Version")
		c.version = ""
	}
}
