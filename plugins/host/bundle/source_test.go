package bundle

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/plugins/sdk"
)

const script = "#!/usr/bin/python3\n"

// elfHeader begins an ELF executable of a machine.
func elfHeader(machine uint16) string {
	header := make([]byte, 64)
	copy(header, "\x7fELF\x02\x01\x01")
	binary.LittleEndian.PutUint16(header[16:], 2)
	binary.LittleEndian.PutUint16(header[18:], machine)
	binary.LittleEndian.PutUint32(header[20:], 1)
	binary.LittleEndian.PutUint16(header[52:], 64)
	return string(header)
}

func newFolder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFolderIsReadAsItLies(t *testing.T) {
	t.Parallel()
	const manifest = `{"publisher":"Acme"}`
	for _, c := range []struct {
		name  string
		files map[string]string
		want  map[string]string // executables by platform, in the folder
		err   string
	}{
		{"a script beside the manifest", map[string]string{ManifestFile: manifest, "passmend-x1": script}, map[string]string{"local/local": "passmend-x1"}, ""},
		{"executables by platform", map[string]string{ManifestFile: manifest,
			"bin/linux-amd64/passmend-x1": elfHeader(62), "bin/linux-arm64/passmend-x1": elfHeader(183), "bin/linux-riscv64/passmend-x1": script, "passmend-x1": "not looked at"},
			map[string]string{"linux/amd64": "bin/linux-amd64/passmend-x1", "linux/arm64": "bin/linux-arm64/passmend-x1", "linux/riscv64": "bin/linux-riscv64/passmend-x1"}, ""},
		{"two for one platform", map[string]string{ManifestFile: manifest, "bin/a/passmend-x1": elfHeader(62), "bin/b/passmend-x1": elfHeader(62)}, nil, "both for linux/amd64"},
		{"neither binary nor script", map[string]string{ManifestFile: manifest, "passmend-x1": "hello"}, nil, "neither"},
		{"unknown machine", map[string]string{ManifestFile: manifest, "passmend-x1": elfHeader(9999)}, nil, "neither"},
		{"no executable", map[string]string{ManifestFile: manifest}, nil, "no executable"},
		{"no manifest", map[string]string{"passmend-x1": script}, nil, ManifestFile},
		{"unknown member", map[string]string{ManifestFile: `{"publishers":"Acme"}`, "passmend-x1": script}, nil, "unknown field"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := newFolder(t, c.files)
			source, err := ReadSource(dir, nil, "local/local")
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got %v, want an error with %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := make(map[string]string)
			for platform, path := range source.Binaries {
				if got[platform], err = filepath.Rel(dir, path); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// An operator reads the manifest: it must say what the plugin says.
func TestManifestAgreesWithDescribe(t *testing.T) {
	t.Parallel()
	described := sdk.Description{
		Name: "x1", Version: "1.0.0", SettingsSchema: []byte("{}"),
		Permissions: sdk.Permissions{Hosts: []string{"b.example", "a.example"}, Ports: []uint16{587, 25}, MemoryBytes: 1 << 20},
	}
	want := Manifest{Name: "x1", Version: "1.0.0", Protocol: 2, Publisher: "Acme",
		Permissions: Permissions{Hosts: []string{"a.example", "b.example"}, Ports: []uint16{25, 587}, Memory: 1 << 20}}
	for text, disagrees := range map[string]string{
		`{"publisher":"Acme"}`: "",
		`{"publisher":"Acme","name":"x1","version":"1.0.0","permissions":{"hosts":["b.example","a.example"],"ports":[587,25],"memory":1048576}}`: "",
		`{"publisher":"Acme","name":"x2"}`:                         "name",
		`{"publisher":"Acme","version":"1.0.1"}`:                   "version",
		`{"publisher":"Acme","permissions":{"hosts":[]}}`:          "permissions.hosts",
		`{"publisher":"Acme","permissions":{"ports":[25]}}`:        "permissions.ports",
		`{"publisher":"Acme","permissions":{"memory":1073741824}}`: "permissions.memory",
	} {
		source, err := ReadSource(newFolder(t, map[string]string{ManifestFile: text, "passmend-x1": script}), nil, testPlatform)
		if err != nil {
			t.Fatal(err)
		}
		err = source.Describe(described, 2)
		if disagrees != "" {
			if err == nil || !strings.Contains(err.Error(), disagrees+":") {
				t.Errorf("%s: got %v, want an error about %s", text, err, disagrees)
			}
			continue
		}
		if diff := cmp.Diff(want, source.Manifest); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", text, err, diff)
		}
	}
}
