package postmark

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"time"
)

const (
	// dialTimeout bounds the TCP connection alone.
	dialTimeout = 10 * time.Second
	// idleTimeout is how long a connection is kept without use; shorter than a
	// load balancer's, for a request that meets a closing connection may or may
	// not have arrived.
	idleTimeout = 30 * time.Second
	// pingAfter is how long a connection may be silent before it is asked, and how
	// long it has to answer: many requests share one that speaks HTTP/2, and a dead
	// one would leave each of them unknown.
	pingAfter = 10 * time.Second
	// maxAnswer bounds an answer: 500 results of a few hundred bytes.
	maxAnswer = 1 << 20
	// maxHeaders bounds the header of an answer.
	maxHeaders = 64 << 10
)

// client speaks HTTP with Postmark's API.
type client struct{ http *http.Client }

// newClient asks no proxy, follows no redirect, sends no cookie and decompresses
// nothing: an answer is what the base URL said and no larger than it was sent.
func newClient() *client {
	dialer := &net.Dialer{Timeout: dialTimeout}
	return &client{http: &http.Client{
		Transport: &http.Transport{
			DialContext:            dialer.DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    dialTimeout,
			ForceAttemptHTTP2:      true,
			DisableCompression:     true,
			MaxIdleConns:           256,
			MaxIdleConnsPerHost:    2 * maxCalls,
			IdleConnTimeout:        idleTimeout,
			MaxResponseHeaderBytes: maxHeaders,
			HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingAfter},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// exchange is one request and what became of it: an answer, or err.
type exchange struct {
	status     int // 0: no answer
	retryAfter string
	body       []byte
	// err is set when there is no answer, or not the whole of it.
	err   error
	trace *trace
}

var errTooMuch = errors.New("the answer is too large")

// do asks once. The transport repeats a POST by itself only when nothing of it was
// written, or when HTTP/2 says that nothing of it was processed.
func (c *client) do(ctx context.Context, s *settings, method, path string, body []byte) *exchange {
	e := &exchange{trace: &trace{}}
	defer e.trace.finish()
	var content io.Reader
	if body != nil {
		content = bytes.NewReader(body)
	}
	request, err := http.NewRequestWithContext(e.trace.attach(ctx), method, s.BaseURL+path, content)
	if err != nil {
		e.err = err
		return e
	}
	request.Header.Set("Accept", "application/json")
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	request.Header.Set("User-Agent", "passmend-postmark/"+Version)
	request.Header.Set("X-Postmark-Server-Token", s.serverToken)
	response, err := c.http.Do(request)
	if err != nil {
		e.err = err
		return e
	}
	defer response.Body.Close()
	e.status, e.retryAfter = response.StatusCode, response.Header.Get("Retry-After")
	e.body, e.err = io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if len(e.body) > maxAnswer {
		e.body, e.err = nil, errTooMuch
	}
	return e
}
