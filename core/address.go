package core

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"

	"github.com/passmend/passmend/tenants"
)

// MaxAddressBytes is the longest canonical address that can belong to a user:
// 64 of local part, "@", 255 of domain (RFC 5321, section 4.5.3.1).
const MaxAddressBytes = 320

// ErrAddressEncoding is the answer for an address with NUL, another control
// character or invalid UTF-8 in it. No mail system can carry one.
var ErrAddressEncoding = errors.New("address holds a control character or is not UTF-8")

// ErrAddressInvalid is the answer for an address that a user cannot have.
var ErrAddressInvalid = errors.New("must be an address as ada@example.com, with an unquoted local part of at most 64 bytes")

// Address is an address in canonical form. It prints as [redacted]; two
// addresses are the same if and only if they compare equal.
type Address struct{ tenants.Secret }

// domains turns U-labels into A-labels without mapping anything: the letters
// that UTS 46 would fold (KELVIN SIGN, ligatures, full-width forms) are refused
// instead, so that two spellings never become one address by surprise.
var domains = idna.New(idna.ValidateLabels(true), idna.StrictDomainName(false))

// ParseAddress gives the canonical form of what a person typed: surrounding
// white space trimmed, ASCII letters lower-cased, the domain in A-labels (RFC 5890)
// where it has any, nothing else folded. It is no syntax check: "foo" is an
// address that no user has. Its only error is ErrAddressEncoding.
func ParseAddress(typed string) (Address, error) {
	trimmed := strings.Trim(typed, " \t\r\n")
	if !utf8.ValidString(trimmed) {
		return Address{}, ErrAddressEncoding
	}
	if strings.ContainsFunc(trimmed, isControl) {
		return Address{}, ErrAddressEncoding
	}
	canonical := lowerASCII(trimmed)
	if at := strings.LastIndexByte(canonical, '@'); at >= 0 && len(canonical) <= MaxAddressBytes {
		canonical = canonical[:at+1] + aLabels(canonical[at+1:])
	}
	return Address{tenants.NewSecret(canonical)}, nil
}

// ParseUserAddress gives the canonical form of an address that mail can be sent
// to: a dot-atom of at most 64 bytes, letters beyond ASCII allowed (RFC 6531,
// section 3.3), at a host name. ErrAddressInvalid.
func ParseUserAddress(typed string) (Address, error) {
	address, err := ParseAddress(typed)
	if err != nil {
		return Address{}, ErrAddressInvalid
	}
	local, domain, found := strings.Cut(address.Reveal(), "@")
	ascii := strings.Map(func(r rune) rune {
		if r > unicode.MaxASCII && unicode.IsPrint(r) {
			return 'x'
		}
		return r
	}, local)
	if !found || len(local) > 64 || !tenants.ValidAddrSpec(ascii+"@"+domain) {
		return Address{}, ErrAddressInvalid
	}
	return address, nil
}

// Fits says whether a user can have the address at all: neither empty nor over
// MaxAddressBytes.
func (a Address) Fits() bool {
	return a.Reveal() != "" && len(a.Reveal()) <= MaxAddressBytes
}

// aLabels gives a domain in A-labels, or as it is when it has none. The package
// idna normalises before it encodes, which turns KELVIN SIGN into a letter, so a
// domain that is not in NFC already is left alone.
func aLabels(domain string) string {
	if !norm.NFC.IsNormalString(domain) {
		return domain
	}
	encoded, err := domains.ToASCII(domain)
	if err != nil {
		return domain
	}
	return encoded
}

// isControl says whether a character ends lines or does worse.
func isControl(r rune) bool {
	return r < 0x20 || (r >= 0x7f && r < 0xa0) || r == '\u2028' || r == '\u2029'
}

func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
