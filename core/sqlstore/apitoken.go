package sqlstore

import (
	"context"
	"database/sql"
	"errors"

	"github.com/uptrace/bun"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

type tokenRow struct {
	ID        string `bun:"id"`
	AccountID string `bun:"account_id"`
	UserID    string `bun:"user_id"`
	Role      string `bun:"role"`
	Digest    []byte `bun:"digest"`
	Name      string `bun:"name"`
	ExpiresAt int64  `bun:"expires_at"`
	Expired   bool   `bun:"expired"`
	CreatedAt int64  `bun:"created_at"`
	UpdatedAt int64  `bun:"updated_at"`
}

func (r tokenRow) token() core.APIToken {
	return core.APIToken{
		ID:      core.TokenID(r.ID),
		Account: tenants.AccountID(r.AccountID),
		User:    core.UserID(r.UserID),
		Role:    core.Role(r.Role),
		Digest:  r.Digest,
		Name:    r.Name,
		Expires: stamp(r.ExpiresAt),
		Expired: r.Expired,
		Created: stamp(r.CreatedAt),
		Updated: stamp(r.UpdatedAt),
	}
}

// APIToken implements core.System.
func (s *Store) APIToken(ctx context.Context, digest []byte) (core.APIToken, error) {
	row, err := tokenByDigest(ctx, s.read, digest)
	if err != nil {
		return core.APIToken{}, s.failed("find_token", err)
	}
	return row.token(), nil
}

func tokenByDigest(ctx context.Context, db bun.IDB, digest []byte) (row tokenRow, err error) {
	err = db.NewRaw(`
		SELECT t.id, t.account_id, t.user_id, u.role, t.digest, t.name, t.expires_at,
			coalesce(t.expires_at <= ?now, FALSE) AS expired, t.created_at, t.updated_at
		FROM api_tokens t LEFT JOIN users u ON u.account_id = t.account_id AND u.id = t.user_id
		WHERE t.digest = ?`, blob(digest)).Scan(ctx, &row)
	if errors.Is(err, sql.ErrNoRows) {
		err = core.ErrNotFound
	}
	return row, err
}

// CreateAPIToken implements core.APITokens; ErrNotFound when the account has no
// such user. The answer has the user's role.
func (s *Store) CreateAPIToken(ctx context.Context, account tenants.AccountID, token core.APIToken) (core.APIToken, error) {
	expires := bun.SafeQuery("NULL")
	switch {
	case !token.Expires.IsZero():
		expires = bun.SafeQuery("?", token.Expires.UnixMicro())
	case token.Life > 0:
		expires = bun.SafeQuery("?now + ?", token.Life.Microseconds())
	}
	var row tokenRow
	err := s.change(ctx, "create_token", false, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO api_tokens (id, account_id, user_id, digest, name, expires_at, created_at, updated_at)
			VALUES (?, ?, ?, ?, ?, ?, ?now, ?now)`,
			string(token.ID), null(account), null(token.User), blob(token.Digest), token.Name, expires)
		if s.fault(err) == faultForeign {
			return core.ErrNotFound
		}
		if err != nil {
			return err
		}
		row, err = tokenByDigest(ctx, tx, token.Digest)
		return err
	})
	if err != nil {
		return core.APIToken{}, err
	}
	return row.token(), nil
}
