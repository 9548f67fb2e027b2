package sqlstore

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// accept is one request on its way into the ledger.
type accept struct {
	account  tenants.AccountID
	request  core.Request
	delivery core.DeliveryID
}

// Accept implements core.Inbox; tenants.ErrUnknown when the account is gone. The
// request's byte slices belong to the store from now on.
func (s *Store) Accept(ctx context.Context, account tenants.AccountID, request core.Request) error {
	w := s.writer.Load()
	if w == nil {
		return s.failed("accept", errStopped)
	}
	e := newEntry(accept{account: account, request: request, delivery: core.DeliveryID(s.config.NewID())})
	if err := w.accepts.offer(e); err != nil {
		return s.failed("accept", err)
	}
	err := e.wait(ctx, w.stopped)
	if s.fault(err) == faultForeign {
		err = tenants.ErrUnknown
	}
	return s.failed("accept", err)
}

// insertAccepts writes requests and their resolve deliveries, two statements
// however many they are.
func insertAccepts(ctx context.Context, tx bun.Tx, entries []*entry[accept]) error {
	if len(entries) == 0 {
		return nil
	}
	requests, deliveries := acceptStatements(entries)
	if _, err := tx.ExecContext(ctx, requests.text, requests.args...); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, deliveries.text, deliveries.args...)
	return err
}

// insertAcceptsAtOnce is insertAccepts in one message, which PostgreSQL runs as one
// transaction of its own and answers when that is on disk (PostgreSQL, 55.2.2.1): a
// round trip instead of four.
func insertAcceptsAtOnce(ctx context.Context, db *bun.DB, entries []*entry[accept]) error {
	requests, deliveries := acceptStatements(entries)
	_, err := db.ExecContext(ctx, requests.text+";"+deliveries.text, append(requests.args, deliveries.args...)...)
	return err
}

type statement struct {
	text string
	args []any
}

func acceptStatements(entries []*entry[accept]) (statement, statement) {
	requests := make([]any, 0, 6*len(entries))
	deliveries := make([]any, 0, 4*len(entries))
	for _, e := range entries {
		account, request := string(e.value.account), e.value.request
		requests = append(requests, account, string(request.ID), blob(request.SealedAddress),
			blob(request.AddressDigest), request.Deliver, request.TraceParent)
		deliveries = append(deliveries, account, string(e.value.delivery), string(request.ID), core.ResolveLife.Microseconds())
	}
	return statement{`
		INSERT INTO requests
			(account_id, id, address_sealed, address_digest, deliver, traceparent, state, accepted_at)
		VALUES ` + placeholders(len(entries), `(?, ?, ?, ?, ?, ?, 'pending', ?now)`), requests},
		statement{`
		INSERT INTO deliveries
			(account_id, id, request_id, kind, state, ready, run_at, queued_at, not_after)
		VALUES ` + placeholders(len(entries), `(?, ?, ?, 'resolve', 'queued', TRUE, ?now, ?now, ?now + ?)`), deliveries}
}
