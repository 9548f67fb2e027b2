package sqlstore

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

const (
	// ringVisits is how many accounts a claim visits (core.ClaimAsk).
	ringVisits = 100
	// dueRows is how many rows a claim moves from later to ready.
	dueRows = 500
)

// Claim implements core.System. Full with no deliveries means that what is ready
// belongs to accounts that hold their share already: claim again when a slot has
// become free.
func (s *Store) Claim(ctx context.Context, ask core.ClaimAsk) (core.Claim, error) {
	if ask.Free <= 0 {
		return core.Claim{Cursor: ask.Cursor}, nil
	}
	ask.InFlight = maps.Clone(ask.InFlight) // the caller may leave before the turn comes
	for try := 1; ; try++ {
		var claim leasing
		err := s.change(ctx, "claim", false, func(ctx context.Context, tx session) (err error) {
			claim, err = s.claim(ctx, tx, ask)
			return err
		})
		if err != nil {
			return core.Claim{}, err
		}
		if !claim.skipped || len(claim.Deliveries) > 0 || try == skippedTries {
			return claim.Claim, nil
		}
		select {
		case <-ctx.Done():
			return core.Claim{}, s.failed("claim", ctx.Err())
		case <-time.After(skippedPause):
		}
	}
}

const (
	// skippedTries and skippedPause: another replica that has rows in hand has leased
	// them, or left them, in a moment.
	skippedTries = 5
	skippedPause = 3 * time.Millisecond
)

// leasing is a claim under way. skipped: there were rows that another replica had
// in hand.
type leasing struct {
	core.Claim
	skipped bool
}

func (s *Store) claim(ctx context.Context, tx session, ask core.ClaimAsk) (leasing, error) {
	next, moved, holds, err := due(ctx, tx)
	if err != nil {
		return leasing{}, err
	}
	gate, err := s.passHolds(ctx, tx, holds)
	if err != nil {
		return leasing{}, err
	}
	if gate.wait > 0 && (next == 0 || gate.wait < next) {
		next = gate.wait
	}
	if gate.most == 0 {
		return leasing{Claim: core.Claim{Cursor: ask.Cursor, Next: next}}, nil
	}
	capped := make(map[string]bool)
	for account, count := range ask.InFlight {
		if count >= ask.Free {
			capped[string(account)] = true
		}
	}
	ring, err := visit(ctx, tx, string(ask.Cursor), ringVisits+len(capped)+len(gate.each))
	if err != nil {
		return leasing{}, err
	}
	ring = slices.DeleteFunc(ring, gate.shut)
	open := slices.DeleteFunc(slices.Clone(ring), func(account string) bool { return capped[account] })
	claim := leasing{Claim: core.Claim{
		Cursor: ask.Cursor,
		Next:   next,
		Full:   moved == dueRows || len(open) >= ringVisits || len(open) < len(ring),
	}}
	open = open[:min(len(open), ringVisits)]
	if len(open) > 0 {
		if err := s.lease(ctx, tx, ask, open, gate, &claim); err != nil {
			return leasing{}, err
		}
	}
	return claim, gate.passed(ctx, tx, claim.Deliveries)
}

// due makes rows ready whose time has come, says how many, and when the next is
// due, 0 when none waits. It also says how many holds there are.
func due(ctx context.Context, tx session) (next time.Duration, moved int64, holds int, err error) {
	next, holds, err = nextDue(ctx, tx)
	if err != nil || next >= 0 {
		return next, 0, holds, err
	}
	if moved, err = moveDue(ctx, tx); err != nil || moved == 0 {
		return 0, moved, holds, err
	}
	next, _, err = nextDue(ctx, tx)
	return max(next, 0), moved, holds, err
}

// moveDue makes rows ready whose time has come, and says how many.
func moveDue(ctx context.Context, tx session) (int64, error) {
	result, err := tx.exec(ctx, moveDueQuery, dueRows)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

const moveDueQuery = `
	UPDATE deliveries SET ready = TRUE WHERE (account_id, id) IN (
		SELECT account_id, id FROM deliveries
		WHERE state = 'queued' AND ready = FALSE AND lease IS NULL AND run_at <= ?now
		ORDER BY run_at LIMIT ? ?skipping)`

// visit gives at most so many accounts with ready rows, in the order of the
// ring: those after the cursor, then those up to it.
func visit(ctx context.Context, tx session, cursor string, most int) (ring []string, err error) {
	err = tx.rows(ctx, &ring, visitQuery, cursor, most, most, cursor, most, cursor, most)
	return ring, err
}

// visitQuery steps from account to account in the index of ready rows: as many
// probes as accounts, however many rows each has.
const visitQuery = `
	WITH RECURSIVE beyond (account_id, n) AS (
		SELECT (SELECT min(d.account_id) FROM deliveries d WHERE d.ready = TRUE AND d.account_id > ?), 1
		UNION ALL
		SELECT (SELECT min(d.account_id) FROM deliveries d WHERE d.ready = TRUE AND d.account_id > beyond.account_id), n + 1
		FROM beyond WHERE beyond.account_id IS NOT NULL AND n < ?
	), upto (account_id, n) AS (
		SELECT (SELECT min(d.account_id) FROM deliveries d WHERE d.ready = TRUE), 1
		WHERE (SELECT count(account_id) FROM beyond) < ?
		UNION ALL
		SELECT (SELECT min(d.account_id) FROM deliveries d WHERE d.ready = TRUE AND d.account_id > upto.account_id), n + 1
		FROM upto WHERE upto.account_id < ? AND n < ?
	)
	SELECT account_id FROM (
		SELECT 1 AS half, account_id FROM beyond WHERE account_id IS NOT NULL
		UNION ALL
		SELECT 2 AS half, account_id FROM upto WHERE account_id <= ?text
	) AS ring ORDER BY half, account_id LIMIT ?`

// lease picks rows of the accounts, leases them, and fills the claim.
func (s *Store) lease(ctx context.Context, tx session, ask core.ClaimAsk, accounts []string, gate gate, claim *leasing) error {
	each := max(1, ask.Free/len(accounts))
	rows, skipped, err := s.pick(ctx, tx, accounts, each+1) // one more, to see whether any remain
	if err != nil {
		return err
	}
	waiting := make(map[string][]string, len(accounts))
	for _, row := range rows {
		waiting[row.AccountID] = append(waiting[row.AccountID], row.ID)
	}
	chosen, cursor := share(ask, accounts, waiting, each, gate)
	claim.Cursor = tenants.AccountID(cursor)
	claim.Full = claim.Full || len(rows) > len(chosen) || skipped
	claim.skipped = skipped
	claim.Deliveries, err = s.leaseRows(ctx, tx, chosen)
	return err
}

// share hands out the free slots in rounds, one row an account and round, at most
// each rows an account. An account takes a slot only while what it has in flight
// is less than what is free: one that wants everything gets half, two a third
// each, and some slots are always free. The cursor is the last account that had
// its turn.
func share(ask core.ClaimAsk, accounts []string, waiting map[string][]string, each int, gate gate) (chosen []rowKey, cursor string) {
	free := ask.Free
	for round := range each {
		given := false
		for _, account := range accounts {
			if free == 0 || len(chosen) == gate.most {
				return chosen, cursor
			}
			if round == 0 {
				cursor = account
			}
			rows := waiting[account]
			if round >= len(rows) || round >= gate.of(account) || ask.InFlight[tenants.AccountID(account)]+round >= free {
				continue
			}
			chosen = append(chosen, rowKey{AccountID: account, ID: rows[round]})
			free--
			given = true
		}
		if !given {
			break
		}
	}
	return chosen, cursor
}

// pick reads the oldest ready rows of each account.
func pick(ctx context.Context, tx session, accounts []string, most int) (rows []rowKey, skipped bool, err error) {
	list, err := json.Marshal(accounts)
	if err != nil {
		return nil, false, err
	}
	err = tx.rows(ctx, &rows, pickQuery, string(list), most)
	return rows, false, err
}

// pickQuery: SQLite knows no list as a value, but the text of one.
const pickQuery = `
	SELECT d.account_id, d.id FROM json_each(?) a CROSS JOIN deliveries d
	WHERE d.rowid IN (
		SELECT p.rowid FROM deliveries p WHERE p.ready = TRUE AND p.account_id = a.value ORDER BY p.run_at, p.id LIMIT ?)
	ORDER BY a.key, d.run_at, d.id`

type claimedRow struct {
	AccountID   string `bun:"account_id"`
	ID          string `bun:"id"`
	RequestID   string `bun:"request_id"`
	UserID      string `bun:"user_id"`
	Kind        string `bun:"kind"`
	Provider    string `bun:"provider"`
	Attempt     int    `bun:"attempt"`
	Lost        int    `bun:"lost"`
	NotAfter    int64  `bun:"not_after"`
	QueuedAt    int64  `bun:"queued_at"`
	Lease       string `bun:"lease"`
	EventID     string `bun:"event_id"`
	EndpointID  string `bun:"endpoint_id"`
	TraceParent string `bun:"traceparent"` // only where it is asked for
	Now         int64  `bun:"clock"`
}

var leaseShape = shapeOf("account_id text, id text, lease text")

// leaseRows writes the leases and gives the deliveries in the order chosen.
func (s *Store) leaseRows(ctx context.Context, tx session, chosen []rowKey) ([]core.Delivery, error) {
	if len(chosen) == 0 {
		return nil, nil
	}
	list := newList(leaseShape, len(chosen))
	for _, row := range chosen {
		list.add(row.AccountID, row.ID, s.config.NewID())
	}
	rows, err := rowsOfList[claimedRow](ctx, tx, list, leaseQuery, core.LeaseLife.Microseconds())
	if err != nil {
		return nil, err
	}
	requests, err := askedFor(ctx, tx, rows)
	if err != nil {
		return nil, err
	}
	leased := make(map[rowKey]core.Delivery, len(rows))
	for _, row := range rows {
		leased[rowKey{row.AccountID, row.ID}] = requests[rowKey{row.AccountID, row.RequestID}].of(row.delivery())
	}
	deliveries := make([]core.Delivery, 0, len(rows))
	for _, row := range chosen {
		if delivery, ok := leased[row]; ok {
			deliveries = append(deliveries, delivery)
		}
	}
	return deliveries, nil
}

// askedRow is what a worker begins with that is the request's.
type askedRow struct {
	AccountID     string `bun:"account_id"`
	ID            string `bun:"id"`
	TraceParent   string `bun:"traceparent"`
	AddressSealed []byte `bun:"address_sealed"`
	AddressDigest []byte `bun:"address_digest"`
	Deliver       bool   `bun:"deliver"`
}

// askedFor reads the requests that rows are of. It is a statement of its own: joined to
// the one that picks, it would read those of three times as many rows as are leased.
func askedFor(ctx context.Context, tx session, rows []claimedRow) (map[rowKey]askedRow, error) {
	list := newList(keyShape, len(rows))
	for _, row := range rows {
		if row.RequestID != "" {
			list.add(row.AccountID, row.RequestID)
		}
	}
	asked, err := rowsOfList[askedRow](ctx, tx, list, `
		SELECT r.account_id, r.id, r.traceparent, r.address_sealed, r.address_digest, r.deliver
		FROM s JOIN requests r ON r.account_id = s.account_id AND r.id = s.id AND ?few`)
	requests := make(map[rowKey]askedRow, len(asked))
	for _, row := range asked {
		requests[rowKey{row.AccountID, row.ID}] = row
	}
	return requests, err
}

// of gives a delivery what its request has.
func (r askedRow) of(delivery core.Delivery) core.Delivery {
	delivery.TraceParent = r.TraceParent
	if delivery.Kind == core.KindResolve {
		delivery.Asked = &core.Asked{SealedAddress: r.AddressSealed, AddressDigest: r.AddressDigest, Deliver: r.Deliver}
	}
	return delivery
}

// leaseQuery does not say ready = TRUE, or a plan that was made while nothing was
// ready would look for each row among all that its account has ready.
const leaseQuery = `
	UPDATE deliveries SET lease = s.lease, lease_until = ?now + ?int, attempt = deliveries.attempt + 1, ready = FALSE
	FROM s
	WHERE deliveries.account_id = s.account_id AND deliveries.id = s.id AND deliveries.ready IS NOT FALSE AND ?few
	RETURNING deliveries.account_id, deliveries.id, deliveries.request_id, deliveries.user_id, deliveries.kind,
		deliveries.provider, deliveries.attempt, deliveries.lost, deliveries.not_after, deliveries.queued_at,
		deliveries.lease, deliveries.event_id, deliveries.endpoint_id, ?now AS clock`

func (r claimedRow) delivery() core.Delivery {
	return core.Delivery{
		ID:          core.DeliveryID(r.ID),
		Account:     tenants.AccountID(r.AccountID),
		Request:     core.RequestID(r.RequestID),
		User:        core.UserID(r.UserID),
		Kind:        core.Kind(r.Kind),
		Provider:    r.Provider,
		Attempt:     r.Attempt,
		Lost:        r.Lost,
		NotAfter:    stamp(r.NotAfter),
		Queued:      stamp(r.QueuedAt),
		Now:         stamp(r.Now),
		Lease:       core.LeaseID(r.Lease),
		Event:       core.EventID(r.EventID),
		Endpoint:    core.EndpointID(r.EndpointID),
		TraceParent: r.TraceParent,
	}
}

// nextDue gives the time until the next row is due, 0 when none waits, less when it
// is overdue, and how many holds there are.
func nextDue(ctx context.Context, tx session) (wait time.Duration, holds int, err error) {
	var row struct {
		Wait  *int64 `bun:"wait"`
		Holds int    `bun:"holds"`
	}
	if err := tx.row(ctx, &row, nextDueQuery); err != nil || row.Wait == nil {
		return 0, row.Holds, err
	}
	if *row.Wait <= 0 {
		return -time.Microsecond, row.Holds, nil
	}
	return time.Duration(*row.Wait) * time.Microsecond, row.Holds, nil
}

const nextDueQuery = `
	SELECT min(run_at) - ?now AS wait, (SELECT count(*) FROM holds) AS holds FROM deliveries WHERE state = 'queued' AND ready = FALSE AND lease IS NULL`
