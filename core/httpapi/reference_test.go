package httpapi_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"
)

// What programs get is the description that the routes and answers are held against.
func TestOpenAPIIsServed(t *testing.T) {
	t.Parallel()
	e := setup(t)
	answer := e.get("/openapi.json", nil)
	if answer.Status != 200 || answer.Header.Get("Content-Type") != "application/json; charset=utf-8" || answer.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Fatalf("%d %v", answer.Status, answer.Header)
	}
	served := got(openapi3.NewLoader().LoadFromData([]byte(answer.Body)))(t)
	must(t, served.Validate(t.Context()))
	if !strings.HasPrefix(answer.Body, `{"openapi":"3.1.0","info":`) {
		t.Errorf("it begins with %.60s", answer.Body)
	}
	plain := func(document *openapi3.T) (value any) {
		must(t, json.Unmarshal(got(document.MarshalJSON())(t), &value))
		return value
	}
	if diff := cmp.Diff(plain(got(openapi3.NewLoader().LoadFromFile("openapi.yaml"))(t)), plain(served)); diff != "" {
		t.Errorf("openapi.yaml (-), /openapi.json (+): %s", diff)
	}
}

var (
	pageIDs   = regexp.MustCompile(` id="([^"]+)"`)
	pageLinks = regexp.MustCompile(` (?:href|src|action)="([^"]+)"`)
)

// What people get tells of every operation and schema, leads nowhere else, and needs
// no script.
func TestReferencePage(t *testing.T) {
	t.Parallel()
	e := setup(t)
	answer := e.get("/docs", nil)
	if answer.Status != 200 || answer.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("%d %v", answer.Status, answer.Header)
	}
	var ids []string
	for _, found := range pageIDs.FindAllStringSubmatch(answer.Body, -1) {
		if slices.Contains(ids, found[1]) {
			t.Errorf("two elements have the id %s", found[1])
		}
		ids = append(ids, found[1])
	}
	document := got(openapi3.NewLoader().LoadFromFile("openapi.yaml"))(t)
	for _, o := range operations(t) {
		article := regexp.MustCompile(`(?s)<h3 id="` + o.id + `">.*?</article>`).FindString(answer.Body)
		if !strings.Contains(article, ">"+o.method+"</span> <code>"+o.path+"</code>") {
			t.Errorf("%s is not shown as %s %s", o.id, o.method, o.path)
		}
		for status := range document.Paths.Value(o.path).GetOperation(o.method).Responses.Map() {
			if !strings.Contains(article, ">"+status+"</span>") {
				t.Errorf("%s: status %s is not shown", o.id, status)
			}
		}
	}
	for name := range document.Components.Schemas {
		if !slices.Contains(ids, "schema-"+name) {
			t.Errorf("schema %s is not shown", name)
		}
	}
	for _, name := range []string{"versions", "passwords"} { // where links.about leads
		if !slices.Contains(ids, name) {
			t.Errorf("nothing has the id %s", name)
		}
	}
	for _, found := range pageLinks.FindAllStringSubmatch(answer.Body, -1) {
		switch target := found[1]; {
		case strings.HasPrefix(target, "#"):
			if !slices.Contains(ids, target[1:]) {
				t.Errorf("%s leads nowhere", target)
			}
		case e.get(target, nil).Status != 200 || !strings.HasPrefix(target, "/"):
			t.Errorf("%s is not ours", target)
		}
	}
	for _, part := range []string{"<script", "style=", "onclick", "@import", "url("} {
		if strings.Contains(answer.Body, part) {
			t.Errorf("the page holds %s", part)
		}
	}
	for _, part := range []string{`<html lang="en">`, "<main", "<nav aria-label=", "<title>", `class="skip"`, `name="viewport"`} {
		if !strings.Contains(answer.Body, part) {
			t.Errorf("the page lacks %s", part)
		}
	}
	if n := len(answer.Body); n > 400<<10 {
		t.Errorf("%d bytes", n)
	}
}

func TestReferenceIsKeptByBrowsers(t *testing.T) {
	t.Parallel()
	e := setup(t)
	for _, path := range []string{"/docs", "/openapi.json"} {
		first := e.get(path, nil)
		again := e.get(path, map[string]string{"If-None-Match": first.Header.Get("Etag")})
		if first.Header.Get("Etag") == "" || again.Status != 304 || again.Body != "" {
			t.Errorf("%s: ETag %q, then %d %.40q", path, first.Header.Get("Etag"), again.Status, again.Body)
		}
		if other := e.get(path, map[string]string{"If-None-Match": `"other"`}); other.Status != 200 || other.Body != first.Body {
			t.Errorf("%s: %d", path, other.Status)
		}
		head := e.do(ask{method: "HEAD", path: path})
		if head.Status != 200 || head.Body != "" || head.Header.Get("Content-Security-Policy") == "" {
			t.Errorf("HEAD %s: %d %v", path, head.Status, head.Header)
		}
	}
	sheet := regexp.MustCompile(`/docs/[0-9a-f]+\.css`).FindString(e.get("/docs", nil).Body)
	if answer := e.get(sheet, nil); answer.Status != 200 || !strings.Contains(answer.Header.Get("Cache-Control"), "immutable") {
		t.Errorf("%s: %d %v", sheet, answer.Status, answer.Header)
	}
}

// Merge keys are resolved, and what stands beside one wins over it.
func TestOrderedYAML(t *testing.T) {
	t.Parallel()
	answer := setup(t).get("/openapi.json", nil).Body
	if strings.Contains(answer, `"<<"`) || !strings.Contains(answer, `"operationId":"headUser"`) {
		t.Error("a merge key is not resolved")
	}
}
