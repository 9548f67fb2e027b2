// Package postmarktest is a fake of Postmark's API on loopback for tests: it holds
// requests against Postmark's documentation, keeps the messages that it takes,
// and can be told to fail. Production code does not import it.
//
// Limits first: it sends nothing; error messages are its own words, codes and
// statuses are Postmark's; of the API it has sending (single, batch, by template),
// the search for sent messages, and the look at server, stream and template.
// Links and opens are tracked unless a message says otherwise, as on a server
// where that is switched on: a provider that forgets to say so is found out.
package postmarktest

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestToken is Postmark's own: messages are checked, answered and not kept.
const TestToken = "POSTMARK_API_TEST"

// Limits of the documentation, in bytes.
const (
	maxSingle = 10_000_000
	maxBatch  = 50_000_000
	maxPart   = 5_000_000
)

// Options make a Server. The zero value takes everything for the stream
// "outbound" under the token "server-token".
type Options struct {
	Token string
	// Streams are the IDs of the streams; "outbound" by default.
	Streams []string
	// Templates are those of the server, by alias.
	Templates map[string]Template
	// Senders are the addresses and domains with a confirmed signature; nil: any.
	Senders []string
	// Inactive are addresses that bounced or complained before.
	Inactive []string
	// TLS serves https with a certificate of Roots.
	TLS bool
	// Delay is how long every answer takes.
	Delay time.Duration
	// Script may answer a request in place of the server; nil leaves it to it.
	Script func(Request) *Answer
}

// Request is what a script sees: the nth of the server, from 1, and how many
// messages it carries.
type Request struct {
	Number   int
	Method   string
	Path     string
	Messages int
}

// Answer is what a script has the server do.
type Answer struct {
	// Take has the messages checked and kept first; what follows is said all the same.
	Take bool
	// Close ends the connection without an answer, Hang never answers.
	Close, Hang bool
	Status      int
	Header      map[string]string
	Body        string
}

// Server is a running server. It ends with the test.
type Server struct {
	URL string

	options Options
	http    *httptest.Server
	over    chan struct{}
	number  atomic.Int64

	mu       sync.Mutex
	requests []Request
	messages []Message
}

// Start listens on a free port of 127.0.0.1.
func Start(t testing.TB, options Options) *Server {
	t.Helper()
	if options.Token == "" {
		options.Token = "server-token"
	}
	if options.Streams == nil {
		options.Streams = []string{"outbound"}
	}
	s := &Server{options: options, over: make(chan struct{})}
	s.http = httptest.NewUnstartedServer(s)
	s.http.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	if options.TLS {
		s.http.EnableHTTP2 = true
		s.http.StartTLS()
	} else {
		s.http.Start()
	}
	s.URL = s.http.URL
	t.Cleanup(func() {
		close(s.over)
		s.http.CloseClientConnections()
		s.http.Close()
	})
	return s
}

// Roots are what a client of a server with TLS must trust.
func (s *Server) Roots() *x509.CertPool {
	roots := x509.NewCertPool()
	roots.AddCert(s.http.Certificate())
	return roots
}

// Settings is the provider's settings object for this server, as JSON.
func (s *Server) Settings(more string) []byte {
	return fmt.Appendf(nil, `{"baseUrl":%q%s}`, s.URL, more)
}

// Messages gives what was taken so far, oldest first.
func (s *Server) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

// Requests gives what was asked so far, oldest first.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBatch+1))
	if err != nil {
		return
	}
	request := Request{Number: int(s.number.Add(1)), Method: r.Method, Path: r.URL.Path, Messages: count(r.URL.Path, body)}
	s.mu.Lock()
	s.requests = append(s.requests, request)
	s.mu.Unlock()
	if s.options.Delay > 0 && !s.wait(r, s.options.Delay) {
		return
	}
	if s.options.Script != nil {
		if answer := s.options.Script(request); answer != nil {
			s.play(w, r, answer, body)
			return
		}
	}
	status, answer := s.answer(r, body)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // a client that has left is no concern of a server
}

// play follows a script.
func (s *Server) play(w http.ResponseWriter, r *http.Request, a *Answer, body []byte) {
	if a.Take {
		s.answer(r, body)
	}
	switch {
	case a.Hang:
		s.wait(r, time.Hour)
	case a.Close:
		panic(http.ErrAbortHandler)
	default:
		for name, value := range a.Header {
			w.Header().Set(name, value)
		}
		w.WriteHeader(a.Status)
		_, _ = io.WriteString(w, a.Body)
	}
}

// wait is false when the client or the server ended it.
func (s *Server) wait(r *http.Request, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
	case <-s.over:
	}
	return false
}

// answer is the API.
func (s *Server) answer(r *http.Request, body []byte) (status int, answer any) {
	if token := r.Header.Get("X-Postmark-Server-Token"); !strings.EqualFold(token, s.options.Token) && token != TestToken {
		return http.StatusUnauthorized, fault{10, "the token is missing or not this server's"}
	}
	if r.Header.Get("Accept") != "application/json" {
		return http.StatusUnsupportedMediaType, fault{409, "Accept must be application/json"}
	}
	switch r.Method {
	case http.MethodGet:
		return s.look(r)
	case http.MethodPost:
		if r.Header.Get("Content-Type") != "application/json" {
			return http.StatusUnsupportedMediaType, fault{409, "Content-Type must be application/json"}
		}
		return s.send(r.URL.Path, body, r.Header.Get("X-Postmark-Server-Token") != TestToken)
	}
	return http.StatusNotFound, fault{12, "there is nothing here"}
}

// look answers what only asks.
func (s *Server) look(r *http.Request) (status int, answer any) {
	path := r.URL.Path
	if id, ok := strings.CutPrefix(path, "/message-streams/"); ok {
		if !slices.Contains(s.options.Streams, id) {
			return http.StatusUnprocessableEntity, fault{1226, "there is no such stream"}
		}
		return http.StatusOK, map[string]any{"ID": id, "MessageStreamType": "Transactional"}
	}
	if alias, ok := strings.CutPrefix(path, "/templates/"); ok {
		if _, ok := s.options.Templates[alias]; !ok {
			return http.StatusUnprocessableEntity, fault{1101, "there is no such template"}
		}
		return http.StatusOK, map[string]any{"Alias": alias, "Active": true}
	}
	switch path {
	case "/server":
		return http.StatusOK, map[string]any{"ID": 1, "Name": "postmarktest", "DeliveryType": "Live"}
	case "/messages/outbound":
		return s.search(r.URL.Query())
	}
	return http.StatusNotFound, fault{12, "there is nothing here"}
}

// keep gives a message its name and, unless the token is the test token, a place
// in Messages.
func (s *Server) keep(m Message, real bool) accepted {
	m.ID = uuid()
	if m.MessageID == "" {
		m.MessageID = m.ID + "@mtasv.net"
	}
	m.At = time.Now().UTC()
	if real {
		s.mu.Lock()
		s.messages = append(s.messages, m)
		s.mu.Unlock()
	}
	return accepted{To: m.To, SubmittedAt: m.At.Format(time.RFC3339Nano), MessageID: m.ID, Message: "OK"}
}

func uuid() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
