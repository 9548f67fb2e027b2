package render

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/passmend/passmend/core"
)

// atext of RFC 5322, section 3.2.3, beside letters and digits.
const atext = "!#$%&'*+-/=?^_`{|}~"

// maxURLBytes is longer than any link of ours and of any account's template.
const maxURLBytes = 2048

// usableAddress says whether s can stand in a header and behind RCPT TO as it is:
// dot-atom "@" domain, no quoted local part, no literal, no comment, nothing that
// would need quoting (threats.md, row 42). Letters beyond ASCII are allowed before
// the "@" (RFC 6532), never behind it: domains are stored as A-labels.
func usableAddress(s string) bool {
	at := strings.LastIndexByte(s, '@')
	if at < 1 || len(s) > core.MaxAddressBytes || !utf8.ValidString(s) {
		return false
	}
	return dotAtom(s[:at]) && domain(s[at+1:])
}

func dotAtom(s string) bool {
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" {
			return false
		}
		for _, r := range atom {
			switch {
			case r < utf8.RuneSelf:
				if !asciiAlphanumeric(r) && !strings.ContainsRune(atext, r) {
					return false
				}
			case !unicode.In(r, unicode.L, unicode.M, unicode.N):
				return false
			}
		}
	}
	return true
}

func domain(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for part := range strings.SplitSeq(s, ".") {
		if part == "" || len(part) > 63 || part[0] == '-' || part[len(part)-1] == '-' {
			return false
		}
		for _, r := range part {
			if !asciiAlphanumeric(r) && r != '-' {
				return false
			}
		}
	}
	return true
}

// usableMessageID says whether s is an id-left "@" id-right of dot-atoms without
// its brackets (RFC 5322, section 3.6.4), short enough never to be folded.
func usableMessageID(s string) bool {
	left, right, found := strings.Cut(s, "@")
	if !found || len(s) > 250 {
		return false
	}
	for _, r := range s {
		if r >= utf8.RuneSelf {
			return false
		}
	}
	return dotAtom(left) && dotAtom(right)
}

// plainURL says whether s is an absolute http or https URL that arrives unchanged
// in any mail client: characters of RFC 3986 only, and none of those ("'()") that
// programs cut a URL off at or rewrite in an attribute.
func plainURL(s string) bool {
	if s == "" || len(s) > maxURLBytes {
		return false
	}
	for i := range len(s) {
		if c := rune(s[i]); !asciiAlphanumeric(c) && !strings.ContainsRune("-._~:/?#[]@!$&*+,;=%", c) {
			return false
		}
	}
	parsed, err := url.Parse(s)
	return err == nil && (parsed.Scheme == "https" || parsed.Scheme == "http") &&
		parsed.Hostname() != "" && parsed.User == nil
}

// mailto gives the URL of an address that usableAddress accepts (RFC 6068).
func mailto(address string) string {
	at := strings.LastIndexByte(address, '@')
	return "mailto:" + url.PathEscape(address[:at]) + address[at:]
}

func asciiAlphanumeric(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}
