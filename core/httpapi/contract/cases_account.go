package contract

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// identityCases are A8: who am I, the account, health.
func identityCases() []Case {
	get := http.MethodGet
	return []Case{
		{"A8/me", "", admin, func(r *run) {
			p := r.user()
			answer := r.expect(http.StatusOK, ask{method: get, path: "P/me", as: r.signIn(p)})
			var document struct{ Included []resource }
			_ = json.Unmarshal([]byte(answer.body), &document)
			r.check(r.one(answer).ID == p.id && len(document.Included) == 1 && document.Included[0].Type == "tokens", "%s: want the user and its token", answer)
			r.check(!strings.Contains(answer.body, "v3\""), "the answer holds a token's value")
		}},
		{"A8/profile", "", admin, func(r *run) {
			p := r.user()
			answer := r.expect(http.StatusOK, ask{method: get, path: "P/profile", as: r.signIn(p)})
			var document struct{ Meta struct{ TokenID string } }
			_ = json.Unmarshal([]byte(answer.body), &document)
			r.check(r.one(answer).ID == p.id && document.Meta.TokenID != "", "%s: want the user and meta.tokenId", answer)
		}},
		{"A8/me-without-token", "", nothing, func(r *run) { r.refuses(ask{method: get, path: "P/me"}, refusal{401, "TOKEN_MISSING", "", ""}) }},
		{"A8/profile-without-token", "", nothing, func(r *run) { r.refuses(ask{method: get, path: "P/profile"}, refusal{401, "TOKEN_MISSING", "", ""}) }},
		{"A8/account", "", admin, func(r *run) {
			answer := r.expect(http.StatusOK, ask{method: get, path: "P", as: r.AdminToken})
			got := r.one(answer)
			for _, name := range []string{"name", "slug", "apiVersion", "status", "protected"} {
				_, there := got.Attributes[name]
				r.check(there, "no attribute %s", name)
			}
			keys := r.accountKeys()
			for _, name := range []string{"ed25519", "rsa2048", "ecdsa"} {
				r.check(keys[name] != "", "no meta.keys.%s", name)
			}
			r.check(strings.Contains(answer.body, `"publicKey"`), "no meta.publicKey")
		}},
		{"A8/account-without-token", "", nothing, func(r *run) { r.refuses(ask{method: get, path: "P"}, refusal{401, "TOKEN_MISSING", "", ""}) }},
		{"A8/account-as-user", "", admin, func(r *run) {
			r.refuses(ask{method: get, path: "P", as: r.signIn(r.user())}, refusal{403, "", "", ""})
		}},
		{"A8/account-change", "", operator, func(r *run) {
			t := r.tenant("")
			answer := r.expect(http.StatusOK, ask{method: http.MethodPatch, path: t.path(), as: t.admin,
				body: `{"data":{"type":"accounts","attributes":{"name":"Renamed","protected":true,"apiVersion":"1.4"}}}`})
			got := r.one(answer)
			r.check(got.text("name") == "Renamed" && string(got.Attributes["protected"]) == "true" && got.text("apiVersion") == "1.4", "%s", answer)
			version := r.send(ask{path: t.path() + "/passwords", body: asked(r.address())}).header.Get("Keygen-Version")
			r.check(version == "1.4", "the change is not seen at once: Keygen-Version %q", version)
		}},
		{"A8/account-change-as-user", "", admin, func(r *run) {
			r.refuses(ask{method: http.MethodPatch, path: "P", as: r.signIn(r.user()), body: `{"data":{"type":"accounts","attributes":{"name":"X"}}}`}, refusal{403, "", "", ""})
		}},
		{"A8/ping", "", nothing, func(r *run) {
			for _, path := range []string{"/v1/ping", "P/ping"} {
				answer := r.expect(http.StatusOK, ask{method: get, path: path, header: map[string]string{"Accept": "text/html"}})
				r.check(answer.body == "", "a body: %s", answer)
			}
		}},
		{"A8/ping-of-an-unknown-account", "", nothing, func(r *run) {
			r.refuses(ask{method: get, path: "/v1/accounts/" + nobody + "/ping"}, refusal{404, "NOT_FOUND", "", ""})
		}},
		{"A8/recover", "R1", nothing, func(r *run) { r.accepted(r.send(recovering(r.address()))) }},
		{"A8/recover-knows-nobody", "", admin, func(r *run) {
			unknown := r.send(recovering(r.address())).fingerprint()
			r.check(r.send(recovering(r.user().email)).fingerprint() == unknown, "a user gets another answer than an unknown address")
		}},
		{"A8/recover-without-email", "", nothing, func(r *run) {
			r.refuses(ask{path: "/v1/recover", body: `{"meta":{"type":"account"}}`}, refusal{400, "", "/meta/email", "is missing"})
		}},
		{"A8/recover-without-type", "R2", nothing, func(r *run) {
			r.refuses(ask{path: "/v1/recover", body: `{"meta":{"email":"a@contract.example"}}`}, refusal{400, "", "/meta/type", "is missing"})
		}},
		{"A8/health", "", nothing, func(r *run) {
			answer := r.send(ask{method: get, path: "/v1/health"})
			r.check((answer.status == http.StatusNoContent || answer.status == http.StatusOK) && answer.body == "", "%s: want 204 or 200", answer)
		}},
		{"A8/health-asks-no-host", "", nothing, func(r *run) {
			answer := r.send(ask{method: get, path: "/v1/health", header: map[string]string{"Host": "10.0.0.1"}})
			r.check(answer.status == http.StatusNoContent || answer.status == http.StatusOK, "%s: want 204 or 200", answer)
		}},
		{"A8/health-of-webhooks", "", nothing, func(r *run) {
			answer := r.send(ask{method: get, path: "/v1/health/webhooks"})
			r.check((answer.status == http.StatusNoContent || answer.status == http.StatusOK) && answer.body == "", "%s: want 204 or 200", answer)
		}},
	}
}

func recovering(email string) ask {
	return ask{path: "/v1/recover", body: `{"meta":{"type":"account","email":` + quote(email) + `}}`}
}

// accountCases are B.
func accountCases() []Case {
	ping := func(ref string) ask {
		return ask{method: http.MethodGet, path: "/v1/accounts/" + ref + "/ping"}
	}
	unknown := func(ref string) refusal {
		return refusal{404, "NOT_FOUND", "", "The requested account '" + ref + "' was not found"}
	}
	cases := []Case{
		{"B/account-by-id", "", operator, func(r *run) { r.expect(http.StatusOK, ping(r.tenant("").id)) }},
		{"B/account-by-id-in-upper-case", "", operator, func(r *run) { r.expect(http.StatusOK, ping(strings.ToUpper(r.tenant("").id))) }},
		{"B/account-by-id-without-hyphens", "", operator, func(r *run) { r.expect(http.StatusOK, ping(unhyphened(r.tenant("").id))) }},
		{"B/account-by-slug", "", operator, func(r *run) { r.expect(http.StatusOK, ping(r.tenant("").slug)) }},
		{"B/slug-is-exact", "", operator, func(r *run) {
			slug := strings.ToUpper(r.tenant("").slug)
			r.refuses(ping(slug), unknown(slug))
		}},
		{"B/unknown-account-names-what-was-sent", "", nothing, func(r *run) {
			for _, ref := range []string{"Contract-None", nobody, strings.ToUpper(nobody)} {
				r.refuses(ping(ref), unknown(ref))
			}
		}},
		{"B/un-prefixed-route", "", nothing, func(r *run) {
			answer := r.send(ask{path: "/v1/passwords", body: asked(r.address())})
			if r.plainly(nil).header.Get("Keygen-Mode") == "singleplayer" {
				r.accepted(answer)
				return
			}
			r.refused(answer, refusal{404, "NOT_FOUND", "", ""})
		}},
		{"B/another-account-than-the-only-one", "", nothing, func(r *run) {
			if r.plainly(nil).header.Get("Keygen-Mode") != "singleplayer" {
				r.skipf("the server has many accounts")
			}
			r.refuses(ping(nobody), unknown(nobody))
		}},
		{"B/unknown-host", "", nothing, func(r *run) {
			answer := r.send(ask{path: "P/passwords", body: asked(r.address()), header: map[string]string{"Host": "unlisted.contract.example"}})
			r.check(answer.status == http.StatusNotFound || answer.status == http.StatusForbidden || answer.status == http.StatusMisdirectedRequest, "%s: want 404, 403 or 421", answer)
		}},
		{"B/forwarded-host-is-not-looked-at", "R1", nothing, func(r *run) {
			r.accepted(r.plainly(map[string]string{"X-Forwarded-Host": "evil.contract.example", "Forwarded": "host=evil.contract.example"}))
		}},
		{"B/deleted-account-is-unknown-at-once", "", operator, func(r *run) {
			t := r.tenant("")
			r.expect(http.StatusOK, ping(t.slug))
			r.expect(http.StatusNoContent, ask{method: http.MethodDelete, path: t.path(), as: r.OperatorToken})
			r.refuses(ping(t.slug), unknown(t.slug))
			r.undo = r.undo[1:] // it is gone
		}},
	}
	for _, c := range []struct{ name, slug string }{
		{"upper-case", "Contract"}, {"one-letter", "c"}, {"leading-dash", "-contract"}, {"space", "con tract"}, {"dot", "con.tract"}, {"like-a-uuid", nobody},
		{"reserved-action", "action"}, {"reserved-actions", "actions"}, {"too-long", strings.Repeat("c", 256)}, {"empty", ""},
	} {
		cases = append(cases, Case{"B/slug-" + c.name, "", operator, func(r *run) {
			answer := r.send(ask{path: "/v1/accounts", as: r.OperatorToken, body: `{"data":{"type":"accounts","attributes":{"name":"Contract","slug":` + quote(c.slug) + `}}}`})
			if answer.status == http.StatusCreated {
				r.undo = append(r.undo, func() {
					r.send(ask{method: http.MethodDelete, path: "/v1/accounts/" + r.one(answer).ID, as: r.OperatorToken})
				})
			}
			r.check(answer.status == 400 || answer.status == 422, "%s: want 400 or 422", answer)
			if answer.status >= 400 {
				got := r.oneError(answer)
				r.check(got.Source["pointer"] == "/data/attributes/slug", "%s: want the slug as source", answer)
			}
		}})
	}
	return slices.Concat(cases, inactiveCases("paused"), inactiveCases("canceled"))
}

// inactiveCases are what an account in that status can do, and what not.
func inactiveCases(status string) []Case {
	get, put, patch, del := http.MethodGet, http.MethodPut, http.MethodPatch, http.MethodDelete
	type fixture struct {
		tenant
		user    person
		session resource
	}
	ready := func(r *run) (f fixture) {
		f.tenant = r.tenant("")
		f.user = r.userIn(f.path(), f.admin, `"password":`+quote(password))
		r.undo = r.undo[:len(r.undo)-1] // it goes with the account
		f.session = r.one(r.expect(http.StatusCreated, ask{path: f.path() + "/tokens", header: basic(f.user.email, password)}))
		r.change(f.tenant, `"status":`+quote(status))
		return f
	}
	var cases []Case
	for _, c := range []struct {
		name string
		want int
		ask  func(f fixture) ask
	}{
		{"passwords", 202, func(f fixture) ask { return ask{path: f.path() + "/passwords", body: asked(f.user.email)} }},
		{"reset-password", 404, func(f fixture) ask {
			return ask{path: f.user.path() + "/actions/reset-password", body: resetBody(wrongToken, newPassword)}
		}},
		{"update-password", 200, func(f fixture) ask {
			return ask{path: f.user.path() + "/actions/update-password", as: f.session.text("token"), body: `{"meta":{"oldPassword":` + quote(password) + `,"newPassword":` + quote(newPassword) + `}}`}
		}},
		{"sign-in", 201, func(f fixture) ask {
			return ask{path: f.path() + "/tokens", header: basic(f.user.email, password)}
		}},
		{"revoke-token", 204, func(f fixture) ask {
			return ask{method: del, path: f.path() + "/tokens/" + f.session.ID, as: f.session.text("token")}
		}},
		{"show-user", 200, func(f fixture) ask { return ask{method: get, path: f.user.path(), as: f.admin} }},
		{"update-user", 200, func(f fixture) ask {
			return ask{method: patch, path: f.user.path(), as: f.admin, body: newUser(`{"firstName":"X"}`)}
		}},
		{"me", 200, func(f fixture) ask { return ask{method: get, path: f.path() + "/me", as: f.session.text("token")} }},
		{"profile", 200, func(f fixture) ask { return ask{method: get, path: f.path() + "/profile", as: f.session.text("token")} }},
		{"list-users", 403, func(f fixture) ask { return ask{method: get, path: f.path() + "/users", as: f.admin} }},
		{"create-user", 403, func(f fixture) ask {
			return ask{path: f.path() + "/users", as: f.admin, body: newUser(`{"email":"new@contract.example"}`)}
		}},
		{"delete-user", 403, func(f fixture) ask { return ask{method: del, path: f.user.path(), as: f.admin} }},
		{"list-tokens", 403, func(f fixture) ask { return ask{method: get, path: f.path() + "/tokens", as: f.admin} }},
		{"regenerate-token", 403, func(f fixture) ask { return ask{method: put, path: f.path() + "/tokens", as: f.session.text("token")} }},
		{"list-webhook-endpoints", 403, func(f fixture) ask { return ask{method: get, path: f.path() + "/webhook-endpoints", as: f.admin} }},
		{"create-webhook-endpoint", 403, func(f fixture) ask {
			return ask{path: f.path() + "/webhook-endpoints", as: f.admin, body: newEndpoint(`{"url":"https://hooks.contract.example/x"}`)}
		}},
		{"list-webhook-events", 403, func(f fixture) ask { return ask{method: get, path: f.path() + "/webhook-events", as: f.admin} }},
	} {
		cases = append(cases, Case{"B/" + status + "-account-" + c.name, "", operator, func(r *run) {
			a := c.ask(ready(r))
			answer := r.send(a)
			r.check(answer.status == c.want, "%s: want %d", answer, c.want)
			if answer.status == http.StatusForbidden {
				got := r.oneError(answer)
				r.check(got.Title == "Account does not have an active subscription" && got.Code == "", "%s", answer)
			}
		}})
	}
	return cases
}
