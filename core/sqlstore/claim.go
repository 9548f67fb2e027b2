package sqlstore

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

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
		err := s.change(ctx, "claim", false, func(ctx context.Context, tx bun.Tx) (err error) {
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

func (s *Store) claim(ctx context.Context, tx bun.Tx, ask core.ClaimAsk) (leasing, error) {
	moved, err := moveDue(ctx, tx)
	if err != nil {
		return leasing{}, err
	}
	capped := make(map[string]bool)
	for account, count := range ask.InFlight {
		if count >= ask.Free {
			capped[string(account)] = true
		}
	}
	ring, err := visit(ctx, tx, string(ask.Cursor), ringVisits+len(capped))
	if err != nil {
		return leasing{}, err
	}
	open := slices.DeleteFunc(slices.Clone(ring), func(account string) bool { return capped[account] })
	claim := leasing{Claim: core.Claim{
		Cursor: ask.Cursor,
		Full:   moved == dueRows || len(open) >= ringVisits || len(open) < len(ring),
	}}
	open = open[:min(len(open), ringVisits)]
	if len(open) > 0 {
		if err := s.lease(ctx, tx, ask, open, &claim); err != nil {
			return leasing{}, err
		}
	}
	claim.Next, err = nextDue(ctx, tx)
	return claim, err
}

// moveDue makes rows ready whose time has come, and says how many.
func moveDue(ctx context.Context, tx bun.Tx) (int64, error) {
	result, err := tx.ExecContext(ctx, moveDueQuery, dueRows)
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
func visit(ctx context.Context, tx bun.Tx, cursor string, most int) ([]string, error) {
	ring, err := visitAfter(ctx, tx, cursor, most)
	if err != nil || cursor == "" || len(ring) == most {
		return ring, err
	}
	wrapped, err := visitAfter(ctx, tx, "", most-len(ring))
	if end := slices.IndexFunc(wrapped, func(account string) bool { return account > cursor }); end >= 0 {
		wrapped = wrapped[:end]
	}
	return append(ring, wrapped...), err
}

func visitAfter(ctx context.Context, tx bun.Tx, cursor string, most int) (ring []string, err error) {
	err = tx.NewRaw(visitQuery, cursor, most).Scan(ctx, &ring)
	return ring, err
}

// visitQuery steps from account to account in the index of ready rows: as many
// probes as accounts, however many rows each has.
const visitQuery = `
	WITH RECURSIVE ring (account_id, n) AS (
		SELECT (SELECT min(d.account_id) FROM deliveries d WHERE d.ready = TRUE AND d.account_id > ?), 1
		UNION ALL
		SELECT (SELECT min(d.account_id) FROM deliveries d WHERE d.ready = TRUE AND d.account_id > ring.account_id), n + 1
		FROM ring WHERE ring.account_id IS NOT NULL AND n < ?
	)
	SELECT account_id FROM ring WHERE account_id IS NOT NULL`

// candidate is a ready row.
type candidate struct {
	AccountID string `bun:"account_id"`
	ID        string `bun:"id"`
}

// lease picks rows of the accounts, leases them, and fills the claim.
func (s *Store) lease(ctx context.Context, tx bun.Tx, ask core.ClaimAsk, accounts []string, claim *leasing) error {
	each := max(1, ask.Free/len(accounts))
	rows, skipped, err := s.pick(ctx, tx, accounts, each+1) // one more, to see whether any remain
	if err != nil {
		return err
	}
	waiting := make(map[string][]string, len(accounts))
	for _, row := range rows {
		waiting[row.AccountID] = append(waiting[row.AccountID], row.ID)
	}
	chosen, cursor := share(ask, accounts, waiting, each)
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
func share(ask core.ClaimAsk, accounts []string, waiting map[string][]string, each int) (chosen []candidate, cursor string) {
	free := ask.Free
	for round := range each {
		given := false
		for _, account := range accounts {
			if free == 0 {
				return chosen, cursor
			}
			if round == 0 {
				cursor = account
			}
			rows := waiting[account]
			if round >= len(rows) || ask.InFlight[tenants.AccountID(account)]+round >= free {
				continue
			}
			chosen = append(chosen, candidate{AccountID: account, ID: rows[round]})
			free--
			given = true
		}
		if !given {
			break
		}
	}
	return chosen, cursor
}

// pick reads the oldest ready rows of each account in one statement.
func pick(ctx context.Context, tx bun.Tx, accounts []string, each int) (rows []candidate, skipped bool, err error) {
	args := make([]any, 0, 2*len(accounts))
	for _, account := range accounts {
		args = append(args, account, each)
	}
	query := strings.TrimSuffix(strings.Repeat(pickQuery+" UNION ALL ", len(accounts)), " UNION ALL ")
	err = tx.NewRaw(query, args...).Scan(ctx, &rows)
	return rows, false, err
}

const pickQuery = `SELECT * FROM (SELECT account_id, id FROM deliveries
	WHERE ready = TRUE AND account_id = ? ORDER BY run_at, id LIMIT ?) AS account`

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
	TraceParent string `bun:"traceparent"`
	Now         int64  `bun:"clock"`
}

// leaseRows writes the leases and gives the deliveries in the order chosen.
func (s *Store) leaseRows(ctx context.Context, tx bun.Tx, chosen []candidate) ([]core.Delivery, error) {
	if len(chosen) == 0 {
		return nil, nil
	}
	args := make([]any, 0, 3*len(chosen)+1)
	for _, row := range chosen {
		args = append(args, row.AccountID, row.ID, s.config.NewID())
	}
	args = append(args, core.LeaseLife.Microseconds())
	var rows []claimedRow
	err := tx.NewRaw(`
		WITH c (account_id, id, lease) AS (VALUES `+placeholders(len(chosen), `(?, ?, ?)`)+`)
		UPDATE deliveries SET lease = c.lease, lease_until = ?now + ?, attempt = deliveries.attempt + 1, ready = FALSE
		FROM c
		WHERE deliveries.account_id = c.account_id AND deliveries.id = c.id AND deliveries.ready = TRUE
		RETURNING deliveries.account_id, deliveries.id, deliveries.request_id, deliveries.user_id, deliveries.kind,
			deliveries.provider, deliveries.attempt, deliveries.lost, deliveries.not_after, deliveries.queued_at,
			deliveries.lease, ?now AS clock,
			(SELECT r.traceparent FROM requests r
				WHERE r.account_id = deliveries.account_id AND r.id = deliveries.request_id) AS traceparent`,
		args...).Scan(ctx, &rows)
	if err != nil {
		return nil, err
	}
	leased := make(map[candidate]core.Delivery, len(rows))
	for _, row := range rows {
		leased[candidate{AccountID: row.AccountID, ID: row.ID}] = row.delivery()
	}
	deliveries := make([]core.Delivery, 0, len(rows))
	for _, row := range chosen {
		if delivery, ok := leased[row]; ok {
			deliveries = append(deliveries, delivery)
		}
	}
	return deliveries, nil
}

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
		TraceParent: r.TraceParent,
	}
}

// nextDue gives the time until the next row is due, 0 when none waits.
func nextDue(ctx context.Context, tx bun.Tx) (time.Duration, error) {
	var wait *int64
	if err := tx.NewRaw(nextDueQuery).Scan(ctx, &wait); err != nil || wait == nil {
		return 0, err
	}
	return max(time.Duration(*wait)*time.Microsecond, time.Microsecond), nil
}

const nextDueQuery = `
	SELECT min(run_at) - ?now FROM deliveries WHERE state = 'queued' AND ready = FALSE AND lease IS NULL`
