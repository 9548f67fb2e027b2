package main

import (
	"archive/tar"
	"bytes"
	"crypto/x509"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// hello is a static Go program for linux/amd64, in place of each command.
var hello = sync.OnceValues(func() ([]byte, error) { return compile("amd64") })

func compile(arch string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "passmend-image-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "hello")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", path, "./testdata/hello")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if output, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, output)
	}
	return os.ReadFile(path)
}

// setup gives a build whose commands are all hello.
func setup(t *testing.T) build {
	t.Helper()
	program, err := hello()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	b := build{
		binaries: filepath.Join(dir, "binaries"), layout: filepath.Join(dir, "layout"), license: filepath.Join(dir, "LICENSE"),
		platforms: []string{"linux/amd64"}, version: "1.2.3", revision: "0123456789ab", time: time.Unix(1_700_000_000, 0).UTC(),
	}
	write(t, b.license, []byte("the licence\n"))
	for _, name := range commands {
		write(t, filepath.Join(b.binaries, "linux-amd64", name), program)
	}
	return b
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o755); err != nil {
		t.Fatal(err)
	}
}

// built runs a build and gives the index of its images, and what refers to them.
func built(t *testing.T, b build) (v1.Hash, v1.ImageIndex, []v1.Image) {
	t.Helper()
	digest, err := b.run()
	if err != nil {
		t.Fatal(err)
	}
	all, err := layout.ImageIndexFromPath(b.layout)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := all.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	index, err := all.ImageIndex(digest)
	if err != nil {
		t.Fatal(err)
	}
	var notes []v1.Image
	for _, m := range manifest.Manifests[1:] {
		note, err := all.Image(m.Digest)
		if err != nil {
			t.Fatal(err)
		}
		notes = append(notes, note)
	}
	return digest, index, notes
}

func only(t *testing.T, index v1.ImageIndex) v1.Image {
	t.Helper()
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 {
		t.Fatalf("%v, %v", manifest, err)
	}
	image, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func TestTheImageHoldsWhatItNeedsAndNothingElse(t *testing.T) {
	t.Parallel()
	_, index, _ := built(t, setup(t))
	if err := validate.Index(index); err != nil {
		t.Fatal(err)
	}
	image := only(t, index)
	var got []string
	certificates := files(t, image, func(h *tar.Header) {
		kind := map[byte]string{tar.TypeReg: "-", tar.TypeDir: "d"}[h.Typeflag]
		got = append(got, fmt.Sprintf("%s%04o %d:%d %s", kind, h.Mode, h.Uid, h.Gid, h.Name))
		if !h.ModTime.Equal(time.Unix(1_700_000_000, 0)) {
			t.Errorf("%s is of %s", h.Name, h.ModTime)
		}
	})["etc/ssl/certs/ca-certificates.crt"]
	slices.SortFunc(got, func(a, b string) int { return strings.Compare(strings.Fields(a)[2], strings.Fields(b)[2]) })
	want := []string{
		"d0755 0:0 etc", "-0644 0:0 etc/group", "-0644 0:0 etc/passwd", "d0755 0:0 etc/ssl", "d0755 0:0 etc/ssl/certs",
		"-0644 0:0 etc/ssl/certs/ca-certificates.crt", "d1777 0:0 tmp", "d0755 0:0 usr", "d0755 0:0 usr/local",
		"d0755 0:0 usr/local/bin", "-0755 0:0 usr/local/bin/passmend", "-0755 0:0 usr/local/bin/passmend-postmark",
		"-0755 0:0 usr/local/bin/passmend-smtp", "-0755 0:0 usr/local/bin/passmend-webhook", "d0755 0:0 usr/share",
		"d0755 0:0 usr/share/doc", "d0755 0:0 usr/share/doc/passmend", "-0644 0:0 usr/share/doc/passmend/LICENSE",
		"d0755 0:0 var", "d0755 0:0 var/lib", "d0700 65532:65532 var/lib/passmend",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if pool := x509.NewCertPool(); !pool.AppendCertsFromPEM(certificates) || bytes.Count(certificates, []byte("BEGIN")) < 50 {
		t.Errorf("there are %d authorities", bytes.Count(certificates, []byte("BEGIN")))
	}
}

// files reads the flattened image.
func files(t *testing.T, image v1.Image, each func(h *tar.Header)) map[string][]byte {
	t.Helper()
	flat := mutate.Extract(image)
	defer flat.Close()
	contents := make(map[string][]byte)
	seen := make(map[string]bool)
	for r := tar.NewReader(flat); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return contents
		}
		if err != nil {
			t.Fatal(err)
		}
		if contents[header.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
		if !seen[header.Name] {
			each(header)
		}
		seen[header.Name] = true
	}
}

func TestTheImageRunsAsNobody(t *testing.T) {
	t.Parallel()
	_, index, _ := built(t, setup(t))
	file, err := only(t, index).ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if file.OS != "linux" || file.Architecture != "amd64" {
		t.Errorf("it is for %s/%s", file.OS, file.Architecture)
	}
	want := v1.Config{
		User: "65532:65532", Entrypoint: []string{"/usr/local/bin/passmend"}, Cmd: []string{"serve"}, WorkingDir: "/var/lib/passmend",
		Env:          []string{"PATH=/usr/local/bin", "PASSMEND_DATA_DIR=/var/lib/passmend", "PASSMEND_HTTP_ADDR=:8080", "PASSMEND_ADMIN_ADDR=:9090"},
		ExposedPorts: map[string]struct{}{"8080/tcp": {}, "9090/tcp": {}},
		Labels: map[string]string{
			"org.opencontainers.image.title": "passmend", "org.opencontainers.image.version": "1.2.3", "org.opencontainers.image.revision": "0123456789ab",
			"org.opencontainers.image.source": source, "org.opencontainers.image.licenses": "Apache-2.0", "org.opencontainers.image.created": "2023-11-14T22:13:20Z",
		},
	}
	if diff := cmp.Diff(want, file.Config); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}

func TestTheSameInputGivesTheSameImage(t *testing.T) {
	t.Parallel()
	first := setup(t)
	second := setup(t)
	digest, _, _ := built(t, first)
	if again, _, _ := built(t, second); again != digest {
		t.Errorf("%s, then %s", digest, again)
	}
	if again, _, _ := built(t, first); again != digest { // over the layout that is there
		t.Errorf("%s, then %s", digest, again)
	}
	second.version = "1.2.4"
	if other, _, _ := built(t, second); other == digest {
		t.Error("another version is the same image")
	}
}

func TestSBOMAndProvenanceReferToTheImage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, index, notes := built(t, b)
	digest, err := only(t, index).Digest()
	if err != nil {
		t.Fatal(err)
	}
	texts := make(map[string][]byte)
	for _, note := range notes {
		if err := validate.Image(note, validate.Fast); err != nil {
			t.Error(err)
		}
		manifest, err := note.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		if manifest.Subject == nil || manifest.Subject.Digest != digest {
			t.Errorf("its subject is %v", manifest.Subject)
		}
		layers, err := note.Layers()
		if err != nil || len(layers) != 1 {
			t.Fatalf("%v, %v", layers, err)
		}
		text, err := layers[0].Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		if texts[string(manifest.Config.MediaType)], err = io.ReadAll(text); err != nil {
			t.Fatal(err)
		}
	}
	beside, err := os.ReadFile(b.layout + "-linux-amd64.spdx.json")
	if err != nil || !bytes.Equal(beside, texts["application/spdx+json"]) {
		t.Errorf("the file beside the layout is another: %v", err)
	}
	var bom document
	if err := json.Unmarshal(beside, &bom); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range bom.Packages {
		names = append(names, p.Name)
	}
	if diff := cmp.Diff([]string{"passmend", "passmend", "passmend-postmark", "passmend-smtp", "passmend-webhook", "github.com/google/go-cmp", "stdlib"}, names); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
	if got := bom.Packages[5].References[0].Locator; got != "pkg:golang/github.com/google/go-cmp@v0.7.0" {
		t.Errorf("the module is %s", got)
	}
	if bom.Packages[0].Checksums[0].Value != digest.Hex {
		t.Error("it is of another image")
	}
	known := map[string]bool{"SPDXRef-DOCUMENT": true}
	for _, p := range bom.Packages {
		known[p.ID] = true
	}
	for _, r := range bom.Relationships {
		if !known[r.From] || !known[r.To] {
			t.Errorf("%v names what is not there", r)
		}
	}
	var s statement
	if err := json.Unmarshal(texts["application/vnd.in-toto+json"], &s); err != nil {
		t.Fatal(err)
	}
	if s.Subject[0].Digest["sha256"] != digest.Hex || s.Predicate.Definition.Dependencies[0].Digest["gitCommit"] != "0123456789ab" || s.Predicate.Definition.Internal["CGO_ENABLED"] != "0" {
		t.Errorf("provenance: %+v", s)
	}
}

func TestABinaryThatCannotRunThereIsRefused(t *testing.T) {
	t.Parallel()
	program, err := hello()
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := compile("arm64")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		content []byte
		says    string
	}{
		"a script":              {[]byte("#!/bin/sh\n"), "is not a Go program"},
		"another architecture":  {foreign, "is built for linux/arm64"},
		"C may be needed":       {bytes.Replace(program, []byte("CGO_ENABLED=0"), []byte("CGO_ENABLED=1"), -1), "is not built with CGO_ENABLED=0"},
		"a loader is asked for": {withInterpreter(t, program), "is linked dynamically"},
	} {
		b := setup(t)
		write(t, filepath.Join(b.binaries, "linux-amd64", "passmend-smtp"), c.content)
		if _, err := b.run(); err == nil || !strings.Contains(err.Error(), "passmend-smtp: "+c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	b := setup(t)
	if err := os.Remove(filepath.Join(b.binaries, "linux-amd64", "passmend-webhook")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.run(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing binary: %v", err)
	}
}

// withInterpreter turns a note of the program into the name of a loader.
func withInterpreter(t *testing.T, program []byte) []byte {
	t.Helper()
	program = bytes.Clone(program)
	var header elf.Header64
	if err := binary.Read(bytes.NewReader(program), binary.LittleEndian, &header); err != nil {
		t.Fatal(err)
	}
	for i := range uint64(header.Phnum) {
		kind := program[header.Phoff+i*uint64(header.Phentsize):]
		if elf.ProgType(binary.LittleEndian.Uint32(kind)) == elf.PT_NOTE {
			binary.LittleEndian.PutUint32(kind, uint32(elf.PT_INTERP))
			return program
		}
	}
	t.Fatal("the program has no note")
	return nil
}

func TestAFolderOfOthersIsLeftAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kept := filepath.Join(b.layout, "kept")
	write(t, kept, []byte("mine"))
	if _, err := b.run(); err == nil {
		t.Error("it was written to")
	}
	if _, err := os.Stat(kept); err != nil {
		t.Error(err)
	}
}

func TestPlatformsAreNamedInFull(t *testing.T) {
	t.Parallel()
	for _, platform := range []string{"", "amd64", "linux/", "darwin/arm64"} {
		b := setup(t)
		b.platforms = []string{platform}
		if _, err := b.run(); err == nil {
			t.Errorf("%q came through", platform)
		}
	}
}

// There are two ways to one image: what the Dockerfile says of it is what is built
// here.
func TestTheDockerfileMakesTheSameImage(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	_, index, _ := built(t, setup(t))
	file, err := only(t, index).ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c := file.Config
	for _, line := range []string{
		"FROM scratch\n",
		"ENV " + strings.Join(c.Env, " ") + "\n",
		"WORKDIR " + c.WorkingDir + "\n",
		"USER " + c.User + "\n",
		"EXPOSE 8080 9090\n",
		fmt.Sprintf("ENTRYPOINT [%q]\n", c.Entrypoint[0]),
		fmt.Sprintf("CMD [%q]\n", c.Cmd[0]),
		"cp bin/" + strings.Join(commands, " bin/") + " /ground" + binDir + "/",
	} {
		if !strings.Contains(string(text), line) {
			t.Errorf("it does not say %q", line)
		}
	}
	for name, content := range files(t, only(t, index), func(*tar.Header) {}) {
		if name == "etc/passwd" || name == "etc/group" {
			if quoted := strings.ReplaceAll(string(content), "\n", `\n`); !strings.Contains(string(text), quoted) {
				t.Errorf("its %s is not %q", name, quoted)
			}
		}
	}
}
