package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/httpapi"
	"github.com/passmend/passmend/core/keys"
	"github.com/passmend/passmend/core/worker"
	"github.com/passmend/passmend/plugins/sdk"
)

// webhookPlugin is the plugin that posts events.
const webhookPlugin = "webhook"

// endpointURLs is what an endpoint's URL may be: the same as the plugin is told.
func (c *config) endpointURLs(development bool) core.EndpointURLs {
	urls := core.EndpointURLs{Ports: c.webhookPorts(), Allow: c.webhookAllow, Development: development}
	if c.baseURL != nil {
		urls.Own = []string{c.baseURL.Hostname()}
	}
	return urls
}

// webhookPorts are those that the plugin's cage opens besides 443. A URL names none
// below 1024: what listens there speaks something else.
func (c *config) webhookPorts() []uint16 {
	return slices.DeleteFunc(slices.Clone(c.pluginPorts[webhookPlugin]), func(port uint16) bool { return port < 1024 })
}

// webhookSettings are the plugin's.
func (c *config) webhookSettings(development bool) (sdk.Settings, error) {
	allow := make([]string, len(c.webhookAllow))
	for i, network := range c.webhookAllow {
		allow[i] = network.String()
	}
	values, err := json.Marshal(map[string]any{"ports": c.webhookPorts(), "allow": allow, "insecure": development})
	if err != nil {
		return sdk.Settings{}, fmt.Errorf("settings of plugin %s: %w", webhookPlugin, err)
	}
	return sdk.Settings{Values: values}, nil
}

// webhooks builds what tells endpoints of events.
func (s *service) webhooks() (*core.WebhookDispatcher, error) {
	settings, err := s.config.webhookSettings(s.options.development)
	if err != nil {
		return nil, err
	}
	// Of their own: an endpoint is nobody's provider, and no metric has a series for it.
	breakers, err := worker.NewBreakers(worker.BreakersConfig{})
	if err != nil {
		return nil, err
	}
	return core.NewWebhookDispatcher(core.WebhookConfig{
		Endpoints: s.store, Events: s.store, Ledger: s.store, Users: s.store,
		Keys: s.keys, Sealer: s.keys, Signatures: s.signer, Recipients: keys.Recipients{}, Wire: httpapi.Resources{},
		Plugins: s.telemetry.Plugins(s.plugins), Plugin: webhookPlugin, Settings: settings,
		Forbidden: s.kept.networks, Breakers: breakers, Version: version, NewID: newID, Logger: s.logger,
	}), nil
}

// keptNetworks are where no event may go, whatever is allowed: what this service
// listens on, its database, and every address of this machine (threats.md, Webhook
// egress, rule 3). In development loopback is left out: there the endpoints are.
type keptNetworks struct {
	fixed       []netip.Addr // of listeners
	databases   []string     // hosts
	development bool
	interfaces  func() ([]net.Addr, error)
	lookup      func(ctx context.Context, host string) ([]netip.Addr, error)
	log         *slog.Logger

	mu   sync.Mutex
	read time.Time
	last []string
}

const (
	// keptAge is how long the list is good: addresses come and go.
	keptAge = time.Minute
	// keptLookup bounds the looking up of the database's host.
	keptLookup = 2 * time.Second
)

// networks gives the list in CIDR form. What cannot be read any more is kept as it was
// read last.
func (k *keptNetworks) networks(ctx context.Context) []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.last != nil && time.Since(k.read) < keptAge {
		return k.last
	}
	ctx, cancel := context.WithTimeout(ctx, keptLookup)
	defer cancel()
	addresses, err := k.gather(ctx)
	if err != nil {
		k.log.WarnContext(ctx, "addresses that webhooks are kept from could not all be read", slog.Any("error", err))
	}
	networks := make([]string, 0, len(addresses))
	for _, address := range addresses {
		address = address.Unmap().WithZone("")
		if k.development && address.IsLoopback() || address.IsUnspecified() {
			continue
		}
		networks = append(networks, netip.PrefixFrom(address, address.BitLen()).String())
	}
	if err != nil {
		networks = append(networks, k.last...)
	}
	slices.Sort(networks)
	k.last, k.read = slices.Compact(networks), time.Now()
	return k.last
}

func (k *keptNetworks) gather(ctx context.Context) (addresses []netip.Addr, err error) {
	addresses = slices.Clone(k.fixed)
	of, err := k.interfaces()
	if err != nil {
		return addresses, fmt.Errorf("interfaces: %w", err)
	}
	for _, address := range of {
		if network, ok := address.(*net.IPNet); ok {
			if addr, ok := netip.AddrFromSlice(network.IP); ok {
				addresses = append(addresses, addr)
			}
		}
	}
	for _, host := range k.databases {
		if addr, err := netip.ParseAddr(host); err == nil {
			addresses = append(addresses, addr)
			continue
		}
		found, err := k.lookup(ctx, host)
		if err != nil {
			return addresses, fmt.Errorf("database: %w", err)
		}
		addresses = append(addresses, found...)
	}
	return addresses, nil
}

// keepNetworks notes what webhooks are kept from.
func (s *service) keepNetworks() {
	resolver := &net.Resolver{}
	s.kept = &keptNetworks{
		development: s.options.development, interfaces: net.InterfaceAddrs, log: s.logger,
		databases: databaseHosts(s.config.databaseURL),
		lookup: func(ctx context.Context, host string) ([]netip.Addr, error) {
			return resolver.LookupNetIP(ctx, "ip", host)
		},
	}
	for _, listener := range []net.Listener{s.httpListener, s.adminListener} {
		if listener == nil {
			continue
		}
		if at, err := netip.ParseAddrPort(listener.Addr().String()); err == nil {
			s.kept.fixed = append(s.kept.fixed, at.Addr())
		}
	}
}

// databaseHosts are the hosts in the URL of a PostgreSQL: several behind commas, or in
// the parameter host. A socket is a path and no host.
func databaseHosts(raw string) (hosts []string) {
	parsed, err := url.Parse(raw)
	if err != nil || parsed.Scheme == "sqlite" {
		return nil
	}
	for _, text := range append(strings.Split(parsed.Host, ","), strings.Split(parsed.Query().Get("host"), ",")...) {
		host, _, err := net.SplitHostPort(text)
		if err != nil {
			host = strings.Trim(text, "[]")
		}
		if host != "" && !strings.HasPrefix(host, "/") {
			hosts = append(hosts, host)
		}
	}
	return hosts
}
