package httpapi

import (
	"net/http"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// recoverBody is the body of POST recover.
var recoverBody = []field{{name: "meta", kind: kindObject, required: true, inside: []field{
	{name: "type", kind: kindString, required: true, judge: func(text string) string {
		if text != "account" {
			return "is invalid"
		}
		return ""
	}},
	{name: "email", kind: kindString, required: true},
}}}

// postRecover accepts "which accounts are mine" (contract.md, A8) as postPasswords
// accepts its own: it has no way to whoever has the address. No account is named, so
// that it counts as the service's own, for the limit per account too.
func postRecover(intake Intake, name string) step {
	return func(c *call) error {
		_, address, err := judgedAddress(c, recoverBody)
		if err != nil {
			return err
		}
		if err := intake.Accept(c.Request.Context(), tenants.Recover(name), core.Ask{Address: address}); err != nil {
			return err
		}
		c.empty(http.StatusAccepted)
		return nil
	}
}
