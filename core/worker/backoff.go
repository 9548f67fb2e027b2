package worker

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"
)

const (
	backoffFirst = 100 * time.Millisecond
	backoffMost  = 2 * time.Second
)

// backoff is the wait between tries: doubled each time, and spread over half of
// itself so that replicas do not come back as one.
type backoff struct{ last time.Duration }

func (b *backoff) next() time.Duration {
	b.last = min(max(2*b.last, backoffFirst), backoffMost)
	return b.last/2 + time.Duration(rand.Float64()*float64(b.last))
}

// outage tells of a run of failures once when it begins and once when it is over.
type outage struct {
	logger *slog.Logger
	work   string // what fails, one word
	backoff
	failures int
	since    time.Time
}

// failed gives the wait before the next try.
func (o *outage) failed(ctx context.Context, err error) time.Duration {
	if o.failures == 0 {
		o.since = time.Now()
		o.logger.ErrorContext(ctx, "worker is held up by the store", slog.String("work", o.work), slog.Any("error", err))
	}
	o.failures++
	return o.next()
}

func (o *outage) over(ctx context.Context) {
	if o.failures > 0 {
		o.logger.InfoContext(ctx, "worker goes on", slog.String("work", o.work),
			slog.Int("failures", o.failures), slog.Duration("away", time.Since(o.since)))
	}
	o.failures, o.last = 0, 0
}

// repeat does work every so often, and sooner after it failed, until ctx ends.
func (w *Worker) repeat(ctx context.Context, name string, first, every time.Duration, work func(context.Context) error) {
	o := outage{logger: w.c.Logger, work: name}
	for wait := first; pause(ctx, wait); {
		wait = every
		switch err := work(ctx); {
		case err == nil:
			o.over(ctx)
		case ctx.Err() == nil:
			wait = min(o.failed(ctx, err), every)
		}
	}
}

// pause says whether the time has passed before ctx ended.
func pause(ctx context.Context, length time.Duration) bool {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return ctx.Err() == nil
	}
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
