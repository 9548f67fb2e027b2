package sqlstore

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/migrate"
)

//go:embed migrations
var migrationFiles embed.FS

const (
	migrationTable = "schema_migrations"
	// lockPause is the pause between two tries for the migration lock.
	lockPause = 50 * time.Millisecond
)

// Migration is one step of the schema.
type Migration struct {
	Name    string // its number and noun, as 0001_ledger
	Applied bool
}

// Migrate brings the schema up to date and names the steps it took, none when
// there was nothing to do. A step and its mark are one transaction. Of several
// processes one migrates and the others wait.
func (s *Store) Migrate(ctx context.Context) (applied []string, err error) {
	migrations, err := s.knownMigrations()
	if err != nil {
		return nil, s.failed("migrate", err)
	}
	ctx = unhurried(ctx)
	db, release, err := s.migrating(ctx)
	if err != nil {
		return nil, s.failed("migrate", err)
	}
	defer release()
	migrator := migrate.NewMigrator(db, migrations,
		migrate.WithTableName(migrationTable), migrate.WithLocksTableName(migrationTable+"_locks"),
		migrate.WithMarkAppliedOnSuccess(true), migrate.WithUpsert(true),
		migrate.AfterMigration(mark))
	if err := migrator.Init(ctx); err != nil {
		return nil, s.failed("migrate", err)
	}
	group, err := migrator.Migrate(ctx)
	if err != nil {
		return nil, s.failed("migrate", err)
	}
	for i := range group.Migrations {
		applied = append(applied, group.Migrations[i].String())
	}
	return applied, nil
}

// MigrateDown undoes the newest step, data and all, and names it; empty when
// there is nothing to undo. It refuses while the schema has steps that this
// version does not know.
func (s *Store) MigrateDown(ctx context.Context) (undone string, err error) {
	migrations, err := s.knownMigrations()
	if err != nil {
		return "", s.failed("migrate_down", err)
	}
	db, release, err := s.migrating(ctx)
	if err != nil {
		return "", s.failed("migrate_down", err)
	}
	defer release()
	applied, err := s.appliedMigrations(ctx)
	if err != nil || len(applied) == 0 {
		return "", s.failed("migrate_down", err)
	}
	newest := slices.Max(applied)
	known := migrations.Sorted()
	at := slices.IndexFunc(known, func(m migrate.Migration) bool { return m.Name == newest })
	if at < 0 {
		return "", fmt.Errorf("migrate down: step %s is newer than this version", newest)
	}
	undone = known[at].String()
	text, err := migrationFiles.ReadFile(s.migrations + "/" + undone + ".tx.down.sql")
	if err != nil {
		return "", s.failed("migrate_down", err)
	}
	err = db.RunInTx(unhurried(ctx), nil, func(ctx context.Context, tx bun.Tx) error {
		// The text goes past bun, to which a question mark is a value.
		if _, err := tx.Tx.ExecContext(ctx, string(text)); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM `+migrationTable+` WHERE name = ?`, newest)
		return err
	})
	if err != nil {
		return "", s.failed("migrate_down", err)
	}
	return undone, nil
}

// ErrSchemaBehind: the schema is older than this version needs.
var ErrSchemaBehind = errors.New("schema is out of date: run 'passmend migrate up'")

// CheckSchema gives ErrSchemaBehind when a step is missing. A schema that is newer
// than this version will do: steps are made so that the version before them runs.
func (s *Store) CheckSchema(ctx context.Context) error {
	status, err := s.MigrationStatus(ctx)
	if err != nil {
		return err
	}
	for _, m := range status {
		if !m.Applied {
			return fmt.Errorf("check schema: %s is missing: %w", m.Name, ErrSchemaBehind)
		}
	}
	return nil
}

// mark records a step inside its own transaction. The migrator does so only
// afterwards, and a process that dies between the two would repeat the step;
// with an upsert, its later mark changes nothing.
func mark(ctx context.Context, db bun.IConn, migration *migrate.Migration) error {
	_, err := db.ExecContext(ctx, `INSERT INTO `+migrationTable+` (name, group_id) VALUES (?, ?)`,
		migration.Name, migration.GroupID)
	return err
}

// MigrationStatus lists every known step, oldest first. It changes nothing.
func (s *Store) MigrationStatus(ctx context.Context) ([]Migration, error) {
	migrations, err := s.knownMigrations()
	if err != nil {
		return nil, s.failed("migration_status", err)
	}
	applied, err := s.appliedMigrations(ctx)
	if err != nil {
		return nil, s.failed("migration_status", err)
	}
	sorted := migrations.Sorted()
	status := make([]Migration, len(sorted))
	for i := range sorted {
		status[i] = Migration{Name: sorted[i].String(), Applied: slices.Contains(applied, sorted[i].Name)}
	}
	return status, nil
}

func (s *Store) appliedMigrations(ctx context.Context) (names []string, err error) {
	var tables []string
	if err := s.read.NewRaw(s.tables).Scan(ctx, &tables); err != nil || !slices.Contains(tables, migrationTable) {
		return nil, err
	}
	err = s.read.NewRaw(`SELECT name FROM `+migrationTable).Scan(ctx, &names)
	return names, err
}

func (s *Store) knownMigrations() (*migrate.Migrations, error) {
	files, err := fs.Sub(migrationFiles, s.migrations)
	if err != nil {
		return nil, err
	}
	migrations := migrate.NewMigrations()
	if err := migrations.Discover(files); err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	return migrations, nil
}

// tryLock tries until nobody else has the lock.
func tryLock(ctx context.Context, try func() error) error {
	for {
		if err := try(); !errors.Is(err, errHeld) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lockPause):
		}
	}
}
