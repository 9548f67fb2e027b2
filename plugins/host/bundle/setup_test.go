package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"image"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

const testPlatform = "linux/amd64"

var testTime = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func newKey(t *testing.T) PrivateKey {
	t.Helper()
	key, err := NewKeyFile(filepath.Join(t.TempDir(), "vendor.key"))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// newSource is a small plugin of two platforms; its executables hold the version.
func newSource(t *testing.T, name, version string, key PrivateKey) Source {
	t.Helper()
	s := Source{
		Manifest: Manifest{
			Name: name, Version: version, Protocol: 2, Publisher: "Acme Mail", Description: "Hands mail to Acme.",
			Homepage: "https://acme.example/passmend", License: "Apache-2.0",
			Permissions: Permissions{Hosts: []string{"api.acme.example"}, Ports: []uint16{443}, Memory: 64 << 20},
		},
		Binaries: map[string]string{},
		Files: map[string][]byte{
			SchemaFile:       []byte(`{"type":"object"}`),
			InstructionsFile: []byte("# Acme\n"),
			LicenseFile:      []byte("Do as you like.\n"),
			IconFile:         testIcon(t),
		},
		Key: key,
	}
	dir := t.TempDir()
	for _, platform := range []string{testPlatform, "linux/arm64"} {
		path := filepath.Join(dir, filepath.Base(platform))
		if err := os.WriteFile(path, []byte("#!/bin/sh\n# "+platform+" "+version+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		s.Binaries[platform] = path
	}
	return s
}

func testIcon(t *testing.T) []byte {
	t.Helper()
	var icon bytes.Buffer
	if err := png.Encode(&icon, image.NewGray(image.Rect(0, 0, 2, 2))); err != nil {
		t.Fatal(err)
	}
	return icon.Bytes()
}

func pack(t *testing.T, source Source) []byte {
	t.Helper()
	var file bytes.Buffer
	if _, err := Pack(&file, source); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func save(t *testing.T, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "plugin.tar.gz")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// entry is one entry of an archive as anybody may write it.
type entry struct {
	header *tar.Header
	body   []byte
}

func (e *entry) set(body []byte) { e.body, e.header.Size = body, int64(len(body)) }

// forgery is a bundle taken apart, to be put together wrongly.
type forgery struct {
	entries []*entry
	gzip    gzip.Header
	after   []byte // behind the archive's end, compressed
	tail    []byte // behind the compressed data
}

func takeApart(t *testing.T, content []byte) *forgery {
	t.Helper()
	gz, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	f := &forgery{gzip: gzip.Header{OS: 255}}
	for r := tar.NewReader(gz); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return f
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		f.entries = append(f.entries, &entry{header, body})
	}
}

func (f *forgery) entry(name string) *entry {
	return f.entries[slices.IndexFunc(f.entries, func(e *entry) bool { return e.header.Name == name })]
}

func (f *forgery) drop(name string) {
	f.entries = slices.DeleteFunc(f.entries, func(e *entry) bool { return e.header.Name == name })
}

func (f *forgery) add(name string, body []byte) *entry {
	e := &entry{header: &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}}
	e.set(body)
	f.entries = append(f.entries, e)
	return e
}

// resign makes the sums anew of what is there, and signs them: what a hostile
// vendor whose key is trusted can do.
func (f *forgery) resign(key PrivateKey) {
	var sums []sum
	for _, e := range f.entries {
		if e.header.Name != sumsFile && e.header.Name != signatureFile {
			sums = append(sums, sum{e.header.Name, checksum(e.body)})
		}
	}
	r := receipt{Sums: formatSums(sums)}
	r.sign(key)
	f.entry(sumsFile).set([]byte(r.Sums))
	f.entry(signatureFile).set([]byte(r.Signature))
}

func (f *forgery) tar(t *testing.T) []byte {
	t.Helper()
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, e := range f.entries {
		if err := w.WriteHeader(e.header); err != nil {
			t.Fatal(err)
		}
		if e.header.Typeflag != tar.TypeReg {
			continue
		}
		if _, err := w.Write(e.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return archive.Bytes()
}

func (f *forgery) bytes(t *testing.T) []byte {
	t.Helper()
	return append(compress(t, f.gzip, append(f.tar(t), f.after...)), f.tail...)
}

// compressor stores, for speed, and says that it did its best, as Pack does.
type compressor struct {
	gz   *gzip.Writer
	file bytes.Buffer
}

// compress gives a file that is good until the next call.
func (c *compressor) compress(t *testing.T, header gzip.Header, content []byte) []byte {
	t.Helper()
	var err error
	if c.gz == nil {
		if c.gz, err = gzip.NewWriterLevel(&c.file, gzip.NoCompression); err != nil {
			t.Fatal(err)
		}
	}
	c.file.Reset()
	c.gz.Reset(&c.file)
	c.gz.Header = header
	if _, err := c.gz.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := c.gz.Close(); err != nil {
		t.Fatal(err)
	}
	c.file.Bytes()[8] = gzipHeader[8]
	return c.file.Bytes()
}

func compress(t *testing.T, header gzip.Header, content []byte) []byte {
	t.Helper()
	return new(compressor).compress(t, header, content)
}

// newDir is an empty plugin directory.
func newDir(t *testing.T) Dir {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return Dir(dir)
}

func options() Options {
	return Options{Platform: testPlatform, Oldest: 1, Newest: 2, Now: testTime}
}

func trust(t *testing.T, d Dir, key PublicKey, pattern string) {
	t.Helper()
	if err := d.Trust(Trusted{Key: key, For: []string{pattern}, Publisher: "Acme", Added: testTime}); err != nil {
		t.Fatal(err)
	}
}

func install(t *testing.T, d Dir, content []byte, o Options) {
	t.Helper()
	staged, err := d.Stage(save(t, content), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := staged.Install(); err != nil {
		t.Fatal(err)
	}
}

func newVerifier(t *testing.T, config VerifierConfig) *Verifier {
	t.Helper()
	v, err := NewVerifier(config)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
