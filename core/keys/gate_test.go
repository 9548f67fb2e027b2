package keys

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/passmend/passmend/core"
)

// doer is the gate, or a faulty variant of it.
type doer interface {
	do(ctx context.Context, job func()) error
}

// peak runs n jobs of 35 ms at once and gives the most that ran together, how many
// ended well and how many were turned away.
func peak(g doer, n int) (most, served, busy int) {
	var running, highest, ok, turned atomic.Int64
	var group sync.WaitGroup
	for range n {
		group.Go(func() {
			err := g.do(context.Background(), func() {
				now := running.Add(1)
				for seen := highest.Load(); now > seen && !highest.CompareAndSwap(seen, now); seen = highest.Load() {
				}
				time.Sleep(35 * time.Millisecond)
				running.Add(-1)
			})
			switch {
			case err == nil:
				ok.Add(1)
			case errors.Is(err, core.ErrBusy):
				turned.Add(1)
			}
		})
	}
	group.Wait()
	return int(highest.Load()), int(ok.Load()), int(turned.Load())
}

// T15, the bound itself: 500 at once never are more than two, 64 wait, the rest
// are told at once.
func TestFiveHundredJobsRunTwoAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		most, served, busy := peak(newGate(2, 64, 2*time.Second), 500)
		if most != 2 || served != 66 || busy != 434 {
			t.Errorf("%d at once, %d served, %d turned away; want 2, 66, 434", most, served, busy)
		}
		if most, _, _ := peak(unbounded{}, 500); most <= 2 {
			t.Error("control: without a gate more than two should run")
		}
	})
}

type unbounded struct{}

func (unbounded) do(_ context.Context, job func()) error { job(); return nil }

func TestAWaitHasAnEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1, 64, 2*time.Second)
		release := make(chan struct{})
		go g.do(context.Background(), func() { <-release })
		synctest.Wait()
		start := time.Now()
		err := g.do(context.Background(), func() { t.Error("the job ran") })
		if waited := time.Since(start); !errors.Is(err, core.ErrBusy) || waited != 2*time.Second {
			t.Errorf("%v after %v, want core.ErrBusy after 2 s", err, waited)
		}
		if len(g.queue) != 0 {
			t.Error("the place in the queue is kept")
		}
		close(release)
	})
}

func TestAFullQueueAnswersAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1, 2, time.Minute)
		release := make(chan struct{})
		var order []int
		for i := range 3 {
			go g.do(context.Background(), func() { <-release; order = append(order, i) })
			synctest.Wait()
		}
		start := time.Now()
		err := g.do(context.Background(), func() {})
		if waited := time.Since(start); !errors.Is(err, core.ErrBusy) || waited != 0 {
			t.Errorf("%v after %v, want core.ErrBusy at once", err, waited)
		}
		close(release)
		synctest.Wait()
		if fmt.Sprint(order) != "[0 1 2]" {
			t.Errorf("served in the order %v", order)
		}
	})
}

// keepsPermit says whether a job that outlives its caller still counts.
func keepsPermit(g doer) bool {
	ctx, cancel := context.WithCancel(context.Background())
	release := make(chan struct{})
	left := make(chan error, 1)
	go func() { left <- g.do(ctx, func() { <-release }) }()
	synctest.Wait()
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		return false
	}
	second := g.do(context.Background(), func() {})
	close(release)
	synctest.Wait()
	third := g.do(context.Background(), func() {})
	return errors.Is(second, core.ErrBusy) && third == nil
}

func TestAPermitOutlivesItsCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		if !keepsPermit(newGate(1, 64, time.Second)) {
			t.Error("a client that hangs up frees the permit of a running job")
		}
		if keepsPermit(callersPermit{newGate(1, 64, time.Second)}) {
			t.Error("control: a permit of the caller's should be found out")
		}
	})
}

// callersPermit is the fault: the permit ends with the caller's wait.
type callersPermit struct{ *gate }

func (g callersPermit) do(ctx context.Context, job func()) error {
	if err := g.enter(ctx); err != nil {
		return err
	}
	defer func() { <-g.permits }()
	done := make(chan struct{})
	go func() { defer close(done); job() }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestACancelledCallerStartsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		g := newGate(1, 64, time.Hour)
		release := make(chan struct{})
		go g.do(context.Background(), func() { <-release })
		synctest.Wait()
		left := make(chan error, 1)
		go func() { left <- g.do(ctx, func() { t.Error("the job of a caller who left the queue ran") }) }()
		synctest.Wait()
		cancel()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want context.Canceled", err)
		}
		close(release)
		synctest.Wait()
		if err := g.do(ctx, func() { t.Error("the job of a caller who never came ran") }); !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want context.Canceled", err)
		}
	})
}

func TestStopWaitsForRunningJobs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(2, 64, time.Hour)
		var ended atomic.Bool
		go g.do(context.Background(), func() { time.Sleep(time.Minute); ended.Store(true) })
		go g.do(context.Background(), func() { time.Sleep(time.Second) })
		synctest.Wait()
		waiting := make(chan error, 1)
		go func() { waiting <- g.do(context.Background(), func() { t.Error("a waiting job ran") }) }()
		synctest.Wait()

		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := g.close(ctx); !errors.Is(err, context.DeadlineExceeded) || ended.Load() {
			t.Errorf("%v, want the end of the context", err)
		}
		if err := <-waiting; !errors.Is(err, core.ErrBusy) {
			t.Errorf("waiting caller: %v, want core.ErrBusy", err)
		}
		if err := g.do(context.Background(), func() {}); !errors.Is(err, core.ErrBusy) {
			t.Errorf("late caller: %v, want core.ErrBusy", err)
		}
		for range 2 {
			if err := g.close(context.Background()); err != nil || !ended.Load() {
				t.Errorf("%v, and the job had ended: %v", err, ended.Load())
			}
		}
	})
}
