package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// kept is a machine with three addresses, a listener and a database.
func kept(development bool) *keptNetworks {
	return &keptNetworks{
		fixed:       []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("::")},
		databases:   []string{"db.example", "10.0.0.5"},
		development: development,
		interfaces: func() ([]net.Addr, error) {
			return []net.Addr{
				&net.IPNet{IP: net.IPv4(127, 0, 0, 1), Mask: net.CIDRMask(8, 32)},
				&net.IPNet{IP: net.IPv4(10, 1, 2, 3), Mask: net.CIDRMask(16, 32)},
				&net.IPNet{IP: net.ParseIP("fe80::1"), Mask: net.CIDRMask(64, 128)},
			}, nil
		},
		lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
			if host != "db.example" {
				return nil, errors.New("asked for another host")
			}
			return []netip.Addr{netip.MustParseAddr("10.0.0.4")}, nil
		},
		log: slog.New(slog.DiscardHandler),
	}
}

// threats.md, Webhook egress, rule 3: what is this machine's, and nothing of its
// network.
func TestWebhooksAreKeptFromThisMachine(t *testing.T) {
	t.Parallel()
	want := []string{"10.0.0.4/32", "10.0.0.5/32", "10.1.2.3/32", "127.0.0.1/32", "192.0.2.7/32", "fe80::1/128"}
	if diff := cmp.Diff(want, kept(false).networks(t.Context())); diff != "" {
		t.Error(diff)
	}
	want = []string{"10.0.0.4/32", "10.0.0.5/32", "10.1.2.3/32", "192.0.2.7/32", "fe80::1/128"}
	if diff := cmp.Diff(want, kept(true).networks(t.Context())); diff != "" {
		t.Errorf("in development: %s", diff)
	}
}

// The list is read again when it is a minute old, and what cannot be read stays.
func TestWebhooksAreKeptFromNewAddressesToo(t *testing.T) {
	t.Parallel()
	k := kept(false)
	first := k.networks(t.Context())
	k.interfaces = func() ([]net.Addr, error) {
		return []net.Addr{&net.IPNet{IP: net.IPv4(10, 9, 9, 9), Mask: net.CIDRMask(16, 32)}}, nil
	}
	if diff := cmp.Diff(first, k.networks(t.Context())); diff != "" {
		t.Errorf("read again at once: %s", diff)
	}
	k.read = time.Now().Add(-2 * keptAge)
	if diff := cmp.Diff([]string{"10.0.0.4/32", "10.0.0.5/32", "10.9.9.9/32", "192.0.2.7/32"}, k.networks(t.Context())); diff != "" {
		t.Error(diff)
	}
	k.read = time.Now().Add(-2 * keptAge)
	k.lookup = func(context.Context, string) ([]netip.Addr, error) { return nil, errors.New("no such host") }
	if diff := cmp.Diff([]string{"10.0.0.4/32", "10.0.0.5/32", "10.9.9.9/32", "192.0.2.7/32"}, k.networks(t.Context())); diff != "" {
		t.Errorf("with a name server that is away: %s", diff)
	}
}

func TestHostsOfADatabase(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string][]string{
		"sqlite:///var/lib/passmend.db":                          nil,
		"postgres://u:p@db.example/x":                            {"db.example"},
		"postgres://u:p@db.example:5433/x?sslmode=verify-full":   {"db.example"},
		"postgresql://u:p@a.example:5432,b.example:5433/x":       {"a.example", "b.example"},
		"postgres://u:p@[2001:db8::1]:5432/x":                    {"2001:db8::1"},
		"postgres://u:p@/x?host=/var/run/postgresql":             nil,
		"postgres:///x?host=c.example,10.0.0.1":                  {"c.example", "10.0.0.1"},
		"postgres://u:p@[2001:db8::2]/x?host=/run&sslmode=allow": {"2001:db8::2"},
	} {
		if diff := cmp.Diff(want, databaseHosts(raw)); diff != "" {
			t.Errorf("%s: %s", raw, diff)
		}
	}
}

func TestWebhookNetworksAreChecked(t *testing.T) {
	t.Parallel()
	read := func(value string) (config, error) {
		var c config
		err := c.readNetworks(func(key string) string {
			return map[string]string{"webhook_allow": value}[key]
		})
		return c, err
	}
	c, err := read("10.1.2.3/16, fd00::/8")
	if diff := cmp.Diff([]string{"10.1.0.0/16", "fd00::/8"}, texts(c.webhookAllow)); err != nil || diff != "" {
		t.Error(err, diff)
	}
	for _, value := range []string{"10.1.2.3", "10.0.0.0/33", "127.0.0.0/8", "127.0.0.1/32", "::1/128", "::ffff:10.0.0.0/104", "all"} {
		if _, err := read(value); err == nil {
			t.Errorf("%s is taken", value)
		}
	}
}

func texts(networks []netip.Prefix) (list []string) {
	for _, network := range networks {
		list = append(list, network.String())
	}
	return list
}
