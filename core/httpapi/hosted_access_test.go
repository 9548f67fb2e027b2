package httpapi

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/passmend/passmend/tenants"
)

// accents are six brands, from black to the palest that white text is allowed on.
func accents() []string {
	return []string{"#1f4fd8", "#000000", "#8a2be2", "#b3261e", "#0a7a3d", "#767676"}
}

func TestEveryPageKeepsTheAccessibilityList(t *testing.T) {
	t.Parallel()
	for _, state := range drawnStates() {
		t.Run(state.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.acme = s.withLogo(s.acme)
			got := state.show(s)
			for _, fault := range accessFaults(parseMarkup(t, got.Body)) {
				t.Error(fault)
			}
			if got.Status == 422 {
				for _, fault := range problemFaults(parseMarkup(t, got.Body)) {
					t.Error(fault)
				}
			}
		})
	}
}

// accessFaults holds a page against threats.md, "WCAG 2.2 AA checklist", as far as
// its markup shows.
func accessFaults(page *html.Node) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	if attributeValue(firstElement(page, "html"), "lang") == "" {
		fault("3.1.1: no language")
	}
	if markupText(firstElement(page, "title")) == "" {
		fault("2.4.2: no title")
	}
	for _, name := range []string{"h1", "main"} {
		if n := len(elements(page, name)); n != 1 {
			fault("1.3.1: %d %s", n, name)
		}
	}
	for _, name := range []string{"script", "style", "iframe", "object", "base"} {
		if len(elements(page, name)) > 0 {
			fault("a page holds %s", name)
		}
	}
	ids := map[string]int{}
	labels := map[string]string{}
	for _, node := range elements(page, "") {
		if id, ok := attribute(node, "id"); ok {
			ids[id]++
		}
		if node.Data == "label" {
			labels[attributeValue(node, "for")] = markupText(node)
		}
	}
	for id, n := range ids {
		if n > 1 {
			fault("4.1.2: id %s %d times", id, n)
		}
	}
	for _, node := range elements(page, "") {
		faults = append(faults, elementFaults(node, ids, labels)...)
	}
	return faults
}

// purposes says which autocomplete token each field has (WCAG 2.2, 1.3.5).
func purposes() map[string]string {
	return map[string]string{"email": "email", "username": "username", "password": "new-password", "repeat": "new-password"}
}

func elementFaults(node *html.Node, ids map[string]int, labels map[string]string) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	for _, a := range node.Attr {
		switch {
		case strings.HasPrefix(a.Key, "on"), a.Key == "style":
			fault("%s has %s", node.Data, a.Key)
		case a.Key == "tabindex" && a.Val != "-1":
			fault("2.4.3: tabindex %s", a.Val)
		case a.Key == "href" || a.Key == "src" || a.Key == "action":
			own := strings.HasPrefix(a.Val, "/") && !strings.HasPrefix(a.Val, "//")
			if !own && !strings.HasPrefix(a.Val, "mailto:") && ids[strings.TrimPrefix(a.Val, "#")] == 0 {
				fault("%s leads elsewhere: %s", node.Data, a.Val)
			}
		case a.Key == "aria-describedby":
			for id := range strings.FieldsSeq(a.Val) {
				if ids[id] != 1 {
					fault("1.3.1: described by %s, which is not there", id)
				}
			}
		}
	}
	switch node.Data {
	case "img":
		if attributeValue(node, "alt") == "" {
			fault("1.1.1: picture without words")
		}
	case "button", "a":
		if markupText(node) == "" {
			fault("4.1.2: %s without a name", node.Data)
		}
	case "meta":
		if content := attributeValue(node, "content"); strings.Contains(content, "user-scalable") || strings.Contains(content, "maximum-scale") {
			fault("1.4.4: zoom is forbidden")
		}
	case "input":
		name := attributeValue(node, "name")
		if attributeValue(node, "type") == "hidden" {
			break
		}
		if labels[attributeValue(node, "id")] == "" {
			fault("3.3.2: no label for %s", name)
		}
		if token := attributeValue(node, "autocomplete"); token != purposes()[name] {
			fault("1.3.5: %s has autocomplete %q", name, token)
		}
		if _, filled := attribute(node, "value"); filled && attributeValue(node, "type") == "password" {
			fault("a page holds a password")
		}
	}
	return faults
}

// problemFaults holds a form that was refused against 3.3.1, 3.3.3 and 4.1.3.
func problemFaults(page *html.Node) (faults []string) {
	if !strings.HasPrefix(markupText(firstElement(page, "title")), "Error: ") {
		faults = append(faults, "2.4.2: the title does not say that something is wrong")
	}
	var summary *html.Node
	var focused, invalid []string
	for _, node := range elements(page, "") {
		if attributeValue(node, "role") == "alert" {
			summary = node
		}
		if _, ok := attribute(node, "autofocus"); ok {
			focused = append(focused, attributeValue(node, "id"))
		}
		if attributeValue(node, "aria-invalid") == "true" {
			invalid = append(invalid, attributeValue(node, "id"))
		}
	}
	if summary == nil {
		return append(faults, "4.1.3: no summary with role alert")
	}
	if len(focused) != 1 || len(invalid) == 0 || focused[0] != invalid[0] {
		faults = append(faults, fmt.Sprintf("3.3.1: focus on %v, wrong %v", focused, invalid))
	}
	for _, link := range elements(summary, "a") {
		field := byID(page, strings.TrimPrefix(attributeValue(link, "href"), "#"))
		described := strings.Fields(attributeValue(field, "aria-describedby"))
		said := slices.ContainsFunc(described, func(id string) bool { return markupText(byID(page, id)) == markupText(link) })
		if !said {
			faults = append(faults, "3.3.1: not said beside its field: "+markupText(link))
		}
	}
	if len(elements(summary, "a")) == 0 {
		faults = append(faults, "3.3.1: the summary leads nowhere")
	}
	return faults
}

func TestAccessibilityListSeesFaults(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.acme = s.withLogo(s.acme)
	refused := s.visitor().post("/acme/forgot", "email", "").Body
	for _, test := range []struct{ good, bad string }{
		{` lang="en"`, ``},
		{`<label for="email">`, `<label>`},
		{` autocomplete="email"`, ` autocomplete="off"`},
		{` alt="Acme Rockets"`, ``},
		{`<h1>`, `<h1>x</h1><h1>`},
		{`</main>`, `</main><script src="/x.js"></script>`},
		{` autofocus`, ``},
		{` aria-describedby="email-problem"`, ``},
		{`role="alert"`, ``},
		{`href="/theme/`, `href="https://cdn.example/theme/`},
		{`width=device-width`, `width=device-width, maximum-scale=1`},
	} {
		broken := strings.Replace(refused, test.good, test.bad, 1)
		if broken == refused {
			t.Fatalf("the page has no %q", test.good)
		}
		document := parseMarkup(t, broken)
		if len(accessFaults(document))+len(problemFaults(document)) == 0 {
			t.Errorf("%q instead of %q was not seen", test.bad, test.good)
		}
	}
}

func TestPagesAreLight(t *testing.T) {
	t.Parallel()
	for _, state := range drawnStates() {
		s := newSite(t)
		sheet := len(s.hosted.stylesheet(s.acme.Branding.Accent))
		if size := len(state.show(s).Body); size > 15<<10 || size+sheet > 60<<10 {
			t.Errorf("%s: %d bytes of HTML, %d with its sheet", state.name, size, size+sheet)
		}
	}
}

func TestColoursCanBeRead(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, accent := range accents() {
		for _, fault := range contrastFaults(t, s.hosted.stylesheet(accent)) {
			t.Errorf("%s: %s", accent, fault)
		}
	}
	pale := strings.ReplaceAll(s.hosted.stylesheet("#1f4fd8"), "--quiet: #596273", "--quiet: #99a2b3")
	if len(contrastFaults(t, pale)) == 0 {
		t.Error("a sheet with pale text passed")
	}
}

// contrastFaults holds every pair of colours that meet, in both schemes, against
// WCAG 2.2, 1.4.3 and 1.4.11.
func contrastFaults(t *testing.T, sheet string) (faults []string) {
	t.Helper()
	pairs := []struct {
		least float64
		front string
		backs string
	}{
		{4.5, "text", "page card field still alarm-card"},
		{4.5, "quiet", "page card"},
		{4.5, "link", "page card"},
		{4.5, "alarm", "card alarm-card"},
		{4.5, "on-accent", "accent pressed"},
		{3, "frame", "card field"},
		{3, "alarm", "card field"},
		{3, "edge", "card page"},
		{3, "done", "card"},
	}
	for scheme, colours := range palettes(t, sheet) {
		for _, pair := range pairs {
			for back := range strings.FieldsSeq(pair.backs) {
				if got := tenants.Contrast(colours[pair.front], colours[back]); got < pair.least {
					faults = append(faults, fmt.Sprintf("%s: %s on %s has %.2f:1, want %.1f:1", scheme, pair.front, back, got, pair.least))
				}
			}
		}
	}
	return faults
}

var (
	rootRule  = regexp.MustCompile(`(@media \(prefers-color-scheme: ?dark\) ?\{\s*)?:root ?\{([^}]*)\}`)
	colourSet = regexp.MustCompile(`--([a-z-]+): ?(#[0-9a-f]{6})`)
)

// palettes gives the colours of a sheet by name, light and dark.
func palettes(t *testing.T, sheet string) map[string]map[string]string {
	t.Helper()
	light, dark := map[string]string{}, map[string]string{}
	for _, rule := range rootRule.FindAllStringSubmatch(sheet, -1) {
		for _, set := range colourSet.FindAllStringSubmatch(rule[2], -1) {
			if rule[1] != "" {
				dark[set[1]] = set[2]
			} else {
				light[set[1]] = set[2]
			}
		}
	}
	if len(light) < 16 || len(dark) < 13 {
		t.Fatalf("found %d light and %d dark colours", len(light), len(dark))
	}
	for name, colour := range light {
		if dark[name] == "" {
			dark[name] = colour
		}
	}
	return map[string]map[string]string{"light": light, "dark": dark}
}

func TestContrastIsTheStandards(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		a, b string
		want float64
	}{
		{"#000000", "#ffffff", 21}, {"#ffffff", "#ffffff", 1}, {"#767676", "#ffffff", 4.54}, {"#ff0000", "#ffffff", 4.00}, {"#0000ff", "#000000", 2.44},
	} {
		if got := tenants.Contrast(test.a, test.b); math.Abs(got-test.want) > 0.005 {
			t.Errorf("%s on %s: %s, want %.2f", test.a, test.b, strconv.FormatFloat(got, 'f', 3, 64), test.want)
		}
	}
}
