package webhook

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/passmend/passmend/plugins/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// silent is for servers whose clients misbehave on purpose.
var silent = log.New(io.Discard, "", 0)

// quick are limits for servers that never answer.
var quick = limits{
	dial:    time.Second,
	tls:     time.Second,
	headers: time.Second,
	total:   2 * time.Second,
}

func settingsOf(format string, args ...any) sdk.Settings {
	return sdk.Settings{Values: fmt.Appendf(nil, format, args...)}
}

// development opens loopback, where the test servers are.
func development() sdk.Settings { return settingsOf(`{"insecure":true}`) }

func eventTo(url string) *sdk.Event {
	return &sdk.Event{
		URL:     url,
		Headers: []sdk.Header{{Name: "Content-Type", Value: "application/json"}},
		Body:    []byte(`{"data":{}}`),
	}
}

func send(p sdk.Provider, settings sdk.Settings, event *sdk.Event) (sdk.Receipt, error) {
	return p.Send(context.Background(), sdk.SendRequest{IdempotencyKey: "key-1", Settings: settings, Event: event})
}

// kindOf is the outcome of err, Accepted for nil.
func kindOf(err error) sdk.Outcome {
	if err == nil {
		return sdk.Accepted
	}
	return sdk.FailureOf(err).Kind
}

// listener counts what connects to it, and ends each connection at once.
type listener struct {
	net.Listener
	accepted atomic.Int64
}

func listen(t *testing.T, address string) *listener {
	t.Helper()
	inner, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	l := &listener{Listener: inner}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := inner.Accept()
			if err != nil {
				return
			}
			l.accepted.Add(1)
			conn.Close()
		}
	}()
	t.Cleanup(func() { inner.Close(); <-done })
	return l
}

func (l *listener) port() int { return l.Addr().(*net.TCPAddr).Port }

// serveTCP runs handle on every connection to a new server until the test ends,
// and gives its address.
func serveTCP(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			handled := make(chan struct{})
			go func() { defer close(handled); defer conn.Close(); handle(conn) }()
			defer func() { conn.Close(); <-handled }()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

// resolverOf asks a name server of the test's own, over UDP. answer gives the
// addresses of a name, without its final dot, each time it is asked.
func resolverOf(t *testing.T, answer func(name string) []netip.Addr) *net.Resolver {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buffer := make([]byte, 1500)
		for {
			n, from, err := server.ReadFrom(buffer)
			if err != nil {
				return
			}
			if packed, err := answerTo(buffer[:n], answer); err == nil {
				server.WriteTo(packed, from)
			}
		}
	}()
	t.Cleanup(func() { server.Close(); <-done })
	return &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "udp", server.LocalAddr().String())
		},
	}
}

// answerTo answers a query for A or AAAA with a time to live of nothing. A name
// without addresses does not exist.
func answerTo(query []byte, answer func(name string) []netip.Addr) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		return nil, err
	}
	question := m.Questions[0]
	header := dnsmessage.ResourceHeader{Name: question.Name, Class: dnsmessage.ClassINET}
	addrs := answer(strings.TrimSuffix(question.Name.String(), "."))
	reply := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true},
		Questions: m.Questions,
	}
	if len(addrs) == 0 {
		reply.RCode = dnsmessage.RCodeNameError
	}
	for _, addr := range addrs {
		switch {
		case addr.Is4() && question.Type == dnsmessage.TypeA:
			reply.Answers = append(reply.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: addr.As4()}})
		case !addr.Is4() && question.Type == dnsmessage.TypeAAAA:
			reply.Answers = append(reply.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: addr.As16()}})
		}
	}
	return reply.Pack()
}
