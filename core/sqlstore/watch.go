package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/uptrace/bun"
)

// watchEvery is how often Watch looks.
const watchEvery = 250 * time.Millisecond

// ErrServed: another server has the database.
var ErrServed = errors.New("another server uses this database")

// Watch calls changed when another process has written to the database, a
// command for one, or when this one has changed an account: what is cached is
// stale and work may be ready. It looks every 250 ms and returns when ctx ends.
//
// It asks the writer's connection, not one of its own: that one sees what others
// committed and not what we did, or every accept would empty the caches.
func (s *Store) Watch(ctx context.Context, changed func()) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	last, err := s.version(ctx)
	known := err == nil
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.accounts:
			changed()
			continue
		case <-ticker.C:
		}
		now, err := s.version(ctx)
		if err != nil {
			if ctx.Err() == nil {
				s.config.Logger.ErrorContext(ctx, "watch database failed", slog.Any("error", s.failed("watch", err)))
			}
			known = false
			continue
		}
		if !known || now != last {
			changed()
		}
		last, known = now, true
	}
}

// accountChanged tells Watch; a signal that already waits is enough.
func (s *Store) accountChanged() {
	select {
	case s.accounts <- struct{}{}:
	default:
	}
}

// LockServer makes this process the one server of the database until release, or
// until it ends. ErrServed when another is. Commands do not take it. Whoever held
// leases is gone, so they lapse here and now: the next Reap counts and frees them.
func (s *Store) LockServer(ctx context.Context) (release func(), err error) {
	release, err = s.lock("lock")
	if errors.Is(err, errHeld) {
		err = ErrServed
	}
	if err != nil {
		return nil, fmt.Errorf("lock database: %w", err)
	}
	err = s.change(ctx, "lapse_leases", false, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE deliveries SET lease_until = ?now WHERE lease IS NOT NULL`)
		return err
	})
	if err != nil {
		release()
		return nil, err
	}
	return release, nil
}
