// Package smtptest is a real SMTP server on loopback for tests: it keeps what it
// takes, and can be told what to refuse. Production code does not import it.
package smtptest

import (
	"crypto/hmac"
	"crypto/md5" // CRAM-MD5 is what it is
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// Options make a Server. The zero value is a server without encryption and
// without authentication that takes everything.
type Options struct {
	// TLS is "", "starttls" or "implicit".
	TLS string
	// Users are names and passwords; none: no AUTH.
	Users map[string]string
	// Mechanisms are what AUTH offers; PLAIN, LOGIN and CRAM-MD5 by default. With
	// XOAUTH2 a password is the token.
	Mechanisms []string
	// MaxOpen is how many connections may be open at a time; one more is told 421
	// in place of the greeting. 0 means any number.
	MaxOpen int
	// UTF8 offers SMTPUTF8.
	UTF8 bool
	// Refuse may answer a stage ("mail", "rcpt" or "data") with a reply, after as
	// long as it likes; its argument is the address, or the message's bytes.
	Refuse func(stage, argument string) *Reply
}

// Reply is what the server answers in place of success.
type Reply struct {
	Code     int
	Enhanced [3]int
	Text     string
}

// Message is one that was taken.
type Message struct {
	From string
	To   []string
	User string
	// Mechanism is how User authenticated.
	Mechanism string
	Raw       []byte
}

// Server is a running server. It ends with the test.
type Server struct {
	Host string
	Port int
	// CA is the PEM certificate to trust.
	CA string

	options     Options
	server      *smtp.Server
	connections atomic.Int64
	open        atomic.Int64
	peak        atomic.Int64
	refused     atomic.Int64

	mu       sync.Mutex
	messages []Message
}

// Start listens on a free port of 127.0.0.1.
func Start(t testing.TB, options Options) *Server {
	t.Helper()
	s := &Server{Host: "127.0.0.1", options: options}
	if options.Mechanisms == nil {
		s.options.Mechanisms = []string{sasl.Plain, "LOGIN", "CRAM-MD5"}
	}
	s.server = smtp.NewServer(smtp.BackendFunc(s.newSession))
	s.server.Domain = "smtp.test"
	s.server.AllowInsecureAuth = true
	s.server.EnableSMTPUTF8 = options.UTF8
	s.server.ErrorLog = log.New(io.Discard, "", 0)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Port = listener.Addr().(*net.TCPAddr).Port
	listener = &doorkeeper{Listener: listener, server: s}
	if options.TLS != "" {
		certificate, ca := NewCertificate(t, "127.0.0.1")
		s.CA = ca
		config := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
		if options.TLS == "implicit" {
			listener = tls.NewListener(listener, config)
		} else {
			s.server.TLSConfig = config
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.server.Serve(listener)
	}()
	t.Cleanup(func() {
		_ = s.server.Close()
		<-done
	})
	return s
}

// Messages gives what was taken so far, oldest first.
func (s *Server) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

// Inbox gives what parse makes of the messages taken so far, oldest first; each is
// parsed once, however often the inbox is read.
func Inbox[T any](s *Server, parse func(Message) T) func() []T {
	var mu sync.Mutex
	var parsed []T
	return func() []T {
		mu.Lock()
		defer mu.Unlock()
		for _, message := range s.Messages()[len(parsed):] {
			parsed = append(parsed, parse(message))
		}
		return slices.Clone(parsed)
	}
}

// Connections tells how many were accepted so far.
func (s *Server) Connections() int { return int(s.connections.Load()) }

// Settings is the provider's settings object for this server, as JSON.
func (s *Server) Settings(more string) []byte {
	mode := s.options.TLS
	if mode == "" {
		mode = "none"
	}
	text := fmt.Sprintf(`{"host":%q,"port":%d,"tls":%q`, s.Host, s.Port, mode)
	if s.CA != "" {
		text += fmt.Sprintf(`,"caCertificates":%q`, s.CA)
	}
	return []byte(text + more + "}")
}

// Peak tells how many were open at once at most.
func (s *Server) Peak() int { return int(s.peak.Load()) }

// Refused tells how many were refused because of MaxOpen.
func (s *Server) Refused() int { return int(s.refused.Load()) }

// doorkeeper counts connections and refuses those above MaxOpen.
type doorkeeper struct {
	net.Listener
	server *Server
}

func (d *doorkeeper) Accept() (net.Conn, error) {
	for {
		conn, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		s := d.server
		open := s.open.Add(1)
		if most := int64(s.options.MaxOpen); most > 0 && open > most {
			s.open.Add(-1)
			s.refused.Add(1)
			_, _ = conn.Write([]byte("421 4.7.0 too many connections\r\n"))
			_ = conn.Close()
			continue
		}
		s.connections.Add(1)
		s.peak.Store(max(s.peak.Load(), open)) // nobody else writes it
		return &guest{Conn: conn, open: &s.open}, nil
	}
}

// guest is one connection that leaves once.
type guest struct {
	net.Conn
	open *atomic.Int64
	once sync.Once
}

func (g *guest) Close() error {
	g.once.Do(func() { g.open.Add(-1) })
	return g.Conn.Close()
}

type session struct {
	server *Server
	Message
}

func (s *Server) newSession(*smtp.Conn) (smtp.Session, error) {
	if len(s.options.Users) == 0 {
		return &session{server: s}, nil
	}
	return &authSession{session{server: s}}, nil
}

func (s *session) refuse(stage, argument string) error {
	if s.server.options.Refuse == nil {
		return nil
	}
	reply := s.server.options.Refuse(stage, argument)
	if reply == nil {
		return nil
	}
	return &smtp.SMTPError{Code: reply.Code, EnhancedCode: reply.Enhanced, Message: reply.Text}
}

func (s *session) Reset() { s.From, s.To = "", nil }

func (s *session) Logout() error { return nil }

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.From = from
	return s.refuse("mail", from)
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	if err := s.refuse("rcpt", to); err != nil {
		return err
	}
	s.To = append(s.To, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if err := s.refuse("data", string(raw)); err != nil {
		return err
	}
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	s.server.messages = append(s.server.messages, Message{
		From: s.From, To: s.To, User: s.User, Mechanism: s.Mechanism, Raw: raw,
	})
	return nil
}

// authSession asks for AUTH before MAIL.
type authSession struct{ session }

func (s *authSession) AuthMechanisms() []string { return s.server.options.Mechanisms }

func (s *authSession) Mail(from string, options *smtp.MailOptions) error {
	if s.User == "" {
		return &smtp.SMTPError{Code: 530, EnhancedCode: smtp.EnhancedCode{5, 7, 0}, Message: "Authentication required"}
	}
	return s.session.Mail(from, options)
}

func (s *authSession) check(user, password string) error {
	if want, ok := s.server.options.Users[user]; !ok || want != password {
		return smtp.ErrAuthFailed
	}
	s.User = user
	return nil
}

func (s *authSession) Auth(mechanism string) (sasl.Server, error) {
	s.Mechanism = mechanism
	switch mechanism {
	case sasl.Plain:
		return sasl.NewPlainServer(func(_, user, password string) error { return s.check(user, password) }), nil
	case "LOGIN":
		return &loginServer{check: s.check}, nil
	case "CRAM-MD5":
		return &cramServer{session: s}, nil
	case "XOAUTH2":
		return &tokenServer{check: s.check}, nil
	}
	return nil, smtp.ErrAuthUnknownMechanism
}

// tokenServer is XOAUTH2: a refusal is told in a challenge first, which the client
// answers with an empty line.
type tokenServer struct {
	check   func(user, token string) error
	refusal error
}

func (o *tokenServer) Next(response []byte) (challenge []byte, done bool, err error) {
	if o.refusal != nil {
		return nil, true, o.refusal
	}
	user, token, found := strings.Cut(string(response), "\x01auth=Bearer ")
	user, named := strings.CutPrefix(user, "user=")
	token, ended := strings.CutSuffix(token, "\x01\x01")
	if !found || !named || !ended {
		return nil, true, errors.New("not a token")
	}
	o.refusal = o.check(user, token)
	if o.refusal == nil {
		return nil, true, nil
	}
	challenge = []byte(`{"status":"400","schemes":"Bearer"}`)
	return challenge, false, nil
}

type loginServer struct {
	check func(user, password string) error
	step  int
	user  string
}

func (l *loginServer) Next(response []byte) (challenge []byte, done bool, err error) {
	l.step++
	switch l.step {
	case 1:
		return []byte("Username:"), false, nil
	case 2:
		l.user = string(response)
		return []byte("Password:"), false, nil
	default:
		return nil, true, l.check(l.user, string(response))
	}
}

type cramServer struct {
	session    *authSession
	challenged bool
}

const cramChallenge = "<1896.697170952@smtp.test>"

func (c *cramServer) Next(response []byte) (challenge []byte, done bool, err error) {
	if !c.challenged {
		c.challenged = true
		return []byte(cramChallenge), false, nil
	}
	user, digest, ok := strings.Cut(string(response), " ")
	if !ok {
		return nil, true, errors.New("no digest")
	}
	password := c.session.server.options.Users[user]
	mac := hmac.New(md5.New, []byte(password))
	mac.Write([]byte(cramChallenge))
	if password == "" || hex.EncodeToString(mac.Sum(nil)) != digest {
		return nil, true, smtp.ErrAuthFailed
	}
	c.session.User = user
	return nil, true, nil
}
