package httpapi

import (
	"net/http"
	"slices"

	"github.com/gin-gonic/gin"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// router adds routes to an engine.
type router struct {
	*api
	to gin.IRouter
}

// on adds a route with its steps in the order in which they refuse (contract.md,
// R12). A GET answers HEAD too; the last step of a POST runs once for a key.
func (r router) on(method, path string, steps []step) {
	if method == http.MethodPost {
		steps = slices.Clone(steps)
		steps[len(steps)-1] = r.once(steps[len(steps)-1])
	}
	handle := r.do(steps...)
	r.to.Handle(method, path, handle)
	if method == http.MethodGet {
		r.to.HEAD(path, handle)
	}
}

// ofAccount adds a route of an account in both of its places: with the account in
// its path, and without, for hosts that are an account's own and where there is one
// account only (contract.md, B).
func (r router) ofAccount(method, path string, steps []step) {
	r.on(method, "/v1/accounts/:account"+path, steps)
	r.on(method, "/v1"+path, steps)
}

// reading begins a call without a body, and then come its own steps.
func (a *api) reading(own ...step) []step {
	return append([]step{a.ourHost, a.negotiate, a.readVersion, a.findAccount, a.readHeaders}, own...)
}

// writing is reading for a call that may have a body.
func (a *api) writing(own ...step) []step {
	return append([]step{a.ourHost, a.negotiate, a.readBody, a.readVersion, a.findAccount, a.readHeaders}, own...)
}

// writingUser is writing for a body that may hold metadata.
func (a *api) writingUser(own ...step) []step {
	return append([]step{a.ourHost, a.negotiate, a.readUserBody, a.readVersion, a.findAccount, a.readHeaders}, own...)
}

// register adds the routes of the API.
func (a *api) register(routes gin.IRouter) {
	const get, post, put, patch, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete
	r := router{a, routes}

	r.on(get, "/v1/ping", []step{a.ourHost, pong})
	r.on(get, "/v1/accounts/:account/ping", []step{a.ourHost, a.findAccount, pong})
	r.on(get, "/v1/health", []step{healthy}) // whoever asks, by whatever name
	r.on(get, "/v1/health/webhooks", []step{a.healthyWebhooks})

	ofPlatform := func(first ...step) []step {
		return append(append([]step{a.ourHost, platformHost, a.negotiate}, first...), a.readVersion, a.readHeaders, a.bearer, governsPlatform)
	}
	r.on(get, "/v1/accounts", append(ofPlatform(), a.listAccounts))
	r.on(post, "/v1/accounts", append(ofPlatform(a.readUserBody), a.postAccount))
	r.on(get, "/v1/accounts/:account", a.reading(a.bearer, readsAccount, a.getAccount))
	r.on(patch, "/v1/accounts/:account", a.writingUser(a.bearer, governsAccount, a.patchAccount))
	r.on(del, "/v1/accounts/:account", a.reading(a.bearer, governsPlatform, a.deleteAccount))

	r.ofAccount(post, "/passwords", append(
		[]step{countRejections, a.ourHost, a.limitIP},
		a.writing(a.withinWindow(a.gate.limits.rstpwd, "email", wantedAddress), a.limitAccount, postPasswords(a.c.Intake))[1:]...))
	r.on(post, "/v1/recover", []step{countRejections, a.ourHost, platformHost, a.limitIP, a.negotiate, a.readBody, a.readVersion, a.readHeaders,
		a.withinWindow(a.gate.limits.rstpwd, "email", wantedAddress), a.limitAccount, postRecover(a.c.Intake, a.c.BaseURL.Hostname())})
	r.ofAccount(post, "/users/:user/actions/reset-password", a.writing(
		a.withinWindow(a.gate.limits.mutpwd, "token", pathUser), a.limitGuesses, a.resetPassword))
	r.ofAccount(post, "/tokens", a.writing(
		a.withinWindow(a.gate.limits.auth, "email", basicAddress), a.postTokens))

	r.ofAccount(get, "/tokens", a.reading(a.bearer, whileActive, a.listTokens))
	r.ofAccount(put, "/tokens", a.writing(a.bearer, whileActive, a.putToken))
	r.ofAccount(get, "/tokens/:token", a.reading(a.bearer, a.getToken))
	r.ofAccount(put, "/tokens/:token", a.writing(a.bearer, whileActive, a.putToken))
	r.ofAccount(del, "/tokens/:token", a.reading(a.bearer, a.deleteToken))

	for path, show := range map[string]step{"/me": a.me, "/profile": a.profile} {
		r.on(get, "/v1/accounts/:account"+path, a.reading(a.bearer, show))
		r.on(get, "/v1"+path, []step{a.ourHost, a.negotiate, a.readVersion, a.findOwnAccount, a.readHeaders, a.bearer, show})
	}

	r.ofAccount(post, "/users", a.writingUser(whileActive, a.postUser))
	r.ofAccount(get, "/users", a.reading(a.bearer, readsAccount, whileActive, a.listUsers))
	r.ofAccount(get, "/users/:user", a.reading(a.bearer, a.getUser))
	r.ofAccount(patch, "/users/:user", a.writingUser(a.bearer, a.patchUser))
	r.ofAccount(del, "/users/:user", a.reading(a.bearer, whileActive, a.deleteUser))
	r.ofAccount(post, "/users/:user/actions/ban", a.writing(a.bearer, a.ban(true)))
	r.ofAccount(post, "/users/:user/actions/unban", a.writing(a.bearer, a.ban(false)))
	r.ofAccount(post, "/users/:user/actions/update-password", a.writing(
		a.withinWindow(a.gate.limits.mutpwd, "token", pathUser), a.bearer, a.updatePassword))

	r.ofAccount(get, "/password-requests", a.reading(a.bearer, readsAccount, a.listRequests))
	r.ofAccount(get, "/password-requests/:request", a.reading(a.bearer, readsAccount, a.getRequest))

	seen, changed := []step{a.bearer, readsAccount, whileActive}, []step{a.bearer, governsAccount, whileActive}
	reads := func(last step) []step { return a.reading(slices.Concat(seen, []step{last})...) }
	removes := func(last step) []step { return a.reading(slices.Concat(changed, []step{last})...) }
	writes := func(last step) []step { return a.writing(slices.Concat(changed, []step{last})...) }
	const endpoint, event = "/webhook-endpoints/:endpoint", "/webhook-events/:event"
	r.ofAccount(get, "/webhook-endpoints", reads(a.listEndpoints))
	r.ofAccount(post, "/webhook-endpoints", writes(a.postEndpoint))
	r.ofAccount(get, endpoint, reads(onEndpoint(a.getEndpoint)))
	r.ofAccount(patch, endpoint, writes(onEndpoint(a.patchEndpoint)))
	r.ofAccount(put, endpoint, writes(onEndpoint(a.patchEndpoint)))
	r.ofAccount(del, endpoint, removes(a.deleteEndpoint))
	r.ofAccount(post, endpoint+"/actions/rotate-secret", writes(a.rotateEndpoint))
	r.ofAccount(post, endpoint+"/actions/enable", writes(onEndpoint(a.enableEndpoint)))
	r.ofAccount(get, "/webhook-events", reads(a.listEvents))
	r.ofAccount(get, event, reads(a.getEvent))
	r.ofAccount(del, event, removes(a.deleteEvent))
	r.ofAccount(post, event+"/actions/retry", writes(a.retryEvent))

	r.ofAccount(get, "/suppressions", a.reading(a.bearer, readsAccount, a.listSuppressions))
	r.ofAccount(post, "/suppressions", a.writing(a.bearer, governsAccount, a.postSuppression))
	r.ofAccount(get, "/suppressions/:suppression", a.reading(a.bearer, readsAccount, a.getSuppression))
	r.ofAccount(del, "/suppressions/:suppression", a.reading(a.bearer, governsAccount, a.deleteSuppression))

	r.on(get, "/v1/audit-events", append(ofPlatform(), a.listAllAuditEvents))
	r.on(get, "/v1/accounts/:account/audit-events", a.reading(a.bearer, governsAccount, a.listAuditEvents))
	r.on(get, "/v1/holds", append(ofPlatform(), a.listHolds))
	r.on(get, "/v1/accounts/:account/holds", a.reading(a.bearer, governsAccount, a.listHolds))
	for _, path := range []string{"/holds", "/holds/:provider"} {
		r.on(put, "/v1"+path, append(ofPlatform(a.readBody), a.putHold))
		r.on(del, "/v1"+path, append(ofPlatform(), a.deleteHold))
		r.on(put, "/v1/accounts/:account"+path, a.writing(a.bearer, governsAccount, a.putHold))
		r.on(del, "/v1/accounts/:account"+path, a.reading(a.bearer, governsAccount, a.deleteHold))
	}

	// Whoever calls back speaks its own way: type, Accept and query are not looked at,
	// and it knows a callback again by what is in it.
	callback := a.do(a.ourHost, a.findAccount, a.limitCallbacks, a.takeCallback)
	routes.POST("/v1/accounts/:account/provider-events/:provider", callback)
	routes.POST("/v1/provider-events/:provider", callback)
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
