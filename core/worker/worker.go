package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// Queue is where work comes from; core.System is one.
type Queue interface {
	Claim(ctx context.Context, ask core.ClaimAsk) (core.Claim, error)
	Extend(ctx context.Context, leases []core.Lease) (lost []core.Lease, err error)
	Reap(ctx context.Context) (int, error)
}

// Ledger is where outcomes go.
type Ledger interface {
	Resolve(ctx context.Context, account tenants.AccountID, lease core.Lease, plan core.Plan) error
	Settle(ctx context.Context, account tenants.AccountID, lease core.Lease, settlement core.Settlement) error
}

// Resolver plans a request; core.Resolver is one.
type Resolver interface {
	Resolve(ctx context.Context, delivery core.Delivery) (core.Plan, error)
}

// Dispatcher makes one attempt; core.Dispatcher is one.
type Dispatcher interface {
	Dispatch(ctx context.Context, delivery core.Delivery) (core.Settlement, error)
}

// Process runs work on a delivery, tracing and counting it; work gives the
// outcome: ok, retry, permanent, unknown or fenced.
type Process func(ctx context.Context, delivery core.Delivery, work func(ctx context.Context) (outcome string))

// Config is what a Worker works with.
type Config struct {
	Queue      Queue
	Ledger     Ledger
	Resolver   Resolver
	Dispatcher Dispatcher
	Logger     *slog.Logger
	Process    Process       // nil: the work alone
	Reaped     func(n int)   // told how many leases had lapsed; may be nil
	Slots      int           // deliveries under way at once; 0 means 128
	Poll       time.Duration // longest wait between claims; 0 means 1 s
}

const (
	defaultSlots   = 128
	defaultPoll    = time.Second
	heartbeatEvery = 15 * time.Second
	reapEvery      = 5 * time.Second
	// settleTimeout bounds the write of an outcome after the work was cancelled.
	settleTimeout = 5 * time.Second
	// retryClaim is the wait after a claim that failed: the database is away.
	retryClaim = time.Second
)

func (c *Config) validate() error {
	switch {
	case c.Queue == nil, c.Ledger == nil, c.Resolver == nil, c.Dispatcher == nil, c.Logger == nil:
		return errors.New("worker: Queue, Ledger, Resolver, Dispatcher and Logger are needed")
	case c.Slots < 0 || c.Poll < 0:
		return errors.New("worker: Slots and Poll must not be negative")
	}
	if c.Slots == 0 {
		c.Slots = defaultSlots
	}
	if c.Poll == 0 {
		c.Poll = defaultPoll
	}
	if c.Process == nil {
		c.Process = func(ctx context.Context, _ core.Delivery, work func(context.Context) string) { work(ctx) }
	}
	if c.Reaped == nil {
		c.Reaped = func(int) {}
	}
	return nil
}

// Worker claims and works until it is stopped.
type Worker struct {
	c    Config
	wake chan struct{} // capacity 1: a signal that is already waiting is enough
	free chan struct{} // capacity 1: a slot was given back

	mu      sync.Mutex
	running map[core.Lease]running

	stopping context.CancelFunc // ends claiming
	cancel   context.CancelFunc // ends the work itself
	loops    sync.WaitGroup     // claimer and reaper
	keeping  sync.WaitGroup     // keeper: outlives the claimer, while work is under way
	work     sync.WaitGroup
}

type running struct {
	account tenants.AccountID
	cancel  context.CancelFunc
}

// New gives a Worker that does nothing until Start.
func New(c Config) (*Worker, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	return &Worker{
		c:       c,
		wake:    make(chan struct{}, 1),
		free:    make(chan struct{}, 1),
		running: make(map[core.Lease]running),
	}, nil
}

// Wake says that work may be ready. It never blocks.
func (w *Worker) Wake() { signal(w.wake) }

// Start begins to claim. The end of ctx does not stop it: Stop does.
func (w *Worker) Start(ctx context.Context) error {
	base := context.WithoutCancel(ctx)
	work, cancel := context.WithCancel(base)
	claiming, stopping := context.WithCancel(work)
	w.cancel, w.stopping = cancel, stopping
	w.loops.Go(func() { w.claimLoop(claiming, work) })
	w.loops.Go(func() { w.reap(claiming); every(claiming, reapEvery, w.reap) })
	w.keeping.Go(func() { every(work, heartbeatEvery, w.keep) })
	return nil
}

// Stop claims no more and waits for the work under way. When ctx ends first, that
// work is cancelled, settled as far as it came, and waited for; ctx's error comes
// back.
func (w *Worker) Stop(ctx context.Context) error {
	w.stopping()
	w.loops.Wait()
	done := make(chan struct{})
	go func() { w.work.Wait(); close(done) }()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = fmt.Errorf("worker: work cancelled: %w", ctx.Err())
	}
	w.cancel()
	<-done
	w.keeping.Wait()
	return err
}

// InFlight is the number of deliveries under way.
func (w *Worker) InFlight() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.running)
}

func (w *Worker) claimLoop(ctx, work context.Context) {
	var cursor tenants.AccountID
	for {
		claim, wait := w.claim(ctx, cursor)
		cursor = claim.Cursor
		for _, delivery := range claim.Deliveries {
			w.begin(work, delivery)
		}
		if wait == 0 {
			if ctx.Err() != nil {
				return
			}
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-w.wake:
		case <-w.freed(claim.Full):
		case <-timer.C:
		}
		timer.Stop()
	}
}

// claim asks for as many rows as there are free slots, and says how long to wait
// before the next: not at all when more was ready and slots remain.
func (w *Worker) claim(ctx context.Context, cursor tenants.AccountID) (core.Claim, time.Duration) {
	free, inFlight := w.slots()
	if free == 0 {
		return core.Claim{Cursor: cursor, Full: true}, w.c.Poll
	}
	claim, err := w.c.Queue.Claim(ctx, core.ClaimAsk{Cursor: cursor, Free: free, InFlight: inFlight})
	if err != nil {
		if ctx.Err() == nil {
			w.c.Logger.ErrorContext(ctx, "claim failed", slog.Any("error", err))
		}
		return core.Claim{Cursor: cursor}, retryClaim
	}
	if claim.Full && len(claim.Deliveries) > 0 && len(claim.Deliveries) < free {
		return claim, 0
	}
	if claim.Next > 0 {
		return claim, min(claim.Next, w.c.Poll)
	}
	return claim, w.c.Poll
}

// freed gives the channel that tells of a free slot, if somebody waits for one.
func (w *Worker) freed(wanted bool) <-chan struct{} {
	if !wanted {
		return nil
	}
	return w.free
}

func (w *Worker) slots() (free int, inFlight map[tenants.AccountID]int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	inFlight = make(map[tenants.AccountID]int)
	for _, r := range w.running {
		inFlight[r.account]++
	}
	return max(w.c.Slots-len(w.running), 0), inFlight
}

func (w *Worker) begin(work context.Context, delivery core.Delivery) {
	ctx, cancel := context.WithCancel(work)
	lease := delivery.LeaseOf()
	w.mu.Lock()
	w.running[lease] = running{account: delivery.Account, cancel: cancel}
	w.mu.Unlock()
	w.work.Go(func() {
		defer func() {
			cancel()
			w.mu.Lock()
			delete(w.running, lease)
			w.mu.Unlock()
			signal(w.free)
		}()
		w.c.Process(ctx, delivery, func(ctx context.Context) string { return w.handle(ctx, delivery) })
	})
}

// keep tells the store that the work under way is still held here, and cancels
// what is not.
func (w *Worker) keep(ctx context.Context) {
	w.mu.Lock()
	leases := make([]core.Lease, 0, len(w.running))
	for lease := range w.running {
		leases = append(leases, lease)
	}
	w.mu.Unlock()
	if len(leases) == 0 {
		return
	}
	lost, err := w.c.Queue.Extend(ctx, leases)
	if err != nil {
		w.c.Logger.ErrorContext(ctx, "extend leases failed", slog.Int("leases", len(leases)), slog.Any("error", err))
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, lease := range lost {
		if r, ok := w.running[lease]; ok {
			r.cancel()
		}
	}
}

func (w *Worker) reap(ctx context.Context) {
	n, err := w.c.Queue.Reap(ctx)
	if err != nil {
		w.c.Logger.ErrorContext(ctx, "reap failed", slog.Any("error", err))
		return
	}
	if n > 0 {
		w.c.Reaped(n)
		w.c.Logger.WarnContext(ctx, "leases lapsed", slog.Int("leases", n))
		w.Wake()
	}
}

// every runs do until ctx ends, first after one period.
func every(ctx context.Context, period time.Duration, do func(context.Context)) {
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			do(ctx)
		}
	}
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
