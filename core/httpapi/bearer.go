package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// maxCredential bounds what is digested in search of a token; ours have 80
// characters at most.
const maxCredential = 512

// bearer finds out whose token a call came with. A token of another account is
// told the same as at an account that does not exist (threats.md, row 37); an
// operator's is good everywhere. On a route without an account, the token's own
// becomes the call's.
func (a *api) bearer(c *call) error {
	value, ok := credential(c.Request)
	switch {
	case !ok:
		return errNoToken
	case len(value) > maxCredential:
		return core.ErrUnknownToken
	}
	if _, isID := tenants.ParseUUID(value); isID {
		return errTokenFormat
	}
	token, user, err := a.c.SignIn.Bearer(c.Request.Context(), tenants.NewSecret(value))
	if errors.Is(err, core.ErrBanned) {
		return fmt.Errorf("%w: %w", errBearerBanned, err)
	}
	if err != nil {
		return err
	}
	if c.account.ID == "" && !token.Operator() {
		account, err := a.c.Resolver.Resolve(c.Request.Context(), string(token.Account))
		if errors.Is(err, tenants.ErrUnknown) {
			return core.ErrUnknownToken
		}
		if err != nil {
			return fmt.Errorf("account of API token %s: %w", token.ID, err)
		}
		c.belongsTo(account)
	}
	if !token.Operator() && token.Account != c.account.ID {
		c.belongsToNobody()
		return tenants.ErrUnknown
	}
	c.speaks(tenants.LatestAPIVersion) // an operator's call may have no account
	c.token, c.user = token, user
	c.Request = c.Request.WithContext(core.ActingAs(c.Request.Context(), core.ActorOf(token, user)))
	c.idHeader("Keygen-Bearer", bearerID(token))
	c.idHeader("Keygen-Token", string(token.ID))
	return nil
}

// bearerID names who holds a token; an operator has no other name than its token.
func bearerID(token core.APIToken) string {
	if token.Operator() {
		return string(token.ID)
	}
	return string(token.User)
}

// credential finds a token's value where clients put it: Authorization as Bearer,
// Token or Basic, or the query's token or auth (contract.md, A5).
func credential(r *http.Request) (value string, ok bool) {
	scheme, rest, _ := strings.Cut(strings.TrimSpace(r.Header.Get("Authorization")), " ")
	switch strings.ToLower(scheme) {
	case "bearer", "token":
		value = strings.Trim(strings.TrimPrefix(strings.TrimSpace(rest), "token="), `"`)
	case "basic":
		name, password, _ := r.BasicAuth()
		switch {
		case name == "token":
			value = password
		case !strings.Contains(name, "@"):
			value = name
		}
	case "":
		query := r.URL.Query()
		value = query.Get("token")
		if value == "" {
			value = strings.TrimPrefix(query.Get("auth"), "token:")
		}
	}
	return value, value != ""
}
