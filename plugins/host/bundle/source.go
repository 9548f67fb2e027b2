package bundle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/passmend/passmend/plugins/sdk"
)

// ReadSource reads a vendor's folder: the manifest, the small files, and, unless
// they are given, the executables: bin/*/passmend-*, bin/passmend-* or passmend-*,
// the first of these that finds any. Local is this machine's platform.
func ReadSource(dir string, executables []string, local string) (Source, error) {
	m, err := ReadManifest(filepath.Join(dir, ManifestFile))
	if err != nil {
		return Source{}, err
	}
	s := Source{Manifest: m, Binaries: make(map[string]string), Files: make(map[string][]byte)}
	for _, pattern := range []string{"bin/*/passmend-*", "bin/passmend-*", "passmend-*"} {
		if len(executables) > 0 {
			break
		}
		if executables, err = findExecutables(filepath.Join(dir, pattern)); err != nil {
			return s, err
		}
	}
	if len(executables) == 0 {
		return s, fmt.Errorf("%s: no executable passmend-NAME, nor in bin/GOOS-GOARCH", dir)
	}
	for _, path := range executables {
		platform, err := PlatformOf(path, local)
		if err != nil {
			return s, err
		}
		if other, twice := s.Binaries[platform]; twice {
			return s, fmt.Errorf("%s and %s are both for %s", other, path, platform)
		}
		s.Binaries[platform] = path
	}
	for name, limit := range fileLimits {
		if name == SchemaFile {
			continue // the plugin itself gives it
		}
		content, err := readRegular(filepath.Join(dir, name), limit)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return s, err
		}
		s.Files[name] = content
	}
	return s, nil
}

func findExecutables(pattern string) ([]string, error) {
	found, err := filepath.Glob(pattern)
	return slices.DeleteFunc(found, func(path string) bool {
		name, _ := strings.CutPrefix(filepath.Base(path), Executable(""))
		info, err := os.Stat(path)
		return !ValidName(name) || err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0
	}), err
}

// Describe completes a source with what the plugin says of itself. Where the
// manifest says something else, it is an error: an operator reads the manifest.
func (s *Source) Describe(d sdk.Description, protocol int) error {
	described := Permissions{
		Hosts: slices.Sorted(slices.Values(d.Permissions.Hosts)), Ports: slices.Sorted(slices.Values(d.Permissions.Ports)),
		Memory: d.Permissions.MemoryBytes,
	}
	m := &s.Manifest
	slices.Sort(m.Permissions.Hosts)
	slices.Sort(m.Permissions.Ports)
	slices.Sort(m.Runtime)
	for _, field := range []struct {
		name string
		says bool
		same bool
	}{
		{"name", m.Name != "", m.Name == d.Name},
		{"version", m.Version != "", m.Version == d.Version},
		{"permissions.hosts", m.Permissions.Hosts != nil, slices.Equal(m.Permissions.Hosts, described.Hosts)},
		{"permissions.ports", m.Permissions.Ports != nil, slices.Equal(m.Permissions.Ports, described.Ports)},
		{"permissions.memory", m.Permissions.Memory != 0, m.Permissions.Memory == described.Memory},
	} {
		if field.says && !field.same {
			return fmt.Errorf("manifest: %s: not what the plugin's Describe says; leave it out, and Describe's is taken", field.name)
		}
	}
	m.Name, m.Version, m.Permissions = d.Name, d.Version, described
	if m.Protocol == 0 {
		m.Protocol = protocol
	}
	s.Files[SchemaFile] = d.SettingsSchema
	return nil
}
