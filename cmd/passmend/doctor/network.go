package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// askTime bounds one question to the resolver, and one handshake.
const askTime = 5 * time.Second

// soonEnds is when a certificate's end is near (PassmendCertExpiry).
const soonEnds = 14 * 24 * time.Hour

// Resolver is what the checks ask; *net.Resolver is one.
type Resolver interface {
	LookupHost(ctx context.Context, host string) ([]string, error)
	LookupTXT(ctx context.Context, name string) ([]string, error)
}

// answer tells a name that has no record from one that nobody could be asked about.
func answer(err error) (none, unasked bool) {
	if err == nil {
		return false, false
	}
	var failed *net.DNSError
	if errors.As(err, &failed) && failed.IsNotFound {
		return true, false
	}
	return false, true
}

// Address checks that a host of pages has an address.
func Address(ctx context.Context, resolver Resolver, host string) Line {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	addresses, err := resolver.LookupHost(ctx, host)
	none, unasked := answer(err)
	switch {
	case unasked:
		return Bad(Warn, "network", "address of "+host, "see that the system's resolver can be reached from here", "DNS could not be asked: %v", err)
	case none || len(addresses) == 0:
		return Bad(Fail, "network", "address of "+host, "an A, AAAA or CNAME record of "+host+" that leads to the proxy in front", "it has none: no link to it can be opened")
	}
	return Good("network", "address of "+host, "%s", strings.Join(addresses, ", "))
}

// Certificate checks what a host of pages shows at a port, as a browser would. roots
// nil: the system's.
func Certificate(ctx context.Context, host, address string, roots *x509.CertPool, now time.Time) Line {
	name := "certificate of " + host
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	const remedy = "docs/runbooks/certificate.md"
	dialer := tls.Dialer{Config: &tls.Config{ServerName: host, RootCAs: roots, MinVersion: tls.VersionTLS12, Time: func() time.Time { return now }}}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		var refused *tls.CertificateVerificationError
		if errors.As(err, &refused) {
			return Bad(Fail, "network", name, remedy, "browsers refuse it: %v", refused.Err)
		}
		return Bad(Warn, "network", name, "see whether "+host+" can be reached from here at all; the proxy in front may be closed to this machine", "%s could not be asked: %v", address, err)
	}
	defer conn.Close()
	secure, isTLS := conn.(*tls.Conn)
	if !isTLS || len(secure.ConnectionState().PeerCertificates) == 0 {
		return Bad(Fail, "network", name, remedy, "%s shows none", address)
	}
	left := secure.ConnectionState().PeerCertificates[0].NotAfter.Sub(now)
	if left < soonEnds {
		return Bad(Warn, "network", name, remedy, "it ends in %d days", int(left.Hours()/24))
	}
	return Good("network", name, "it ends in %d days", int(left.Hours()/24))
}

// records gives the TXT records of a name that begin as wanted.
func records(ctx context.Context, resolver Resolver, name, begins string) (found []string, unasked error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	all, err := resolver.LookupTXT(ctx, name)
	if _, failed := answer(err); failed {
		return nil, err
	}
	for _, record := range all {
		if record = strings.TrimSpace(record); strings.HasPrefix(strings.ToLower(record), begins) {
			found = append(found, record)
		}
	}
	return found, nil
}

const unaskedRemedy = "see that the system's resolver can be reached from here"

// SPF checks who may send for a domain (RFC 7208).
func SPF(ctx context.Context, resolver Resolver, domain string) Line {
	name := "SPF of " + domain
	found, err := records(ctx, resolver, domain, "v=spf1")
	remedy := fmt.Sprintf("a TXT record of %s as \"v=spf1 include:YOUR-MAIL-SERVICE ~all\"", domain)
	switch {
	case err != nil:
		return Bad(Warn, "senders", name, unaskedRemedy, "DNS could not be asked: %v", err)
	case len(found) == 0:
		return Bad(Fail, "senders", name, remedy, "there is none: many mail services put its mail aside")
	case len(found) > 1:
		return Bad(Fail, "senders", name, "leave one of them (RFC 7208, section 3.2)", "there are %d, and then none counts", len(found))
	}
	terms := strings.Fields(strings.ToLower(found[0]))
	for _, term := range terms {
		if term == "+all" || term == "all" {
			return Bad(Fail, "senders", name, remedy, "it lets everybody send: %s", found[0])
		}
	}
	return Good("senders", name, "%s", found[0])
}

// DMARC checks what becomes of mail that proves no sender (RFC 7489).
func DMARC(ctx context.Context, resolver Resolver, domain string) Line {
	name, at := "DMARC of "+domain, "_dmarc."+domain
	found, err := records(ctx, resolver, at, "v=dmarc1")
	if err == nil && len(found) == 0 && strings.Count(domain, ".") > 1 {
		// What a subdomain has not, the domain above may have.
		_, above, _ := strings.Cut(domain, ".")
		found, err = records(ctx, resolver, "_dmarc."+above, "v=dmarc1")
	}
	remedy := fmt.Sprintf("a TXT record of %s as \"v=DMARC1; p=quarantine\"", at)
	switch {
	case err != nil:
		return Bad(Warn, "senders", name, unaskedRemedy, "DNS could not be asked: %v", err)
	case len(found) == 0:
		return Bad(Warn, "senders", name, remedy, "there is none: others can send in its name")
	case len(found) > 1:
		return Bad(Fail, "senders", name, "leave one of them (RFC 7489, section 6.6.3)", "there are %d, and then none counts", len(found))
	}
	policy := tag(found[0], "p")
	switch policy {
	case "reject", "quarantine":
		return Good("senders", name, "%s", found[0])
	case "none":
		return Bad(Warn, "senders", name, remedy, "it only watches: %s", found[0])
	}
	return Bad(Fail, "senders", name, remedy, "it has no policy: %s", found[0])
}

// DKIM checks the key that receivers hold a provider's signatures against (RFC 6376).
func DKIM(ctx context.Context, resolver Resolver, selector, domain string) Line {
	name, at := "DKIM of "+domain, selector+"._domainkey."+domain
	found, err := records(ctx, resolver, at, "")
	remedy := "the TXT record of " + at + " with the public half of dkimKey"
	switch {
	case err != nil:
		return Bad(Warn, "senders", name, unaskedRemedy, "DNS could not be asked: %v", err)
	case len(found) == 0:
		return Bad(Fail, "senders", name, remedy, "%s has no record: signatures prove nothing", at)
	case tag(found[0], "p") == "":
		return Bad(Fail, "senders", name, remedy, "the key at %s is revoked or missing", at)
	}
	return Good("senders", name, "%s has a key", at)
}

// Unsigned is for a provider that signs nothing itself.
func Unsigned(provider string) Line {
	return Bad(Warn, "senders", "DKIM by "+provider, "see that the mail service signs, or set dkimDomain, dkimSelector and dkimKey", "provider %s does not sign: whether its mail service does is not seen from here", provider)
}

// tag gives the value of a tag of a list as "v=1; p=none".
func tag(record, name string) string {
	for part := range strings.SplitSeq(record, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if strings.EqualFold(strings.TrimSpace(key), name) {
			return strings.ToLower(strings.TrimSpace(value))
		}
	}
	return ""
}
