package httpapi_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/httpapi"
)

// Real answers are held against the description, of every route and of every
// status that can be had here.
func TestOpenAPIDescribesTheAnswers(t *testing.T) {
	t.Parallel()
	document := got(openapi3.NewLoader().LoadFromFile("openapi.yaml"))(t)
	must(t, document.Validate(t.Context()))
	routes := got(gorillamux.NewRouter(document))(t)

	e := setup(t, func(c *httpapi.Config) { c.Limits.Mutpwd, c.Limits.BadCallback = parsed(t, "3/h"), parsed(t, "2/h") })
	e.userWithPassword(e.acme, "pat@example.com", nil)
	admin, ada, operator := bearer(e.token(e.boss)), bearer(e.token(e.ada)), bearer(e.operatorToken())
	spare, _ := e.tokenID(e.ada)
	raw := e.link(e.acme, "boss@example.com")
	reset := func(password string) string {
		return fmt.Sprintf(`{"meta":{"passwordResetToken":%q,"newPassword":%q}}`, raw, password)
	}
	const account = "/v1/accounts/acme"
	resetPath := account + "/users/" + string(e.boss.ID) + "/actions/reset-password"
	requests, request := account+"/password-requests", account+"/password-requests/"+e.requested(e.acme, "ada@example.com")
	suppressions, callback := account+"/suppressions", account+"/provider-events/post"
	audit, holds := account+"/audit-events", account+"/holds"
	e.provider(e.acme.ID, "post", "hooked", "hook-secret")
	e.provider(e.acme.ID, "away", "down", "hook-secret")
	one := suppressions + "/" + e.suppressed(e.acme, "gone@example.com")
	endpoint, events := e.hook(`{"url":"https://hook.example"}`), account+"/webhook-events"
	event := events + "/" + e.happened(e.acme)
	e.worked(core.Settlement{State: core.DeliveryQueued, Attempt: &core.Attempt{Provider: "webhook", Outcome: "temporary", Code: "503", Answer: "no", Detail: "it said no"}})
	asks := []struct {
		ask
		status int
	}{
		{ask{method: "GET", path: "/v1/ping"}, 200}, {ask{method: "HEAD", path: "/v1/ping"}, 200}, {ask{method: "GET", path: "/v1/health"}, 204}, {ask{method: "GET", path: account + "/ping"}, 200},
		{ask{path: account + "/passwords", body: good}, 202}, {ask{path: account + "/passwords", body: `{}`}, 400}, {ask{path: "/v1/accounts/none/passwords", body: good}, 404}, {ask{path: account + "/passwords", body: strings.Repeat(" ", 17000)}, 413},
		{ask{path: account + "/passwords", body: `{}`, header: map[string]string{"Accept": "application/json"}}, 400}, {ask{path: account + "/passwords", body: good, header: map[string]string{"Keygen-Version": "3"}}, 400},
		{ask{method: "GET", path: account + "/me", header: admin}, 200}, {ask{method: "GET", path: account + "/me", header: operator}, 200}, {ask{method: "GET", path: "/v1/me", header: ada}, 200}, {ask{method: "GET", path: "/v1/me"}, 401},
		{ask{method: "GET", path: account + "/users/ada@example.com", header: admin}, 200}, {ask{method: "GET", path: account + "/users/none", header: admin}, 404}, {ask{method: "GET", path: account + "/users/boss@example.com", header: ada}, 404},
		{ask{path: account + "/tokens", header: map[string]string{"Authorization": basic("pat@example.com", adaPassword)}}, 201}, {ask{path: account + "/tokens"}, 401}, {ask{path: account + "/tokens", header: operator}, 403},
		{ask{method: "GET", path: accounts, header: operator}, 200}, {ask{method: "HEAD", path: accounts, header: operator}, 200}, {ask{method: "GET", path: accounts + "?limit=0", header: operator}, 400}, {ask{method: "GET", path: accounts}, 401}, {ask{method: "GET", path: accounts, header: ada}, 403},
		{ask{path: accounts, body: newAccount(`{"slug":"shop"}`), header: operator}, 201}, {ask{path: accounts, body: newAccount(`{"slug":"shop"}`), header: operator}, 422}, {ask{path: accounts, body: `{}`, header: operator}, 400}, {ask{path: accounts, body: strings.Repeat(" ", 66000), header: operator}, 413},
		{ask{method: "GET", path: account, header: admin}, 200}, {ask{method: "HEAD", path: account, header: admin}, 200}, {ask{method: "GET", path: account, header: ada}, 403}, {ask{method: "PATCH", path: account, body: newAccount(`{"name":"Acme"}`), header: admin}, 200}, {ask{method: "PATCH", path: account, body: newAccount(`{"name":""}`), header: admin}, 400}, {ask{method: "PATCH", path: account, body: newAccount(`{"linkLife":1}`), header: admin}, 422},
		{ask{method: "DELETE", path: accounts + "/shop", header: admin}, 404}, {ask{method: "DELETE", path: accounts + "/shop", header: operator}, 204}, {ask{method: "DELETE", path: account, header: admin}, 403},
		{ask{path: account + "/users", body: newUser(`{"email":"n@example.com","password":"a good phrase","metadata":{"a":1}}`)}, 201}, {ask{path: account + "/users", body: newUser(`{"email":"n@example.com"}`)}, 422}, {ask{path: account + "/users"}, 400}, {ask{path: account + "/users", body: strings.Repeat(" ", 66000)}, 413}, {ask{path: account + "/users", header: ada}, 403},
		{ask{method: "GET", path: account + "/users", header: admin}, 200}, {ask{method: "GET", path: account + "/users?page[number]=1", header: admin}, 200}, {ask{method: "HEAD", path: account + "/users", header: admin}, 200}, {ask{method: "GET", path: account + "/users?limit=0", header: admin}, 400}, {ask{method: "GET", path: account + "/users", header: ada}, 403}, {ask{method: "GET", path: account + "/users"}, 401},
		{ask{method: "PATCH", path: account + "/users/n@example.com", body: newUser(`{"firstName":"N","metadata":{},"password":null}`), header: admin}, 200}, {ask{method: "PATCH", path: account + "/users/n@example.com", body: newUser(`{"email":"ada@example.com"}`), header: admin}, 422}, {ask{method: "PATCH", path: account + "/users/none", body: newUser(`{}`), header: admin}, 404},
		{ask{path: account + "/users/n@example.com/actions/ban", header: admin}, 200}, {ask{path: account + "/users/n@example.com/actions/unban", header: admin}, 200}, {ask{path: account + "/users/boss@example.com/actions/ban", header: admin}, 403}, {ask{method: "DELETE", path: account + "/users/n@example.com", header: admin}, 204}, {ask{method: "DELETE", path: account + "/users/n@example.com", header: admin}, 404},
		{ask{path: account + "/users/ada@example.com/actions/update-password", body: `{"meta":{"oldPassword":"x","newPassword":"y"}}`, header: ada}, 401}, {ask{path: account + "/users/ada@example.com/actions/update-password", body: `{}`, header: ada}, 400},
		{ask{method: "GET", path: account + "/tokens", header: ada}, 200}, {ask{method: "HEAD", path: account + "/tokens", header: ada}, 200}, {ask{method: "GET", path: account + "/tokens?page[number]=1", header: admin}, 200}, {ask{method: "GET", path: account + "/tokens/" + spare, header: ada}, 200}, {ask{method: "GET", path: account + "/tokens/none", header: ada}, 404},
		{ask{method: "PUT", path: account + "/tokens/" + spare, header: ada}, 200}, {ask{method: "PUT", path: account + "/tokens", header: operator}, 403}, {ask{method: "DELETE", path: account + "/tokens/" + spare, header: ada}, 204}, {ask{method: "DELETE", path: account + "/tokens/" + spare, header: ada}, 404},
		{ask{method: "GET", path: account + "/profile", header: ada}, 200}, {ask{method: "GET", path: "/v1/profile", header: operator}, 200}, {ask{method: "GET", path: "/v1/profile"}, 401},
		{ask{method: "GET", path: requests, header: admin}, 200}, {ask{method: "GET", path: requests + "?limit=1", header: operator}, 200}, {ask{method: "HEAD", path: requests, header: admin}, 200}, {ask{method: "GET", path: requests + "?limit=0", header: admin}, 400}, {ask{method: "GET", path: requests}, 401}, {ask{method: "GET", path: requests, header: ada}, 403},
		{ask{method: "GET", path: request, header: admin}, 200}, {ask{method: "HEAD", path: request, header: admin}, 200}, {ask{method: "GET", path: request, header: ada}, 403}, {ask{method: "GET", path: requests + "/none", header: admin}, 404},
		{ask{method: "GET", path: hooks, header: admin}, 200}, {ask{method: "HEAD", path: hooks, header: admin}, 200}, {ask{method: "GET", path: hooks + "?page[number]=1", header: admin}, 200}, {ask{method: "GET", path: hooks + "?limit=0", header: admin}, 400}, {ask{method: "GET", path: hooks}, 401}, {ask{method: "GET", path: hooks, header: ada}, 403},
		{ask{path: hooks, body: newHook(`{"url":"https://hook.example/2"}`), header: admin}, 201}, {ask{path: hooks, body: newHook(`{"url":"http://x"}`), header: admin}, 422}, {ask{path: hooks, header: admin}, 400}, {ask{path: hooks, header: ada}, 403}, {ask{path: hooks, body: strings.Repeat(" ", 17000), header: admin}, 413},
		{ask{method: "GET", path: endpoint, header: admin}, 200}, {ask{method: "HEAD", path: endpoint, header: admin}, 200}, {ask{method: "GET", path: hooks + "/none", header: admin}, 404},
		{ask{method: "PATCH", path: endpoint, body: newHook(`{"subscriptions":["*"]}`), header: admin}, 200}, {ask{method: "PUT", path: endpoint, body: newHook(`{"apiVersion":"1.1"}`), header: admin}, 200}, {ask{method: "PATCH", path: endpoint, body: newHook(`{"subscriptions":[]}`), header: admin}, 422},
		{ask{path: endpoint + "/actions/rotate-secret", header: admin}, 200}, {ask{path: hooks + "/none/actions/rotate-secret", header: admin}, 404}, {ask{path: endpoint + "/actions/enable", header: admin}, 200}, {ask{path: endpoint + "/actions/enable", header: ada}, 403},
		{ask{method: "GET", path: events, header: admin}, 200}, {ask{method: "HEAD", path: events, header: admin}, 200}, {ask{method: "GET", path: events + "?events[]=user.created&page[number]=1", header: admin}, 200}, {ask{method: "GET", path: events + "?limit=0", header: admin}, 400}, {ask{method: "GET", path: events}, 401}, {ask{method: "GET", path: events, header: ada}, 403},
		{ask{method: "GET", path: event, header: admin}, 200}, {ask{method: "HEAD", path: event, header: admin}, 200}, {ask{method: "GET", path: events + "/none", header: admin}, 404}, {ask{path: event + "/actions/retry", header: admin}, 201}, {ask{path: event + "/actions/retry", header: ada}, 403},
		{ask{method: "DELETE", path: endpoint, header: admin}, 204}, {ask{method: "DELETE", path: endpoint, header: admin}, 404}, {ask{path: event + "/actions/retry", header: admin}, 422}, {ask{method: "DELETE", path: event, header: admin}, 204}, {ask{method: "DELETE", path: event, header: admin}, 404},
		{ask{method: "GET", path: suppressions, header: admin}, 200}, {ask{method: "HEAD", path: suppressions, header: admin}, 200}, {ask{method: "GET", path: suppressions + "?limit=0", header: admin}, 400}, {ask{method: "GET", path: suppressions}, 401}, {ask{method: "GET", path: suppressions, header: ada}, 403},
		{ask{path: suppressions, body: `{"meta":{"email":"ada@example.com"}}`, header: admin}, 201}, {ask{path: suppressions, body: `{"meta":{"email":"ada@example.com"}}`, header: admin}, 200}, {ask{path: suppressions, body: `{}`, header: admin}, 400}, {ask{path: suppressions, header: ada}, 403}, {ask{path: suppressions, body: strings.Repeat(" ", 17000), header: admin}, 413},
		{ask{method: "GET", path: one, header: admin}, 200}, {ask{method: "HEAD", path: one, header: admin}, 200}, {ask{method: "GET", path: suppressions + "/none", header: admin}, 404}, {ask{method: "DELETE", path: one, header: ada}, 403}, {ask{method: "DELETE", path: one, header: admin}, 204}, {ask{method: "DELETE", path: one, header: admin}, 404},
		{ask{method: "GET", path: audit, header: admin}, 200}, {ask{method: "HEAD", path: audit, header: admin}, 200}, {ask{method: "GET", path: audit + "?event=x", header: admin}, 400}, {ask{method: "GET", path: audit, header: ada}, 403}, {ask{method: "GET", path: audit}, 401},
		{ask{method: "GET", path: "/v1/audit-events", header: operator}, 200}, {ask{method: "HEAD", path: "/v1/audit-events", header: operator}, 200}, {ask{method: "GET", path: "/v1/audit-events", header: admin}, 403}, {ask{method: "GET", path: "/v1/audit-events?account=x", header: operator}, 400},
		{ask{method: "PUT", path: holds, header: admin}, 200}, {ask{method: "PUT", path: holds + "/post", header: operator}, 200}, {ask{method: "PUT", path: holds + "/none", header: admin}, 404}, {ask{method: "PUT", path: holds, body: `{"a":1}`, header: admin}, 400}, {ask{method: "PUT", path: holds, header: ada}, 403},
		{ask{method: "GET", path: holds, header: admin}, 200}, {ask{method: "HEAD", path: holds, header: admin}, 200}, {ask{method: "DELETE", path: holds + "?rate=0", header: admin}, 400}, {ask{method: "DELETE", path: holds + "/post", header: admin}, 403}, {ask{method: "DELETE", path: holds + "/post?rate=5", header: operator}, 204}, {ask{method: "DELETE", path: holds, header: admin}, 204}, {ask{method: "DELETE", path: holds, header: admin}, 404},
		{ask{method: "PUT", path: "/v1/holds", header: operator}, 200}, {ask{method: "GET", path: "/v1/holds", header: operator}, 200}, {ask{method: "HEAD", path: "/v1/holds", header: operator}, 200}, {ask{method: "PUT", path: "/v1/holds/none", header: operator}, 404}, {ask{method: "DELETE", path: "/v1/holds/none", header: operator}, 404}, {ask{method: "DELETE", path: "/v1/holds", header: operator}, 204}, {ask{method: "DELETE", path: "/v1/holds", header: admin}, 403},
		{ask{path: callback, body: `[]`, header: hook("hook-secret")}, 200}, {ask{path: callback, body: `[]`, header: map[string]string{"Authorization": hook("hook-secret")["Authorization"], "Accept": "application/json"}}, 200}, {ask{path: callback, body: `x`, header: hook("hook-secret")}, 400}, {ask{path: callback, body: `[]`}, 401}, {ask{path: account + "/provider-events/none"}, 404},
		{ask{path: callback, body: strings.Repeat(" ", 1<<20+1)}, 413}, {ask{path: account + "/provider-events/away"}, 503}, {ask{path: callback, body: `[]`, header: hook("wrong")}, 401}, {ask{path: callback, body: `[]`, header: hook("hook-secret")}, 429},
		{ask{path: resetPath, body: strings.Replace(reset("x"), raw, "x", 1)}, 404}, {ask{path: resetPath, body: reset("x")}, 422}, {ask{path: resetPath, body: reset("a long enough phrase")}, 200}, {ask{path: resetPath, body: reset("a long enough phrase")}, 429},
	}
	check := func(a ask, answer reply) error {
		request := got(http.NewRequest(a.method, e.url+a.path, nil))(t)
		request.URL.Scheme, request.URL.Host = "", ""
		route, parameters, err := routes.FindRoute(request)
		if err != nil {
			return err
		}
		return openapi3filter.ValidateResponse(t.Context(), &openapi3filter.ResponseValidationInput{
			RequestValidationInput: &openapi3filter.RequestValidationInput{Request: request, PathParams: parameters, Route: route},
			Status:                 answer.Status, Header: answer.Header, Body: io.NopCloser(bytes.NewReader([]byte(answer.Body))),
			Options: &openapi3filter.Options{IncludeResponseStatus: true},
		})
	}
	var last reply
	for _, a := range asks {
		if a.method == "" {
			a.method = "POST"
		}
		answer := e.do(a.ask)
		if answer.Status != a.status {
			t.Errorf("%s %s: %d %s, want %d", a.method, a.path, answer.Status, answer.Body, a.status)
		}
		if err := check(a.ask, answer); err != nil {
			t.Errorf("%s %s: %v", a.method, a.path, err)
		}
		if a.status == 400 {
			last = answer
		}
	}
	// Positive control: a member too many is found.
	last.Body = strings.Replace(last.Body, `"title"`, `"status":"400","title"`, 1)
	if check(ask{method: "POST", path: account + "/passwords"}, last) == nil {
		t.Error("an answer that is not as described passes")
	}
}
