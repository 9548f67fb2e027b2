package keys

import (
	"context"
	"sync"
	"time"

	"github.com/passmend/passmend/core"
)

// gate lets a bounded number of jobs run, a bounded number wait, and each wait a
// bounded time.
//
//	caller --> queue (Queue) --> permit (Parallel) --> job --> permit back
//	           full or too long: core.ErrBusy          |
//	           ctx ends: its error                     ctx ends: the caller leaves,
//	                                                   the job keeps its permit
//
// A permit belongs to the job. Were it the caller's, a client that hangs up would
// free it while the job still holds its memory.
type gate struct {
	permits chan struct{}
	queue   chan struct{}
	maxWait time.Duration

	stopping chan struct{}
	stop     sync.Mutex // held by one Stop at a time
	stopped  int        // permits that Stop has taken
}

func newGate(parallel, queue int, maxWait time.Duration) *gate {
	return &gate{
		permits:  make(chan struct{}, parallel),
		queue:    make(chan struct{}, queue),
		maxWait:  maxWait,
		stopping: make(chan struct{}),
	}
}

// do runs job under a permit and waits for its end, or for the end of ctx. Only
// after a nil error has job ended; what it wrote may be read then and not before.
func (g *gate) do(ctx context.Context, job func()) error {
	if err := g.enter(ctx); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { <-g.permits }()
		job()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// enter takes a permit. Waiting senders of a channel are served in their order, so
// nobody overtakes.
func (g *gate) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-g.stopping:
		return core.ErrBusy
	default:
	}
	select {
	case g.permits <- struct{}{}:
		return nil
	default:
	}
	select {
	case g.queue <- struct{}{}:
	default:
		return core.ErrBusy
	}
	defer func() { <-g.queue }()
	timer := time.NewTimer(g.maxWait)
	defer timer.Stop()
	select {
	case g.permits <- struct{}{}:
		return nil
	case <-timer.C:
		return core.ErrBusy
	case <-g.stopping:
		return core.ErrBusy
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close turns new callers away and waits for running jobs by taking every permit.
// It may be called again, also after ctx has ended the first wait.
func (g *gate) close(ctx context.Context) error {
	g.stop.Lock()
	defer g.stop.Unlock()
	select {
	case <-g.stopping:
	default:
		close(g.stopping)
	}
	for g.stopped < cap(g.permits) {
		select {
		case g.permits <- struct{}{}:
			g.stopped++
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
