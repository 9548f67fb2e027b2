package mailbox

import (
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/html"
)

var webURL = regexp.MustCompile(`(?i)\bhttps?://[^\s<>"\x60{}|\\^]+`)

// Links gives the http and https URLs of a mail's text and of its HTML, each once.
func Links(text, document string) []string {
	found := []string{}
	add := func(link string) {
		if !slices.Contains(found, link) {
			found = append(found, link)
		}
	}
	for _, span := range spans(text) {
		if span.Link {
			add(span.Text)
		}
	}
	tokens := html.NewTokenizer(strings.NewReader(document))
	for {
		switch tokens.Next() {
		case html.ErrorToken:
			return found
		case html.StartTagToken, html.SelfClosingTagToken:
			if href := href(tokens); webURL.MatchString(href) {
				add(href)
			}
		}
	}
}

// href gives the link of the present token when it is an anchor.
func href(tokens *html.Tokenizer) string {
	name, more := tokens.TagName()
	if string(name) != "a" {
		return ""
	}
	for more {
		var key, value []byte
		key, value, more = tokens.TagAttr()
		if string(key) == "href" {
			return strings.TrimSpace(string(value))
		}
	}
	return ""
}

// span is a piece of text, as it is or to be linked to itself.
type span struct {
	Text string
	Link bool
}

func spans(text string) []span {
	var pieces []span
	end := 0
	for _, at := range webURL.FindAllStringIndex(text, -1) {
		link := trimmed(text[at[0]:at[1]])
		if at[0] > end {
			pieces = append(pieces, span{Text: text[end:at[0]]})
		}
		pieces = append(pieces, span{Text: link, Link: true})
		end = at[0] + len(link)
	}
	if end < len(text) {
		pieces = append(pieces, span{Text: text[end:]})
	}
	return pieces
}

// trimmed takes off what belongs to the sentence round a URL: punctuation, and a
// closing bracket that was not opened inside.
func trimmed(link string) string {
	for {
		last := link[len(link)-1]
		switch {
		case strings.IndexByte(".,;:!?'*", last) >= 0:
		case last == ')' && strings.Count(link, ")") > strings.Count(link, "("):
		case last == ']' && strings.Count(link, "]") > strings.Count(link, "["):
		default:
			return link
		}
		link = link[:len(link)-1]
	}
}
