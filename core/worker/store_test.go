package worker_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/worker"
	"github.com/passmend/passmend/tenants"
)

// twice hands out every delivery twice, as a store without leases would.
type twice struct{ worker.Queue }

func (q twice) Claim(ctx context.Context, ask core.ClaimAsk) (core.Claim, error) {
	ask.Free /= 2
	claim, err := q.Queue.Claim(ctx, ask)
	for _, delivery := range claim.Deliveries {
		delivery.Lease += "x"
		claim.Deliveries = append(claim.Deliveries, delivery)
	}
	return claim, err
}

func TestEachDeliveryIsSentAndSettledOnce(t *testing.T) {
	t.Parallel()
	const deliveries, accounts = 2000, 20
	d := openDatabase(t)
	for range accounts {
		d.queue(t, d.account(t), deliveries/accounts)
	}
	s := newSink(d.Store)
	_, stopOne := run(t, d.Store, s, nil)
	_, stopTwo := run(t, d.Store, s, nil) // two at once, as two replicas
	s.wait(t, deliveries)
	stopOne()
	stopTwo()
	if err := s.onceEach(deliveries); err != nil {
		t.Error(err)
	}
	if n := d.count(t, `SELECT count(*) FROM deliveries WHERE state = 'done' AND attempt = 1 AND lease IS NULL`); n != deliveries {
		t.Errorf("%d rows are done", n)
	}
	if n := d.count(t, `SELECT count(DISTINCT delivery_id) FROM attempts`); n != deliveries {
		t.Errorf("%d attempts", n)
	}
}

func TestADoubleIsSeen(t *testing.T) {
	t.Parallel()
	d := openDatabase(t)
	d.queue(t, d.account(t), 100)
	s := newSink(d.Store)
	_, stop := run(t, twice{d.Store}, s, nil)
	s.wait(t, 100)
	stop()
	if err := s.onceEach(100); err == nil {
		t.Error("deliveries that were sent twice look as if sent once")
	}
}

// inLine hands out deliveries in the order they came, whoever's they are.
type inLine struct {
	worker.Queue // panics on whatever is not needed here
	mu           sync.Mutex
	line         []core.Delivery
}

func (q *inLine) Claim(_ context.Context, ask core.ClaimAsk) (core.Claim, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(ask.Free, len(q.line))
	claim := core.Claim{Deliveries: q.line[:n:n], Full: n < len(q.line)}
	q.line = q.line[n:]
	return claim, nil
}

func (q *inLine) Reap(context.Context) (int, error) { return 0, nil }

type anyLedger struct{ worker.Ledger }

func (anyLedger) Settle(context.Context, tenants.AccountID, core.Lease, core.Settlement) error {
	return nil
}

// A turn of a hog's mails may be under way, claimed, and about to be claimed when
// another account's mail comes: three times the slots. In time, at 5 ms a mail,
// that is 30 ms with the half of the slots that a hog gets.
const (
	fairSlots = 16
	fairSend  = 5 * time.Millisecond
	fairHog   = 2000
	fairAhead = 3 * fairSlots
)

func TestOneMailDoesNotWaitBehindAnotherAccountsThousands(t *testing.T) {
	t.Parallel()
	d := openDatabase(t)
	hog, other := d.account(t), d.account(t)
	d.queue(t, hog, fairHog)
	s := newSink(d.Store)
	s.takes = fairSend
	w, stop := run(t, d.Store, s, func(c *worker.Config) { c.Slots = fairSlots })
	s.wait(t, 100)
	d.queue(t, other, 1)
	before, began := s.begun(), time.Now()
	w.Wake()
	ahead := s.ahead(t, other) - before
	t.Logf("it waited %s", time.Since(began))
	stop()
	if ahead > fairAhead || s.done() > fairHog/2 {
		t.Errorf("%d were begun before the mail, %d settled in all", ahead, s.done())
	}
}

func TestAMailThatWaitsBehindThousandsIsSeen(t *testing.T) {
	t.Parallel()
	queue := &inLine{}
	for i := range fairHog + 1 {
		delivery := core.Delivery{ID: core.DeliveryID(strconv.Itoa(i)), Account: "hog", Kind: core.KindNotice, Lease: core.LeaseID(strconv.Itoa(i))}
		if i == fairHog {
			delivery.Account = "other"
		}
		queue.line = append(queue.line, delivery)
	}
	s := newSink(anyLedger{})
	s.takes = fairSend
	_, stop := run(t, queue, s, func(c *worker.Config) { c.Slots = fairSlots })
	ahead := s.ahead(t, "other")
	stop()
	if ahead <= fairAhead {
		t.Errorf("in a line only %d were begun before the mail: the limit of the test is too wide", ahead)
	}
}

// ahead waits for an account's first mail and says how many were begun before it.
func (s *sink) ahead(t testing.TB, account tenants.AccountID) int {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		ahead := slices.Index(s.order, account)
		s.mu.Unlock()
		if ahead >= 0 {
			return ahead
		}
		if time.Now().After(deadline) {
			t.Fatal("its mail was not begun")
		}
	}
}

var errKilled = errors.New("killed")

// mortal is a store as a killed worker has it: from then on nothing it asks for
// happens.
type mortal struct {
	*database
	dead atomic.Bool
}

func (m *mortal) gone() error {
	if m.dead.Load() {
		return errKilled
	}
	return nil
}

func (m *mortal) Claim(ctx context.Context, ask core.ClaimAsk) (core.Claim, error) {
	if err := m.gone(); err != nil {
		return core.Claim{}, err
	}
	return m.database.Claim(ctx, ask)
}

func (m *mortal) Extend(ctx context.Context, leases []core.Lease) ([]core.Lease, error) {
	if err := m.gone(); err != nil {
		return nil, err
	}
	return m.database.Extend(ctx, leases)
}

func (m *mortal) Release(ctx context.Context, leases []core.Lease) error {
	if err := m.gone(); err != nil {
		return err
	}
	return m.database.Release(ctx, leases)
}

func (m *mortal) Reap(ctx context.Context) (int, error) {
	if err := m.gone(); err != nil {
		return 0, err
	}
	return m.database.Reap(ctx)
}

func (m *mortal) Settle(ctx context.Context, account tenants.AccountID, lease core.Lease, settlement core.Settlement) error {
	if err := m.gone(); err != nil {
		return err
	}
	return m.database.Settle(ctx, account, lease, settlement)
}

func TestAKilledWorkersDeliveriesAreTakenOver(t *testing.T) {
	t.Parallel()
	const deliveries = 20
	d := openDatabase(t)
	d.queue(t, d.account(t), deliveries)
	m := &mortal{database: d}
	killed, heir := newSink(m), newSink(d.Store)
	killed.held = make(chan struct{})
	_, stopKilled := run(t, m, killed, func(c *worker.Config) { c.Slots = 2 * deliveries })
	for deadline := time.Now().Add(10 * time.Second); killed.begun() < deliveries; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d were begun", killed.begun())
		}
	}
	m.dead.Store(true) // after the send, before the record
	close(killed.held)

	_, stopHeir := run(t, d.Store, heir, nil)
	time.Sleep(50 * time.Millisecond)
	if n := heir.begun(); n != 0 {
		t.Errorf("%d were taken over while their leases were good", n)
	}
	stopHeir()
	d.exec(t, `UPDATE deliveries SET lease_until = 1 WHERE lease IS NOT NULL`)
	_, stopHeir = run(t, d.Store, heir, nil)
	heir.wait(t, deliveries)
	stopHeir()
	stopKilled()
	if err := heir.onceEach(deliveries); err != nil {
		t.Error(err)
	}
	if killed.done() != 0 {
		t.Errorf("the dead settled %d", killed.done())
	}
	for id := range heir.sent {
		if killed.sent[id] != 1 {
			t.Errorf("%s is not a delivery of the killed worker", id)
		}
	}
	if n := d.count(t, `SELECT count(*) FROM deliveries WHERE state = 'done' AND attempt = 2 AND lost = 1`); n != deliveries {
		t.Errorf("%d rows are done at the second attempt after one lost lease", n)
	}
}

func (s *sink) begun() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sent)
}
