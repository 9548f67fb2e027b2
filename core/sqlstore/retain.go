package sqlstore

import (
	"context"
	"time"

	"github.com/passmend/passmend/core"
)

// limitsForRequest is how many rows of limits one Retain removes for each request
// that it may remove: at least as many as a request adds.
const limitsForRequest = 4

// Retain implements core.System. The age of a request is counted from when it was
// accepted, which its end follows within a day. One whose link is live, or
// for which a delivery is still queued, stays however old it is, and so does one
// that is stuck: the balance goes on showing it. Each call is one commit, which
// others wait behind: keep batch small, and call again while it gives batch.
// Replicas that call at the same time share the work.
func (s *Store) Retain(ctx context.Context, age time.Duration, batch int) (int, error) {
	if batch <= 0 {
		return 0, nil
	}
	var removed int64
	err := s.change(ctx, "retain", false, func(ctx context.Context, tx session) (err error) {
		if removed, err = removeRequests(ctx, tx, age, batch); err != nil {
			return err
		}
		events, err := removeEndedEvents(ctx, tx, age, batch)
		if err != nil {
			return err
		}
		left, err := removeAccounts(ctx, tx, batch)
		if err != nil {
			return err
		}
		calls, err := removeCalls(ctx, tx, batch)
		if err != nil {
			return err
		}
		tries, err := removeTries(ctx, tx, batch)
		if err != nil {
			return err
		}
		if max(events, left, calls, tries) >= int64(batch) {
			removed = int64(batch)
		}
		_, err = tx.exec(ctx, renewedQuery, limitsForRequest*batch)
		return err
	})
	if err != nil {
		return 0, err
	}
	return int(removed), nil
}

// removeRequests removes what belongs to a request before the request.
func removeRequests(ctx context.Context, tx session, age time.Duration, batch int) (int64, error) {
	var rows []rowKey
	if err := tx.rows(ctx, &rows, retainQuery, age.Microseconds(), string(core.StatePending), batch); err != nil || len(rows) == 0 {
		return 0, err
	}
	return removeOf(ctx, tx, rows, removeAttempts, removeReports, removeDeliveries, removeEvents, removeRequestRows)
}

// removeOf runs queries about the rows, as s, and says how many these were.
func removeOf(ctx context.Context, tx session, rows []rowKey, queries ...string) (int64, error) {
	list := newList(keyShape, len(rows))
	for _, row := range rows {
		list.add(row.AccountID, row.ID)
	}
	for _, query := range queries {
		if err := tx.execList(ctx, list, query); err != nil {
			return 0, err
		}
	}
	return int64(len(rows)), nil
}

const (
	retainQuery = `
	SELECT r.account_id, r.id FROM requests r
	WHERE r.accepted_at <= ?now - ? AND r.state <> ? AND (r.expires_at IS NULL OR r.expires_at <= ?now)
		AND NOT EXISTS (
			SELECT 1 FROM deliveries d
			WHERE d.account_id = r.account_id AND d.request_id = r.id AND d.state = 'queued')
	ORDER BY r.accepted_at LIMIT ? ?skipping`

	removeAttempts = `
	DELETE FROM attempts WHERE (account_id, delivery_id) IN (
		SELECT d.account_id, d.id FROM s JOIN deliveries d ON d.account_id = s.account_id AND d.request_id = s.id AND ?few)`
	removeReports = `
	DELETE FROM provider_events WHERE (account_id, delivery_id) IN (
		SELECT d.account_id, d.id FROM s JOIN deliveries d ON d.account_id = s.account_id AND d.request_id = s.id AND ?few)`
	removeDeliveries  = ` DELETE FROM deliveries WHERE (account_id, request_id) IN (SELECT account_id, id FROM s WHERE ?few)`
	removeEvents      = ` DELETE FROM events WHERE (account_id, request_id) IN (SELECT account_id, id FROM s WHERE ?few)`
	removeRequestRows = ` DELETE FROM requests WHERE (account_id, id) IN (SELECT account_id, id FROM s WHERE ?few)`

	// renewedQuery asks twice, so that no plan for it removes a row that has been
	// spent from since it was looked up.
	renewedQuery = `
	DELETE FROM limits WHERE tat <= ?now AND (key, rate) IN (
		SELECT key, rate FROM limits WHERE tat <= ?now ORDER BY tat LIMIT ? ?skipping)`
)
