package sqlstore

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// outcome is one settlement on its way into the ledger.
type outcome struct {
	account    tenants.AccountID
	lease      core.Lease
	settlement core.Settlement
	attempt    string // the id of the attempt's row
}

func (o outcome) requeues() bool { return o.settlement.State == core.DeliveryQueued }

// givenBack is how many attempts a settlement gives back.
func (o outcome) givenBack() int {
	if o.requeues() && o.settlement.Snoozed {
		return 1
	}
	return 0
}

// Settle implements core.Ledger.
func (s *Store) Settle(ctx context.Context, account tenants.AccountID, lease core.Lease, settlement core.Settlement) error {
	w := s.writer.Load()
	if w == nil {
		return s.failed("settle", errStopped)
	}
	o := outcome{account: account, lease: lease, settlement: settlement}
	if settlement.Attempt != nil {
		o.attempt = s.config.NewID()
	}
	e := newEntry(o)
	if err := w.outcomes.put(ctx, e, w.stopped); err != nil {
		return s.failed("settle", err)
	}
	return s.failed("settle", e.wait(ctx, w.stopped))
}

// settleAll writes outcomes in rounds, so that two for one delivery meet in
// turn and the second finds its lease gone.
func (s *Store) settleAll(ctx context.Context, tx bun.Tx, entries []*entry[outcome]) error {
	for len(entries) > 0 {
		seen := make(map[core.DeliveryID]bool, len(entries))
		var round, later []*entry[outcome]
		for _, e := range entries {
			if seen[e.value.lease.Delivery] {
				later = append(later, e)
				continue
			}
			seen[e.value.lease.Delivery] = true
			round = append(round, e)
		}
		if err := settleRound(ctx, tx, round); err != nil {
			return err
		}
		entries = later
	}
	return nil
}

// settledRow is a delivery that was still under the lease.
type settledRow struct {
	AccountID string `bun:"account_id"`
	ID        string `bun:"id"`
	RequestID string `bun:"request_id"`
	Kind      string `bun:"kind"`
	Attempt   int    `bun:"attempt"`
}

func settleRound(ctx context.Context, tx bun.Tx, entries []*entry[outcome]) error {
	args := make([]any, 0, 9*len(entries))
	for _, e := range entries {
		o := e.value
		args = append(args, string(o.account), string(o.lease.Delivery), string(o.lease.ID), string(o.settlement.State),
			string(o.settlement.Reason), o.settlement.Delay.Microseconds(), o.settlement.Provider, o.settlement.MessageID, o.givenBack())
	}
	var rows []settledRow
	err := tx.NewRaw(`
		WITH s (account_id, id, lease, state, reason, delay, provider, message_id, given_back) AS (
			VALUES `+placeholders(len(entries), `(?, ?, ?, ?, ?, ?, ?, ?, ?)`)+`)
		UPDATE deliveries SET
			state = s.state,
			reason = s.reason,
			attempt = deliveries.attempt - s.given_back,
			ready = (s.state = 'queued' AND s.delay <= 0),
			run_at = CASE WHEN s.state = 'queued' THEN ?now + s.delay ELSE deliveries.run_at END,
			provider = CASE WHEN s.state = 'queued' THEN s.provider ELSE deliveries.provider END,
			message_id = CASE WHEN s.message_id <> '' THEN s.message_id ELSE deliveries.message_id END,
			ended_at = CASE WHEN s.state = 'queued' THEN NULL ELSE ?now END,
			lease = NULL,
			lease_until = NULL
		FROM s
		WHERE deliveries.account_id = s.account_id AND deliveries.id = s.id AND deliveries.lease = s.lease
		RETURNING deliveries.account_id, deliveries.id, deliveries.request_id, deliveries.kind, deliveries.attempt`,
		args...).Scan(ctx, &rows)
	if err != nil {
		return err
	}
	settled := make(map[string]settledRow, len(rows))
	for _, row := range rows {
		settled[row.AccountID+row.ID] = row
	}
	var attempts, events, ends []any
	for _, e := range entries {
		o := e.value
		row, held := settled[string(o.account)+string(o.lease.Delivery)]
		if e.err = nil; !held {
			e.err = core.ErrLeaseLost
			continue
		}
		if a := o.settlement.Attempt; a != nil {
			attempts = append(attempts, row.AccountID, o.attempt, row.ID, row.Attempt,
				a.Provider, a.Outcome, a.Detail, a.Duration.Microseconds())
		}
		if event := o.settlement.Event; event != nil && event.ID != "" {
			events = append(events, eventArgs(o.account, *event)...)
		}
		if state, reason := requestEnd(core.Kind(row.Kind), o.settlement); state != "" {
			ends = append(ends, row.AccountID, row.RequestID, string(state), string(reason))
		}
	}
	if err := insertAttempts(ctx, tx, attempts); err != nil {
		return err
	}
	if err := insertEvents(ctx, tx, events); err != nil {
		return err
	}
	return endRequests(ctx, tx, ends)
}

// requestEnd gives the state that a settlement moves its request to, none when it
// moves nothing. A resolve delivery settled here could not be resolved.
func requestEnd(kind core.Kind, settlement core.Settlement) (core.RequestState, core.Reason) {
	if kind != core.KindMail && kind != core.KindResolve {
		return "", ""
	}
	switch settlement.State {
	case core.DeliveryDone:
		if kind == core.KindMail {
			return core.StateSent, ""
		}
	case core.DeliveryFailed:
		return core.StateFailed, settlement.Reason
	case core.DeliveryExpired:
		return core.StateExpired, ""
	case core.DeliverySuperseded:
		return core.StateSuperseded, ""
	case core.DeliveryQuarantined:
		return core.StateFailed, core.ReasonQuarantined
	case core.DeliveryQueued:
	}
	return "", ""
}

func insertAttempts(ctx context.Context, tx bun.Tx, args []any) error {
	if len(args) == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, `
		INSERT INTO attempts (account_id, id, delivery_id, number, provider, outcome, detail, duration, ended_at)
		VALUES `+placeholders(len(args)/8, `(?, ?, ?, ?, ?, ?, ?, ?, ?now)`), args...)
	return err
}

// endRequests moves requests out of pending and erases their addresses; args are
// account, request, state and reason of each. What is no longer pending stays:
// a link may be redeemed before its mail is settled.
func endRequests(ctx context.Context, tx bun.Tx, args []any) error {
	if len(args) == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, `
		WITH s (account_id, id, state, reason) AS (VALUES `+placeholders(len(args)/4, `(?, ?, ?, ?)`)+`)
		UPDATE requests SET state = s.state, reason = s.reason, address_sealed = NULL
		FROM s
		WHERE requests.account_id = s.account_id AND requests.id = s.id AND requests.state = 'pending'`, args...)
	return err
}
