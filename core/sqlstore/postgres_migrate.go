package sqlstore

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
)

const (
	// migrationKey is the advisory lock of whoever migrates: "passmend" in ASCII.
	migrationKey = 0x706173736d656e64
	// A step that waits for a table waits in front of everybody who comes after it,
	// so it gives up soon; one that works may take its time.
	migrationLockTimeout      = "3s"
	migrationStatementTimeout = "15min"
	// migrationConnections: one holds the lock, one migrates.
	migrationConnections = 2
)

// migratingPostgres gives connections of their own to migrate with, under a lock
// that ends with its connection. It waits for whoever else migrates.
func migratingPostgres(ctx context.Context, options *pgx.ConnConfig) (*bun.DB, func(), error) {
	options = options.Copy()
	options.Tracer = nil // statements take as long as their timeout says
	options.RuntimeParams["lock_timeout"] = migrationLockTimeout
	options.RuntimeParams["statement_timeout"] = migrationStatementTimeout
	db := stdlib.OpenDB(*options)
	db.SetMaxOpenConns(migrationConnections)
	release := func() { _ = db.Close() }
	lock, err := db.Conn(ctx)
	if err != nil {
		release()
		return nil, nil, err
	}
	release = func() { _ = errors.Join(lock.Close(), db.Close()) }
	err = tryLock(ctx, func() (err error) {
		var held bool
		err = lock.QueryRowContext(ctx, `SELECT pg_try_advisory_lock($1)`, int64(migrationKey)).Scan(&held)
		if err == nil && !held {
			err = errHeld
		}
		return err
	})
	if err != nil {
		release()
		return nil, nil, err
	}
	return bun.NewDB(db, pgdialect.New()), release, nil
}
