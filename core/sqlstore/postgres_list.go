package sqlstore

import (
	"fmt"

	"github.com/jackc/pgx/v5/pgtype"
)

// postgresArrays gives the columns of a list as arrays of their kinds.
func postgresArrays(kinds []string, rows [][]any) []any {
	arrays := make([]any, len(kinds))
	for i, kind := range kinds {
		switch kind {
		case "text":
			arrays[i] = arrayOf(rows, i, func(v any) pgtype.Text {
				text, ok := v.(string)
				return pgtype.Text{String: text, Valid: ok}
			})
		case "int":
			arrays[i] = arrayOf(rows, i, func(v any) pgtype.Int8 {
				switch n := v.(type) {
				case int64:
					return pgtype.Int8{Int64: n, Valid: true}
				case int:
					return pgtype.Int8{Int64: int64(n), Valid: true}
				default:
					return pgtype.Int8{}
				}
			})
		case "bool":
			arrays[i] = arrayOf(rows, i, func(v any) bool { return v.(bool) })
		case "bytes":
			arrays[i] = arrayOf(rows, i, func(v any) []byte { bytes, _ := v.([]byte); return bytes })
		default:
			panic(fmt.Sprintf("a list with a column of kind %q", kind))
		}
	}
	return arrays
}

func arrayOf[T any](rows [][]any, column int, value func(any) T) pgtype.FlatArray[T] {
	array := make(pgtype.FlatArray[T], len(rows))
	for i, row := range rows {
		array[i] = value(row[column])
	}
	return array
}
