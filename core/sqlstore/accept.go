package sqlstore

import (
	"context"

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
	e := newEntry(accept{account: account, request: request, delivery: core.DeliveryID(s.config.NewID())}, s.config.Observer.Trace(ctx))
	if err := w.accepts.offer(e); err != nil {
		return s.failed("accept", err)
	}
	err := e.wait(ctx, w.stopped)
	if s.fault(err) == faultForeign {
		err = tenants.ErrUnknown
	}
	return s.failed("accept", err)
}

// insertAccepts writes requests and their resolve deliveries.
func insertAccepts(ctx context.Context, tx session, entries []*entry[accept]) error {
	for _, portion := range portions(entries) {
		requests := make([]any, 0, 6*len(portion))
		deliveries := make([]any, 0, 4*len(portion))
		for _, e := range portion {
			account, request := string(e.value.account), e.value.request
			requests = append(requests, account, string(request.ID), blob(request.SealedAddress),
				blob(request.AddressDigest), request.Deliver, request.TraceParent)
			deliveries = append(deliveries, account, string(e.value.delivery), string(request.ID), core.ResolveLife.Microseconds())
		}
		_, err := tx.exec(ctx, `
		INSERT INTO requests
			(account_id, id, address_sealed, address_digest, deliver, traceparent, state, accepted_at)
		VALUES `+placeholders(len(portion), `(?, ?, ?, ?, ?, ?, 'pending', ?now)`), requests...)
		if err != nil {
			return err
		}
		_, err = tx.exec(ctx, `
		INSERT INTO deliveries
			(account_id, id, request_id, kind, state, ready, run_at, queued_at, not_after)
		VALUES `+placeholders(len(portion), `(?, ?, ?, 'resolve', 'queued', TRUE, ?now, ?now, ?now + ?)`), deliveries...)
		if err != nil {
			return err
		}
	}
	return nil
}
