// Package sqlstore keeps the ledger, the users and the accounts in a database,
// SQLite or PostgreSQL 13 and later. It implements every storage port of core and
// tenants on one type, Store.
//
// Limits first. One SQLite file belongs to one server process: LockServer
// refuses a second, and commands beside the server write through the file's own
// lock. Of PostgreSQL any number of replicas share one; LISTEN needs a connection
// of its own, so behind a pooler that shares connections between transactions
// replicas hear of each other by polling only. It decides nothing about recovery: what a request comes to is in the
// Plan, the Settlement and the Redemption that it is handed. Nothing is read
// from the database that could build a link, and no text of an error holds a
// value of a row.
//
// # Writing
//
// SQLite has one writer, so the Store has one too: a goroutine that gathers
// whatever waits, writes it in one transaction, and releases all callers when
// the commit is on disk. It never lingers: while one batch commits, the next
// one fills.
//
//	Accept  ──► accepts  (bounded, then ErrBusy) ──┐
//	Resolve ──► plans    (callers wait) ───────────┤
//	Settle  ──► outcomes (callers wait) ───────────┼──► BEGIN, rows, COMMIT ──► release
//	others  ──► turns    (each in a savepoint) ────┘
//
// Accepts, plans and outcomes are rows: they are written many to a statement, and
// when a row breaks its batch, the batch's rows are tried again one by one. Plans
// that touch the same rows follow each other in rounds. A turn is a decision of its
// own (Redeem, Claim and the rest): it runs in a savepoint, so that one that says no
// takes nobody with it.
//
// PostgreSQL has many writers: two lanes commit accepts, a third plans, a fourth
// outcomes, and a decision has a transaction of its own on a connection of the pool,
// so it waits for none of them.
//
//	Accept  ──► accepts ──┬──► INSERTs in one statement ──► release
//	                      └──► INSERTs in one statement ──► release
//	Resolve ──► plans ───────► BEGIN, rows, COMMIT ──► release
//	Settle  ──► outcomes ────► BEGIN, rows, COMMIT ──► release
//	others ──────────────────► BEGIN, decide, COMMIT, again after a deadlock
//
// The text of a statement is fixed and its values travel beside it (session): texts
// are prepared once a connection, and nobody who looks over the database's shoulder
// sees an address. What may be long is a list: arrays on PostgreSQL, one text whatever
// their length; on SQLite, which has none, values in runs of a few lengths (portions).
// A mail may be leased with the plan that leads to it, to whoever resolved.
//
// # Looking up
//
// The rows that nearly every request asks for, its account and its user, are looked up
// many at a time as well (lookups): while one statement runs the next one's keys gather.
//
// Replicas that claim, reap, extend or retain at once pass over rows that another
// has in hand (SKIP LOCKED); whoever settles or redeems waits for its row and finds
// under the lock whether it is still there to be had. A commit that made work ready
// is told to the other replicas after it is on disk, at most every 10 ms.
//
// # Work that is due
//
// A delivery is ready, later, leased or ended. Only ready rows are in the index
// that a claim walks, so that a claim costs the same however much is waiting for
// a later hour. A claim first moves what has become due from later to ready.
//
//	accept, resolve ──► ready ──claim──► leased ──settle──► ended
//	                     ▲ ▲               │ │
//	         due, at a   │ └─release, reap─┘ └─settle──► later
//	         claim       └───────────────────────────────┘
//
// # Budgets
//
// A budget is rows of limits, changed in the transaction that resolves the request:
// for each of its rates as many as it counts, each taken for the length of the rate
// by one that went through, so that any such stretch sees at most as many; or a
// single one where a burst is given. A statement takes a row only if it is free, so
// the count is exact whoever else spends at the same time, and what it counts stands
// in no column.
//
// # Time
//
// Columns that end in _at, _until or _after, tat, and durations, are whole
// microseconds; the clock is the database's, one value for a whole statement.
package sqlstore
