package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

const endpointColumns = `account_id, id, url, subscriptions, algorithm, api_version, recipient, secret_sealed, former_sealed,
	former_until, failures, failing_since, warned, disabled_at, disabled_reason, created_at, updated_at`

type endpointRow struct {
	AccountID      string `bun:"account_id"`
	ID             string `bun:"id"`
	URL            string `bun:"url"`
	Subscriptions  string `bun:"subscriptions"`
	Algorithm      string `bun:"algorithm"`
	APIVersion     string `bun:"api_version"`
	Recipient      string `bun:"recipient"`
	SecretSealed   []byte `bun:"secret_sealed"`
	FormerSealed   []byte `bun:"former_sealed"`
	FormerUntil    int64  `bun:"former_until"`
	Failures       int    `bun:"failures"`
	FailingSince   int64  `bun:"failing_since"`
	Warned         int    `bun:"warned"`
	DisabledAt     int64  `bun:"disabled_at"`
	DisabledReason string `bun:"disabled_reason"`
	CreatedAt      int64  `bun:"created_at"`
	UpdatedAt      int64  `bun:"updated_at"`
}

func (r endpointRow) endpoint() (core.Endpoint, error) {
	endpoint := core.Endpoint{
		ID:             core.EndpointID(r.ID),
		Account:        tenants.AccountID(r.AccountID),
		URL:            r.URL,
		Algorithm:      core.SignatureAlgorithm(r.Algorithm),
		APIVersion:     r.APIVersion,
		Recipient:      r.Recipient,
		SealedSecret:   r.SecretSealed,
		SealedFormer:   r.FormerSealed,
		FormerUntil:    stamp(r.FormerUntil),
		Failures:       r.Failures,
		FailingSince:   stamp(r.FailingSince),
		Warned:         r.Warned,
		Disabled:       stamp(r.DisabledAt),
		DisabledReason: core.DisabledReason(r.DisabledReason),
		Created:        stamp(r.CreatedAt),
		Updated:        stamp(r.UpdatedAt),
	}
	if err := json.Unmarshal([]byte(r.Subscriptions), &endpoint.Subscriptions); err != nil {
		return core.Endpoint{}, fmt.Errorf("subscriptions of webhook endpoint %s: %w", r.ID, err)
	}
	return endpoint, nil
}

// oneEndpoint reads the one row of a statement; ErrNotFound.
func oneEndpoint(ctx context.Context, q session, text string, args ...any) (core.Endpoint, error) {
	var row endpointRow
	err := q.row(ctx, &row, text, args...)
	if errors.Is(err, sql.ErrNoRows) {
		return core.Endpoint{}, core.ErrNotFound
	}
	if err != nil {
		return core.Endpoint{}, err
	}
	return row.endpoint()
}

// Endpoint implements core.Endpoints.
func (s *Store) Endpoint(ctx context.Context, account tenants.AccountID, id core.EndpointID) (core.Endpoint, error) {
	endpoint, err := oneEndpoint(ctx, s.reading(), `SELECT `+endpointColumns+` FROM webhook_endpoints WHERE account_id = ? AND id = ?`,
		string(account), string(id))
	return endpoint, s.failed("find_endpoint", err)
}

// Endpoints implements core.Endpoints.
func (s *Store) Endpoints(ctx context.Context, account tenants.AccountID, before core.EndpointID, limit int) ([]core.Endpoint, error) {
	condition, args := `account_id = ?`, []any{string(account)}
	if before != "" {
		condition, args = condition+` AND id < ?`, append(args, string(before))
	}
	args = append(args, min(max(limit, 1), mostListed))
	var rows []endpointRow
	err := s.reading().rows(ctx, &rows, `
		SELECT `+endpointColumns+` FROM webhook_endpoints WHERE `+condition+` ORDER BY id DESC LIMIT ?`, args...)
	if err != nil {
		return nil, s.failed("list_endpoints", err)
	}
	endpoints := make([]core.Endpoint, len(rows))
	for i, row := range rows {
		if endpoints[i], err = row.endpoint(); err != nil {
			return nil, s.failed("list_endpoints", err)
		}
	}
	return endpoints, nil
}

// CreateEndpoint implements core.Endpoints. The account's row is locked, so that of
// many at once each counts those before it.
func (s *Store) CreateEndpoint(ctx context.Context, account tenants.AccountID, endpoint core.Endpoint) (core.Endpoint, error) {
	subscriptions, err := json.Marshal(endpoint.Subscriptions)
	if err != nil {
		return core.Endpoint{}, fmt.Errorf("subscriptions of webhook endpoint %s: %w", endpoint.ID, err)
	}
	return s.changeEndpoint(ctx, "create_endpoint", func(ctx context.Context, tx session) (core.Endpoint, error) {
		var there string
		err := tx.row(ctx, &there, `SELECT id FROM accounts WHERE id = ? ?locking`, string(account))
		if errors.Is(err, sql.ErrNoRows) {
			return core.Endpoint{}, tenants.ErrUnknown
		}
		if err != nil {
			return core.Endpoint{}, err
		}
		var count int
		err = tx.row(ctx, &count, `SELECT count(*) FROM webhook_endpoints WHERE account_id = ?`, string(account))
		if err == nil && count >= core.MaxEndpoints {
			err = core.ErrTooManyEndpoints
		}
		if err != nil {
			return core.Endpoint{}, err
		}
		return oneEndpoint(ctx, tx, `
			INSERT INTO webhook_endpoints (account_id, id, url, subscriptions, algorithm, api_version, recipient, secret_sealed,
				created_at, updated_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?now, ?now) RETURNING `+endpointColumns,
			string(account), string(endpoint.ID), endpoint.URL, string(subscriptions), string(endpoint.Algorithm),
			endpoint.APIVersion, endpoint.Recipient, endpoint.SealedSecret)
	})
}

// UpdateEndpoint implements core.Endpoints.
func (s *Store) UpdateEndpoint(ctx context.Context, account tenants.AccountID, endpoint core.Endpoint) (core.Endpoint, error) {
	subscriptions, err := json.Marshal(endpoint.Subscriptions)
	if err != nil {
		return core.Endpoint{}, fmt.Errorf("subscriptions of webhook endpoint %s: %w", endpoint.ID, err)
	}
	return s.changeEndpoint(ctx, "update_endpoint", func(ctx context.Context, tx session) (core.Endpoint, error) {
		return oneEndpoint(ctx, tx, `
			UPDATE webhook_endpoints SET url = ?, subscriptions = ?, algorithm = ?, api_version = ?, recipient = ?, updated_at = ?now
			WHERE account_id = ? AND id = ? RETURNING `+endpointColumns,
			endpoint.URL, string(subscriptions), string(endpoint.Algorithm), endpoint.APIVersion, endpoint.Recipient,
			string(account), string(endpoint.ID))
	})
}

// RotateSecret implements core.Endpoints.
func (s *Store) RotateSecret(ctx context.Context, account tenants.AccountID, id core.EndpointID, sealed []byte, overlap time.Duration) (core.Endpoint, error) {
	return s.changeEndpoint(ctx, "rotate_secret", func(ctx context.Context, tx session) (core.Endpoint, error) {
		return oneEndpoint(ctx, tx, `
			UPDATE webhook_endpoints SET
				former_sealed = secret_sealed, former_until = ?now + ?int, secret_sealed = ?, updated_at = ?now
			WHERE account_id = ? AND id = ? RETURNING `+endpointColumns,
			overlap.Microseconds(), sealed, string(account), string(id))
	})
}

// EnableEndpoint implements core.Endpoints.
func (s *Store) EnableEndpoint(ctx context.Context, account tenants.AccountID, id core.EndpointID) (core.Endpoint, error) {
	return s.changeEndpoint(ctx, "enable_endpoint", func(ctx context.Context, tx session) (core.Endpoint, error) {
		return oneEndpoint(ctx, tx, `
			UPDATE webhook_endpoints SET
				failures = 0, failing_since = NULL, warned = 0, disabled_at = NULL, disabled_reason = '', updated_at = ?now
			WHERE account_id = ? AND id = ? RETURNING `+endpointColumns,
			string(account), string(id))
	})
}

// endpointAudits are what operations on endpoints are recorded as.
var endpointAudits = map[string]core.AuditName{
	"create_endpoint": core.AuditEndpointCreated, "update_endpoint": core.AuditEndpointUpdated,
	"rotate_secret": core.AuditSecretRotated, "enable_endpoint": core.AuditEndpointEnabled,
}

func endpointAudit(name core.AuditName, id core.EndpointID) core.Audit {
	return core.Audit{Name: name, Object: core.AuditObject{Type: "webhook-endpoints", ID: string(id)}}
}

func (s *Store) changeEndpoint(ctx context.Context, op string, run func(ctx context.Context, tx session) (core.Endpoint, error)) (core.Endpoint, error) {
	var endpoint core.Endpoint
	err := s.change(ctx, op, false, func(ctx context.Context, tx session) (err error) {
		if endpoint, err = run(ctx, tx); err != nil {
			return err
		}
		tx.note(endpoint.Account, endpointAudit(endpointAudits[op], endpoint.ID))
		return nil
	})
	if err != nil {
		return core.Endpoint{}, err
	}
	return endpoint, nil
}

// DeleteEndpoint implements core.Endpoints. What is queued for it finds it gone.
func (s *Store) DeleteEndpoint(ctx context.Context, account tenants.AccountID, id core.EndpointID) error {
	return s.change(ctx, "delete_endpoint", false, func(ctx context.Context, tx session) error {
		result, err := tx.exec(ctx, `DELETE FROM webhook_endpoints WHERE account_id = ? AND id = ?`, string(account), string(id))
		tx.note(account, endpointAudit(core.AuditEndpointDeleted, id))
		return oneRow(result, err, core.ErrNotFound)
	})
}
