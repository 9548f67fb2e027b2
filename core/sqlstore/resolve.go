package sqlstore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// resolution is one plan on its way into the ledger, and where it took its request.
type resolution struct {
	account    tenants.AccountID
	lease      core.Lease
	plan       core.Plan
	standing   core.Standing
	suppressed bool // no mail goes to its address
	// Of the request, once it has its link, or an earlier one.
	link        core.LinkSeed
	expires     time.Time
	traceParent string
}

// queues says whether it made work that nobody holds.
func (r resolution) queues() bool { return r.plan.Mail != nil && r.plan.Mail.Lease == "" }

// Resolve implements core.Ledger. When the user is gone by now, the request is
// suppressed as for an unknown user; when the credential has changed since the
// plan was made, it is superseded. The budgets are spent for whatever leaves the
// house: a superseded request's event does, too.
func (s *Store) Resolve(ctx context.Context, account tenants.AccountID, lease core.Lease, plan core.Plan) (core.Standing, error) {
	w := s.writer.Load()
	if w == nil {
		return core.Standing{}, s.failed("resolve", errStopped)
	}
	e := newEntry(resolution{account: account, lease: lease, plan: plan}, s.config.Observer.Trace(ctx))
	if err := w.plans.put(ctx, e, w.stopped); err != nil {
		return core.Standing{}, s.failed("resolve", err)
	}
	if err := e.wait(ctx, w.stopped); err != nil {
		return core.Standing{}, s.failed("resolve", err)
	}
	return e.value.standing, nil
}

// resolveAll carries plans out in rounds: of two that touch the same row, as a
// user's budget or links, the second sees what the first did.
func (s *Store) resolveAll(ctx context.Context, tx session, entries []*entry[resolution]) error {
	for len(entries) > 0 {
		touched := make(map[string]bool, 4*len(entries))
		var round resolving
		var later []*entry[resolution]
		for _, e := range entries {
			touches := e.value.touches()
			if slices.ContainsFunc(touches, func(row string) bool { return touched[row] }) {
				later = append(later, e)
				continue
			}
			for _, row := range touches {
				touched[row] = true
			}
			round.entries = append(round.entries, e)
		}
		if err := round.run(ctx, tx); err != nil {
			return err
		}
		entries = later
	}
	return nil
}

// touches names the rows that a plan reads and changes.
func (r resolution) touches() []string {
	touches := []string{"d" + string(r.lease.Delivery)}
	if r.plan.Suppress != "" {
		return touches
	}
	if r.plan.User != "" {
		touches = append(touches, "u"+string(r.account)+string(r.plan.User))
	}
	for _, budget := range r.plan.Budgets {
		touches = append(touches, "b"+string(budget.Key))
	}
	return touches
}

// resolving is a round: entries are those whose request goes on; ends gathers the
// states of those whose does not, events what happened to all of them.
type resolving struct {
	entries []*entry[resolution]
	ends    []ending
	events  [][]any // to be recorded when it is known until when their links live
}

// run brings each request to where its plan and the rows have it.
func (r *resolving) run(ctx context.Context, tx session) error {
	for _, step := range []func(context.Context, session) error{
		r.endDeliveries, r.suppress, r.lockUsers, r.askLists, r.spendBudgets, r.gatherEvents, r.supersede, r.link, r.stopMails, r.queueMails,
	} {
		if err := step(ctx, tx); err != nil {
			return err
		}
	}
	if err := endRequests(ctx, tx, r.ends); err != nil {
		return err
	}
	return insertEvents(ctx, tx, r.events)
}

// keep goes on with the entries that say so.
func (r *resolving) keep(goesOn func(*entry[resolution]) bool) {
	r.entries = slices.DeleteFunc(r.entries, func(e *entry[resolution]) bool { return !goesOn(e) })
}

// end takes a request out of the round.
func (r *resolving) end(e *entry[resolution], state core.RequestState, reason core.Reason) {
	e.value.standing = core.Standing{State: state, Reason: reason}
	r.ends = append(r.ends, ending{
		account: string(e.value.account), request: string(e.value.plan.Request), state: state, reason: reason,
	})
}

// endDeliveries ends the resolve deliveries that their leases still hold.
func (r *resolving) endDeliveries(ctx context.Context, tx session) error {
	held := newList(leaseShape, len(r.entries))
	for _, e := range r.entries {
		held.add(string(e.value.account), string(e.value.lease.Delivery), string(e.value.lease.ID))
	}
	rows, err := rowsOfList[endedRow](ctx, tx, held, `
		UPDATE deliveries SET state = 'done', ready = FALSE, lease = NULL, lease_until = NULL, ended_at = ?now
		FROM s
		WHERE deliveries.account_id = s.account_id AND deliveries.id = s.id AND deliveries.lease = s.lease
			AND deliveries.kind = 'resolve' AND ?few
		RETURNING deliveries.account_id, deliveries.id, deliveries.request_id`)
	if err != nil {
		return err
	}
	requests := make(map[rowKey]string, len(rows))
	for _, row := range rows {
		requests[rowKey{row.AccountID, row.ID}] = row.RequestID
	}
	var mixed error
	r.keep(func(e *entry[resolution]) bool {
		lease, plan := e.value.lease, e.value.plan
		request, held := requests[rowKey{string(e.value.account), string(lease.Delivery)}]
		e.value.standing = core.Standing{} // of an earlier try
		if e.err = nil; e.left.Load() {
			e.err = context.Canceled // nobody would know what was leased
		} else if !held {
			e.err = core.ErrLeaseLost
		} else if request != string(plan.Request) {
			mixed = fmt.Errorf("delivery %s is of request %s, not %s", lease.Delivery, request, plan.Request)
		}
		return e.err == nil
	})
	return mixed
}

// endedRow is a resolve delivery that was still under its lease.
type endedRow struct {
	AccountID string `bun:"account_id"`
	ID        string `bun:"id"`
	RequestID string `bun:"request_id"`
}

// suppress ends the requests whose plan says so.
func (r *resolving) suppress(context.Context, session) error {
	r.keep(func(e *entry[resolution]) bool {
		reason := e.value.plan.Suppress
		if reason != "" {
			r.end(e, core.StateSuppressed, reason)
		}
		return reason == ""
	})
	return nil
}

// recipientShape: digest is that of the address which the mail would go to.
var recipientShape = shapeOf("account_id text, id text, digest bytes")

// lockUsers keeps the users as they are until the end, always in the same order,
// and notes whose credential has changed and to whose address no mail goes.
func (r *resolving) lockUsers(ctx context.Context, tx session) error {
	slices.SortFunc(r.entries, func(a, b *entry[resolution]) int {
		return strings.Compare(string(a.value.account)+string(a.value.plan.User), string(b.value.account)+string(b.value.plan.User))
	})
	asked := newList(recipientShape, len(r.entries))
	for _, e := range r.entries {
		asked.add(string(e.value.account), string(e.value.plan.User), blob(e.value.plan.Address))
	}
	rows, err := rowsOfList[lockedRow](ctx, tx, asked, `
		SELECT u.account_id, u.id, u.credential_version, `+isSuppressed+` AS suppressed FROM s
		JOIN users u ON u.account_id = s.account_id AND u.id = s.id AND ?few
		ORDER BY u.account_id, u.id ?locking`)
	if err != nil {
		return err
	}
	users := make(map[rowKey]lockedRow, len(rows))
	for _, row := range rows {
		users[rowKey{row.AccountID, row.ID}] = row
	}
	r.keep(func(e *entry[resolution]) bool {
		plan := e.value.plan
		if plan.User == "" {
			return true
		}
		user, there := users[rowKey{string(e.value.account), string(plan.User)}]
		e.value.suppressed = user.Suppressed && plan.Mail != nil
		switch {
		case !there:
			r.end(e, core.StateSuppressed, core.ReasonUnknownUser)
		case user.Version != plan.Link.CredentialVersion:
			e.value.standing.State = core.StateSuperseded
		}
		return there
	})
	return nil
}

// askLists notes to whose address no mail goes of those that no user was found for:
// they get a list of accounts.
func (r *resolving) askLists(ctx context.Context, tx session) error {
	var userless []*entry[resolution]
	for _, e := range r.entries {
		if e.value.plan.User == "" {
			userless = append(userless, e)
		}
	}
	asked := newList(recipientShape, len(userless))
	for _, e := range userless {
		asked.add(string(e.value.account), string(e.value.plan.Request), blob(e.value.plan.Address))
	}
	rows, err := rowsOfList[rowKey](ctx, tx, asked, `SELECT s.account_id, s.id FROM s WHERE `+isSuppressed+` AND ?few`)
	if err != nil {
		return err
	}
	suppressed := make(map[rowKey]bool, len(rows))
	for _, row := range rows {
		suppressed[row] = true
	}
	for _, e := range userless {
		e.value.suppressed = suppressed[rowKey{string(e.value.account), string(e.value.plan.Request)}]
	}
	return nil
}

// lockedRow is a user as a plan finds it.
type lockedRow struct {
	AccountID  string `bun:"account_id"`
	ID         string `bun:"id"`
	Version    int64  `bun:"credential_version"`
	Suppressed bool   `bun:"suppressed"`
}

// gatherEvents notes the events of the plans; one without id is none.
func (r *resolving) gatherEvents(context.Context, session) error {
	for _, e := range r.entries {
		if event := e.value.plan.Event; event.ID != "" {
			r.events = append(r.events, eventArgs(e.value.account, event))
		}
	}
	return nil
}

// supersede ends the requests whose user has another credential by now.
func (r *resolving) supersede(context.Context, session) error {
	r.keep(func(e *entry[resolution]) bool {
		superseded := e.value.standing.State == core.StateSuperseded
		if superseded {
			r.end(e, core.StateSuperseded, "")
		}
		return !superseded
	})
	return nil
}

// stopMails ends the requests whose address no mail goes to. They keep their links:
// whoever hears of them by their events can still send one another way.
func (r *resolving) stopMails(context.Context, session) error {
	r.keep(func(e *entry[resolution]) bool {
		if e.value.suppressed {
			repeated := e.value.standing.Repeated
			r.end(e, core.StateSuppressed, core.ReasonSuppressed)
			e.value.standing.Repeated = repeated
		}
		return !e.value.suppressed
	})
	return nil
}
