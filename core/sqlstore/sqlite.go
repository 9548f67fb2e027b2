package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// engine is what one kind of database does in its own way. Whatever is not here
// is one query text for every engine. Query texts may use ?now, the database's
// clock; ?fresh, a new UUIDv7 by that clock; ?locking, the end of a SELECT whose rows must not change before the
// transaction ends; ?skipping, the same for one that passes over rows which another
// transaction holds; ?few, that the list s of a statement is short next to what it is
// joined with; ?members, the members of users.metadata as names and values of
// text; and for values what dialect.text says.
type engine struct {
	write   *bun.DB
	read    *bun.DB
	dialect *dialect
	// lanes are the goroutines of group commit.
	lanes []lane
	// acceptAll writes accepts, and nothing else, in one round trip; nil where there
	// are no round trips.
	acceptAll func(ctx context.Context, entries []*entry[accept]) error
	// patience bounds a commit or look-up of a group; 0: the database does so itself. When it ran
	// out, doubt has the connections made anew: others may be as dead as this one.
	patience time.Duration
	doubt    func()
	// migrations is the folder of the engine's own files.
	migrations string
	// tables selects the names of the tables that are there.
	tables string
	// fault sorts an error of the driver by its code.
	fault func(error) fault
	// pick reads the oldest ready rows of each account, and says whether it passed
	// over some that another replica is about to lease.
	pick func(ctx context.Context, tx session, accounts []string, most int) (rows []rowKey, skipped bool, err error)
	// watch is Store.Watch.
	watch func(s *Store, ctx context.Context, changed func())
	// announce tells other processes that work is ready; nil: there are none that work.
	announce func(ctx context.Context)
	// background runs beside the lanes of group commit until ctx ends.
	background func(ctx context.Context)
	// tell tells other processes, with the commit, that an account has changed; nil:
	// they see it by themselves.
	tell func(ctx context.Context, tx session) error
	// lockServer makes this process the one server until release, or until it ends;
	// errHeld when another is. nil: any number may serve.
	lockServer func() (release func(), err error)
	// migrating gives what the schema is changed with, to one process at a time; the
	// others wait.
	migrating func(ctx context.Context) (db *bun.DB, release func(), err error)
	// connections and logBytes are the Store's Connections and LogBytes.
	connections func() (used, idle, most int)
	logBytes    func() (int64, bool)
	close       func() error
}

// fault is the sort of a database error.
type fault int

const (
	faultNone     fault = iota // no error of the database
	faultUnique                // a unique index other than the primary key
	faultPrimary               // the primary key
	faultForeign               // a row that must exist does not
	faultRow                   // the row's values otherwise
	faultConflict              // another transaction was in the way: the same again may succeed
	faultEngine                // locked, full, broken, out of reach: any row would fail
)

// ofRow says whether another row might succeed.
func (f fault) ofRow() bool { return f != faultEngine }

// errHeld: another process has the lock.
var errHeld = errors.New("lock is held by another process")

var sqliteWords = map[string]string{
	"now": sqliteNow, "fresh": sqliteFresh, "locking": "", "skipping": "", "few": "TRUE",
	"members": `(SELECT key AS name, CASE type WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' ELSE CAST(value AS TEXT) END AS value
		FROM json_each(users.metadata))`,
}

const (
	// sqliteNow has the clock's full resolution, a millisecond, and no error of
	// floating point in the digits below.
	sqliteNow = "(CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000)"
	// sqliteFresh is made of that and of what is random.
	sqliteFresh = `printf('%08x-%04x-7%s-%s%s-%s', ` + sqliteNow + ` / 65536000, (` + sqliteNow + ` / 1000) & 65535,
		lower(substr(hex(randomblob(2)), 1, 3)), substr('89ab', 1 + (random() & 3), 1),
		lower(substr(hex(randomblob(2)), 1, 3)), lower(hex(randomblob(6))))`
	// sqliteReaders bounds the connections beside the writer's.
	sqliteReaders = 4
	// sqliteBusy is the wait for another process's transaction, in milliseconds.
	sqliteBusy = "5000"
)

// checkpoint carries what the write-ahead log holds into the database, beside the
// writer and not in one of its commits, which would wait for it. What it cannot
// keep up with, the writer does at walMost.
func checkpoint(ctx context.Context, db *bun.DB, wal string) {
	ticker := time.NewTicker(checkpointEvery)
	defer ticker.Stop()
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		info, err := os.Stat(wal)
		if err != nil || info.Size() < checkpointAt || info.ModTime().Equal(last) {
			continue
		}
		last = info.ModTime()
		_, _ = db.DB.ExecContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)") // the writer's own is behind it
	}
}

const (
	checkpointEvery = 100 * time.Millisecond
	// checkpointAt is in bytes: less is not worth a walk to the disk.
	checkpointAt = 4 << 20
	// walMost is the log, in pages of 4 KiB, at which the writer itself clears it.
	walMost = "16384"
)

// sqliteLanes: there is one writer. A full batch of rows takes about as long as
// the disk does; turns are dearer.
var sqliteLanes = []lane{{accepts: 64, plans: 64, outcomes: 64, turns: 16}}

func openSQLite(path string) (engine, error) {
	path, err := makeFile(path)
	if err != nil {
		return engine{}, err
	}
	write, err := sqliteDB(path, 1, url.Values{"_txlock": {"immediate"}, "_journal_mode": {"WAL"}})
	if err != nil {
		return engine{}, err
	}
	read, err := sqliteDB(path, sqliteReaders, url.Values{"_query_only": {"1"}})
	if err != nil {
		return engine{}, errors.Join(err, write.Close())
	}
	// The journal mode is changed by the writer's first connection, before a reader
	// could meet the file half made.
	if err := write.Ping(); err != nil {
		return engine{}, errors.Join(err, write.Close(), read.Close())
	}
	return engine{
		write: write, read: read, fault: sqliteFault,
		dialect:    &dialect{words: sqliteWords, parameter: sqliteParameter},
		lanes:      sqliteLanes,
		migrations: "migrations/sqlite",
		tables:     `SELECT name FROM sqlite_master WHERE type = 'table'`,
		pick:       pick,
		watch:      (*Store).watchVersion,
		background: func(ctx context.Context) { checkpoint(ctx, read, path+"-wal") },
		lockServer: func() (func(), error) { return lockFile(path + ".lock") },
		migrating: func(ctx context.Context) (*bun.DB, func(), error) {
			var release func()
			err := tryLock(ctx, func() (err error) { release, err = lockFile(path + ".migrate.lock"); return err })
			return write, release, err
		},
		connections: func() (used, idle, most int) {
			writer, readers := write.Stats(), read.Stats()
			return writer.InUse + readers.InUse, writer.Idle + readers.Idle, writer.MaxOpenConnections + readers.MaxOpenConnections
		},
		logBytes: func() (int64, bool) {
			info, err := os.Stat(path + "-wal")
			if errors.Is(err, fs.ErrNotExist) {
				return 0, true
			}
			if err != nil {
				return 0, false
			}
			return info.Size(), true
		},
		close: func() error { return errors.Join(read.Close(), write.Close()) },
	}, nil
}

func sqliteDB(path string, connections int, options url.Values) (*bun.DB, error) {
	options.Set("_busy_timeout", sqliteBusy)
	options.Set("_foreign_keys", "1")
	options.Set("_synchronous", "FULL")
	options.Set("_dqs", "0")
	// What is erased is overwritten where that costs no write of its own: a seed or
	// an address that is NULL is not to be found in the file's unused bytes.
	options.Add("_pragma", "secure_delete(FAST)")
	// A statement of many rows keeps what it changes until it is whole, in a file of its
	// own unless told otherwise: a fifth of what an accept cost.
	options.Add("_pragma", "temp_store(MEMORY)")
	options.Add("_pragma", "wal_autocheckpoint("+walMost+")")
	name := url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: options.Encode()}
	connector, err := sqlite.NewConnector(name.String())
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(keeper{connector})
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	db.SetConnMaxIdleTime(0)
	return bun.NewDB(db, sqlitedialect.New()), nil
}

// makeFile makes the file where there is none, for its owner only, and gives its
// path without symbolic links: SQLite gives its other files the same rights, and
// one file has one lock however it was named.
func makeFile(path string) (string, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("folder %s does not exist", filepath.Dir(path))
	case err != nil:
		return "", err
	}
	if err := file.Close(); err != nil {
		return "", err
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return "", err
	}
	return filepath.Abs(path)
}

func lockFile(path string) (release func(), err error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errHeld
		}
		return nil, err
	}
	return func() { _ = file.Close() }, nil
}

func sqliteFault(err error) fault {
	failure, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return faultNone
	}
	switch failure.Code() {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE:
		return faultUnique
	case sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		return faultPrimary
	case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		return faultForeign
	}
	switch failure.Code() & 0xff {
	case sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_ERROR:
		return faultRow
	}
	return faultEngine
}
