package sqlstore

import (
	"context"

	"github.com/passmend/passmend/core"
)

// Balance implements core.System. The two sides are counted apart: what was
// accepted by the resolve deliveries, which nothing ends but retention; the
// states by the requests, and a pending one only while a queued delivery carries
// it on. So a request that is stuck, lost or doubled shows as a difference. It
// reads the whole ledger: ask once a minute, not once a second.
func (s *Store) Balance(ctx context.Context) (core.Balance, error) {
	var rows []struct {
		State string `bun:"state"`
		Count int64  `bun:"n"`
	}
	err := s.reading().rows(ctx, &rows, `
		SELECT '' AS state, count(*) AS n FROM deliveries WHERE kind = 'resolve'
		UNION ALL
		SELECT r.state, count(*) AS n FROM requests r
		WHERE r.state <> 'pending' OR EXISTS (
			SELECT 1 FROM deliveries d
			WHERE d.account_id = r.account_id AND d.request_id = r.id AND d.state = 'queued')
		GROUP BY r.state`)
	balance := core.Balance{States: make(map[core.RequestState]int64)}
	for _, row := range rows {
		if row.State == "" {
			balance.Accepted = row.Count
			continue
		}
		balance.States[core.RequestState(row.State)] = row.Count
	}
	return balance, s.failed("balance", err)
}
