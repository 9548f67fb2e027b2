package sqlstore

import (
	"context"
	"encoding/json"

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
	return tellEndpoints(ctx, tx, list{eventShape, events})
}

const eventColumns = "account_id, id, name, user_id, request_id, facts"

var eventShape = shapeOf("account_id text, id text, name text, user_id text, request_id text, facts text")

const insertEventRows = `INSERT INTO events (` + eventColumns + `, created_at) SELECT ` + eventColumns + `, ?now FROM s`

// object gives JSON as text, {} for none.
func object(raw json.RawMessage) string {
	if len(raw) == 0 {
		return "{}"
	}
	return string(raw)
}
