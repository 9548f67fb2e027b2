package httpapi

import (
	"net/url"
	"strconv"

	"github.com/passmend/passmend/tenants"
)

// Sizes of a page of a list (contract.md, C5).
const (
	maxPageSize     = 100
	defaultPageSize = 10
)

// page is which part of a list a call wants: newest first, from a cursor on. Pages
// have no numbers: a list that grows while it is read would show things twice.
type page struct {
	size  int
	after string // a UUID in canonical form; empty: from the newest
}

// parsePage reads limit, page[size], page[cursor] and order. Its error names the
// parameter. Other parameters are not looked at.
func parsePage(query url.Values) (page, error) {
	if query.Has("page") {
		return page{}, badParameter("page", "type mismatch (received string expected object)")
	}
	if query.Has("page[number]") {
		return page{}, badParameter("page[number]", "is not supported (use page[cursor])")
	}
	if order, sent, err := onlyParameter(query, "order"); err != nil {
		return page{}, err
	} else if sent && order != "desc" {
		return page{}, badParameter("order", "is invalid (must be desc)")
	}
	wanted := page{size: defaultPageSize}
	for _, name := range []string{"limit", "page[size]"} {
		text, sent, err := onlyParameter(query, name)
		if err != nil {
			return page{}, err
		}
		if !sent {
			continue
		}
		size, err := strconv.ParseUint(text, 10, 16)
		if err != nil || size < 1 || size > maxPageSize {
			return page{}, badParameter(name, "must be a number from 1 to "+strconv.Itoa(maxPageSize))
		}
		wanted.size = int(size)
	}
	cursor, _, err := onlyParameter(query, "page[cursor]")
	if err != nil || cursor == "" {
		return wanted, err
	}
	after, ok := tenants.ParseUUID(cursor)
	if !ok {
		return page{}, badParameter("page[cursor]", "must be a UUID or empty")
	}
	wanted.after = after
	return wanted, nil
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

// links are paths with the account as it was sent. They are built anew from what
// was understood, because the query that came may hold an API token.
func (p page) links(path string, filter url.Values, next string) *pageLinks {
	links := &pageLinks{Self: p.link(path, filter)}
	if next != "" {
		following := page{size: p.size, after: next}.link(path, filter)
		links.Next = &following
	}
	return links
}

func (p page) link(path string, filter url.Values) string {
	query := url.Values{"page[cursor]": {p.after}, "page[size]": {strconv.Itoa(p.size)}}
	for name, values := range filter {
		query[name] = values
	}
	return path + "?" + query.Encode()
}
