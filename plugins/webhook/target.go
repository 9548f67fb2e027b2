package webhook

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// maxURL bounds a URL in bytes.
const maxURL = 4096

// closedSuffixes end names that mean something inside a network only: RFC 6762,
// RFC 6761, RFC 7686, ICANN's .internal, and the names of a Kubernetes cluster.
var closedSuffixes = []string{".local", ".internal", ".localhost", ".arpa", ".onion", ".svc"}

// parseTarget reads the URL of an event, once: what is checked here is what is
// connected to. Its error is a *sdk.Failure of kind Misconfigured that does not
// quote the URL.
func parseTarget(raw string, s *settings) (*url.URL, error) {
	if len(raw) > maxURL {
		return nil, misconfigured("url", "must be 4096 bytes at most")
	}
	target, err := url.Parse(raw)
	if err != nil {
		return nil, misconfigured("url", "cannot be read")
	}
	switch {
	case target.Scheme != "https" && (target.Scheme != "http" || !s.Insecure):
		return nil, misconfigured("url", "must begin with https://")
	case target.User != nil:
		return nil, misconfigured("url", "must not hold a user name or password")
	case strings.Contains(raw, "#"):
		return nil, misconfigured("url", "must not hold a fragment")
	}
	if err := checkPort(target, s); err != nil {
		return nil, err
	}
	if err := checkHost(target.Hostname(), s); err != nil {
		return nil, err
	}
	return target, nil
}

// checkPort takes 443 and the operator's, in development also 80 and all from 1024.
func checkPort(target *url.URL, s *settings) error {
	text := target.Port()
	if text == "" && !strings.HasSuffix(target.Host, ":") {
		return nil // the scheme's own
	}
	port, err := strconv.Atoi(text)
	switch {
	case err != nil || strconv.Itoa(port) != text:
		return misconfigured("url", "has a port that cannot be read")
	case port == 443 || slices.Contains(s.Ports, port):
		return nil
	case s.Insecure && (port == 80 || port >= 1024 && port <= 65535):
		return nil
	}
	return misconfigured("url", "has a port that is not allowed: 443, or one that the operator added")
}

// checkHost takes names that can be public, and addresses that are opened.
func checkHost(host string, s *settings) error {
	if addr, err := netip.ParseAddr(host); err == nil {
		return checkLiteral(addr, s)
	}
	host = strings.ToLower(host)
	if s.Insecure && host == "localhost" {
		return nil
	}
	if !isDomain(host) {
		return misconfigured("url", "must name a host with a dot in it, in ASCII")
	}
	for _, suffix := range closedSuffixes {
		if strings.HasSuffix(host, suffix) {
			return misconfigured("url", "names a host of an internal network: "+suffix)
		}
	}
	return nil
}

func checkLiteral(addr netip.Addr, s *settings) error {
	if addr.Zone() == "" && (s.Insecure && addr.Unmap().IsLoopback() || contains(s.allow, addr.Unmap())) {
		return nil
	}
	return misconfigured("url", "must name a host, not an address")
}

// isDomain tells a fully qualified name in lower case (RFC 1123, 2.1) without its
// final dot. The last label begins with a letter: a number there makes some
// resolvers read an address, such as 127.1 or 0x7f.1.
func isDomain(host string) bool {
	labels := strings.Split(host, ".")
	if len(host) > 253 || len(labels) < 2 {
		return false
	}
	for _, label := range labels {
		if !isLabel(label) {
			return false
		}
	}
	first := labels[len(labels)-1][0]
	return first >= 'a' && first <= 'z'
}

func isLabel(label string) bool {
	if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	return !strings.ContainsFunc(label, func(c rune) bool {
		return c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z')
	})
}
