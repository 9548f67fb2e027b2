package smtptest

import (
	"bufio"
	"net"
	"strings"
	"sync/atomic"
	"testing"
)

// Scripted is a server that follows a script to the letter, for faults that a
// well-behaved server does not have.
type Scripted struct {
	Host string
	Port int

	connections atomic.Int64
}

// Verbs of a script beside the SMTP commands.
const (
	Greeting = "GREETING"
	Dot      = "."
)

// Actions of a script beside replies.
const (
	Close = "close" // without a reply
	Hang  = "hang"  // for ever
)

// StartScripted listens on 127.0.0.1. script gives the answer to a verb on the
// nth connection (from 1): a reply such as "250 ok", Close, Hang, or "" for the
// usual one.
func StartScripted(t testing.TB, script func(connection int, verb string) string) *Scripted {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Scripted{Host: "127.0.0.1", Port: listener.Addr().(*net.TCPAddr).Port}
	over := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			n := int(s.connections.Add(1))
			go serveScript(conn, over, func(verb string) string { return script(n, verb) })
		}
	}()
	t.Cleanup(func() {
		close(over)
		_ = listener.Close()
		<-done
	})
	return s
}

// Connections tells how many were accepted so far.
func (s *Scripted) Connections() int { return int(s.connections.Load()) }

var usual = map[string]string{
	Greeting: "220 smtp.test",
	"EHLO":   "250-smtp.test\r\n250 8BITMIME",
	"DATA":   "354 go on",
	"QUIT":   "221 bye",
}

func serveScript(conn net.Conn, over <-chan struct{}, script func(verb string) string) {
	defer func() { _ = conn.Close() }()
	inData := false
	answer := func(verb string) bool {
		reply := script(verb)
		if reply == "" {
			if reply = usual[verb]; reply == "" {
				reply = "250 ok"
			}
		}
		switch reply {
		case Close:
			return false
		case Hang:
			<-over
			return false
		}
		inData = verb == "DATA" && strings.HasPrefix(reply, "354")
		_, err := conn.Write([]byte(reply + "\r\n"))
		return err == nil
	}
	if !answer(Greeting) {
		return
	}
	lines := bufio.NewReader(conn)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
		switch {
		case inData && line != ".":
			continue
		case inData:
			verb = Dot
		}
		if !answer(verb) || verb == "QUIT" {
			return
		}
	}
}
