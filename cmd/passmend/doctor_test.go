package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/passmend/passmend/cmd/passmend/doctor"
)

// examination runs the doctor and gives its lines by name, and the exit status.
func (s *site) examination() (map[string]doctor.Line, int) {
	s.t.Helper()
	code, stdout, stderr := s.try(nil, "doctor", "--json")
	var report doctor.Report
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		s.t.Fatalf("exit %d: %v\n%s%s", code, err, stdout, stderr)
	}
	lines := make(map[string]doctor.Line)
	for _, line := range report.Lines {
		lines[line.Name] = line
	}
	return lines, code
}

// A deployment that serves has nothing red, and each thing that is broken in it turns
// one line red, with a remedy.
func TestDoctor(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.env = append(s.env, "PASSMEND_MAIL_FROM=no-reply@localhost")
	s.must("account", "update", "acme", "--from-address", "no-reply@localhost") // nobody to ask about
	var lines map[string]doctor.Line
	code := 0
	s.eventually("the plugins are up in time", func() bool {
		lines, code = s.examination()
		return lines["smtp"].State == doctor.OK
	})
	for _, name := range []string{"settings", "base URL", "keys file", "key slot token", "file", "connection", "durability", "schema", "clock", "smtp", "relay", "chain"} {
		if lines[name].State != doctor.OK {
			t.Errorf("%s: %+v, want OK", name, lines[name])
		}
	}
	if code != 0 || len(lines["smtp's cage"].Details) == 0 {
		t.Errorf("exit %d, want 0 and each layer of the cage: %+v", code, lines)
	}
	for _, broken := range []struct {
		what string
		do   func() // it is undone by the next
		red  string
	}{
		{"a keys file that others can read", func() { chmod(t, s.dir+"/data/keys.json", 0o644) }, "keys file"},
		{"a database that others can read", func() { chmod(t, s.dir+"/data/keys.json", 0o600); chmod(t, s.dir+"/data/passmend.db", 0o644) }, "file"},
		{"a chain of nobody", func() {
			chmod(t, s.dir+"/data/passmend.db", 0o600)
			s.env = append(s.env, "PASSMEND_DEFAULT_PROVIDERS=pigeon")
		}, "chain"},
		{"plugins without a cage", func() {
			s.env = append(s.env, "PASSMEND_DEFAULT_PROVIDERS=", "PASSMEND_PLUGIN_SANDBOX=off")
		}, "plugin sandbox"},
		{"plugins that are not there", func() {
			s.env = append(s.env, "PASSMEND_PLUGIN_SANDBOX=best-effort", "PASSMEND_PLUGIN_DIR="+t.TempDir())
		}, "smtp"},
		{"no database", func() {
			if err := os.Rename(filepath.Join(s.dir, "data/passmend.db"), filepath.Join(s.dir, "gone")); err != nil {
				t.Fatal(err)
			}
		}, "file"},
	} {
		broken.do()
		lines, code := s.examination()
		if line := lines[broken.red]; code != 1 || line.State != doctor.Fail || line.Remedy == "" {
			t.Errorf("%s: exit %d, %+v; want 1 and FAIL with a remedy", broken.what, code, line)
		}
	}
	if _, err := os.Stat(filepath.Join(s.dir, "data/passmend.db")); err == nil {
		t.Error("the doctor made a database")
	}
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func TestDoctorTellsWrongUsageFromWrongSettings(t *testing.T) {
	t.Parallel()
	s := &site{t: t, dir: t.TempDir(), env: []string{"PATH=" + os.Getenv("PATH")}}
	if code, _, stderr := s.try(nil, "doctor", "--no-such-flag"); code != 2 {
		t.Errorf("exit %d: %s", code, stderr)
	}
	code, stdout, _ := s.try(nil, "doctor", "--log-level", "loud")
	if code != 1 || !strings.Contains(stdout, "FAIL  settings") || strings.Contains(stdout, "\x1b") {
		t.Errorf("exit %d: %s", code, stdout)
	}
}

// noDNS cannot be asked.
type noDNS struct{}

func (noDNS) LookupHost(context.Context, string) ([]string, error) {
	return nil, context.DeadlineExceeded
}
func (noDNS) LookupTXT(context.Context, string) ([]string, error) {
	return nil, context.DeadlineExceeded
}

// What nobody can be asked about is amber, never green; more names than are asked
// about are told.
func TestDoctorAsksAboutEveryName(t *testing.T) {
	t.Parallel()
	var c config
	if err := c.readBaseURL(func(string) string { return "https://reset.invalid" }); err != nil {
		t.Fatal(err)
	}
	known := places{hosts: []string{"login.acme.invalid"}, senders: []string{"acme.invalid", "acme.invalid"}}
	var names []string
	for _, line := range examineNetwork(t.Context(), c, known, noDNS{}) {
		names = append(names, line.Name)
		if line.State != doctor.Warn {
			t.Errorf("%+v, want WARN", line)
		}
	}
	want := []string{
		"address of reset.invalid", "certificate of reset.invalid", "address of login.acme.invalid", "certificate of login.acme.invalid",
		"SPF of acme.invalid", "DMARC of acme.invalid", "SPF of reset.invalid", "DMARC of reset.invalid",
	}
	if !slices.Equal(names, want) {
		t.Errorf("asked about %q, want %q", names, want)
	}
	known.senders = nil
	for i := range mostAsked + 3 {
		known.senders = append(known.senders, "d"+string(rune('a'+i/26))+string(rune('a'+i%26))+".invalid")
	}
	lines := examineNetwork(t.Context(), c, known, noDNS{})
	if last := lines[len(lines)-1]; last.Name != "the rest" || !strings.Contains(last.Found, "4 sending domains") {
		t.Errorf("%+v", last)
	}
}
