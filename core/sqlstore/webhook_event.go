package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// webhookQuery reads webhook events with the last of their attempts.
const webhookQuery = `
	SELECT d.account_id, d.id, d.event_id, d.endpoint_id, d.endpoint_url, d.api_version, d.state, d.queued_at, d.ended_at,
		e.name, e.user_id, e.request_id, e.facts, t.number, t.code, t.answer, t.ended_at AS tried_at
	FROM deliveries d
	JOIN events e ON e.account_id = d.account_id AND e.id = d.event_id
	LEFT JOIN attempts t ON t.account_id = d.account_id AND t.id = (
		SELECT l.id FROM attempts l WHERE l.account_id = d.account_id AND l.delivery_id = d.id
		ORDER BY l.number DESC, l.id DESC LIMIT 1)
	WHERE d.account_id = ? AND d.kind = 'webhook'`

type webhookRow struct {
	AccountID   string `bun:"account_id"`
	ID          string `bun:"id"`
	EventID     string `bun:"event_id"`
	EndpointID  string `bun:"endpoint_id"`
	EndpointURL string `bun:"endpoint_url"`
	APIVersion  string `bun:"api_version"`
	State       string `bun:"state"`
	QueuedAt    int64  `bun:"queued_at"`
	EndedAt     int64  `bun:"ended_at"`
	Name        string `bun:"name"`
	UserID      string `bun:"user_id"`
	RequestID   string `bun:"request_id"`
	Facts       string `bun:"facts"`
	Number      int    `bun:"number"`
	Code        string `bun:"code"`
	Answer      string `bun:"answer"`
	TriedAt     int64  `bun:"tried_at"`
}

func (r webhookRow) event() core.WebhookEvent {
	return core.WebhookEvent{
		ID:      core.DeliveryID(r.ID),
		Account: tenants.AccountID(r.AccountID),
		Event: core.Event{
			ID: core.EventID(r.EventID), Name: core.EventName(r.Name), User: core.UserID(r.UserID),
			Request: core.RequestID(r.RequestID), Facts: json.RawMessage(r.Facts),
		},
		Endpoint:   core.EndpointID(r.EndpointID),
		URL:        r.EndpointURL,
		APIVersion: r.APIVersion,
		State:      core.DeliveryState(r.State),
		Attempts:   r.Number,
		LastCode:   r.Code,
		LastAnswer: r.Answer,
		Created:    stamp(r.QueuedAt),
		Updated:    stamp(max(r.QueuedAt, r.TriedAt, r.EndedAt)),
	}
}

// WebhookEvent implements core.WebhookEvents.
func (s *Store) WebhookEvent(ctx context.Context, account tenants.AccountID, id core.DeliveryID) (core.WebhookEvent, error) {
	row, err := oneWebhook(ctx, s.reading(), account, id)
	return row.event(), s.failed("find_webhook_event", err)
}

func oneWebhook(ctx context.Context, q session, account tenants.AccountID, id core.DeliveryID) (row webhookRow, err error) {
	err = q.row(ctx, &row, webhookQuery+` AND d.id = ?`, string(account), string(id))
	if errors.Is(err, sql.ErrNoRows) {
		err = core.ErrNotFound
	}
	return row, err
}

// WebhookEvents implements core.WebhookEvents. Ids are in the order of time. A Limit
// out of range means the nearest within.
func (s *Store) WebhookEvents(ctx context.Context, account tenants.AccountID, query core.WebhookEventQuery) ([]core.WebhookEvent, error) {
	text, args := webhookQuery, []any{string(account)}
	if len(query.Names) > 0 {
		text += ` AND e.name IN (` + placeholders(len(query.Names), `?`) + `)`
		for _, name := range query.Names {
			args = append(args, string(name))
		}
	}
	part, args := listed{
		id: `d.id`, newest: query.Newest, after: string(query.After), skip: query.Skip, limit: min(max(query.Limit, 1), mostListed),
	}.of(args)
	var rows []webhookRow
	if err := s.reading().rows(ctx, &rows, text+part, args...); err != nil {
		return nil, s.failed("list_webhook_events", err)
	}
	events := make([]core.WebhookEvent, len(rows))
	for i, row := range rows {
		events[i] = row.event()
	}
	return events, nil
}

// WebhookAttempts implements core.WebhookEvents.
func (s *Store) WebhookAttempts(ctx context.Context, account tenants.AccountID, id core.DeliveryID) ([]core.AttemptRecord, error) {
	if _, err := oneWebhook(ctx, s.reading(), account, id); err != nil {
		return nil, s.failed("find_webhook_event", err)
	}
	var rows []attemptRow
	err := s.reading().rows(ctx, &rows, `
		SELECT t.delivery_id, t.number, t.provider, t.outcome, t.detail, t.code, t.answer, t.duration, t.ended_at
		FROM attempts t WHERE t.account_id = ? AND t.delivery_id = ? ORDER BY t.number, t.id`, string(account), string(id))
	if err != nil {
		return nil, s.failed("list_webhook_attempts", err)
	}
	attempts := make([]core.AttemptRecord, len(rows))
	for i, row := range rows {
		attempts[i] = row.attempt()
	}
	return attempts, nil
}

// repeatWebhook tells an endpoint of an event again, if it is there and not disabled.
// A token is worth telling while its link lives, as before.
const repeatWebhook = `
	INSERT INTO deliveries (account_id, id, request_id, user_id, kind, state, ready, run_at, not_after, queued_at,
		event_id, endpoint_id, endpoint_url, api_version)
	SELECT d.account_id, ?text, d.request_id, d.user_id, 'webhook', 'queued', TRUE, ?now,
		CASE WHEN e.name = ?text THEN d.not_after ELSE ?now + ?int END,
		?now, d.event_id, w.id, w.url, w.api_version
	FROM deliveries d
	JOIN events e ON e.account_id = d.account_id AND e.id = d.event_id
	JOIN webhook_endpoints w ON w.account_id = d.account_id AND w.id = d.endpoint_id AND w.disabled_at IS NULL
	WHERE d.account_id = ? AND d.id = ? AND d.kind = 'webhook'`

// RepeatWebhookEvent implements core.WebhookEvents.
func (s *Store) RepeatWebhookEvent(ctx context.Context, account tenants.AccountID, id core.DeliveryID) (core.WebhookEvent, error) {
	again := core.DeliveryID(s.config.NewID())
	var row webhookRow
	err := s.change(ctx, "repeat_webhook_event", true, func(ctx context.Context, tx session) error {
		if _, err := oneWebhook(ctx, tx, account, id); err != nil {
			return err
		}
		result, err := tx.exec(ctx, repeatWebhook, string(again), string(core.EventPasswordReset),
			core.WebhookLife.Microseconds(), string(account), string(id))
		if err := oneRow(result, err, core.ErrEndpointGone); err != nil {
			return err
		}
		row, err = oneWebhook(ctx, tx, account, again)
		return err
	})
	if err != nil {
		return core.WebhookEvent{}, err
	}
	return row.event(), nil
}

// DeleteWebhookEvent implements core.WebhookEvents. One that is under way ends under
// a lease that is lost.
func (s *Store) DeleteWebhookEvent(ctx context.Context, account tenants.AccountID, id core.DeliveryID) error {
	return s.change(ctx, "delete_webhook_event", false, func(ctx context.Context, tx session) error {
		// The delivery's row first: whoever settles it writes attempts only if it is there.
		var locked string
		err := tx.row(ctx, &locked, `SELECT id FROM deliveries WHERE account_id = ? AND id = ? AND kind = 'webhook' ?locking`,
			string(account), string(id))
		if errors.Is(err, sql.ErrNoRows) {
			return core.ErrNotFound
		}
		if err != nil {
			return err
		}
		for _, query := range []string{
			`DELETE FROM attempts WHERE account_id = ? AND delivery_id = ?`,
			`DELETE FROM deliveries WHERE account_id = ? AND id = ?`,
		} {
			if _, err := tx.exec(ctx, query, string(account), string(id)); err != nil {
				return err
			}
		}
		return nil
	})
}

// UsersByID implements core.WebhookEvents.
func (s *Store) UsersByID(ctx context.Context, account tenants.AccountID, ids []core.UserID) (map[core.UserID]core.User, error) {
	list := newList(idShape, len(ids))
	for _, id := range ids {
		list.add(string(id))
	}
	rows, err := rowsOfList[userRow](ctx, s.reading(), list, `
		SELECT `+userColumns+` FROM users WHERE account_id = ? AND id IN (SELECT s.id FROM s WHERE ?few)`, string(account))
	if err != nil {
		return nil, s.failed("list_users", err)
	}
	users := make(map[core.UserID]core.User, len(rows))
	for _, row := range rows {
		users[core.UserID(row.ID)] = row.user()
	}
	return users, nil
}

var idShape = shapeOf("id text")

// removeEndedEvents removes events that no request led to, with their deliveries, as
// Retain does what belongs to a request. One that is still being told stays.
func removeEndedEvents(ctx context.Context, tx session, age time.Duration, batch int) (int64, error) {
	var rows []rowKey
	if err := tx.rows(ctx, &rows, endedEventsQuery, age.Microseconds(), batch); err != nil || len(rows) == 0 {
		return 0, err
	}
	return removeOf(ctx, tx, rows, `
		DELETE FROM attempts WHERE (account_id, delivery_id) IN (
			SELECT d.account_id, d.id FROM s JOIN deliveries d ON d.account_id = s.account_id AND d.event_id = s.id AND ?few)`, `
		DELETE FROM deliveries WHERE (account_id, id) IN (
			SELECT d.account_id, d.id FROM s JOIN deliveries d ON d.account_id = s.account_id AND d.event_id = s.id AND ?few)`, `
		DELETE FROM events WHERE (account_id, id) IN (SELECT account_id, id FROM s WHERE ?few)`)
}

const endedEventsQuery = `
	SELECT e.account_id, e.id FROM events e
	WHERE e.request_id IS NULL AND e.created_at <= ?now - ? AND NOT EXISTS (
		SELECT 1 FROM deliveries d WHERE d.account_id = e.account_id AND d.event_id = e.id AND d.state = 'queued')
	ORDER BY e.created_at LIMIT ? ?skipping`
