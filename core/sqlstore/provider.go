package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// ofOwner holds for an account's providers, and for the platform's when the
// account is empty.
const ofOwner = `coalesce(account_id, '') = ?`

const providerColumns = `id, account_id, name, plugin, settings, secrets_sealed`

const providerHeld = `, EXISTS (SELECT 1 FROM holds h WHERE h.provider_id = providers.id AND h.released_at IS NULL) AS held`

type providerRow struct {
	ID            string `bun:"id"`
	AccountID     string `bun:"account_id"`
	Name          string `bun:"name"`
	Plugin        string `bun:"plugin"`
	Settings      string `bun:"settings"`
	SecretsSealed []byte `bun:"secrets_sealed"`
	Held          bool   `bun:"held"`
}

func (r providerRow) provider() core.Provider {
	return core.Provider{
		ID:            core.ProviderID(r.ID),
		Account:       tenants.AccountID(r.AccountID),
		Name:          r.Name,
		Plugin:        r.Plugin,
		Settings:      json.RawMessage(r.Settings),
		SealedSecrets: r.SecretsSealed,
		Held:          r.Held,
	}
}

// Provider implements core.Providers.
func (s *Store) Provider(ctx context.Context, account tenants.AccountID, name string) (core.Provider, error) {
	var row providerRow
	err := s.reading().row(ctx, &row, `SELECT `+providerColumns+providerHeld+` FROM providers WHERE `+ofOwner+` AND name = ?`,
		string(account), name)
	if errors.Is(err, sql.ErrNoRows) {
		err = core.ErrNotFound
	}
	if err != nil {
		return core.Provider{}, s.failed("find_provider", err)
	}
	return row.provider(), nil
}

// Providers implements core.Providers.
func (s *Store) Providers(ctx context.Context, account tenants.AccountID) ([]core.Provider, error) {
	var rows []providerRow
	err := s.reading().rows(ctx, &rows, `SELECT `+providerColumns+providerHeld+` FROM providers WHERE `+ofOwner+` ORDER BY name`,
		string(account))
	if err != nil {
		return nil, s.failed("list_providers", err)
	}
	providers := make([]core.Provider, len(rows))
	for i, row := range rows {
		providers[i] = row.provider()
	}
	return providers, nil
}

// CreateProvider implements core.Providers; tenants.ErrUnknown when there is no
// such account.
func (s *Store) CreateProvider(ctx context.Context, account tenants.AccountID, provider core.Provider) error {
	return s.changeProvider(ctx, "create_provider", func(ctx context.Context, tx session) error {
		_, err := tx.exec(ctx, `INSERT INTO providers (`+providerColumns+`) VALUES (?, ?, ?, ?, ?, ?)`,
			string(provider.ID), null(account), provider.Name, provider.Plugin,
			object(provider.Settings), blob(provider.SealedSecrets))
		switch s.fault(err) {
		case faultUnique:
			return core.ErrNameTaken
		case faultForeign:
			return tenants.ErrUnknown
		}
		tx.note(account, core.Audit{Name: core.AuditProviderCreated, Object: core.AuditObject{Type: "providers", ID: provider.Name}})
		return err
	})
}

// DeleteProvider implements core.Providers.
func (s *Store) DeleteProvider(ctx context.Context, account tenants.AccountID, name string) error {
	return s.changeProvider(ctx, "delete_provider", func(ctx context.Context, tx session) error {
		result, err := tx.exec(ctx, `DELETE FROM providers WHERE `+ofOwner+` AND name = ?`, string(account), name)
		tx.note(account, core.Audit{Name: core.AuditProviderDeleted, Object: core.AuditObject{Type: "providers", ID: name}})
		return oneRow(result, err, core.ErrNotFound)
	})
}

// changeProvider tells whoever keeps providers in a cache, as a change of an account
// does.
func (s *Store) changeProvider(ctx context.Context, op string, run func(ctx context.Context, tx session) error) error {
	err := s.change(ctx, op, false, func(ctx context.Context, tx session) error {
		if err := run(ctx, tx); err != nil {
			return err
		}
		return s.tellAccounts(ctx, tx)
	})
	if err == nil {
		s.accountChanged()
	}
	return err
}

// oneRow gives missing when a statement found no row.
func oneRow(result sql.Result, err, missing error) error {
	if err != nil {
		return err
	}
	if rows, err := result.RowsAffected(); err != nil || rows > 0 {
		return err
	}
	return missing
}
