package postmark

import (
	"context"
	"crypto/tls"
	"net/http/httptrace"
	"sync"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
)

// trace watches one request: where the time went, and whether any of it may have
// reached the other side. The transport may report from other goroutines, and
// late: a dial goes on after its request found another connection.
type trace struct {
	mu              sync.Mutex
	dial, tls, data span
	written         bool
	over            bool
}

type span struct{ begin, end time.Time }

func (t *trace) attach(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { t.note(t.attempt) },
		DNSStart: func(httptrace.DNSStartInfo) {
			t.note(func() { t.dial.start() })
		},
		ConnectStart: func(string, string) {
			t.note(func() { t.dial.start() })
		},
		ConnectDone: func(string, string, error) {
			t.note(func() { t.dial.end = time.Now() })
		},
		TLSHandshakeStart: func() {
			t.note(func() { t.tls.start() })
		},
		TLSHandshakeDone: func(tls.ConnectionState, error) {
			t.note(func() { t.tls.end = time.Now() })
		},
		GotConn: func(info httptrace.GotConnInfo) {
			t.note(func() {
				if info.Reused {
					t.dial, t.tls = span{}, span{}
				}
				t.data.start()
			})
		},
		WroteHeaders: func() {
			t.note(func() { t.written = true })
		},
	})
}

// attempt forgets an earlier attempt of the same request: the transport makes
// another only when nothing of the first was processed.
func (t *trace) attempt() {
	t.dial, t.tls, t.data, t.written = span{}, span{}, span{}, false
}

func (t *trace) note(what func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.over {
		what()
	}
}

func (t *trace) finish() {
	t.note(func() {
		t.over = true
		now := time.Now()
		for _, s := range []*span{&t.dial, &t.tls, &t.data} {
			if s.end.IsZero() {
				s.end = now
			}
		}
	})
}

// reached tells that the other side may have the request.
func (t *trace) reached() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.written
}

// steps gives the parts as a call sees them that entered at that time.
func (t *trace) steps(entered time.Time) []sdk.Step {
	t.mu.Lock()
	defer t.mu.Unlock()
	var steps []sdk.Step
	for _, part := range []struct {
		name string
		span span
	}{{"dial", t.dial}, {"tls", t.tls}, {"data", t.data}} {
		if part.span.begin.IsZero() {
			continue
		}
		steps = append(steps, sdk.Step{
			Name:     part.name,
			Start:    part.span.begin.Sub(entered),
			Duration: part.span.end.Sub(part.span.begin),
		})
	}
	return steps
}

func (s *span) start() {
	if s.begin.IsZero() {
		s.begin = time.Now()
	}
}
