package contract

import (
	"net/http"
	"strings"
)

// wrongToken has the form of one and is nobody's.
var wrongToken = "A" + strings.Repeat("z", 42)

func resetPath(user string) string { return "P/users/" + user + "/actions/reset-password" }

func noUser(user string) refusal {
	return refusal{404, "NOT_FOUND", "", "The requested user '" + user + "' was not found"}
}

// resetCases are A2.
func resetCases() []Case {
	body := resetBody(wrongToken, newPassword)
	cases := []Case{
		{"A2/unknown-account", "", nothing, func(r *run) {
			r.refuses(ask{path: "/v1/accounts/" + nobody + "/users/x/actions/reset-password", body: body},
				refusal{404, "NOT_FOUND", "", "The requested account '" + nobody + "' was not found"})
		}},
		{"A2/unknown-user", "", nothing, func(r *run) { r.refuses(ask{path: resetPath(nobody), body: body}, noUser(nobody)) }},
		{"A2/unknown-address-as-sent", "", nothing, func(r *run) {
			email := strings.ToUpper(r.address())
			r.refuses(ask{path: resetPath(escaped(email)), body: body}, noUser(email))
		}},
		{"A2/wrong-token", "", admin, func(r *run) { p := r.user(); r.refuses(ask{path: resetPath(p.id), body: body}, noUser(p.id)) }},
		{"A2/wrong-token-is-as-unknown-user", "R9", admin, wrongTokenIsUnknown},
		{"A2/wrong-token-of-a-banned-user", "R9", admin, func(r *run) {
			p := r.banned()
			r.refuses(ask{path: resetPath(p.id), body: body}, noUser(p.id))
		}},
		{"A2/weak-password-with-wrong-token", "R9", admin, func(r *run) {
			p := r.user()
			r.refuses(ask{path: resetPath(p.id), body: resetBody(wrongToken, "x")}, noUser(p.id))
		}},
		{"A2/authorization-not-looked-at", "", admin, func(r *run) {
			p := r.user()
			for _, value := range []string{"garbage", "Bearer " + nobody, "Bearer user-" + strings.Repeat("0", 64) + "v3"} {
				r.refuses(ask{path: resetPath(p.id), body: body, header: map[string]string{"Authorization": value}}, noUser(p.id))
			}
		}},
		{"A2/success", "", admin | mail, resetWorks},
		{"A2/by-id-without-hyphens", "", admin | mail, func(r *run) {
			p := r.user()
			r.expect(http.StatusOK, ask{path: resetPath(unhyphened(p.id)), body: resetBody(r.link(p), newPassword)})
		}},
		{"A2/by-id-in-upper-case", "", admin | mail, func(r *run) {
			p := r.user()
			r.expect(http.StatusOK, ask{path: resetPath(strings.ToUpper(p.id)), body: resetBody(r.link(p), newPassword)})
		}},
		{"A2/by-address-in-upper-case", "", admin | mail, func(r *run) {
			p := r.user()
			r.expect(http.StatusOK, ask{path: resetPath(escaped(strings.ToUpper(p.email))), body: resetBody(r.link(p), newPassword)})
		}},
		{"A2/token-of-another-user", "", admin | mail, func(r *run) {
			p, other := r.user(), r.user()
			r.refused(r.reset(other, r.link(p), newPassword), noUser(other.id))
		}},
		{"A2/token-at-another-account", "", admin | operator | mail, func(r *run) {
			p, other := r.user(), r.tenant("")
			token := r.link(p)
			r.refuses(ask{path: other.path() + "/users/" + p.id + "/actions/reset-password", body: resetBody(token, newPassword)}, noUser(p.id))
			r.check(r.reset(p, token, newPassword).status == http.StatusOK, "the token was spent at another account")
		}},
		{"A2/expired-link", "", admin | mail | clock, expiredLink},
		{"A2/expired-link-is-told-to-whoever-has-it", "R9", admin | mail | clock, func(r *run) {
			p, other := r.user(), r.user()
			token := r.expired(p)
			r.refused(r.reset(other, token, newPassword), noUser(other.id))
			r.refused(r.reset(p, token[:len(token)-4]+"AAAA", newPassword), noUser(p.id))
		}},
		{"A2/expired-before-password", "", admin | mail | clock, func(r *run) {
			p := r.user()
			r.refused(r.reset(p, r.expired(p), "x"), refusal{401, "", "/meta/passwordResetToken", "is expired"})
		}},
		{"A2/expired-and-asked-again", "", admin | mail | clock, func(r *run) {
			p := r.user()
			old := r.expired(p)
			fresh := r.link(p) // or still the old one: what is there is given at once
			r.eventually("another link arrives", func() bool {
				found, err := r.Mail(r.ctx, p.email)
				fresh = found.Token
				return err == nil && fresh != old
			})
			r.check(r.reset(p, fresh, newPassword).status == http.StatusOK, "a fresh link does not work beside an expired one")
			r.refused(r.reset(p, old, newPassword), noUser(p.id))
		}},
		{"A2/password-too-short", "", admin | mail, func(r *run) { weakPassword(r, "x", "PASSWORD_TOO_SHORT", "is too short (minimum is ") }},
		{"A2/password-too-long", "", admin | mail, func(r *run) {
			weakPassword(r, strings.Repeat("a 1", 100), "PASSWORD_TOO_LONG", "is too long (maximum is ")
		}},
		{"A2/password-too-common", "R10", admin | mail, func(r *run) { weakPassword(r, "password1", "PASSWORD_COMMON", "is too common") }},
		{"A2/password-in-nfc", "R10", admin | mail, func(r *run) {
			p := r.user()
			r.check(r.reset(p, r.link(p), "pe\u0301trole et e\u0301toiles").status == http.StatusOK, "a decomposed password is refused")
			r.signInWith(p, "pétrole et étoiles")
		}},
		{"A2/password-of-256-characters", "R10", admin | mail, func(r *run) {
			p, long := r.user(), strings.Repeat("a 1é", 64)
			r.check(r.reset(p, r.link(p), long).status == http.StatusOK, "256 characters are refused")
			r.signInWith(p, long)
		}},
		{"A2/managed-user-of-a-protected-account", "", operator | mail, func(r *run) {
			t := r.tenant(`"protected":true`)
			p := r.userIn(t.path(), t.admin, "")
			r.refused(r.reset(p, r.link(p), newPassword), refusal{403, "", "", ""})
		}},
		{"A2/managed-user", "", admin | mail, func(r *run) {
			p := r.managed()
			r.check(r.reset(p, r.link(p), newPassword).status == http.StatusOK, "an invited user cannot set a password")
			r.signInWith(p, newPassword)
		}},
	}
	for _, c := range []struct {
		name, body, source, detail string
	}{
		{"empty-body", ``, "/meta", "is missing"},
		{"no-meta", `{}`, "/meta", "is missing"},
		{"meta-null", `{"meta":null}`, "/meta", "cannot be null"},
		{"meta-string", `{"meta":"x"}`, "/meta", "type mismatch (received string expected object)"},
		{"meta-empty", `{"meta":{}}`, "/meta/passwordResetToken", "is missing"},
		{"no-password", `{"meta":{"passwordResetToken":"x"}}`, "/meta/newPassword", "is missing"},
		{"no-token", `{"meta":{"newPassword":"x"}}`, "/meta/passwordResetToken", "is missing"},
		{"token-null", `{"meta":{"passwordResetToken":null,"newPassword":"x"}}`, "/meta/passwordResetToken", "cannot be null"},
		{"token-array", `{"meta":{"passwordResetToken":["x"],"newPassword":"x"}}`, "/meta/passwordResetToken", "type mismatch (received array expected string)"},
		{"password-integer", `{"meta":{"passwordResetToken":"x","newPassword":12345678}}`, "/meta/newPassword", "type mismatch (received integer expected string)"},
		{"unknown-member", `{"meta":{"passwordResetToken":"x","newPassword":"y","email":"z"}}`, "/meta/email", "unpermitted parameter"},
	} {
		want := refusal{400, "", c.source, c.detail}
		cases = append(cases, Case{"A2/" + c.name, "", admin, func(r *run) { r.refuses(ask{path: resetPath(r.user().id), body: c.body}, want) }})
		cases = append(cases, Case{"A2/before-any-look-up-" + c.name, "R9", nothing, func(r *run) { r.refuses(ask{path: resetPath(nobody), body: c.body}, want) }})
	}
	return cases
}

// wrongTokenIsUnknown holds the 404s of those who are known and those who are not
// against each other, but for what was sent.
func wrongTokenIsUnknown(r *run) {
	p := r.user()
	r.accepted(r.forget(p.email))
	known := strings.ReplaceAll(r.reset(p, wrongToken, newPassword).fingerprint(), p.id, "USER")
	unknown := r.send(ask{path: resetPath(nobody), body: resetBody(wrongToken, newPassword)}).fingerprint()
	unknown = strings.ReplaceAll(unknown, nobody, "USER")
	r.check(known == unknown, "a user with a pending link gets %q, an unknown one %q", known, unknown)
}

func resetWorks(r *run) {
	p := r.user()
	session := r.signIn(p)
	token := r.link(p)
	answer := r.reset(p, token, newPassword)
	if answer.status != http.StatusOK {
		r.fatalf("%s: want 200", answer)
	}
	got := r.one(answer)
	r.check(got.ID == p.id && got.Type == "users" && got.text("email") == p.email, "%s: want the user", answer)
	r.refused(r.reset(p, token, newPassword+"!"), noUser(p.id))
	r.refuses(ask{method: http.MethodGet, path: "P/me", as: session}, refusal{401, "TOKEN_INVALID", "", ""})
	r.signInWith(p, newPassword)
	r.refuses(ask{path: "P/tokens", header: basic(p.email, password)}, refusal{401, "PASSWORD_INVALID", "header:Authorization", ""})
}

// weakPassword is told once the token has proved itself, and leaves it alive.
func weakPassword(r *run, weak, code, detail string) {
	p := r.user()
	token := r.link(p)
	answer := r.reset(p, token, weak)
	r.refused(answer, refusal{422, code, "/data/attributes/password", ""})
	got := r.oneError(answer)
	r.check(strings.HasPrefix(got.Detail, detail), "%s: want a detail that begins with %q", answer, detail)
	r.check(got.Links["about"] != "", "%s: want links.about", answer)
	r.check(r.reset(p, token, newPassword).status == http.StatusOK, "the token did not survive")
}

// updateCases are A3.
func updateCases() []Case {
	update := func(old, chosen string) string {
		return `{"meta":{"oldPassword":` + quote(old) + `,"newPassword":` + quote(chosen) + `}}`
	}
	path := func(p person) string { return p.path() + "/actions/update-password" }
	cases := []Case{
		{"A3/success", "", admin, func(r *run) {
			p := r.user()
			session, other := r.signIn(p), r.signIn(p)
			answer := r.expect(http.StatusOK, ask{path: path(p), body: update(password, newPassword), as: session})
			r.check(r.one(answer).ID == p.id, "%s: want the user", answer)
			r.expect(http.StatusOK, ask{method: http.MethodGet, path: "P/me", as: session})
			r.refuses(ask{method: http.MethodGet, path: "P/me", as: other}, refusal{401, "TOKEN_INVALID", "", ""})
			r.signInWith(p, newPassword)
		}},
		{"A3/ends-pending-links", "", admin | mail, func(r *run) {
			p := r.user()
			token := r.link(p)
			r.expect(http.StatusOK, ask{path: path(p), body: update(password, newPassword), as: r.signIn(p)})
			r.refused(r.reset(p, token, newPassword+"!"), noUser(p.id))
		}},
		{"A3/wrong-old-password", "", admin, func(r *run) {
			p := r.user()
			r.refuses(ask{path: path(p), body: update("not this one", newPassword), as: r.signIn(p)}, refusal{401, "", "/meta/oldPassword", "is not valid"})
		}},
		{"A3/no-token", "", admin, func(r *run) {
			r.refuses(ask{path: path(r.user()), body: update(password, newPassword)}, refusal{401, "TOKEN_MISSING", "", ""})
		}},
		{"A3/unknown-token", "", admin, func(r *run) {
			r.refuses(ask{path: path(r.user()), body: update(password, newPassword), as: "user-" + strings.Repeat("0", 64) + "v3"}, refusal{401, "TOKEN_INVALID", "", ""})
		}},
		{"A3/token-is-an-id", "", admin, func(r *run) {
			r.refuses(ask{path: path(r.user()), body: update(password, newPassword), as: nobody}, refusal{401, "TOKEN_FORMAT_INVALID", "", ""})
		}},
		{"A3/banned", "", admin, func(r *run) {
			p := r.user()
			session := r.signIn(p)
			r.expect(http.StatusOK, ask{path: p.path() + "/actions/ban", as: r.AdminToken})
			r.refuses(ask{path: path(p), body: update(password, newPassword), as: session}, refusal{403, "USER_BANNED", "", ""})
		}},
		{"A3/user-outside-the-scope", "", admin, func(r *run) {
			p, other := r.user(), r.user()
			r.refuses(ask{path: path(other), body: update(password, newPassword), as: r.signIn(p)}, noUser(other.id))
		}},
		{"A3/admin-on-another-user", "", admin, func(r *run) {
			r.refuses(ask{path: path(r.user()), body: update(password, newPassword), as: r.AdminToken}, refusal{403, "", "", ""})
		}},
		{"A3/password-too-short", "", admin, func(r *run) {
			p := r.user()
			r.refuses(ask{path: path(p), body: update(password, "x"), as: r.signIn(p)}, refusal{422, "PASSWORD_TOO_SHORT", "/data/attributes/password", ""})
		}},
		{"A3/password-too-long", "", admin, func(r *run) {
			p := r.user()
			r.refuses(ask{path: path(p), body: update(password, strings.Repeat("a 1", 100)), as: r.signIn(p)}, refusal{422, "PASSWORD_TOO_LONG", "/data/attributes/password", ""})
		}},
		{"A3/password-too-common", "R10", admin, func(r *run) {
			p := r.user()
			r.refuses(ask{path: path(p), body: update(password, "password1"), as: r.signIn(p)}, refusal{422, "PASSWORD_COMMON", "/data/attributes/password", ""})
		}},
	}
	for _, c := range []struct{ name, body, source, detail string }{
		{"no-meta", `{}`, "/meta", "is missing"},
		{"no-old-password", `{"meta":{"newPassword":"x"}}`, "/meta/oldPassword", "is missing"},
		{"no-new-password", `{"meta":{"oldPassword":"x"}}`, "/meta/newPassword", "is missing"},
		{"new-password-null", `{"meta":{"oldPassword":"x","newPassword":null}}`, "/meta/newPassword", "cannot be null"},
		{"old-password-array", `{"meta":{"oldPassword":[],"newPassword":"x"}}`, "/meta/oldPassword", "type mismatch (received array expected string)"},
		{"unknown-member", `{"meta":{"oldPassword":"x","newPassword":"x","otp":"1"}}`, "/meta/otp", "unpermitted parameter"},
	} {
		cases = append(cases, Case{"A3/" + c.name, "", admin, func(r *run) {
			p := r.user()
			r.refuses(ask{path: path(p), body: c.body, as: r.signIn(p)}, refusal{400, "", c.source, c.detail})
		}})
	}
	return cases
}

// expired gives the token of a link that has been there for too long.
func (r *run) expired(p person) string {
	token := r.link(p)
	if err := r.Expire(r.ctx, p.email); err != nil {
		r.fatalf("the link cannot be made old: %v", err)
	}
	return token
}

func expiredLink(r *run) {
	p := r.user()
	answer := r.reset(p, r.expired(p), newPassword)
	r.refused(answer, refusal{401, "", "/meta/passwordResetToken", "is expired"})
	r.check(strings.HasPrefix(answer.header.Get("WWW-Authenticate"), "Bearer realm="), "WWW-Authenticate %q", answer.header.Get("WWW-Authenticate"))
	r.signIn(p) // the password is the old one
}
