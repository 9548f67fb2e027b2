package httpapi_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/core/httpapi"
	"github.com/passmend/passmend/tenants"
)

func (e *edge) recover(body string) reply {
	e.t.Helper()
	return e.do(ask{path: "/v1/recover", body: body, header: map[string]string{"Content-Type": "application/vnd.api+json"}})
}

func TestBodyOfRecover(t *testing.T) {
	t.Parallel()
	e := setup(t)
	const bad = "Bad Request | - | "
	for body, want := range map[string]string{
		``:                                      bad + "/meta | is missing",
		`{"meta":{}}`:                           bad + "/meta/type | is missing",
		`{"meta":{"email":"a@b.example"}}`:      bad + "/meta/type | is missing",
		`{"meta":{"type":"account"}}`:           bad + "/meta/email | is missing",
		`{"meta":{"type":"user","email":"a"}}`:  bad + "/meta/type | is invalid",
		`{"meta":{"type":null,"email":"a"}}`:    bad + "/meta/type | cannot be null",
		`{"meta":{"type":"account","email":1}}`: bad + "/meta/email | type mismatch (received integer expected string)",
		`{"meta":{"type":"account","email":"a","deliver":true}}`: bad + "/meta/deliver | unpermitted parameter",
	} {
		if got := e.recover(body).line(t); got != want {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
	}
	if asked := e.asked.take(); len(asked) != 0 {
		t.Errorf("%v", asked)
	}
}

// Everybody gets the bytes of everybody else, whatever Authorization says.
func TestRecoverKnowsNobody(t *testing.T) {
	t.Parallel()
	e := setup(t)
	answers := map[string]int{}
	for _, email := range []string{"boss@example.com", "ada@example.com", "nobody@example.com", "BOSS@example.com "} {
		answer := e.recover(`{"meta":{"type":"account","email":"` + email + `"}}`)
		if answer.Status != 202 || answer.Body != "" {
			t.Fatalf("%d %s", answer.Status, answer.Body)
		}
		answers[answer.fingerprint()]++
	}
	if len(answers) != 1 {
		t.Errorf("%d different answers", len(answers))
	}
	want := []string{"passmend boss@example.com unsaid", "passmend ada@example.com unsaid", "passmend nobody@example.com unsaid", "passmend boss@example.com unsaid"}
	if diff := cmp.Diff(want, e.asked.take()); diff != "" {
		t.Error(diff)
	}
}

// What stands for the service in the ledger is no account to anybody.
func TestRecoverIsNoAccount(t *testing.T) {
	t.Parallel()
	e := setup(t)
	id := string(tenants.RecoverID)
	for _, path := range []string{"/v1/accounts/" + id + "/passwords", "/v1/accounts/-recover/passwords"} {
		if answer := e.do(ask{path: path, body: good}); answer.Status != 404 {
			t.Errorf("%s: %d", path, answer.Status)
		}
	}
	operator := bearer(e.operatorToken())
	if answer := e.do(ask{method: "DELETE", path: "/v1/accounts/" + id, header: operator}); answer.Status != 404 {
		t.Errorf("delete: %d", answer.Status)
	}
	if answer := e.get("/v1/accounts", operator); strings.Contains(answer.Body, id) {
		t.Error("it is listed")
	}
	if answer := e.get("/"+id+"/forgot", nil); answer.Status != 404 {
		t.Errorf("page: %d", answer.Status)
	}
}

// Limits hold as for passwords: per client first, then per address, then all together.
func TestLimitsOfRecover(t *testing.T) {
	t.Parallel()
	e, _ := limited(t, func(l *httpapi.Limits) {
		l.Rstpwd, l.Account, l.IP = parsed(t, "2/h"), parsed(t, "1/m:4"), parsed(t, "1/m:8")
	})
	window := func(email string) string {
		answer := e.recover(`{"meta":{"type":"account","email":"` + email + `"}}`)
		return answer.Header.Get("X-RateLimit-Window")
	}
	var got []string
	for _, email := range []string{"a@b.example", "A@b.example", "a@b.example", "b@b.example", "c@b.example", "d@b.example"} {
		got = append(got, window(email))
	}
	got = append(got, e.recover(`rubbish`).Header.Get("X-RateLimit-Window"), e.recover(`{}`).Header.Get("X-RateLimit-Window"), window("e@b.example"))
	if diff := cmp.Diff([]string{"", "", "rstpwd", "", "", "account", "", "", "ip"}, got); diff != "" {
		t.Error(diff)
	}
}
