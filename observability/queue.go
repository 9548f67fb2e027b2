package observability

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/passmend/passmend/core"
)

// Queue is where a worker's work comes from; core.System is one.
type Queue interface {
	Claim(ctx context.Context, ask core.ClaimAsk) (core.Claim, error)
	Extend(ctx context.Context, leases []core.Lease) (lost []core.Lease, err error)
	Release(ctx context.Context, leases []core.Lease) error
	Reap(ctx context.Context) (int, error)
}

// Queue times claims. A claim serves many deliveries at once: each that is traced
// shows it as a span of its own trace.
func (t *Telemetry) Queue(next Queue) Queue { return queue{next, t} }

type queue struct {
	Queue
	t *Telemetry
}

func (q queue) Claim(ctx context.Context, ask core.ClaimAsk) (core.Claim, error) {
	began := time.Now()
	claim, err := q.Queue.Claim(ctx, ask)
	if took := time.Since(began); err == nil && !q.t.claims.keep(claim.Deliveries, began, took) {
		q.t.claimDuration.with(q.t.database).Observe(took.Seconds())
	}
	return claim, err
}

// claimed is when deliveries were claimed, of which some are traced. It shows in
// their traces, which begin when they are worked on: the first of them counts it, and
// none where all of them are given back unworked.
type claimed struct {
	began   time.Time
	took    time.Duration
	counted atomic.Bool
}

// count counts the claim, with the trace of ctx, unless it has been.
func (c *claimed) count(ctx context.Context, histogram prometheus.Observer) {
	if c.counted.CompareAndSwap(false, true) {
		observe(ctx, histogram, c.took)
	}
}

// claims is when the deliveries were claimed that are traced, until they are worked
// on. Safe for many goroutines.
type claims struct {
	mu sync.Mutex
	of map[core.LeaseID]*claimed
}

// maxClaims bounds what is kept of deliveries that were given back unworked.
const maxClaims = 8192

// keep says whether any delivery of the claim is traced.
func (c *claims) keep(deliveries []core.Delivery, began time.Time, took time.Duration) (kept bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	claim := &claimed{began: began, took: took}
	for _, delivery := range deliveries {
		if from, err := parseTraceParent(delivery.TraceParent); err != nil || !from.IsSampled() && delivery.Attempt < 2 {
			continue
		}
		if c.of == nil || len(c.of) >= maxClaims {
			c.of = make(map[core.LeaseID]*claimed)
		}
		c.of[delivery.Lease], kept = claim, true
	}
	return kept
}

// take gives the claim of a delivery that is traced, once; nil for any other.
func (c *claims) take(lease core.LeaseID) *claimed {
	c.mu.Lock()
	defer c.mu.Unlock()
	claim := c.of[lease]
	delete(c.of, lease)
	return claim
}
