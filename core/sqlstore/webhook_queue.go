package sqlstore

import (
	"context"

	"github.com/passmend/passmend/core"
)

// queueWebhooks ends a statement that has told: the events of a transaction, as
// account_id, id, name, user_id and request_id. It queues each for every endpoint of
// its account that wants it. An account without endpoints costs one look into the
// index of endpoints. Its values are webhookArgs.
const queueWebhooks = `
	INSERT INTO deliveries (account_id, id, request_id, user_id, kind, state, ready, run_at, not_after, queued_at,
		event_id, endpoint_id, endpoint_url, api_version)
	SELECT t.account_id, ?fresh, t.request_id, t.user_id, 'webhook', 'queued', TRUE, ?now,
		CASE WHEN t.name = ?text
			THEN coalesce((SELECT r.expires_at FROM requests r WHERE r.account_id = t.account_id AND r.id = t.request_id), ?now)
			ELSE ?now + ?int END,
		?now, t.id, w.id, w.url, w.api_version
	FROM told t JOIN webhook_endpoints w ON w.account_id = t.account_id
	WHERE w.disabled_at IS NULL AND (w.subscriptions LIKE '%"*"%' OR w.subscriptions LIKE '%"' || t.name || '"%')`

// webhookArgs: an event with a token is worth telling while its link lives.
func webhookArgs() []any {
	return []any{string(core.EventPasswordReset), core.WebhookLife.Microseconds()}
}

// tellEndpoints queues the events that a statement inserts. Where a statement can
// both insert and go on with what it inserted, that is one round trip.
func tellEndpoints(ctx context.Context, tx session, insert string, events [][]any, args []any) error {
	if tx.dialect.chains {
		args = append(args, webhookArgs()...)
		return tx.queue(ctx, `WITH told AS (`+insert+` RETURNING account_id, id, name, user_id, request_id)`+queueWebhooks, args)
	}
	if _, err := tx.exec(ctx, insert, args...); err != nil {
		return err
	}
	names := make([]any, 0, 2*len(events)+2)
	for _, event := range events {
		names = append(names, event[0], event[1])
	}
	return tx.queue(ctx, `
		WITH s (account_id, id) AS (VALUES `+placeholders(len(events), `(?text, ?text)`)+`),
		told AS (SELECT e.account_id, e.id, e.name, e.user_id, e.request_id
			FROM s JOIN events e ON e.account_id = s.account_id AND e.id = s.id)`+queueWebhooks,
		append(names, webhookArgs()...))
}

// queue runs a statement that inserts deliveries, and notes whether there were any.
func (q session) queue(ctx context.Context, text string, args []any) error {
	queued, err := wrote(q.exec(ctx, text, args...))
	*q.work = *q.work || queued
	return err
}
