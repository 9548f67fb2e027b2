package httpapi_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// C1: which bodies are read as JSON.
func TestRequestMediaTypes(t *testing.T) {
	t.Parallel()
	e := setup(t)
	const empty = "Bad Request | - | /meta | is missing"
	for _, c := range []struct{ contentType, want string }{
		{"application/vnd.api+json", ""}, {"application/vnd.keygen+json", ""}, {"application/json", ""},
		{"", ""}, {"text/plain", ""}, {"application/x-www-form-urlencoded", ""}, {"multipart/form-data; boundary=x", ""},
		{"APPLICATION/JSON", ""}, {`application/json; charset="utf-8"`, ""}, {"text/plain;charset=UTF-8", ""},
		{"application/xml", empty}, {"text/html", empty}, {"application/octet-stream", empty}, {"image/png", empty},
		{"json", "MIME_TYPE_INVALID"}, {"application/", "MIME_TYPE_INVALID"}, {"/json", "MIME_TYPE_INVALID"},
		{"application/json; charset", "MIME_TYPE_INVALID"}, {"application/json/x", "MIME_TYPE_INVALID"}, {"a b/c", "MIME_TYPE_INVALID"}, {";", "MIME_TYPE_INVALID"},
	} {
		t.Run(c.contentType, func(t *testing.T) {
			answer := e.do(ask{path: "/v1/accounts/acme/passwords", body: good, header: map[string]string{"Content-Type": c.contentType}})
			switch c.want {
			case "":
				if answer.Status != 202 {
					t.Errorf("%d %s", answer.Status, answer.Body)
				}
			case "MIME_TYPE_INVALID":
				found, hasMeta := answer.oneError(t)
				if answer.Status != 400 || found.Code != c.want || hasMeta {
					t.Errorf("%d %s", answer.Status, answer.Body)
				}
			default:
				if diff := cmp.Diff(c.want, answer.line(t)); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// C2: what may be asked for, and in which type the answer comes.
func TestAccept(t *testing.T) {
	t.Parallel()
	e := setup(t)
	const jsonAPI, plain = "application/vnd.api+json; charset=utf-8", "application/json; charset=utf-8"
	for _, c := range []struct{ accept, want string }{
		{"", jsonAPI}, {"*/*", jsonAPI}, {"*", jsonAPI}, {"application/*", jsonAPI},
		{"application/vnd.api+json", jsonAPI}, {"application/vnd.keygen+json", jsonAPI}, {"application/octet-stream", jsonAPI},
		{"application/json", plain}, {"APPLICATION/JSON", plain}, {"application/json; charset=utf-8", plain},
		{"application/json, application/vnd.api+json", plain}, {"application/vnd.api+json, application/json", jsonAPI},
		{"application/vnd.api+json;q=0.5, application/json", plain}, {"*/*;q=0.1, application/json", plain},
		{"text/html, application/json", plain}, {"text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", jsonAPI},
		{"text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8", jsonAPI},
		{"application/xml", ""}, {"text/html", ""}, {"text/plain", ""}, {"text/html, application/xml", ""},
		{"application/json;q=0", ""}, {"foo", ""},
	} {
		t.Run(c.accept, func(t *testing.T) {
			header := map[string]string{"Accept": c.accept}
			answer := e.do(ask{path: "/v1/accounts/acme/passwords", body: `{}`, header: header})
			found, hasMeta := answer.oneError(t)
			if c.want == "" {
				if answer.Status != 400 || found.Code != "MIME_TYPE_INVALID" || hasMeta {
					t.Errorf("%d %s", answer.Status, answer.Body)
				}
				return
			}
			if got := answer.Header.Get("Content-Type"); got != c.want || found.Detail != "is missing" {
				t.Errorf("%q %s", got, answer.Body)
			}
			if accepted := e.do(ask{path: "/v1/accounts/acme/passwords", body: good, header: header}); accepted.Status != 202 {
				t.Errorf("%d %s", accepted.Status, accepted.Body)
			}
		})
	}
}

func TestPathSuffixes(t *testing.T) {
	t.Parallel()
	e := setup(t)
	admin := map[string]string{"Authorization": "Bearer " + e.token(e.boss)}
	e.user(e.acme, "x@host.json", "user")
	for _, c := range []struct {
		ask    ask
		status int
		code   string
	}{
		{ask{path: "/v1/accounts/acme/passwords.json", body: good}, 202, ""},
		{ask{path: "/v1/accounts/acme/passwords.json", body: good, header: map[string]string{"Accept": "text/html"}}, 202, ""},
		{ask{path: "/v1/accounts/acme/passwords.xml", body: good}, 400, "MIME_TYPE_INVALID"},
		{ask{path: "/v1/accounts/acme/passwords.html", body: good}, 400, "MIME_TYPE_INVALID"},
		{ask{path: "/v1/accounts/acme/passwords.exe", body: good}, 404, "NOT_FOUND"},
		{ask{method: "GET", path: "/v1/me.json", header: admin}, 200, ""},
		{ask{method: "GET", path: "/v1/accounts/acme/users/" + string(e.ada.ID) + ".json", header: admin}, 200, ""},
		{ask{method: "GET", path: "/v1/accounts/acme/users/x@host.json", header: admin}, 200, ""},
		{ask{method: "GET", path: "/v1/accounts/acme/users/x%40host.json", header: admin}, 200, ""},
		{ask{method: "GET", path: "/v1/ping.xml"}, 200, ""},
	} {
		answer := e.do(c.ask)
		if answer.Status != c.status {
			t.Errorf("%s: %d %s", c.ask.path, answer.Status, answer.Body)
			continue
		}
		if c.code != "" {
			if found, _ := answer.oneError(t); found.Code != c.code {
				t.Errorf("%s: %s", c.ask.path, answer.Body)
			}
		}
		if c.status == 200 && answer.Body != "" && answer.Header.Get("Content-Type") == "" {
			t.Errorf("%s: no type", c.ask.path)
		}
	}
}

// C7: what cannot be read at all, and paths and verbs that are not there.
func TestCommonErrors(t *testing.T) {
	t.Parallel()
	e := setup(t)
	const path = "/v1/accounts/acme/passwords"
	deep := strings.Repeat(`{"a":`, 9) + "1" + strings.Repeat("}", 9)
	for _, c := range []struct {
		name    string
		ask     ask
		status  int
		code    string
		hasMeta bool
	}{
		{"malformed JSON", ask{path: path, body: `{"meta":`}, 400, "JSON_INVALID", false},
		{"trailing data", ask{path: path, body: good + "{}"}, 400, "JSON_INVALID", false},
		{"a form that is no JSON", ask{path: path, body: "email=ada%40example.com"}, 400, "JSON_INVALID", false},
		{"duplicate member", ask{path: path, body: `{"meta":{"email":"a@b.c","email":"e@v.e"}}`}, 400, "JSON_INVALID", false},
		{"duplicate member in another case", ask{path: path, body: `{"meta":{"email":"a@b.c","EMAIL":"e@v.e"}}`}, 400, "JSON_INVALID", false},
		{"duplicate member in another style", ask{path: path, body: `{"meta":{"e_mail":"a@b.c","email":"e@v.e"}}`}, 400, "JSON_INVALID", false},
		{"duplicate member escaped", ask{path: path, body: `{"meta":{"email":"a@b.c","\u0065mail":"e@v.e"}}`}, 400, "JSON_INVALID", false},
		{"nested too deep", ask{path: path, body: deep}, 400, "JSON_INVALID", false},
		{"byte order mark", ask{path: path, body: "\ufeff" + good}, 400, "JSON_INVALID", false},
		{"invalid UTF-8", ask{path: path, body: "{\"meta\":{\"email\":\"\xff\"}}"}, 400, "ENCODING_INVALID", false},
		{"NUL byte", ask{path: path, body: "{\"meta\":{\"email\":\"a\x00\"}}"}, 400, "ENCODING_INVALID", false},
		{"NUL escaped", ask{path: path, body: `{"meta":{"email":"a\u0000"}}`}, 400, "ENCODING_INVALID", false},
		{"lone surrogate", ask{path: path, body: `{"meta":{"email":"a\ud800"}}`}, 400, "ENCODING_INVALID", false},
		{"control character in the address", ask{path: path, body: `{"meta":{"email":"a\u0007@b.c"}}`}, 400, "ENCODING_INVALID", false},
		{"line break in the address", ask{path: path, body: `{"meta":{"email":"a@b.c\r\nBcc: e@v.e"}}`}, 400, "ENCODING_INVALID", false},
		{"query with a broken escape", ask{path: path + "?x=%zz", body: good}, 400, "PARAMETERS_INVALID", false},
		{"query that is no UTF-8", ask{path: path + "?x=%ff", body: good}, 400, "ENCODING_INVALID", false},
		{"path that is no UTF-8", ask{path: "/v1/accounts/%ff/passwords", body: good}, 400, "ENCODING_INVALID", false},
		{"path with NUL", ask{path: "/v1/accounts/a%00/passwords", body: good}, 400, "ENCODING_INVALID", false},
		{"unknown method", ask{method: "BREW", path: path}, 400, "HTTP_METHOD_INVALID", false},
		{"unsupported version", ask{path: path, body: good, header: map[string]string{"Keygen-Version": "2.0"}}, 400, "INVALID_API_VERSION", true},
		{"environment", ask{path: path, body: good, header: map[string]string{"Keygen-Environment": "sandbox"}}, 400, "ENVIRONMENT_NOT_SUPPORTED", true},
		{"malformed signature wish", ask{path: path, body: good, header: map[string]string{"Keygen-Accept-Signature": "ed25519"}}, 400, "", true},
		{"unknown signature algorithm", ask{path: path, body: good, header: map[string]string{"Keygen-Accept-Signature": `algorithm="hmac"`}}, 400, "", true},
		{"body too large", ask{path: path, body: good + strings.Repeat(" ", 16<<10)}, 413, "", false},
		{"unknown path", ask{path: "/v1/accounts/acme/nothing"}, 404, "NOT_FOUND", true},
		{"wrong verb", ask{method: "GET", path: path}, 404, "NOT_FOUND", true},
		{"wrong verb PUT", ask{method: "PUT", path: path, body: good}, 404, "NOT_FOUND", true},
		{"un-prefixed", ask{path: "/v1/passwords", body: good}, 404, "NOT_FOUND", true},
		{"un-prefixed tokens", ask{path: "/v1/tokens"}, 404, "NOT_FOUND", true},
		{"trailing slash", ask{path: path + "/", body: good}, 404, "NOT_FOUND", true},
		{"doubled slash", ask{path: "//v1/accounts/acme/passwords", body: good}, 404, "NOT_FOUND", true},
		{"dot segments", ask{path: "/v1/x/../accounts/acme/passwords", body: good}, 404, "NOT_FOUND", true},
		{"outside the API", ask{method: "GET", path: "/favicon.ico"}, 404, "NOT_FOUND", true},
		{"another host", ask{path: path, body: good, header: map[string]string{"Host": "evil.example"}}, 404, "NOT_FOUND", true},
		{"bare OPTIONS", ask{method: "OPTIONS", path: path}, 404, "NOT_FOUND", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			answer := e.do(c.ask)
			found, hasMeta := answer.oneError(t)
			if answer.Status != c.status || found.Code != c.code || hasMeta != c.hasMeta {
				t.Errorf("%d %s", answer.Status, answer.Body)
			}
			if found.Title == "" || found.Detail == "" {
				t.Errorf("nothing said: %s", answer.Body)
			}
		})
	}
	if asked := e.asked.take(); asked != nil {
		t.Errorf("refused requests reached the intake: %d", len(asked))
	}
	if answer := e.do(ask{path: path, body: good + strings.Repeat(" ", 16<<10-len(good))}); answer.Status != 202 {
		t.Errorf("exactly 16 KiB: %d", answer.Status)
	}
	if answer := e.do(ask{path: path, body: `{"meta":{"email":[[[[[[1]]]]]]}}`}); answer.Status != 400 || strings.Contains(answer.Body, "JSON_INVALID") {
		t.Errorf("eight levels: %s", answer.Body)
	}
}

// R12: each check in its place; the earlier one speaks.
func TestOrderOfChecks(t *testing.T) {
	t.Parallel()
	e := setup(t)
	faults := []struct {
		code string
		set  func(*ask)
	}{
		{"MIME_TYPE_INVALID", func(a *ask) { a.header["Accept"] = "text/html" }},
		{"JSON_INVALID", func(a *ask) { a.body = "{" }},
		{"INVALID_API_VERSION", func(a *ask) { a.header["Keygen-Version"] = "9" }},
		{"NOT_FOUND", func(a *ask) { a.path = strings.Replace(a.path, "acme", "nobody", 1) }},
		{"ENVIRONMENT_NOT_SUPPORTED", func(a *ask) { a.header["Keygen-Environment"] = "x" }},
		{"", func(a *ask) {
			if a.body != "{" {
				a.body = "{}"
			}
		}},
	}
	for first := range faults {
		a := ask{path: "/v1/accounts/acme/passwords", body: good, header: map[string]string{}}
		for _, fault := range faults[first:] {
			fault.set(&a)
		}
		if found, _ := e.do(a).oneError(t); found.Code != faults[first].code {
			t.Errorf("want %q first, got %q", faults[first].code, found.Code)
		}
	}
}

func TestVersions(t *testing.T) {
	t.Parallel()
	e := setup(t)
	for _, c := range []struct{ sent, want, accountHeader string }{
		{"", "1.8", "Keygen-Account"}, {"1.0", "1.0", "Keygen-Account-Id"}, {"1.3", "1.3", "Keygen-Account-Id"},
		{"v1.4", "1.4", "Keygen-Account"}, {"1.7", "1.7", "Keygen-Account"}, {"v1.8", "1.8", "Keygen-Account"},
		{"1.9", "", ""}, {"1", "", ""}, {"1.10", "", ""}, {"vv1.8", "", ""}, {"V1.8", "", ""},
	} {
		answer := e.do(ask{path: "/v1/accounts/acme/passwords", body: good, header: map[string]string{"Keygen-Version": c.sent}})
		if c.want == "" {
			found, _ := answer.oneError(t)
			if found.Code != "INVALID_API_VERSION" || !strings.HasPrefix(found.Links["about"], e.url+"/docs") {
				t.Errorf("%q: %s", c.sent, answer.Body)
			}
			continue
		}
		if answer.Status != 202 || answer.Header.Get("Keygen-Version") != c.want || answer.Header.Get(c.accountHeader) != string(e.acme.ID) {
			t.Errorf("%q: %d %v", c.sent, answer.Status, answer.Header)
		}
	}
	old := e.acme
	old.APIVersion = "1.2"
	got(e.store.UpdateAccount(t.Context(), old.ID, old))(t)
	e.resolver.Clear()
	if answer := e.passwords(good); answer.Header.Get("Keygen-Version") != "1.2" {
		t.Errorf("the account's own version: %v", answer.Header)
	}
}

// C9: what every answer carries.
func TestStandardHeaders(t *testing.T) {
	t.Parallel()
	e := setup(t)
	answer := e.do(ask{path: "/v1/accounts/acme/passwords", body: good, header: map[string]string{"X-Request-Id": "mine"}})
	for name, want := range map[string]string{
		"Cache-Control":               "no-transform, no-store, max-age=0",
		"Content-Security-Policy":     "default-src 'none'",
		"Keygen-Edition":              "CE",
		"Keygen-Mode":                 "multiplayer",
		"Keygen-Revision":             "abc1234",
		"Keygen-Version":              "1.8",
		"Keygen-Account":              string(e.acme.ID),
		"Access-Control-Allow-Origin": "*",
		"Server":                      "",
		"X-Powered-By":                "",
		"Keygen-Environment":          "",
	} {
		if got := answer.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if id := answer.Header.Get("X-Request-Id"); len(id) != 36 || id[14] != '7' {
		t.Errorf("request id %q", id)
	}
}

// C11: web pages of any origin call the API.
func TestCORS(t *testing.T) {
	t.Parallel()
	e := setup(t)
	preflight := e.do(ask{method: "OPTIONS", path: "/v1/accounts/acme/passwords", header: map[string]string{
		"Origin": "https://app.example", "Access-Control-Request-Method": "POST",
		"Access-Control-Request-Headers": "content-type,keygen-version,authorization",
	}})
	if preflight.Status != 204 || preflight.Body != "" {
		t.Fatalf("%d %s", preflight.Status, preflight.Body)
	}
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin":      "*",
		"Access-Control-Allow-Headers":     "content-type,keygen-version,authorization",
		"Access-Control-Max-Age":           "86400",
		"Access-Control-Allow-Credentials": "",
	} {
		if got := preflight.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
		if !strings.Contains(preflight.Header.Get("Access-Control-Allow-Methods"), method) {
			t.Errorf("%s is not allowed", method)
		}
	}
	for _, body := range []string{good, `{}`} {
		answer := e.do(ask{path: "/v1/accounts/acme/passwords", body: body, header: map[string]string{"Origin": "https://app.example"}})
		if answer.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%d without CORS", answer.Status)
		}
		for _, name := range []string{"Keygen-Account", "X-RateLimit-Reset", "X-Request-Id", "Date", "Digest"} {
			if !strings.Contains(answer.Header.Get("Access-Control-Expose-Headers"), name) {
				t.Errorf("%s is not exposed", name)
			}
		}
	}
	injected := e.do(ask{method: "OPTIONS", path: "/v1/me", header: map[string]string{
		"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "a b; <script>",
	}})
	if injected.Header.Get("Access-Control-Allow-Headers") != "" {
		t.Error("a list that is none came back")
	}
}

func TestPingAndHealth(t *testing.T) {
	t.Parallel()
	e := setup(t)
	for _, c := range []struct {
		method, path, accept, host string
		status                     int
	}{
		{"GET", "/v1/ping", "text/html", "", 200}, {"HEAD", "/v1/ping", "image/png", "", 200}, {"GET", "/v1/accounts/acme/ping", "foo", "", 200},
		{"GET", "/v1/accounts/nobody/ping", "", "", 404}, {"GET", "/v1/ping", "", "evil.example", 404}, {"POST", "/v1/ping", "", "", 404},
		{"GET", "/v1/health", "", "", 204}, {"GET", "/v1/health", "", "10.0.0.7:8080", 204},
	} {
		header := map[string]string{"Accept": c.accept}
		if c.host != "" {
			header["Host"] = c.host
		}
		answer := e.do(ask{method: c.method, path: c.path, header: header})
		if answer.Status != c.status {
			t.Errorf("%+v: %d", c, answer.Status)
		}
		if c.status < 300 && (answer.Body != "" || answer.Header.Get("Content-Type") != "") {
			t.Errorf("%+v: %q", c, answer.Body)
		}
	}
}
