package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// seedKept is how long a seed outlives its link, so that an expired link can say
// so (core.LinkSeed).
const seedKept = 24 * time.Hour

const requestColumns = `account_id, id, state, reason, address_sealed, address_digest, deliver, traceparent,
	user_id, link_request_id, selector, seed, key_id, credential_version, accepted_at, expires_at, spent_at, disputed_at`

type requestRow struct {
	AccountID         string `bun:"account_id"`
	ID                string `bun:"id"`
	State             string `bun:"state"`
	Reason            string `bun:"reason"`
	AddressSealed     []byte `bun:"address_sealed"`
	AddressDigest     []byte `bun:"address_digest"`
	Deliver           bool   `bun:"deliver"`
	TraceParent       string `bun:"traceparent"`
	UserID            string `bun:"user_id"`
	LinkRequestID     string `bun:"link_request_id"`
	Selector          []byte `bun:"selector"`
	Seed              []byte `bun:"seed"`
	KeyID             int64  `bun:"key_id"`
	CredentialVersion int64  `bun:"credential_version"`
	AcceptedAt        int64  `bun:"accepted_at"`
	ExpiresAt         int64  `bun:"expires_at"`
	SpentAt           int64  `bun:"spent_at"`
	DisputedAt        int64  `bun:"disputed_at"`
	Expired           bool   `bun:"expired"`
}

func (r requestRow) request() core.Request {
	return core.Request{
		ID:            core.RequestID(r.ID),
		Account:       tenants.AccountID(r.AccountID),
		State:         core.RequestState(r.State),
		Reason:        core.Reason(r.Reason),
		SealedAddress: r.AddressSealed,
		AddressDigest: r.AddressDigest,
		Deliver:       r.Deliver,
		TraceParent:   r.TraceParent,
		User:          core.UserID(r.UserID),
		LinkRequest:   core.RequestID(r.LinkRequestID),
		Link:          linkSeed(r.Selector, r.Seed, r.KeyID, r.CredentialVersion),
		Accepted:      stamp(r.AcceptedAt),
		Expires:       stamp(r.ExpiresAt),
		Spent:         stamp(r.SpentAt),
		Disputed:      stamp(r.DisputedAt),
	}
}

// Request implements core.Ledger; ErrNotFound.
func (s *Store) Request(ctx context.Context, account tenants.AccountID, id core.RequestID) (core.Request, error) {
	row, err := s.requestWhere(ctx, `account_id = ? AND id = ?`, string(account), string(id))
	return row.request(), s.failed("find_request", err)
}

// RequestBySelector implements core.Ledger; ErrNotFound.
func (s *Store) RequestBySelector(ctx context.Context, account tenants.AccountID, selector core.Selector) (core.Request, bool, error) {
	row, err := s.requestWhere(ctx, `account_id = ? AND selector = ? AND seed IS NOT NULL AND expires_at + ? > ?now`,
		string(account), selector[:], seedKept.Microseconds())
	return row.request(), row.Expired, s.failed("find_link", err)
}

func (s *Store) requestWhere(ctx context.Context, condition string, args ...any) (requestRow, error) {
	var row requestRow
	err := s.reading().row(ctx, &row, `
		SELECT `+requestColumns+`, coalesce(expires_at <= ?now, FALSE) AS expired
		FROM requests WHERE `+condition, args...)
	if errors.Is(err, sql.ErrNoRows) {
		return requestRow{}, core.ErrNotFound
	}
	return row, err
}
