// Package webhook is Passmend's provider for events: it posts them to the URL of
// an endpoint, written as a vendor would write it on plugins/sdk and nothing else
// of Passmend.
//
// Limits first: one POST a call, over a connection of its own that ends with the
// call; no proxy, no redirect, no cookie, no compression. Headers are the event's
// as they stand, written in net/http's order; Host, Content-Length and Connection
// are net/http's. Of the answer 64 KiB of headers and 4 KiB of body are read. A
// host name is in ASCII (A-labels, RFC 5890) and is resolved as it stands, without
// the resolver's search list. Signing, retry, and disabling an endpoint are the
// host's.
//
// What a URL may say is decided before anything else (target.go). What may be
// connected to is decided on the address of each single connection (guard.go),
// after the name is resolved, so that no answer of a name server can change it
// afterwards.
//
//	Send ── url ── dns ── guard ── dial ── tls ── headers, body │ wait ── status
//	                                        temporary <─────────┤
//	                                                  unknown <─┴─ from the headers on
package webhook

import (
	"context"
	"crypto/x509"
	_ "embed"
	"net"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
)

// Version is the provider's own.
const Version = "0.1.0"

//go:embed schema.json
var schema []byte

// Provider is an sdk.Provider for events. Make it with New; it keeps nothing
// between calls.
type Provider struct {
	limits   limits
	resolver *net.Resolver
	roots    *x509.CertPool // nil: the system's
}

var _ sdk.Provider = (*Provider)(nil)

// limits are the times that one call may take, each part and in all.
type limits struct {
	dial, tls, headers, total time.Duration
}

// New makes a provider. Names are resolved by Go's resolver, which takes no other
// forms of an address than the usual ones.
func New() *Provider {
	return &Provider{
		limits: limits{
			dial:    5 * time.Second,
			tls:     5 * time.Second,
			headers: 10 * time.Second,
			total:   15 * time.Second,
		},
		resolver: &net.Resolver{PreferGo: true},
	}
}

// Describe implements sdk.Provider.
func (*Provider) Describe(context.Context) (sdk.Description, error) {
	return sdk.Description{
		Name:           "webhook",
		Version:        Version,
		Contents:       []sdk.Content{sdk.ContentEvent},
		SettingsSchema: schema,
		Permissions:    sdk.Permissions{Hosts: []string{"*"}, Ports: []uint16{443}},
	}, nil
}

// Health implements sdk.Provider: there is nothing to be ill with.
func (*Provider) Health(context.Context) error { return nil }

// Check implements sdk.Provider: it reads the settings, for which there is no
// server to ask.
func (*Provider) Check(_ context.Context, settings sdk.Settings) error {
	if _, err := parseSettings(settings); err != nil {
		return err
	}
	return nil
}

// Send implements sdk.Provider. Accepted is any 2xx; Receipt and Failure carry the
// endpoint's status as Code and the beginning of its body as Answer.
func (p *Provider) Send(ctx context.Context, request sdk.SendRequest) (sdk.Receipt, error) {
	event := request.Event
	if event == nil {
		return sdk.Receipt{}, &sdk.Failure{Kind: sdk.ContentRefused, Public: "this provider takes events only"}
	}
	s, err := parseSettings(request.Settings)
	if err != nil {
		return sdk.Receipt{}, err
	}
	target, err := parseTarget(event.URL, s)
	if err != nil {
		return sdk.Receipt{}, err
	}
	g, err := newGuard(s, target, event.Forbidden)
	if err != nil {
		return sdk.Receipt{}, err
	}
	header, err := headerOf(event)
	if err != nil {
		return sdk.Receipt{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, p.limits.total)
	defer cancel()
	t := newTrace()
	reply, err := p.post(ctx, g, target, header, event.Body, t)
	if err != nil {
		return sdk.Receipt{}, lost(ctx, err, t)
	}
	return outcomeOf(reply, t)
}
