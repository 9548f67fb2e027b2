package sqlstore

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// accountValues are the columns that UpdateAccount replaces, in the order of
// accountArgs.
const accountValues = `slug, name, protected, status, api_version, deliver_default, deliver_policy, link_life,
	link_template, password_minimum, providers, product_name, accent, support_address, from_name, from_address`

const accountColumns = `id, ` + accountValues + `, logo_hash, created_at, updated_at`

type accountRow struct {
	ID              string `bun:"id"`
	Slug            string `bun:"slug"`
	Name            string `bun:"name"`
	Protected       bool   `bun:"protected"`
	Status          string `bun:"status"`
	APIVersion      string `bun:"api_version"`
	DeliverDefault  bool   `bun:"deliver_default"`
	DeliverPolicy   string `bun:"deliver_policy"`
	LinkLife        int64  `bun:"link_life"`
	LinkTemplate    string `bun:"link_template"`
	PasswordMinimum int    `bun:"password_minimum"`
	Providers       string `bun:"providers"`
	ProductName     string `bun:"product_name"`
	Accent          string `bun:"accent"`
	SupportAddress  string `bun:"support_address"`
	FromName        string `bun:"from_name"`
	FromAddress     string `bun:"from_address"`
	LogoHash        string `bun:"logo_hash"`
	CreatedAt       int64  `bun:"created_at"`
	UpdatedAt       int64  `bun:"updated_at"`
}

func (r accountRow) account() (tenants.Account, error) {
	account := tenants.Account{
		ID:             tenants.AccountID(r.ID),
		Slug:           r.Slug,
		Name:           r.Name,
		Protected:      r.Protected,
		Status:         tenants.Status(r.Status),
		APIVersion:     r.APIVersion,
		DeliverDefault: r.DeliverDefault,
		DeliverPolicy:  tenants.DeliverPolicy(r.DeliverPolicy),
		LinkLife:       time.Duration(r.LinkLife) * time.Microsecond,
		LinkTemplate:   r.LinkTemplate,
		Password:       tenants.PasswordPolicy{Minimum: r.PasswordMinimum},
		Branding: tenants.Branding{
			ProductName:    r.ProductName,
			Accent:         r.Accent,
			SupportAddress: r.SupportAddress,
			FromName:       r.FromName,
			FromAddress:    r.FromAddress,
			LogoHash:       r.LogoHash,
		},
		Created: stamp(r.CreatedAt),
		Updated: stamp(r.UpdatedAt),
	}
	if err := json.Unmarshal([]byte(r.Providers), &account.Providers); err != nil {
		return tenants.Account{}, fmt.Errorf("providers of account %s: %w", r.ID, err)
	}
	return account, nil
}

func accountArgs(a tenants.Account) ([]any, error) {
	providers, err := json.Marshal(a.Providers)
	if err != nil {
		return nil, fmt.Errorf("providers of account %s: %w", a.ID, err)
	}
	return []any{
		a.Slug, a.Name, a.Protected, string(a.Status), a.APIVersion, a.DeliverDefault, string(a.DeliverPolicy),
		a.LinkLife.Microseconds(), a.LinkTemplate, a.Password.Minimum, string(providers),
		a.Branding.ProductName, a.Branding.Accent, a.Branding.SupportAddress, a.Branding.FromName, a.Branding.FromAddress,
	}, nil
}

// AccountByID implements tenants.Directory.
func (s *Store) AccountByID(ctx context.Context, id tenants.AccountID) (tenants.Account, error) {
	return s.accountWhere(ctx, `id = ?`, string(id))
}

// AccountBySlug implements tenants.Directory.
func (s *Store) AccountBySlug(ctx context.Context, slug string) (tenants.Account, error) {
	return s.accountWhere(ctx, `slug = ?`, slug)
}

func (s *Store) accountWhere(ctx context.Context, condition string, args ...any) (tenants.Account, error) {
	account, err := s.scanAccount(ctx, s.read.NewRaw(`SELECT `+accountColumns+` FROM accounts WHERE `+condition, args...))
	return account, s.failed("find_account", err)
}

// scanAccount reads the one row of a query.
func (s *Store) scanAccount(ctx context.Context, query *bun.RawQuery) (tenants.Account, error) {
	var row accountRow
	err := query.Scan(ctx, &row)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return tenants.Account{}, tenants.ErrUnknown
	case s.fault(err) == faultUnique:
		return tenants.Account{}, core.ErrSlugTaken
	case err != nil:
		return tenants.Account{}, err
	}
	return row.account()
}

// ListAccounts implements core.System.
func (s *Store) ListAccounts(ctx context.Context, after tenants.AccountID, limit int) ([]tenants.Account, error) {
	var rows []accountRow
	err := s.read.NewRaw(`SELECT `+accountColumns+` FROM accounts WHERE id > ? ORDER BY id LIMIT ?`,
		string(after), max(limit, 0)).Scan(ctx, &rows)
	if err != nil {
		return nil, s.failed("list_accounts", err)
	}
	accounts := make([]tenants.Account, len(rows))
	for i, row := range rows {
		if accounts[i], err = row.account(); err != nil {
			return nil, s.failed("list_accounts", err)
		}
	}
	return accounts, nil
}

// CreateAccount implements core.System. A logo is set afterwards, by SetLogo.
func (s *Store) CreateAccount(ctx context.Context, account tenants.Account) (tenants.Account, error) {
	args, err := accountArgs(account)
	if err != nil {
		return tenants.Account{}, err
	}
	query := `INSERT INTO accounts (` + accountColumns + `)
		VALUES (?, ` + placeholders(len(args), `?`) + `, '', ?now, ?now) RETURNING ` + accountColumns
	return s.changeAccount(ctx, "create_account", query, append([]any{string(account.ID)}, args...))
}

// UpdateAccount implements core.Accounts. The hash of the logo stays SetLogo's.
func (s *Store) UpdateAccount(ctx context.Context, account tenants.AccountID, changed tenants.Account) (tenants.Account, error) {
	args, err := accountArgs(changed)
	if err != nil {
		return tenants.Account{}, err
	}
	query := `UPDATE accounts SET (` + accountValues + `, updated_at) = (` + placeholders(len(args), `?`) + `, ?now)
		WHERE id = ? RETURNING ` + accountColumns
	return s.changeAccount(ctx, "update_account", query, append(args, string(account)))
}

func (s *Store) changeAccount(ctx context.Context, op, query string, args []any) (tenants.Account, error) {
	var account tenants.Account
	err := s.change(ctx, op, false, func(ctx context.Context, tx bun.Tx) (err error) {
		if account, err = s.scanAccount(ctx, tx.NewRaw(query, args...)); err != nil {
			return err
		}
		return s.tellAccounts(ctx, tx)
	})
	if err != nil {
		return tenants.Account{}, err
	}
	s.accountChanged()
	return account, nil
}

// Logo implements core.Accounts.
func (s *Store) Logo(ctx context.Context, account tenants.AccountID) ([]byte, error) {
	var row struct {
		PNG []byte `bun:"png"`
	}
	err := s.read.NewRaw(`SELECT png FROM logos WHERE account_id = ?`, string(account)).Scan(ctx, &row)
	if errors.Is(err, sql.ErrNoRows) {
		err = core.ErrNotFound
	}
	return row.PNG, s.failed("find_logo", err)
}

// SetLogo implements core.Accounts; tenants.ErrUnknown.
func (s *Store) SetLogo(ctx context.Context, account tenants.AccountID, png []byte) error {
	var hash string
	if png != nil {
		sum := sha256.Sum256(png)
		hash = hex.EncodeToString(sum[:])
	}
	err := s.change(ctx, "set_logo", false, func(ctx context.Context, tx bun.Tx) error {
		result, err := tx.ExecContext(ctx, `UPDATE accounts SET logo_hash = ?, updated_at = ?now WHERE id = ?`,
			hash, string(account))
		if err := oneRow(result, err, tenants.ErrUnknown); err != nil {
			return err
		}
		if err := s.tellAccounts(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM logos WHERE account_id = ?`, string(account)); err != nil || png == nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO logos (account_id, png) VALUES (?, ?)`, string(account), png)
		return err
	})
	if err == nil {
		s.accountChanged()
	}
	return err
}
