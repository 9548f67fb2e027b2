package sqlstore

import (
	"context"
	"database/sql"
	"strconv"
	"strings"
	"sync"

	"github.com/uptrace/bun"

	"github.com/passmend/passmend/core"
)

// session runs statements, in a transaction or each by itself. The text of a
// statement is fixed and its values travel beside it: a text is prepared once a
// connection, and no view of a server's activity and no log of failed statements
// shows a value. Texts are written as dialect.text says.
type session struct {
	db *bun.DB // reads rows into structs
	on interface {
		ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error)
		QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error)
	}
	dialect *dialect
	work    *bool   // whether events of the transaction queued work; nil outside of one
	notes   *[]note // for the audit log, at the end of the transaction; nil outside of one
}

// reading gives a session whose statements are no transaction.
func (s *Store) reading() session { return session{db: s.read, on: s.read.DB, dialect: s.dialect} }

// inTransaction runs a transaction of its own. Inside, only tx may be used. Who
// works is woken when its events queued webhooks.
func (s *Store) inTransaction(ctx context.Context, run func(ctx context.Context, tx session) error) error {
	var work bool
	var notes []note // of outcomes; a decision has its own
	err := s.write.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		notes = nil
		in := session{db: s.write, on: tx.Tx, dialect: s.dialect, work: &work, notes: &notes}
		if err := run(ctx, in); err != nil {
			return err
		}
		return s.appendNotes(ctx, in, core.Origin{}, notes)
	})
	if err == nil && work {
		s.wake(ctx)
	}
	return err
}

func (q session) spell(written string, args []any) string {
	text := q.dialect.text(written)
	if q.dialect.heard != nil {
		q.dialect.heard(text, args)
	}
	return text
}

// exec runs a statement that gives no rows.
func (q session) exec(ctx context.Context, text string, args ...any) (sql.Result, error) {
	return q.on.ExecContext(ctx, q.spell(text, args), args...)
}

// rows reads every row into a slice, of structs by the names of the columns or of
// single values.
func (q session) rows(ctx context.Context, into any, text string, args ...any) error {
	rows, err := q.on.QueryContext(ctx, q.spell(text, args), args...) //nolint:rowserrcheck // ScanRows closes and checks them
	if err != nil {
		return err
	}
	return q.db.ScanRows(ctx, rows, into)
}

// row reads one row into a struct by the names of the columns, or into a single
// value; sql.ErrNoRows when there is none.
func (q session) row(ctx context.Context, into any, text string, args ...any) (err error) {
	rows, err := q.on.QueryContext(ctx, q.spell(text, args), args...)
	if err != nil {
		return err
	}
	defer func() {
		if closed := rows.Close(); err == nil {
			err = closed
		}
	}()
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return err
		}
		return sql.ErrNoRows
	}
	if err := q.db.ScanRow(ctx, rows, into); err != nil {
		return err
	}
	rows.Next() // to the end: what RETURNING writes is written by then
	return rows.Err()
}

// dialect is how an engine spells what query texts leave open.
type dialect struct {
	// words stand for now, fresh, locking, skipping, few and members; see engine.
	words map[string]string
	// parameter spells the nth value of a text, the first is 1. kind is the type that
	// the database could not tell from where the value stands: int, bool, text, bytes,
	// or empty.
	parameter func(n int, kind string) string
	spelled   sync.Map // text as written: text as the engine takes it
	// arrays gives a list as arrays, a column each (see shape); nil: it has none.
	arrays func(kinds []string, rows [][]any) []any
	// chains says that a statement can go on with what it inserted.
	chains bool
	// heard is told of every statement before it runs; nil but in tests.
	heard func(text string, args []any)
}

// text gives a query text as the engine takes it. In texts, ? is a value, ?int,
// ?bool, ?text and ?bytes are values whose type has to be told, and ?now, ?fresh,
// ?locking, ?skipping, ?few and ?members are as in engine. No text of ours has a question mark in quotes.
func (d *dialect) text(written string) string {
	if spelled, ok := d.spelled.Load(written); ok {
		return spelled.(string)
	}
	var b strings.Builder
	n := 0
	for rest := written; ; {
		before, after, found := strings.Cut(rest, "?")
		b.WriteString(before)
		if !found {
			break
		}
		end := strings.IndexFunc(after, func(r rune) bool { return r < 'a' || r > 'z' })
		if end < 0 {
			end = len(after)
		}
		word := after[:end]
		rest = after[end:]
		if spelling, ok := d.words[word]; ok {
			b.WriteString(spelling)
			continue
		}
		n++
		b.WriteString(d.parameter(n, word))
	}
	d.spelled.Store(written, b.String())
	return b.String()
}

// sqliteParameter: SQLite's values bring their types along.
func sqliteParameter(int, string) string { return "?" }

func postgresParameter(n int, kind string) string {
	cast := map[string]string{"int": "::bigint", "bool": "::boolean", "text": "::text", "bytes": "::bytea"}
	return "$" + strconv.Itoa(n) + cast[kind]
}
