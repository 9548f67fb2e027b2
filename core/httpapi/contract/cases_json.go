package contract

import (
	"net/http"
	"strings"
)

// jsonCases are C3, C4, C6 and R20: the body of POST passwords.
func jsonCases() []Case {
	const email = `"json@contract.example"`
	var cases []Case
	for _, c := range []struct{ name, body, detail, source string }{
		{"empty-body", ``, "is missing", "/meta"},
		{"spaces", "  \n", "is missing", "/meta"},
		{"empty-object", `{}`, "is missing", "/meta"},
		{"meta-null", `{"meta":null}`, "cannot be null", "/meta"},
		{"meta-string", `{"meta":"x"}`, "type mismatch (received string expected object)", "/meta"},
		{"meta-array", `{"meta":[]}`, "type mismatch (received array expected object)", "/meta"},
		{"meta-integer", `{"meta":1}`, "type mismatch (received integer expected object)", "/meta"},
		{"meta-boolean", `{"meta":true}`, "type mismatch (received boolean expected object)", "/meta"},
		{"meta-empty", `{"meta":{}}`, "is missing", "/meta/email"},
		{"email-null", `{"meta":{"email":null}}`, "cannot be null", "/meta/email"},
		{"email-empty", `{"meta":{"email":""}}`, "cannot be blank", "/meta/email"},
		{"email-spaces", `{"meta":{"email":"   "}}`, "cannot be blank", "/meta/email"},
		{"email-integer", `{"meta":{"email":42}}`, "type mismatch (received integer expected string)", "/meta/email"},
		{"email-float", `{"meta":{"email":1.5}}`, "type mismatch (received float expected string)", "/meta/email"},
		{"email-boolean", `{"meta":{"email":true}}`, "type mismatch (received boolean expected string)", "/meta/email"},
		{"email-object", `{"meta":{"email":{}}}`, "type mismatch (received object expected string)", "/meta/email"},
		{"email-array", `{"meta":{"email":[` + email + `,"evil@contract.example"]}}`, "type mismatch (received array expected string)", "/meta/email"},
		{"deliver-string", `{"meta":{"email":` + email + `,"deliver":"false"}}`, "type mismatch (received string expected boolean)", "/meta/deliver"},
		{"deliver-integer", `{"meta":{"email":` + email + `,"deliver":0}}`, "type mismatch (received integer expected boolean)", "/meta/deliver"},
		{"deliver-array", `{"meta":{"email":` + email + `,"deliver":[]}}`, "type mismatch (received array expected boolean)", "/meta/deliver"},
		{"extra-in-meta", `{"meta":{"email":` + email + `,"foo":1}}`, "unpermitted parameter", "/meta/foo"},
		{"extra-at-top", `{"meta":{"email":` + email + `},"data":{}}`, "unpermitted parameter", "/data"},
		{"body-array", `[]`, "unpermitted parameter", "/data"},
		{"body-string", `"x"`, "unpermitted parameter", "/data"},
		{"body-number", `7`, "unpermitted parameter", "/data"},
		{"body-null", `null`, "unpermitted parameter", "/data"},
		{"unknown-before-deliver", `{"meta":{"deliver":"x","foo":1}}`, "unpermitted parameter", "/meta/foo"},
		{"deliver-before-email", `{"meta":{"deliver":"x"}}`, "type mismatch (received string expected boolean)", "/meta/deliver"},
		{"email-before-nothing", `{"meta":{"deliver":true}}`, "is missing", "/meta/email"},
		{"extra-pointer-in-lower-camel", `{"meta":{"email":` + email + `,"foo_bar":1}}`, "unpermitted parameter", "/meta/fooBar"},
		{"extra-kebab-pointer-in-lower-camel", `{"meta":{"email":` + email + `,"foo-bar":1}}`, "unpermitted parameter", "/meta/fooBar"},
	} {
		section := "C6/"
		if strings.HasPrefix(c.name, "extra") {
			section = "C4/"
		}
		cases = append(cases, Case{section + c.name, "", nothing, func(r *run) {
			r.refuses(ask{path: "P/passwords", body: c.body, header: map[string]string{"Content-Type": typeJSONAPI}}, refusal{400, "", c.source, c.detail})
		}})
	}
	cases = append(cases, Case{"C6/deliver-null", "R1", nothing, func(r *run) {
		r.accepted(r.send(ask{path: "P/passwords", body: `{"meta":{"email":` + email + `,"deliver":null}}`}))
	}})
	return append(cases, spellingCases()...)
}

// spellingCases are C3, of how members may be written, and R20.
func spellingCases() []Case {
	var cases []Case
	for name, body := range map[string]string{
		"upper": `{"META":{"EMAIL":"c3@contract.example","DELIVER":false}}`, "capital": `{"Meta":{"Email":"c3@contract.example","Deliver":false}}`,
	} {
		cases = append(cases, Case{"C3/" + name, "R1", nothing, func(r *run) { r.accepted(r.send(ask{path: "P/passwords", body: body})) }})
	}
	for name, members := range map[string][2]string{
		"camel": {"passwordResetToken", "newPassword"}, "snake": {"password_reset_token", "new_password"}, "kebab": {"password-reset-token", "new-password"},
		"pascal": {"PasswordResetToken", "NewPassword"}, "mixed": {"password_reset_token", "newPassword"},
	} {
		cases = append(cases, Case{"C3/members-in-" + name, "", nothing, func(r *run) {
			r.refuses(ask{path: resetPath(nobody), body: `{"meta":{` + quote(members[0]) + `:"x",` + quote(members[1]) + `:"a long enough one"}}`}, noUser(nobody))
		}}, Case{"C3/pointer-for-" + name, "", nothing, func(r *run) {
			r.refuses(ask{path: resetPath(nobody), body: `{"meta":{` + quote(members[0]) + `:"x",` + quote(members[1]) + `:1}}`}, refusal{400, "", "/meta/newPassword", "type mismatch (received integer expected string)"})
		}})
	}
	cases = byName(cases)
	invalid := refusal{400, "JSON_INVALID", "", ""}
	encoding := refusal{400, "ENCODING_INVALID", "", ""}
	deep := strings.Repeat(`{"a":`, 8)
	for _, c := range []struct {
		name, ruling, body string
		want               refusal
	}{
		{"C7/json-cut-off", "", `{"meta":`, invalid},
		{"C7/json-trailing-comma", "", `{"meta":{},}`, invalid},
		{"C7/json-single-quotes", "", `{'meta':{}}`, invalid},
		{"C7/json-comment", "", `{"meta":{}} // x`, invalid},
		{"C7/json-two-values", "", `{} {}`, invalid},
		{"C7/json-nan", "", `{"meta":NaN}`, invalid},
		{"C7/json-leading-zero", "", `{"meta":01}`, invalid},
		{"C7/json-control-character", "", "{\"meta\":\"a\nb\"}", invalid},
		{"C7/form-body", "", `email=x%40contract.example`, invalid},
		{"C7/bad-utf-8", "", "{\"meta\":{\"email\":\"\xff@contract.example\"}}", encoding},
		{"C7/overlong-utf-8", "", "{\"meta\":{\"email\":\"\xc0\xaf@contract.example\"}}", encoding},
		{"C7/nul", "", "{\"meta\":{\"email\":\"a\x00@contract.example\"}}", encoding},
		{"C7/nul-escaped", "", `{"meta":{"email":"a\u0000@contract.example"}}`, encoding},
		{"C7/lone-surrogate", "", `{"meta":{"email":"\ud800@contract.example"}}`, encoding},
		{"C7/line-break-in-address", "", `{"meta":{"email":"a@contract.example\r\ncc: b@contract.example"}}`, encoding},
		{"C6/member-twice", "R20", `{"meta":{"email":"a@contract.example","email":"b@contract.example"}}`, invalid},
		{"C6/member-twice-in-two-styles", "R20", `{"meta":{"email":"a@contract.example","Email":"b@contract.example"}}`, invalid},
		{"C6/nested-eight-deep", "R20", deep + "1" + strings.Repeat("}", 8), refusal{400, "", "/a", "unpermitted parameter"}},
		{"C6/nested-nine-deep", "R20", deep + `{}` + strings.Repeat("}", 8), invalid},
		{"C6/arrays-nested-deep", "R20", strings.Repeat("[", 7000), invalid},
		{"C7/body-too-large", "R15", `{"meta":{"email":"` + strings.Repeat("a", 17000) + `"}}`, refusal{413, "", "", ""}},
	} {
		cases = append(cases, Case{c.name, c.ruling, nothing, func(r *run) {
			r.refuses(ask{path: "P/passwords", body: c.body}, c.want)
		}})
	}
	return append(cases, Case{"C7/body-of-16-kib", "R15", nothing, func(r *run) {
		body := `{"meta":{"email":"a@contract.example","deliver":false}}`
		r.accepted(r.send(ask{method: http.MethodPost, path: "P/passwords", body: body + strings.Repeat(" ", 16<<10-len(body))}))
	}})
}
