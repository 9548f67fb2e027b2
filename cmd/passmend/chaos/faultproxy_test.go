package chaos

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A fault that is not there makes every test behind the proxy pass: each is seen.
func TestProxyDoesWhatItSays(t *testing.T) {
	t.Parallel()
	const quick = 150 * time.Millisecond
	for _, c := range []struct {
		name   string
		faults Faults
		send   string
		want   string        // the answer
		after  time.Duration // not before
		err    error         // instead of an answer
	}{
		{name: "nothing", send: "hello\r\n", want: "hello\r\n"},
		{name: "latency each way", faults: Faults{Latency: quick}, send: "hello\r\n", want: "hello\r\n", after: 2 * quick},
		{name: "bandwidth each way", faults: Faults{Bandwidth: 70}, send: "hello\r\n", want: "hello\r\n", after: 200 * time.Millisecond},
		{name: "reset", faults: Faults{Reset: true}, send: "hello\r\n", err: syscall.ECONNRESET},
		{name: "black hole", faults: Faults{BlackHole: true}, send: "hello\r\n", err: os.ErrDeadlineExceeded},
		{name: "no cut before the dot", faults: Faults{CutAfterDot: true}, send: "hello\r\n", want: "hello\r\n"},
		{name: "cut after the dot", faults: Faults{CutAfterDot: true}, send: "mail\r\n.\r\n", err: syscall.ECONNRESET},
		{name: "no hold before the dot", faults: Faults{HoldAfterDot: true}, send: "hello\r\n", want: "hello\r\n"},
		{name: "hold after the dot", faults: Faults{HoldAfterDot: true}, send: "mail\r\n.\r\n", err: os.ErrDeadlineExceeded},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			proxy, received := proxyToEcho(t)
			proxy.Set(c.faults)
			conn, err := net.Dial("tcp", proxy.Addr())
			if c.err != nil && errors.Is(err, c.err) {
				return // as early as that
			}
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			begun := time.Now()
			if err := conn.SetDeadline(begun.Add(2 * time.Second)); err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(conn, c.send)
			answer := make([]byte, len(c.send))
			_, err = io.ReadFull(conn, answer)
			if c.err != nil {
				if !errors.Is(err, c.err) {
					t.Errorf("got %q and %v, want %v", answer, err, c.err)
				}
			} else if err != nil || string(answer) != c.want {
				t.Errorf("got %q and %v, want %q", answer, err, c.want)
			}
			if took := time.Since(begun); took < c.after {
				t.Errorf("took %s, want at least %s", took, c.after)
			}
			if strings.Contains(c.name, "after the dot") {
				if got := <-received; got != c.send {
					t.Errorf("the server got %q: what is cut is the answer, not the mail", got)
				}
			}
		})
	}
}

// proxyToEcho leads to a server that answers a line with itself, and a line "mail"
// only once its dot is there.
func proxyToEcho(t *testing.T) (proxy *Proxy, received <-chan string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 1)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				r := bufio.NewReader(conn)
				line, err := r.ReadString('\n')
				if line == "mail\r\n" {
					var dot string
					dot, err = r.ReadString('\n')
					line += dot
				}
				if err != nil {
					return
				}
				lines <- line
				_, _ = io.WriteString(conn, line)
				_, _ = io.Copy(io.Discard, conn)
			}()
		}
	}()
	if proxy, err = NewProxy(listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close(); _ = proxy.Close() })
	return proxy, lines
}
