package httpapi_test

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// operation is one route of the description, HEAD left out.
type operation struct {
	id, method, path string
	takesBody        bool
	paged            bool
	body             *openapi3.Schema // nil: none is described
}

// operations gives every route of the API, so that a new one is in every matrix by
// being described.
func operations(t testing.TB) (all []operation) {
	t.Helper()
	document := got(openapi3.NewLoader().LoadFromFile("openapi.yaml"))(t)
	for path, item := range document.Paths.Map() {
		for method, described := range item.Operations() {
			if method == "HEAD" {
				continue
			}
			o := operation{id: described.OperationID, method: method, path: path, takesBody: method != "GET" && method != "DELETE"}
			o.paged = described.Parameters.GetByInAndName("query", "limit") != nil
			if described.RequestBody != nil {
				if content := described.RequestBody.Value.Content["application/vnd.api+json"]; content != nil {
					o.body = content.Schema.Value
				}
			}
			all = append(all, o)
		}
	}
	slices.SortFunc(all, func(a, b operation) int { return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.method, b.method)) })
	if len(all) < 40 {
		t.Fatalf("%d operations are described", len(all))
	}
	return all
}

// at puts values into the path.
func (o operation) at(values map[string]string) string {
	path := o.path
	for name, value := range values {
		path = strings.ReplaceAll(path, "{"+name+"}", value)
	}
	return path
}

// names an id of the account, beside the account itself.
func (o operation) namesSomething() bool {
	return strings.Count(o.path, "{") > 1 && !strings.Contains(o.path, "{provider}")
}

// plain are those that speak to machines: no media types, no query, no headers.
func (o operation) plain() bool {
	return slices.Contains([]string{"ping", "pingAccount", "health", "healthWebhooks", "takeProviderEvents"}, o.id)
}

// exampleTexts are values of members that not every text fits.
var exampleTexts = map[string]string{
	"email": "matrix@example.com", "url": "https://hooks.example.com/x", "slug": "matrix", "accent": "#7a1fa2", "apiVersion": "1.8", "linkTemplate": "https://app.example.com/r?t={token}",
	"password": "correct horse battery staple", "newPassword": "correct horse battery staple", "expiry": "2099-01-01T00:00:00Z", "supportAddress": "help@example.com", "fromAddress": "no-reply@example.com",
}

// example makes the least that a schema takes.
func example(schema *openapi3.Schema, name string) any {
	switch {
	case len(schema.Enum) > 0:
		return schema.Enum[0]
	case schema.Type.Includes("object"):
		object := map[string]any{}
		for _, member := range schema.Required {
			object[member] = example(schema.Properties[member].Value, member)
		}
		return object
	case schema.Type.Includes("array"):
		return []any{example(schema.Items.Value, name)}
	case schema.Type.Includes("integer"):
		return 600
	case schema.Type.Includes("boolean"):
		return true
	}
	return cmp.Or(exampleTexts[name], "text")
}

func encoded(t testing.TB, value any) string {
	t.Helper()
	return string(got(json.Marshal(value))(t))
}

// contents is every row of every table.
func (e *edge) contents() map[string][]string {
	e.t.Helper()
	driver, source, tables := "pgx", e.database, `SELECT tablename FROM pg_tables WHERE schemaname = 'public'`
	if path, embedded := strings.CutPrefix(e.database, "sqlite://"); embedded {
		driver, source, tables = "sqlite", "file:"+path+"?mode=ro", `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'`
	}
	db := got(sql.Open(driver, source))(e.t)
	defer db.Close()
	all := map[string][]string{}
	for _, table := range e.query(db, tables) {
		all[table] = e.query(db, `SELECT * FROM "`+table+`"`)
	}
	if len(all) < 5 {
		e.t.Fatalf("%d tables", len(all))
	}
	return all
}

func (e *edge) query(db *sql.DB, statement string) (rows []string) {
	e.t.Helper()
	found := got(db.QueryContext(context.Background(), statement))(e.t)
	defer found.Close()
	columns := got(found.Columns())(e.t)
	for found.Next() {
		values, places := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			places[i] = &values[i]
		}
		must(e.t, found.Scan(places...))
		if len(values) == 1 {
			rows = append(rows, fmt.Sprint(values[0]))
		} else {
			rows = append(rows, fmt.Sprintf("%v", values))
		}
	}
	must(e.t, found.Err())
	slices.Sort(rows)
	return rows
}

// changes names the tables that differ.
func changes(before, after map[string][]string) (tables []string) {
	for _, table := range slices.Sorted(maps.Keys(after)) {
		if !slices.Equal(before[table], after[table]) {
			tables = append(tables, table)
		}
	}
	return tables
}
