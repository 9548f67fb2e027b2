package httpapi

import (
	"errors"
	"net/http"
	"strings"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// passwordsBody is the body of POST passwords; deliver is judged before email
// (contract.md, C6).
var passwordsBody = []field{{name: "meta", kind: kindObject, required: true, inside: []field{
	{name: "deliver", kind: kindBoolean, nullable: true},
	{name: "email", kind: kindString, required: true},
}}}

// wantedAddress is the address that a call asks for, in canonical form, if it is
// there at all; the body has not been judged yet.
func wantedAddress(c *call) (string, bool) {
	if c.body == nil {
		return "", false
	}
	meta, _ := c.body.member("meta")
	email, _ := meta.member("email")
	if email.kind != kindString || strings.TrimSpace(email.text) == "" {
		return "", false
	}
	address, err := core.ParseAddress(email.text)
	return address.Reveal(), err == nil
}

// judgedAddress holds the body against what a route knows, and gives its meta and the
// address in that.
func judgedAddress(c *call, body []field) (meta node, address core.Address, err error) {
	if err := validate(c.body, body); err != nil {
		return meta, address, err
	}
	meta, _ = c.body.member("meta")
	email, _ := meta.member("email")
	address, err = core.ParseAddress(email.text)
	return meta, address, err
}

// postPasswords accepts "I forgot my password" (contract.md, A1). It is given the
// intake and nothing else, so that there is no way here to whoever has the address.
func postPasswords(intake Intake) step {
	return func(c *call) error {
		meta, address, err := judgedAddress(c, passwordsBody)
		if err != nil {
			return err
		}
		ask := core.Ask{Address: address}
		if deliver, ok := meta.member("deliver"); ok && deliver.kind == kindBoolean {
			ask.Deliver = &deliver.truth
		}
		if err := intake.Accept(c.Request.Context(), c.account, ask); err != nil {
			return err
		}
		c.empty(http.StatusAccepted)
		return nil
	}
}

// resetBody is the body of actions/reset-password.
var resetBody = []field{{name: "meta", kind: kindObject, required: true, inside: []field{
	{name: "passwordResetToken", kind: kindString, required: true},
	{name: "newPassword", kind: kindString, required: true},
}}}

// resetPassword redeems a token (contract.md, A2 and R9): the body is judged before
// anything is looked up, and whoever cannot prove the link learns nothing but
// one 404.
func (a *api) resetPassword(c *call) error {
	if err := validate(c.body, resetBody); err != nil {
		return err
	}
	meta, _ := c.body.member("meta")
	token, _ := meta.member("passwordResetToken")
	password, _ := meta.member("newPassword")
	user, err := a.c.Redeemer.Redeem(c.Request.Context(), c.account, core.ParseUserRef(c.param("user")),
		tenants.NewSecret(token.text), tenants.NewSecret(password.text))
	if errors.Is(err, core.ErrUnknownLink) {
		a.gate.guessed(c.Request)
	}
	if err != nil {
		return err
	}
	return c.write(http.StatusOK, document{Data: userResource(user)})
}
