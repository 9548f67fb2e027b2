package bundle

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestKeyIsTrustedForItsNamesOnly(t *testing.T) {
	t.Parallel()
	d, key, other := newDir(t), newKey(t).Public(), newKey(t).Public()
	trust(t, d, key, "acme-*")
	trust(t, d, key, "pigeon")
	for name, want := range map[string]bool{
		"acme-mail": true, "acme-": true, "pigeon": true,
		"acme": false, "smtp": false, "pigeons": false, "not-acme-mail": false,
	} {
		if _, err := d.trusts(name, key); (err == nil) != want {
			t.Errorf("%s: %v, want trusted %v", name, err, want)
		}
		if _, err := d.trusts(name, other); !errors.Is(err, ErrUntrusted) {
			t.Errorf("%s by another key: %v", name, err)
		}
	}
	got, err := d.Trusted()
	if err != nil {
		t.Fatal(err)
	}
	want := []Trusted{{Key: key, For: []string{"acme-*", "pigeon"}, Publisher: "Acme", Added: testTime}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(PublicKey{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDistrustByKeyOrID(t *testing.T) {
	t.Parallel()
	d, a, b := newDir(t), newKey(t).Public(), newKey(t).Public()
	trust(t, d, a, "*")
	trust(t, d, b, "*")
	if _, err := d.Distrust("ed25519:none"); err == nil {
		t.Error("an unknown key is taken away")
	}
	for _, ref := range []string{a.ID(), b.String()} {
		if _, err := d.Distrust(ref); err != nil {
			t.Error(err)
		}
	}
	if keys, err := d.Trusted(); err != nil || len(keys) != 0 {
		t.Errorf("left: %v, %v", keys, err)
	}
}

func TestPatterns(t *testing.T) {
	t.Parallel()
	for pattern, want := range map[string]bool{
		"*": true, "acme-*": true, "acme-[ab]": true, "acme?": true, "smtp": true,
		"": false, "acme-[": false, "a/b": false, "ACME": false, "a b": false, "\\*": false,
	} {
		if got := ValidPattern(pattern); got != want {
			t.Errorf("%q: %v", pattern, got)
		}
	}
}

// What trust rests on must not be for others to write: the file and the directory.
func TestWhatOthersCanWriteIsRefused(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	for mode, accepted := range map[fs.FileMode]bool{
		0o600: true, 0o644: true, 0o640: true, 0o660: false, 0o602: false, 0o666: false,
	} {
		for _, what := range []string{trustFile, "installed/acme-mail.json"} {
			d := newDir(t)
			trust(t, d, key.Public(), "*")
			install(t, d, pack(t, newSource(t, "acme-mail", "1.0.0", key)), options())
			if err := os.Chmod(filepath.Join(string(d), what), mode); err != nil {
				t.Fatal(err)
			}
			_, err := newVerifier(t, VerifierConfig{Dir: d}).Check("acme-mail")
			if accepted != (err == nil) || !accepted && !errors.Is(err, ErrWritable) {
				t.Errorf("%s with mode %o: %v", what, mode, err)
			}
		}
	}
	for mode, accepted := range map[fs.FileMode]bool{0o755: true, 0o700: true, 0o775: false, 0o777 | fs.ModeSticky: false} {
		for _, what := range []string{".", "installed"} {
			d := newDir(t)
			trust(t, d, key.Public(), "*")
			install(t, d, pack(t, newSource(t, "acme-mail", "1.0.0", key)), options())
			if err := os.Chmod(filepath.Join(string(d), what), mode); err != nil {
				t.Fatal(err)
			}
			_, err := newVerifier(t, VerifierConfig{Dir: d}).Check("acme-mail")
			if accepted != (err == nil) || !accepted && !errors.Is(err, ErrWritable) {
				t.Errorf("folder %s with mode %o: %v", what, mode, err)
			}
			if _, err := d.Stage(save(t, pack(t, newSource(t, "acme-mail", "1.0.1", key))), options()); !accepted && !errors.Is(err, ErrWritable) {
				t.Errorf("install into folder %s with mode %o: %v", what, mode, err)
			}
		}
	}
}

func TestBrokenTrustFileTrustsNobody(t *testing.T) {
	t.Parallel()
	key := newKey(t).Public()
	entry := fmt.Sprintf(`{"key":%q,"for":["*"],"added":"2026-05-01T12:00:00Z"}`, key)
	for text, accepted := range map[string]bool{
		`{"version":1,"keys":[` + entry + `]}`:                                         true,
		`{"version":2,"keys":[` + entry + `]}`:                                         false,
		`{"version":1,"keys":[` + entry + `],"more":1}`:                                false,
		`{"version":1,"keys":[` + entry + `]} x`:                                       false,
		`{"version":1,"keys":[` + strings.Replace(entry, `"*"`, `"["`, 1) + `]}`:       false,
		`{"version":1,"keys":[` + strings.Replace(entry, `["*"]`, `[]`, 1) + `]}`:      false,
		`{"version":1,"keys":[{"for":["*"],"added":"2026-05-01T12:00:00Z"}]}`:          false,
		`{"version":1,"keys":[` + strings.Replace(entry, "ed25519:", "rsa:", 1) + `]}`: false,
		``: false,
	} {
		d := newDir(t)
		if err := os.MkdirAll(filepath.Join(string(d), pinFolder), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(string(d), trustFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := d.trusts("acme", key); accepted != (err == nil) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestKeyFiles(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "vendor.key")
	made, err := NewKeyFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := NewKeyFile(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("made over an existing one: %v", err)
	}
	read, err := ReadKeyFile(path)
	if err != nil || read.Public() != made.Public() {
		t.Errorf("read %v, %v", read.Public(), err)
	}
	if shown := fmt.Sprintf("%v %+v %#v", made, made, made); shown != "[redacted] [redacted] [redacted]" {
		t.Errorf("shown as %s", shown)
	}
	for mode, accepted := range map[fs.FileMode]bool{0o600: true, 0o400: true, 0o640: true, 0o644: false, 0o660: false, 0o602: false} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadKeyFile(path); accepted != (err == nil) {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	for name, text := range map[string]string{
		"empty": "", "text": "hello", "public": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
		"garbage": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
	} {
		bad := filepath.Join(t.TempDir(), "bad.key")
		if err := os.WriteFile(bad, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadKeyFile(bad); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestPublicKeyHasOneText(t *testing.T) {
	t.Parallel()
	key := newKey(t).Public()
	text := key.String()
	if again, err := ParsePublicKey(text); err != nil || again != key {
		t.Errorf("%v, %v", again, err)
	}
	for _, other := range []string{"", "ed25519:", text + "=", text + "\n", text[:20] + "\n" + text[20:], strings.ToUpper(text[:8]) + text[8:], text[8:], text[:len(text)-1]} {
		if _, err := ParsePublicKey(other); err == nil {
			t.Errorf("%q is accepted", other)
		}
	}
}

// A signature of the same bytes that was made for something else is none here.
func TestSignatureHasItsDomain(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	sums := []byte("sums")
	if !key.Public().verifies(sums, key.sign(sums)) {
		t.Error("its own signature does not verify")
	}
	if key.Public().verifies(sums, ed25519.Sign(key.key, sums)) {
		t.Error("a signature without the domain verifies")
	}
}

func TestVersionsInOrder(t *testing.T) {
	t.Parallel()
	// The order of section 11, and numbers beyond any integer.
	ordered := []string{
		"0.0.1", "0.9.0", "0.10.0", "1.0.0-0", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11",
		"1.0.0-rc.1", "1.0.0", "1.0.1", "1.2.0", "2.0.0", "99999999999999999999.0.0",
	}
	for i, a := range ordered {
		if !validVersion(a) {
			t.Errorf("%s is not valid", a)
		}
		for j, b := range ordered {
			got, want := compareVersions(a, b), min(1, max(-1, i-j))
			if got != want {
				t.Errorf("%s against %s: %d, want %d", a, b, got, want)
			}
		}
	}
	if compareVersions("1.0.0+a", "1.0.0+b") != 0 {
		t.Error("build metadata counts")
	}
	for _, s := range []string{"", "1", "1.0", "v1.0.0", "01.0.0", "1.0.0-", "1.0.0-01", "1.0.0 ", "1.0.0+", "latest", "1.0.0-" + strings.Repeat("a", 64)} {
		if validVersion(s) {
			t.Errorf("%q is valid", s)
		}
	}
}
