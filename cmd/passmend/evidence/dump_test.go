package evidence

import (
	"database/sql"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the drivers "pgx" and
	_ "modernc.org/sqlite"             // "sqlite"
)

// dump is every row of a database: by table.column, what is in it.
type dump struct {
	columns map[string][]any
	rows    map[string][]map[string]any // by table
}

// openDatabase opens the database of a URL that PASSMEND_DATABASE_URL may have.
func openDatabase(t *testing.T, address string) *sql.DB {
	t.Helper()
	driver := "pgx"
	if path, embedded := strings.CutPrefix(address, "sqlite://"); embedded {
		driver, address = "sqlite", path
	}
	db, err := sql.Open(driver, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func dumpOf(t *testing.T, db *sql.DB, embedded bool) dump {
	t.Helper()
	list := `SELECT tablename::text FROM pg_catalog.pg_tables WHERE schemaname = current_schema()`
	if embedded {
		list = `SELECT name FROM sqlite_schema WHERE type = 'table'`
	}
	d := dump{columns: map[string][]any{}, rows: map[string][]map[string]any{}}
	for _, row := range query(t, db, list) {
		for _, name := range row {
			table := fmt.Sprint(name)
			d.rows[table] = query(t, db, `SELECT * FROM "`+table+`"`)
			for _, row := range d.rows[table] {
				for column, value := range row {
					d.columns[table+"."+column] = append(d.columns[table+"."+column], value)
				}
			}
		}
	}
	if len(d.rows["users"]) == 0 || len(d.rows["requests"]) == 0 {
		t.Fatal("the dump is empty: it shows nothing")
	}
	return d
}

func query(t *testing.T, db *sql.DB, statement string) (all []map[string]any) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), statement)
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		values, into := make([]any, len(names)), make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		row := make(map[string]any)
		for i, name := range names {
			row[name] = values[i]
		}
		all = append(all, row)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// text is a column's values for searching, bytes as they are and in hex.
func text(values []any) folded {
	var all strings.Builder
	for _, value := range values {
		if raw, ok := value.([]byte); ok {
			fmt.Fprintf(&all, "%s %s\n", raw, hex.EncodeToString(raw))
			continue
		}
		fmt.Fprintln(&all, value)
	}
	return fold(all.String())
}
