package contract

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

// tokenForm is how a user's token looks.
var tokenForm = regexp.MustCompile(`^user-[0-9a-f]{64}v3$`)

// unknownToken has the form of one and is nobody's.
var unknownToken = "user-" + strings.Repeat("0", 64) + "v3"

// tokenCases are A5.
func tokenCases() []Case { return slices.Concat(signInCases(), bearerCases(), tokenLifeCases()) }

func signInCases() []Case {
	const path = "P/tokens"
	signedIn := func(r *run, body string) (reply, resource) {
		p := r.user()
		made := r.expect(http.StatusCreated, ask{path: path, body: body, header: basic(p.email, password)})
		got := r.one(made)
		r.check(got.Type == "tokens" && got.Relationships["bearer"].Data != nil && got.Relationships["bearer"].Data.ID == p.id, "%s: want a token of the user", made.ask.path)
		return made, got
	}
	cases := []Case{
		{"A5/sign-in", "", admin, func(r *run) {
			made, got := signedIn(r, "")
			r.check(tokenForm.MatchString(got.text("token")), "the token's form is another than user-, 64 hexadecimal digits, v3")
			r.check(strings.HasSuffix(made.header.Get("Location"), "/tokens/"+got.ID), "Location %q", made.header.Get("Location"))
			for _, name := range []string{"kind", "expiry", "name", "created", "updated"} {
				_, there := got.Attributes[name]
				r.check(there, "no attribute %s", name)
			}
		}},
		{"A5/expiry-of-users-is-two-weeks", "", admin, func(r *run) {
			_, got := signedIn(r, "")
			expiry, err := time.Parse(time.RFC3339, got.text("expiry"))
			r.check(err == nil && time.Until(expiry) > 13*24*time.Hour && time.Until(expiry) < 15*24*time.Hour, "expiry %s", got.Attributes["expiry"])
		}},
		{"A5/expiry-of-others-is-null", "", admin, func(r *run) {
			p := r.userWith(`"role":"read-only","password":` + quote(password))
			got := r.one(r.expect(http.StatusCreated, ask{path: path, header: basic(p.email, password)}))
			r.check(string(got.Attributes["expiry"]) == "null", "expiry %s", got.Attributes["expiry"])
			r.check(strings.HasPrefix(got.text("token"), "read-"), "the token's form is another than read-")
		}},
		{"A5/expiry-given", "", admin, func(r *run) {
			when := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
			_, got := signedIn(r, `{"data":{"type":"tokens","attributes":{"expiry":`+quote(when.Format(time.RFC3339))+`}}}`)
			expiry, err := time.Parse(time.RFC3339, got.text("expiry"))
			r.check(err == nil && expiry.Equal(when), "expiry %s, want %s", got.Attributes["expiry"], when)
		}},
		{"A5/expiry-null", "", admin, func(r *run) {
			_, got := signedIn(r, `{"data":{"type":"tokens","attributes":{"expiry":null}}}`)
			r.check(string(got.Attributes["expiry"]) == "null", "expiry %s", got.Attributes["expiry"])
		}},
		{"A5/name-given", "", admin, func(r *run) {
			_, got := signedIn(r, `{"data":{"type":"token","attributes":{"name":"laptop"}}}`)
			r.check(got.text("name") == "laptop", "name %s", got.Attributes["name"])
		}},
		{"A5/otp-is-taken-and-not-asked-for", "", admin, func(r *run) { signedIn(r, `{"meta":{"otp":"123456"}}`) }},
		{"A5/address-in-upper-case", "", admin, func(r *run) {
			p := r.user()
			r.expect(http.StatusCreated, ask{path: path, header: basic(strings.ToUpper(p.email), password)})
		}},
		{"A5/sign-in-by-bearer", "", admin, func(r *run) {
			session := r.signIn(r.user())
			got := r.one(r.expect(http.StatusCreated, ask{path: path, as: session}))
			r.check(got.text("token") != "" && got.text("token") != session, "want a further token")
		}},
		{"A5/unknown-address", "", nothing, func(r *run) {
			r.refuses(ask{path: path, header: basic(r.address(), password)}, refusal{401, "EMAIL_INVALID", "header:Authorization", ""})
		}},
		{"A5/wrong-password", "", admin, func(r *run) {
			r.refuses(ask{path: path, header: basic(r.user().email, "not this one")}, refusal{401, "PASSWORD_INVALID", "header:Authorization", ""})
		}},
		{"A5/no-password", "", admin, func(r *run) {
			r.refuses(ask{path: path, header: basic(r.user().email, "")}, refusal{401, "PASSWORD_REQUIRED", "header:Authorization", ""})
		}},
		{"A5/no-address", "", nothing, func(r *run) {
			r.refuses(ask{path: path, header: basic("", password)}, refusal{401, "EMAIL_REQUIRED", "header:Authorization", ""})
		}},
		{"A5/managed-user", "", admin, func(r *run) {
			r.refuses(ask{path: path, header: basic(r.managed().email, password)}, refusal{401, "PASSWORD_NOT_SUPPORTED", "header:Authorization", ""})
		}},
		{"A5/banned-user-with-the-right-password", "", admin, func(r *run) {
			answer := r.refuses(ask{path: path, header: basic(r.banned().email, password)}, refusal{403, "", "", ""})
			r.check(strings.Contains(answer.body, "user is banned"), "%s: want the reason", answer)
		}},
		{"A5/banned-user-with-a-wrong-password", "", admin, func(r *run) {
			r.refuses(ask{path: path, header: basic(r.banned().email, "not this one")}, refusal{401, "PASSWORD_INVALID", "header:Authorization", ""})
		}},
		{"A5/no-credentials", "", nothing, func(r *run) { r.refuses(ask{path: path}, refusal{401, "TOKEN_MISSING", "", ""}) }},
		{"A5/challenge", "R19", nothing, func(r *run) {
			answer := r.send(ask{path: path})
			r.check(answer.header.Get("WWW-Authenticate") == `Bearer realm="passmend"`, "WWW-Authenticate %q", answer.header.Get("WWW-Authenticate"))
		}},
		{"A5/event-token-generated", "", admin | receiver, func(r *run) {
			p := r.user()
			r.listens("token.generated")
			got := r.one(r.expect(http.StatusCreated, ask{path: path, header: basic(p.email, password)}))
			r.delivered("token.generated", got.ID)
		}},
	}
	for _, version := range []string{"1.0", "1.7"} {
		cases = append(cases, Case{"A5/codes-are-one-in-version-" + version, "", admin, func(r *run) {
			for name, header := range map[string]map[string]string{"unknown address": basic(r.address(), "x"), "wrong password": basic(r.user().email, "x"), "managed": basic(r.managed().email, "x")} {
				header["Keygen-Version"] = version
				answer := r.send(ask{path: path, header: header})
				r.check(answer.status == 401 && r.oneError(answer).Code == "CREDENTIALS_INVALID", "%s: %s", name, answer)
			}
		}})
	}
	for _, c := range []struct{ name, body, source, detail string }{
		{"name-integer", `{"data":{"type":"tokens","attributes":{"name":1}}}`, "/data/attributes/name", "type mismatch (received integer expected string)"},
		{"expiry-no-time", `{"data":{"type":"tokens","attributes":{"expiry":"tomorrow"}}}`, "/data/attributes/expiry", ""},
		{"type-missing", `{"data":{"attributes":{"name":"x"}}}`, "/data/type", "is missing"},
		{"unknown-member", `{"data":{"type":"tokens","attributes":{"token":"x"}}}`, "/data/attributes/token", "unpermitted parameter"},
	} {
		cases = append(cases, Case{"A5/" + c.name, "", admin, func(r *run) {
			r.refuses(ask{path: path, body: c.body, header: basic(r.user().email, password)}, refusal{400, "", c.source, c.detail})
		}})
	}
	return cases
}

// bearerCases are where a token may stand.
func bearerCases() []Case {
	const path = "P/me"
	var cases []Case
	for name, put := range map[string]func(token string) ask{
		"bearer":         func(t string) ask { return ask{header: map[string]string{"Authorization": "Bearer " + t}} },
		"token":          func(t string) ask { return ask{header: map[string]string{"Authorization": "Token " + t}} },
		"basic-token":    func(t string) ask { return ask{header: basic("token", t)} },
		"basic-username": func(t string) ask { return ask{header: basic(t, "")} },
		"query-token":    func(t string) ask { return ask{path: "?token=" + t} },
		"query-auth":     func(t string) ask { return ask{path: "?auth=" + t} },
		"query-auth-tag": func(t string) ask { return ask{path: "?auth=token:" + t} },
	} {
		cases = append(cases, Case{"A5/token-as-" + name, "", admin, func(r *run) {
			p := r.user()
			a := put(r.signIn(p))
			a.method, a.path = http.MethodGet, path+a.path
			got := r.one(r.expect(http.StatusOK, a))
			r.check(got.ID == p.id, "the bearer is %s, want %s", got.ID, p.id)
		}})
	}
	cases = byName(cases)
	for _, c := range []struct {
		name, value string
		want        refusal
	}{
		{"unknown", "Bearer " + unknownToken, refusal{401, "TOKEN_INVALID", "", ""}},
		{"garbage", "Bearer \"garbage\"", refusal{401, "TOKEN_INVALID", "", ""}},
		{"an-id", "Bearer " + nobody, refusal{401, "TOKEN_FORMAT_INVALID", "", ""}},
		{"missing", "", refusal{401, "TOKEN_MISSING", "", ""}},
	} {
		cases = append(cases, Case{"A5/token-" + c.name, "", nothing, func(r *run) {
			r.refuses(ask{method: http.MethodGet, path: path, header: map[string]string{"Authorization": c.value}}, c.want)
		}})
	}
	return append(cases,
		Case{"A5/token-of-a-banned-user", "", admin, func(r *run) {
			p := r.user()
			session := r.signIn(p)
			r.expect(http.StatusOK, ask{path: p.path() + "/actions/ban", as: r.AdminToken})
			r.refuses(ask{method: http.MethodGet, path: path, as: session}, refusal{403, "USER_BANNED", "", ""})
		}},
		Case{"A5/token-expired", "", admin, func(r *run) {
			p := r.user()
			when := time.Now().Add(2 * time.Second).UTC()
			made := r.one(r.expect(http.StatusCreated, ask{path: "P/tokens", header: basic(p.email, password),
				body: `{"data":{"type":"tokens","attributes":{"expiry":` + quote(when.Format(time.RFC3339)) + `}}}`}))
			r.eventually("the token expires", func() bool {
				return r.send(ask{method: http.MethodGet, path: path, as: made.text("token")}).status == http.StatusUnauthorized
			})
			r.refuses(ask{method: http.MethodGet, path: path, as: made.text("token")}, refusal{401, "TOKEN_EXPIRED", "", ""})
		}},
		Case{"A5/token-of-another-account", "", operator, func(r *run) {
			answer := r.send(ask{method: http.MethodGet, path: path, as: r.tenant("").admin})
			r.check(answer.status == 404 || answer.status == 401, "%s: want 404 or 401", answer)
		}})
}

// tokenLifeCases are list, show, regenerate and revoke.
func tokenLifeCases() []Case {
	get, put, del := http.MethodGet, http.MethodPut, http.MethodDelete
	noToken := func(id string) refusal {
		return refusal{404, "NOT_FOUND", "", "The requested token '" + id + "' was not found"}
	}
	// issued gives a user with two tokens, and what was told of the first.
	issued := func(r *run) (p person, first resource, second string) {
		p = r.user()
		first = r.one(r.expect(http.StatusCreated, ask{path: "P/tokens", header: basic(p.email, password)}))
		return p, first, r.signIn(p)
	}
	dead := func(r *run, token string) {
		r.refuses(ask{method: get, path: "P/me", as: token}, refusal{401, "TOKEN_INVALID", "", ""})
	}
	return []Case{
		{"A5/list-ones-own", "", admin, func(r *run) {
			p, first, session := issued(r)
			listed := r.many(r.expect(http.StatusOK, ask{method: get, path: "P/tokens", as: session}))
			r.check(len(listed.Data) == 2, "%d tokens, want 2", len(listed.Data))
			for _, d := range listed.Data {
				_, shown := d.Attributes["token"]
				r.check(!shown, "a list shows a token's value")
				r.check(d.Relationships["bearer"].Data != nil && d.Relationships["bearer"].Data.ID == p.id, "token %s is somebody else's", d.ID)
			}
			r.check(slices.ContainsFunc(listed.Data, func(d resource) bool { return d.ID == first.ID }), "the first token is not listed")
		}},
		{"A5/list-as-admin", "", admin, func(r *run) {
			_, first, _ := issued(r)
			listed := r.many(r.expect(http.StatusOK, ask{method: get, path: "P/tokens?limit=100", as: r.AdminToken}))
			r.check(slices.ContainsFunc(listed.Data, func(d resource) bool { return d.ID == first.ID }), "a user's token is not listed")
		}},
		{"A5/show", "", admin, func(r *run) {
			_, first, session := issued(r)
			shown := r.one(r.expect(http.StatusOK, ask{method: get, path: "P/tokens/" + first.ID, as: session}))
			_, value := shown.Attributes["token"]
			r.check(shown.ID == first.ID && !value, "want the token without its value")
		}},
		{"A5/show-somebody-elses", "", admin, func(r *run) {
			_, first, _ := issued(r)
			r.refuses(ask{method: get, path: "P/tokens/" + first.ID, as: r.signIn(r.user())}, noToken(first.ID))
		}},
		{"A5/show-unknown", "", admin, func(r *run) {
			r.refuses(ask{method: get, path: "P/tokens/" + nobody, as: r.AdminToken}, noToken(nobody))
		}},
		{"A5/list-without-token", "", nothing, func(r *run) { r.refuses(ask{method: get, path: "P/tokens"}, refusal{401, "TOKEN_MISSING", "", ""}) }},
		{"A5/regenerate", "", admin, func(r *run) {
			_, first, session := issued(r)
			again := r.one(r.expect(http.StatusOK, ask{method: put, path: "P/tokens/" + first.ID, as: session}))
			r.check(again.ID == first.ID && tokenForm.MatchString(again.text("token")) && again.text("token") != first.text("token"), "want the same token with another value")
			dead(r, first.text("token"))
			r.expect(http.StatusOK, ask{method: get, path: "P/me", as: again.text("token")})
		}},
		{"A5/regenerate-the-current-one", "", admin, func(r *run) {
			_, first, _ := issued(r)
			again := r.one(r.expect(http.StatusOK, ask{method: put, path: "P/tokens", as: first.text("token")}))
			r.check(again.ID == first.ID, "token %s, want %s", again.ID, first.ID)
			dead(r, first.text("token"))
		}},
		{"A5/regenerate-resets-the-expiry", "", admin, func(r *run) {
			p := r.user()
			soon := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
			made := r.one(r.expect(http.StatusCreated, ask{path: "P/tokens", header: basic(p.email, password),
				body: `{"data":{"type":"tokens","attributes":{"expiry":` + quote(soon) + `}}}`}))
			again := r.one(r.expect(http.StatusOK, ask{method: put, path: "P/tokens", as: made.text("token")}))
			expiry, err := time.Parse(time.RFC3339, again.text("expiry"))
			r.check(err == nil && time.Until(expiry) > 13*24*time.Hour, "expiry %s", again.Attributes["expiry"])
		}},
		{"A5/regenerate-somebody-elses", "", admin, func(r *run) {
			_, first, _ := issued(r)
			r.refuses(ask{method: put, path: "P/tokens/" + first.ID, as: r.signIn(r.user())}, noToken(first.ID))
		}},
		{"A5/revoke", "", admin, func(r *run) {
			_, first, session := issued(r)
			gone := r.expect(http.StatusNoContent, ask{method: del, path: "P/tokens/" + first.ID, as: session})
			r.check(gone.body == "", "a body: %s", gone)
			dead(r, first.text("token"))
			r.refuses(ask{method: del, path: "P/tokens/" + first.ID, as: session}, noToken(first.ID))
		}},
		{"A5/revoke-as-admin", "", admin, func(r *run) {
			_, first, _ := issued(r)
			r.expect(http.StatusNoContent, ask{method: del, path: "P/tokens/" + first.ID, as: r.AdminToken})
			dead(r, first.text("token"))
		}},
		{"A5/revoke-somebody-elses", "", admin, func(r *run) {
			_, first, _ := issued(r)
			r.refuses(ask{method: del, path: "P/tokens/" + first.ID, as: r.signIn(r.user())}, noToken(first.ID))
		}},
		{"A5/token-of-another-account-is-not-found", "", admin | operator, func(r *run) {
			t := r.tenant("")
			var me struct{ Included []resource }
			answer := r.expect(http.StatusOK, ask{method: get, path: t.path() + "/me", as: t.admin})
			if err := json.Unmarshal([]byte(answer.body), &me); err != nil || len(me.Included) != 1 {
				r.fatalf("%s: want one token included", answer)
			}
			r.refuses(ask{method: get, path: "P/tokens/" + me.Included[0].ID, as: r.AdminToken}, noToken(me.Included[0].ID))
		}},
		{"A5/event-token-regenerated", "", admin | receiver, func(r *run) {
			_, first, session := issued(r)
			r.listens("token.regenerated")
			r.expect(http.StatusOK, ask{method: put, path: "P/tokens/" + first.ID, as: session})
			r.delivered("token.regenerated", first.ID)
		}},
		{"A5/event-token-revoked", "", admin | receiver, func(r *run) {
			_, first, session := issued(r)
			r.listens("token.revoked")
			r.expect(http.StatusNoContent, ask{method: del, path: "P/tokens/" + first.ID, as: session})
			r.delivered("token.revoked", first.ID)
		}},
	}
}
