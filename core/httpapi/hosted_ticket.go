package httpapi

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// pageLife is how long the form for a new password stays open. Opening the link
// again opens it again, so nobody is shut out by it (WCAG 2.2, 2.2.1).
const pageLife = 15 * time.Minute

// What sealed values are for. A value sealed for one does not open as the other.
const (
	sealResetPage = "reset page"
	sealAskAgain  = "ask again"
)

// ticket is what the reset page's cookie seals: the link that was opened, for
// which account, when, and the random value that its form must bring along.
type ticket struct {
	Account tenants.AccountID `json:"a"`
	Token   string            `json:"t"`
	View    string            `json:"v"`
	Issued  int64             `json:"i"` // Unix seconds
}

// askAgain is what the one-click form of an expired link seals.
type askAgain struct {
	Account tenants.AccountID `json:"a"`
	Address string            `json:"m"`
	Issued  int64             `json:"i"`
}

func (t ticket) token() tenants.Secret { return tenants.NewSecret(t.Token) }

// viewed says whether a form was drawn for this ticket. Another tab may have
// opened another link since: then its form must not spend this one.
func (t ticket) viewed(token string) bool {
	return subtle.ConstantTimeCompare([]byte(t.View), []byte(token)) == 1
}

// issueTicket sets the cookie for a link that has just proved itself.
func (h *hosted) issueTicket(c *gin.Context, account tenants.Account, token tenants.Secret) error {
	var view [16]byte
	_, _ = rand.Read(view[:]) // never fails (crypto/rand, Go 1.24)
	sealed, err := h.seal(sealResetPage, ticket{
		Account: account.ID, Token: token.Reveal(),
		View: base64.RawURLEncoding.EncodeToString(view[:]), Issued: h.c.Now().Unix(),
	})
	if err != nil {
		return err
	}
	h.setCookie(c, sealed, int(pageLife.Seconds()))
	return nil
}

// readTicket gives the ticket of the request; false when there is none, when it
// is not ours, or when it is older than pageLife.
func (h *hosted) readTicket(c *gin.Context) (ticket, bool) {
	cookie, err := c.Request.Cookie(h.cookieName())
	if err != nil {
		return ticket{}, false
	}
	var t ticket
	if !h.unseal(sealResetPage, cookie.Value, &t) || !h.fresh(t.Issued) {
		return ticket{}, false
	}
	return t, true
}

func (h *hosted) dropTicket(c *gin.Context) { h.setCookie(c, "", -1) }

// cookieName has the __Host- prefix, with which no sibling domain can plant the
// cookie (threats.md, row 69). Browsers take it over https only; plain http is
// loopback only.
func (h *hosted) cookieName() string {
	if h.secure {
		return "__Host-passmend-reset"
	}
	return "passmend-reset"
}

// setCookie uses Lax, not Strict: people come here from a mail page, and a
// Strict cookie would not follow the redirect.
func (h *hosted) setCookie(c *gin.Context, value string, maxAge int) {
	http.SetCookie(c.Writer, &http.Cookie{
		Name: h.cookieName(), Value: value, Path: "/", MaxAge: maxAge,
		Secure: h.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// sealAgain keeps the address of an expired link's holder for one click.
func (h *hosted) sealAgain(account tenants.Account, holder core.Holder) (string, error) {
	return h.seal(sealAskAgain, askAgain{
		Account: account.ID, Address: holder.User.Address.Reveal(), Issued: h.c.Now().Unix(),
	})
}

// openAgain gives the address that sealAgain kept for this account.
func (h *hosted) openAgain(account tenants.Account, value string) (core.Address, bool) {
	var a askAgain
	if !h.unseal(sealAskAgain, value, &a) || !h.fresh(a.Issued) || a.Account != account.ID {
		return core.Address{}, false
	}
	address, err := core.ParseAddress(a.Address)
	return address, err == nil
}

func (h *hosted) seal(purpose string, value any) (string, error) {
	plain, err := json.Marshal(value)
	if err != nil {
		return "", err
	}
	return h.c.Cookies.SealCookie(purpose, plain)
}

func (h *hosted) unseal(purpose, sealed string, value any) bool {
	plain, err := h.c.Cookies.OpenCookie(purpose, sealed)
	return err == nil && json.Unmarshal(plain, value) == nil
}

// fresh allows for another replica's clock being ahead of this one's.
func (h *hosted) fresh(issued int64) bool {
	age := time.Duration(h.c.Now().Unix()-issued) * time.Second
	return age <= pageLife && age >= -pageLife
}
