package bench

import (
	"context"
	"os"
	"time"

	"github.com/passmend/passmend/core/sqlstore"
)

const (
	connections = 64
	warmUp      = time.Second
	// ordinaryAccounts and ordinaryUsers (each) are the size of a site where the
	// size is not what is measured.
	ordinaryAccounts = 10
	ordinaryUsers    = 500
)

// accepts holds the server's accept against the same load on bare Gin and on Gin
// with the same group commit, one after the other in every repeat.
func (b *bench) accepts(ctx context.Context) error {
	bare := b.limit("bare Gin, 202 after reading the body, 64 connections", "1/s")
	commit := b.limit("Gin + the same group commit, 64 connections", "1/s")
	goal := 15_000.0
	if b.sqlite() {
		goal = 10_000
	}
	rate := b.figure("accepts, 64 connections", "1/s", atLeast(goal))
	share := b.figure("accepts as a share of Gin + group commit", "", atLeast(0.85))
	p99 := b.figure("accept p99, 64 connections", "ms", atMost(12))
	p50 := b.figure("accept p50, 1 connection", "ms", atMost(0.6))
	whole := b.figure("accepts, 64 connections, while the worker sends", "1/s", nil)
	setting, note := b.acceptOnly()
	rate.Note = note
	return b.withSite(ctx, func(ctx context.Context, s *site) error {
		to, err := newSink()
		if err != nil {
			return err
		}
		defer to.close()
		if err := s.platform(ctx, ordinaryAccounts, ordinaryUsers, to); err != nil {
			return err
		}
		err = b.repeats("accepts", func() error {
			if err := b.measureReference(ctx, bare, s, "bare"); err != nil {
				return err
			}
			if err := b.measureReference(ctx, commit, s, "commit"); err != nil {
				return err
			}
			err := s.served(ctx, func(p *process) error {
				many, err := s.load(p, connections).run(ctx)
				if err != nil {
					return err
				}
				rate.add(many.perSecond)
				share.add(many.perSecond / commit.Values[len(commit.Values)-1])
				p99.add(milliseconds(many.latencies.quantile(0.99)))
				one, err := s.load(p, 1).run(ctx)
				if err != nil {
					return err
				}
				p50.add(milliseconds(one.latencies.quantile(0.5)))
				return nil
			}, setting)
			if err != nil {
				return err
			}
			return s.served(ctx, func(p *process) error {
				many, err := s.load(p, connections).run(ctx)
				if err == nil {
					whole.add(many.perSecond)
				}
				return err
			})
		})
		if err != nil || b.Profiles == "" {
			return err
		}
		return s.served(ctx, func(p *process) error {
			return b.profiled(ctx, p, "accepts", func(ctx context.Context) error {
				_, err := s.load(p, connections).run(ctx)
				return err
			})
		}, setting)
	})
}

// measureReference runs the ordinary load on a handler of our own, in a process
// of its own, with a database of its own.
func (b *bench) measureReference(ctx context.Context, into *Figure, like *site, kind string) error {
	measure := func(env ...string) error {
		p, err := start(ctx, b.Binary, append(env, "PATH="+os.Getenv("PATH"), "TMPDIR="+b.temporary), "bench", "reference", kind)
		if err != nil {
			return err
		}
		defer p.stop()
		result, err := like.load(p, connections).run(ctx)
		if err == nil {
			into.add(result.perSecond)
		}
		return err
	}
	if kind == "bare" {
		return measure()
	}
	return b.withSite(ctx, func(ctx context.Context, s *site) error {
		err := s.withStore(ctx, func(ctx context.Context, store *sqlstore.Store) error {
			_, err := s.seed(ctx, store, 1, 0)
			return err
		})
		if err != nil {
			return err
		}
		return measure("PASSMEND_DATABASE_URL="+s.url, "PASSMEND_DATA_DIR="+s.dir, "PASSMEND_BENCH_ACCOUNT="+string(s.accounts[0].id))
	})
}
