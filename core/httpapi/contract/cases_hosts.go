package contract

import (
	"net/http"
	"net/url"
	"strings"
)

// hostCases are B, where the host says whose call it is, or nothing has to.
func hostCases() []Case {
	get := http.MethodGet
	gone := refusal{404, "NOT_FOUND", "", ""}
	on := func(host string, a ask) ask {
		a.header = map[string]string{"Host": host}
		return a
	}
	cases := []Case{
		{"B/own-host", "R1", ownHost, func(r *run) {
			r.accepted(r.send(on(r.Host, ask{path: "/v1/passwords", body: asked(r.address())})))
		}},
		{"B/own-host-in-any-spelling", "R1", ownHost, func(r *run) {
			for _, host := range []string{strings.ToUpper(r.Host), r.Host + ":443", r.Host + "."} {
				r.accepted(r.send(on(host, ask{path: "/v1/passwords", body: asked(r.address())})))
			}
		}},
		{"B/own-host-is-the-accounts", "", ownHost, func(r *run) {
			want := r.plainly(nil).header.Get("Keygen-Account")
			got := r.send(on(r.Host, ask{path: "/v1/passwords", body: asked(r.address())})).header.Get("Keygen-Account")
			r.check(got == want && got != "", "Keygen-Account %q, want %q", got, want)
		}},
		{"B/own-host-reset", "", ownHost, func(r *run) {
			r.refuses(on(r.Host, ask{path: "/v1/users/" + nobody + "/actions/reset-password", body: resetBody(wrongToken, newPassword)}), noUser(nobody))
		}},
		{"B/own-host-me", "", ownHost | admin, func(r *run) {
			p := r.user()
			answer := r.expect(http.StatusOK, on(r.Host, ask{method: get, path: "/v1/me", as: r.signIn(p)}))
			r.check(r.one(answer).ID == p.id, "%s: want the user", answer)
		}},
		{"B/own-host-takes-no-account-in-the-path", "", ownHost, func(r *run) {
			for _, path := range []string{"P/passwords", "/v1/accounts/" + nobody + "/passwords"} {
				r.refuses(on(r.Host, ask{path: path, body: asked(r.address())}), gone)
			}
		}},
		{"B/below-the-platforms-host", "", nothing, func(r *run) {
			base, err := url.Parse(r.URL)
			if err != nil {
				r.fatalf("%v", err)
			}
			answer := r.send(on("contract."+base.Host, ask{path: "/v1/passwords", body: asked(r.address())}))
			r.check(answer.status == http.StatusNotFound || answer.status == http.StatusForbidden || answer.status == http.StatusMisdirectedRequest, "%s: want 404, 403 or 421", answer)
		}},
	}
	for _, c := range []struct {
		name, ruling string
		needs        needs
		run          func(*run)
	}{
		{"passwords", "R1", nothing, func(r *run) { r.accepted(r.send(ask{path: "/v1/passwords", body: asked(r.address())})) }},
		{"named-all-the-same", "R1", nothing, func(r *run) { r.accepted(r.forget(r.address())) }},
		{"reset", "", nothing, func(r *run) {
			r.refuses(ask{path: "/v1/users/" + nobody + "/actions/reset-password", body: resetBody(wrongToken, newPassword)}, noUser(nobody))
		}},
		{"me", "", admin, func(r *run) {
			p := r.user()
			r.check(r.one(r.expect(http.StatusOK, ask{method: get, path: "/v1/me", as: r.signIn(p)})).ID == p.id, "it is another user")
		}},
		{"account-header", "", nothing, func(r *run) {
			got := r.send(ask{path: "/v1/passwords", body: asked(r.address())}).header.Get("Keygen-Account")
			r.check(got != "" && got == r.plainly(nil).header.Get("Keygen-Account"), "Keygen-Account %q", got)
		}},
		{"no-other", "", nothing, func(r *run) {
			r.refuses(ask{path: "/v1/accounts/" + nobody + "/passwords", body: asked(r.address())}, refusal{404, "NOT_FOUND", "", "The requested account '" + nobody + "' was not found"})
		}},
	} {
		cases = append(cases, Case{"B/one-account-" + c.name, c.ruling, c.needs, func(r *run) {
			if r.plainly(nil).header.Get("Keygen-Mode") != "singleplayer" {
				r.skipf("the server has many accounts")
			}
			c.run(r)
		}})
	}
	return cases
}
