package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// maxBinary bounds an executable, in bytes.
const maxBinary = 64 << 20

// Source is what Pack makes a bundle of.
type Source struct {
	// Manifest is complete but for KeyID and Platforms, which Pack fills in.
	Manifest Manifest
	// Binaries are the paths of the executables by platform.
	Binaries map[string]string
	// Files are the small files by their names; SchemaFile is needed.
	Files map[string][]byte
	// Key signs; the zero value leaves the bundle unsigned.
	Key PrivateKey
}

// part is one entry to be written.
type part struct {
	sum
	size int64
	path string // of an executable; else content
	text []byte
}

// Pack writes a bundle and gives its manifest as written. The same source gives
// the same bytes.
func Pack(w io.Writer, source Source) (Manifest, error) {
	m := source.Manifest
	m.KeyID, m.Platforms = "", make(map[string]Binary, len(source.Binaries))
	if source.Key.key != nil {
		m.KeyID = source.Key.Public().ID()
	}
	parts, err := source.parts(&m)
	if err != nil {
		return m, fmt.Errorf("pack: %w", err)
	}
	if err := write(w, parts, source.Key); err != nil {
		return m, fmt.Errorf("pack: %w", err)
	}
	return m, nil
}

// parts gives the entries behind the sums, in order, and completes the manifest.
func (s Source) parts(m *Manifest) ([]part, error) {
	var parts []part
	for platform, file := range s.Binaries {
		p := part{sum: sum{path: binaryPath(platform, m.Name)}, path: file}
		var err error
		if p.sha256, p.size, err = checksumFile(file); err != nil {
			return nil, err
		}
		m.Platforms[platform] = Binary{File: p.sum.path, SHA256: p.sha256}
		parts = append(parts, p)
	}
	if err := m.validate(); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if err := m.checkFiles(s.Files); err != nil {
		return nil, err
	}
	for name, text := range s.Files {
		if fileLimits[name] == 0 {
			return nil, fmt.Errorf("%s: a bundle has no place for it", name)
		}
		parts = append(parts, textPart(name, text))
	}
	slices.SortFunc(parts, func(a, b part) int { return strings.Compare(a.sum.path, b.sum.path) })
	text, err := m.encode()
	if err != nil {
		return nil, err
	}
	if len(text) > maxManifest {
		return nil, fmt.Errorf("manifest: longer than %d bytes", maxManifest)
	}
	return slices.Insert(parts, 0, textPart(ManifestFile, text)), nil
}

func textPart(name string, text []byte) part {
	return part{sum: sum{name, checksum(text)}, size: int64(len(text)), text: text}
}

func write(w io.Writer, parts []part, key PrivateKey) error {
	archive, err := newArchiveWriter(w)
	if err != nil {
		return err
	}
	sums := make([]sum, len(parts))
	for i, p := range parts {
		sums[i] = p.sum
	}
	proof := receipt{Sums: formatSums(sums)}
	head := []part{textPart(sumsFile, []byte(proof.Sums))}
	if key.key != nil {
		proof.sign(key)
		head = append(head, textPart(signatureFile, []byte(proof.Signature)))
	}
	for _, p := range append(head, parts...) {
		if err := p.write(archive); err != nil {
			return err
		}
	}
	return archive.close()
}

func (p part) write(archive *archiveWriter) error {
	if p.path == "" {
		return archive.add(p.sum.path, p.size, bytes.NewReader(p.text))
	}
	file, _, err := openRegular(p.path, maxBinary)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // it was only read
	hash := sha256.New()
	if err := archive.add(p.sum.path, p.size, io.TeeReader(file, hash)); err != nil {
		return err
	}
	if hex.EncodeToString(hash.Sum(nil)) != p.sha256 {
		return fmt.Errorf("%s: changed while it was packed", p.path)
	}
	return nil
}

func checksumFile(path string) (digest string, size int64, err error) {
	file, _, err := openRegular(path, maxBinary)
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = file.Close() }() // it was only read
	hash := sha256.New()
	size, err = io.Copy(hash, io.LimitReader(file, maxBinary+1))
	if err == nil && size > maxBinary {
		err = errors.New("it grows")
	}
	if err != nil {
		return "", 0, fmt.Errorf("%s: %w", path, err)
	}
	return hex.EncodeToString(hash.Sum(nil)), size, nil
}

// platforms gives the platforms of a manifest in order.
func (m Manifest) platforms() []string { return slices.Sorted(maps.Keys(m.Platforms)) }
