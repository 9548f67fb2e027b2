package sqlstore

import "github.com/passmend/passmend/core"

// acceptAllQuery is insertAccepts in one statement, which is one transaction, one
// round trip and, however many rows there are, one text with one plan. It holds each
// account once, as a foreign key would for every row: whoever removes one waits, or has
// removed it, and then its rows have no account and the statement fails.
const acceptAllQuery = `
	WITH a AS (
		SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::bytea[], $6::boolean[], $7::text[])
			AS a (account_id, id, delivery, sealed, digest, deliver, traceparent)
	), held AS (
		SELECT id FROM accounts WHERE id = ANY ($1::text[]) FOR KEY SHARE
	), r AS (
		INSERT INTO requests (account_id, id, address_sealed, address_digest, deliver, traceparent, state, accepted_at)
		SELECT held.id, a.id, sealed, digest, deliver, traceparent, 'pending', ` + postgresNow + ` FROM a LEFT JOIN held ON held.id = a.account_id
	)
	INSERT INTO deliveries (account_id, id, request_id, kind, state, ready, run_at, queued_at, not_after)
	SELECT account_id, delivery, id, 'resolve', 'queued', TRUE, ` + postgresNow + `, ` + postgresNow + `, ` + postgresNow + ` + $8::bigint FROM a`

// acceptArrays are the values of acceptAllQuery, a column each.
func acceptArrays(entries []*entry[accept]) []any {
	n := len(entries)
	accounts, ids, deliveries := make([]string, n), make([]string, n), make([]string, n)
	sealed, digests := make([][]byte, n), make([][]byte, n)
	deliver, traces := make([]bool, n), make([]string, n)
	for i, e := range entries {
		request := e.value.request
		accounts[i], ids[i], deliveries[i] = string(e.value.account), string(request.ID), string(e.value.delivery)
		sealed[i], digests[i] = request.SealedAddress, request.AddressDigest
		deliver[i], traces[i] = request.Deliver, request.TraceParent
	}
	return []any{accounts, ids, deliveries, sealed, digests, deliver, traces, core.ResolveLife.Microseconds()}
}
