package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/schema"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// Resolve implements core.Ledger. When the user is gone by now, the request is
// suppressed as for an unknown user; when the credential has changed since the
// plan was made, it is superseded. The budgets are spent for whatever leaves the
// house: a superseded request's event does, too.
func (s *Store) Resolve(ctx context.Context, account tenants.AccountID, lease core.Lease, plan core.Plan) (core.Standing, error) {
	var standing core.Standing
	err := s.change(ctx, "resolve", plan.Mail != nil, func(ctx context.Context, tx bun.Tx) error {
		err := endResolve(ctx, tx, account, lease, plan.Request)
		if err != nil {
			return err
		}
		standing, err = carryOut(ctx, tx, account, plan)
		return err
	})
	if err != nil {
		return core.Standing{}, err
	}
	return standing, nil
}

// carryOut brings the request to where the plan and the rows have it.
func carryOut(ctx context.Context, tx bun.Tx, account tenants.AccountID, plan core.Plan) (core.Standing, error) {
	end := func(state core.RequestState, reason core.Reason) (core.Standing, error) {
		return core.Standing{State: state, Reason: reason}, endRequest(ctx, tx, account, plan.Request, state, reason)
	}
	if plan.Suppress != "" {
		return end(core.StateSuppressed, plan.Suppress)
	}
	var version int64
	err := tx.NewRaw(`SELECT credential_version FROM users WHERE account_id = ? AND id = ? ?locking`,
		string(account), string(plan.User)).Scan(ctx, &version)
	if errors.Is(err, sql.ErrNoRows) {
		return end(core.StateSuppressed, core.ReasonUnknownUser)
	}
	if err != nil {
		return core.Standing{}, err
	}
	usedUp, err := spendBudgets(ctx, tx, plan.Budgets)
	if err != nil {
		return core.Standing{}, err
	}
	if usedUp != "" {
		return end(core.StateSuppressed, usedUp)
	}
	if err := insertEvent(ctx, tx, account, plan.Event); err != nil {
		return core.Standing{}, err
	}
	if version != plan.Link.CredentialVersion {
		return end(core.StateSuperseded, "")
	}
	return link(ctx, tx, account, plan)
}

// endResolve ends the resolve delivery if the lease still holds it.
func endResolve(ctx context.Context, tx bun.Tx, account tenants.AccountID, lease core.Lease, request core.RequestID) error {
	var of string
	err := tx.NewRaw(`
		UPDATE deliveries SET state = 'done', ready = FALSE, lease = NULL, lease_until = NULL, ended_at = ?now
		WHERE account_id = ? AND id = ? AND lease = ? AND kind = 'resolve'
		RETURNING request_id`,
		string(account), string(lease.Delivery), string(lease.ID)).Scan(ctx, &of)
	if errors.Is(err, sql.ErrNoRows) {
		return core.ErrLeaseLost
	}
	if err == nil && of != string(request) {
		err = fmt.Errorf("delivery %s is of request %s, not %s", lease.Delivery, of, request)
	}
	return err
}

// link gives the request its own link, or the newest live one of the user, and
// queues the mail.
func link(ctx context.Context, tx bun.Tx, account tenants.AccountID, plan core.Plan) (core.Standing, error) {
	again, err := liveLink(ctx, tx, account, plan)
	if err != nil {
		return core.Standing{}, err
	}
	standing := core.Standing{State: core.StateSent, Repeated: again != nil}
	if plan.Mail != nil {
		standing.State = core.StatePending
	}
	seed := []any{nil, nil, nil, nil, nil}
	if again == nil {
		l := plan.Link
		seed = []any{nil, l.Selector[:], l.Seed[:], int64(l.Key), l.CredentialVersion}
	} else {
		seed[0] = again.ID
	}
	var expires int64
	err = tx.NewRaw(`
		UPDATE requests SET
			link_request_id = ?, selector = ?, seed = ?, key_id = ?, credential_version = ?,
			user_id = ?, resolved_at = ?now, expires_at = ?, state = ?,
			address_sealed = CASE WHEN ? THEN address_sealed ELSE NULL END
		WHERE account_id = ? AND id = ? AND state = 'pending'
		RETURNING expires_at`,
		append(seed, string(plan.User), expiry(again, plan), string(standing.State), plan.Mail != nil,
			string(account), string(plan.Request))...).Scan(ctx, &expires)
	if err != nil || plan.Mail == nil {
		return standing, err
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO deliveries (account_id, id, request_id, user_id, kind, state, ready, run_at, not_after, queued_at)
		VALUES (?, ?, ?, ?, 'mail', 'queued', TRUE, ?now, ?, ?now)`,
		string(account), string(plan.Mail.ID), string(plan.Request), string(plan.User),
		expires-plan.Mail.Margin.Microseconds())
	return standing, err
}

func expiry(again *liveRow, plan core.Plan) schema.QueryWithArgs {
	if again != nil {
		return bun.SafeQuery("?", again.ExpiresAt)
	}
	return bun.SafeQuery("?now + ?", plan.LinkLife.Microseconds())
}

type liveRow struct {
	ID        string `bun:"id"`
	ExpiresAt int64  `bun:"expires_at"`
	Age       int64  `bun:"age"`
}

// liveLink gives the newest live link of the user if it is the one to send
// again, else nil.
func liveLink(ctx context.Context, tx bun.Tx, account tenants.AccountID, plan core.Plan) (*liveRow, error) {
	var live []liveRow
	err := tx.NewRaw(`
		SELECT id, expires_at, ?now - resolved_at AS age FROM requests
		WHERE account_id = ? AND user_id = ? AND seed IS NOT NULL AND credential_version = ?
			AND state IN ('pending', 'sent') AND expires_at > ?now
		ORDER BY resolved_at DESC, id DESC LIMIT ?`,
		string(account), string(plan.User), plan.Link.CredentialVersion, max(plan.MaxLive, 1)).Scan(ctx, &live)
	if err != nil || len(live) == 0 {
		return nil, err
	}
	full := plan.MaxLive > 0 && len(live) >= plan.MaxLive
	fresh := plan.Coalesce > 0 && live[0].Age < plan.Coalesce.Microseconds()
	if full || fresh {
		return &live[0], nil
	}
	return nil, nil
}

func endRequest(ctx context.Context, tx bun.Tx, account tenants.AccountID, id core.RequestID, state core.RequestState, reason core.Reason) error {
	return endRequests(ctx, tx, []any{string(account), string(id), string(state), string(reason)})
}

// insertEvent records an event; one without id is none.
func insertEvent(ctx context.Context, tx bun.Tx, account tenants.AccountID, event core.Event) error {
	if event.ID == "" {
		return nil
	}
	return insertEvents(ctx, tx, eventArgs(account, event))
}

func eventArgs(account tenants.AccountID, event core.Event) []any {
	return []any{string(account), string(event.ID), string(event.Name), null(event.User), null(event.Request), object(event.Facts)}
}

// insertEvents records events; args are the eventArgs of each.
func insertEvents(ctx context.Context, tx bun.Tx, args []any) error {
	if len(args) == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, `
		INSERT INTO events (account_id, id, name, user_id, request_id, facts, created_at)
		VALUES `+placeholders(len(args)/6, `(?, ?, ?, ?, ?, ?, ?now)`), args...)
	return err
}

// object gives JSON as text, {} for none.
func object(raw json.RawMessage) string {
	if len(raw) == 0 {
		return "{}"
	}
	return string(raw)
}
