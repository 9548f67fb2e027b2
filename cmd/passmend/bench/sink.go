package bench

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// sink is an SMTP server that takes every mail and keeps none. It speaks the few
// verbs that a submission needs, so that it costs the machine next to nothing.
type sink struct {
	listener net.Listener
	delay    atomic.Int64 // nanoseconds between the end of a mail and its 250
	taken    atomic.Int64 // mails answered with 250
	begun    atomic.Int64 // mails whose end has arrived
	// told is called with the recipient right after the 250 was written.
	told atomic.Pointer[func(recipient string, at time.Time)]

	closing chan struct{}
	mu      sync.Mutex
	conns   map[net.Conn]struct{}
	serving sync.WaitGroup
}

// newSink listens on a free port of loopback until close.
func newSink() (*sink, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &sink{listener: listener, closing: make(chan struct{}), conns: make(map[net.Conn]struct{})}
	s.serving.Go(s.accept)
	return s, nil
}

func (s *sink) port() int { return s.listener.Addr().(*net.TCPAddr).Port }

func (s *sink) tell(told func(recipient string, at time.Time)) { s.told.Store(&told) }

func (s *sink) close() {
	close(s.closing)
	_ = s.listener.Close()
	s.mu.Lock()
	for conn := range s.conns {
		_ = conn.Close()
	}
	s.mu.Unlock()
	s.serving.Wait()
}

func (s *sink) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[conn] = struct{}{}
		s.mu.Unlock()
		s.serving.Go(func() {
			s.serve(conn)
			_ = conn.Close()
			s.mu.Lock()
			delete(s.conns, conn)
			s.mu.Unlock()
		})
	}
}

func (s *sink) serve(conn net.Conn) {
	in := bufio.NewReaderSize(conn, 32<<10)
	say := func(reply string) bool { _, err := conn.Write([]byte(reply)); return err == nil }
	going := say("220 sink.invalid ESMTP\r\n")
	var recipient string
	for going {
		line, err := in.ReadSlice('\n')
		if err != nil || len(line) < 4 {
			return
		}
		switch verb := string(bytes.ToUpper(line[:4])); verb {
		case "EHLO":
			going = say("250-sink.invalid\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 PIPELINING\r\n")
		case "RCPT":
			recipient = pathOf(line)
			going = say("250 OK\r\n")
		case "DATA":
			if going = say("354 Go on\r\n") && skipMail(in); !going {
				return
			}
			s.begun.Add(1)
			if going = s.pause() && say("250 OK\r\n"); going {
				s.count(recipient)
			}
		case "QUIT":
			_ = say("221 Bye\r\n")
			return
		default: // HELO, MAIL, RSET, NOOP
			going = say("250 OK\r\n")
		}
	}
}

func (s *sink) count(recipient string) {
	at := time.Now()
	s.taken.Add(1)
	if told := s.told.Load(); told != nil {
		(*told)(recipient, at)
	}
}

// pause waits as long as a slow server would, and says whether to go on.
func (s *sink) pause() bool {
	delay := time.Duration(s.delay.Load())
	if delay <= 0 {
		return true
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.closing:
		return false
	}
}

// pathOf gives what stands between < and >.
func pathOf(line []byte) string {
	_, rest, _ := bytes.Cut(line, []byte("<"))
	path, _, _ := bytes.Cut(rest, []byte(">"))
	return string(path)
}

// skipMail reads up to the line with a dot alone.
func skipMail(in *bufio.Reader) bool {
	whole := true // the last read ended a line
	for {
		line, err := in.ReadSlice('\n')
		if whole && (string(line) == ".\r\n" || string(line) == ".\n") {
			return true
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return false
		}
		whole = err == nil
	}
}

// settings is the SMTP provider's configuration that leads here.
func (s *sink) settings() []byte {
	return []byte(`{"host":"127.0.0.1","port":` + strconv.Itoa(s.port()) + `,"tls":"none"}`)
}
