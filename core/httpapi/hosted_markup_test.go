package httpapi

import (
	"strings"
	"testing"

	"golang.org/x/net/html"
)

func parseMarkup(t *testing.T, body string) *html.Node {
	t.Helper()
	document, err := html.Parse(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return document
}

// elements gives the elements of a name; every element when the name is empty.
func elements(root *html.Node, name string) []*html.Node {
	var found []*html.Node
	for node := range root.Descendants() {
		if node.Type == html.ElementNode && (name == "" || node.Data == name) {
			found = append(found, node)
		}
	}
	return found
}

func firstElement(root *html.Node, name string) *html.Node {
	if found := elements(root, name); len(found) > 0 {
		return found[0]
	}
	return nil
}

func attribute(node *html.Node, name string) (string, bool) {
	for _, a := range node.Attr {
		if a.Key == name {
			return a.Val, true
		}
	}
	return "", false
}

// attributeValue is attribute without the second answer.
func attributeValue(node *html.Node, name string) string {
	v, _ := attribute(node, name)
	return v
}

func markupText(node *html.Node) string {
	if node == nil {
		return ""
	}
	var b strings.Builder
	for child := range node.Descendants() {
		if child.Type == html.TextNode {
			b.WriteString(child.Data)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func byID(root *html.Node, id string) *html.Node {
	for _, node := range elements(root, "") {
		if attributeValue(node, "id") == id {
			return node
		}
	}
	return &html.Node{}
}
