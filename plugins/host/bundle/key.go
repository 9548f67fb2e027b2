package bundle

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// signatureDomain goes before what is signed, so that a signature made here means
// nothing elsewhere, and none from elsewhere means anything here.
const signatureDomain = "passmend plugin bundle, version 1\x00"

const (
	keyPrefix     = "ed25519:"
	maxKeyFile    = 4 << 10
	privateKeyPEM = "PRIVATE KEY"
)

// PublicKey is a vendor's Ed25519 key. Its text is "ed25519:" and the 32 bytes in
// unpadded base64url. The zero value is no key.
type PublicKey struct{ raw [ed25519.PublicKeySize]byte }

// ParsePublicKey reads the text of a key.
func ParsePublicKey(s string) (PublicKey, error) {
	var key PublicKey
	encoded, found := strings.CutPrefix(s, keyPrefix)
	raw, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	// The decoder skips CR and LF: one text for one key.
	if !found || err != nil || len(raw) != len(key.raw) || base64.RawURLEncoding.EncodeToString(raw) != encoded {
		return key, errors.New(`not a public key: "ed25519:" and 43 characters of base64url`)
	}
	copy(key.raw[:], raw)
	return key, nil
}

// String gives the text that ParsePublicKey reads; empty for no key.
func (k PublicKey) String() string {
	if k.IsZero() {
		return ""
	}
	return keyPrefix + base64.RawURLEncoding.EncodeToString(k.raw[:])
}

// IsZero says that there is no key.
func (k PublicKey) IsZero() bool { return k == PublicKey{} }

// ID is short, for people: the first 8 bytes of the key's SHA-256 in hex. What
// decides is always the whole key.
func (k PublicKey) ID() string {
	sum := sha256.Sum256(k.raw[:])
	return hex.EncodeToString(sum[:8])
}

// MarshalText and UnmarshalText use the key's text.
func (k PublicKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (k *PublicKey) UnmarshalText(text []byte) (err error) {
	*k, err = ParsePublicKey(string(text))
	return err
}

func (k PublicKey) verifies(message, signature []byte) bool {
	return ed25519.Verify(k.raw[:], append([]byte(signatureDomain), message...), signature)
}

// PrivateKey signs a vendor's bundles.
type PrivateKey struct{ key ed25519.PrivateKey }

// Public gives the key that operators trust.
func (k PrivateKey) Public() PublicKey {
	return PublicKey{[ed25519.PublicKeySize]byte(k.key[ed25519.SeedSize:])}
}

// String keeps the key out of logs.
func (PrivateKey) String() string { return "[redacted]" }

// GoString keeps the key out of logs.
func (PrivateKey) GoString() string { return "[redacted]" }

func (k PrivateKey) sign(message []byte) []byte {
	return ed25519.Sign(k.key, append([]byte(signatureDomain), message...))
}

// NewKeyFile makes a key and writes it to path, PKCS #8 in PEM, mode 0600. It
// never overwrites: the error then is fs.ErrExist.
func NewKeyFile(path string) (PrivateKey, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("make key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("make key: %w", err)
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("make key file: %w", err)
	}
	err = pem.Encode(file, &pem.Block{Type: privateKeyPEM, Bytes: der})
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		_ = os.Remove(path) // just made here
		return PrivateKey{}, fmt.Errorf("write key file: %w", err)
	}
	return PrivateKey{private}, syncFolder(path)
}

// ReadKeyFile reads a key that NewKeyFile or openssl genpkey made. A file that
// others can read, or its group can write, is refused.
func ReadKeyFile(path string) (PrivateKey, error) {
	text, err := readGuarded(path, maxKeyFile, 0o026)
	if errors.Is(err, fs.ErrNotExist) {
		return PrivateKey{}, fmt.Errorf("key file (make one with 'passmend plugin key'): %w", err)
	}
	if err != nil {
		return PrivateKey{}, fmt.Errorf("key file: %w", err)
	}
	wrong := fmt.Errorf("key file %s: not an Ed25519 key as PKCS #8 in PEM", path)
	block, rest := pem.Decode(text)
	if block == nil || block.Type != privateKeyPEM || len(strings.TrimSpace(string(rest))) != 0 {
		return PrivateKey{}, wrong
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	private, ok := parsed.(ed25519.PrivateKey)
	if err != nil || !ok {
		return PrivateKey{}, wrong // the parser's error may speak of the content
	}
	return PrivateKey{private}, nil
}
