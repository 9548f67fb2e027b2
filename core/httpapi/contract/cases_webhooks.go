package contract

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

const (
	endpointsPath = "P/webhook-endpoints"
	eventsPath    = "P/webhook-events"
	hookURL       = "https://hooks.contract.example/passmend?a=1"
)

func newEndpoint(attributes string) string {
	return `{"data":{"type":"webhook-endpoints","attributes":` + attributes + `}}`
}

// endpoint makes a webhook endpoint, and takes it away again.
func (r *run) endpoint(attributes string) resource {
	got := r.one(r.expect(http.StatusCreated, ask{path: endpointsPath, as: r.AdminToken, body: newEndpoint(attributes)}))
	r.undo = append(r.undo, func() {
		if gone := r.send(ask{method: http.MethodDelete, path: endpointsPath + "/" + got.ID, as: r.AdminToken}); gone.status != http.StatusNoContent && gone.status != http.StatusNotFound {
			r.errorf("clean up: %s", gone)
		}
	})
	return got
}

// strings of an attribute that is a list.
func (d resource) list(name string) (items []string) {
	_ = json.Unmarshal(d.Attributes[name], &items)
	return items
}

func noEndpoint(id string) refusal {
	return refusal{404, "NOT_FOUND", "", "The requested webhook-endpoint '" + id + "' was not found"}
}

// endpointCases are A6.
func endpointCases() []Case {
	get, patch, put, del := http.MethodGet, http.MethodPatch, http.MethodPut, http.MethodDelete
	one := func(d resource) string { return endpointsPath + "/" + d.ID }
	cases := []Case{
		{"A6/create", "", admin, func(r *run) {
			made := r.expect(http.StatusCreated, ask{path: endpointsPath, as: r.AdminToken, body: newEndpoint(`{"url":` + quote(hookURL) + `}`)})
			got := r.one(made)
			r.undo = append(r.undo, func() { r.send(ask{method: del, path: one(got), as: r.AdminToken}) })
			r.check(got.Type == "webhook-endpoints" && strings.HasSuffix(made.header.Get("Location"), "/webhook-endpoints/"+got.ID), "Location %q", made.header.Get("Location"))
			r.check(got.text("url") == hookURL && got.text("signatureAlgorithm") == "ed25519" && slices.Equal(got.list("subscriptions"), []string{"*"}), "%s", made)
			for _, name := range []string{"url", "subscriptions", "signatureAlgorithm", "apiVersion", "created", "updated"} {
				_, there := got.Attributes[name]
				r.check(there, "no attribute %s", name)
			}
		}},
		{"A6/subscriptions-are-told-once", "", admin, func(r *run) {
			got := r.endpoint(`{"url":` + quote(hookURL) + `,"subscriptions":["user.created","user.created","user.deleted"]}`)
			r.check(slices.Equal(got.list("subscriptions"), []string{"user.created", "user.deleted"}), "subscriptions %s", got.Attributes["subscriptions"])
		}},
		{"A6/api-version", "", admin, func(r *run) {
			got := r.endpoint(`{"url":` + quote(hookURL) + `,"apiVersion":"1.3"}`)
			r.check(got.text("apiVersion") == "1.3", "apiVersion %s", got.Attributes["apiVersion"])
		}},
		{"A6/show", "", admin, func(r *run) {
			made := r.endpoint(`{"url":` + quote(hookURL) + `}`)
			shown := r.expect(http.StatusOK, ask{method: get, path: one(made), as: r.AdminToken})
			r.check(r.one(shown).ID == made.ID, "%s", shown)
			r.check(!strings.Contains(shown.body, "whsec_"), "a secret is shown again")
		}},
		{"A6/list", "", admin, func(r *run) {
			made := r.endpoint(`{"url":` + quote(hookURL) + `}`)
			listed := r.many(r.expect(http.StatusOK, ask{method: get, path: endpointsPath + "?limit=100", as: r.AdminToken}))
			r.check(slices.ContainsFunc(listed.Data, func(d resource) bool { return d.ID == made.ID }), "it is not listed")
		}},
		{"A6/delete", "", admin, func(r *run) {
			made := r.endpoint(`{"url":` + quote(hookURL) + `}`)
			gone := r.expect(http.StatusNoContent, ask{method: del, path: one(made), as: r.AdminToken})
			r.check(gone.body == "", "a body: %s", gone)
			r.refuses(ask{method: get, path: one(made), as: r.AdminToken}, noEndpoint(made.ID))
			r.refuses(ask{method: del, path: one(made), as: r.AdminToken}, noEndpoint(made.ID))
		}},
		{"A6/unknown", "", admin, func(r *run) {
			for _, method := range []string{get, patch, del} {
				a := ask{method: method, path: endpointsPath + "/" + nobody, as: r.AdminToken}
				if method == patch {
					a.body = newEndpoint(`{}`)
				}
				r.refuses(a, noEndpoint(nobody))
			}
		}},
		{"A6/without-token", "", nothing, func(r *run) {
			r.refuses(ask{method: get, path: endpointsPath}, refusal{401, "TOKEN_MISSING", "", ""})
		}},
		{"A6/as-user", "", admin, func(r *run) {
			session, made := r.signIn(r.user()), r.endpoint(`{"url":`+quote(hookURL)+`}`)
			for _, a := range []ask{{method: get, path: endpointsPath}, {path: endpointsPath, body: newEndpoint(`{"url":` + quote(hookURL) + `}`)}, {method: get, path: one(made)}, {method: del, path: one(made)}} {
				a.as = session
				answer := r.send(a)
				r.check(answer.status == 403 || answer.status == 404, "%s: want 403 or 404", answer)
			}
		}},
		{"A6/read-only-reads", "", admin, func(r *run) {
			session, made := r.signIn(r.userWith(`"role":"read-only","password":`+quote(password))), r.endpoint(`{"url":`+quote(hookURL)+`}`)
			r.expect(http.StatusOK, ask{method: get, path: endpointsPath, as: session})
			r.expect(http.StatusOK, ask{method: get, path: one(made), as: session})
			for _, a := range []ask{{path: endpointsPath, body: newEndpoint(`{"url":` + quote(hookURL) + `}`)}, {method: patch, path: one(made), body: newEndpoint(`{"subscriptions":["*"]}`)}, {method: del, path: one(made)}} {
				a.as = session
				r.refuses(a, refusal{403, "", "", ""})
			}
		}},
		{"A6/url-localhost", "", admin, func(r *run) {
			if r.send(ask{method: get, path: "/dev/mailbox"}).status == http.StatusOK {
				r.skipf("the server is in development mode, where webhooks may go to its own machine")
			}
			r.refuses(ask{path: endpointsPath, as: r.AdminToken, body: newEndpoint(`{"url":"https://localhost/"}`)}, refusal{422, "URL_HOST_INVALID", "/data/attributes/url", ""})
		}},
		{"A6/endpoint-of-another-account", "", admin | operator, func(r *run) {
			made, t := r.endpoint(`{"url":`+quote(hookURL)+`}`), r.tenant("")
			r.refuses(ask{method: get, path: t.path() + "/webhook-endpoints/" + made.ID, as: t.admin}, noEndpoint(made.ID))
		}},
	}
	for _, method := range []string{patch, put} {
		cases = append(cases, Case{"A6/change-by-" + strings.ToLower(method), "", admin, func(r *run) {
			made := r.endpoint(`{"url":` + quote(hookURL) + `,"subscriptions":["user.created"]}`)
			got := r.one(r.expect(http.StatusOK, ask{method: method, path: one(made), as: r.AdminToken,
				body: newEndpoint(`{"url":"https://other.contract.example/","subscriptions":["*"],"signatureAlgorithm":"rsa-sha256"}`)}))
			r.check(got.text("url") == "https://other.contract.example/" && slices.Equal(got.list("subscriptions"), []string{"*"}) && got.text("signatureAlgorithm") == "rsa-sha256", "%v", got.Attributes)
		}})
	}
	for _, kind := range []string{"webhook-endpoint", "webhook-endpoints", "webhookEndpoint", "webhookEndpoints", "webhook_endpoint", "webhook_endpoints"} {
		cases = append(cases, Case{"A6/type-" + kind, "", admin, func(r *run) {
			made := r.one(r.expect(http.StatusCreated, ask{path: endpointsPath, as: r.AdminToken, body: `{"data":{"type":` + quote(kind) + `,"attributes":{"url":` + quote(hookURL) + `}}}`}))
			r.expect(http.StatusNoContent, ask{method: del, path: one(made), as: r.AdminToken})
		}})
	}
	for _, algorithm := range algorithms {
		cases = append(cases, Case{"A6/algorithm-" + algorithm, "", admin, func(r *run) {
			got := r.endpoint(`{"url":` + quote(hookURL) + `,"signatureAlgorithm":` + quote(algorithm) + `}`)
			r.check(got.text("signatureAlgorithm") == algorithm, "%s", got.Attributes["signatureAlgorithm"])
		}})
	}
	for _, c := range []struct {
		name, ruling, attributes string
		want                     refusal
	}{
		{"url-missing", "", `{}`, refusal{400, "", "/data/attributes/url", "is missing"}},
		{"url-null", "", `{"url":null}`, refusal{400, "", "/data/attributes/url", "cannot be null"}},
		{"url-array", "", `{"url":[` + quote(hookURL) + `]}`, refusal{400, "", "/data/attributes/url", "type mismatch (received array expected string)"}},
		{"url-ftp", "", `{"url":"ftp://hooks.contract.example/"}`, refusal{422, "URL_PROTOCOL_INVALID", "/data/attributes/url", ""}},
		{"url-http", "", `{"url":"http://hooks.contract.example/"}`, refusal{422, "URL_PROTOCOL_INVALID", "/data/attributes/url", ""}},
		{"url-address", "", `{"url":"https://192.0.2.1/"}`, refusal{422, "URL_HOST_INVALID", "/data/attributes/url", ""}},
		{"url-metadata-address", "", `{"url":"https://169.254.169.254/latest"}`, refusal{422, "URL_HOST_INVALID", "/data/attributes/url", ""}},
		{"url-one-label", "", `{"url":"https://intranet/"}`, refusal{422, "URL_HOST_INVALID", "/data/attributes/url", ""}},
		{"url-local", "R13", `{"url":"https://printer.local/"}`, refusal{422, "URL_HOST_INVALID", "/data/attributes/url", ""}},
		{"url-with-user", "R13", `{"url":"https://a:b@hooks.contract.example/"}`, refusal{422, "URL_INVALID", "/data/attributes/url", ""}},
		{"url-none", "", `{"url":"https://%zz"}`, refusal{422, "URL_INVALID", "/data/attributes/url", ""}},
		{"url-too-long", "", `{"url":"https://hooks.contract.example/` + strings.Repeat("x", 4100) + `"}`, refusal{422, "URL_TOO_LONG", "/data/attributes/url", ""}},
		{"subscriptions-empty", "", `{"url":` + quote(hookURL) + `,"subscriptions":[]}`, refusal{422, "SUBSCRIPTIONS_TOO_SHORT", "/data/attributes/subscriptions", ""}},
		{"subscriptions-unknown", "", `{"url":` + quote(hookURL) + `,"subscriptions":["user.exploded"]}`, refusal{422, "SUBSCRIPTIONS_NOT_ALLOWED", "/data/attributes/subscriptions", ""}},
		{"subscriptions-string", "", `{"url":` + quote(hookURL) + `,"subscriptions":"*"}`, refusal{400, "", "/data/attributes/subscriptions", "type mismatch (received string expected array)"}},
		{"algorithm-unknown", "", `{"url":` + quote(hookURL) + `,"signatureAlgorithm":"md5"}`, refusal{422, "SIGNATURE_ALGORITHM_NOT_ALLOWED", "/data/attributes/signatureAlgorithm", ""}},
		{"version-unknown", "", `{"url":` + quote(hookURL) + `,"apiVersion":"9.9"}`, refusal{400, "", "/data/attributes/apiVersion", "is invalid"}},
		{"member-unknown", "", `{"url":` + quote(hookURL) + `,"secret":"x"}`, refusal{400, "", "/data/attributes/secret", "unpermitted parameter"}},
	} {
		cases = append(cases, Case{"A6/" + c.name, c.ruling, admin, func(r *run) {
			r.refuses(ask{path: endpointsPath, as: r.AdminToken, body: newEndpoint(c.attributes)}, c.want)
		}})
	}
	return cases
}

var idempotencyToken = regexp.MustCompile(`^.{62}v3$`)

func noEvent(id string) refusal {
	return refusal{404, "NOT_FOUND", "", "The requested webhook-event '" + id + "' was not found"}
}

// happened makes an event that an endpoint of this case is told of, and gives it.
func (r *run) happened() (endpoint, event resource) {
	endpoint = r.endpoint(`{"url":` + quote(hookURL) + `,"subscriptions":["user.created"]}`)
	p := r.user()
	r.eventually("the event is listed", func() bool {
		listed := r.many(r.expect(http.StatusOK, ask{method: http.MethodGet, path: eventsPath + "?limit=100&events[]=user.created", as: r.AdminToken}))
		for _, d := range listed.Data {
			if strings.Contains(d.text("payload"), p.id) {
				event = d
			}
		}
		return event.ID != ""
	})
	return endpoint, event
}

// eventCases are A7.
func eventCases() []Case {
	get, del := http.MethodGet, http.MethodDelete
	one := func(d resource) string { return eventsPath + "/" + d.ID }
	return []Case{
		{"A7/attributes", "", admin, func(r *run) {
			_, event := r.happened()
			for _, name := range []string{"endpoint", "apiVersion", "payload", "event", "status", "lastResponseCode", "lastResponseBody", "created", "updated"} {
				_, there := event.Attributes[name]
				r.check(there, "no attribute %s", name)
			}
			r.check(event.Type == "webhook-events" && event.text("endpoint") == hookURL && event.text("event") == "user.created", "%v", event.Attributes)
			r.check(slices.Contains([]string{"DELIVERING", "DELIVERED", "FAILING", "FAILED"}, event.text("status")), "status %s", event.Attributes["status"])
			var payload struct{ Data resource }
			r.check(json.Unmarshal([]byte(event.text("payload")), &payload) == nil && payload.Data.Type == "users", "payload %s", event.Attributes["payload"])
		}},
		{"A7/idempotency-token", "", admin, func(r *run) {
			_, event := r.happened()
			r.check(idempotencyToken.MatchString(event.Meta["idempotencyToken"]), "meta.idempotencyToken %q", event.Meta["idempotencyToken"])
		}},
		{"A7/show", "", admin, func(r *run) {
			_, event := r.happened()
			shown := r.one(r.expect(http.StatusOK, ask{method: get, path: one(event), as: r.AdminToken}))
			r.check(shown.ID == event.ID && shown.text("payload") == event.text("payload"), "want the event as in the list")
		}},
		{"A7/list-filters", "", admin, func(r *run) {
			_, event := r.happened()
			listed := r.many(r.expect(http.StatusOK, ask{method: get, path: eventsPath + "?limit=100&events[]=user.deleted", as: r.AdminToken}))
			r.check(!slices.ContainsFunc(listed.Data, func(d resource) bool { return d.ID == event.ID }), "another event is listed")
		}},
		{"A7/list-has-no-counts", "", admin, func(r *run) {
			listed := r.many(r.expect(http.StatusOK, ask{method: get, path: eventsPath + "?limit=1", as: r.AdminToken}))
			for _, name := range []string{"first", "last", "meta"} {
				_, there := listed.Links[name]
				r.check(!there, "links.%s", name)
			}
			_, self := listed.Links["self"]
			r.check(self, "no links.self")
		}},
		{"A7/limit-0", "", admin, func(r *run) {
			r.refuses(ask{method: get, path: eventsPath + "?limit=0", as: r.AdminToken}, refusal{400, "", "parameter:limit", ""})
		}},
		{"A7/delete", "", admin, func(r *run) {
			_, event := r.happened()
			r.expect(http.StatusNoContent, ask{method: del, path: one(event), as: r.AdminToken})
			r.refuses(ask{method: get, path: one(event), as: r.AdminToken}, noEvent(event.ID))
		}},
		{"A7/retry", "", admin, func(r *run) {
			_, event := r.happened()
			answer := r.expect(http.StatusCreated, ask{path: one(event) + "/actions/retry", as: r.AdminToken})
			again := r.one(answer)
			r.check(again.ID != event.ID && strings.HasSuffix(answer.header.Get("Location"), "/webhook-events/"+again.ID), "want a new event; Location %q", answer.header.Get("Location"))
			r.check(again.text("payload") == event.text("payload") && again.Meta["idempotencyToken"] == event.Meta["idempotencyToken"], "want the same payload and idempotencyToken")
		}},
		{"A7/retry-without-endpoint", "", admin, func(r *run) {
			endpoint, event := r.happened()
			r.expect(http.StatusNoContent, ask{method: del, path: endpointsPath + "/" + endpoint.ID, as: r.AdminToken})
			answer := r.send(ask{path: one(event) + "/actions/retry", as: r.AdminToken})
			r.check(answer.status == 422 || answer.status == 404, "%s: want 422 (404 when its events went with it)", answer)
		}},
		{"A7/unknown", "", admin, func(r *run) {
			for _, a := range []ask{{method: get, path: eventsPath + "/" + nobody}, {method: del, path: eventsPath + "/" + nobody}, {path: eventsPath + "/" + nobody + "/actions/retry"}} {
				a.as = r.AdminToken
				r.refuses(a, noEvent(nobody))
			}
		}},
		{"A7/without-token", "", nothing, func(r *run) {
			r.refuses(ask{method: get, path: eventsPath}, refusal{401, "TOKEN_MISSING", "", ""})
		}},
		{"A7/as-user", "", admin, func(r *run) {
			answer := r.send(ask{method: get, path: eventsPath, as: r.signIn(r.user())})
			r.check(answer.status == 403 || answer.status == 404, "%s: want 403 or 404", answer)
		}},
		{"A7/token-is-redacted", "R6", admin, func(r *run) {
			p := r.user()
			r.endpoint(`{"url":` + quote(hookURL) + `,"subscriptions":["user.password-reset"]}`)
			r.accepted(r.forget(p.email))
			r.eventually("the event is listed", func() bool {
				answer := r.expect(http.StatusOK, ask{method: get, path: eventsPath + "?limit=100&events[]=user.password-reset", as: r.AdminToken})
				for _, d := range r.many(answer).Data {
					var payload struct {
						Data resource
						Meta map[string]string
					}
					if json.Unmarshal([]byte(d.text("payload")), &payload) == nil && payload.Data.ID == p.id {
						r.check(payload.Meta["passwordResetToken"] == "[redacted]", "meta.passwordResetToken is not [redacted]")
						return true
					}
				}
				return false
			})
		}},
	}
}
