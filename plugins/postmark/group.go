package postmark

import (
	"context"
	"crypto/sha256"
	"slices"
	"sync"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
)

const (
	// maxCalls bounds the requests in flight of one configured use. Fewer would
	// make a message wait, more would leave nothing to share.
	maxCalls = 8
	// maxBatch is the most messages of a batch that Postmark takes.
	maxBatch = 500
	// maxBatchBytes bounds the messages of a batch; Postmark takes 50 MB, but a
	// batch is written in one piece, maxCalls times.
	maxBatchBytes = 4 << 20
	// callTimeout bounds a call, and a Send that came without a deadline.
	callTimeout = time.Minute
)

// group shares requests: while maxCalls of a use are in flight its next messages
// wait, and the first request that ends takes all of them along. Nothing waits
// for company: below maxCalls each message goes at once and alone.
//
//	Send ── lane: queue ── worker: take ── POST ── results ──┐
//	  └──────────── each waits for its own result ───────────┘
//
// A message that leaves the queue in time was surely not sent. One whose request
// is under way is unknown to a caller that leaves; the request goes on for the
// others and ends when the last has left.
type group struct {
	post func(ctx context.Context, s *settings, batch []*message) []result

	mu      sync.Mutex
	lanes   map[laneKey]*lane
	workers sync.WaitGroup
}

// laneKey: what shares a request. Templates have an endpoint of their own.
type laneKey struct {
	settings  [sha256.Size]byte
	templated bool
}

type lane struct {
	queue   []*ticket
	workers int
}

// ticket is one message on its way.
type ticket struct {
	message *message
	result  chan result // holds one
	call    *call       // nil while queued
}

// call is one request and how many still wait for it.
type call struct {
	waiting int
	end     context.CancelFunc
}

func newGroup(post func(context.Context, *settings, []*message) []result) *group {
	return &group{post: post, lanes: make(map[laneKey]*lane)}
}

// send hands m over and waits for its result, or for the end of ctx.
func (g *group) send(ctx context.Context, s *settings, m *message) result {
	key := laneKey{s.key(), m.templated}
	t := &ticket{message: m, result: make(chan result, 1)}
	g.mu.Lock()
	l := g.lanes[key]
	if l == nil {
		l = &lane{}
		g.lanes[key] = l
	}
	l.queue = append(l.queue, t)
	if l.workers < maxCalls {
		l.workers++
		// The request is its callers', whoever leaves first; see leave.
		base := context.WithoutCancel(ctx)
		g.workers.Go(func() { g.work(base, s, key) })
	}
	g.mu.Unlock()
	select {
	case r := <-t.result:
		return r
	case <-ctx.Done():
		return g.leave(l, t)
	}
}

// work makes calls until the lane's queue is empty.
func (g *group) work(base context.Context, s *settings, key laneKey) {
	for {
		ctx, end := context.WithTimeout(base, callTimeout)
		batch := g.take(key, end)
		if batch == nil {
			end()
			return
		}
		messages := make([]*message, len(batch))
		for i, t := range batch {
			messages[i] = t.message
		}
		for i, r := range g.post(ctx, s, messages) {
			batch[i].result <- r
		}
		end()
	}
}

// take gives the next batch; nil ends the worker.
func (g *group) take(key laneKey, end context.CancelFunc) []*ticket {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := g.lanes[key]
	n, size := 0, 0
	for n < len(l.queue) && n < maxBatch {
		size += len(l.queue[n].message.body)
		if n > 0 && size > maxBatchBytes {
			break
		}
		n++
	}
	if n == 0 {
		if l.workers--; l.workers == 0 {
			delete(g.lanes, key)
		}
		return nil
	}
	batch := slices.Clone(l.queue[:n])
	l.queue = slices.Delete(l.queue, 0, n)
	c := &call{waiting: n, end: end}
	for _, t := range batch {
		t.call = c
	}
	return batch
}

// leave ends the wait of a caller whose time is over.
func (g *group) leave(l *lane, t *ticket) result {
	g.mu.Lock()
	if t.call == nil {
		l.queue = slices.DeleteFunc(l.queue, func(other *ticket) bool { return other == t })
		g.mu.Unlock()
		return result{failure: &sdk.Failure{Kind: sdk.Temporary, Public: "every connection to Postmark is busy"}}
	}
	t.call.waiting--
	last := t.call.waiting == 0
	g.mu.Unlock()
	if last {
		t.call.end()
		return <-t.result
	}
	select {
	case r := <-t.result:
		return r
	default:
		return result{doubtful: true, failure: &sdk.Failure{Kind: sdk.Unknown, Public: "Postmark did not answer in time"}}
	}
}

// close waits for the requests in flight.
func (g *group) close() { g.workers.Wait() }
