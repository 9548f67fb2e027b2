package webhook

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/passmend/passmend/plugins/sdk"
)

func guardOf(t *testing.T, scheme, values string, forbidden ...string) *guard {
	t.Helper()
	s, err := parseSettings(settingsOf("%s", values))
	if err != nil {
		t.Fatal(err)
	}
	g, err := newGuard(s, &url.URL{Scheme: scheme}, forbidden)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestEveryClosedAddressIsBlockedAndItsNeighboursAreNot(t *testing.T) {
	t.Parallel()
	g := guardOf(t, "https", `{}`)
	for _, addr := range addresses(closedAddresses) {
		if g.blocks(addr) == "" {
			t.Errorf("%s is open", addr)
		}
	}
	for _, addr := range addresses(openAddresses) {
		if name := g.blocks(addr); name != "" {
			t.Errorf("%s is blocked: %s", addr, name)
		}
	}
}

// netip's own words are no guard: this is why there is a table.
func TestPredicatesOfTheStandardLibraryWouldNotDo(t *testing.T) {
	t.Parallel()
	let := 0
	for _, addr := range addresses(closedAddresses) {
		if addr.IsGlobalUnicast() && !addr.IsPrivate() {
			let++
		}
	}
	if let == 0 {
		t.Error("the predicates find every closed address")
	}
}

func TestGuardOrder(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, scheme, settings string
		forbidden              []string
		addr                   string
		open                   bool
	}{
		{name: "an opened network is open", settings: `{"allow":["10.1.0.0/16"]}`, addr: "10.1.2.3", open: true},
		{name: "its neighbour is not", settings: `{"allow":["10.1.0.0/16"]}`, addr: "10.2.0.1"},
		{name: "an opened network is open in mapped form", settings: `{"allow":["10.1.0.0/16"]}`, addr: "::ffff:10.1.2.3", open: true},
		{name: "a network may be opened in mapped form", settings: `{"allow":["::ffff:10.1.0.0/112"]}`, addr: "10.1.2.3", open: true},
		{name: "an opened IPv6 network is open", settings: `{"allow":["fd00:1::/32"]}`, addr: "fd00:1::5", open: true},
		{name: "a forbidden public address is blocked", settings: `{}`, forbidden: []string{"8.8.8.8/32"}, addr: "8.8.8.8"},
		{name: "in mapped form too", settings: `{}`, forbidden: []string{"8.8.8.8/32"}, addr: "::ffff:8.8.8.8"},
		{name: "a forbidden network in mapped form counts", settings: `{}`, forbidden: []string{"::ffff:8.8.8.8/128"}, addr: "8.8.8.8"},
		{name: "a zone hides nothing", settings: `{"insecure":true}`, forbidden: []string{"::1/128"}, addr: "::1%lo"},
		{name: "forbidden wins over opened", settings: `{"allow":["10.0.0.0/8"]}`, forbidden: []string{"10.1.0.0/16"}, addr: "10.1.2.3"},
		{name: "forbidden wins over development", settings: `{"insecure":true}`, forbidden: []string{"127.0.0.1/32"}, addr: "127.0.0.1"},
		{name: "development opens loopback", settings: `{"insecure":true}`, addr: "127.0.0.1", open: true},
		{name: "development opens loopback of IPv6", settings: `{"insecure":true}`, addr: "::1", open: true},
		{name: "development opens nothing else", settings: `{"insecure":true}`, addr: "192.168.1.1"},
		{name: "http is for loopback", scheme: "http", settings: `{"insecure":true}`, addr: "127.0.0.1", open: true},
		{name: "http goes to no public address", scheme: "http", settings: `{"insecure":true}`, addr: "8.8.8.8"},
		{name: "http goes to no opened address", scheme: "http", settings: `{"insecure":true,"allow":["10.0.0.0/8"]}`, addr: "10.0.0.1"},
		{name: "NAT64 is closed", settings: `{}`, addr: "64:ff9b::808:808"},
		{name: "NAT64 is judged by the address inside", settings: `{"nat64":true}`, addr: "64:ff9b::808:808", open: true},
		{name: "and that may be closed", settings: `{"nat64":true}`, addr: "64:ff9b::7f00:1"},
		{name: "or forbidden", settings: `{"nat64":true}`, forbidden: []string{"8.8.8.8/32"}, addr: "64:ff9b::808:808"},
		{name: "the local-use prefix stays closed", settings: `{"nat64":true}`, addr: "64:ff9b:1::808:808"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			scheme := test.scheme
			if scheme == "" {
				scheme = "https"
			}
			g := guardOf(t, scheme, test.settings, test.forbidden...)
			if name := g.blocks(netip.MustParseAddr(test.addr)); (name == "") != test.open {
				t.Errorf("blocked by %q, want open: %v", name, test.open)
			}
		})
	}
}

func TestControlFailsClosed(t *testing.T) {
	t.Parallel()
	g := guardOf(t, "https", `{}`)
	for _, test := range [][2]string{
		{"tcp4", "127.0.0.1:443"}, {"tcp6", "[::1]:443"}, {"tcp6", "[fe80::1%lo]:443"}, {"tcp", "8.8.8.8:443"},
		{"udp4", "8.8.8.8:443"}, {"unix", "/run/x.sock"}, {"tcp4", "8.8.8.8"}, {"tcp4", "example.com:443"}, {"tcp4", ""},
	} {
		if err := g.control(t.Context(), test[0], test[1], nil); err == nil {
			t.Errorf("%v passes", test)
		}
	}
	if err := g.control(t.Context(), "tcp4", "8.8.8.8:443", nil); err != nil {
		t.Errorf("a public address: %v", err)
	}
}

func TestForbiddenNetworksThatCannotBeReadStopTheCall(t *testing.T) {
	t.Parallel()
	victim := listen(t, "127.0.0.1:0")
	for _, network := range []string{"", "10.0.0.1", "10.0.0.0/33", "example.com", "::ffff:0.0.0.0/90", "fe80::%lo/64"} {
		event := eventTo("http://" + victim.Addr().String())
		event.Forbidden = []string{"192.0.2.0/24", network}
		_, err := send(New(), development(), event)
		if kind := kindOf(err); kind != sdk.Misconfigured {
			t.Errorf("%q: %s", network, kind)
		}
	}
	if n := victim.accepted.Load(); n != 0 {
		t.Errorf("%d connections", n)
	}
}

// No URL of the table leads to a connection, and neither does a name for any
// closed address.
func TestNothingForbiddenIsReached(t *testing.T) {
	t.Parallel()
	if n := len(closedURLs) + len(closedAddresses); n < 120 {
		t.Fatalf("the table has %d entries", n)
	}
	victim := listen(t, "127.0.0.1:0")
	settings := settingsOf(`{"ports":[%d]}`, victim.port())
	p := New()
	p.resolver = resolverOf(t, addressInName)

	for _, format := range closedURLs {
		target := strings.ReplaceAll(format, "PORT", strconv.Itoa(victim.port()))
		_, err := send(p, settings, eventTo(target))
		if kind := kindOf(err); kind != sdk.Misconfigured || !strings.HasPrefix(sdk.FailureOf(err).Public, "url ") {
			t.Errorf("%q: %v", target, err)
		}
	}
	for _, addr := range addresses(closedAddresses) {
		_, err := send(p, settings, eventTo(fmt.Sprintf("https://%s:%d/", nameOf(addr), victim.port())))
		failure := sdk.FailureOf(err)
		if failure.Kind != sdk.Misconfigured || !strings.Contains(failure.Public, "not allowed") {
			t.Errorf("a name for %s: %v", addr, err)
		}
		if text := failure.Public + failure.Private; addr.IsLoopback() && strings.Contains(text, addr.String()) {
			t.Errorf("the address is told: %s", text)
		}
	}
	if n := victim.accepted.Load(); n != 0 {
		t.Fatalf("%d connections to 127.0.0.1", n)
	}

	// The control: with the guard open, the same name leads there.
	open := settingsOf(`{"ports":[%d],"allow":["0.0.0.0/0","::/0"]}`, victim.port())
	name := nameOf(netip.MustParseAddr("127.0.0.1"))
	if _, err := send(p, open, eventTo(fmt.Sprintf("https://%s:%d/", name, victim.port()))); err == nil || victim.accepted.Load() == 0 {
		t.Errorf("the victim cannot be reached at all: %v", err)
	}
}

// nameOf makes a name that addressInName resolves to addr.
func nameOf(addr netip.Addr) string {
	return fmt.Sprintf("x%x.example.com", addr.AsSlice())
}

func addressInName(name string) []netip.Addr {
	var bytes []byte
	label, _, _ := strings.Cut(name, ".")
	if _, err := fmt.Sscanf(label, "x%x", &bytes); err != nil {
		return nil
	}
	addr, ok := netip.AddrFromSlice(bytes)
	if !ok {
		return nil
	}
	return []netip.Addr{addr}
}
