package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
)

const (
	// postgresNow is the time at which the statement reached the server. It is one
	// value for the whole statement, so that what it compares and what it writes
	// agree, and it does not stand still in a transaction that waited for a lock.
	// clock_timestamp() differs from row to row and cannot be looked up in an index.
	postgresNow = "(extract(epoch FROM statement_timestamp()) * 1000000)::bigint"
	// postgresMillis is the same in milliseconds, as 12 hexadecimal digits.
	postgresMillis = "lpad(to_hex(" + postgresNow + " / 1000), 12, '0')"
	// postgresFresh takes the random part from a UUIDv4. It is no sub-query, which would
	// be the same for every row.
	postgresFresh = "(substr(" + postgresMillis + ", 1, 8) || '-' || substr(" + postgresMillis + ", 9, 4) || '-7' || substr(gen_random_uuid()::text, 16))"
	// postgresFew is always true, and estimated to be so for one row in two hundred. The
	// planner then begins with the list and takes the index for each of its rows.
	// Left alone it reads the whole table instead, by a plan that a connection keeps:
	// one made while there was little in the table is dear when there is much.
	postgresFew = "(s.id IS NOT DISTINCT FROM s.id)"
	// postgresConnect bounds the making of a connection.
	postgresConnect = 5 * time.Second
	// postgresPing bounds the look whether an idle connection still is one.
	postgresPing = 2 * time.Second
	// postgresPatience bounds one statement, and the wait for a connection, for
	// callers who set no bound themselves: a server that is gone without a word
	// must not hold them for ever.
	postgresPatience = 30 * time.Second
	// commitPatience bounds a commit or look-up of a group.
	commitPatience = 5 * time.Second
	// postgresFarewell is how long pgx tries to tell the server of a connection that ran out
	// of time that its statement is not wanted any more (pgconn, asyncClose).
	postgresFarewell = 15 * time.Second
	// postgresRows is how many accepts or outcomes share a commit.
	postgresRows = 256
	// acceptLanes commit accepts: one fills the disk's time while the other fills its batch.
	acceptLanes = 2
)

func openPostgres(ctx context.Context, config Config) (engine, error) {
	options, err := postgresOptions(config.URL)
	if err != nil {
		return engine{}, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, options)
	if err != nil {
		return engine{}, err
	}
	if err := checkServer(ctx, pool, config.AllowUnsafeDurability); err != nil {
		pool.Close()
		return engine{}, err
	}
	accepting, err := pgxpool.NewWithConfig(ctx, acceptOptions(options))
	if err != nil {
		pool.Close()
		return engine{}, err
	}
	db := bun.NewDB(stdlib.OpenDBFromPool(pool), pgdialect.New())
	dialect := &dialect{words: postgresWords, parameter: postgresParameter, arrays: postgresArrays, chains: true}
	notices := newNotices(pool)
	return engine{
		write: db, read: db, fault: postgresFault,
		dialect: dialect,
		lanes:   append(slices.Repeat([]lane{{accepts: postgresRows}}, acceptLanes), lane{plans: postgresRows}, lane{outcomes: postgresRows}),
		acceptAll: func(ctx context.Context, entries []*entry[accept]) error {
			_, err := accepting.Exec(ctx, acceptAllQuery, acceptArrays(entries)...)
			return err
		},
		patience:   commitPatience,
		doubt:      func() { pool.Reset(); accepting.Reset() },
		migrations: "migrations/postgres",
		tables:     `SELECT tablename::text FROM pg_catalog.pg_tables WHERE schemaname = current_schema()`,
		pick:       pickUnlocked,
		watch:      func(s *Store, ctx context.Context, changed func()) { s.watchNotices(ctx, notices, changed) },
		announce:   notices.announce,
		background: notices.run,
		tell:       tellAccounts,
		migrating:  func(ctx context.Context) (*bun.DB, func(), error) { return migratingPostgres(ctx, options.ConnConfig) },
		connections: func() (used, idle, most int) {
			for _, now := range []*pgxpool.Stat{pool.Stat(), accepting.Stat()} {
				used, idle, most = used+int(now.AcquiredConns()), idle+int(now.IdleConns()), most+int(now.MaxConns())
			}
			return used, idle, most
		},
		logBytes: func() (int64, bool) { return 0, false },
		close: func() error {
			err := db.Close()
			accepting.Close()
			pool.Close()
			return err
		},
	}, nil
}

var postgresWords = map[string]string{
	"now": postgresNow, "fresh": postgresFresh, "locking": "FOR UPDATE", "skipping": "FOR UPDATE SKIP LOCKED",
	"few":     postgresFew,
	"members": "(SELECT key AS name, value FROM json_each_text(users.metadata::json))",
}

// clearURL says that a URL can be read in one way only. A password that has an @ or
// a / of its own would otherwise be half of it a host or a database, whose names
// errors do say.
func clearURL(raw string) bool {
	_, rest, _ := strings.Cut(raw, "://")
	rest, _, _ = strings.Cut(rest, "?")
	authority, path, _ := strings.Cut(rest, "/")
	return strings.Count(authority, "@") <= 1 && !strings.Contains(path, "@")
}

// postgresOptions reads the URL. What pgx says of one it cannot read is not
// repeated: it hides the password only as far as it can tell where it is.
func postgresOptions(raw string) (*pgxpool.Config, error) {
	options, err := pgxpool.ParseConfig(raw)
	if err != nil || !clearURL(raw) {
		return nil, errors.New("database URL: cannot be read; must be postgres://USER:PASSWORD@HOST:PORT/NAME?OPTION=VALUE, special characters of the password as %XX")
	}
	parsed, err := url.Parse(raw)
	if err == nil && !parsed.Query().Has("pool_max_conns") {
		options.MaxConns = int32(max(8, 4*runtime.GOMAXPROCS(0)))
	}
	c := options.ConnConfig
	if c.ConnectTimeout <= 0 || c.ConnectTimeout > postgresConnect {
		c.ConnectTimeout = postgresConnect
	}
	options.PingTimeout = postgresPing
	options.AfterConnect = preferIndexes
	c.DialFunc = dial
	c.Tracer = patience{}
	c.RuntimeParams["client_encoding"] = "UTF8"
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "passmend"
	}
	return options, nil
}

// acceptOptions are those of a pool for accepts alone: whatever waits for a server that is
// gone holds connections for as long as its patience, and is not to keep accepts from
// the server that took over. A lane uses one. One that was given up is in its place
// for postgresFarewell more, and there is room for as many as are given up in that time.
func acceptOptions(options *pgxpool.Config) *pgxpool.Config {
	accepting := options.Copy()
	accepting.MaxConns, accepting.MinConns, accepting.MinIdleConns = acceptLanes*(1+int32(postgresFarewell/commitPatience)), 0, 0
	return accepting
}

// preferIndexes: there is an index for everything that is asked often, and a kept
// plan must not hang on how small the table was when it was made (postgresFew). A plan
// that reads a table all the same, as a count does, then seems so dear that PostgreSQL
// would compile it, for a tenth of a second each time.
func preferIndexes(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, "SET enable_seqscan = off; SET jit = off")
	return err
}

// dial notices a peer that is gone without a word within about ten seconds.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{
		Timeout:         postgresConnect,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3},
	}
	return dialer.DialContext(ctx, network, address)
}

// patience ends statements, and waits for a connection, that take too long.
type patience struct{}

type patienceKey struct{}

// unhurried gives a ctx whose statements may take as long as they need.
func unhurried(ctx context.Context) context.Context {
	return context.WithValue(ctx, patienceKey{}, context.CancelFunc(nil))
}

func (patience) begin(ctx context.Context) context.Context {
	if cancel, given := ctx.Value(patienceKey{}).(context.CancelFunc); given && cancel == nil {
		return ctx
	}
	ctx, cancel := context.WithTimeout(ctx, postgresPatience)
	return context.WithValue(ctx, patienceKey{}, cancel)
}

func (patience) end(ctx context.Context) {
	if cancel, given := ctx.Value(patienceKey{}).(context.CancelFunc); given && cancel != nil {
		cancel()
	}
}

func (p patience) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return p.begin(ctx)
}

func (p patience) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryEndData) {
	p.end(ctx)
}

func (p patience) TraceAcquireStart(ctx context.Context, _ *pgxpool.Pool, _ pgxpool.TraceAcquireStartData) context.Context {
	return p.begin(ctx)
}

func (p patience) TraceAcquireEnd(ctx context.Context, _ *pgxpool.Pool, _ pgxpool.TraceAcquireEndData) {
	p.end(ctx)
}

// postgresFault sorts by SQLSTATE (PostgreSQL, appendix A), and by type what came
// from the connection.
func postgresFault(err error) fault {
	if failure, ok := errors.AsType[*pgconn.PgError](err); ok {
		return stateFault(failure)
	}
	if err == nil || errors.Is(err, context.Canceled) {
		return faultNone
	}
	for _, lost := range []error{
		context.DeadlineExceeded, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, driver.ErrBadConn,
		sql.ErrConnDone, sql.ErrTxDone, pgconn.ErrConnClosed,
	} {
		if errors.Is(err, lost) {
			return faultEngine
		}
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return faultEngine
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return faultEngine
	}
	if _, ok := errors.AsType[interface {
		error
		SafeToRetry() bool
	}](err); ok {
		return faultEngine
	}
	return faultNone
}

func stateFault(failure *pgconn.PgError) fault {
	switch failure.Code {
	case "23505":
		if strings.HasSuffix(failure.ConstraintName, "_pkey") {
			return faultPrimary
		}
		return faultUnique
	case "23503":
		return faultForeign
	case "23502":
		if failure.ColumnName == "account_id" { // see acceptAllQuery
			return faultForeign
		}
	case "40001", "40P01":
		return faultConflict
	}
	switch failure.Code[:min(2, len(failure.Code))] {
	case "21", "22", "23", "42", "44", "54":
		return faultRow
	}
	return faultEngine
}

// The settings without which a commit may be lost although it was answered.
var durabilitySettings = []string{"fsync", "full_page_writes", "synchronous_commit"}

// postgresOldest is the oldest release that is supported, as server_version_num.
const postgresOldest = 130000

// ErrUnsafeDurability: the server may lose what it has committed.
var ErrUnsafeDurability = errors.New("database may lose what it has committed")

// checkServer refuses a server that is too old or not durable.
func checkServer(ctx context.Context, pool *pgxpool.Pool, unsafe bool) error {
	var version int
	if err := pool.QueryRow(ctx, `SELECT current_setting('server_version_num')::int`).Scan(&version); err != nil {
		return err
	}
	if version < postgresOldest {
		return fmt.Errorf("PostgreSQL %d is too old: must be %d or newer", version/10000, postgresOldest/10000)
	}
	if unsafe {
		return nil
	}
	for _, setting := range durabilitySettings {
		var value string
		if err := pool.QueryRow(ctx, `SELECT current_setting($1)`, setting).Scan(&value); err != nil {
			return err
		}
		if value == "off" {
			return fmt.Errorf("%w: %s is off; turn it on for the server, the database and the role", ErrUnsafeDurability, setting)
		}
	}
	return nil
}
