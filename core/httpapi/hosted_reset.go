package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// openLink looks at the link of a mail and changes nothing. A good one leaves the
// address bar at once: its token goes on in a sealed cookie, so that it is in no
// history and no Referer (threats.md, rows 28 to 30).
func (h *hosted) openLink(c *gin.Context, account tenants.Account) {
	token := tenants.NewSecret(c.Param("token"))
	holder, err := h.c.Redeemer.Inspect(c.Request.Context(), account, token)
	h.c.Observer.LinkOpened(linkResult(err))
	if err != nil {
		h.deadLink(c, account, holder, err)
		return
	}
	if err := h.issueTicket(c, account, token); err != nil {
		h.unavailable(c, h.page(c, account), "cookie not sealed", err)
		return
	}
	h.redirect(c, rootOf(c, account)+"/r")
}

func linkResult(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, core.ErrExpiredLink):
		return "expired"
	case errors.Is(err, core.ErrUnknownLink):
		return "unknown"
	default:
		return "other"
	}
}

// getReset draws the form for the link that the cookie holds.
func (h *hosted) getReset(c *gin.Context, account tenants.Account) {
	if t, holder, ok := h.opened(c, account); ok {
		h.show(c, http.StatusOK, "reset", h.resetPage(c, account, t, holder))
	}
}

// viewedForm gives what a form brought that was drawn for the link that the cookie holds.
// When it cannot, it has answered.
func (h *hosted) viewedForm(c *gin.Context, account tenants.Account) (t ticket, holder core.Holder, fields url.Values, ok bool) {
	if t, holder, ok = h.opened(c, account); !ok {
		return t, holder, nil, false
	}
	if fields, ok = h.form(c, account); !ok {
		return t, holder, nil, false
	}
	if !t.viewed(onlyValue(fields, "view")) {
		h.show(c, http.StatusForbidden, "refused", h.page(c, account))
		return t, holder, nil, false
	}
	return t, holder, fields, true
}

// postDispute ends the link of a person who did not ask for it. Nothing else changes.
func (h *hosted) postDispute(c *gin.Context, account tenants.Account) {
	t, holder, _, ok := h.viewedForm(c, account)
	if !ok {
		return
	}
	if err := h.c.Redeemer.Dispute(c.Request.Context(), account, t.token()); err != nil {
		h.deadLink(c, account, holder, err)
		return
	}
	h.dropTicket(c)
	h.redirect(c, rootOf(c, account)+"/r/disputed")
}

// getDisputed is getDone for a link that was disputed.
func (h *hosted) getDisputed(c *gin.Context, account tenants.Account) {
	h.show(c, http.StatusOK, "disputed", h.page(c, account))
}

// postReset sets the new password. The link survives a password that is refused.
func (h *hosted) postReset(c *gin.Context, account tenants.Account) {
	t, holder, fields, ok := h.viewedForm(c, account)
	if !ok {
		return
	}
	password := tenants.NewSecret(onlyValue(fields, "password"))
	if password.Reveal() != onlyValue(fields, "repeat") {
		// Said at the first of the two, where the typing begins again.
		h.resetAgain(c, account, t, holder, fieldProblem{"password", "The two passwords differ. Type both again."})
		return
	}
	_, err := h.c.Redeemer.Redeem(c.Request.Context(), account, core.UserRef{}, t.token(), password)
	if text := passwordProblem(account, password, err); text != "" {
		h.resetAgain(c, account, t, holder, fieldProblem{"password", text})
		return
	}
	if err != nil {
		h.deadLink(c, account, holder, err)
		return
	}
	h.dropTicket(c)
	h.redirect(c, rootOf(c, account)+"/r/done")
}

// getDone says that it worked. It shows nothing of anybody, so that it needs no
// cookie and survives a reload.
func (h *hosted) getDone(c *gin.Context, account tenants.Account) {
	h.show(c, http.StatusOK, "done", h.page(c, account))
}

// opened gives the ticket of the request and whose link it holds. When it cannot,
// it has answered.
func (h *hosted) opened(c *gin.Context, account tenants.Account) (ticket, core.Holder, bool) {
	t, ok := h.readTicket(c)
	if !ok {
		h.show(c, http.StatusForbidden, "timedout", h.page(c, account))
		return ticket{}, core.Holder{}, false
	}
	if t.Account != account.ID {
		h.deadLink(c, account, core.Holder{}, core.ErrUnknownLink)
		return ticket{}, core.Holder{}, false
	}
	holder, err := h.c.Redeemer.Inspect(c.Request.Context(), account, t.token())
	if err != nil {
		h.deadLink(c, account, holder, err)
		return ticket{}, core.Holder{}, false
	}
	return t, holder, true
}

// deadLink answers for a link that cannot be used. Only a genuine one is told
// that it is too old; for the rest there is one page, byte for byte.
func (h *hosted) deadLink(c *gin.Context, account tenants.Account, holder core.Holder, err error) {
	p := h.page(c, account)
	switch {
	case errors.Is(err, core.ErrUnknownLink):
		h.gate.guessed(c.Request)
		h.show(c, http.StatusNotFound, "unknown", p)
	case errors.Is(err, core.ErrTooManyTries):
		p.Limit = "link"
		h.show(c, http.StatusTooManyRequests, "limited", p)
	case errors.Is(err, core.ErrManaged):
		h.show(c, http.StatusForbidden, "unknown", p)
	case errors.Is(err, core.ErrExpiredLink):
		sealed, err := h.sealAgain(account, holder)
		if err != nil {
			h.unavailable(c, p, "address not sealed", err)
			return
		}
		p.Again = sealed
		h.show(c, http.StatusGone, "expired", p)
	default:
		if path := c.FullPath(); strings.HasSuffix(path, "/r") || strings.HasSuffix(path, "/r/dispute") {
			p.Retry = p.Root + "/r"
		}
		h.unavailable(c, p, "link not used", err)
	}
}

func (h *hosted) resetPage(c *gin.Context, account tenants.Account, t ticket, holder core.Holder) hostedPage {
	p := h.page(c, account)
	p.Address = holder.User.Address.Reveal()
	p.Minimum, p.Maximum = account.Password.Minimum, core.MaxPasswordChars
	p.View = t.View
	return p
}

// resetAgain draws the form anew, without what was typed.
func (h *hosted) resetAgain(c *gin.Context, account tenants.Account, t ticket, holder core.Holder, wrong fieldProblem) {
	p := h.resetPage(c, account, t, holder)
	p.Problems = []fieldProblem{wrong}
	h.show(c, http.StatusUnprocessableEntity, "reset", p)
}

// passwordProblem says in words what the policy has against a password; nothing
// when err is not the policy's.
func passwordProblem(account tenants.Account, password tenants.Secret, err error) string {
	switch {
	case errors.Is(err, core.ErrPasswordTooShort) && password.Reveal() == "":
		return "Enter a new password."
	case errors.Is(err, core.ErrPasswordTooShort):
		return fmt.Sprintf("This password is too short. Use at least %d characters.", account.Password.Minimum)
	case errors.Is(err, core.ErrPasswordTooLong):
		return fmt.Sprintf("This password is too long. Use at most %d characters.", core.MaxPasswordChars)
	case errors.Is(err, core.ErrPasswordCommon):
		return "This password is easy to guess. Choose one that others do not use, without your name or address in it."
	default:
		return ""
	}
}
