package contract

import (
	"net/http"
	"strings"
)

// errorCases are C7 and C8.
func errorCases() []Case {
	get := http.MethodGet
	var cases []Case
	for _, c := range []struct {
		name, ruling string
		ask          ask
		want         refusal
	}{
		{"query-encoding", "", ask{path: "P/passwords?x=%zz", body: asked("q@contract.example")}, refusal{400, "PARAMETERS_INVALID", "", ""}},
		{"query-bad-utf-8", "", ask{path: "P/passwords?x=%ff", body: asked("q@contract.example")}, refusal{400, "ENCODING_INVALID", "", ""}},
		{"query-nul", "", ask{path: "P/passwords?x=%00", body: asked("q@contract.example")}, refusal{400, "ENCODING_INVALID", "", ""}},
		{"path-bad-utf-8", "", ask{method: get, path: "P/users/%ff", as: unknownToken}, refusal{400, "ENCODING_INVALID", "", ""}},
		{"path-nul", "", ask{method: get, path: "P/users/%00", as: unknownToken}, refusal{400, "ENCODING_INVALID", "", ""}},
		{"verb-unknown", "", ask{method: "BREW", path: "P/passwords"}, refusal{400, "HTTP_METHOD_INVALID", "", ""}},
		{"version-unknown", "", ask{path: "P/passwords", body: asked("v@contract.example"), header: map[string]string{"Keygen-Version": "2.0"}}, refusal{400, "INVALID_API_VERSION", "", ""}},
		{"version-word", "", ask{method: get, path: "P/me", header: map[string]string{"Keygen-Version": "latest"}}, refusal{400, "INVALID_API_VERSION", "", ""}},
		{"environment", "R18", ask{path: "P/passwords", body: asked("e@contract.example"), header: map[string]string{"Keygen-Environment": "sandbox"}}, refusal{400, "ENVIRONMENT_NOT_SUPPORTED", "header:Keygen-Environment", ""}},
		{"signature-malformed", "", ask{path: "P/passwords", body: asked("s@contract.example"), header: map[string]string{"Keygen-Accept-Signature": "nonsense"}}, refusal{400, "", "header:Keygen-Accept-Signature", ""}},
		{"signature-unknown-algorithm", "", ask{path: "P/passwords", body: asked("s@contract.example"), header: map[string]string{"Keygen-Accept-Signature": `algorithm="md5"`}}, refusal{400, "", "header:Keygen-Accept-Signature", ""}},
		{"path-unknown", "", ask{method: get, path: "/v1/nothing"}, refusal{404, "NOT_FOUND", "", ""}},
		{"path-unknown-in-account", "", ask{method: get, path: "P/nothing"}, refusal{404, "NOT_FOUND", "", ""}},
		{"verb-wrong-get", "", ask{method: get, path: "P/passwords"}, refusal{404, "NOT_FOUND", "", ""}},
		{"verb-wrong-put", "", ask{method: http.MethodPut, path: "P/passwords", body: asked("p@contract.example")}, refusal{404, "NOT_FOUND", "", ""}},
		{"verb-wrong-delete", "", ask{method: http.MethodDelete, path: "P/passwords"}, refusal{404, "NOT_FOUND", "", ""}},
		{"verb-wrong-post", "", ask{path: "P/me"}, refusal{404, "NOT_FOUND", "", ""}},
		{"route-licenses", "R17", ask{method: get, path: "P/licenses"}, refusal{404, "NOT_FOUND", "", ""}},
		{"route-products", "R17", ask{method: get, path: "P/products"}, refusal{404, "NOT_FOUND", "", ""}},
		{"route-machines", "R17", ask{method: get, path: "P/machines"}, refusal{404, "NOT_FOUND", "", ""}},
		{"route-groups", "R17", ask{method: get, path: "P/groups"}, refusal{404, "NOT_FOUND", "", ""}},
		{"route-settings", "R17", ask{method: get, path: "P/settings"}, refusal{404, "NOT_FOUND", "", ""}},
		{"route-settings-write", "R17", ask{method: http.MethodPut, path: "P/settings", body: `{}`}, refusal{404, "NOT_FOUND", "", ""}},
		{"route-environments", "R17", ask{method: get, path: "P/environments"}, refusal{404, "NOT_FOUND", "", ""}},
	} {
		cases = append(cases, Case{"C7/" + c.name, c.ruling, nothing, func(r *run) { r.refuses(c.ask, c.want) }})
	}
	return append(cases,
		Case{"C7/version-error-has-a-link", "", nothing, func(r *run) {
			answer := r.send(ask{path: "P/passwords", body: asked("v@contract.example"), header: map[string]string{"Keygen-Version": "2.0"}})
			r.check(r.oneError(answer).Links["about"] != "", "%s: want links.about", answer)
		}},
		Case{"C7/405-is-never-used", "", nothing, func(r *run) {
			for _, method := range []string{get, http.MethodPut, http.MethodPatch, http.MethodDelete} {
				answer := r.send(ask{method: method, path: "P/users/x/actions/reset-password"})
				r.check(answer.status == http.StatusNotFound, "%s: want 404", answer)
			}
		}},
		Case{"C8/meta-holds-the-request-id", "", nothing, func(r *run) {
			answer := r.send(ask{path: "P/passwords", body: `{}`})
			r.oneError(answer)
			r.check(strings.Contains(answer.body, `"meta":{"id":"`+answer.header.Get("X-Request-Id")+`"}`), "%s: meta.id is not X-Request-Id", answer)
		}},
		Case{"C8/early-errors-have-no-meta", "", nothing, func(r *run) {
			answer := r.send(ask{path: "P/passwords", body: `{`})
			r.oneError(answer)
			r.check(!strings.Contains(answer.body, `"meta"`), "%s: meta", answer)
		}},
		Case{"C8/no-status-and-no-id-inside", "", nothing, func(r *run) { r.oneError(r.send(ask{path: "P/passwords", body: `{}`})) }},
		Case{"C8/one-error-of-many", "", nothing, func(r *run) {
			r.refuses(ask{path: "P/passwords", body: `{"meta":{"email":1,"deliver":1,"foo":1},"bar":1}`}, refusal{400, "", "/meta/foo", "unpermitted parameter"})
		}})
}
