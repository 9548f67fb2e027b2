package sqlstore

import (
	"context"
	"slices"
	"strings"
)

// shape is what the rows of a list look like to a statement, which knows them as s.
type shape struct {
	kinds []string
	// As portions: WITH, the names of the columns, and the values of a row.
	head, row string
	// As arrays: WITH, and all of it.
	arrays string
}

// shapeOf reads "account_id text, life int": a name and a kind (text, bytes, int or
// bool) for each column.
func shapeOf(columns string) shape {
	var s shape
	var names []string
	for column := range strings.SplitSeq(columns, ", ") {
		name, kind, _ := strings.Cut(column, " ")
		names, s.kinds = append(names, name), append(s.kinds, kind)
	}
	all := strings.Join(names, ", ")
	s.head = "WITH s (" + all + ") AS (VALUES "
	s.row = "(?" + strings.Join(s.kinds, ", ?") + ")"
	s.arrays = "WITH s AS (SELECT * FROM unnest(?" + strings.Join(s.kinds, "[], ?") + "[]) AS s (" + all + "))"
	return s
}

// list is many rows for one statement.
type list struct {
	shape
	rows [][]any
}

func newList(of shape, rows int) list { return list{shape: of, rows: make([][]any, 0, rows)} }

// add adds a row: a value for each column, nil for NULL.
func (l *list) add(values ...any) { l.rows = append(l.rows, values) }

// each runs a statement that begins with the list: once where there are arrays, which
// are of one text however long they are, else once a portion. Where there are no rows
// it runs none.
func (q session) each(l list, run func(with string, args []any) error) error {
	switch {
	case len(l.rows) == 0:
		return nil
	case q.dialect.arrays != nil:
		return run(l.arrays, q.dialect.arrays(l.kinds, l.rows))
	}
	for _, portion := range portions(l.rows) {
		if err := run(l.head+placeholders(len(portion), l.row)+")", slices.Concat(portion...)); err != nil {
			return err
		}
	}
	return nil
}

// execList runs a statement that gives no rows, of which text is what comes after the
// list, and more the values after the list's.
func (q session) execList(ctx context.Context, l list, text string, more ...any) error {
	return q.each(l, func(with string, args []any) error {
		_, err := q.exec(ctx, with+text, append(args, more...)...)
		return err
	})
}

// rowsOfList is execList for one that gives rows.
func rowsOfList[T any](ctx context.Context, q session, l list, text string, more ...any) (rows []T, err error) {
	err = q.each(l, func(with string, args []any) error {
		var some []T
		err := q.rows(ctx, &some, with+text, append(args, more...)...)
		rows = append(rows, some...)
		return err
	})
	return rows, err
}

// rowKey names a row: its account, and in it an id, or what else is its own.
type rowKey struct {
	AccountID string `bun:"account_id"`
	ID        string `bun:"id"`
}

var keyShape = shapeOf("account_id text, id text")

// mostInPortion is the longest list of values in one statement.
const mostInPortion = 64

// portions cuts a list into runs of 64, 32 and so on down to 1: of a statement
// with a list there are seven texts, and not one for each length.
func portions[T any](list []T) [][]T {
	var cut [][]T
	for size := mostInPortion; size > 0; size /= 2 {
		for len(list) >= size {
			cut = append(cut, list[:size])
			list = list[size:]
		}
	}
	return cut
}

// placeholders gives rows times "(?, ?, …)", as VALUES wants it.
func placeholders(rows int, row string) string {
	return strings.TrimSuffix(strings.Repeat(row+", ", rows), ", ")
}
