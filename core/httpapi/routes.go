package httpapi

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// register adds the routes of the API, each with its steps in the order in which
// they refuse (contract.md, R12).
func (a *api) register(routes gin.IRouter) {
	const account = "/v1/accounts/:account"
	get := func(path string, steps ...step) {
		handle := a.do(steps...)
		routes.GET(path, handle)
		routes.HEAD(path, handle)
	}

	get("/v1/ping", a.ourHost, pong)
	get("/v1/health", healthy) // whoever asks, by whatever name
	get(account+"/ping", a.ourHost, a.findAccount, pong)

	routes.POST(account+"/passwords", a.do(countRejections,
		a.ourHost, a.limitIP, a.negotiate, a.readBody, a.readVersion, a.findAccount, a.readHeaders,
		a.withinWindow(a.gate.limits.rstpwd, "email", wantedAddress), a.limitAccount,
		postPasswords(a.c.Intake)))

	routes.POST(account+"/users/:user/actions/reset-password", a.do(
		a.ourHost, a.negotiate, a.readBody, a.readVersion, a.findAccount, a.readHeaders,
		a.withinWindow(a.gate.limits.mutpwd, "token", pathUser), a.limitGuesses,
		a.resetPassword))

	routes.POST(account+"/tokens", a.do(
		a.ourHost, a.negotiate, a.readBody, a.readVersion, a.findAccount, a.readHeaders,
		a.withinWindow(a.gate.limits.auth, "email", basicAddress),
		a.postTokens))

	get(account+"/me", a.ourHost, a.negotiate, a.readVersion, a.findAccount, a.readHeaders, a.bearer, a.me)
	get(account+"/users/:user", a.ourHost, a.negotiate, a.readVersion, a.findAccount, a.readHeaders, a.bearer, a.getUser)
	requests := account + "/password-requests"
	get(requests, a.ourHost, a.negotiate, a.readVersion, a.findAccount, a.readHeaders, a.bearer, readsAccount, a.listRequests)
	get(requests+"/:request", a.ourHost, a.negotiate, a.readVersion, a.findAccount, a.readHeaders, a.bearer, readsAccount, a.getRequest)

	get("/v1/me", a.ourHost, a.negotiate, a.readVersion, a.readHeaders, a.bearer, a.me)
}

func pong(c *call) error {
	c.empty(http.StatusOK)
	return nil
}

func healthy(c *call) error {
	c.empty(http.StatusNoContent)
	return nil
}

func countRejections(c *call) error {
	c.asksForPassword = true
	return nil
}

// canonicalUser is a {USER} in the one spelling that limits count.
func canonicalUser(ref string) string {
	if id, ok := tenants.ParseUUID(ref); ok {
		return id
	}
	if address, err := core.ParseAddress(ref); err == nil {
		return address.Reveal()
	}
	return ref
}

func pathUser(c *call) (string, bool) { return canonicalUser(c.param("user")), true }
