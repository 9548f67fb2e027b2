package httpapi

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// Sizes of a page of a list (contract.md, C5).
const (
	maxPageSize     = 100
	defaultPageSize = 10
)

// maxPageNumber bounds page[number] (contract.md, C5).
const maxPageNumber = 100

// page is which part of a list a call wants: from a cursor on, or, where number is
// not 0, the page of that number.
type page struct {
	size   int
	after  string // a UUID in canonical form; empty: from the beginning
	number int
	oldest bool // the oldest first, else the newest
}

// parsePage reads limit, page[number], page[size], page[cursor] and order. Its error
// names the parameter. Other parameters are not looked at.
func parsePage(query url.Values) (page, error) {
	if query.Has("page") {
		return page{}, badParameter("page", "type mismatch (received string expected object)")
	}
	wanted := page{size: defaultPageSize}
	order, sent, err := onlyParameter(query, "order")
	switch {
	case err != nil:
		return page{}, err
	case sent && order != "desc" && order != "asc":
		return page{}, badParameter("order", "is invalid (must be asc or desc)")
	}
	wanted.oldest = order == "asc"
	for _, number := range []struct {
		name string
		most int
		into *int
	}{{"limit", maxPageSize, &wanted.size}, {"page[size]", maxPageSize, &wanted.size}, {"page[number]", maxPageNumber, &wanted.number}} {
		text, sent, err := onlyParameter(query, number.name)
		if err != nil {
			return page{}, err
		}
		if !sent {
			continue
		}
		value, err := strconv.ParseUint(text, 10, 16)
		if err != nil || value < 1 || value > uint64(number.most) {
			return page{}, badParameter(number.name, "must be a number from 1 to "+strconv.Itoa(number.most))
		}
		*number.into = int(value)
	}
	cursor, sent, err := onlyParameter(query, "page[cursor]")
	switch {
	case err != nil:
		return page{}, err
	case sent && wanted.number > 0:
		return page{}, badParameter("page[cursor]", "cannot be combined with page[number]")
	case cursor == "":
		return wanted, nil
	}
	after, ok := tenants.ParseUUID(cursor)
	if !ok {
		return page{}, badParameter("page[cursor]", "must be a UUID or empty")
	}
	wanted.after = after
	return wanted, nil
}

// parseCursorPage is parsePage for lists whose pages have no numbers, newest first:
// one that grows while it is read would show things twice.
func parseCursorPage(query url.Values) (page, error) {
	switch {
	case query.Has("page[number]"):
		return page{}, badParameter("page[number]", "is not supported (use page[cursor])")
	case query.Get("order") == "asc":
		return page{}, badParameter("order", "is invalid (must be desc)")
	}
	return parsePage(query)
}

// onlyParameter gives a parameter that may be sent once.
func onlyParameter(query url.Values, name string) (value string, sent bool, err error) {
	values := query[name]
	switch len(values) {
	case 0:
		return "", false, nil
	case 1:
		return values[0], true, nil
	default:
		return "", false, badParameter(name, "is sent more than once")
	}
}

// pageLinks lead on from a page; Next is null on the last.
type pageLinks struct {
	Self string  `json:"self"`
	Next *string `json:"next"`
}

// uncountedLinks lead to both sides of a page of a list that nobody counts.
type uncountedLinks struct {
	Self string  `json:"self"`
	Prev *string `json:"prev"`
	Next *string `json:"next"`
}

// numberedLinks lead on from a page that has a number.
type numberedLinks struct {
	Self  string     `json:"self"`
	Prev  *string    `json:"prev"`
	Next  *string    `json:"next"`
	First string     `json:"first"`
	Last  string     `json:"last"`
	Meta  pageCounts `json:"meta"`
}

type pageCounts struct {
	Pages int `json:"pages"`
	Count int `json:"count"` // of all that the list holds
}

// links are paths with the account as it was sent. They are built anew from what
// was understood, because the query that came may hold an API token.
func (p page) links(path string, filter url.Values, next string) *pageLinks {
	links := &pageLinks{Self: p.link(path, filter)}
	if next != "" {
		following := page{size: p.size, after: next, oldest: p.oldest}.link(path, filter)
		links.Next = &following
	}
	return links
}

// numberedLinks are links of a list of so many. No page beyond the hundredth is led
// to.
func (p page) numberedLinks(path string, filter url.Values, count int) *numberedLinks {
	pages := max(1, (count+p.size-1)/p.size)
	to := func(number int) string {
		other := p
		other.number = number
		return other.link(path, filter)
	}
	links := &numberedLinks{
		Self: p.link(path, filter), First: to(1), Last: to(min(pages, maxPageNumber)),
		Meta: pageCounts{Pages: pages, Count: count},
	}
	if p.number > 1 {
		links.Prev = orNull(to(p.number - 1))
	}
	if p.number < min(pages, maxPageNumber) {
		links.Next = orNull(to(p.number + 1))
	}
	return links
}

func (p page) link(path string, filter url.Values) string {
	query := url.Values{"page[size]": {strconv.Itoa(p.size)}}
	if p.number > 0 {
		query.Set("page[number]", strconv.Itoa(p.number))
	} else {
		query.Set("page[cursor]", p.after)
	}
	if p.oldest {
		query.Set("order", "asc")
	}
	for name, values := range filter {
		query[name] = values
	}
	return path + "?" + query.Encode()
}

// listPath is where a list of the account lies, with the account as it was sent.
func listPath(c *call, name string) string {
	if c.Param("account") == "" {
		return "/v1/" + name
	}
	return "/v1/accounts/" + c.Param("account") + "/" + name
}

// turn gives a page and the cursor of the next, which is empty on the last. list
// gives at most so many from after a cursor on.
func turn[T any](p page, id func(T) string, list func(after string, limit int) ([]T, error)) (found []T, next string, err error) {
	found, err = list(p.after, p.size)
	if err != nil || len(found) < p.size {
		return found, "", err
	}
	last := id(found[len(found)-1])
	more, err := list(last, 1)
	if err != nil || len(more) == 0 {
		return found, "", err
	}
	return found, last, nil
}

// skip is how many of a list come before a numbered page.
func (p page) skip() int { return max(0, p.number-1) * p.size }

// part is what a store is asked for.
type part struct {
	newest      bool
	after       string
	skip, limit int
}

// answerList writes the page of a list of users or the like, by cursor or by number.
func answerList[T any](c *call, name string, wanted page, kept url.Values, id func(T) string, show func(T) any,
	list func(part) ([]T, error), count func() (int, error),
) error {
	var found []T
	var links any
	path := listPath(c, name)
	if wanted.number > 0 {
		n, err := count()
		if err != nil {
			return err
		}
		if found, err = list(part{newest: !wanted.oldest, skip: wanted.skip(), limit: wanted.size}); err != nil {
			return err
		}
		links = wanted.numberedLinks(path, kept, n)
	} else {
		var next string
		var err error
		found, next, err = turn(wanted, id, func(after string, limit int) ([]T, error) {
			return list(part{newest: !wanted.oldest, after: after, limit: limit})
		})
		if err != nil {
			return err
		}
		links = wanted.links(path, kept, next)
	}
	data := make([]any, len(found))
	for i, one := range found {
		data[i] = show(one)
	}
	return c.write(http.StatusOK, document{Data: data, Links: links})
}

// answerUncounted is answerList for a list that is too long to be counted.
func answerUncounted[T any](c *call, name string, wanted page, kept url.Values, id func(T) string, show func(T) any,
	list func(part) ([]T, error),
) error {
	path := listPath(c, name)
	links := &uncountedLinks{Self: wanted.link(path, kept)}
	to := func(p page) *string { return orNull(p.link(path, kept)) }
	var found []T
	var err error
	if wanted.number > 0 {
		found, err = list(part{newest: !wanted.oldest, skip: wanted.skip(), limit: wanted.size})
		beside := wanted
		if beside.number--; beside.number > 0 {
			links.Prev = to(beside)
		}
		if beside.number = wanted.number + 1; err == nil && len(found) == wanted.size && beside.number <= maxPageNumber {
			var more []T
			if more, err = list(part{newest: !wanted.oldest, skip: beside.skip(), limit: 1}); len(more) > 0 {
				links.Next = to(beside)
			}
		}
	} else {
		var next string
		found, next, err = turn(wanted, id, func(after string, limit int) ([]T, error) {
			return list(part{newest: !wanted.oldest, after: after, limit: limit})
		})
		if next != "" {
			links.Next = to(page{size: wanted.size, after: next, oldest: wanted.oldest})
		}
	}
	if err != nil {
		return err
	}
	data := make([]any, len(found))
	for i, one := range found {
		data[i] = show(one)
	}
	return c.write(http.StatusOK, document{Data: data, Links: links})
}

// emailParameter reads the address that a list is about, and what its links keep of
// it; the zero value for every address.
func emailParameter(query url.Values) (address core.Address, kept url.Values, err error) {
	typed, sent, err := onlyParameter(query, "email")
	if err != nil || !sent {
		return core.Address{}, nil, err
	}
	if strings.TrimSpace(typed) == "" {
		return core.Address{}, nil, badParameter("email", "cannot be blank")
	}
	address, err = core.ParseAddress(typed)
	return address, url.Values{"email": {typed}}, err
}
