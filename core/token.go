package core

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/passmend/passmend/tenants"
)

// A reset token is 32 bytes, 43 characters of base64url:
//
//	version 1 | selector 8 | tag 23
//
// The tag is the head of an HMAC-SHA-256 under the token key, over an input of
// fixed length. Nothing of it is stored: every attempt computes it again from
// the seed in the row, and neither the row nor the key makes one alone.
const (
	tokenVersion = 0x01
	tokenBytes   = 32
	tokenChars   = 43
	tagBytes     = 23

	tokenDomain = "passmend reset token"
)

// resetToken is a token taken apart.
type resetToken struct {
	Selector Selector
	Tag      [tagBytes]byte
}

// parseToken is strict: exactly 43 characters of the base64url alphabet, the last
// of them with no stray bits, and the known version. The alphabet is checked
// first because Go's decoder skips CR and LF even in strict mode.
func parseToken(raw tenants.Secret) (resetToken, bool) {
	text := raw.Reveal()
	if len(text) != tokenChars || strings.ContainsFunc(text, notBase64URL) {
		return resetToken{}, false
	}
	bytes, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(bytes) != tokenBytes || bytes[0] != tokenVersion {
		return resetToken{}, false
	}
	return resetToken{Selector: Selector(bytes[1:9]), Tag: [tagBytes]byte(bytes[9:])}, true
}

func notBase64URL(r rune) bool {
	return !('A' <= r && r <= 'Z' || 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-' || r == '_')
}

// mintToken computes the token of a link for a user as it is now.
func mintToken(keys LinkKeys, user User, link LinkSeed) (tenants.Secret, error) {
	tag, err := linkTag(keys, user, link)
	if err != nil {
		return tenants.Secret{}, err
	}
	raw := make([]byte, 0, tokenBytes)
	raw = append(raw, tokenVersion)
	raw = append(raw, link.Selector[:]...)
	raw = append(raw, tag[:]...)
	return tenants.NewSecret(base64.RawURLEncoding.EncodeToString(raw)), nil
}

// proves says whether the token is the one that mintToken would give, in a time
// that does not depend on where it differs.
func (t resetToken) proves(keys LinkKeys, user User, link LinkSeed) (bool, error) {
	tag, err := linkTag(keys, user, link)
	if err != nil {
		return false, err
	}
	return hmac.Equal(t.Tag[:], tag[:]), nil
}

// linkTag binds the link to everything that must stay as it was: account, user,
// address, credential version. Every part has a fixed length, so that no two
// inputs run into each other.
func linkTag(keys LinkKeys, user User, link LinkSeed) (tag [tagBytes]byte, err error) {
	account, err := uuidBytes(string(user.Account))
	if err != nil {
		return tag, fmt.Errorf("link tag: account: %w", err)
	}
	id, err := uuidBytes(string(user.ID))
	if err != nil {
		return tag, fmt.Errorf("link tag: user: %w", err)
	}
	address := sha256.Sum256([]byte(user.Address.Reveal()))
	input := make([]byte, 0, len(tokenDomain)+1+8+16+16+16+8+32)
	input = append(input, tokenDomain...)
	input = append(input, tokenVersion)
	input = append(input, link.Selector[:]...)
	input = append(input, account...)
	input = append(input, id...)
	input = append(input, link.Seed[:]...)
	input = binary.BigEndian.AppendUint64(input, uint64(link.CredentialVersion))
	input = append(input, address[:]...)
	full, err := keys.LinkTag(link.Key, input)
	if err != nil {
		return tag, fmt.Errorf("link tag: %w", err)
	}
	copy(tag[:], full)
	return tag, nil
}

func uuidBytes(id string) ([]byte, error) {
	raw, err := hex.DecodeString(strings.ReplaceAll(id, "-", ""))
	if err != nil || len(raw) != 16 {
		return nil, fmt.Errorf("not a UUID")
	}
	return raw, nil
}
