package bundle

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxBundle bounds the file that a vendor ships, in bytes. What may come out of it
// is bounded entry by entry; one executable at most reaches the disk.
const maxBundle = 256 << 20

// Bundle is a file that was read to its end and is whole: everything in it is as
// its sums say, and the sums are what Signer signed. Whether Signer is trusted is
// not its to say.
type Bundle struct {
	Manifest Manifest
	// Signer is the vendor's key; zero when nobody signed.
	Signer PublicKey
	// Files are the small files by their names.
	Files map[string][]byte

	receipt receipt
}

// Open reads a bundle. The executable for platform goes to binary as it is read;
// what went there is worth something only when Open returns no error. With an
// empty platform no executable is given. Errors wrap ErrBadBundle unless the file
// itself cannot be read.
func Open(path, platform string, binary io.Writer) (*Bundle, error) {
	file, _, err := openRegular(path, maxBundle)
	if err != nil {
		return nil, fmt.Errorf("open bundle: %w", err)
	}
	defer func() { _ = file.Close() }() // it was only read
	return read(file, platform, binary)
}

func read(file io.Reader, platform string, binary io.Writer) (*Bundle, error) {
	archive, err := newArchiveReader(io.LimitReader(file, maxBundle))
	if err != nil {
		return nil, bad("%w", err)
	}
	b := &Bundle{Files: make(map[string][]byte)}
	if err := b.readHead(archive); err != nil {
		return nil, bad("%w", err)
	}
	if _, offered := b.Manifest.Platforms[platform]; platform != "" && !offered {
		return nil, fmt.Errorf("%s %s has no executable for %s; it has %s",
			b.Manifest.Name, b.Manifest.Version, platform, strings.Join(b.Manifest.platforms(), ", "))
	}
	if err := b.readBody(archive, platform, binary); err != nil {
		return nil, bad("%w", err)
	}
	return b, nil
}

// readHead reads sums, signature and manifest and holds them against one another,
// before anything large is looked at.
func (b *Bundle) readHead(archive *archiveReader) error {
	sums, err := archive.read(sumsFile, maxSums)
	if err != nil {
		return err
	}
	b.receipt.Sums = string(sums)
	if archive.name == signatureFile {
		signature, err := archive.read(signatureFile, maxSignature)
		if err != nil {
			return err
		}
		b.receipt.Signature = string(signature)
		if len(signature) == 0 {
			return fmt.Errorf("%s is empty", signatureFile)
		}
	}
	text, err := archive.read(ManifestFile, maxManifest)
	if err != nil {
		return err
	}
	if b.Manifest, err = parseManifest(text); err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	b.Signer, err = b.receipt.proves(b.Manifest)
	return err
}

// readBody reads the entries that the sums announce, one by one.
func (b *Bundle) readBody(archive *archiveReader, platform string, binary io.Writer) error {
	sums, err := b.receipt.sums()
	if err != nil {
		return err
	}
	for _, s := range sums[1:] {
		hash := sha256.New()
		if limit, small := fileLimits[s.path]; small {
			content, err := archive.read(s.path, limit)
			if err != nil {
				return err
			}
			hash.Write(content)
			b.Files[s.path] = content
		} else {
			to := io.Writer(hash)
			if platform != "" && s.path == b.Manifest.Platforms[platform].File {
				to = io.MultiWriter(hash, binary)
			}
			if err := archive.copy(s.path, maxBinary, to); err != nil {
				return err
			}
		}
		if hex.EncodeToString(hash.Sum(nil)) != s.sha256 {
			return fmt.Errorf("%s is not what %s says", s.path, sumsFile)
		}
	}
	if !archive.ends {
		return errors.New("an entry is not in " + sumsFile)
	}
	return b.Manifest.checkFiles(b.Files)
}
