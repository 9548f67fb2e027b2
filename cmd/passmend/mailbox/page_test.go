package mailbox_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/passmend/passmend/cmd/passmend/mailbox"
)

func get(t *testing.T, url string) (*http.Response, string) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

func TestJSONIsAnArrayOldestFirst(t *testing.T) {
	t.Parallel()
	box := setup(t)
	url := site(t, box).URL + "/dev/mailbox/messages"
	if response, body := get(t, url); body != "[]\n" || response.Header.Get("Content-Type") != "application/json" {
		t.Errorf("empty mailbox: %q", body)
	}
	send(t, box, "From: a@b.example\nSubject: first\n\nhttps://a.example/?x=1&y=2\n")
	send(t, box, branded)

	_, body := get(t, url)
	var messages []map[string]any
	if err := json.Unmarshal([]byte(body), &messages); err != nil {
		t.Fatal(err)
	}
	delete(messages[0], "received")
	want := map[string]any{
		"number": 1.0, "from": "a@b.example", "to": []any{"ada@example.com"}, "subject": "first",
		"text": "https://a.example/?x=1&y=2\n", "html": "", "links": []any{"https://a.example/?x=1&y=2"},
		"raw": "From: a@b.example\r\nSubject: first\r\n\r\nhttps://a.example/?x=1&y=2\r\n",
	}
	if diff := cmp.Diff(want, messages[0]); diff != "" || len(messages) != 2 || messages[1]["subject"] != "Reset your Acme ✨ password" {
		t.Errorf("%d messages (-want +got):\n%s", len(messages), diff)
	}
	if strings.Contains(body, `\u0026`) {
		t.Error("links are hard to copy out of the JSON")
	}
	_, one := get(t, url+"/2")
	if !strings.HasPrefix(one, `{"number":2,`) {
		t.Errorf("message 2: %.40q", one)
	}
}

func TestMailboxIsEmptiedByDelete(t *testing.T) {
	t.Parallel()
	box := setup(t)
	server := site(t, box)
	send(t, box, "Subject: x\n\nx\n")
	try := func(fetchSite string) int {
		request, _ := http.NewRequest(http.MethodDelete, server.URL+"/dev/mailbox/messages", nil)
		if fetchSite != "" {
			request.Header.Set("Sec-Fetch-Site", fetchSite)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		return response.StatusCode
	}
	if got := try("cross-site"); got != http.StatusForbidden || len(box.Messages()) != 1 {
		t.Errorf("another site's request: %d", got)
	}
	if got := try(""); got != http.StatusNoContent || len(box.Messages()) != 0 {
		t.Errorf("delete: %d, %d messages left", got, len(box.Messages()))
	}
}

func TestListShowsNewestFirst(t *testing.T) {
	t.Parallel()
	box := setup(t)
	server := site(t, box)
	if _, body := get(t, server.URL+"/dev/mailbox"); !strings.Contains(body, "No mail yet") || !strings.Contains(body, box.Addr()) {
		t.Error("the empty page does not say so")
	}
	send(t, box, "Subject: older\n\nx\n")
	send(t, box, "Subject: newer\n\nx\n")
	_, body := get(t, server.URL+"/dev/mailbox")
	newer, older := strings.Index(body, ">newer<"), strings.Index(body, ">older<")
	if newer < 0 || older < newer {
		t.Errorf("newer at %d, older at %d", newer, older)
	}
	if !strings.Contains(body, `http-equiv="refresh"`) {
		t.Error("the list does not reload itself")
	}
	if _, message := get(t, server.URL+"/dev/mailbox/1"); strings.Contains(message, `http-equiv="refresh"`) {
		t.Error("a message reloads itself while it is read")
	}
}

func TestUnknownPagesAreNotFound(t *testing.T) {
	t.Parallel()
	box := setup(t)
	server := site(t, box)
	send(t, box, "Subject: text only\n\nx\n")
	for path, want := range map[string]int{
		"/dev/mailbox": 200, "/dev/mailbox/": 200, "/dev/mailbox/1": 200, "/dev/mailbox/messages/1": 200,
		"/dev/mailbox/2": 404, "/dev/mailbox/0": 404, "/dev/mailbox/x": 404, "/dev/mailbox/messages/9": 404,
		"/dev/mailbox/messages/1/html": 404, "/dev/mailbox/messages/2/html": 404, "/": 404,
	} {
		if response, _ := get(t, server.URL+path); response.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, response.StatusCode, want)
		}
	}
}

func TestOnlyLoopbackNamesAreAnswered(t *testing.T) {
	t.Parallel()
	box := setup(t)
	server := site(t, box)
	for host, want := range map[string]int{
		"localhost:8080": 200, "127.0.0.1": 200, "[::1]:8080": 200, "LOCALHOST": 200, "demo.localhost": 200,
		"evil.example": 421, "localhost.evil.example": 421, "192.0.2.1": 421, "127.0.0.1.evil.example": 421,
	} {
		request, _ := http.NewRequest(http.MethodGet, server.URL+"/dev/mailbox/messages", nil)
		request.Host = host
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%s: %d, want %d", host, response.StatusCode, want)
		}
	}
}

func TestPolicyLetsNothingRun(t *testing.T) {
	t.Parallel()
	box := setup(t)
	server := site(t, box)
	send(t, box, branded)
	for path, sandboxed := range map[string]bool{"/dev/mailbox": false, "/dev/mailbox/1": false, "/dev/mailbox/messages/1/html": true} {
		response, _ := get(t, server.URL+path)
		policy := response.Header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "script-src") {
			t.Errorf("%s: policy %q", path, policy)
		}
		if strings.HasPrefix(policy, "sandbox ") != sandboxed || strings.Contains(policy, "allow-scripts") || strings.Contains(policy, "allow-same-origin") {
			t.Errorf("%s: policy %q", path, policy)
		}
		if response.Header.Get("X-Content-Type-Options") != "nosniff" || response.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: headers %v", path, response.Header)
		}
	}
}

// What stands in a mail is text on our page, and a document of its own in the frame.
func TestHostileMailStaysInsideItsFrame(t *testing.T) {
	t.Parallel()
	const attack = `<script>alert(1)</script><img src=x onerror=alert(1)>"'></title></pre><svg onload=alert(1)>`
	raw := "From: \"" + strings.ReplaceAll(attack, `"`, `\"`) + "\" <a@b.example>\nSubject: " + attack +
		"\nContent-Type: multipart/alternative; boundary=b\n\n--b\n\n" + attack + "\nhttps://a.example/\"onclick=alert(1)\n" +
		"--b\nContent-Type: text/html\n\n<p>" + attack + "\"</iframe><script>alert(2)</script><a href=\"javascript:alert(1)\">x</a></p>\n--b--\n"
	box := setup(t)
	server := site(t, box)
	send(t, box, raw)
	for _, path := range []string{"/dev/mailbox", "/dev/mailbox/1"} {
		_, body := get(t, server.URL+path)
		if found := active(body); len(found) > 0 {
			t.Errorf("%s: %q", path, found)
		}
		if !strings.Contains(body, "&lt;script&gt;alert(1)") {
			t.Errorf("%s: the subject is not shown", path)
		}
	}
	_, body := get(t, server.URL+"/dev/mailbox/1")
	frame := find(body, "iframe")
	if frame == nil || attribute(frame, "sandbox") != "allow-popups allow-popups-to-escape-sandbox" {
		t.Fatal("the HTML part is not sandboxed")
	}
	if got, want := attribute(frame, "srcdoc"), only(t, box).Preview(); got != want {
		t.Errorf("the frame shows another document (-want +got):\n%s", cmp.Diff(want, got))
	}
	if len(active("<p>"+attack+"</p>")) == 0 || len(active(`<a href="javascript:x">`)) == 0 {
		t.Error("the check does not see active markup")
	}
}

func TestPreviewShowsInlineImages(t *testing.T) {
	t.Parallel()
	box := setup(t)
	server := site(t, box)
	send(t, box, branded)
	_, body := get(t, server.URL+"/dev/mailbox/messages/1/html")
	want := `<head><base target="_blank"><title>x</title></head><body><img src="data:image/png;base64,` + pixel + `">`
	if !strings.Contains(body, want) {
		t.Errorf("preview is %.400q", body)
	}
}

func TestPreviewKeepsItsDoctypeFirst(t *testing.T) {
	t.Parallel()
	for document, want := range map[string]string{
		"<!DOCTYPE html><html><HEAD lang=x><title>": `<!DOCTYPE html><html><HEAD lang=x><base target="_blank"><title>`,
		"<p>no head</p>":                  `<base target="_blank"><p>no head</p>`,
		"<header>x</header><head><title>": `<header>x</header><head><base target="_blank"><title>`,
		"<head":                           `<base target="_blank"><head`,
		"İİİİ<head><p>":                   `İİİİ<head><base target="_blank"><p>`,
	} {
		got := mailbox.ParseOne([]byte("Content-Type: text/html; charset=utf-8\r\n\r\n" + document)).Preview()
		if got != want {
			t.Errorf("%q: %q, want %q", document, got, want)
		}
	}
}

// active gives what could run or load in a page of ours.
func active(document string) []string {
	var found []string
	root, _ := html.Parse(strings.NewReader(document))
	for node := range root.Descendants() {
		switch node.Data {
		case "script", "img", "svg", "object", "embed", "form":
			if node.Type == html.ElementNode {
				found = append(found, node.Data)
			}
		}
		for _, attribute := range node.Attr {
			if strings.HasPrefix(attribute.Key, "on") {
				found = append(found, attribute.Key)
			}
			if attribute.Key == "href" && !strings.HasPrefix(attribute.Val, "https://a.example/") &&
				!strings.HasPrefix(attribute.Val, "/dev/mailbox") && attribute.Val != "data:," {
				found = append(found, attribute.Val)
			}
		}
	}
	return found
}

func find(document, element string) *html.Node {
	root, _ := html.Parse(strings.NewReader(document))
	for node := range root.Descendants() {
		if node.Type == html.ElementNode && node.Data == element {
			return node
		}
	}
	return nil
}

func attribute(node *html.Node, key string) string {
	for _, attribute := range node.Attr {
		if attribute.Key == key {
			return attribute.Val
		}
	}
	return ""
}
