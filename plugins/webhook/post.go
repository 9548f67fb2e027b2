package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strings"

	"github.com/passmend/passmend/plugins/sdk"
)

// What is read of an answer, in bytes.
const (
	maxAnswerHeaders = 64 << 10
	maxAnswerBody    = 4 << 10
)

// reply is what the endpoint said.
type reply struct {
	status int
	header http.Header
	body   []byte // its beginning
}

// post sends the event once. An error means that no status arrived.
func (p *Provider) post(
	ctx context.Context, g *guard, target *url.URL, header http.Header, body []byte, t *trace,
) (*reply, error) {
	ctx = httptrace.WithClientTrace(ctx, t.hooks())
	// Without GetBody the transport has no means to send an event twice.
	request := (&http.Request{
		Method:        http.MethodPost,
		URL:           target,
		Header:        header,
		Body:          io.NopCloser(bytes.NewReader(body)),
		ContentLength: int64(len(body)),
	}).WithContext(ctx)
	if len(body) == 0 {
		request.Body = http.NoBody
	}
	// RoundTrip, where a Client would add cookies, a referer and redirects.
	response, err := p.transport(ctx, g).RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	// The status is there: a body that breaks off changes nothing.
	start, _ := io.ReadAll(io.LimitReader(response.Body, maxAnswerBody))
	return &reply{status: response.StatusCode, header: response.Header, body: start}, nil
}

// transport is for one call, because guard and connection are: nothing is kept
// that a later call with other settings could use.
func (p *Provider) transport(ctx context.Context, g *guard) *http.Transport {
	return &http.Transport{
		Proxy:                  nil, // not even that of the environment
		DialContext:            p.dial(ctx, g),
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: p.roots},
		TLSHandshakeTimeout:    p.limits.tls,
		ResponseHeaderTimeout:  p.limits.headers,
		MaxResponseHeaderBytes: maxAnswerHeaders,
		DisableKeepAlives:      true,
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
		// By default a server may fill 4 MiB before anybody reads.
		HTTP2: &http.HTTP2Config{MaxReceiveBufferPerConnection: 64 << 10, MaxReceiveBufferPerStream: 16 << 10},
	}
}

// dial connects for one call. The transport dials apart from the request's
// context, to have connections for later; here there is no later, so ctx bounds
// the dialing, and the connection ends with it.
func (p *Provider) dial(ctx context.Context, g *guard) func(context.Context, string, string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: p.limits.dial, Resolver: p.resolver, ControlContext: g.control}
	return func(_ context.Context, network, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, absolute(address))
		if err != nil {
			return nil, err
		}
		context.AfterFunc(ctx, func() { _ = conn.Close() })
		return conn, nil
	}
}

// absolute ends a host name with a dot, which keeps the resolver from trying it
// below the domains of its search list: in a cluster those are internal. localhost,
// the one name without a dot, is looked up in the hosts file, which has no such form.
func absolute(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil || !strings.Contains(host, ".") {
		return address
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return address
	}
	return net.JoinHostPort(host+".", port)
}

// headerOf gives the event's headers, names in the case that they have. What
// cannot be sent as it stands is refused, not mended: it may be signed.
func headerOf(event *sdk.Event) (http.Header, error) {
	// An empty value keeps net/http from naming itself.
	const userAgent = "User-Agent"
	header := http.Header{userAgent: {""}}
	for _, field := range event.Headers {
		if !isToken(field.Name) || hasControl(field.Value) {
			return nil, &sdk.Failure{Kind: sdk.ContentRefused, Public: "a header of the event cannot be written"}
		}
		switch name := http.CanonicalHeaderKey(field.Name); name {
		case "Connection", "Content-Length", "Expect", "Host", "Keep-Alive", "Proxy-Connection",
			"Te", "Trailer", "Transfer-Encoding", "Upgrade":
			return nil, &sdk.Failure{Kind: sdk.ContentRefused, Public: "the header " + name + " is the connection's"}
		case userAgent:
			header[userAgent] = []string{field.Value} // net/http knows it by this case only
		default:
			header[field.Name] = append(header[field.Name], field.Value)
		}
	}
	return header, nil
}

// isToken tells a field name (RFC 9110, 5.6.2).
func isToken(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(c rune) bool {
		return c <= ' ' || c >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, c)
	})
}

// hasControl tells what must not be in a field value (RFC 9110, 5.5).
func hasControl(value string) bool {
	return strings.ContainsFunc(value, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f })
}
