package worker

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/core"
)

var errAway = errors.New("database is away")

// These cases run on a clock of their own: minutes of a worker's life take none.

// hang makes every delivery take until its context ends, and then err comes back.
func (b *bench) hang(err error) {
	b.dispatch = func(ctx context.Context, _ core.Delivery) (core.Settlement, error) {
		<-ctx.Done()
		return core.Settlement{State: core.DeliveryDone}, err
	}
}

// stopNow stops with work under way, which is then cancelled.
func (b *bench) stopNow(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.worker.Stop(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("stop: %v, want Canceled", err)
	}
}

// lines counts the log lines that hold text.
func (b *bench) lines(text string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.log.String(), text)
}

func TestLoop(t *testing.T) {
	t.Parallel()
	story(t, "work is claimed at once when idle", func(t *testing.T) {
		b := setup(t, 8)
		b.worker.c.Poll = time.Hour
		b.start(t)
		for _, after := range []time.Duration{time.Second, time.Second, time.Millisecond, 0} {
			time.Sleep(after)
			b.add(1, core.KindMail)
			began := time.Now()
			b.worker.Wake()
			synctest.Wait()
			if took := time.Since(began); len(b.ready) != 0 || took != 0 {
				t.Errorf("%d are waiting after %s", len(b.ready), took)
			}
		}
		b.stop(t)
	})
	story(t, "many wakes are one claim", func(t *testing.T) {
		b := setup(t, 8)
		b.worker.c.Poll = time.Hour
		b.start(t)
		synctest.Wait()
		before := len(b.claims)
		for range 100 {
			b.worker.Wake() // the claimer does not run in between
		}
		synctest.Wait()
		if n := len(b.claims) - before; n > 2 {
			t.Errorf("%d claims", n)
		}
		b.stop(t)
	})
	story(t, "a busy worker gathers slots before it claims", func(t *testing.T) {
		b := setup(t, 40)
		b.worker.c.Poll = time.Hour
		turn := 0
		b.dispatch = func(context.Context, core.Delivery) (core.Settlement, error) {
			b.mu.Lock()
			turn++
			mine := turn
			b.mu.Unlock()
			time.Sleep(100*time.Millisecond + time.Duration(mine%40)*time.Millisecond)
			return core.Settlement{State: core.DeliveryDone}, nil
		}
		b.add(4000, core.KindMail)
		b.start(t)
		time.Sleep(5 * time.Second)
		b.mu.Lock()
		claims, done := len(b.claims), len(b.settled)
		b.mu.Unlock()
		if done < 1200 || claims > done/2 {
			t.Errorf("%d claims for %d deliveries", claims, done)
		}
		b.stopNow(t)
	})
	story(t, "claims that fail back off, ignore wakes, and are told of once", func(t *testing.T) {
		b := setup(t, 8)
		b.claim = func() error { return errAway }
		b.start(t)
		for range 1000 {
			time.Sleep(10 * time.Millisecond)
			b.worker.Wake()
		}
		b.mu.Lock()
		claims := b.claims
		b.claim = func() error { return nil }
		b.mu.Unlock()
		if gap := claims[1].Sub(claims[0]); gap < backoffFirst/2 || gap > 2*backoffFirst {
			t.Errorf("the first wait was %s", gap)
		}
		if n := len(claims); n < 6 || n > 17 {
			t.Errorf("%d claims in 10 s", n)
		}
		time.Sleep(2 * backoffMost)
		b.add(1, core.KindMail)
		b.wait(t, "it is back", func() bool { return len(b.settled) == 1 })
		got := []int{b.lines("worker is held up by the store"), b.lines("worker goes on")}
		if diff := cmp.Diff([]int{1, 1}, got); diff != "" {
			t.Error("failures and recoveries told of:", diff)
		}
		b.stop(t)
	})
	story(t, "a lease that cannot be extended is let go before it is another's", func(t *testing.T) {
		b := setup(t, 2)
		ended := time.Duration(0)
		began := time.Now()
		b.dispatch = func(ctx context.Context, _ core.Delivery) (core.Settlement, error) {
			<-ctx.Done()
			ended = time.Since(began)
			return core.Settlement{}, ctx.Err()
		}
		b.extend = func() error { return errAway }
		b.add(1, core.KindMail)
		b.start(t)
		time.Sleep(2 * core.LeaseLife)
		if n := b.lines("held up by the store"); n != 1 {
			t.Errorf("%d lines of the keeper", n)
		}
		b.stop(t)
		if want := core.LeaseLife - 5*time.Second; ended < want-time.Second || ended > want {
			t.Errorf("cancelled after %s, want %s", ended, want)
		}
	})
	story(t, "a lease that is extended is kept: the control", func(t *testing.T) {
		b := setup(t, 2)
		b.hang(nil)
		b.add(1, core.KindMail)
		b.start(t)
		time.Sleep(10 * core.LeaseLife)
		if n := b.worker.InFlight(); n != 1 {
			t.Errorf("%d in flight", n)
		}
		b.stopNow(t)
	})
	story(t, "a keeper that fails for a while keeps the lease", func(t *testing.T) {
		b := setup(t, 2)
		b.hang(nil)
		away := true
		b.extend = func() error {
			if away {
				return errAway
			}
			return nil
		}
		b.add(1, core.KindMail)
		b.start(t)
		time.Sleep(50 * time.Second) // three heartbeats
		b.mu.Lock()
		away = false
		b.mu.Unlock()
		time.Sleep(time.Minute)
		if n := b.worker.InFlight(); n != 1 {
			t.Errorf("%d in flight", n)
		}
		b.stopNow(t)
	})
	story(t, "an outcome waits for a database that is away", func(t *testing.T) {
		b := setup(t, 2)
		sent := 0
		b.dispatch = func(context.Context, core.Delivery) (core.Settlement, error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			sent++
			return core.Settlement{State: core.DeliveryDone}, nil
		}
		away := true
		b.settle = func(core.Lease) error {
			if away {
				return errAway
			}
			return nil
		}
		b.add(1, core.KindMail)
		b.start(t)
		time.Sleep(20 * time.Second)
		b.mu.Lock()
		away = false
		b.mu.Unlock()
		time.Sleep(5 * time.Second)
		b.stop(t)
		if sent != 1 || len(b.settled) != 1 {
			t.Errorf("sent %d times, settled %v", sent, b.settled)
		}
	})
	story(t, "an outcome that is never taken is let go", func(t *testing.T) {
		b := setup(t, 2)
		b.settle = func(core.Lease) error { return errAway }
		b.add(1, core.KindMail)
		b.start(t)
		time.Sleep(writeFor + 2*backoffMost + time.Second)
		if n := b.worker.InFlight(); n != 0 {
			t.Errorf("%d in flight", n)
		}
		if n := b.lines("outcome could not be written"); n != 1 {
			t.Errorf("it was told of %d times", n)
		}
		b.stop(t)
	})
}

func TestStop(t *testing.T) {
	t.Parallel()
	story(t, "what was not tried yet is given back", func(t *testing.T) {
		b := setup(t, 2)
		b.hang(context.Canceled)
		b.add(2, core.KindMail)
		b.start(t)
		synctest.Wait()
		b.stopNow(t)
		if len(b.released) != 2 || len(b.settled) != 0 {
			t.Errorf("released %v, settled %v", b.released, b.settled)
		}
	})
	story(t, "what came to an outcome is settled: the control", func(t *testing.T) {
		b := setup(t, 2)
		b.hang(nil)
		b.add(2, core.KindMail)
		b.start(t)
		synctest.Wait()
		b.stopNow(t)
		if len(b.released) != 0 || len(b.settled) != 2 {
			t.Errorf("released %v, settled %v", b.released, b.settled)
		}
	})
	story(t, "what a claim brings too late is given back", func(t *testing.T) {
		b := setup(t, 2)
		claiming, let := make(chan struct{}), make(chan struct{})
		b.claim = func() error { close(claiming); <-let; return nil }
		b.add(2, core.KindMail)
		b.start(t)
		<-claiming
		stopped := make(chan struct{})
		go func() { defer close(stopped); b.stop(t) }()
		synctest.Wait()
		close(let)
		<-stopped
		if len(b.released) != 2 || len(b.settled) != 0 {
			t.Errorf("released %v, settled %v", b.released, b.settled)
		}
	})
	t.Run("before start, and twice, it does nothing", func(t *testing.T) {
		t.Parallel()
		b := setup(t, 2)
		b.stop(t)
		b.start(t)
		if err := b.worker.Start(t.Context()); err == nil {
			t.Error("it was started twice")
		}
		b.stop(t)
		b.stop(t)
	})
}

func TestRetention(t *testing.T) {
	t.Parallel()
	story(t, "what ended is removed every minute, in batches", func(t *testing.T) {
		b := setup(t, 2)
		old := 1200
		type call struct {
			After time.Duration
			Age   time.Duration
			Batch int
		}
		var calls []call
		var removed []int
		began := time.Now()
		b.worker.c.Retention = time.Hour
		b.worker.c.Retained = func(n int) { removed = append(removed, n) }
		b.worker.c.Retain = func(_ context.Context, age time.Duration, batch int) (int, error) {
			calls = append(calls, call{time.Since(began), age, batch})
			n := min(old, batch)
			old -= n
			return n, nil
		}
		b.start(t)
		time.Sleep(2*time.Minute + time.Second)
		b.stop(t)
		want := []call{
			{time.Minute, time.Hour, 500},
			{time.Minute + 100*time.Millisecond, time.Hour, 500},
			{time.Minute + 200*time.Millisecond, time.Hour, 500},
			{2*time.Minute + 200*time.Millisecond, time.Hour, 500},
		}
		if diff := cmp.Diff(want, calls); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]int{500, 500, 200}, removed); diff != "" {
			t.Error(diff)
		}
	})
	story(t, "it stops with the worker, in the midst of batches", func(t *testing.T) {
		b := setup(t, 2)
		b.worker.c.Retention = time.Hour
		b.worker.c.Retain = func(_ context.Context, _ time.Duration, batch int) (int, error) { return batch, nil }
		b.start(t)
		time.Sleep(2 * time.Minute)
		b.stop(t)
	})
	story(t, "failures are told of once", func(t *testing.T) {
		b := setup(t, 2)
		b.worker.c.Retention = time.Hour
		b.worker.c.Retain = func(context.Context, time.Duration, int) (int, error) { return 0, errAway }
		b.start(t)
		time.Sleep(5 * time.Minute)
		b.stop(t)
		if n := b.lines("held up by the store"); n != 1 {
			t.Errorf("%d lines", n)
		}
	})
}
