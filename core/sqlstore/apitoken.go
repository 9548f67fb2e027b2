package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"time"

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

// tokenQuery reads tokens, each with its user's present role.
const tokenQuery = `
	SELECT t.id, t.account_id, t.user_id, u.role, t.digest, t.name, t.expires_at,
		coalesce(t.expires_at <= ?now, FALSE) AS expired, t.created_at, t.updated_at
	FROM api_tokens t LEFT JOIN users u ON u.account_id = t.account_id AND u.id = t.user_id
	WHERE `

// APIToken implements core.System.
func (s *Store) APIToken(ctx context.Context, digest []byte) (core.APIToken, error) {
	token, err := tokenWhere(ctx, s.reading(), `t.digest = ?`, blob(digest))
	return token, s.failed("find_token", err)
}

// APITokenByID implements core.APITokens.
func (s *Store) APITokenByID(ctx context.Context, account tenants.AccountID, id core.TokenID) (core.APIToken, error) {
	condition, args := tokenOf(account, id)
	token, err := tokenWhere(ctx, s.reading(), condition, args...)
	return token, s.failed("find_token", err)
}

// tokensOf is the condition of an account's tokens, or of the operators'.
func tokensOf(account tenants.AccountID) (condition string, args []any) {
	if account == "" {
		return `t.account_id IS NULL`, nil
	}
	return `t.account_id = ?`, []any{string(account)}
}

// tokenOf is the condition of one of them.
func tokenOf(account tenants.AccountID, id core.TokenID) (condition string, args []any) {
	condition, args = tokensOf(account)
	return condition + ` AND t.id = ?`, append(args, string(id))
}

func tokenWhere(ctx context.Context, q session, condition string, args ...any) (core.APIToken, error) {
	var row tokenRow
	err := q.row(ctx, &row, tokenQuery+condition, args...)
	if errors.Is(err, sql.ErrNoRows) {
		return core.APIToken{}, core.ErrNotFound
	}
	if err != nil {
		return core.APIToken{}, err
	}
	return row.token(), nil
}

// APITokens implements core.APITokens.
func (s *Store) APITokens(ctx context.Context, account tenants.AccountID, query core.TokenQuery) ([]core.APIToken, error) {
	condition, args := tokenCondition(account, query)
	part, args := listed{id: `t.id`, newest: query.Newest, after: string(query.After), skip: query.Skip, limit: query.Limit}.of(args)
	var rows []tokenRow
	if err := s.reading().rows(ctx, &rows, tokenQuery+condition+part, args...); err != nil {
		return nil, s.failed("list_tokens", err)
	}
	tokens := make([]core.APIToken, len(rows))
	for i, row := range rows {
		tokens[i] = row.token()
	}
	return tokens, nil
}

// CountAPITokens implements core.APITokens.
func (s *Store) CountAPITokens(ctx context.Context, account tenants.AccountID, query core.TokenQuery) (int, error) {
	condition, args := tokenCondition(account, query)
	var n int
	err := s.reading().row(ctx, &n, `SELECT count(*) FROM api_tokens t WHERE `+condition, args...)
	return n, s.failed("count_tokens", err)
}

func tokenCondition(account tenants.AccountID, query core.TokenQuery) (condition string, args []any) {
	condition, args = tokensOf(account)
	if query.User != "" {
		condition, args = condition+` AND t.user_id = ?`, append(args, string(query.User))
	}
	return condition, args
}

// CreateAPIToken implements core.APITokens; ErrNotFound when the account has no
// such user. The answer has the user's role.
func (s *Store) CreateAPIToken(ctx context.Context, account tenants.AccountID, token core.APIToken, events ...core.TokenEvent) (core.APIToken, error) {
	var expires, life any
	switch {
	case !token.Expires.IsZero():
		expires = token.Expires.UnixMicro()
	case token.Life > 0:
		life = token.Life.Microseconds()
	}
	var created core.APIToken
	err := s.change(ctx, "create_token", false, func(ctx context.Context, tx session) error {
		_, err := tx.exec(ctx, `
			INSERT INTO api_tokens (id, account_id, user_id, digest, name, expires_at, created_at, updated_at)
			VALUES (?, ?, ?, ?, ?, coalesce(?int, ?now + ?int), ?now, ?now)`,
			string(token.ID), null(account), null(token.User), blob(token.Digest), token.Name, expires, life)
		if s.fault(err) == faultForeign {
			return core.ErrNotFound
		}
		if err != nil {
			return err
		}
		if created, err = tokenWhere(ctx, tx, `t.digest = ?`, blob(token.Digest)); err != nil {
			return err
		}
		tx.note(account, tokenAudit(core.AuditTokenCreated, created))
		return recordTokenEvents(ctx, tx, account, created, events...)
	})
	if err != nil {
		return core.APIToken{}, err
	}
	return created, nil
}

// tokenAudit: who signs in with a password acts for themselves.
func tokenAudit(name core.AuditName, token core.APIToken) core.Audit {
	audit := core.Audit{Name: name, Object: core.AuditObject{Type: "tokens", ID: string(token.ID)}}
	if !token.Operator() {
		audit.By = core.Self(token.User)
	}
	return audit
}

func recordTokenEvents(ctx context.Context, tx session, account tenants.AccountID, token core.APIToken, events ...core.TokenEvent) error {
	for _, event := range events {
		told, err := event(token)
		if err != nil {
			return err
		}
		if err := insertEvent(ctx, tx, account, told); err != nil {
			return err
		}
	}
	return nil
}

// RegenerateAPIToken implements core.APITokens.
func (s *Store) RegenerateAPIToken(ctx context.Context, account tenants.AccountID, id core.TokenID, digest []byte, life time.Duration, event core.TokenEvent) (core.APIToken, error) {
	var renewed core.APIToken
	err := s.change(ctx, "regenerate_token", false, func(ctx context.Context, tx session) error {
		result, err := tx.exec(ctx, `
			UPDATE api_tokens SET digest = ?, updated_at = ?now,
				expires_at = CASE WHEN expires_at IS NULL THEN NULL ELSE ?now + ?int END
			WHERE account_id = ? AND id = ?`,
			blob(digest), life.Microseconds(), string(account), string(id))
		if err := oneRow(result, err, core.ErrNotFound); err != nil {
			return err
		}
		if renewed, err = tokenWhere(ctx, tx, `t.account_id = ? AND t.id = ?`, string(account), string(id)); err != nil {
			return err
		}
		tx.note(account, tokenAudit(core.AuditTokenRegenerated, renewed))
		return recordTokenEvents(ctx, tx, account, renewed, event)
	})
	if err != nil {
		return core.APIToken{}, err
	}
	return renewed, nil
}

// DeleteAPIToken implements core.APITokens.
func (s *Store) DeleteAPIToken(ctx context.Context, account tenants.AccountID, id core.TokenID, event core.TokenEvent) error {
	return s.change(ctx, "delete_token", false, func(ctx context.Context, tx session) error {
		condition, args := tokenOf(account, id)
		was, err := tokenWhere(ctx, tx, condition, args...)
		if err != nil {
			return err
		}
		result, err := tx.exec(ctx, `DELETE FROM api_tokens WHERE id = ? AND coalesce(account_id, '') = ?`, string(was.ID), string(account))
		if err := oneRow(result, err, core.ErrNotFound); err != nil {
			return err
		}
		tx.note(account, tokenAudit(core.AuditTokenRevoked, was))
		if event == nil {
			return nil
		}
		return recordTokenEvents(ctx, tx, account, was, event)
	})
}
