package httpapi_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// mark stands in what is sent, and must not come back.
const mark = "mark-7f3a-do-not-repeat"

// bad is something that a route must refuse: with that status, and if they are not
// empty with that code and at that place.
type bad struct {
	name, path, body  string
	header            map[string]string
	status            int
	code, place, text string
}

// The matrix of contract.md, C6 and C7, on every route that is described: each is
// refused as it should be, nothing of it is stored, and nothing of it comes back.
func TestBadInputOnEveryRoute(t *testing.T) {
	t.Parallel()
	for engine, database := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			badInput(t, setupOn(t, database(t)))
		})
	}
}

func badInput(t *testing.T, e *edge) {
	t.Helper()
	m := newMatrix(e)
	before := e.contents()
	e.asked.take()
	tried := 0
	for _, o := range operations(t) {
		for _, b := range slices.Concat(m.badHeaders(o), m.badTargets(o), m.badBodies(o), m.badMembers(o)) {
			tried++
			m.refuses(o, b)
		}
	}
	if asked := e.asked.take(); len(asked) != 0 {
		t.Errorf("%d requests were accepted", len(asked))
	}
	if tables := changes(before, e.contents()); len(tables) != 0 {
		t.Errorf("rows have changed in %v", tables)
	}
	if strings.Contains(e.logs.String(), mark) {
		t.Error("the log repeats what was sent")
	}
	if tried < 1500 {
		t.Errorf("%d inputs were tried", tried)
	}
	t.Logf("%d inputs on %d routes", tried, len(operations(t)))

	// Positive control: what is stored is seen.
	if answer := e.passwords(good); answer.Status != http.StatusAccepted || len(changes(before, e.contents())) == 0 {
		t.Error("a request that was accepted is not seen to be stored")
	}
}

// matrix is an edge with something of everything in account acme.
type matrix struct {
	*edge
	values          map[string]string // of the parameters of paths
	admin, operator map[string]string
}

func newMatrix(e *edge) *matrix {
	m := &matrix{edge: e, admin: bearer(e.token(e.boss)), operator: bearer(e.operatorToken())}
	m.values = e.belongings(e.acme, m.admin)
	m.values["account"] = "acme"
	e.provider(e.acme.ID, "post", "hooked", "hook-secret")
	m.values["provider"] = "post"
	return m
}

// as gives the credentials that the route wants.
func (m *matrix) as(o operation) map[string]string {
	switch {
	case o.plain():
		return nil
	case !strings.Contains(o.path, "{account}") && o.id != "getMe" && o.id != "getProfile" || o.id == "updateAccount" || o.id == "deleteAccount":
		return m.operator
	case o.id == "updatePassword":
		return bearer(m.values["session"])
	case o.id == "createToken":
		return map[string]string{"Authorization": basic(m.values["address"], adaPassword)}
	}
	return m.admin
}

func (m *matrix) refuses(o operation, b bad) {
	m.t.Helper()
	a := ask{method: o.method, path: b.path, body: b.body, header: maps.Clone(m.as(o))}
	if a.path == "" {
		a.path = o.at(m.values)
	}
	if a.header == nil {
		a.header = map[string]string{}
	}
	if b.body != "" {
		a.header["Content-Type"] = "application/vnd.api+json"
	}
	maps.Copy(a.header, b.header)
	answer := m.do(a)
	what := fmt.Sprintf("%s %s: %s: %d %.300s", o.method, o.path, b.name, answer.Status, answer.Body)
	if answer.Status != b.status {
		m.t.Errorf("%s, want %d", what, b.status)
		return
	}
	found, _ := answer.oneError(m.t)
	place := ""
	for _, value := range found.Source {
		place = value
	}
	if (b.code != "" && found.Code != b.code) || (b.place != "" && place != b.place) || (b.text != "" && found.Detail != b.text) {
		m.t.Errorf("%s, want code %q at %q: %q", what, b.code, b.place, b.text)
	}
	if strings.Contains(answer.Body, mark) {
		m.t.Errorf("%s: it repeats what was sent", what)
	}
}

func (m *matrix) badHeaders(o operation) (all []bad) {
	if o.plain() {
		return nil
	}
	for _, accept := range []string{"text/html", "application/xml", "image/png;q=1, text/*", "*/*;q=0", mark} {
		all = append(all, bad{name: "Accept " + accept, header: map[string]string{"Accept": accept}, status: 400, code: "MIME_TYPE_INVALID"})
	}
	for _, kind := range []string{mark, "a/b/c", ";", `application/json; charset="` + mark} {
		all = append(all, bad{name: "Content-Type " + kind, header: map[string]string{"Content-Type": kind}, status: 400, code: "MIME_TYPE_INVALID"})
	}
	for _, version := range []string{"0.9", "1.9", "v", "1.8.0", mark} {
		all = append(all, bad{name: "Keygen-Version " + version, header: map[string]string{"Keygen-Version": version}, status: 400, code: "INVALID_API_VERSION"})
	}
	return append(all,
		bad{name: "Keygen-Environment", header: map[string]string{"Keygen-Environment": mark}, status: 400, code: "ENVIRONMENT_NOT_SUPPORTED", place: "Keygen-Environment"},
		bad{name: "Keygen-Accept-Signature", header: map[string]string{"Keygen-Accept-Signature": mark}, status: 400, place: "Keygen-Accept-Signature"},
		bad{name: "an unknown algorithm", header: map[string]string{"Keygen-Accept-Signature": `algorithm="` + mark + `"`}, status: 400, place: "Keygen-Accept-Signature"})
}

// badTargets are paths and queries.
func (m *matrix) badTargets(o operation) (all []bad) {
	if o.plain() {
		return nil
	}
	path := o.at(m.values)
	for query, code := range map[string]string{"x=%zz": "PARAMETERS_INVALID", "x=%": "PARAMETERS_INVALID", "x=%ff": "ENCODING_INVALID", "x=%00": "ENCODING_INVALID", "%ed%a0%80=1": "ENCODING_INVALID"} {
		all = append(all, bad{name: "query " + query, path: path + "?" + query, status: 400, code: code})
	}
	for name := range m.values {
		if !strings.Contains(o.path, "{"+name+"}") {
			continue
		}
		for _, value := range []string{"%ff", "%00", "x%ed%a0%80"} {
			all = append(all, bad{name: name + " " + value, path: m.with(o, name, value), status: 400, code: "ENCODING_INVALID"})
		}
	}
	if o.paged {
		for query, parameter := range map[string]string{
			"limit=0": "limit", "limit=101": "limit", "limit=-1": "limit", "limit=1e1": "limit", "limit=": "limit", "limit=1&limit=2": "limit", "limit=" + mark: "limit",
			"page[size]=0": "page[size]", "page[size]=101": "page[size]", "page[size]=99999999999999999999": "page[size]", "page[number]=0": "page[number]", "page[number]=101": "page[number]",
			"page[cursor]=" + mark: "page[cursor]", "page=1": "page", "order=up": "order",
		} {
			all = append(all, bad{name: query, path: path + "?" + query, status: 400, place: parameter})
		}
	}
	return all
}

// with is the path with another value in one place.
func (m *matrix) with(o operation, name, value string) string {
	values := maps.Clone(m.values)
	values[name] = value
	return o.at(values)
}

// badBodies are those that no route takes.
func (m *matrix) badBodies(o operation) (all []bad) {
	if o.plain() || !o.takesBody {
		return nil
	}
	for _, body := range []string{
		`{`, `{"data":`, `{"data":{},}`, `{'data':1}`, `{} {}`, `{"data":NaN}`, `{"data":01}`, `{"a":1,"a":2}`, `{"fooBar":1,"foo_bar":2}`,
		`{"data":{"type":"` + mark + `","TYPE":"x"}}`, strings.Repeat(`{"a":`, 9) + "1" + strings.Repeat("}", 9), strings.Repeat("[", 9) + strings.Repeat("]", 9), strings.Repeat("[", 7000), "{\"a\":\"\n\"}",
	} {
		all = append(all, bad{name: fmt.Sprintf("body %.40q", body), body: body, status: 400, code: "JSON_INVALID"})
	}
	for _, body := range []string{"{\"a\":\"\xff\"}", "\xfe\xff", "{\"a\":\"\x00\"}", `{"a":"\u0000"}`, `{"a":"\ud800"}`, "{\"a\":\"\xed\xa0\x80\"}"} {
		all = append(all, bad{name: fmt.Sprintf("body %q", body), body: body, status: 400, code: "ENCODING_INVALID"})
	}
	for _, body := range []string{`[]`, `[{}]`, `"` + mark + `"`, `7`, `1.5`, `true`, `null`} {
		all = append(all, bad{name: "body " + body, body: body, status: 400, place: "/data", text: "unpermitted parameter"})
	}
	all = append(all, bad{name: "unknown member", body: `{"not_known":"` + mark + `"}`, status: 400, place: "/notKnown", text: "unpermitted parameter"})
	return append(all, bad{name: "huge body", body: `{"data":"` + strings.Repeat("x", 70000) + `"}`, status: 413})
}

// badMembers changes one member after the other of a body that would be taken.
func (m *matrix) badMembers(o operation) (all []bad) {
	if o.body == nil {
		return nil
	}
	root, _ := example(o.body, "").(map[string]any)
	var walk func(schema *openapi3.Schema, object map[string]any, path string)
	walk = func(schema *openapi3.Schema, object map[string]any, path string) {
		add := func(name, place, text string) {
			all = append(all, bad{name: name, body: encoded(m.t, root), status: 400, place: place, text: text})
		}
		if schema.AdditionalProperties.Has != nil && !*schema.AdditionalProperties.Has {
			object["notKnown"] = mark
			add(path+"/notKnown", path+"/notKnown", "unpermitted parameter")
			delete(object, "notKnown")
		}
		for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
			member, place := schema.Properties[name].Value, path+"/"+name
			was, there := object[name]
			for kind, wrong := range map[string]any{"null": nil, "string": mark, "integer": 42, "number": 1.5, "boolean": true, "object": map[string]any{}, "array": []any{}} {
				if member.Type.Includes(kind) || (kind == "integer" && member.Type.Includes("number")) {
					continue
				}
				text := "type mismatch (received " + strings.Replace(kind, "number", "float", 1) + " expected " + expected(member) + ")"
				if kind == "null" {
					text = "cannot be null"
				}
				object[name] = wrong
				add(place+" as "+kind, place, text)
			}
			if member.Type.Includes("object") && len(member.Properties) > 0 {
				inner, ok := was.(map[string]any)
				if !ok {
					inner, _ = example(member, name).(map[string]any)
				}
				object[name] = inner
				walk(member, inner, place)
			}
			delete(object, name)
			if slices.Contains(schema.Required, name) {
				add(place+" left out", place, "is missing")
			}
			if there {
				object[name] = was
			}
		}
	}
	walk(o.body, root, "")
	return all
}

func expected(schema *openapi3.Schema) string {
	for _, kind := range []string{"string", "integer", "boolean", "object", "array"} {
		if schema.Type.Includes(kind) {
			return kind
		}
	}
	return "float"
}
