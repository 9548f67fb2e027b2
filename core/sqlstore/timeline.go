package sqlstore

import (
	"context"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// mostListed is how many requests one list holds (core.RequestQuery).
const mostListed = 100

// Requests implements core.Timelines. Ids are in the order of time, so the list
// is in the order of ids. A Limit out of range means the nearest within.
func (s *Store) Requests(ctx context.Context, account tenants.AccountID, query core.RequestQuery) ([]core.Request, error) {
	condition, args := `account_id = ?`, []any{string(account)}
	if len(query.AddressDigest) > 0 {
		condition, args = condition+` AND address_digest = ?`, append(args, query.AddressDigest)
	}
	if query.Before != "" {
		condition, args = condition+` AND id < ?`, append(args, string(query.Before))
	}
	args = append(args, min(max(query.Limit, 1), mostListed))
	var rows []requestRow
	err := s.reading().rows(ctx, &rows, `
		SELECT `+requestColumns+` FROM requests WHERE `+condition+` ORDER BY id DESC LIMIT ?`, args...)
	if err != nil {
		return nil, s.failed("list_requests", err)
	}
	requests := make([]core.Request, len(rows))
	for i, row := range rows {
		requests[i] = row.request()
	}
	return requests, nil
}

// recordRow is a delivery as a timeline shows it, which is without its lease.
type recordRow struct {
	claimedRow `bun:",extend"`

	State     string `bun:"state"`
	Reason    string `bun:"reason"`
	MessageID string `bun:"message_id"`
	RunAt     int64  `bun:"run_at"`
	EndedAt   int64  `bun:"ended_at"`
}

type attemptRow struct {
	DeliveryID string `bun:"delivery_id"`
	Number     int    `bun:"number"`
	Provider   string `bun:"provider"`
	Outcome    string `bun:"outcome"`
	Detail     string `bun:"detail"`
	Code       string `bun:"code"`
	Answer     string `bun:"answer"`
	Duration   int64  `bun:"duration"`
	EndedAt    int64  `bun:"ended_at"`
}

// Deliveries implements core.Timelines. Lease and Now are left empty: what is
// only looked at is not held.
func (s *Store) Deliveries(ctx context.Context, account tenants.AccountID, request core.RequestID) ([]core.DeliveryRecord, error) {
	var rows []recordRow
	err := s.reading().rows(ctx, &rows, `
		SELECT d.account_id, d.id, d.request_id, d.user_id, d.kind, d.provider, d.attempt, d.lost, d.not_after, d.queued_at,
			d.state, d.reason, d.message_id, d.run_at, d.ended_at, r.traceparent
		FROM deliveries d JOIN requests r ON r.account_id = d.account_id AND r.id = d.request_id
		WHERE d.account_id = ? AND d.request_id = ?
		ORDER BY d.queued_at, d.id`, string(account), string(request))
	if err != nil {
		return nil, s.failed("list_deliveries", err)
	}
	var attempts []attemptRow
	err = s.reading().rows(ctx, &attempts, `
		SELECT t.delivery_id, t.number, t.provider, t.outcome, t.detail, t.code, t.answer, t.duration, t.ended_at
		FROM deliveries d JOIN attempts t ON t.account_id = d.account_id AND t.delivery_id = d.id
		WHERE d.account_id = ? AND d.request_id = ?
		ORDER BY t.ended_at, t.id`, string(account), string(request))
	if err != nil {
		return nil, s.failed("list_deliveries", err)
	}
	reports, err := s.reports(ctx, account, request)
	if err != nil {
		return nil, s.failed("list_deliveries", err)
	}
	of := make(map[string][]core.AttemptRecord)
	for _, row := range attempts {
		of[row.DeliveryID] = append(of[row.DeliveryID], row.attempt())
	}
	records := make([]core.DeliveryRecord, len(rows))
	for i, row := range rows {
		records[i] = row.record(of[row.ID], reports[row.ID])
	}
	return records, nil
}

func (r recordRow) record(attempts []core.AttemptRecord, reports []core.ProviderEventRecord) core.DeliveryRecord {
	return core.DeliveryRecord{
		Delivery:  r.delivery(),
		State:     core.DeliveryState(r.State),
		Reason:    core.Reason(r.Reason),
		MessageID: r.MessageID,
		RunAt:     stamp(r.RunAt),
		Ended:     stamp(r.EndedAt),
		Attempts:  attempts,
		Reports:   reports,
	}
}

func (r attemptRow) attempt() core.AttemptRecord {
	return core.AttemptRecord{
		Attempt: core.Attempt{
			Provider: r.Provider, Outcome: r.Outcome, Detail: r.Detail, Code: r.Code, Answer: r.Answer,
			Duration: time.Duration(r.Duration) * time.Microsecond,
		},
		Number: r.Number,
		Ended:  stamp(r.EndedAt),
	}
}
