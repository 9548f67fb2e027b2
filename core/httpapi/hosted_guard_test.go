package httpapi

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	texttemplate "text/template"

	"github.com/gin-gonic/gin"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/passmend/passmend/tenants"
)

// forgery is a POST that a browser sends on another site's behalf.
type forgery struct {
	name   string
	header http.Header
	view   bool // whether it carries the form's per-view token
}

// forgeries are the seven shapes of T16.
func forgeries(s *site) []forgery {
	return []forgery{
		{"another site", http.Header{"Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://evil.example"}}, true},
		{"a sibling domain", http.Header{"Sec-Fetch-Site": {"same-site"}, "Origin": {"https://sibling.example"}}, true},
		{"another site under our Origin", http.Header{"Sec-Fetch-Site": {"cross-site"}, "Origin": {s.url}}, true},
		{"another site, older browser", http.Header{"Sec-Fetch-Site": nil, "Origin": {"https://evil.example"}}, true},
		{"a sandboxed frame, older browser", http.Header{"Sec-Fetch-Site": nil, "Origin": {"null"}}, true},
		{"another port, older browser", http.Header{"Sec-Fetch-Site": nil, "Origin": {"http://127.0.0.1:1"}}, true},
		{"no sign of where it comes from", http.Header{"Sec-Fetch-Site": nil, "Origin": nil}, false},
	}
}

// forge opens the form as its owner does, posts in the owner's name, and gives the
// status.
func forge(s *site, f forgery) int {
	v := s.visitor()
	form := formOf("password", "chosen by somebody else", "repeat", "chosen by somebody else")
	view := v.open(s.acme, s.link(s.acme, "ada@example.com"))
	if f.view {
		form.Set("view", view)
	}
	return v.do("POST", "/acme/r", form, f.header).Status
}

func TestT16ForgedFormsChangeNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, f := range forgeries(s) {
		if status := forge(s, f); status != http.StatusForbidden {
			t.Errorf("%s: %d, want 403", f.name, status)
		}
		if f.view { // the forgot form has no per-view token: anybody may ask for a link
			got := s.visitor().do("POST", "/acme/forgot", formOf("email", "ada@example.com"), f.header)
			wantPage(t, got, 403, "This form could not be used")
		}
	}
	if n := len(s.links.passwords()) + len(s.intake.all()); n != 0 {
		t.Errorf("%d changes, want none", n)
	}
	honest := forgery{"our own page", http.Header{}, true}
	if status := forge(s, honest); status != http.StatusSeeOther || len(s.links.passwords()) != 1 {
		t.Errorf("the honest form got %d", status)
	}
}

func TestT16SeesTheProtectionMissing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.hosted.csrf.AddInsecureBypassPattern("/")
	for _, f := range forgeries(s) {
		if status := forge(s, f); (status == http.StatusSeeOther) != f.view {
			t.Errorf("%s: %d without the protection", f.name, status)
		}
	}
	if n := len(s.links.passwords()); n != 6 {
		t.Errorf("%d changes without the protection, want 6", n)
	}
}

// scan opens a link as a mail scanner does.
func scan(s *site, token string) {
	scanner := s.visitor()
	scanner.do("HEAD", "/acme/r/"+token, nil, nil)
	for range 20 {
		opened := scanner.get("/acme/r/" + token)
		if to := opened.Header.Get("Location"); to != "" {
			scanner.get(to)
		}
	}
}

// recover100 scans and then uses 100 links, and gives the number that worked.
func recover100(s *site) (worked int) {
	for range 100 {
		token := s.link(s.acme, "ada@example.com")
		scan(s, token)
		v := s.visitor()
		opened := v.get("/acme/r/" + token)
		if opened.Status != http.StatusSeeOther {
			continue
		}
		view := hiddenField(s.t, v.get("/acme/r").Body, "view")
		if v.post("/acme/r", "view", view, "password", goodPassword, "repeat", goodPassword).Status == http.StatusSeeOther {
			worked++
		}
	}
	return worked
}

func TestT18ScannersSpendNothing(t *testing.T) {
	t.Parallel()
	if worked := recover100(newSite(t)); worked != 100 {
		t.Errorf("%d of 100 links worked after a scanner, want all", worked)
	}
}

func TestT18SeesALinkSpentByOpening(t *testing.T) {
	t.Parallel()
	var s *site
	s = newSite(t, wrapped(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r)
			if token, ok := strings.CutPrefix(r.URL.Path, "/acme/r/"); ok {
				s.links.spend(token)
			}
		})
	}))
	if worked := recover100(s); worked != 0 {
		t.Errorf("%d of 100 links worked though opening spends them", worked)
	}
}

func (m *memoryLinks) spend(token string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if link, ok := m.links[token]; ok {
		link.spent = true
	}
}

// distinctAnswers posts addresses that somebody has, nobody has, or nobody can
// have, and counts the different answers, time of day aside.
func distinctAnswers(s *site) int {
	answers := map[string]bool{}
	for i := range 200 {
		address := fmt.Sprintf("person%d@example.com", i)
		switch i % 4 {
		case 0:
			s.link(s.acme, address)
		case 1:
			address = strings.Repeat("a", 350) + address
		}
		got := s.visitor().post("/acme/forgot", "email", address)
		header := maps.Clone(got.Header)
		header.Del("Date")
		answers[fmt.Sprint(got.Status, header, got.Body)] = true
	}
	return len(answers)
}

func TestT70EveryAddressGetsTheSameBytes(t *testing.T) {
	t.Parallel()
	if n := distinctAnswers(newSite(t)); n != 1 {
		t.Errorf("%d different answers, want 1", n)
	}
}

func TestT70SeesOneHeaderMore(t *testing.T) {
	t.Parallel()
	s := newSite(t, wrapped(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.PostFormValue("email"), "person8@") {
				w.Header().Set("X-Cache", "hit")
			}
			next.ServeHTTP(w, r)
		})
	}))
	if n := distinctAnswers(s); n != 2 {
		t.Errorf("%d different answers, want 2", n)
	}
}

func TestT71UnknownHostsSeeNoBranding(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.acme = s.withLogo(s.acme)
	host := strings.TrimPrefix(s.url, "http://")
	routes := []string{"/acme/forgot", "/acme/r", "/acme/r/done", "/acme/r/" + s.link(s.acme, "ada@example.com"), "/acme/logo/" + s.acme.Branding.LogoHash + ".png"}
	for _, wrong := range []string{
		"evil.example", "evil.example:443", host + ".evil.example", "acme.evil.example", "localhost.evil.example",
		"127.0.0.2", "[::2]", "0x7f000001", "2130706433", "xn--pssmend-5wa.example",
	} {
		for _, route := range routes {
			got := s.visitor().do("GET", route, nil, http.Header{"Host": {wrong}})
			if got.Status != http.StatusMisdirectedRequest || strings.Contains(strings.ToLower(got.Body), "acme") || got.Header.Get("Set-Cookie") != "" {
				t.Errorf("%s %s: %d, or branded", wrong, route, got.Status)
			}
		}
		got := s.visitor().do("POST", "/acme/forgot", formOf("email", "ada@example.com"), http.Header{"Host": {wrong}})
		if got.Status != http.StatusMisdirectedRequest {
			t.Errorf("%s POST: %d", wrong, got.Status)
		}
	}
	if len(s.intake.all()) != 0 {
		t.Error("a request under another host was accepted")
	}
	// The control: under its own name the same account is there.
	if got := s.visitor().get("/acme/forgot"); got.Status != 200 || !strings.Contains(got.Body, "Acme") {
		t.Errorf("under its own name: %d", got.Status)
	}
}

func TestNoHeaderHasAPartInARedirect(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, name := range []string{"X-Forwarded-Host", "X-Host", "Forwarded", "X-Forwarded-Server", "X-Original-Url", "X-Rewrite-Url", "X-Forwarded-Prefix"} {
		got := s.visitor().do("GET", "/acme/r/"+s.link(s.acme, "ada@example.com"), nil, http.Header{name: {"evil.example"}})
		wantRedirect(t, got, "/acme/r")
	}
}

// hostileTexts is what somebody might call a product, or type as an address.
func hostileTexts() []string {
	texts := []string{
		`<script>alert(1)</script>`, `"><script>alert(1)</script>`, `'><img src=x onerror=alert(1)>`,
		`</title><script>alert(1)</script>`, `" onfocus="alert(1)" autofocus x="`, `' onmouseover='alert(1)`,
		`<svg/onload=alert(1)>`, `<iframe src="javascript:alert(1)">`, `<base href="https://evil.example/">`,
		`<meta http-equiv="refresh" content="0;url=https://evil.example">`, `<link rel=stylesheet href=//evil.example/x.css>`,
		`<form action=https://evil.example>`, `</form><form action=https://evil.example>`, `<input name=view value=x>`,
		`<!--`, `-->`, `<![CDATA[`, `]]>`, `<style>body{display:none}</style>`, `</style><script>`,
		`{{.View}}`, `{{template "page"}}`, `${7*7}`, `&lt;script&gt;alert(1)&lt;/script&gt;`, `&#x3c;script&#x3e;`,
		`javascript:alert(1)`, `data:text/html,<script>alert(1)</script>`, `\u003cscript\u003e`, `%3Cscript%3E`,
		`<math><mi xlink:href="javascript:alert(1)">`, `<object data=x>`, `<embed src=x>`, `<a href="javascript:alert(1)">x</a>`,
		`<textarea>`, `<plaintext>`, `<template>`, `<noscript><p title="</noscript><img src=x onerror=alert(1)>">`,
		"`onload=alert(1)", `x" style="position:fixed`, `<h1>You have won</h1>`,
	}
	return texts
}

// shapeOf is a page's elements and the names of their attributes: what an injected
// text would change.
func shapeOf(document *html.Node) []string {
	var shape []string
	for _, node := range elements(document, "") {
		line := node.Data
		for _, a := range node.Attr {
			line += " " + a.Key
		}
		shape = append(shape, line)
	}
	return shape
}

func TestT24bTextsStayText(t *testing.T) {
	t.Parallel()
	if n := len(hostileTexts()); n < 40 {
		t.Fatalf("%d texts, want 40 at least", n)
	}
	s := newSite(t)
	path := "/acme/forgot?email="
	benign := shapeOf(parseMarkup(t, s.visitor().get(path+"x").Body))
	for _, hostile := range hostileTexts() {
		s.acme.Branding.ProductName = hostile
		s.acme.Branding.SupportAddress = hostile
		s.accounts.add(s.acme)
		document := parseMarkup(t, s.visitor().get(path+url.QueryEscape(hostile)).Body)
		if diff := cmp.Diff(benign, shapeOf(document)); diff != "" {
			t.Errorf("%s changed the page (-want +got):\n%s", hostile, diff)
		}
		if title := firstElement(document, "title"); !strings.HasSuffix(title.FirstChild.Data, hostile) {
			t.Errorf("title %q does not show %q as it is", title.FirstChild.Data, hostile)
		}
		if kept := attributeValue(byID(document, "email"), "value"); kept != hostile {
			t.Errorf("field %q, want %q", kept, hostile)
		}
		for _, link := range elements(document, "a") {
			if href := attributeValue(link, "href"); !strings.HasPrefix(href, "mailto:") || strings.ContainsAny(href, "?<>\"'") {
				t.Errorf("%s leads to %s", hostile, href)
			}
		}
	}
}

func TestT24bSeesUnescapedText(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	raw := texttemplate.Must(texttemplate.ParseFS(hostedFiles, "hosted/layout.html", "hosted/forgot.html"))
	draw := func(name string) []string {
		account := tenants.New(s.acme.ID, "acme", name)
		var body strings.Builder
		if err := raw.ExecuteTemplate(&body, "page", s.hosted.page(&gin.Context{}, account)); err != nil {
			t.Fatal(err)
		}
		return shapeOf(parseMarkup(t, body.String()))
	}
	if cmp.Equal(draw("Acme"), draw(hostileTexts()[0])) {
		t.Error("a page that escapes nothing passed")
	}
}
