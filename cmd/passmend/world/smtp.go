package world

import (
	"bufio"
	"net"
	"sync"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/sdk/sdktest"
)

// Who may log in.
const (
	smtpUser     = "conformance"
	smtpPassword = "conformance-password"
)

// script says how a server answers one command in place of the usual.
type script struct{ verb, reply string }

// What a script can say instead of a reply.
const (
	hangUp   = "hang up"
	hang     = "hang"
	greeting = "GREETING"
	dot      = "." // the end of a mail
)

// smtpScripts are the servers: "" takes everything, the others make a mail fail.
// docs/plugins.md shows this table to vendors.
var smtpScripts = map[string]script{
	"":                               {},
	stalledServer:                    {greeting, hang},
	string(sdk.RecipientRefused):     {"RCPT", "550 5.1.1 no such mailbox"},
	string(sdk.ContentRefused):       {dot, "554 5.7.1 the message is refused"},
	string(sdk.Misconfigured):        {"MAIL", "550 5.1.8 the sender's domain is not yours"},
	string(sdk.AuthenticationFailed): {"MAIL", "530 5.7.0 authentication required"},
	string(sdk.RateLimited):          {"RCPT", "450 4.7.28 too many messages, slow down"},
	string(sdk.QuotaExhausted):       {"MAIL", "550 5.4.5 daily quota exceeded"},
	string(sdk.Temporary):            {"RCPT", "451 4.7.1 greylisted, try again"},
	string(sdk.Unknown):              {dot, hangUp},
}

// smtpServer is a mail server on loopback that follows a script.
type smtpServer struct {
	script   script
	auth     bool
	listener net.Listener
	serving  sync.WaitGroup

	mu    sync.Mutex
	ended bool
	conns map[net.Conn]struct{}
	taken []sdktest.Sent
}

func startSMTP(script script, auth bool) (*smtpServer, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &smtpServer{script: script, auth: auth, listener: listener, conns: make(map[net.Conn]struct{})}
	s.serving.Go(s.accept)
	return s, nil
}

func (s *smtpServer) port() int { return s.listener.Addr().(*net.TCPAddr).Port }

func (s *smtpServer) close() {
	_ = s.listener.Close()
	s.mu.Lock()
	s.ended = true
	for conn := range s.conns {
		_ = conn.Close()
	}
	s.mu.Unlock()
	s.serving.Wait()
}

func (s *smtpServer) sent() []sdktest.Sent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]sdktest.Sent(nil), s.taken...)
}

func (s *smtpServer) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.ended {
			_ = conn.Close()
		}
		s.conns[conn] = struct{}{}
		s.mu.Unlock()
		s.serving.Go(func() {
			session := &smtpSession{server: s, conn: conn, in: bufio.NewReaderSize(conn, 64<<10)}
			session.serve()
			_ = conn.Close()
			s.mu.Lock()
			delete(s.conns, conn)
			s.mu.Unlock()
		})
	}
}
