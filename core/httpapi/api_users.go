package httpapi

import (
	"net/http"

	"github.com/passmend/passmend/core"
)

// me shows the bearer and the token it came with (contract.md, A8).
func (a *api) me(c *call) error {
	answer := document{Included: []any{tokenResource(c.token, c.user, nil)}}
	if c.token.Operator() {
		answer.Data = operatorResource(c.token)
	} else {
		answer.Data = userResource(c.user)
	}
	return c.write(http.StatusOK, answer)
}

// getUser shows a user to itself and to whoever may read the account. For anybody
// else it is not there, whether it exists or not.
func (a *api) getUser(c *call) error {
	ref := core.ParseUserRef(c.param("user"))
	reads := c.token.Operator() || c.user.Role.ReadsAccount()
	switch {
	case !c.token.Operator() && ref.Matches(c.user):
		return c.write(http.StatusOK, document{Data: userResource(c.user)})
	case !reads:
		return core.ErrNotFound
	}
	user, err := ref.Find(c.Request.Context(), a.c.Users, c.account.ID)
	if err != nil {
		return err
	}
	return c.write(http.StatusOK, document{Data: userResource(user)})
}
