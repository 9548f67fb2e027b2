package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// newVendor makes a vendor's folder with the real SMTP plugin in it, and a key. The
// site's plugin directory is then one of its own.
func newVendor(t *testing.T) (s *site, folder, key string) {
	t.Helper()
	s = newSite(t)
	folder = filepath.Join(s.dir, "vendor")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"passmend-plugin.json": `{"publisher": "Acme Mail", "license": "Apache-2.0", "homepage": "https://acme.example"}`,
		"instructions.md":      "# SMTP\n",
		"LICENSE":              "Do as you like.\n",
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	copyFile(t, filepath.Join(binaries, "passmend-smtp"), filepath.Join(folder, "passmend-smtp"))
	s.env = append(s.env, "PASSMEND_PLUGIN_DIR="+filepath.Join(s.dir, "plugins"))
	return s, folder, s.must("plugin", "key", "vendor.key")
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, content, 0o755); err != nil {
		t.Fatal(err)
	}
}

// refuses runs the command, which has to fail with one line that says why.
func (s *site) refuses(code int, want string, args ...string) {
	s.t.Helper()
	got, _, stderr := s.try(nil, args...)
	if got != code || !strings.Contains(stderr, want) || strings.Count(stderr, "\n") != 1 {
		s.t.Errorf("passmend %s: exit %d, %q; want %d and one line with %q", strings.Join(args, " "), got, stderr, code, want)
	}
}

// From a vendor's folder to a mail, with every refusal on the way.
func TestPluginTravelsFromVendorToMail(t *testing.T) {
	t.Parallel()
	s, folder, key := newVendor(t)
	plugins := filepath.Join(s.dir, "plugins")

	s.refuses(1, "--without-report", "plugin", "pack", folder, "--key", "vendor.key")
	file := s.must("plugin", "pack", folder, "--key", "vendor.key", "--without-report")
	if !regexp.MustCompile(`^passmend-smtp-\S+\.tar\.gz$`).MatchString(file) {
		t.Fatalf("packed %q", file)
	}

	s.refuses(1, "not trusted", "plugin", "inspect", file)
	s.refuses(1, "plugin trust add", "plugin", "install", file, "--yes")
	s.must("plugin", "trust", "add", key, "--for", "acme-*")
	s.refuses(1, "not trusted", "plugin", "install", file, "--yes")
	s.must("plugin", "trust", "add", key, "--for", "smtp", "--publisher", "Acme")
	if got := s.must("plugin", "trust", "list"); !strings.Contains(got, key) || !strings.Contains(got, "acme-*,smtp") {
		t.Errorf("trusted keys:\n%s", got)
	}
	shown := s.must("plugin", "inspect", file)
	for _, want := range []string{"Acme Mail", key, "25, 465, 587, 2525", "verified", "linux/", "instructions.md"} {
		if !strings.Contains(shown, want) {
			t.Errorf("inspect lacks %q:\n%s", want, shown)
		}
	}

	s.refuses(2, "--yes", "plugin", "install", file)
	if got := s.must("plugin", "install", file, "--yes", "--port", "2526"); !strings.Contains(got, "2526 (added)") || !strings.Contains(got, "installed") {
		t.Errorf("install said:\n%s", got)
	}
	if got := s.must("plugin", "list"); !strings.Contains(got, "signed") || !strings.Contains(got, " up ") {
		t.Errorf("list:\n%s", got)
	}
	s.refuses(1, "provider relay", "plugin", "remove", "smtp")

	// The setting lets the cage reach the test's mailbox, which has a port by chance.
	_, port, _ := strings.Cut(s.mailbox.Addr(), ":")
	s.env = append(s.env, "PASSMEND_PLUGIN_PORTS=smtp:"+port)
	srv := s.serve()
	s.forget("ada@example.com")
	s.resetMail(1)
	if code := srv.stop(); code != 0 {
		t.Errorf("exit status %d", code)
	}
	if !strings.Contains(srv.out.String(), "plugin verified") {
		t.Errorf("the verdict is not in the log:\n%s", srv.out)
	}

	// A byte more, and it is not what was installed. Installed again it is.
	executable := filepath.Join(plugins, "passmend-smtp")
	content, err := os.ReadFile(executable)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(executable, append(content, 0), 0o755); err != nil {
		t.Fatal(err)
	}
	s.refuses(1, "not the one that was installed", "plugin", "inspect", "smtp")
	if got := s.must("plugin", "list"); !strings.Contains(got, "refused") || strings.Contains(got, " up ") {
		t.Errorf("list after tampering:\n%s", got)
	}
	if code, _, _ := s.try(nil, "provider", "check", "relay"); code != 1 {
		t.Errorf("provider check after tampering: exit %d", code)
	}
	if got := s.must("plugin", "install", file, "--yes"); !strings.Contains(got, "2526 (added)") {
		t.Errorf("the added port is gone:\n%s", got)
	}
	s.must("provider", "check", "relay")

	// A key that is trusted no more takes its plugins with it.
	if got := s.must("plugin", "trust", "remove", key); !strings.Contains(got, "smtp") {
		t.Errorf("trust remove said %q", got)
	}
	s.refuses(1, "not trusted", "plugin", "inspect", "smtp")
	if got := s.must("plugin", "list"); !strings.Contains(got, "refused") {
		t.Errorf("list without the key:\n%s", got)
	}
	s.must("plugin", "remove", "smtp", "--force")
	if _, err := os.Stat(executable); !os.IsNotExist(err) {
		t.Errorf("the executable is there: %v", err)
	}
}

func TestUnsignedPluginIsNeverSilent(t *testing.T) {
	t.Parallel()
	s, folder, _ := newVendor(t)
	file := s.must("plugin", "pack", folder, "--without-report", "-o", "smtp.tar.gz")
	s.refuses(1, "not signed", "plugin", "inspect", file)
	s.refuses(1, "--allow-unsigned", "plugin", "install", file, "--yes")
	s.refuses(1, "--allow-unsigned", "plugin", "install", file, "--yes", "--allow-unsigned", "pigeon")
	if got := s.must("plugin", "install", file, "--yes", "--allow-unsigned", "smtp"); !strings.Contains(got, "WARNING") {
		t.Errorf("install said:\n%s", got)
	}
	if got := s.must("plugin", "list"); !strings.Contains(got, "unsigned") {
		t.Errorf("list:\n%s", got)
	}
	s.refuses(1, "not signed", "plugin", "inspect", "smtp")

	if err := os.Remove(filepath.Join(s.dir, "plugins", "passmend-smtp")); err != nil {
		t.Fatal(err)
	}
	if got := s.must("plugin", "list"); !strings.Contains(got, "missing") {
		t.Errorf("list without the executable:\n%s", got)
	}
}

// What nobody installed does not run, but for ours and what a setting names.
func TestUnpinnedPluginIsRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	dir := t.TempDir()
	for _, name := range []string{"passmend-smtp", "passmend-pigeon"} {
		copyFile(t, filepath.Join(binaries, "passmend-smtp"), filepath.Join(dir, name))
	}
	s.env = append(s.env, "PASSMEND_PLUGIN_DIR="+dir)
	list := s.must("plugin", "list")
	if smtp := grep(list, "smtp"); !strings.Contains(smtp, "first-party") || !strings.Contains(smtp, " up ") {
		t.Errorf("ours, copied:\n%s", list)
	}
	if pigeon := grep(list, "pigeon"); !strings.Contains(pigeon, "refused") || !strings.Contains(pigeon, "not installed by") {
		t.Errorf("never installed:\n%s", list)
	}
	for _, sandbox := range []string{"off", "best-effort"} {
		list := s.must("plugin", "list", "--plugin-sandbox", sandbox)
		if smtp := grep(list, "smtp"); strings.Contains(smtp, " none ") != (sandbox == "off") {
			t.Errorf("sandbox %s:\n%s", sandbox, list)
		}
	}
	// It runs then, far enough to call itself by another name.
	list = s.must("plugin", "list", "--plugin-allow-unpinned", "pigeon")
	if pigeon := grep(list, "pigeon"); !strings.Contains(pigeon, "unpinned") || !strings.Contains(pigeon, "Describe") {
		t.Errorf("allowed by name:\n%s", list)
	}
}

// A running service finds a plugin that was put beside the others at the next change of
// the database, whoever made it; not before.
func TestARunningServiceFindsANewPlugin(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	dir := t.TempDir()
	copyFile(t, filepath.Join(binaries, "passmend-smtp"), filepath.Join(dir, "passmend-smtp"))
	s.env = append(s.env, "PASSMEND_PLUGIN_DIR="+dir, "PASSMEND_DEFAULT_PROVIDERS=relay")
	srv := s.serve()
	copyFile(t, filepath.Join(binaries, "passmend-postmark"), filepath.Join(dir, "passmend-postmark"))
	if strings.Contains(srv.out.String(), `"plugin":"postmark"`) {
		t.Error("the control: it is there before anything changed")
	}
	s.must("account", "create", "second", "--name", "Second")
	s.eventually("the new plugin is up", func() bool {
		return strings.Contains(srv.out.String(), `"msg":"plugin started","plugin":"postmark"`)
	})
}

func TestPluginUsageErrors(t *testing.T) {
	t.Parallel()
	s, folder, key := newVendor(t)
	for _, c := range []struct {
		want string
		args []string
	}{
		{"PUBLICKEY", []string{"plugin", "trust", "add", "rsa:AAAA", "--for", "x*"}},
		{"--for", []string{"plugin", "trust", "add", key}},
		{"--for", []string{"plugin", "trust", "add", key, "--for", "../x"}},
		{"--port", []string{"plugin", "install", "x.tar.gz", "--port", "70000"}},
		{"PASSMEND_PLUGIN_PORTS", []string{"plugin", "list", "--plugin-ports", "smtp"}},
		{"PASSMEND_PLUGIN_ALLOW_UNPINNED", []string{"plugin", "list", "--plugin-allow-unpinned", "*"}},
		{"best-effort, required or off", []string{"plugin", "list", "--plugin-sandbox", "on"}},
	} {
		s.refuses(2, c.want, c.args...)
	}
	s.refuses(1, "x.tar.gz", "plugin", "install", "x.tar.gz", "--yes")
	s.refuses(1, "bundle refused", "plugin", "inspect", filepath.Join(folder, "LICENSE"))
	s.refuses(1, "not installed", "plugin", "inspect", "pigeon")
	s.refuses(1, "not installed", "plugin", "remove", "pigeon")
	s.refuses(1, "exists", "plugin", "key", "vendor.key")
	s.refuses(1, "passmend-plugin.json", "plugin", "pack", t.TempDir())
	if err := os.Chmod(filepath.Join(s.dir, "vendor.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.refuses(1, "chmod", "plugin", "pack", folder, "--without-report", "--key", "vendor.key")
}
