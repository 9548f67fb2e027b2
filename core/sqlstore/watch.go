package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// watchEvery is how often Watch looks.
const watchEvery = 250 * time.Millisecond

// ErrServed: another server has the database.
var ErrServed = errors.New("another server uses this database")

// Watch calls changed when an account has changed, or may have: what is cached is
// stale. Any other process's write counts on SQLite, which is looked at every 250
// ms; PostgreSQL tells every replica at once, and Watch also hears there of work
// that others made ready, and calls Config.Wake. It returns when ctx ends.
func (s *Store) Watch(ctx context.Context, changed func()) { s.watch(s, ctx, changed) }

// dataVersion changes when anybody but write has changed the database: it asks
// the writer's connection, not one of its own. That one sees what others
// committed and not what we did, or every accept would empty the caches.
func (s *Store) dataVersion(ctx context.Context) (version int64, err error) {
	err = s.write.QueryRowContext(ctx, "PRAGMA data_version").Scan(&version)
	return version, err
}

// watchVersion is Watch on SQLite.
func (s *Store) watchVersion(ctx context.Context, changed func()) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	last, err := s.dataVersion(ctx)
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
		now, err := s.dataVersion(ctx)
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

// tellAccounts tells other processes with the commit; accountChanged follows it.
func (s *Store) tellAccounts(ctx context.Context, tx session) error {
	if s.tell == nil {
		return nil
	}
	return s.tell(ctx, tx)
}

// LockServer makes this process the one server of a SQLite file until release, or
// until it ends. ErrServed when another is. Commands do not take it. Whoever held
// leases is gone, so they lapse here and now: the next Reap counts and frees them.
// On PostgreSQL any number may serve, and nothing is locked or lapses.
func (s *Store) LockServer(ctx context.Context) (release func(), err error) {
	if s.lockServer == nil {
		return func() {}, nil
	}
	release, err = s.lockServer()
	if errors.Is(err, errHeld) {
		err = ErrServed
	}
	if err != nil {
		return nil, fmt.Errorf("lock database: %w", err)
	}
	err = s.change(ctx, "lapse_leases", false, func(ctx context.Context, tx session) error {
		_, err := tx.exec(ctx, `UPDATE deliveries SET lease_until = ?now WHERE lease IS NOT NULL`)
		return err
	})
	if err != nil {
		release()
		return nil, err
	}
	return release, nil
}
