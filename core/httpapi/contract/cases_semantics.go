package contract

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// rawToken is a token as events carry it: the contract's, or ours.
var rawToken = regexp.MustCompile(`^([0-9a-f]{48}v3|A[A-Za-z0-9_-]{42})$`)

// semanticCases are D, what a reset is, and F, its mail.
func semanticCases() []Case {
	need := admin | mail
	dead := func(r *run, p person, token string) {
		r.refused(r.reset(p, token, newPassword+"!"), noUser(p.id))
	}
	alive := func(r *run, p person, token string) {
		answer := r.reset(p, token, newPassword)
		r.check(answer.status == http.StatusOK, "%s: want 200", answer)
	}
	cases := []Case{
		{"D/token-is-used-once", "", need, func(r *run) {
			p := r.user()
			token := r.link(p)
			alive(r, p, token)
			dead(r, p, token)
		}},
		{"D/repeat-sends-the-same-link", "R7", need, func(r *run) {
			p := r.user()
			first := r.link(p)
			r.accepted(r.forget(p.email))
			alive(r, p, first)
		}},
		{"D/wrong-token-leaves-the-link-alive", "", need, func(r *run) {
			p := r.user()
			token := r.link(p)
			dead(r, p, wrongToken)
			alive(r, p, token)
		}},
		{"D/password-change-ends-links", "R7", need, func(r *run) {
			p := r.user()
			token := r.link(p)
			r.patched(p, `{"password":"an admin has chosen this"}`)
			dead(r, p, token)
		}},
		{"D/address-change-ends-links", "R7", need, func(r *run) {
			p := r.user()
			token := r.link(p)
			r.patched(p, `{"email":`+quote(r.address())+`}`)
			dead(r, p, token)
		}},
		{"D/ban-ends-links", "R7", need, func(r *run) {
			p := r.user()
			token := r.link(p)
			r.expect(http.StatusOK, ask{path: p.path() + "/actions/ban", as: r.AdminToken})
			dead(r, p, token)
		}},
		{"D/deletion-ends-links", "", need, func(r *run) {
			p := r.user()
			token := r.link(p)
			r.removed(p)
			dead(r, p, token)
		}},
		{"D/reset-ends-all-tokens", "", need, func(r *run) {
			p := r.user()
			first, second := r.signIn(p), r.signIn(p)
			alive(r, p, r.link(p))
			for _, session := range []string{first, second} {
				r.refuses(ask{method: http.MethodGet, path: "P/me", as: session}, refusal{401, "TOKEN_INVALID", "", ""})
			}
		}},
		{"D/admins-too", "", need, func(r *run) {
			p := r.userWith(`"role":"admin","password":` + quote(password))
			alive(r, p, r.link(p))
		}},
		{"D/event-without-mail", "R5", admin | receiver, func(r *run) {
			p := r.user()
			r.listens("user.password-reset")
			r.accepted(r.forget(p.email))
			_, t := r.delivered("user.password-reset", p.id)
			r.check(rawToken.MatchString(t.payload.Meta["passwordResetToken"]), "meta.passwordResetToken has another form")
			r.check(t.payload.Data.text("email") == p.email, "the event's user is another")
			alive(r, p, t.payload.Meta["passwordResetToken"])
		}},
		{"D/event-with-mail", "R5", need | receiver, func(r *run) {
			p := r.user()
			r.listens("user.password-reset")
			r.link(p)
			r.delivered("user.password-reset", p.id)
		}},
		{"D/password-changed-event", "R11", need | receiver, func(r *run) {
			p := r.user()
			token := r.link(p)
			r.listens("user.password-changed")
			alive(r, p, token)
			r.delivered("user.password-changed", p.id)
		}},
	}
	return append(cases, mailCases()...)
}

// mailCases are F.
func mailCases() []Case {
	need := admin | mail
	return []Case{
		{"F/to-the-stored-address", "", need, func(r *run) {
			p := r.user()
			upper := p
			upper.email = strings.ToUpper(p.email)
			r.accepted(r.send(ask{path: "P/passwords", body: `{"meta":{"email":` + quote(upper.email) + `,"deliver":true}}`}))
			found, err := r.Mail(r.ctx, p.email)
			r.check(err == nil && slices.Equal(found.To, []string{p.email}), "To %q, %v", found.To, err)
		}},
		{"F/two-wordings", "", need, func(r *run) {
			reset, invitation := r.mailFor(r.user()), r.mailFor(r.managed())
			r.check(reset.Subject != invitation.Subject && reset.Subject != "" && invitation.Subject != "", "subjects %q and %q", reset.Subject, invitation.Subject)
		}},
		{"F/greets-by-first-name", "", need, func(r *run) {
			found := r.mailFor(r.userWith(`"firstName":"Adalgisa","password":` + quote(password)))
			r.check(strings.Contains(found.Text, "Adalgisa") && strings.Contains(found.HTML, "Adalgisa"), "the name is not in the mail")
		}},
		{"F/names-the-account", "", operator | mail, func(r *run) {
			t := r.tenant(`"branding":{"productName":"Contractual"}`)
			found := r.mailFor(r.userIn(t.path(), t.admin, `"password":`+quote(password)))
			r.check(strings.Contains(found.Subject, "Contractual") && strings.Contains(found.Text, "Contractual"), "subject %q", found.Subject)
		}},
		{"F/link-in-both-parts", "R16", need, func(r *run) {
			found := r.mailFor(r.user())
			r.check(found.Token != "" && strings.Contains(found.Text, found.Token) && strings.Contains(found.HTML, found.Token), "the link is not in both parts")
		}},
		{"F/no-html-of-a-name", "", need, func(r *run) {
			found := r.mailFor(r.userWith(`"firstName":"<b>Bold</b>","password":` + quote(password)))
			r.check(!strings.Contains(found.HTML, "<b>Bold"), "a name is markup")
		}},
	}
}
