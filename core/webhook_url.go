package core

import (
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/passmend/passmend/tenants"
)

// maxEndpointURL bounds an endpoint's URL, in bytes (contract.md, R13).
const maxEndpointURL = 4096

// What a URL can be refused for. None of the texts quotes it.
var (
	// ErrURLTooLong: more than 4,096 bytes.
	ErrURLTooLong = errors.New("url is longer than 4096 bytes")
	// ErrURLInvalid: no absolute URL, or one with a user, a fragment or a port that is
	// not allowed.
	ErrURLInvalid = errors.New("url must be absolute, without user and fragment, on port 443 or one that the operator allows")
	// ErrURLProtocol: not https.
	ErrURLProtocol = errors.New("url must begin with https://")
	// ErrURLHost: no host name that can be public, an address that nobody allowed, or
	// one of this service's own names.
	ErrURLHost = errors.New("url must name a public host")
)

// EndpointURLs says which URLs an endpoint can have (threats.md, Webhook egress,
// rule 1). It decides nothing about where a name leads: that is decided when it is
// connected to.
type EndpointURLs struct {
	Ports []uint16       // besides 443
	Allow []netip.Prefix // networks whose addresses may stand in place of a name
	Own   []string       // this service's own host names, in lower case
	// Development also takes this machine's loopback, there by plain http too and on
	// any port from 1024.
	Development bool
}

// internalSuffixes end names that mean something inside a network only: RFC 6762,
// RFC 6761, RFC 7686, ICANN's .internal, and the names of a Kubernetes cluster.
var internalSuffixes = []string{".local", ".internal", ".localhost", ".arpa", ".onion", ".svc"}

// Parse gives the canonical form: host in lower case and in A-labels (RFC 5890),
// no port that is the scheme's own. ErrURLTooLong, ErrURLProtocol, ErrURLHost,
// ErrURLInvalid.
func (u EndpointURLs) Parse(raw string) (string, error) {
	if len(raw) > maxEndpointURL {
		return "", ErrURLTooLong
	}
	target, err := url.Parse(raw)
	if err != nil || target.Opaque != "" {
		return "", ErrURLInvalid
	}
	loopback := u.Development && tenants.IsLoopback(target.Hostname())
	switch {
	case target.Scheme != "https" && (target.Scheme != "http" || !loopback):
		return "", ErrURLProtocol
	case target.Host == "" || target.User != nil || strings.Contains(raw, "#"):
		return "", ErrURLInvalid
	}
	host, ok := u.host(target.Hostname(), loopback)
	if !ok {
		return "", ErrURLHost
	}
	port, ok := u.port(target, loopback)
	if !ok {
		return "", ErrURLInvalid
	}
	target.Host = host + port
	if canonical := target.String(); len(canonical) <= maxEndpointURL {
		return canonical, nil
	}
	return "", ErrURLTooLong
}

// host gives a host as it stands in a URL, and whether it may be one.
func (u EndpointURLs) host(name string, loopback bool) (string, bool) {
	if addr, err := netip.ParseAddr(name); err == nil {
		return literal(addr), addr.Zone() == "" && (loopback || u.allows(addr.Unmap()))
	}
	name = aLabels(lowerASCII(name))
	switch {
	case loopback:
		return name, true
	case !publicName(name) || slices.Contains(u.Own, name):
		return "", false
	}
	inside := slices.ContainsFunc(internalSuffixes, func(suffix string) bool { return strings.HasSuffix(name, suffix) })
	return name, !inside
}

func (u EndpointURLs) allows(addr netip.Addr) bool {
	return slices.ContainsFunc(u.Allow, func(network netip.Prefix) bool { return network.Contains(addr) })
}

func literal(addr netip.Addr) string {
	if addr.Is6() {
		return "[" + addr.String() + "]"
	}
	return addr.String()
}

// port gives what follows the host, and whether it may.
func (u EndpointURLs) port(target *url.URL, loopback bool) (string, bool) {
	text := target.Port()
	if text == "" {
		return "", true
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return "", false
	}
	if port == 443 && target.Scheme == "https" || port == 80 && target.Scheme == "http" {
		return "", true
	}
	return ":" + strconv.FormatUint(port, 10), slices.Contains(u.Ports, uint16(port)) || loopback && port >= 1024
}

// publicName tells a fully qualified name in lower case (RFC 1123, 2.1) without its
// final dot. The last label begins with a letter: a number there makes some
// resolvers read an address, such as 127.1 or 0x7f.1.
func publicName(host string) bool {
	labels := strings.Split(host, ".")
	if len(host) > 253 || len(labels) < 2 {
		return false
	}
	for _, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' || strings.ContainsFunc(label, notInLabel) {
			return false
		}
	}
	first := labels[len(labels)-1][0]
	return first >= 'a' && first <= 'z'
}

func notInLabel(c rune) bool {
	return c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z')
}
