package mailbox

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

func newServer(m *Mailbox) *smtp.Server {
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
		return &session{mailbox: m}, nil
	}))
	server.Domain = "mailbox.localhost"
	server.MaxMessageBytes = maxMessageBytes
	server.MaxRecipients = maxRecipients
	server.MaxLineLength = maxLineBytes
	server.ReadTimeout = idleTimeout
	server.WriteTimeout = time.Minute
	server.EnableSMTPUTF8 = true
	server.ErrorLog = events{m.config.Logger}
	return server
}

// session is one connection's present transaction. BDAT runs Data beside the
// connection's own goroutine, hence the lock.
type session struct {
	mailbox *Mailbox

	mu         sync.Mutex
	recipients []string
	receiving  bool // counted as busy until the answer to DATA is written
}

func (s *session) Mail(string, *smtp.MailOptions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.receiving && !s.mailbox.begin() {
		return &smtp.SMTPError{Code: 421, EnhancedCode: smtp.EnhancedCode{4, 3, 2}, Message: "the mailbox is closing"}
	}
	s.receiving = true
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recipients = append(s.recipients, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	s.mu.Lock()
	recipients := slices.Clone(s.recipients)
	s.mu.Unlock()

	raw, err := io.ReadAll(io.LimitReader(r, maxMessageBytes+1))
	if err != nil {
		return err // the library's own: too large, or the connection broke
	}
	if len(raw) > maxMessageBytes {
		return smtp.ErrDataTooLarge
	}
	s.mailbox.keep(Parse(recipients, raw, time.Now()))
	return nil
}

// Reset is called after the answer to DATA went out, and for RSET and EHLO.
func (s *session) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recipients = nil
	if s.receiving {
		s.receiving = false
		s.mailbox.end()
	}
}

func (s *session) Logout() error {
	s.Reset()
	return nil
}

// tracked hands out connections that Stop can close: go-smtp 0.25.1 closes idle
// ones in Close, which waits for nobody, and not in Shutdown, which does.
type tracked struct {
	net.Listener
	mailbox *Mailbox
}

func (t tracked) Accept() (net.Conn, error) {
	conn, err := t.Listener.Accept()
	if err != nil {
		return nil, err
	}
	held := &heldConn{Conn: conn, mailbox: t.mailbox}
	t.mailbox.mu.Lock()
	defer t.mailbox.mu.Unlock()
	if t.mailbox.stopping { // Stop may already have closed what it knew of
		_ = conn.Close()
	} else {
		t.mailbox.conns[conn] = struct{}{}
	}
	return held, nil
}

type heldConn struct {
	net.Conn
	mailbox *Mailbox
}

func (c *heldConn) Close() error {
	c.mailbox.mu.Lock()
	delete(c.mailbox.conns, c.Conn)
	c.mailbox.mu.Unlock()
	return c.Conn.Close()
}

// events logs what the library reports, by its constant format only: the values
// could hold a piece of a mail.
type events struct{ logger *slog.Logger }

func (e events) Printf(format string, _ ...any) {
	e.logger.Warn("mailbox connection failed", "event", format)
}

func (e events) Println(values ...any) {
	e.logger.Warn("mailbox connection failed", "event", fmt.Sprintf("%d values", len(values)))
}
