package contract

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// seedSample is the request of the public page, by its curl line.
const seedSample = `{"meta": {"deliver": false}}`

// asked is a body of POST passwords that says no mail.
func asked(email string) string {
	return `{"meta":{"email":` + quote(email) + `,"deliver":false}}`
}

// passwordCases are A1, and what the public page promises.
func passwordCases() []Case {
	cases := []Case{
		{"A1/known-user", "R1", admin, func(r *run) { r.accepted(r.forget(r.user().email)) }},
		{"A1/unknown-address", "R1", nothing, func(r *run) { r.accepted(r.forget(r.address())) }},
		{"A1/user-without-password", "R1", admin, func(r *run) { r.accepted(r.forget(r.managed().email)) }},
		{"A1/banned-user", "R1", admin, func(r *run) { r.accepted(r.forget(r.banned().email)) }},
		{"A1/equal-bytes-for-everybody", "", admin, equalForEverybody},
		{"A1/upper-case-address", "R1", admin, func(r *run) { r.accepted(r.forget(strings.ToUpper(r.user().email))) }},
		{"A1/spaces-round-the-address", "R1", admin, func(r *run) { r.accepted(r.forget(" " + r.user().email + "  ")) }},
		{"A1/repeated", "R1", nothing, func(r *run) {
			email := r.address()
			r.accepted(r.forget(email))
			r.accepted(r.forget(email))
		}},
		{"A1/errors-have-no-data", "", nothing, func(r *run) {
			r.refuses(ask{path: "P/passwords", body: `{}`}, refusal{400, "", "/meta", "is missing"})
		}},
		{"A1/sample-of-the-public-page", "R2", nothing, func(r *run) {
			r.refuses(ask{path: "P/passwords", body: seedSample}, refusal{400, "", "/meta/email", "is missing"})
		}},
		{"A1/sample-with-the-lost-address", "R1", nothing, func(r *run) {
			r.accepted(r.send(ask{path: "P/passwords", body: strings.Replace(seedSample, `"deliver"`, `"email": `+quote(r.address())+`, "deliver"`, 1)}))
		}},
		{"A1/unknown-account", "", nothing, func(r *run) {
			r.refuses(ask{path: "/v1/accounts/" + nobody + "/passwords", body: asked(r.address())},
				refusal{404, "NOT_FOUND", "", "The requested account '" + nobody + "' was not found"})
		}},
		{"A1/deliver-sends-a-mail", "", admin | mail, func(r *run) { r.check(r.link(r.user()) != "", "the mail has no token") }},
	}
	for name, email := range map[string]string{
		"no-syntax-check-foo": "foo", "no-syntax-check-two-ats": "a@b@c", "no-syntax-check-list": "a@contract.example,b@contract.example",
		"no-syntax-check-unicode": "ſıK@contract.example", "no-syntax-check-quotes": `"a b"@contract.example`, "long-address": strings.Repeat("a", 4000) + "@contract.example",
	} {
		cases = append(cases, Case{"A1/" + name, "R1", nothing, func(r *run) { r.accepted(r.forget(email)) }})
	}
	for name, member := range map[string]string{"true": `,"deliver":true`, "false": `,"deliver":false`, "null": `,"deliver":null`, "absent": ``} {
		cases = append(cases, Case{"A1/deliver-" + name, "R1", nothing, func(r *run) {
			r.accepted(r.send(ask{path: "P/passwords", body: `{"meta":{"email":` + quote(r.address()) + member + `}}`}))
		}})
	}
	for name, header := range map[string]map[string]string{
		"garbage": {"Authorization": "garbage"}, "unknown-token": {"Authorization": "Bearer user-" + strings.Repeat("0", 64) + "v3"},
		"basic": basic("nobody@contract.example", "x"), "uuid": {"Authorization": "Bearer " + nobody},
	} {
		cases = append(cases, Case{"A1/authorization-not-looked-at-" + name, "R1", nothing, func(r *run) {
			r.accepted(r.send(ask{path: "P/passwords", body: asked(r.address()), header: header}))
		}})
	}
	cases = append(cases, Case{"A1/token-in-query-not-looked-at", "R1", nothing, func(r *run) {
		r.accepted(r.send(ask{path: "P/passwords?token=garbage&auth=x", body: asked(r.address())}))
	}}, Case{"A1/unknown-query-is-ignored", "R1", nothing, func(r *run) {
		r.accepted(r.send(ask{path: "P/passwords?redirect_url=https://evil.example&limit=x", body: asked(r.address())}))
	}})
	return append(byName(cases), orderCases()...)
}

// orderCases are the order of the checks of A1: of two faults the earlier one is told.
func orderCases() []Case {
	const elsewhere = "/v1/accounts/" + nobody + "/passwords"
	version, environment := map[string]string{"Keygen-Version": "9.9"}, map[string]string{"Keygen-Environment": "x"}
	var cases []Case
	for _, c := range []struct {
		name, ruling string
		ask          ask
		want         refusal
	}{
		{"json-before-version", "", ask{path: "P/passwords", body: `{`, header: version}, refusal{400, "JSON_INVALID", "", ""}},
		{"json-before-account", "", ask{path: elsewhere, body: `{`}, refusal{400, "JSON_INVALID", "", ""}},
		{"version-before-account", "", ask{path: elsewhere, body: `{}`, header: version}, refusal{400, "INVALID_API_VERSION", "", ""}},
		{"account-before-headers", "", ask{path: elsewhere, body: `{}`, header: environment}, refusal{404, "NOT_FOUND", "", ""}},
		{"account-before-body", "", ask{path: elsewhere, body: `{}`}, refusal{404, "NOT_FOUND", "", ""}},
		{"headers-before-body", "R18", ask{path: "P/passwords", body: `{}`, header: environment}, refusal{400, "ENVIRONMENT_NOT_SUPPORTED", "header:Keygen-Environment", ""}},
	} {
		cases = append(cases, Case{"A1/order-" + c.name, c.ruling, nothing, func(r *run) { r.refuses(c.ask, c.want) }})
	}
	return cases
}

// byName sorts cases that came out of a map.
func byName(cases []Case) []Case {
	slices.SortStableFunc(cases, func(a, b Case) int { return strings.Compare(a.Name, b.Name) })
	return cases
}

// banned makes a user that is banned.
func (r *run) banned() person {
	p := r.user()
	r.expect(http.StatusOK, ask{path: p.path() + "/actions/ban", as: r.AdminToken})
	return p
}

// equalForEverybody holds the answers for those who are known and those who are not
// against each other.
func equalForEverybody(r *run) {
	answers := map[string]string{}
	for who, email := range map[string]string{
		"an unknown address": r.address(), "a user": r.user().email, "a user without a password": r.managed().email, "a banned user": r.banned().email,
	} {
		answers[who] = r.forget(email).fingerprint()
	}
	first := answers["an unknown address"]
	for _, who := range slices.Sorted(maps.Keys(answers)) {
		r.check(answers[who] == first, "%s gets %q, an unknown address %q", who, answers[who], first)
	}
}
