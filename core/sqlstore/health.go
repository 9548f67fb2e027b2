package sqlstore

import (
	"context"
	"time"

	"github.com/passmend/passmend/core"
)

// Clock gives the database's time, which decides every time in a row.
func (s *Store) Clock(ctx context.Context) (time.Time, error) {
	var now int64
	if err := s.reading().row(ctx, &now, `SELECT ?now`); err != nil {
		return time.Time{}, s.failed("clock", err)
	}
	return stamp(now), nil
}

// QueueAge implements core.System. It walks through what is ready, so whoever asks
// often remembers the answer for a while.
func (s *Store) QueueAge(ctx context.Context, kind core.Kind) (time.Duration, error) {
	var age int64
	err := s.reading().row(ctx, &age, `
		SELECT coalesce(?now - min(run_at), 0) FROM deliveries WHERE ready = TRUE AND kind = ?`, string(kind))
	if err != nil {
		return 0, s.failed("queue_age", err)
	}
	return max(0, time.Duration(age)*time.Microsecond), nil
}
