package webhook

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/sdk/serve"
)

// stepNames also clears the steps, so that the rest can be compared.
func stepNames(steps *[]sdk.Step) []string {
	var names []string
	for _, step := range *steps {
		names = append(names, step.Name)
	}
	*steps = nil
	return names
}

func TestTheEventIsWrittenAsItStands(t *testing.T) {
	t.Parallel()
	var got bytes.Buffer
	address := serveTCP(t, func(conn net.Conn) {
		reader := bufio.NewReader(io.TeeReader(conn, &got))
		request, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		io.Copy(io.Discard, request.Body)
		fmt.Fprint(conn, "HTTP/1.1 202 Accepted\r\nConnection: close\r\n\r\nthank\tyou\r\n")
	})
	event := &sdk.Event{
		URL: "http://" + address + "/hook//a%2Fb?x=1&y=%20",
		Headers: []sdk.Header{
			{Name: "Content-Type", Value: "application/json"},
			{Name: "Keygen-Signature", Value: `keyid="a", algorithm="ed25519", signature="a+/=="`},
			{Name: "user-agent", Value: "Keygen/1.8"},
			{Name: "webhook-id", Value: "msg_1"},
			{Name: "webhook-signature", Value: "v1,a v1,b"},
			{Name: "X-Twice", Value: "1"},
			{Name: "X-Twice", Value: "2"},
		},
		Body: []byte("{\"a\":\"\u00fc\"}\n"),
	}
	receipt, err := send(New(), development(), event)
	if err != nil {
		t.Fatal(err)
	}
	want := "POST /hook//a%2Fb?x=1&y=%20 HTTP/1.1\r\n" +
		"Host: " + address + "\r\n" +
		"User-Agent: Keygen/1.8\r\n" +
		"Content-Length: 11\r\n" +
		"Content-Type: application/json\r\n" +
		"Keygen-Signature: keyid=\"a\", algorithm=\"ed25519\", signature=\"a+/==\"\r\n" +
		"X-Twice: 1\r\n" +
		"X-Twice: 2\r\n" +
		"webhook-id: msg_1\r\n" +
		"webhook-signature: v1,a v1,b\r\n" +
		"Connection: close\r\n" +
		"\r\n{\"a\":\"ü\"}\n"
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"dial", "wait"}, stepNames(&receipt.Steps)); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(sdk.Receipt{Outcome: sdk.Accepted, Code: "202", Answer: "thank you"}, receipt); diff != "" {
		t.Errorf("receipt (-want +got):\n%s", diff)
	}
}

// An event without a user agent and a body is sent without either.
func TestNothingIsAddedToAnEvent(t *testing.T) {
	t.Parallel()
	seen := make(chan *http.Request, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r }))
	t.Cleanup(server.Close)
	if _, err := send(New(), development(), &sdk.Event{URL: server.URL}); err != nil {
		t.Fatal(err)
	}
	r := <-seen
	if diff := cmp.Diff(http.Header{"Content-Length": {"0"}, "Connection": {"close"}}, r.Header); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}

func TestHeadersThatAreNotTheEventsAreRefused(t *testing.T) {
	t.Parallel()
	victim := listen(t, "127.0.0.1:0")
	for _, header := range []sdk.Header{
		{Name: "Host", Value: "other.example"}, {Name: "content-length", Value: "1"}, {Name: "TRANSFER-ENCODING", Value: "chunked"},
		{Name: "Connection", Value: "upgrade"}, {Name: "Upgrade", Value: "h2c"}, {Name: "Expect", Value: "100-continue"},
		{Name: "Te", Value: "trailers"}, {Name: "Trailer", Value: "a"}, {Name: "", Value: "a"}, {Name: "a b", Value: "a"},
		{Name: "a:", Value: "b"}, {Name: "a\r\nb", Value: "c"}, {Name: "ü", Value: "a"}, {Name: "a", Value: "b\r\nc: d"}, {Name: "a", Value: "\x00"},
	} {
		event := eventTo("http://" + victim.Addr().String())
		event.Headers = append(event.Headers, header)
		if _, err := send(New(), development(), event); kindOf(err) != sdk.ContentRefused {
			t.Errorf("%q: %v", header, err)
		}
	}
	if n := victim.accepted.Load(); n != 0 {
		t.Errorf("%d connections", n)
	}
}

// secureServer serves https for example.com, and the provider trusts it.
func secureServer(t *testing.T, p *Provider, configure func(*httptest.Server), handler http.HandlerFunc) (port int) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = silent
	configure(server)
	server.StartTLS()
	t.Cleanup(server.Close)
	p.roots = server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	p.resolver = resolverOf(t, func(string) []netip.Addr { return []netip.Addr{netip.MustParseAddr("127.0.0.1")} })
	return server.Listener.Addr().(*net.TCPAddr).Port
}

func TestHTTPSOverBothVersions(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			p := New()
			port := secureServer(t, p, func(s *httptest.Server) { s.EnableHTTP2 = protocol == "HTTP/2.0" },
				func(w http.ResponseWriter, r *http.Request) {
					fmt.Fprint(w, r.Proto, " ", r.Host, " ", r.Header.Get("Webhook-Id"), " ", r.Header.Values("User-Agent"))
				})
			event := eventTo(fmt.Sprintf("https://example.com:%d/", port))
			event.Headers = append(event.Headers, sdk.Header{Name: "webhook-id", Value: "msg_1"})
			receipt, err := send(p, development(), event)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"dns", "dial", "tls", "wait"}, stepNames(&receipt.Steps)); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
			want := sdk.Receipt{
				Outcome: sdk.Accepted, Code: "200",
				Answer: fmt.Sprintf("%s example.com:%d msg_1 []", protocol, port),
			}
			if diff := cmp.Diff(want, receipt); diff != "" {
				t.Errorf("receipt (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOverTheWire(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		http.Error(w, "slower", http.StatusTooManyRequests)
	}))
	t.Cleanup(server.Close)
	over, stop, err := serve.Loopback(New())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	_, err = send(over, development(), eventTo(server.URL))
	got := sdk.FailureOf(err)
	if diff := cmp.Diff([]string{"dial", "wait"}, stepNames(&got.Steps)); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	want := &sdk.Failure{
		Kind: sdk.RateLimited, Public: "the endpoint asks for fewer events (429)",
		Code: "429", Answer: "slower", RetryAfter: 7 * time.Second,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("failure (-want +got):\n%s", diff)
	}
}

// No redirect is followed, whatever its form: the endpoint sees one request and
// the place it points to sees none.
func TestRedirectsAreFailures(t *testing.T) {
	t.Parallel()
	victim := listen(t, "127.0.0.1:0")
	locations := []string{
		"/again", "http://" + victim.Addr().String() + "/", "https://" + victim.Addr().String() + "/", "//" + victim.Addr().String(),
		"http://169.254.169.254/latest/meta-data/", "file:///etc/passwd", "gopher://" + victim.Addr().String(), "",
	}
	for _, status := range []int{300, 301, 302, 303, 305, 307, 308} {
		var requests atomic.Int64
		for _, location := range locations {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				requests.Add(1)
				w.Header().Set("Location", location)
				w.Header().Set("Alt-Svc", `h2="`+victim.Addr().String()+`"`)
				w.Header().Set("Refresh", "0; url=http://"+victim.Addr().String())
				w.WriteHeader(status)
			}))
			_, err := send(New(), development(), eventTo(server.URL))
			server.Close()
			failure := sdk.FailureOf(err)
			if failure.Kind != sdk.Temporary || failure.Code != fmt.Sprint(status) || !strings.Contains(failure.Public, "redirect") {
				t.Errorf("%d to %q: %v", status, location, err)
			}
		}
		if n := requests.Load(); n != int64(len(locations)) {
			t.Errorf("%d: %d requests for %d events", status, n, len(locations))
		}
	}
	if n := victim.accepted.Load(); n != 0 {
		t.Errorf("%d connections to where they point", n)
	}
	// The control: an ordinary client goes there.
	server := httptest.NewServer(http.RedirectHandler(locations[1], http.StatusFound))
	t.Cleanup(server.Close)
	if _, err := server.Client().Get(server.URL); err == nil || victim.accepted.Load() == 0 {
		t.Error("the redirect leads nowhere")
	}
}

func TestFailuresBeforeAnAnswer(t *testing.T) {
	t.Parallel()
	reset := func(conn net.Conn) {
		conn.Read(make([]byte, 64))
		conn.(*net.TCPConn).SetLinger(0)
	}
	closed := listen(t, "127.0.0.1:0")
	closed.Close()
	for _, test := range []struct {
		name      string
		url       string
		serve     func(net.Conn)
		untrusted bool
		old       bool
		kind      sdk.Outcome
		public    string
		private   string
	}{
		{
			name: "a name that does not exist", url: "https://nowhere.example.com/",
			kind: sdk.Temporary, public: "the endpoint's host does not exist in the DNS", private: "dns: *net.DNSError",
		},
		{
			name: "a port where nobody listens", url: "http://" + closed.Addr().String(),
			kind: sdk.Temporary, public: "the endpoint's host refused the connection", private: "dial: connection refused",
		},
		{
			name: "a reset before the event", url: "https://", serve: reset,
			kind: sdk.Temporary, public: "the endpoint's host reset the connection", private: "tls: connection reset by peer",
		},
		{
			name: "no TLS", url: "https://", serve: func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 200 OK\r\n\r\n") },
			kind: sdk.Temporary, public: "the endpoint did not agree on encryption", private: "tls: tls.RecordHeaderError",
		},
		{
			name: "a certificate of nobody known", url: "https://", untrusted: true,
			kind: sdk.Temporary, public: "the endpoint's certificate is not valid for its host", private: "tls: x509.UnknownAuthorityError",
		},
		{
			name: "a connection lost after the event", url: "http://", serve: func(c net.Conn) { http.ReadRequest(bufio.NewReader(c)) },
			kind: sdk.Unknown, public: "the connection was lost before the endpoint answered", private: "wait: *errors.errorString",
		},
		{
			name: "no HTTP", url: "http://", serve: func(c net.Conn) {
				http.ReadRequest(bufio.NewReader(c))
				fmt.Fprint(c, "220 mail.example.com ESMTP\r\n")
			},
			kind: sdk.Unknown, public: "the connection was lost before the endpoint answered", private: "wait: *errors.errorString",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := New()
			p.resolver = resolverOf(t, func(string) []netip.Addr { return nil })
			target := test.url
			switch {
			case test.untrusted:
				server := httptest.NewUnstartedServer(http.NotFoundHandler())
				server.Config.ErrorLog = silent
				server.StartTLS()
				t.Cleanup(server.Close)
				target += server.Listener.Addr().String()
			case test.serve != nil:
				target += serveTCP(t, test.serve)
			}
			_, err := send(p, development(), eventTo(target))
			got := sdk.FailureOf(err)
			got.Steps = nil
			want := &sdk.Failure{Kind: test.kind, Public: test.public, Private: test.private}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("failure (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS11, tls.VersionTLS12} {
		p := New()
		port := secureServer(t, p, func(s *httptest.Server) {
			s.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: version}
		}, func(http.ResponseWriter, *http.Request) {})
		_, err := send(p, development(), eventTo(fmt.Sprintf("https://example.com:%d/", port)))
		if want := version >= tls.VersionTLS12; (err == nil) != want {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
	}
}

func TestACallThatIsOver(t *testing.T) {
	t.Parallel()
	victim := listen(t, "127.0.0.1:0")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := New().Send(ctx, sdk.SendRequest{Settings: development(), Event: eventTo("http://" + victim.Addr().String())})
	want := &sdk.Failure{
		Kind: sdk.Temporary, Public: "the call was ended before the event was sent", Private: "start: *errors.errorString",
	}
	if diff := cmp.Diff(want, sdk.FailureOf(err)); diff != "" {
		t.Errorf("failure (-want +got):\n%s", diff)
	}
	if n := victim.accepted.Load(); n != 0 {
		t.Errorf("%d connections", n)
	}
}

func TestMailIsRefused(t *testing.T) {
	t.Parallel()
	_, err := New().Send(t.Context(), sdk.SendRequest{Settings: development(), Mail: &sdk.Mail{}})
	if kindOf(err) != sdk.ContentRefused {
		t.Error(err)
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	d, err := New().Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(d.Contents, []sdk.Content{sdk.ContentEvent}) || !slices.Equal(d.Permissions.Ports, []uint16{443}) {
		t.Errorf("%+v", d)
	}
	// The times of the threat model.
	want := limits{dial: 5 * time.Second, tls: 5 * time.Second, headers: 10 * time.Second, total: 15 * time.Second}
	if got := New().limits; got != want {
		t.Errorf("limits %+v", got)
	}
}

// Nothing of the environment decides where an event goes.
func TestNoProxy(t *testing.T) {
	t.Parallel()
	if New().transport(t.Context(), &guard{}).Proxy != nil {
		t.Error("the transport asks for a proxy")
	}
}

// Names are asked for as they stand: the name server sees no other.
func TestNamesAreAbsolute(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"hooks.example.com:443": "hooks.example.com.:443",
		"127.0.0.1:443":         "127.0.0.1:443",
		"[::1]:443":             "[::1]:443",
	} {
		if got := absolute(given); got != want {
			t.Errorf("%s: %s", given, got)
		}
	}
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(server.Close)
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	if _, err := send(New(), development(), eventTo("http://localhost:"+port)); err != nil {
		t.Errorf("localhost: %v", err)
	}
}
