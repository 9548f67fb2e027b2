package sqlstore

import (
	"context"
)

// pickUnlocked is pick where several replicas claim at once: rows that another
// has in hand are passed over and not waited for. skipped says that there were
// such rows: what was found is then not all that is ready.
func pickUnlocked(ctx context.Context, tx session, accounts []string, most int) (rows []rowKey, skipped bool, err error) {
	var found []struct {
		rowKey `bun:",extend"`

		Seen int `bun:"seen"`
	}
	if err := tx.rows(ctx, &found, pickUnlockedQuery, accounts, most, most); err != nil {
		return nil, false, err
	}
	seen, picked := make(map[string]int, len(accounts)), make(map[string]int, len(accounts))
	for _, row := range found {
		seen[row.AccountID] = row.Seen
		if row.ID != "" {
			picked[row.AccountID]++
			rows = append(rows, row.rowKey)
		}
	}
	for account, n := range seen {
		skipped = skipped || n > picked[account]
	}
	return rows, skipped, nil
}

// pickUnlockedQuery: c counts what is ready for whoever looks, p takes what nobody
// else has in hand.
const pickUnlockedQuery = `
	SELECT a.account_id, coalesce(p.id, '') AS id, c.seen FROM unnest(?::text[]) AS a (account_id)
	CROSS JOIN LATERAL (
		SELECT count(*) AS seen FROM (
			SELECT 1 FROM deliveries d WHERE d.ready = TRUE AND d.account_id = a.account_id LIMIT ?) AS few) AS c
	LEFT JOIN LATERAL (
		SELECT d.id, d.run_at FROM deliveries d WHERE d.ready = TRUE AND d.account_id = a.account_id
		ORDER BY d.run_at, d.id LIMIT ? FOR UPDATE SKIP LOCKED) AS p ON TRUE
	ORDER BY a.account_id, p.run_at, p.id`
