package main

import (
	"encoding/json"
	"flag"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/passmend/passmend/cmd/passmend/world"
	"github.com/passmend/passmend/plugins/sdk/sdktest"
)

var vendorPath = flag.Bool("vendor", false, "walk the way of docs/plugins.md; builds a plugin, needs make")

// What docs/plugins.md promises a new vendor: six commands from nothing to a mail
// that went through a plugin of theirs, signed and installed. The stand-in is the
// one of 'passmend plugin test'.
func TestVendorPathIsSixCommands(t *testing.T) {
	if !*vendorPath {
		t.Skip("walked by make examples")
	}
	t.Parallel()
	s := newSite(t)
	s.must("provider", "remove", "relay")
	s.env = append(s.env, "PASSMEND_PLUGIN_DIR="+filepath.Join(s.dir, "plugins"))
	for _, name := range []string{"GOMODCACHE", "GOCACHE", "GOFLAGS", "GOPROXY", "GONOSUMDB", "GONOSUMCHECK"} {
		if out, err := exec.Command("go", "env", name).Output(); err == nil {
			s.env = append(s.env, name+"="+strings.TrimSpace(string(out)))
		}
	}
	checkout, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	repository := filepath.Join(s.dir, "passmend-acme-mail")

	s.must("plugin", "new", "acme-mail", "--sdk", checkout) // 1
	pack := exec.Command("make", "-C", repository, "pack", "PASSMEND="+filepath.Join(binaries, "passmend"))
	pack.Env = s.env
	out, err := pack.CombinedOutput() // 2: builds, tests, signs, packs
	if err != nil {
		t.Fatalf("make pack: %v\n%s", err, out)
	}
	key := regexp.MustCompile(`ed25519:\S+`).FindString(string(out))

	service, at := standIn(t, filepath.Join(repository, "conformance.json"))
	s.must("plugin", "trust", "add", key, "--for", "acme-mail")                                                                                              // 3
	s.must("plugin", "install", filepath.Join(repository, "passmend-acme-mail-0.1.0.tar.gz"), "--port", at.Port(), "--yes")                                  // 4
	s.run(strings.NewReader("the-right-token"), "provider", "add", "acme", "--plugin", "acme-mail", "--set", "baseUrl="+at.String(), "--secret", "token=@-") // 5
	s.serve()                                                                                                                                                // 6
	s.forget("ada@example.com")
	s.eventually("the service has the mail", func() bool { return len(service()) == 1 })
	if sent := service()[0]; sent.To != "ada@example.com" || !strings.Contains(sent.Text, s.base+"/acme/r/") {
		t.Errorf("the service got a mail to %s:\n%s", sent.To, sent.Text)
	}
}

// standIn starts the service of a conformance file.
func standIn(t *testing.T, file string) (inbox func() []sdktest.Sent, at *url.URL) {
	t.Helper()
	spec, err := world.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	service, err := world.Start(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = service.Close() })
	target := service.Target("acme-mail", "")
	var settings struct{ BaseURL string }
	if err := json.Unmarshal(target.Settings.Values, &settings); err != nil {
		t.Fatal(err)
	}
	if at, err = url.Parse(settings.BaseURL); err != nil {
		t.Fatal(err)
	}
	return target.Inbox, at
}
