package contract

import (
	"net/http"
	"strings"
)

func (r *run) patch(p person, attributes, as string) reply {
	return r.send(ask{method: http.MethodPatch, path: p.path(), body: newUser(attributes), as: as})
}

// patched changes a user as its account's admin, which must work.
func (r *run) patched(p person, attributes string) resource {
	answer := r.patch(p, attributes, p.by)
	if answer.status != http.StatusOK {
		r.fatalf("%s: want 200", answer)
	}
	return r.one(answer)
}

// changeUserCases are PATCH and DELETE of A4.
func changeUserCases() []Case {
	cases := []Case{
		{"A4/update-names", "", admin, func(r *run) {
			got := r.patched(r.user(), `{"firstName":"Grace","lastName":"Hopper"}`)
			r.check(got.text("fullName") == "Grace Hopper", "fullName %q", got.text("fullName"))
		}},
		{"A4/update-names-to-null", "", admin, func(r *run) {
			got := r.patched(r.userWith(`"firstName":"Grace"`), `{"firstName":null}`)
			r.check(string(got.Attributes["firstName"]) == "null", "firstName %s", got.Attributes["firstName"])
		}},
		{"A4/update-address", "", admin, func(r *run) {
			email := r.address()
			got := r.patched(r.user(), `{"email":`+quote(strings.ToUpper(email))+`}`)
			r.check(got.text("email") == email, "email %q", got.text("email"))
		}},
		{"A4/update-metadata-replaces", "", admin, func(r *run) {
			got := r.patched(r.userWith(`"metadata":{"a":1}`), `{"metadata":{"b":2}}`)
			r.check(string(got.Attributes["metadata"]) == `{"b":2}`, "metadata %s", got.Attributes["metadata"])
		}},
		{"A4/update-keeps-what-is-left-out", "", admin, func(r *run) {
			p := r.userWith(`"firstName":"Grace","metadata":{"a":1}`)
			got := r.patched(p, `{}`)
			r.check(got.text("firstName") == "Grace" && got.text("email") == p.email && string(got.Attributes["metadata"]) == `{"a":1}`, "%v", got.Attributes)
		}},
		{"A4/update-role", "", admin, func(r *run) {
			r.check(r.patched(r.user(), `{"role":"read-only"}`).text("role") == "read-only", "the role is another")
		}},
		{"A4/update-password-as-admin", "", admin, func(r *run) {
			p := r.user()
			r.patched(p, `{"password":`+quote(newPassword)+`}`)
			r.signInWith(p, newPassword)
		}},
		{"A4/update-password-to-null", "", admin, func(r *run) {
			p := r.user()
			r.patched(p, `{"password":null}`)
			r.refuses(ask{path: "P/tokens", header: basic(p.email, password)}, refusal{401, "PASSWORD_NOT_SUPPORTED", "header:Authorization", ""})
		}},
		{"A4/update-password-revokes-no-tokens", "", admin, func(r *run) {
			p := r.user()
			session := r.signIn(p)
			r.patched(p, `{"password":`+quote(newPassword)+`}`)
			r.expect(http.StatusOK, ask{method: http.MethodGet, path: "P/me", as: session})
		}},
		{"A4/update-password-as-user", "", admin, func(r *run) {
			p := r.user()
			r.refused(r.patch(p, `{"password":`+quote(newPassword)+`}`, r.signIn(p)), refusal{400, "", "/data/attributes/password", "unpermitted parameter"})
		}},
		{"A4/update-role-as-user", "", admin, func(r *run) {
			p := r.user()
			r.refused(r.patch(p, `{"role":"admin"}`, r.signIn(p)), refusal{400, "", "/data/attributes/role", "unpermitted parameter"})
		}},
		{"A4/update-oneself", "", admin, func(r *run) {
			p := r.user()
			answer := r.patch(p, `{"firstName":"Own"}`, r.signIn(p))
			r.check(answer.status == http.StatusOK && r.one(answer).text("firstName") == "Own", "%s", answer)
		}},
		{"A4/update-somebody-else", "", admin, func(r *run) {
			other := r.user()
			r.refused(r.patch(other, `{"firstName":"X"}`, r.signIn(r.user())), noUser(other.id))
		}},
		{"A4/update-as-read-only", "R17", admin, func(r *run) {
			reader := r.userWith(`"role":"read-only","password":` + quote(password))
			r.refused(r.patch(r.user(), `{"firstName":"X"}`, r.signIn(reader)), refusal{403, "", "", ""})
		}},
		{"A4/update-address-taken", "", admin, func(r *run) {
			r.refused(r.patch(r.user(), `{"email":`+quote(r.user().email)+`}`, r.AdminToken), refusal{422, "EMAIL_TAKEN", "/data/attributes/email", ""})
		}},
		{"A4/update-without-token", "", admin, func(r *run) {
			r.refused(r.patch(r.user(), `{}`, ""), refusal{401, "TOKEN_MISSING", "", ""})
		}},
		{"A4/update-unknown-user", "", admin, func(r *run) {
			r.refuses(ask{method: http.MethodPatch, path: "P/users/" + nobody, body: newUser(`{}`), as: r.AdminToken}, noUser(nobody))
		}},
		{"A4/delete", "", admin, func(r *run) {
			p := r.user()
			session := r.signIn(p)
			gone := r.expect(http.StatusNoContent, ask{method: http.MethodDelete, path: p.path(), as: r.AdminToken})
			r.check(gone.body == "", "a body: %s", gone)
			r.refuses(ask{method: http.MethodGet, path: p.path(), as: r.AdminToken}, noUser(p.id))
			r.refuses(ask{method: http.MethodGet, path: "P/me", as: session}, refusal{401, "TOKEN_INVALID", "", ""})
		}},
		{"A4/delete-twice", "", admin, func(r *run) {
			p := r.user()
			r.expect(http.StatusNoContent, ask{method: http.MethodDelete, path: p.path(), as: r.AdminToken})
			r.refuses(ask{method: http.MethodDelete, path: p.path(), as: r.AdminToken}, noUser(p.id))
		}},
		{"A4/delete-as-user", "", admin, func(r *run) {
			other := r.user()
			r.refuses(ask{method: http.MethodDelete, path: other.path(), as: r.signIn(r.user())}, noUser(other.id))
		}},
		{"A4/delete-as-read-only", "R17", admin, func(r *run) {
			reader := r.userWith(`"role":"read-only","password":` + quote(password))
			r.refuses(ask{method: http.MethodDelete, path: r.user().path(), as: r.signIn(reader)}, refusal{403, "", "", ""})
		}},
		{"A4/event-user-updated", "", admin | receiver, func(r *run) {
			p := r.user()
			r.listens("user.updated")
			r.patched(p, `{"firstName":"Told"}`)
			r.delivered("user.updated", p.id)
		}},
		{"A4/event-user-deleted", "", admin | receiver, func(r *run) {
			p := r.user()
			r.listens("user.deleted")
			r.removed(p)
			r.delivered("user.deleted", p.id)
		}},
	}
	return cases
}

// banCases are actions/ban and actions/unban of A4.
func banCases() []Case {
	ban, unban := "/actions/ban", "/actions/unban"
	return []Case{
		{"A4/ban", "", admin, func(r *run) {
			p := r.user()
			answer := r.expect(http.StatusOK, ask{path: p.path() + ban, as: r.AdminToken})
			r.check(r.one(answer).text("status") == "BANNED", "%s", answer)
			r.refuses(ask{path: "P/tokens", header: basic(p.email, password)}, refusal{403, "", "", ""})
		}},
		{"A4/unban", "", admin, func(r *run) {
			p := r.banned()
			answer := r.expect(http.StatusOK, ask{path: p.path() + unban, as: r.AdminToken})
			r.check(r.one(answer).text("status") == "ACTIVE", "%s", answer)
			r.signIn(p)
		}},
		{"A4/ban-an-admin", "", admin, func(r *run) {
			r.refuses(ask{path: r.userWith(`"role":"admin"`).path() + ban, as: r.AdminToken}, refusal{403, "", "", ""})
		}},
		{"A4/ban-as-user", "", admin, func(r *run) {
			p := r.user()
			r.refuses(ask{path: p.path() + ban, as: r.signIn(p)}, refusal{403, "", "", ""})
		}},
		{"A4/ban-unknown-user", "", admin, func(r *run) {
			r.refuses(ask{path: "P/users/" + nobody + ban, as: r.AdminToken}, noUser(nobody))
		}},
		{"A4/ban-without-token", "", admin, func(r *run) {
			r.refuses(ask{path: r.user().path() + ban}, refusal{401, "TOKEN_MISSING", "", ""})
		}},
		{"A4/event-user-banned", "", admin | receiver, func(r *run) {
			p := r.user()
			r.listens("user.banned")
			r.expect(http.StatusOK, ask{path: p.path() + ban, as: r.AdminToken})
			r.delivered("user.banned", p.id)
		}},
		{"A4/event-user-unbanned", "", admin | receiver, func(r *run) {
			p := r.banned()
			r.listens("user.unbanned")
			r.expect(http.StatusOK, ask{path: p.path() + unban, as: r.AdminToken})
			r.delivered("user.unbanned", p.id)
		}},
	}
}
