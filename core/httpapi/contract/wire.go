package contract

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ask is a request. A path that begins with P is one of the account.
type ask struct {
	method string // POST when empty
	path   string
	body   string
	header map[string]string // "" as a value leaves the field out
	as     string            // an API token
}

// reply is an answer.
type reply struct {
	ask    ask
	status int
	header http.Header
	body   string
}

const typeJSONAPI = "application/vnd.api+json"

// send sends a request. A 429 is waited for and asked again, so that a case never
// takes a limit for an answer of its own.
func (r *run) send(a ask) reply {
	for {
		answer := r.once(a)
		if answer.status != http.StatusTooManyRequests {
			return answer
		}
		r.await(answer)
	}
}

// await waits as a 429 says.
func (r *run) await(answer reply) {
	seconds, err := strconv.Atoi(answer.header.Get("Retry-After"))
	wait := time.Duration(seconds) * time.Second
	if err != nil || wait > r.MaxWait {
		r.skipf("the server is rate-limiting us for %s (%s)", wait, answer.header.Get("X-RateLimit-Window"))
	}
	r.pause(max(wait, time.Second))
}

// once sends a request and gives whatever comes.
func (r *run) once(a ask) reply {
	answer, err := r.exchange(a)
	if err != nil {
		r.fatalf("%s %s: %v", a.method, a.path, err)
	}
	return answer
}

// exchange is once for callers that run side by side.
func (r *run) exchange(a ask) (reply, error) {
	if a.method == "" {
		a.method = http.MethodPost
	}
	var body io.Reader
	if a.body != "" {
		body = strings.NewReader(a.body)
	}
	request, err := http.NewRequestWithContext(r.ctx, a.method, r.URL+r.path(a.path), body)
	if err != nil {
		return reply{}, err
	}
	if body != nil {
		request.Header.Set("Content-Type", typeJSONAPI)
	}
	request.Header.Set("Accept", typeJSONAPI)
	request.Header.Set("User-Agent", "passmend-contract")
	if a.as != "" {
		request.Header.Set("Authorization", "Bearer "+a.as)
	}
	for name, value := range a.header {
		switch {
		case name == "Host":
			request.Host = value
		case value == "":
			request.Header.Del(name)
		default:
			request.Header.Set(name, value)
		}
	}
	response, err := r.client.Do(request)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(io.LimitReader(response.Body, 8<<20))
	return reply{a, response.StatusCode, response.Header, string(content)}, err
}

// path puts the account in the place of P.
func (s *suite) path(path string) string {
	if path == "P" || strings.HasPrefix(path, "P/") || strings.HasPrefix(path, "P?") {
		return "/v1/accounts/" + s.Account + path[1:]
	}
	return path
}

// expect sends a request whose answer must have a status.
func (r *run) expect(status int, a ask) reply {
	answer := r.send(a)
	if answer.status != status {
		r.fatalf("%s: want %d", answer, status)
	}
	return answer
}

// String is a request and its answer, for reasons; credentials stay out of it.
func (a reply) String() string {
	body := a.body
	if len(body) > 300 {
		body = body[:300] + "…"
	}
	return fmt.Sprintf("%s %s: %d %s", a.ask.method, a.ask.path, a.status, body)
}

// wireError is the one error of an answer.
type wireError struct {
	Title  string            `json:"title"`
	Detail string            `json:"detail"`
	Code   string            `json:"code"`
	Source map[string]string `json:"source"`
	Links  map[string]string `json:"links"`
}

// titles are those of statuses (contract.md, C7).
var titles = map[int]string{
	400: "Bad request", 503: "Request timeout", 401: "Unauthorized", 403: "Access denied", 404: "Not found", 409: "Conflict",
	413: "Payload too large", 422: "Unprocessable resource", 429: "Too many requests",
}

// bareCodes are those of errors that carry no meta (contract.md, C8).
var bareCodes = []string{"TOO_MANY_REQUESTS", "JSON_INVALID", "ENCODING_INVALID", "MIME_TYPE_INVALID", "URI_INVALID", "PARAMETERS_INVALID", "HTTP_METHOD_INVALID"}

// oneError reads an error document and holds it to its shape.
func (r *run) oneError(a reply) wireError {
	var document struct {
		Meta   *struct{ ID string }
		Errors []json.RawMessage
		Data   json.RawMessage
	}
	if err := json.Unmarshal([]byte(a.body), &document); err != nil || len(document.Errors) != 1 || document.Data != nil {
		r.fatalf("%s: want an error document with one error and no data", a)
	}
	var members map[string]json.RawMessage
	var found wireError
	if err := json.Unmarshal(document.Errors[0], &members); err != nil {
		r.fatalf("%s: %v", a, err)
	}
	if err := json.Unmarshal(document.Errors[0], &found); err != nil {
		r.fatalf("%s: %v", a, err)
	}
	for name := range members {
		if !slices.Contains([]string{"title", "detail", "code", "source", "links"}, name) {
			r.errorf("%s: an error has no member %q", a, name)
		}
	}
	if kind := a.header.Get("Content-Type"); kind != typeJSONAPI+"; charset=utf-8" && kind != "application/json; charset=utf-8" {
		r.errorf("%s: Content-Type %q", a, kind)
	}
	if document.Meta != nil && document.Meta.ID != a.header.Get("X-Request-Id") {
		r.errorf("%s: meta.id is not X-Request-Id %q", a, a.header.Get("X-Request-Id"))
	}
	if bare := slices.Contains(bareCodes, found.Code) || a.status == 413 || a.status == 503; bare != (document.Meta == nil) {
		r.errorf("%s: meta: %v", a, document.Meta)
	}
	return found
}

// refusal is what an answer that refuses must say. Source begins with a slash for a
// pointer, and is parameter:NAME or header:NAME else. An empty code or source must be
// absent; an empty detail may be anything, as may a code of *.
type refusal struct {
	status               int
	code, source, detail string
}

// refused holds an answer to a refusal.
func (r *run) refused(a reply, want refusal) {
	if a.status != want.status {
		r.forgive(a)
		r.fatalf("%s: want %d %s %s", a, want.status, want.code, want.source)
	}
	got := r.oneError(a)
	if title := titles[a.status]; got.Title != title && a.status != 403 {
		r.errorf("%s: title %q, want %q", a, got.Title, title)
	}
	source := got.Source["pointer"]
	for _, kind := range []string{"parameter", "header"} {
		if value, there := got.Source[kind]; there {
			source = kind + ":" + value
		}
	}
	if want.code == "*" {
		want.code = got.Code
	}
	if got.Code != want.code || source != want.source || (want.detail != "" && got.Detail != want.detail) {
		r.errorf("%s: want code %q, source %q, detail %q", a, want.code, want.source, want.detail)
	}
}

// forgive takes away what was made though it should have been refused.
func (r *run) forgive(a reply) {
	made := a.header.Get("Location")
	if a.status != http.StatusCreated || !strings.HasPrefix(made, "/v1/accounts/") {
		return
	}
	as := r.OperatorToken
	if as == "" {
		as = r.AdminToken
	}
	r.undo = append(r.undo, func() { r.send(ask{method: http.MethodDelete, path: made, as: as}) })
}

// refuses sends what must be refused.
func (r *run) refuses(a ask, want refusal) reply {
	answer := r.send(a)
	r.refused(answer, want)
	return answer
}

// accepted holds an answer to the 202 of POST passwords (R1).
func (r *run) accepted(a reply) {
	if a.status != http.StatusAccepted || a.body != "" {
		r.fatalf("%s: want 202 and nothing", a)
	}
	if _, there := a.header["Content-Type"]; there {
		r.errorf("%s: Content-Type %q, want none", a, a.header.Get("Content-Type"))
	}
}

// resource is what data holds.
type resource struct {
	ID            string                     `json:"id"`
	Type          string                     `json:"type"`
	Attributes    map[string]json.RawMessage `json:"attributes"`
	Relationships map[string]struct {
		Links map[string]string
		Data  *struct{ Type, ID string }
	} `json:"relationships"`
	Links map[string]string `json:"links"`
	Meta  map[string]string `json:"meta"`
}

// text gives an attribute that is a string; "" for null and for none.
func (d resource) text(name string) (text string) {
	_ = json.Unmarshal(d.Attributes[name], &text)
	return text
}

// one reads a document with one resource.
func (r *run) one(a reply) resource {
	var document struct{ Data resource }
	if err := json.Unmarshal([]byte(a.body), &document); err != nil || document.Data.ID == "" {
		r.fatalf("%s: want a document with a resource", a)
	}
	return document.Data
}

// list is a document with resources.
type list struct {
	Data  []resource
	Links map[string]json.RawMessage
}

func (r *run) many(a reply) list {
	var document list
	if err := json.Unmarshal([]byte(a.body), &document); err != nil || document.Data == nil {
		r.fatalf("%s: want a document with a list", a)
	}
	return document
}

func basic(name, password string) map[string]string {
	return map[string]string{"Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))}
}

func quote(s string) string {
	text, _ := json.Marshal(s)
	return string(text)
}

// fingerprint is all of an answer but the clock and its own id.
func (a reply) fingerprint() string {
	var lines []string
	id := a.header.Get("X-Request-Id")
	for name, values := range a.header {
		switch name {
		case "Date", "Keygen-Date", "X-Request-Id", "Digest", "Keygen-Digest", "Keygen-Signature":
			lines = append(lines, name)
		default:
			lines = append(lines, name+": "+strings.Join(values, "|"))
		}
	}
	slices.Sort(lines)
	body := a.body
	if id != "" {
		body = strings.ReplaceAll(body, id, "ID")
	}
	return strconv.Itoa(a.status) + "\n" + strings.Join(lines, "\n") + "\n\n" + body
}
