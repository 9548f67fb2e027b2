package sqlstore

import (
	"context"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// Backlog implements core.System. Each part reads an index that holds nothing else,
// so that it costs what waits and not what has been.
func (s *Store) Backlog(ctx context.Context) ([]core.Backlog, error) {
	var rows []struct {
		Account string `bun:"account_id"`
		Kind    string `bun:"kind"`
		State   string `bun:"state"`
		Count   int64  `bun:"n"`
		Oldest  int64  `bun:"oldest"`
	}
	err := s.reading().rows(ctx, &rows, `
		SELECT account_id, kind, 'ready' AS state, count(*) AS n, ?now - min(run_at) AS oldest
		FROM deliveries WHERE ready = TRUE GROUP BY account_id, kind
		UNION ALL
		SELECT account_id, kind, 'later' AS state, count(*) AS n, 0 AS oldest
		FROM deliveries WHERE state = 'queued' AND ready = FALSE AND lease IS NULL GROUP BY account_id, kind
		UNION ALL
		SELECT account_id, kind, 'leased' AS state, count(*) AS n, 0 AS oldest
		FROM deliveries WHERE lease IS NOT NULL GROUP BY account_id, kind`)
	backlog := make([]core.Backlog, 0, len(rows))
	for _, row := range rows {
		backlog = append(backlog, core.Backlog{
			Account: tenants.AccountID(row.Account), Kind: core.Kind(row.Kind), State: row.State, Deliveries: row.Count,
			Oldest: max(0, time.Duration(row.Oldest)*time.Microsecond),
		})
	}
	return backlog, s.failed("backlog", err)
}

// EndpointCounts implements core.System.
func (s *Store) EndpointCounts(ctx context.Context) (map[string]int64, error) {
	var rows []struct {
		State string `bun:"state"`
		Count int64  `bun:"n"`
	}
	err := s.reading().rows(ctx, &rows, `
		SELECT state, count(*) AS n FROM (
			SELECT CASE WHEN disabled_at IS NOT NULL THEN 'disabled' WHEN failures > 0 THEN 'failing' ELSE 'enabled' END AS state
			FROM webhook_endpoints) AS s
		GROUP BY state`)
	counts := make(map[string]int64, len(rows))
	for _, row := range rows {
		counts[row.State] = row.Count
	}
	return counts, s.failed("endpoint_counts", err)
}

// Connections gives the connections to the database that are in use, those that are
// not, and the bound of both.
func (s *Store) Connections() (used, idle, most int) { return s.connections() }

// LogBytes gives the size of SQLite's write-ahead log; false where there is none.
func (s *Store) LogBytes() (int64, bool) { return s.logBytes() }
