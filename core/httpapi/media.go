package httpapi

import (
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Media types of answers.
const (
	typeJSONAPI = "application/vnd.api+json"
	typeJSON    = "application/json"
)

// answerable are the entries of Accept that one of our answers satisfies
// (contract.md, C2).
var answerable = []string{
	"*/*", "*", "application/*",
	typeJSONAPI, "application/vnd.keygen+json", typeJSON, "application/octet-stream",
}

// parsed are the types whose body is read as JSON whatever they say, because web
// pages and curl send it under them (contract.md, C1). Any other body counts as empty.
var parsed = []string{
	typeJSONAPI, "application/vnd.keygen+json", typeJSON,
	"text/plain", "application/x-www-form-urlencoded", "multipart/form-data",
}

// formats are the path suffixes that stand for an Accept header.
var formats = map[string]string{
	".json": typeJSON, ".jsonapi": typeJSONAPI, ".xml": "application/xml", ".html": "text/html", ".txt": "text/plain",
}

// formatSuffix takes a suffix such as .json off the last segment of an API path
// and says the same with an Accept header. A segment with an @ is an address and
// keeps its end.
func formatSuffix(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.EscapedPath()
		last := path[strings.LastIndexByte(path, '/')+1:]
		dot := strings.LastIndexByte(last, '.')
		if dot <= 0 || !strings.HasPrefix(path, "/v1/") || strings.Contains(last, "@") || strings.Contains(last, "%40") {
			next.ServeHTTP(w, r)
			return
		}
		suffix := last[dot:]
		accept, known := formats[suffix]
		if !known {
			next.ServeHTTP(w, r)
			return
		}
		changed := r.Clone(r.Context())
		changed.URL.Path = strings.TrimSuffix(r.URL.Path, suffix)
		changed.URL.RawPath = strings.TrimSuffix(r.URL.RawPath, suffix)
		changed.Header.Set("Accept", accept)
		next.ServeHTTP(w, changed)
	})
}

// accepted gives the entries of Accept, the most wanted first; none means any.
func accepted(r *http.Request) []string {
	type entry struct {
		name    string
		quality float64
	}
	var entries []entry
	for _, text := range strings.Split(strings.Join(r.Header.Values("Accept"), ","), ",") {
		name, parameters, _ := strings.Cut(text, ";")
		name = strings.ToLower(strings.TrimSpace(name))
		if name == "" {
			continue
		}
		if q := qualityOf(parameters); q > 0 {
			entries = append(entries, entry{name, q})
		}
	}
	slices.SortStableFunc(entries, func(a, b entry) int {
		switch {
		case a.quality > b.quality:
			return -1
		case a.quality < b.quality:
			return 1
		}
		return 0
	})
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.name
	}
	return names
}

// qualityOf reads q= (RFC 9110, section 12.4.2); 1 when there is none.
func qualityOf(parameters string) float64 {
	for _, parameter := range strings.Split(parameters, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
		if strings.EqualFold(strings.TrimSpace(name), "q") {
			q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err == nil {
				return q
			}
		}
	}
	return 1
}

// preferredType is application/json when that is what the client would rather
// have, and JSON:API's own type otherwise.
func preferredType(r *http.Request) string {
	for _, name := range accepted(r) {
		if slices.Contains(answerable, name) {
			if name == typeJSON {
				return typeJSON
			}
			break
		}
	}
	return typeJSONAPI
}

// negotiate refuses what cannot be decoded or cannot be answered: the path, the
// query, Accept and Content-Type.
func (a *api) negotiate(c *call) error {
	if !text8(c.Request.URL.Path) {
		return errEncoding
	}
	query, err := url.PathUnescape(c.Request.URL.RawQuery)
	if err != nil {
		return errParameters
	}
	if !text8(query) {
		return errEncoding
	}
	wanted := accepted(c.Request)
	sent := strings.TrimSpace(strings.Join(c.Request.Header.Values("Accept"), "")) != ""
	if sent && !slices.ContainsFunc(wanted, func(name string) bool { return slices.Contains(answerable, name) }) {
		return errMediaType
	}
	if _, ok := bodyType(c.Request); !ok {
		return errMediaType
	}
	return nil
}

// text8 says whether s is UTF-8 without NUL.
func text8(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// bodyType gives the media type of the body, typeJSON when none is named; not ok
// when it is malformed.
func bodyType(r *http.Request) (name string, ok bool) {
	header := r.Header.Get("Content-Type")
	if strings.TrimSpace(header) == "" {
		return typeJSON, true
	}
	name, _, err := mime.ParseMediaType(header)
	return name, err == nil && strings.Count(name, "/") == 1
}
