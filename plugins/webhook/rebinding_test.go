package webhook

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/passmend/passmend/plugins/sdk"
)

// A name server that changes its mind between two questions, or says both at
// once, leads nobody to 127.0.0.1. The endpoint is at 127.0.0.2, which an operator
// has opened, and stands for a public address.
func TestRebindingReachesNothing(t *testing.T) {
	t.Parallel()
	const flips = 250
	good, victim := netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.1")
	mapped := netip.AddrFrom16(victim.As16())
	for _, test := range []struct {
		name   string
		answer func(n int64) []netip.Addr // to the nth question
	}{
		// Each call asks for A and for AAAA: every second pair is the other address.
		{"each call another address", func(n int64) []netip.Addr { return []netip.Addr{[]netip.Addr{good, victim}[n/2%2]} }},
		{"each question another address", func(n int64) []netip.Addr { return []netip.Addr{[]netip.Addr{good, victim, victim}[n%3]} }},
		{"both at once", func(int64) []netip.Addr { return []netip.Addr{victim, good} }},
		{"one as IPv6", func(int64) []netip.Addr { return []netip.Addr{mapped, netip.IPv6Loopback(), good} }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			endpoint, trap := startPair(t)
			p := New()
			p.roots = endpoint.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
			var asked atomic.Int64
			p.resolver = resolverOf(t, func(string) []netip.Addr { return test.answer(asked.Add(1) - 1) })
			event := eventTo(fmt.Sprintf("https://example.com:%d/", trap.port()))
			guarded := settingsOf(`{"ports":[%d],"allow":["127.0.0.2/32"]}`, trap.port())
			got := make(map[sdk.Outcome]int)
			for range flips {
				_, err := send(p, guarded, event)
				got[kindOf(err)]++
			}
			if n := trap.accepted.Load(); n != 0 {
				t.Fatalf("%d connections to 127.0.0.1", n)
			}
			if got[sdk.Accepted] == 0 || got[sdk.Accepted]+got[sdk.Misconfigured] != flips {
				t.Errorf("outcomes %v", got)
			}

			// The control: with that address open instead, the same answers lead there.
			open := settingsOf(`{"ports":[%d],"allow":["127.0.0.1/32"]}`, trap.port())
			for range 20 {
				send(p, open, event)
			}
			if trap.accepted.Load() == 0 {
				t.Error("the name server never led to 127.0.0.1")
			}
		})
	}
}

// startPair starts an endpoint on 127.0.0.2 and a trap on the same port of
// 127.0.0.1.
func startPair(t *testing.T) (*httptest.Server, *listener) {
	t.Helper()
	trap := listen(t, "127.0.0.1:0")
	inner, err := net.Listen("tcp", fmt.Sprintf("127.0.0.2:%d", trap.port()))
	if err != nil {
		t.Fatal(err)
	}
	endpoint := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	endpoint.Listener.Close()
	endpoint.Listener = inner
	endpoint.Config.ErrorLog = silent
	endpoint.StartTLS()
	t.Cleanup(endpoint.Close)
	return endpoint, trap
}
