package httpapi_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/httpapi"
	"github.com/passmend/passmend/tenants"
)

// T02: known and unknown addresses, of every standing, get the same bytes.
func TestT02AnswersDoNotTellWhoExists(t *testing.T) {
	t.Parallel()
	t.Run("as it is", func(t *testing.T) {
		t.Parallel()
		if answers := distinctAnswers(setup(t)); len(answers) != 1 {
			t.Errorf("%d different answers: %v", len(answers), answers)
		}
	})
	t.Run("positive control: an edge that looks users up is found out", func(t *testing.T) {
		t.Parallel()
		var e *edge
		e = setup(t, func(c *httpapi.Config) { c.Intake = telltale{c.Intake, func() core.Users { return e.store }} })
		if answers := distinctAnswers(e); len(answers) < 2 {
			t.Error("the same assertion does not see a look-up")
		}
	})
}

// telltale is the fault put back: it looks the user up before it accepts.
type telltale struct {
	next  httpapi.Intake
	users func() core.Users
}

func (f telltale) Accept(ctx context.Context, account tenants.Account, ask core.Ask) error {
	if _, err := f.users().UserByAddress(ctx, account.ID, ask.Address); err != nil {
		return err
	}
	return f.next.Accept(ctx, account, ask)
}

func distinctAnswers(e *edge) map[string]int {
	e.t.Helper()
	e.user(e.acme, "banned@example.com", core.RoleUser)
	answers := map[string]int{}
	for i := range 200 {
		e.user(e.acme, fmt.Sprintf("known%03d@example.com", i), core.RoleUser)
	}
	for i := range 200 {
		for _, address := range []string{fmt.Sprintf("known%03d@example.com", i), fmt.Sprintf("other%03d@example.com", i)} {
			answers[e.passwords(`{"meta":{"email":"`+address+`"}}`).fingerprint()]++
		}
	}
	for _, address := range []string{"ada@example.com", "ADA@EXAMPLE.COM", "boss@example.com", "foo", strings.Repeat("x", 500) + "@example.com"} {
		answers[e.passwords(`{"meta":{"email":"`+address+`","deliver":false}}`).fingerprint()]++
	}
	return answers
}

// T04: six standings of a user by five bad tokens, one answer.
func TestT04BadTokensGetOneAnswer(t *testing.T) {
	t.Parallel()
	t.Run("as it is", func(t *testing.T) {
		t.Parallel()
		e := setup(t)
		if answers := badTokenAnswers(e); len(answers) != 1 {
			t.Errorf("%d different answers: %v", len(answers), answers)
		}
		known := e.userWith(core.User{
			Account: e.acme.ID, Address: got(core.ParseAddress("known@example.com"))(t), Role: core.RoleUser, PasswordHash: []byte("sealed"),
		})
		raw := e.link(e.acme, known.Address.Reveal())
		body := fmt.Sprintf(`{"meta":{"passwordResetToken":%q,"newPassword":"x"}}`, raw)
		if answer := e.do(ask{path: "/v1/accounts/acme/users/" + string(known.ID) + "/actions/reset-password", body: body}); answer.Status != 422 {
			t.Errorf("a good token is told about its password: %d %s", answer.Status, answer.Body)
		}
	})
	t.Run("positive control: a redeemer that looks the user up first is found out", func(t *testing.T) {
		t.Parallel()
		var e *edge
		e = setup(t, func(c *httpapi.Config) { c.Redeemer = userFirst{c.Redeemer, func() core.Users { return e.store }} })
		if answers := badTokenAnswers(e); len(answers) < 2 {
			t.Error("the same assertion does not see it")
		}
	})
}

// userFirst is the fault put back: it says that a user is banned before the token
// has proved anything.
type userFirst struct {
	httpapi.Redeemer
	users func() core.Users
}

func (f userFirst) Redeem(ctx context.Context, account tenants.Account, ref core.UserRef, raw, password tenants.Secret) (core.User, error) {
	if user, err := ref.Find(ctx, f.users(), account.ID); err == nil && user.Banned {
		return core.User{}, core.ErrBanned
	}
	return f.Redeemer.Redeem(ctx, account, ref, raw, password)
}

func badTokenAnswers(e *edge) map[string]int {
	e.t.Helper()
	user := func(change func(*core.User)) core.User {
		u := core.User{Account: e.acme.ID, Address: got(core.ParseAddress(newID() + "@example.com"))(e.t), Role: core.RoleUser}
		change(&u)
		return e.userWith(u)
	}
	protected := e.acme
	protected.Protected = true
	got(e.store.UpdateAccount(e.t.Context(), protected.ID, protected))(e.t)
	e.resolver.Clear()
	plain := user(func(u *core.User) { u.PasswordHash = []byte("sealed") })
	used := e.link(e.acme, plain.Address.Reveal())
	redeem := func(u core.User, raw string) reply {
		body := fmt.Sprintf(`{"meta":{"passwordResetToken":%q,"newPassword":"short"}}`, raw)
		return e.do(ask{path: "/v1/accounts/acme/users/" + url.PathEscape(u.Address.Reveal()) + "/actions/reset-password", body: body})
	}
	body := fmt.Sprintf(`{"meta":{"passwordResetToken":%q,"newPassword":"a phrase nobody has"}}`, used)
	if answer := e.do(ask{path: "/v1/accounts/acme/users/" + string(plain.ID) + "/actions/reset-password", body: body}); answer.Status != 200 {
		e.t.Fatalf("positive control: %d %s", answer.Status, answer.Body)
	}
	elsewhere := e.user(e.other, "elsewhere@example.com", core.RoleUser)
	tokens := []string{
		"not a token", base64.RawURLEncoding.EncodeToString(append([]byte{1}, make([]byte, 31)...)),
		used, e.link(e.other, elsewhere.Address.Reveal()), e.link(e.acme, "ada@example.com"), // of somebody else
	}
	answers := map[string]int{}
	for _, u := range []core.User{
		plain,
		user(func(u *core.User) { u.Banned = true }),
		user(func(u *core.User) { u.Role = core.RoleAdmin }),
		user(func(*core.User) {}), // managed: without a password, in a protected account
		elsewhere,
		{Address: got(core.ParseAddress("nobody@example.com"))(e.t)},
	} {
		for _, raw := range tokens {
			answer := redeem(u, raw)
			named := strings.ReplaceAll(answer.fingerprint(), "'"+u.Address.Reveal()+"'", "USER")
			named = strings.ReplaceAll(named, fmt.Sprintf("Content-Length: %d", len(answer.Body)), "LENGTH") // grows with the name that was sent
			answers[named]++
		}
	}
	return answers
}

// T06: forty ways to smuggle a second address in. What reaches the intake is one
// canonical address that only its owner can have, or nothing.
func TestT06Payloads(t *testing.T) {
	t.Parallel()
	e := setup(t)
	const v, x = "ada@example.com", "eve@evil.example"
	refused := []string{
		`{"meta":{"email":["` + v + `","` + x + `"]}}`, `{"meta":{"email":["` + v + `"]}}`, `{"meta":{"email":[]}}`, `{"meta":{"email":[["` + v + `"]]}}`,
		`{"meta":{"email":{"0":"` + v + `","1":"` + x + `"}}}`, `{"meta":{"email":{"address":"` + v + `"}}}`, `{"meta":{"email":{"$ne":null}}}`,
		`{"meta":{"email":1}}`, `{"meta":{"email":true}}`, `{"meta":{"email":null}}`, `{"meta":{"email":1e9}}`,
		`{"meta":{"email":"` + v + `","email":"` + x + `"}}`, `{"meta":{"email":"` + v + `","Email":"` + x + `"}}`, `{"meta":{"email":"` + v + `","e-mail":"` + x + `"}}`,
		`{"meta":{"email":"` + v + `","\u0065mail":"` + x + `"}}`, `{"meta":{"email":"` + v + `"},"meta":{"email":"` + x + `"}}`, `{"meta":{"email":"` + v + `"},"META":{"email":"` + x + `"}}`,
		`{"meta":{"email":"` + v + `","cc":"` + x + `"}}`, `{"meta":{"email":"` + v + `","to":"` + x + `"}}`, `{"meta":{"email":"` + v + `","redirect_url":"https://evil.example"}}`,
		`{"meta":{"email":"` + v + `"},"email":"` + x + `"}`, `{"email":"` + v + `"}`, `[{"meta":{"email":"` + v + `"}}]`, `"` + v + `"`,
		`{"meta":{"email":"` + v + `\r\nBcc: ` + x + `"}}`, `{"meta":{"email":"` + v + `\nRCPT TO:<` + x + `>"}}`, `{"meta":{"email":"` + v + `\u0000` + x + `"}}`, `{"meta":{"email":"` + v + `\u2028` + x + `"}}`, `{"meta":{"email":"` + v + `\u0085` + x + `"}}`,
		"{\"meta\":{\"email\":\"" + v + "\n" + x + "\"}}", "{\"meta\":{\"email\":\"" + v + "\xc0\x80" + x + "\"}}",
		`email=` + url.QueryEscape(v) + `&email=` + url.QueryEscape(x), `meta[email]=` + v, `{"meta":{"email":"` + v + `"}}{"meta":{"email":"` + x + `"}}`, `{'meta':{'email':'` + v + `'}}`, `{"meta":{"email":"` + v + `",}}`, `{"meta":{"email":"` + v + `"/**/}}`,
	}
	asIs := []string{v + "," + x, v + ";" + x, v + " " + x, v + "%0acc:" + x, `"` + v + `" <` + x + `>`, v + "|" + x, x + "%00" + v, "<" + v + ">", "ada@example.com@evil.example", "ad\u0131@example.com"}
	if n := len(refused) + len(asIs); n < 40 {
		t.Fatalf("%d payloads", n)
	}
	for _, body := range refused {
		for _, kind := range []string{"application/json", "application/x-www-form-urlencoded"} {
			answer := e.do(ask{path: "/v1/accounts/acme/passwords?email=" + url.QueryEscape(x), body: body, header: map[string]string{"Content-Type": kind}})
			if answer.Status != 400 {
				t.Errorf("%s: %d", body, answer.Status)
			}
		}
	}
	if asked := e.asked.take(); asked != nil {
		t.Errorf("reached the intake: %d", len(asked))
	}
	for _, address := range asIs {
		body := fmt.Sprintf(`{"meta":{"email":%q}}`, address)
		if answer := e.passwords(body); answer.Status != 202 {
			t.Errorf("%s: %d %s", address, answer.Status, answer.Body)
		}
		want := "acme " + got(core.ParseAddress(address))(t).Reveal() + " unsaid"
		if diff := cmp.Diff([]string{want}, e.asked.take()); diff != "" || want == "acme "+v+" unsaid" {
			t.Errorf("%s: %s", address, diff)
		}
	}
	// Positive control: the same road leads to the intake with an honest body.
	if e.passwords(good); len(e.asked.take()) != 1 {
		t.Error("the honest request did not arrive")
	}
}
