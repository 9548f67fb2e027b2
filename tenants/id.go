package tenants

import (
	"encoding/hex"
	"strings"
)

// AccountID is an account's UUID in its canonical form: 36 characters, lower
// case, with hyphens (RFC 9562, section 4). The empty value means the platform
// itself, where a method says that it may.
type AccountID string

// String gives the canonical form.
func (id AccountID) String() string { return string(id) }

// ParseUUID reads a UUID in any letter case, with all four hyphens or with none
// (contract.md, A2 and B), and gives its canonical form.
func ParseUUID(s string) (string, bool) {
	switch len(s) {
	case 32:
	case 36:
		if s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
			return "", false
		}
		s = s[:8] + s[9:13] + s[14:18] + s[19:23] + s[24:]
	default:
		return "", false
	}
	if _, err := hex.DecodeString(s); err != nil {
		return "", false
	}
	s = strings.ToLower(s)
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:], true
}
