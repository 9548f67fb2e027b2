package chaos

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/mail"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emersion/go-smtp"
)

// Mail is one line of the sink's journal: a mail that was answered 250, or was
// about to be.
type Mail struct {
	MessageID string    `json:"message_id"` // without angle brackets
	Recipient string    `json:"recipient"`
	Link      string    `json:"link"` // empty: the mail holds none
	At        time.Time `json:"at"`
}

// SinkConfig says how a Sink behaves.
type SinkConfig struct {
	// Journal is the file that mails are appended to.
	Journal string
	// Delay is the longest wait, drawn evenly, between a mail on disk and its 250:
	// the time in which a sender that dies leaves a mail that it does not know of.
	Delay time.Duration
}

// Sink is an SMTP server on loopback. It answers 250 only when the mail's line is
// synced to disk, so that what a sender was told is a fact.
type Sink struct {
	config   SinkConfig
	journal  *journal
	listener net.Listener
	server   *smtp.Server
	stopping chan struct{} // closed by Stop
	served   chan struct{} // closed when nothing is accepted any more
	taken    atomic.Int64
	broken   atomic.Pointer[error]
}

const maxMail = 1 << 20

// NewSink listens; nothing is answered before Start.
func NewSink(config SinkConfig) (*Sink, error) {
	journal, err := openJournal(config.Journal)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("sink: %w", err), journal.close())
	}
	s := &Sink{config: config, journal: journal, listener: listener, stopping: make(chan struct{}), served: make(chan struct{})}
	s.server = smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &sinkSession{sink: s}, nil }))
	s.server.Domain = "sink.test"
	s.server.MaxMessageBytes = maxMail
	s.server.ReadTimeout, s.server.WriteTimeout = 5*time.Minute, time.Minute
	s.server.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo) // killed peers are the point
	return s, nil
}

// Addr is where the sink listens, HOST:PORT.
func (s *Sink) Addr() string { return s.listener.Addr().String() }

// Start takes mail until Stop.
func (s *Sink) Start() {
	go func() {
		defer close(s.served)
		_ = s.server.Serve(s.listener)
	}()
}

// Stop, called once, ends every connection and gives the first error of the journal: then the
// sink has refused mail for a fault of its own.
func (s *Sink) Stop() error {
	close(s.stopping)
	err := s.server.Close()
	<-s.served
	if broken := s.broken.Load(); broken != nil {
		err = errors.Join(err, *broken)
	}
	return errors.Join(err, s.journal.close())
}

// Taken is the number of mails in the journal.
func (s *Sink) Taken() int { return int(s.taken.Load()) }

// sinkSession is one connection's present mail; BDAT reads beside the connection's
// goroutine.
type sinkSession struct {
	sink *Sink
	mu   sync.Mutex
	to   string
}

func (s *sinkSession) Mail(string, *smtp.MailOptions) error { return nil }

func (s *sinkSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.to != "" {
		return &smtp.SMTPError{Code: 452, EnhancedCode: smtp.EnhancedCode{4, 5, 3}, Message: "one recipient a mail"}
	}
	s.to = to
	return nil
}

func (s *sinkSession) Data(r io.Reader) error {
	raw, err := io.ReadAll(io.LimitReader(r, maxMail))
	if err != nil {
		return err
	}
	s.mu.Lock()
	to := s.to
	s.mu.Unlock()
	line, err := parseMail(raw)
	if err != nil {
		return &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 6, 0}, Message: "not a mail"}
	}
	line.Recipient = to
	if err := s.sink.journal.append(line, true); err != nil {
		s.sink.broken.CompareAndSwap(nil, &err)
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "not written"}
	}
	s.sink.taken.Add(1)
	if s.sink.config.Delay > 0 {
		timer := time.NewTimer(rand.N(s.sink.config.Delay)) //nolint:gosec // a delay is no secret
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-s.sink.stopping:
		}
	}
	return nil
}

func (s *sinkSession) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.to = ""
}

func (s *sinkSession) Logout() error { return nil }

// linkLine is a reset link, alone on its line of the text part.
var linkLine = regexp.MustCompile(`(?m)^https?://\S+/r/[A-Za-z0-9_-]{43}\r?$`)

func parseMail(raw []byte) (Mail, error) {
	message, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return Mail{}, err
	}
	id := message.Header.Get("Message-ID")
	if len(id) < 3 || id[0] != '<' || id[len(id)-1] != '>' {
		return Mail{}, errors.New("no Message-ID")
	}
	link := bytes.TrimRight(linkLine.Find(raw), "\r")
	return Mail{MessageID: id[1 : len(id)-1], Link: string(link), At: time.Now()}, nil
}
