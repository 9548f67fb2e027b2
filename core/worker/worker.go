package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// Queue is where work comes from; core.System is one.
type Queue interface {
	Claim(ctx context.Context, ask core.ClaimAsk) (core.Claim, error)
	Extend(ctx context.Context, leases []core.Lease) (lost []core.Lease, err error)
	Release(ctx context.Context, leases []core.Lease) error
	Reap(ctx context.Context) (int, error)
}

// Ledger is where outcomes go.
type Ledger interface {
	Resolve(ctx context.Context, account tenants.AccountID, lease core.Lease, plan core.Plan) (core.Standing, error)
	Settle(ctx context.Context, account tenants.AccountID, lease core.Lease, settlement core.Settlement) error
}

// Resolver plans a request; core.Resolver is one.
type Resolver interface {
	Resolve(ctx context.Context, delivery core.Delivery) (core.Plan, error)
}

// Dispatcher makes one attempt; core.Dispatcher and core.WebhookDispatcher are such.
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
	Dispatcher Dispatcher // of mails and notices
	Webhooks   Dispatcher // of events; nil: none can be sent here
	Logger     *slog.Logger
	Process    Process       // nil: the work alone
	Slots      int           // deliveries under way at once; 0 means 128
	Poll       time.Duration // longest wait between claims; 0 means 1 s
	// Retention is how long an ended request is kept; 0: for ever.
	Retention time.Duration
	// Retain removes what ended longer ago than age, at most batch requests, and says
	// how many; core.System's does. Needed with a Retention.
	Retain func(ctx context.Context, age time.Duration, batch int) (int, error)
	// Retained is told how many requests a batch removed; may be nil.
	Retained func(n int)
	// Maintained is told each time that a task, reap or retain, was done; may be nil.
	Maintained func(task string)
}

const (
	defaultSlots   = 128
	defaultPoll    = time.Second
	heartbeatEvery = 15 * time.Second
	reapEvery      = 5 * time.Second
	retainEvery    = time.Minute
	retainBatch    = 500
	retainPause    = 100 * time.Millisecond
	// heldFor is how long after it was last heard of a lease counts as ours: what
	// clocks and the network add must not make it two workers'.
	heldFor = core.LeaseLife - 5*time.Second
	// extendTimeout leaves room for several tries before heldFor is over.
	extendTimeout = 5 * time.Second
	extendAtOnce  = 500
	reapTimeout   = 30 * time.Second
)

func (c *Config) validate() error {
	switch {
	case c.Queue == nil, c.Ledger == nil, c.Resolver == nil, c.Dispatcher == nil, c.Logger == nil:
		return errors.New("worker: Queue, Ledger, Resolver, Dispatcher and Logger are needed")
	case c.Slots < 0 || c.Poll < 0 || c.Retention < 0:
		return errors.New("worker: Slots, Poll and Retention must not be negative")
	case c.Retention > 0 && c.Retain == nil:
		return errors.New("worker: a Retention needs Retain")
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
	if c.Maintained == nil {
		c.Maintained = func(string) {}
	}
	if c.Retained == nil {
		c.Retained = func(int) {}
	}
	return nil
}

// Worker claims and works until it is stopped.
type Worker struct {
	c    Config
	wake chan struct{} // capacity 1: a signal that is already waiting is enough
	free chan struct{} // capacity 1: slots were given back since the last claim

	mu      sync.Mutex
	running map[core.Lease]running
	freed   int // slots given back since the last claim

	stopping context.CancelFunc // ends claiming
	cancel   context.CancelFunc // ends the work itself
	loops    sync.WaitGroup     // claimer, reaper and retainer
	keeping  sync.WaitGroup     // keeper: outlives the claimer, while work is under way
	work     sync.WaitGroup
}

// running is a delivery under way.
type running struct {
	account tenants.AccountID
	cancel  context.CancelFunc
	lapse   *time.Timer // cancels when the lease may be somebody else's
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

// Wake says that work may be ready. It never blocks; many are as good as one.
func (w *Worker) Wake() { signal(w.wake) }

// Start begins to claim, once. The end of ctx does not stop it: Stop does.
func (w *Worker) Start(ctx context.Context) error {
	if w.cancel != nil {
		return errors.New("worker: already started")
	}
	base := context.WithoutCancel(ctx)
	work, cancel := context.WithCancel(base)
	claiming, stopping := context.WithCancel(work)
	w.cancel, w.stopping = cancel, stopping
	claimer := &claimer{w: w, outage: outage{logger: w.c.Logger, work: "claim"}}
	w.loops.Go(func() { claimer.run(claiming, work) })
	w.loops.Go(func() { w.repeat(claiming, "reap", 0, reapEvery, w.maintained("reap", w.reap)) })
	if w.c.Retention > 0 {
		w.loops.Go(func() { w.repeat(claiming, "retain", retainEvery, retainEvery, w.maintained("retain", w.retain)) })
	}
	w.keeping.Go(func() { w.repeat(work, "extend", heartbeatEvery, heartbeatEvery, w.keep) })
	return nil
}

// Stop claims no more and waits for the work under way. When ctx ends first, that
// work is cancelled and waited for: what had come to an outcome is settled, what
// was not tried yet is given back; ctx's error comes back.
func (w *Worker) Stop(ctx context.Context) error {
	if w.cancel == nil {
		return nil
	}
	w.stopping()
	done := make(chan struct{})
	go func() { w.loops.Wait(); w.work.Wait(); close(done) }()
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

// begin works on a delivery that was asked for at that time, and then on the mail
// that follows from it, in the same slot.
func (w *Worker) begin(work context.Context, delivery core.Delivery, asked time.Time) {
	ctx := w.hold(work, delivery, asked)
	w.work.Go(func() { w.process(work, ctx, delivery) })
}

func (w *Worker) process(work, ctx context.Context, delivery core.Delivery) {
	var next *core.Delivery
	began := time.Now()
	w.c.Process(ctx, delivery, func(ctx context.Context) (outcome string) {
		outcome, next = w.handle(ctx, delivery)
		return outcome
	})
	if next == nil {
		w.end(delivery.LeaseOf())
		return
	}
	following := w.hold(work, *next, began)
	w.drop(delivery.LeaseOf())
	w.process(work, following, *next)
}

// hold counts a delivery among those under way. Its context ends when the lease may
// be somebody else's.
func (w *Worker) hold(work context.Context, delivery core.Delivery, asked time.Time) context.Context {
	ctx, cancel := context.WithCancel(work)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running[delivery.LeaseOf()] = running{
		account: delivery.Account, cancel: cancel, lapse: time.AfterFunc(heldFor-time.Since(asked), cancel),
	}
	return ctx
}

// drop ends what hold began.
func (w *Worker) drop(lease core.Lease) {
	w.mu.Lock()
	defer w.mu.Unlock()
	held := w.running[lease]
	held.lapse.Stop()
	held.cancel()
	delete(w.running, lease)
}

// end gives a slot back. The claimer is told of the first, and of each that makes
// a claim worth it at once.
func (w *Worker) end(lease core.Lease) {
	w.drop(lease)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.freed++
	if w.freed == 1 || w.hasRoom() {
		signal(w.free)
	}
}

// keep tells the store that the work under way is still held here, and cancels
// what is not.
func (w *Worker) keep(ctx context.Context) error {
	for leases := range slices.Chunk(w.leases(), extendAtOnce) {
		asked := time.Now()
		lost, err := w.extend(ctx, leases)
		if err != nil {
			return err
		}
		w.kept(leases, lost, asked)
	}
	return nil
}

func (w *Worker) leases() []core.Lease {
	w.mu.Lock()
	defer w.mu.Unlock()
	leases := make([]core.Lease, 0, len(w.running))
	for lease := range w.running {
		leases = append(leases, lease)
	}
	return leases
}

func (w *Worker) extend(ctx context.Context, leases []core.Lease) ([]core.Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, extendTimeout)
	defer cancel()
	return w.c.Queue.Extend(ctx, leases)
}

func (w *Worker) kept(leases, lost []core.Lease, asked time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, lease := range lost {
		if r, ok := w.running[lease]; ok {
			r.cancel()
		}
	}
	for _, lease := range leases {
		if r, ok := w.running[lease]; ok {
			r.lapse.Reset(heldFor - time.Since(asked)) // of no use to the cancelled, and no harm
		}
	}
}

// maintained tells of work that was done.
func (w *Worker) maintained(task string, work func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		err := work(ctx)
		if err == nil {
			w.c.Maintained(task)
		}
		return err
	}
}

func (w *Worker) reap(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reapTimeout)
	defer cancel()
	n, err := w.c.Queue.Reap(ctx)
	if err != nil {
		return err
	}
	if n > 0 {
		w.c.Logger.WarnContext(ctx, "leases lapsed", slog.Int("leases", n))
		w.Wake()
	}
	return nil
}

// retain removes what has ended long ago, a batch at a time, so that nothing
// waits for long behind it.
func (w *Worker) retain(ctx context.Context) error {
	for {
		n, err := w.c.Retain(ctx, w.c.Retention, retainBatch)
		if err != nil {
			return err
		}
		if n > 0 {
			w.c.Retained(n)
		}
		if n < retainBatch || !pause(ctx, retainPause) {
			return nil
		}
	}
}
