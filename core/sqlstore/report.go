package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// sentBy holds for a delivery that a provider was asked to send. What a delivery
// names itself is the provider of its next attempt.
const sentBy = `EXISTS (
	SELECT 1 FROM attempts t WHERE t.account_id = d.account_id AND t.delivery_id = d.id AND t.provider = ?)`

// sentRow is a mail or a notice that has a message id.
type sentRow struct {
	ID            string `bun:"id"`
	RequestID     string `bun:"request_id"`
	UserID        string `bun:"user_id"`
	AddressDigest []byte `bun:"address_digest"`
}

// AccountOfMessage implements core.System.
func (s *Store) AccountOfMessage(ctx context.Context, provider, messageID string) (tenants.AccountID, error) {
	var account string
	err := s.reading().row(ctx, &account, `
		SELECT d.account_id FROM deliveries d
		WHERE d.message_id = ? AND d.message_id <> '' AND d.kind IN ('mail', 'notice', 'accounts') AND `+sentBy+`
			AND NOT EXISTS (SELECT 1 FROM providers p WHERE coalesce(p.account_id, '') = coalesce(d.account_id, '') AND p.name = ?)
		ORDER BY d.account_id, d.id DESC LIMIT 1`, messageID, provider, provider)
	if errors.Is(err, sql.ErrNoRows) {
		err = core.ErrNotFound
	}
	return tenants.AccountID(account), s.failed("find_message", err)
}

// Report implements core.Reports. The look-up is no part of the transaction: a
// service reports of other people's messages too, and those cost no write.
func (s *Store) Report(ctx context.Context, account tenants.AccountID, report core.Report) (fresh bool, err error) {
	var sent sentRow
	err = s.reading().row(ctx, &sent, `
		SELECT d.id, d.request_id, d.user_id,
			(SELECT r.address_digest FROM requests r WHERE r.account_id = d.account_id AND r.id = d.request_id) AS address_digest
		FROM deliveries d
		WHERE d.account_id = ? AND d.message_id = ? AND d.message_id <> '' AND d.kind IN ('mail', 'notice', 'accounts') AND `+sentBy+`
		ORDER BY d.id DESC LIMIT 1`, string(account), report.MessageID, report.Provider)
	if errors.Is(err, sql.ErrNoRows) {
		err = core.ErrNotFound
	}
	if err != nil {
		return false, s.failed("find_message", err)
	}
	err = s.change(ctx, "report", false, func(ctx context.Context, tx session) (err error) {
		if fresh, err = insertReport(ctx, tx, account, sent.ID, report); s.fault(err) == faultForeign {
			return core.ErrNotFound // removed since it was looked up
		}
		if err != nil || !fresh {
			return err
		}
		return sent.follow(ctx, tx, account, report)
	})
	return fresh && err == nil, err
}

// insertReport records the event, unless it was recorded before.
func insertReport(ctx context.Context, tx session, account tenants.AccountID, delivery string, report core.Report) (bool, error) {
	result, err := tx.exec(ctx, `
		INSERT INTO provider_events (account_id, delivery_id, key, provider, kind, detail, happened_at, recorded_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?now) ON CONFLICT DO NOTHING`,
		string(account), delivery, report.Key, report.Provider, report.Kind, report.Detail, microsOrNull(report.At))
	return wrote(result, err)
}

// outranked are the states that a reported one takes the place of.
var outranked = map[core.DeliveryState][3]core.DeliveryState{
	core.DeliveryDelivered:  {core.DeliveryDone, core.DeliveryDone, core.DeliveryDone},
	core.DeliveryBounced:    {core.DeliveryDone, core.DeliveryDelivered, core.DeliveryDelivered},
	core.DeliveryComplained: {core.DeliveryDone, core.DeliveryDelivered, core.DeliveryBounced},
}

// follow does what follows from a report that is new.
func (r sentRow) follow(ctx context.Context, tx session, account tenants.AccountID, report core.Report) error {
	if report.Suppression.ID != "" && r.AddressDigest != nil {
		suppression := report.Suppression
		suppression.AddressDigest, suppression.User = r.AddressDigest, core.UserID(r.UserID)
		fresh, err := insertSuppression(ctx, tx, account, suppression)
		if err != nil {
			return err
		}
		if fresh {
			tx.note(account, suppressionAudit(core.AuditSuppressionCreated, suppression.ID))
		}
	}
	over, ok := outranked[report.State]
	if !ok {
		return nil
	}
	result, err := tx.exec(ctx, `
		UPDATE deliveries SET state = ? WHERE account_id = ? AND id = ? AND state IN (?, ?, ?)`,
		string(report.State), string(account), r.ID, string(over[0]), string(over[1]), string(over[2]))
	if moved, err := wrote(result, err); err != nil || !moved {
		return err
	}
	event := report.Event
	event.User, event.Request = core.UserID(r.UserID), core.RequestID(r.RequestID)
	return insertEvent(ctx, tx, account, event)
}

// wrote says whether a statement that writes one row at the most did.
func wrote(result sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	rows, err := result.RowsAffected()
	return rows > 0, err
}

// microsOrNull is stamp's other way.
func microsOrNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

type reportRow struct {
	DeliveryID string `bun:"delivery_id"`
	Provider   string `bun:"provider"`
	Kind       string `bun:"kind"`
	Detail     string `bun:"detail"`
	HappenedAt int64  `bun:"happened_at"`
	RecordedAt int64  `bun:"recorded_at"`
}

// reports gives what was reported of a request's deliveries, by delivery, in the
// order in which it was recorded.
func (s *Store) reports(ctx context.Context, account tenants.AccountID, request core.RequestID) (map[string][]core.ProviderEventRecord, error) {
	var rows []reportRow
	err := s.reading().rows(ctx, &rows, `
		SELECT e.delivery_id, e.provider, e.kind, e.detail, e.happened_at, e.recorded_at
		FROM deliveries d JOIN provider_events e ON e.account_id = d.account_id AND e.delivery_id = d.id
		WHERE d.account_id = ? AND d.request_id = ?
		ORDER BY e.recorded_at, e.happened_at, e.key`, string(account), string(request))
	of := make(map[string][]core.ProviderEventRecord)
	for _, row := range rows {
		of[row.DeliveryID] = append(of[row.DeliveryID], core.ProviderEventRecord{
			ProviderEvent: core.ProviderEvent{
				Provider: row.Provider, Kind: row.Kind, Detail: row.Detail, At: stamp(row.HappenedAt),
			},
			Recorded: stamp(row.RecordedAt),
		})
	}
	return of, err
}
