package sqlstore

import (
	"context"
	"database/sql"
	"errors"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// DeleteAccount implements core.System. The account is gone for every look-up with
// this commit, and its slug and hosts are free; how many rows it leaves behind
// makes no difference to it. Retain removes those. Its audit log stays, for
// operators, as long as any other's entries do.
func (s *Store) DeleteAccount(ctx context.Context, account tenants.AccountID) error {
	err := s.change(ctx, "delete_account", false, func(ctx context.Context, tx session) error {
		// No slug has a colon, so that this one is in nobody's way.
		result, err := tx.exec(ctx, `
			UPDATE accounts SET deleted_at = ?now, updated_at = ?now, slug = ? WHERE id = ? AND id <> ? AND deleted_at IS NULL`,
			"deleted:"+string(account), string(account), string(tenants.RecoverID))
		if err := oneRow(result, err, tenants.ErrUnknown); err != nil {
			return err
		}
		tx.note(account, core.Audit{Name: core.AuditAccountDeleted, Object: core.AuditObject{Type: "accounts", ID: string(account)}})
		if _, err := tx.exec(ctx, `DELETE FROM domains WHERE account_id = ?`, string(account)); err != nil {
			return err
		}
		return s.tellAccounts(ctx, tx)
	})
	if err == nil {
		s.accountChanged()
	}
	return err
}

// ofAccount are the tables whose rows go before their account, each after what
// refers to it, with what names a row in its account. The rest goes with the account.
var ofAccount = []struct{ table, key string }{
	{"attempts", "account_id, id"},
	{"provider_events", "account_id, delivery_id, key"},
	{"deliveries", "account_id, id"},
	{"events", "account_id, id"},
	{"requests", "account_id, id"},
	{"users", "account_id, id"},
}

// removeAccounts removes at most batch rows of an account that was deleted; with the
// last of them goes the account. It says how many, or batch when there may be more.
func removeAccounts(ctx context.Context, tx session, batch int) (removed int64, err error) {
	var account string
	err = tx.row(ctx, &account, `SELECT id FROM accounts WHERE deleted_at IS NOT NULL ORDER BY deleted_at LIMIT 1 ?skipping`) // held against accepts, see acceptAllQuery
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	for _, of := range ofAccount {
		result, err := tx.exec(ctx, `
			DELETE FROM `+of.table+` WHERE (`+of.key+`) IN (
				SELECT `+of.key+` FROM `+of.table+` WHERE account_id = ? LIMIT ?)`, account, int64(batch)-removed)
		if err != nil {
			return removed, err
		}
		n, err := result.RowsAffected()
		if err != nil {
			return removed, err
		}
		if removed += n; removed >= int64(batch) {
			return removed, nil
		}
	}
	_, err = tx.exec(ctx, `DELETE FROM accounts WHERE id = ? AND deleted_at IS NOT NULL`, account)
	return int64(batch), err // there may be another
}
