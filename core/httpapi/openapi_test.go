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

	"github.com/passmend/passmend/core/httpapi"
)

// Real answers are held against the description, of every route and of every
// status that can be had here.
func TestOpenAPIDescribesTheAnswers(t *testing.T) {
	t.Parallel()
	document := got(openapi3.NewLoader().LoadFromFile("openapi.yaml"))(t)
	must(t, document.Validate(t.Context()))
	routes := got(gorillamux.NewRouter(document))(t)

	e := setup(t, func(c *httpapi.Config) { c.Limits.Mutpwd = parsed(t, "3/h") })
	e.userWithPassword(e.acme, "pat@example.com", nil)
	admin, ada, operator := bearer(e.token(e.boss)), bearer(e.token(e.ada)), bearer(e.operatorToken())
	raw := e.link(e.acme, "boss@example.com")
	reset := func(password string) string {
		return fmt.Sprintf(`{"meta":{"passwordResetToken":%q,"newPassword":%q}}`, raw, password)
	}
	const account = "/v1/accounts/acme"
	resetPath := account + "/users/" + string(e.boss.ID) + "/actions/reset-password"
	requests, request := account+"/password-requests", account+"/password-requests/"+e.requested(e.acme, "ada@example.com")
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
		{ask{method: "GET", path: requests, header: admin}, 200}, {ask{method: "GET", path: requests + "?limit=1", header: operator}, 200}, {ask{method: "HEAD", path: requests, header: admin}, 200}, {ask{method: "GET", path: requests + "?limit=0", header: admin}, 400}, {ask{method: "GET", path: requests}, 401}, {ask{method: "GET", path: requests, header: ada}, 403},
		{ask{method: "GET", path: request, header: admin}, 200}, {ask{method: "HEAD", path: request, header: admin}, 200}, {ask{method: "GET", path: request, header: ada}, 403}, {ask{method: "GET", path: requests + "/none", header: admin}, 404},
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
