package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/passmend/passmend/core/sqlstore"
)

func migrateCommand() *cobra.Command {
	up := &cobra.Command{
		Use:     "up",
		Short:   "Bring the database's schema up to date",
		Example: "  passmend migrate up --database-url postgres://passmend@db/passmend",
		Args:    cobra.NoArgs,
	}
	down := &cobra.Command{
		Use:     "down",
		Short:   "Undo the newest step of the schema, and lose what only it can hold",
		Example: "  passmend migrate down",
		Args:    cobra.NoArgs,
	}
	status := &cobra.Command{
		Use:     "status",
		Short:   "List the steps of the schema; exit status 1 when one is not applied",
		Example: "  passmend migrate status",
		Args:    cobra.NoArgs,
	}
	cmd := group("migrate", "Bring the database's schema up to date, or look at it",
		schemaCommand(up, migrateUp), schemaCommand(down, migrateDown), schemaCommand(status, migrationStatus))
	cmd.Long = `Brings the schema up to date; 'passmend migrate' alone is 'passmend migrate up'. Of
several at once one migrates and the others wait. An embedded database is also
migrated by every other command; a server refuses a PostgreSQL that is behind.`
	cmd.Example = up.Example
	return schemaCommand(cmd, migrateUp)
}

// schemaCommand gives a command that works on the schema of a database that may
// be behind.
func schemaCommand(cmd *cobra.Command, run func(ctx context.Context, cmd *cobra.Command, store *sqlstore.Store) error) *cobra.Command {
	addSettingFlags(cmd.Flags(), "database_url", "data_dir", "allow_unsafe_durability")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		c, err := loadConfig(cmd, nil)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(c.dataDir, 0o700); err != nil {
			return fmt.Errorf("data directory: %w", err)
		}
		store, err := sqlstore.Open(cmd.Context(), sqlstore.Config{URL: c.databaseURL, Logger: slog.New(slog.DiscardHandler), NewID: newID, AllowUnsafeDurability: c.allowUnsafe})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, store.Close()) }()
		return run(cmd.Context(), cmd, store)
	}
	return cmd
}

func migrateUp(ctx context.Context, cmd *cobra.Command, store *sqlstore.Store) error {
	applied, err := store.Migrate(ctx)
	if err != nil {
		return err
	}
	for _, name := range applied {
		fmt.Fprintln(cmd.OutOrStdout(), "applied", name)
	}
	if len(applied) == 0 {
		fmt.Fprintln(cmd.OutOrStdout(), "already up to date")
	}
	return nil
}

func migrateDown(ctx context.Context, cmd *cobra.Command, store *sqlstore.Store) error {
	undone, err := store.MigrateDown(ctx)
	if err != nil {
		return err
	}
	if undone == "" {
		_, err = fmt.Fprintln(cmd.OutOrStdout(), "nothing to undo")
		return err
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), "undone", undone)
	return err
}

func migrationStatus(ctx context.Context, cmd *cobra.Command, store *sqlstore.Store) error {
	steps, err := store.MigrationStatus(ctx)
	if err != nil {
		return err
	}
	rows := make([][]string, 0, len(steps))
	behind := 0
	for _, step := range steps {
		if !step.Applied {
			behind++
		}
		rows = append(rows, []string{step.Name, yesNo(step.Applied)})
	}
	if err := printTable(cmd.OutOrStdout(), []string{"STEP", "APPLIED"}, rows); err != nil {
		return err
	}
	if behind > 0 {
		return fmt.Errorf("%d steps are not applied; 'passmend migrate up' applies them", behind)
	}
	return nil
}
