package sqlstore

import (
	"context"
	"fmt"
	"time"

	"github.com/passmend/passmend/core"
)

// link gives each request its own link, or the newest live one of its user.
func (r *resolving) link(ctx context.Context, tx session) error {
	live, err := r.liveLinks(ctx, tx)
	if err != nil {
		return err
	}
	links := newList(linkShape, len(r.entries))
	for _, e := range r.entries {
		links.add(e.value.linkArgs(live)...)
	}
	rows, err := rowsOfList[linkedRow](ctx, tx, links, `
		UPDATE requests SET
			link_request_id = s.link_request_id, selector = s.selector, seed = s.seed, key_id = s.key_id,
			credential_version = s.credential_version, user_id = s.user_id, resolved_at = ?now,
			expires_at = CASE WHEN s.expires > 0 THEN s.expires ELSE ?now + s.life END, state = s.state,
			address_sealed = CASE WHEN s.mail THEN requests.address_sealed ELSE NULL END
		FROM s
		WHERE requests.account_id = s.account_id AND requests.id = s.id AND requests.state = 'pending' AND ?few
		RETURNING requests.account_id, requests.id, requests.expires_at, requests.traceparent`)
	if err != nil {
		return err
	}
	return linked(r.entries, rows)
}

var linkShape = shapeOf("account_id text, id text, user_id text, link_request_id text, selector bytes, seed bytes, key_id int, credential_version int, expires int, life int, state text, mail bool")

// linkedRow is a request that has its link.
type linkedRow struct {
	AccountID   string `bun:"account_id"`
	ID          string `bun:"id"`
	ExpiresAt   int64  `bun:"expires_at"`
	TraceParent string `bun:"traceparent"`
}

// linkArgs are the values of linkShape, and set where the request stands.
func (r *resolution) linkArgs(live map[rowKey][]liveRow) []any {
	plan := r.plan
	r.standing = core.Standing{State: core.StateSent}
	if plan.Mail != nil {
		r.standing.State = core.StatePending
	}
	args := []any{string(r.account), string(plan.Request), null(plan.User)}
	if plan.User == "" {
		args = append(args, nil, nil, nil, nil, nil, int64(0)) // there is no link in a list of accounts
	} else if again := linkAgain(live[rowKey{string(r.account), string(plan.User)}], plan); again != nil {
		r.standing.Repeated = true
		r.link = again.link()
		args = append(args, again.ID, nil, nil, nil, nil, again.ExpiresAt)
	} else {
		l := plan.Link
		r.link = l
		args = append(args, nil, l.Selector[:], l.Seed[:], int64(l.Key), l.CredentialVersion, int64(0))
	}
	return append(args, plan.LinkLife.Microseconds(), string(r.standing.State), plan.Mail != nil)
}

// linked notes what the requests became. One that was not pending any more, under
// a lease that held, is a fault of ours.
func linked(entries []*entry[resolution], rows []linkedRow) error {
	found := make(map[rowKey]linkedRow, len(rows))
	for _, row := range rows {
		found[rowKey{row.AccountID, row.ID}] = row
	}
	for _, e := range entries {
		row, ok := found[rowKey{string(e.value.account), string(e.value.plan.Request)}]
		if !ok {
			return fmt.Errorf("request %s is not pending", e.value.plan.Request)
		}
		e.value.expires = stamp(row.ExpiresAt)
		e.value.traceParent = row.TraceParent
	}
	return nil
}

type liveRow struct {
	AccountID string `bun:"account_id"`
	UserID    string `bun:"user_id"`
	ID        string `bun:"id"`
	ExpiresAt int64  `bun:"expires_at"`
	Age       int64  `bun:"age"`

	Selector          []byte `bun:"selector"`
	Seed              []byte `bun:"seed"`
	KeyID             int64  `bun:"key_id"`
	CredentialVersion int64  `bun:"credential_version"`
}

func (r liveRow) link() core.LinkSeed {
	return linkSeed(r.Selector, r.Seed, r.KeyID, r.CredentialVersion)
}

// linkSeed gives a link of the columns that hold it.
func linkSeed(selector, seed []byte, key, credentialVersion int64) core.LinkSeed {
	link := core.LinkSeed{Key: core.KeyID(key), CredentialVersion: credentialVersion}
	copy(link.Selector[:], selector)
	copy(link.Seed[:], seed)
	return link
}

// liveLinks gives each user's live links, the newest first. There are few: a plan
// has a most.
func (r *resolving) liveLinks(ctx context.Context, tx session) (map[rowKey][]liveRow, error) {
	users := newList(credentialShape, len(r.entries))
	for _, e := range r.entries {
		users.add(string(e.value.account), string(e.value.plan.User), e.value.plan.Link.CredentialVersion)
	}
	rows, err := rowsOfList[liveRow](ctx, tx, users, `
		SELECT r.account_id, r.user_id, r.id, r.expires_at, ?now - r.resolved_at AS age,
			r.selector, r.seed, r.key_id, r.credential_version
		FROM s JOIN requests r ON r.account_id = s.account_id AND r.user_id = s.id AND ?few
		WHERE r.seed IS NOT NULL AND r.credential_version = s.version
			AND r.state IN ('pending', 'sent', 'suppressed') AND r.expires_at > ?now
		ORDER BY r.resolved_at DESC, r.id DESC`)
	if err != nil {
		return nil, err
	}
	live := make(map[rowKey][]liveRow)
	for _, row := range rows {
		key := rowKey{row.AccountID, row.UserID}
		live[key] = append(live[key], row)
	}
	return live, nil
}

var credentialShape = shapeOf("account_id text, id text, version int")

// linkAgain gives the newest live link if it is the one to send again, else nil.
func linkAgain(live []liveRow, plan core.Plan) *liveRow {
	if len(live) == 0 {
		return nil
	}
	full := plan.MaxLive > 0 && len(live) >= plan.MaxLive
	fresh := plan.Coalesce > 0 && live[0].Age < plan.Coalesce.Microseconds()
	if full || fresh {
		return &live[0]
	}
	return nil
}

// queueMails queues the mails, or leases them to whoever resolved and goes on with
// them at once: that is their first attempt.
func (r *resolving) queueMails(ctx context.Context, tx session) error {
	r.keep(func(e *entry[resolution]) bool { return e.value.plan.Mail != nil })
	mails := newList(mailShape, len(r.entries))
	for _, e := range r.entries {
		plan := e.value.plan
		leased := plan.Mail.Lease != ""
		var attempt int64
		var life any
		if leased {
			attempt, life = 1, core.LeaseLife.Microseconds()
		}
		mails.add(string(e.value.account), string(plan.Mail.ID), string(plan.Request), null(plan.User), string(plan.MailKind()),
			!leased, null(plan.Mail.Lease), life, attempt, e.value.notAfter().UnixMicro())
	}
	clocks, err := rowsOfList[int64](ctx, tx, mails, `
		INSERT INTO deliveries (account_id, id, request_id, user_id, kind, state, ready, lease, lease_until, attempt,
			not_after, run_at, queued_at)
		SELECT account_id, id, request_id, user_id, kind, 'queued', ready, lease, ?now + life, attempt, not_after, ?now, ?now FROM s
		RETURNING queued_at`)
	if err != nil {
		return err
	}
	for i, e := range r.entries {
		e.value.leased(clocks[i])
	}
	return nil
}

var mailShape = shapeOf("account_id text, id text, request_id text, user_id text, kind text, ready bool, lease text, life int, attempt int, not_after int")

// notAfter is when a mail with the link must have gone out.
func (r resolution) notAfter() time.Time { return r.expires.Add(-r.plan.Mail.Margin) }

// leased notes the mail that goes on at once.
func (r *resolution) leased(clock int64) {
	mail := r.plan.Mail
	if mail.Lease == "" {
		return
	}
	var known *core.Known
	if r.plan.User != "" {
		known = &core.Known{User: r.plan.Recipient, Link: r.link, Expires: r.expires}
	}
	r.standing.Mail = &core.Delivery{
		ID: mail.ID, Account: r.account, Request: r.plan.Request, User: r.plan.User, Kind: r.plan.MailKind(),
		Attempt: 1, NotAfter: r.notAfter(), Queued: stamp(clock), Now: stamp(clock),
		Lease: mail.Lease, TraceParent: r.traceParent, Known: known,
	}
}
