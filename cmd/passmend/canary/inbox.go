package canary

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/passmend/passmend/cmd/passmend/mailbox"
	"github.com/passmend/passmend/tenants"
)

// Limits of the inbox: it is open to whatever network brings the mail.
const (
	maxMailBytes   = 256 << 10
	maxConnections = 16
	maxCommandLine = 4 << 10
	idleTime       = time.Minute
	maxRecipients  = 4
)

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// Inbox takes mail for one address and what is tagged with it, and keeps none: a mail
// goes to who waits for it, or nowhere. Everything else it refuses.
type Inbox struct {
	addr          string
	local, domain string
	server        *smtp.Server
	listener      net.Listener
	served        chan struct{}

	mu      sync.Mutex
	waiting map[string]chan mailbox.Message // by recipient
}

// NewInbox gives an inbox that does not listen yet, at addr, HOST:PORT, for mail to
// address.
func NewInbox(addr, address string) (*Inbox, error) {
	local, domain, _ := strings.Cut(strings.ToLower(address), "@")
	if !tenants.ValidAddrSpec(address) || strings.Contains(local, "+") || len(local) > 30 {
		return nil, errors.New("canary's address: must be an address as canary@probe.example.com, with at most 30 characters before the @ and no +")
	}
	i := &Inbox{addr: addr, local: local, domain: domain, served: make(chan struct{}), waiting: make(map[string]chan mailbox.Message)}
	i.server = smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &session{inbox: i}, nil }))
	i.server.Domain = "canary." + domain
	i.server.MaxMessageBytes, i.server.MaxRecipients, i.server.MaxLineLength = maxMailBytes, maxRecipients, maxCommandLine
	i.server.ReadTimeout, i.server.WriteTimeout = idleTime, idleTime
	i.server.ErrorLog = silent{} // it would quote what strangers sent
	return i, nil
}

type silent struct{}

func (silent) Printf(string, ...any) {}
func (silent) Println(...any)        {}

func (i *Inbox) start(ctx context.Context) error {
	var listening net.ListenConfig
	listener, err := listening.Listen(ctx, "tcp", i.addr)
	if err != nil {
		return fmt.Errorf("canary's inbox: %w", err)
	}
	i.listener = &limitedListener{Listener: listener, free: make(chan struct{}, maxConnections)}
	go func() {
		defer close(i.served)
		_ = i.server.Serve(i.listener) // it ends by stop, or by a fault that shows as mails that do not arrive
	}()
	return nil
}

// Addr is where it listens, with its real port; before it is started, where it will.
func (i *Inbox) Addr() string {
	if i.listener == nil {
		return i.addr
	}
	return i.listener.Addr().String()
}

func (i *Inbox) stop(context.Context) error {
	// Open connections are cut: their mail is tried again, and taken for nobody's.
	err := errors.Join(ignoreClosed(i.listener.Close()), ignoreClosed(i.server.Close()))
	<-i.served
	return err
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, smtp.ErrServerClosed) {
		return nil
	}
	return err
}

func (i *Inbox) address(tag string) string { return i.local + "+" + tag + "@" + i.domain }

// await takes mails to an address from now on, the first of those that nobody reads
// yet; forget ends it.
func (i *Inbox) await(address string) (mails <-chan mailbox.Message, forget func()) {
	waiting := make(chan mailbox.Message, 1)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.waiting[address] = waiting
	return waiting, func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		delete(i.waiting, address)
	}
}

// takes says whether mail to a recipient is taken: what is tagged with the address,
// also of a reset that has ended, whose notice is still on its way.
func (i *Inbox) takes(recipient string) bool {
	local, domain, _ := strings.Cut(strings.ToLower(recipient), "@")
	name, _, tagged := strings.Cut(local, "+")
	return tagged && name == i.local && domain == i.domain
}

func (i *Inbox) keep(recipients []string, raw []byte) {
	message := mailbox.Parse(recipients, raw, time.Now())
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, recipient := range recipients {
		if waiting, ok := i.waiting[strings.ToLower(recipient)]; ok {
			select {
			case waiting <- message:
			default: // a second mail to the same reset
			}
		}
	}
}

// session is one connection's present transaction. BDAT runs Data beside the
// connection's own goroutine, hence the lock.
type session struct {
	inbox *Inbox

	mu         sync.Mutex
	recipients []string
}

func (s *session) Mail(string, *smtp.MailOptions) error { return nil }

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	if !s.inbox.takes(to) {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such mailbox"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recipients = append(s.recipients, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	s.mu.Lock()
	recipients := slices.Clone(s.recipients)
	s.mu.Unlock()
	raw, err := io.ReadAll(r)
	if err != nil {
		return err // the library's own: too large, or the connection broke
	}
	s.inbox.keep(recipients, raw)
	return nil
}

// Reset is called after the answer to DATA went out, and for RSET and EHLO.
func (s *session) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recipients = nil
}

func (s *session) Logout() error { return nil }

// limitedListener has at most as many connections open as free has room for; more
// wait in the system's queue.
type limitedListener struct {
	net.Listener
	free chan struct{}
}

func (l *limitedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	select {
	case l.free <- struct{}{}:
		return &limitedConn{Conn: conn, free: l.free}, nil
	default: // closed at once: a server that waits here would not hear of its end
		_ = conn.Close()
		return &limitedConn{Conn: conn, given: true}, nil
	}
}

type limitedConn struct {
	net.Conn
	free  chan struct{}
	mu    sync.Mutex
	given bool
}

func (c *limitedConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.given {
		c.given = true
		<-c.free
	}
	return c.Conn.Close()
}
