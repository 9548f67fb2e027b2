package webhook

import (
	"context"
	"net/netip"
	"net/url"
	"syscall"
)

// guard decides which addresses one call may connect to. Its verdict is asked
// for by the dialer, for each connection, on the address that is connected to:
// between verdict and connection there is no name left to resolve.
//
// What is forbidden by the event stays so whatever the settings say: it is the
// service's own listeners, its database, its nodes. Then comes what the operator
// opened, then the table below. What no rule lets through is blocked.
type guard struct {
	forbidden []netip.Prefix
	allow     []netip.Prefix
	loopback  bool // development
	plain     bool // without TLS nothing leaves this machine
	nat64     bool
}

// rule closes a network.
type rule struct {
	network netip.Prefix
	name    string // what the endpoint's owner is told, for never an address
}

// closed4 is what of IPv4 is not public. netip's predicates are no substitute:
// by them 100.64.0.1, 198.18.0.1 and 240.0.0.1 are public.
var closed4 = []rule{
	{netip.MustParsePrefix("0.0.0.0/8"), "this network (RFC 791)"},
	{netip.MustParsePrefix("10.0.0.0/8"), "private (RFC 1918)"},
	{netip.MustParsePrefix("100.64.0.0/10"), "shared (RFC 6598)"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback (RFC 1122)"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local (RFC 3927)"},
	{netip.MustParsePrefix("172.16.0.0/12"), "private (RFC 1918)"},
	{netip.MustParsePrefix("192.0.0.0/24"), "protocol assignments (RFC 6890)"},
	{netip.MustParsePrefix("192.0.2.0/24"), "documentation (RFC 5737)"},
	{netip.MustParsePrefix("192.88.99.0/24"), "6to4 relays (RFC 7526)"},
	{netip.MustParsePrefix("192.168.0.0/16"), "private (RFC 1918)"},
	{netip.MustParsePrefix("198.18.0.0/15"), "benchmarking (RFC 2544)"},
	{netip.MustParsePrefix("198.51.100.0/24"), "documentation (RFC 5737)"},
	{netip.MustParsePrefix("203.0.113.0/24"), "documentation (RFC 5737)"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast (RFC 5771)"},
	{netip.MustParsePrefix("255.255.255.255/32"), "broadcast (RFC 919)"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved (RFC 1112)"},
}

// public6 is all of IPv6 that is public, but for closed6. Loopback, IPv4-compatible
// addresses, NAT64, unique-local, link-local, site-local and multicast lie outside.
var public6 = netip.MustParsePrefix("2000::/3")

var closed6 = []rule{
	{netip.MustParsePrefix("2001::/23"), "protocol assignments and Teredo (RFC 2928, RFC 4380)"},
	{netip.MustParsePrefix("2001:db8::/32"), "documentation (RFC 3849)"},
	{netip.MustParsePrefix("2002::/16"), "6to4 (RFC 3056)"},
	{netip.MustParsePrefix("3fff::/20"), "documentation (RFC 9637)"},
}

// translated is the well-known prefix of NAT64 (RFC 6052, 2.1): the last 32 bits
// are an IPv4 address.
var translated = netip.MustParsePrefix("64:ff9b::/96")

// blockedError says which rule keeps a connection from being made.
type blockedError struct{ rule string }

func (e *blockedError) Error() string { return "blocked: " + e.rule }

// newGuard makes the guard of one call. forbidden comes from the host; when it
// cannot be read nothing is sent.
func newGuard(s *settings, target *url.URL, forbidden []string) (*guard, error) {
	networks, err := parseNetworks(forbidden)
	if err != nil {
		return nil, misconfigured("forbidden networks", "are not in CIDR form")
	}
	return &guard{
		forbidden: networks,
		allow:     s.allow,
		loopback:  s.Insecure,
		plain:     target.Scheme != "https",
		nat64:     s.NAT64,
	}, nil
}

// control is net.Dialer's ControlContext: it runs after the socket is made and
// before it connects.
func (g *guard) control(_ context.Context, network, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || network != "tcp4" && network != "tcp6" {
		return &blockedError{"not an address of TCP"}
	}
	if name := g.blocks(to.Addr()); name != "" {
		return &blockedError{name}
	}
	return nil
}

// blocks names the rule that closes addr, or nothing.
func (g *guard) blocks(addr netip.Addr) string {
	// A zone would keep an address from being found in any network.
	addr = addr.Unmap().WithZone("")
	switch {
	case contains(g.forbidden, addr):
		return "kept from webhooks by this service"
	case g.loopback && addr.IsLoopback():
		return ""
	case g.plain:
		return "http is for loopback only"
	case contains(g.allow, addr):
		return ""
	case g.nat64 && translated.Contains(addr):
		bytes := addr.As16()
		return g.blocks(netip.AddrFrom4([4]byte(bytes[12:])))
	case addr.Is4():
		return closedBy(closed4, addr)
	case !public6.Contains(addr):
		return "not in the public part of IPv6 (RFC 4291)"
	}
	return closedBy(closed6, addr)
}

func closedBy(rules []rule, addr netip.Addr) string {
	for _, r := range rules {
		if r.network.Contains(addr) {
			return r.name
		}
	}
	return ""
}

func contains(networks []netip.Prefix, addr netip.Addr) bool {
	for _, network := range networks {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}
