package contract

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

var uuidV7 = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

// headerCases are C9, C10 and C11.
func headerCases() []Case {
	return slices.Concat(answerHeaderCases(), signatureCases(), versionCases(), corsCases())
}

func (r *run) plainly(header map[string]string) reply {
	return r.send(ask{path: "P/passwords", body: asked(r.address()), header: header})
}

func answerHeaderCases() []Case {
	var cases []Case
	for _, c := range []struct{ name, ruling, header, value string }{
		{"cache-control", "", "Cache-Control", "no-transform, no-store, max-age=0"},
		{"content-security-policy", "", "Content-Security-Policy", "default-src 'none'"},
		{"edition", "R19", "Keygen-Edition", "CE"},
	} {
		cases = append(cases, Case{"C9/" + c.name, c.ruling, nothing, func(r *run) {
			for _, answer := range []reply{r.plainly(nil), r.send(ask{path: "P/passwords", body: `{}`}), r.send(ask{method: http.MethodGet, path: "P/me"})} {
				r.check(answer.header.Get(c.header) == c.value, "%s: %s %q, want %q", answer, c.header, answer.header.Get(c.header), c.value)
			}
		}})
	}
	return append(cases,
		Case{"C9/request-id-is-uuid-v7", "", nothing, func(r *run) {
			first, second := r.plainly(nil).header.Get("X-Request-Id"), r.plainly(nil).header.Get("X-Request-Id")
			r.check(uuidV7.MatchString(first) && first != second, "X-Request-Id %q, then %q", first, second)
		}},
		Case{"C9/request-id-of-the-client-is-overwritten", "", nothing, func(r *run) {
			answer := r.plainly(map[string]string{"X-Request-Id": nobody})
			r.check(answer.header.Get("X-Request-Id") != nobody, "the client's id came back")
		}},
		Case{"C9/account", "", admin, func(r *run) {
			answer := r.expect(http.StatusOK, ask{method: http.MethodGet, path: "P/me", as: r.AdminToken})
			id := r.one(answer).Relationships["account"].Data
			r.check(id != nil && answer.header.Get("Keygen-Account") == id.ID, "Keygen-Account %q", answer.header.Get("Keygen-Account"))
			r.check(r.plainly(nil).header.Get("Keygen-Account") == answer.header.Get("Keygen-Account"), "POST passwords names another account")
		}},
		Case{"C9/bearer-and-token", "", admin, func(r *run) {
			p := r.user()
			answer := r.expect(http.StatusOK, ask{method: http.MethodGet, path: "P/profile", as: r.signIn(p)})
			var profile struct{ Meta struct{ TokenID string } }
			_ = json.Unmarshal([]byte(answer.body), &profile)
			r.check(answer.header.Get("Keygen-Bearer") == p.id, "Keygen-Bearer %q, want %s", answer.header.Get("Keygen-Bearer"), p.id)
			r.check(profile.Meta.TokenID != "" && answer.header.Get("Keygen-Token") == profile.Meta.TokenID, "Keygen-Token %q, want %s", answer.header.Get("Keygen-Token"), profile.Meta.TokenID)
		}},
		Case{"C9/mode", "R19", nothing, func(r *run) {
			mode := r.plainly(nil).header.Get("Keygen-Mode")
			r.check(mode == "multiplayer" || mode == "singleplayer", "Keygen-Mode %q", mode)
		}},
		Case{"C9/revision", "R19", nothing, func(r *run) {
			r.check(r.plainly(nil).header.Get("Keygen-Revision") != "", "no Keygen-Revision")
		}},
		Case{"C9/digest", "", nothing, func(r *run) {
			for _, answer := range []reply{r.plainly(nil), r.send(ask{path: "P/passwords", body: `{}`})} {
				r.digested(answer)
			}
		}},
		Case{"C9/date", "", nothing, func(r *run) {
			answer := r.plainly(nil)
			date, err := http.ParseTime(answer.header.Get("Date"))
			r.check(err == nil && time.Since(date).Abs() < 10*time.Minute, "Date %q", answer.header.Get("Date"))
			r.check(answer.header.Get("Date") == answer.header.Get("Keygen-Date"), "Keygen-Date %q is not Date %q", answer.header.Get("Keygen-Date"), answer.header.Get("Date"))
		}},
		Case{"C9/no-server-name", "R19", nothing, func(r *run) {
			answer := r.plainly(nil)
			r.check(answer.header.Get("Server") == "" && answer.header.Get("X-Powered-By") == "", "Server %q, X-Powered-By %q", answer.header.Get("Server"), answer.header.Get("X-Powered-By"))
		}})
}

// digested holds Digest to the body.
func (r *run) digested(answer reply) {
	sum := sha256.Sum256([]byte(answer.body))
	want := "sha-256=" + base64.StdEncoding.EncodeToString(sum[:])
	r.check(answer.header.Get("Digest") == want && answer.header.Get("Keygen-Digest") == want, "%s: Digest %q, Keygen-Digest %q, want %q",
		answer, answer.header.Get("Digest"), answer.header.Get("Keygen-Digest"), want)
}

// signatureCases are the signed answers of C9, verified by the keys that GET account
// shows.
func signatureCases() []Case {
	var cases []Case
	for _, algorithm := range algorithms {
		for _, c := range []struct {
			on  string
			ask func(r *run) ask
		}{
			{"the-empty-202", func(r *run) ask { return ask{path: "P/passwords", body: asked(r.address())} }},
			{"a-document", func(r *run) ask { return ask{method: http.MethodGet, path: "P/me?x=1", as: r.AdminToken} }},
			{"an-error", func(*run) ask { return ask{path: "P/passwords", body: `{}`} }},
		} {
			cases = append(cases, Case{"C9/signature-" + algorithm + "-on-" + c.on, "", admin, func(r *run) {
				a := c.ask(r)
				a.header = map[string]string{"Keygen-Accept-Signature": `algorithm="` + algorithm + `"`}
				answer := r.send(a)
				r.digested(answer)
				if wrong := r.verifies(algorithm, answer.signed(r.suite), answer.header); wrong != "" {
					r.errorf("%s: %s", answer, wrong)
				}
			}})
		}
	}
	return append(cases, Case{"C9/signature-default-is-ed25519", "", admin, func(r *run) {
		answer := r.plainly(map[string]string{"Keygen-Accept-Signature": `keyid="x"`})
		if wrong := r.verifies("ed25519", answer.signed(r.suite), answer.header); wrong != "" {
			r.errorf("%s", wrong)
		}
	}}, Case{"C9/signature-proves-this-answer-only", "", admin, func(r *run) {
		answer := r.plainly(map[string]string{"Keygen-Accept-Signature": `algorithm="ed25519"`})
		other := answer.signed(r.suite)
		other.target += "x"
		r.check(r.verifies("ed25519", other, answer.header) != "", "the signature also proves another target")
	}})
}

// versionCases are C10 and the two shapes that depend on the version.
func versionCases() []Case {
	var cases []Case
	for _, version := range []string{"1.0", "1.1", "1.2", "1.3", "1.4", "1.5", "1.6", "1.7", "1.8"} {
		cases = append(cases, Case{"C10/version-" + version, "", nothing, func(r *run) {
			for _, sent := range []string{version, "v" + version} {
				answer := r.plainly(map[string]string{"Keygen-Version": sent})
				r.accepted(answer)
				r.check(answer.header.Get("Keygen-Version") == version, "Keygen-Version %q, want %q", answer.header.Get("Keygen-Version"), version)
			}
		}}, Case{"C9/names-of-ids-in-version-" + version, "", nothing, func(r *run) {
			answer := r.plainly(map[string]string{"Keygen-Version": version})
			plain, suffixed := answer.header.Get("Keygen-Account"), answer.header.Get("Keygen-Account-Id")
			if version <= "1.3" {
				plain, suffixed = suffixed, plain
			}
			r.check(plain != "" && suffixed == "", "Keygen-Account %q, Keygen-Account-Id %q", answer.header.Get("Keygen-Account"), answer.header.Get("Keygen-Account-Id"))
		}})
	}
	return append(cases, Case{"C10/default-is-the-accounts", "", admin, func(r *run) {
		shown := r.one(r.expect(http.StatusOK, ask{method: http.MethodGet, path: "P", as: r.AdminToken})).text("apiVersion")
		got := r.plainly(nil).header.Get("Keygen-Version")
		r.check(got == shown, "Keygen-Version %q, the account's is %q", got, shown)
	}})
}

// corsCases are C11.
func corsCases() []Case {
	var cases []Case
	for name, path := range map[string]string{
		"passwords": "P/passwords", "reset-password": resetPath("x"), "tokens": "P/tokens", "users": "P/users", "me": "P/me", "account": "P",
		"webhook-endpoints": "P/webhook-endpoints", "unknown-path": "/v1/nothing",
	} {
		cases = append(cases, Case{"C11/preflight-" + name, "", nothing, func(r *run) {
			answer := r.send(ask{method: http.MethodOptions, path: path, header: map[string]string{
				"Origin": "https://app.contract.example", "Access-Control-Request-Method": "DELETE", "Access-Control-Request-Headers": "authorization,content-type,keygen-version",
			}})
			r.check(answer.status == http.StatusOK || answer.status == http.StatusNoContent, "%s", answer)
			for header, want := range map[string]string{"Access-Control-Allow-Methods": "DELETE", "Access-Control-Allow-Headers": "authorization", "Access-Control-Max-Age": "86400"} {
				r.check(strings.Contains(answer.header.Get(header), want), "%s %q, want %s", header, answer.header.Get(header), want)
			}
			origin := answer.header.Get("Access-Control-Allow-Origin")
			r.check(origin == "*" || origin == "https://app.contract.example", "Access-Control-Allow-Origin %q", origin)
		}})
	}
	return append(byName(cases),
		Case{"C11/any-origin", "", nothing, func(r *run) {
			for _, answer := range []reply{r.plainly(map[string]string{"Origin": "https://app.contract.example"}), r.send(ask{path: "P/passwords", body: `{`, header: map[string]string{"Origin": "null"}})} {
				r.check(answer.header.Get("Access-Control-Allow-Origin") != "", "%s: no Access-Control-Allow-Origin", answer)
			}
		}},
		Case{"C11/exposed-headers", "", nothing, func(r *run) {
			exposed := strings.ToLower(r.plainly(map[string]string{"Origin": "https://app.contract.example"}).header.Get("Access-Control-Expose-Headers"))
			for _, name := range []string{"keygen-account", "keygen-version", "keygen-signature", "x-ratelimit-limit", "x-ratelimit-reset", "x-request-id", "date", "digest"} {
				r.check(strings.Contains(exposed, name), "%s is not exposed by %q", name, exposed)
			}
		}},
		Case{"C11/no-credentials-for-unknown-origins", "", nothing, func(r *run) {
			answer := r.plainly(map[string]string{"Origin": "https://evil.contract.example"})
			r.check(answer.header.Get("Access-Control-Allow-Credentials") != "true", "a strange origin may send credentials")
		}})
}
