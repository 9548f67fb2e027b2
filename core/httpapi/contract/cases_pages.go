package contract

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// pageCases are C5, on the list of users.
func pageCases() []Case {
	get := func(r *run, query string) list {
		return r.many(r.expect(http.StatusOK, ask{method: http.MethodGet, path: "P/users?" + query, as: r.AdminToken}))
	}
	// shelf is a filter that chooses three users of this case alone.
	shelf := func(r *run) (filter string, ids []string) {
		mark := r.name()
		for range 3 {
			ids = append(ids, r.userWith(`"metadata":{"shelf":`+quote(mark)+`}`).id)
		}
		return "metadata[shelf]=" + mark, ids
	}
	order := func(l list) (ids []string) {
		for _, d := range l.Data {
			ids = append(ids, d.ID)
		}
		return ids
	}
	reversed := func(ids []string) []string {
		ids = slices.Clone(ids)
		slices.Reverse(ids)
		return ids
	}
	cases := []Case{
		{"C5/newest-first", "", admin, func(r *run) {
			filter, ids := shelf(r)
			got := order(get(r, filter))
			r.check(slices.Equal(got, reversed(ids)), "%q, want %q", got, reversed(ids))
		}},
		{"C5/order-asc", "", admin, func(r *run) {
			filter, ids := shelf(r)
			got := order(get(r, filter+"&order=asc"))
			r.check(slices.Equal(got, ids), "%q, want %q", got, ids)
		}},
		{"C5/limit", "", admin, func(r *run) {
			filter, _ := shelf(r)
			got := get(r, filter+"&limit=2")
			r.check(len(got.Data) == 2, "%d users", len(got.Data))
		}},
		{"C5/default-is-ten", "", admin, func(r *run) {
			mark := r.name()
			for range 11 {
				r.userWith(`"metadata":{"shelf":` + quote(mark) + `}`)
			}
			got := get(r, "metadata[shelf]="+mark)
			r.check(len(got.Data) == 10, "%d users", len(got.Data))
		}},
		{"C5/pages-by-number", "", admin, func(r *run) {
			filter, ids := shelf(r)
			first, second := get(r, filter+"&page[number]=1&page[size]=2"), get(r, filter+"&page[number]=2&page[size]=2")
			got := append(order(first), order(second)...)
			r.check(slices.Equal(got, reversed(ids)), "%q, want %q", got, reversed(ids))
			var meta struct{ Pages, Count int }
			_ = json.Unmarshal(first.Links["meta"], &meta)
			r.check(meta.Pages == 2 && meta.Count == 3, "links.meta is %s, want 2 pages, 3 users", first.Links["meta"])
			for _, name := range []string{"self", "prev", "next", "first", "last"} {
				_, there := first.Links[name]
				r.check(there, "no links.%s", name)
			}
			r.check(string(first.Links["prev"]) == "null" && string(second.Links["next"]) == "null", "prev of the first is %s, next of the last %s", first.Links["prev"], second.Links["next"])
		}},
		{"C5/pages-by-cursor", "", admin, func(r *run) {
			filter, ids := shelf(r)
			var got []string
			next := "P/users?" + filter + "&page[cursor]=&page[size]=1"
			for range 4 {
				page := r.many(r.expect(http.StatusOK, ask{method: http.MethodGet, path: next, as: r.AdminToken}))
				got = append(got, order(page)...)
				if _, self := page.Links["self"]; !self {
					r.errorf("no links.self")
				}
				next = ""
				if json.Unmarshal(page.Links["next"], &next) != nil || next == "" {
					break
				}
			}
			r.check(slices.Equal(got, reversed(ids)), "%q, want %q", got, reversed(ids))
		}},
		{"C5/links-keep-the-account-as-sent-and-the-filter", "", admin, func(r *run) {
			filter, _ := shelf(r)
			var self string
			_ = json.Unmarshal(get(r, filter+"&page[number]=1&page[size]=2").Links["self"], &self)
			r.check(strings.HasPrefix(self, r.path("P/users?")), "links.self is %q, want a path that begins with %q", self, r.path("P/users?"))
			plain, err := url.QueryUnescape(self)
			r.check(err == nil && strings.Contains(plain, filter), "links.self %q has lost %q", plain, filter)
		}},
		{"C5/links-hold-no-token", "", admin, func(r *run) {
			answer := r.expect(http.StatusOK, ask{method: http.MethodGet, path: "P/users?limit=1&token=" + r.AdminToken})
			r.check(!strings.Contains(answer.body, r.AdminToken), "a link repeats the token")
		}},
		{"C5/unknown-parameters-are-ignored", "", admin, func(r *run) { get(r, "foo=bar&include=tokens&fields[users]=email") }},
	}
	for _, c := range []struct{ name, query, parameter string }{
		{"limit-0", "limit=0", "limit"}, {"limit-101", "limit=101", "limit"}, {"limit-word", "limit=ten", "limit"}, {"limit-negative", "limit=-1", "limit"}, {"limit-huge", "limit=99999999999999999999", "limit"},
		{"limit-float", "limit=1.5", "limit"}, {"limit-empty", "limit=", "limit"},
		{"size-0", "page[number]=1&page[size]=0", "page[size]"}, {"size-101", "page[number]=1&page[size]=101", "page[size]"},
		{"number-0", "page[number]=0&page[size]=1", "page[number]"}, {"number-101", "page[number]=101&page[size]=1", "page[number]"}, {"number-word", "page[number]=x", "page[number]"},
		{"cursor-no-uuid", "page[cursor]=x&page[size]=1", "page[cursor]"}, {"page-string", "page=2", "page"}, {"order-word", "order=random", "order"},
	} {
		cases = append(cases, Case{"C5/" + c.name, "", admin, func(r *run) {
			r.refuses(ask{method: http.MethodGet, path: "P/users?" + c.query, as: r.AdminToken}, refusal{400, "", "parameter:" + c.parameter, ""})
		}})
	}
	for _, path := range []string{"tokens", "password-requests", "suppressions"} {
		ruling := ""
		if path != "tokens" {
			ruling = "R16" // lists of ours
		}
		cases = append(cases, Case{"C5/" + path + "-limit-0", ruling, admin, func(r *run) {
			r.refuses(ask{method: http.MethodGet, path: "P/" + path + "?limit=0", as: r.AdminToken}, refusal{400, "", "parameter:limit", ""})
		}}, Case{"C5/" + path + "-limit-1", ruling, admin, func(r *run) {
			got := r.many(r.expect(http.StatusOK, ask{method: http.MethodGet, path: "P/" + path + "?limit=1", as: r.AdminToken}))
			r.check(len(got.Data) <= 1, "%d entries", len(got.Data))
		}})
	}
	return cases
}
