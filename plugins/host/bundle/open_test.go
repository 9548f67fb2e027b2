package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestBundleIsReadAsItWasPacked(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	source := newSource(t, "acme-mail", "1.2.3", key)
	digest, _, err := checksumFile(source.Binaries[testPlatform])
	if err != nil {
		t.Fatal(err)
	}
	source.Files[ReportFile] = testReport(digest, 50, 0)
	want, err := Pack(io.Discard, source)
	if err != nil {
		t.Fatal(err)
	}
	first, second := pack(t, source), pack(t, source)
	if !bytes.Equal(first, second) {
		t.Error("the same source gives other bytes the second time")
	}
	var binary bytes.Buffer
	got, err := Open(save(t, first), testPlatform, &binary)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got.Manifest); diff != "" {
		t.Errorf("manifest (-packed +read):\n%s", diff)
	}
	if diff := cmp.Diff(source.Files, got.Files); diff != "" {
		t.Errorf("files (-packed +read):\n%s", diff)
	}
	if got.Signer != key.Public() || got.Manifest.KeyID != key.Public().ID() {
		t.Errorf("signer %s, key id %q", got.Signer, got.Manifest.KeyID)
	}
	executable, err := os.ReadFile(source.Binaries[testPlatform])
	if err != nil || !bytes.Equal(binary.Bytes(), executable) {
		t.Errorf("executable %q, want %q (%v)", binary.Bytes(), executable, err)
	}
	// The form is a plain tar.gz to everybody else, with whole modes.
	for _, e := range takeApart(t, first).entries {
		if isBinary := strings.HasPrefix(e.header.Name, "bin/"); (e.header.Mode == 0o755) != isBinary {
			t.Errorf("%s has mode %o", e.header.Name, e.header.Mode)
		}
	}
	if _, err := Open(save(t, first), "plan9/amd64", io.Discard); err == nil || !strings.Contains(err.Error(), "linux/amd64, linux/arm64") {
		t.Errorf("another platform: %v", err)
	}
}

// Whoever flips a bit anywhere is refused, and whoever mends the compression's own
// checksum after it too.
func TestTamperedByteIsRefused(t *testing.T) {
	t.Parallel()
	source := newSource(t, "acme-mail", "1.2.3", newKey(t))
	delete(source.Binaries, "linux/arm64")
	source.Files = map[string][]byte{SchemaFile: source.Files[SchemaFile]}
	content := pack(t, source)
	open := func(file []byte) (string, *Bundle, error) {
		var binary bytes.Buffer
		b, err := read(bytes.NewReader(file), testPlatform, &binary)
		return binary.String(), b, err
	}
	binary, whole, err := open(content)
	if err != nil {
		t.Fatalf("untampered: %v", err)
	}
	archive := takeApart(t, content).tar(t)
	var c compressor
	if _, _, err := open(c.compress(t, gzip.Header{OS: 255}, archive)); err != nil {
		t.Fatalf("untampered, compressed anew: %v", err)
	}
	for at := range archive {
		archive[at] ^= 0x01
		if _, _, err := open(c.compress(t, gzip.Header{OS: 255}, archive)); !errors.Is(err, ErrBadBundle) {
			t.Fatalf("byte %d of %d of the archive: %v", at, len(archive), err)
		}
		archive[at] ^= 0x01
	}
	for at := range content {
		tampered := bytes.Clone(content)
		tampered[at] ^= 0xff
		gotBinary, got, err := open(tampered)
		// Compression has bits that say nothing. Then nothing else may differ.
		same := err == nil && gotBinary == binary && cmp.Equal(got, whole, cmp.AllowUnexported(Bundle{}, PublicKey{}, receipt{}))
		if !same && !errors.Is(err, ErrBadBundle) {
			t.Fatalf("byte %d of %d of the file: %v", at, len(content), err)
		}
	}
	for _, length := range []int{0, 5, len(content) / 2, len(content) - 1} {
		if _, _, err := open(content[:length]); !errors.Is(err, ErrBadBundle) {
			t.Errorf("cut to %d bytes: %v", length, err)
		}
	}
}

func replaceText(e *entry, old, with string) {
	e.set([]byte(strings.Replace(string(e.body), old, with, 1)))
}

// A hostile vendor signs what he likes; none of it may get past the reader.
func TestHostileBundlesAreRefused(t *testing.T) {
	t.Parallel()
	key, other := newKey(t), newKey(t)
	content := pack(t, newSource(t, "acme-mail", "1.2.3", key))
	arm := "bin/linux-arm64/passmend-acme-mail"
	for _, c := range []struct {
		name  string
		forge func(f *forgery)
		want  string // part of the error; empty: it is accepted
	}{
		{"control: taken apart and put together", func(*forgery) {}, ""},
		{"control: signed anew", func(f *forgery) { f.resign(key) }, ""},

		{"symbolic link", func(f *forgery) {
			h := f.entry(SchemaFile).header
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, "/etc/passwd", 0
		}, "not a regular file"},
		{"hard link", func(f *forgery) {
			h := f.entry(arm).header
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, "../../passmend-smtp", 0
		}, "not a regular file"},
		{"directory", func(f *forgery) {
			h := f.entry(SchemaFile).header
			h.Typeflag, h.Name, h.Size = tar.TypeDir, "schema.json/", 0
		}, "not a regular file"},
		{"device", func(f *forgery) {
			h := f.entry(SchemaFile).header
			h.Typeflag, h.Size = tar.TypeChar, 0
		}, "not a regular file"},
		{"pipe", func(f *forgery) {
			h := f.entry(SchemaFile).header
			h.Typeflag, h.Size = tar.TypeFifo, 0
		}, "not a regular file"},
		{"set-user-id", func(f *forgery) { f.entry(arm).header.Mode = 0o4755 }, "header"},
		{"executable text", func(f *forgery) { f.entry(SchemaFile).header.Mode = 0o755 }, "header"},
		{"owner", func(f *forgery) { f.entry(arm).header.Uname = "root" }, "header"},
		{"time", func(f *forgery) { f.entry(arm).header.ModTime = time.Unix(1, 0) }, "header"},
		{"extended header", func(f *forgery) {
			h := f.entry(arm).header
			h.Format, h.PAXRecords = tar.FormatPAX, map[string]string{"ACME.x": "y"}
		}, "header"},
		{"long name", func(f *forgery) {
			h := f.entry(arm).header
			h.Format, h.Name = tar.FormatGNU, strings.Repeat("a/", 80)+"x"
		}, "header"},

		{"absolute path", func(f *forgery) { f.entry(SchemaFile).header.Name = "/etc/schema.json"; f.resign(key) }, "not in order"},
		{"path upwards", func(f *forgery) { f.entry(SchemaFile).header.Name = "../schema.json"; f.resign(key) }, "not in order"},
		{"path upwards, last", func(f *forgery) { f.entry(SchemaFile).header.Name = "z/../../x"; f.resign(key) }, "no place for"},
		{"another executable", func(f *forgery) { f.entry(SchemaFile).header.Name = "bin/linux-arm64/passmend-smtp"; f.resign(key) }, "not in order"},
		{"undeclared entry, last", func(f *forgery) { f.add("zzz", []byte("x")) }, "not in SHA256SUMS"},
		{"undeclared entry, in between", func(f *forgery) {
			f.add("extra", []byte("x"))
			f.entries[4], f.entries[len(f.entries)-1] = f.entries[len(f.entries)-1], f.entries[4]
		}, "which is next"},
		{"entry that comes twice", func(f *forgery) { f.entries = append(f.entries, f.entry(SchemaFile)) }, "not in SHA256SUMS"},
		{"entry that comes and is summed twice", func(f *forgery) { f.entries = append(f.entries, f.entry(SchemaFile)); f.resign(key) }, "each once"},
		{"missing executable", func(f *forgery) { f.drop(arm); f.resign(key) }, "is missing"},
		{"missing schema", func(f *forgery) { f.drop(SchemaFile); f.resign(key) }, "schema.json is missing"},
		{"missing entry", func(f *forgery) { f.drop(SchemaFile) }, "schema.json is missing"},
		{"no sums", func(f *forgery) { f.drop(sumsFile) }, "which is next"},
		{"sums with other line ends", func(f *forgery) {
			e := f.entry(sumsFile)
			e.set(bytes.ReplaceAll(e.body, []byte("\n"), []byte("\r\n")))
		}, "signature does not verify"},
		{"manifest is not first", func(f *forgery) { f.entries[2], f.entries[3] = f.entries[3], f.entries[2]; f.resign(key) }, "which is next"},

		{"too long schema", func(f *forgery) { f.entry(SchemaFile).set(bytes.Repeat([]byte(" "), 300<<10)); f.resign(key) }, "longer than"},
		{"bomb for an executable", func(f *forgery) { f.entry(arm).set(make([]byte, maxBinary+1)) }, "longer than"},
		{"bomb for sums", func(f *forgery) { f.entry(sumsFile).set(make([]byte, 8<<20)) }, "longer than"},
		{"schema that is none", func(f *forgery) { f.entry(SchemaFile).set([]byte("[]")); f.resign(key) }, "not a JSON object"},
		{"icon that is a page", func(f *forgery) { f.entry(IconFile).set([]byte("<svg onload=x>")); f.resign(key) }, "not a PNG"},
		{"instructions that are no text", func(f *forgery) { f.entry(InstructionsFile).set([]byte{0xff}); f.resign(key) }, "UTF-8"},

		{"unsigned though a key is named", func(f *forgery) { f.drop(signatureFile) }, "not signed"},
		{"signed by another key", func(f *forgery) { f.resign(other) }, "names another key"},
		{"signature of another file", func(f *forgery) {
			r := receipt{Sums: "other"}
			r.sign(key)
			f.entry(signatureFile).set([]byte(r.Signature))
		}, "signature does not verify"},
		{"empty signature", func(f *forgery) { f.entry(signatureFile).set(nil) }, "empty"},
		{"signature with more behind it", func(f *forgery) { e := f.entry(signatureFile); e.set(append(e.body, '\n')) }, "not a key and a signature"},

		{"unknown member of the manifest", func(f *forgery) { replaceText(f.entry(ManifestFile), "{", `{"setuid": true,`); f.resign(key) }, "unknown field"},
		{"member that comes twice", func(f *forgery) { replaceText(f.entry(ManifestFile), "{", `{"name": "smtp",`); f.resign(key) }, "not in the form"},
		{"member in other letters", func(f *forgery) { replaceText(f.entry(ManifestFile), `"name"`, `"NAME"`); f.resign(key) }, "not in the form"},
		{"another plugin's name", func(f *forgery) { replaceText(f.entry(ManifestFile), `"acme-mail"`, `"smtp"`); f.resign(key) }, "must be bin/linux-amd64/passmend-smtp"},
		{"name that is a path", func(f *forgery) { replaceText(f.entry(ManifestFile), `"acme-mail"`, `"../smtp"`); f.resign(key) }, "name:"},
		{"version that is none", func(f *forgery) { replaceText(f.entry(ManifestFile), "1.2.3", "latest"); f.resign(key) }, "version:"},
		{"escape sequence for the terminal", func(f *forgery) { replaceText(f.entry(ManifestFile), "Acme Mail", `\u001b[2Jx`); f.resign(key) }, "publisher:"},
		{"text that turns round", func(f *forgery) { replaceText(f.entry(ManifestFile), "Hands mail", "\u202eliam"); f.resign(key) }, "description:"},
		{"other checksum in the manifest", func(f *forgery) {
			replaceText(f.entry(ManifestFile), checksum(f.entry(arm).body), checksum([]byte("x")))
			f.resign(key)
		}, "differ about"},
		{"manifest of another bundle", func(f *forgery) { replaceText(f.entry(ManifestFile), "1.2.3", "9.9.9") }, "does not begin with this manifest"},

		{"named compression", func(f *forgery) { f.gzip.Name = "x.tar" }, "not a tar.gz"},
		{"commented compression", func(f *forgery) { f.gzip.Comment = "x" }, "not a tar.gz"},
		{"more behind the archive", func(f *forgery) { f.after = []byte("x") }, "does not end"},
		{"blocks behind the archive", func(f *forgery) { f.after = make([]byte, block) }, "does not end"},
		{"more behind the file", func(f *forgery) { f.tail = []byte{0} }, "something follows"},
		{"second compressed part", func(f *forgery) { f.tail = content }, "something follows"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := takeApart(t, content)
			c.forge(f)
			var binary bytes.Buffer
			_, err := Open(save(t, f.bytes(t)), testPlatform, &binary)
			if c.want == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			if !errors.Is(err, ErrBadBundle) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want a refusal with %q", err, c.want)
			}
		})
	}
}

// What follows an entry inside its last block is part of no checksum.
func TestPaddingIsEmpty(t *testing.T) {
	t.Parallel()
	f := takeApart(t, pack(t, newSource(t, "acme-mail", "1.2.3", PrivateKey{})))
	for _, hidden := range []bool{false, true} {
		archive := f.tar(t)
		if hidden {
			archive[2*block-1] = 'x' // the sums' last block is not full
		}
		_, err := Open(save(t, compress(t, gzip.Header{OS: 255}, archive)), testPlatform, io.Discard)
		if hidden != errors.Is(err, ErrBadBundle) {
			t.Errorf("hidden byte %v: %v", hidden, err)
		}
	}
}

func TestFilesThatAreNoBundles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, path := range map[string]string{
		"not there": dir + "/none", "a directory": dir, "a device": "/dev/zero",
		"text": save(t, []byte("hello")), "a tar": save(t, (&forgery{}).tar(t)),
	} {
		if _, err := Open(path, testPlatform, io.Discard); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func testReport(digest string, passed, failed int) []byte {
	return fmt.Appendf(nil, `{"kit":"1","provider":{"name":"x","sha256":%q},"passed":%d,"failed":%d}`, digest, passed, failed)
}

func TestPackRefusesWhatOpenWould(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		spoil func(s *Source)
		want  string
	}{
		{"no executable", func(s *Source) { s.Binaries = nil }, "platforms:"},
		{"no schema", func(s *Source) { delete(s.Files, SchemaFile) }, "schema.json is missing"},
		{"no publisher", func(s *Source) { s.Manifest.Publisher = " " }, "publisher:"},
		{"plain homepage", func(s *Source) { s.Manifest.Homepage = "http://acme.example" }, "homepage:"},
		{"port 0", func(s *Source) { s.Manifest.Permissions.Ports = []uint16{0} }, "ports:"},
		{"host with a path", func(s *Source) { s.Manifest.Permissions.Hosts = []string{"acme.example/x"} }, "hosts:"},
		{"the root as runtime", func(s *Source) { s.Manifest.Runtime = []string{"/"} }, "runtime:"},
		{"processes as runtime", func(s *Source) { s.Manifest.Runtime = []string{"/proc/1"} }, "runtime:"},
		{"runtime upwards", func(s *Source) { s.Manifest.Runtime = []string{"/usr/../etc"} }, "runtime:"},
		{"too much memory", func(s *Source) { s.Manifest.Permissions.Memory = 5 << 30 }, "memory:"},
		{"stray file", func(s *Source) { s.Files["notes.txt"] = []byte("x") }, "notes.txt"},
		{"report about another executable", func(s *Source) { s.Files[ReportFile] = testReport(checksum([]byte("x")), 50, 0) }, "another executable"},
		{"report of a failure", func(s *Source) {
			digest, _, err := checksumFile(s.Binaries[testPlatform])
			if err != nil {
				panic(err)
			}
			s.Files[ReportFile] = testReport(digest, 49, 1)
		}, "49 cases held and 1 did not"},
		{"report of nothing", func(s *Source) { s.Files[ReportFile] = []byte("{}") }, "not a report"},
		{"executable that is not there", func(s *Source) { s.Binaries[testPlatform] = "/nonexistent" }, "/nonexistent"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			source := newSource(t, "acme-mail", "1.2.3", PrivateKey{})
			c.spoil(&source)
			if _, err := Pack(io.Discard, source); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func FuzzManifest(f *testing.F) {
	m := Manifest{Name: "acme-mail", Version: "1.0.0", Protocol: 1, Publisher: "Acme",
		Platforms: map[string]Binary{testPlatform: {binaryPath(testPlatform, "acme-mail"), checksum(nil)}}}
	text, err := m.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"name":"acme-mail","name":"smtp"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := parseManifest(text)
		if err != nil {
			return
		}
		again, err := m.encode()
		if err != nil || !bytes.Equal(again, text) {
			t.Errorf("%q reads as %q (%v)", text, again, err)
		}
	})
}

func FuzzArchive(f *testing.F) {
	m := Manifest{Name: "acme-mail", Version: "1.0.0", Protocol: 1, Publisher: "Acme"}
	executable := f.TempDir() + "/passmend-acme-mail"
	if err := os.WriteFile(executable, []byte("#!/bin/sh\n"), 0o755); err != nil {
		f.Fatal(err)
	}
	var file bytes.Buffer
	source := Source{Manifest: m, Binaries: map[string]string{testPlatform: executable}, Files: map[string][]byte{SchemaFile: []byte("{}")}}
	if _, err := Pack(&file, source); err != nil {
		f.Fatal(err)
	}
	gz, err := gzip.NewReader(&file)
	if err != nil {
		f.Fatal(err)
	}
	archive, err := io.ReadAll(gz)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(archive)
	// Nothing that is changed in the archive, signed or not, gives another content
	// under the same sums.
	f.Fuzz(func(t *testing.T, archive []byte) {
		var binary bytes.Buffer
		b, err := read(bytes.NewReader(compress(t, gzip.Header{OS: 255}, archive)), testPlatform, &binary)
		if err != nil {
			return
		}
		if b.Manifest.Platforms[testPlatform].SHA256 != checksum(binary.Bytes()) {
			t.Error("the executable is not the manifest's")
		}
	})
}
