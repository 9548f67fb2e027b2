package contract

import (
	"net/http"
	"strings"
)

// mediaCases are C1 and C2.
func mediaCases() []Case {
	var cases []Case
	for name, kind := range map[string]string{
		"json-api": typeJSONAPI, "keygen-json": "application/vnd.keygen+json", "json": "application/json", "missing": "", "text": "text/plain",
		"urlencoded": "application/x-www-form-urlencoded", "form-data": "multipart/form-data", "json-with-charset": "application/json; charset=utf-8",
		"json-api-upper-case": "Application/Vnd.Api+JSON", "text-with-charset": "text/plain;charset=UTF-8",
	} {
		cases = append(cases, Case{"C1/body-as-" + name, "R1", nothing, func(r *run) {
			r.accepted(r.send(ask{path: "P/passwords", body: asked(r.address()), header: map[string]string{"Content-Type": kind}}))
		}})
	}
	for name, kind := range map[string]string{"xml": "application/xml", "html": "text/html", "octets": "application/octet-stream", "image": "image/png"} {
		cases = append(cases, Case{"C1/body-as-" + name + "-is-empty", "", nothing, func(r *run) {
			r.refuses(ask{path: "P/passwords", body: asked(r.address()), header: map[string]string{"Content-Type": kind}}, refusal{400, "", "/meta", "is missing"})
		}})
	}
	for name, kind := range map[string]string{"word": "nonsense", "slashes": "a/b/c", "semicolon": ";", "open-quote": `application/json; charset="x`} {
		cases = append(cases, Case{"C1/malformed-type-" + name, "", nothing, func(r *run) {
			r.refuses(ask{path: "P/passwords", body: asked(r.address()), header: map[string]string{"Content-Type": kind}}, refusal{400, "MIME_TYPE_INVALID", "", ""})
		}})
	}
	for name, accept := range map[string]string{
		"none": "", "anything": "*/*", "star": "*", "json-api": typeJSONAPI, "keygen-json": "application/vnd.keygen+json", "json": "application/json",
		"octets": "application/octet-stream", "a-list-with-one-match": "text/html, application/json;q=0.1", "browsers": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
	} {
		cases = append(cases, Case{"C2/accept-" + name, "R1", nothing, func(r *run) {
			r.accepted(r.send(ask{path: "P/passwords", body: asked(r.address()), header: map[string]string{"Accept": accept}}))
		}})
	}
	for name, accept := range map[string]string{"xml": "application/xml", "html": "text/html", "plain": "text/plain", "html-and-xml": "text/html, application/xml", "nothing-at-all": "*/*;q=0"} {
		cases = append(cases, Case{"C2/accept-only-" + name, "", nothing, func(r *run) {
			r.refuses(ask{path: "P/passwords", body: asked(r.address()), header: map[string]string{"Accept": accept}}, refusal{400, "MIME_TYPE_INVALID", "", ""})
		}})
	}
	for name, c := range map[string][2]string{
		"json-when-preferred": {"application/json", "application/json"}, "json-api-by-default": {"", typeJSONAPI}, "json-api-when-asked": {typeJSONAPI, typeJSONAPI},
		"json-api-for-anything": {"*/*", typeJSONAPI}, "json-by-quality": {typeJSONAPI + ";q=0.5, application/json", "application/json"}, "json-api-by-order": {typeJSONAPI + ", application/json", typeJSONAPI},
	} {
		cases = append(cases, Case{"C2/answer-is-" + name, "", nothing, func(r *run) {
			answer := r.send(ask{path: "P/passwords", body: `{}`, header: map[string]string{"Accept": c[0]}})
			r.check(answer.header.Get("Content-Type") == c[1]+"; charset=utf-8", "Content-Type %q, want %s; charset=utf-8", answer.header.Get("Content-Type"), c[1])
		}})
	}
	return append(byName(cases),
		Case{"C2/suffix-json", "R1", nothing, func(r *run) { r.accepted(r.send(ask{path: "P/passwords.json", body: asked(r.address())})) }},
		Case{"C2/suffix-json-answers-json", "", nothing, func(r *run) {
			answer := r.refuses(ask{method: http.MethodGet, path: "P/me.json"}, refusal{401, "TOKEN_MISSING", "", ""})
			r.check(strings.HasPrefix(answer.header.Get("Content-Type"), "application/json"), "Content-Type %q", answer.header.Get("Content-Type"))
		}},
		Case{"C2/suffix-xml", "", nothing, func(r *run) {
			r.refuses(ask{path: "P/passwords.xml", body: asked(r.address())}, refusal{400, "MIME_TYPE_INVALID", "", ""})
		}},
		Case{"C2/ping-takes-any-accept", "", nothing, func(r *run) {
			answer := r.expect(http.StatusOK, ask{method: http.MethodGet, path: "/v1/ping", header: map[string]string{"Accept": "image/png"}})
			r.check(answer.body == "", "a body: %s", answer)
		}})
}
