package sqlstore

import (
	"context"
	"database/sql"
	"errors"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

type signingKeyRow struct {
	ID     string `bun:"id"`
	Sealed []byte `bun:"sealed"`
}

// SigningKey implements core.SigningKeyStore.
func (s *Store) SigningKey(ctx context.Context, account tenants.AccountID, kind core.SigningKeyKind) (core.SealedSigningKey, error) {
	key, err := signingKey(ctx, s.reading(), account, kind)
	return key, s.failed("find_signing_key", err)
}

func signingKey(ctx context.Context, q session, account tenants.AccountID, kind core.SigningKeyKind) (core.SealedSigningKey, error) {
	var row signingKeyRow
	err := q.row(ctx, &row, `SELECT id, sealed FROM signing_keys WHERE account_id = ? AND kind = ?`, string(account), string(kind))
	if errors.Is(err, sql.ErrNoRows) {
		return core.SealedSigningKey{}, core.ErrNotFound
	}
	return core.SealedSigningKey{ID: core.SigningKeyID(row.ID), Kind: kind, Sealed: row.Sealed}, err
}

// CreateSigningKey implements core.SigningKeyStore. What another transaction stored
// meanwhile is seen by the statement that reads: each has a view of its own.
func (s *Store) CreateSigningKey(ctx context.Context, account tenants.AccountID, key core.SealedSigningKey) (core.SealedSigningKey, error) {
	var stored core.SealedSigningKey
	err := s.change(ctx, "create_signing_key", false, func(ctx context.Context, tx session) error {
		fresh, err := wrote(tx.exec(ctx, `
			INSERT INTO signing_keys (account_id, kind, id, sealed, created_at) VALUES (?, ?, ?, ?, ?now)
			ON CONFLICT (account_id, kind) DO NOTHING`,
			string(account), string(key.Kind), string(key.ID), key.Sealed))
		if s.fault(err) == faultForeign {
			return tenants.ErrUnknown
		}
		if err != nil {
			return err
		}
		if fresh {
			tx.note(account, core.Audit{Name: core.AuditKeyCreated, Object: core.AuditObject{Type: "signing-keys", ID: string(key.ID)}})
		}
		stored, err = signingKey(ctx, tx, account, key.Kind)
		return err
	})
	if err != nil {
		return core.SealedSigningKey{}, err
	}
	return stored, nil
}
