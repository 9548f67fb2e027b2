package postmark

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/plugins/postmark/postmarktest"
	"github.com/passmend/passmend/plugins/sdk"
)

// gate holds the requests of a server back until open is closed.
type gate struct {
	*postmarktest.Server
	open chan struct{}
}

// startGate has script answer what comes after the gate was opened.
func startGate(t *testing.T, options postmarktest.Options) *gate {
	t.Helper()
	g := &gate{open: make(chan struct{})}
	script := options.Script
	options.Script = func(r postmarktest.Request) *postmarktest.Answer {
		select {
		case <-g.open:
		case <-t.Context().Done():
		}
		if script != nil {
			return script(r)
		}
		return nil
	}
	g.Server = postmarktest.Start(t, options)
	return g
}

// numbered is a request of its own.
func (g *gate) numbered(i int) sdk.SendRequest {
	m := testMail()
	m.MessageID = fmt.Sprintf("%d@mail.acme.example", i)
	m.To.Address = fmt.Sprintf("ada%d@example.com", i)
	request := requestTo(g.Server, m)
	request.IdempotencyKey = m.MessageID
	return request
}

// end is how a Send ended.
type end struct {
	receipt sdk.Receipt
	err     error
}

// fill starts a Send for each of the numbers from..to-1 and waits until the first
// ones are under way and the others in the queue.
func (g *gate) fill(t *testing.T, p *Provider, ctx func(i int) context.Context, to int, request func(i int) sdk.SendRequest) (ends []end, wait func()) {
	t.Helper()
	ends = make([]end, to)
	var sending sync.WaitGroup
	for i := range to {
		sending.Go(func() { ends[i].receipt, ends[i].err = p.Send(ctx(i), request(i)) })
		if i < maxCalls {
			until(t, func() bool { return len(g.Requests()) == i+1 })
		} else {
			until(t, func() bool { return p.queued() == i+1-maxCalls })
		}
	}
	return ends, sending.Wait
}

func (p *Provider) queued() int {
	p.group.mu.Lock()
	defer p.group.mu.Unlock()
	n := 0
	for _, l := range p.group.lanes {
		n += len(l.queue)
	}
	return n
}

func until(t *testing.T, true func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !true(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited too long")
		}
	}
}

func always(ctx context.Context) func(int) context.Context {
	return func(int) context.Context { return ctx }
}

func sizes(requests []postmarktest.Request) map[int]int {
	counts := make(map[int]int)
	for _, r := range requests {
		counts[r.Messages]++
	}
	return counts
}

func TestWaitingMessagesShareARequest(t *testing.T) {
	t.Parallel()
	for _, templated := range []bool{false, true} {
		t.Run(fmt.Sprint("templated ", templated), func(t *testing.T) {
			t.Parallel()
			g := startGate(t, postmarktest.Options{
				Inactive:  []string{"ada12@example.com"},
				Templates: map[string]postmarktest.Template{"r": {Subject: "s", Text: "{{{link}}}"}},
			})
			request := g.numbered
			if templated {
				request = func(i int) sdk.SendRequest {
					r := g.numbered(i)
					r.Settings = settingsOf(g.Server, `,"resetTemplate":"r"`)
					return r
				}
			}
			p := newProvider(t)
			ends, wait := g.fill(t, p, always(t.Context()), 30, request)
			close(g.open)
			wait()
			if diff := cmp.Diff(map[int]int{1: maxCalls, 30 - maxCalls: 1}, sizes(g.Requests())); diff != "" {
				t.Errorf("requests by size (-want +got):\n%s", diff)
			}
			byRecipient := make(map[string]postmarktest.Message)
			for _, m := range g.Messages() {
				byRecipient[m.To] = m
			}
			for i, e := range ends {
				address := fmt.Sprintf("ada%d@example.com", i)
				if i == 12 {
					if kindOf(e.err) != sdk.RecipientRefused || strings.Contains(tell(e.err), address) {
						t.Errorf("the inactive one: %v", e.err)
					}
					continue
				}
				m := byRecipient[address]
				if e.err != nil || e.receipt.MessageID != m.ID || m.MessageID != fmt.Sprintf("%d@mail.acme.example", i) {
					t.Errorf("message %d: receipt %q of %+v, %v", i, e.receipt.MessageID, m, e.err)
				}
			}
		})
	}
}

func TestWhatDiffersNeverSharesARequest(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, more, template string }{
		{"another stream", `,"resetTemplate":"r","messageStream":"other"`, "reset"},
		{"no template", `,"resetTemplate":"r"`, "changed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := startGate(t, postmarktest.Options{
				Streams: []string{"outbound", "other"}, Templates: map[string]postmarktest.Template{"r": {Text: "{{{link}}}"}},
			})
			request := func(i int) sdk.SendRequest {
				r := g.numbered(i)
				r.Settings = settingsOf(g.Server, `,"resetTemplate":"r"`)
				return r
			}
			p := newProvider(t)
			ends, wait := g.fill(t, p, always(t.Context()), maxCalls+1, request)
			other := request(maxCalls + 1)
			other.Settings = settingsOf(g.Server, c.more)
			other.Mail.Facts.Template = c.template
			var err error
			var sending sync.WaitGroup
			sending.Go(func() { _, err = p.Send(t.Context(), other) })
			until(t, func() bool { return len(g.Requests()) == maxCalls+1 && p.queued() == 1 }) // a lane of its own
			close(g.open)
			wait()
			sending.Wait()
			for i, e := range append(ends, end{err: err}) {
				if e.err != nil {
					t.Errorf("%d: %v", i, e.err)
				}
			}
		})
	}
}

// The answer to a batch may be lost, or be no answer to that batch: then nobody
// knows of any of its messages. The control is the same batch with its answer.
func TestABatchWithoutItsAnswerIsUnknownForAll(t *testing.T) {
	t.Parallel()
	one := `{"ErrorCode":0,"Message":"OK","MessageID":"m"}`
	for _, c := range []struct {
		name   string
		answer *postmarktest.Answer
		want   sdk.Outcome
	}{
		{"its answer", nil, sdk.Accepted},
		{"lost", &postmarktest.Answer{Take: true, Close: true}, sdk.Unknown},
		{"too short", &postmarktest.Answer{Status: 200, Body: "[" + one + "]"}, sdk.Unknown},
		{"too long", &postmarktest.Answer{Status: 200, Body: "[" + strings.Repeat(one+",", 9) + one + "]"}, sdk.Unknown},
		{"not a list", &postmarktest.Answer{Status: 200, Body: one}, sdk.Unknown},
		{"with a hole", &postmarktest.Answer{Status: 200, Body: "[" + one + ",{}," + one + "]"}, sdk.Unknown},
		{"service unavailable", &postmarktest.Answer{Status: 503}, sdk.Temporary},
		{"wrong token", &postmarktest.Answer{Status: 401}, sdk.AuthenticationFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := startGate(t, postmarktest.Options{Script: func(r postmarktest.Request) *postmarktest.Answer {
				if r.Messages > 1 {
					return c.answer
				}
				return nil
			}})
			ends, wait := g.fill(t, newProvider(t), always(t.Context()), maxCalls+3, g.numbered)
			close(g.open)
			wait()
			for i, e := range ends[maxCalls:] {
				if kindOf(e.err) != c.want {
					t.Errorf("message %d: %v, want %s", i, e.err, c.want)
				}
			}
		})
	}
}

func TestABatchRefusedAsAWholeIsSentOneByOne(t *testing.T) {
	t.Parallel()
	for _, answer := range []postmarktest.Answer{{Status: 413}, {Status: 422, Body: `{"ErrorCode":402,"Message":"x"}`}} {
		t.Run(fmt.Sprint(answer.Status), func(t *testing.T) {
			t.Parallel()
			g := startGate(t, postmarktest.Options{
				Inactive: []string{fmt.Sprintf("ada%d@example.com", maxCalls)},
				Script: func(r postmarktest.Request) *postmarktest.Answer {
					if r.Messages > 1 {
						return &answer
					}
					return nil
				},
			})
			ends, wait := g.fill(t, newProvider(t), always(t.Context()), maxCalls+3, g.numbered)
			close(g.open)
			wait()
			for i, e := range ends {
				if want := i == maxCalls; kindOf(e.err) == sdk.RecipientRefused != want || !want && e.err != nil {
					t.Errorf("message %d: %v", i, e.err)
				}
			}
			if diff := cmp.Diff(map[int]int{1: maxCalls + 3, 3: 1}, sizes(g.Requests())); diff != "" {
				t.Errorf("requests by size (-want +got):\n%s", diff)
			}
		})
	}
}

// One caller leaves the queue, one leaves its batch: the first was surely not
// sent, the second nobody knows of, and the others get theirs.
func TestACallerMayLeave(t *testing.T) {
	t.Parallel()
	second := make(chan struct{})
	g := startGate(t, postmarktest.Options{Script: func(r postmarktest.Request) *postmarktest.Answer {
		if r.Messages > 1 {
			select {
			case <-second:
			case <-t.Context().Done():
			}
		}
		return nil
	}})
	p := newProvider(t)
	errLeft := errors.New("left")
	early, leaveEarly := context.WithCancelCause(t.Context())
	late, leaveLate := context.WithCancelCause(t.Context())
	ends, wait := g.fill(t, p, func(i int) context.Context {
		switch i {
		case maxCalls:
			return early
		case maxCalls + 1:
			return late
		}
		return t.Context()
	}, maxCalls+4, g.numbered)
	leaveEarly(errLeft)
	until(t, func() bool { return p.queued() == 3 })
	close(g.open)
	until(t, func() bool { return sizes(g.Requests())[3] == 1 })
	leaveLate(errLeft)
	until(t, func() bool { return p.doubts.has(deliveryName(g.numbered(maxCalls + 1).IdempotencyKey)) })
	close(second)
	wait()
	want := make([]sdk.Outcome, len(ends))
	got := make([]sdk.Outcome, len(ends))
	for i, e := range ends {
		want[i], got[i] = sdk.Accepted, kindOf(e.err)
	}
	want[maxCalls], want[maxCalls+1] = sdk.Temporary, sdk.Unknown
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	for _, m := range g.Messages() {
		if m.To == fmt.Sprintf("ada%d@example.com", maxCalls) {
			t.Error("a message that had left the queue was sent")
		}
	}
}

// A request that everybody has left ends; its connection is not kept waiting for
// an answer that nobody wants.
func TestTheLastToLeaveEndsTheRequest(t *testing.T) {
	t.Parallel()
	server := says(t, postmarktest.Answer{Hang: true})
	p := New()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := p.Send(ctx, requestTo(server, testMail())); kindOf(err) != sdk.Unknown {
		t.Errorf("Send = %v", err)
	}
	began := time.Now()
	p.Close()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the request ran on for %s", took)
	}
}

func TestABatchIsBoundedByBytes(t *testing.T) {
	t.Parallel()
	g := newGroup(nil)
	key := laneKey{}
	l := &lane{workers: 1}
	for range maxBatch + 2 {
		l.queue = append(l.queue, &ticket{message: &message{body: []byte("{}")}})
	}
	l.queue = append(l.queue, &ticket{message: &message{body: make([]byte, maxBatchBytes+1)}})
	g.lanes[key] = l
	var got []int
	for {
		batch := g.take(key, func() {})
		if batch == nil {
			break
		}
		got = append(got, len(batch))
	}
	if diff := cmp.Diff([]int{maxBatch, 2, 1}, got); diff != "" || len(g.lanes) != 0 {
		t.Errorf("batches (-want +got):\n%s", diff)
	}
}

// BenchmarkSend shows what sharing requests is worth: 256 callers, a server that
// takes 20 ms to answer; "alone" is the same client without the group.
func BenchmarkSend(b *testing.B) {
	for _, way := range []string{"shared", "alone"} {
		b.Run(way, func(b *testing.B) {
			server := postmarktest.Start(b, postmarktest.Options{Delay: 20 * time.Millisecond})
			p := newProvider(b)
			request := requestTo(server, testMail())
			s, err := parseSettings(request.Settings)
			if err != nil {
				b.Fatal(err)
			}
			m, err := build(s, request)
			if err != nil {
				b.Fatal(err)
			}
			b.SetParallelism(128)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					var r result
					if way == "shared" {
						r = p.group.send(b.Context(), s, m)
					} else {
						r = p.post(b.Context(), s, []*message{m})[0]
					}
					if r.failure != nil {
						b.Error(tell(r.failure))
					}
				}
			})
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "mails/s")
			b.ReportMetric(float64(b.N)/float64(len(server.Requests())), "mails/request")
		})
	}
}
