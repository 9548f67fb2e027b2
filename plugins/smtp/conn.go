package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"strings"
	"time"

	"github.com/wneessen/go-mail/smtp"
)

const (
	// dialTimeout bounds the TCP connection alone.
	dialTimeout = 10 * time.Second
	// quitTimeout bounds the goodbye.
	quitTimeout = time.Second
	// maxReplies bounds what a server may say during one dial or one message.
	maxReplies = 256 << 10
)

// conn is one connection to a server, greeted, encrypted and authenticated. One
// call uses it at a time.
type conn struct {
	raw       *boundedConn
	client    *smtp.Client
	local     bool // the far end is this machine
	encrypted bool
	used      bool // a message was begun on it
	broken    bool
}

// dial connects, and hands over a connection that is ready for MAIL.
func dial(ctx context.Context, s *settings, t *timer) (*conn, error) {
	config, err := s.tlsConfig()
	if err != nil {
		return nil, err
	}
	end := t.step("dial")
	dialer := net.Dialer{Timeout: dialTimeout}
	raw, err := dialer.DialContext(ctx, "tcp", s.address())
	if err != nil {
		end()
		return nil, &stageError{stage: stageDial, err: err}
	}
	c := &conn{raw: &boundedConn{Conn: raw}, local: isLoopbackAddr(raw.RemoteAddr())}
	release := c.bind(ctx)
	err = c.greet(ctx, s, config, t, end)
	if err == nil {
		err = c.authenticate(s, t)
	}
	release()
	if err != nil {
		c.drop()
		return nil, err
	}
	return c, nil
}

// greet brings the connection to the point where authentication may follow.
// endDial ends the step that dial began.
func (c *conn) greet(ctx context.Context, s *settings, config *tls.Config, t *timer, endDial func()) (err error) {
	var transport net.Conn = c.raw
	end := endDial
	defer func() { end() }()
	if s.TLS == tlsNone && !c.local {
		return misconfigured("tls", "may be none for a loopback host only")
	}
	if s.TLS == tlsImplicit {
		end()
		end = t.step("tls")
		encrypted := tls.Client(c.raw, config)
		if err := encrypted.HandshakeContext(ctx); err != nil {
			return &stageError{stage: stageTLS, err: err}
		}
		transport, c.encrypted = encrypted, true
	}
	if c.client, err = smtp.NewClient(transport, s.Host); err != nil {
		return &stageError{stage: stageGreeting, err: err}
	}
	if err := c.client.Hello(heloName(s, c.raw.LocalAddr())); err != nil {
		return &stageError{stage: stageHello, err: err}
	}
	if s.TLS != tlsStart {
		return nil
	}
	end()
	end = t.step("tls")
	if offered, _ := c.client.Extension("STARTTLS"); !offered {
		return misconfigured("tls", "is starttls, which the server does not offer")
	}
	if err := c.client.StartTLS(config); err != nil {
		return &stageError{stage: stageTLS, err: err}
	}
	c.encrypted = true
	return nil
}

// bind makes ctx govern the connection until release is called. A ctx that ended
// meanwhile leaves the connection unusable.
func (c *conn) bind(ctx context.Context) (release func()) {
	c.raw.left = maxReplies
	deadline, _ := ctx.Deadline()
	if ctx.Err() != nil {
		deadline = time.Unix(1, 0) // not a moment later, as AfterFunc would
	}
	_ = c.raw.SetDeadline(deadline) // fails on a closed connection only; the next use tells
	stop := context.AfterFunc(ctx, func() { _ = c.raw.SetDeadline(time.Unix(1, 0)) })
	return func() {
		if !stop() {
			c.broken = true
		}
	}
}

func (c *conn) usable() bool { return !c.broken }

func (c *conn) drop() { _ = c.raw.Close() }

func (c *conn) quit() {
	_ = c.raw.SetDeadline(time.Now().Add(quitTimeout))
	_ = c.client.Quit()
	c.drop()
}

// boundedConn keeps a server that never stops talking from filling memory.
type boundedConn struct {
	net.Conn
	left int
}

var errTooMuch = errors.New("the server says too much")

func (b *boundedConn) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooMuch
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// heloName is the setting, or this machine's full name, or the address literal
// of RFC 5321, 4.1.3.
func heloName(s *settings, local net.Addr) string {
	if s.HeloName != "" {
		return s.HeloName
	}
	if name, err := os.Hostname(); err == nil && strings.Contains(name, ".") && isDomain(name) {
		return name
	}
	tcp, ok := local.(*net.TCPAddr)
	switch {
	case !ok:
		return "localhost"
	case tcp.IP.To4() != nil:
		return "[" + tcp.IP.String() + "]"
	default:
		return "[IPv6:" + tcp.IP.String() + "]"
	}
}

func isLoopbackAddr(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}
