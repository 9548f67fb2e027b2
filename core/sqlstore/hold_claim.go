package sqlstore

import (
	"context"
	"math"
	"time"

	"github.com/passmend/passmend/core"
)

// parkedUntil is the hour of a delivery that waits for its provider: none that
// comes, in microseconds.
const parkedUntil = `9000000000000000`

// gate is what holds let through a claim.
type gate struct {
	// most bounds the claim, and each what an account in it may have.
	most   int
	each   map[string]int
	drains []drain
	wait   time.Duration // until something that drains may go on; 0: it is not for that
}

// drain is a hold that was released, within a claim.
type drain struct {
	holdRow

	allowed int
}

type holdRow struct {
	AccountID  string `bun:"account_id"`
	ProviderID string `bun:"provider_id"`
	ReleasedAt int64  `bun:"released_at"`
	Pace       int64  `bun:"pace"`
	TAT        int64  `bun:"tat"`
	Now        int64  `bun:"clock"`
}

// drainBurst is how much of its rate a drain may save up while nothing asks, in
// microseconds.
const drainBurst = 1_000_000

// begin is from when on the drain counts.
func (r holdRow) begin() int64 { return max(r.TAT, r.Now-max(drainBurst, r.Pace)) }

// allowed is how many may go out now, and when the next may where none can.
func (r holdRow) allowed() (n int, wait time.Duration) {
	switch {
	case r.ReleasedAt == 0:
		return 0, 0
	case r.Pace == 0:
		return dueRows, 0
	}
	n = int((r.Now - r.begin()) / r.Pace)
	if n > 0 {
		return n, 0
	}
	return 0, time.Duration(r.begin()+r.Pace-r.Now) * time.Microsecond
}

func (g *gate) shut(account string) bool { return g.of(account) == 0 }

// of is how many an account may have.
func (g *gate) of(account string) int {
	if most, found := g.each[account]; found {
		return most
	}
	return math.MaxInt
}

// passHolds finds what holds let through, and lets deliveries go on whose provider
// was released. Of several replicas one drains at a time.
func (s *Store) passHolds(ctx context.Context, tx session, holds int) (gate, error) {
	g := gate{most: math.MaxInt}
	if holds == 0 {
		return g, nil
	}
	var rows []holdRow
	err := tx.rows(ctx, &rows, `
		SELECT coalesce(account_id, '') AS account_id, coalesce(provider_id, '') AS provider_id,
			coalesce(released_at, 0) AS released_at, pace, tat, ?now AS clock
		FROM holds ?locking`)
	if err != nil {
		return g, err
	}
	g.each = make(map[string]int, len(rows))
	for _, row := range rows {
		allowed, wait := row.allowed()
		if wait > 0 && (g.wait == 0 || wait < g.wait) {
			g.wait = wait
		}
		switch {
		case row.ProviderID != "":
			if err := unpark(ctx, tx, drain{row, allowed}); err != nil {
				return g, err
			}
			continue
		case row.AccountID != "":
			g.each[row.AccountID] = allowed
		default:
			g.most = allowed
		}
		if row.ReleasedAt != 0 {
			g.drains = append(g.drains, drain{row, allowed})
		}
	}
	return g, nil
}

// unpark makes deliveries ready that waited for a provider; with the last the hold
// is gone.
func unpark(ctx context.Context, tx session, d drain) error {
	if d.allowed == 0 {
		return nil
	}
	moved, err := free(ctx, tx, d.ProviderID, min(d.allowed, dueRows))
	if err != nil {
		return err
	}
	if moved == 0 {
		_, err = tx.exec(ctx, `DELETE FROM holds WHERE provider_id = ?`, d.ProviderID)
		return err
	}
	_, err = tx.exec(ctx, `UPDATE holds SET tat = ? WHERE provider_id = ?`, d.begin()+moved*d.Pace, d.ProviderID)
	return err
}

// free makes at most so many deliveries ready that wait for a provider, the oldest
// first, and says how many.
func free(ctx context.Context, tx session, provider string, most int) (int64, error) {
	result, err := tx.exec(ctx, freeQuery, provider, most)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

const freeQuery = `
	UPDATE deliveries SET ready = TRUE, run_at = ?now, held_by = NULL WHERE (account_id, id) IN (
		SELECT account_id, id FROM deliveries WHERE held_by = ? ORDER BY queued_at, id LIMIT ? ?skipping)`

// passed counts what went out against what drains, and ends what has nothing left
// that waits.
func (g *gate) passed(ctx context.Context, tx session, deliveries []core.Delivery) error {
	if len(g.drains) == 0 {
		return nil
	}
	taken := make(map[string]int64)
	for _, delivery := range deliveries {
		taken[string(delivery.Account)]++
	}
	for _, d := range g.drains {
		n := taken[d.AccountID]
		if d.AccountID == "" {
			n = int64(len(deliveries))
		}
		if err := d.advance(ctx, tx, n); err != nil {
			return err
		}
	}
	return nil
}

func (d drain) advance(ctx context.Context, tx session, n int64) error {
	if n > 0 {
		_, err := tx.exec(ctx, `UPDATE holds SET tat = ? WHERE `+ofScope, d.begin()+n*d.Pace, d.AccountID, "")
		return err
	}
	waiting := `SELECT 1 FROM deliveries d WHERE d.ready = TRUE AND d.account_id = ?`
	args := []any{d.AccountID, "", d.AccountID}
	if d.AccountID == "" {
		waiting, args = `SELECT 1 FROM deliveries d WHERE d.ready = TRUE`, args[:2]
	}
	_, err := tx.exec(ctx, `DELETE FROM holds WHERE `+ofScope+` AND NOT EXISTS (`+waiting+`)`, args...)
	return err
}

// freeOrphans lets deliveries go on that were parked for a provider which is held no
// more: whoever parked them had not heard yet, or the provider is gone.
func freeOrphans(ctx context.Context, tx session) error {
	var orphans []string
	if err := tx.rows(ctx, &orphans, orphansQuery); err != nil {
		return err
	}
	for _, provider := range orphans {
		if _, err := free(ctx, tx, provider, dueRows); err != nil {
			return err
		}
	}
	return nil
}

// orphansQuery steps from provider to provider in the index of what is parked.
const orphansQuery = `
	WITH RECURSIVE parked (id) AS (
		SELECT min(d.held_by) FROM deliveries d WHERE d.held_by IS NOT NULL
		UNION ALL
		SELECT (SELECT min(d.held_by) FROM deliveries d WHERE d.held_by > parked.id) FROM parked WHERE parked.id IS NOT NULL
	)
	SELECT id FROM parked WHERE id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM holds h WHERE h.provider_id = parked.id)`
