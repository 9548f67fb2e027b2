package httpapi

import (
	"errors"
	"net/http"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// governsAccount lets operators and admins through: the other roles that see the
// account change nothing in it (contract.md, R17).
func governsAccount(c *call) error {
	if c.token.Operator() || c.user.Role == core.RoleAdmin {
		return nil
	}
	return errForbidden
}

// suppressionBody is the body of POST suppressions.
var suppressionBody = []field{{name: "meta", kind: kindObject, required: true, inside: []field{
	{name: "email", kind: kindString, required: true, judge: func(text string) string {
		if _, err := core.ParseUserAddress(text); err != nil {
			return "is invalid"
		}
		return ""
	}},
}}}

// listSuppressions shows the addresses that no mail goes to, newest first; with
// email, the one of that address.
func (a *api) listSuppressions(c *call) error {
	query := c.Request.URL.Query()
	wanted, err := parseCursorPage(query)
	if err != nil {
		return err
	}
	address, kept, err := emailParameter(query)
	if err != nil {
		return err
	}
	found, next, err := turn(wanted, func(s core.Suppression) string { return string(s.ID) },
		func(after string, limit int) ([]core.Suppression, error) {
			return a.c.Suppressions.List(c.Request.Context(), c.account.ID,
				core.SuppressionFilter{Address: address, Before: core.SuppressionID(after), Limit: limit})
		})
	if err != nil {
		return err
	}
	list := make([]any, len(found))
	for i, suppression := range found {
		list[i] = suppressionResource(suppression)
	}
	return c.write(http.StatusOK, document{Data: list, Links: wanted.links(listPath(c, "suppressions"), kept, next)})
}

// postSuppression puts an address on the list; one that is there is shown as it is.
func (a *api) postSuppression(c *call) error {
	if err := validate(c.body, suppressionBody); err != nil {
		return err
	}
	meta, _ := c.body.member("meta")
	email, _ := meta.member("email")
	address, err := core.ParseUserAddress(email.text)
	if err != nil {
		return err // cannot happen: it was judged
	}
	found, fresh, err := a.c.Suppressions.Add(c.Request.Context(), c.account.ID, address)
	if err != nil {
		return err
	}
	shown, status := suppressionResource(found), http.StatusOK
	if fresh {
		status = http.StatusCreated
		c.Header("Location", shown.Links.Self)
	}
	return c.write(status, document{Data: shown})
}

func (a *api) getSuppression(c *call) error {
	id, ok := tenants.ParseUUID(c.param("suppression"))
	if !ok {
		return errNoSuppression
	}
	found, err := a.c.Suppressions.Suppression(c.Request.Context(), c.account.ID, core.SuppressionID(id))
	if err != nil {
		return absent(err, errNoSuppression)
	}
	return c.write(http.StatusOK, document{Data: suppressionResource(found)})
}

func (a *api) deleteSuppression(c *call) error {
	id, ok := tenants.ParseUUID(c.param("suppression"))
	if !ok {
		return errNoSuppression
	}
	if err := a.c.Suppressions.Remove(c.Request.Context(), c.account.ID, core.SuppressionID(id)); err != nil {
		return absent(err, errNoSuppression)
	}
	c.empty(http.StatusNoContent)
	return nil
}

// absent says what it is that is not there.
func absent(err, what error) error {
	if errors.Is(err, core.ErrNotFound) {
		return what
	}
	return err
}

// suppressionAttributes name an address only while a user has it.
type suppressionAttributes struct {
	Reason   core.SuppressionReason `json:"reason"`
	Provider *string                `json:"provider"`
	Email    *string                `json:"email"`
	Created  string                 `json:"created"`
}

func suppressionResource(suppression core.Suppression) resource[suppressionAttributes] {
	return resource[suppressionAttributes]{
		ID: string(suppression.ID), Type: "suppressions",
		Attributes: suppressionAttributes{
			Reason: suppression.Reason, Provider: orNull(suppression.Provider),
			Email: orNull(suppression.Address.Reveal()), Created: stamp(suppression.Created),
		},
		Relationships: ownedBy(suppression.Account, suppression.User),
		Links:         &selfLink{accountPath(suppression.Account) + "/suppressions/" + string(suppression.ID)},
	}
}
