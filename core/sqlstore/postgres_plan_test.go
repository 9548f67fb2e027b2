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
	"github.com/uptrace/bun"

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
	seen := &recorder{texts: map[string]bool{}}
	s.write, s.read = s.write.WithQueryHook(seen), s.read.WithQueryHook(seen)
	fatal(t, s.Start(t.Context()))
	walk(t, s)
	fatal(t, s.Stop(t.Context()))

	if found := postgresScans(t, s, `UPDATE deliveries SET run_at = 1 WHERE kind = 'mail'`); len(found) == 0 {
		t.Fatal("a statement that reads a whole table was not seen as one")
	}
	checked := 0
	for query := range seen.texts {
		switch verb, _, _ := strings.Cut(strings.TrimSpace(query), " "); verb {
		case "SELECT", "WITH", "UPDATE", "DELETE":
			checked++
			if found := postgresScans(t, s, query); len(found) > 0 {
				t.Errorf("%q in %s", found, query)
			}
		}
	}
	if checked < 25 {
		t.Fatalf("only %d statements were seen", checked)
	}
}

func postgresScans(t *testing.T, s *Store, query string) []string {
	t.Helper()
	var plan []string
	fatal(t, s.write.RunInTx(t.Context(), &sql.TxOptions{}, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.ExecContext(ctx, `SET LOCAL enable_seqscan = off`); err != nil {
			return err
		}
		return tx.NewRaw("EXPLAIN "+strings.ReplaceAll(query, "?", `\?`)).Scan(ctx, &plan)
	}))
	return postgresScan.FindAllString(strings.Join(plan, "\n"), -1)
}

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
