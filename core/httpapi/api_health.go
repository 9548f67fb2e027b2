package httpapi

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/passmend/passmend/core"
)

// Queue says how long what is to be delivered has been waiting, as core.System does.
type Queue interface {
	QueueAge(ctx context.Context, kind core.Kind) (time.Duration, error)
}

const (
	// maxQueueAge is how long a webhook may be ready without a worker's taking it
	// (contract.md, A8).
	maxQueueAge = 30 * time.Second
	// queueAgeKept is how long an answer of the database serves: nobody proves anything
	// to ask for it.
	queueAgeKept = 5 * time.Second
)

// queueHealth remembers whether webhooks go out.
type queueHealth struct {
	mu    sync.Mutex
	asked time.Time
	ok    bool
}

func pong(c *call) error {
	c.empty(http.StatusOK)
	return nil
}

func healthy(c *call) error {
	c.empty(http.StatusNoContent)
	return nil
}

// healthyWebhooks says whether webhooks are being taken up: they are not when there
// is no worker, or none that keeps up.
func (a *api) healthyWebhooks(c *call) error {
	h := &a.webhooks
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := a.c.Now(); h.asked.IsZero() || now.Sub(h.asked) >= queueAgeKept {
		age, err := a.c.Queue.QueueAge(c.Request.Context(), core.KindWebhook)
		h.asked, h.ok = now, err == nil && age < maxQueueAge
	}
	if !h.ok {
		return errUnhealthy
	}
	return healthy(c)
}
