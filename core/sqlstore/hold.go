package sqlstore

import (
	"context"
	"database/sql"
	"errors"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// ofScope holds for the hold of an account and a provider's id, either empty.
const ofScope = `coalesce(account_id, '') = ? AND coalesce(provider_id, '') = ?`

// BeginHold implements core.Holds.
func (s *Store) BeginHold(ctx context.Context, account tenants.AccountID, provider string, firm bool) error {
	return s.changeProvider(ctx, "begin_hold", func(ctx context.Context, tx session) error {
		if err := liveAccount(ctx, tx, account); err != nil {
			return err
		}
		id, err := heldProvider(ctx, tx, account, provider)
		if err != nil {
			return err
		}
		_, err = tx.exec(ctx, `
			INSERT INTO holds (account_id, provider_id, since_at, firm) VALUES (?, ?, ?now, ?)
			ON CONFLICT (coalesce(account_id, ''), coalesce(provider_id, '')) DO UPDATE SET released_at = NULL, pace = 0,
				firm = (holds.firm OR excluded.firm)`,
			null(account), null(id), firm)
		tx.note(account, core.Audit{Name: core.AuditHoldBegun, Object: held(account, provider)})
		return err
	})
}

// EndHold implements core.Holds. What drains is counted in claims.
func (s *Store) EndHold(ctx context.Context, account tenants.AccountID, provider string, rate int, firm bool) error {
	var pace int64
	if rate > 0 {
		pace = 1_000_000 / int64(min(rate, core.MostDrained))
	}
	err := s.changeProvider(ctx, "end_hold", func(ctx context.Context, tx session) error {
		id, err := heldProvider(ctx, tx, account, provider)
		if err != nil {
			return err
		}
		if err := mayRelease(ctx, tx, account, id, firm); err != nil {
			return err
		}
		audit := core.Audit{Name: core.AuditHoldReleased, Object: held(account, provider)}
		if pace > 0 {
			audit.Fields = []string{"rate"}
		}
		tx.note(account, audit)
		if pace == 0 && id == "" { // there is nothing to do but to claim again
			result, err := tx.exec(ctx, `DELETE FROM holds WHERE `+ofScope, string(account), "")
			return oneRow(result, err, core.ErrNotFound)
		}
		result, err := tx.exec(ctx, `
			UPDATE holds SET released_at = coalesce(released_at, ?now), pace = ?, tat = ?now WHERE `+ofScope,
			pace, string(account), id)
		return oneRow(result, err, core.ErrNotFound)
	})
	if err == nil {
		s.wake(ctx)
	}
	return err
}

// held is what a hold is about.
func held(account tenants.AccountID, provider string) core.AuditObject {
	switch {
	case provider != "":
		return core.AuditObject{Type: "providers", ID: provider}
	case account != "":
		return core.AuditObject{Type: "accounts", ID: string(account)}
	}
	return core.AuditObject{Type: "platform"}
}

func mayRelease(ctx context.Context, tx session, account tenants.AccountID, provider string, firm bool) error {
	var kept bool
	err := tx.row(ctx, &kept, `SELECT firm FROM holds WHERE `+ofScope+` ?locking`, string(account), provider)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return core.ErrNotFound
	case err == nil && kept && !firm:
		return core.ErrFirmHold
	}
	return err
}

// liveAccount gives tenants.ErrUnknown for an account that is not there. No account
// is fine.
func liveAccount(ctx context.Context, tx session, account tenants.AccountID) error {
	if account == "" {
		return nil
	}
	var there string
	err := tx.row(ctx, &there, `SELECT id FROM accounts WHERE id = ? AND deleted_at IS NULL`, string(account))
	if errors.Is(err, sql.ErrNoRows) {
		err = tenants.ErrUnknown
	}
	return err
}

// heldProvider gives the id of an owner's provider; empty for no name.
func heldProvider(ctx context.Context, tx session, account tenants.AccountID, name string) (id string, err error) {
	if name == "" {
		return "", nil
	}
	err = tx.row(ctx, &id, `SELECT id FROM providers WHERE `+ofOwner+` AND name = ?`, string(account), name)
	if errors.Is(err, sql.ErrNoRows) {
		err = core.ErrNotFound
	}
	return id, err
}

// AllHolds implements core.System.
func (s *Store) AllHolds(ctx context.Context) ([]core.Hold, error) { return s.holdsWhere(ctx, `TRUE`) }

// HoldCounts implements core.System.
func (s *Store) HoldCounts(ctx context.Context) ([]core.HoldCount, error) {
	var rows []struct {
		Scope string `bun:"scope"`
		State string `bun:"state"`
		Count int64  `bun:"n"`
	}
	err := s.reading().rows(ctx, &rows, `
		SELECT scope, state, count(*) AS n FROM (
			SELECT
				CASE WHEN provider_id IS NOT NULL THEN ? WHEN account_id IS NOT NULL THEN ? ELSE ? END AS scope,
				CASE WHEN released_at IS NULL THEN ? ELSE ? END AS state
			FROM holds) AS s
		GROUP BY scope, state ORDER BY scope, state`,
		core.HoldOfProvider, core.HoldOfAccount, core.HoldOfAll, core.HoldHeld, core.HoldDraining)
	counts := make([]core.HoldCount, len(rows))
	for i, row := range rows {
		counts[i] = core.HoldCount{Scope: row.Scope, State: row.State, Holds: row.Count}
	}
	return counts, s.failed("hold_counts", err)
}

// Holds implements core.Holds.
func (s *Store) Holds(ctx context.Context, account tenants.AccountID) ([]core.Hold, error) {
	return s.holdsWhere(ctx, `coalesce(h.account_id, '') = ?`, string(account))
}

func (s *Store) holdsWhere(ctx context.Context, condition string, args ...any) ([]core.Hold, error) {
	var rows []struct {
		AccountID  string `bun:"account_id"`
		Provider   string `bun:"provider"`
		SinceAt    int64  `bun:"since_at"`
		ReleasedAt int64  `bun:"released_at"`
		Pace       int64  `bun:"pace"`
		Waiting    int    `bun:"waiting"`
		UnderWay   int    `bun:"under_way"`
		Firm       bool   `bun:"firm"`
	}
	err := s.reading().rows(ctx, &rows, `
		SELECT coalesce(h.account_id, '') AS account_id, coalesce(p.name, '') AS provider, h.since_at,
			coalesce(h.released_at, 0) AS released_at, h.pace, h.firm,
			CASE
				WHEN h.provider_id IS NOT NULL THEN (SELECT count(*) FROM deliveries d WHERE d.held_by = h.provider_id)
				WHEN h.account_id IS NOT NULL THEN (SELECT count(*) FROM deliveries d WHERE d.ready = TRUE AND d.account_id = h.account_id)
				ELSE (SELECT count(*) FROM deliveries d WHERE d.ready = TRUE)
			END AS waiting,
			CASE
				WHEN h.provider_id IS NOT NULL THEN 0
				ELSE (SELECT count(*) FROM deliveries d WHERE d.lease IS NOT NULL AND (h.account_id IS NULL OR d.account_id = h.account_id))
			END AS under_way
		FROM holds h LEFT JOIN providers p ON p.id = h.provider_id
		WHERE `+condition+` ORDER BY coalesce(h.account_id, ''), coalesce(p.name, '')`, args...)
	if err != nil {
		return nil, s.failed("list_holds", err)
	}
	holds := make([]core.Hold, len(rows))
	for i, row := range rows {
		holds[i] = core.Hold{
			Account: tenants.AccountID(row.AccountID), Provider: row.Provider,
			Since: stamp(row.SinceAt), Released: stamp(row.ReleasedAt), Firm: row.Firm, Waiting: row.Waiting, UnderWay: row.UnderWay,
		}
		if row.Pace > 0 {
			holds[i].Rate = int(1_000_000 / row.Pace)
		}
	}
	return holds, nil
}
