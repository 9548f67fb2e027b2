package sqlstore

import (
	"context"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

var _ core.Domains = (*Store)(nil)

type domainRow struct {
	Host      string `bun:"host"`
	AccountID string `bun:"account_id"`
	Verified  bool   `bun:"verified"`
	CreatedAt int64  `bun:"created_at"`
}

func (r domainRow) domain() tenants.Domain {
	return tenants.Domain{
		Account: tenants.AccountID(r.AccountID), Host: r.Host, Verified: r.Verified, Created: stamp(r.CreatedAt),
	}
}

// SetDomain implements core.Domains.
func (s *Store) SetDomain(ctx context.Context, account tenants.AccountID, domain tenants.Domain) error {
	err := s.change(ctx, "set_domain", false, func(ctx context.Context, tx session) error {
		if _, err := s.oneAccount(ctx, tx, `SELECT `+accountColumns+` FROM accounts WHERE id = ? AND deleted_at IS NULL`, string(account)); err != nil {
			return err
		}
		result, err := tx.exec(ctx, `
			INSERT INTO domains (host, account_id, verified, created_at) VALUES (?, ?, ?, ?now)
			ON CONFLICT (host) DO UPDATE SET verified = excluded.verified WHERE domains.account_id = excluded.account_id`,
			domain.Host, string(account), domain.Verified)
		if err := oneRow(result, err, core.ErrHostTaken); err != nil {
			return err
		}
		tx.note(account, core.Audit{Name: core.AuditDomainSet, Object: core.AuditObject{Type: "domains", ID: domain.Host}, Fields: []string{"verified"}})
		return s.tellAccounts(ctx, tx)
	})
	if err == nil {
		s.accountChanged()
	}
	return err
}

// RemoveDomain implements core.Domains.
func (s *Store) RemoveDomain(ctx context.Context, account tenants.AccountID, host string) error {
	err := s.change(ctx, "remove_domain", false, func(ctx context.Context, tx session) error {
		result, err := tx.exec(ctx, `DELETE FROM domains WHERE host = ? AND account_id = ?`, host, string(account))
		if err := oneRow(result, err, core.ErrNotFound); err != nil {
			return err
		}
		tx.note(account, core.Audit{Name: core.AuditDomainRemoved, Object: core.AuditObject{Type: "domains", ID: host}})
		return s.tellAccounts(ctx, tx)
	})
	if err == nil {
		s.accountChanged()
	}
	return err
}

// Domains implements core.Domains.
func (s *Store) Domains(ctx context.Context, account tenants.AccountID) ([]tenants.Domain, error) {
	var rows []domainRow
	err := s.reading().rows(ctx, &rows, `
		SELECT host, account_id, verified, created_at FROM domains WHERE account_id = ? ORDER BY created_at, host`, string(account))
	if err != nil {
		return nil, s.failed("list_domains", err)
	}
	domains := make([]tenants.Domain, len(rows))
	for i, row := range rows {
		domains[i] = row.domain()
	}
	return domains, nil
}
