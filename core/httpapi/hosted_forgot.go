package httpapi

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// getForgot draws the form. ?email= fills it in, as the upstream's form does.
func (h *hosted) getForgot(c *gin.Context, account tenants.Account) {
	p := h.page(c, account)
	if email := strings.TrimSpace(c.Query("email")); len(email) <= core.MaxAddressBytes {
		p.Email = email
	}
	h.show(c, http.StatusOK, "forgot", p)
}

// postForgot accepts the request. Every address that could be one gets the same
// bytes, whether or not somebody has it (threats.md, row 70).
func (h *hosted) postForgot(c *gin.Context, account tenants.Account) {
	fields, ok := h.askForm(c, account)
	if !ok {
		return
	}
	typed := strings.TrimSpace(onlyValue(fields, "email"))
	address, err := core.ParseAddress(typed)
	switch {
	case typed == "":
		h.forgotAgain(c, account, "", "Enter your email address.")
	case err != nil:
		h.forgotAgain(c, account, "", "This address has a character in it that no address can have. Type it again.")
	case !strings.Contains(typed, "@"):
		h.forgotAgain(c, account, typed, "Enter the whole address, with the @ in it, as name@example.com.")
	default:
		h.accept(c, account, address)
	}
}

// askForm is form, counted like a refusal of the API.
func (h *hosted) askForm(c *gin.Context, account tenants.Account) (url.Values, bool) {
	fields, ok := h.form(c, account)
	switch {
	case ok:
	case c.Writer.Status() == http.StatusRequestEntityTooLarge:
		h.c.Observer.Rejected("too_large")
	default:
		h.c.Observer.Rejected("malformed")
	}
	return fields, ok
}

func (h *hosted) forgotAgain(c *gin.Context, account tenants.Account, typed, problemText string) {
	h.c.Observer.Rejected("malformed")
	p := h.page(c, account)
	p.Email = typed
	p.Problems = []fieldProblem{{"email", problemText}}
	h.show(c, http.StatusUnprocessableEntity, "forgot", p)
}

// getAgain is for who reloads the answer of postAgain from the address bar.
func (h *hosted) getAgain(c *gin.Context, account tenants.Account) {
	h.redirect(c, rootOf(c, account)+"/forgot")
}

// postAgain asks for a new link in place of an expired one, for the address that
// the expired one proved.
func (h *hosted) postAgain(c *gin.Context, account tenants.Account) {
	fields, ok := h.askForm(c, account)
	if !ok {
		return
	}
	address, ok := h.openAgain(account, onlyValue(fields, "again"))
	if !ok {
		h.forgotAgain(c, account, "", "That page has timed out. Enter your email address to get a new link.")
		return
	}
	h.accept(c, account, address)
}

func (h *hosted) accept(c *gin.Context, account tenants.Account, address core.Address) {
	if over := h.gate.accepting(account.ID); over != nil {
		h.c.Observer.Rejected(over.reason)
		h.tooMany(c, account, over)
		return
	}
	p := h.page(c, account)
	if err := h.c.Intake.Accept(c.Request.Context(), account, core.Ask{Address: address}); err != nil {
		reason := "db_unavailable"
		if errors.Is(err, core.ErrBusy) {
			reason = "backlog"
		}
		h.c.Observer.Rejected(reason)
		h.unavailable(c, p, "request not accepted", err)
		return
	}
	p.Life = inWords(account.LinkLife)
	h.show(c, http.StatusOK, "sent", p)
}

// redirect answers 303 with an empty body. The path is ours: no header and no
// parameter has a part in it.
func (h *hosted) redirect(c *gin.Context, path string) {
	c.Header("Location", path)
	c.Status(http.StatusSeeOther)
	c.Writer.WriteHeaderNow()
}
