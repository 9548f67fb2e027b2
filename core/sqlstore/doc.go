// Package sqlstore keeps the ledger, the users and the accounts in a database.
// It implements every storage port of core and tenants on one type, Store.
//
// Limits first. One SQLite file belongs to one server process: LockServer
// refuses a second, and commands beside the server write through the file's own
// lock. It decides nothing about recovery: what a request comes to is in the
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
//	Accept ──► accepts  (bounded, then ErrBusy) ──┐
//	Settle ──► outcomes (callers wait) ───────────┼──► BEGIN, rows, COMMIT ──► release
//	others ──► turns    (each in a savepoint) ────┘
//
// Accepts and outcomes are rows: they are written many to a statement, and when
// a row breaks its batch, the batch's rows are tried again one by one. A turn is
// a decision of its own (Resolve, Redeem, Claim and the rest): it runs in a
// savepoint, so that one that says no takes nobody with it.
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
// # Time
//
// Columns that end in _at, _until or _after, and durations, are whole
// microseconds; the clock is the database's.
package sqlstore
