// Package webform reads the first form of a page and fills it in, as a browser would
// submit it, for whoever walks a reset like a person: the demo and the canary.
//
// Limits first: further forms are not there, nor are other fields than inputs, and
// nothing runs that a page brings along.
package webform

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"

	"golang.org/x/net/html"
)

// Form is a page's first form.
type Form struct {
	Action *url.URL
	Fields url.Values        // of inputs, by name
	Kinds  map[string]string // of inputs, by name
}

// Read gives the form of a page that was found at an address.
func Read(at *url.URL, page []byte) (Form, error) {
	f := Form{Action: at, Fields: url.Values{}, Kinds: map[string]string{}}
	found := false
	tokens := html.NewTokenizer(bytes.NewReader(page))
reading:
	for tokens.Next() != html.ErrorToken {
		token := tokens.Token()
		attributes := make(map[string]string, len(token.Attr))
		for _, attribute := range token.Attr {
			attributes[attribute.Key] = attribute.Val
		}
		switch {
		case token.Data == "form" && token.Type == html.StartTagToken:
			found = true
			action, err := at.Parse(attributes["action"])
			if err != nil {
				return f, fmt.Errorf("the form's action: %w", err)
			}
			f.Action = action
		case token.Data == "form" && token.Type == html.EndTagToken && found:
			break reading
		case found && token.Data == "input" && attributes["name"] != "":
			f.Fields.Set(attributes["name"], attributes["value"])
			f.Kinds[attributes["name"]] = attributes["type"]
		}
	}
	if !found {
		return f, errors.New("the page holds no form")
	}
	return f, nil
}

// Type fills every input of a kind with text; false when there is none.
func (f Form) Type(kind, text string) bool {
	typed := false
	for name, is := range f.Kinds {
		if is == kind {
			f.Fields.Set(name, text)
			typed = true
		}
	}
	return typed
}
