package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/wneessen/go-mail/smtp"

	"github.com/passmend/passmend/plugins/sdk"
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
	raw    *boundedConn
	client *smtp.Client
	broken bool
}

// dial connects, and hands over a connection that is ready for MAIL.
func dial(ctx context.Context, s *settings, t *timer) (*conn, error) {
	end := t.step("dial")
	dialer := net.Dialer{Timeout: dialTimeout}
	raw, err := dialer.DialContext(ctx, "tcp", s.address())
	if err != nil {
		end()
		return nil, &stageError{stage: stageDial, err: err}
	}
	c := &conn{raw: &boundedConn{Conn: raw}}
	release := c.bind(ctx)
	err = c.greet(ctx, s, t, end)
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
func (c *conn) greet(ctx context.Context, s *settings, t *timer, endDial func()) (err error) {
	var transport net.Conn = c.raw
	end := endDial
	defer func() { end() }()
	if s.TLS == tlsNone && !isLoopbackAddr(c.raw.RemoteAddr()) {
		return misconfigured("tls", "may be none for a loopback host only")
	}
	if s.TLS == tlsImplicit {
		end()
		end = t.step("tls")
		encrypted := tls.Client(c.raw, s.tlsConfig())
		if err := encrypted.HandshakeContext(ctx); err != nil {
			return &stageError{stage: stageTLS, err: err}
		}
		transport = encrypted
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
	if err := c.client.StartTLS(s.tlsConfig()); err != nil {
		return &stageError{stage: stageTLS, err: err}
	}
	return nil
}

func (c *conn) authenticate(s *settings, t *timer) error {
	if s.Username == "" {
		return nil
	}
	defer t.step("auth")()
	_, offered := c.client.Extension("AUTH")
	mechanism := chooseAuth(s, offered)
	if mechanism == nil {
		return misconfigured("username", "is set, but the server offers no AUTH PLAIN, LOGIN or CRAM-MD5")
	}
	if err := c.client.Auth(mechanism); err != nil {
		return &stageError{stage: stageAuth, err: err}
	}
	return nil
}

// chooseAuth prefers what hides the password when the connection does not. A
// connection without encryption is to loopback, see settings.validate and greet.
func chooseAuth(s *settings, offered string) smtp.Auth {
	plainText := s.TLS == tlsNone
	order := []string{"PLAIN", "LOGIN", "CRAM-MD5"}
	if plainText {
		order = []string{"CRAM-MD5", "PLAIN", "LOGIN"}
	}
	has := make(map[string]bool)
	for _, name := range strings.Fields(strings.ToUpper(offered)) {
		has[name] = true
	}
	for _, name := range order {
		if !has[name] {
			continue
		}
		switch name {
		case "PLAIN":
			return smtp.PlainAuth("", s.Username, s.password, s.Host, plainText)
		case "LOGIN":
			return smtp.LoginAuth(s.Username, s.password, s.Host, plainText)
		default:
			return smtp.CRAMMD5Auth(s.Username, s.password)
		}
	}
	return nil
}

// reuse checks a kept connection with RSET, which also forgets whatever the last
// message left behind, and sends.
func (c *conn) reuse(ctx context.Context, m *message, t *timer) (reply string, err error) {
	release := c.bind(ctx)
	err = c.at(stageReset, c.client.Reset())
	release()
	if err != nil {
		return "", err
	}
	return c.send(ctx, m, t)
}

// send hands one message over and gives the text of the server's last reply.
func (c *conn) send(ctx context.Context, m *message, t *timer) (reply string, err error) {
	defer t.step("data")()
	defer c.bind(ctx)()
	if err := c.fits(m); err != nil {
		return "", err
	}
	// go-mail asks for SMTPUTF8 whenever it is offered; a relay behind the server
	// may not have it, so it is asked for only when an address needs it.
	c.client.SkipSMTPUTF8(!m.needsUTF8())
	if err := c.at(stageMail, c.client.Mail("<"+m.from+">")); err != nil {
		return "", err
	}
	if err := c.at(stageRcpt, c.client.Rcpt("<"+m.to+">")); err != nil {
		return "", err
	}
	w, err := c.client.Data()
	if err != nil {
		return "", c.at(stageData, err)
	}
	if _, err := w.Write(m.bytes); err != nil {
		return "", c.at(stageBody, err)
	}
	// Close writes the final dot. From here on the server may have taken the
	// message whatever becomes of its reply.
	if err := c.at(stageEnd, w.Close()); err != nil {
		return "", err
	}
	if closed, ok := w.(*smtp.DataCloser); ok {
		reply = closed.ServerResponse()
	}
	return reply, nil
}

// fits holds the message against what the server announced.
func (c *conn) fits(m *message) error {
	if m.needsUTF8() {
		if offered, _ := c.client.Extension("SMTPUTF8"); !offered {
			return &sdk.Failure{
				Kind:   sdk.RecipientRefused,
				Public: "the address needs SMTPUTF8, which the server does not offer",
			}
		}
	}
	_, size := c.client.Extension("SIZE")
	if limit, err := strconv.Atoi(size); err == nil && limit > 0 && len(m.bytes) > limit {
		return &sdk.Failure{Kind: sdk.ContentRefused, Public: "the message is larger than the server takes"}
	}
	return nil
}

// at names the stage of err and notes whether the connection survived it: a reply
// leaves it in step, anything else does not, and 421 announces its end. A server
// that refuses RSET is not one to keep connections to.
func (c *conn) at(stage stage, err error) error {
	if err == nil {
		return nil
	}
	if code := replyCode(err); code == 0 || code == 421 || stage == stageReset {
		c.broken = true
	}
	return &stageError{stage: stage, err: err}
}

// bind makes ctx govern the connection until release is called. A ctx that ended
// meanwhile leaves the connection unusable.
func (c *conn) bind(ctx context.Context) (release func()) {
	c.raw.left = maxReplies
	deadline, _ := ctx.Deadline()
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
