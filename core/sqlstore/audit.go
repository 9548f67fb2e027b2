package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// note is an entry to be appended.
type note struct {
	account tenants.AccountID // empty: the platform's log
	core.Audit
}

// note has an entry appended to the audit log of an account, or of the platform, in
// the transaction that it is made in and at its end: a chain is locked while
// somebody appends, and nothing else is waited for under that lock.
func (q session) note(account tenants.AccountID, audit core.Audit) {
	*q.notes = append(*q.notes, note{account, audit})
}

// audited makes a decision append what it notes, or not happen. told writes what was
// appended to the process's log, once it is on disk.
func (s *Store) audited(origin core.Origin, run func(ctx context.Context, tx session) error) (with func(ctx context.Context, tx session) error, told func(ctx context.Context)) {
	var notes []note
	with = func(ctx context.Context, tx session) error {
		notes = nil
		tx.notes = &notes
		if err := run(ctx, tx); err != nil {
			return err
		}
		return s.appendNotes(ctx, tx, origin, notes)
	}
	told = func(ctx context.Context) {
		for _, n := range notes {
			actor := n.by(origin)
			s.config.Logger.LogAttrs(ctx, slog.LevelInfo, "audit", slog.String("event", string(n.Name)),
				slog.String("account", string(n.account)), slog.String("actor_kind", string(actor.Kind)), slog.String("actor", actor.ID),
				slog.String("object_type", n.Object.Type), slog.String("object", n.Object.ID), slog.String("request_id", origin.Request))
		}
	}
	return with, told
}

func (n note) by(origin core.Origin) core.Actor {
	return cmp.Or(origin.Actor, n.By, core.Actor{Kind: core.ActorService})
}

// appendNotes writes entries to the ends of their chains, chain after chain in one order,
// so that nobody waits for who waits for them.
func (s *Store) appendNotes(ctx context.Context, tx session, origin core.Origin, notes []note) error {
	slices.SortStableFunc(notes, func(a, b note) int { return cmp.Compare(a.account, b.account) })
	for len(notes) > 0 {
		n := 1
		for n < len(notes) && notes[n].account == notes[0].account {
			n++
		}
		if err := s.appendChain(ctx, tx, origin, notes[:n]); err != nil {
			return err
		}
		notes = notes[n:]
	}
	return nil
}

// chainEnd is the end of a chain, under the lock that it was read with.
type chainEnd struct {
	Seq    int64  `bun:"seq"`
	Hash   []byte `bun:"hash"`
	HeadAt int64  `bun:"head_at"`
	Now    int64  `bun:"clock"`
}

const chainEndQuery = `
	INSERT INTO audit_chains (account_id, seq, hash, head_at, base_seq, base_hash) VALUES (?, 0, ?, 0, 0, ?)
	ON CONFLICT (account_id) DO UPDATE SET seq = audit_chains.seq
	RETURNING seq, hash, head_at, ?now AS clock`

func (s *Store) appendChain(ctx context.Context, tx session, origin core.Origin, notes []note) error {
	account := notes[0].account
	genesis := core.AuditGenesis(account)
	var end chainEnd
	if err := tx.row(ctx, &end, chainEndQuery, string(account), genesis, genesis); err != nil {
		return err
	}
	// The statement that waited for the lock began before its holder ended.
	end.HeadAt = max(end.HeadAt, end.Now)
	for _, n := range notes {
		end.Seq++
		entry := core.AuditEvent{
			ID: core.AuditEventID(s.config.NewID()), Account: account, Seq: end.Seq, At: stamp(end.HeadAt),
			Actor: n.by(origin), Name: n.Name, Object: n.Object, Fields: n.Fields,
			Network: core.Network(origin.Client), Request: origin.Request, Previous: end.Hash,
		}
		entry.Hash = entry.Digest()
		if err := insertAuditEvent(ctx, tx, entry); err != nil {
			return err
		}
		end.Hash = entry.Hash
	}
	_, err := tx.exec(ctx, `UPDATE audit_chains SET seq = ?, hash = ?, head_at = ? WHERE account_id = ?`,
		end.Seq, end.Hash, end.HeadAt, string(account))
	return err
}

const auditColumns = `account_id, seq, id, recorded_at, actor_kind, actor_id, name, object_type, object_id, fields, network, request_id, previous, hash`

func insertAuditEvent(ctx context.Context, tx session, e core.AuditEvent) error {
	fields, err := json.Marshal(append([]string{}, e.Fields...))
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, `INSERT INTO audit_events (`+auditColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		string(e.Account), e.Seq, string(e.ID), e.At.UnixMicro(), string(e.Actor.Kind), e.Actor.ID, string(e.Name),
		e.Object.Type, e.Object.ID, string(fields), e.Network, e.Request, e.Previous, e.Hash)
	return err
}

type auditRow struct {
	AccountID  string `bun:"account_id"`
	Seq        int64  `bun:"seq"`
	ID         string `bun:"id"`
	RecordedAt int64  `bun:"recorded_at"`
	ActorKind  string `bun:"actor_kind"`
	ActorID    string `bun:"actor_id"`
	Name       string `bun:"name"`
	ObjectType string `bun:"object_type"`
	ObjectID   string `bun:"object_id"`
	Fields     string `bun:"fields"`
	Network    string `bun:"network"`
	RequestID  string `bun:"request_id"`
	Previous   []byte `bun:"previous"`
	Hash       []byte `bun:"hash"`
}

// event reads a row as it is: whoever changed it may have left something that is no
// JSON, which is for the hash to show.
func (r auditRow) event() core.AuditEvent {
	e := core.AuditEvent{
		ID: core.AuditEventID(r.ID), Account: tenants.AccountID(r.AccountID), Seq: r.Seq, At: stamp(r.RecordedAt),
		Actor: core.Actor{Kind: core.ActorKind(r.ActorKind), ID: r.ActorID}, Name: core.AuditName(r.Name),
		Object: core.AuditObject{Type: r.ObjectType, ID: r.ObjectID}, Network: r.Network, Request: r.RequestID,
		Previous: r.Previous, Hash: r.Hash,
	}
	if r.Fields == "[]" {
		return e
	}
	if json.Unmarshal([]byte(r.Fields), &e.Fields) != nil {
		e.Fields = []string{r.Fields}
	}
	return e
}

// RecordAudit implements core.AuditLog.
func (s *Store) RecordAudit(ctx context.Context, account tenants.AccountID, audit core.Audit) error {
	return s.change(ctx, "record_audit", false, func(_ context.Context, tx session) error {
		tx.note(account, audit)
		return nil
	})
}

// AuditEvents implements core.AuditLog. A Limit out of range means the nearest within.
func (s *Store) AuditEvents(ctx context.Context, account tenants.AccountID, query core.AuditQuery) ([]core.AuditEvent, error) {
	condition, args := `account_id = ?`, []any{string(account)}
	if query.Before != "" {
		condition += ` AND seq < (SELECT b.seq FROM audit_events b WHERE b.account_id = ? AND b.id = ?)`
		args = append(args, string(account), string(query.Before))
	}
	return s.auditWhere(ctx, condition, args, query, `seq`)
}

// AllAuditEvents implements core.System.
func (s *Store) AllAuditEvents(ctx context.Context, query core.AuditQuery) ([]core.AuditEvent, error) {
	condition, args := `TRUE`, []any(nil)
	if query.Before != "" {
		condition, args = `id < ?`, []any{string(query.Before)}
	}
	return s.auditWhere(ctx, condition, args, query, `id`)
}

func (s *Store) auditWhere(ctx context.Context, condition string, args []any, query core.AuditQuery, order string) ([]core.AuditEvent, error) {
	for _, filter := range []struct{ column, value string }{
		{`name`, string(query.Name)}, {`actor_kind`, string(query.Kind)}, {`actor_id`, query.Actor},
	} {
		if filter.value != "" {
			condition, args = condition+` AND `+filter.column+` = ?`, append(args, filter.value)
		}
	}
	args = append(args, min(max(query.Limit, 1), mostListed))
	return s.auditList(ctx, `WHERE `+condition+` ORDER BY `+order+` DESC LIMIT ?`, args...)
}

func (s *Store) auditList(ctx context.Context, which string, args ...any) ([]core.AuditEvent, error) {
	var rows []auditRow
	if err := s.reading().rows(ctx, &rows, `SELECT `+auditColumns+` FROM audit_events `+which, args...); err != nil {
		return nil, s.failed("list_audit_events", err)
	}
	events := make([]core.AuditEvent, len(rows))
	for i, row := range rows {
		events[i] = row.event()
	}
	return events, nil
}

// AuditLinks implements core.AuditLog.
func (s *Store) AuditLinks(ctx context.Context, account tenants.AccountID, after int64, limit int) ([]core.AuditEvent, error) {
	return s.auditList(ctx, `WHERE account_id = ? AND seq > ? ORDER BY seq LIMIT ?`, string(account), after, max(limit, 0))
}

type chainRow struct {
	AccountID string `bun:"account_id"`
	Seq       int64  `bun:"seq"`
	Hash      []byte `bun:"hash"`
	BaseSeq   int64  `bun:"base_seq"`
	BaseHash  []byte `bun:"base_hash"`
}

func (r chainRow) chain() core.AuditChain {
	return core.AuditChain{Account: tenants.AccountID(r.AccountID), Seq: r.Seq, Hash: r.Hash, Base: r.BaseSeq, BaseHash: r.BaseHash}
}

const chainQuery = `SELECT account_id, seq, hash, base_seq, base_hash FROM audit_chains WHERE `

// AuditChain implements core.AuditLog.
func (s *Store) AuditChain(ctx context.Context, account tenants.AccountID) (core.AuditChain, error) {
	var row chainRow
	err := s.reading().row(ctx, &row, chainQuery+`account_id = ?`, string(account))
	if errors.Is(err, sql.ErrNoRows) {
		err = core.ErrNotFound
	}
	return row.chain(), s.failed("find_audit_chain", err)
}

// AuditChains implements core.System.
func (s *Store) AuditChains(ctx context.Context, after tenants.AccountID, limit int) ([]core.AuditChain, error) {
	var rows []chainRow
	err := s.reading().rows(ctx, &rows, chainQuery+`account_id > ? ORDER BY account_id LIMIT ?`, string(after), max(limit, 0))
	chains := make([]core.AuditChain, len(rows))
	for i, row := range rows {
		chains[i] = row.chain()
	}
	return chains, s.failed("list_audit_chains", err)
}

// RetainAudit implements core.System. A chain's beginning moves on first: the
// database lets only what lies before it go. Replicas that call at once share the
// work.
func (s *Store) RetainAudit(ctx context.Context, age time.Duration, batch int) (int, error) {
	if batch <= 0 {
		return 0, nil
	}
	var removed int64
	err := s.change(ctx, "retain_audit", false, func(ctx context.Context, tx session) error {
		removed = 0
		var ends []struct {
			AccountID string `bun:"account_id"`
			Seq       int64  `bun:"seq"`
		}
		if err := tx.rows(ctx, &ends, agedAudit, age.Microseconds(), batch); err != nil {
			return err
		}
		for _, end := range ends {
			n, err := removeAudit(ctx, tx, end.AccountID, end.Seq)
			if err != nil {
				return err
			}
			removed += n
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return int(removed), nil
}

const agedAudit = `
	SELECT account_id, max(seq) AS seq FROM (
		SELECT account_id, seq FROM audit_events WHERE recorded_at <= ?now - ? ORDER BY recorded_at LIMIT ?) AS aged
	GROUP BY account_id ORDER BY account_id`

func removeAudit(ctx context.Context, tx session, account string, upTo int64) (int64, error) {
	moved, err := wrote(tx.exec(ctx, `
		UPDATE audit_chains SET base_seq = ?int, base_hash = (
			SELECT e.hash FROM audit_events e WHERE e.account_id = audit_chains.account_id AND e.seq = ?int)
		WHERE account_id = ? AND base_seq < ?int`, upTo, upTo, account, upTo))
	if err != nil || !moved {
		return 0, err
	}
	result, err := tx.exec(ctx, `DELETE FROM audit_events WHERE account_id = ? AND seq <= ?`, account, upTo)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}
