package world

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"strings"
)

// smtpSession is one connection (RFC 5321), with AUTH PLAIN and LOGIN (RFC 4954).
type smtpSession struct {
	server     *smtpServer
	conn       net.Conn
	in         *bufio.Reader
	known      bool // authenticated
	from       bool // MAIL was taken
	recipients []string
}

// errOver ends a session without a word.
var errOver = errors.New("the session is over")

func (s *smtpSession) serve() {
	if s.answer(greeting, "220 world.test ESMTP") != nil {
		return
	}
	for {
		line, err := s.line()
		if err != nil {
			return
		}
		verb, rest, _ := strings.Cut(line, " ")
		if s.command(strings.ToUpper(verb), rest) != nil {
			return
		}
	}
}

// line reads a line without its end.
func (s *smtpSession) line() (string, error) {
	line, err := s.in.ReadSlice('\n')
	if err != nil {
		return "", err
	}
	return string(bytes.TrimRight(line, "\r\n")), nil
}

// answer says the usual reply to a verb, or what the script has for it; no verb: the
// script has nothing.
func (s *smtpSession) answer(verb, usual string) error {
	reply := usual
	if s.refuses(verb) {
		reply = s.server.script.reply
	}
	switch reply {
	case hang:
		_, _ = io.Copy(io.Discard, s.conn) // until the other side, or the world, ends
		return errOver
	case hangUp:
		return errOver
	}
	_, err := s.conn.Write([]byte(reply + "\r\n"))
	return err
}

// refuses tells whether the script has something else to say to verb.
func (s *smtpSession) refuses(verb string) bool { return verb != "" && s.server.script.verb == verb }

func (s *smtpSession) command(verb, rest string) error {
	switch verb {
	case "EHLO":
		extensions := "250-world.test\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n"
		if s.server.auth {
			extensions += "250-AUTH PLAIN LOGIN\r\n"
		}
		return s.answer(verb, extensions+"250 SIZE 33554432")
	case "HELO", "NOOP":
		return s.answer(verb, "250 2.0.0 OK")
	case "RSET":
		s.from, s.recipients = false, nil
		return s.answer(verb, "250 2.0.0 OK")
	case "AUTH":
		return s.authenticate(rest)
	case "MAIL":
		return s.mail()
	case "RCPT":
		return s.recipient(rest)
	case "DATA":
		return s.data()
	case "QUIT":
		_ = s.answer(verb, "221 2.0.0 Bye")
		return errOver
	}
	return s.answer(verb, "502 5.5.1 Unknown command")
}

func (s *smtpSession) authenticate(rest string) error {
	mechanism, initial, _ := strings.Cut(rest, " ")
	var user, password string
	switch strings.ToUpper(mechanism) {
	case "PLAIN":
		if initial == "" {
			initial, _ = s.ask("")
		}
		parts := strings.Split(decoded(initial), "\x00")
		if len(parts) == 3 {
			user, password = parts[1], parts[2]
		}
	case "LOGIN":
		if initial == "" {
			initial, _ = s.ask("VXNlcm5hbWU6")
		}
		second, _ := s.ask("UGFzc3dvcmQ6")
		user, password = decoded(initial), decoded(second)
	default:
		return s.answer("AUTH", "504 5.5.4 Unknown mechanism")
	}
	if user != smtpUser || password != smtpPassword {
		return s.answer("AUTH", "535 5.7.8 Authentication credentials invalid")
	}
	s.known = true
	return s.answer("AUTH", "235 2.7.0 Authentication succeeded")
}

// ask sends a challenge; an answer that does not come is empty, which nobody knows.
func (s *smtpSession) ask(challenge string) (string, error) {
	if _, err := s.conn.Write([]byte("334 " + challenge + "\r\n")); err != nil {
		return "", err
	}
	return s.line()
}

func decoded(text string) string {
	plain, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return ""
	}
	return string(plain)
}

func (s *smtpSession) mail() error {
	if s.server.auth && !s.known {
		return s.answer("", "530 5.7.0 Authentication required")
	}
	s.from = !s.refuses("MAIL")
	s.recipients = nil
	return s.answer("MAIL", "250 2.1.0 OK")
}

func (s *smtpSession) recipient(rest string) error {
	_, path, found := strings.Cut(rest, "<")
	address, _, closed := strings.Cut(path, ">")
	if !s.from || !found || !closed {
		return s.answer("", "503 5.5.1 MAIL first, and RCPT TO:<address>")
	}
	if !s.refuses("RCPT") {
		s.recipients = append(s.recipients, address)
	}
	return s.answer("RCPT", "250 2.1.5 OK")
}

func (s *smtpSession) data() error {
	if len(s.recipients) == 0 {
		return s.answer("", "503 5.5.1 RCPT first")
	}
	if err := s.answer("DATA", "354 Go on"); err != nil {
		return err
	}
	raw, err := s.body()
	if err != nil {
		return err
	}
	if !s.refuses(dot) {
		mail := parsed(raw, strings.Join(s.recipients, ","))
		s.server.mu.Lock()
		s.server.taken = append(s.server.taken, mail)
		s.server.mu.Unlock()
	}
	s.from, s.recipients = false, nil
	return s.answer(dot, "250 2.0.0 OK: queued")
}

// body reads up to the line with a dot alone and takes stuffed dots away
// (RFC 5321, 4.5.2).
func (s *smtpSession) body() ([]byte, error) {
	var raw bytes.Buffer
	begins := true // of a line
	for {
		part, err := s.in.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
		if begins && string(part) == ".\r\n" {
			return raw.Bytes(), nil
		}
		if begins && bytes.HasPrefix(part, []byte(".")) {
			part = part[1:]
		}
		raw.Write(part)
		begins = err == nil
	}
}
