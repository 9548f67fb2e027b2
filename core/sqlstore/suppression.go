package sqlstore

import (
	"context"
	"database/sql"
	"errors"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// suppressionQuery reads suppressions, each with the present address of its user.
const suppressionQuery = `
	SELECT x.account_id, x.id, x.address_digest, x.reason, x.provider, x.user_id, x.created_at, u.address
	FROM suppressions x LEFT JOIN users u ON u.account_id = x.account_id AND u.id = x.user_id
	WHERE x.account_id = ?`

// isSuppressed holds for a row of the statement's list s, which has a digest.
const isSuppressed = `EXISTS (
	SELECT 1 FROM suppressions x WHERE x.account_id = s.account_id AND x.address_digest = s.digest)`

type suppressionRow struct {
	AccountID     string `bun:"account_id"`
	ID            string `bun:"id"`
	AddressDigest []byte `bun:"address_digest"`
	Reason        string `bun:"reason"`
	Provider      string `bun:"provider"`
	UserID        string `bun:"user_id"`
	CreatedAt     int64  `bun:"created_at"`
	Address       string `bun:"address"`
}

func (r suppressionRow) suppression() core.Suppression {
	return core.Suppression{
		ID:            core.SuppressionID(r.ID),
		Account:       tenants.AccountID(r.AccountID),
		AddressDigest: r.AddressDigest,
		Reason:        core.SuppressionReason(r.Reason),
		Provider:      r.Provider,
		User:          core.UserID(r.UserID),
		Address:       core.Address{Secret: tenants.NewSecret(r.Address)},
		Created:       stamp(r.CreatedAt),
	}
}

// Suppress implements core.Suppressions.
func (s *Store) Suppress(ctx context.Context, account tenants.AccountID, suppression core.Suppression) (core.Suppression, bool, error) {
	var row suppressionRow
	var fresh bool
	err := s.change(ctx, "suppress", false, func(ctx context.Context, tx session) (err error) {
		if fresh, err = insertSuppression(ctx, tx, account, suppression); s.fault(err) == faultForeign {
			return tenants.ErrUnknown
		}
		if err != nil {
			return err
		}
		if fresh {
			tx.note(account, suppressionAudit(core.AuditSuppressionCreated, suppression.ID))
		}
		return tx.row(ctx, &row, suppressionQuery+` AND x.address_digest = ?`, string(account), suppression.AddressDigest)
	})
	if err != nil {
		return core.Suppression{}, false, err
	}
	return row.suppression(), fresh, nil
}

func suppressionAudit(name core.AuditName, id core.SuppressionID) core.Audit {
	return core.Audit{Name: name, Object: core.AuditObject{Type: "suppressions", ID: string(id)}}
}

// insertSuppression says whether the address was not on the list yet.
func insertSuppression(ctx context.Context, tx session, account tenants.AccountID, suppression core.Suppression) (bool, error) {
	result, err := tx.exec(ctx, `
		INSERT INTO suppressions (account_id, id, address_digest, reason, provider, user_id, created_at)
		VALUES (?, ?, ?, ?, ?, ?, ?now) ON CONFLICT (address_digest, account_id) DO NOTHING`,
		string(account), string(suppression.ID), suppression.AddressDigest, string(suppression.Reason),
		suppression.Provider, null(suppression.User))
	return wrote(result, err)
}

// Suppression implements core.Suppressions.
func (s *Store) Suppression(ctx context.Context, account tenants.AccountID, id core.SuppressionID) (core.Suppression, error) {
	var row suppressionRow
	err := s.reading().row(ctx, &row, suppressionQuery+` AND x.id = ?`, string(account), string(id))
	if errors.Is(err, sql.ErrNoRows) {
		err = core.ErrNotFound
	}
	if err != nil {
		return core.Suppression{}, s.failed("find_suppression", err)
	}
	return row.suppression(), nil
}

// Suppressions implements core.Suppressions. Ids are in the order of time. A Limit
// out of range means the nearest within.
func (s *Store) Suppressions(ctx context.Context, account tenants.AccountID, query core.SuppressionQuery) ([]core.Suppression, error) {
	text, args := suppressionQuery, []any{string(account)}
	if len(query.AddressDigest) > 0 {
		text, args = text+` AND x.address_digest = ?`, append(args, query.AddressDigest)
	}
	if query.Before != "" {
		text, args = text+` AND x.id < ?`, append(args, string(query.Before))
	}
	args = append(args, min(max(query.Limit, 1), mostListed))
	var rows []suppressionRow
	if err := s.reading().rows(ctx, &rows, text+` ORDER BY x.id DESC LIMIT ?`, args...); err != nil {
		return nil, s.failed("list_suppressions", err)
	}
	suppressions := make([]core.Suppression, len(rows))
	for i, row := range rows {
		suppressions[i] = row.suppression()
	}
	return suppressions, nil
}

// Unsuppress implements core.Suppressions.
func (s *Store) Unsuppress(ctx context.Context, account tenants.AccountID, id core.SuppressionID) error {
	return s.change(ctx, "unsuppress", false, func(ctx context.Context, tx session) error {
		result, err := tx.exec(ctx, `DELETE FROM suppressions WHERE account_id = ? AND id = ?`, string(account), string(id))
		tx.note(account, suppressionAudit(core.AuditSuppressionDeleted, id))
		return oneRow(result, err, core.ErrNotFound)
	})
}
