package keys

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/prf"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// What a sealed value can be told. Neither says which part was wrong.
var (
	// ErrBadSeal: altered, sealed for another account or row, or under a key that
	// the file no longer holds.
	ErrBadSeal = errors.New("sealed value does not open")
	// ErrBadCookie: not a cookie sealed here for this purpose.
	ErrBadCookie = errors.New("cookie does not open")
)

const (
	tagBytes      = 32
	digestBytes   = 32
	limitKeyBytes = 16
	// maxCookieChars bounds what OpenCookie decodes; browsers keep 4,096 bytes.
	maxCookieChars = 4096
)

// The domains that keep one use of a key from serving another.
const (
	domainDigest = "passmend digest"
	domainLimit  = "passmend limit"
	domainSeal   = "passmend seal"
	domainPepper = "passmend pepper"
	domainCookie = "passmend cookie"
)

// Keys is an open keys file. It is safe for many goroutines and never changes.
type Keys struct {
	token, digest, limit prf.Set
	seal, pepper, cookie tink.AEAD
	pepperID             uint32
}

var (
	_ core.LinkKeys = (*Keys)(nil)
	_ core.Sealer   = (*Keys)(nil)
	_ core.Digester = (*Keys)(nil)
)

// Open reads a keys file. It is refused, with ErrBadFile, when others can read or
// write it, when its group can write it, when it is not a regular file, and when a
// slot is missing, unknown or of another kind; the error names the file, the slot
// and the remedy. A file that is not there is fs.ErrNotExist.
func Open(path string) (*Keys, error) {
	content, _, err := readFile(path)
	if err != nil {
		return nil, err
	}
	k := &Keys{pepperID: content.slots[SlotPepper].KeysetInfo().GetPrimaryKeyId()}
	for slot, set := range map[string]*prf.Set{SlotToken: &k.token, SlotDigest: &k.digest, SlotLimit: &k.limit} {
		made, err := prf.NewPRFSet(content.slots[slot])
		if err != nil {
			return nil, refuse(path, fmt.Sprintf("slot %q has no usable keys: restore the file from its backup", slot))
		}
		*set = *made
	}
	for slot, sealer := range map[string]*tink.AEAD{SlotSeal: &k.seal, SlotPepper: &k.pepper, SlotCookie: &k.cookie} {
		if *sealer, err = aead.New(content.slots[slot]); err != nil {
			return nil, refuse(path, fmt.Sprintf("slot %q has no usable keys: restore the file from its backup", slot))
		}
	}
	return k, nil
}

// PrimaryLinkKey names the key that new links are made with.
func (k *Keys) PrimaryLinkKey() core.KeyID { return core.KeyID(k.token.PrimaryID) }

// LinkTag is HMAC-SHA-256 of input under the token key, all 32 bytes.
// core.ErrUnknownKey when the file does not hold the key, or holds it disabled.
func (k *Keys) LinkTag(id core.KeyID, input []byte) ([]byte, error) {
	function, ok := k.token.PRFs[uint32(id)]
	if !ok {
		return nil, fmt.Errorf("token key %d: %w", id, core.ErrUnknownKey)
	}
	tag, err := function.ComputePRF(input, tagBytes)
	if err != nil {
		return nil, fmt.Errorf("link tag: %w", err)
	}
	return tag, nil
}

// Digest gives 32 bytes that say whether two values of one account and scope are
// the same, and nothing else to those without the key. Scope is a constant of the
// caller's. After a rotation of the slot the same value has another digest.
func (k *Keys) Digest(scope string, account tenants.AccountID, value []byte) []byte {
	return compute(k.digest, bind(domainDigest, scope, string(account), string(value)), digestBytes)
}

// LimitKey gives the 16 bytes under which a limit counts a value (threats.md,
// Abuse limits). It is the same for every account: put the account into value
// where a limit is an account's own.
func (k *Keys) LimitKey(scope string, value []byte) []byte {
	return compute(k.limit, bind(domainLimit, scope, string(value)), limitKeyBytes)
}

func compute(set prf.Set, input []byte, size uint32) []byte {
	output, err := set.ComputePrimaryPRF(input, size)
	if err != nil {
		// HMAC-SHA-256 fails only for more than 32 bytes, and Open has seen the key.
		panic("keys: " + err.Error())
	}
	return output
}

// Seal encrypts plaintext for one row of one account (or of the platform, with no
// account). The result is 33 bytes longer and differs each time.
func (k *Keys) Seal(account tenants.AccountID, id string, plaintext []byte) ([]byte, error) {
	sealed, err := k.seal.Encrypt(plaintext, bind(domainSeal, string(account), id))
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return sealed, nil
}

// Open gives what was sealed for the same account and id; ErrBadSeal.
func (k *Keys) Open(account tenants.AccountID, id string, sealed []byte) ([]byte, error) {
	plaintext, err := k.seal.Decrypt(sealed, bind(domainSeal, string(account), id))
	if err != nil {
		return nil, ErrBadSeal
	}
	return plaintext, nil
}

// SealCookie gives a cookie value (base64url, no padding): 4/3 of the plaintext
// and 44 characters; a browser keeps 4,096 bytes with name and attributes. Purpose
// is a constant of the caller's. How long the cookie serves is the plaintext's to say.
func (k *Keys) SealCookie(purpose string, plaintext []byte) (string, error) {
	sealed, err := k.cookie.Encrypt(plaintext, bind(domainCookie, purpose))
	if err != nil {
		return "", fmt.Errorf("seal cookie: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(sealed), nil
}

// OpenCookie gives what was sealed for the same purpose; ErrBadCookie.
func (k *Keys) OpenCookie(purpose, value string) ([]byte, error) {
	// Go's decoder skips CR and LF even when strict: one cookie, one spelling.
	if len(value) > maxCookieChars || strings.ContainsAny(value, "\r\n") {
		return nil, ErrBadCookie
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(value)
	if err != nil {
		return nil, ErrBadCookie
	}
	plaintext, err := k.cookie.Decrypt(sealed, bind(domainCookie, purpose))
	if err != nil {
		return nil, ErrBadCookie
	}
	return plaintext, nil
}

// sealHash and openHash put the pepper round a password hash, bound to its user.
func (k *Keys) sealHash(account tenants.AccountID, user core.UserID, phc string) ([]byte, error) {
	sealed, err := k.pepper.Encrypt([]byte(phc), bind(domainPepper, string(account), string(user)))
	if err != nil {
		return nil, fmt.Errorf("seal password hash: %w", err)
	}
	return sealed, nil
}

func (k *Keys) openHash(account tenants.AccountID, user core.UserID, sealed []byte) (string, error) {
	phc, err := k.pepper.Decrypt(sealed, bind(domainPepper, string(account), string(user)))
	if err != nil {
		return "", ErrBadSeal
	}
	return string(phc), nil
}

// primaryPepper says whether a sealed hash names the current pepper key: Tink puts
// 0x01 and the key's id, big-endian, in front.
func (k *Keys) primaryPepper(sealed []byte) bool {
	return len(sealed) > 5 && sealed[0] == 1 && binary.BigEndian.Uint32(sealed[1:]) == k.pepperID
}

// bind joins parts so that no two lists of parts give the same bytes.
func bind(domain string, parts ...string) []byte {
	bound := appendPart(nil, domain)
	for _, part := range parts {
		bound = appendPart(bound, part)
	}
	return bound
}

func appendPart(to []byte, part string) []byte {
	return append(binary.BigEndian.AppendUint32(to, uint32(len(part))), part...)
}

// Format, String, LogValue and MarshalText keep key bytes out of every log: fmt
// would print the unexported fields.
func (Keys) Format(f fmt.State, _ rune)   { _, _ = f.Write([]byte("[redacted]")) }
func (Keys) String() string               { return "[redacted]" }
func (Keys) LogValue() slog.Value         { return slog.StringValue("[redacted]") }
func (Keys) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }
