package httpapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/httpapi"
	"github.com/passmend/passmend/tenants"
)

func bearer(token string) map[string]string {
	return map[string]string{"Authorization": "Bearer " + token}
}

func (e *edge) get(path string, header map[string]string) reply {
	e.t.Helper()
	return e.do(ask{method: "GET", path: path, header: header})
}

// The journey's end: a link sets the password, sign-in works with it, tokens and
// links that were out are dead.
func TestResetPassword(t *testing.T) {
	t.Parallel()
	e := setup(t)
	before := e.token(e.ada)
	second := e.link(e.acme, "ada@example.com")
	raw := e.link(e.acme, "ada@example.com")
	path := "/v1/accounts/acme/users/" + url.PathEscape("ADA@example.com") + "/actions/reset-password"
	body := fmt.Sprintf(`{"meta":{"passwordResetToken":%q,"newPassword":"a new phrase for ada"}}`, raw)

	answer := e.do(ask{path: path, body: body, header: bearer("garbage is not looked at")})
	if answer.Status != 200 {
		t.Fatalf("%d %s", answer.Status, answer.Body)
	}
	user := got(e.store.User(context.Background(), e.acme.ID, e.ada.ID))(t)
	id, account := string(user.ID), string(e.acme.ID)
	stamp := func(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05.000Z") }
	want := `{"data":{"id":"` + id + `","type":"users","attributes":{"fullName":"Ada","firstName":"Ada","lastName":null,"email":"ada@example.com","status":"ACTIVE","role":"user","metadata":{},"created":"` + stamp(user.Created) + `","updated":"` + stamp(user.Updated) + `"},"relationships":{"account":{"links":{"related":"/v1/accounts/` + account + `"},"data":{"type":"accounts","id":"` + account + `"}},"tokens":{"links":{"related":"/v1/accounts/` + account + `/users/` + id + `/tokens"}}},"links":{"self":"/v1/accounts/` + account + `/users/` + id + `"}}}`
	if diff := cmp.Diff(want, answer.Body); diff != "" {
		t.Error(diff)
	}
	if status := e.get("/v1/me", bearer(before)).Status; status != 401 {
		t.Errorf("a token from before still answers %d", status)
	}
	for name, token := range map[string]string{"the same link": raw, "the other link": second} {
		body := fmt.Sprintf(`{"meta":{"passwordResetToken":%q,"newPassword":"yet another phrase"}}`, token)
		if answer := e.do(ask{path: path, body: body}); answer.Status != 404 {
			t.Errorf("%s again: %d %s", name, answer.Status, answer.Body)
		}
	}
	signedIn := e.do(ask{path: "/v1/accounts/acme/tokens", header: map[string]string{"Authorization": basic("Ada@Example.com", "a new phrase for ada")}})
	if signedIn.Status != 201 {
		t.Errorf("sign-in: %d %s", signedIn.Status, signedIn.Body)
	}
}

// R10: the codes, the pointer and the account's own minimum; the link survives.
func TestResetPasswordPolicy(t *testing.T) {
	t.Parallel()
	e := setup(t)
	strict := e.acme
	strict.Password.Minimum = 12
	got(e.store.UpdateAccount(t.Context(), strict.ID, strict))(t)
	e.resolver.Clear()
	raw := e.link(strict, "ada@example.com")
	path := "/v1/accounts/acme/users/" + string(e.ada.ID) + "/actions/reset-password"
	for _, c := range []struct {
		password string
		status   int
		want     string
	}{
		{"short", 422, "PASSWORD_TOO_SHORT | /data/attributes/password | is too short (minimum is 12 characters)"},
		{strings.Repeat("x", 257), 422, "PASSWORD_TOO_LONG | /data/attributes/password | is too long (maximum is 256 characters)"},
		{"ada@example.com", 422, "PASSWORD_COMMON | /data/attributes/password | is too common"},
		{"long enough to be a phrase", 200, ""},
	} {
		body := fmt.Sprintf(`{"meta":{"password_reset_token":%q,"NewPassword":%q}}`, raw, c.password)
		answer := e.do(ask{path: path, body: body})
		if answer.Status != c.status {
			t.Fatalf("%s: %d %s", c.want, answer.Status, answer.Body)
		}
		if c.status == 200 {
			continue
		}
		found, _ := answer.oneError(t)
		if line := found.Code + " | " + found.Source["pointer"] + " | " + found.Detail; line != c.want || found.Title != "Unprocessable resource" || found.Links["about"] == "" {
			t.Errorf("got %s: %s", line, answer.Body)
		}
	}
}

func TestResetPasswordBody(t *testing.T) {
	t.Parallel()
	e := setup(t)
	for _, c := range []struct{ body, want string }{
		{``, "/meta | is missing"},
		{`{"meta":{}}`, "/meta/passwordResetToken | is missing"},
		{`{"meta":{"newPassword":"x"}}`, "/meta/passwordResetToken | is missing"},
		{`{"meta":{"passwordResetToken":"x"}}`, "/meta/newPassword | is missing"},
		{`{"meta":{"passwordResetToken":"x","newPassword":null}}`, "/meta/newPassword | cannot be null"},
		{`{"meta":{"passwordResetToken":"x","newPassword":" "}}`, "/meta/newPassword | cannot be blank"},
		{`{"meta":{"passwordResetToken":1,"newPassword":2}}`, "/meta/passwordResetToken | type mismatch (received integer expected string)"},
		{`{"meta":{"passwordResetToken":"x","newPassword":"y","otp":"1"}}`, "/meta/otp | unpermitted parameter"},
	} {
		for _, user := range []string{string(e.ada.ID), "ada@example.com", "nobody@example.com"} {
			answer := e.do(ask{path: "/v1/accounts/acme/users/" + user + "/actions/reset-password", body: c.body})
			if line := answer.line(t); line != "Bad Request | - | "+c.want {
				t.Errorf("%s for %s: %s", c.body, user, line)
			}
		}
	}
}

// A5: each way to sign in, and each way to fail.
func TestPostTokens(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.userWithPassword(e.acme, "pat@example.com", nil)
	e.userWithPassword(e.acme, "ban@example.com", func(u *core.User) { u.Banned = true })
	for _, c := range []struct {
		name, authorization, version, want string
		status                             int
	}{
		{"no credentials", "", "", "TOKEN_MISSING", 401},
		{"no address", basic("", "x"), "", "EMAIL_REQUIRED", 401},
		{"no password", basic("pat@example.com", ""), "", "PASSWORD_REQUIRED", 401},
		{"unknown address", basic("nobody@example.com", adaPassword), "", "EMAIL_INVALID", 401},
		{"an address that none can be", basic("no\x01body@example.com", adaPassword), "", "EMAIL_INVALID", 401},
		{"wrong password", basic("pat@example.com", "wrong"), "", "PASSWORD_INVALID", 401},
		{"user without password", basic("ada@example.com", adaPassword), "", "PASSWORD_NOT_SUPPORTED", 401},
		{"banned, right password", basic("ban@example.com", adaPassword), "", "", 403},
		{"banned, wrong password", basic("ban@example.com", "wrong"), "", "PASSWORD_INVALID", 401},
		{"1.7 unknown address", basic("nobody@example.com", adaPassword), "1.7", "CREDENTIALS_INVALID", 401},
		{"1.7 wrong password", basic("pat@example.com", "wrong"), "1.7", "CREDENTIALS_INVALID", 401},
		{"1.0 no password", basic("pat@example.com", ""), "1.0", "CREDENTIALS_INVALID", 401},
		{"unknown token as user name", basic("token", "user-x"), "", "TOKEN_INVALID", 401},
		{"unknown bearer", "Bearer user-x", "", "TOKEN_INVALID", 401},
		{"identifier as token", "Bearer " + string(e.ada.ID), "", "TOKEN_FORMAT_INVALID", 401},
		{"operator", "Bearer " + e.operatorToken(), "", "", 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			answer := e.do(ask{path: "/v1/accounts/acme/tokens", header: map[string]string{"Authorization": c.authorization, "Keygen-Version": c.version}})
			found, hasMeta := answer.oneError(t)
			if answer.Status != c.status || found.Code != c.want || !hasMeta {
				t.Fatalf("%d %s", answer.Status, answer.Body)
			}
			challenge := answer.Header.Get("WWW-Authenticate")
			if (c.status == 401) != (challenge == `Bearer realm="passmend"`) {
				t.Errorf("challenge %q", challenge)
			}
			login := strings.HasPrefix(c.want, "EMAIL") || strings.HasPrefix(c.want, "PASSWORD") || strings.HasPrefix(c.want, "CREDENTIALS")
			if login && found.Source["header"] != "Authorization" {
				t.Errorf("source %v", found.Source)
			}
		})
	}
	// Up to 1.7 the texts are one as well, or the codes would be folded for nothing.
	folded := func(authorization string) string {
		return e.do(ask{path: "/v1/accounts/acme/tokens", header: map[string]string{"Authorization": authorization, "Keygen-Version": "1.7"}}).fingerprint()
	}
	if folded(basic("nobody@example.com", "x")) != folded(basic("pat@example.com", "x")) {
		t.Error("version 1.7 tells who exists")
	}
}

func TestIssuedTokens(t *testing.T) {
	t.Parallel()
	e := setup(t)
	pat := e.userWithPassword(e.acme, "pat@example.com", nil)
	admin := e.userWithPassword(e.acme, "root@example.com", func(u *core.User) { u.Role = core.RoleAdmin })
	type token struct {
		Data struct {
			ID, Type   string
			Attributes struct {
				Kind, Token, Created, Updated string
				Expiry, Name                  *string
			}
			Relationships struct {
				Bearer struct{ Data struct{ Type, ID string } }
			}
			Links struct{ Self string }
		}
	}
	for _, c := range []struct {
		name, authorization, body, kind string
		user                            core.User
		life                            time.Duration // 0: never expires
	}{
		{"login of a user", basic("pat@example.com", adaPassword), ``, "user-token", pat, 14 * 24 * time.Hour},
		{"login of an admin", basic("root@example.com", adaPassword), `{}`, "admin-token", admin, 0},
		{"expiry null is never", basic("pat@example.com", adaPassword), `{"data":{"type":"tokens","attributes":{"expiry":null,"name":"laptop"}}}`, "user-token", pat, 0},
		{"expiry given", basic("root@example.com", adaPassword), `{"data":{"type":"token","attributes":{"expiry":"` + time.Now().Add(time.Hour).Format(time.RFC3339) + `"}}}`, "admin-token", admin, time.Hour},
		{"a bearer's further token", "Bearer " + e.token(pat), `{"meta":{"otp":null}}`, "user-token", pat, 14 * 24 * time.Hour},
		{"a bearer in Basic", basic("token", e.token(pat)), ``, "user-token", pat, 14 * 24 * time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			answer := e.do(ask{path: "/v1/accounts/acme/tokens", body: c.body, header: map[string]string{"Authorization": c.authorization}})
			if answer.Status != 201 {
				t.Fatalf("%d %s", answer.Status, answer.Body)
			}
			var made token
			must(t, json.Unmarshal([]byte(answer.Body), &made))
			a := made.Data.Attributes
			if made.Data.Type != "tokens" || a.Kind != c.kind || made.Data.Relationships.Bearer.Data.ID != string(c.user.ID) {
				t.Errorf("%s", answer.Body)
			}
			if answer.Header.Get("Location") != made.Data.Links.Self || answer.Header.Get("Keygen-Bearer") != string(c.user.ID) || answer.Header.Get("Keygen-Token") != made.Data.ID {
				t.Errorf("headers %v", answer.Header)
			}
			if (a.Expiry == nil) != (c.life == 0) {
				t.Fatalf("expiry %v", a.Expiry)
			}
			if a.Expiry != nil {
				at := got(time.Parse(time.RFC3339, *a.Expiry))(t)
				if off := time.Until(at) - c.life; off < -time.Minute || off > time.Minute {
					t.Errorf("expires %s off", off)
				}
			}
			if status := e.get("/v1/accounts/acme/me", bearer(a.Token)).Status; status != 200 {
				t.Errorf("the token answers %d", status)
			}
		})
	}
	for body, want := range map[string]string{
		`{"data":{}}`:               "/data/type | is missing",
		`{"data":{"type":"users"}}`: "/data/type | is invalid",
		`{"data":{"type":"tokens","attributes":{"expiry":"soon"}}}`:                           "/data/attributes/expiry | type mismatch (received string expected time)",
		`{"data":{"type":"tokens","attributes":{"name":"` + strings.Repeat("x", 256) + `"}}}`: "/data/attributes/name | is too long (maximum is 255 characters)",
		`{"data":{"type":"tokens","relationships":{}}}`:                                       "/data/relationships | unpermitted parameter",
	} {
		answer := e.do(ask{path: "/v1/accounts/acme/tokens", body: body, header: map[string]string{"Authorization": basic("pat@example.com", adaPassword)}})
		if line := answer.line(t); line != "Bad Request | - | "+want {
			t.Errorf("%s: %s", body, line)
		}
	}
}

func TestMe(t *testing.T) {
	t.Parallel()
	e := setup(t)
	raw := e.token(e.ada)
	for name, header := range map[string]map[string]string{
		"Bearer": bearer(raw), "Token": {"Authorization": "token " + raw}, "Token token=": {"Authorization": `Token token="` + raw + `"`},
		"Basic token": {"Authorization": basic("token", raw)}, "Basic legacy": {"Authorization": basic(raw, "")},
	} {
		for _, path := range []string{"/v1/me", "/v1/accounts/acme/me"} {
			answer := e.get(path, header)
			if answer.Status != 200 || !strings.Contains(answer.Body, `"included":[{"id":"`) || answer.Header.Get("Keygen-Account") != string(e.acme.ID) || answer.Header.Get("Keygen-Bearer") != string(e.ada.ID) {
				t.Errorf("%s %s: %d %s", name, path, answer.Status, answer.Body)
			}
			if strings.Contains(answer.Body, raw) {
				t.Error("the token's value came back")
			}
		}
	}
	for _, query := range []string{"?token=" + raw, "?auth=" + raw, "?auth=token:" + raw} {
		if answer := e.get("/v1/me"+query, nil); answer.Status != 200 {
			t.Errorf("%s: %d", query, answer.Status)
		}
	}
	operator := e.get("/v1/me", bearer(e.operatorToken()))
	if operator.Status != 200 || !strings.Contains(operator.Body, `"type":"operators"`) || operator.Header.Get("Keygen-Bearer") == "" {
		t.Errorf("operator: %d %s %v", operator.Status, operator.Body, operator.Header)
	}
	banned := e.userWith(core.User{Account: e.acme.ID, Address: got(core.ParseAddress("ban@example.com"))(t), Role: core.RoleUser, Banned: true})
	_, expired, err := e.signIn.Issue(t.Context(), e.ada, core.NewToken{Expires: time.Now().Add(-time.Hour)})
	must(t, err)
	for _, c := range []struct {
		name, authorization, code string
		status                    int
	}{
		{"nothing", "", "TOKEN_MISSING", 401}, {"unknown scheme", "Digest x", "TOKEN_MISSING", 401}, {"empty bearer", "Bearer ", "TOKEN_MISSING", 401},
		{"address and password", basic("ada@example.com", "x"), "TOKEN_MISSING", 401},
		{"unknown", "Bearer user-" + strings.Repeat("0", 64) + "v3", "TOKEN_INVALID", 401}, {"endless", "Bearer " + strings.Repeat("x", 5000), "TOKEN_INVALID", 401},
		{"expired", "Bearer " + expired.Reveal(), "TOKEN_EXPIRED", 401}, {"banned", "Bearer " + e.token(banned), "USER_BANNED", 403},
	} {
		answer := e.get("/v1/me", map[string]string{"Authorization": c.authorization})
		if found, _ := answer.oneError(t); answer.Status != c.status || found.Code != c.code {
			t.Errorf("%s: %d %s", c.name, answer.Status, answer.Body)
		}
	}
}

func TestGetUser(t *testing.T) {
	t.Parallel()
	e := setup(t)
	reader := e.user(e.acme, "read@example.com", core.RoleReadOnly)
	agent := e.user(e.acme, "agent@example.com", core.RoleSupportAgent)
	plus := e.user(e.acme, "a+b/c%d@example.com", core.RoleUser)
	stranger := e.user(e.other, "stranger@example.com", core.RoleAdmin)
	id := string(e.ada.ID)
	tokens := map[string]string{
		"ada": e.token(e.ada), "boss": e.token(e.boss), "reader": e.token(reader), "agent": e.token(agent),
		"operator": e.operatorToken(), "stranger": e.token(stranger),
	}
	for _, c := range []struct {
		bearer, user string
		status       int
	}{
		{"ada", id, 200}, {"ada", strings.ToUpper(id), 200}, {"ada", strings.ReplaceAll(id, "-", ""), 200}, {"ada", "ADA@example.com", 200}, {"ada", "ada%40example.com", 200},
		{"ada", string(e.boss.ID), 404}, {"ada", "boss@example.com", 404}, {"ada", "nobody@example.com", 404}, {"ada", newID(), 404},
		{"boss", id, 200}, {"reader", id, 200}, {"agent", id, 200}, {"operator", id, 200},
		{"boss", "nobody@example.com", 404}, {"boss", string(stranger.ID), 404}, {"operator", string(stranger.ID), 404},
		{"boss", url.PathEscape(plus.Address.Reveal()), 200}, {"boss", "a+b%2Fc%25d%40example.com", 200}, {"boss", "a%20b%2Fc%25d%40example.com", 404},
		{"stranger", id, 404}, {"stranger", string(stranger.ID), 404},
	} {
		answer := e.get("/v1/accounts/acme/users/"+c.user, bearer(tokens[c.bearer]))
		if answer.Status != c.status {
			t.Errorf("%s asks for %s: %d %s", c.bearer, c.user, answer.Status, answer.Body)
		}
	}
	if line := e.get("/v1/accounts/acme/users/no+body%2Fx", bearer(tokens["boss"])).line(t); line != "Not Found | NOT_FOUND | - | The requested user 'no+body/x' was not found" {
		t.Error(line)
	}
	if answer := e.get("/v1/accounts/other/users/"+string(stranger.ID), bearer(tokens["operator"])); answer.Status != 200 {
		t.Errorf("an operator sees any account: %d", answer.Status)
	}
}

// Row 35 to 37: a good token of one account, at every route of another.
func TestTokensOfAnotherAccount(t *testing.T) {
	t.Parallel()
	e := setup(t)
	stranger := e.user(e.other, "stranger@example.com", core.RoleAdmin)
	raw := e.token(stranger)
	unknown := e.get("/v1/accounts/acmeX/me", bearer(raw)).Body
	for _, a := range []ask{
		{method: "GET", path: "/v1/accounts/acme/me"},
		{method: "GET", path: "/v1/accounts/acme/users/" + string(e.ada.ID)},
		{method: "GET", path: "/v1/accounts/acme/users/" + string(stranger.ID)},
		{method: "POST", path: "/v1/accounts/acme/tokens"},
	} {
		a.header = bearer(raw)
		answer := e.do(a)
		if line := answer.line(t); line != "Not Found | NOT_FOUND | - | The requested account 'acme' was not found" {
			t.Errorf("%s %s: %s", a.method, a.path, line)
		}
	}
	if !strings.Contains(unknown, "The requested account 'acmeX' was not found") {
		t.Errorf("unknown account: %s", unknown)
	}
	link := e.link(e.other, "stranger@example.com")
	for _, user := range []string{string(stranger.ID), "stranger@example.com"} {
		body := fmt.Sprintf(`{"meta":{"passwordResetToken":%q,"newPassword":"a phrase of its own"}}`, link)
		if answer := e.do(ask{path: "/v1/accounts/acme/users/" + user + "/actions/reset-password", body: body}); answer.Status != 404 {
			t.Errorf("another account's link: %d", answer.Status)
		}
	}
	body := fmt.Sprintf(`{"meta":{"passwordResetToken":%q,"newPassword":"a phrase of its own"}}`, link)
	if answer := e.do(ask{path: "/v1/accounts/other/users/" + string(stranger.ID) + "/actions/reset-password", body: body}); answer.Status != 200 {
		t.Errorf("positive control: %d %s", answer.Status, answer.Body)
	}
}

// A panic, and an error that nobody foresaw, are a 500 of our own words, logged
// with the request's id and without what it carried.
func TestUnforeseenIs500(t *testing.T) {
	t.Parallel()
	for name, users := range map[string]core.Users{"panic": panicking{}, "error": failing{}} {
		e := setup(t, func(c *httpapi.Config) { c.Users = users })
		answer := e.get("/v1/accounts/acme/users/nobody@secret.example", bearer(e.token(e.boss)))
		found, hasMeta := answer.oneError(t)
		if answer.Status != 500 || found.Title != "Internal server error" || found.Code != "" || !hasMeta || strings.Contains(answer.Body, "kaboom") {
			t.Errorf("%s: %d %s", name, answer.Status, answer.Body)
		}
		if answer.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: pages cannot read it", name)
		}
		logs := e.logs.String()
		if !strings.Contains(logs, answer.Header.Get("X-Request-Id")) || !strings.Contains(logs, "/v1/accounts/:account/users/:user") {
			t.Errorf("%s: log %s", name, logs)
		}
		if strings.Contains(logs, "secret.example") {
			t.Errorf("%s: an address reached the log", name)
		}
	}
}

// port lets a struct embed core.Users, which has a method of that name.
type port = core.Users

type panicking struct{ port }

func (panicking) UserByAddress(_ context.Context, _ tenants.AccountID, address core.Address) (core.User, error) {
	panic("kaboom " + address.Reveal())
}

type failing struct{ port }

func (failing) UserByAddress(context.Context, tenants.AccountID, core.Address) (core.User, error) {
	return core.User{}, fmt.Errorf("kaboom")
}
