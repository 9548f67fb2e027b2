package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a worker with a queue and a ledger in memory.
type bench struct {
	mu       sync.Mutex
	ready    []core.Delivery
	settled  map[core.DeliveryID]core.Settlement
	resolved map[core.DeliveryID]core.Plan
	lost     []core.Lease
	released []core.Lease
	settle   func(core.Lease) error
	claim    func() error // before a claim
	extend   func() error
	claims   []time.Time

	follows  bool // a resolving leads to a mail at once
	dispatch func(ctx context.Context, d core.Delivery) (core.Settlement, error)
	log      bytes.Buffer
	worker   *Worker
}

func setup(t *testing.T, slots int) *bench {
	t.Helper()
	b := &bench{
		settled:  map[core.DeliveryID]core.Settlement{},
		resolved: map[core.DeliveryID]core.Plan{},
		settle:   func(core.Lease) error { return nil },
		claim:    func() error { return nil },
		extend:   func() error { return nil },
		dispatch: func(context.Context, core.Delivery) (core.Settlement, error) {
			return core.Settlement{State: core.DeliveryDone}, nil
		},
	}
	var err error
	b.worker, err = New(Config{
		Queue: b, Ledger: ledger{b}, Resolver: b, Dispatcher: b,
		Logger: slog.New(slog.NewTextHandler(&locked{b: b}, nil)),
		Slots:  slots, Poll: 10 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type locked struct{ b *bench }

func (l *locked) Write(p []byte) (int, error) {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	return l.b.log.Write(p)
}

func (b *bench) add(n int, kind core.Kind) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range n {
		id := fmt.Sprintf("%s-%d", kind, i)
		b.ready = append(b.ready, core.Delivery{ID: core.DeliveryID(id), Account: "a", Kind: kind, Attempt: 1, Lease: core.LeaseID("l-" + id)})
	}
}

func (b *bench) Claim(_ context.Context, ask core.ClaimAsk) (core.Claim, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.claims = append(b.claims, time.Now())
	if err := b.claim(); err != nil {
		return core.Claim{}, err
	}
	n := min(ask.Free, len(b.ready))
	claim := core.Claim{Deliveries: b.ready[:n:n], Full: n < len(b.ready)}
	b.ready = b.ready[n:]
	return claim, nil
}

func (b *bench) Extend(context.Context, []core.Lease) ([]core.Lease, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lost, b.extend()
}

func (b *bench) Release(_ context.Context, leases []core.Lease) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.released = append(b.released, leases...)
	return nil
}

func (b *bench) Reap(context.Context) (int, error) { return 0, nil }

func (b *bench) Resolve(_ context.Context, d core.Delivery) (core.Plan, error) {
	return core.Plan{Request: d.Request, Suppress: core.ReasonUnknownUser, User: "u"}, nil
}

func (b *bench) Dispatch(ctx context.Context, d core.Delivery) (core.Settlement, error) {
	return b.dispatch(ctx, d)
}

// ledger is the other half: bench cannot have two methods named Resolve.
type ledger struct{ b *bench }

func (l ledger) Resolve(_ context.Context, _ tenants.AccountID, lease core.Lease, plan core.Plan) (core.Standing, error) {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	l.b.resolved[lease.Delivery] = plan
	if l.b.follows {
		id := "mail-of-" + lease.Delivery
		return core.Standing{State: core.StatePending, Mail: &core.Delivery{
			ID: id, Account: "a", Kind: core.KindMail, Attempt: 1, Lease: core.LeaseID("l-" + id), Known: &core.Known{},
		}}, nil
	}
	return core.Standing{State: core.StateSuppressed, Reason: plan.Suppress}, nil
}

func (l ledger) Settle(ctx context.Context, _ tenants.AccountID, lease core.Lease, s core.Settlement) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	if err := l.b.settle(lease); err != nil {
		return err
	}
	l.b.settled[lease.Delivery] = s
	return nil
}

func (b *bench) start(t *testing.T) {
	t.Helper()
	if err := b.worker.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) stop(t *testing.T) {
	t.Helper()
	if err := b.worker.Stop(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) wait(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		b.mu.Lock()
		ok := holds()
		b.mu.Unlock()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("it did not come to pass: %s", what)
		}
	}
}

func TestEverythingIsSettledAndSlotsAreTheLimit(t *testing.T) {
	t.Parallel()
	b := setup(t, 4)
	var under, most int
	b.dispatch = func(context.Context, core.Delivery) (core.Settlement, error) {
		b.mu.Lock()
		under++
		most = max(most, under)
		b.mu.Unlock()
		time.Sleep(time.Millisecond)
		b.mu.Lock()
		under--
		b.mu.Unlock()
		return core.Settlement{State: core.DeliveryDone}, nil
	}
	b.add(50, core.KindMail)
	b.add(10, core.KindResolve)
	b.start(t)
	b.worker.Wake()
	b.wait(t, "all are done", func() bool { return len(b.settled) == 50 && len(b.resolved) == 10 })
	b.stop(t)
	if most > 4 || most < 2 {
		t.Errorf("%d were under way at once, want 2 to 4", most)
	}
	if n := b.worker.InFlight(); n != 0 {
		t.Errorf("%d in flight after stop", n)
	}
}

func TestTheMailThatFollowsGoesOnInTheSameSlot(t *testing.T) {
	t.Parallel()
	const slots = 2
	b := setup(t, slots)
	b.follows = true
	most := 0
	b.dispatch = func(_ context.Context, d core.Delivery) (core.Settlement, error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		most = max(most, len(b.worker.leases()))
		if d.Known == nil {
			t.Error("the mail does not bring along what is known")
		}
		return core.Settlement{State: core.DeliveryDone}, nil
	}
	b.add(20, core.KindResolve)
	b.start(t)
	b.wait(t, "every mail is settled", func() bool { return len(b.settled) == 20 })
	b.stop(t)
	if n := b.worker.InFlight(); n != 0 {
		t.Errorf("%d deliveries are still under way", n)
	}
	// A lease is passed on before the earlier one is dropped.
	if most > slots+1 {
		t.Errorf("%d leases were held with %d slots", most, slots)
	}
}

func TestStopGivesTheMailBackThatWouldFollow(t *testing.T) {
	t.Parallel()
	b := setup(t, 1)
	b.follows = true
	begun := make(chan struct{})
	b.dispatch = func(ctx context.Context, _ core.Delivery) (core.Settlement, error) {
		close(begun)
		<-ctx.Done()
		return core.Settlement{}, ctx.Err()
	}
	b.add(1, core.KindResolve)
	b.start(t)
	<-begun
	late, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.worker.Stop(late); !errors.Is(err, context.Canceled) {
		t.Errorf("Stop = %v", err)
	}
	want := []core.Lease{{Delivery: "mail-of-resolve-0", ID: "l-mail-of-resolve-0"}}
	if diff := cmp.Diff(want, b.released); diff != "" {
		t.Errorf("given back (-want +got):\n%s", diff)
	}
}

func TestWorkThatCannotBeTriedIsQueuedAgain(t *testing.T) {
	t.Parallel()
	for name, dispatch := range map[string]func(context.Context, core.Delivery) (core.Settlement, error){
		"an error": func(context.Context, core.Delivery) (core.Settlement, error) {
			return core.Settlement{}, errors.New("database is away")
		},
		"a panic": func(context.Context, core.Delivery) (core.Settlement, error) {
			panic("ada@example.com")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, 2)
			b.dispatch = dispatch
			b.add(3, core.KindMail)
			b.start(t)
			b.wait(t, "all are settled", func() bool { return len(b.settled) == 3 })
			b.stop(t)
			for id, s := range b.settled {
				if s.State != core.DeliveryQueued || s.Delay <= 0 || s.Attempt != nil {
					t.Errorf("%s: settled as %+v", id, s)
				}
			}
			if strings.Contains(b.log.String(), "ada@example.com") {
				t.Error("the value of a panic is in the log")
			}
		})
	}
}

func TestWorkThatIsTooLateHasExpired(t *testing.T) {
	t.Parallel()
	b := setup(t, 2)
	b.dispatch = func(context.Context, core.Delivery) (core.Settlement, error) {
		return core.Settlement{}, errors.New("database is away")
	}
	b.add(1, core.KindMail)
	now := time.Now()
	b.ready[0].Now, b.ready[0].NotAfter = now, now.Add(100*time.Millisecond)
	b.start(t)
	b.wait(t, "it is settled", func() bool { return len(b.settled) == 1 })
	b.stop(t)
	if s := b.settled["mail-0"]; s.State != core.DeliveryExpired {
		t.Errorf("settled as %+v", s)
	}
}

func TestLostLeaseIsDropped(t *testing.T) {
	t.Parallel()
	b := setup(t, 2)
	b.settle = func(core.Lease) error { return core.ErrLeaseLost }
	var outcomes []string
	b.worker.c.Process = func(ctx context.Context, _ core.Delivery, work func(context.Context) string) {
		outcome := work(ctx)
		b.mu.Lock()
		defer b.mu.Unlock()
		outcomes = append(outcomes, outcome)
	}
	b.add(1, core.KindMail)
	b.start(t)
	b.wait(t, "it was worked", func() bool { return len(outcomes) == 1 })
	b.stop(t)
	if outcomes[0] != outcomeFenced || len(b.settled) != 0 {
		t.Errorf("outcome %q, settled %v", outcomes[0], b.settled)
	}
}

func TestLeaseLostMeanwhileCancelsTheWork(t *testing.T) {
	t.Parallel()
	b := setup(t, 2)
	cancelled := make(chan struct{})
	b.dispatch = func(ctx context.Context, _ core.Delivery) (core.Settlement, error) {
		<-ctx.Done()
		close(cancelled)
		return core.Settlement{State: core.DeliveryDone}, nil
	}
	b.add(1, core.KindMail)
	b.start(t)
	b.wait(t, "it is under way", func() bool { return len(b.ready) == 0 })
	b.mu.Lock()
	b.lost = []core.Lease{{Delivery: "mail-0", ID: "l-mail-0"}}
	b.mu.Unlock()
	b.wait(t, "it is registered", func() bool { return b.worker.InFlight() == 1 })
	if err := b.worker.keep(t.Context()); err != nil {
		t.Error(err)
	}
	select {
	case <-cancelled:
	case <-time.After(10 * time.Second):
		t.Fatal("the work goes on")
	}
	b.stop(t)
}

func TestStopWaitsForWorkAndThenCancelsIt(t *testing.T) {
	t.Parallel()
	b := setup(t, 2)
	begun := make(chan struct{})
	b.dispatch = func(ctx context.Context, _ core.Delivery) (core.Settlement, error) {
		close(begun)
		<-ctx.Done() // for ever, but for Stop
		return core.Settlement{State: core.DeliveryQueued, Delay: time.Second, Attempt: &core.Attempt{Outcome: "unknown"}}, nil
	}
	b.add(1, core.KindMail)
	b.start(t)
	<-begun
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := b.worker.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("stop: %v, want DeadlineExceeded", err)
	}
	// What the cancelled work came to is written all the same.
	if s, ok := b.settled["mail-0"]; !ok || s.State != core.DeliveryQueued {
		t.Errorf("settled %+v, %v", s, ok)
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	if _, err := New(Config{}); err == nil {
		t.Error("an empty Config was taken")
	}
	c := setup(t, 1).worker.c
	c.Retention = time.Hour
	if _, err := New(c); err == nil {
		t.Error("a Retention without Retain was taken")
	}
}
