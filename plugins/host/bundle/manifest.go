package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ManifestFile is the manifest's name, in a bundle and in a vendor's folder.
const ManifestFile = "passmend-plugin.json"

// The limits of a manifest.
const (
	maxManifest  = 64 << 10
	maxPlatforms = 16
	maxHosts     = 32
	maxPorts     = 32
	maxRuntime   = 32
	maxMemory    = 4 << 30
	maxLine      = 200 // of a text for people, in characters
)

// Manifest is what a plugin says of itself before it runs. In a bundle every
// field is complete; in a vendor's folder what Describe tells may be left out.
type Manifest struct {
	// Name is the plugin's: 2 to 32 of a-z, 0-9 and "-".
	Name string `json:"name"`
	// Version is the plugin's, in semantic versioning 2.0.0.
	Version string `json:"version"`
	// Protocol is the newest version of the contract that the plugin speaks.
	Protocol int `json:"protocol"`
	// Publisher is who made it, in the vendor's own words.
	Publisher string `json:"publisher"`
	// KeyID names the key that signed the bundle; empty when nobody did.
	KeyID       string `json:"keyId,omitempty"`
	Description string `json:"description,omitempty"`
	// Homepage is an https URL.
	Homepage string `json:"homepage,omitempty"`
	// License is an SPDX expression.
	License     string      `json:"license,omitempty"`
	Permissions Permissions `json:"permissions"`
	// Runtime lists absolute paths that the process reads and executes beside its
	// own executable: an interpreter and its library.
	Runtime []string `json:"runtime,omitempty"`
	// Platforms holds the executables by "GOOS/GOARCH".
	Platforms map[string]Binary `json:"platforms"`
}

// Permissions is what the plugin asks of the cage; see sdk.Permissions.
type Permissions struct {
	Hosts []string `json:"hosts,omitempty"`
	Ports []uint16 `json:"ports,omitempty"`
	// Memory is in bytes; 0 is the host's default.
	Memory int64 `json:"memory,omitempty"`
}

// Binary is one platform's executable.
type Binary struct {
	// File is bin/GOOS-GOARCH/passmend-NAME.
	File string `json:"file"`
	// SHA256 is in hex.
	SHA256 string `json:"sha256"`
}

var (
	nameForm     = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,30}[a-z0-9]$`)
	platformForm = regexp.MustCompile(`^[a-z0-9]{1,16}/[a-z0-9]{1,16}$`)
	hostForm     = regexp.MustCompile(`^(\*|(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*)$`)
	licenseForm  = regexp.MustCompile(`^[A-Za-z0-9.+() -]{0,100}$`)
	keyIDForm    = regexp.MustCompile(`^([0-9a-f]{16})?$`)
	sha256Form   = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// ValidName says whether a plugin can have this name.
func ValidName(s string) bool { return nameForm.MatchString(s) }

// Executable is the name of a plugin's executable.
func Executable(name string) string { return "passmend-" + name }

// binaryPath is where a bundle holds the executable of a platform.
func binaryPath(platform, name string) string {
	return path.Join("bin", strings.ReplaceAll(platform, "/", "-"), Executable(name))
}

// ReadManifest reads the manifest of a vendor's folder: its fields are known and
// its values are checked when it is packed.
func ReadManifest(file string) (Manifest, error) {
	text, err := readRegular(file, maxManifest)
	if err != nil {
		return Manifest{}, fmt.Errorf("manifest: %w", err)
	}
	var m Manifest
	if err := decodeStrict(text, &m); err != nil {
		return m, fmt.Errorf("manifest %s: %w", file, err)
	}
	return m, nil
}

// parseManifest reads the manifest of a bundle, which has one form only: members
// that come twice, in other letters or in another order are refused with it.
func parseManifest(text []byte) (Manifest, error) {
	var m Manifest
	if err := decodeStrict(text, &m); err != nil {
		return m, err
	}
	if err := m.validate(); err != nil {
		return m, err
	}
	again, err := m.encode()
	if err != nil {
		return m, err
	}
	if !bytes.Equal(again, text) {
		return m, errors.New("not in the form that 'passmend plugin pack' writes")
	}
	return m, nil
}

func (m Manifest) encode() ([]byte, error) { return encodeJSON(m) }

// validate holds a complete manifest against its limits; the error names the field.
func (m Manifest) validate() error {
	switch {
	case !nameForm.MatchString(m.Name):
		return errors.New(`name: must be 2 to 32 of a-z, 0-9 and "-", not at its ends`)
	case !validVersion(m.Version):
		return errors.New("version: must be a semantic version as 1.4.0, of at most 64 bytes")
	case m.Protocol < 1 || m.Protocol > 99:
		return errors.New("protocol: must be 1 to 99")
	case strings.TrimSpace(m.Publisher) == "" || !isLine(m.Publisher):
		return errors.New("publisher: must be one line of 1 to 200 printable characters")
	case !keyIDForm.MatchString(m.KeyID):
		return errors.New("keyId: must be 16 hexadecimal digits, or left out")
	case !isLine(m.Description):
		return errors.New("description: must be one line of at most 200 printable characters")
	case !licenseForm.MatchString(m.License):
		return errors.New("license: must be an SPDX expression as Apache-2.0")
	case !isHomepage(m.Homepage):
		return errors.New("homepage: must be an https URL without user and password")
	case m.Permissions.Memory < 0 || m.Permissions.Memory > maxMemory:
		return errors.New("permissions.memory: must be 0 to 4 GiB, in bytes")
	}
	if err := m.Permissions.validate(); err != nil {
		return err
	}
	if err := validateRuntime(m.Runtime); err != nil {
		return err
	}
	return m.validatePlatforms()
}

func (p Permissions) validate() error {
	if len(p.Hosts) > maxHosts || !ascends(p.Hosts) {
		return fmt.Errorf("permissions.hosts: must be at most %d, in order, each once", maxHosts)
	}
	for _, host := range p.Hosts {
		if len(host) > 253 || !hostForm.MatchString(host) {
			return errors.New(`permissions.hosts: must be host names in lower case, "*.example.com", or "*" for those that settings name`)
		}
	}
	if len(p.Ports) > maxPorts || !ascends(p.Ports) || slices.Contains(p.Ports, 0) {
		return fmt.Errorf("permissions.ports: must be at most %d of 1 to 65535, in order, each once", maxPorts)
	}
	return nil
}

// validateRuntime refuses what would open the cage instead of an interpreter.
func validateRuntime(paths []string) error {
	if len(paths) > maxRuntime || !ascends(paths) {
		return fmt.Errorf("runtime: must be at most %d paths, in order, each once", maxRuntime)
	}
	for _, p := range paths {
		if !path.IsAbs(p) || path.Clean(p) != p || !isLine(p) || p == "/" {
			return errors.New("runtime: must be absolute paths without . and .., and not the root")
		}
		first, _, _ := strings.Cut(p[1:], "/")
		if slices.Contains([]string{"dev", "proc", "run", "sys"}, first) {
			return fmt.Errorf("runtime: must not be in /%s", first)
		}
	}
	return nil
}

func (m Manifest) validatePlatforms() error {
	if len(m.Platforms) == 0 || len(m.Platforms) > maxPlatforms {
		return fmt.Errorf("platforms: must be 1 to %d", maxPlatforms)
	}
	for _, platform := range slices.Sorted(maps.Keys(m.Platforms)) {
		binary := m.Platforms[platform]
		switch {
		case !platformForm.MatchString(platform):
			return errors.New("platforms: must be named GOOS/GOARCH, as linux/amd64")
		case binary.File != binaryPath(platform, m.Name):
			return fmt.Errorf("platforms: the file of %s must be %s", platform, binaryPath(platform, m.Name))
		case !sha256Form.MatchString(binary.SHA256):
			return fmt.Errorf("platforms: the sha256 of %s must be 64 hexadecimal digits", platform)
		}
	}
	return nil
}

func ascends[T string | uint16](list []T) bool {
	for i := range len(list) - 1 {
		if list[i] >= list[i+1] {
			return false
		}
	}
	return true
}

// isLine says that s can be shown on a terminal: no control characters, nothing
// that turns the direction of the text.
func isLine(s string) bool {
	return utf8.ValidString(s) && utf8.RuneCountInString(s) <= maxLine &&
		!strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

func isHomepage(s string) bool {
	if s == "" {
		return true
	}
	parsed, err := url.Parse(s)
	return err == nil && isLine(s) && parsed.Scheme == "https" && parsed.Host != "" && parsed.User == nil
}

// decodeStrict reads one JSON value whose fields are all known, with nothing after it.
func decodeStrict(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value")
	}
	return nil
}

func encodeJSON(value any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return text.Bytes(), nil
}
