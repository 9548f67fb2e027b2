package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// Store is every storage port at once.
var (
	_ core.Inbox        = (*Store)(nil)
	_ core.Ledger       = (*Store)(nil)
	_ core.Timelines    = (*Store)(nil)
	_ core.Redemptions  = (*Store)(nil)
	_ core.Reports      = (*Store)(nil)
	_ core.Suppressions = (*Store)(nil)
	_ core.Users        = (*Store)(nil)
	_ core.UserChanges  = (*Store)(nil)
	_ core.UserImports  = (*Store)(nil)
	_ core.Tries        = (*Store)(nil)
	_ core.APITokens    = (*Store)(nil)
	_ core.Providers    = (*Store)(nil)
	_ core.Accounts     = (*Store)(nil)
	_ core.Holds        = (*Store)(nil)
	_ core.AuditLog     = (*Store)(nil)
	_ core.System       = (*Store)(nil)
	_ tenants.Directory = (*Store)(nil)
)

// DefaultAcceptQueue is how many callers may wait for a commit.
const DefaultAcceptQueue = 4096

// Observer is told what the database is doing. Its methods must not block.
type Observer interface {
	// Commit: so many rows of a kind (accept, plan, outcome or turn) became durable in
	// one commit; the first of them had waited so long for it to begin, and it took
	// so long. trace is what Trace gave for one of their callers; empty where it gave
	// nothing for any.
	Commit(kind string, rows int, wait, took time.Duration, trace string)
	// Trace gives the id of the trace that a caller's work is in; empty when there is
	// none that is kept.
	Trace(ctx context.Context) string
	// Error: the database failed an operation, named in a closed set of snake case
	// words. Answers such as ErrNotFound are no errors.
	Error(op string)
	// Lapsed: so many leases of deliveries of a kind (resolve, mail, notice or webhook)
	// ended without a result, and so many of the deliveries were put aside for it.
	Lapsed(kind string, leases, quarantined int)
}

// Config says where the database is and whom to tell.
type Config struct {
	// URL names the database: sqlite://PATH, with a path relative or absolute, or
	// postgres://USER:PASSWORD@HOST:PORT/NAME?OPTION=VALUE with the options of libpq,
	// and pool_max_conns, by default four for each processor and at least 8.
	URL string
	// AllowUnsafeDurability lets Open take a PostgreSQL that may lose what it has
	// committed.
	AllowUnsafeDurability bool
	// Logger takes what happens outside of a call; nil: nothing is logged.
	Logger *slog.Logger
	// NewID gives a new UUIDv7 in canonical form.
	NewID func() string
	// Wake is called after a commit that made work ready or moved the hour of some;
	// it must not block. nil: nobody is told.
	Wake func()
	// Observer may be nil.
	Observer Observer
	// AcceptQueue is how many callers of Accept may wait before ErrBusy; 0:
	// DefaultAcceptQueue.
	AcceptQueue int
}

func (c *Config) validate() error {
	if c.NewID == nil {
		return errors.New("database: NewID is missing")
	}
	if c.AcceptQueue < 0 {
		return fmt.Errorf("database: AcceptQueue is %d, must not be negative", c.AcceptQueue)
	}
	if c.AcceptQueue == 0 {
		c.AcceptQueue = DefaultAcceptQueue
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Wake == nil {
		c.Wake = func() {}
	}
	if c.Observer == nil {
		c.Observer = nobody{}
	}
	return nil
}

type nobody struct{}

func (nobody) Commit(string, int, time.Duration, time.Duration, string) {}
func (nobody) Trace(context.Context) string                             { return "" }
func (nobody) Error(string)                                             {}
func (nobody) Lapsed(string, int, int)                                  {}

// Store is the database behind core's ports. Safe for many goroutines.
type Store struct {
	engine
	config Config

	clock     clockWatch
	lifecycle sync.Mutex // guards the change of writer
	writer    atomic.Pointer[writer]
	found     finders
	accounts  chan struct{} // of 1: this process changed an account or a provider
}

// Open opens the database, and makes an empty SQLite file, readable by its owner
// only, where there is none. It starts nothing and does not migrate. The
// caller closes the Store.
func Open(ctx context.Context, config Config) (*Store, error) {
	if err := config.validate(); err != nil {
		return nil, err
	}
	engine, err := openEngine(ctx, config)
	if err != nil {
		return nil, err
	}
	s := &Store{engine: engine, config: config, accounts: make(chan struct{}, 1)}
	s.found = newFinders(s)
	if err := s.Ping(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open database: %w", err), s.Close())
	}
	return s, nil
}

func openEngine(ctx context.Context, config Config) (engine engine, err error) {
	scheme, rest, _ := strings.Cut(config.URL, "://")
	switch {
	case scheme == "sqlite" && rest != "":
		engine, err = openSQLite(rest)
	case (scheme == "postgres" || scheme == "postgresql") && rest != "":
		engine, err = openPostgres(ctx, config)
	default:
		return engine, errors.New("database URL: must be sqlite://PATH, as sqlite:///var/lib/passmend/passmend.db, or postgres://USER@HOST/NAME")
	}
	if err != nil {
		return engine, fmt.Errorf("open database: %w", err)
	}
	return engine, nil
}

// Ping says whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	var one int
	if err := s.reading().row(ctx, &one, "SELECT 1"); err != nil {
		return s.failed("ping", err)
	}
	return nil
}

// Close lets the database go. Stop comes first.
func (s *Store) Close() error { return s.close() }

// failed wraps the error of an operation and tells the observer when it was the
// database's.
func (s *Store) failed(op string, err error) error {
	if err == nil {
		return nil
	}
	if s.fault(err) != faultNone {
		s.config.Observer.Error(op)
	}
	return fmt.Errorf("%s: %w", strings.ReplaceAll(op, "_", " "), err)
}

// change runs a decision that writes: as a turn of the writer when there is one
// that takes turns, else in a transaction of its own. Inside, only tx may be used.
// run may be called again when its transaction could not be committed for reasons
// of others. What it notes with tx.note is appended to the audit log at its end.
func (s *Store) change(ctx context.Context, op string, wake bool, run func(ctx context.Context, tx session) error) error {
	run, told := s.audited(core.OriginOf(ctx), run)
	err := s.decide(ctx, op, wake, run)
	if err == nil {
		told(ctx)
	}
	return err
}

func (s *Store) decide(ctx context.Context, op string, wake bool, run func(ctx context.Context, tx session) error) error {
	w := s.writer.Load()
	if w != nil && w.takesTurns {
		return s.failed(op, w.turn(ctx, turn{run: run, wake: wake}))
	}
	began := time.Now()
	err := s.again(func() error { return s.inTransaction(ctx, run) })
	if err != nil {
		return s.failed(op, err)
	}
	if wake {
		s.wake(ctx)
	}
	if w != nil {
		s.config.Observer.Commit("turn", 1, 0, time.Since(began), s.config.Observer.Trace(ctx))
	}
	return nil
}

// patiently runs what others wait for: not for as long as a database that is gone
// without a word would have them.
func (s *Store) patiently(ctx context.Context, run func(ctx context.Context) error) error {
	if s.patience == 0 {
		return run(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	err := run(ctx)
	if s.doubt != nil && errors.Is(err, context.DeadlineExceeded) {
		s.doubt()
	}
	return err
}

// conflictTries is how often a transaction is tried that others were in the way of.
const conflictTries = 4

// again tries a transaction until others are not in its way, but not for ever.
func (s *Store) again(try func() error) (err error) {
	for range conflictTries {
		if err = try(); s.fault(err) != faultConflict {
			return err
		}
	}
	return err
}

// wake tells this process's worker, and the other processes', that work is ready.
func (s *Store) wake(ctx context.Context) {
	s.config.Wake()
	if s.announce != nil {
		s.announce(ctx)
	}
}

// stamp turns a column's microseconds into a time; NULL and 0 are the zero time.
func stamp(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}

// null turns an empty id into NULL.
func null[S ~string](id S) any {
	if id == "" {
		return nil
	}
	return string(id)
}

// blob keeps an empty value apart from a missing one.
func blob(value []byte) any {
	if value == nil {
		return nil
	}
	return value
}
