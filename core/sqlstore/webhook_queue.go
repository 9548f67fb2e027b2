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

// tellEndpoints inserts events and queues them. Where a statement can both insert and
// go on with what it inserted, that is one round trip.
func tellEndpoints(ctx context.Context, tx session, events list) error {
	return tx.each(events, func(with string, args []any) error {
		told := `, told AS (` + insertEventRows + ` RETURNING account_id, id, name, user_id, request_id)`
		if !tx.dialect.chains {
			if _, err := tx.exec(ctx, with+insertEventRows, args...); err != nil {
				return err
			}
			told = `, told AS (SELECT account_id, id, name, user_id, request_id FROM s)`
		}
		queued, err := wrote(tx.exec(ctx, with+told+queueWebhooks, append(args, webhookArgs()...)...))
		*tx.work = *tx.work || queued
		return err
	})
}
