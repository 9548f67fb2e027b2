package main

import (
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/passmend/passmend/plugins/postmark/postmarktest"
)

// secret writes a value to a file of the site, as commands take it.
func (s *site) secret(name, value string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(value), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return "@" + path
}

// A bounce that the real plugin of Postmark proves and reads ends the next request
// of that address, until an operator takes it off the list.
func TestABouncedAddressGetsNoMoreMail(t *testing.T) {
	t.Parallel()
	service := postmarktest.Start(t, postmarktest.Options{})
	at, err := url.Parse(service.URL)
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(at.Host)
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, limitsOff...)
	s.openPort("postmark", port)
	const password = "a-webhook-password"
	s.must("provider", "add", "post", "--plugin", "postmark", "--account", "acme", "--set", "baseUrl="+service.URL,
		"--secret", "serverToken="+s.secret("token", "server-token"), "--secret", "callbackPassword="+s.secret("password", password))
	// What the plugin refuses is not added: the callback wants a longer password.
	s.refuses(1, "callbackPassword", "provider", "add", "refused", "--plugin", "postmark", "--account", "acme", "--set", "baseUrl="+service.URL,
		"--secret", "serverToken="+s.secret("token", "server-token"), "--secret", "callbackPassword="+s.secret("short", "short"))
	if list := s.must("provider", "list", "--account", "acme"); strings.Contains(list, "refused") {
		t.Errorf("refused and added:\n%s", list)
	}
	s.must("account", "update", "acme", "--providers", "post")
	srv := s.serve()

	s.forget("ada@example.com")
	s.eventually("Postmark has the mail", func() bool { return len(service.Messages()) == 1 })
	find := func() string { return s.must("request", "find", "ada@example.com", "--account", "acme") }
	s.eventually("the mail is settled", func() bool { return strings.Contains(find(), " sent") })
	report := string(postmarktest.Bounce(service.Messages()[0], "HardBounce", true))
	const path = "/v1/accounts/acme/provider-events/post"
	for _, c := range []struct {
		path, password string
		want           int
	}{{path, "wrong", 401}, {"/v1/accounts/acme/provider-events/relay", password, 404}, {path, password, 200}, {path, password, 200}} {
		got := s.send("POST", c.path, report, "Authorization", postmarktest.Authorization("postmark", c.password), "Content-Type", "application/json")
		if got.status != c.want || (c.want == http.StatusOK && got.body != "{}") {
			t.Fatalf("%s: %d %s", c.path, got.status, got.body)
		}
	}
	shown := s.must("request", "show", idForm.FindString(find()), "--account", "acme")
	if n := strings.Count(shown, "mail, bounced    told by post: the recipient's address does not exist or takes no mail"); n != 1 || strings.Contains(shown, "ada@") {
		t.Errorf("%d bounces, want 1:\n%s", n, shown)
	}

	list := func() string { return s.must("suppression", "list", "--account", "acme") }
	if got := list(); !regexp.MustCompile(`(?m)bounced +post +ada@example\.com$`).MatchString(got) {
		t.Errorf("the list is\n%s", got)
	}
	s.forget("Ada@example.com")
	s.eventually("the next request is suppressed", func() bool { return strings.Contains(find(), "suppressed (suppressed address)") })
	s.must("suppression", "remove", "ada@example.com", "--account", "acme")
	if code, _, stderr := s.try(nil, "suppression", "remove", "ada@example.com", "--account", "acme"); code != 1 || !strings.Contains(stderr, "not on the suppression list") {
		t.Errorf("a second removal: exit %d, %q", code, stderr)
	}
	s.forget("ada@example.com")
	s.eventually("she is mailed again", func() bool { return len(service.Messages()) == 2 })

	id := s.must("suppression", "add", "eve@example.com", "--account", "acme")
	if again := s.must("suppression", "add", "Eve@example.com", "--account", "acme"); again != id || len(id) != 36 {
		t.Errorf("added as %q and as %q", id, again)
	}
	if got := s.must("suppression", "list", "eve@example.com", "--account", "acme"); !strings.Contains(got, id) || !strings.Contains(got, "manual") || strings.Contains(got, "eve@") {
		t.Errorf("the list of one is\n%s", got)
	}
	if code, _, stderr := s.try(nil, "suppression", "add", "eve", "--account", "acme"); code != 2 || !strings.Contains(stderr, "EMAIL") {
		t.Errorf("no address: exit %d, %q", code, stderr)
	}
	metrics := s.metrics()
	for _, want := range []string{
		`passmend_provider_events_total{kind="bounced",result="recorded"} 1`, `passmend_provider_events_total{kind="bounced",result="repeated"} 1`, "passmend_ledger_imbalance 0",
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s:\n%s", want, grep(metrics, "provider_events"))
		}
	}
	for _, word := range []string{password, "ada@example.com", "Basic "} {
		if strings.Contains(srv.out.String(), word) {
			t.Errorf("the log holds %q", word)
		}
	}
}
