package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"
)

// waitingRoom is how many outcomes and turns may queue before their callers wait
// to be let in.
const waitingRoom = 256

// lane is one goroutine of group commit: the most of each kind that one of its
// commits holds, 0 for what it leaves to other lanes.
type lane struct {
	accepts, plans, outcomes, turns int
}

// turn is a decision that shares a commit with others but not their fate.
type turn struct {
	run  func(ctx context.Context, tx session) error
	wake bool
}

// writer owns the goroutines that commit.
type writer struct {
	store      *Store
	accepts    queue[accept]
	plans      queue[resolution]
	outcomes   queue[outcome]
	turns      queue[turn]
	takesTurns bool          // else decisions do not wait here
	closing    chan struct{} // closed by Stop: take no more, finish what waits
	stopped    chan struct{} // closed when the last goroutine has ended
	cancel     context.CancelFunc
}

// batch is what goes into one commit.
type batch struct {
	accepts  []*entry[accept]
	plans    []*entry[resolution]
	outcomes []*entry[outcome]
	turns    []*entry[turn]
}

func (b batch) size() int { return len(b.accepts) + len(b.plans) + len(b.outcomes) + len(b.turns) }

// Start begins group commit. Without it Accept and Settle answer ErrBusy, and
// everything else commits by itself, which is what a command wants. ctx lends
// its values; its end is not Stop.
func (s *Store) Start(ctx context.Context) error {
	s.lifecycle.Lock()
	defer s.lifecycle.Unlock()
	if s.writer.Load() != nil {
		return errors.New("start store: already running")
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w := &writer{
		store:    s,
		accepts:  make(queue[accept], s.config.AcceptQueue),
		plans:    make(queue[resolution], waitingRoom),
		outcomes: make(queue[outcome], waitingRoom),
		turns:    make(queue[turn], waitingRoom),
		closing:  make(chan struct{}),
		stopped:  make(chan struct{}),
		cancel:   cancel,
	}
	for _, l := range s.lanes {
		w.takesTurns = w.takesTurns || l.turns > 0
	}
	go w.run(run)
	s.writer.Store(w)
	return nil
}

// run runs the lanes, and what goes on beside them, until the last has ended.
func (w *writer) run(ctx context.Context) {
	defer close(w.stopped)
	var lanes, beside sync.WaitGroup
	background, stop := context.WithCancel(ctx)
	defer stop()
	beside.Go(func() { w.store.background(background) })
	beside.Go(func() { w.store.found.run(background) })
	for _, l := range w.store.lanes {
		lanes.Go(func() { w.loop(ctx, l) })
	}
	lanes.Wait()
	stop()
	beside.Wait()
}

// Stop commits what waits and ends group commit. When ctx ends first, what is
// under way is rolled back, its callers get an error, and Stop gives ctx's.
func (s *Store) Stop(ctx context.Context) error {
	s.lifecycle.Lock()
	defer s.lifecycle.Unlock()
	w := s.writer.Swap(nil)
	if w == nil {
		return nil
	}
	close(w.closing)
	defer w.cancel()
	select {
	case <-w.stopped:
		return nil
	case <-ctx.Done():
		w.cancel()
		<-w.stopped
		return fmt.Errorf("stop store: %w", ctx.Err())
	}
}

func (w *writer) turn(ctx context.Context, t turn) error {
	e := newEntry(t, w.store.config.Observer.Trace(ctx))
	if err := w.turns.put(ctx, e, w.stopped); err != nil {
		return err
	}
	return e.wait(ctx, w.stopped)
}

func (w *writer) loop(ctx context.Context, l lane) {
	for ctx.Err() == nil {
		b := w.gather(l)
		if b.size() == 0 {
			return
		}
		w.commit(ctx, b)
	}
}

// gather waits for the first entry and takes what else is there. An empty batch
// means the end.
func (w *writer) gather(l lane) (b batch) {
	accepts, plans := w.accepts.of(l.accepts), w.plans.of(l.plans)
	outcomes, turns := w.outcomes.of(l.outcomes), w.turns.of(l.turns)
	select {
	case e := <-accepts:
		b.accepts = append(b.accepts, e)
	case e := <-plans:
		b.plans = append(b.plans, e)
	case e := <-outcomes:
		b.outcomes = append(b.outcomes, e)
	case e := <-turns:
		b.turns = append(b.turns, e)
	case <-w.closing:
	}
	// The callers that the last commit released are runnable and about to come
	// back; letting them run first is no linger and makes one batch of two.
	runtime.Gosched()
	b.accepts = accepts.take(b.accepts, l.accepts)
	b.plans = plans.take(b.plans, l.plans)
	b.outcomes = outcomes.take(b.outcomes, l.outcomes)
	b.turns = turns.take(b.turns, l.turns)
	return b
}

// commit writes the batch and releases its callers. When one row may have broken
// it for all, everything is tried again alone, until the database itself fails.
func (w *writer) commit(ctx context.Context, b batch) {
	err := w.store.again(func() error { return w.try(ctx, b) })
	if err == nil || b.size() == 1 || !w.store.fault(err).ofRow() {
		b.release(err)
		return
	}
	err = nil
	for _, single := range b.singles() {
		if err == nil || w.store.fault(err).ofRow() {
			err = w.store.again(func() error { return w.try(ctx, single) })
		}
		single.release(err)
	}
}

// try writes the batch in one transaction.
func (w *writer) try(ctx context.Context, b batch) error {
	began := time.Now()
	wake := len(b.accepts) > 0
	if err := w.store.patiently(ctx, func(ctx context.Context) error { return w.write(ctx, b) }); err != nil {
		return err
	}
	for _, e := range b.plans {
		wake = wake || e.err == nil && e.value.queues()
	}
	for _, e := range b.outcomes {
		wake = wake || e.err == nil && e.value.requeues()
	}
	for _, e := range b.turns {
		wake = wake || e.err == nil && e.value.wake
	}
	if wake {
		w.store.wake(ctx)
	}
	b.observe(w.store.config.Observer, began)
	return nil
}

func (w *writer) write(ctx context.Context, b batch) error {
	if w.store.acceptAll != nil && len(b.accepts) == b.size() {
		return w.store.acceptAll(ctx, b.accepts)
	}
	return w.store.inTransaction(ctx, func(ctx context.Context, tx session) error {
		if err := insertAccepts(ctx, tx, b.accepts); err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		if err := w.store.resolveAll(ctx, tx, b.plans); err != nil {
			return fmt.Errorf("resolve: %w", err)
		}
		if err := w.store.settleAll(ctx, tx, b.outcomes); err != nil {
			return fmt.Errorf("settle: %w", err)
		}
		for _, e := range b.turns {
			if err := takeTurn(ctx, tx, e); err != nil {
				return err
			}
		}
		return nil
	})
}

// takeTurn runs a turn inside the shared transaction. Its own refusal stays in the
// entry; an error given back is the transaction's.
func takeTurn(ctx context.Context, tx session, e *entry[turn]) error {
	if e.left.Load() {
		e.err = context.Canceled
		return nil
	}
	if _, err := tx.exec(ctx, "SAVEPOINT turn"); err != nil {
		return err
	}
	e.err = e.value.run(ctx, tx)
	if e.err == nil && e.left.Load() {
		e.err = context.Canceled // nobody would know what was claimed
	}
	if e.err != nil {
		if _, err := tx.exec(ctx, "ROLLBACK TO SAVEPOINT turn"); err != nil {
			return err
		}
	}
	_, err := tx.exec(ctx, "RELEASE SAVEPOINT turn")
	return err
}

func (b batch) singles() []batch {
	singles := make([]batch, 0, b.size())
	for i := range b.accepts {
		singles = append(singles, batch{accepts: b.accepts[i : i+1]})
	}
	for i := range b.plans {
		singles = append(singles, batch{plans: b.plans[i : i+1]})
	}
	for i := range b.outcomes {
		singles = append(singles, batch{outcomes: b.outcomes[i : i+1]})
	}
	for i := range b.turns {
		singles = append(singles, batch{turns: b.turns[i : i+1]})
	}
	return singles
}

func (b batch) release(err error) {
	releaseAll(b.accepts, err)
	releaseAll(b.plans, err)
	releaseAll(b.outcomes, err)
	releaseAll(b.turns, err)
}

func (b batch) observe(observer Observer, began time.Time) {
	took := time.Since(began)
	observeKind(observer, "accept", b.accepts, began, took)
	observeKind(observer, "plan", b.plans, began, took)
	observeKind(observer, "outcome", b.outcomes, began, took)
	observeKind(observer, "turn", b.turns, began, took)
}

func releaseAll[T any](entries []*entry[T], err error) {
	for _, e := range entries {
		e.release(err)
	}
}

func observeKind[T any](observer Observer, kind string, entries []*entry[T], began time.Time, took time.Duration) {
	if len(entries) == 0 {
		return
	}
	trace := ""
	for _, e := range entries {
		if trace = e.trace; trace != "" {
			break
		}
	}
	observer.Commit(kind, len(entries), began.Sub(entries[0].since), took, trace)
}
