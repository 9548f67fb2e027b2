package sqlstore

import (
	"context"
	"time"

	"github.com/passmend/passmend/core"
)

// mostLost is the number of lapsed leases that quarantines a delivery.
const mostLost = 3

// erasedAtOnce bounds how many seeds one Reap erases.
const erasedAtOnce = 500

// Extend implements core.System.
func (s *Store) Extend(ctx context.Context, leases []core.Lease) ([]core.Lease, error) {
	if len(leases) == 0 {
		return nil, nil
	}
	// A row that is passed over is being settled or reaped. Whether it was still held
	// when that began is all that can be said of it now.
	var held []string
	err := s.change(ctx, "extend_leases", false, func(ctx context.Context, tx session) error {
		list := listOf(leases)
		err := tx.execList(ctx, list, `
			UPDATE deliveries SET lease_until = ?now + ? WHERE (account_id, id) IN (`+leasedRows+` ?skipping)`,
			core.LeaseLife.Microseconds())
		if err != nil {
			return err
		}
		held, err = rowsOfList[string](ctx, tx, list, ` SELECT d.lease FROM s JOIN deliveries d ON d.lease = s.lease AND d.id = s.id AND ?few`)
		return err
	})
	if err != nil {
		return nil, err
	}
	holds := make(map[core.LeaseID]bool, len(held))
	for _, lease := range held {
		holds[core.LeaseID(lease)] = true
	}
	var lost []core.Lease
	for _, lease := range leases {
		if !holds[lease.ID] {
			lost = append(lost, lease)
		}
	}
	return lost, nil
}

// Release implements core.System. A lease that is lost is passed over.
func (s *Store) Release(ctx context.Context, leases []core.Lease) error {
	if len(leases) == 0 {
		return nil
	}
	return s.change(ctx, "release_leases", true, func(ctx context.Context, tx session) error {
		return tx.execList(ctx, listOf(leases), `
			UPDATE deliveries SET attempt = attempt - 1, lease = NULL, lease_until = NULL, ready = TRUE, run_at = ?now
			WHERE (account_id, id) IN (`+leasedRows+` ?skipping)`)
	})
}

// listOf names leases to a statement. They name no account because a worker
// holds those of many; their ids are unique by themselves.
func listOf(leases []core.Lease) list {
	l := newList(heldShape, len(leases))
	for _, lease := range leases {
		l.add(string(lease.ID), string(lease.Delivery))
	}
	return l
}

var heldShape = shapeOf("lease text, id text")

// leasedRows are those that listOf names and that are still held.
const leasedRows = `SELECT d.account_id, d.id FROM s JOIN deliveries d ON d.lease = s.lease AND d.id = s.id AND ?few`

// Reap implements core.System. It also erases the seeds of links that expired a
// day ago. While the database's clock has just been set forward nothing lapses.
func (s *Store) Reap(ctx context.Context) (int, error) {
	var rows []reapedRow
	err := s.change(ctx, "reap_leases", false, func(ctx context.Context, tx session) error {
		rows = nil
		var clock int64
		if err := tx.row(ctx, &clock, `SELECT ?now`); err != nil || !s.clock.settled(stamp(clock), time.Now()) {
			return err
		}
		err := tx.rows(ctx, &rows, reapQuery, mostLost, mostLost, mostLost)
		if err != nil {
			return err
		}
		if err := failQuarantined(ctx, tx, rows); err != nil {
			return err
		}
		if err := freeOrphans(ctx, tx); err != nil {
			return err
		}
		_, err = tx.exec(ctx, eraseQuery, seedKept.Microseconds(), erasedAtOnce)
		return err
	})
	if err != nil {
		return 0, err
	}
	if len(rows) > 0 {
		s.tellLapsed(rows)
		s.wake(ctx)
	}
	return len(rows), nil
}

func (s *Store) tellLapsed(rows []reapedRow) {
	leases, quarantined := make(map[string]int), make(map[string]int)
	for _, row := range rows {
		leases[row.Kind]++
		if row.Lost >= mostLost {
			quarantined[row.Kind]++
		}
	}
	for kind, n := range leases {
		s.config.Observer.Lapsed(kind, n, quarantined[kind])
	}
}

type reapedRow struct {
	AccountID string `bun:"account_id"`
	RequestID string `bun:"request_id"`
	Kind      string `bun:"kind"`
	Lost      int    `bun:"lost"`
}

const reapQuery = `
	UPDATE deliveries SET
		lost = lost + 1,
		state = CASE WHEN lost + 1 >= ? THEN 'quarantined' ELSE state END,
		ended_at = CASE WHEN lost + 1 >= ? THEN ?now ELSE NULL END,
		ready = (lost + 1 < ?),
		run_at = ?now, lease = NULL, lease_until = NULL
	WHERE (account_id, id) IN (
		SELECT account_id, id FROM deliveries WHERE lease IS NOT NULL AND lease_until <= ?now ?skipping)
	RETURNING account_id, request_id, kind, lost`

const eraseQuery = `
	UPDATE requests SET selector = NULL, seed = NULL WHERE (account_id, id) IN (
		SELECT account_id, id FROM requests
		WHERE seed IS NOT NULL AND expires_at <= ?now - ? ORDER BY expires_at LIMIT ? ?skipping)`

// failQuarantined ends the requests of deliveries that lost their last lease: the
// resolving or the mail of a request is gone, a notice has none to end.
func failQuarantined(ctx context.Context, tx session, rows []reapedRow) error {
	var ends []ending
	for _, row := range rows {
		state, reason := requestEnd(core.Kind(row.Kind), core.Settlement{State: core.DeliveryQuarantined})
		if row.Lost >= mostLost && state != "" {
			ends = append(ends, ending{row.AccountID, row.RequestID, state, reason})
		}
	}
	return endRequests(ctx, tx, ends)
}
