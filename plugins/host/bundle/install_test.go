package bundle

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func verify(t *testing.T, v *Verifier, d Dir, name string) error {
	t.Helper()
	content, err := os.ReadFile(d.Path(name))
	if err != nil {
		t.Fatal(err)
	}
	_, err = v.Verify(name, sha256.Sum256(content))
	return err
}

func TestInstalledPluginIsPinned(t *testing.T) {
	t.Parallel()
	d, key := newDir(t), newKey(t)
	trust(t, d, key.Public(), "acme-*")
	o := options()
	o.Ports = []uint16{8443, 443}
	install(t, d, pack(t, newSource(t, "acme-mail", "1.2.3", key)), o)

	info, err := os.Stat(d.Path("acme-mail"))
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Fatalf("executable: %v, %v", info, err)
	}
	pin, err := d.Pin("acme-mail")
	if err != nil {
		t.Fatal(err)
	}
	want := Approval{Ports: []uint16{443, 8443}, Added: []uint16{443, 8443}, Memory: 64 << 20}
	if diff := cmp.Diff(want, pin.Approved); diff != "" {
		t.Errorf("approval (-want +got):\n%s", diff)
	}
	if pin.Manifest.Version != "1.2.3" || pin.Signer != key.Public() || !pin.InstalledAt.Equal(testTime) || pin.Platform != testPlatform {
		t.Errorf("pin: %+v", pin)
	}
	v := newVerifier(t, VerifierConfig{Dir: d})
	if err := verify(t, v, d, "acme-mail"); err != nil || v.Verdict("acme-mail").Basis != BasisSigned || v.Verdict("acme-mail").Trusted.Publisher != "Acme" {
		t.Errorf("%+v, %v", v.Verdict("acme-mail"), err)
	}
	if names, err := d.Names(); err != nil || !cmp.Equal(names, []string{"acme-mail"}) {
		t.Errorf("names %v, %v", names, err)
	}
	entries, err := filepath.Glob(filepath.Join(string(d), pinFolder, ".stage-*"))
	if err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestInstallRefuses(t *testing.T) {
	t.Parallel()
	key, stranger := newKey(t), newKey(t)
	acme := func(t *testing.T, version string, key PrivateKey) []byte {
		return pack(t, newSource(t, "acme-mail", version, key))
	}
	for _, c := range []struct {
		name    string
		content func(t *testing.T) []byte
		change  func(o *Options)
		want    error // nil: it is accepted
	}{
		{"control: the next version", func(t *testing.T) []byte { return acme(t, "1.1.0", key) }, nil, nil},
		{"control: the same version", func(t *testing.T) []byte { return acme(t, "1.0.0", key) }, nil, nil},
		{"a key that is not trusted", func(t *testing.T) []byte { return acme(t, "1.1.0", stranger) }, nil, ErrUntrusted},
		{"a name that the key is not trusted for", func(t *testing.T) []byte { return pack(t, newSource(t, "pigeon", "1.1.0", key)) }, nil, ErrUntrusted},
		{"no signature", func(t *testing.T) []byte { return acme(t, "1.1.0", PrivateKey{}) }, nil, ErrUnsigned},
		{"no signature, another name allowed", func(t *testing.T) []byte { return acme(t, "1.1.0", PrivateKey{}) },
			func(o *Options) { o.AllowUnsigned = "pigeon" }, ErrUnsigned},
		{"control: no signature, allowed", func(t *testing.T) []byte { return acme(t, "1.1.0", PrivateKey{}) },
			func(o *Options) { o.AllowUnsigned = "acme-mail" }, nil},
		{"a key that is not trusted, unsigned allowed", func(t *testing.T) []byte { return acme(t, "1.1.0", stranger) },
			func(o *Options) { o.AllowUnsigned = "acme-mail" }, ErrUntrusted},
		{"an older version", func(t *testing.T) []byte { return acme(t, "0.9.0", key) }, nil, ErrDowngrade},
		{"a pre-release of the same", func(t *testing.T) []byte { return acme(t, "1.0.0-rc.1", key) }, nil, ErrDowngrade},
		{"control: an older version, allowed", func(t *testing.T) []byte { return acme(t, "0.9.0", key) },
			func(o *Options) { o.AllowDowngrade = true }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := newDir(t)
			trust(t, d, key.Public(), "acme-*")
			install(t, d, acme(t, "1.0.0", key), options())
			before := tree(t, d)
			o := options()
			if c.change != nil {
				c.change(&o)
			}
			staged, err := d.Stage(save(t, c.content(t)), o)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if err == nil {
				err = staged.Discard()
				if err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(before, tree(t, d)); diff != "" {
				t.Errorf("the directory changed:\n%s", diff)
			}
		})
	}
}

// tree gives every file of the directory with its content.
func tree(t *testing.T, d Dir) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir(string(d), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		files[path] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestUpgradeKeepsAddedPorts(t *testing.T) {
	t.Parallel()
	d, key := newDir(t), newKey(t)
	trust(t, d, key.Public(), "*")
	o := options()
	o.Ports = []uint16{2525}
	install(t, d, pack(t, newSource(t, "acme-mail", "1.0.0", key)), o)
	next := newSource(t, "acme-mail", "1.1.0", key)
	next.Manifest.Permissions.Ports = []uint16{587}
	o.Ports = []uint16{8025}
	install(t, d, pack(t, next), o)
	pin, err := d.Pin("acme-mail")
	if err != nil {
		t.Fatal(err)
	}
	want := Approval{Ports: []uint16{587, 2525, 8025}, Added: []uint16{2525, 8025}, Memory: 64 << 20}
	if diff := cmp.Diff(want, pin.Approved); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestHandMadeExecutableIsNotOverwritten(t *testing.T) {
	t.Parallel()
	d, key := newDir(t), newKey(t)
	trust(t, d, key.Public(), "*")
	if err := os.WriteFile(d.Path("acme-mail"), []byte("mine"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Stage(save(t, pack(t, newSource(t, "acme-mail", "1.0.0", key))), options()); !errors.Is(err, ErrNotInstalled) {
		t.Errorf("got %v", err)
	}
	if err := d.Remove("acme-mail"); !errors.Is(err, ErrNotInstalled) {
		t.Errorf("remove: %v", err)
	}
}

func TestTwoInstallsAtOnce(t *testing.T) {
	t.Parallel()
	d, key := newDir(t), newKey(t)
	trust(t, d, key.Public(), "*")
	file := save(t, pack(t, newSource(t, "acme-mail", "1.0.0", key)))
	first, err := d.Stage(file, options())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Stage(file, options()); !errors.Is(err, ErrBusy) {
		t.Errorf("the second: %v", err)
	}
	if err := first.Install(); err != nil {
		t.Error(err)
	}
	install(t, d, pack(t, newSource(t, "acme-mail", "1.0.1", key)), options())
}

// An install that is cut short anywhere leaves the old one or the new one, pinned,
// and the next install finishes. Steps in another order would not: the same check
// finds it.
func TestInstallIsWholeWhereverItIsCutShort(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	inOrder := []int{0, 1, 2}
	for _, c := range []struct {
		name  string
		order []int
		holds bool
	}{
		{"in order", inOrder, true},
		{"executable before its pin", []int{1, 0, 2}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var broken []string
			for _, upgrade := range []bool{false, true} {
				for done := range len(c.order) + 1 {
					d := newDir(t)
					trust(t, d, key.Public(), "*")
					if upgrade {
						install(t, d, pack(t, newSource(t, "acme-mail", "1.0.0", key)), options())
					}
					staged, err := d.Stage(save(t, pack(t, newSource(t, "acme-mail", "1.1.0", key))), options())
					if err != nil {
						t.Fatal(err)
					}
					for _, step := range c.order[:done] {
						if err := staged.steps()[step](); err != nil {
							t.Fatal(err)
						}
					}
					staged.unlock() // as the end of a process does
					if err := verifyIfThere(t, d, "acme-mail"); err != nil {
						broken = append(broken, fmt.Sprintf("upgrade %v, %d steps: %v", upgrade, done, err))
						continue
					}
					install(t, d, pack(t, newSource(t, "acme-mail", "1.1.1", key)), options())
					if err := verifyIfThere(t, d, "acme-mail"); err != nil {
						broken = append(broken, fmt.Sprintf("upgrade %v, %d steps, installed again: %v", upgrade, done, err))
					}
					for path := range tree(t, d) {
						if strings.Contains(path, stagePart) || strings.HasSuffix(path, nextSuffix) {
							t.Errorf("left behind: %s", path)
						}
					}
				}
			}
			if c.holds != (len(broken) == 0) {
				t.Errorf("holds %v, want %v: %q", !c.holds, c.holds, broken)
			}
		})
	}
}

// verifyIfThere gives why the executable that is there would not start.
func verifyIfThere(t *testing.T, d Dir, name string) error {
	t.Helper()
	if _, err := os.Stat(d.Path(name)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return verify(t, newVerifier(t, VerifierConfig{Dir: d}), d, name)
}

func TestRemove(t *testing.T) {
	t.Parallel()
	d, key := newDir(t), newKey(t)
	trust(t, d, key.Public(), "*")
	install(t, d, pack(t, newSource(t, "acme-mail", "1.0.0", key)), options())
	for _, name := range []string{"pigeon", "../acme-mail", ""} {
		if err := d.Remove(name); !errors.Is(err, ErrNotInstalled) {
			t.Errorf("%q: %v", name, err)
		}
	}
	// Cut short once: the executable is gone, its pin is not.
	if err := os.Remove(d.Path("acme-mail")); err != nil {
		t.Fatal(err)
	}
	if err := d.Remove("acme-mail"); err != nil {
		t.Error(err)
	}
	if names, err := d.Names(); err != nil || len(names) != 0 {
		t.Errorf("left: %v, %v", names, err)
	}
	if keys, err := d.Trusted(); err != nil || len(keys) != 1 {
		t.Errorf("the key went with it: %v, %v", keys, err)
	}
}

func TestVerifier(t *testing.T) {
	t.Parallel()
	key, stranger := newKey(t), newKey(t)
	shipped := newDir(t)
	for name, content := range map[string]string{"smtp": "ours", "pigeon": "not ours"} {
		if err := os.WriteFile(shipped.Path(name), []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	place := func(name, content string) func(t *testing.T, d Dir) {
		return func(t *testing.T, d Dir) {
			if err := os.WriteFile(d.Path(name), []byte(content), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	installed := func(t *testing.T, d Dir) {
		install(t, d, pack(t, newSource(t, "acme-mail", "1.0.0", key)), options())
	}
	installedUnsigned := func(t *testing.T, d Dir) {
		o := options()
		o.AllowUnsigned = "acme-mail"
		install(t, d, pack(t, newSource(t, "acme-mail", "1.0.0", PrivateKey{})), o)
	}
	both := func(first, second func(*testing.T, Dir)) func(*testing.T, Dir) {
		return func(t *testing.T, d Dir) { first(t, d); second(t, d) }
	}
	editPin := func(old, with string) func(t *testing.T, d Dir) {
		return func(t *testing.T, d Dir) {
			text, err := os.ReadFile(d.pinPath("acme-mail"))
			if err != nil || !bytes.Contains(text, []byte(old)) {
				t.Fatalf("%s: %v", text, err)
			}
			if err := os.WriteFile(d.pinPath("acme-mail"), bytes.ReplaceAll(text, []byte(old), []byte(with)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	swapped := checksum([]byte("swapped"))
	original := checksum([]byte("#!/bin/sh\n# linux/amd64 1.0.0\n"))
	for _, c := range []struct {
		name    string
		prepare func(t *testing.T, d Dir)
		plugin  string
		change  func(c *VerifierConfig)
		want    Basis
		err     error
	}{
		{"installed and signed", installed, "acme-mail", nil, BasisSigned, nil},
		{"installed unsigned", installedUnsigned, "acme-mail", nil, BasisUnsigned, nil},
		{"exchanged after the install", both(installed, place("acme-mail", "swapped")), "acme-mail", nil, "", ErrChecksum},
		{"exchanged, and allowed unpinned", both(installed, place("acme-mail", "swapped")), "acme-mail",
			func(c *VerifierConfig) { c.AllowUnpinned = []string{"acme-mail"} }, "", ErrChecksum},
		{"exchanged, in development", both(installed, place("acme-mail", "swapped")), "acme-mail",
			func(c *VerifierConfig) { c.Development = true }, "", ErrChecksum},
		{"exchanged with its pin's checksum", both(both(installed, place("acme-mail", "swapped")), editPin(original, swapped)), "acme-mail", nil, "", nil},
		{"pin that calls itself unsigned", both(installed, editPin(`"signer": "`+key.Public().String()+`"`, `"signer": "unsigned"`)), "acme-mail", nil, "", ErrBadSignature},
		{"pin of another platform", both(installed, editPin(`"platform": "linux/amd64"`, `"platform": "linux/arm64"`)), "acme-mail", nil, "", ErrChecksum},
		{"key that was taken away", both(installed, func(t *testing.T, d Dir) {
			if _, err := d.Distrust(key.Public().ID()); err != nil {
				t.Fatal(err)
			}
		}), "acme-mail", nil, "", ErrUntrusted},
		{"empty pin, allowed unpinned", both(installed, func(t *testing.T, d Dir) {
			if err := os.WriteFile(d.pinPath("acme-mail"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}), "acme-mail", func(c *VerifierConfig) { c.AllowUnpinned = []string{"acme-mail"} }, "", nil},
		{"never installed", place("acme-mail", "x"), "acme-mail", nil, "", ErrNotInstalled},
		{"never installed, allowed by name", place("acme-mail", "x"), "acme-mail",
			func(c *VerifierConfig) { c.AllowUnpinned = []string{"acme-mail"} }, BasisUnpinned, nil},
		{"never installed, another allowed", place("acme-mail", "x"), "acme-mail",
			func(c *VerifierConfig) { c.AllowUnpinned = []string{"acme-mai", "*"} }, "", ErrNotInstalled},
		{"development", place("acme-mail", "x"), "acme-mail", func(c *VerifierConfig) { c.Development = true }, BasisDevelopment, nil},
		{"development beside what is installed", both(installed, place("pigeon", "x")), "pigeon",
			func(c *VerifierConfig) { c.Development = true }, "", ErrNotInstalled},
		{"ours, a copy", place("smtp", "ours"), "smtp", nil, BasisFirstParty, nil},
		{"ours, changed", place("smtp", "theirs"), "smtp", nil, "", ErrNotInstalled},
		{"ours, missing where it ships", place("webhook", "ours"), "webhook", nil, "", ErrNotInstalled},
		{"not ours, beside ours", place("pigeon", "not ours"), "pigeon", nil, "", ErrNotInstalled},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := newDir(t)
			trust(t, d, key.Public(), "acme-*")
			trust(t, d, stranger.Public(), "stranger")
			c.prepare(t, d)
			var log bytes.Buffer
			config := VerifierConfig{Dir: d, FirstParty: []string{"smtp", "webhook"}, FirstPartyDir: shipped,
				Logger: slog.New(slog.NewTextHandler(&log, nil))}
			if c.change != nil {
				c.change(&config)
			}
			v := newVerifier(t, config)
			err := verify(t, v, d, c.plugin)
			if (c.want == "") != (err != nil) || c.err != nil && !errors.Is(err, c.err) {
				t.Errorf("got %v, want %v", err, c.err)
			}
			if got := v.Verdict(c.plugin).Basis; got != c.want {
				t.Errorf("basis %q, want %q", got, c.want)
			}
			// Nothing about it is silent.
			level := map[Basis]string{BasisSigned: "INFO", BasisFirstParty: "INFO", "": "ERROR"}[c.want]
			if level == "" {
				level = "WARN"
			}
			if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "level="+level) || !strings.Contains(log.String(), "plugin="+c.plugin) {
				t.Errorf("logged %q, want one line of level %s", log.String(), level)
			}
		})
	}
}
