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

// ofOwner holds for an account's providers, and for the platform's when the
// account is empty.
const ofOwner = `coalesce(account_id, '') = ?`

const providerColumns = `id, account_id, name, plugin, settings, secrets_sealed`

type providerRow struct {
	ID            string `bun:"id"`
	AccountID     string `bun:"account_id"`
	Name          string `bun:"name"`
	Plugin        string `bun:"plugin"`
	Settings      string `bun:"settings"`
	SecretsSealed []byte `bun:"secrets_sealed"`
}

func (r providerRow) provider() core.Provider {
	return core.Provider{
		ID:            core.ProviderID(r.ID),
		Account:       tenants.AccountID(r.AccountID),
		Name:          r.Name,
		Plugin:        r.Plugin,
		Settings:      json.RawMessage(r.Settings),
		SealedSecrets: r.SecretsSealed,
	}
}

// Provider implements core.Providers.
func (s *Store) Provider(ctx context.Context, account tenants.AccountID, name string) (core.Provider, error) {
	var row providerRow
	err := s.read.NewRaw(`SELECT `+providerColumns+` FROM providers WHERE `+ofOwner+` AND name = ?`,
		string(account), name).Scan(ctx, &row)
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
	err := s.read.NewRaw(`SELECT `+providerColumns+` FROM providers WHERE `+ofOwner+` ORDER BY name`,
		string(account)).Scan(ctx, &rows)
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
	return s.change(ctx, "create_provider", false, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO providers (`+providerColumns+`) VALUES (?, ?, ?, ?, ?, ?)`,
			string(provider.ID), null(account), provider.Name, provider.Plugin,
			object(provider.Settings), blob(provider.SealedSecrets))
		switch s.fault(err) {
		case faultUnique:
			return core.ErrNameTaken
		case faultForeign:
			return tenants.ErrUnknown
		}
		return err
	})
}

// DeleteProvider implements core.Providers.
func (s *Store) DeleteProvider(ctx context.Context, account tenants.AccountID, name string) error {
	return s.change(ctx, "delete_provider", false, func(ctx context.Context, tx bun.Tx) error {
		result, err := tx.ExecContext(ctx, `DELETE FROM providers WHERE `+ofOwner+` AND name = ?`, string(account), name)
		return oneRow(result, err, core.ErrNotFound)
	})
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
