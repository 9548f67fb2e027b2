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

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// accountValues are the columns that UpdateAccount replaces, in the order of
// accountArgs.
const accountValues = `slug, name, protected, status, api_version, deliver_default, deliver_policy, link_life,
	link_template, password_minimum, providers, product_name, accent, support_address, from_name, from_address, metadata`

const accountColumns = `id, ` + accountValues + `, logo_hash, created_at, updated_at, (
	SELECT d.host FROM domains d WHERE d.account_id = accounts.id AND d.verified = TRUE
	ORDER BY d.created_at, d.host LIMIT 1) AS host`

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
	Metadata        string `bun:"metadata"`
	LogoHash        string `bun:"logo_hash"`
	CreatedAt       int64  `bun:"created_at"`
	UpdatedAt       int64  `bun:"updated_at"`
	Host            string `bun:"host"`
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
		Host:    r.Host,
		Created: stamp(r.CreatedAt),
		Updated: stamp(r.UpdatedAt),
	}
	if r.Metadata != "{}" {
		account.Metadata = json.RawMessage(r.Metadata)
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
	metadata := "{}"
	if len(a.Metadata) > 0 {
		metadata = string(a.Metadata)
	}
	return []any{
		a.Slug, a.Name, a.Protected, string(a.Status), a.APIVersion, a.DeliverDefault, string(a.DeliverPolicy),
		a.LinkLife.Microseconds(), a.LinkTemplate, a.Password.Minimum, string(providers),
		a.Branding.ProductName, a.Branding.Accent, a.Branding.SupportAddress, a.Branding.FromName, a.Branding.FromAddress, metadata,
	}, nil
}

// AccountByID implements tenants.Directory.
func (s *Store) AccountByID(ctx context.Context, id tenants.AccountID) (tenants.Account, error) {
	return s.oneOf(ctx, s.found.accountByID, string(id))
}

// AccountBySlug implements tenants.Directory.
func (s *Store) AccountBySlug(ctx context.Context, slug string) (tenants.Account, error) {
	return s.oneOf(ctx, s.found.accountBySlug, slug)
}

func (s *Store) oneOf(ctx context.Context, accounts *lookups[string, tenants.Account], key string) (tenants.Account, error) {
	account, found, err := accounts.one(ctx, key)
	if err == nil && !found {
		err = tenants.ErrUnknown
	}
	return account, s.failed("find_account", err)
}

func (s *Store) accountsByID(ctx context.Context, ids []string) (map[string]tenants.Account, error) {
	return s.accountsBy(ctx, `id`, ids, func(a tenants.Account) string { return string(a.ID) })
}

func (s *Store) accountsBySlug(ctx context.Context, slugs []string) (map[string]tenants.Account, error) {
	return s.accountsBy(ctx, `slug`, slugs, func(a tenants.Account) string { return a.Slug })
}

func (s *Store) accountsBy(ctx context.Context, column string, keys []string, key func(tenants.Account) string) (map[string]tenants.Account, error) {
	list := newList(idShape, len(keys))
	for _, key := range keys {
		list.add(key)
	}
	rows, err := rowsOfList[accountRow](ctx, s.reading(), list, `
		SELECT `+accountColumns+` FROM accounts
		WHERE deleted_at IS NULL AND id <> ? AND `+column+` IN (SELECT s.id FROM s WHERE ?few)`, string(tenants.RecoverID))
	accounts := make(map[string]tenants.Account, len(rows))
	for _, row := range rows {
		account, broken := row.account()
		accounts[key(account)], err = account, errors.Join(err, broken)
	}
	return accounts, err
}

// AccountByHost implements tenants.Directory.
func (s *Store) AccountByHost(ctx context.Context, host string) (tenants.Account, error) {
	account, err := s.oneAccount(ctx, s.reading(), `
		SELECT `+accountColumns+` FROM accounts
		WHERE deleted_at IS NULL AND id <> ? AND id = (SELECT account_id FROM domains WHERE host = ? AND verified = TRUE)`,
		string(tenants.RecoverID), host)
	return account, s.failed("find_account", err)
}

// oneAccount reads the one row of a query.
func (s *Store) oneAccount(ctx context.Context, q session, query string, args ...any) (tenants.Account, error) {
	var row accountRow
	err := q.row(ctx, &row, query, args...)
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

// ListAccounts implements core.System: the service's own are no tenants.
func (s *Store) ListAccounts(ctx context.Context, after tenants.AccountID, limit int) ([]tenants.Account, error) {
	var rows []accountRow
	err := s.reading().rows(ctx, &rows, `SELECT `+accountColumns+` FROM accounts
		WHERE id > ? AND NOT id BETWEEN ? AND ? AND deleted_at IS NULL ORDER BY id LIMIT ?`,
		string(after), string(tenants.FirstOwn), string(tenants.LastOwn), max(limit, 0))
	if err != nil {
		return nil, s.failed("list_accounts", err)
	}
	accounts, err := listedAccounts(rows)
	return accounts, s.failed("list_accounts", err)
}

// AdministeredAccounts implements core.System.
func (s *Store) AdministeredAccounts(ctx context.Context, address core.Address, limit int) ([]tenants.Account, error) {
	var rows []accountRow
	err := s.reading().rows(ctx, &rows, `SELECT `+accountColumns+` FROM accounts
		WHERE id IN (SELECT u.account_id FROM users u WHERE u.address = ? AND u.role <> 'user') AND deleted_at IS NULL
		ORDER BY name, id LIMIT ?`, address.Reveal(), max(limit, 0))
	if err != nil {
		return nil, s.failed("administered_accounts", err)
	}
	accounts, err := listedAccounts(rows)
	return accounts, s.failed("administered_accounts", err)
}

func listedAccounts(rows []accountRow) (accounts []tenants.Account, err error) {
	accounts = make([]tenants.Account, len(rows))
	for i, row := range rows {
		if accounts[i], err = row.account(); err != nil {
			return nil, err
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
	query := `INSERT INTO accounts (id, ` + accountValues + `, logo_hash, created_at, updated_at)
		VALUES (?, ` + placeholders(len(args), `?`) + `, '', ?now, ?now) RETURNING ` + accountColumns
	return s.changeAccount(ctx, "create_account", func(ctx context.Context, tx session) (tenants.Account, error) {
		created, err := s.oneAccount(ctx, tx, query, append([]any{string(account.ID)}, args...)...)
		if err != nil {
			return tenants.Account{}, err
		}
		tx.note(created.ID, core.Audit{Name: core.AuditAccountCreated, Object: core.AuditObject{Type: "accounts", ID: string(created.ID)}})
		return created, nil
	})
}

// UpdateAccount implements core.Accounts. The hash of the logo stays SetLogo's.
func (s *Store) UpdateAccount(ctx context.Context, account tenants.AccountID, changed tenants.Account) (tenants.Account, error) {
	args, err := accountArgs(changed)
	if err != nil {
		return tenants.Account{}, err
	}
	var read int64 // when the row that was changed had been written; 0: whenever
	if !changed.Updated.IsZero() {
		read = changed.Updated.UnixMicro()
	}
	// Two changes in one tick of the clock must not look like one.
	const later = `CASE WHEN ?now > updated_at THEN ?now ELSE updated_at + 1 END`
	query := `UPDATE accounts SET (` + accountValues + `, updated_at) = (` + placeholders(len(args), `?`) + `, ` + later + `)
		WHERE id = ? AND deleted_at IS NULL AND (?int = 0 OR updated_at = ?int) RETURNING ` + accountColumns
	updated, err := s.changeAccount(ctx, "update_account", func(ctx context.Context, tx session) (tenants.Account, error) {
		before, err := s.oneAccount(ctx, tx, `SELECT `+accountColumns+` FROM accounts WHERE id = ? AND deleted_at IS NULL ?locking`, string(account))
		if err != nil {
			return tenants.Account{}, err
		}
		after, err := s.oneAccount(ctx, tx, query, append(args, string(account), read, read)...)
		if err != nil {
			return tenants.Account{}, err
		}
		for _, audit := range core.AccountAudit(before, after) {
			tx.note(account, audit)
		}
		return after, nil
	})
	if errors.Is(err, tenants.ErrUnknown) && read != 0 {
		if _, there := s.AccountByID(ctx, account); there == nil {
			err = core.ErrOutdated
		}
	}
	return updated, err
}

func (s *Store) changeAccount(ctx context.Context, op string, run func(ctx context.Context, tx session) (tenants.Account, error)) (tenants.Account, error) {
	var account tenants.Account
	err := s.change(ctx, op, false, func(ctx context.Context, tx session) (err error) {
		if account, err = run(ctx, tx); err != nil {
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
	err := s.reading().row(ctx, &row, `SELECT png FROM logos WHERE account_id = ?`, string(account))
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
	err := s.change(ctx, "set_logo", false, func(ctx context.Context, tx session) error {
		result, err := tx.exec(ctx, `UPDATE accounts SET logo_hash = ?, updated_at = ?now WHERE id = ? AND deleted_at IS NULL`,
			hash, string(account))
		if err := oneRow(result, err, tenants.ErrUnknown); err != nil {
			return err
		}
		tx.note(account, core.Audit{Name: core.AuditAccountUpdated, Object: core.AuditObject{Type: "accounts", ID: string(account)}, Fields: []string{"branding.logo"}})
		if err := s.tellAccounts(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.exec(ctx, `DELETE FROM logos WHERE account_id = ?`, string(account)); err != nil || png == nil {
			return err
		}
		_, err = tx.exec(ctx, `INSERT INTO logos (account_id, png) VALUES (?, ?)`, string(account), png)
		return err
	})
	if err == nil {
		s.accountChanged()
	}
	return err
}
