package httpapi_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

const good = `{"meta":{"email":"ada@example.com"}}`

// The body of the contract, C6: one error, the first in the stated order.
func TestBodyOfPasswords(t *testing.T) {
	t.Parallel()
	e := setup(t)
	const bad = "Bad Request | - | "
	for _, c := range []struct{ name, body, want string }{
		{"empty body", ``, bad + "/meta | is missing"},
		{"white space only", " \r\n\t", bad + "/meta | is missing"},
		{"empty object", `{}`, bad + "/meta | is missing"},
		{"meta null", `{"meta":null}`, bad + "/meta | cannot be null"},
		{"meta string", `{"meta":"x"}`, bad + "/meta | type mismatch (received string expected object)"},
		{"meta array", `{"meta":[]}`, bad + "/meta | type mismatch (received array expected object)"},
		{"meta integer", `{"meta":1}`, bad + "/meta | type mismatch (received integer expected object)"},
		{"no email", `{"meta":{}}`, bad + "/meta/email | is missing"},
		{"email null", `{"meta":{"email":null}}`, bad + "/meta/email | cannot be null"},
		{"email empty", `{"meta":{"email":""}}`, bad + "/meta/email | cannot be blank"},
		{"email spaces", `{"meta":{"email":"  \t "}}`, bad + "/meta/email | cannot be blank"},
		{"email integer", `{"meta":{"email":42}}`, bad + "/meta/email | type mismatch (received integer expected string)"},
		{"email float", `{"meta":{"email":1.5}}`, bad + "/meta/email | type mismatch (received float expected string)"},
		{"email exponent", `{"meta":{"email":1e3}}`, bad + "/meta/email | type mismatch (received float expected string)"},
		{"email boolean", `{"meta":{"email":true}}`, bad + "/meta/email | type mismatch (received boolean expected string)"},
		{"email object", `{"meta":{"email":{}}}`, bad + "/meta/email | type mismatch (received object expected string)"},
		{"email array", `{"meta":{"email":["ada@example.com","eve@example.com"]}}`, bad + "/meta/email | type mismatch (received array expected string)"},
		{"deliver string", `{"meta":{"email":"a@b.c","deliver":"false"}}`, bad + "/meta/deliver | type mismatch (received string expected boolean)"},
		{"deliver integer", `{"meta":{"email":"a@b.c","deliver":0}}`, bad + "/meta/deliver | type mismatch (received integer expected boolean)"},
		{"unknown member of meta", `{"meta":{"email":"a@b.c","foo":1}}`, bad + "/meta/foo | unpermitted parameter"},
		{"unknown top-level member", `{"meta":{"email":"a@b.c"},"data":{}}`, bad + "/data | unpermitted parameter"},
		{"pointers are lowerCamel", `{"meta":{"email":"a@b.c","redirect_url-to":1}}`, bad + "/meta/redirectUrlTo | unpermitted parameter"},
		{"pointers are escaped", `{"meta":{"a/b~c":1}}`, bad + "/meta/a~1b~0c | unpermitted parameter"},
		{"unknown before deliver", `{"meta":{"deliver":0,"foo":1}}`, bad + "/meta/foo | unpermitted parameter"},
		{"unknown in the order of the body", `{"meta":{"foo":1},"bar":1}`, bad + "/meta/foo | unpermitted parameter"},
		{"unknown beside a bad meta", `{"meta":"x","bar":1}`, bad + "/bar | unpermitted parameter"},
		{"deliver before email", `{"meta":{"email":1,"deliver":0}}`, bad + "/meta/deliver | type mismatch (received integer expected boolean)"},
		{"deliver before missing email", `{"meta":{"deliver":[]}}`, bad + "/meta/deliver | type mismatch (received array expected boolean)"},
		{"body array", `[]`, bad + "/data | unpermitted parameter"},
		{"body string", `"x"`, bad + "/data | unpermitted parameter"},
		{"body number", `1`, bad + "/data | unpermitted parameter"},
		{"body null", `null`, bad + "/data | unpermitted parameter"},
	} {
		t.Run(c.name, func(t *testing.T) {
			answer := e.passwords(c.body)
			if diff := cmp.Diff(c.want, answer.line(t)); diff != "" {
				t.Error(diff)
			}
			if _, hasMeta := answer.oneError(t); !hasMeta {
				t.Error("an error of the body has no meta.id")
			}
		})
	}
	if asked := e.asked.take(); asked != nil {
		t.Errorf("bad bodies reached the intake: %d", len(asked))
	}
}

func TestAcceptedBodies(t *testing.T) {
	t.Parallel()
	e := setup(t)
	for _, c := range []struct{ name, body, want string }{
		{"plain", good, "acme ada@example.com unsaid"},
		{"deliver true", `{"meta":{"email":"ada@example.com","deliver":true}}`, "acme ada@example.com yes"},
		{"deliver false", `{"meta":{"deliver":false,"email":"ada@example.com"}}`, "acme ada@example.com no"},
		{"deliver null", `{"meta":{"email":"ada@example.com","deliver":null}}`, "acme ada@example.com unsaid"},
		{"case and style of members", `{"META":{"Email":"ada@example.com","DELIVER":false}}`, "acme ada@example.com no"},
		{"case and spaces of the address", `{"meta":{"email":"  ADA@Example.COM "}}`, "acme ada@example.com unsaid"},
		{"no syntax check", `{"meta":{"email":"foo"}}`, "acme foo unsaid"},
		{"escapes", `{"meta":{"email":"ada\u0040example.com"}}`, "acme ada@example.com unsaid"},
		{"an emoji in surrogates", `{"meta":{"email":"\ud83d\ude00@example.com"}}`, "acme 😀@example.com unsaid"},
		{"over 320 bytes", `{"meta":{"email":"` + strings.Repeat("a", 400) + `@example.com"}}`, "acme " + strings.Repeat("a", 400) + "@example.com unsaid"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if answer := e.passwords(c.body); answer.Status != http.StatusAccepted {
				t.Fatalf("%d %s", answer.Status, answer.Body)
			}
			if diff := cmp.Diff([]string{c.want}, e.asked.take()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// R1: 202 and zero bytes, on the wire itself.
func TestAcceptedOnTheWire(t *testing.T) {
	t.Parallel()
	e := setup(t)
	conn := got(net.Dial("tcp", e.host))(t)
	defer conn.Close()
	fmt.Fprintf(conn, "POST /v1/accounts/acme/passwords HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", e.host, len(good), good)
	var raw strings.Builder
	buffer := make([]byte, 4096)
	for {
		n, err := conn.Read(buffer)
		raw.Write(buffer[:n])
		if err != nil {
			break
		}
	}
	head, body, _ := strings.Cut(raw.String(), "\r\n\r\n")
	if !strings.HasPrefix(head, "HTTP/1.1 202 Accepted\r\n") || body != "" {
		t.Errorf("got %q", raw.String())
	}
	lower := strings.ToLower(head)
	if strings.Contains(lower, "\ncontent-type") || strings.Contains(lower, "transfer-encoding") || !strings.Contains(lower, "content-length: 0") {
		t.Errorf("headers %q", head)
	}
}

func TestAccountSpellings(t *testing.T) {
	t.Parallel()
	e := setup(t)
	id := string(e.acme.ID)
	plain := strings.ReplaceAll(id, "-", "")
	for _, c := range []struct {
		ref  string
		want int
	}{
		{"acme", 202}, {id, 202}, {strings.ToUpper(id), 202}, {plain, 202}, {strings.ToUpper(plain), 202},
		{"ACME", 404}, {"nobody", 404}, {id[:35], 404}, {newID(), 404}, {"acme%20", 404}, {"%61cme", 202},
	} {
		answer := e.do(ask{path: "/v1/accounts/" + c.ref + "/passwords", body: good})
		if answer.Status != c.want {
			t.Errorf("%s: %d, want %d", c.ref, answer.Status, c.want)
		}
		if answer.Status == 202 && answer.Header.Get("Keygen-Account") != id {
			t.Errorf("%s: Keygen-Account %q", c.ref, answer.Header.Get("Keygen-Account"))
		}
	}
	want := "Not Found | NOT_FOUND | - | The requested account 'no<b>body' was not found"
	answer := e.do(ask{path: "/v1/accounts/no%3Cb%3Ebody/passwords", body: good})
	if diff := cmp.Diff(want, answer.line(t)); diff != "" {
		t.Error(diff)
	}
}

// C8, byte for byte: order of members, no status, no id inside, no escapes of HTML.
func TestErrorBytes(t *testing.T) {
	t.Parallel()
	e := setup(t)
	missing := e.passwords(`{"meta":{}}`)
	if want := `{"meta":{"id":"` + missing.Header.Get("X-Request-Id") + `"},"errors":[{"title":"Bad request","detail":"is missing","source":{"pointer":"/meta/email"}}]}`; missing.Body != want {
		t.Errorf("\n got %s\nwant %s", missing.Body, want)
	}
	broken := e.passwords(`{`)
	if want := `{"errors":[{"title":"Bad request","detail":"`; !strings.HasPrefix(broken.Body, want) || !strings.HasSuffix(broken.Body, `","code":"JSON_INVALID"}]}`) {
		t.Errorf("got %s", broken.Body)
	}
	unknown := e.do(ask{path: "/v1/accounts/x&y/passwords", body: good})
	if want := `{"meta":{"id":"` + unknown.Header.Get("X-Request-Id") + `"},"errors":[{"title":"Not found","detail":"The requested account 'x&y' was not found","code":"NOT_FOUND"}]}`; unknown.Body != want {
		t.Errorf("\n got %s\nwant %s", unknown.Body, want)
	}
}

func TestStoreFailuresAre503(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err            error
		after, counted string
		logged         bool
	}{
		{fmt.Errorf("accept x: %w", core.ErrBusy), "2", "rejected backlog", false},
		{fmt.Errorf("%w: x: %w", core.ErrNotAccepted, errors.New("disk full")), "5", "rejected db_unavailable", true},
	} {
		e := setup(t)
		e.asked.fail = c.err
		answer := e.passwords(good)
		found, hasMeta := answer.oneError(t)
		if answer.Status != 503 || found.Title != "Service unavailable" || hasMeta || answer.Header.Get("Retry-After") != c.after {
			t.Errorf("%v: %d %v %s", c.err, answer.Status, answer.Header, answer.Body)
		}
		if diff := cmp.Diff([]string{c.counted}, e.observer.take()); diff != "" {
			t.Error(diff)
		}
		if logged := strings.Contains(e.logs.String(), answer.Header.Get("X-Request-Id")); logged != c.logged {
			t.Errorf("logged %v: %s", logged, e.logs)
		}
		if strings.Contains(answer.Body, "disk") {
			t.Error("the cause reached the client")
		}
	}
}

// A request that reaches a database that is gone is not claimed as accepted.
func TestStoppedStoreAcceptsNothing(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.passwords(good)
	must(t, e.store.Stop(t.Context()))
	must(t, e.store.Close())
	if answer := e.passwords(good); answer.Status != 503 {
		t.Errorf("%d %s", answer.Status, answer.Body)
	}
	if answer := e.do(ask{path: "/v1/accounts/other/passwords", body: good}); answer.Status != 503 {
		t.Errorf("account not cached: %d %s", answer.Status, answer.Body)
	}
}

// The samples of the public page, with the address that the page lost: what each
// library puts on the wire.
func TestSeedSamples(t *testing.T) {
	t.Parallel()
	e := setup(t)
	const jsonAPI = "application/vnd.api+json"
	for _, c := range []struct {
		name, body string
		header     map[string]string
		deliver    string
	}{
		{"node-fetch", `{"meta":{"email":"ada@example.com","deliver":false}}`, map[string]string{"Content-Type": jsonAPI, "Accept": jsonAPI, "User-Agent": "node-fetch"}, "no"},
		{"python requests", `{"meta": {"email": "ada@example.com", "deliver": false}}`, map[string]string{"Content-Type": jsonAPI, "Accept": jsonAPI}, "no"},
		{"Alamofire", `{"meta":{"deliver":false,"email":"ada@example.com"}}`, map[string]string{"Content-Type": "application/json", "Accept": jsonAPI}, "no"},
		{"Alamofire, false as 0 is refused elsewhere", `{"meta":{"email":"ada@example.com"}}`, map[string]string{"Content-Type": jsonAPI, "Accept": jsonAPI}, "unsaid"},
		{"RestSharp", `{"meta":{"email":"ada@example.com","deliver":false}}`, map[string]string{"Content-Type": "application/json; charset=utf-8", "Accept": "application/vnd.api+json, application/json, text/json, text/x-json"}, "no"},
		{"Unirest Kotlin", `{"meta":{"email":"ada@example.com","deliver":false}}`, map[string]string{"Content-Type": jsonAPI, "Accept": jsonAPI, "Accept-Encoding": "gzip"}, "no"},
		{"Unirest Java", `{"meta":{"deliver":false,"email":"ada@example.com"}}`, map[string]string{"Content-Type": jsonAPI, "Accept": jsonAPI}, "no"},
		{"cpprest", `{"meta":{"deliver":false,"email":"ada@example.com"}}`, map[string]string{"Content-Type": "application/json", "Accept": "application/json"}, "no"},
		{"curl", `{"meta": {"email": "ada@example.com", "deliver": false}}`, map[string]string{"Content-Type": jsonAPI, "Accept": jsonAPI}, "no"},
		{"curl -d alone", `{"meta": {"email": "ada@example.com"}}`, map[string]string{"Content-Type": "application/x-www-form-urlencoded", "Accept": "*/*"}, "unsaid"},
		{"fetch without headers", `{"meta":{"email":"ada@example.com"}}`, map[string]string{"Content-Type": "text/plain;charset=UTF-8", "Accept": "*/*", "Origin": "https://app.example"}, "unsaid"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, account := range []string{"acme", string(e.acme.ID)} {
				answer := e.do(ask{path: "/v1/accounts/" + account + "/passwords", body: c.body, header: c.header})
				if answer.Status != 202 || answer.Body != "" || answer.Header.Get("Content-Type") != "" {
					t.Errorf("%d %q %q", answer.Status, answer.Header.Get("Content-Type"), answer.Body)
				}
				if diff := cmp.Diff([]string{"acme ada@example.com " + c.deliver}, e.asked.take()); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// In a protected account its admins make passwords: a link does not, once it has
// proved itself (contract.md, A2 and D).
func TestManagedUserOfAProtectedAccount(t *testing.T) {
	t.Parallel()
	e := setup(t)
	path := "/v1/accounts/acme/users/" + string(e.ada.ID) + "/actions/reset-password"
	raw := e.link(e.acme, "ada@example.com")
	body := fmt.Sprintf(`{"meta":{"passwordResetToken":%q,"newPassword":"a long enough phrase"}}`, raw)
	e.set(e.acme, func(a *tenants.Account) { a.Protected = true })
	if answer := e.do(ask{path: path, body: body}); answer.Status != 403 {
		t.Errorf("protected: %d %s", answer.Status, answer.Body)
	}
	if answer := e.do(ask{path: path, body: strings.Replace(body, raw, "x", 1)}); answer.Status != 404 {
		t.Errorf("without the proof: %d %s", answer.Status, answer.Body)
	}
	e.set(e.acme, func(a *tenants.Account) { a.Protected = false })
	if answer := e.do(ask{path: path, body: body}); answer.Status != 200 {
		t.Errorf("unprotected: %d %s", answer.Status, answer.Body)
	}
}
