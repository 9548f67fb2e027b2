package webhook

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
)

// filler is what evil servers send, again and again.
var filler = bytes.Repeat([]byte("0123456789abcde\n"), 4<<10)

// afterRequest reads one request and then does evil.
func afterRequest(evil func(net.Conn)) func(net.Conn) {
	return func(conn net.Conn) {
		request, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		io.Copy(io.Discard, request.Body)
		evil(conn)
	}
}

// endlessly writes until the other side has had enough.
func endlessly(conn net.Conn, text []byte, pause time.Duration) {
	for {
		if _, err := conn.Write(text); err != nil {
			return
		}
		time.Sleep(pause)
	}
}

type evilServer struct {
	name   string
	scheme string
	serve  func(net.Conn)
	want   sdk.Outcome
}

func evilServers() []evilServer {
	say := func(text string) func(net.Conn) {
		return afterRequest(func(c net.Conn) { io.WriteString(c, text) })
	}
	return []evilServer{
		{"an endless body", "http", afterRequest(func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
			endlessly(c, filler, 0)
		}), sdk.Accepted},
		{"a huge body", "http", afterRequest(func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 500 No\r\nContent-Length: 99999999999\r\n\r\n")
			endlessly(c, filler, 0)
		}), sdk.Temporary},
		{"an endless chunk", "http", afterRequest(func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;a=")
			endlessly(c, []byte(strings.Repeat("x", 1<<10)), 0)
		}), sdk.Accepted},
		{"a slow body", "http", afterRequest(func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
			endlessly(c, []byte("a"), 50*time.Millisecond)
		}), sdk.Accepted},
		{"a bomb of headers", "http", afterRequest(func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			endlessly(c, []byte("A: "+strings.Repeat("x", 8<<10)+"\r\n"), 0)
		}), sdk.Unknown},
		{"one endless header", "http", afterRequest(func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nA: ")
			endlessly(c, []byte(strings.Repeat("x", 8<<10)), 0)
		}), sdk.Unknown},
		{"slow headers", "http", afterRequest(func(c net.Conn) { endlessly(c, []byte("H"), 50*time.Millisecond) }), sdk.Unknown},
		{"no answer", "http", afterRequest(func(c net.Conn) { io.Copy(io.Discard, c) }), sdk.Unknown},
		{"endless provisional answers", "http", afterRequest(func(c net.Conn) {
			endlessly(c, []byte("HTTP/1.1 103 Early\r\n\r\n"), 0)
		}), sdk.Unknown},
		{"a stalled TLS handshake", "https", func(c net.Conn) { io.Copy(io.Discard, c) }, sdk.Temporary},
		{"an endless TLS handshake", "https", func(c net.Conn) { endlessly(c, filler, 0) }, sdk.Temporary},
		{"a redirect to itself", "http", say("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"), sdk.Temporary},
		{"a redirect to a file", "http", say("HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n"), sdk.Temporary},
		{"a dropped connection", "http", afterRequest(func(net.Conn) {}), sdk.Unknown},
		{"another protocol", "http", say("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"), sdk.Temporary},
	}
}

// Whatever a server does, the call is over in time, and all of them together take
// little memory. It is alone while it runs: memory is measured.
func TestEvilServersHoldNoSlotAndNoMemory(t *testing.T) {
	const most = 10 << 20
	p := New()
	p.limits = quick
	evil := evilServers()
	addresses := make([]string, len(evil))
	requests := make([]atomic.Int64, len(evil))
	for i, e := range evil {
		addresses[i] = serveTCP(t, func(c net.Conn) { requests[i].Add(1); e.serve(c) })
	}
	before := allocated()
	var calls sync.WaitGroup
	for i, e := range evil {
		calls.Go(func() {
			start := time.Now()
			_, err := send(p, development(), eventTo(e.scheme+"://"+addresses[i]+"/"))
			// Two seconds, for a busy machine.
			if took := time.Since(start); took > quick.total+2*time.Second {
				t.Errorf("%s: the call took %v", e.name, took)
			}
			if kind := kindOf(err); kind != e.want {
				t.Errorf("%s: %s, want %s: %v", e.name, kind, e.want, err)
			}
			if n := requests[i].Load(); n != 1 {
				t.Errorf("%s: %d connections", e.name, n)
			}
		})
	}
	calls.Wait()
	if grown := allocated() - before; grown > most {
		t.Errorf("%d bytes were allocated", grown)
	}

	// The control: reading such a body whole shows.
	before = allocated()
	response, err := http.Post("http://"+addresses[0], "", nil)
	if err != nil {
		t.Fatal(err)
	}
	io.ReadAll(io.LimitReader(response.Body, most))
	response.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if grown := allocated() - before; grown <= most {
		t.Errorf("the measure shows %d bytes for a body of %d", grown, most)
	}
}

// allocated is all that was ever allocated: more than what is resident.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// Over HTTP/2 a server may send as much as the client's window has room for,
// while nobody reads.
func TestTheWindowOfHTTP2IsSmall(t *testing.T) {
	t.Parallel()
	var written atomic.Int64
	p := New()
	port := secureServer(t, p, func(s *httptest.Server) { s.EnableHTTP2 = true }, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			n, _ := w.Write(filler[:1<<10])
			written.Add(int64(n))
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, fmt.Sprintf("https://example.com:%d/", port), nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := p.transport(ctx, guardOf(t, "https", `{"insecure":true}`)).RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.ProtoMajor != 2 {
		t.Fatal(response.Proto)
	}
	time.Sleep(300 * time.Millisecond)
	// By default it would be 4 MiB.
	if n := written.Load(); n > 256<<10 {
		t.Errorf("the server wrote %d bytes", n)
	}
}

// A call leaves no connection behind, not even one that was still being made.
func TestTheConnectionEndsWithTheCall(t *testing.T) {
	t.Parallel()
	closed := make(chan time.Time, 1)
	p := New()
	p.limits = limits{dial: time.Minute, tls: time.Minute, headers: time.Minute, total: time.Second}
	_, err := send(p, development(), eventTo("https://"+serveTCP(t, func(c net.Conn) {
		io.Copy(io.Discard, c)
		closed <- time.Now()
	})))
	if got := sdk.FailureOf(err).Public; got != "the endpoint did not agree on encryption in time" {
		t.Errorf("public text %q", got)
	}
	select {
	case <-closed:
	case <-time.After(5 * time.Second):
		t.Error("the connection is still open")
	}
}

// The times hold for each part of a call, not only for the whole.
func TestEachPartHasItsTime(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, url string
		serve     func(net.Conn)
		public    string
	}{
		{"tls", "https://", func(c net.Conn) { io.Copy(io.Discard, c) }, "the endpoint did not agree on encryption in time"},
		{"headers", "http://", func(c net.Conn) { io.Copy(io.Discard, c) }, "the endpoint took the event and did not answer in time"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := New()
			p.limits = limits{dial: time.Minute, tls: 100 * time.Millisecond, headers: 100 * time.Millisecond, total: time.Minute}
			start := time.Now()
			_, err := send(p, development(), eventTo(test.url+serveTCP(t, test.serve)))
			if got := sdk.FailureOf(err).Public; got != test.public {
				t.Errorf("public text %q", got)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}
