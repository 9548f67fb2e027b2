package tenants

import (
	"net/netip"
	"regexp"
	"strings"
	"time"
)

// Domain is a host name that is one account's own: its pages and its API answer
// there without the account in the path.
type Domain struct {
	Account AccountID
	Host    string // as ParseHost gives it; unique over all accounts
	// Verified: somebody has made sure that the host is the account's. Nothing answers
	// on one that is not, and no link leads there.
	Verified bool
	Created  time.Time
}

// hostForm is at least two labels of letters, digits and inner hyphens; the last
// begins with a letter, which no address does (RFC 1123, section 2.1).
var hostForm = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)

// ParseHost gives a host name in its one spelling: A-labels in lower case, without
// a port and without a dot at the end, at most 253 characters. A name of a single
// label, an address, and localhost are no host of an account's own.
func ParseHost(s string) (string, bool) {
	host := strings.ToLower(strings.TrimSuffix(s, "."))
	if _, err := netip.ParseAddr(host); err == nil {
		return "", false
	}
	if len(host) > 253 || !hostForm.MatchString(host) || strings.HasSuffix(host, ".localhost") {
		return "", false
	}
	return host, true
}
