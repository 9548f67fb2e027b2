package sqlstore

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Two channels of LISTEN/NOTIFY, without payload. What is lost on the way is made
// good by the worker's poll, and by treating every new connection as a notice.
const (
	workChannel     = "passmend_work"
	accountsChannel = "passmend_accounts"
)

const (
	// noticePause is the least time between two notices of work: the first goes out
	// at once, and under load a replica is woken a hundred times a second, not once
	// a commit.
	noticePause = 10 * time.Millisecond
	// noticeTime bounds the sending of one.
	noticeTime = 2 * time.Second
	// listenCheck is how long a silent listener waits before it asks whether the
	// server is still there.
	listenCheck = 30 * time.Second
	// listenAgain and listenAgainMost bound the pause before a new connection.
	listenAgain     = 100 * time.Millisecond
	listenAgainMost = 5 * time.Second
)

// notices tells the other replicas of work. It does so after the commit and not
// inside: transactions that notify commit one after the other (PostgreSQL takes a
// lock for it), and group commit would lose its second lane. A process that dies
// in between leaves its work to the others' poll.
type notices struct {
	pool    *pgxpool.Pool
	signal  chan struct{} // of 1
	running atomic.Bool
	// sender is the server process that sent our last notice: we need not hear it.
	sender atomic.Uint32
}

func newNotices(pool *pgxpool.Pool) *notices {
	return &notices{pool: pool, signal: make(chan struct{}, 1)}
}

// announce tells of work that is ready. While run runs it does not wait.
func (n *notices) announce(ctx context.Context) {
	if !n.running.Load() {
		_ = n.send(ctx) // the poll is behind it
		return
	}
	select {
	case n.signal <- struct{}{}:
	default:
	}
}

// run sends what is announced, until ctx ends; the last of it is sent even then.
func (n *notices) run(ctx context.Context) {
	n.running.Store(true)
	defer n.running.Store(false)
	for {
		select {
		case <-ctx.Done():
			select {
			case <-n.signal:
				_ = n.send(context.WithoutCancel(ctx))
			default:
			}
			return
		case <-n.signal:
		}
		_ = n.send(ctx)
		select {
		case <-ctx.Done():
		case <-time.After(noticePause):
		}
	}
}

func (n *notices) send(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, noticeTime)
	defer cancel()
	return n.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		n.sender.Store(conn.Conn().PgConn().PID())
		_, err := conn.Exec(ctx, "NOTIFY "+workChannel)
		return err
	})
}

// tellAccounts tells every replica, with the commit, that an account has changed.
func tellAccounts(ctx context.Context, tx session) error {
	_, err := tx.exec(ctx, "NOTIFY "+accountsChannel)
	return err
}

// watchNotices is Watch where the database tells of changes.
func (s *Store) watchNotices(ctx context.Context, n *notices, changed func()) {
	var listening sync.WaitGroup
	defer listening.Wait()
	listening.Go(func() { s.listen(ctx, n) })
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.accounts:
			changed()
		}
	}
}

// listen keeps a connection that listens, until ctx ends.
func (s *Store) listen(ctx context.Context, n *notices) {
	pause := listenAgain
	for {
		began := time.Now()
		err := s.hear(ctx, n)
		if ctx.Err() != nil {
			return
		}
		s.config.Logger.WarnContext(ctx, "listening to the database was interrupted", slog.Any("error", s.failed("listen", err)))
		if time.Since(began) > listenAgainMost {
			pause = listenAgain
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, listenAgainMost)
	}
}

// hear listens on a connection of its own until that ends, always with an error.
func (s *Store) hear(ctx context.Context, n *notices) error {
	pooled, err := n.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	conn := pooled.Hijack() // it never goes back, so that closing the pool need not wait for it
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noticeTime)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	if _, err := conn.Exec(ctx, "LISTEN "+workChannel+"; LISTEN "+accountsChannel); err != nil {
		return err
	}
	s.accountChanged() // whatever was said before we listened
	s.config.Wake()
	for {
		if err := s.hearOne(ctx, conn, n); err != nil {
			return err
		}
	}
}

func (s *Store) hearOne(ctx context.Context, conn *pgx.Conn, n *notices) error {
	waiting, cancel := context.WithTimeout(ctx, listenCheck)
	defer cancel()
	notice, err := conn.WaitForNotification(waiting)
	switch {
	case err != nil && (waiting.Err() == nil || ctx.Err() != nil || conn.IsClosed()):
		return err
	case err != nil:
		check, cancel := context.WithTimeout(ctx, postgresConnect)
		defer cancel()
		return conn.Ping(check)
	case notice.Channel == accountsChannel:
		s.accountChanged()
	case notice.PID != n.sender.Load():
		s.config.Wake()
	}
	return nil
}
