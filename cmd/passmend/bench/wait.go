package bench

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/keys"
	"github.com/passmend/passmend/core/sqlstore"
	"github.com/passmend/passmend/tenants"
)

const (
	hangTime = 5 * time.Second
	slowTime = 20 * time.Millisecond
	waitRate = 20 // requests/s of the account that waits
	// waitTimes is how many lengths of a repeat one measure lasts: short enough for
	// the queue to outlast all of them.
	waitTimes = 2
)

// wait measures an ordinary account's mail while another account has a long queue
// whose server is slow or hangs. The queue's server is its own; the third measure
// has both accounts send through that one.
func (b *bench) wait(ctx context.Context) error {
	queued := b.scaled(100_000)
	type pair struct{ p50, p99 *Figure }
	rows := func(how string, goal *Goal) pair {
		name := fmt.Sprintf("another account's wait behind %s queued mails, %s", count(queued), how)
		return pair{b.figure(name+", p50", "ms", nil), b.figure(name+", p99", "ms", goal)}
	}
	hanging := rows("hanging 5 s each", atMost(50))
	slow := rows("20 ms each", atMost(50))
	shared := rows("20 ms each, one SMTP server for both", nil)
	hanging.p99.Note = fmt.Sprintf("%d samples a repeat", int(waitRate*waitTimes*b.Length.Seconds()))
	return b.withSite(ctx, func(ctx context.Context, s *site) error {
		busy, err := newSink()
		if err != nil {
			return err
		}
		defer busy.close()
		quick, err := newSink()
		if err != nil {
			return err
		}
		defer quick.close()
		busy.delay.Store(int64(hangTime))
		if err := s.queue(ctx, queued, busy, quick); err != nil {
			return err
		}
		return s.served(ctx, func(p *process) error {
			b.say("waiting until the queue is resolved and its mails hang")
			if err := reaches(ctx, &busy.begun, 16); err != nil {
				return err
			}
			measure := func(into pair, who account, at *sink) error {
				n := 0
				next := func() target { n++; return target{account: who.slug, address: who.address(n % who.users)} }
				if _, err := paced(ctx, p.http, next, at, waitRate, 2*warmUp); err != nil {
					return err
				}
				return b.repeats("wait", func() error {
					took, err := paced(ctx, p.http, next, at, waitRate, waitTimes*b.Length)
					if err != nil {
						return err
					}
					if busy.taken.Load() >= int64(queued) {
						b.say("the queue ran empty: this one does not count")
						into.p99.Skipped = "the queue ran empty in at least one repeat, which is not counted; --scale or --seconds would have to be another"
						return nil
					}
					into.p50.add(milliseconds(took.quantile(0.5)))
					into.p99.add(milliseconds(took.quantile(0.99)))
					return nil
				})
			}
			if err := measure(hanging, s.accounts[1], quick); err != nil {
				return err
			}
			busy.delay.Store(int64(slowTime))
			if err := reaches(ctx, &busy.taken, min(busy.taken.Load()+100, int64(queued))); err != nil {
				return err
			}
			if err := measure(slow, s.accounts[1], quick); err != nil {
				return err
			}
			if err := measure(shared, s.accounts[2], busy); err != nil {
				return err
			}
			left := int64(queued) - busy.taken.Load()
			shared.p99.Note = fmt.Sprintf("%s of the mails were still queued at the end", count(int(max(left, 0))))
			return nil
		})
	})
}

// queue makes three accounts, the first with a long queue: it and the third send
// to busy, the second to quick.
func (s *site) queue(ctx context.Context, requests int, busy, quick *sink) error {
	ring, err := keys.Open(s.keysFile)
	if err != nil {
		return err
	}
	return s.withStore(ctx, func(ctx context.Context, store *sqlstore.Store) error {
		if _, err := s.seed(ctx, store, 3, ordinaryUsers); err != nil {
			return err
		}
		if err := s.provide(ctx, store, "", quick); err != nil {
			return err
		}
		for i, to := range []*sink{busy, quick, busy} {
			if err := s.provide(ctx, store, s.accounts[i].id, to); err != nil {
				return err
			}
		}
		hog := s.accounts[0]
		account, err := store.AccountByID(ctx, hog.id)
		if err != nil {
			return err
		}
		s.b.say("queueing %d requests", requests)
		intake := &core.Intake{Inbox: store, Sealer: ring, Digester: ring, NewID: s.b.NewID}
		return each(ctx, requests, func(ctx context.Context, i int) error {
			return accept(ctx, intake, account, hog.address(i%hog.users))
		})
	})
}

func accept(ctx context.Context, intake *core.Intake, account tenants.Account, address string) error {
	parsed, err := core.ParseAddress(address)
	if err != nil {
		return err
	}
	return intake.Accept(ctx, account, core.Ask{Address: parsed})
}

// reachTime bounds the wait for a server that works a long queue off.
const reachTime = 10 * time.Minute

type counter interface{ Load() int64 }

// reaches waits until a count is there.
func reaches(ctx context.Context, count counter, want int64) error {
	deadline := time.Now().Add(reachTime)
	for count.Load() < want {
		if time.Now().After(deadline) {
			return fmt.Errorf("%d mails of %s within %s", count.Load(), strconv.FormatInt(want, 10), reachTime)
		}
		if !pause(ctx, 10*time.Millisecond) {
			return ctx.Err()
		}
	}
	return nil
}
