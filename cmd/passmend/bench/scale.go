package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/sqlstore"
	"github.com/passmend/passmend/tenants"
)

const (
	claimSlots    = 64
	readyRows     = 2 // of each account, when claims are measured
	mostClaims    = 500
	usersPerSmall = 100
	usersPerLarge = 10
)

// claims measures one claim in this process, without a server.
func (b *bench) claims(ctx context.Context) error {
	return b.withSite(ctx, func(ctx context.Context, s *site) error {
		return s.withStore(ctx, func(ctx context.Context, store *sqlstore.Store) error {
			for _, active := range []int{10, b.scaled(10_000), b.scaled(100_000)} {
				name := fmt.Sprintf("one claim at %s active accounts", count(active))
				p50, p99 := b.figure(name+", p50", "ms", atMost(5)), b.figure(name+", p99", "ms", nil)
				if err := s.activate(ctx, store, active-len(s.accounts)); err != nil {
					return err
				}
				err := b.repeats(name, func() error {
					took, err := claimAgain(ctx, store, b.Length)
					if err == nil {
						p50.add(milliseconds(took.quantile(0.5)))
						p99.add(milliseconds(took.quantile(0.99)))
						p99.Note = fmt.Sprintf("of %d free slots, %d rows ready for each account; about %d claims a repeat, commit included",
							claimSlots, readyRows, len(took))
					}
					return err
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// activate adds accounts that have work.
func (s *site) activate(ctx context.Context, store *sqlstore.Store, accounts int) error {
	made, err := s.seed(ctx, store, max(accounts, 0), 0)
	if err != nil {
		return err
	}
	s.b.say("queueing %d requests", readyRows*len(made))
	return each(ctx, readyRows*len(made), func(ctx context.Context, i int) error {
		return store.Accept(ctx, made[i%len(made)].id, someRequest(s.b.NewID))
	})
}

// claimAgain claims and gives back, and times the claims.
func claimAgain(ctx context.Context, store *sqlstore.Store, length time.Duration) (samples, error) {
	var took samples
	var cursor tenants.AccountID
	for end := time.Now().Add(length); time.Now().Before(end) && len(took) < mostClaims; {
		began := time.Now()
		claim, err := store.Claim(ctx, core.ClaimAsk{Cursor: cursor, Free: claimSlots})
		if err != nil {
			return nil, err
		}
		took = append(took, time.Since(began))
		cursor = claim.Cursor
		leases := make([]core.Lease, len(claim.Deliveries))
		for i, d := range claim.Deliveries {
			leases[i] = d.LeaseOf()
		}
		if err := store.Release(ctx, leases); err != nil {
			return nil, err
		}
	}
	return took, nil
}

// scale measures accepting and memory with few accounts and with many.
func (b *bench) scale(ctx context.Context) error {
	sizes := []struct{ accounts, users int }{
		{ordinaryAccounts, usersPerSmall},
		{b.scaled(100_000), usersPerLarge},
	}
	rates, memories := make([]*Figure, len(sizes)), make([]*Figure, len(sizes))
	for i, size := range sizes {
		with := fmt.Sprintf("with %s accounts and %s users", count(size.accounts), count(size.accounts*size.users))
		rates[i] = b.figure("accepts, 64 connections, "+with, "1/s", nil)
		memories[i] = b.figure("server memory, "+with, "MiB", nil)
	}
	_, rates[0].Note = b.acceptOnly()
	moreRate := b.figure("accepts with many as a share of few", "", atLeast(0.9))
	moreMemory := b.figure("server memory with many as a share of few", "", atMost(1.1))
	for i, size := range sizes {
		err := b.withSite(ctx, func(ctx context.Context, s *site) error {
			return b.measureSize(ctx, s, size.accounts, size.users, rates[i], memories[i])
		})
		if err != nil {
			return err
		}
	}
	for i := range rates[1].Values {
		moreRate.add(rates[1].Values[i] / rates[0].Values[i])
	}
	for i := range memories[1].Values {
		moreMemory.add(memories[1].Values[i] / memories[0].Values[i])
	}
	return nil
}

func (b *bench) measureSize(ctx context.Context, s *site, accounts, users int, rate, memory *Figure) error {
	to, err := newSink()
	if err != nil {
		return err
	}
	defer to.close()
	if err := s.platform(ctx, accounts, users, to); err != nil {
		return err
	}
	setting, _ := b.acceptOnly()
	err = b.repeats(rate.Name, func() error {
		return s.served(ctx, func(p *process) error {
			result, err := s.load(p, connections).run(ctx)
			if err != nil {
				return err
			}
			rate.add(result.perSecond)
			if bytes, err := residentMemory(p.cmd.Process.Pid); err == nil {
				memory.add(float64(bytes) / (1 << 20))
			}
			return nil
		}, setting)
	})
	if err != nil || b.Profiles == "" {
		return err
	}
	return s.served(ctx, func(p *process) error {
		return b.profiled(ctx, p, fmt.Sprintf("accepts-%d-accounts", accounts), func(ctx context.Context) error {
			_, err := s.load(p, connections).run(ctx)
			return err
		})
	}, setting)
}
