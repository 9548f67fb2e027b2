package bundle

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

const (
	sumsFile      = "SHA256SUMS"
	signatureFile = "SHA256SUMS.sig"

	maxSums      = 8 << 10
	maxSignature = 1 << 10
)

// receipt is what proves a bundle's content, and is kept with the pin so that it
// is proved again before every start: the sums and who signed them.
type receipt struct {
	// Sums is SHA256SUMS: a line per file in the archive's order, its SHA-256 in
	// hex, two spaces, its path.
	Sums string `json:"sums"`
	// Signature is SHA256SUMS.sig: the vendor's key on a line, its signature of
	// Sums in base64url on the next; empty when nobody signed.
	Signature string `json:"signature,omitempty"`
}

type sum struct{ path, sha256 string }

// sums takes SHA256SUMS apart; it has one form only.
func (r receipt) sums() ([]sum, error) {
	var sums []sum
	text := r.Sums
	for text != "" {
		line, rest, found := strings.Cut(text, "\n")
		digest, path, separated := strings.Cut(line, "  ")
		if !found || !separated || !sha256Form.MatchString(digest) || path == "" {
			return nil, fmt.Errorf("%s: not lines of a checksum, two spaces and a path", sumsFile)
		}
		sums, text = append(sums, sum{path, digest}), rest
	}
	return sums, nil
}

func formatSums(sums []sum) string {
	var text strings.Builder
	for _, s := range sums {
		text.WriteString(s.sha256 + "  " + s.path + "\n")
	}
	return text.String()
}

func (r *receipt) sign(key PrivateKey) {
	r.Signature = formatSignature(key.Public(), key.sign([]byte(r.Sums)))
}

func formatSignature(key PublicKey, signature []byte) string {
	return key.String() + "\n" + base64.RawURLEncoding.EncodeToString(signature) + "\n"
}

// signer gives the key that signed the sums; no key when nobody did.
func (r receipt) signer() (PublicKey, error) {
	if r.Signature == "" {
		return PublicKey{}, nil
	}
	text, encoded, _ := strings.Cut(r.Signature, "\n")
	key, err := ParsePublicKey(text)
	if err != nil {
		return PublicKey{}, fmt.Errorf("%s: %w", signatureFile, err)
	}
	signature, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimSuffix(encoded, "\n"))
	if err != nil || len(signature) != ed25519.SignatureSize || formatSignature(key, signature) != r.Signature {
		return PublicKey{}, fmt.Errorf("%s: not a key and a signature, a line each", signatureFile)
	}
	if !key.verifies([]byte(r.Sums), signature) {
		return PublicKey{}, fmt.Errorf("%s: %w", signatureFile, ErrBadSignature)
	}
	return key, nil
}

// proves holds a manifest against the receipt and gives who signed: the sums begin
// with the manifest, name its executables with its checksums, and hold nothing
// that a bundle has no place for.
func (r receipt) proves(m Manifest) (PublicKey, error) {
	signer, err := r.signer()
	if err != nil {
		return signer, err
	}
	switch {
	case signer.IsZero() && m.KeyID != "":
		return signer, fmt.Errorf("%w, though the manifest names key %s", ErrUnsigned, m.KeyID)
	case !signer.IsZero() && m.KeyID != signer.ID():
		return signer, fmt.Errorf("%w: the manifest names another key", ErrBadSignature)
	}
	sums, err := r.sums()
	if err != nil {
		return signer, err
	}
	return signer, m.accounts(sums)
}

// accounts says whether sums are those of a bundle with this manifest.
func (m Manifest) accounts(sums []sum) error {
	text, err := m.encode()
	if err != nil {
		return err
	}
	if len(sums) == 0 || sums[0] != (sum{ManifestFile, checksum(text)}) {
		return fmt.Errorf("%s does not begin with this manifest", sumsFile)
	}
	binaries := make(map[string]string, len(m.Platforms))
	for _, binary := range m.Platforms {
		binaries[binary.File] = binary.SHA256
	}
	for i, s := range sums[1:] {
		if i > 0 && sums[i].path >= s.path {
			return fmt.Errorf("%s: paths are not in order, each once", sumsFile)
		}
		want, isBinary := binaries[s.path]
		delete(binaries, s.path)
		switch {
		case isBinary && want != s.sha256:
			return fmt.Errorf("%s and the manifest differ about %s", sumsFile, s.path)
		case !isBinary && fileLimits[s.path] == 0:
			return fmt.Errorf("%s names a file that a bundle has no place for", sumsFile)
		}
	}
	if len(binaries) > 0 {
		return errors.New("an executable that the manifest names is missing")
	}
	return nil
}

func checksum(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
