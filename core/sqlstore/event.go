package sqlstore

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// insertEvent records an event; one without id is none.
func insertEvent(ctx context.Context, tx session, account tenants.AccountID, event core.Event) error {
	if event.ID == "" {
		return nil
	}
	return insertEvents(ctx, tx, [][]any{eventArgs(account, event)})
}

func eventArgs(account tenants.AccountID, event core.Event) []any {
	return []any{string(account), string(event.ID), string(event.Name), null(event.User), null(event.Request), object(event.Facts)}
}

// insertEvents records events, each given as its eventArgs, and queues them for the
// endpoints that want them.
func insertEvents(ctx context.Context, tx session, events [][]any) error {
	for _, portion := range portions(events) {
		insert := `
			INSERT INTO events (account_id, id, name, user_id, request_id, facts, created_at)
			VALUES ` + placeholders(len(portion), `(?, ?, ?, ?, ?, ?, ?now)`)
		if err := tellEndpoints(ctx, tx, insert, portion, slices.Concat(portion...)); err != nil {
			return err
		}
	}
	return nil
}

// object gives JSON as text, {} for none.
func object(raw json.RawMessage) string {
	if len(raw) == 0 {
		return "{}"
	}
	return string(raw)
}
