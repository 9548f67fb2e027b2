package httpapi

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// clientIP is the address that limits count: the peer's, or, when the peer is a
// trusted proxy, the rightmost address of X-Forwarded-For that is not one
// (threats.md, row 21). An entry that is no address ends the search: what stands
// to its left was written by nobody we trust. The zero Addr when the peer has no
// address; all such peers count as one.
func (c Config) clientIP(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	client := peer.Addr().Unmap().WithZone("")
	forwarded := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, entry := range slices.Backward(forwarded) {
		if !c.trusts(client) {
			break
		}
		next, ok := parseForwarded(entry)
		if !ok {
			break
		}
		client = next
	}
	return client
}

func (c Config) trusts(address netip.Addr) bool {
	return slices.ContainsFunc(c.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(address) })
}

// parseForwarded reads an address with or without a port; some proxies add one.
func parseForwarded(entry string) (netip.Addr, bool) {
	entry = strings.TrimSpace(entry)
	if address, err := netip.ParseAddr(strings.Trim(entry, "[]")); err == nil {
		return address.Unmap().WithZone(""), true
	}
	if address, err := netip.ParseAddrPort(entry); err == nil {
		return address.Addr().Unmap().WithZone(""), true
	}
	return netip.Addr{}, false
}
