package smtp

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/smtp/smtptest"
)

// The server answers nothing before it has heard DATA, so a client that waits for
// the reply to MAIL waits in vain: that is the control.
func TestCommandsAreSaidAtOnceWhereTheServerAllowsIt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		offer   string
		timeout time.Duration
		want    sdk.Outcome
		heard   []string
	}{
		{"PIPELINING", 20 * time.Second, sdk.Accepted, []string{
			"MAIL FROM:<noreply@acme.example> BODY=8BITMIME", "RCPT TO:<ada@example.com>", "DATA",
			"RSET", "MAIL FROM:<noreply@acme.example> BODY=8BITMIME", "RCPT TO:<ada@example.com>", "DATA",
		}},
		{"HELP", time.Second, sdk.Temporary, []string{"MAIL FROM:<noreply@acme.example> BODY=8BITMIME"}},
	} {
		t.Run(c.offer, func(t *testing.T) {
			t.Parallel()
			server := startPatient(t, c.offer)
			provider := newProvider(t)
			var err error
			for range 2 {
				ctx, cancel := context.WithTimeout(t.Context(), c.timeout)
				defer cancel()
				if _, err = provider.Send(ctx, requestTo(server.settings(), testMail())); err != nil {
					break
				}
			}
			if kindOf(err) != c.want {
				t.Errorf("outcome = %s (%v), want %s", kindOf(err), err, c.want)
			}
			provider.Close()
			if diff := cmp.Diff(c.heard, server.stop()); diff != "" {
				t.Errorf("heard (-want +got):\n%s", diff)
			}
		})
	}
}

// A server that goes on to DATA in spite of its own refusal gets no message, and
// no second chance over this connection.
func TestARefusalEndsAPipelinedMessage(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"MAIL", "RCPT"} {
		eachWay(t, verb, func(t *testing.T, greeted string) {
			var mu sync.Mutex
			var verbs []string
			server := smtptest.StartScripted(t, func(connection int, heard string) string {
				mu.Lock()
				defer mu.Unlock()
				verbs = append(verbs, heard)
				switch {
				case heard == "EHLO":
					return greeted
				case heard == verb && connection == 1:
					return "550 5.7.1 no"
				}
				return ""
			})
			provider := newProvider(t)
			request := requestTo(scriptedSettings(server), testMail())
			if _, err := provider.Send(t.Context(), request); err == nil {
				t.Error("taken")
			}
			mu.Lock()
			if strings.Contains(fmt.Sprint(verbs), smtptest.Dot) {
				t.Errorf("a message was said: %v", verbs)
			}
			mu.Unlock()
			// Where DATA was not said, the connection is as good as before.
			_, err := provider.Send(t.Context(), request)
			if again := server.Connections(); greeted != "" && (again != 2 || err != nil) || greeted == "" && again != 1 {
				t.Errorf("the next message: %v, over %d connections in all", err, again)
			}
		})
	}
}

// What surely is not whole on the other side is not "unknown".
func TestAMessageThatWasNotHandedOverIsTemporary(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		size int
		deaf bool
		want sdk.Outcome
	}{
		{"larger than all buffers on the way", 24 << 20, true, sdk.Temporary},
		{"handed over", 1 << 10, false, sdk.Unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			server := startPatient(t, "PIPELINING")
			server.cancel, server.deaf = cancel, c.deaf
			m := testMail()
			m.HTML = strings.Repeat("0123456789abcde\n", c.size/16)
			_, err := newProvider(t).Send(ctx, requestTo(server.settings(), m))
			if failure := sdk.FailureOf(err); err == nil || failure.Kind != c.want {
				t.Errorf("outcome = %s (%v, %s), want %s", kindOf(err), err, failure.Private, c.want)
			}
		})
	}
}

// patient is a server that answers only when it has heard DATA, or the final dot.
type patient struct {
	listener net.Listener
	offer    string
	cancel   func() // called in place of the reply to the dot
	deaf     bool   // or to DATA, after which it reads nothing
	over     chan struct{}
	done     chan struct{}
	heard    []string // once done
	once     sync.Once
}

func startPatient(t *testing.T, offer string) *patient {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &patient{listener: listener, offer: offer, over: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		p.serve(conn)
	}()
	t.Cleanup(func() { p.stop() })
	return p
}

func (p *patient) settings() []byte {
	return fmt.Appendf(nil, `{"host":"127.0.0.1","port":%d,"tls":"none"}`, p.listener.Addr().(*net.TCPAddr).Port)
}

// stop waits for the end of the connection and gives what was heard.
func (p *patient) stop() []string {
	p.once.Do(func() {
		close(p.over)
		_ = p.listener.Close()
	})
	<-p.done
	return p.heard
}

func (p *patient) serve(conn net.Conn) {
	lines := bufio.NewReader(conn)
	fmt.Fprint(conn, "220 smtp.test\r\n")
	owed := 0
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "EHLO"):
			fmt.Fprintf(conn, "250-smtp.test\r\n250-8BITMIME\r\n250 %s\r\n", p.offer)
			continue
		case line == "QUIT":
			return
		}
		p.heard = append(p.heard, line)
		if line != "DATA" {
			owed++
			continue
		}
		fmt.Fprint(conn, strings.Repeat("250 ok\r\n", owed)+"354 go on\r\n")
		owed = 0
		if p.deaf {
			time.AfterFunc(50*time.Millisecond, p.cancel) // while the message is on its way
			<-p.over
			return
		}
		for line != ".\r\n" {
			if line, err = lines.ReadString('\n'); err != nil {
				return
			}
		}
		if p.cancel != nil {
			p.cancel()
			<-p.over
			return
		}
		fmt.Fprint(conn, "250 2.0.0 ok\r\n")
	}
}
