package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"maps"
	"slices"

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
	user, found, err := s.found.userByAddress.one(ctx, rowKey{string(account), address.Reveal()})
	if err == nil && !found {
		err = core.ErrNotFound
	}
	return user, s.failed("find_user", err)
}

func (s *Store) usersByAddress(ctx context.Context, keys []rowKey) (map[rowKey]core.User, error) {
	list := newList(keyShape, len(keys))
	for _, key := range keys {
		list.add(key.AccountID, key.ID)
	}
	rows, err := rowsOfList[userRow](ctx, s.reading(), list, `
		SELECT `+userColumns+` FROM users WHERE (account_id, address) IN (SELECT s.account_id, s.id FROM s WHERE ?few)`)
	users := make(map[rowKey]core.User, len(rows))
	for _, row := range rows {
		users[rowKey{row.AccountID, row.Address}] = row.user()
	}
	return users, err
}

func (s *Store) userWhere(ctx context.Context, condition string, args ...any) (core.User, error) {
	var row userRow
	err := s.reading().row(ctx, &row, `SELECT `+userColumns+` FROM users WHERE `+condition, args...)
	if errors.Is(err, sql.ErrNoRows) {
		err = core.ErrNotFound
	}
	if err != nil {
		return core.User{}, s.failed("find_user", err)
	}
	return row.user(), nil
}

// Users implements core.Users.
func (s *Store) Users(ctx context.Context, account tenants.AccountID, query core.UserQuery) ([]core.User, error) {
	condition, args := userCondition(account, query)
	part, args := listed{id: `id`, newest: query.Newest, after: string(query.After), skip: query.Skip, limit: query.Limit}.of(args)
	var rows []userRow
	err := s.reading().rows(ctx, &rows, `SELECT `+userColumns+` FROM users WHERE `+condition+part, args...)
	if err != nil {
		return nil, s.failed("list_users", err)
	}
	users := make([]core.User, len(rows))
	for i, row := range rows {
		users[i] = row.user()
	}
	return users, nil
}

// CountUsers implements core.Users.
func (s *Store) CountUsers(ctx context.Context, account tenants.AccountID, query core.UserQuery) (int, error) {
	condition, args := userCondition(account, query)
	var n int
	err := s.reading().row(ctx, &n, `SELECT count(*) FROM users WHERE `+condition, args...)
	return n, s.failed("count_users", err)
}

func userCondition(account tenants.AccountID, query core.UserQuery) (condition string, args []any) {
	condition, args = `account_id = ?`, []any{string(account)}
	if len(query.Roles) > 0 {
		condition += ` AND role IN (` + placeholders(len(query.Roles), `?`) + `)`
		for _, role := range query.Roles {
			args = append(args, string(role))
		}
	}
	if query.Banned != nil {
		condition, args = condition+` AND banned = ?`, append(args, *query.Banned)
	}
	for _, name := range slices.Sorted(maps.Keys(query.Metadata)) {
		condition += ` AND EXISTS (SELECT 1 FROM ?members AS m WHERE m.name = ? AND m.value = ?)`
		args = append(args, name, query.Metadata[name])
	}
	return condition, args
}

// listed is which part of a list by id is wanted.
type listed struct {
	id          string // the column's name
	newest      bool
	after       string
	skip, limit int
}

// of gives the end of a SELECT, and its arguments after those that were there.
func (l listed) of(args []any) (end string, all []any) {
	beyond, order := ` > ?`, ``
	if l.newest {
		beyond, order = ` < ?`, ` DESC`
	}
	if l.after != "" {
		end, args = ` AND `+l.id+beyond, append(args, l.after)
	}
	return end + ` ORDER BY ` + l.id + order + ` LIMIT ? OFFSET ?`, append(args, max(l.limit, 0), max(l.skip, 0))
}

// CreateUser implements core.Users. A credential version of 0 becomes 1;
// tenants.ErrUnknown when there is no such account.
func (s *Store) CreateUser(ctx context.Context, account tenants.AccountID, user core.User, events ...core.Event) (core.User, error) {
	var row userRow
	err := s.change(ctx, "create_user", false, func(ctx context.Context, tx session) error {
		row = userRow{}
		err := tx.row(ctx, &row, `
			INSERT INTO users (`+userColumns+`)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?now, ?now)
			ON CONFLICT (account_id, address) DO NOTHING RETURNING `+userColumns,
			string(account), string(user.ID), user.Address.Reveal(), user.FirstName, user.LastName, string(user.Role),
			user.Banned, blob(user.PasswordHash), max(user.CredentialVersion, 1), object(user.Metadata))
		switch {
		case errors.Is(err, sql.ErrNoRows):
			// Not by the index's refusal: PostgreSQL would write the address into its log.
			return core.ErrAddressTaken
		case s.fault(err) == faultForeign:
			return tenants.ErrUnknown
		case err != nil:
			return err
		}
		tx.note(account, core.Audit{Name: core.AuditUserCreated, Object: core.AuditObject{Type: "users", ID: row.ID}, By: core.Self(core.UserID(row.ID))})
		return recordEvents(ctx, tx, account, events)
	})
	if err != nil {
		return core.User{}, err
	}
	return row.user(), nil
}

func recordEvents(ctx context.Context, tx session, account tenants.AccountID, events []core.Event) error {
	for _, event := range events {
		if err := insertEvent(ctx, tx, account, event); err != nil {
			return err
		}
	}
	return nil
}
