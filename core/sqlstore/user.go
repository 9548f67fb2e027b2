package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"github.com/uptrace/bun"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

const userColumns = `account_id, id, address, first_name, last_name, role, banned, password_hash,
	credential_version, metadata, created_at, updated_at`

type userRow struct {
	AccountID         string `bun:"account_id"`
	ID                string `bun:"id"`
	Address           string `bun:"address"`
	FirstName         string `bun:"first_name"`
	LastName          string `bun:"last_name"`
	Role              string `bun:"role"`
	Banned            bool   `bun:"banned"`
	PasswordHash      []byte `bun:"password_hash"`
	CredentialVersion int64  `bun:"credential_version"`
	Metadata          string `bun:"metadata"`
	CreatedAt         int64  `bun:"created_at"`
	UpdatedAt         int64  `bun:"updated_at"`
}

func (r userRow) user() core.User {
	user := core.User{
		ID:                core.UserID(r.ID),
		Account:           tenants.AccountID(r.AccountID),
		Address:           core.Address{Secret: tenants.NewSecret(r.Address)},
		FirstName:         r.FirstName,
		LastName:          r.LastName,
		Role:              core.Role(r.Role),
		Banned:            r.Banned,
		PasswordHash:      r.PasswordHash,
		CredentialVersion: r.CredentialVersion,
		Created:           stamp(r.CreatedAt),
		Updated:           stamp(r.UpdatedAt),
	}
	if r.Metadata != "" && r.Metadata != "{}" {
		user.Metadata = json.RawMessage(r.Metadata)
	}
	return user
}

// User implements core.Users.
func (s *Store) User(ctx context.Context, account tenants.AccountID, id core.UserID) (core.User, error) {
	return s.userWhere(ctx, `account_id = ? AND id = ?`, string(account), string(id))
}

// UserByAddress implements core.Users.
func (s *Store) UserByAddress(ctx context.Context, account tenants.AccountID, address core.Address) (core.User, error) {
	return s.userWhere(ctx, `account_id = ? AND address = ?`, string(account), address.Reveal())
}

func (s *Store) userWhere(ctx context.Context, condition string, args ...any) (core.User, error) {
	var row userRow
	err := s.read.NewRaw(`SELECT `+userColumns+` FROM users WHERE `+condition, args...).Scan(ctx, &row)
	if errors.Is(err, sql.ErrNoRows) {
		err = core.ErrNotFound
	}
	if err != nil {
		return core.User{}, s.failed("find_user", err)
	}
	return row.user(), nil
}

// Users implements core.Users.
func (s *Store) Users(ctx context.Context, account tenants.AccountID, after core.UserID, limit int) ([]core.User, error) {
	var rows []userRow
	err := s.read.NewRaw(`
		SELECT `+userColumns+` FROM users WHERE account_id = ? AND id > ? ORDER BY id LIMIT ?`,
		string(account), string(after), max(limit, 0)).Scan(ctx, &rows)
	if err != nil {
		return nil, s.failed("list_users", err)
	}
	users := make([]core.User, len(rows))
	for i, row := range rows {
		users[i] = row.user()
	}
	return users, nil
}

// CreateUser implements core.Users. A credential version of 0 becomes 1;
// tenants.ErrUnknown when there is no such account.
func (s *Store) CreateUser(ctx context.Context, account tenants.AccountID, user core.User) (core.User, error) {
	var row userRow
	err := s.change(ctx, "create_user", false, func(ctx context.Context, tx bun.Tx) error {
		err := tx.NewRaw(`
			INSERT INTO users (`+userColumns+`)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?now, ?now) RETURNING `+userColumns,
			string(account), string(user.ID), user.Address.Reveal(), user.FirstName, user.LastName, string(user.Role),
			user.Banned, blob(user.PasswordHash), max(user.CredentialVersion, 1), object(user.Metadata)).Scan(ctx, &row)
		switch s.fault(err) {
		case faultUnique:
			return core.ErrAddressTaken
		case faultForeign:
			return tenants.ErrUnknown
		}
		return err
	})
	if err != nil {
		return core.User{}, err
	}
	return row.user(), nil
}
