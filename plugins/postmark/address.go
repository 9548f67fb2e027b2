package postmark

import (
	"strings"
	"unicode/utf8"
)

// atext beyond letters and digits (RFC 5322, 3.2.3).
const atextSymbols = "!#$%&'*+-/=?^_`{|}~"

// isAddress takes dot-atom "@" domain only. Quoted local parts and address
// literals are legal and are refused all the same: in a field that takes a list,
// they are where a second recipient hides.
func isAddress(address string) bool {
	if len(address) > 320 || hasControl(address) {
		return false
	}
	local, domain, found := strings.Cut(address, "@")
	return found && isDotAtom(local) && isDomain(domain)
}

func isDotAtom(local string) bool {
	for atom := range strings.SplitSeq(local, ".") {
		if atom == "" {
			return false
		}
		for _, r := range atom {
			if r < utf8.RuneSelf && !isAlphanumeric(r) && !strings.ContainsRune(atextSymbols, r) {
				return false
			}
		}
	}
	return true
}

// isDomain takes letters, digits and inner hyphens in labels of 1 to 63.
func isDomain(domain string) bool {
	if len(domain) > 253 {
		return false
	}
	for label := range strings.SplitSeq(domain, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, r := range label {
			if !isAlphanumeric(r) && r != '-' {
				return false
			}
		}
	}
	return true
}

func isAlphanumeric(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

// hasControl finds what must not stand in a header field: C0, DEL, C1, the
// Unicode line separators, and bytes that are not UTF-8.
func hasControl(text string) bool {
	if !utf8.ValidString(text) {
		return true
	}
	return strings.ContainsFunc(text, func(r rune) bool {
		return r < 0x20 || r >= 0x7f && r <= 0x9f || r == 0x2028 || r == 0x2029
	})
}
