package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"
)

// answerTime is how long an answer may take before the run fails.
const answerTime = 30 * time.Second

// conn is one kept HTTP/1.1 connection that asks for passwords. It does what the
// load needs and no more: net/http's client would take as much of the machine as
// the server that is measured.
type conn struct {
	net.Conn
	in  *bufio.Reader
	out []byte
}

func dial(ctx context.Context, address string) (*conn, error) {
	var dialer net.Dialer
	raw, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: raw, in: bufio.NewReaderSize(raw, 4<<10)}, nil
}

// target is one user to ask for.
type target struct {
	account string // slug
	address string
}

// ask posts one request and reads its whole answer; anything but 202 is an error.
func (c *conn) ask(to target) error {
	const before, after = `{"meta":{"email":"`, `"}}`
	c.out = append(c.out[:0], "POST /v1/accounts/"...)
	c.out = append(c.out, to.account...)
	c.out = append(c.out, "/passwords HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/vnd.api+json\r\nContent-Type: application/vnd.api+json\r\nContent-Length: "...)
	c.out = strconv.AppendInt(c.out, int64(len(before)+len(to.address)+len(after)), 10)
	c.out = append(c.out, "\r\n\r\n"+before...)
	c.out = append(c.out, to.address...)
	c.out = append(c.out, after...)
	if _, err := c.Write(c.out); err != nil {
		return err
	}
	return c.answer()
}

var (
	nameLength   = []byte("content-length:")
	nameEncoding = []byte("transfer-encoding:")
)

func (c *conn) answer() error {
	status, err := c.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(status, []byte("HTTP/1.1 202")) {
		return fmt.Errorf("answer %q, want 202", bytes.TrimSpace(status))
	}
	length := 0
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			break
		}
		if value, ok := headerValue(line, nameLength); ok {
			if length, err = strconv.Atoi(string(value)); err != nil {
				return fmt.Errorf("length of the answer: %w", err)
			}
		}
		if _, ok := headerValue(line, nameEncoding); ok {
			return errors.New("answer in chunks, want a length")
		}
	}
	_, err = c.in.Discard(length)
	return err
}

func headerValue(line, name []byte) ([]byte, bool) {
	if len(line) < len(name) || !bytes.EqualFold(line[:len(name)], name) {
		return nil, false
	}
	return bytes.TrimSpace(line[len(name):]), true
}

// load is so many connections that each ask again as soon as they are answered.
type load struct {
	address     string
	connections int
	next        func() target
	// gate is called before each request, when there is one; false ends the
	// connection's part.
	gate func(ctx context.Context) bool
	// warm is how long the load runs before it is counted.
	warm, length time.Duration
}

// outcome is what a load came to in its counted time.
type outcome struct {
	latencies samples
	perSecond float64
}

// run gives the outcome, or the first error of any connection.
func (l load) run(ctx context.Context) (outcome, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	begin := time.Now().Add(l.warm)
	end := begin.Add(l.length)
	parts := make([]samples, l.connections)
	var wait sync.WaitGroup
	for i := range parts {
		wait.Go(func() {
			part, err := l.one(ctx, begin, end)
			if err != nil {
				cancel(fmt.Errorf("load: %w", err))
			}
			parts[i] = part
		})
	}
	wait.Wait()
	if ctx.Err() != nil {
		return outcome{}, context.Cause(ctx)
	}
	var all samples
	for _, part := range parts {
		all = append(all, part...)
	}
	return outcome{latencies: all, perSecond: float64(len(all)) / l.length.Seconds()}, nil
}

// one is one connection's part; only answers that came within the counted time count.
func (l load) one(ctx context.Context, begin, end time.Time) (samples, error) {
	c, err := dial(ctx, l.address)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	if err := c.SetDeadline(end.Add(answerTime)); err != nil {
		return nil, err
	}
	var part samples
	for {
		if l.gate != nil && !l.gate(ctx) {
			return part, nil
		}
		asked := time.Now()
		if asked.After(end) {
			return part, nil
		}
		if err := c.ask(l.next()); err != nil {
			return part, err
		}
		if answered := time.Now(); answered.After(begin) && answered.Before(end) {
			part = append(part, answered.Sub(asked))
		}
	}
}

// pause waits; false when ctx ended first.
func pause(ctx context.Context, length time.Duration) bool {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
