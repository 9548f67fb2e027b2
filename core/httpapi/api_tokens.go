package httpapi

import (
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// maxTokenName bounds a token's name, in characters.
const maxTokenName = 255

// tokensBody is the body of POST tokens; all of it may be missing. A one-time
// password is taken and not asked for: no user has a second factor here.
var tokensBody = []field{
	{name: "data", kind: kindObject, inside: []field{
		{name: "type", kind: kindString, required: true, judge: func(text string) string {
			if text != "tokens" && text != "token" {
				return "is invalid"
			}
			return ""
		}},
		{name: "attributes", kind: kindObject, inside: []field{
			{name: "name", kind: kindString, nullable: true, blank: true, judge: func(text string) string {
				if utf8.RuneCountInString(text) > maxTokenName {
					return "is too long (maximum is 255 characters)"
				}
				return ""
			}},
			{name: "expiry", kind: kindString, nullable: true, judge: func(text string) string {
				if _, err := time.Parse(time.RFC3339, text); err != nil {
					return "type mismatch (received string expected time)"
				}
				return ""
			}},
		}},
	}},
	{name: "meta", kind: kindObject, inside: []field{{name: "otp", kind: kindString, nullable: true, blank: true}}},
}

// postTokens signs in with an address and a password, or makes a further token for
// who already holds one (contract.md, A5).
func (a *api) postTokens(c *call) error {
	if err := validate(c.body, tokensBody); err != nil {
		return err
	}
	if _, _, ok := basicLogin(c.Request); ok {
		if err := a.login(c); err != nil {
			return err
		}
	} else {
		if err := a.bearer(c); err != nil {
			return err
		}
		if c.token.Operator() {
			return errForbidden // an operator's tokens are made by the command
		}
	}
	token, value, err := a.c.SignIn.Issue(c.Request.Context(), c.user, wantedToken(c.body))
	if err != nil {
		return err
	}
	c.idHeader("Keygen-Bearer", string(c.user.ID))
	c.idHeader("Keygen-Token", string(token.ID))
	resource := tokenResource(token, &value)
	c.Header("Location", resource.Links.Self)
	return c.write(http.StatusCreated, document{Data: resource})
}

// listTokens shows one's own API tokens, and every one of the account to who reads it.
func (a *api) listTokens(c *call) error {
	wanted, err := parsePage(c.Request.URL.Query())
	if err != nil {
		return err
	}
	var filter core.TokenQuery
	if readsAccount(c) != nil {
		filter.User = c.user.ID
	}
	ctx, account := c.Request.Context(), c.account.ID
	return answerList(c, "tokens", wanted, nil,
		func(t core.APIToken) string { return string(t.ID) },
		func(t core.APIToken) any { return tokenResource(t, nil) },
		func(p part) ([]core.APIToken, error) {
			q := filter
			q.Newest, q.After, q.Skip, q.Limit = p.newest, core.TokenID(p.after), p.skip, p.limit
			return a.c.Tokens.APITokens(ctx, account, q)
		},
		func() (int, error) { return a.c.Tokens.CountAPITokens(ctx, account, filter) })
}

func (a *api) getToken(c *call) error {
	token, err := a.tokenFor(c, readsAccount)
	if err != nil {
		return err
	}
	return c.write(http.StatusOK, document{Data: tokenResource(token, nil)})
}

// tokenFor is the token in the path: one's own, or any of the account for whom may
// lets through. Every other is not there.
func (a *api) tokenFor(c *call, may step) (core.APIToken, error) {
	id, ok := tenants.ParseUUID(c.param("token"))
	if !ok {
		return core.APIToken{}, errNoSuchToken
	}
	token, err := a.c.Tokens.APITokenByID(c.Request.Context(), c.account.ID, core.TokenID(id))
	if err != nil {
		return core.APIToken{}, absent(err, errNoSuchToken)
	}
	if (c.token.Operator() || token.User != c.user.ID) && may(c) != nil {
		return core.APIToken{}, errNoSuchToken
	}
	return token, nil
}

// putToken gives the token in the path, or the one in use, another value.
func (a *api) putToken(c *call) error {
	if err := validate(c.body, nil); err != nil {
		return err
	}
	token := c.token
	if c.Param("token") != "" {
		var err error
		if token, err = a.tokenFor(c, governsAccount); err != nil {
			return err
		}
	}
	if token.Operator() {
		return errForbidden // an operator's tokens are made by the command
	}
	changed, value, err := a.c.SignIn.Regenerate(c.Request.Context(), token)
	if err != nil {
		return absent(err, errNoSuchToken)
	}
	return c.write(http.StatusOK, document{Data: tokenResource(changed, &value)})
}

func (a *api) deleteToken(c *call) error {
	token, err := a.tokenFor(c, governsAccount)
	if err != nil {
		return err
	}
	if err := a.c.SignIn.Revoke(c.Request.Context(), token); err != nil {
		return absent(err, errNoSuchToken)
	}
	c.empty(http.StatusNoContent)
	return nil
}

// basicLogin gives what was sent to sign in with. A user name without an @ is
// an API token in another's clothes (contract.md, A5); none at all next to a
// password is a missing address.
func basicLogin(r *http.Request) (address, password string, ok bool) {
	name, password, ok := r.BasicAuth()
	if !ok || (name != "" && !strings.Contains(name, "@")) {
		return "", "", false
	}
	return name, password, name != "" || password != ""
}

// basicAddress is whom a sign-in is about, in canonical form.
func basicAddress(c *call) (string, bool) {
	typed, _, ok := basicLogin(c.Request)
	if !ok || typed == "" {
		return "", false
	}
	return canonicalUser(typed), true
}

func (a *api) login(c *call) error {
	typed, password, _ := basicLogin(c.Request)
	if typed == "" {
		return errNoAddress
	}
	if password == "" {
		return errNoSecret
	}
	address, err := core.ParseAddress(typed)
	if err != nil {
		return core.ErrUnknownUser // no user can have it
	}
	c.user, err = a.c.SignIn.Password(c.Request.Context(), c.account, address, tenants.NewSecret(password))
	return err
}

// wantedToken reads a body that was found good. An expiry that is left out is the
// role's own; null means never.
func wantedToken(body *node) core.NewToken {
	var want core.NewToken
	if body == nil {
		return want
	}
	data, _ := body.member("data")
	attributes, _ := data.member("attributes")
	name, _ := attributes.member("name")
	want.Name = name.text
	switch expiry, _ := attributes.member("expiry"); expiry.kind {
	case kindNull:
		want.Life = -1
	case kindString:
		want.Expires, _ = time.Parse(time.RFC3339, expiry.text)
	}
	return want
}
