package mailbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

// Limits of what is taken and kept.
const (
	maxMessageBytes = 2 << 20
	maxRecipients   = 100
	maxKeptBytes    = 64 << 20
	defaultCapacity = 200
	// RFC 5321 asks for lines of at most 1,000 octets. A mailbox for development
	// shows what a faulty sender made instead of refusing it.
	maxLineBytes = 256 << 10
	idleTimeout  = 5 * time.Minute // RFC 5321, section 4.5.3.2.7
)

// ErrNotLoopback: the address would let other machines in.
var ErrNotLoopback = errors.New("the development mailbox listens on a loopback address only, such as 127.0.0.1:1025")

// Config of a Mailbox.
type Config struct {
	// Addr is host:port; the host is a loopback IP or "localhost", which means
	// 127.0.0.1. Port 0 lets the system choose.
	Addr string
	// Logger gets connection failures, without addresses or content; nil: nowhere.
	Logger *slog.Logger
	// Capacity is how many messages are kept, oldest dropped; 0 means 200.
	Capacity int
}

func (c *Config) validate() error {
	host, port, err := net.SplitHostPort(c.Addr)
	if err != nil {
		return fmt.Errorf("addr %q: accepted is host:port, such as 127.0.0.1:1025", c.Addr)
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if ip, err := netip.ParseAddr(host); err != nil || !ip.IsLoopback() {
		return fmt.Errorf("addr %q: %w", c.Addr, ErrNotLoopback)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("addr %q: the port is a number from 0 to 65535", c.Addr)
	}
	if c.Capacity < 0 {
		return fmt.Errorf("capacity %d: accepted is 0 (meaning %d) or more", c.Capacity, defaultCapacity)
	}
	c.Addr = net.JoinHostPort(host, port)
	if c.Capacity == 0 {
		c.Capacity = defaultCapacity
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Mailbox receives mail and keeps it. All methods may be called at once from
// many goroutines.
type Mailbox struct {
	config Config
	server *smtp.Server
	served chan struct{} // closed when the accept loop has ended

	mu       sync.Mutex
	listener net.Listener // nil before Start
	conns    map[net.Conn]struct{}
	busy     int // messages between MAIL and the answer to DATA
	stopping bool
	messages []Message // oldest first
	bytes    int       // of their raw forms
	last     int       // number of the newest message
	changed  chan struct{}
}

// New checks the configuration; ErrNotLoopback for an address that other machines
// can reach. Nothing listens yet.
func New(config Config) (*Mailbox, error) {
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("mailbox config: %w", err)
	}
	m := &Mailbox{
		config:  config,
		served:  make(chan struct{}),
		conns:   map[net.Conn]struct{}{},
		changed: make(chan struct{}),
	}
	m.server = newServer(m)
	return m, nil
}

// Start listens and returns once mail is taken. It may be called once; ctx bounds
// the call, not the server's life.
func (m *Mailbox) Start(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.listener != nil || m.stopping {
		return errors.New("start mailbox: it was started or stopped before")
	}
	var listening net.ListenConfig
	listener, err := listening.Listen(ctx, "tcp", m.config.Addr)
	if err != nil {
		return fmt.Errorf("start mailbox: %w", err)
	}
	m.listener = listener
	go func() {
		defer close(m.served)
		if err := m.server.Serve(tracked{listener, m}); err != nil && !errors.Is(err, net.ErrClosed) {
			m.config.Logger.Error("the mailbox stopped taking mail", "err", err)
		}
	}()
	return nil
}

// Stop takes no more mail, lets messages that are being received finish until ctx
// ends, closes every connection and waits for all of them. Messages stay readable.
// A second call does nothing.
func (m *Mailbox) Stop(ctx context.Context) error {
	m.mu.Lock()
	listener, again := m.listener, m.stopping
	m.stopping = true
	m.mu.Unlock()
	if listener == nil || again {
		return nil
	}
	// Shutdown closes the listener only once the accept loop has told it of one.
	_ = listener.Close()
	shut := make(chan error, 1)
	// Shutdown waits for connections that a client keeps open; closing them is
	// what ends it, so its own deadline would only leave it behind.
	go func() { shut <- m.server.Shutdown(context.WithoutCancel(ctx)) }()

	unfinished := m.drain(ctx)
	m.mu.Lock()
	for conn := range m.conns {
		_ = conn.Close()
	}
	m.mu.Unlock()
	err := <-shut
	<-m.served
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	if unfinished != nil {
		return fmt.Errorf("stop mailbox: a message was cut off: %w", unfinished)
	}
	return err
}

// drain waits until no message is being received.
func (m *Mailbox) drain(ctx context.Context) error {
	for {
		m.mu.Lock()
		busy, changed := m.busy, m.changed
		m.mu.Unlock()
		if busy == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Addr gives the address that is listened on, with its real port; before Start
// the configured one.
func (m *Mailbox) Addr() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.listener == nil {
		return m.config.Addr
	}
	return m.listener.Addr().String()
}

// Messages gives what is kept, oldest first. The slice is the caller's, what the
// messages refer to is shared and must not be changed.
func (m *Mailbox) Messages() []Message {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.messages)
}

// Message gives the message with that number.
func (m *Mailbox) Message(number int) (Message, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, message := range m.messages {
		if message.Number == number {
			return message, true
		}
	}
	return Message{}, false
}

// Wait gives the oldest kept message that matches, or the next one to arrive that
// does. It ends with ctx's error. Each message is shown to match once.
func (m *Mailbox) Wait(ctx context.Context, match func(Message) bool) (Message, error) {
	seen := 0
	for {
		m.mu.Lock()
		messages, changed := slices.Clone(m.messages), m.changed
		m.mu.Unlock()
		for _, message := range messages {
			if message.Number <= seen {
				continue
			}
			seen = message.Number
			if match(message) {
				return message, nil
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Message{}, fmt.Errorf("wait for mail: %w", ctx.Err())
		}
	}
}

// Empty forgets every message. Numbers go on where they were.
func (m *Mailbox) Empty() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.messages, m.bytes = nil, 0
}

// keep numbers a message and drops the oldest ones beyond the limits.
func (m *Mailbox) keep(message Message) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last++
	message.Number = m.last
	m.messages = append(m.messages, message)
	m.bytes += len(message.Raw)
	for len(m.messages) > m.config.Capacity || m.bytes > maxKeptBytes {
		m.bytes -= len(m.messages[0].Raw)
		m.messages = slices.Delete(m.messages, 0, 1)
	}
	m.announce()
}

// announce wakes everybody who waits; mu is held.
func (m *Mailbox) announce() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// begin and end bracket a message from MAIL to the answer to DATA. Nothing begins
// once Stop was called.
func (m *Mailbox) begin() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopping {
		return false
	}
	m.busy++
	return true
}

func (m *Mailbox) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.busy--
	m.announce()
}
