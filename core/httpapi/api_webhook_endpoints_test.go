package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

const hooks = "/v1/accounts/acme/webhook-endpoints"

func newHook(attributes string) string {
	return `{"data":{"type":"webhook-endpoints","attributes":` + attributes + `}}`
}

// hook makes an endpoint of acme by the API and gives its path.
func (e *edge) hook(attributes string) string {
	e.t.Helper()
	made := e.do(ask{path: hooks, body: newHook(attributes), header: bearer(e.token(e.boss))})
	if made.Status != http.StatusCreated {
		e.t.Fatalf("%d %s", made.Status, made.Body)
	}
	return made.Header.Get("Location")
}

// foreignHook makes an endpoint of another account and gives its id.
func (e *edge) foreignHook(account tenants.Account) core.Endpoint {
	e.t.Helper()
	return got(e.store.CreateEndpoint(e.t.Context(), account.ID, core.Endpoint{
		ID: core.EndpointID(newID()), URL: "https://hook.example", Subscriptions: []core.EventName{core.AllEvents},
		Algorithm: core.SignatureDefault, APIVersion: "1.8", SealedSecret: []byte("sealed"),
	}))(e.t)
}

// contract.md, A6: the resource has no secret; it is beside it, once.
func TestAWebhookEndpointIsMadeChangedAndDeleted(t *testing.T) {
	t.Parallel()
	e := setup(t)
	admin := bearer(e.token(e.boss))
	created := e.do(ask{path: hooks, header: admin, body: `{"data":{"type":"webhookEndpoints","attributes":{"url":"https://Hook.Example:443/x?a=1","subscriptions":["user.created","user.banned","user.created"],"signature_algorithm":"ecdsa-p256","apiVersion":"1.3"}}}`})
	var document struct {
		Data struct{ ID string }
		Meta struct{ Secret string }
	}
	must(t, json.Unmarshal([]byte(created.Body), &document))
	id, account := document.Data.ID, string(e.acme.ID)
	self := "/v1/accounts/" + account + "/webhook-endpoints/" + id
	row := got(e.store.Endpoint(t.Context(), e.acme.ID, core.EndpointID(id)))(t)
	at := row.Created.UTC().Format("2006-01-02T15:04:05.000Z")
	shown := `{"id":"` + id + `","type":"webhook-endpoints","attributes":{"url":"https://hook.example/x?a=1","subscriptions":["user.created","user.banned"],` +
		`"signatureAlgorithm":"ecdsa-p256","apiVersion":"1.3","encryptionKey":null,"status":"ENABLED","disabledReason":null,"failures":0,"failingSince":null,` +
		`"formerSecretUntil":null,"created":"` + at + `","updated":"` + at + `"},` +
		`"relationships":{"account":{"links":{"related":"/v1/accounts/` + account + `"},"data":{"type":"accounts","id":"` + account + `"}}},` +
		`"links":{"self":"` + self + `"}}`
	secret := document.Meta.Secret
	if diff := cmp.Diff(`{"data":`+shown+`,"meta":{"secret":"`+secret+`"}}`, created.Body); diff != "" || created.Status != 201 || created.Header.Get("Location") != self {
		t.Error(created.Status, created.Header.Get("Location"), diff)
	}
	if !strings.HasPrefix(secret, "whsec_") || len(secret) < 40 || strings.Contains(e.logs.String(), secret) {
		t.Errorf("the secret is %q, or in the log", secret)
	}
	for _, path := range []string{self, hooks + "/" + strings.ToUpper(strings.ReplaceAll(id, "-", ""))} {
		if one := e.get(path, admin); one.Status != 200 || one.Body != `{"data":`+shown+`}` {
			t.Errorf("%s: %d %s", path, one.Status, one.Body)
		}
	}
	change := func(method, attributes string) reply {
		t.Helper()
		return e.do(ask{method: method, path: self, body: newHook(attributes), header: admin})
	}
	patched := change("PATCH", `{"subscriptions":["*"]}`)
	if row := got(e.store.Endpoint(t.Context(), e.acme.ID, core.EndpointID(id)))(t); patched.Status != 200 || row.URL != "https://hook.example/x?a=1" || row.Algorithm != core.SignatureECDSA || cmp.Diff(row.Subscriptions, []core.EventName{"*"}) != "" {
		t.Errorf("%d %s, %+v", patched.Status, patched.Body, row)
	}
	if put := change("PUT", `{"encryptionKey":"4uMC8JzTf3dSXWx8pXk2mvLXm2h2oBfFq1S6xEmfWHc="}`); put.Status != 200 || !strings.Contains(put.Body, `"encryptionKey":"age1`) {
		t.Errorf("%d %s", put.Status, put.Body)
	}
	if put := change("PUT", `{"encryptionKey":null}`); put.Status != 200 || !strings.Contains(put.Body, `"encryptionKey":null`) {
		t.Errorf("%d %s", put.Status, put.Body)
	}
	rotated := e.do(ask{path: self + "/actions/rotate-secret", header: admin})
	must(t, json.Unmarshal([]byte(rotated.Body), &document))
	if rotated.Status != 200 || document.Meta.Secret == secret || !strings.HasPrefix(document.Meta.Secret, "whsec_") || strings.Contains(rotated.Body, `"formerSecretUntil":null`) {
		t.Errorf("%d %s", rotated.Status, rotated.Body)
	}
	if enabled := e.do(ask{path: self + "/actions/enable", header: admin}); enabled.Status != 200 || strings.Contains(enabled.Body, "whsec_") {
		t.Errorf("%d %s", enabled.Status, enabled.Body)
	}
	for _, want := range []int{204, 404} {
		if answer := e.do(ask{method: "DELETE", path: self, header: admin}); answer.Status != want {
			t.Errorf("%d %s", answer.Status, answer.Body)
		}
	}
}

// The defaults are contract.md's, A6.
func TestAWebhookEndpointHasDefaults(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.set(e.acme, func(a *tenants.Account) { a.APIVersion = "1.5" })
	e.resolver.Clear()
	shown := e.get(e.hook(`{"url":"https://hook.example"}`), bearer(e.token(e.boss))).one(t).Attributes
	if shown["signatureAlgorithm"] != "ed25519" || shown["apiVersion"] != "1.5" || cmp.Diff(shown["subscriptions"], []any{"*"}) != "" {
		t.Errorf("%v", shown)
	}
}

func TestWebhookEndpointRefusals(t *testing.T) {
	t.Parallel()
	e := setup(t)
	admin := bearer(e.token(e.boss))
	one := e.hook(`{"url":"https://hook.example"}`)
	const fine = `"url":"https://hook.example"`
	url := func(u string) string { return fmt.Sprintf(`{"url":%q}`, u) }
	const (
		invalid  = "Unprocessable Entity | URL_INVALID | /data/attributes/url | must be a whole URL, without user and fragment, on port 443 or one that the operator allows"
		protocol = "Unprocessable Entity | URL_PROTOCOL_INVALID | /data/attributes/url | must begin with https://"
		host     = "Unprocessable Entity | URL_HOST_INVALID | /data/attributes/url | must name a host that is public"
		long     = "Unprocessable Entity | URL_TOO_LONG | /data/attributes/url | is too long (maximum is 4096 characters)"
		key      = "Unprocessable Entity | ENCRYPTION_KEY_INVALID | /data/attributes/encryptionKey | must be an age recipient (age1...) or the 32 bytes of a public X25519 key in base64"
	)
	for attributes, want := range map[string]string{
		url("http://hook.example"): protocol, url("ftp://hook.example"): protocol, url("hook.example"): protocol, url("//hook.example/x"): protocol,
		url("https://u:p@hook.example"): invalid, url("https://hook.example/#x"): invalid, url("https://hook.example:25/"): invalid, url("https://hook.example:99999/"): invalid, url("https:hook"): invalid, url("https://"): invalid, url("https://hook.example/%zz"): invalid,
		url("https://localhost/"): host, url("https://127.0.0.1/"): host, url("https://[::1]/"): host, url("https://169.254.169.254/latest"): host, url("https://10.0.0.1/"): host, url("https://2130706433/"): host, url("https://0x7f.1/"): host, url("https://127.1/"): host, url("https://hook/"): host,
		url("https://db.internal/"): host, url("https://x.local/"): host, url("https://x.svc/"): host, url("https://reset.acme.example/"): host, url("https://RESET.acme.EXAMPLE/"): host, url("https://1.1.1.1/"): host,
		url("https://hook.example/" + strings.Repeat("a", 4096)): long,
		`{"url":42}`:   "Bad Request | - | /data/attributes/url | type mismatch (received integer expected string)",
		`{"url":null}`: "Bad Request | - | /data/attributes/url | cannot be null", `{"url":" "}`: "Bad Request | - | /data/attributes/url | cannot be blank",
		`{` + fine + `,"subscriptions":[]}`:                                             "Unprocessable Entity | SUBSCRIPTIONS_TOO_SHORT | /data/attributes/subscriptions | must name at least one event",
		`{` + fine + `,"subscriptions":"*"}`:                                            "Bad Request | - | /data/attributes/subscriptions | type mismatch (received string expected array)",
		`{` + fine + `,"subscriptions":["user.created",1]}`:                             "Bad Request | - | /data/attributes/subscriptions/1 | type mismatch (received integer expected string)",
		`{` + fine + `,"signatureAlgorithm":"hmac"}`:                                    "Unprocessable Entity | SIGNATURE_ALGORITHM_NOT_ALLOWED | /data/attributes/signatureAlgorithm | must be ed25519, rsa-pss-sha256, rsa-sha256 or ecdsa-p256",
		`{` + fine + `,"apiVersion":"2.0"}`:                                             "Bad Request | - | /data/attributes/apiVersion | is invalid",
		`{` + fine + `,"encryptionKey":"ssh-ed25519 AAAA"}`:                             key,
		`{` + fine + `,"encryptionKey":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}`: key,
		`{` + fine + `,"secret":"whsec_x"}`:                                             "Bad Request | - | /data/attributes/secret | unpermitted parameter",
		`{` + fine + `,"status":"ENABLED"}`:                                             "Bad Request | - | /data/attributes/status | unpermitted parameter",
	} {
		if line := e.do(ask{path: hooks, body: newHook(attributes), header: admin}).line(t); line != want {
			t.Errorf("POST %.80s\n got %s\nwant %s", attributes, line, want)
		}
		if line := e.do(ask{method: "PATCH", path: one, body: newHook(attributes), header: admin}).line(t); line != want {
			t.Errorf("PATCH %.80s\n got %s\nwant %s", attributes, line, want)
		}
	}
	if line := e.do(ask{path: hooks, body: newHook(`{` + fine + `,"subscriptions":["license.created"]}`), header: admin}).line(t); !strings.HasPrefix(line, "Unprocessable Entity | SUBSCRIPTIONS_NOT_ALLOWED | /data/attributes/subscriptions | names an event that there is not (events are *, user.created, ") {
		t.Error(line)
	}
	for body, want := range map[string]string{
		``: "/data | is missing", `[]`: "/data | unpermitted parameter", `{"data":{"attributes":{}}}`: "/data/type | is missing", `{"data":{"type":"webhooks","attributes":{` + fine + `}}}`: "/data/type | is invalid",
		`{"data":{"type":"webhook_endpoint"}}`: "/data/attributes | is missing", newHook(`{}`): "/data/attributes/url | is missing",
		`{"data":{"type":"webhook-endpoint","attributes":{` + fine + `},"relationships":{"product":{}}}}`: "/data/relationships | unpermitted parameter",
	} {
		if line := e.do(ask{path: hooks, body: body, header: admin}).line(t); line != "Bad Request | - | "+want {
			t.Errorf("%s: %s", body, line)
		}
	}
	if line := e.do(ask{method: "PATCH", path: one, body: `{"data":{"type":"webhook-endpoints","id":"` + newID() + `"}}`, header: admin}).line(t); line != "Bad Request | - | /data/id | does not name the webhook endpoint of the path" {
		t.Error(line)
	}
	for _, action := range []string{"rotate-secret", "enable"} {
		if line := e.do(ask{path: one + "/actions/" + action, body: `{"meta":{}}`, header: admin}).line(t); line != "Bad Request | - | /meta | unpermitted parameter" {
			t.Error(line)
		}
	}
	if all := got(e.store.Endpoints(t.Context(), e.acme.ID, "", 100))(t); len(all) != 1 || all[0].URL != "https://hook.example" {
		t.Errorf("what was refused changed something: %+v", all)
	}
	for range core.MaxEndpoints - 1 {
		e.hook(`{"url":"https://hook.example:8443/"}`) // a port that the operator allows
	}
	if line := e.do(ask{path: hooks, body: newHook(`{` + fine + `}`), header: admin}).line(t); line != "Unprocessable Entity | WEBHOOK_ENDPOINTS_LIMIT_EXCEEDED | /data | There can be 20 webhook endpoints at most" {
		t.Error(line)
	}
}

func TestListOfWebhookEndpoints(t *testing.T) {
	t.Parallel()
	e := setup(t)
	boss := e.token(e.boss)
	var all []string
	for range 5 {
		path := e.hook(`{"url":"https://hook.example"}`)
		all = append([]string{path[len(path)-36:]}, all...)
	}
	e.foreignHook(e.other)
	for _, size := range []int{1, 2, 5, 10} {
		var seen []string
		for next := fmt.Sprintf("%s?page[size]=%d", hooks, size); next != "" && len(seen) < 10; {
			found := e.requests(next, boss)
			seen, next = append(seen, found.IDs...), found.Next
		}
		if diff := cmp.Diff(all, seen); diff != "" {
			t.Errorf("size %d: %s", size, diff)
		}
	}
	ids := func(query string) []string { return e.requests(hooks+"?"+query, boss).IDs }
	for query, want := range map[string][]string{
		"page[number]=2&page[size]=2": all[2:4], "page[number]=3&page[size]=2": all[4:], "order=asc&limit=2": {all[4], all[3]},
		"order=asc&page[size]=2&page[cursor]=" + all[3]: {all[2], all[1]}, "page[cursor]=" + all[4]: {},
	} {
		if diff := cmp.Diff(want, append([]string{}, ids(query)...)); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
	}
	numbered := e.get(hooks+"?page[number]=2&page[size]=2", bearer(boss)).Body
	for _, want := range []string{`"prev":"/v1/accounts/acme/webhook-endpoints?`, `"first":`, `"meta":{"pages":3,"count":5}`} {
		if !strings.Contains(numbered, want) {
			t.Errorf("%s is not in %s", want, numbered)
		}
	}
}

// Who reads the account reads its webhooks, who governs it changes them; another
// account's are as absent as what does not exist; a paused account has none to show.
func TestWhoSeesWebhooks(t *testing.T) {
	t.Parallel()
	e := setup(t)
	own := e.hook(`{"url":"https://hook.example"}`)
	event := "/v1/accounts/acme/webhook-events/" + e.happened(e.acme)
	reader, developer := e.user(e.acme, "reader@example.com", core.RoleReadOnly), e.user(e.acme, "dev@example.com", core.RoleDeveloper)
	stranger := e.user(e.other, "boss@example.com", core.RoleAdmin)
	bearers := []map[string]string{bearer(e.operatorToken()), bearer(e.token(e.boss)), bearer(e.token(reader)), bearer(e.token(developer)), bearer(e.token(e.ada)), bearer(e.token(stranger)), nil}
	url := newHook(`{"url":"https://hook.example/y"}`)
	routes := []struct {
		method, path, body string
		want               []int // operator, admin, read-only, developer, user, another account's admin, nobody
	}{
		{"GET", hooks, "", []int{200, 200, 200, 200, 403, 404, 401}},
		{"POST", hooks, url, []int{201, 201, 403, 403, 403, 404, 401}},
		{"GET", own, "", []int{200, 200, 200, 200, 403, 404, 401}},
		{"PATCH", own, url, []int{200, 200, 403, 403, 403, 404, 401}},
		{"PUT", own, url, []int{200, 200, 403, 403, 403, 404, 401}},
		{"POST", own + "/actions/rotate-secret", "", []int{200, 200, 403, 403, 403, 404, 401}},
		{"POST", own + "/actions/enable", "", []int{200, 200, 403, 403, 403, 404, 401}},
		{"GET", "/v1/accounts/acme/webhook-events", "", []int{200, 200, 200, 200, 403, 404, 401}},
		{"GET", event, "", []int{200, 200, 200, 200, 403, 404, 401}},
		{"POST", event + "/actions/retry", "", []int{201, 201, 403, 403, 403, 404, 401}},
		{"DELETE", event, "", []int{0, 204, 403, 403, 403, 404, 401}},
		{"DELETE", own, "", []int{0, 204, 403, 403, 403, 404, 401}},
	}
	for _, c := range routes {
		for i, header := range bearers {
			if i == 1 && c.method == "DELETE" || c.want[i] == 0 {
				continue // last of all, below
			}
			if answer := e.do(ask{method: c.method, path: c.path, body: c.body, header: header}); answer.Status != c.want[i] {
				t.Errorf("%s %s, bearer %d: %d %s, want %d", c.method, c.path, i, answer.Status, answer.Body, c.want[i])
			}
		}
	}
	e.set(e.acme, func(a *tenants.Account) { a.Status = tenants.StatusPaused })
	e.resolver.Clear()
	for _, c := range routes {
		if answer := e.do(ask{method: c.method, path: c.path, body: c.body, header: bearers[1]}); answer.Status != 403 || !strings.Contains(answer.Body, "Account does not have an active subscription") {
			t.Errorf("paused, %s %s: %d %s", c.method, c.path, answer.Status, answer.Body)
		}
	}
	e.set(e.acme, func(a *tenants.Account) { a.Status = tenants.StatusActive })
	e.resolver.Clear()

	e.foreignHook(e.other)
	foreignEvent := e.happened(e.other)
	foreignHook := string(got(e.store.Endpoints(t.Context(), e.other.ID, "", 1))(t)[0].ID)
	for _, c := range routes {
		collection, rest, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(c.path, "/v1/accounts/"+string(e.acme.ID)), "/v1/accounts/acme"), "/actions")
		parts := strings.Split(collection, "/")
		if len(parts) < 3 {
			continue
		}
		foreign := map[string]string{"webhook-endpoints": foreignHook, "webhook-events": foreignEvent}[parts[1]]
		absent := func(id string) string {
			path := "/v1/accounts/acme/" + parts[1] + "/" + id
			if rest != "" {
				path += "/actions" + rest
			}
			return strings.ReplaceAll(e.do(ask{method: c.method, path: path, body: c.body, header: bearers[1]}).fingerprint(), "'"+id+"'", "ID")
		}
		unknown := absent(newID())
		if !strings.Contains(unknown, "NOT_FOUND") || !strings.Contains(unknown, "ID was not found") {
			t.Errorf("%s %s: %s", c.method, c.path, unknown)
		}
		if diff := cmp.Diff(unknown, absent(foreign)); diff != "" {
			t.Errorf("%s %s: %s", c.method, c.path, diff)
		}
		if no := absent("x"); !strings.Contains(no, "NOT_FOUND") {
			t.Errorf("%s %s: %s", c.method, c.path, no)
		}
	}
	if len(got(e.store.Endpoints(t.Context(), e.other.ID, "", 9))(t)) != 1 || len(e.eventsOf(e.other)) != 1 {
		t.Error("another account's are touched")
	}
	for _, c := range routes[len(routes)-2:] {
		if answer := e.do(ask{method: c.method, path: c.path, header: bearers[1]}); answer.Status != 204 {
			t.Errorf("the control: %s %s: %d", c.method, c.path, answer.Status)
		}
	}
}

// What is not of the path is written in one place: the secret of a call made again is
// the one that was made.
func TestAWebhookEndpointIsMadeOnceForAKey(t *testing.T) {
	t.Parallel()
	e := setup(t)
	header := bearer(e.token(e.boss))
	header["Idempotency-Key"] = "once"
	first := e.do(ask{path: hooks, body: newHook(`{"url":"https://hook.example"}`), header: header})
	again := e.do(ask{path: hooks, body: newHook(`{"url":"https://hook.example"}`), header: header})
	if first.Status != 201 || again.Body != first.Body || len(got(e.store.Endpoints(t.Context(), e.acme.ID, "", 9))(t)) != 1 {
		t.Errorf("%d %s\n%d %s", first.Status, first.Body, again.Status, again.Body)
	}
}
