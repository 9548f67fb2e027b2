package sqlstore

import (
	"context"

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
	e := newEntry(o, s.config.Observer.Trace(ctx))
	if err := w.outcomes.put(ctx, e, w.stopped); err != nil {
		return s.failed("settle", err)
	}
	return s.failed("settle", e.wait(ctx, w.stopped))
}

// settleAll writes outcomes in rounds, so that two for one delivery meet in
// turn and the second finds its lease gone.
func (s *Store) settleAll(ctx context.Context, tx session, entries []*entry[outcome]) error {
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

func settleRound(ctx context.Context, tx session, entries []*entry[outcome]) error {
	rows, err := settleRows(ctx, tx, entries)
	if err != nil {
		return err
	}
	settled := make(map[rowKey]settledRow, len(rows))
	for _, row := range rows {
		settled[rowKey{row.AccountID, row.ID}] = row
	}
	return recordOutcomes(ctx, tx, entries, settled)
}

var outcomeShape = shapeOf("account_id text, id text, lease text, state text, reason text, delay int, provider text, message_id text, given_back int, parked text")

// settleRows gives the deliveries that were still under their lease.
func settleRows(ctx context.Context, tx session, entries []*entry[outcome]) ([]settledRow, error) {
	outcomes := newList(outcomeShape, len(entries))
	for _, e := range entries {
		o := e.value
		outcomes.add(string(o.account), string(o.lease.Delivery), string(o.lease.ID), string(o.settlement.State),
			string(o.settlement.Reason), o.settlement.Delay.Microseconds(), o.settlement.Provider, o.settlement.MessageID, o.givenBack(), string(o.settlement.Parked))
	}
	return rowsOfList[settledRow](ctx, tx, outcomes, `
		UPDATE deliveries SET
			state = s.state,
			reason = s.reason,
			attempt = deliveries.attempt - s.given_back,
			ready = (s.state = 'queued' AND s.delay <= 0 AND s.parked = ''),
			held_by = nullif(s.parked, ''),
			run_at = CASE WHEN s.parked <> '' THEN `+parkedUntil+` WHEN s.state = 'queued' THEN ?now + s.delay ELSE deliveries.run_at END,
			provider = CASE WHEN s.state = 'queued' THEN s.provider ELSE deliveries.provider END,
			message_id = CASE WHEN s.message_id <> '' THEN s.message_id ELSE deliveries.message_id END,
			ended_at = CASE WHEN s.state = 'queued' THEN NULL ELSE ?now END,
			lease = NULL,
			lease_until = NULL
		FROM s
		WHERE deliveries.account_id = s.account_id AND deliveries.id = s.id AND deliveries.lease = s.lease AND ?few
		RETURNING deliveries.account_id, deliveries.id, deliveries.request_id, deliveries.kind, deliveries.attempt`)
}

// recordOutcomes writes the attempts and events of what was settled, and moves the
// requests along.
func recordOutcomes(ctx context.Context, tx session, entries []*entry[outcome], settled map[rowKey]settledRow) error {
	attempts := newList(attemptShape, len(entries))
	var events [][]any
	var ends []ending
	news := make(endpointNews)
	for _, e := range entries {
		o := e.value
		row, held := settled[rowKey{string(o.account), string(o.lease.Delivery)}]
		if e.err = nil; !held {
			e.err = core.ErrLeaseLost
			continue
		}
		if a := o.settlement.Attempt; a != nil {
			attempts.add(row.AccountID, o.attempt, row.ID, row.Attempt, a.Provider, a.Outcome, a.Detail, a.Code, a.Answer, a.Duration.Microseconds())
		}
		if event := o.settlement.Event; event != nil && event.ID != "" {
			events = append(events, eventArgs(o.account, *event))
		}
		news.add(o.account, o.settlement.Endpoint)
		if state, reason := requestEnd(core.Kind(row.Kind), o.settlement); state != "" {
			ends = append(ends, ending{row.AccountID, row.RequestID, state, reason})
		}
	}
	if err := tx.execList(ctx, attempts, insertAttempts); err != nil {
		return err
	}
	told, err := news.record(ctx, tx)
	if err != nil {
		return err
	}
	if err := insertEvents(ctx, tx, append(events, told...)); err != nil {
		return err
	}
	return endRequests(ctx, tx, ends)
}

// requestEnd gives the state that a settlement moves its request to, none when it
// moves nothing. A resolve delivery settled here could not be resolved.
func requestEnd(kind core.Kind, settlement core.Settlement) (core.RequestState, core.Reason) {
	if !kind.EndsRequest() && kind != core.KindResolve {
		return "", ""
	}
	switch settlement.State {
	case core.DeliveryDone:
		if kind.EndsRequest() {
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

const attemptColumns = "account_id, id, delivery_id, number, provider, outcome, detail, code, answer, duration"

var attemptShape = shapeOf("account_id text, id text, delivery_id text, number int, provider text, outcome text, detail text, code text, answer text, duration int")

const insertAttempts = `INSERT INTO attempts (` + attemptColumns + `, ended_at) SELECT ` + attemptColumns + `, ?now FROM s`

// ending is where a request ends.
type ending struct {
	account, request string
	state            core.RequestState
	reason           core.Reason
}

// endRequests moves requests out of pending and erases their addresses. What is no
// longer pending stays: a link may be redeemed before its mail is settled.
func endRequests(ctx context.Context, tx session, ends []ending) error {
	list := newList(endingShape, len(ends))
	for _, end := range ends {
		list.add(end.account, end.request, string(end.state), string(end.reason))
	}
	return tx.execList(ctx, list, `
		UPDATE requests SET state = s.state, reason = s.reason, address_sealed = NULL
		FROM s
		WHERE requests.account_id = s.account_id AND requests.id = s.id AND requests.state = 'pending' AND ?few`)
}

var endingShape = shapeOf("account_id text, id text, state text, reason text")
