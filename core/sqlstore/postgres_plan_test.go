package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/coretest"
	"github.com/passmend/passmend/core/sqlstore/pgtest"
)

// postgresScan finds a step that reads a whole table, be it through an index from
// end to end.
var postgresScan = regexp.MustCompile(`Seq Scan on \w+`)

// TestNoStatementOnPostgreSQLReadsAWholeTable runs everything once and asks for
// the plan of each statement with sequential scans made dear: what remains is what
// no index serves.
func TestNoStatementOnPostgreSQLReadsAWholeTable(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), Config{URL: pgtest.URL(t), NewID: coretest.NewID})
	fatal(t, err)
	t.Cleanup(func() { _ = s.Close() })
	_, err = s.Migrate(t.Context())
	fatal(t, err)
	seen := record(s)
	fatal(t, s.Start(t.Context()))
	walk(t, s)
	fatal(t, s.Stop(t.Context()))
	seen.checkPlans(t, func(text string, args ...any) []string { return postgresScans(t, s, text, args...) })
	for text := range seen.seen {
		if strings.HasPrefix(text, "WITH s ") && !listInserted.MatchString(text) && !strings.Contains(text, postgresFew) {
			t.Errorf("the list is not said to be short (?few) in %s", text)
		}
	}
}

// listInserted finds a list that is joined to nothing.
var listInserted = regexp.MustCompile(`INSERT INTO \w+ \([^()]*\)\s+SELECT [^;]*\sFROM s( WHERE TRUE|\)| RETURNING|\s|$)`)

func postgresScans(t *testing.T, s *Store, text string, args ...any) []string {
	t.Helper()
	var plan []string
	fatal(t, s.inTransaction(t.Context(), func(ctx context.Context, tx session) error {
		rows, err := tx.on.QueryContext(ctx, "EXPLAIN "+text, args...)
		if err != nil {
			return err
		}
		return tx.db.ScanRows(ctx, rows, &plan)
	}))
	return postgresScan.FindAllString(strings.Join(plan, "\n"), -1)
}

// TestNoPlanIsCompiled: a count reads its table whatever it is told, and is not to pay
// for being compiled. The control is what a connection of others does.
func TestNoPlanIsCompiled(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), Config{URL: pgtest.URL(t), NewID: coretest.NewID})
	fatal(t, err)
	t.Cleanup(func() { _ = s.Close() })
	_, err = s.Migrate(t.Context())
	fatal(t, err)
	compiled := func(jit string) bool {
		t.Helper()
		var steps []string
		fatal(t, s.inTransaction(t.Context(), func(ctx context.Context, tx session) error {
			if jit != "" {
				if _, err := tx.exec(ctx, `SET LOCAL jit = `+jit); err != nil {
					return err
				}
			}
			rows, err := tx.on.QueryContext(ctx, "EXPLAIN ANALYZE SELECT count(*) FROM deliveries")
			if err != nil {
				return err
			}
			return tx.db.ScanRows(ctx, rows, &steps)
		}))
		return strings.Contains(strings.Join(steps, "\n"), "JIT:")
	}
	if compiled("") {
		t.Error("a count is compiled")
	}
	var able bool
	fatal(t, s.read.NewRaw(`SELECT pg_jit_available()`).Scan(t.Context(), &able))
	if able && !compiled("on") {
		t.Error("the control: nothing is compiled where it is allowed")
	}
}

// TestListsTakeTheIndexForEachRow: the plan of a full list begins with the list,
// whatever the table holds.
func TestListsTakeTheIndexForEachRow(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), Config{URL: pgtest.URL(t), NewID: coretest.NewID})
	fatal(t, err)
	t.Cleanup(func() { _ = s.Close() })
	_, err = s.Migrate(t.Context())
	fatal(t, err)
	rows := newList(leaseShape, postgresRows)
	for range postgresRows {
		rows.add(coretest.NewID(), coretest.NewID(), coretest.NewID())
	}
	var args []any
	var written string
	fatal(t, s.reading().each(rows, func(with string, values []any) error {
		written, args = with+leaseQuery, append(values, int64(1))
		return nil
	}))
	plan := func(text, seqscan string) string {
		t.Helper()
		var steps []string
		fatal(t, s.inTransaction(t.Context(), func(ctx context.Context, tx session) error {
			if _, err := tx.exec(ctx, `SET LOCAL enable_seqscan = `+seqscan); err != nil {
				return err
			}
			rows, err := tx.on.QueryContext(ctx, "EXPLAIN "+text, args...)
			if err != nil {
				return err
			}
			return tx.db.ScanRows(ctx, rows, &steps)
		}))
		return strings.Join(steps, "\n")
	}
	text := s.dialect.text(written)
	check := func(when string) {
		t.Helper()
		if plan := plan(text, "off"); !eachByIndex.MatchString(plan) {
			t.Errorf("%s: %s", when, plan)
		}
	}
	check("of a new database")
	_, err = s.write.ExecContext(t.Context(), `
		INSERT INTO deliveries (account_id, id, kind, state, ready, run_at, queued_at)
		SELECT 'a', gen_random_uuid()::text, 'notice', 'queued', TRUE, 1, 1 FROM generate_series(1, 1000)`)
	fatal(t, err)
	check("before it is analysed")
	_, err = s.write.ExecContext(t.Context(), `ANALYZE deliveries`)
	fatal(t, err)
	check("with rows")
	if plan := plan(strings.ReplaceAll(text, postgresFew, "TRUE"), "on"); eachByIndex.MatchString(plan) {
		t.Fatalf("a plan that reads the whole table was not seen: %s", plan)
	}
}

// eachByIndex finds the look-up of one delivery by its key.
var eachByIndex = regexp.MustCompile(`Index Scan using deliveries_pkey on deliveries .*\n *Index Cond: \(\(account_id = .* AND \(id = `)

// TestForeignKeysAreCheckedByPrimaryKey: the plan of a check is kept, so it must be
// right while the tables are still empty.
func TestForeignKeysAreCheckedByPrimaryKey(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), Config{URL: pgtest.URL(t), NewID: coretest.NewID})
	fatal(t, err)
	t.Cleanup(func() { _ = s.Close() })
	_, err = s.Migrate(t.Context())
	fatal(t, err)
	check := func(table, columns string) string {
		t.Helper()
		condition := strings.ReplaceAll(columns, ",", " = 'x' AND ") + " = 'x'"
		var plan []string
		fatal(t, s.read.NewRaw(`EXPLAIN SELECT 1 FROM ONLY `+table+` WHERE `+condition+` FOR KEY SHARE`).Scan(t.Context(), &plan))
		return strings.Join(plan, "\n")
	}
	var keys []struct {
		Table   string `bun:"referenced"`
		Columns string `bun:"columns"`
	}
	fatal(t, s.read.NewRaw(`
		SELECT DISTINCT c.confrelid::regclass::text AS referenced,
			(SELECT string_agg(a.attname, ',' ORDER BY a.attnum) FROM pg_attribute a
				WHERE a.attrelid = c.confrelid AND a.attnum = ANY (c.confkey)) AS columns
		FROM pg_constraint c WHERE c.contype = 'f'`).Scan(t.Context(), &keys))
	if len(keys) < 4 {
		t.Fatalf("only %d keys are referred to", len(keys))
	}
	for _, key := range keys {
		if plan := check(key.Table, key.Columns); !strings.Contains(plan, key.Table+"_pkey") {
			t.Errorf("%s (%s): %s", key.Table, key.Columns, plan)
		}
	}
	_, err = s.write.ExecContext(t.Context(), `CREATE INDEX wrong ON requests (account_id, address_digest, id)`)
	fatal(t, err)
	if plan := check("requests", "account_id,id"); strings.Contains(plan, "requests_pkey") {
		t.Fatal("an index that takes the primary key's place was not seen")
	}
}

func TestPostgresFaults(t *testing.T) {
	t.Parallel()
	state := func(code, constraint string) error {
		return fmt.Errorf("wrapped: %w", &pgconn.PgError{Code: code, ConstraintName: constraint})
	}
	cases := []struct {
		name string
		err  error
		want fault
	}{
		{"no error", nil, faultNone},
		{"an answer of ours", core.ErrLeaseLost, faultNone},
		{"no row", sql.ErrNoRows, faultNone},
		{"a caller that left", context.Canceled, faultNone},
		{"time ran out", context.DeadlineExceeded, faultEngine},
		{"unique", state("23505", "users_address"), faultUnique},
		{"primary key", state("23505", "users_pkey"), faultPrimary},
		{"foreign key", state("23503", "requests_account_id_fkey"), faultForeign},
		{"check", state("23514", ""), faultRow},
		{"encoding", state("22021", ""), faultRow},
		{"syntax", state("42601", ""), faultRow},
		{"deadlock", state("40P01", ""), faultConflict},
		{"serialization", state("40001", ""), faultConflict},
		{"disk full", state("53100", ""), faultEngine},
		{"shutdown", state("57P01", ""), faultEngine},
		{"read only", state("25006", ""), faultEngine},
		{"no code", state("", ""), faultEngine},
		{"connection refused", &net.OpError{Op: "dial", Err: errors.New("refused")}, faultEngine},
		{"connection closed", fmt.Errorf("x: %w", pgconn.ErrConnClosed), faultEngine},
	}
	for _, c := range cases {
		if got := postgresFault(c.err); got != c.want {
			t.Errorf("%s: fault is %d, want %d", c.name, got, c.want)
		}
	}
}

func TestConflictsAreTriedAgainButNotForEver(t *testing.T) {
	t.Parallel()
	s := &Store{engine: engine{fault: postgresFault}}
	conflict := &pgconn.PgError{Code: "40P01"}
	for _, c := range []struct {
		conflicts, tries int
		err              error
	}{{0, 1, nil}, {2, 3, nil}, {100, conflictTries, conflict}} {
		tries := 0
		err := s.again(func() error {
			if tries++; tries <= c.conflicts {
				return conflict
			}
			return nil
		})
		if tries != c.tries || !errors.Is(err, c.err) {
			t.Errorf("%d conflicts: %d tries and %v, want %d and %v", c.conflicts, tries, err, c.tries, c.err)
		}
	}
}
