package sqlstore

import (
	"context"
	"database/sql"
	"errors"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// UpdateUser implements core.UserChanges. The row is read under a lock, so that two
// changes at once are one after the other.
func (s *Store) UpdateUser(ctx context.Context, account tenants.AccountID, id core.UserID, change core.UserChange) (core.User, error) {
	var changed core.User
	err := s.change(ctx, "update_user", false, func(ctx context.Context, tx session) error {
		before, err := oneUser(ctx, tx, `SELECT `+userColumns+` FROM users WHERE account_id = ? AND id = ? ?locking`,
			string(account), string(id))
		if err != nil {
			return err
		}
		if change.For != 0 && change.For != before.CredentialVersion {
			return core.ErrOutdated
		}
		after := change.On(before)
		if err := addressFree(ctx, tx, before, after); err != nil {
			return err
		}
		changed, err = oneUser(ctx, tx, `
			UPDATE users SET address = ?, first_name = ?, last_name = ?, role = ?, banned = ?, password_hash = ?,
				credential_version = ?, metadata = ?, updated_at = ?now, hash_cost = CASE WHEN ?bool THEN '' ELSE hash_cost END
			WHERE account_id = ? AND id = ? RETURNING `+userColumns,
			after.Address.Reveal(), after.FirstName, after.LastName, string(after.Role), after.Banned, blob(after.PasswordHash),
			after.CredentialVersion, object(after.Metadata), change.PasswordHash != nil, string(account), string(id))
		if s.fault(err) == faultUnique {
			return core.ErrAddressTaken
		}
		if err != nil {
			return err
		}
		var ended bool
		if change.EndTokens {
			ended, err = wrote(tx.exec(ctx, `DELETE FROM api_tokens WHERE account_id = ? AND user_id = ? AND id <> ?`,
				string(account), string(id), string(change.KeepToken)))
			if err != nil {
				return err
			}
		}
		for _, audit := range core.UserAudit(before, changed, ended) {
			tx.note(account, audit)
		}
		if err := clearTries(ctx, tx, account, change.ClearTries); err != nil {
			return err
		}
		return recordEvents(ctx, tx, account, change.Events)
	})
	if err != nil {
		return core.User{}, err
	}
	return changed, nil
}

// addressFree answers ErrAddressTaken when another user has the address that a change
// gives. The index would refuse it too, and PostgreSQL would write the address into
// its log; that is left to two changes of the same moment.
func addressFree(ctx context.Context, tx session, before, after core.User) error {
	if after.Address == before.Address {
		return nil
	}
	_, err := oneUser(ctx, tx, `SELECT `+userColumns+` FROM users WHERE account_id = ? AND address = ?`,
		string(before.Account), after.Address.Reveal())
	switch {
	case errors.Is(err, core.ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	return core.ErrAddressTaken
}

// oneUser reads the one row of a statement; ErrNotFound.
func oneUser(ctx context.Context, tx session, text string, args ...any) (core.User, error) {
	var row userRow
	err := tx.row(ctx, &row, text, args...)
	if errors.Is(err, sql.ErrNoRows) {
		return core.User{}, core.ErrNotFound
	}
	return row.user(), err
}

// DeleteUser implements core.UserChanges. The user's API tokens go with the row; a
// link finds no user any more.
func (s *Store) DeleteUser(ctx context.Context, account tenants.AccountID, id core.UserID, event core.UserEvent) error {
	return s.change(ctx, "delete_user", false, func(ctx context.Context, tx session) error {
		was, err := oneUser(ctx, tx, `DELETE FROM users WHERE account_id = ? AND id = ? RETURNING `+userColumns,
			string(account), string(id))
		if err != nil {
			return err
		}
		tx.note(account, core.Audit{Name: core.AuditUserDeleted, Object: core.AuditObject{Type: "users", ID: string(id)}})
		told, err := event(was)
		if err != nil {
			return err
		}
		return insertEvent(ctx, tx, account, told)
	})
}

// UpgradePassword implements core.UserChanges.
func (s *Store) UpgradePassword(ctx context.Context, account tenants.AccountID, id core.UserID, from, to []byte) (done bool, err error) {
	err = s.change(ctx, "upgrade_password", false, func(ctx context.Context, tx session) error {
		result, err := tx.exec(ctx, `
			UPDATE users SET password_hash = ?, hash_cost = '' WHERE account_id = ? AND id = ? AND password_hash = ?`,
			blob(to), string(account), string(id), blob(from))
		if err != nil {
			return err
		}
		rows, err := result.RowsAffected()
		done = rows == 1
		return err
	})
	return done, err
}
