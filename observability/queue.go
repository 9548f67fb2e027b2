package observability

import (
	"context"
	"sync"
	"time"

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
	if took := time.Since(began); err == nil {
		q.t.claimDuration.with(q.t.database).Observe(took.Seconds())
		q.t.claims.keep(claim.Deliveries, began, took)
	}
	return claim, err
}

// claimed is when a delivery was claimed.
type claimed struct {
	began time.Time
	took  time.Duration
}

// claims is when the deliveries were claimed that are traced, until they are worked
// on. Safe for many goroutines.
type claims struct {
	mu sync.Mutex
	of map[core.LeaseID]claimed
}

// maxClaims bounds what is kept of deliveries that were given back unworked.
const maxClaims = 8192

func (c *claims) keep(deliveries []core.Delivery, began time.Time, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, delivery := range deliveries {
		if from, err := parseTraceParent(delivery.TraceParent); err != nil || !from.IsSampled() && delivery.Attempt < 2 {
			continue
		}
		if c.of == nil || len(c.of) >= maxClaims {
			c.of = make(map[core.LeaseID]claimed)
		}
		c.of[delivery.Lease] = claimed{began, took}
	}
}

func (c *claims) take(lease core.LeaseID) (claimed, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.of[lease]
	delete(c.of, lease)
	return at, ok
}
