package sqlstore

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// endpointNews is what a round of outcomes says of endpoints.
type endpointNews map[rowKey]*endpointHealth

// endpointHealth is what it says of one. In which order its attempts ended nobody
// knows: one that succeeded speaks for the endpoint.
type endpointHealth struct {
	healthy  bool
	failures int
	warned   int
	disable  core.DisabledReason
	event    core.Event
}

func (n endpointNews) add(account tenants.AccountID, news *core.EndpointNews) {
	if news == nil {
		return
	}
	key := rowKey{string(account), string(news.ID)}
	health := n[key]
	if health == nil {
		health = &endpointHealth{}
		n[key] = health
	}
	if news.Healthy {
		health.healthy = true
		return
	}
	health.failures++
	health.warned = max(health.warned, news.Warned)
	if news.Disable != "" {
		health.disable, health.event = news.Disable, news.Event
	}
}

var healthShape = shapeOf("account_id text, id text, healthy bool, failures int, warned int")

// record brings the endpoints' rows up to date, always in the same order, and gives
// the events of those that were disabled by it.
func (n endpointNews) record(ctx context.Context, tx session) (events [][]any, err error) {
	keys := slices.SortedFunc(maps.Keys(n), func(a, b rowKey) int {
		return cmp.Or(cmp.Compare(a.AccountID, b.AccountID), cmp.Compare(a.ID, b.ID))
	})
	list := newList(healthShape, len(keys))
	for _, key := range keys {
		health := n[key]
		list.add(key.AccountID, key.ID, health.healthy, health.failures, health.warned)
	}
	// What did well before is not written again: most attempts do.
	err = tx.execList(ctx, list, `
		UPDATE webhook_endpoints SET
			failures = CASE WHEN s.healthy THEN 0 ELSE webhook_endpoints.failures + s.failures END,
			failing_since = CASE WHEN s.healthy THEN NULL ELSE coalesce(webhook_endpoints.failing_since, ?now) END,
			warned = CASE WHEN s.healthy THEN 0 WHEN s.warned > webhook_endpoints.warned THEN s.warned ELSE webhook_endpoints.warned END
		FROM s
		WHERE webhook_endpoints.account_id = s.account_id AND webhook_endpoints.id = s.id
			AND NOT (s.healthy AND webhook_endpoints.failures = 0) AND ?few`)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		health := n[key]
		if health.disable == "" || health.healthy {
			continue
		}
		disabled, err := wrote(tx.exec(ctx, `
			UPDATE webhook_endpoints SET disabled_at = ?now, disabled_reason = ?, updated_at = ?now
			WHERE account_id = ? AND id = ? AND disabled_at IS NULL`, string(health.disable), key.AccountID, key.ID))
		if err != nil {
			return nil, err
		}
		if disabled {
			events = append(events, eventArgs(tenants.AccountID(key.AccountID), health.event))
			tx.note(tenants.AccountID(key.AccountID), endpointAudit(core.AuditEndpointDisabled, core.EndpointID(key.ID)))
		}
	}
	return events, nil
}
