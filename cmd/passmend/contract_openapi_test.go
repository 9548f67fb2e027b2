package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/passmend/passmend/core/httpapi/contract"
)

// witness holds every call of a run against the description of the API.
type witness struct {
	t        *testing.T
	document *openapi3.T
	routes   routers.Router

	mu       sync.Mutex
	seen     map[string]map[int]int   // how often, by operation and status
	gets     map[string]*http.Request // one each, by host and operation
	problems []string
}

func newWitness(t *testing.T) *witness {
	t.Helper()
	document, err := openapi3.NewLoader().LoadFromFile("../../core/httpapi/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := document.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	routes, err := gorillamux.NewRouter(document)
	if err != nil {
		t.Fatal(err)
	}
	return &witness{t: t, document: document, routes: routes, seen: make(map[string]map[int]int), gets: make(map[string]*http.Request)}
}

// loose are the sections about what is taken besides what is described: other media
// types, other spellings of members.
var loose = []string{"C1", "C2", "C3", "C6", "C7"}

// client gives one that is watched; a site in development takes more than is described.
func (w *witness) client(section string, development bool) *http.Client {
	return &http.Client{
		Timeout:       time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     watched{w, !development && !slices.Contains(loose, section)},
	}
}

type watched struct {
	*witness
	strict bool // what was accepted must be as described
}

// RoundTrip implements http.RoundTripper.
func (w watched) RoundTrip(request *http.Request) (*http.Response, error) {
	var sent []byte
	if request.Body != nil {
		var err error
		if sent, err = io.ReadAll(request.Body); err != nil {
			return nil, err
		}
		request.Body = io.NopCloser(bytes.NewReader(sent))
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	got, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if err := response.Body.Close(); err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(got))
	w.look(request, sent, response, got)
	return response, nil
}

// look holds one call against the description. What is sent to no route of it has to
// be a 400 or a 404, or the answer to a preflight.
func (w watched) look(request *http.Request, sent []byte, response *http.Response, got []byte) {
	plain := request.Clone(request.Context())
	plain.URL.Scheme, plain.URL.Host, plain.Host = "", "", ""
	plain.URL.Path = strings.TrimSuffix(strings.TrimSuffix(plain.URL.Path, ".json"), ".xml")
	plain.URL.RawPath = ""
	plain.Body = io.NopCloser(bytes.NewReader(sent))
	route, parameters, err := w.routes.FindRoute(plain)
	if err != nil && strings.HasPrefix(plain.URL.Path, "/v1/") && !strings.HasPrefix(plain.URL.Path, "/v1/accounts") {
		plain.URL.Path = "/v1/accounts/none" + strings.TrimPrefix(plain.URL.Path, "/v1") // described once
		route, parameters, err = w.routes.FindRoute(plain)
	}
	if err != nil {
		if response.StatusCode/100 == 2 && request.Method != http.MethodOptions && !strings.HasPrefix(request.URL.Path, "/dev/") {
			w.problem("%s %s: %d, and there is no such route in the description", request.Method, request.URL.Path, response.StatusCode)
		}
		return
	}
	input := &openapi3filter.RequestValidationInput{
		Request: plain, PathParams: parameters, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	}
	w.note(route.Operation.OperationID, response.StatusCode, request)
	if w.strict && response.StatusCode/100 == 2 {
		if err := openapi3filter.ValidateRequest(request.Context(), input); err != nil {
			w.problem("%s %s was accepted: %v", request.Method, route.Path, err)
		}
	}
	err = openapi3filter.ValidateResponse(request.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: response.StatusCode, Header: response.Header, Body: io.NopCloser(bytes.NewReader(got)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	})
	if err != nil {
		w.problem("%s %s: %d %s: %v", request.Method, route.Path, response.StatusCode, got, err)
	}
}

func (w *witness) note(operation string, status int, request *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen[operation] == nil {
		w.seen[operation] = make(map[int]int)
	}
	w.seen[operation][status]++
	if key := request.URL.Host + " " + operation; request.Method == http.MethodGet && w.gets[key] == nil {
		w.gets[key] = request.Clone(w.t.Context())
	}
}

func (w *witness) problem(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if text := fmt.Sprintf(format, args...); len(w.problems) < 50 {
		w.problems = append(w.problems, text)
	}
}

// beside calls what is ours and in no line of the contract, and every GET as HEAD.
func (w *witness) beside(t *testing.T, s *site, target contract.Target) {
	t.Helper()
	client := w.client("beside", false)
	call := func(method, path, token, body string) string {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, s.base+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if body != "" {
			request.Header.Set("Content-Type", "application/vnd.api+json")
		}
		if token != "" {
			request.Header.Set("Authorization", "Bearer "+token)
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		content, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	const account = "/v1/accounts/acme"
	id := func(document string) string {
		found := uuidIn.FindString(document)
		if found == "" {
			t.Fatalf("no id in %s", document)
		}
		return found
	}
	admin := target.AdminToken
	call("GET", "/v1/accounts", target.OperatorToken, "")
	call("GET", "/v1/me", admin, "")
	call("GET", "/v1/profile", admin, "")
	requests := call("GET", account+"/password-requests", admin, "")
	call("GET", account+"/password-requests/"+id(requests), admin, "")
	suppression := id(call("POST", account+"/suppressions", admin, `{"meta":{"email":"gone@example.com"}}`))
	call("GET", account+"/suppressions", admin, "")
	call("GET", account+"/suppressions/"+suppression, admin, "")
	call("DELETE", account+"/suppressions/"+suppression, admin, "")
	call("POST", account+"/provider-events/relay", "", "[]")
	hook := id(call("POST", account+"/webhook-endpoints", admin, `{"data":{"type":"webhook-endpoints","attributes":{"url":"https://hooks.example.com/x"}}}`))
	for _, action := range []string{"enable", "rotate-secret"} {
		call("POST", account+"/webhook-endpoints/"+hook+"/actions/"+action, admin, "")
	}
	operator := target.OperatorToken
	call("GET", "/v1/audit-events", operator, "")
	call("GET", account+"/audit-events", admin, "")
	for _, hold := range []struct{ path, token string }{{"/v1/holds", operator}, {"/v1/holds/relay", operator}, {account + "/holds", admin}, {account + "/holds/relay", admin}} {
		call("PUT", hold.path, hold.token, "")
		if !strings.HasSuffix(hold.path, "/relay") {
			call("GET", hold.path, hold.token, "")
		}
		call("DELETE", hold.path, hold.token, "")
	}
	w.mu.Lock()
	gets := w.gets
	w.gets = make(map[string]*http.Request)
	w.mu.Unlock()
	for key, request := range gets {
		if !strings.HasPrefix("http://"+key, s.base+" ") {
			continue // of the other site, which may be gone
		}
		request.Method = http.MethodHead
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
	}
}

// verdict: every answer was as described, and every operation that is described was
// called and answered as it should be.
func (w *witness) verdict(t *testing.T) {
	for _, problem := range w.problems {
		t.Error(problem)
	}
	for path, item := range w.document.Paths.Map() {
		for method, operation := range item.Operations() {
			statuses := w.seen[operation.OperationID]
			// The site's provider reads no callbacks, and is not the account's own.
			succeeded := slices.Contains([]string{"takeProviderEvents", "holdProvider", "releaseProvider"}, operation.OperationID)
			for status := range statuses {
				succeeded = succeeded || status/100 == 2
			}
			if len(statuses) == 0 || !succeeded && method != http.MethodHead {
				t.Errorf("%s %s was never called with success: %v", method, path, statuses)
			}
		}
	}
}

// Positive control: an answer that is not as described is found, and so is a call.
func TestContractWitnessSeesWhatIsNotDescribed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		method, path, body string
		status             int
		answer             string
	}{
		"a status":        {"GET", "/v1/ping", "", 418, ""},
		"a member":        {"POST", "/v1/accounts/acme/passwords", `{"meta":{"email":"a@example.com"}}`, 400, `{"errors":[{"title":"x","detail":"y","status":"400"}]}`},
		"a route":         {"GET", "/v1/accounts/acme/licenses", "", 200, `{}`},
		"an accepted one": {"POST", "/v1/accounts/acme/passwords", `{"meta":{"email":1}}`, 202, ``},
	} {
		w := newWitness(t)
		request, err := http.NewRequestWithContext(t.Context(), c.method, "http://127.0.0.1"+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/vnd.api+json")
		header := http.Header{"Content-Type": {"application/vnd.api+json"}}
		watched{w, true}.look(request, []byte(c.body), &http.Response{StatusCode: c.status, Header: header}, []byte(c.answer))
		if len(w.problems) != 1 {
			t.Errorf("%s that is not described: %q", name, w.problems)
		}
	}
}
