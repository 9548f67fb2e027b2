package contract

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// userCases are A4.
func userCases() []Case {
	return slices.Concat(createUserCases(), readUserCases(), changeUserCases(), banCases())
}

// unprotected skips the case when the account lets nobody register.
func (r *run) unprotected(a reply) {
	if a.status == http.StatusForbidden {
		r.skipf("the account is protected")
	}
}

func createUserCases() []Case {
	const path = "P/users"
	cases := []Case{
		{"A4/create", "", admin, func(r *run) {
			email := r.address()
			made := r.expect(http.StatusCreated, ask{path: path, as: r.AdminToken,
				body: newUser(`{"email":` + quote(email) + `,"password":` + quote(password) + `,"firstName":"Ada","lastName":"Lovelace","metadata":{"plan":"gold","seats":3}}`)})
			got := r.one(made)
			r.undo = append(r.undo, func() { r.removed(person{id: got.ID, account: "P", by: r.AdminToken}) })
			r.check(strings.HasSuffix(made.header.Get("Location"), "/users/"+got.ID), "Location %q", made.header.Get("Location"))
			r.userShape(made, got)
			r.check(got.text("email") == email && got.text("fullName") == "Ada Lovelace" && got.text("role") == "user" && got.text("status") == "ACTIVE", "%s", made)
			r.check(string(got.Attributes["metadata"]) == `{"plan":"gold","seats":3}`, "metadata %s", got.Attributes["metadata"])
		}},
		{"A4/create-anonymously", "", admin, func(r *run) {
			made := r.send(ask{path: path, body: newUser(`{"email":` + quote(r.address()) + `,"password":` + quote(password) + `}`)})
			r.unprotected(made)
			if made.status != http.StatusCreated {
				r.fatalf("%s: want 201", made)
			}
			r.undo = append(r.undo, func() { r.removed(person{id: r.one(made).ID, account: "P", by: r.AdminToken}) })
		}},
		{"A4/create-anonymously-in-a-protected-account", "", operator, func(r *run) {
			t := r.tenant(`"protected":true`)
			r.refuses(ask{path: t.path() + "/users", body: newUser(`{"email":` + quote(r.address()) + `}`)}, refusal{403, "", "", ""})
		}},
		{"A4/create-as-user", "", admin, func(r *run) {
			r.refuses(ask{path: path, as: r.signIn(r.user()), body: newUser(`{"email":` + quote(r.address()) + `}`)}, refusal{403, "", "", ""})
		}},
		{"A4/create-without-password", "", admin, func(r *run) {
			p := r.managed()
			r.refuses(ask{path: "P/tokens", header: basic(p.email, password)}, refusal{401, "PASSWORD_NOT_SUPPORTED", "header:Authorization", ""})
		}},
		{"A4/create-with-password-null", "", admin, func(r *run) { r.userWith(`"password":null`) }},
		{"A4/create-type-user", "", admin, func(r *run) {
			made := r.expect(http.StatusCreated, ask{path: path, as: r.AdminToken, body: `{"data":{"type":"user","attributes":{"email":` + quote(r.address()) + `}}}`})
			r.undo = append(r.undo, func() { r.removed(person{id: r.one(made).ID, account: "P", by: r.AdminToken}) })
		}},
		{"A4/no-attribute-tells-of-a-password", "", admin, func(r *run) {
			names := func(p person) []string {
				shown := r.one(r.expect(http.StatusOK, ask{method: http.MethodGet, path: p.path(), as: r.AdminToken}))
				var names []string
				for name, value := range shown.Attributes {
					if name != "email" && name != "created" && name != "updated" {
						names = append(names, name+"="+string(value))
					}
				}
				return slices.Sorted(slices.Values(names))
			}
			with, without := names(r.user()), names(r.managed())
			r.check(slices.Equal(with, without), "with a password %q, without %q", with, without)
		}},
		{"A4/address-taken", "", admin, func(r *run) {
			p := r.user()
			r.refuses(ask{path: path, as: r.AdminToken, body: newUser(`{"email":` + quote(p.email) + `}`)}, refusal{422, "EMAIL_TAKEN", "/data/attributes/email", ""})
		}},
		{"A4/address-taken-in-another-case", "", admin, func(r *run) {
			p := r.user()
			r.refuses(ask{path: path, as: r.AdminToken, body: newUser(`{"email":` + quote(strings.ToUpper(p.email)) + `}`)}, refusal{422, "EMAIL_TAKEN", "/data/attributes/email", ""})
		}},
		{"A4/address-of-another-account-is-free", "", admin | operator, func(r *run) {
			p, t := r.user(), r.tenant("")
			r.expect(http.StatusCreated, ask{path: t.path() + "/users", as: t.admin, body: newUser(`{"email":` + quote(p.email) + `}`)})
		}},
		{"A4/role-by-admin", "", admin, func(r *run) {
			shown := r.expect(http.StatusOK, ask{method: http.MethodGet, path: r.userWith(`"role":"read-only"`).path(), as: r.AdminToken})
			r.check(r.one(shown).text("role") == "read-only", "%s", shown)
		}},
		{"A4/role-anonymously", "", operator, func(r *run) {
			t := r.tenant(`"protected":false`)
			r.refuses(ask{path: t.path() + "/users", body: newUser(`{"email":` + quote(r.address()) + `,"role":"admin"}`)}, refusal{400, "", "/data/attributes/role", "unpermitted parameter"})
		}},
		{"A4/event-user-created", "", admin | receiver, func(r *run) {
			r.listens("user.created")
			p := r.user()
			r.delivered("user.created", p.id)
		}},
	}
	for _, label := range []string{"developer", "sales-agent", "support-agent"} {
		cases = append(cases, Case{"A4/role-" + label, "R17", admin, func(r *run) { r.userWith(`"role":"` + label + `"`) }})
	}
	for _, c := range []struct {
		name, attributes string
		want             refusal
	}{
		{"address-missing", `{}`, refusal{400, "", "/data/attributes/email", "is missing"}},
		{"address-null", `{"email":null}`, refusal{400, "", "/data/attributes/email", "cannot be null"}},
		{"address-blank", `{"email":""}`, refusal{400, "", "/data/attributes/email", "cannot be blank"}},
		{"address-array", `{"email":["a@contract.example"]}`, refusal{400, "", "/data/attributes/email", "type mismatch (received array expected string)"}},
		{"address-invalid", `{"email":"foo"}`, refusal{422, "EMAIL_INVALID", "/data/attributes/email", "is invalid"}},
		{"address-too-long", `{"email":` + quote(strings.Repeat("a", 60)+"@"+strings.Repeat("contract.", 24)+"example") + `}`, refusal{422, "EMAIL_TOO_LONG", "/data/attributes/email", ""}},
		{"password-too-short", `{"email":"short@contract.example","password":"x"}`, refusal{422, "PASSWORD_TOO_SHORT", "/data/attributes/password", ""}},
		{"password-too-long", `{"email":"long@contract.example","password":` + quote(strings.Repeat("a 1", 100)) + `}`, refusal{422, "PASSWORD_TOO_LONG", "/data/attributes/password", ""}},
		{"password-integer", `{"email":"i@contract.example","password":12345678}`, refusal{400, "", "/data/attributes/password", "type mismatch (received integer expected string)"}},
		{"metadata-too-many-keys", `{"email":"k@contract.example","metadata":` + manyKeys(65) + `}`, refusal{422, "*", "/data/attributes/metadata", ""}},
		{"metadata-too-deep", `{"email":"d@contract.example","metadata":{"a":{"b":{"c":{"d":{}}}}}}`, refusal{422, "*", "/data/attributes/metadata", ""}},
		{"metadata-too-large", `{"email":"l@contract.example","metadata":{"a":` + quote(strings.Repeat("x", 17000)) + `}}`, refusal{422, "*", "/data/attributes/metadata", ""}},
		{"metadata-array", `{"email":"m@contract.example","metadata":[]}`, refusal{400, "", "/data/attributes/metadata", "type mismatch (received array expected object)"}},
		{"role-unknown", `{"email":"r@contract.example","role":"king"}`, refusal{400, "", "/data/attributes/role", "is invalid"}},
		{"member-unknown", `{"email":"u@contract.example","permissions":[]}`, refusal{400, "", "/data/attributes/permissions", "unpermitted parameter"}},
	} {
		cases = append(cases, Case{"A4/create-" + c.name, "", admin, func(r *run) {
			r.refuses(ask{path: path, as: r.AdminToken, body: newUser(c.attributes)}, c.want)
		}})
	}
	return append(cases,
		Case{"A4/create-type-missing", "", admin, func(r *run) {
			r.refuses(ask{path: path, as: r.AdminToken, body: `{"data":{"attributes":{"email":"t@contract.example"}}}`}, refusal{400, "", "/data/type", "is missing"})
		}},
		Case{"A4/create-type-wrong", "", admin, func(r *run) {
			r.refuses(ask{path: path, as: r.AdminToken, body: `{"data":{"type":"licenses","attributes":{"email":"t@contract.example"}}}`}, refusal{400, "", "/data/type", ""})
		}},
		Case{"A4/create-data-missing", "", admin, func(r *run) {
			r.refuses(ask{path: path, as: r.AdminToken, body: `{}`}, refusal{400, "", "/data", "is missing"})
		}})
}

func manyKeys(n int) string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf(`"k%d":1`, i)
	}
	return "{" + strings.Join(keys, ",") + "}"
}

// userShape holds a user to the resource of A4.
func (r *run) userShape(answer reply, got resource) {
	for _, name := range []string{"fullName", "firstName", "lastName", "email", "status", "role", "metadata", "created", "updated"} {
		_, there := got.Attributes[name]
		r.check(there, "%s: no attribute %s", answer, name)
	}
	r.check(got.Type == "users", "type %q", got.Type)
	account := got.Relationships["account"]
	r.check(account.Data != nil && account.Data.Type == "accounts" && strings.HasPrefix(account.Links["related"], "/v1/accounts/"), "%s: relationship account", answer)
	r.check(strings.HasSuffix(got.Relationships["tokens"].Links["related"], "/users/"+got.ID+"/tokens"), "%s: relationship tokens", answer)
	r.check(strings.HasSuffix(got.Links["self"], "/users/"+got.ID), "%s: links.self", answer)
}

func readUserCases() []Case {
	get := func(path string) func(r *run, p person) ask {
		return func(r *run, p person) ask {
			path := strings.NewReplacer("{id}", p.id, "{ID}", strings.ToUpper(unhyphened(p.id)), "{email}", escaped(p.email), "{EMAIL}", strings.ToUpper(p.email)).Replace(path)
			return ask{method: http.MethodGet, path: path, as: r.AdminToken}
		}
	}
	var cases []Case
	for name, path := range map[string]string{
		"by-id": "P/users/{id}", "by-id-without-hyphens-in-upper-case": "P/users/{ID}", "by-address": "P/users/{email}", "by-address-in-upper-case": "P/users/{EMAIL}",
	} {
		cases = append(cases, Case{"A4/show-" + name, "", admin, func(r *run) {
			p := r.user()
			shown := r.expect(http.StatusOK, get(path)(r, p))
			r.check(r.one(shown).ID == p.id, "%s: want user %s", shown, p.id)
			r.userShape(shown, r.one(shown))
		}})
	}
	for name, c := range map[string]struct {
		query string
		with  string // an attribute of the user to be found
		found bool
	}{
		"role-user-by-default": {"", "", true}, "other-roles-not-by-default": {"", `"role":"read-only"`, false},
		"roles": {"&roles[]=read-only", `"role":"read-only"`, true}, "two-roles": {"&roles[]=user&roles[]=read-only", "", true},
		"status-active": {"&status=ACTIVE", "", true}, "status-banned": {"&status=BANNED", "", false}, "status-inactive": {"&status=INACTIVE", "", false},
		"metadata": {"&metadata[shelf]=WORD", `"metadata":{"shelf":"WORD"}`, true}, "metadata-of-others": {"&metadata[shelf]=other", `"metadata":{"shelf":"WORD"}`, false},
	} {
		cases = append(cases, Case{"A4/list-" + name, "", admin, func(r *run) {
			p := r.userWith(strings.ReplaceAll(c.with, "WORD", r.word))
			listed := r.expect(http.StatusOK, ask{method: http.MethodGet, path: "P/users?limit=100" + strings.ReplaceAll(c.query, "WORD", r.word), as: r.AdminToken})
			found := slices.ContainsFunc(r.many(listed).Data, func(d resource) bool { return d.ID == p.id })
			r.check(found == c.found, "the list with %q holds the user: %v", c.query, found)
		}})
	}
	cases = byName(cases)
	for _, c := range []struct {
		name, path string
		want       refusal
	}{
		{"show-unknown-id", "P/users/" + nobody, noUser(nobody)},
		{"show-unknown-address", "P/users/nobody%40contract.example", noUser("nobody@contract.example")},
		{"list-unknown-role", "P/users?roles[]=king", refusal{400, "", "parameter:roles[]", ""}},
		{"list-unknown-status", "P/users?status=SLEEPING", refusal{400, "", "parameter:status", ""}},
	} {
		cases = append(cases, Case{"A4/" + c.name, "", admin, func(r *run) { r.refuses(ask{method: http.MethodGet, path: c.path, as: r.AdminToken}, c.want) }})
	}
	return append(cases,
		Case{"A4/list-without-token", "", nothing, func(r *run) {
			r.refuses(ask{method: http.MethodGet, path: "P/users"}, refusal{401, "TOKEN_MISSING", "", ""})
		}},
		Case{"A4/list-as-user", "", admin, func(r *run) {
			r.refuses(ask{method: http.MethodGet, path: "P/users", as: r.signIn(r.user())}, refusal{403, "", "", ""})
		}},
		Case{"A4/show-without-token", "", admin, func(r *run) {
			r.refuses(ask{method: http.MethodGet, path: r.user().path()}, refusal{401, "TOKEN_MISSING", "", ""})
		}},
		Case{"A4/show-oneself", "", admin, func(r *run) {
			p := r.user()
			r.expect(http.StatusOK, ask{method: http.MethodGet, path: p.path(), as: r.signIn(p)})
		}},
		Case{"A4/show-somebody-else", "", admin, func(r *run) {
			other := r.user()
			r.refuses(ask{method: http.MethodGet, path: other.path(), as: r.signIn(r.user())}, noUser(other.id))
		}},
		Case{"A4/show-as-read-only", "R17", admin, func(r *run) {
			reader, other := r.userWith(`"role":"read-only","password":`+quote(password)), r.user()
			r.expect(http.StatusOK, ask{method: http.MethodGet, path: other.path(), as: r.signIn(reader)})
		}})
}
